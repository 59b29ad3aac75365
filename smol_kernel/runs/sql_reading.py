"""Whether SQL reads and changes nothing, as far as it stands in the code (for `opening`) or in what a tool was given
(for `for_effect`)."""

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
_QUERY = re.compile(
    r"\s*(?:select\b|values\s*\(|with\b.*?\bas\s*\(|explain\b|pragma\b|show\s+(?:tables|databases|schemas|columns)\b"
    r"|(?:desc|describe|summarize)\s+[\w.]+\s*$|from\s+[\w.]+\s+select\b)",
    re.IGNORECASE | re.DOTALL,
)
"""Begins SQL, rather than a text in words, that mostly reads."""
_COMMAND = re.compile(
    r"\b(?:insert\s+(?:(?:or\s+\w+|ignore|low_priority|high_priority)\s+)?(?:into|overwrite)|(?:replace|merge|upsert)\s+into|delete\s+from"
    r"|update\s+(?:or\s+\w+\s+|only\s+)?\S+\s+(?:(?:as\s+)?\w+\s+)?set"
    r"|(?:create|drop|alter|truncate|refresh)\s+(?:or\s+replace\s+)?"
    r"(?:(?:temp|temporary|transient|global|local|unique|external|unlogged|virtual|materialized|recursive|persistent|foreign)\s+)*"
    r"(?:table|view|index|schema|database|sequence|trigger|function|procedure|macro|type|role|user|extension|secret)"
    r"|(?:import|export|attach|detach)\s+database)\b"
    r"|(?:^|;)\s*(?:copy\s.+\s(?:to|from)\s|(?:grant|revoke)\s.+\s(?:to|from)\s|(?:at|de)tach\s+(?:''|\w+\s*(?:$|;))"
    r"|(?:begin|commit|rollback|end|start\s+transaction)(?:\s+(?:transaction|work|immediate|exclusive|deferred))?\s*(?:$|;)"
    r"|(?:savepoint|release|install|load|use|truncate|vacuum|reindex)(?:\s+[\w.]+)?\s*(?:$|;)"
    r"|call\s+[\w.]+\s*\(|exec(?:ute)?\s+\w|set\s+(?:session\s+|global\s+|local\s+)?[\w.]+\s*(?:=|\bto\b))",
    re.IGNORECASE | re.DOTALL,
)
"""SQL that changes something, as words in a text hardly do."""


def only_reads(node: ast.expr | None) -> bool:
    """Whether it is the text of one statement that reads; what is put into it counts as a name."""
    return _only_reads(_without_literals(_text(node)))


def reads(text: str) -> bool:
    """Whether a text is SQL that only reads."""
    text = _without_literals(text)
    return _QUERY.match(text) is not None and _only_reads(text)


def changes(text: str) -> bool:
    """Whether a text is SQL that may change something."""
    text = _without_literals(text)
    return _COMMAND.search(text) is not None or (_QUERY.match(text) is not None and not _only_reads(text))


def _only_reads(text: str) -> bool:
    if ";" in text or _CALLS.search(text):
        return False
    asks = _ASKS.match(text) and not _CHANGES.search(text)
    return bool(_SELECTS.match(text) or asks or _PRAGMA.fullmatch(text))


def _without_literals(text: str) -> str:
    return _APART.sub(lambda found: "''" if found[1] else " ", text).rstrip().removesuffix(";")


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
