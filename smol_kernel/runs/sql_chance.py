"""The clock and chance in SQL, which cells hold as text. Used by `chance`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

_ASKING = frozenset(["execute", "executemany", "executescript", "read_sql", "read_sql_query", "sql", "sqldf"])
"""Functions whose texts are SQL, whole or in pieces; `query` is a table's as well."""
_BEGINS = re.compile(
    r"\s*(?:select|with|insert|update|delete|create|replace|alter|values|merge|explain)\s", re.IGNORECASE
)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_DEFAULT = re.compile(r"\bdefault\s*\(?\s*(?:current_\w+|\w+\s*\([^()]*\))", re.IGNORECASE)
"""What a column has where nothing is given: a table may have such a one that nobody reads."""
_LITERAL = re.compile(r"'(?:[^']|'')*'")
_NOW = re.compile(
    r"""(?<![\w."`\[@:$])(?:current_(?:date|time|timestamp)|localtimestamp)(?![\w."`\]])"""
    r"|\b(?:now|today|getdate|sysdate|curdate|curtime|get_current_timestamp|date|time|datetime|julianday|unixepoch)"
    r"\s*\(\s*\)",
    re.IGNORECASE,
)
_READ_NOW = re.compile(
    r"\b(?:date|time|datetime|julianday|unixepoch|strftime|timediff)\s*\((?:[^()]|\([^()]*\))*'now'"
    r"|\bstrftime\s*\(\s*'[^']*'\s*\)|'(?:now|today)'\s*::|\b(?:date|timestamp|timestamptz)\s+'(?:now|today)'",
    re.IGNORECASE,
)
"""Functions that read the word "now" as the moment."""
_DRAWN = re.compile(
    r"\b(?:random|rand|uuid|gen_random_uuid|newid)\s*\(\s*\)|\brandomblob\s*\(|\b(?:using\s+sample|tablesample)\b",
    re.IGNORECASE,
)
_SEEDED = re.compile(r"\bsetseed\s*\(|\brepeatable\b", re.IGNORECASE)


def sql_chance(nodes: Iterable[ast.AST]) -> str:
    """What in the SQL that is asked gives something else each time, as the end of a sentence; empty if nothing is."""
    texts = [_COMMENT.sub(" ", _DEFAULT.sub(" ", text)) for text in _asked(list(nodes))]
    seeded = any(map(_SEEDED.search, texts))
    for text in texts:
        bare = _LITERAL.sub("''", text)
        if found := _NOW.search(bare) or _READ_NOW.search(text):
            return f"the cells read the clock (`{found[0]}` in SQL)"
        if (found := _DRAWN.search(bare)) and not seeded:
            return f"the cells draw random numbers without a seed (`{found[0]}` in SQL)"
    return ""


def _asked(nodes: list[ast.AST]) -> Iterator[str]:
    """Texts that are SQL: those that begin so, and those that the functions are given or that are added to others."""
    calls = [(node, ast.unparse(node.func).rpartition(".")[2]) for node in nodes if isinstance(node, ast.Call)]
    if not any(name in _ASKING or name == "query" for _, name in calls):
        return
    yield from (text for node in nodes if _BEGINS.match(text := _text(node)))
    for call, name in calls:
        yield from map(_text, call.args if name in _ASKING else [])
    yield from (_text(node.value) for node in nodes if isinstance(node, ast.AugAssign))


def _text(node: ast.AST) -> str:
    """The words of a text, as far as they stand there; what is put in is a question mark."""
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr(values=values):
            return "".join(_text(value) or "?" for value in values)
        case ast.BinOp(left=left, right=right):
            return _text(left) + (_text(right) if isinstance(node.op, ast.Add) else "")
        case ast.Call(func=function, args=given):
            return (_text(function.value) if isinstance(function, ast.Attribute) else "") + " ".join(map(_text, given))
        case _:
            return ""
