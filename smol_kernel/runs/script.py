"""The finished work of a run as cells: every statement that completed, running without the agent and this package.

Called by the notebook front, which inserts the cells, and by what exports and proves them.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from smol_kernel.render.code_to_run import left_unseen
from smol_kernel.render.markdown import safe_markdown
from smol_kernel.render.plain import fixed
from smol_kernel.render.transcript import StepRecord, Transcript
from smol_kernel.runs.answer import answer_edits, defined, ended_by_answer, is_final_answer
from smol_kernel.runs.changes import changed_inputs
from smol_kernel.runs.flow import TABLES
from smol_kernel.runs.halfway import halfway_statements
from smol_kernel.runs.names import LAST_VALUES, Names
from smol_kernel.runs.slice import removals, sliced
from smol_kernel.runs.source import TRANSPARENT, Edit, Source
from smol_kernel.runs.written import Written

_UNREPEATED = "What it had changed by then is not repeated here"
_DOUBT = ", so the answer may differ"
HALFWAY = f"Statement {{}} of this step failed half-way. {_UNREPEATED}{_DOUBT}."
CHANGED = "These cells change {}, which cannot be given another name here: make it anew before you run them again."
_SHOWING = frozenset({"print", "display", "show"})
"""Functions whose calls stand in a cell for what they show, not for their value."""
_QUIET = frozenset(["append", "clear", "extend", "insert", "remove", "reverse", "shuffle", "sort", "update"])
"""Functions that give None."""
_COPY_METHOD = re.compile(r"DataFrame \d+ x \d+|Series of [\d,]+ items, |ndarray ")
"""Begins the summary of what has a `copy` that shares nothing with it: tables of pandas, and no others."""


@dataclass(frozen=True)
class ScriptCell:
    """One cell of the script; `step` is the step it comes from."""

    kind: Literal["markdown", "code"]
    source: str
    step: int
    as_fields: bool = False
    """Whether its value was seen to be an object of which the answer has the fields."""


@dataclass
class Part:
    """What one step contributes: the first `kept` statements of its code, and how its text changes."""

    step: StepRecord
    source: Source
    kept: list[ast.stmt]
    end: int
    """Where the last kept statement ends in the text."""
    edits: list[Edit] = field(default_factory=list)
    appended: str = ""
    wrapped: tuple[str, str] | None = None
    """Names of the answer and of what brings it, if the last statement has to be ended by it."""
    answers: bool = False
    """Whether the last kept statement gave the answer."""

    def text(self) -> str:
        """The cell's code."""
        if self.wrapped is None:
            return self.source.edited(self.edits, self.end).strip("\n") + self.appended
        start = self.source.span(self.kept[-1])[0]
        before = self.source.edited(self.edits, start).strip("\n")
        whole = self.source.edited(self.edits, self.end)
        last = whole[len(self.source.edited(self.edits, start)) :]
        return "\n".join(filter(None, [before, ended_by_answer(last.strip("\n"), *self.wrapped)]))


@dataclass(frozen=True)
class Around:
    """The notebook that the cells are for: the names that are `taken` in it, and its variable for the `answer`."""

    taken: frozenset[str] = frozenset()
    answer: str | None = None


NOWHERE = Around()


def script_cells(transcript: Transcript, around: Around = NOWHERE) -> list[ScriptCell]:
    """The finished work: of each step that completed something its thought and its code.

    `final_answer(x)` becomes a last expression; values shown by a repr with an address are hidden by a semicolon;
    an input that the script binds anew or changes gets another name, so that the user's stays as it is.
    """
    return _cells(parts_of(transcript), transcript, around, slice=False)


def sliced_cells(transcript: Transcript, around: Around = NOWHERE) -> tuple[list[ScriptCell] | None, Written]:
    """The cells with only what the answer needs, None where that cannot be told; and what of the answer the model wrote
    down itself."""
    needed, written = _needed(parts_of(transcript), transcript)
    return None if needed is None else _cells(needed, transcript, around, slice=True), written


def parts_of(transcript: Transcript) -> list[Part]:
    """What its steps contribute."""
    return [part for step in transcript.steps if (part := part_of(step)) is not None]


