"""The shortest part of a script that yields the answer: which top-level statements of each step are needed for it.

Kept is what the answer needs (see `flow`), what draws the figures, charts and styled tables that were shown, what
writes files or does anything else outside, magics, and calls of tools that were made for what they do (`for_effect`).
Dropped is what was looked at on the way: prints, values shown, results nobody uses. Used by `script`.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING

from smol_kernel.executors.displays import LIVE
from smol_kernel.parsing import first_line
from smol_kernel.runs.expressions import START
from smol_kernel.runs.flow import Flow
from smol_kernel.runs.for_effect import MadeForEffect, unread_in
from smol_kernel.runs.names import bound_by, called
from smol_kernel.runs.source import Edit, Source
from smol_kernel.runs.words import calculates, in_words, put_among, typed
from smol_kernel.runs.written import How, Written, constants_in

if TYPE_CHECKING:
    from smol_kernel.events import Output
    from smol_kernel.render.transcript import StepRecord
    from smol_kernel.runs.script import Part

_RESETTING = re.compile(
    r"%(?:reset|run|store|pylab|load|xdel|macro|recall|rerun|autocall|automagic|cd|pushd|popd|env)\b"
)
"""Magics after which names are others."""
_WORD = re.compile(r"[^\W\d]\w*")
_SHOWING = frozenset(["display", "show", "iplot"])
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_PICTURES = frozenset(["image/png", "image/jpeg"])


def sliced(
    parts: Sequence[Part], types: Mapping[str, str], tools: Sequence[str], task: str = ""
) -> tuple[list[list[ast.stmt]] | None, Written]:
    """Of each part the statements that are needed, and what of the answer the model wrote down itself.

    None: it cannot be told what is needed, or what counts was said in words or typed, and so rests on what was shown.
    `types` are those of the inputs.
    """
    answering = next((part for part in reversed(parts) if part.step.final and part.kept), None)
    if answering is None:
        return None, Written()
    if any(is_beyond(part) for part in parts):
        end = answering.kept[-1]
        is_written = in_words([(answering.step.number > _first_seen(parts, answering), end)])
        return None, _written("words", parts, list(constants_in([end]))) if is_written else Written()
    asking = {*tools, "input", "getpass"} - {"final_answer"}
    bound = bound_by(statement for part in parts for statement in part.kept)
    texts = [name for name, kind in types.items() if kind == "str"]
    flow = Flow(bound, asking, types, texts)
    wanted: set[int] = set()
    places: list[list[tuple[int, ast.stmt]]] = []
    several = _answering_differently(parts)
    calling: list[int] = []
    since: dict[str, int] = {}
    in_functions: set[str] = set()
    showing = _showing(parts)
    last = -1
    for part in parts:
        begun = set(flow.world.figure.touched)
        place: list[tuple[int, ast.stmt]] = []
        made = MadeForEffect(part.step)
        for statement in part.kept:
            number, is_magic = _read(flow, part.source, statement)
            wanted |= {number} if is_magic else set()
            place.append((number, statement))
            tools_called = flow.calls.get(number, set())
            for tool in tools_called & several:  # it depends on how often it was asked, and on what was done meanwhile
                flow.needs[number].update(calling[since.setdefault(tool, len(calling)) :])
            calling += [number] if tools_called else []
            unread = unread_in(statement, is_shown=statement is (part.source.body or [None])[-1])
            in_functions |= unread if isinstance(statement, (*_FUNCTIONS, ast.ClassDef)) else set()
            if made.has(statement, tools_called, unread | in_functions, bound):
                wanted.add(number)
            if part is answering and statement is part.kept[-1]:
                last = number
        drawn = {kind for output in part.step.outputs for kind in output.data}
        if drawn & _PICTURES:
            wanted |= flow.world.figure.touched - begun
        if drawn & _PICTURES or LIVE in drawn:
            shows = _calls if LIVE in drawn or _displayed_pictures_alone(part.step) else _is_call
            wanted |= {number for number, statement in place if shows(statement, showing)}
            wanted |= {place[-1][0]} if place and _has_value(place[-1][1]) else set()
        places.append(place)
    words = _rests_on_words(flow, parts, places, answering, last, task)
    if flow.free or words or not (_needs_of_data(flow)[last] - _defining(places) or flow.calls.get(last)):
        return None, words
    wanted |= {last} | flow.world.files.touched | flow.world.outside.touched
    needed = all_needed(wanted, flow.needs)
    for place in places:  # with what draws stays what closes it, or the cell would show what the step did not
        drawing = {number for number, _ in place} & flow.world.figure.touched
        wanted |= drawing if drawing & needed else set()
    needed = all_needed(wanted, flow.needs)
    return [[statement for number, statement in place if number in needed] for place in places], words


def _is_text(output: Output) -> bool:
    return output.channel in ("stdout", "result") and bool(output.text.strip())


def _rests_on_words(
    flow: Flow,
    parts: Sequence[Part],
    places: Sequence[Sequence[tuple[int, ast.stmt]]],
    answering: Part,
    last: int,
    task: str,
) -> Written:
    """What of the answer, or of what it is worked out from, was put down by the model, from what it saw or else."""
    numbered = [(part, number, node) for part, place in zip(parts, places, strict=True) for number, node in place]
    needs = _needs_of_data(flow)
    made_by = all_needed({last}, needs)
    asks = any(flow.calls.get(number) for number in made_by)
    nodes = [(part.step.number, node) for part, number, node in numbered if number in made_by]
    seen = _first_seen(parts, answering)
    if not asks and in_words((step > seen, node) for step, node in nodes):
        return _written("words", parts, list(constants_in(node for _, node in nodes)))
    from_outside = {START, *flow.calls}
    from_outside.update(number for _, number, _ in numbered if not from_outside.isdisjoint(needs[number]))
    outside = {part.step.number for part, number, _ in numbered if number in from_outside}
    shown = [
        (part.step.number, output.text)
        for part in parts
        if part.step.number in outside
        for output in part.step.outputs
        if _is_text(output)
    ]
    dropped = {part.step.number for part, number, _ in numbered if flow.calls.get(number) and number not in made_by}
    given = [
        (
            "\n".join(text for step, text in shown if step < part.step.number),
            "\n".join(text for step, text in shown if step < part.step.number and step in dropped),
            number in made_by,
            node,
        )
        for part, number, node in numbered
    ]
    if asks or START in made_by:
        return _written("", parts, *put_among(given, task))
    if typed((text, node) for text, _, is_needed, node in given if is_needed):
        return Written("typed")
    alone = all(step == answering.step.number for step, _ in nodes) and in_words((True, node) for _, node in nodes)
    if any(calculates(part) for _, node in nodes for part in ast.walk(node)):  # by Python, not by the model
        return Written()
    return _written("unread", parts, list(constants_in(node for _, node in nodes))) if alone else Written()


def _written(
    how: How, parts: Iterable[Part], constants: Sequence[ast.Constant], put_down: Set[float | str] = frozenset()
) -> Written:
    every = [(part.step.number, node) for part in parts for whole in part.kept for node in ast.walk(whole)]
    step_of = {id(node): step for step, node in every if isinstance(node, ast.Constant)}
    inside = {id(node) for node in constants}
    own = [node.value for _, node in every if isinstance(node, ast.Constant) and id(node) not in inside]
    return Written(how, put_down, [(step_of[id(node)], node.value) for node in constants], own)


def _first_seen(parts: Iterable[Part], answering: Part) -> int:
    """The step of the first of these that showed text; the last step if none did."""
    return next((part.step.number for part in parts if any(map(_is_text, part.step.outputs))), answering.step.number)


def _needs_of_data(flow: Flow) -> list[set[int]]:
    """What each statement needs, without what only sets something: that is no data, and all that follows needs it."""
    both = zip(flow.needs, flow.only_settings, strict=True)
    return [needed - settings if settings else needed for needed, settings in both]


def all_needed(wanted: set[int], needs: Sequence[set[int]]) -> set[int]:
    """The statements that are `wanted`, and all that these need."""
    found: set[int] = set()
    new = set(wanted)
    while new:
        found |= new
        new = set[int]().union(*(needs[number] for number in new)) - found
    return found


def _defining(places: Sequence[Sequence[tuple[int, ast.stmt]]]) -> set[int]:
    """Statements of which alone no answer is made: imports."""
    return {number for place in places for number, node in place if isinstance(node, (ast.Import, ast.ImportFrom))}


def read_part(flow: Flow, part: Part) -> list[int]:
    """Have the flow take in the statements of a part; gives their numbers."""
    return [_read(flow, part.source, statement)[0] for statement in part.kept]


def _read(flow: Flow, source: Source, statement: ast.stmt) -> tuple[int, bool]:
    """Its number, and whether it is IPython's own."""
    magic = _magic_of(source, statement)
    return (flow.skip(_WORD.findall(magic)) if magic else flow.read(statement)), bool(magic)


