"""A run as people read it: the fold of its events. Every renderer, and what is made of a run, begins here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from smol_kernel.events import (
    ActionFinished,
    ActionProposed,
    Event,
    FinalAnswer,
    ModelDelta,
    ModelReplied,
    Notice,
    Output,
    Progress,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    ToolCalled,
    ToolReturned,
)

STATES = {
    "running": ("running", "now"),
    "success": ("done", "ok"),
    "max_steps_error": ("out of steps", "warn"),
    "interrupted": ("stopped", "warn"),
    "budget": ("out of budget", "warn"),
    "error": ("failed", "bad"),
}
"""State of a run → its word and its colour."""
SCRIPTED = "Replies come from a script, not from a model."
_SENTENCE = re.compile(r"(?<=[^.][.!?])\s+(?=[A-Z])")


def model_label(model: str, scripted: bool) -> str:
    """The model as people read it; one whose replies are a script's says so."""
    return f"{model} (scripted)" if scripted and model != "scripted" else model


@dataclass
class CallRecord:
    """A tool call of an action; `ok` is None while it lasts."""

    call: str
    tool: str
    summary: str
    """The call as a line of Python."""
    result: str = ""
    """What came back, or the error, in one line; empty for a call that was stopped."""
    ok: bool | None = None
    seconds: float = 0.0
    blocking: bool = False

    @property
    def outcome(self) -> str:
        """The word between the call and its result; empty while the call lasts."""
        if self.ok is None:
            return ""
        return "→" if self.ok else "failed:" if self.result else "stopped"


@dataclass
class StepRecord:
    """One step: what the model thought and did, and what came of it."""

    number: int
    state: str = "thinking"
    """"thinking" (the model is asked), "running" (the action is), "ok", "error" or "interrupted"."""
    reply: str = ""
    """The model's words so far."""
    replied: bool = False
    """True: the reply is whole."""
    thought: str = ""
    code: str = ""
    outputs: list[Output] = field(default_factory=list)
    """In order; what went to one stream in a row is one output."""
    progress: str = ""
    """The line that the action is still writing over."""
    calls: list[CallRecord] = field(default_factory=list)
    status: str = ""
    """How the action ended: the status of ActionFinished, or empty if none ran to an end."""
    error_type: str | None = None
    error: str | None = None
    traceback: str = ""
    value: Any = None
    """Encoded, as in ActionFinished."""
    value_text: str = ""
    final: bool = False
    """True: the action called `final_answer`."""
    completed: int = 0
    """How many top-level statements ran to their end."""
    lost: list[str] = field(default_factory=list)
    observation: str = ""
    seconds: float = 0.0
    input_tokens: int | None = None
    output_tokens: int | None = None
    repaired_in: int | None = None
    """For a step that failed: number of the next one that did not."""

    @property
    def title(self) -> str:
        """The thought's first sentence, or a word on what the step does."""
        first = next((line.strip() for line in self.thought.splitlines() if line.strip()), "")
        if first:
            return _SENTENCE.split(first, maxsplit=1)[0]
        if self.code:
            return "Runs code"
        if self.state == "thinking":
            return "Asking the model"
        if self.replied:
            return "A reply without code"
        return "An unfinished reply" if self.reply.strip() else "No reply"

    @property
    def error_line(self) -> str:
        """The error in one line, as Python begins to write it; empty if there was none."""
        message = (self.error or "").strip().splitlines()[:1]
        return ": ".join(filter(None, [self.error_type, *message]))


