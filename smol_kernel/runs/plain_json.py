"""An answer as JSON that any program reads, without the tags that bring values back. Used by `smol run -o`."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Iterable
from typing import Any

from smol_kernel.executors.addresses import without_addresses
from smol_kernel.executors.values import package

MOST_BITS = 10_000
"""Of an integer that is written in digits: Python, and most programs, read no more than some thousand digits."""


def plain_json(value: Any) -> Any:
    """`value`, decoded, as what JSON has: a tuple or a set as a list, a date as ISO's text, a table as records, NaN as
    null. What has no such form, such as a picture, becomes its text."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= MOST_BITS else hex(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return _object(value.items())
    if isinstance(value, list | tuple):
        return [plain_json(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted(map(plain_json, value), key=lambda each: json.dumps(each, sort_keys=True))
    if package(type(value)) in ("numpy", "pandas", "pyarrow"):
        return _of_package(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return without_addresses(str(value))


def _times(texts: Any) -> Any:
    if isinstance(texts, list):
        return [_times(each) for each in texts]
    return texts if isinstance(texts, str) and texts != "NaT" else None


def _object(pairs: Iterable[tuple[Any, Any]]) -> Any:
    """Pairs as an object, its names as text; as a list of lists where two have the same."""
    plain = [(_name(key), plain_json(value)) for key, value in pairs]
    named = dict(plain)
    return named if len(named) == len(plain) else list(map(list, plain))


def _name(key: Any) -> str:
    plain = plain_json(key)
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def _of_package(value: Any) -> Any:
    """What NumPy, pandas and pyarrow have: an array as lists, a table as records, the labels of its rows among them
    unless they only count."""
    kind = type(value).__name__
    if kind in ("NAType", "NaTType"):
        return None
    if kind == "Table":
        return plain_json(value.to_pylist())
    if kind in ("DataFrame", "Series"):
        counts = type(value.index).__name__ == "RangeIndex" and value.index.name is None
        if kind == "Series":
            return plain_json(value.tolist()) if counts else _object(value.items())
        frame = value if counts else value.reset_index(allow_duplicates=True)
        return [_object(zip(frame.columns, row, strict=True)) for row in frame.itertuples(index=False, name=None)]
    if hasattr(value, "tolist"):
        if value.dtype.kind in "mM":  # they would become numbers
            return _times(value.astype(str).tolist())
        shorter = {"g": float, "G": complex}.get(getattr(value.dtype, "char", ""))  # Python has no long double
        return plain_json((value if shorter is None else value.astype(shorter)).tolist())
    return value.isoformat() if kind == "Timestamp" else str(value)
