"""The cell's own thread while a run works on another one: it stays free for buttons, plain tools come to it, and
an interrupt stops the run instead of the kernel.

`Awaiting` serves a cell that was rewritten to an `await` (its event loop goes on); `Blocking` serves the ordinary
cell magic, where the thread can only wait. Used by `cell` and `child_cell`.
"""

from __future__ import annotations

import asyncio
import contextvars
import getpass
import queue
import signal
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from smol_kernel.executors.tool_thread import Job, ToolThread, tools_on
from smol_kernel.tools.asked import asked_text
from smol_magic.endings import Stopped

BEAT_SECONDS = 0.2
"""How long a wait lasts at most where an interrupt cannot end it (a subshell has no signals; Windows' locks)."""

LONG_SECONDS = 0.2
"""From here on a person may have pressed a button while a tool held the thread."""
HEARING_SECONDS = 0.05
"""How long the thread then listens for that before the tool's result goes on."""

QUIET_SECONDS = 0.3
"""An interrupted cell ends when none has come for so long: ■ pressed in a row would hit IPython's kernel on its way out
of the cell, which then loses the reply."""


@contextmanager
def stoppable() -> Generator[None]:
    """What a cell waits for before there is a run: an interrupt ends that, and the cell."""
    try:
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped("Stopped before it began.") from None
    finally:
        signal.signal(signal.SIGINT, before)


class CellThread(ToolThread):
    """The thread that executes the cell, as the thread of the run sees it: plain tools of all its agents run here."""

    def __init__(self) -> None:
        self._in_tool = False
        self._interrupted_at = float("-inf")

    @property
    def interrupted(self) -> bool:
        """Whether an interrupt has come."""
        return self._interrupted_at > float("-inf")

    @property
    def _stormy(self) -> bool:
        """Whether another interrupt may come at any moment."""
        return time.monotonic() - self._interrupted_at < QUIET_SECONDS

    def _settle(self, answer: Callable[[], None], held: float) -> None:
        """Hand a tool's result over; the tool has held this thread for `held` seconds."""
        answer()

    @abstractmethod
    def _post(self, callback: Callable[[], None], context: contextvars.Context | None = None) -> None:
        """Have the cell's thread call `callback` soon. Safe in a signal handler and from any thread."""

    def submit(self, job: Job) -> None:
        """Have `job` done on the cell's thread, where an interrupt by the person ends it."""
        if self.closed:
            job.refuse()
            return
        began = time.monotonic()

        def serve() -> None:
            try:
                try:
                    self._in_tool = True
                    job.run()
                finally:
                    self._in_tool = False
            # boundary: the run gets it. A KeyboardInterrupt that left a callback of the loop would end the kernel.
            except BaseException as raised:  # noqa: BLE001
                job.error = raised
            self._settle(job.tell, held=time.monotonic() - began)

        self._post(serve, contextvars.copy_context())  # with it, what a tool prints stays in this cell

    def ask_person(  # pyright: ignore[reportIncompatibleVariableOverride] - always there
        self, prompt: str, password: bool
    ) -> str:
        """What the person types in answer to an action's `input()`. Raises EOFError where nobody can be asked.

        On the cell's thread `input` and `getpass` are those of the page: IPython's kernel replaces them.
        """
        try:
            text = asked_text(prompt, password=password)
            return getpass.getpass(text) if password else input(text)
        except NotImplementedError:  # ipykernel's StdinNotImplementedError: nbclient, nbval, papermill
            raise EOFError("input() has nobody to ask: this notebook is run without a person") from None

    @contextmanager
    def interruptible(self, stop: Callable[[], None]) -> Generator[None]:
        """Meanwhile an interrupt (■, Ctrl-C) calls `stop`, and ends a tool that holds this thread.

        It raises nowhere else, so neither the loop nor our own code is torn.
        """

        def handle(signum: int, frame: FrameType | None) -> None:
            self._interrupted_at = time.monotonic()
            self._post(stop)
            if self._in_tool:
                self._in_tool = False  # before raising: a second interrupt must not hit the way out
                raise KeyboardInterrupt

        try:
            before = signal.signal(signal.SIGINT, handle)
        except ValueError:  # a subshell: not the main thread
            yield
            return
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _start(self, work: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        """Do `work` on a thread of its own and post `done` with what it raised; its outputs belong to this cell."""

        def run() -> None:
            failure = None
            try:
                with tools_on(self):
                    work()
            except BaseException as error:  # noqa: BLE001  boundary: the thread; the cell decides what to show
                failure = error
            self.closed = True
            with suppress(RuntimeError):  # the loop is closed: the kernel is going down
                self._post(lambda: done(failure))

        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(run,), name="smol-run", daemon=True).start()


class Awaiting(CellThread):
    """The thread of a cell that awaits the run. Made inside the cell's coroutine."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()

    def _post(self, callback: Callable[[], None], context: contextvars.Context | None = None) -> None:
        self._loop.call_soon_threadsafe(callback, context=context)

    def _settle(self, answer: Callable[[], None], held: float) -> None:
        if held < LONG_SECONDS:
            answer()
        else:  # a Stop pressed meanwhile is heard before the action gets its result and goes on
            self._loop.call_later(HEARING_SECONDS, answer)

    async def carry_out(self, work: Callable[[], None], stop: Callable[[], None]) -> BaseException | None:
        """Do `work` on another thread while this one's loop goes on; returns what it raised, if anything.

        `stop` is called when the cell is cancelled.
        """
        future: asyncio.Future[BaseException | None] = self._loop.create_future()
        self._start(work, future.set_result)
        while not future.done():
            try:
                await asyncio.wait({future}, timeout=BEAT_SECONDS)
            except asyncio.CancelledError:  # how an interrupt comes in a subshell
                stop()
        while self._stormy:
            await asyncio.sleep(QUIET_SECONDS / 4)
        return future.result()


class Blocking(CellThread):
    """The thread of a cell that can only wait: `%%time`, `%autoawait off`, a cell run by code."""

    def __init__(self) -> None:
        super().__init__()
        self._posted: queue.SimpleQueue[Callable[[], Any]] = queue.SimpleQueue()

    def _post(self, callback: Callable[[], None], context: contextvars.Context | None = None) -> None:
        self._posted.put(callback if context is None else lambda: context.run(callback))

    def carry_out(self, work: Callable[[], None]) -> BaseException | None:
        """Do `work` on another thread, and here whatever is posted; returns what it raised, if anything."""
        ended: list[BaseException | None] = []
        self._start(work, ended.append)
        while not ended:
            with suppress(queue.Empty):
                self._posted.get(timeout=BEAT_SECONDS)()
        while self._stormy:
            time.sleep(QUIET_SECONDS / 4)
        return ended[0]
