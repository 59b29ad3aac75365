"""What is asked of a child in the midst of an action, which waits for a tool: the waiting call answers, then waits on.

So a tool reads and writes the variables of the action that calls it. One thread at a time talks with the child: that of
the action, save while it makes a call, or gives way to whoever wants to ask.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from smol_kernel.errors import ExecutorError
from smol_kernel.events import current_call
from smol_kernel.executors.client import REQUEST_SECONDS, KernelClient
from smol_kernel.executors.readings import Answered, Reading
from smol_kernel.waits import LOOK, wait_for

MAX_KEPT = 128 << 20
"""Bytes of other messages that may come until the thread of the action talks again, above which nobody may ask."""
BUSY = "this executor is busy with another action; give each thread an executor of its own"


class Waiting(Protocol):
    """A call that may wait in the child."""

    @property
    def number(self) -> int | None:
        """Its id there; None for one that does not come from our own code."""
        ...


class Asides:
    """Those of one action.

    `receive` reads what the child sends, and `keep` is given what of it is no answer to us; `stopped` tells that the
    action is being stopped, or is to be.
    """

    def __init__(
        self,
        client: KernelClient,
        receive: Callable[[float], list[Reading]],
        keep: Callable[[Reading], object],
        stopped: Callable[[], bool],
    ) -> None:
        self._client, self._receive, self._keep, self._stopped = client, receive, keep, stopped
        self.calls: Mapping[str, Waiting] = {}
        """The calls of the action that are outstanding."""
        self._turn = threading.Condition()
        self._open = self._over = False
        """Whether the thread of the action lets others talk, and whether there is no action any more."""
        self._action_thread = threading.get_ident()
        self._asking = self._pressed = False
        """Whether somebody asks, and whether an interrupt came to the thread of the action meanwhile."""
        self.wanted = self._asked = 0
        """How many want to ask, and how many have."""
        self._kept = 0
        self._keys = itertools.count(1)

    # for the thread of the action

    def close(self) -> None:
        """Talk with the child alone, once nobody asks any more."""
        with self._turn:
            self._open, self._action_thread = False, threading.get_ident()
            wait_for(self._turn, lambda: not self._asking)
            self._kept, self._pressed = 0, False

    @contextmanager
    def open(self) -> Generator[None]:
        """Let others talk."""
        with self._turn:
            self._open = True
            self._turn.notify_all()
        try:
            yield
        except BaseException:
            self._pressed = True
            self._client.wake()
            raise
        finally:
            self.close()

    def give_way(self) -> None:
        """Let one ask, if somebody wants to."""
        if self.wanted:
            with self.open(), self._turn:
                before = self._asked
                wait_for(self._turn, lambda: self._asked != before or not self.wanted)

    def end(self) -> None:
        """Let nobody ask any more."""
        with self._turn:
            self._over = True
            self._turn.notify_all()

    # for others

    @contextmanager
    def turn(self) -> Generator[Asides]:
        """Talk with the child. Raises ExecutorError where no call waits; and where the thread of the action does not
        give way: it is the caller itself, or may wait for one that does not work for a tool."""
        patience = LOOK if current_call() is None else REQUEST_SECONDS
        with self._turn:
            hopeless = threading.get_ident() == self._action_thread and not self._open
            if self._over or hopeless or not self._numbers():
                raise ExecutorError(BUSY)
            self.wanted += 1
        try:
            self._client.wake()
            with self._turn:
                free = lambda: self._over or (self._open and not self._asking)  # noqa: E731
                if not self._turn.wait_for(free, patience) or self._over:
                    raise ExecutorError(BUSY)
                self._asking = True
            try:
                yield self
            finally:
                with self._turn:
                    self._asking = False
        finally:
            with self._turn:
                self.wanted, self._asked = self.wanted - 1, self._asked + 1
                self._turn.notify_all()

    def ask(
        self,
        type: str,
        content: dict[str, Any],
        seconds: float = REQUEST_SECONDS,
        stopped: Callable[[], bool] = lambda: False,
    ) -> dict[str, Any] | None:
        """As `KernelClient.ask`, for who has the turn; raises ExecutorError where no call answers, or a stop comes."""
        deadline = time.monotonic() + seconds
        for number in reversed(self._numbers()):
            key = next(self._keys)
            self._client.reply(number, {"question": content, "key": key})
            reply = self._answer(key, deadline)
            if reply is None or reply.get("gone") is not True:
                return reply
        raise ExecutorError(BUSY)

    def give(self, descriptors: list[int], number: int) -> bool:
        """As `KernelClient.give`."""
        return self._client.give(descriptors, number)

    def _numbers(self) -> list[int]:
        """Of the calls that wait, the one in which it is asked last: that of another may stand behind it."""
        calls = dict(self.calls)
        own = [call] if (call := calls.pop(current_call() or "", None)) else []
        return [call.number for call in [*calls.values(), *own] if call.number is not None]

    def _answer(self, key: int, deadline: float) -> dict[str, Any] | None:
        answer: dict[str, Any] | None = None
        while answer is None:
            if self._pressed or self._stopped():
                raise ExecutorError("the action is being stopped")
            if self._kept > MAX_KEPT:
                raise ExecutorError("the child kernel sends too much to be asked something")
            if (left := deadline - time.monotonic()) <= 0:
                return None
            readings = self._receive(min(left, LOOK))
            self._kept += self._client.came_bytes
            for reading in readings:
                if not isinstance(reading, Answered):
                    self._keep(reading)
                    continue
                self._kept -= reading.size
                if answer is None and reading.report.get("key") == key:
                    answer = reading.report
        return answer
