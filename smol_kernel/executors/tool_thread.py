"""The thread on which plain tools run: that of the outermost action, also for agents that the action has called.

Such an agent works on a thread of its own: it submits its plain calls as jobs, and goes on listening to its child. The
tool thread does them one after the other. Used by `bridge`, `tool_calls` and `callbacks`; a front brings its own.
"""

from __future__ import annotations

import queue
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from smol_kernel.executors.recorded import NotMadeError
from smol_kernel.signals import failures, program_handlers
from smol_kernel.waits import arrival

AskPerson = Callable[[str, bool], str]


class Job:
    """`work` to be done on the tool thread. `done` is then called with its value, and the error that came instead."""

    def __init__(self, work: Callable[[], Any], done: Callable[[Any, BaseException | None], object]) -> None:
        self._work, self._done = work, done
        self._value: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        """Do the work; raises what it raises. An agent that runs in it may not wait for this thread, which is busy."""
        with tools_on(None):
            self._value = self._work()

    def tell(self) -> None:
        """Tell what came of it: `error`, if that is set."""
        self._done(self._value, self.error)

    def refuse(self) -> None:
        """Tell that it will not be done."""
        self.error = NotMadeError()
        self.tell()


class ToolThread(ABC):
    """A thread that does jobs."""

    ask_person: AskPerson | None = None
    """Answers `input()` and `getpass()` on it, given the prompt and whether it is a password; None: nobody is there."""
    closed = False
    """Whether it takes no jobs any more."""

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Have the thread do `job` soon, or refuse it; does not wait. Any thread."""


class PollingToolThread(ToolThread):
    """The thread of an action, which looks for jobs between other news; `wake`, called for each, makes it look."""

    def __init__(self, wake: Callable[[], object], ask_person: AskPerson | None = None) -> None:
        self._wake, self.ask_person = wake, ask_person
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()

    def submit(self, job: Job) -> None:
        """Keep it for the thread."""
        self._jobs.put(job)
        if self.closed:
            self._refuse_all()
        self._wake()

    @property
    def has_job(self) -> bool:
        """Whether one waits."""
        return not self._jobs.empty()

    def serve(self) -> None:
        """Do one job, if there is one. Raises what is no Exception, such as KeyboardInterrupt, or what a handler of the
        program's raised; all else is told."""
        try:
            job = self._jobs.get_nowait()
        except queue.Empty:
            return
        handlers = program_handlers()
        try:
            job.run()
        except BaseException as error:  # boundary: whoever submitted it gets it
            job.error = error
            if not isinstance(error, failures(handlers)):
                raise
        finally:
            job.tell()

    def close(self) -> None:
        """Refuse what is left, and what is still to come."""
        self.closed = True
        self._refuse_all()

    def _refuse_all(self) -> None:
        with suppress(queue.Empty):
            while True:
                self._jobs.get_nowait().refuse()


_tool_thread: ContextVar[ToolThread | None] = ContextVar("smol_tool_thread", default=None)


def tool_thread() -> ToolThread | None:
    """The thread for the caller's plain calls; None: the caller's own."""
    thread = _tool_thread.get()
    return None if thread is None or thread.closed else thread


def on_tool_thread(work: Callable[[], Any]) -> Any:
    """What `work` gives, done on the thread for the caller's plain calls; here, where that takes no jobs any more."""
    thread, ended = tool_thread(), queue.SimpleQueue[tuple[Any, BaseException | None]]()
    if thread is not None:
        thread.submit(Job(work, lambda value, error: ended.put((value, error))))
        value, error = arrival(ended)
        if error is None:
            return value
        if not isinstance(error, NotMadeError):
            raise error
    return work()


@contextmanager
def tools_on(thread: ToolThread | None) -> Generator[None]:
    """Have plain calls that are made in this context run on `thread`; None: on whichever thread makes them."""
    token = _tool_thread.set(thread)
    try:
        yield
    finally:
        _tool_thread.reset(token)
