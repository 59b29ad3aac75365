"""A run that names what only earlier runs of its conversation were given, as one that was given that itself. Used by
what proves and writes its finished work."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace

from smol_kernel.events import Event, RunStarted
from smol_kernel.render.transcript import Transcript
from smol_kernel.runs.flow import Flow
from smol_kernel.runs.made_again import beginning
from smol_kernel.runs.script import Part, parts_of, read_names
from smol_kernel.runs.slice import is_beyond, read_part


def lent(runs: Sequence[Sequence[Event]], there: Container[str] | None = None) -> list[Event]:
    """The events of the last of `runs`, each of which goes on from the one before; it was given what it names of what
    they were given. `there` are the names that still have a value, None: all."""
    *before, events = runs
    starts = [beginning(run) for run in before]
    if not any(start.inputs for start in starts):
        return list(events)
    begun = beginning(events)
    names = read_of(starts, parts_of(Transcript.from_events(events)), there)
    given = given_in([*starts, begun], {*begun.inputs, *names})
    return [given if event is begun else event for event in events]


def read_of(starts: Sequence[RunStarted], parts: Sequence[Part], there: Container[str] | None) -> set[str]:
    """Of what runs that began so were given, and is `there`, what the parts name, and do not surely bind before they
    read it."""
    given = {name for start in starts for name in start.inputs if there is None or name in there}
    names = read_names(parts)
    found = given & ({*names.spans} | names.unplaced)
    own = sorted(found & names.bound - names.unplaced - names.queried)
    return found - _only_bound(own, names.bound, parts) if own else found


def _only_bound(names: Sequence[str], bound: set[str], parts: Sequence[Part]) -> set[str]:
    """Those of `names` whose value from before the parts is read nowhere in them."""
    if any(map(is_beyond, parts)):
        return set()
    flow = Flow(bound, inputs=dict.fromkeys(names, ""))
    marks = {name: -number for number, name in enumerate(names, start=1)}  # numbers of no statement
    flow.frames[0].state.bound.update({name: frozenset([mark]) for name, mark in marks.items()})
    try:
        for part in parts:
            read_part(flow, part)
    except RecursionError:  # functions that call each other hundreds deep
        return set()
    read = set[int]().union(*flow.needs)
    return set() if flow.free else {name for name, mark in marks.items() if mark not in read}


def given_in(starts: Sequence[RunStarted], names: Container[str]) -> RunStarted:
    """The last of `starts`, of runs that go on from each other; it was given those of `names` that any of them was, as
    they were given last."""
    last = {name: start for start in starts for name in start.inputs if name in names}
    inputs = {name: start.inputs[name] for name, start in last.items()}
    values = {name: start.values[name] for name, start in last.items() if name in start.values}
    return replace(starts[-1], inputs=inputs, values=values)
