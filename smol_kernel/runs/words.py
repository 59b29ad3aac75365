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

_NUMBER = re.compile(r"(?<![\w.])(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?")
FEW = 10
"""Smaller whole numbers stand in any code and any text."""
_DEFINING = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


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
    it was written.

    All were written after some was, but for what holds no data, and something of that text stands in them.
    """
    given = list(statements)
    numbers = {text: numbers_in(text) for text, _ in given}
    return all(text or isinstance(statement, _DEFINING) for text, statement in given) and any(
        _is_put_down(node, text, numbers[text]) for text, statement in given if text for node in _parts(statement)
    )


def numbers_in(text: str) -> set[float]:
    """The numbers that stand in a text; of one with thousands separators its parts as well."""
    found = [each for number in _NUMBER.findall(text) for each in {number.replace(",", ""), *number.split(",")}]
    return {float(each) for each in found}


def _is_put_down(node: ast.AST, text: str, numbers: Set[float]) -> bool:
    """Whether it is a number that was shown, or holds one; or what was shown, as the value of a name or one of many."""
    match node:
        case ast.Constant(value=bool()):
            return False
        case ast.Constant(value=int() | float() as value):
            return (isinstance(value, float) or abs(value) >= FEW) and _is_shown(value, numbers)
        case ast.Constant(value=str() as value):
            return any(number >= FEW and number in numbers for number in numbers_in(value))
        case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value):
            values = [value]
        case ast.List(elts=values) | ast.Tuple(elts=values) | ast.Set(elts=values) | ast.Dict(values=values):
            pass
        case _:
            return False
    held = [each.value for each in values if isinstance(each, ast.Constant)]
    return any(isinstance(each, str) and len(each.strip()) > 1 and each.strip() in text for each in held) or (
        isinstance(node, ast.Assign) and any(type(each) is int and each in numbers for each in held)
    )


def _is_shown(value: float, numbers: Set[float]) -> bool:
    """Whether it is one of these numbers, maybe rounded, or written as percent, thousands or millions."""
    decimals = len(repr(value).partition(".")[2]) if isinstance(value, float) else 0
    return any(
        abs(value) == each or (isinstance(value, float) and math.isclose(abs(value), each))
        for number in numbers
        for each in (number, round(number, decimals), number / 100, number * 1e3, number * 1e6)
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
