"""Statements that failed half-way with effects that later ones build on; `script`, the caller, cannot repeat them."""

from __future__ import annotations

import ast
import dis
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import CodeType

from smol_kernel.parsing import compiled
from smol_kernel.render.transcript import StepRecord
from smol_kernel.runs.changes import touched_by
from smol_kernel.runs.source import Source

_READS = frozenset({"LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"})
_MAY_NOT_BIND = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.Match)


def halfway_statements(
    steps: Sequence[StepRecord], kept: Mapping[int, tuple[Source, Sequence[ast.stmt]]]
) -> dict[int, int]:
    """Step → number (from 1) of its statement that failed after it may have changed what a later kept one reads.

    `kept` has the source of each step that contributes, and those of its statements that completed.
    """
    found: dict[int, int] = {}
    for place, step in enumerate(steps):
        if step.state != "error" or step.lost or not step.code.strip():
            continue
        source = kept[step.number][0] if step.number in kept else Source(step.code)
        if source.body is None or step.completed >= len(source.body):
            continue
        before = [node for earlier in steps[: place + 1] for node in kept.get(earlier.number, (source, []))[1]]
        touched = touched_by(before, _with_effects(source.body[step.completed]))
        later = [kept[other.number][1] for other in steps[place + 1 :] if other.number in kept]
        if touched & _read(statement for statements in later for statement in statements):
            found[step.number] = step.completed + 1
    return found


def _with_effects(statement: ast.stmt) -> list[ast.AST]:
    """What of a statement that failed may have had an effect: a plain assignment binds all or nothing."""
    if isinstance(statement, ast.ClassDef):
        return [*statement.decorator_list, *statement.bases, *statement.body]
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        defaults = [*statement.args.defaults, *statement.args.kw_defaults]
        return [*statement.decorator_list, *(default for default in defaults if default is not None)]
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        return [statement] if isinstance(statement.targets[0], (ast.Tuple, ast.List)) else [statement.value]
    if isinstance(statement, (ast.AnnAssign, ast.AugAssign)):
        return [statement.value] if statement.value else []
    return [statement]


def _read(statements: Iterable[ast.stmt]) -> set[str]:
    """Global names that the statements read before they surely bind them themselves."""
    found: set[str] = set()
    bound: set[str] = set()
    for statement in statements:
        code = compiled(ast.Module([statement], []), ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        inside = set(bound)
        found.update(_loaded(code, inside))
        if not isinstance(statement, _MAY_NOT_BIND):
            bound = inside
    return found


def _loaded(code: CodeType, bound: set[str]) -> Iterator[str]:
    """Names that `code` loads before it stores them, in the order of its instructions; those it stores join `bound`."""
    for instruction in dis.get_instructions(code):
        value = instruction.argval
        if isinstance(value, CodeType):
            yield from _loaded(value, set(bound))
        elif instruction.opname in _READS and value not in bound:
            yield value
        elif instruction.opname == "STORE_NAME":
            bound.add(value)
