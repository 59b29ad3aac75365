"""`MadeCall`: one structured call while it is made, and what is told of its error."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from smol_kernel.errors import AgentError, AgentExecutionError, AgentToolExecutionError
from smol_kernel.events import ToolCalled
from smol_kernel.executors.emitted import Emitted
from smol_kernel.executors.interpreter_tool import Stop
from smol_kernel.executors.observation import clean, truncate
from smol_kernel.executors.recorded import RecordedError, is_of_kind, name_of_error
from smol_kernel.executors.tracebacks import message
from smol_kernel.memory.known_secrets import redacted
from smol_kernel.memory.steps import ToolCall
from smol_kernel.tools.base import Tool


@dataclass
class MadeCall:
    """A call under way, then one that has ended."""

    event: ToolCalled
    call: ToolCall
    tool: Tool
    arguments: dict[str, Any]
    emitted: Emitted
    room: threading.Semaphore
    longest: int
    """Characters that the model reads of what came of it."""
    started: float = 0.0
    """When it was made, or nearly: 0 of one that surely was not."""
    ended: bool = False
    future: Future[Any] | None = None
    """What runs of it on the event loop."""
    stop: Stop = field(default_factory=Stop)
    """Ends the code that it runs."""
    raised_around: BaseException | None = None
    """What was raised by what a program put around the call, not by the tool."""
    error: BaseException | None = None
    """How it ended, if not with a value."""
    told: str = ""
    """The error as the model reads it."""

    def begun(self, future: Future[Any]) -> None:
        """Note the future; canceled at once if nobody waits for it any more."""
        self.future = future
        if self.ended:
            future.cancel()

    def end(self) -> None:
        """Wait for it no longer."""
        self.ended = True
        if self.future is not None:
            self.future.cancel()

    def fail(self, error: BaseException, said: str) -> None:
        """Note that it ended with `error`, of which the model reads `said`."""
        self.error = error
        told = (self.words or name_of_error(error)) if self.is_reason else f"Tool {self.call.name!r} failed: {said}"
        self.told = truncate(clean(told), self.longest)

    @property
    def words(self) -> str | None:
        """What the error says, without known secrets; None if there is none."""
        own = getattr(self.error, "message", None) if self.is_reason else None  # what an AgentError has for the model
        return None if self.error is None else redacted(own if isinstance(own, str) else message(self.error))

    @property
    def around(self) -> bool:
        """Whether the error came from around the call, now or when it was recorded."""
        recorded = isinstance(self.error, RecordedError) and self.error.around
        return recorded or (self.error is not None and self.error is self.raised_around)

    @property
    def is_reason(self) -> bool:
        """Whether the error is the step's own: an AgentError that came from around the call."""
        return self.around and self.is_a(AgentError)

    def is_a(self, kind: type[Exception]) -> bool:
        """Whether the error is of this kind, or was when it was recorded."""
        return is_of_kind(self.error, kind)


def told_together(failed: Sequence[MadeCall]) -> tuple[str | None, str | None, list[str]]:
    """Kind and text of the error of an action whose calls have `failed`; and what else of them there is to tell, where
    one of them has the say."""
    reason = next((each for each in failed if each.is_reason), None)
    others = [each.told for each in failed if each is not reason]
    if reason is None:
        return (AgentToolExecutionError.__name__ if failed else None), "\n".join(others) or None, []
    kind = AgentToolExecutionError if reason.is_a(AgentExecutionError) else AgentError
    return kind.__name__, reason.told, others


def raise_what_came_from_around(failed: Sequence[MadeCall]) -> None:
    """Raise what a program put around the calls to raise; first what is no AgentError, for that ends the run."""
    for each in sorted(failed, key=lambda each: each.is_reason):
        if each.error is not None and each.error is each.raised_around:
            if isinstance(each.error, AgentError):
                each.error.message = each.told
            raise each.error
