"""`Journal`: events go in, and a run, a list of runs and what is to be offered come out."""

from __future__ import annotations

import json
import os
import sqlite3
import weakref
from collections.abc import Generator, Iterable, Set
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, cast

from smol_kernel.errors import ConfigError, JournalError, RunNotFoundError, RunTakenOverError
from smol_kernel.events import Event, from_dict
from smol_kernel.journal.blobs import BLOB_CHARACTERS, give_blobs, take_blobs
from smol_kernel.journal.connections import close, connection, journal_number
from smol_kernel.journal.database import explain, hurried, transaction
from smol_kernel.journal.no_secrets import without_secrets
from smol_kernel.journal.rows import (
    HOW_TO_TAKE_OVER,
    SUMMARISED,
    RunSummary,
    elsewhere,
    in_question,
    is_alive,
    latest_elsewhere,
    summarise,
    summary_of,
    this_process,
)
from smol_kernel.journal.unwritten import catch_up, ended_here, let_go, trouble_below, trouble_of
from smol_kernel.memory.which_file import file_at

NO_HOME = "no home folder of this user is known. Set HOME, or SMOL_JOURNAL to the path of a file"


def default_path() -> Path:
    """Where the journal lies if nothing else is said: `SMOL_JOURNAL`, or the Jupyter data folder.

    Raises JournalError where that is in a home folder, and none is known.
    """
    if chosen := os.environ.get("SMOL_JOURNAL"):
        return _in_home(chosen)
    from jupyter_core.paths import jupyter_data_dir

    try:
        return Path(jupyter_data_dir()) / "smol_kernel" / "journal.sqlite"
    except RuntimeError:
        raise JournalError(f"no journal can be kept: {NO_HOME}") from None


