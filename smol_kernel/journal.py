"""The journal: every durable event of every run, in one SQLite file that several processes and threads share.

`record` writes a stream of events while it passes it on; everything that outlives a run is read back from here.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sqlite3
import threading
import weakref
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smol_kernel.errors import JournalError, RunNotFoundError
from smol_kernel.events import Event, FinalAnswer, Notice, RunFinished, RunStarted, StepFinished, StepStarted, from_dict

SCHEMA_VERSION = 1
"""Kept in `PRAGMA user_version`; raised by one whenever the tables change."""

BLOB_CHARACTERS = 65_536
"""Strings longer than this are stored once each, under their digest."""

_SCHEMA = """
CREATE TABLE runs (
    run TEXT PRIMARY KEY, parent TEXT, task TEXT NOT NULL, agent TEXT NOT NULL, model TEXT NOT NULL,
    scripted INTEGER NOT NULL, origin TEXT NOT NULL, process TEXT, started REAL NOT NULL, finished REAL,
    state TEXT, steps INTEGER NOT NULL DEFAULT 0, answer TEXT, offered INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE events (id INTEGER PRIMARY KEY, run TEXT NOT NULL, body TEXT NOT NULL, blobs TEXT);
CREATE TABLE blobs (digest TEXT PRIMARY KEY, content BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX events_of_run ON events (run, id);
CREATE INDEX runs_by_start ON runs (started);
"""


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
    """"running" while its process lives, "unfinished" if that is gone, else the state of RunFinished."""
    started: float
    finished: float | None
    steps: int
    answer: str | None
    """The answer as text; None: no answer (yet)."""
    origin: dict[str, Any] = field(default_factory=dict)
    offered: bool = False  # its account has been shown to the person, or offered
    isolation: str = ""


def default_path() -> Path:
    """Where the journal lies if nothing else is said: `SMOL_JOURNAL`, or the Jupyter data folder."""
    if chosen := os.environ.get("SMOL_JOURNAL"):
        return Path(os.path.expanduser(chosen))
    from jupyter_core.paths import jupyter_data_dir

    return Path(jupyter_data_dir()) / "smol_kernel" / "journal.sqlite"


def open_journal(spec: bool | str | Path | Journal | None) -> Journal | None:
    """The journal that `spec` means: None or True the default one, a path that file, False none at all."""
    if spec is False:
        return None
    if isinstance(spec, Journal):
        return spec
    return Journal(None if spec is None or spec is True else spec)


class Journal:
    """The events of all runs, in the SQLite file at `path` (None: `default_path()`).

    The file is made at first use, readable by its owner only. An object may be used from any thread, and any number
    of processes may share a file. Every method raises JournalError, in a plain sentence, when the file does not serve.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = default_path() if path is None else Path(path).expanduser()
        self._lock = threading.Lock()
        self._connections: dict[tuple[int, threading.Thread], sqlite3.Connection] = {}
        weakref.finalize(self, _close_all, self._connections)

    def append(self, event: Event) -> None:
        """Store `event`; one that is not durable is left out. On return it survives the death of this process."""
        if not event.durable:
            return
        body = event.to_dict()
        blobs = list(_take_blobs(body))
        refs = json.dumps([(path, digest) for path, digest, _ in blobs]) if blobs else None
        with self._connection() as db, _transaction(db):
            db.executemany("INSERT OR IGNORE INTO blobs VALUES (?, ?)", [blob[1:] for blob in blobs])
            db.execute("INSERT INTO events (run, body, blobs) VALUES (?, ?, ?)", (event.run, json.dumps(body), refs))
            _summarise(db, event)

    def events(self, run: str, *, family: bool = False) -> list[Event]:
        """The events of `run` (its whole id) in order; with `family` those of the agents it called as well.

        Raises RunNotFoundError if there are none, EventError for events of a newer version.
        """
        members = "SELECT ?1"
        if family:
            members += " UNION SELECT runs.run FROM runs JOIN members ON runs.parent = members.run"
        query = f"WITH RECURSIVE members(run) AS ({members}) SELECT body, blobs FROM events JOIN members USING (run)"
        with self._connection() as db:
            rows = db.execute(query + " ORDER BY id", (run,)).fetchall()
            if not rows:
                raise RunNotFoundError(f"no run {run!r} in {self.path}: `smol runs` lists them")
            return [from_dict(_give_blobs(db, body, blobs)) for body, blobs in rows]

    def runs(self, limit: int = 50, search: str | None = None) -> list[RunSummary]:
        """Top-level runs, newest first; with `search` those whose id, task or answer contains it."""
        where = "parent IS NULL AND (?1 IS NULL OR instr(lower(run || ' ' || task || ' ' || ifnull(answer, '')), ?1))"
        return self._summaries(where, search.lower() if search else None, limit=limit)

    def find(self, run: str) -> RunSummary:
        """The run whose id begins with `run`; "last" is the newest top-level one.

        Raises RunNotFoundError, or JournalError naming the candidates when there are several.
        """
        if run == "last":
            found = self.runs(limit=1)
            if not found:
                raise RunNotFoundError(f"no runs in {self.path} yet")
            return found[0]
        found = self._summaries("?1 <> '' AND substr(run, 1, length(?1)) = ?1", run, limit=6)
        exact = [summary for summary in found if summary.run == run] or self._summaries("run = ?1", run, limit=1)
        if exact or len(found) == 1:
            return (exact or found)[0]
        if not found:
            raise RunNotFoundError(f"no run {run!r} in {self.path}: `smol runs` lists them")
        names = ", ".join(summary.run for summary in found[:5]) + (", …" if len(found) > 5 else "")
        raise JournalError(f"{run!r} could be any of {names}: give more of the id")

    def unseen(self, origin: Mapping[str, Any]) -> list[RunSummary]:
        """Top-level runs started from `origin` that ended or were cut off and were not offered yet, newest first.

        `origin` holds the items that the run's own origin must have, e.g. `{"notebook": path}`.
        """
        waiting = self._summaries("parent IS NULL AND NOT offered AND ?1 IS NULL", None, limit=-1)
        return [run for run in waiting if run.state != "running" and origin.items() <= run.origin.items()]

    def offer(self, run: str) -> None:
        """Note that the account of `run` has been shown to the person, or offered: `unseen` leaves it out."""
        self._write("UPDATE runs SET offered = 1 WHERE run = ?", run)

    def cut_off(self, run: str) -> None:
        """Note that nobody works on `run` any more: without a RunFinished it is "unfinished" from now on."""
        self._write("UPDATE runs SET process = NULL WHERE run = ?", run)

    def close(self) -> None:
        """Close the file; a later call opens it again. Not while another thread uses this object."""
        with self._lock:
            _close_all(self._connections)

    def _write(self, statement: str, run: str) -> None:
        with self._connection() as db, _transaction(db):
            db.execute(statement, (run,))

    def _summaries(self, where: str, value: str | None, *, limit: int) -> list[RunSummary]:
        query = f"""SELECT run, parent, task, agent, model, scripted, state, process, started, finished, steps, answer,
            origin, offered, (SELECT CASE WHEN json_valid(body) THEN json_extract(body, '$.isolation') END FROM events
            WHERE events.run = runs.run ORDER BY id LIMIT 1) FROM runs
            WHERE {where} ORDER BY started DESC, rowid DESC LIMIT ?2"""
        with self._connection() as db:
            return [_summary(row) for row in db.execute(query, (value, limit))]

    @contextmanager
    def _connection(self) -> Generator[sqlite3.Connection]:
        """This thread's connection, opened at its first use; SQLite's errors leave as JournalError."""
        try:
            key = os.getpid(), threading.current_thread()  # a connection must not cross a fork
            if key not in self._connections:
                with self._lock:
                    _close_all(self._connections, lambda pid, thread: pid == key[0] and not thread.is_alive())
                    self._connections[key] = _connect(self.path)
            yield self._connections[key]
        except (sqlite3.Error, OSError, json.JSONDecodeError) as error:
            raise JournalError(_explain(self.path, error)) from error


def record(events: Generator[Event], journal: Journal | None, run: str) -> Generator[Event]:
    """Pass `events` on, each written to `journal` first; those of other runs, and all without a journal, unwritten.

    A journal that fails at the first event ends the run before it has cost anything (JournalError). One that fails
    later does not: a Notice says so, what could not be written is kept and tried again after each step, and the run
    keeps its answer. What is in the file is always a beginning of the run, without a gap.
    Closing this generator closes `events`; a run that has not ended is then recorded as interrupted.
    """
    if journal is None:
        yield from events
        return
    unwritten: list[Event] = []
    started = finished = failed = False
    try:
        for event in events:
            if event.run == run and event.durable:
                unwritten.append(event)
                finished = finished or isinstance(event, RunFinished)
                try:
                    if not failed or isinstance(event, (StepFinished, RunFinished)):
                        _flush(journal, unwritten)
                        started, failed = True, False
                except JournalError as error:
                    if not started:
                        raise
                    if not failed:
                        failed = True
                        text = f"This run goes on, but is not kept from here unless the journal recovers: {error}"
                        unwritten.append(Notice(run=run, step=event.step, text=text))
                        yield event
                        yield unwritten[-1]
                        continue
            yield event
    except GeneratorExit:
        if not finished:
            unwritten.append(RunFinished(run=run, state="interrupted", error="The run was closed by its reader."))
        raise
    finally:
        events.close()
        if started:
            with suppress(JournalError):  # told already, and an exception may be on its way
                _flush(journal, unwritten)
                if not finished:
                    journal.cut_off(run)


def _flush(journal: Journal, unwritten: list[Event]) -> None:
    while unwritten:
        journal.append(unwritten[0])
        del unwritten[0]


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # tasks and data are nobody else's business
    db = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    try:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            version = _create(db)
        if version > SCHEMA_VERSION:
            raise JournalError(
                f"the journal {path} has schema {version}, written by a newer version (this one knows {SCHEMA_VERSION})"
                ": upgrade smol-kernel, or set SMOL_JOURNAL to another file"
            )
        with suppress(sqlite3.OperationalError):  # SQLite does not wait for others here; a later connection does it
            db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        db.close()
        raise
    return db


def _create(db: sqlite3.Connection) -> int:
    if db.execute("SELECT 1 FROM sqlite_master").fetchone() and not db.execute("PRAGMA user_version").fetchone()[0]:
        raise sqlite3.DatabaseError("a file of another program is not a database of ours")
    with _transaction(db):
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:  # another process may have been faster
            for statement in filter(str.strip, _SCHEMA.split(";")):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    return version or SCHEMA_VERSION


@contextmanager
def _transaction(db: sqlite3.Connection) -> Generator[None]:
    try:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _close_all(
    connections: dict[tuple[int, threading.Thread], sqlite3.Connection],
    which: Callable[[int, threading.Thread], bool] = lambda pid, thread: pid == os.getpid(),
) -> None:
    for key in [key for key in connections if which(*key)]:
        connections.pop(key).close()


def _summarise(db: sqlite3.Connection, event: Event) -> None:
    """Keep the row of the event's run in step with the event."""
    if isinstance(event, RunStarted):
        row = (event.run, event.parent, _storable(event.task), event.agent, event.model, event.scripted)
        row += (json.dumps(event.origin), _process(os.getpid()), event.time)
        # A second beginning under the same id is a resumed run.
        db.execute(
            """INSERT INTO runs (run, parent, task, agent, model, scripted, origin, process, started)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run) DO UPDATE SET process = excluded.process,
            finished = NULL, state = NULL, offered = 0""",
            row,
        )
    elif isinstance(event, StepStarted):
        db.execute("UPDATE runs SET steps = max(steps, ?) WHERE run = ?", (event.step, event.run))
    elif isinstance(event, FinalAnswer):
        db.execute("UPDATE runs SET answer = ? WHERE run = ?", (_storable(event.text), event.run))
    elif isinstance(event, RunFinished):
        db.execute("UPDATE runs SET state = ?, finished = ? WHERE run = ?", (event.state, event.time, event.run))


def _summary(row: tuple[Any, ...]) -> RunSummary:
    *first, scripted, state, process, started, finished, steps, answer, origin, offered, isolation = row
    if state is None:
        state = "running" if process and process == _process(int(process.split(" ")[0])) else "unfinished"
    kept: list[Any] = [*first, bool(scripted), state, started, finished, steps, answer, json.loads(origin)]
    return RunSummary(*kept, offered=bool(offered), isolation=isolation or "")


def _process(pid: int) -> str:
    """Process `pid` told apart from a later one of the same number; empty if there is none.

    The machine is part of it: a run of another machine (a shared home) cannot be seen to live, so counts as cut off.
    """
    started = _started(pid)
    return f"{pid} {started} {platform.node()}" if started else ""


def _started(pid: int) -> str:
    if Path("/proc/self/stat").exists():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return ""
        return stat.rpartition(")")[2].split()[19]  # field 22, the start time in clock ticks: man 5 proc
    import psutil  # ipykernel brings it

    try:
        return str(psutil.Process(pid).create_time())
    except psutil.Error:
        return ""


def _storable(text: str) -> str:
    return text.encode(errors="replace").decode()  # SQLite's text knows no lone surrogates


def _take_blobs(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[list[str | int], str, bytes]]:
    """Empty the long strings below `node`; gives each one's place, digest and content."""
    items = enumerate(node) if isinstance(node, list) else list(node.items()) if isinstance(node, dict) else ()
    for key, value in items:
        if isinstance(value, str) and len(value) > BLOB_CHARACTERS:
            content = value.encode(errors="surrogatepass")
            node[key] = None
            yield [*path, key], hashlib.sha256(content).hexdigest(), content
        else:
            yield from _take_blobs(value, (*path, key))


def _give_blobs(db: sqlite3.Connection, body: str, blobs: str | None) -> dict[str, Any]:
    """An event's data with its long strings back in their places."""
    event: dict[str, Any] = json.loads(body)
    for (*way, last), digest in json.loads(blobs or "[]"):
        place: Any = event
        for key in way:
            place = place[key]
        row = db.execute("SELECT content FROM blobs WHERE digest = ?", (digest,)).fetchone()
        if row is None:
            raise sqlite3.DatabaseError(f"blob {digest[:12]} is missing")
        place[last] = row[0].decode(errors="surrogatepass")
    return event


_CAUSES = (
    # What SQLite's message says, what that means here; see https://sqlite.org/rescode.html.
    ("locked", "is locked by another process: try again when that is done"),
    ("readonly", "cannot be written (read-only)"),
    ("read-only", "cannot be written (read-only)"),
    ("disk is full", "cannot grow, the disk is full: make room"),
    ("disk I/O error", "cannot be written (full disk, quota, or a failing one): make room"),
    ("No space left", "cannot grow, the disk is full: make room"),
    ("not a database", "is not a journal: move it away"),
    ("malformed", "is damaged: move it away"),
    ("missing", "is damaged: move it away"),
    ("column", "is damaged: move it away"),  # what json says of a row
)


def _explain(path: Path, error: Exception) -> str:
    cause = next((meaning for sign, meaning in _CAUSES if sign in str(error)), "cannot be used: mend that")
    return f"the journal {str(path)!r} {cause}, or set SMOL_JOURNAL to another file ({error})"
