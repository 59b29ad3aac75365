"""How what pandas labels and types with crosses between host and child: indexes, intervals, periods, dtypes, and its
own arrays, which `unique()` gives.

`values` loads this with `tables`, in the child as well, into which both travel as source.
"""

from __future__ import annotations

import re
from contextlib import suppress
from importlib import import_module
from typing import Any

from . import tables, values

MOST = 1_000_000
"""Items of a range that crosses as such: it takes no room on the way, but may at its end."""
_FREQUENCY = re.compile(r"[\w-]{1,30}", re.ASCII)


def _index(index: Any) -> dict[str, Any]:
    if type(index).__name__ == "RangeIndex" and len(index) > MOST:
        raise values.NotPortable(f"is a RangeIndex of {len(index):,} items, the limit is {MOST:,}")
    wholes: list[Any] = []
    return {"index": tables.index_parts(index, wholes, MOST), "arrow": tables.arrow(wholes) if wholes else None}


def _from_index(parts: dict[str, Any]) -> Any:
    arrays = iter(parts["arrow"].columns if parts["arrow"] is not None else ())
    return tables.index_of(parts["index"], arrays, MOST)


def _array(array: Any) -> list[Any]:
    return [import_module("pandas").Series(array, copy=False)]


def _from_array(parts: list[Any]) -> Any:
    (series,) = parts
    return values.need(series, import_module("pandas").Series).array


def _interval(interval: Any) -> list[Any]:
    return [interval.left, interval.right, interval.closed]


def _from_interval(parts: list[Any]) -> Any:
    left, right, closed = values.row(parts, object, object, str)
    return import_module("pandas").Interval(left, right, closed)


def _period(period: Any) -> list[Any]:
    return [period.ordinal, period.freqstr]


def _from_period(parts: list[Any]) -> Any:
    ordinal, frequency = values.row(parts, int, str)
    if not _FREQUENCY.fullmatch(frequency):
        values.refuse(f"frequency {frequency[:40]!r}")
    return import_module("pandas").Period(ordinal=ordinal, freq=frequency)


def _dtype(dtype: Any) -> str:
    name = str(dtype)
    with suppress(Exception):  # of some a name stands for another, or for none
        if tables.is_dtype(name) and type(same := _from_dtype(name)) is type(dtype) and same == dtype:
            return name
    raise values.NotPortable(f"is the dtype {name[:100]}, which cannot cross between host and child")


def _from_dtype(name: str) -> Any:
    if not tables.is_dtype(name):
        values.refuse(f"dtype {name[:40]!r}")
    return import_module("pandas").api.types.pandas_dtype(name)


values.crosses("pandas.Index", "Index", _index, dict, _from_index)
values.crosses("pandas.ExtensionArray", "pandas array", _array, list, _from_array)
values.crosses("pandas.Interval", "Interval", _interval, list, _from_interval)
values.crosses("pandas.Period", "Period", _period, list, _from_period)
values.crosses("numpy.dtype pandas.ExtensionDtype", "dtype", _dtype, str, _from_dtype)
