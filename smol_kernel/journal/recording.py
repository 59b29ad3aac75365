"""`record`: writes a stream of events into a journal while it passes it on."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import suppress

from smol_kernel.errors import JournalError, RunTakenOverError
from smol_kernel.events import Event, Notice, RunFinished, RunResumed, RunStarted, StepFinished
from smol_kernel.journal.rows import this_process
from smol_kernel.journal.store import Journal


def record(events: Generator[Event], journal: Journal | None, run: str) -> Generator[Event]:
    """Pass `events` on, each written to `journal` first; those of other runs, and all without a journal, unwritten.

    A journal that fails at the first event ends the run before it has cost anything (JournalError). One that fails
    later does not: a Notice says so, what could not be written is kept and tried again after each step, and the run
    keeps its answer. What is in the file is always a beginning of the run, without a gap. A run that another process
    took over ends here (RunTakenOverError), before anything is done twice.
    Closing this generator closes `events`; a run that has not ended is then recorded as interrupted, as it is by a
    Ctrl-C, in whichever line it is heard.
    """
    if journal is None:
        yield from events
        return
    unwritten: list[Event] = []
    file: object = None
    worker, process = this_process(), os.getpid()
    started = finished = failed = left = False
    try:
        for event in events:
            if event.run == run and event.durable:
                unwritten.append(event)
                finished = finished or isinstance(event, RunFinished)
                try:
                    if not failed or isinstance(event, (StepFinished, RunFinished)):
                        _flush(journal, unwritten, file, worker)
                        file = file or journal.file()
                        started, failed = True, False
                except JournalError as error:
                    if not started or isinstance(error, RunTakenOverError):
                        raise
                    if not failed:
                        failed = True
                        text = f"This run goes on, but is not kept from here unless the journal recovers: {error}"
                        unwritten.append(Notice(run=run, step=event.step, text=text))
                        yield event
                        yield unwritten[-1]
                        continue
            yield event
    except (GeneratorExit, KeyboardInterrupt) as error:
        left = isinstance(error, GeneratorExit)
        started = started or not left  # it may have begun in the file, and else nothing is written there
        reason = "The run was closed by its reader." if left else "The run was stopped while it was being recorded."
        if not finished and os.getpid() == process:
            unwritten.append(RunFinished(run=run, state="interrupted", error=reason))
        raise
    finally:
        events.close()
        if started and os.getpid() == process:  # a process that was forked meanwhile ends another copy of it
            with suppress(JournalError):  # told already, and an exception may be on its way
                _flush(journal, unwritten, file, worker)
                if not finished:
                    journal.cut_off(run)
        if not left:  # that may happen in the midst of anything else
            journal.close_here()  # now: its agent may be collected late, and a host may have thousands of them


def _flush(journal: Journal, unwritten: list[Event], file: object, worker: str) -> None:
    """Write them to the `file` that the run began in: SQLite would write into one that was deleted, and tell nobody.
    The first begins the work of this process on the run, what follows needs that this one still does it."""
    try:
        while unwritten:
            if file is not None and journal.file() != file:
                raise JournalError(
                    f"the journal {str(journal.path)!r} is gone, or another file now: put back the one it was"
                )
            journal.append(unwritten[0], None if isinstance(unwritten[0], RunStarted | RunResumed) else worker)
            del unwritten[0]
    except KeyboardInterrupt:  # one may be heard when the event is in the file
        if unwritten and journal.ends_with(unwritten[0]):
            del unwritten[0]
        raise