@dataclass
class Totals:
    """Sums over the run; tokens are None as long as no model told any."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    seconds: float = 0.0


@dataclass
class Transcript:
    """A run, as far as its events have been fed. `state` is "running" until RunFinished tells another."""

    run: str = ""
    parent: str | None = None
    task: str = ""
    agent: str = ""
    name: str | None = None
    model: str = ""
    scripted: bool = False
    isolation: str = ""
    max_steps: int = 0
    tools: list[str] = field(default_factory=list)
    inputs: dict[str, str] = field(default_factory=dict)
    origin: dict[str, Any] = field(default_factory=dict)
    state: str = "running"
    error: str | None = None
    answered: bool = False
    """True: there is an answer, which may be None."""
    answer: Any = None
    """Encoded, as in FinalAnswer."""
    answer_text: str = ""
    steps: list[StepRecord] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    totals: Totals = field(default_factory=Totals)
    children: dict[str, Transcript] = field(default_factory=dict)
    """Runs of agents that this one called, by id."""

    @property
    def isolation_words(self) -> str:
        """How the child is boxed, in words."""
        return "not isolated" if self.isolation in ("", "none") else f"isolated: {self.isolation}"

    @classmethod
    def from_events(cls, events: Iterable[Event]) -> Transcript:
        """The transcript of a whole stream; its first run is the one it is about."""
        transcript = cls()
        for event in events:
            transcript.feed(event)
        return transcript

    def feed(self, event: Event) -> None:
        """Take in the next event. Events of runs that nobody here called are passed over."""
        if self.run and event.run not in ("", self.run):
            child = self._of(event.run)
            if child is None and isinstance(event, RunStarted) and (caller := self._of(event.parent or "")):
                child = caller.children[event.run] = Transcript()
            if child is not None:
                child._take(event)
        else:
            self._take(event)

    def _of(self, run: str) -> Transcript | None:
        if run == self.run:
            return self
        found = (child._of(run) for child in self.children.values())
        return next((child for child in found if child is not None), None)

    def step(self, number: int) -> StepRecord:
        """The record of that step; a new one where there is none yet."""
        for record in reversed(self.steps):
            if record.number == number:
                return record
        self.steps.append(StepRecord(number))
        return self.steps[-1]

    def _take(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._begin(event)
        elif isinstance(event, FinalAnswer):
            self.answered, self.answer, self.answer_text = True, event.value, event.text
        elif isinstance(event, RunFinished):
            self._end(event)
        elif isinstance(event, Notice):
            self.notices.append(event)
            if event.step > 0 and not (step := self.step(event.step)).replied:
                step.reply = ""  # if it is about the reply, that is asked for once more
        elif event.step > 0:
            self._take_step(self.step(event.step), event)

    def _take_step(self, step: StepRecord, event: Event) -> None:
        if isinstance(event, StepStarted):
            self.steps[self.steps.index(step)] = StepRecord(event.step)  # a step taken again starts afresh
        elif isinstance(event, ModelDelta):
            step.reply += event.text
        elif isinstance(event, ModelReplied):
            step.reply, step.replied = event.content, True
            step.input_tokens, step.output_tokens = event.input_tokens, event.output_tokens
            self.totals.input_tokens = _plus(self.totals.input_tokens, event.input_tokens)
            self.totals.output_tokens = _plus(self.totals.output_tokens, event.output_tokens)
        elif isinstance(event, ActionProposed):
            step.state, step.thought, step.code = "running", event.thought.strip(), event.code
        elif isinstance(event, Output):
            _add_output(step.outputs, event)
        elif isinstance(event, Progress):
            step.progress = event.text
        elif isinstance(event, ToolCalled):
            step.calls.append(CallRecord(event.call, event.tool, event.summary, blocking=event.blocking))
        elif isinstance(event, ToolReturned):
            for call in step.calls:
                if call.call == event.call:
                    call.ok, call.result, call.seconds = event.ok, _result(event), event.seconds
        elif isinstance(event, ActionFinished):
            _finish_action(step, event)
        elif isinstance(event, StepFinished):
            self._finish_step(step, event)

    def _begin(self, event: RunStarted) -> None:
        self.run, self.parent, self.task, self.agent, self.name = (
            event.run,
            event.parent,
            event.task,
            event.agent,
            event.name,
        )
        self.model, self.scripted, self.isolation = event.model, event.scripted, event.isolation
        self.max_steps, self.tools, self.inputs, self.origin = event.max_steps, event.tools, event.inputs, event.origin
        self.state, self.error = "running", None

    def _finish_step(self, step: StepRecord, event: StepFinished) -> None:
        step.observation, step.seconds = event.observation, event.seconds
        self.totals.seconds += event.seconds
        if event.error_type and not step.error_type:
            step.error_type, step.error = event.error_type, event.error
        if step.state == "thinking" and not (step.replied or step.error_type):
            step.state = "interrupted"  # stopped while the model was asked
        elif step.state != "interrupted":
            step.state = "error" if step.error_type else "ok"
        if step.state == "ok":
            for earlier in self.steps[: self.steps.index(step)]:
                if earlier.state == "error" and earlier.repaired_in is None:
                    earlier.repaired_in = step.number
        if not step.thought and not step.code:
            step.thought = step.reply.strip()

    def _end(self, event: RunFinished) -> None:
        self.state, self.error = event.state, event.error
        self.totals.seconds = event.seconds or self.totals.seconds
        for step in self.steps:
            if step.state in ("thinking", "running"):
                step.state = "interrupted" if event.state == "interrupted" else "error"


def _add_output(outputs: list[Output], event: Output) -> None:
    last = outputs[-1] if outputs else None
    if last is not None and event.channel in ("stdout", "stderr") and last.channel == event.channel:
        outputs[-1] = replace(last, text=last.text + event.text)
    else:
        outputs.append(event)


def _result(event: ToolReturned) -> str:
    if event.ok:
        return event.summary
    return "" if event.error_type == "KeyboardInterrupt" else event.summary or event.error or ""


def _finish_action(step: StepRecord, event: ActionFinished) -> None:
    states = {"ok": "ok", "interrupted": "interrupted"}
    step.progress = ""
    step.status, step.state = event.status, states.get(event.status, "error")
    step.error_type, step.error, step.traceback = event.error_type, event.error, event.traceback
    step.value, step.value_text, step.final = event.value, event.value_text, event.final
    step.completed, step.lost = event.completed, list(event.lost)
    for call in step.calls:
        if call.ok is None:
            call.ok, call.result = False, "no answer: the action had ended"


def _plus(total: int | None, more: int | None) -> int | None:
    return total if more is None else (total or 0) + more