def is_beyond(part: Part) -> bool:
    """Whether there is no telling what the code does: no Python, or a magic that changes names."""
    source = part.source
    return source.body is None or any(_RESETTING.search(source.line(number)) for number in source.magics)


def _magic_of(source: Source, statement: ast.stmt) -> str:
    """The lines of a statement that are IPython's own; empty if it is plain Python."""
    lines = range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)
    return "\n".join(source.line(number) for number in lines) if source.magics & set(lines) else ""


def _answering_differently(parts: Sequence[Part]) -> set[str]:
    """Tools that gave different results for the same arguments."""
    results: dict[tuple[str, str], set[str]] = defaultdict(set)
    for part in parts:
        for call in part.step.calls:
            results[call.tool, call.summary].add(call.result)
    return {tool for (tool, _), found in results.items() if len(found) > 1}


def _showing(parts: Iterable[Part]) -> set[str]:
    """What shows things: the functions that are there for it, and those of the script that call them."""
    found = set(_SHOWING)
    for node in (node for part in parts for statement in part.kept for node in ast.walk(statement)):
        if isinstance(node, _FUNCTIONS) and any(called(inner) in found for inner in ast.walk(node)):
            found.add(node.name)
    return found


def _calls(statement: ast.stmt, names: Set[str]) -> bool:
    """Whether it calls one of these; to define what does is no call."""
    if isinstance(statement, (*_FUNCTIONS, ast.ClassDef)):
        return False
    return any(called(node) in names for node in ast.walk(statement))


