"""Calls, results and errors in one line, as events tell them. `bridge` writes them."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from smol_kernel.executors.descriptions import describe
from smol_kernel.executors.tracebacks import message
from smol_kernel.memory.known_secrets import redacted


def error_line(error: BaseException) -> str:
    """Type and message of an error, known secrets left out."""
    return cut(redacted(f"{type(error).__name__}: {message(error)}"))


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
    """An argument, as it is written in a call."""
    return brief(value, quote=lambda text: json.dumps(text, ensure_ascii=False))


def cut(text: str, length: int = 200) -> str:
    """The text as one line of at most so many characters."""
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[: length - 1]}…"
