"""A model's code made fit to be written into a cell: what is not seen is an escape, and the code does what it did."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from contextlib import suppress

from smol_kernel.executors.unseen import is_unseen
from smol_kernel.parsing import parsed
from smol_kernel.render.plain import plain_code

LEFT = "In this cell stand characters that are not seen ({}): with escapes in their place it would do something else."

_NO_PYTHON = (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError)
_LITERAL = re.compile(r"(?P<kind>[A-Za-z]*)(?P<quote>'{3}|\"{3}|['\"])(?P<body>.*)(?P=quote)", re.DOTALL)
_PIECE = re.compile(r"\\(.)|([^ -~\n\t])", re.DOTALL)
_SEEN = "\n\t\u200c\u200d"
"""What `plain_code` leaves as it is."""
_OPENS, _CLOSES = ("FSTRING_START", "TSTRING_START"), ("FSTRING_END", "TSTRING_END")


def plain_to_run(code: str) -> str:
    """As `plain_code`, but in each text as it may be without changing that; names stay as they are. What is no Python
    that can be read is as `plain_code` has it."""
    told = plain_code(code)
    if told == code:
        return code
    with suppress(*_NO_PYTHON):
        tree = _tree(code)
        code = re.sub(r"\r\n?", "\n", code)
        for made in (lambda: told, lambda: _by_tokens(code), lambda: _by_tokens(code, literals=False)):
            with suppress(*_NO_PYTHON):
                if _tree(text := made()) == tree:
                    return text
        return code
    return told


def left_unseen(code: str) -> str:
    """A sentence on what is not seen in code that was made fit; empty if there is nothing."""
    if plain_code(code) == code:
        return ""
    each_behind = zip(f" {code}", code, strict=False)
    unseen = {each for before, each in each_behind if each not in _SEEN and is_unseen(each, before)}
    return LEFT.format(", ".join(f"U+{ord(each):04X}" for each in sorted(unseen))) if unseen else ""


def _tree(code: str) -> str:
    return ast.dump(parsed(code))


def _by_tokens(code: str, literals: bool = True) -> str:
    parts: list[str] = []
    place = 0
    for start, end, is_comment in _tokens(code):
        text = code[start:end]
        parts += [re.sub(r"^\f+", "", code[place:start], flags=re.MULTILINE).replace("\f", " ")]
        parts += [plain_code(text) if is_comment else _literal(text) if literals else text]
        place = end
    return "".join([*parts, code[place:].replace("\f", "")])


def _tokens(code: str) -> Iterator[tuple[int, int, bool]]:
    """Where each comment, and each text with what is put into it, begins and ends; and whether it is a comment."""
    starts = [0]
    for line in code.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    opened: list[int] = []
    place = 0
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        name = tokenize.tok_name[token.type]
        (row, column), (last, behind) = token.start, token.end
        start, end = starts[row - 1] + column, starts[last - 1] + behind
        if name in ("STRING", "COMMENT", *_OPENS, *_CLOSES) and (code[start:end] != token.string or start < place):
            raise tokenize.TokenError("some versions of Python count wrong behind texts of several lines")
        if name in _OPENS:
            opened.append(start)
        elif name in _CLOSES:
            start = opened.pop()
        if not opened and name in ("STRING", "COMMENT", *_CLOSES):
            yield start, end, name == "COMMENT"
            place = end


def _literal(text: str) -> str:
    """A text of the code with escapes, written in another way if need be; as it is where that means something else."""
    found = _LITERAL.fullmatch(text)
    if plain_code(text) == text or found is None:
        return text
    for made in (lambda: plain_code(text), lambda: _rewritten(**found.groupdict())):
        with suppress(*_NO_PYTHON):
            if _tree(written := made()) == _tree(text):
                return written
    return text


def _rewritten(kind: str, quote: str, body: str) -> str:
    if "r" in kind.lower():
        kind = kind.translate({ord("r"): None, ord("R"): None})
        body = re.sub(r"\\(.)", _doubled, body, flags=re.DOTALL)
    return f"{kind}{quote}{_PIECE.sub(_escaped, body)}{quote}"


def _doubled(found: re.Match[str]) -> str:
    return rf"\\{found[1]}" if found[1] not in "\\'\"" else rf"\\\{found[1]}"


def _escaped(found: re.Match[str]) -> str:
    character = found[1] or found[2]
    before = found.string[found.start() - 1] if found.start() and not found[1] else " "
    if character in _SEEN or not is_unseen(character, before):
        return found[0]
    return ("\\\\" if found[1] else "") + character.encode("unicode_escape").decode()
