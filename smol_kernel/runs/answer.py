"""`final_answer(...)` taken out of a script: the answer becomes the value of a cell's last expression."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from smol_kernel.parsing import first_line
from smol_kernel.runs.source import Edit, Source, indented

_DEFINITION = '''\
class Answered(BaseException):
    """Ends a statement as soon as there is an answer."""


def final_answer(answer=None):
    raise Answered(answer)


'''
_NAMES = frozenset({"Answered", "final_answer"})
_ENDED_BY_ANSWER = """\
try:
{body}
except Answered as {caught}:
    {name} = {caught}.args[0]
{name}"""


def answer_edits(source: Source, last: ast.stmt, name: str) -> tuple[list[Edit], str] | None:
    """How `last`, the statement that gave the answer, gives it without `final_answer`; None: not by editing alone.

    Gives the edits and what to append. A plain call becomes its argument. Where it stands last in branches of `if`,
    `with` or `try`, each becomes `name = argument`, and `name` the last expression.
    """
    calls = [node for node in ast.walk(last) if isinstance(node, ast.Call) and _argument(node) is not None]
    if sum(map(is_final_answer, ast.walk(last))) != len(calls):
        return None  # it is called without an argument or under another name
    if isinstance(last, (ast.Expr, ast.Assign, ast.AnnAssign)) and len(calls) == 1 and last.value is calls[0]:
        return list(_unwrapped(source, calls[0], source.span(last), "")), ""
    ends = {id(statement.value) for statement in _ends(last) if isinstance(statement, ast.Expr)}
    if not calls or any(id(call) not in ends for call in calls):
        return None
    edits = [edit for call in calls for edit in _unwrapped(source, call, source.span(call), f"{name} = ")]
    return edits, f"\n{name}"


def ended_by_answer(statement: str, name: str, caught: str) -> str:
    """`statement` so that `final_answer`, once `defined`, ends it from anywhere: loops, functions, expressions."""
    return _ENDED_BY_ANSWER.format(body=indented(statement), name=name, caught=caught)


def defined(cells: Iterable[str]) -> Iterator[str]:
    """The cells, with a definition of `final_answer` before the first statement that still names it."""
    found = False
    for cell in cells:
        place = None if found else _first_use(cell)
        found = found or place is not None
        yield cell if place is None else f"{cell[:place]}{_DEFINITION}{cell[place:]}"


def defined_throughout(cells: Iterable[str]) -> Iterator[str]:
    """The cells for a child of ours, which brings back its own `final_answer` with each of them: from the second one on
    they define theirs again. Not under a magic, where nothing heeds it."""
    found = False
    for cell in cells:
        yield f"{_DEFINITION}{cell}" if found and not cell.lstrip().startswith("%%") else cell
        found = found or _DEFINITION in cell


def is_final_answer(node: ast.AST) -> bool:
    """Whether it is that name."""
    return isinstance(node, ast.Name) and node.id == "final_answer"


def _first_use(cell: str) -> int | None:
    """Where the line begins on which the first statement starts that names `final_answer`."""
    if not any(name in cell for name in _NAMES):
        return None
    source = Source(cell)
    place = 0
    for statement in source.body or ():
        first = first_line(statement)
        start = source.offset(first, 0)
        if not cell[start : source.span(statement)[0]].strip() or first < statement.lineno:
            place = start  # else it shares its line with the statement before
        if any(isinstance(node, ast.Name) and node.id in _NAMES for node in ast.walk(statement)):
            return place
    return None


def _argument(node: ast.AST) -> ast.expr | None:
    """The answer, if `node` is a call of `final_answer` with nothing else."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "final_answer"):
        return None
    values = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg)]
    given = len(node.args) + len(node.keywords)
    return values[0] if given == len(values) == 1 and not isinstance(values[0], ast.Starred) else None


def _unwrapped(source: Source, call: ast.Call, around: tuple[int, int], prefix: str) -> Iterator[Edit]:
    argument = _argument(call)
    assert argument is not None
    start, end = source.span(argument)
    text = source.text[start:end]
    opened, closed = source.span(call.func)[1], source.span(call)[1]
    if "\n" in source.text[opened:start] and source.text[end:closed].strip() == ")" and call.args:
        yield Edit(around[0], opened, prefix)  # the call's own parentheses keep its layout
        yield Edit(closed, around[1], "")
        return
    needs = "\n" in text or isinstance(argument, (ast.NamedExpr, ast.Yield, ast.YieldFrom))
    opening, closing = ("(", ")") if needs and not text.startswith(("(", "[", "{")) else ("", "")
    yield Edit(around[0], start, prefix + opening)
    yield Edit(end, around[1], closing)


def _ends(statement: ast.stmt) -> Iterator[ast.stmt]:
    """Statements after which nothing of `statement` is left to run, whatever branch was taken."""
    if isinstance(statement, ast.If):
        blocks = [statement.body, statement.orelse]
    elif isinstance(statement, (ast.With, ast.AsyncWith)):
        blocks = [statement.body]
    elif isinstance(statement, ast.Try) and not statement.orelse:
        blocks = [statement.body, *(handler.body for handler in statement.handlers)]
    else:
        yield statement
        return
    for block in filter(None, blocks):
        yield from _ends(block[-1])
