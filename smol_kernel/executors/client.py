"""The conversation with one child kernel: start it, run code, read what comes back, checked. `kernel` holds it.

Everything a child sends is untrusted: what has not the form expected here is dropped, or the child counts as dead.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from smol_kernel.errors import ChildDiedError, ExecutorError
from smol_kernel.executors.launchers import Child
from smol_kernel.executors.launchers.child_modules import INSTALL, load_code
from smol_kernel.executors.observation import told
from smol_kernel.executors.processor_time import ProcessorTime
from smol_kernel.executors.readings import Asked, Reading, read
from smol_kernel.executors.transports import Message, Transport

START_SECONDS = 60.0
QUIET_SECONDS = 0.1
"""After so long a child that we hear, and that has not said that it is ready, is asked: it may have said so before."""
UNHEARD_SECONDS = 1.0
"""After so long is one that we do not hear."""
HEARD = ("iopub_welcome", "smol_ready", "smol_started")
"""Messages by which we know that we hear what a child puts out. ipykernel may lose the first: where it sends something
in the moment in which we subscribe, zmq does not tell it of that any more (see ZMQ_FD in zmq_getsockopt(3))."""
REQUEST_SECONDS = 60.0
LATE = ("stream", "display_data")
"""What may come of an action that has ended, and belongs to the one under way then."""
STOP_SECONDS = 1.0
"""How long a child that is to stop may take to answer: it mostly does at once, and then need not end."""
FEW_FILES = 128
"""With fewer that may be open a child may not come up; it says so to nobody where it lacks one for that."""
FORKED = "this process was forked from the one that has the child kernel"


class Stopped(Exception):
    """An interrupt came while the child was started or given something."""


class ChildRefused(ExecutorError):
    """The child replied that it cannot take what it was given."""


class Askable(Protocol):
    """A child that answers: the idle one, a KernelClient; or one that waits, see `asides`."""

    def ask(
        self, type: str, content: dict[str, Any], seconds: float = ..., stopped: Callable[[], bool] = ...
    ) -> dict[str, Any] | None:
        """See `KernelClient.ask`."""
        ...

    def give(self, descriptors: list[int], number: int) -> bool:
        """See `KernelClient.give`."""
        ...


class KernelClient:
    """One child kernel and the way to it. A process that is forked from its host neither uses nor ends it."""

    def __init__(self, child: Child) -> None:
        self.child, self._host = child, os.getpid()
        self.processor_time = ProcessorTime(getattr(child, "pid", None))
        """That of its processes, all together."""
        self._booted = False
        self.came = 0
        """Messages that came at the last look, whatever request they are of."""
        self.came_bytes = 0
        """What they had on the way."""
        self.killed = False
        """Whether the child was ended by `kill`."""
        self._interrupts: set[str] = set()
        """Those of the request under way that were not answered yet."""
        self._actions: set[str] = set()
        """The requests that ran actions: a task or a callback puts out under the one that made it, maybe much later."""

    @property
    def ours(self) -> bool:
        """Whether this process is its host."""
        return os.getpid() == self._host

    @property
    def _transport(self) -> Transport:
        if not self.ours:
            raise ChildDiedError(FORKED)
        return self.child.transport

    def boot(self, stopped: Callable[[], bool]) -> None:
        """Wait for the kernel and make it a child of ours.

        Does nothing if that has been done. Raises Stopped once `stopped()` is true (call `wake` then), ExecutorError
        with the child's last words if it does not come up.
        """
        if self._booted:
            return
        # one of a zygote becomes one by itself, and says so
        request = None if self.child.loaded else self._execute(load_code() + INSTALL, silent=True)
        deadline = time.monotonic() + START_SECONDS
        welcomed, reply = False, None
        try:
            while not (welcomed and reply):
                if stopped():
                    raise Stopped
                left = deadline - time.monotonic()
                patience = left if request else QUIET_SECONDS if welcomed else UNHEARD_SECONDS
                messages = self._transport.receive(min(left, patience))
                if not messages and time.monotonic() > deadline:
                    raise ExecutorError(f"it was not ready within {START_SECONDS:.0f} s")
                if not messages and request is None:
                    request = self._transport.send("shell", "smol_request", {"checks": [], "answer": None})
                for message in messages:
                    # one welcome may be lost: who is heard on iopub is so without
                    welcomed |= message.channel == "iopub" and message.type in HEARD
                    if message.channel == "shell" and message.parent == request:
                        reply = message.content
                    elif (message.channel, message.type) == ("iopub", "smol_ready") and self.child.loaded:
                        reply = reply or {"status": "ok"}
                if reply and not welcomed:
                    deadline = min(deadline, time.monotonic() + 5)  # an ipykernel before 7.2 sends no welcome
        except ExecutorError as error:
            self._tell_the_zygote(False)
            needs = "; it needs ipykernel 7.3 or newer" if reply and not welcomed else ""
            words, few = self.child.last_words(), _few_files()
            words = words.rpartition("\n")[2] if few else words  # what follows says what to do
            said = (f". Its last words: {words}" if words else "") + few
            said = said or ". Run the task again; the next start is a fresh one"
            raise ExecutorError(f"the child kernel did not start: {error}{needs}{said}") from None
        if reply.get("status") != "ok":
            raise ExecutorError(
                f"the child kernel could not be set up: {told(reply, 'ename')}: {told(reply, 'evalue')}{_few_files()}"
            )
        self._booted = True
        self._tell_the_zygote(True)
        self.child.connected()

    def _tell_the_zygote(self, came_up: bool) -> None:
        if self.child.loaded:
            from smol_kernel.executors.launchers import zygote

            zygote.told(came_up)

    def warm_up(self, stopped: Callable[[], bool]) -> None:
        """Have a child that waits do nothing, as an action: the first real one finds in memory what it needs. Raises
        as `ask`, and ExecutorError if it cannot."""
        about = {"action": 0, "shown": 0, "tools": []}
        reply = self.ask("execute_request", _action("pass", silent=False, smol=about), stopped=stopped)
        if reply is None or reply.get("status") != "ok":
            raise ExecutorError("the child kernel did not answer")

    def execute(self, code: str, number: int, shown: int, tools: list[dict[str, Any]] | None = None) -> str:
        """Run an action; gives the id of the request, for `receive`. Of its logs the model reads `shown` characters;
        longer ones the child keeps under this `number`. It is offered `tools` from now on, if they are given."""
        self.refresh(action=True)
        self._interrupts.clear()
        about = {"action": number, "shown": shown}
        request = self._execute(code, silent=False, smol=about if tools is None else {**about, "tools": tools})
        self._actions.add(request)
        return request

    def _execute(self, code: str, silent: bool, smol: Mapping[str, Any] | None = None) -> str:
        return self._transport.send("shell", "execute_request", _action(code, silent, smol))

    def check(self, expressions: Sequence[str], answer: Any) -> str:
        """Try expressions in the child's namespace; `answer` is encoded, for a child that has none of its own. Gives
        the id of the request, for `receive`."""
        self.refresh(action=True)
        return self._transport.send("shell", "smol_request", {"checks": list(expressions), "answer": answer})

    def give(self, descriptors: list[int], number: int) -> bool:
        """Pass the child descriptors under a number; whether it can be done: not with one elsewhere."""
        return self.child.memory_line is not None and self.child.memory_line.give(descriptors, number)

    def refresh(self, action: bool = False) -> None:
        """Let the child see the working folder as it is now: a tool may have written there. For before a reply."""
        if self.ours:
            self.child.refresh(action)

    def receive(self, request: str, timeout: float | None) -> list[Reading]:
        """What came of `request` within `timeout` seconds; may be nothing. Raises ChildDiedError."""
        readings: list[Reading] = []
        for message in self._messages(timeout):
            is_late = message.type in LATE and message.parent in self._actions and request in self._actions
            if message.parent == request or is_late:
                reading = read(message)
                if reading is not None:
                    readings.append(reading)
            elif message.type == "input_request":
                self.refuse_stale(Asked(message.content.get("smol"), "", password=False, printed=False))
        return readings

    def _messages(self, timeout: float | None) -> list[Message]:
        try:
            messages = self._transport.receive(timeout)
            self.came, self.came_bytes = len(messages), sum(message.size for message in messages)
            self._interrupts -= {message.parent for message in messages if message.channel == "control"}
            return messages
        except ChildDiedError as error:
            why = f"{error}{self.child.ending()}" if self.ours else FORKED
            raise ChildDiedError("restart() or cleanup() ended the child kernel" if self.killed else why) from None

    def refuse_stale(self, asked: Asked) -> None:
        """Answer a call of a thread that an earlier action left behind."""
        self.reply(asked.number, {"ok": False, "kinds": ["RuntimeError"], "error": "the action of this call has ended"})

    def reply(self, number: int | None, outcome: dict[str, Any]) -> None:
        """Answer request `number` of the child (None: one that does not come from our own code there)."""
        value = outcome.get("value") if isinstance(outcome.get("value"), str) else ""
        content = {"value": value} if number is None else {"value": "", "smol": {**outcome, "id": number}}
        self._transport.send("stdin", "input_reply", content)

    def ask(
        self,
        type: str,
        content: dict[str, Any],
        seconds: float = REQUEST_SECONDS,
        stopped: Callable[[], bool] = lambda: False,
    ) -> dict[str, Any] | None:
        """Make a request on the shell channel of an idle child; gives the content of the reply, None if none came.

        Once `stopped()` is true (call `wake` then) it has STOP_SECONDS left; Stopped is raised after them.
        """
        request = self._transport.send("shell", type, content)
        deadline, stopping = time.monotonic() + seconds, False
        while True:
            if not stopping and stopped():
                deadline, stopping = min(deadline, time.monotonic() + STOP_SECONDS), True
            messages = self._messages(max(0.0, deadline - time.monotonic()))
            for message in messages:
                if message.channel == "shell" and message.parent == request:
                    return message.content
            if not messages and time.monotonic() > deadline:
                if stopping:
                    raise Stopped
                return None

    def end_rehearsal(self, in_use: bool) -> bool:
        """Let the idle child write to its mounts, see `launchers.Child`; its working folder is the same afterwards, as
        what lies there now. Gives whether all that is so."""
        reply = self.ask("smol_request", {"work_in": "/"}) or {}
        ended = self.child.end_rehearsal(in_use)
        back = self.ask("smol_request", {"work_in": reply.get("left", "")}) or {}
        return ended and (in_use or back.get("status") == "ok")

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in the action."""
        self._interrupts.add(self._transport.send("control", "interrupt_request", {}))

    @property
    def interrupting(self) -> bool:
        """Whether an interrupt may still come to the child: it has not said yet that it has come."""
        return bool(self._interrupts)

    def wake(self) -> None:
        """Let `receive` return. Any thread, at any time."""
        if self.ours:
            self._transport.wake()

    def kill(self) -> None:
        """End the child; `receive` then raises ChildDiedError. Any thread, at any time."""
        if self.ours:
            self.killed = True
            self.child.kill()

    def close(self) -> None:
        """End the child and free everything."""
        self.child.transport.close()
        if self.ours:
            self.child.close()


def tell(child: Askable, content: dict[str, Any], what: str, stopped: Callable[[], bool]) -> dict[str, Any]:
    """Make a request, named for errors, and give the reply. Raises as `ask`, ExecutorError where none comes in time,
    ChildRefused."""
    reply = child.ask("smol_request", content, stopped=stopped)
    if reply is None:
        raise ExecutorError(f"the child kernel did not take the {what} in time; restart() gives a fresh one")
    if reply.get("status") != "ok":
        raise ChildRefused(f"the child kernel could not take the {what}: {told(reply, 'error', 2_000)}")
    return reply


def _action(code: str, silent: bool, smol: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The content of a request to run code, with what `child` has to know of it."""
    return {
        "code": code,
        "silent": silent,
        "store_history": False,
        "user_expressions": {},
        "allow_stdin": True,
        "stop_on_error": False,
        "smol": smol or {},
    }


def _few_files() -> str:
    """What to tell where a process may not have as many files open as a child needs; else nothing."""
    import resource

    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    few = f". A process may have only {most} files open here: allow more with ulimit -n"
    return few if 0 < most < FEW_FILES else ""
