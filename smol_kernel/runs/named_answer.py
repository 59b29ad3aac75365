"""The last expression of a script bound to a name. Used by `check_cell`, `prove`, and for the name that a user
gave."""

from __future__ import annotations

import ast
import re
from collections.abc import Container, Sequence
from dataclasses import replace

from smol_kernel.runs.script import ScriptCell
from smol_kernel.runs.source import Edit, Source


def last_code(cells: Sequence[ScriptCell]) -> int | None:
    """The place of the last cell of code; None if there is none."""
    return next((at for at in range(len(cells) - 1, -1, -1) if cells[at].kind == "code"), None)


def with_answer_in(cells: Sequence[ScriptCell], name: str) -> list[ScriptCell]:
    """The cells, the last of which puts its value into `name`, and shows it where it did; as they are where it ends
    otherwise."""
    found, place = list(cells), last_code(cells)
    if place is not None and last_name(source := found[place].source) != name:
        found[place] = replace(found[place], source=bound(source, name) or source)
    return found


def free_name_in(cells: Sequence[ScriptCell], wanted: str = "answer", taken: Container[str] = ()) -> str:
    """`wanted`, with as many underscores behind it that it stands in none of the cells and is not `taken`."""
    name = wanted
    while name in taken or any(cell.kind == "code" and re.search(rf"\b{name}\b", cell.source) for cell in cells):
        name += "_"
    return name


def last_name(source: str) -> str | None:
    """The name that a cell ends with; None if it ends otherwise."""
    last = Source(source).last_expression
    return last.value.id if last is not None and isinstance(last.value, ast.Name) else None


def bound(source: str, name: str) -> str | None:
    """The cell with its last expression bound to `name`, which then is the last one unless a semicolon hides the value;
    None if it ends otherwise."""
    read = Source(source)
    last = read.last_expression
    if last is None:
        return None
    start, _ = read.span(last)
    assigned = Edit(start, start, f"{name} = ")
    if semicolon := read.semicolon(last):
        return read.edited([assigned, Edit(*semicolon, "")])
    return f"{read.edited([assigned]).rstrip()}\n{name}"
