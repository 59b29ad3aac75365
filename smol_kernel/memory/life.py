"""`Life`: what an agent holds of the run under way besides its steps, and what is left of the last one."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from smol_kernel.errors import AgentError
from smol_kernel.memory.budget import Account
from smol_kernel.memory.messages import ChatMessage
from smol_kernel.memory.process_lock import ProcessLock
from smol_kernel.memory.steps import ActionStep, ToolOutput

G = TypeVar("G")


class InUse:
    """Whether an agent is at work, for one user at a time: a list with something in it, until that is empty. Wherever
    an interrupt comes, nothing stays taken; since Python 3.14 it may come when a `with` has taken its lock, and before
    its block. The users of a process that this one was forked from are not here."""

    def __init__(self) -> None:
        self._by_process: dict[int, list[list[bool]]] = {}

    @property
    def _users(self) -> list[list[bool]]:
        return self._by_process.setdefault(os.getpid(), [])

    def locked(self) -> bool:
        """Whether it is."""
        return any(self._users)

    def take(self, user: list[bool]) -> None:
        """Take it for this user. Raises AgentError if it has one. Each change is one step, for all threads."""
        users = self._users
        with suppress(ValueError):
            while True:
                users.remove([])
        users.append(user)
        if next(filter(None, users), None) is not user:
            raise AgentError(
                "this agent is at work on another task: give each thread an agent of its own, and close() events() "
                "that you read no further"
            )


@dataclass(eq=False)
class Life:
    """It stands apart from the agent's own attributes: a subclass may have an `answer` or a `stop` too."""

    run_id: str | None = None
    depth: int = 0
    """How many agents are above this one."""
    account: Account = field(default_factory=Account)
    """What the run used."""
    recorded_in: Any = None
    """The journal."""
    resumed: Any = None
    """What is recorded of the run (a `runs.replay.Replay`), if it was resumed."""
    begun: int = 0
    """Number of the last step that began."""
    given: dict[str, Any] = field(default_factory=dict[str, Any])
    """Variables that the agent has from its run and not from the user: inputs, and what tools gave."""
    own: dict[str, Any] = field(default_factory=dict[str, Any])
    """What the user had put there when the last run began, some of it under names that are in `given`."""
    stale: bool = False
    """Whether others' runs left something in its state, which its own next one is not to have."""
    sent: list[ChatMessage] = field(default_factory=list[ChatMessage])
    """What the model read last."""
    call: Any = None
    """The request to the model that is under way."""
    step: ActionStep | None = None
    """The last one that began."""
    outputs: dict[str, ToolOutput] = field(default_factory=dict[str, ToolOutput])
    """Of this step: id of a structured call → what came of it."""
    repetition: Any = None
    """Notices when the run goes in circles."""
    best: Any = None
    """The last answer that was given, if only to be refused by a check."""
    answer: Any = None
    """The answer, if the run was `answered`."""
    answered: bool = False
    successor: tuple[Any, str] | None = None
    """The agent that takes over after this step, and why."""
    called: set[Any] = field(default_factory=set[Any])
    """Agents that work for this one now."""
    left: tuple[int, Callable[[], Any]] = (0, lambda: None)
    """The thread of the last stream, and how to find it if it is still there."""
    in_use: InUse = field(default_factory=InUse)
    lent: ProcessLock = field(default_factory=ProcessLock)
    stop: threading.Event = field(default_factory=threading.Event)

    def begin(self, run: str, resumed: Any, above: Life | None) -> None:
        """A run begins, for the agent that this is the life of or for the one `above`."""
        self.run_id, self.resumed, self.depth, self.begun = run, resumed, above.depth + 1 if above else 0, 0
        self.answer, self.answered, self.best, self.successor = None, False, None, None
        self.stop.clear()
        if above is not None and above.stop.is_set():
            self.stop.set()

    def read(self, events: G) -> G:
        """A run that is about to be read: one that its reader left half-way, on this thread, ends."""
        thread, left = self.left
        if thread == threading.get_ident() and (stale := left()) is not None and not stale.gi_running:
            stale.close()
        self.left = threading.get_ident(), weakref.ref(events)
        return events

    def lend(self, wait: bool = False) -> threading.Lock | None:
        """Let the agent work for another until this lock is released. None if it is at work; with `wait` until it is
        not."""
        lock = self.lent.here
        return lock if (wait or not self.in_use.locked()) and lock.acquire(blocking=wait) else None

    def without_others(self, agents: Iterable[Any]) -> Iterator[Any]:
        """The agents, or recipes of agents, that are at work for nobody but this one; while one is looked at it begins
        no work for another."""
        for agent in agents:
            life: Life | None = getattr(agent, "life", None)
            if life is None or agent in self.called:
                yield agent
            elif (lent := life.lend()) is not None:
                try:
                    yield agent
                finally:
                    lent.release()


class Shown:
    """An attribute that shows what an agent's life has under this name. A subclass may set something else there."""

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self._name = name

    def __get__(self, agent: Any, owner: type[Any]) -> Any:
        return self if agent is None else getattr(agent.life, self._name)
