"""Whether an answer only stands in the script: put in words by the model, or worked out from what it typed, of what it
saw. Used by `slice`."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterable, Iterator, Set

from smol_kernel.runs.names import bindings, called

_WORDING_NAMES = """append bool bytes complex dedent dict dumps extend final_answer float format frozenset int join list
lower replace round set str strip title tuple upper
DataFrame Decimal Fraction Index OrderedDict Path Series SimpleNamespace Timedelta Timestamp"""
_WORDING = frozenset(_WORDING_NAMES.split())
"""Calls that make nothing of constants but constants in another form."""

_DIGITS = r"(?<![\w.])((?:\d+(?:\.\d+)?|\.\d+)(?:e[+-]?\d+)?)"
_NUMBER = re.compile(_DIGITS, re.IGNORECASE)
_MEASURED = re.compile(_DIGITS + r"[^\S\n]?(%|(?:k|m|b|bn|thousand|million|billion)\b)", re.IGNORECASE)
_GROUPED = re.compile(r"(?<![\w.])[1-9]\d{0,2}([,._'’]|[^\S\n])\d{3}(?:\1\d{3})*(?:(?!\1)[.,]\d+)?(?!\d)")
_UNITS = {"%": 1 / 100, "k": 1e3, "t": 1e3, "m": 1e6, "b": 1e9}
"""What the word behind a number makes of it, by its first letter."""
FEW = 10
"""Smaller whole numbers stand in any code and any text."""
LARGE = 100_000
"""From here on numbers are written down by their first digits."""


def in_words(statements: Iterable[tuple[bool, ast.stmt]]) -> bool:
    """Whether an answer that these statements alone make is made of constants, some of them written by one who had seen
    something: each statement comes with whether that was so."""
    given = list(statements)
    names = {name for name, _ in bindings(statement for _, statement in given)}
    return all(_is_plain(statement, names) for _, statement in given) and any(
        seen and any(isinstance(node, ast.Constant) for node in _parts(statement)) for seen, statement in given
    )


def typed(statements: Iterable[tuple[str, ast.stmt]]) -> bool:
    """Whether an answer that these statements alone make, of nothing from outside of the script, rests on what was read
    from outside and put down again: `total = 8.0`, `total / 3`. Each comes with the text in which that was shown before
    it was written. What stood in the script before any was shown is its own.
    """
    given = list(statements)
    nodes = (node for text, statement in given if not text for node in ast.walk(statement))
    own = [node.value for node in nodes if isinstance(node, ast.Constant)]
    shown = {text: _Shown(text, own) for text, _ in given if text}
    return any(_is_put_down(node, shown[text]) for text, statement in given if text for node in _parts(statement))


def numbers_in(text: str) -> set[float]:
    """The numbers that stand in a text; of one in groups of digits (`1,234`) its parts as well."""
    found = {float(number) for number in _NUMBER.findall(text)}
    for match in _GROUPED.finditer(text):
        groups = match[0].replace(match[1], " ").replace(",", ".").split(" ")
        found |= {float("".join(groups[:end])) for end in range(2, len(groups) + 1)}  # behind a space others may follow
    return found


class _Shown:
    """What stands in a text, less what is the script's own: these constants."""

    def __init__(self, text: str, own: Iterable[object]) -> None:
        self._text = text
        self._own_words = "\n".join(each for each in own if isinstance(each, str))
        self._own = {*own, *numbers_in(self._own_words)}
        self.numbers = numbers_in(text) - self._own
        self._in_units = {float(number) * _UNITS[unit[0].lower()] for number, unit in _MEASURED.findall(text)}
        for number in self.numbers:
            if number >= FEW or number % 1:  # the unit may stand at the head of its column
                self._in_units |= {number / 100, number * 1e3, number * 1e6}

    def has_word(self, word: str) -> bool:
        return len(word) > 1 and word in self._text and word not in self._own_words

    def has_number(self, value: float) -> bool:
        """Whether it was shown, maybe with more digits, or as percent, thousands, millions or billions."""
        decimals = len(repr(value).partition(".")[2]) if isinstance(value, float) else 0
        if LARGE <= value < 1e15 and value % 1 == 0:
            digits = str(int(value))
            first = digits.rstrip("0")
            decimals = len(first) - len(digits) if len(first) > 1 and first[-1] != "5" else 0  # else a round number
        return value not in self._own and (
            value in self.numbers
            or any(value == round(number, decimals) for number in self.numbers)
            or (value < 1e15 and any(math.isclose(value, each) for each in self._in_units))
        )