def _cells(parts: list[Part], transcript: Transcript, around: Around, slice: bool) -> list[ScriptCell]:
    names = read_names(parts, {*transcript.inputs, *around.taken})
    for part in parts:
        settle_end(part, names, addresses=True, answer=around.answer)
    types = types_of(transcript.inputs)
    statements = [statement for part in parts for statement in part.kept]
    changed = changed_inputs(statements, types, transcript.tools)
    touched = [name for name in types if name in names.bound | changed]
    first_lines = _spare_inputs(parts, names, transcript.inputs, touched, changed)
    codes: list[str] = []
    for part in parts:
        begins = bool(first_lines and part.kept)
        codes.append("\n".join([*first_lines, part.text()]) if begins else part.text())
        first_lines = [] if begins else first_lines
    code_of = dict(zip((part.step.number for part in parts), defined(codes), strict=True))
    halfway = halfway_statements(transcript.steps, {part.step.number: (part.source, part.kept) for part in parts})
    remarks = [CHANGED.format(f"`{name}`") for name in touched if name in names.unplaced]
    cells: list[ScriptCell] = []
    earlier = sum(step.is_earlier for step in transcript.steps)
    for step in transcript.steps:
        number = step.number
        untold = "From an earlier run" if step.is_earlier else f"Step {number - earlier}"
        words = [safe_markdown(step.words).strip() or safe_markdown(step.title if step.only_calls else untold)]
        words += remarks if number in code_of and not any(cell.kind == "code" for cell in cells) else []
        words += [HALFWAY.format(halfway[number])] if number in halfway else []
        words += filter(None, [left_unseen(code_of.get(number, ""))])
        if (number in halfway and not slice) or number in code_of:
            cells.append(ScriptCell("markdown", "\n\n".join(words), number))
        if number in code_of:
            cells.append(ScriptCell("code", code_of[number], number))
    return cells


def part_of(step: StepRecord) -> Part | None:
    """What the step contributes; None if nothing of its code completed."""
    if not step.code.strip():
        return None
    if step.final and (part := _answering_in_magic(step)) is not None:
        return part
    source = Source(step.code)
    if source.body is None:  # all or nothing
        return Part(step, source, [], len(step.code)) if step.state == "ok" else None
    whole = step.state == "ok" and not step.final
    kept = source.body if whole else source.body[: step.completed]
    if not kept:
        return None
    end = len(step.code) if kept is source.body else source.end_of(kept[-1])
    return Part(step, source, kept, end, answers=step.final)


