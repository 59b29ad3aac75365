"""Large tables and arrays on their way into a child on this machine: written once into sealed memory, which it maps.

Numbers (bool, int, float, dates and durations without a zone; arrays of all that has a fixed size) lie there as here,
other columns as an Arrow stream; objects go in the message, as `values` encodes them. What was written for one child
serves the others as long as it is unchanged here, see `sealed_memory`. A child that cannot take it gets it by message.
`mapped` is the other end.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any

from smol_kernel.executors import mapped, pickles, tables, values
from smol_kernel.executors.sealed_memory import SealedMemory, memory_of

SMALLEST = 256 << 10
"""Bytes of a table or an array from which on a value goes this way."""

_numbers = itertools.count(1)


class SharedInput:
    """A variable in sealed memories: `told` is what a child has to know of it besides."""

    def __init__(self, told: dict[str, Any], memories: list[SealedMemory]) -> None:
        self.told, self._memories = told, memories

    def encoded(self) -> Any:
        """The encoded form, for a message."""
        return pickles.encode_input(mapped.build(self.told, [memory.descriptor for memory in self._memories]))

    def passed(self, give: Callable[[list[int], int], bool], number: int) -> bool:
        """Whether `give` has passed the child what it maps."""
        descriptors: list[int] = []
        try:
            for memory in self._memories:
                descriptors.append(memory.opened())
            return give(descriptors, number)
        except OSError:  # no descriptor is left; or a child keeps others from opening it (F_SETLEASE)
            return False
        finally:
            for each in descriptors:
                os.close(each)


def encode_input(value: Any) -> Any:
    """As `pickles.encode_input`, but a SharedInput of a large table or array. Raises NotPortable."""
    if _size(value) >= SMALLEST and hasattr(os, "memfd_create"):
        try:
            if shared := _shared(value):
                return shared
        except Exception:  # noqa: BLE001 - boundary: no such memory, or not enough; or what only a pickle holds
            pass
    return pickles.encode_input(value)


def set_variable(
    name: str, data: Any, give: Callable[[list[int], int], bool], tell: Callable[[dict[str, Any], str], dict[str, Any]]
) -> None:
    """Hand over a variable in encoded form: `give` passes descriptors under a number; `tell` makes a request, named
    for errors, and gives the reply."""
    what = f"variable {name!r}"
    if isinstance(data, SharedInput):
        told = {**data.told, "number": next(_numbers)}
        if data.passed(give, told["number"]) and not tell({"shared": {name: told}}, what).get("missing"):
            return
        data = data.encoded()
    tell({"variables": {name: data}}, what)


def _size(value: Any) -> int:
    """Bytes of a table or an array that may go this way."""
    kind = type(value)
    match f"{values.package(kind)}.{kind.__qualname__}":
        case "numpy.ndarray":
            return value.nbytes if tables.DTYPE.fullmatch(value.dtype.str) else 0
        case "pandas.DataFrame":
            return int(value.memory_usage(index=False).sum())
        case "pandas.Series" | "pyarrow.Table":
            return value.nbytes
        case _:
            return 0


def _is_number(dtype: Any) -> bool:
    """Whether it is a dtype of numpy of numbers; values of pandas' own dtypes lie otherwise."""
    return values.package(type(dtype)) == "numpy" and dtype.kind in "biufmM"


def _shared(value: Any) -> SharedInput | None:
    """None if nothing of it can go this way."""
    kind, parts, others, rest = type(value).__qualname__, {}, [], None
    arrays: list[Any] = []
    if kind == "ndarray":
        arrays = [value]
    elif kind == "Table":
        rest = value
    else:
        parts, wholes = tables.apart(value if kind == "DataFrame" else value.to_frame(name=0))
        arrays = [whole.to_numpy() for whole in wholes if _is_number(whole.dtype)]
        others = [place for place, whole in enumerate(wholes) if not _is_number(whole.dtype)]
        rest = tables.arrow([wholes[place] for place in others]) if others else None
        parts["name"] = None if kind == "DataFrame" else value.name
    told = {"kind": kind, "parts": values.encode(parts), "others": others, "arrays": []}
    memories: list[SealedMemory] = []
    if arrays:
        memories.append(memory_of(arrays))
        found = zip(arrays, memories[0].places, strict=True)
        told["arrays"] = [[array.dtype.str, list(array.shape), *place] for array, place in found]
    if rest is not None:
        import numpy as np

        memories.append(memory_of([np.frombuffer(tables.stream(rest), "u1")], lasting=False))
    return SharedInput({**told, "sizes": [memory.size for memory in memories]}, memories) if memories else None
