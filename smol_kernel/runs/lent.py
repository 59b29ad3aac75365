"""A run that names what only earlier runs of its conversation were given, as one that was given that itself. Used by
what proves and writes its finished work."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import replace

from smol_kernel.events import Event, RunStarted
from smol_kernel.render.transcript import Transcript
from smol_kernel.runs.made_again import beginning
from smol_kernel.runs.script import Part, part_of, read_names


def lent(runs: Sequence[Sequence[Event]], there: Container[str] | None = None) -> list[Event]:
    """The events of the last of `runs`, each of which goes on from the one before; it was given what it names of what
    they were given. `there` are the names that still have a value, None: all."""
    *before, events = runs
    starts = [beginning(run) for run in before]
    if not any(start.inputs for start in starts):
        return list(events)
    begun = beginning(events)
    parts = [part for step in Transcript.from_events(events).steps if (part := part_of(step)) is not None]
    names = {*begun.inputs, *(name for name in named_in(parts) if there is None or name in there)}
    given = given_in([*starts, begun], names)
    return [given if event is begun else event for event in events]


def named_in(parts: Iterable[Part]) -> set[str]:
    """The global names in them, as far as they can be told."""
    names = read_names(parts)
    return {*names.spans} | names.unplaced


def given_in(starts: Sequence[RunStarted], names: Container[str]) -> RunStarted:
    """The last of `starts`, of runs that go on from each other; it was given those of `names` that any of them was, as
    they were given last."""
    last = {name: start for start in starts for name in start.inputs if name in names}
    inputs = {name: start.inputs[name] for name, start in last.items()}
    values = {name: start.values[name] for name, start in last.items() if name in start.values}
    return replace(starts[-1], inputs=inputs, values=values)
