"""Parses Python that others wrote, without telling whoever runs this process what Python would warn about in it.

`warnings.catch_warnings` changes the filters of all threads, and two that overlap can leave them changed for good; one
filter for a file that there is not does neither.
"""

from __future__ import annotations

import ast
import re
import warnings
from contextlib import suppress
from types import CodeType
from typing import Any

FILE = "<code>"
"""The file's name in messages."""
_QUIET = ("ignore", None, Warning, re.compile(re.escape(FILE) + r"\Z"), 0)


def parsed(code: str, mode: str = "exec") -> Any:
    """The tree of a program, or of an expression where `mode` is "eval". Raises what `ast.parse` raises."""
    return _compiled(code, mode, ast.PyCF_ONLY_AST)


def compiled(code: str | ast.Module, flags: int = 0) -> CodeType:
    """A program's code, which is not run. Raises what `compile` raises."""
    return _compiled(code, "exec", flags)


def expression(text: str) -> CodeType:
    """The code of an expression that a person gave, which is not run. Raises SyntaxError, ValueError."""
    return _compiled(text.strip(), "eval", 0)


def _compiled(code: str | ast.Module, mode: str, flags: int) -> Any:
    filters: Any = warnings.filters
    if filters[:1] != [_QUIET]:  # others have put theirs before it, or taken it away
        with suppress(ValueError):
            filters.remove(_QUIET)
        filters.insert(0, _QUIET)
    return compile(code, FILE, mode, flags, dont_inherit=True)
