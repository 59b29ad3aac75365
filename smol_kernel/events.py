"""The one stream of events: what a run did, as frozen plain data.

The loop and the executors yield them, the journal stores them, and everything people see is drawn from them.
Fields hold JSON-plain values only; values that crossed the trust line are in the encoded form of
`smol_kernel.executors.values`. Executors leave `run` and `step` empty; the loop stamps them.
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, ClassVar

from smol_kernel.errors import EventError

SCHEMA_VERSION = 1
"""Raised by one whenever a stored event changes its meaning."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all events. `run` is the run's id, `step` counts from 1 (0: outside any step),
    `time` is in seconds since the epoch."""

    run: str = ""
    step: int = 0
    time: float = field(default_factory=time.time)

    kind: ClassVar[str] = "event"
    durable: ClassVar[bool] = True
    """False: for those who watch only; the journal passes it on unwritten."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.kind = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        _KINDS[cls.kind] = cls

    def to_dict(self) -> dict[str, Any]:
        """The event as JSON-plain data, its kind included."""
        return {"kind": self.kind, **asdict(self)}

    def stamped(self, run: str, step: int) -> Event:
        """The same event marked with `run` and `step`; one that carries a mark already keeps it."""
        return self if self.run else replace(self, run=run, step=step)


_KINDS: dict[str, type[Event]] = {}


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """A run begins."""

    task: str
    agent: str
    """Class name of the agent."""
    name: str | None = None
    """The agent's own name, if it has one."""
    model: str
    """Model id as the user gave it."""
    scripted: bool = False
    """True: the replies are a script's, not a model's; every account of the run must say so."""
    parent: str | None = None
    """Run id of the agent that called this one."""
    call: str | None = None
    """The parent's tool call by which it was called."""
    continues: str | None = None
    """Run id of the previous run of the same conversation."""
    isolation: str
    """How the child is boxed; "none" means not at all, "tools" that what the model writes is not run as code."""
    max_steps: int
    system_prompt: str
    tools: list[str] = field(default_factory=list)
    """Names of the tools the child may call."""
    inputs: dict[str, str] = field(default_factory=dict)
    """Variables handed to the child: name → one-line summary."""
    origin: dict[str, Any] = field(default_factory=dict)
    """Where the run was started: `front` ("notebook", "agent-kernel", "cli", "python"), `cell_id`, …"""


@dataclass(frozen=True, kw_only=True)
class StepStarted(Event):
    """A step begins; the model is asked next."""


@dataclass(frozen=True, kw_only=True)
class ModelDelta(Event):
    """A piece of the reply, as it streams in."""

    text: str
    durable: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class ModelReplied(Event):
    """The model's whole reply. Token counts the model did not tell are None, and so is an unknown `cost` (in USD)."""

    content: str
    model: str
    purpose: str = "action"
    """What it was asked for: "action", "plan", "answer" (the last one, out of steps) or "summary"."""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    """Structured calls in the reply, in the shape of OpenAI's chat completions API."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cost: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ModelFellBack(Event):
    """A model failed, and the next one of the list is asked."""

    failed: str
    """Id of the model that failed."""
    model: str
    """Id of the one asked now."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class PlanMade(Event):
    """The model made a plan, or a new one."""

    plan: str


@dataclass(frozen=True, kw_only=True)
class ActionProposed(Event):
    """The action the loop is about to run."""

    thought: str
    code: str


@dataclass(frozen=True, kw_only=True)
class Output(Event):
    """Something the action put out. From the child: capped and stripped of control characters, not sanitised HTML."""

    channel: str
    """"stdout", "stderr", "display" (display data) or "result" (value of a last expression)."""
    text: str = ""
    """The text of a stream; for display and result the text/plain form."""
    data: dict[str, str] = field(default_factory=dict)
    """MIME type → content (base64 for images), of the allowed types only; empty for streams."""


@dataclass(frozen=True, kw_only=True)
class Progress(Event):
    """The line that the action is still writing over, such as a progress bar; its last state comes as Output."""

    channel: str
    """"stdout" or "stderr"."""
    text: str
    durable: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class ToolCalled(Event):
    """The action called a tool (or `input`); yielded before the tool runs."""

    call: str
    """Id of the call, unique within the run."""
    tool: str
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    summary: str = ""
    """The call as a line of Python, shortened."""
    blocking: bool = False
    """True: it runs on the thread that called `run()`, which is busy until it returns."""


