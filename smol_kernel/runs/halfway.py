"""Statements that failed half-way with effects that later ones build on; `script`, the caller, cannot repeat them."""

from __future__ import annotations

import ast
import dis
from collections.abc import Container, Iterator, Mapping, Sequence
from types import CodeType

from smol_kernel.parsing import compiled
from smol_kernel.render.transcript import StepRecord
from smol_kernel.runs.aside import Aside
from smol_kernel.runs.source import Source

_READS = frozenset({"LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"})
_MAY_NOT_BIND = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.Match)


def halfway_statements(
    steps: Sequence[StepRecord], kept: Mapping[int, tuple[Source, Sequence[ast.stmt]]]
) -> dict[int, int]:
    """Step → number (from 1) of its statement that failed after it may have changed what a later kept one reads.

    `kept` has the source of each step that contributes, and those of its statements that completed.
    """
    failed = {step.number: statement for step in steps if (statement := _failed(step, kept)) is not None}
    read_later = _read_later(steps, kept, failed)
    found: dict[int, int] = {}
    flow, todo = Aside(), set(failed)
    try:
        for step in steps:
            if not todo:
                break
            flow.take(kept[step.number][1] if step.number in kept else [])
            if step.number in todo:
                todo.remove(step.number)
                flow = flow.with_later_names()
                if flow.may_change(read_later[step.number], _with_effects(failed[step.number])):
                    found[step.number] = step.completed + 1
    except RecursionError:  # functions that call each other hundreds deep: any of them may
        return {step.number: step.completed + 1 for step in steps if read_later.get(step.number)}
    return found


def _failed(step: StepRecord, kept: Mapping[int, tuple[Source, Sequence[ast.stmt]]]) -> ast.stmt | None:
    """The statement of the step that failed, if one did."""
    if step.state != "error" or step.lost or not step.code.strip():
        return None
    source = kept[step.number][0] if step.number in kept else Source(step.code)
    return source.body[step.completed] if source.body is not None and step.completed < len(source.body) else None


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


def _read_later(
    steps: Sequence[StepRecord], kept: Mapping[int, tuple[Source, Sequence[ast.stmt]]], failed: Container[int]
) -> dict[int, frozenset[str]]:
    """Step of those that failed → global names that later steps read before they surely bind them themselves."""
    found: dict[int, frozenset[str]] = {}
    read: set[str] = set()
    first = next((step.number for step in steps if step.number in failed), None)
    for step in reversed(steps):
        if step.number in failed:
            found[step.number] = frozenset(read)
        if step.number == first:
            break
        for statement in reversed(kept[step.number][1] if step.number in kept else []):
            code = compiled(ast.Module([statement], []), ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            bound: set[str] = set()
            loaded = set(_loaded(code, bound))
            read = loaded | (read if isinstance(statement, _MAY_NOT_BIND) else read - bound)
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
