"""A row for each run, kept in step with its events, and what it tells in the list of runs."""

from __future__ import annotations

import json
import math
import os
import platform
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smol_kernel.events import Event, FinalAnswer, RunFinished, RunResumed, RunStarted, StepStarted

SUMMARISED = (RunStarted, RunResumed, StepStarted, FinalAnswer, RunFinished)
"""Kinds of events that change the row of their run."""
QUIET_SECONDS = 3_600.0
"""Without an event for so long a run of another machine, whose processes cannot be seen, counts as cut off."""
HOW_TO_TAKE_OVER = (
    "Stop it there; if that machine is gone, `smol resume RUN --take-over` (in Python take_over=True) goes on with it, "
    "and after an hour without an event it counts as cut off"
)


@dataclass(frozen=True)
class RunSummary:
    """One line of the list of runs. Times are in seconds since the epoch; `isolation` as in RunStarted."""

    run: str
    parent: str | None
    task: str
    agent: str
    model: str
    scripted: bool
    state: str
    """"running" while its process lives, "elsewhere" while one of another machine does as far as is known, "unfinished"
    if that is gone, else the state of RunFinished."""
    started: float
    finished: float | None
    steps: int
    answer: str | None
    """The answer as text; None: no answer (yet)."""
    origin: dict[str, Any] = field(default_factory=dict)
    isolation: str = ""
    whereabouts: str = ""
    """Where it is at work, if that is "elsewhere"; see `elsewhere`."""


def summarise(db: sqlite3.Connection, event: Event) -> None:
    """Keep the row of the event's run in step with the event."""
    if isinstance(event, RunStarted):
        row = (event.run, event.parent, _storable(event.task), event.agent, event.model, event.scripted)
        origin = {
            name: value for name, value in event.origin.items() if name != "isolation"
        }  # which is put there below
        row += (json.dumps(origin), this_process(), event.began)
        db.execute(
            """INSERT INTO runs (run, parent, task, agent, model, scripted, origin, process, started)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)""",
            row,
        )
    elif isinstance(event, RunResumed):
        db.execute(
            "UPDATE runs SET process = ?, finished = NULL, state = NULL, answer = NULL, offered = 0 WHERE run = ?",
            (this_process(), event.run),
        )
        if event.isolation:
            db.execute(
                "UPDATE runs SET origin = json_set(origin, '$.isolation', ?) WHERE run = ?",
                (event.isolation, event.run),
            )
    elif isinstance(event, StepStarted):
        db.execute("UPDATE runs SET steps = max(steps, ?) WHERE run = ?", (event.step, event.run))
    elif isinstance(event, FinalAnswer):
        db.execute("UPDATE runs SET answer = ? WHERE run = ?", (_storable(event.text), event.run))
    elif isinstance(event, RunFinished):
        db.execute(
            "UPDATE runs SET state = ?, finished = ?, process = NULL WHERE run = ?",
            (event.state, event.time, event.run),
        )


def summary_of(row: tuple[Any, ...], latest: Mapping[str, float], ended: bool = False) -> RunSummary:
    """The RunSummary in a row, as `Journal` selects it; `latest` as `latest_elsewhere` gives them. `ended`: this
    process works on it no more, though the row says so."""
    *first, scripted, state, process, started, finished, steps, answer, origin, isolation = row
    whereabouts = elsewhere(process, latest) if state is None else ""
    if state is None:
        state = "running" if is_alive(process) and not ended else "elsewhere" if whereabouts else "unfinished"
    origin = json.loads(origin)
    isolation = origin.pop("isolation", isolation) or ""
    started = started if isinstance(started, int | float) else math.nan  # of a damaged row
    kept: list[Any] = [*first, bool(scripted), state, started, finished, steps, answer, origin, isolation]
    kept.append(whereabouts)
    return RunSummary(*kept)


def in_question(row: tuple[Any, ...]) -> bool:
    """Whether a process of another machine may be at work on the run of a row, as `Journal` selects it."""
    state, process = row[6:8]
    return state is None and bool(process) and not str(process).endswith(f" {platform.node()}")


def this_process() -> str:
    """What stands in a row for this process."""
    return _process(os.getpid())


def is_alive(process: str | None) -> bool:
    """Whether the process that a row names still lives."""
    try:
        return bool(process) and process == _process(int(str(process).split(" ")[0]))
    except (ValueError, OverflowError):  # a damaged row
        return False


def latest_elsewhere(db: sqlite3.Connection) -> dict[str, float]:
    """Of the processes of other machines (a shared home) that rows name, when each wrote its last event."""
    query = """WITH latest AS (SELECT process, max((SELECT max(id) FROM events WHERE events.run = runs.run)) AS id
        FROM runs WHERE process <> '' AND substr(process, -length(:here)) <> :here GROUP BY process)
        SELECT process, CASE WHEN json_valid(body) THEN CAST(json_extract(body, '$.time') AS REAL) END
        FROM latest JOIN events USING (id)"""
    return {process: at or 0.0 for process, at in db.execute(query, {"here": f" {platform.node()}"})}


def elsewhere(process: str | None, latest: Mapping[str, float]) -> str:
    """Where a process of another machine that a row names is at work, as far as is known; empty if it is not."""
    silent = time.time() - latest.get(str(process), 0.0)
    if silent > QUIET_SECONDS:
        return ""
    machine = str(process).split(" ", 2)[-1]
    return (
        f"at work on {machine}, as far as is known: its last event is less than {max(0, silent) // 60 + 1:.0f} min old"
    )


def _process(pid: int) -> str:
    """Process `pid` of this machine told apart from a later one of the same number; empty if there is none."""
    started = _started(pid)
    return f"{pid} {started} {platform.node()}" if started else ""


def _started(pid: int) -> str:
    if Path("/proc/self/stat").exists():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return ""
        return stat.rpartition(")")[2].split()[19]  # field 22, the start time in clock ticks: man 5 proc
    import psutil  # needed, and installed, everywhere but on Linux

    try:
        return str(psutil.Process(pid).create_time())
    except psutil.Error:
        return ""


def _storable(text: str) -> str:
    return text.encode(errors="replace").decode()  # SQLite's text knows no lone surrogates
