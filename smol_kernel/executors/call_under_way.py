"""A call of a tool that an action makes: it is performed, and what came of it is made ready for the child.

Used by `bridge`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from smol_kernel.events import listening
from smol_kernel.executors.call_results import RESULT_LIMIT, result_of
from smol_kernel.executors.emitted import Emitted
from smol_kernel.executors.fields import fields
from smol_kernel.executors.no_secrets import no_secrets
from smol_kernel.executors.recorded import NotMadeError
from smol_kernel.executors.summaries import brief, error_line
from smol_kernel.executors.tool_body import ends_the_run, tool_body
from smol_kernel.executors.tracebacks import message, shorten
from smol_kernel.executors.values import CROSSES, NotPortable, decode, encode
from smol_kernel.memory.known_secrets import redacted
from smol_kernel.signals import program_handlers
from smol_kernel.tools.records import to_plain

FROM_AN_ANSWER = "; make an object of what run() returns, or have output_type= make a dataclass or a pydantic model"
"""Behind an error of a `final_answer` of a user's own."""
MAX_ERROR = 10_000
"""Characters of what a tool's error says."""


@dataclass
class Call:
    """A call under way."""

    id: str
    number: int | None
    """The child's own id of the request."""
    tool: str
    work: Callable[[], Any]
    emitted: Emitted
    pooled: bool
    secret: bool = False
    weight: int = 0
    """Bytes of its arguments."""
    started: float = field(default_factory=time.monotonic)
    made: bool = False  # or nearly: one that has ended without was surely not made
    ended: bool = False
    future: Future[Any] | None = None
    """What runs of it on the event loop."""

    def begun(self, future: Future[Any]) -> None:
        """Note the future; canceled at once if nobody waits for it any more."""
        self.future = future
        if self.ended:
            future.cancel()


@dataclass
class Outcome:
    """What became of a call: an encoded value, or an error."""

    call: Call
    value: Any = None
    summary: str = ""
    error: BaseException | None = None
    size: int = 0
    """Bytes of the value."""

    @property
    def words(self) -> str:
        """What the error says."""
        return shorten(redacted(message(self.error)), MAX_ERROR) if self.error else ""


def perform(call: Call) -> Outcome:
    """Make the call; an error becomes part of the outcome, unless it ends the run."""
    call.started, handlers = time.monotonic(), program_handlers()
    try:
        with listening(call.emitted, call.id), tool_body():
            value = result_of(call.work(), call.begun)
        try:
            given = encode(to_plain(value), limit=RESULT_LIMIT, instead=fields)
            encoded, size = no_secrets(given)
            value = value if encoded is given else decode(encoded)
        except RecursionError:
            raise TypeError(f"{call.tool}() gave a result that nests too deeply, or contains itself") from None
        except NotPortable as error:
            of_answer = call.tool == "final_answer" and error.advice == CROSSES
            advice = f"{error.advice}{FROM_AN_ANSWER if of_answer else ''}"
            raise TypeError(f"{call.tool}() gave a result that cannot cross to the child: {error}{advice}") from error
        return Outcome(call, encoded, brief(value, 120), size=size)
    except BaseException as error:  # boundary: a tool can raise anything; the child shall see it
        if not call.pooled and ends_the_run(error, handlers):
            raise
        return Outcome(call, error=error, summary=error_line(error))


def outcome_of(call: Call, outcome: Any, error: BaseException | None) -> Outcome | BaseException:
    """What came of a job: `error` if it was not done to its end, by itself if that ends the run; so does a refusal."""
    if isinstance(error, NotMadeError):
        return KeyboardInterrupt(str(error))
    return outcome if error is None else error
