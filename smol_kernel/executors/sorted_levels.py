"""The levels of a MultiIndex and categories, told apart by sorting: from crafted numbers and texts pandas' own tables
take a time that grows with the square, and nothing can interrupt it.

`tables` calls this, in the child as well, into which it travels as source.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from . import crafted_keys, values

MOST_STEPS = 1_000
"""Distances between dates that have a frequency; months, quarters and days of business have a dozen."""


def multi_index(levels: list[Any], names: list[Any]) -> Any:
    """As `MultiIndex.from_arrays` makes it of Series."""
    pd = import_module("pandas")
    if any(len(level) != len(levels[0]) for level in levels):
        values.refuse("levels of different lengths")
    codes, labels = zip(*map(_told_apart, levels), strict=True)
    return pd.MultiIndex(levels=labels, codes=codes, names=names, verify_integrity=False)


def categorical(codes: Any, categories: Any, ordered: bool) -> Any:
    """As `Categorical.from_codes` makes it."""
    pd = import_module("pandas")
    if type(categories).__name__ != "RangeIndex":
        _, labels = _told_apart(pd.Series(categories))
        if len(labels) != len(categories):
            values.refuse("categories of which two are equal, or one is missing")
    dtype = pd.CategoricalDtype._from_fastpath(categories, ordered)
    return pd.Categorical.from_codes(codes, dtype=dtype)


def check_labels(series: Any) -> None:
    """Whether objects can be labels."""
    crafted_keys.check_hashes(list(crafted_keys.filled({}, [(label, None) for label in series.tolist()])))


def has_few_steps(index: Any) -> bool:
    """Whether dates may have a frequency: to find it pandas puts all their distances into one of its tables."""
    np = import_module("numpy")
    return int(np.count_nonzero(np.diff(np.sort(np.diff(index.asi8))))) < MOST_STEPS


def _told_apart(series: Any) -> tuple[Any, Any]:
    """The place of each item among the different ones, -1 for one that is missing; and an Index of these, in order if
    they have one."""
    pd, np = import_module("pandas"), import_module("numpy")
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        codes = series.array.codes
        each = np.arange(len(dtype.categories), dtype=codes.dtype)
        return codes, pd.CategoricalIndex(pd.Categorical.from_codes(each, dtype=dtype))
    codes = np.full(len(series), -1, np.intp)
    present = np.flatnonzero(series.notna().to_numpy())
    if hasattr(series.array, "asi8"):
        told, firsts = _by_sorting(np, series.array.asi8[present])
    elif isinstance(dtype, np.dtype) and dtype.kind in "biufc":
        told, firsts = _by_sorting(np, series.to_numpy()[present])
    elif hasattr(series.array, "_mask"):  # numbers, of which some may be missing
        told, firsts = _by_sorting(np, series.array._data[present])
    elif isinstance(dtype, pd.ArrowDtype):
        told, firsts = _of_arrow(np, series.array.__arrow_array__(), present)
    else:
        told, firsts = _by_keys(np, series.iloc[present].tolist())
    codes[present] = told
    return codes, pd.Index(series.iloc[present[firsts]], dtype=dtype)


def _by_sorting(np: Any, numbers: Any) -> tuple[Any, Any]:
    """The place of each number among the different ones, and where each of these comes first."""
    order = np.argsort(numbers, kind="stable")
    ranked = numbers[order]
    new = np.ones(len(ranked), bool)
    new[1:] = ranked[1:] != ranked[:-1]
    told = np.empty(len(ranked), np.intp)
    told[order] = np.cumsum(new) - 1
    return told, order[new]


def _of_arrow(np: Any, array: Any, present: Any) -> tuple[Any, Any]:
    """As `_by_sorting`; what stands in a dictionary is read once and not for each row."""
    types, array = import_module("pyarrow.types"), array.combine_chunks()
    is_dictionary = types.is_dictionary(array.type)
    items = array.dictionary if is_dictionary else array.take(present)
    if len(present) and (types.is_nested(items.type) or types.is_dictionary(items.type)):
        values.refuse(f"labels of type {str(array.type)[:40]}")
    told, firsts = _by_keys(np, items.to_pylist())
    return _by_sorting(np, told[array.indices.take(present).to_numpy()]) if is_dictionary else (told, firsts)


def _by_keys(np: Any, items: list[Any]) -> tuple[Any, Any]:
    """As `_by_sorting`, for any items; such as cannot be compared stay in the order in which they come."""
    found = crafted_keys.filled({}, list(zip(reversed(items), range(len(items) - 1, -1, -1), strict=True)))
    crafted_keys.check_hashes(list(found))
    compared = (lambda item: item) if crafted_keys.are_short(list(found)) else crafted_keys.Compared
    try:  # as pandas has texts behind numbers
        ranked = sorted(found, key=lambda item: (isinstance(item, str), compared(item)))
    except values.MalformedValue:
        raise
    except (TypeError, ValueError, ArithmeticError):
        ranked = sorted(found, key=found.__getitem__)
    firsts = [found[item] for item in ranked]
    for place, item in enumerate(ranked):
        found[item] = place
    return np.fromiter(map(found.__getitem__, items), np.intp, len(items)), np.array(firsts, np.intp)