def _in_home(path: str | Path) -> Path:
    """The path, with the home folder in place of "~". Raises JournalError where none is known."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise JournalError(f"the journal {str(path)!r} cannot be opened: {NO_HOME}") from None


def open_journal(spec: bool | str | Path | Journal | None) -> Journal | None:
    """The journal that `spec` means: None or True the default one, a path that file, False none at all.

    Raises ConfigError for anything else.
    """
    if spec is False:
        return None
    if isinstance(spec, Journal):
        return spec
    if not isinstance(cast("Any", spec), bool | str | os.PathLike | None):
        raise ConfigError(f"journal is {spec!r:.80}: give a path, a Journal, None (the default file) or False (none)")
    return Journal(None if spec is None or spec is True else spec)


_FAMILY = """WITH RECURSIVE family(run) AS
    (SELECT ?1 UNION SELECT runs.run FROM runs JOIN family ON runs.parent = family.run) """
"""A run, and those of the agents that it called."""


_IMPORTED = """(CASE WHEN NOT instr(origin, '"imported"') THEN 0
    WHEN json_valid(origin) THEN ifnull(json_extract(origin, '$.imported'), 0) ELSE 0 END)"""
"""Whether a run came in a file."""


class Journal:
    """The events of all runs, in the SQLite file at `path` (None: `default_path()`).

    The file is made at first use, readable by its owner only. An object may be used from any thread, and any number
    of processes may share a file. Every method raises JournalError, in a plain sentence, when the file does not serve.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = default_path() if path is None else _in_home(path)
        with suppress(OSError):  # a tool may change the folder, and the file may be opened again
            self.path = self.path.absolute()
        self._number = journal_number()
        weakref.finalize(self, close, self._number)

    def __reduce__(self) -> tuple[type[Journal], tuple[Path]]:
        return type(self), (self.path,)  # a copy has a number of its own, in another process too

    def append(self, event: Event, worker: str | None = None, *, hurry: bool = False) -> None:
        """Store `event`; one that is not durable is left out. On return it survives the death of this process.

        With `worker`, only while that process works on the run: raises RunTakenOverError if another one does now, and
        RunNotFoundError if the run was deleted. With `hurry` it waits only briefly for whoever holds the file.
        """
        self.append_all([event], worker, hurry=hurry)

    def append_all(self, events: Iterable[Event], worker: str | None = None, *, hurry: bool = False) -> None:
        """Store `events`, all of them or none; `worker` and `hurry` as in `append`."""
        rows = [_row(*without_secrets(event)) for event in events if event.durable]
        if not rows:
            return
        alone = len(rows) == 1 and not rows[0][-1] and not isinstance(rows[0][0], SUMMARISED)
        with (
            self._connection() as db,
            hurried(db) if hurry else nullcontext(),
            nullcontext() if alone else transaction(db),  # one statement is one by itself
        ):
            for event, body, refs, blobs in rows:
                if blobs:
                    db.executemany("INSERT OR IGNORE INTO blobs VALUES (?, ?)", blobs)
                found = db.execute(
                    "INSERT INTO events (run, body, blobs) SELECT ?1, ?2, ?3 WHERE ?4 IS NULL OR EXISTS "
                    "(SELECT 1 FROM runs WHERE run = ?1 AND process = ?4)",
                    (event.run, body, refs, worker),
                )
                if not found.rowcount:
                    self._refuse(db, event.run)
                summarise(db, event)

    def ends_with(self, event: Event) -> bool:
        """Whether `event` is the last of its run that is stored."""
        _, body, refs, _ = _row(*without_secrets(event))
        with self._connection() as db:
            last = "SELECT body, blobs FROM events WHERE run = ? ORDER BY id DESC LIMIT 1"
            return bool(db.execute(last, (event.run,)).fetchone() == (body, refs))

    def events(self, run: str, *, family: bool = False) -> list[Event]:
        """The events of `run` (its whole id) in order; with `family` those of the agents it called as well.

        Raises RunNotFoundError if there are none, EventError for events of a newer version.
        """
        members = "SELECT ?1"
        if family:
            members += " UNION SELECT runs.run FROM runs JOIN members ON runs.parent = members.run"
        query = f"WITH RECURSIVE members(run) AS ({members}) SELECT body, blobs FROM events JOIN members USING (run)"
        catch_up(self)
        with self._connection() as db:
            rows = db.execute(query + " ORDER BY id", (run,)).fetchall()
            if not rows:
                raise RunNotFoundError(f"no run {run!r} in {self.path}: `smol runs` lists them")
            return [from_dict(give_blobs(db, body, blobs)) for body, blobs in rows]

    def runs(self, limit: int = 50, search: str | None = None) -> list[RunSummary]:
        """Top-level runs, newest first, at most `limit` of them (-1: all); with `search` those whose id, task or answer
        contains it."""
        where = "parent IS NULL"
        where += " AND instr(casefold(run || ' ' || task || ' ' || ifnull(answer, '')), :text)" if search else ""
        return self._summaries(where, search.casefold() if search else "", limit=limit)

    def find(self, run: str) -> RunSummary:
        """The run whose id begins with `run`; "last" is the newest top-level one.

        Raises RunNotFoundError, or JournalError naming the candidates when there are several.
        """
        if run == "last":
            found = self.runs(limit=1)
            if not found:
                raise RunNotFoundError(f"no runs in {self.path} yet")
            return found[0]
        found = self._summaries(":text <> '' AND substr(run, 1, length(:text)) = :text", run, limit=6)
        exact = [summary for summary in found if summary.run == run] or self._summaries("run = :text", run, limit=1)
        if exact or len(found) == 1:
            return (exact or found)[0]
        if not found:
            raise RunNotFoundError(f"no run {run!r} in {self.path}: `smol runs` lists them")
        names = ", ".join(summary.run for summary in found[:5]) + (", …" if len(found) > 5 else "")
        raise JournalError(f"{run!r} could be any of {names}: give more of the id")

    def unseen(self) -> list[RunSummary]:
        """Top-level runs that ended or were cut off and were not offered yet, newest first; not those of which this
        process has still to tell the file how they ended."""
        runs, here = self._summaries("parent IS NULL AND NOT offered"), ended_here(self.path)
        return [run for run in runs if run.state != "running" and run.run not in here]

    def offer(self, run: str) -> None:
        """Note that the account of `run` has been shown to the person, or offered: `unseen` leaves it out."""
        self._write("UPDATE runs SET offered = 1 WHERE run = ?", run)

    def cut_off(self, run: str) -> None:
        """Note that this process does not work on `run` any more: without a RunFinished it is "unfinished" from now
        on. One of which something is to be written still is left to that."""
        if not trouble_of(self.path, run):
            self._write("UPDATE runs SET process = NULL WHERE run = ? AND process = ?", run, this_process())

    def claim(self, run: str, *, take_over: bool = False) -> RunSummary:
        """Note that this process works on `run` from now on; gives it as it was. `cut_off` takes that back.

        Raises JournalError if a process that lives works on it, or without `take_over` one of another machine does as
        far as is known, RunNotFoundError if there is none of that id. The process that loses it, and the agents that it
        called in it, cannot write to the run any more.
        """
        catch_up(self)
        if trouble := trouble_below(self.path, run):
            raise JournalError(f"run {run} is not whole in its journal yet: {trouble}")
        with self._connection() as db, transaction(db):
            row = db.execute("SELECT process FROM runs WHERE run = ?", (run,)).fetchone()
            if row is not None and is_alive(row[0]) and run not in ended_here(self.path):
                raise JournalError(
                    f"run {run} is at work in process {row[0].split(' ')[0]}: wait for its end, or stop it"
                )
            if row is not None and not take_over and (where := elsewhere(row[0], latest_elsewhere(db))):
                raise JournalError(f"run {run} is {where}. {HOW_TO_TAKE_OVER.replace('RUN', run)}")
            if row is not None:
                lost = f"{_FAMILY}UPDATE runs SET process = NULL WHERE process = ?2 AND run IN (SELECT run FROM family)"
                db.execute(lost, (run, row[0]))
            db.execute("UPDATE runs SET process = ? WHERE run = ?", (this_process(), run))
        let_go(self.path, run)
        return self.find(run)

    def continued(self) -> dict[str, str]:
        """The runs that go on from another one, each with that one, which they need to be resumed or forked."""
        query = """SELECT run, (SELECT CASE WHEN json_valid(body) THEN json_extract(body, '$.continues') END FROM events
            WHERE events.run = runs.run ORDER BY id LIMIT 1) AS before FROM runs WHERE before IS NOT NULL"""
        with self._connection() as db:
            return dict(db.execute(query).fetchall())

    def prunable(self, before: float, keep: int = 0) -> list[RunSummary]:
        """The top-level runs last worked on before `before` (seconds since the epoch), without the newest `keep`, those
        that a process works on, and those that one that stays goes on from; `delete` takes them out."""
        query = """SELECT run, (SELECT CASE WHEN json_valid(body) THEN CAST(json_extract(body, '$.time') AS REAL) END
            FROM events WHERE events.run = runs.run ORDER BY id DESC LIMIT 1) FROM runs WHERE parent IS NULL"""
        with self._connection() as db:
            at_work, latest = _at_work(db, ended_here(self.path)), dict(db.execute(query))
        runs, continued = self._summaries("parent IS NULL"), self.continued()
        found = [
            run
            for run in runs[keep:]
            if run.started < before and (latest.get(run.run) or 0.0) < before and run.run not in at_work
        ]
        staying = {run.run for run in runs} - {run.run for run in found}
        todo = list(staying)
        while todo:
            earlier = continued.get(todo.pop())
            if earlier is not None and earlier not in staying:
                staying.add(earlier)
                todo.append(earlier)
        return [run for run in found if run.run not in staying]

    def delete(self, runs: Iterable[str]) -> bool:
        """Take these runs out, with those of the agents that they called and all that only they refer to.

        Gives whether the file could be made smaller too: that needs room beside it, and nobody else at work in it.
        Raises JournalError, with nothing taken out, if a process that lives works on one of them, or one of another
        machine as far as is known.
        """
        catch_up(self)
        with self._connection() as db:
            with transaction(db):
                at_work = _at_work(db, ended_here(self.path))
                for run in runs:
                    if run in at_work:
                        raise JournalError(f"run {run} is {at_work[run]}")
                    found = db.execute(_FAMILY + "SELECT run FROM family", (run,)).fetchall()
                    for table in ("events", "runs"):
                        db.executemany(f"DELETE FROM {table} WHERE run = ?", found)
                in_use = """SELECT json_extract(pair.value, '$[1]') FROM events,
                    json_each(CASE WHEN json_valid(events.blobs) THEN events.blobs END) AS pair"""
                db.execute(f"DELETE FROM blobs WHERE digest NOT IN ({in_use})")
            return _made_smaller(db)

    def file(self) -> tuple[int, int] | None:
        """Which file lies at `path` now, by device and number; None: none that can be seen."""
        return file_at(self.path)

    def close(self) -> None:
        """Close the file; a later call opens it again. Not while another thread uses this object."""
        close(self._number)

    def close_here(self) -> None:
        """Close the file as far as this thread has it open; a later call opens it again."""
        close(self._number, here=True)

    def _write(self, statement: str, *given: str) -> None:
        with self._connection() as db, transaction(db):
            db.execute(statement, given)

    def _refuse(self, db: sqlite3.Connection, run: str) -> None:
        """Tell the process that worked on `run` why it does not any more."""
        row = db.execute("SELECT process FROM runs WHERE run = ?", (run,)).fetchone()
        if row is None:
            raise RunNotFoundError(f"run {run} was taken out of {self.path}")
        pid, *_, machine = (row[0] or "  ").split(" ", 2)
        by = f"process {pid} on {machine}" if machine else "another process"
        raise RunTakenOverError(f"run {run} was taken over by {by}: here it ends")

    def _summaries(self, where: str, text: str = "", *, limit: int = -1) -> list[RunSummary]:
        """Newest first. A run of our own is newer than those recorded before, though a clock was set back meanwhile;
        one that was imported has its place among them by its date."""
        query = f"""WITH
            own AS (SELECT rowid AS place, started FROM runs WHERE ({where}) AND NOT {_IMPORTED}
                ORDER BY rowid DESC LIMIT :limit),
            given AS (SELECT rowid AS place, started FROM runs WHERE {_IMPORTED} AND ({where})),
            earlier AS (SELECT CASE WHEN EXISTS (SELECT 1 FROM given) THEN (SELECT max(started) FROM runs
                WHERE rowid < (SELECT min(place) FROM own) AND NOT {_IMPORTED}) END AS latest),
            dated AS (SELECT place, max(started, ifnull(latest, started)) AS date FROM
                    (SELECT place, max(started) OVER (ORDER BY place) AS started FROM own), earlier
                UNION ALL SELECT place, started FROM given ORDER BY 2 DESC, 1 DESC LIMIT :limit)
            SELECT run, parent, task, agent, model, scripted, state, process, started, finished, steps, answer,
            origin, (SELECT CASE WHEN json_valid(body) THEN json_extract(body, '$.isolation') END FROM events
            WHERE events.run = runs.run ORDER BY id LIMIT 1) FROM dated JOIN runs ON runs.rowid = place
            ORDER BY date DESC, place DESC"""
        catch_up(self)
        ended = ended_here(self.path)
        with self._connection() as db:
            # Bytes of a command line that are no text have no form in SQLite, and stand in no run.
            given = {"text": text.encode(errors="backslashreplace").decode(), "limit": limit}
            rows = db.execute(query, given).fetchall()
            latest = latest_elsewhere(db) if any(in_question(row) for row in rows) else {}
            return [summary_of(row, latest, row[0] in ended) for row in rows]

    @contextmanager
    def _connection(self) -> Generator[sqlite3.Connection]:
        """This thread's connection; SQLite's errors leave as JournalError."""
        try:
            with connection(self._number, self.path) as db:
                yield db
        except (sqlite3.Error, OSError, json.JSONDecodeError) as error:
            raise JournalError(explain(self.path, error)) from error


