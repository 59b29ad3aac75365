"""The open connections of this process: each thread has its own to each journal, and none crosses a fork.

SQLite keeps for each process and file what it has locked there. A fork copies that, but not the locks: the new process
would take those of its parent for its own, and write into a file that is being cleared away. So a fork first waits
until no other thread is in the midst of using a connection, and closes all. Whoever needs one later opens it anew.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from smol_kernel.journal.database import connect
from smol_kernel.memory.which_file import file_at

PATIENCE = 2.0
"""Seconds that a fork waits for the others: a finalizer may run in one of them that waits for one that waits here."""


class _Key(NamedTuple):
    journal: int
    process: int
    thread: weakref.ref[threading.Thread]
    """It may hold an agent, which is not to live on for this."""


class _Opened(NamedTuple):
    db: sqlite3.Connection
    file: tuple[int, int] | None


@dataclass
class _User:
    """A thread that uses connections: it holds the lock meanwhile, which others take only to fork."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    uses: int = 0


journal_number = itertools.count().__next__
"""A number for each journal of this process."""
_opened: dict[_Key, _Opened] = {}
_users: weakref.WeakKeyDictionary[threading.Thread, _User] = weakref.WeakKeyDictionary()
_forking = threading.RLock()
"""Held during a fork, and to become a user."""
_held: list[threading.RLock] = []
"""The locks of users that the fork under way has taken."""
_hooked = False


@contextmanager
def connection(journal: int, path: Path) -> Generator[sqlite3.Connection]:
    """This thread's connection to the journal, opened at its first use, and anew where another file lies there now or
    none. It is not to be kept."""
    with _use() as user:
        key = _Key(journal, os.getpid(), weakref.ref(threading.current_thread()))
        if key in _opened and user.uses == 1 and _opened[key].file != file_at(path):
            _close([key])
        if key not in _opened:
            _close([key for key in list(_opened) if not _is_alive(key.thread())])
            db = connect(path)
            _opened[key] = _Opened(db, file_at(path))
        yield _opened[key].db


def _is_alive(thread: threading.Thread | None) -> bool:
    return thread is not None and thread.is_alive()


def close(journal: int, *, here: bool = False) -> None:
    """Close the connections to the journal; `here`, only that of this thread."""
    me = threading.current_thread()
    if keys := [key for key in list(_opened) if key.journal == journal and (not here or key.thread() is me)]:
        with _use():
            _close(keys)


def _close(keys: list[_Key]) -> None:
    """Close those of this process. One that did cross a fork is another's, and stays as it is."""
    for key in keys:
        if key.process == os.getpid() and (opened := _opened.pop(key, None)) is not None:
            opened.db.close()


@contextmanager
def _use() -> Generator[_User]:
    global _hooked
    me = threading.current_thread()
    if (user := _users.get(me)) is None:
        with _forking:
            if not _hooked:
                _hooked = True
                os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after_in_child)
            user = _users[me] = _User()
    with user.lock:
        uses = user.uses
        try:  # Ctrl-C may be heard in any line
            user.uses = uses + 1
            yield user
        finally:
            user.uses = uses


def _before() -> None:
    _forking.acquire()
    me, busy, end = threading.current_thread(), set[threading.Thread](), time.monotonic() + PATIENCE
    for thread, user in list(_users.items()):
        if thread is me:
            if user.uses:  # a finalizer or a signal's handler forks, and what this thread is at is to go on
                busy.add(me)
        elif user.lock.acquire(timeout=max(0.0, end - time.monotonic())):
            _held.append(user.lock)
        else:
            busy.add(thread)
    _close([key for key in list(_opened) if key.thread() not in busy])


def _after() -> None:
    try:
        while _held:
            with suppress(RuntimeError):
                _held[-1].release()
            _held.pop()
    finally:  # Ctrl-C may be heard there
        if _held:
            _after()
        with suppress(RuntimeError):
            _forking.release()


def _after_in_child() -> None:
    _held.clear()
    _users.clear()  # of those threads only this one is here
    with suppress(RuntimeError):  # some programs fork in a way that tells of it only afterwards
        _forking.release()
