"""`record`: writes a stream of events into a journal while it passes it on."""

from __future__ import annotations

import os
from collections.abc import Generator
from dataclasses import replace

from smol_kernel.errors import JournalError, RunTakenOverError
from smol_kernel.events import Event, Notice, RunFinished, RunStarted, StepFinished
from smol_kernel.journal.store import Journal
from smol_kernel.journal.unwritten import Unwritten, catch_up


def record(events: Generator[Event], journal: Journal | None, run: str) -> Generator[Event]:
    """Pass `events` on, each written to `journal` first; those of other runs, and all without a journal, unwritten.

    A journal that fails at the first event ends the run before it has cost anything (JournalError). One that fails
    later does not, nor does it end the run of an agent that was called: a Notice says so, what could not be written is
    kept and tried again after each step, and later (see `unwritten`), and the run keeps its answer. What is in the file
    is always a beginning of the run, without a gap. A run that another process took over ends here
    (RunTakenOverError), before anything is done twice.
    Closing this generator closes `events`; a run that has not ended is then recorded as interrupted, as it is by a
    Ctrl-C, in whichever line it is heard.
    """
    if journal is None:
        yield from events
        return
    catch_up(journal)
    unwritten, process = Unwritten(journal, run), os.getpid()
    started = left = False
    try:
        for event in events:
            if event.run == run and event.durable:
                unwritten.events.append(event)
                unwritten.finished = unwritten.finished or isinstance(event, RunFinished)
                if isinstance(event, RunStarted):
                    unwritten.parent = event.parent
                told = unwritten.failed
                try:
                    if not told or isinstance(event, (StepFinished, RunFinished)):
                        unwritten.write()
                        started = True
                except JournalError as error:
                    called = isinstance(event, RunStarted) and event.parent is not None
                    if not (started or called) or isinstance(error, RunTakenOverError):
                        raise
                    started = True
                    unwritten.keep()
                    if not told:
                        text = f"This run goes on, but is not kept from here unless the journal recovers: {error}"
                        notice = Notice(run=run, step=event.step, text=text)
                        unwritten.events.append(notice)  # where that can be read, what came before it is kept after all
                        yield event
                        yield replace(notice, lasting=True)
                        continue
            yield event
    except (GeneratorExit, KeyboardInterrupt) as error:
        left = isinstance(error, GeneratorExit)
        started = started or not left  # it may have begun in the file, and else nothing is written there
        reason = "The run was closed by its reader." if left else "The run was stopped while it was being recorded."
        if not unwritten.finished and os.getpid() == process:
            unwritten.events.append(RunFinished(run=run, state="interrupted", error=reason))
            unwritten.finished = True
        unwritten.failed = True  # nobody waits long now for whoever holds the file: what is kept is written later
        raise
    finally:
        events.close()
        if started and os.getpid() == process:  # a process that was forked meanwhile ends another copy of it
            unwritten.end()
        if not left:  # that may happen in the midst of anything else
            journal.close_here()  # now: its agent may be collected late, and a host may have thousands of them
