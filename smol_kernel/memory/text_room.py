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
from typing import Any, cast

_SHOWN = 100
"""Items at either end of an index or array, rows or columns, that pandas shows at most."""
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
        columns = sum(map(text_room, _shown(value.columns)))
        return _rows(value) * (_longest(value.index) + columns)
    if kind == "pandas.Series":
        return _rows(value) * _longest(value.index) + text_room(value.name)
    if kind == "numpy.ndarray":
        return text_room(value.ravel().tolist()) if value.dtype == object else 0
    pd = sys.modules.get("pandas")
    if pd and isinstance(value, (pd.Index, pd.api.extensions.ExtensionArray)):
        return _rows(value) * _longest(value)
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
        if type(x).__name__ in ("DataFrame", "Series", "ndarray"):
            return f"<{type(x).__name__} of {x.size:,} items>"
        items = self.repr_list([x[place] for place in range(min(len(x), 7))], level)
        return f"{type(x).__name__}({items}, dtype={x.dtype})"


def _rows(value: Any) -> int:
    return min(len(value), _SHOWN)


def _shown(labels: Any) -> Iterator[Any]:
    """Those that pandas shows, and more; one at a time, for it may make them anew."""
    count = len(labels)
    return (labels[place] for place in {*range(min(count, _SHOWN)), *range(max(count - _SHOWN, 0), count)})


def _longest(labels: Any) -> int:
    heads = chain(getattr(labels, "names", ()), _shown(getattr(labels.dtype, "categories", ())))
    return max(map(text_room, chain(_shown(labels), heads)), default=0)
