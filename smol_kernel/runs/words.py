"""Whether an answer only stands in the script: put in words by the model, or worked out from what it typed, of what it
saw. Used by `slice`."""

from __future__ import annotations

import ast
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from itertools import groupby

from smol_kernel.runs.names import bindings, called

_WORDING_NAMES = """append bool bytes complex dedent dict dumps extend final_answer float format frozenset int join list
lower replace round set str strip title tuple upper
DataFrame Decimal Fraction Index OrderedDict Path Series SimpleNamespace Timedelta Timestamp"""
_WORDING = frozenset(_WORDING_NAMES.split())
"""Calls that make nothing of constants but constants in another form."""

_HOLDING_NAMES = """DataFrame Decimal Series dedent dict dumps final_answer float format frozenset int join list round
set str tuple"""
_HOLDING = frozenset(_HOLDING_NAMES.split())
"""Those of them whose result holds, or says, what their first argument does."""

DIGITS = r"(?<![\w.])((?:\d+(?:\.\d+)?|\.\d+)(?:e[+-]?\d+)?)"
_NUMBER = re.compile(DIGITS, re.IGNORECASE)
_MEASURED = re.compile(DIGITS + r"[^\S\n]?(%|(?:k|m|b|bn|thousand|million|billion)\b)", re.IGNORECASE)
GROUPED = re.compile(r"(?<![\w.])[1-9]\d{0,2}([,._'’]|[^\S\n])\d{3}(?:\1\d{3})*(?:(?!\1)[.,]\d+)?(?!\d)")
UNITS = {"%": 1 / 100, "k": 1e3, "t": 1e3, "m": 1e6, "b": 1e9}
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


def put_among(
    statements: Iterable[tuple[str, str, bool, ast.stmt]], task: str
) -> tuple[list[ast.Constant], set[float | str]]:
    """The constants that go as they are into an answer that is made of what comes from outside as well, and what of
    them was read and put down again. The statements are those of the whole script; each comes with what was shown
    before, with what of that tools gave that the answer does not call, and with whether the answer needs it, which the
    last of these gives.

    There many a number that was shown is one that is looked for (`df.year == 2020`). What counts is what goes into the
    answer as it is, unless the script names it elsewhere (75% by `.75`, too); and of what tools gave numbers of several
    digits that are calculated with. Words without digits are labels, unless those tools gave them. What the task says,
    or the script held before it was shown, is its own.
    """
    own: list[object] = [task]
    shown_to: dict[int, tuple[_Shown, _Shown]] = {}
    needed: list[ast.stmt] = []
    for (text, of_tools), group in groupby(statements, key=lambda each: each[:2]):
        both = _Shown(text, own), _Shown(of_tools, own)
        for _, _, is_needed, statement in group:
            needed += [statement] if is_needed else []
            nodes = list(ast.walk(statement))
            shown_to.update((id(node), both) for node in nodes)
            own += [node.value for node in nodes if isinstance(node, ast.Constant) and not both[0].has(node.value)]
    every = [node for statement in needed for node in ast.walk(statement)]
    values = _values(needed)
    reads = Counter(node.id for node in every if isinstance(node, ast.Name))
    held = {name: each for name, each in values.items() if reads[name] < 3 or not isinstance(each[0], ast.Constant)}
    answer = {id(node): (node, is_item) for node, is_item in _as_it_is(needed[-1], held)}
    others = [node for node in every if id(node) not in answer]
    names = " ".join(filter(None, (getattr(node, name, "") for node in others for name in ("id", "attr", "arg"))))
    constants = [node.value for node in others if isinstance(node, ast.Constant)]
    percents = [round(each * 100, 9) for each in constants if isinstance(each, float) and 0 < each < 1]
    elsewhere = _Shown("", [names, *constants, *percents])
    found: set[float | str] = set()
    for node, is_item in answer.values():
        found |= elsewhere.lacked(node, is_item, *shown_to[id(node)])
    numbers = [node for node in _calculated_with(every, values) if shown_to[id(node)][1].has(node.value)]
    found |= {node.value for node in numbers if isinstance(node.value, (int, float))}
    return [node for node, _ in answer.values()], found


def otherwise_now(put_down: Iterable[float | str], was: Mapping[int, str], now: Iterable[str]) -> str:
    """Which of these constants a step showed, by the texts that there were, and none shows now, as a clause; empty if
    none is."""
    shown = _Shown("\n".join(now), ())
    for value in sorted(put_down, key=str):
        if shown.has(value):
            continue
        for step, text in was.items():
            if _Shown(text, ()).has(value):
                named = value if isinstance(value, str) else f"{value:.15g}"
                return f"`{named}` was typed from what step {step} showed, which comes out otherwise now"
    return ""


