"""What is another in each process or on each day, turned on purpose: an answer that rests on it is another one then.

Used by `prove`, which runs the cells once more with it: today's date, what `hash` and `id` give, the order of sets.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from smol_kernel.runs.source import Source, nodes_of


@dataclass(frozen=True)
class Turn:
    """What an answer may rest on, the code to run before each try that turns it, and how that changes a cell."""

    what: str
    before: Sequence[str]
    changed: Callable[[str], str] = str


def turns(cells: Sequence[str]) -> list[Turn]:
    """What the cells may rest on, as far as their text tells."""
    nodes = nodes_of(cells)
    found: list[Turn] = []
    if numbered(nodes):
        before = [f"(lambda made: exec({_NUMBERS!r}, made) or globals().update(made['turned']({n})))" for n in range(2)]
        found.append(Turn("what `hash` or `id` gives", [f"{each}({{'here': globals()}});" for each in before]))
    if has_sets(nodes):
        found.append(Turn("the order of a set", [BACKWARDS], backwards))
    return found


def numbered(nodes: Iterable[ast.AST]) -> bool:
    """Whether they use the builtins `hash` or `id`, whose numbers are others in each process."""
    used: set[str] = set()
    bound: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
    return bool({"hash", "id"} & used - bound)


def has_sets(nodes: Iterable[ast.AST]) -> bool:
    """Whether they make sets, whose order is another one in each process."""
    return any(
        isinstance(node, (ast.Set, ast.SetComp))
        or (isinstance(node, ast.Name) and node.id in ("set", "frozenset"))
        or _is_of_keys(node)
        for node in nodes
    )


def backwards(cell: str) -> str:
    """The cell with all its sets made by the builtin `set`, whatever that is."""
    source = Source(cell)
    if source.body is None or source.magics:
        return cell
    return ast.unparse(ast.fix_missing_locations(_Sets().visit(ast.Module(source.body, []))))


BACKWARDS = """
import builtins as _builtins


def _turned(base):
    class Kind(type):
        def __instancecheck__(cls, value):
            return isinstance(value, base)

    def made_by(name):
        def method(self, *others):
            value = getattr(base, name)(self, *others)
            return Turned(value) if type(value) is base else value

        return method

    class Turned(base, metaclass=Kind):
        def __iter__(self):
            return iter(list(base.__iter__(self))[::-1])

        def __repr__(self):
            return repr(base(list(self)))

        __hash__ = base.__hash__

    names = "__or__ __and__ __sub__ __xor__ __ror__ __rand__ __rsub__ __rxor__"
    names += " union intersection difference symmetric_difference copy"
    for name in names.split():
        setattr(Turned, name, made_by(name))
    if base is _set:
        def pop(self):
            value = next(iter(self))
            self.discard(value)
            return value

        Turned.pop = pop
    Turned.__name__ = Turned.__qualname__ = base.__name__
    return Turned


_set = _builtins.set
_builtins.frozenset = _turned(_builtins.frozenset)
_builtins.set = _turned(_set)
"""
"""Run before the cells, it turns their sets round: an answer that rests on the order is another one then."""

_NUMBERS = """
import builtins
import numbers


def turned(n):
    def other(number):
        return builtins.hash((number, n)) if n else ~number

    def is_fixed(value):
        if isinstance(value, (tuple, frozenset)):
            return all(map(is_fixed, value))
        return isinstance(value, numbers.Number) or getattr(type(value).__hash__, "__globals__", None) is here

    def hash(value):
        number = builtins.hash(value)
        return number if is_fixed(value) else other(number)

    def id(value):
        return other(builtins.id(value))

    return {"hash": hash, "id": id}
"""
"""Gives the cells a `hash` and an `id` of their own, which turn the numbers that are others in each process."""

_LATER = """
import datetime
import sys

read = sys.modules.get("dateutil.parser._parser")
if read is not None:
    parser = read.parser
    read.kept = parser.parse, parser._parse
    whole, parts = read.kept
    now = datetime.datetime.now()
    day = datetime.datetime(now.year + 40, now.month % 12 + 1, now.day % 28 + 1)

    def parse(self, timestr, default=None, *args, **kwargs):
        return whole(self, timestr, default or day, *args, **kwargs)

    def _parse(self, timestr, *args, **kwargs):
        found = parts(self, timestr, *args, **kwargs)
        date = found[0]
        if sys._getframe(1).f_code is whole.__code__ or date is None or ":" not in timestr[1:3]:
            return found
        if (date.year, date.month, date.day) == (None, None, None):  # pandas takes today for a time alone
            date.year, date.month, date.day = day.year, day.month, day.day
        return found

    parser.parse, parser._parse = parse, _parse
"""
_TODAY = """
import sys

read = sys.modules.get("dateutil.parser._parser")
if hasattr(read, "kept"):
    read.parser.parse, read.parser._parse = read.kept
"""
LATER, TODAY = (f"exec({code!r}, {{}});" for code in (_LATER, _TODAY))
"""Run before the cells: `dateutil` and pandas fill in another day where a text is less than a date; and today again."""


READS_DATES = "exec('import contextlib\\nwith contextlib.suppress(Exception):\\n    import dateutil.parser', {});"
"""Run before LATER where nothing has been imported yet."""


class _Sets(ast.NodeTransformer):
    def visit_Set(self, node: ast.Set) -> ast.AST:
        self.generic_visit(node)
        return _call_of_set(ast.List(node.elts, ast.Load()))

    def visit_SetComp(self, node: ast.SetComp) -> ast.AST:
        self.generic_visit(node)
        return _call_of_set(ast.ListComp(node.elt, node.generators))

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        return _call_of_set(node) if _is_of_keys(node) else node


def _is_of_keys(node: ast.AST) -> bool:
    """Whether it makes a set of the views that a dict gives: `a.keys() & b.keys()`."""
    return (
        isinstance(node, ast.BinOp)
        and isinstance(node.op, (ast.BitAnd, ast.BitOr, ast.BitXor, ast.Sub))
        and not any(isinstance(side, ast.Constant) for side in (node.left, node.right))
        and any(
            isinstance(side, ast.Call) and isinstance(side.func, ast.Attribute) and side.func.attr in ("keys", "items")
            for side in (node.left, node.right)
        )
    )


def _call_of_set(argument: ast.expr) -> ast.Call:
    return ast.Call(ast.Name("set", ast.Load()), [argument], [])
