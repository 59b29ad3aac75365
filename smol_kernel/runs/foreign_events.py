"""Events of unknown origin, checked before any of them is kept: their fields, and that they are one run's.

The rest of the house trusts what the journal holds, so what does not fit stays out of it. Called by `importing`.
"""

from __future__ import annotations

import json
import math
import re
import types
import typing
from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from typing import Any

from smol_kernel.errors import EventError
from smol_kernel.events import Event, FilesMade, Output, RunFinished, RunResumed, RunStarted, from_dict
from smol_kernel.executors.observation import allowed
from smol_kernel.executors.values import MAX_DEPTH
from smol_kernel.render.files import KINDS
from smol_kernel.render.transcript import STATES

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LATEST = 253_402_300_800
"""The year 10000, in seconds since the epoch: what a calendar can tell."""
_LARGEST = 1 << 53
"""JSON's numbers are exact up to this one (https://www.rfc-editor.org/rfc/rfc8259#section-6)."""
_DEEPEST = 4 * MAX_DEPTH
_PICTURES = ("image/png", "image/jpeg")
_LONGEST_NAME = 200
_DRAWN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
"""Characters that a terminal or a page acts on; a space of any width is none."""


def checked_events(given: Sequence[Any]) -> list[Event]:
    """The durable events among `given`, read from JSON. Raises EventError, which names the first that does not fit."""
    found: list[Event] = []
    runs: set[str] = set()
    for number, data in enumerate(given, 1):
        try:
            event = _checked(data)
            _check_family(event, runs, found)
        except EventError as error:
            raise EventError(f"event {number}: {error}") from None
        if event.durable:
            found.append(event)
    if not found:
        raise EventError("there are no events")
    return found


def _checked(data: Any) -> Event:
    if not isinstance(data, dict):
        raise EventError(f"{json.dumps(data)[:40]} is no event")
    if _depth(data) > _DEEPEST:
        raise EventError(f"it nests deeper than {_DEEPEST} levels")
    event = from_dict(typing.cast("dict[str, Any]", data))
    for name, hint in _hints(type(event)).items():
        if not _fits(getattr(event, name), hint):
            shown = json.dumps(getattr(event, name))[:60]
            raise EventError(f"{name} of kind {event.kind!r} cannot be {shown}")
    if not _ID.fullmatch(event.run) or event.step < 0 or not 0 <= event.time < _LATEST:
        raise EventError(
            f"run, step or time of kind {event.kind!r} cannot be {event.run!r}, {event.step}, {event.time}"
        )
    if isinstance(event, RunStarted) and not (_fits(event.began, float) and 0 <= event.began < _LATEST):
        raise EventError(f"the time of a fork cannot be {json.dumps(event.began)[:60]}")
    if isinstance(event, RunStarted) and not _ID.fullmatch(event.run if event.continues is None else event.continues):
        raise EventError(f"continues cannot be {event.continues!r}")
    if isinstance(event, RunStarted | RunResumed) and not (
        event.isolation.isprintable() and len(event.isolation) <= 200
    ):
        raise EventError(f"isolation cannot be {event.isolation[:60]!r}")
    _check_names(event)
    if isinstance(event, Output):  # what is shown of an action that ran here was looked at in this way too
        for mime in event.data.keys() & _PICTURES:
            kept, lines = allowed({mime: event.data[mime]})
            if not kept:
                raise EventError(f"data of kind 'output' cannot be shown: {lines[0]}")
    if isinstance(event, FilesMade):
        for file in event.files:
            if not _is_file(file):
                raise EventError(f"a file that was made cannot be {json.dumps(file)[:100]}")
    if isinstance(event, RunFinished) and (event.state not in STATES or event.state in ("running", "unfinished")):
        raise EventError(f"a run cannot end as {event.state[:60]!r}")
    return event


def _is_file(file: dict[str, Any]) -> bool:
    """Whether it is one as FilesMade has it."""
    size: Any = file.get("bytes")
    return (
        isinstance(file.get("path"), str)
        and _fits(size, int)
        and size >= 0
        and file.get("change") in ("made", "changed", "removed")
        and ("type" not in file or file["type"] in KINDS)
    )


def _check_names(event: Event) -> None:
    """Tools have names of Python; variables mostly have, but an agent of structured calls is given any."""
    variables = [*event.inputs, *event.values] if isinstance(event, RunStarted) else []
    for name in variables:
        if _DRAWN.search(name) or len(name) > _LONGEST_NAME:
            raise EventError(f"a variable cannot be called {name[:60]!r}")
    tools = event.tools if isinstance(event, RunStarted) else [getattr(event, "tool", "input")]
    for name in tools:
        if not (name.isidentifier() and len(name) <= _LONGEST_NAME):
            raise EventError(f"a tool cannot be called {name[:60]!r}")


def _check_family(event: Event, runs: set[str], found: Sequence[Event]) -> None:
    """Each run begins once, before all else of it, and is the first or was called by one that has begun."""
    if not isinstance(event, RunStarted):
        if event.run not in runs:
            raise EventError(f"run {event.run!r} has not begun")
    elif event.run in runs:
        raise EventError(f"run {event.run!r} begins a second time")
    elif found and event.parent not in runs:
        raise EventError(f"run {event.run!r} is no part of run {found[0].run!r}")
    else:
        runs.add(event.run)


@cache
def _hints(kind: type[Event]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {each.name: hints[each.name] for each in fields(kind)}


def _fits(value: Any, hint: Any) -> bool:
    """Whether `value`, from JSON, is of the type that a field of an event declares."""
    if hint is Any:
        return True
    family, parts = typing.get_origin(hint), typing.get_args(hint)
    if family in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if family is list:
        return isinstance(value, list) and all(_fits(item, parts[0]) for item in typing.cast("list[Any]", value))
    if family is dict:
        return isinstance(value, dict) and all(
            _fits(item, parts[1]) for item in typing.cast("dict[str, Any]", value).values()
        )
    if hint is float:
        return type(value) in (int, float) and math.isfinite(value) and abs(value) < _LARGEST
    if hint is int:
        return type(value) is int and abs(value) < _LARGEST
    return type(value) is hint


def _depth(data: Any) -> int:
    """How deep lists and dicts nest; not by recursion, which is what too deep a nesting would break."""
    depth, level = 0, [data]
    while level and depth <= _DEEPEST:
        depth += 1
        below: list[Any] = []
        for node in level:
            below += node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        level = [node for node in below if isinstance(node, (dict, list))]
    return depth
