"""Values in a line, for the summary of a tool call and of what came back."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from smol_kernel.executors.values import describe


class _Repr(reprlib.Repr):
    """Python's own way to write simple values, at any depth, shortened; others are described, without an address."""

    def repr_instance(self, x: Any, level: int) -> str:
        """What is said of a value of any class."""
        return repr(x) if isinstance(x, bool | float | complex) else describe(x)


_REPR = _Repr()


def brief(value: Any, length: int = 60, quote: Callable[[str], str] = repr) -> str:
    """A value in one line: as Python writes it if it is simple, else described."""
    if isinstance(value, str):
        return quote(value if len(value) <= length else f"{value[: length - 1]}…")
    if value is None or isinstance(value, bool | int | float | list | tuple | dict | set):
        with suppress(Exception):  # any class's own methods run here; an int can be too long to write down
            return cut(_REPR.repr(value), length)
    return cut(describe(value), length)


def argument(value: Any) -> str:
    """A value as an argument of a call, its text in double quotes."""
    return brief(value, quote=lambda text: json.dumps(text, ensure_ascii=False))


def cut(text: str, length: int = 200) -> str:
    """`text` on one line, of at most so many characters."""
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[: length - 1]}…"
