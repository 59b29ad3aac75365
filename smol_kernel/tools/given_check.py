"""Looks at a check of answers before any answer is there: whether it can look at one at all."""

from __future__ import annotations

import ast
import inspect
from difflib import get_close_matches
from typing import Any

from smol_kernel.errors import ConfigError
from smol_kernel.parsing import parsed


def fitting(check: Any) -> Any:
    """`check`, a function or an expression. Raises ConfigError for a function that takes nothing, and for an expression
    that does not name `answer` but a misspelling of it."""
    if callable(check):
        if _places(check) == 0:
            called = getattr(check, "__name__", type(check).__name__)
            raise ConfigError(f"check {called!r} takes no answer: give it a parameter for it")
    elif isinstance(check, str):
        names, others = _names(check)
        misspelt = [name for name in names - others if name.isalpha() and name.islower() and 5 <= len(name) <= 7]
        close = [name for name in get_close_matches("answer", misspelt, cutoff=0.8) if not name.startswith("answer")]
        if close and "answer" not in names:
            raise ConfigError(f"check {check!r} does not look at the answer: did you mean answer, not {close[0]}?")
    return check


def _places(check: Any) -> int | None:
    try:
        return len(inspect.signature(check).parameters)
    except (TypeError, ValueError):  # it does not tell
        return None


def _names(check: str) -> tuple[set[str], set[str]]:
    """All names in it, and those of them that are bound in it or called."""
    try:
        tree = parsed(check.strip(), "eval")
    except (SyntaxError, ValueError):  # others say so
        return set(), set()
    nodes = list(ast.walk(tree))
    named = [node for node in nodes if isinstance(node, ast.Name)]
    bound = {node.id for node in named if isinstance(node.ctx, ast.Store)}
    bound |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    called = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    return {node.id for node in named}, bound | called
