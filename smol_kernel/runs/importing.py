"""Gives an exported run back to a journal: from the record in a notebook's metadata, or from a file of events.

A file may come from anybody: it is capped, checked, and read as data; nothing in it is run or unpickled.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import secrets
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from smol_kernel.errors import ConfigError, EventError, RunNotFoundError
from smol_kernel.events import SCHEMA_VERSION, Event, RunStarted, from_dict
from smol_kernel.journal import Journal
from smol_kernel.runs.exporting import FORMAT, cells_digest

LARGEST = 1 << 30
"""Bytes of a file, and of the record in it once it is unpacked."""


@dataclass(frozen=True)
class Imported:
    """What became of an imported run: its id now, and what is to be said of it, a sentence each."""

    run: str
    remarks: list[str]


def import_run(path: str | Path, journal: Journal) -> Imported:
    """Put the run in the file at `path`, an exported `.ipynb` or `.json`, into `journal`: whole, or not at all.

    It keeps its id where that is free; if the same run is there already nothing changes. Raises ConfigError for a file
    that holds no such run.
    """
    events, remarks = _read(Path(path).expanduser())
    old = events[0].run
    try:
        there = journal.events(old, family=True)
    except RunNotFoundError:
        journal.append_all(events)
        for run in {event.run for event in events}:
            journal.cut_off(run)  # no process of here works on it
        return Imported(old, remarks)
    if there == events:
        return Imported(old, [*remarks, "The run was in the journal already."])
    new = {run: secrets.token_hex(4) for run in dict.fromkeys(event.run for event in events)}
    journal.append_all([_renamed(event, new) for event in events])
    for run in new.values():
        journal.cut_off(run)
    return Imported(new[old], [*remarks, f"Another run has the id {old}, so this one has a new one."])


def _renamed(event: Event, new: dict[str, str]) -> Event:
    if isinstance(event, RunStarted) and event.parent:
        event = replace(event, parent=new.get(event.parent, event.parent))
    return replace(event, run=new[event.run])


def _read(path: Path) -> tuple[list[Event], list[str]]:
    try:
        if path.stat().st_size > LARGEST:
            raise ConfigError(f"{path} is larger than {LARGEST >> 20} MB")
        data: Any = json.loads(path.read_text(encoding="utf-8"))
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
        raise ConfigError(
            f"{path} has events of form {data.get('schema')!r}, known is {SCHEMA_VERSION}: upgrade smol-kernel"
        )
    return _checked(path, data["events"]), remarks


def _unpacked(path: Path, notebook: Any) -> tuple[Any, list[str]]:
    """The record in a notebook's metadata."""
    try:
        ours = notebook["metadata"]["smol"]
        packed = base64.b64decode(ours["record"], validate=True)
        reader = zlib.decompressobj()
        data = reader.decompress(packed, LARGEST)
        whole = not reader.unconsumed_tail and hashlib.sha256(data).hexdigest() == ours["digest"]
        same = cells_digest(notebook) == ours.get("cells")
    except (KeyError, TypeError, AttributeError):
        raise ConfigError(
            f"{path} holds no run: it was not written by `smol export`, or its metadata is gone"
        ) from None
    except (ValueError, binascii.Error, zlib.error):
        raise ConfigError(f"{path}: the record of the run in its metadata is damaged") from None
    if not whole:
        raise ConfigError(f"{path}: the record of the run in its metadata is damaged")
    return json.loads(data), [] if same else ["The cells were changed since; the record was not."]


def _checked(path: Path, given: Sequence[Any]) -> list[Event]:
    events: list[Event] = []
    try:
        for each in given:
            event = from_dict(cast("dict[str, Any]", each))
            if not event.run or type(event.run) is not str or not isinstance(cast("Any", event.step), int):
                raise EventError(f"an event of kind {event.kind!r} belongs to no run")
            json.dumps(event.to_dict())
            events.append(event)
    except (EventError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None
    if not events or not isinstance(events[0], RunStarted):
        raise ConfigError(f"{path}: its events do not begin with the start of a run")
    return events