def _is_call(statement: ast.stmt, names: Set[str]) -> bool:
    """Whether it is a call of one of these and nothing else."""
    return isinstance(statement, ast.Expr) and called(statement.value) in names


def _displayed_pictures_alone(step: StepRecord) -> bool:
    """Whether all that it displayed were pictures; else a loop that displays may have shown tables."""
    return all(output.data.keys() & _PICTURES for output in step.outputs if output.channel == "display")


def _has_value(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and called(statement.value) != "print"


# the text without what is dropped


def removals(source: Source, kept: Sequence[ast.stmt], every: Sequence[ast.stmt]) -> list[Edit]:
    """Edits that take the statements that are not kept out of the text, with their comments; the rest stays as it is.

    `every` are those the text is to be looked through for: up to the last one that is kept.
    """
    keep = set(map(id, kept))
    edits: list[Edit] = []
    groups: list[list[ast.stmt]] = []
    for statement in every:
        if groups and first_line(statement) <= (groups[-1][-1].end_lineno or 0):
            groups[-1].append(statement)  # behind a semicolon
        else:
            groups.append([statement])
    for place, group in enumerate(groups):
        if all(id(statement) in keep for statement in group):
            continue
        if not any(id(statement) in keep for statement in group):
            after = first_line(groups[place + 1][0]) if place + 1 < len(groups) else None
            edits.append(_lines_of(source, group, after))
        else:
            edits += _among(source, group, keep)
    return edits


def _lines_of(source: Source, group: Sequence[ast.stmt], after: int | None) -> Edit:
    """The lines of the group, with the comments right above it and the blank lines that would double."""
    first, last = first_line(group[0]), group[-1].end_lineno or group[-1].lineno
    while first > 1 and source.line(first - 1).lstrip().startswith("#"):
        first -= 1
    total = source.lines
    if first == 1 or not source.line(first - 1).strip():
        while last < total and not source.line(last + 1).strip() and (after is None or last + 1 < after):
            last += 1
    return Edit(source.offset(first, 0), source.offset(last + 1, 0) if last < total else len(source.text), "")


def _among(source: Source, group: Sequence[ast.stmt], keep: set[int]) -> list[Edit]:
    """Statements that share their lines with some that stay."""
    edits: list[Edit] = []
    for place, statement in enumerate(group):
        if id(statement) in keep:
            continue
        start, end = source.span(statement)
        if any(id(before) in keep for before in group[:place]):
            edits.append(Edit(source.span(group[place - 1])[1], end, ""))
        else:
            edits.append(Edit(start, source.span(group[place + 1])[0], ""))
    return edits
