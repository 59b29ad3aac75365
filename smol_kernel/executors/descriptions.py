"""What a model is told of a value that it has not seen: its type, its size, and a little of what is in it."""

from __future__ import annotations

import reprlib
from typing import Any

from smol_kernel.executors import values
from smol_kernel.executors.addresses import without_addresses


def describe(value: Any) -> str:
    """One line of at most 200 characters for a prompt: type, size, columns or first items; no memory addresses."""
    try:
        text = without_addresses(" ".join(_summary(value).split()))
    except Exception:  # noqa: BLE001 - boundary: any class's own methods run here
        text = type(value).__name__
    return text if len(text) <= 200 else f"{text[:199]}…"


def _summary(value: Any) -> str:
    name = type(value).__name__
    kind = f"{values.package(type(value))}.{name}"
    if kind in ("pandas.DataFrame", "pyarrow.Table"):
        is_frame = kind == "pandas.DataFrame"
        labels, dtypes = (value.columns, value.dtypes) if is_frame else (value.column_names, value.schema.types)
        columns = [f"{label} ({dtype})" for label, dtype in zip(labels[:20], dtypes[:20], strict=True)]
        return f"{name} {value.shape[0]} x {value.shape[1]}, columns {', '.join(columns) or 'none'}"
    if kind == "pandas.Series":
        return f"Series of {len(value):,} items, {value.dtype}, name {value.name!r}"
    if kind == "numpy.ndarray":
        return f"ndarray {' x '.join(map(str, value.shape)) or 'of one item'}, {value.dtype}"
    if kind.startswith("PIL."):
        return f"{name} {value.width} x {value.height}, {value.mode}"
    if isinstance(value, values.RemoteValue) or value is None:
        return repr(value)
    short = reprlib.Repr()
    short.maxstring = short.maxother = 100
    if hasattr(value, "__len__"):
        unit = "characters" if isinstance(value, str) else "bytes" if isinstance(value, bytes) else "items"
        return f"{name} of {len(value):,} {unit}: {short.repr(value)}"
    text = short.repr(value)
    return text if name in text.partition("(")[0] else f"{name} {text}"
