"""The events, as frozen plain data: one class for each kind of thing that happens in a run.

Fields hold JSON-plain values only; values that crossed the trust line are in the encoded form of
`smol_kernel.executors.values`. Executors leave `run` and `step` empty; the loop stamps them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from smol_kernel.events.base import Event


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
    named_as: list[str] = field(default_factory=list)
    """Names by which `--model` makes it again; none: it was made in Python, or plays a script."""
    scripted: bool = False
    """True: the replies are a script's, not a model's; every account of the run must say so."""
    server: str | None = None
    """Address of the server that the model is asked at, where the user gave one; or, in words, that its name alone does
    not tell where (`models.base.NOWHERE`)."""
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
    """Variables handed in: name → what the model is told of it in a line, its type first."""
    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The same variables: name → `digest` and `bytes` of the encoded value, and where it is small the `value`, and its
    `pickle` where it loses a class. Digests of large ones come later (InputsDigested)."""
    media: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """What the model is shown with the task: "images", "audio", "videos" → the same of each."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What else the agent was made with, as far as it is plain data: enough to make it again, given tools and model."""
    forked: dict[str, Any] = field(default_factory=dict)
    """The `run` that this one is a fork of, the last `step` the two have in common, and the `time` when it was made;
    empty: it is no fork."""
    origin: dict[str, Any] = field(default_factory=dict)
    """Where the run was started: `front` ("notebook", "agent-kernel", "cli", "python"), `cell_id`, …; `given`:
    tool → the option by which it came; `write` and `prove_cell` as in RunOptions, where its cell said so; `imported` is
    true of one that came in a file; `printed` is "apart" of one that its agent's logger prints, not that of the caller.
    """

    @property
    def began(self) -> float:
        """When it began: a fork when it was made, though `time`, as all that it has of the other run, is older."""
        return self.forked.get("time", self.time)


@dataclass(frozen=True, kw_only=True)
class InputsDigested(Event):
    """The digests of large variables that the run was given have been taken, as they were in the meantime."""

    digests: dict[str, str] = field(default_factory=dict)
    """Name → digest, as in RunStarted's `values`; empty where there can be none."""


@dataclass(frozen=True, kw_only=True)
class RunResumed(Event):
    """The run, which was cut off or had reached a limit, goes on in another process."""

    kept: int
    """How many of its events so far count, those that earlier resumptions left out aside; the run goes on after them.
    The ones behind them are of the action that was cut off, which is run again, or of an end that was none."""
    differences: list[str] = field(default_factory=list)
    """What was not the same when the recorded actions were run again, a sentence each."""
    max_steps: int = 0
    """Steps that it may take in all now."""
    budget: dict[str, Any] = field(default_factory=dict)
    """The limits of its budget now, by the names of `Budget`; empty: as before."""
    isolation: str = ""
    """How its child is boxed now, as in RunStarted, or was before, whichever holds less; empty: as before."""
    model: str = ""
    """Id of the model that is asked now; empty: as before."""
    named_as: list[str] = field(default_factory=list)
    scripted: bool = False
    server: str | None = None
    """How that is made again, and where it is asked, as in RunStarted."""


@dataclass(frozen=True, kw_only=True)
class Instructed(Event):
    """Somebody told the model something between two steps."""

    text: str


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
    cut_off: bool = False
    """Whether it lacks its end: a limit on its tokens, or the provider, ended it."""


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
    replays: str = ""
    """Id of the recorded call whose result answers this one; the tool is not called then."""


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
    kinds: list[str] = field(default_factory=list)
    """The error's classes, its own first: by these the action may catch it. A builtin one by its name, others as
    "module:name"; in old records all by their names."""
    attributes: dict[str, Any] = field(default_factory=dict)
    """What the action can read of the error besides: plain, short values; `response.status_code` of its response."""
    around: bool = False
    """True: not the tool raised it, but what a program put around its call, an `execute_tool_call` of its own."""
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
    new: list[str] | None = None
    """The paths of those that the action made, changed, wrote anew or removed; None: that is not recorded."""

    @property
    def paths(self) -> list[str]:
        """Those that the action may have made: all, where it is not recorded."""
        return [file["path"] for file in self.files] if self.new is None else self.new


@dataclass(frozen=True, kw_only=True)
class Checked(Event):
    """A check looked at the answer, or at how the run goes. `reason` is what the model is told where it failed."""

    check: str
    """Name of the check, or its expression."""
    ok: bool
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Compacted(Event):
    """The conversation was longer than the model can read: the oldest observations or replies were shortened."""

    steps: list[int]
    """Numbers of the steps that were."""
    left_out: bool = False
    """Whether steps were left out instead."""
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
    counted: int | None = None
    """Steps that count towards the limit, this one included: a callback may have set that (`agent.step_number`)."""


@dataclass(frozen=True, kw_only=True)
class Notice(Event):
    """A sentence for the person watching."""

    text: str
    lasting: bool = field(default=False, compare=False)
    """Whether the account of the run tells it too: it is about what will be left of the run."""


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