def _row(event: Event, data: dict[str, Any]) -> tuple[Event, str, str | None, list[tuple[str, bytes]]]:
    """An event with its body as text, where its long strings belong, and these with their digests."""
    body = json.dumps(data, default=repr)  # of a user's own model or tool anything may come
    if len(body) <= BLOB_CHARACTERS:  # then no string in it is longer
        return event, body, None, []
    data, blobs = take_blobs(data)
    if not blobs:
        return event, body, None, []
    refs = json.dumps([(path, digest) for path, digest, _ in blobs])
    return event, json.dumps(data, default=repr), refs, [(digest, content) for _, digest, content in blobs]


def _at_work(db: sqlite3.Connection, ended: Set[str]) -> dict[str, str]:
    """The runs that a living process works on, and those that called them, each with where, and what to do; not those
    that `ended` in this one."""
    above = "WITH RECURSIVE up(run) AS (SELECT ?1 UNION SELECT runs.parent FROM runs JOIN up USING (run)) "
    latest, living = latest_elsewhere(db), dict[str, str]()
    for run, process in db.execute("SELECT run, process FROM runs WHERE process <> ''").fetchall():
        if is_alive(process) and run not in ended:
            living[run] = "at work: wait for its end, or stop it"
        elif where := elsewhere(process, latest):
            living[run] = f"{where}. {HOW_TO_TAKE_OVER.replace('RUN', run)}"
    return {
        caller: why for run, why in living.items() for (caller,) in db.execute(above + "SELECT run FROM up", (run,))
    }


def _made_smaller(db: sqlite3.Connection) -> bool:
    """Give what is free in the file back to the system; where that cannot be done at once, the next runs use it."""
    with hurried(db), suppress(sqlite3.OperationalError):
        db.execute("VACUUM")
        return db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    return False
