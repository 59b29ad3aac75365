"""A run as people read it: the fold of its events. Every renderer, and what is made of a run, begins here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from smol_kernel.errors import NO_BOX
from smol_kernel.events import (
    ActionFinished,
    ActionProposed,
    Event,
    FilesMade,
    FinalAnswer,
    ModelDelta,
    ModelReplied,
    Notice,
    Output,
    PlanMade,
    Progress,
    RunFinished,
    RunResumed,
    RunStarted,
    StepFinished,
    StepStarted,
    ToolCalled,
    ToolProgress,
    ToolReturned,
    settled,
)
from smol_kernel.render.code_to_run import plain_to_run
from smol_kernel.render.plain import one_line, plain
from smol_kernel.render.records import NOTES, CallRecord, Note, PlanRecord, StepRecord, Totals

STATES = {
    "running": ("running", "now"),
    "success": ("done", "ok"),
    "max_steps_error": ("out of steps", "warn"),
    "interrupted": ("stopped", "warn"),
    "budget": ("out of budget", "warn"),
    "error": ("failed", "bad"),
    "unfinished": ("cut off", "warn"),
}
"""State of a run → its word and its colour."""
SCRIPTED = "Replies come from a script, not from a model."
UNBOXED = "NOT ISOLATED: this run's code could read your files and use the network."
"""The mark of a run whose code ran outside a box."""


def model_label(model: str, scripted: bool) -> str:
    """The model, or those that a run had one after the other, as people read it; that of a script says so."""
    first, then, others = model.partition(", then ")
    return f"{first} (scripted){then}{others}" if scripted and not first.startswith("scripted") else model


def isolation_words(isolation: str) -> str:
    """How a child is boxed, in words: the `isolation` of an executor or a run."""
    words = {"": "not isolated", "none": "not isolated", "tools": "only tools are run", NO_BOX: NO_BOX}
    return words.get(isolation, f"isolated: {isolation}")


Row: TypeAlias = "StepRecord | PlanRecord | Transcript | Note"


@dataclass
class Transcript:
    """A run, as far as its events have been fed. `state` is "running" until RunFinished tells another; "unfinished" if
    none will come."""

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
    rows: list[Row] = field(default_factory=list)
    """All there is to tell, in order: steps, and what came between them."""
    notices: list[Notice] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)
    """What was made in the box and is not in the user's folder, as FilesMade has it."""
    more_files: int = 0
    """How many others there are."""
    how_to_save: str = ""
    """What saves those files, in the words of the front that holds them; empty: nobody does, or it is not known."""
    totals: Totals = field(default_factory=Totals)
    """Of this run's own model calls; `whole` counts those of the agents it called as well."""
    children: dict[str, Transcript] = field(default_factory=dict)
    """Runs of agents that this one called, by id. Those of a call are in its `runs` too."""
    label: str = ""
    """For a run that another one called: its agent's name, with a number from the second run of that name on."""

    @property
    def answer_label(self) -> str:
        """What the answer is: one that was given, or the best there was when a limit ended the run."""
        return "Best answer" if self.state in ("max_steps_error", "budget") else "Answer"

    @property
    def steps(self) -> list[StepRecord]:
        """The steps among the rows."""
        return [row for row in self.rows if isinstance(row, StepRecord)]

    @property
    def whole(self) -> Totals:
        """Sums over this run and all that agents it called did."""
        return Totals.of_all([self.totals, *(run.totals for run in self.family())], self.totals.seconds)

    def family(self) -> Iterator[Transcript]:
        """The runs of all agents called below this one, each before those it called."""
        for child in self.children.values():
            yield child
            yield from child.family()

    @property
    def isolation_words(self) -> str:
        """How the child is boxed, in words; where that of an agent it called is not at all, that one's name."""
        if self.isolation in ("", "none") or not self.unboxed:
            return isolation_words(self.isolation)
        names = dict.fromkeys(plain(run.name or run.agent) for run in self.family() if run.isolation in ("", "none"))
        return f"not isolated: {', '.join(names)}"

    @property
    def unboxed(self) -> bool:
        """Whether code of this run, or of one it called, ran outside a box."""
        return any(run.run and run.isolation in ("", "none") for run in (self, *self.family()))

    @property
    def marks(self) -> list[str]:
        """What has to be said of the run as a whole, a sentence each."""
        told = [one_line(each.text, 400) for run in (self, *self.family()) for each in run.notices if each.lasting]
        return [SCRIPTED] * self.scripted + [UNBOXED] * self.unboxed + list(dict.fromkeys(told))

    @classmethod
    def from_events(cls, events: Iterable[Event], *, cut_off: bool = False) -> Transcript:
        """The transcript of a whole recording; its first run is the one it is about. With `cut_off` nobody works on it
        any more, as the journal knows: what has not ended in it never will."""
        transcript = cls()
        for event in settled(events):
            transcript.feed(event)
        if cut_off and transcript.state == "running":
            transcript._cut_off()
        return transcript

    def feed(self, event: Event) -> None:
        """Take in the next event. Events of runs that nobody here called are passed over."""
        if self.run and event.run not in ("", self.run):
            child = self._of(event.run)
            if child is None and isinstance(event, RunStarted) and (caller := self._of(event.parent or "")):
                label = self._free_label(event.name or event.agent)
                child = caller._called(event, label)
            if child is not None:
                child._take(event)
        else:
            self._take(event)

    def step(self, number: int) -> StepRecord:
        """The record of that step; a new one where there is none yet."""
        record = self._found(number)
        if record is None:
            record = StepRecord(number)
            self.rows.append(record)
        return record

    def _found(self, number: int) -> StepRecord | None:
        """The record of that step, if there is one. As steps are counted upward, long runs are not searched through."""
        for row in reversed(self.rows):
            if isinstance(row, StepRecord) and row.number <= number:
                return row if row.number == number else None
        return None

    @property
    def last_step(self) -> StepRecord | None:
        """The newest step."""
        return next((row for row in reversed(self.rows) if isinstance(row, StepRecord)), None)

    def _of(self, run: str) -> Transcript | None:
        if run == self.run:
            return self
        return next((child for child in self.family() if child.run == run), None)

    def _free_label(self, name: str) -> str:
        taken = sum((run.name or run.agent) == name for run in self.family())
        return f"{name} #{taken + 1}" if taken else name

    def _called(self, event: RunStarted, label: str) -> Transcript:
        """The new record of a run that this one called, put where it was called."""
        child = self.children[event.run] = Transcript(label=label)
        steps = (row for row in reversed(self.rows) if isinstance(row, StepRecord)) if event.call else ()
        call = next((call for step in steps for call in step.calls if call.call == event.call), None)
        if call is not None:
            call.runs.append(child)
        elif (step := self.last_step) is not None:
            step.runs.append(child)
        else:
            self.rows.append(child)
        return child

    def _take(self, event: Event) -> None:
        step = self._found(event.step) if event.step > 0 else None
        if isinstance(event, RunStarted):
            self._begin(event)
        elif isinstance(event, FinalAnswer):
            self.answered, self.answer, self.answer_text = True, event.value, event.text
        elif isinstance(event, RunFinished):
            self._end(event)
        elif isinstance(event, Notice):
            self.notices.append(event)
            if step is not None and not step.replied:
                step.reply = ""  # if it is about the reply, that is asked for once more
        elif isinstance(event, FilesMade):
            self.files, self.more_files = event.files, event.more
        elif isinstance(event, NOTES):
            if isinstance(event, RunResumed):
                self.state, self.error, self.max_steps = "running", None, event.max_steps
                self.isolation, self.scripted = event.isolation or self.isolation, self.scripted or event.scripted
                if event.model not in ("", self.model.rpartition(", then ")[2]):
                    self.model += f", then {event.model}"
            notes = self.rows if step is None else step.beforehand if step.state == "thinking" else step.notes
            notes.append(event)
        elif isinstance(event, (ModelDelta, ModelReplied, PlanMade)):
            self._take_words(step, event)
        elif event.step > 0:
            self._take_step(step or self.step(event.step), event)

    def _take_words(self, step: StepRecord | None, event: ModelDelta | ModelReplied | PlanMade) -> None:
        """What the model says: until its step has started it makes a plan, and once it has replied all is said."""
        purpose = event.purpose if isinstance(event, ModelReplied) else ""
        if isinstance(event, ModelReplied):
            self.totals.add(event)
        if isinstance(event, PlanMade) or purpose == "plan" or (step is None and isinstance(event, ModelDelta)):
            self._take_plan(step, event)
        elif isinstance(event, ModelDelta):
            if step is not None and not step.replied:
                step.reply += event.text
        elif purpose == "action":
            step = step or self.step(event.step)
            step.reply, step.replied = event.content, True
            step.only_calls = bool(event.tool_calls)
            step.tokens = Totals.of_all([event]).tokens
        elif step is not None and not step.replied:
            step.reply = ""  # what had streamed in belonged to this

    def _take_plan(self, step: StepRecord | None, event: ModelDelta | ModelReplied | PlanMade) -> None:
        plans = [row for row in self.rows if isinstance(row, PlanRecord)]
        plan = plans[-1] if plans else None
        goes_on = plan is not None and (
            plan.state == "thinking" or (plan.before == event.step and not isinstance(event, ModelDelta))
        )
        if plan is None or not goes_on:
            plan = PlanRecord(event.step, renewed=bool(plans))
            self.rows.append(plan)
        if isinstance(event, ModelDelta):
            plan.text += event.text
        elif isinstance(event, ModelReplied):
            plan.text = event.content
            plan.totals.add(event)
            plan.totals.seconds = event.seconds
            if step is not None:
                step.reply = ""
        else:
            plan.text, plan.state = event.plan, "ok"

    def _take_step(self, step: StepRecord, event: Event) -> None:
        if isinstance(event, StepStarted):
            self._settle("interrupted")  # what began before has ended, whether that was told or not
            self.rows = [StepRecord(event.step) if row is step else row for row in self.rows]  # taken again: afresh
        elif isinstance(event, ActionProposed):
            step.state, step.thought, step.code = "running", event.thought.strip(), plain_to_run(event.code)
            step.only_calls = step.only_calls or self.agent == "ToolCallingAgent"
        elif isinstance(event, Output):
            _add_output(step.outputs, event)
        elif isinstance(event, Progress):
            step.progress = event.text
        elif isinstance(event, ToolCalled):
            step.calls.append(CallRecord.of(event))
        elif isinstance(event, ToolProgress):
            for call in step.open_calls[-1:] if not event.call else step.open_calls:
                if call.call == event.call or (not event.call and call.tool == event.tool):
                    call.progress = _progress(event)
        elif isinstance(event, ToolReturned):
            for call in step.calls:
                if call.call == event.call:
                    call.ok, call.result, call.seconds, call.progress = event.ok, _result(event), event.seconds, ""
        elif isinstance(event, ActionFinished):
            _finish_action(step, event)
        elif isinstance(event, StepFinished):
            self._finish_step(step, event)

    def _begin(self, event: RunStarted) -> None:
        self.run, self.parent, self.task = event.run, event.parent, event.task
        self.agent, self.name, self.state, self.error = event.agent, event.name, "running", None
        self.model, self.scripted, self.isolation = event.model, event.scripted, event.isolation
        self.max_steps, self.tools, self.inputs, self.origin = event.max_steps, event.tools, event.inputs, event.origin

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
            self._went_on(step)
        if not step.thought and not step.code:
            step.thought = step.reply.strip()

    def _went_on(self, step: StepRecord) -> None:
        """Note on the failed steps before `step`, up to the last that went well, that it went on there."""
        for row in reversed(self.rows):
            if isinstance(row, StepRecord) and row.number < step.number:
                if row.state == "ok":
                    break
                if row.state == "error" and row.repaired_in is None:
                    row.repaired_in = step.number

    def _end(self, event: RunFinished) -> None:
        self.state, self.error = event.state, event.error
        acted = any(step.status or (step.calls and not step.only_calls) for step in self.steps)
        if (event.error or "").startswith(NO_BOX) and self.isolation not in ("", "none") and not acted:
            self.isolation = NO_BOX
        totals = self.totals
        totals.seconds = event.seconds or totals.seconds
        if event.input_tokens is not None and event.output_tokens is not None:
            totals.input_tokens, totals.output_tokens = event.input_tokens, event.output_tokens
            totals.cached_tokens = event.cached_tokens
        if event.cost is not None:
            totals.cost, totals.unpriced = event.cost, 0
        self._settle("interrupted" if event.state == "interrupted" else "error")
        self._end_family()

    def _cut_off(self) -> None:
        self.state = "unfinished"
        for call in self.last_step.open_calls if self.last_step else ():
            call.ok = False
        self._settle("interrupted")
        self._end_family()

    def _end_family(self) -> None:
        for child in self.family():
            if child.state == "running":
                child.state = "interrupted"
                child._settle("interrupted")

    def _settle(self, state: str) -> None:
        """Leave nothing at work."""
        for row in reversed(self.rows):
            if isinstance(row, PlanRecord) and row.state == "thinking":
                row.state = "interrupted"
            elif isinstance(row, StepRecord):
                if row.state not in ("thinking", "running"):
                    break  # all before it have ended too
                row.state = state


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
    step.progress, step.status = "", event.status
    step.state = event.status if event.status in ("ok", "interrupted") else "error"
    step.error_type, step.error, step.traceback = event.error_type, event.error, event.traceback
    step.value, step.value_text, step.final = event.value, event.value_text, event.final
    step.completed, step.lost = event.completed, list(event.lost)
    for call in step.calls:
        call.progress = ""
        if call.ok is None:
            call.ok, call.result = False, "no answer: the action had ended"


def _progress(event: ToolProgress) -> str:
    if event.done is None:
        return event.text
    far = f"{event.done:g} of {event.total:g}" if event.total is not None else f"{event.done:g}"
    return " · ".join(filter(None, [far, event.text]))
