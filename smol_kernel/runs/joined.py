"""A run that uses what earlier ones of its conversation had made, as one run that makes it itself. Used by `prove`."""

from __future__ import annotations

import ast
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from smol_kernel.events import (
    ActionFinished,
    ActionProposed,
    Event,
    RunResumed,
    RunStarted,
    StepFinished,
    StepStarted,
    ToolCalled,
    ToolReturned,
    settled,
)
from smol_kernel.render.transcript import Transcript
from smol_kernel.runs.changes import changed_inputs
from smol_kernel.runs.expressions import START
from smol_kernel.runs.flow import Flow
from smol_kernel.runs.lent import given_in, read_of
from smol_kernel.runs.made_again import beginning
from smol_kernel.runs.names import bound_by
from smol_kernel.runs.script import Part, part_of, parts_of, types_of
from smol_kernel.runs.slice import all_needed, is_beyond, read_part, removals

LONGEST = 60.0
"""Seconds: what took longer is not done once more for another answer."""
_RECORDED = (StepStarted, ActionProposed, ToolCalled, ToolReturned, ActionFinished, StepFinished)
"""What is taken over of a step: not what it had shown, which is told of its own run."""


@dataclass
class _Earlier:
    """What a step of an earlier run contributes."""

    run: str
    part: Part
    numbers: list[int]
    """Of its statements, as the flow has them."""

    def events(self, needed: set[int], events: Iterable[Event], run: str, step: int) -> Iterator[Event]:
        """Its record as that of another `run` and `step`, its code cut to the statements that are needed."""
        part, old = self.part, self.part.step.number
        kept = self.cut(needed).kept
        before = part.kept[: part.kept.index(kept[-1]) + 1]
        end = part.source.end_of(kept[-1])
        code = part.source.edited(removals(part.source, kept, before), end).strip("\n")
        for event in events:
            if event.run != self.run or event.step != old or not isinstance(event, _RECORDED):
                continue
            if isinstance(event, ActionProposed):
                event = replace(event, code=code)
            elif isinstance(event, ActionFinished):
                event = replace(event, status="ok", final=False, error_type=None, error=None, completed=len(kept))
            elif isinstance(event, StepFinished):
                event = replace(event, error_type=None, error=None)
            yield replace(event, run=run, step=step)
        calls = {call.call for call in part.step.calls}
        for event in events:
            if isinstance(event, RunStarted) and event.call in calls:  # so it is known that an agent was called
                yield replace(event, parent=run)

    def cut(self, needed: set[int]) -> Part:
        """The part with what is needed of it."""
        numbered = zip(self.numbers, self.part.kept, strict=True)
        return replace(self.part, kept=[each for number, each in numbered if number in needed])


def joined(runs: Sequence[Sequence[Event]], there: Container[str] | None = None) -> list[Event] | None:
    """The events of the last of `runs`, each of which goes on from the one before, with what it needs of those: their
    steps come first, cut to the statements that are needed, and it was given what they were. `there` are the names that
    still have a value, None: all.

    None: it needs nothing that they did; or it cannot be told what, such as where something it was given anew had been
    changed by then; or that would write files or do something else outside once more, or took more than LONGEST.
    """
    try:
        return _joined([(Transcript.from_events(run), run) for run in runs], there)
    except RecursionError:  # functions that call each other hundreds deep
        return None


def _joined(runs: Sequence[tuple[Transcript, Sequence[Event]]], there: Container[str] | None) -> list[Event] | None:
    own, events = runs[-1]
    summaries = {name: summary for transcript, _ in runs for name, summary in transcript.inputs.items()}
    tools = list(dict.fromkeys(name for transcript, _ in runs for name in transcript.tools))
    earlier = _parts_before(runs[:-1])
    latest = parts_of(own)
    parts = [*(each.part for each in earlier), *latest]
    types = types_of(summaries)
    if any(map(is_beyond, parts)) or _is_given_anew(runs, earlier, types, tools):
        return None
    bound = bound_by(statement for part in parts for statement in part.kept)
    flow = Flow(bound, {*tools, "input", "getpass"} - {"final_answer"}, types)
    for each in earlier:
        each.numbers = read_part(flow, each.part)
    world = flow.world
    never = {*world.files.touched, *world.outside.touched, *(e.numbers[-1] for e in earlier if e.part.answers)}
    for lasting in (world.files, world.figure):  # written by then; figures do not outlive a cell
        lasting.touched.clear()
    wanted = {number for part in latest for number in read_part(flow, part)}
    needed = all_needed(wanted, flow.needs) - wanted - {START}
    used = [each for each in earlier if needed & {*each.numbers}]
    told = [event for _, run in runs[:-1] for event in run]
    if flow.free or not used or needed & never or _seconds(used, told) > LONGEST:
        return None
    begun = beginning(events)
    starts = [beginning(run) for _, run in runs]
    names = {*own.inputs, *read_of(starts, [*(each.cut(needed) for each in used), *latest], there)}
    given = {name: way for start in starts for name, way in (start.origin.get("given") or {}).items()}
    origin = begun.origin | ({"given": given} if given else {})
    found: list[Event] = [replace(given_in(starts, names), tools=tools, origin=origin)]
    for step, each in enumerate(used, start=1):
        found += each.events(needed, told, own.run, step)
    for event in settled(events):
        if event is not begun and not isinstance(event, RunResumed):
            is_own = event.run == own.run and event.step > 0
            found.append(replace(event, step=event.step + len(used)) if is_own else event)
    return found


def _seconds(used: Sequence[_Earlier], events: Iterable[Event]) -> float:
    """How long the actions took."""
    steps = {(each.run, each.part.step.number) for each in used}
    return sum(
        event.seconds for event in events if isinstance(event, ActionFinished) and (event.run, event.step) in steps
    )


def _parts_before(runs: Iterable[tuple[Transcript, Sequence[Event]]]) -> list[_Earlier]:
    """What the steps of earlier runs contribute."""
    found: list[_Earlier] = []
    for transcript, _ in runs:
        for step in transcript.steps:
            part = None if step.only_calls else part_of(step)
            if part is not None and part.kept:  # what is no Python is left out: the proof tells whether it was needed
                found.append(_Earlier(transcript.run, part, []))
    return found


def _is_given_anew(
    runs: Sequence[tuple[Transcript, Sequence[Event]]],
    earlier: Sequence[_Earlier],
    types: dict[str, str],
    tools: Sequence[str],
) -> bool:
    """Whether a run was given a name that an earlier one had bound or changed: then there are two values of it."""
    done: list[ast.stmt] = []
    for transcript, _ in runs:
        given = {*transcript.inputs} if done else set[str]()
        if given and given & (bound_by(done) | changed_inputs(done, types, tools)):
            return True
        done += [node for each in earlier if each.run == transcript.run for node in each.part.kept]
    return False
