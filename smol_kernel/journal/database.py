"""The SQLite file behind the journal: opened, made, and what its errors mean in plain words."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote  # here, for a run that ends with the interpreter: `Path.as_uri` would import it then

from smol_kernel.errors import JournalError

SCHEMA_VERSION = 1
"""Kept in `PRAGMA user_version`; raised by one whenever the tables change."""

_SCHEMA = """
CREATE TABLE runs (
    run TEXT PRIMARY KEY, parent TEXT, task TEXT NOT NULL, agent TEXT NOT NULL, model TEXT NOT NULL,
    scripted INTEGER NOT NULL, origin TEXT NOT NULL, process TEXT, started REAL NOT NULL, finished REAL,
    state TEXT, steps INTEGER NOT NULL DEFAULT 0, answer TEXT, offered INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE events (id INTEGER PRIMARY KEY, run TEXT NOT NULL, body TEXT NOT NULL, blobs TEXT);
CREATE TABLE blobs (digest TEXT PRIMARY KEY, content BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX events_of_run ON events (run, id);
"""


def connect(path: Path) -> sqlite3.Connection:
    """A connection to the file at `path`, which is made if need be. Raises JournalError for one of a newer version."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.exists() and not path.is_file():
        raise JournalError(
            f"the journal {str(path)!r} is no file: set SMOL_JOURNAL to one, or run without a journal "
            "(smol run --no-journal, in Python journal=False)"
        )
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # tasks and data are nobody else's business
    db = sqlite3.connect(_address(path), uri=True, timeout=10, isolation_level=None, check_same_thread=False)
    db.create_function("casefold", 1, str.casefold, deterministic=True)  # SQLite's own lower() knows A to Z only
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


def _address(path: Path) -> str:
    """The file as SQLite's URI; one that nobody can write is read without the files that WAL keeps beside it
    (https://sqlite.org/uri.html)."""
    unused = not path.with_name(path.name + "-wal").exists()
    as_it_is = unused and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))
    return "file://" + quote(os.fsencode(path.absolute())) + ("?mode=ro&immutable=1" if as_it_is else "")


def _create(db: sqlite3.Connection) -> int:
    if db.execute("SELECT 1 FROM sqlite_master").fetchone() and not db.execute("PRAGMA user_version").fetchone()[0]:
        raise sqlite3.DatabaseError("a file of another program is not a database of ours")
    with transaction(db):
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:  # another process may have been faster
            for statement in filter(str.strip, _SCHEMA.split(";")):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    return version or SCHEMA_VERSION


@contextmanager
def transaction(db: sqlite3.Connection) -> Generator[None]:
    """All that is written meanwhile is written together, or not at all."""
    try:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


@contextmanager
def hurried(db: sqlite3.Connection) -> Generator[None]:
    """Meanwhile others that hold the file are waited for only briefly."""
    (patience,) = db.execute("PRAGMA busy_timeout").fetchone()
    db.execute("PRAGMA busy_timeout = 200")
    try:
        yield
    finally:
        db.execute(f"PRAGMA busy_timeout = {patience}")


_WITHOUT = "run without it (smol run --no-journal, in Python journal=False)"
LOCKED = "is locked by another process"
_CAUSES = (
    # What SQLite's or the system's message says in small letters, what that means here; see https://sqlite.org/rescode.html.
    ("locked", f"{LOCKED}: try again when that is done"),
    ("readonly", f"cannot be written (read-only): make it writable, {_WITHOUT}"),
    ("read-only", f"cannot be written (read-only): make it writable, {_WITHOUT}"),
    ("no such file", f"cannot be made there: make its folder, {_WITHOUT}"),
    ("not a directory", f"cannot be made there: make its folder, {_WITHOUT}"),
    ("file exists", f"cannot be made there: make its folder, {_WITHOUT}"),  # what should be the folder is a file
    ("permission denied", f"cannot be used: make it yours, {_WITHOUT}"),
    ("disk is full", "cannot grow, the disk is full: make room"),
    ("disk i/o error", "cannot be written (full disk, quota, or a failing one): make room"),
    ("no space left", "cannot grow, the disk is full: make room"),
    ("quota exceeded", "cannot grow, your quota on that disk is used up: make room"),
    ("not a database", "is not a journal: move it away"),
    ("malformed", "reads as damaged: where it does so in a new process as well, move it away"),
    ("missing", "is damaged: move it away"),
    ("column", "is damaged: move it away"),  # what json says of a row
)


def explain(path: Path, error: Exception) -> str:
    """What went wrong with the file, in a sentence that says what to do."""
    said = str(error).lower()
    cause = next((meaning for sign, meaning in _CAUSES if sign in said), "cannot be used: mend that")
    if "unable to open" in said and os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK):
        owner = path.stat().st_uid  # SQLite does not tell
        whose = "cannot be used: make it yours," if owner == os.getuid() else f"belongs to another user (id {owner}):"
        cause = f"{whose} {_WITHOUT}"
    return f"the journal {str(path)!r} {cause}, or set SMOL_JOURNAL to another file ({error})"