@dataclass(frozen=True, kw_only=True)
class ToolProgress(Event):
    """How far a tool has come, in its own words."""

    tool: str
    call: str = ""
    """Id of the call; filled in on the way."""
    text: str = ""
    done: float | None = None
    total: float | None = None
    durable: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class ToolReturned(Event):
    """A tool returned or raised; yielded before the child is told."""

    call: str
    tool: str
    ok: bool
    value: Any = None
    error_type: str | None = None
    error: str | None = None
    summary: str = ""
    """The result (or error) in one line, shortened."""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ActionFinished(Event):
    """The action ended, one way or another."""

    status: str
    """"ok", "error", "interrupted", "timeout" or "died"."""
    value: Any = None
    """Encoded value of the last statement, or the final answer."""
    value_text: str = ""
    """The value as the model reads it; empty for None."""
    final: bool = False
    """True: the action called `final_answer`, and `value` is the answer."""
    logs: str = ""
    """What was printed and displayed, as the model reads it: stripped, truncated in the middle."""
    error_type: str | None = None
    error: str | None = None
    """The error's message, or a plain sentence on why the action ended."""
    traceback: str = ""
    completed: int = 0
    """How many top-level statements ran to their end."""
    names: list[str] = field(default_factory=list)
    """Names the user's namespace of the child holds now."""
    lost: list[str] = field(default_factory=list)
    """Names lost because the child had to be restarted."""
    seconds: float = 0.0
    """The child's own time, without waiting for tools or people."""


@dataclass(frozen=True, kw_only=True)
class FilesMade(Event):
    """What the box's overlay holds after an action: files that were made or changed, each time all of them.

    They are not in the user's folder; `executor.save_files` puts them there.
    """

    files: list[dict[str, Any]] = field(default_factory=list)
    """`path` below the working folder, fit to show; `bytes`; `change`: "made", "changed" or "removed"; and for what is
    no regular file `type`: "link", "pipe", "socket" or "device"."""
    more: int = 0
    """How many others there are that are not listed."""


@dataclass(frozen=True, kw_only=True)
class Checked(Event):
    """A check looked at the answer, or at how the run goes. `reason` is what the model is told where it failed."""

    check: str
    """Name of the check, or its expression."""
    ok: bool
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Compacted(Event):
    """The conversation was longer than the model can read: the oldest observations were shortened."""

    steps: list[int]
    """Numbers of the steps that were."""
    summary: str = ""
    """What stands in their place, where it is one text."""


@dataclass(frozen=True, kw_only=True)
class MemoryEdited(Event):
    """A callback changed what the model reads of an earlier step."""

    index: int
    """Place of the step in the memory, from 0."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Field → its new value, images as their number."""


@dataclass(frozen=True, kw_only=True)
class HandedOff(Event):
    """The agent passed its task and conversation on; the other's answer is the run's."""

    agent: str
    """Name of the other agent."""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class StepFinished(Event):
    """A step ended; what the model will read of it."""

    observation: str = ""
    error_type: str | None = None
    error: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Notice(Event):
    """A sentence for the person watching."""

    text: str


@dataclass(frozen=True, kw_only=True)
class FinalAnswer(Event):
    """The answer of the run, encoded, and as text."""

    value: Any = None
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class RunFinished(Event):
    """The run ended. `state` is "success", "max_steps_error", "interrupted", "budget" or "error"."""

    state: str
    error: str | None = None
    steps: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cost: float | None = None
    """In USD, of all model calls; None: unknown."""
    seconds: float = 0.0


_listener: ContextVar[Callable[[Event], object] | None] = ContextVar("smol_listener", default=None)
_call: ContextVar[str | None] = ContextVar("smol_call", default=None)


def emit(event: Event) -> None:
    """Add `event` to the stream of the run that the caller works for, from any thread with its context.

    Tools and models call it for what happens meanwhile. Outside a run nothing happens.
    """
    listener = _listener.get()
    if listener is not None:
        listener(event)


def current_call() -> str | None:
    """Id of the tool call in which the caller runs, as its ToolCalled has it; None outside a tool."""
    return _call.get()


@contextmanager
def listening(listener: Callable[[Event], object], call: str | None = None) -> Generator[None]:
    """Have `listener` called with what is emitted in this context; `call` is the id of the tool call it is made for."""
    token, call_token = _listener.set(listener), _call.set(call or _call.get())
    try:
        yield
    finally:
        _call.reset(call_token)
        _listener.reset(token)


def from_dict(data: dict[str, Any]) -> Event:
    """The event that `to_dict` gave.

    Raises EventError for a kind this version does not know, or fields that do not fit.
    """
    kind = data.get("kind")
    cls = _KINDS.get(str(kind))
    if cls is None:
        raise EventError(f"unknown event kind {kind!r}: it was written by a newer version; upgrade smol-kernel")
    known = {f.name for f in fields(cls)}
    try:
        return cls(**{name: value for name, value in data.items() if name in known})
    except TypeError as error:
        raise EventError(f"event of kind {kind!r} does not fit: {error}") from None


def watched(events: Iterable[Event], reader: Callable[[Event], object]) -> Iterator[Event]:
    """Pass `events` on, each shown to `reader` first.

    A reader that raises is left out from then on, with a RuntimeWarning: it never ends a run. KeyboardInterrupt in it
    does, and so does closing this iterator: `events` are closed then.
    """
    broken = False
    try:
        for event in events:
            if not broken:
                try:
                    reader(event)
                except Exception as error:  # noqa: BLE001  boundary: a reader of events
                    broken = True
                    warnings.warn(f"{reader!r} cannot show this run any more: {error!r}", RuntimeWarning, stacklevel=2)
            yield event
    finally:
        if isinstance(events, Generator):
            events.close()
