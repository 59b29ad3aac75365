"""What a journal could not take yet: kept by the process that ran it, and written as soon as that can be done.

That is tried at the next steps of the run, and after its end whenever this process uses the journal, and as it exits.
"""

from __future__ import annotations

import atexit
import json
import os
import threading
from collections.abc import Set
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from smol_kernel.errors import JournalError, RunNotFoundError, RunTakenOverError
from smol_kernel.events import Event, RunResumed, RunStarted
from smol_kernel.journal.database import LOCKED
from smol_kernel.journal.rows import this_process
from smol_kernel.memory.process_lock import ProcessLock

if TYPE_CHECKING:
    from smol_kernel.journal.store import Journal

MOST_KEPT = 64_000_000
"""Characters of events that are kept of runs that have ended; of more the oldest runs are let go."""


class Unwritten:
    """The events of a run that are to be written to its journal, the next one first."""

    def __init__(self, journal: Journal, run: str) -> None:
        self.journal, self.run = journal, run
        self.parent: str | None = None
        self.events: list[Event] = []
        self.failed = False
        """Whether the last try failed: the next ones wait only briefly for whoever holds the file."""
        self.over = self.finished = False
        """Whether nothing more comes, and whether it ended with a RunFinished."""
        self.trouble = ""
        self.process = os.getpid()
        self.file: object = None
        """Which one the run began in."""
        self._worker = this_process()
        self.size = 0
        """Characters of what is kept of it after its end."""
        self._lock = ProcessLock()
        self._writer = 0
        """The thread that had that last."""

    def write(self) -> None:
        """Write them, one after the other; those that could not be stay. Raises JournalError."""
        lock = self._lock.here
        try:
            if lock.locked() and self._writer == threading.get_ident():  # a finalizer may run in the midst of it
                raise JournalError(f"run {self.run} is being written")
            with lock:
                self._writer = threading.get_ident()
                self._write()
        except JournalError as error:
            self.failed, self.trouble = True, str(error)
            raise
        self.failed = False
        _kept.pop((self.journal.path, self.run), None)

    def _write(self) -> None:
        """The first begins the work of this process on the run, what follows needs that this one still does it. They go
        to the file that the run began in: SQLite would write into one that was deleted, and tell nobody."""
        try:
            while self.events:
                event = self.events[0]
                if self.file is not None and self.journal.file() != self.file:
                    raise JournalError(
                        f"the journal {str(self.journal.path)!r} is gone, or another file now: put back the one it was"
                    )
                if isinstance(event, RunStarted) and (above := _found(self.journal.path, event.parent)):
                    above.write()  # what is read in the order it was written begins where it was called
                begins = isinstance(event, RunStarted | RunResumed)
                self.journal.append(event, None if begins else self._worker, hurry=self.failed)
                del self.events[0]
                self.file = self.file or self.journal.file()
        except KeyboardInterrupt:  # one may be heard when the event is in the file
            if self.events and self.journal.ends_with(self.events[0]):
                del self.events[0]
            raise

    def keep(self) -> None:
        """Have others know of them, in the order in which runs failed."""
        _at_exit()
        _kept.setdefault((self.journal.path, self.run), self)

    def end(self) -> bool:
        """Nothing more comes. Gives whether all is told to the journal now that ever can be; else it is kept."""
        self.over = True
        self.keep()
        try:
            self.write()
            if not self.finished:
                self.journal.cut_off(self.run)
        except (RunTakenOverError, RunNotFoundError):
            let_go(self.journal.path, self.run)
        except JournalError:
            self.keep()
            self.size = self.size or sum(_characters(event) for event in self.events)
            _bound()
            return False
        return True

    def drop(self) -> None:
        """Keep no event more: what is in the file is all that there will be."""
        lock = self._lock.here
        if lock.acquire(blocking=False):  # else it is being written
            try:
                self.events.clear()
                self.finished, self.size = False, 0
            finally:
                lock.release()


_kept: dict[tuple[Path, str], Unwritten] = {}


def catch_up(journal: Journal) -> None:
    """Write what is kept of runs that have ended, as far as this journal takes it."""
    for kept in _here(journal.path):
        if kept.over and kept.file in (None, journal.file()) and not kept.end() and LOCKED in kept.trouble:
            break  # each would wait for that, a while


def ended_here(path: Path) -> Set[str]:
    """The runs that this process does not work on any more, though the file could not be told."""
    return {kept.run for kept in _here(path) if kept.over}


def trouble_of(path: Path, run: str) -> str:
    """Why some of a run that has ended here could not be written; empty if it was, or if it is not kept."""
    kept = _found(path, run)
    return kept.trouble if kept is not None and kept.over and kept.events else ""


def trouble_below(path: Path, run: str) -> str:
    """The same of the run and of those that it called."""
    return next((trouble for each in _family(path, run) if (trouble := trouble_of(path, each))), "")


def let_go(path: Path, run: str) -> None:
    """Another one works on the run and on those that it called now, or nobody ever will."""
    for each in _family(path, run):
        _kept.pop((path, each), None)


def _family(path: Path, run: str) -> set[str]:
    """The run, and those below it of which something is kept."""
    here, family = _here(path), {run}
    for _ in here:
        family |= {kept.run for kept in here if kept.parent in family}
    return family


def _here(path: Path) -> list[Unwritten]:
    return [kept for kept in list(_kept.values()) if kept.journal.path == path and kept.process == os.getpid()]


def _found(path: Path, run: str | None) -> Unwritten | None:
    return next((kept for kept in _here(path) if kept.run == run), None)


def _characters(event: Event) -> int:
    return len(json.dumps(event.to_dict(shared=True), default=repr))


def _bound() -> None:
    total = 0
    for kept in reversed(list(_kept.values())):
        if total + kept.size > MOST_KEPT:
            kept.drop()
        total += kept.size


@cache
def _at_exit() -> None:
    atexit.register(_exit)


def _exit() -> None:
    for journal in {kept.journal.path: kept.journal for kept in list(_kept.values())}.values():
        catch_up(journal)
        journal.close_here()
