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
_COMMENT = re.compile(r"--[^\n]*|/\*(?:.*?\*/|(.*))", re.DOTALL)
_LINE_COMMENT = re.compile(r"--[^\n]*")
_DEFAULT = re.compile(r"\bdefault\s*(?:\(\s*)?(?:current_\w+|\w+\s*\([^()]*\))", re.IGNORECASE)
"""What a column has where nothing is given: a table may have such a one that nobody reads."""
_LITERAL = re.compile(r"'(?:[^']|'')*'")
_NOW = re.compile(
    r"""(?<![\w."`\[@:$])(?:current_(?:date|time|timestamp)|localtimestamp)(?![\w."`\]])"""
    r"|\b(?:now|today|getdate|sysdate|curdate|curtime|get_current_timestamp|date|time|datetime|julianday|unixepoch)"
    r"\s*\(\s*\)",
    re.IGNORECASE,
)
_READ_NOW = re.compile(
    r"\b(?:date|time|datetime|julianday|unixepoch|strftime|timediff)\s*\((?:[^()]|\([^()]*\))*(?:'now'|\"now\")"
    r"|\bstrftime\s*\(\s*(?:'[^']*'|\"[^\"]*\")\s*\)"
    r"|'(?:now|today)'\s*::|\b(?:date|timestamp|timestamptz)\s+'(?:now|today)'",
    re.IGNORECASE,
)
"""Functions that read the word "now" as the moment; SQLite takes a word in double quotes as a text."""
_DRAWN = re.compile(
    r"\b(?:random|rand|uuid|gen_random_uuid|newid)\s*\(\s*\)|\brandomblob\s*\("
    r"|\b(?:using\s+sample|tablesample)\b(?![^;]{0,300}(?:\brepeatable\b|\(\s*(?:system|bernoulli|reservoir)\s*,\s*\d+\s*\)))",
    re.IGNORECASE,
)
"""DuckDB's samples may be given a seed: `repeatable (42)`, `10% (bernoulli, 42)`."""
_SEEDED = re.compile(r"\bsetseed\s*\(", re.IGNORECASE)


def sql_chance(nodes: Iterable[ast.AST]) -> str:
    """What in the SQL that is asked gives something else each time, as the end of a sentence; empty if nothing is."""
    texts = [_COMMENT.sub(_without, _DEFAULT.sub(" ", text)) for text in _asked(list(nodes))]
    seeded = any(map(_SEEDED.search, texts))
    for text in texts:
        bare = _LITERAL.sub("''", text)
        if found := _NOW.search(bare) or _READ_NOW.search(text):
            return f"the cells read the clock (`{_line(found)}` in SQL)"
        if (found := _DRAWN.search(bare)) and not seeded:
            return f"the cells draw random numbers without a seed (`{_line(found)}` in SQL)"
    return ""


def _without(comment: re.Match[str]) -> str:
    """A blank; of what nothing closes, which may be part of a text, all but the other comments in it."""
    return " " if comment[1] is None else "/*" + _LINE_COMMENT.sub(" ", comment[1])


def _line(found: re.Match[str]) -> str:
    return " ".join(found[0].split())


def _asked(nodes: list[ast.AST]) -> Iterator[str]:
    """Texts that are SQL: those that begin so, those that the functions are given, and those that are added to them."""
    calls = [(node, ast.unparse(node.func).rpartition(".")[2]) for node in nodes if isinstance(node, ast.Call)]
    if not any(name in _ASKING or name == "query" for _, name in calls):
        return
    given = [argument for call, name in calls if name in _ASKING for argument in call.args]
    texts = [node for node in nodes if _BEGINS.match(_text(node))]
    yield from map(_text, [*texts, *given])
    begun = {id(node) for node in texts}
    parts = [part for node in (*given, *texts) for part in ast.walk(node)]
    bound = [node for node in nodes if isinstance(node, ast.Assign) and id(node.value) in begun]
    parts += [target for node in bound for target in node.targets]
    asked = {ast.unparse(part) for part in parts if isinstance(part, (ast.Name, ast.Attribute, ast.Subscript))}
    added = [node for node in nodes if isinstance(node, ast.AugAssign)]
    yield from (_text(node.value) for node in added if ast.unparse(node.target) in asked)


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