def _answering_in_magic(step: StepRecord) -> Part | None:
    """What a step contributes that gave its answer within a cell magic such as `%%time`: its code up to there, without
    the magic. None if it did otherwise, or where that is cannot be told."""
    text = step.code.lstrip()
    while magic := TRANSPARENT.match(text):
        text = text[magic.end() :]
    body = (source := Source(text)).body or []
    if text == step.code.lstrip():
        return None
    places = [place for place, each in enumerate(body) if any(map(is_final_answer, ast.walk(each)))]
    if len(places) != 1 or isinstance(body[places[0]], (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return None
    kept = body[: places[0] + 1]
    return Part(step, source, kept, source.end_of(kept[-1]), answers=True)


def _needed(parts: list[Part], transcript: Transcript) -> tuple[list[Part] | None, Written]:
    """The parts with what the answer needs of them, None where that cannot be told; and what of it the model
    wrote down itself."""
    try:
        found, written = sliced(parts, types_of(transcript.inputs), transcript.tools, transcript.task)
    except RecursionError:  # functions that call each other hundreds deep
        return None, Written()
    if found is None:
        return None, written
    needed: list[Part] = []
    for part, kept in zip(parts, found, strict=True):
        if not kept:
            continue
        before = part.kept[: part.kept.index(kept[-1]) + 1]
        end = part.end if kept[-1] is part.kept[-1] else part.source.end_of(kept[-1])
        edits = removals(part.source, kept, before)
        needed.append(Part(part.step, part.source, kept, end, edits, answers=part.answers and end == part.end))
    return needed, written


def read_names(parts: Iterable[Part], taken: Iterable[str] = ()) -> Names:
    """The names of the whole script; those that are `taken` count as used."""
    names = Names()
    names.every.update(taken)
    for part in parts:
        names.read(part.source, part.kept)
    return names


def free_name(wanted: str, names: Names) -> str:
    """`wanted`, with as many underscores behind it as make it free; it is taken from now on."""
    while wanted in names.every or keyword.iskeyword(wanted):
        wanted += "_"
    names.every.add(wanted)
    return wanted


def settle_end(part: Part, names: Names, *, addresses: bool, answer: str | None = None) -> None:
    """Make the last statement end the cell well: with the answer if it gave it, else without showing what it did not.
    Where that needs a name, it is `answer`, or a free one.

    With `addresses`, values that were shown by a repr with a memory address are not shown either.
    """
    if not part.kept:
        return
    last, source, step = part.kept[-1], part.source, part.step
    if part.answers:
        _give_answer(part, last, names, answer)
    if not isinstance(last, ast.Expr) or last.lineno in source.magics or part.wrapped or part.appended:
        return
    results = [output for output in step.outputs if output.channel == "result"]
    only_text = not any(output.data.keys() - {"text/plain"} for output in results)
    shown = (step.value_text, *(output.text for output in results))
    hidden = addresses and only_text and any(fixed(text) != text for text in shown)
    if any(name in names.spans and name not in names.bound for name in LAST_VALUES):
        hidden = False  # IPython keeps no value that is hidden, and the script may read it
    if last is not (source.body or [last])[-1] and not part.answers:
        hidden = addresses and not _shows(last.value)  # it was no last expression before, and its value is not known
    semicolon = source.semicolon(last, part.end)
    if hidden and not semicolon:
        end = source.span(last)[1]
        part.edits.append(Edit(end, end, ";"))
    elif semicolon and part.answers and not hidden:
        part.edits.append(Edit(*semicolon, ""))


def showing(cell: str) -> str:
    """The cell so that it shows the value of its last expression, if a semicolon hides that."""
    source = Source(cell)
    last = source.last_expression
    semicolon = source.semicolon(last) if last else None
    return source.edited([Edit(*semicolon, "")]) if semicolon else cell


def certain(cell: ScriptCell) -> ScriptCell:
    """The cell as it stands in a script that was shown to give the answer: without doubt of that."""
    doubted = cell.kind == "markdown" and _UNREPEATED in cell.source
    return replace(cell, source=cell.source.replace(f"{_UNREPEATED}{_DOUBT}", _UNREPEATED)) if doubted else cell


def _give_answer(part: Part, last: ast.stmt, names: Names, answer: str | None) -> None:
    before = set(names.every)
    name = answer or free_name("answer", names)
    found = answer_edits(part.source, last, name)
    if found is None:
        part.wrapped = name, free_name("answered", names)
        return
    edits, part.appended = found
    part.edits += edits
    if not part.appended:
        names.every = before


def _shows(value: ast.expr) -> bool:
    if isinstance(value, ast.Await):
        value = value.value
    function = value.func if isinstance(value, ast.Call) else None
    called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return called in _SHOWING | _QUIET or isinstance(value, ast.Constant)


def _spare_inputs(
    parts: list[Part], names: Names, summaries: Mapping[str, str], touched: Iterable[str], changed: set[str]
) -> list[str]:
    """Give inputs that the script binds or changes another name throughout; the lines to begin with."""
    lines: list[str] = []
    for name in touched:
        if name in names.unplaced:
            continue
        other = free_name(f"{name}_", names)
        for number, edit in names.spans[name]:
            parts[number].edits.append(Edit(edit.start, edit.end, edit.text.format(other)))
        if name not in changed:
            lines.append(f"{other} = {name}")
        elif _COPY_METHOD.match(summaries[name]):
            lines.append(f"{other} = {name}.copy()")
        else:
            lines += [] if "from copy import deepcopy" in lines else ["from copy import deepcopy"]
            lines.append(f"{other} = deepcopy({name})")
    return lines


def types_of(inputs: Mapping[str, str]) -> dict[str, str]:
    """The types of the inputs, with which their one-line summaries begin; tables of others than pandas are marked."""
    kinds = {name: re.split(r"[\s:]", summary, maxsplit=1)[0] for name, summary in inputs.items()}
    others = {name for name, kind in kinds.items() if kind in TABLES and not _COPY_METHOD.match(inputs[name])}
    return {name: f"other {kind}" if name in others else kind for name, kind in kinds.items()}
