"""Parses what others wrote: Python, without telling whoever runs this process what Python would warn about in it, and
JSON, of which a little on the way may be a lot in memory.

`warnings.catch_warnings` changes the filters of all threads, and two that overlap can leave them changed for good; one
filter for a file that there is not does neither.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from codecs import BOM_UTF8
from contextlib import suppress
from types import CodeType
from typing import Any

FILE = "<code>"
"""The file's name in messages."""
_QUIET = ("ignore", None, Warning, re.compile(re.escape(FILE) + r"\Z"), 0)

PART = 32
"""Bytes that each part of a JSON text counts for: a list, a dict, an item and a name take up to 90 each in memory."""
_PARTS = (b",", b":", b"[", b"{")
"""There is one of these for each, outside of strings."""
_PIECE = 1 << 16
_STRING = re.compile(rb'"[^"\r\n]*(?:["\r\n]|\Z)')
"""Of a text without backslashes. No string goes beyond its line."""


def parsed(code: str, mode: str = "exec") -> Any:
    """The tree of a program, or of an expression where `mode` is "eval". Raises what `ast.parse` raises."""
    return _compiled(code, mode, ast.PyCF_ONLY_AST)


def compiled(code: str | ast.Module, flags: int = 0) -> CodeType:
    """A program's code, which is not run. Raises what `compile` raises."""
    return _compiled(code, "exec", flags)


def expression(text: str) -> CodeType:
    """The code of an expression that a person gave, which is not run. Raises SyntaxError, ValueError."""
    return _compiled(text.strip(), "eval", 0)


def first_line(statement: ast.stmt) -> int:
    """The number of the line on which a statement begins, its decorators included."""
    return min([statement.lineno, *(each.lineno for each in getattr(statement, "decorator_list", ()))])


def _compiled(code: str | ast.Module, mode: str, flags: int) -> Any:
    filters: Any = warnings.filters
    if filters[:1] != [_QUIET]:  # others have put theirs before it, or taken it away
        with suppress(ValueError):
            filters.remove(_QUIET)
        filters.insert(0, _QUIET)
    return compile(code, FILE, mode, flags, dont_inherit=True)


def parsed_json(text: bytes, most: int, errors: str = "strict") -> Any:
    """What a JSON text says that may have `most` bytes, and as many parts as fit into these. Its characters are those
    of UTF-8, with `errors` as in `bytes.decode`. Raises ValueError, RecursionError."""
    if has_too_many_parts(text, most):
        raise ValueError("it has too many parts")
    return json.loads(text.removeprefix(BOM_UTF8).decode("utf-8", errors))


def has_too_many_parts(text: bytes, most: int) -> bool:
    """Whether the lists and dicts of a JSON text, their items and names are more than fit into `most` bytes."""
    most //= PART
    if len(text) <= most or sum(map(text.count, _PARTS)) <= most:
        return False
    parts = Parts()
    for place in range(0, len(text), _PIECE):
        parts.add(text[place : place + _PIECE])
        if parts.number > most:
            return True
    return False


class Parts:
    """How many parts a JSON text has that comes piece by piece."""

    def __init__(self) -> None:
        self.number = 0
        self._before = b""
        """A quote where the last piece ended in a string, and the backslash that it ended in."""

    def add(self, piece: bytes) -> None:
        """Count those of the next piece."""
        text = self._before + piece
        odd = (len(text) - len(text.rstrip(b"\\"))) % 2
        held, text = text[len(text) - odd :], text[: len(text) - odd]
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")  # what is left of quotes are the ends of strings
        outside = _STRING.sub(b"", text)
        self.number += sum(map(outside.count, _PARTS))
        line = text[max(text.rfind(b"\n"), text.rfind(b"\r")) + 1 :]
        self._before = b'"' * (line.count(b'"') % 2) + held
