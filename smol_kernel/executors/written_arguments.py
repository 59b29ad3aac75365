"""Reads the arguments of a call where a model wrote them as text. Called by `tool_calls.py`."""

from __future__ import annotations

import ast
import difflib
import json
import re
from collections.abc import Collection
from typing import Any, cast

from smol_kernel.errors import AgentToolCallError
from smol_kernel.parsing import parsed
from smol_kernel.tools.base import Tool
from smol_kernel.tools.checking import brief

_BROKEN = re.compile(r"""\s*\{\s*(?:"|'(\w*)|([^\W\d]\w*)\s*:)""")
"""Begins the half of an object, or a broken one, with a name in Python's quotes or in none."""
_WORDS = {"true": True, "false": False, "null": None}


def arguments_in(given: str, tool: Tool) -> Any:
    """The arguments in a text that is a JSON object, encoded once too often, or a dict as Python writes it; else the
    text, which is the value alone.

    For a tool with one input a dict is its arguments only where it names that. Raises AgentToolCallError for the half
    of an object.
    """
    names = tool.inputs if len(tool.inputs) == 1 else None
    found = _object_in(given, names)
    if found is None and (broken := _BROKEN.match(given)):
        name = broken[1] or broken[2]
        if not name or names is None or _names_one([name], names):
            raise AgentToolCallError(
                f"The arguments of {tool.name}() are no valid JSON, so nothing was called: {brief(given)}. Give one "
                'whole JSON object; inside of its strings write \\" for a quote.'
            )
    return given if found is None else found


def _object_in(given: str, names: Collection[str] | None) -> dict[str, Any] | None:
    """The object that a text is; one that Python wrote has to name one of `names`, if there are any."""
    if not (text := given.strip()).startswith("{") or not text.endswith("}"):
        return None
    try:
        found: Any = json.loads(text, strict=False)
        names = None
    except (ValueError, RecursionError):
        try:
            found = ast.literal_eval(_JsonWords().visit(parsed(text, "eval").body))
        except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
            return None
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in cast("dict[Any, Any]", found)):
        return None
    return found if names is None or not found or _names_one(found, names) else None


def _names_one(given: Collection[str], names: Collection[str]) -> bool:
    """Whether one of the names that are given is one of `names`, perhaps misspelt."""
    return any(difflib.get_close_matches(name, names, n=1) for name in given)


class _JsonWords(ast.NodeTransformer):
    """Puts the values of JSON's words in their place."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.copy_location(ast.Constant(_WORDS[node.id]), node) if node.id in _WORDS else node
