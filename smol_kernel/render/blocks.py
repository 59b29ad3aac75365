"""Markdown taken apart into blocks. What may as well be something else than Markdown can be left as text.

Each line is looked at a fixed number of times, whatever stands in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from smol_kernel.parsing import parsed
from smol_kernel.render.plain import in_columns

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,}(?!~))[^`]*")
_HEADING = re.compile(r"(#{1,6})[ \t]+(?=\S)")
_ITEM = re.compile(r"^( {0,3})(?:([-*])|(\d{1,3})\.)([ \t]+)(?=\S)")
_ANY_ITEM = re.compile(r"^( {0,3})(?:([-*+])|(\d{1,3})[.)])([ \t]+)(?=\S)")
"""With the marks that elsewhere say something else."""
_FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_RULE = re.compile(r"(?:-{3,}|\*{3,}|_{3,})[ \t]*")
_QUOTE = re.compile(r">(?: |$)")
_QUOTED_WORDS = re.compile(r"> (?:[^\W\d]|[\"'“«*_`])")
_DASHES = re.compile(r":?-+:?")
_BAR = re.compile(r"(?<!\\)\|")
_KEY = re.compile(r"[\w-]+:(?:\s|$)")  # of YAML
_VALUE = re.compile(r"[a-z][\w-]*: +\S")  # the same, by itself
_YAML = re.compile(r"$|[ \t#-]|[a-z][\w-]*:(?:\s|$)")  # how each of its lines begins
_AMOUNT = re.compile(r"[\d.,\s%$€£+-]+")
_DIFF = re.compile(r"^(?:@@ -\d|diff --git |\+\+\+ \S)", re.MULTILINE)


@dataclass
class Block:
    """What ends before line `end`."""

    kind: str
    """"text", "code", "heading", "ul", "ol", "table", "rule" or "quotation"."""
    end: int
    lines: list[str]
    """Without the marks of its kind, but of lists and tables."""
    number: int = 0
    """Level of a heading, or what a list counts from."""
    items: list[list[str]] = field(default_factory=list)
    """Of a list: the lines of each."""


def is_markdown(text: str) -> bool:
    """Whether there is something in `text` that can be nothing else.

    Numbers, code, data, and what `diff` prints have marks like those of Markdown.
    """
    found = list(blocks(text.split("\n"), strict=True))
    words = "\n".join("\n".join(block.lines) for block in found if block.kind == "text")
    return not _DIFF.search(words) and any(block.kind != "text" for block in found) and not _is_code(text)


def _is_code(text: str) -> bool:
    """Whether it is Python that does something; a dash may be a minus sign, and a word before a colon have a type."""
    with suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        return any(type(statement).__name__ not in ("Expr", "AnnAssign") for statement in parsed(text).body)
    return False


def blocks(lines: list[str], strict: bool = False, declared: bool = False) -> Iterator[Block]:
    """The blocks of `lines` in order; where it is `strict`, what may be text is text. Of what is `declared` to be
    Markdown, or stands in a list, every list is one."""
    last = {line.strip(): at for at, line in enumerate(lines)}
    has_keys = strict and all(map(_YAML.match, lines)) and any(map(_VALUE.match, lines))
    words: list[str] = []  # of the text under way
    at = 0
    while at < len(lines):
        line, alone = lines[at], not words
        block = (
            _code(lines, at, last)
            or _heading(lines, at, alone, strict)
            or _list(lines, at, alone, strict, declared, has_keys)
            or _table(lines, at)
            or (alone and (_rule(lines, at) or _quotation(lines, at, strict)))
        )
        if words and (block or not line.strip()):
            yield Block("text", at, words)
            words = []
        if block:
            yield block
        elif line.strip():
            words.append(line)
        at = block.end if block else at + 1
    if words:
        yield Block("text", at, words)


def _code(lines: list[str], at: int, last: dict[str, int]) -> Block | None:
    """Code between fences; one that is not closed, as `last` knows, would take all that follows."""
    opening = _FENCE.fullmatch(lines[at])
    if not opening or last.get(opening[1], 0) <= at:
        return None
    end = next(place for place in range(at + 1, len(lines)) if lines[place].strip() == opening[1])
    return Block("code", end + 1, lines[at + 1 : end])


def _heading(lines: list[str], at: int, alone: bool, strict: bool) -> Block | None:
    """A heading. Comments of code look like it: most have one `#`, or stand one below the other."""
    found = _HEADING.match(lines[at])
    if not found or (found[1] == "#" and not alone):
        return None
    words = lines[at][found.end() :].rstrip()
    if strict:
        before, after = (lines[place] if 0 <= place < len(lines) else "" for place in (at - 1, at + 1))
        like = [other for other in map(_HEADING.match, (before, after)) if other and other[1] == found[1]]
        first = at == 0 and (not after.strip() or _HEADING.match(after)) and not in_columns("\n".join(lines))
        if like or not (first or len(found[1]) > 1) or not any(map(str.isalpha, words)):
            return None
    bare = words.rstrip("#")  # marks at the end belong to it behind a space only
    return Block("heading", at + 1, [bare.rstrip() if bare[-1:].isspace() else words], len(found[1]))


def _list(lines: list[str], at: int, alone: bool, strict: bool, declared: bool, has_keys: bool) -> Block | None:
    """A list whose numbers count upward; one item is one where no text stands before it and it need not be sure. What
    looks like several and may be something else is text as a whole; `has_keys`, these lines can be YAML."""
    mark = _ANY_ITEM if declared else _ITEM
    first = found = mark.match(lines[at])
    before = lines[at - 1] if at and not declared else ""
    if not first or (strict and first[1]) or before.startswith("+"):
        return None
    items: list[list[str]] = []
    begin = end = at
    number = count = int(first[3] or 0)
    gaps = set[int]()
    while found and found.group(1, 2) == first.group(1, 2) and int(found[3] or count) == count:
        begin, end, count = end, end + 1, count + 1
        gaps.add(len(found[4]) if found[2] else 1)
        while end < len(lines) and (not lines[end].strip() or _indent(lines[end]) >= len(first[1]) + 2):
            end += 1
        items.append([lines[begin][found.end() :], *_dedented(lines[begin + 1 : end])])
        found = mark.match(lines[end]) if end < len(lines) else None
    after = lines[end] if end < len(lines) and lines[end - 1].strip() else ""
    is_one = len(items) == 1 and not any(map(mark.match, items[0][1:]))
    is_wide = in_columns(_FENCED.sub("", "\n".join(_ITEM.sub("", line.strip()) for item in items for line in item)))
    is_data = any(len(item) > 1 and all(_KEY.match(line.strip()) for line in item if line.strip()) for item in items)
    is_data = is_data or (first[2] and all(_AMOUNT.fullmatch(item[0]) for item in items)) or max(gaps) > 3
    is_data = is_data or (has_keys and re.fullmatch(r"[a-z][\w-]*:", before))
    if is_one and (strict or not alone):
        return None
    if not declared and (is_wide or (strict and is_data) or after.startswith(("+", "@@"))):
        return Block("text", end, lines[at:end])
    return Block("ol" if first[3] else "ul", end, lines[at:end], number, items)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _dedented(lines: list[str]) -> list[str]:
    """`lines` without what all are indented by, and without the blank ones at the end."""
    margin = min((_indent(line) for line in lines if line.strip()), default=0)
    return "\n".join(line[margin:] for line in lines).rstrip().split("\n") if margin else []


def _table(lines: list[str], at: int) -> Block | None:
    """A head, a line of dashes with as many cells, and the rows below."""
    if at + 1 >= len(lines) or "|" not in lines[at] or "|" not in lines[at + 1]:
        return None
    dashes = cells(lines[at + 1])
    if not all(map(_DASHES.fullmatch, dashes)) or len(dashes) != len(cells(lines[at])):
        return None
    end = at + 2
    while end < len(lines) and "|" in lines[end]:
        end += 1
    return Block("table", end, lines[at:end])


def cells(row: str) -> list[str]:
    """The cells of a line of a table."""
    row = row.strip().removeprefix("|")
    row = row[:-1] if row.endswith("|") and not row.endswith("\\|") else row
    return [cell.strip().replace("\\|", "|") for cell in _BAR.split(row)]


def _rule(lines: list[str], at: int) -> Block | None:
    """A line between two blank ones; at the begin or the end of a text it would part nothing."""
    parts = 0 < at < len(lines) - 1 and not lines[at + 1].strip()
    return Block("rule", at + 1, []) if parts and _RULE.fullmatch(lines[at]) else None


def _quotation(lines: list[str], at: int, strict: bool) -> Block | None:
    """Lines marked as quoted; "> 5" may be a comparison."""
    end = at
    while end < len(lines) and _QUOTE.match(lines[end]):
        end += 1
    answered = end < len(lines) and lines[end].startswith("<")
    if end == at or (strict and (answered or not _QUOTED_WORDS.match(lines[at]))):
        return None
    return Block("quotation", end, [line[1:].removeprefix(" ") for line in lines[at:end]])
