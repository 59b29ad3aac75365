"""Whether SQL, as far as it stands in the code, reads and changes nothing. Used by `opening`."""

from __future__ import annotations

import ast
import re

_APART = re.compile(r"('(?:[^']|'')*'|\"(?:[^\"]|\"\")*\")|--[^\n]*|/\*.*?\*/", re.DOTALL)
"""Literals, quoted names, and comments."""
_SELECTS = re.compile(r"\s*(?:select|values)\b", re.IGNORECASE)
_CALLS = re.compile(r"\b(?:nextval|setval|setseed|load_extension|writefile|into|for\s+update)\b", re.IGNORECASE)
"""With what also a `select` changes something."""
_ASKS = re.compile(r"\s*(?:with|from|explain|describe|desc|show|summarize)\b", re.IGNORECASE)
_CHANGES = re.compile(
    r"\b(?:insert|update|delete|merge|create|drop|alter|truncate|attach|detach|copy|export|import|install|load|call|set"
    r"|vacuum|checkpoint|replace(?!\s*\())\b",
    re.IGNORECASE,
)
"""Words of what changes something; a name may be one of them, and is then taken for it."""
_PRAGMA = re.compile(
    r"\s*pragma\s+(?:\w+\.)?(?:table_x?info|table_list|index_list|index_x?info|foreign_key_list|database_list"
    r"|compile_options|show_tables|database_size|storage_info|version)\s*(?:\([^()=]*\))?\s*",
    re.IGNORECASE,
)


def only_reads(node: ast.expr | None) -> bool:
    """Whether it is the text of one statement that reads; what is put into it counts as a name."""
    text = _APART.sub(lambda found: "''" if found[1] else " ", _text(node)).rstrip().removesuffix(";")
    if ";" in text or _CALLS.search(text):
        return False
    asks = _ASKS.match(text) and not _CHANGES.search(text)
    return bool(_SELECTS.match(text) or asks or _PRAGMA.fullmatch(text))


def may_change(node: ast.expr | None) -> bool:
    """Whether it is, or begins with, the text of a statement that is not seen to only read; a single word is a name."""
    while isinstance(node, ast.BinOp):
        node = node.left
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):  # `"select {}".format(name)`
        node = node.func.value
    return len(_text(node).split()) > 1 and not only_reads(node)


def _text(node: ast.expr | None) -> str:
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr(values=values):
            return "".join(_text(value) or "x" for value in values)
        case ast.Call(func=ast.Name(id="text"), args=[inner]):  # SQLAlchemy's
            return _text(inner)
        case _:
            return ""