def _is_put_down(node: ast.AST, shown: _Shown) -> bool:
    """Whether it is a number that was shown, or holds one; or what was shown, as the value of a name or one of many."""
    match node:
        case ast.Constant(value=bool()):
            return False
        case ast.Constant(value=int() | float() as value):
            return (isinstance(value, float) or value >= FEW) and value not in (0, 1) and shown.has_number(value)
        case ast.Constant(value=str() as value):
            return any(number >= FEW and number in shown.numbers for number in numbers_in(value))
        case ast.Assign(value=ast.Tuple(elts=values)):
            pass
        case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value):
            values = [value]
        case ast.List(elts=values) | ast.Tuple(elts=values) | ast.Set(elts=values) | ast.Dict(values=values):
            pass
        case _:
            return False
    held = [each.value for each in values if isinstance(each, ast.Constant)]
    whole = [each for each in held if type(each) is int]
    counts_up = [number - place for place, number in enumerate(whole)] == whole[:1] * len(whole)  # `[1, 2, 3]`
    one = isinstance(node, (ast.Assign, ast.AnnAssign))
    several = len(whole) > 1 and not counts_up and not isinstance(node, ast.Tuple)
    return any(isinstance(each, str) and shown.has_word(each.strip()) for each in held) or (
        (one or several) and not {*whole} <= {0, 1} and {*whole} <= shown.numbers
    )


def _is_plain(node: ast.AST, names: Set[str]) -> bool:
    match node:
        case ast.Constant() | ast.Import() | ast.ImportFrom():
            return True
        case ast.Name():
            return node.id in names
        case ast.Call():
            before_dot = [node.func.value] if isinstance(node.func, ast.Attribute) else []
            return called(node) in _WORDING and all(
                _is_plain(part, names) for part in [*before_dot, *node.args, *node.keywords]
            )
        case ast.AnnAssign():
            return node.value is not None and _is_plain(node.value, names)
        case ast.AugAssign():
            if not _is_text(node.value):
                return False
        case ast.BinOp() | ast.Compare() | ast.BoolOp() | ast.IfExp():
            if not _is_text(node):  # else made of nothing but constants: worked out by the model, and put down
                return not any(isinstance(part, (ast.Name, ast.Call)) for part in ast.walk(node))
        case ast.Assign() | ast.Expr() | ast.keyword() | ast.Starred() | ast.UnaryOp() | ast.Subscript() | ast.Slice():
            pass
        case ast.List() | ast.Tuple() | ast.Set() | ast.Dict() | ast.JoinedStr() | ast.FormattedValue():
            pass
        case _:
            return False
    parts = (part for part in ast.iter_child_nodes(node) if isinstance(part, (ast.expr, ast.keyword)))
    return all(_is_plain(part, names) for part in parts)


def _is_text(node: ast.AST) -> bool:
    """Whether it is text, or joined to text."""
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, (ast.Add, ast.Mod)) and (_is_text(node.left) or _is_text(node.right))
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _parts(node: ast.AST) -> Iterator[ast.AST]:
    """The node with all that is in it, indices aside."""
    yield node
    for part in [node.value] if isinstance(node, ast.Subscript) else ast.iter_child_nodes(node):
        yield from _parts(part)
