"""The source of an action: parsed with IPython's magics tolerated, and edited without touching the rest of its text."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass, field

from smol_kernel.parsing import parsed

_MAGIC = re.compile(r"(\s*)(?!\s)([%!].*|[^#'\"]*\?{1,2}\s*)")
_ASSIGNED_MAGIC = re.compile(r"(\s*(?!\s)[\w.,\[\] ]+=\s*)([%!].*)")
TRANSPARENT = re.compile(r"%%(?:time|timeit|capture|prun)\b[^\n]*\n")
"""Cell magics that run the cell as Python."""
KEEPS_BACK = re.compile(r"(?:\s*%%.*\n)*?\s*%%capture\b(?!.*--no-d)")
"""The beginning of a cell that shows no picture, whatever it draws."""
_SEMICOLON = re.compile(r"[ \t]*;")

_DEEPEST = 250
"""Levels of a syntax tree; a chain of 600 additions has more."""


@dataclass(frozen=True, order=True)
class Edit:
    """Characters `start` to `end` of a source become `text`."""

    start: int
    end: int
    text: str


@dataclass
class Source:
    """Code with its syntax tree; `body` is None where it is no Python even with its magics put aside."""

    text: str
    body: list[ast.stmt] | None = None
    magics: set[int] = field(default_factory=set)
    """Numbers of the lines that are IPython's, not Python's."""

    def __post_init__(self) -> None:
        self._lines = re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$", self.text)
        self._starts = [0]
        self._put_aside: dict[int, int] = {}
        """Line of a magic → the column, in bytes, at which what stands for it in the tree ends."""
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))
        if not self.text.lstrip().startswith("%%"):
            self.body = _parse(self.text) or self._parse_masked()

    def _parse_masked(self) -> list[ast.stmt] | None:
        lines = list(self._lines)
        for number, line in enumerate(lines):
            content = line.rstrip("\r\n")
            if found := _MAGIC.fullmatch(content) or _ASSIGNED_MAGIC.fullmatch(content):
                self.magics.add(number + 1)
                self._put_aside[number + 1] = len(found[1].encode(errors="replace")) + 1
                lines[number] = found[1] + "0" + "#" * (len(found[2]) - 1) + line[len(content) :]
        return _parse("".join(lines))

    @property
    def lines(self) -> int:
        """How many lines there are."""
        return len(self._lines)

    def line(self, number: int) -> str:
        """The line, counted from 1."""
        return self._lines[number - 1]

    def offset(self, line: int, column: int) -> int:
        """The character at `line` (from 1) and `column` (in bytes of UTF-8, as `ast` counts)."""
        return self._starts[line - 1] + len(self._lines[line - 1].encode(errors="replace")[:column].decode())

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Where a node of the tree begins and ends."""
        where: dict[str, int] = {name: getattr(node, name) for name in node._attributes}
        start = self.offset(where["lineno"], where["col_offset"])
        line, column = where["end_lineno"], where["end_col_offset"]
        if self._put_aside.get(line) == column:  # a magic reaches to the end of its line
            return start, self._starts[line - 1] + len(self._lines[line - 1].rstrip("\r\n"))
        return start, self.offset(line, column)

    def end_of(self, node: ast.AST) -> int:
        """Where the node ends, with the comment behind it on its line."""
        end = self.span(node)[1]
        rest = re.compile(r"[ \t]*(?:;[ \t]*)?(#[^\r\n]*)?(?=[\r\n]|$)").match(self.text, end)
        return rest.end() if rest else end

    @property
    def last_expression(self) -> ast.Expr | None:
        """The last statement, if it is an expression of Python's."""
        last = self.body[-1] if self.body else None
        return last if isinstance(last, ast.Expr) and last.lineno not in self.magics else None

    def semicolon(self, node: ast.AST, until: int | None = None) -> tuple[int, int] | None:
        """Where the semicolon stands that follows the node, with the space before it; None if there is none."""
        end = self.span(node)[1]
        found = _SEMICOLON.match(self.text, end, len(self.text) if until is None else until)
        return found.span() if found else None

    def edited(self, edits: Iterable[Edit], end: int | None = None) -> str:
        """The text up to `end` with the edits made; of overlapping ones the first counts."""
        parts: list[str] = []
        place = 0
        end = len(self.text) if end is None else end
        for edit in sorted(set(edits)):
            if edit.start >= place and edit.end <= end:
                parts += [self.text[place : edit.start], edit.text]
                place = edit.end
        return "".join([*parts, self.text[place:end]])


def indented(text: str) -> str:
    """`text` one level deeper; the inside of strings that span lines stays as it is."""
    inside: set[int] = set()
    opened: list[int] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            name = tokenize.tok_name[token.type]
            if name == "STRING":
                inside.update(range(token.start[0] + 1, token.end[0] + 1))
            elif name in ("FSTRING_START", "TSTRING_START"):
                opened.append(token.start[0])
            elif name in ("FSTRING_END", "TSTRING_END"):
                inside.update(range(opened.pop() + 1, token.end[0] + 1))
    except (tokenize.TokenError, SyntaxError):
        pass  # magics: what was read so far has to do
    lines = text.split("\n")
    return "\n".join(
        line if number in inside or not line.strip() else f"    {line}" for number, line in enumerate(lines, 1)
    )


def nodes_of(cells: Iterable[str]) -> list[ast.AST]:
    """All nodes of the cells that are Python."""
    bodies = [body for cell in cells if (body := Source(cell).body) is not None]
    return [node for body in bodies for node in ast.walk(ast.Module(body, []))]


def _parse(text: str) -> list[ast.stmt] | None:
    try:
        body = parsed(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return body if _is_readable(body) else None


def _is_readable(level: Iterable[ast.AST]) -> bool:
    """Whether the tree is no deeper than what reads it by recursion can go."""
    level = list(level)
    for _ in range(_DEEPEST):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return not level
