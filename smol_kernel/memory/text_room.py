"""How long the text of a value may become, told before it is made.

pandas writes a label, or a cell of an index, as long as the longest of those that it shows: one of a megabyte among a
hundred makes a hundred megabytes.
"""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Iterator
from decimal import Decimal
from itertools import chain
from pathlib import PurePath
from shutil import get_terminal_size
from typing import Any, cast

_SHOWN = 100
"""Items at either end of an index or array that pandas shows at most."""
_MOST = 1_000_000


def text_room(value: Any) -> int:
    """Characters of the text of a decoded value, as Python, NumPy and pandas write it: not many more than these."""
    if isinstance(value, str | bytes):
        return len(value) + 2
    if isinstance(value, dict):
        return sum(text_room(key) + text_room(item) for key, item in cast("dict[Any, Any]", value).items())
    if isinstance(value, list | tuple | set | frozenset):
        return 2 + sum(map(text_room, cast("list[Any]", value)))
    if isinstance(value, int):
        return 2 + value.bit_length() // 3
    if value is None or isinstance(value, float):
        return 2
    if isinstance(value, Decimal | PurePath):
        return len(str(value))
    kind = f"{type(value).__module__.partition('.')[0]}.{type(value).__name__}"
    if kind == "pandas.DataFrame":
        rows, most = _limits(value)
        heads = chain(_shown(value.columns, most // 2 + 1), value.columns.names)
        return rows * (_longest(value.index) + sum(map(text_room, heads)))
    if kind == "pandas.Series":
        return _limits(value)[0] * _longest(value.index) + text_room(value.name)
    if kind == "numpy.ndarray":
        return text_room(_corners(value).ravel().tolist()) if value.dtype.kind in "OSU" else 0
    pd = sys.modules.get("pandas")
    if pd and isinstance(value, (pd.Index, pd.api.extensions.ExtensionArray)):
        return min(len(value), _SHOWN) * _longest(value)
    return 30


def is_long(value: Any) -> bool:
    """Whether it is of pandas or NumPy, with a text too long to be made only to be cut."""
    is_theirs = type(value).__module__.startswith(("pandas", "numpy")) and not isinstance(value, str | bytes)
    try:
        return is_theirs and text_room(value) > _MOST
    except Exception:  # noqa: BLE001 - boundary: methods of what it holds, which may be itself
        return False


class ShortRepr(reprlib.Repr):
    """As in `reprlib`; of a value whose own text would be too long, it is said what it is."""

    def repr_instance(self, x: Any, level: int) -> str:
        """The text of a value of any class."""
        return self.without_its_text(x, level) if is_long(x) else super().repr_instance(x, level)

    def without_its_text(self, x: Any, level: int) -> str:
        """Its type and size, and the first items of labels."""
        if type(x).__name__ == "DataFrame":
            return f"<DataFrame of {len(x):,} rows x {len(x.columns):,} columns>"
        if type(x).__name__ in ("Series", "ndarray"):
            return f"<{type(x).__name__} of {' x '.join(f'{size:,}' for size in x.shape or (1,))} items>"
        items = self.repr_list([x[place] for place in range(min(len(x), 7))], level)
        return f"{type(x).__name__}({items}, dtype={x.dtype})"


def _limits(table: Any) -> tuple[int, int]:
    """How many rows and columns pandas shows at most: as many as it is told, or fit into the terminal."""
    terminal = get_terminal_size()
    pairs = (("rows", terminal.lines), ("columns", terminal.columns))
    limits = [(sys.modules["pandas"].get_option(f"display.max_{what}"), fit) for what, fit in pairs]
    rows, columns = (sys.maxsize if limit is None else limit or fit for limit, fit in limits)
    return min(len(table), rows), columns


def _corners(array: Any) -> Any:
    """What NumPy shows of it: of a large one the first and last along each axis."""
    numpy = sys.modules["numpy"]
    limits = numpy.get_printoptions()
    if array.size > limits["threshold"]:
        ends = [*range(limits["edgeitems"]), *range(-limits["edgeitems"], 0)]
        for axis, size in enumerate(array.shape):
            array = array.take(ends, axis) if size > len(ends) else array
    return array


def _shown(labels: Any, most: int = _SHOWN) -> Iterator[Any]:
    """Those that pandas shows, and more; one at a time, for it may make them anew."""
    count = len(labels)
    return (labels[place] for place in {*range(min(count, most)), *range(max(count - most, 0), count)})


def _longest(labels: Any) -> int:
    heads = chain(getattr(labels, "names", ()), _shown(getattr(labels.dtype, "categories", ())))
    return max(map(text_room, chain(_shown(labels), heads)), default=0)
