"""Values that text stands for: a date, a path, a decimal. JSON has none of these, and a model that writes JSON sends
text, in the form that the schema names (https://json-schema.org, "format").
"""

from __future__ import annotations

import datetime
import decimal
import numbers
import pathlib
import uuid
from collections.abc import Callable
from typing import Any, TypeGuard

from smol_kernel.errors import ToolError

FORMATS: dict[type, tuple[str, str, Callable[[str], Any]]] = {
    datetime.datetime: ("date-time", "'2026-01-31T08:30:00'", datetime.datetime.fromisoformat),
    datetime.date: ("date", "'2026-01-31'", datetime.date.fromisoformat),
    datetime.time: ("time", "'08:30:00'", datetime.time.fromisoformat),
    decimal.Decimal: ("decimal", "'19.90'", decimal.Decimal),
    pathlib.Path: ("path", "'folder/file.csv'", pathlib.Path),
    uuid.UUID: ("uuid", "'12345678-1234-5678-1234-567812345678'", uuid.UUID),
}
"""What the schema calls the text of each, an example, and how it is read."""
FORMAT_NAMES = frozenset(name for name, _, _ in FORMATS.values())


def is_written(hint: Any) -> TypeGuard[type]:
    """Whether text stands for a value of this hint."""
    return isinstance(hint, type) and hint in FORMATS


def read(kind: type, value: Any, path: str) -> Any:
    """The value that a text stands for, and of Decimal a number; any other as it is. Raises ToolError, which names the
    place by `path`, for text that stands for none."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, (bool, decimal.Decimal))
    if not isinstance(value, str) and not (kind is decimal.Decimal and is_number):
        return value
    name, example, reader = FORMATS[kind]
    text = str(value)
    if kind in (datetime.datetime, datetime.time) and text[-1:] in ("Z", "z"):
        text = f"{text[:-1]}+00:00"  # Python 3.10 does not read it
    try:
        return reader(text)
    except (ValueError, decimal.InvalidOperation):
        raise ToolError(f"{path!r}: it needs a {name} such as {example}, not {value!r:.80}") from None