def numbers_in(text: str) -> set[float]:
    """The numbers that stand in a text; of one in groups of digits (`1,234`) its parts as well."""
    found = {float(number) for number in _NUMBER.findall(text)}
    for match in GROUPED.finditer(text):
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
        self._in_units = {float(number) * UNITS[unit[0].lower()] for number, unit in _MEASURED.findall(text)}
        for number in self.numbers:
            if number >= FEW or number % 1:  # the unit may stand at the head of its column
                self._in_units |= {number / 100, number * 1e3, number * 1e6}

    def has(self, value: object) -> bool:
        """Whether this constant was shown."""
        if isinstance(value, str):
            return self.has_word(value.strip())
        return isinstance(value, (int, float)) and not isinstance(value, bool) and self.has_number(value)

    def lacked(self, node: ast.Constant, is_item: bool, shown: _Shown, of_tools: _Shown) -> set[float | str]:
        """What of the constant was `shown`, of a label without digits only by tools, and is not the script's own
        here."""
        if isinstance(node.value, (int, float)):
            return {node.value} if node.value not in self._own and _is_put_down(node, shown) else set()
        text = node.value.strip() if isinstance(node.value, str) else ""
        found: set[float | str] = {number for number in numbers_in(text) if number >= FEW}
        found = found & shown.numbers - self._own
        shown = shown if any(map(str.isdigit, text)) else of_tools
        is_word = is_item and shown.has_whole(text) and text not in self._own_words
        return found | {text} if is_word else found

    def has_whole(self, word: str) -> bool:
        return self.has_word(word) and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", self._text) is not None

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
            or (decimals > 1 and any(value == round(each / 1e6, decimals) for each in self.numbers if each >= 1e6))
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


def _values(statements: Iterable[ast.stmt]) -> dict[str, list[ast.expr]]:
    """What is bound to a name, or stored under it."""
    found: dict[str, list[ast.expr]] = {}
    for node in statements:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value: ast.expr | None = getattr(node, "value", None)
        if value is None:
            continue
        if isinstance(target, ast.Name):
            found[target.id] = [value]
        elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
            found.setdefault(target.value.id, []).append(value)
    return found


def _as_it_is(node: ast.AST, values: Mapping[str, list[ast.expr]]) -> Iterator[tuple[ast.Constant, bool]]:
    """The constants that a value holds, and whether each is one of several items."""
    match node:
        case ast.Constant():
            yield node, False
            return
        case ast.Name():
            values, parts = {name: each for name, each in values.items() if name != node.id}, values.get(node.id, [])
        case ast.Dict(values=parts) | ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
            pass
        case ast.JoinedStr(values=parts):
            pass
        case ast.Expr(value=part) | ast.FormattedValue(value=part) | ast.UnaryOp(operand=part) | ast.Await(value=part):
            parts = [part]
        case ast.Assign(value=part) | ast.Starred(value=part) | ast.keyword(value=part):
            parts = [part]
        case ast.BinOp() if is_text(node):
            parts = [node.left, node.right]
        case ast.IfExp(body=body, orelse=other):
            parts = [part for part in (body, other) if is_text(part) and not isinstance(part, ast.Constant)]
        case ast.Call():
            name = called(node)
            parts = node.args[: None if name == "format" else 1 if name in _HOLDING else 0]
            parts += node.keywords if name in ("dict", "final_answer") else []
            parts += [node.func.value] if isinstance(node.func, ast.Attribute) and is_text(node.func.value) else []
        case _:
            return
    of_items = isinstance(node, (ast.Dict, ast.List, ast.Tuple, ast.Set)) or called(node) == "dict"
    for part in parts:
        for found, is_item in _as_it_is(part, values):
            yield found, is_item or (of_items and isinstance(part, (ast.Constant, ast.Name, ast.keyword)))


def _calculated_with(nodes: Iterable[ast.AST], values: Mapping[str, list[ast.expr]]) -> Iterator[ast.Constant]:
    """Numbers in arithmetic, lists and dicts, of so many digits that they are not there by chance."""
    for node in nodes:
        match node:
            case ast.BinOp(left=left, right=right):
                parts = [left, right]
            case ast.AugAssign(value=part):
                parts = [part]
            case ast.Dict(values=parts) | ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
                pass
            case _:
                continue
        for each in (found for part in parts for found in _constants(part, values)):
            number = each.value if type(each.value) in (int, float) else 0
            digits = repr(number).partition("e")[0].replace(".", "").strip("0")
            if len(digits) >= (3 if isinstance(number, float) and number % 1 else 5):
                yield each


def _constants(node: ast.expr, values: Mapping[str, list[ast.expr]]) -> list[ast.Constant]:
    """The constant itself, or those of a name."""
    every = values.get(node.id, []) if isinstance(node, ast.Name) else [node]
    return [each for each in every if isinstance(each, ast.Constant)]


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
            if not is_text(node.value):
                return False
        case ast.BinOp() | ast.Compare() | ast.BoolOp() | ast.IfExp():
            if not is_text(node):  # else made of nothing but constants: worked out by the model, and put down
                return not any(isinstance(part, (ast.Name, ast.Call)) for part in ast.walk(node))
        case ast.Assign() | ast.Expr() | ast.keyword() | ast.Starred() | ast.UnaryOp() | ast.Subscript() | ast.Slice():
            pass
        case ast.List() | ast.Tuple() | ast.Set() | ast.Dict() | ast.JoinedStr() | ast.FormattedValue():
            pass
        case _:
            return False
    parts = (part for part in ast.iter_child_nodes(node) if isinstance(part, (ast.expr, ast.keyword)))
    return all(_is_plain(part, names) for part in parts)


def calculates(node: ast.AST) -> bool:
    """Whether it is something that Python works out, and no text."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return not (is_text(node.left) or is_text(node.right))
    return isinstance(node, (ast.BinOp, ast.Compare, ast.BoolOp)) and not is_text(node)


def is_text(node: ast.AST) -> bool:
    """Whether it is text, or joined to text."""
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, (ast.Add, ast.Mod)) and (is_text(node.left) or is_text(node.right))
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _parts(node: ast.AST) -> Iterator[ast.AST]:
    """The node with all that is in it, indices aside."""
    yield node
    for part in [node.value] if isinstance(node, ast.Subscript) else ast.iter_child_nodes(node):
        yield from _parts(part)
