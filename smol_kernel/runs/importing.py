"""Gives an exported run back to a journal: from the record in a notebook's metadata, or from a file of events.

A file may come from anybody: it is capped, checked, and read as data; nothing in it is run or unpickled.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from smol_kernel.errors import ConfigError, EventError, RunNotFoundError
from smol_kernel.events import SCHEMA_VERSION, Event, RunStarted
from smol_kernel.journal import Journal
from smol_kernel.journal.no_secrets import without_secrets
from smol_kernel.parsing import parsed_json
from smol_kernel.render.plain import one_line
from smol_kernel.runs.exporting import FORMAT, LARGEST_RECORD, cells_digest
from smol_kernel.runs.foreign_events import checked_events

LARGEST_FILE = 1 << 30
"""Bytes of a file that is read; it may have as many parts as `parsing` allows in these."""


@dataclass(frozen=True)
class Imported:
    """What became of an imported run: its id now, whether it is `new` in the journal, and what is to be said of it, a
    sentence each."""

    run: str
    remarks: list[str]
    new: bool = True


def import_run(path: str | Path, journal: Journal) -> Imported:
    """Put the run in the file at `path`, an exported `.ipynb` or `.json`, into `journal`: whole, or not at all.

    It keeps its id where that is free, and gets the same other one each time where it is not; if the same run is there
    already nothing changes. Its origin says that it was imported. Raises ConfigError for a file that holds no such run.
    """
    given, remarks = _read(Path(path).expanduser())
    events = _marked(without_secrets(event)[0] for event in given)
    old, root = events[0].run, events[0]
    if _same(_kept(journal, old), events):
        return Imported(old, [*remarks, "The run was in the journal already."], new=False)
    if isinstance(root, RunStarted) and root.parent is not None:
        events[0] = replace(root, parent=None, call=None)
        remarks.append("An agent called it in a run that is not part of the file, so it stands for itself now.")
    for ids in ({}, _other_ids(events)):
        named = [_renamed(event, ids) for event in events] if ids else events
        run, runs = named[0].run, dict.fromkeys(event.run for event in named)
        told = [*remarks, f"Another run has the id {old}, so this one has the id {run}."] if ids else remarks
        if _same(_kept(journal, run), named):
            return Imported(run, [*told, "The run was in the journal already."], new=False)
        if all(_kept(journal, each) is None for each in runs):
            earlier = named[0].continues if isinstance(named[0], RunStarted) else None
            if earlier is not None and _kept(journal, earlier) is None:
                told = [
                    *told,
                    f"It goes on from run {earlier}, which is not here: to resume or fork it, import that too.",
                ]
            journal.append_all(named)
            for each in runs:
                journal.cut_off(each)  # no process of here works on it
                journal.offer(each)
            return Imported(run, told)
    raise ConfigError(f"{path}: other runs have its ids, {old} and {run}: delete one with smol runs --delete")


def _kept(journal: Journal, run: str) -> list[Event] | None:
    try:
        return journal.events(run, family=True)
    except RunNotFoundError:
        return None


def _same(there: Sequence[Event] | None, events: Sequence[Event]) -> bool:
    """Compared as text, in which even what is not a number equals itself; own runs too may come back."""
    return there is not None and [json.dumps(one.to_dict(shared=True)) for one in _marked(there)] == [
        json.dumps(one.to_dict(shared=True)) for one in events
    ]


def _marked(events: Iterable[Event]) -> list[Event]:
    return [
        replace(event, origin={**event.origin, "imported": True}) if isinstance(event, RunStarted) else event
        for event in events
    ]


def _other_ids(events: Sequence[Event]) -> dict[str, str]:
    """Other ids for the runs of `events`: they come from what happened, so that they are the same each time."""
    content = hashlib.sha256(json.dumps([event.to_dict(shared=True) for event in events]).encode())
    ids: dict[str, str] = {}
    for run in dict.fromkeys(event.run for event in events):
        content.update(run.encode())
        ids[run] = content.hexdigest()[:8]
    return ids


def _renamed(event: Event, ids: dict[str, str]) -> Event:
    if isinstance(event, RunStarted):
        origin = event.forked.get("run")
        forked = {**event.forked, "run": ids[origin]} if isinstance(origin, str) and origin in ids else event.forked
        parent, continues = ids.get(event.parent or "", event.parent), ids.get(event.continues or "", event.continues)
        event = replace(event, parent=parent, continues=continues, forked=forked)
    return replace(event, run=ids[event.run])


def _read(path: Path) -> tuple[list[Event], list[str]]:
    if path.suffix.lower() not in (".ipynb", ".json"):
        raise ConfigError(f"{path}: give an exported .ipynb or .json")
    try:
        with path.open("rb") as file:
            text = file.read(min(path.stat().st_size, LARGEST_FILE) + 1)  # it takes that much memory first
        if len(text) > LARGEST_FILE:
            raise ConfigError(f"{path} is larger than {LARGEST_FILE >> 20} MB")
        data: Any = parsed_json(text, LARGEST_FILE)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    remarks: list[str] = []
    if path.suffix.lower() == ".ipynb":
        data, remarks = _unpacked(path, data)
    if not isinstance(data, dict) or data.get("format") != FORMAT or not isinstance(data.get("events"), list):
        raise ConfigError(f"{path} holds no run: give an exported .ipynb or .json")
    if data.get("schema") != SCHEMA_VERSION:
        shown = one_line(repr(data.get("schema")), 20)
        raise ConfigError(f"{path} has events of form {shown}, known is {SCHEMA_VERSION}: upgrade smol-kernel")
    try:
        events = checked_events(data["events"])
    except EventError as error:
        raise ConfigError(f"{path}: {one_line(str(error), 300)}") from None
    return events, remarks


def _unpacked(path: Path, notebook: Any) -> tuple[Any, list[str]]:
    """The record in a notebook's metadata."""
    try:
        ours = notebook["metadata"]["smol"]
        record, digest = ours["record"], ours["digest"]
    except (KeyError, TypeError, IndexError):
        raise ConfigError(
            f"{path} holds no run: it was not written by `smol export`, or its metadata is gone; "
            "of a very large run only the .json holds the record"
        ) from None
    try:
        reader = zlib.decompressobj()
        text = reader.decompress(base64.b64decode(record, validate=True), LARGEST_RECORD)
        if not reader.eof or hashlib.sha256(text).hexdigest() != digest:
            raise ValueError("it is not what was written")
        data = parsed_json(text, LARGEST_RECORD)
    except (TypeError, ValueError, RecursionError, binascii.Error, zlib.error):
        raise ConfigError(f"{path}: the record of the run in its metadata is damaged") from None
    try:
        same = cells_digest(notebook) == ours.get("cells")
    except (KeyError, TypeError):
        same = False
    return data, [] if same else ["The cells were changed since; the record was not."]
