"""Large tables and arrays on their way into a child on this machine: written once into sealed memory, which it maps.

Numbers go this way (bool, int, float, dates and durations without a zone; arrays of all that has a fixed size), what
else a table has goes in the message, as `values` encodes it. What was written for one child serves the others as long
as the memory that it was read from is unchanged, see `sealed_memory`. A child that cannot take it gets it by message.
`mapped` is the other end.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any

from smol_kernel.executors import mapped, tables, values
from smol_kernel.executors.sealed_memory import SealedMemory, memory_of

SMALLEST = 256 << 10
"""Bytes of numbers from which on a value goes this way."""

_numbers = itertools.count(1)


class SharedInput:
    """A variable in sealed memory: `told` is what a child has to know of it besides."""

    def __init__(self, told: dict[str, Any], memory: SealedMemory) -> None:
        self.told, self.memory = told, memory

    def encoded(self) -> Any:
        """The encoded form, for a message."""
        return values.encode_input(mapped.build(self.told, self.memory.descriptor))


def encode_input(value: Any) -> Any:
    """As `values.encode_input`, but a SharedInput of what is large and has numbers. Raises NotPortable."""
    if _size(value) >= SMALLEST and hasattr(os, "memfd_create"):
        try:
            return _shared(value)
        except (OSError, MemoryError, ImportError):
            pass  # there is no such memory, or not enough
    return values.encode_input(value)


def set_variable(
    name: str, data: Any, give: Callable[[int, int], bool], tell: Callable[[dict[str, Any], str], dict[str, Any]]
) -> None:
    """Hand over a variable in encoded form: `give` passes a descriptor under a number; `tell` makes a request, named
    for errors, and gives the reply."""
    what = f"variable {name!r}"
    if isinstance(data, SharedInput):
        told = {**data.told, "number": next(_numbers)}
        if data.memory.passed(give, told["number"]) and not tell({"shared": {name: told}}, what).get("missing"):
            return
        data = data.encoded()
    tell({"variables": {name: data}}, what)


def _size(value: Any) -> int:
    """Bytes of the numbers in a table or an array that can go this way."""
    kind = type(value)
    match f"{values.package(kind)}.{kind.__qualname__}":
        case "numpy.ndarray":
            return value.nbytes if tables.DTYPE.fullmatch(value.dtype.str) else 0
        case "pandas.DataFrame":
            return len(value) * sum(dtype.itemsize for dtype in value.dtypes if _is_number(dtype))
        case "pandas.Series":
            return value.nbytes if _is_number(value.dtype) else 0
        case _:
            return 0


def _is_number(dtype: Any) -> bool:
    """Whether it is a dtype of numpy of numbers; values of pandas' own dtypes lie otherwise."""
    return values.package(type(dtype)) == "numpy" and dtype.kind in "biufmM"


def _shared(value: Any) -> SharedInput:
    kind, parts, count = type(value).__qualname__, {}, 1
    arrays, others = [value], []
    if kind != "ndarray":
        parts, wholes = tables.apart(value if kind == "DataFrame" else value.to_frame(name=0))
        count, others = len(wholes), [place for place, whole in enumerate(wholes) if not _is_number(whole.dtype)]
        arrays = [whole.to_numpy() for whole in wholes if _is_number(whole.dtype)]
        parts["arrow"] = tables.arrow([wholes[place] for place in others]) if others else None
        parts["name"] = None if kind == "DataFrame" else value.name
    told = {"kind": kind, "parts": values.encode(parts), "columns": count, "others": others}
    memory = memory_of(arrays)
    found = zip(arrays, memory.places, strict=True)
    told["arrays"] = [[array.dtype.str, list(array.shape), *place] for array, place in found]
    return SharedInput({**told, "size": memory.size}, memory)
