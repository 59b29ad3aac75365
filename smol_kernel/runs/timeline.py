"""When what happened in a run, and what each model call used: what an account leaves out. Read from the events.

Times are seconds on the run's own clock, which stands still while nobody works on it: from a kill to its resumption.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from smol_kernel.events import (
    ActionFinished,
    ActionProposed,
    Event,
    ModelReplied,
    RunResumed,
    RunStarted,
    StepStarted,
    ToolCalled,
    ToolReturned,
    settled,
)

Span = tuple[float, float]
"""Begin and end."""


@dataclass
class ToolUse:
    """A call of a tool; `returned` is None where it never came back."""

    called: ToolCalled
    begin: float
    end: float
    returned: ToolReturned | None = None


@dataclass
class ModelUse:
    """A reply of the model, and when it was waited for."""

    replied: ModelReplied
    begin: float
    end: float


@dataclass
class StepTimes:
    """One step; times of its parts may overlap, as those of tools do that run side by side."""

    begin: float
    end: float
    models: list[ModelUse] = field(default_factory=list)
    tools: dict[str, ToolUse] = field(default_factory=dict)
    """By the id of the call."""
    action: Span | None = None
    seconds_of_code: float = 0.0
    """The child's own time."""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return max(self.end - self.begin, 0.0)

    @property
    def seconds_of_model(self) -> float:
        """How long the model was waited for."""
        return sum(use.replied.seconds for use in self.models)

    @property
    def seconds_of_tools(self) -> float:
        """Time in which at least one tool was at work."""
        return covered((use.begin, use.end) for use in self.tools.values())


@dataclass
class Timeline:
    """All of a run and of those it called: run → number of the step → its times.."""

    runs: dict[str, dict[int, StepTimes]] = field(default_factory=dict)
    plans: dict[str, list[ModelUse]] = field(default_factory=dict)
    """Replies that were no step's action."""
    seconds: float = 0.0
    """From its first event to its last."""
    began: float = 0.0
    """When it began, in seconds since the epoch."""

    def step(self, run: str, number: int) -> StepTimes | None:
        """The times of a step, if there are any."""
        return self.runs.get(run, {}).get(number)

    def models(self, run: str) -> Iterator[ModelUse]:
        """All replies that a run got, in order."""
        found = [use for step in self.runs.get(run, {}).values() for use in step.models]
        yield from sorted([*found, *self.plans.get(run, [])], key=lambda use: use.end)


def timeline_of(events: Iterable[Event]) -> Timeline:
    """The timeline of a run, its family included, as `Journal.events(run, family=True)` gives it."""
    timeline = Timeline()
    first = last = stood = 0.0
    for event in settled(events):
        if not first:
            first = last = event.time
            timeline.began = event.began if isinstance(event, RunStarted) else first
        if isinstance(event, RunResumed):
            stood += max(event.time - last, 0.0)
        last = max(last, event.time)
        now = max(event.time - first - stood, 0.0)
        timeline.seconds = max(timeline.seconds, now)
        _take(timeline, event, now)
    return timeline


def covered(spans: Iterable[Span]) -> float:
    """How much time lies in at least one of the spans."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(spans):
        total += max(end - max(begin, reached), 0.0)
        reached = max(reached, end)
    return total


def _take(timeline: Timeline, event: Event, now: float) -> None:
    if isinstance(event, ModelReplied):
        use = ModelUse(event, max(now - event.seconds, 0.0), now)
        step = timeline.step(event.run, event.step)
        if step is None or event.purpose == "plan":
            timeline.plans.setdefault(event.run, []).append(use)
            return
        use.begin = max(use.begin, step.begin)
        step.models.append(use)
    if event.step <= 0:
        return
    steps = timeline.runs.setdefault(event.run, {})
    if isinstance(event, StepStarted) or event.step not in steps:
        steps[event.step] = StepTimes(now, now)
    step = steps[event.step]
    if isinstance(event, ActionProposed):
        step.action = now, now
    elif isinstance(event, ActionFinished):
        step.action = (step.action or (now, now))[0], now
        step.seconds_of_code = event.seconds
    elif isinstance(event, ToolCalled):
        step.tools[event.call] = ToolUse(event, now, now)
    elif isinstance(event, ToolReturned) and event.call in step.tools:
        step.tools[event.call].returned, step.tools[event.call].end = event, now
    step.end = max(step.end, now)
