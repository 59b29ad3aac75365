"""`Replay`: takes up a recorded run where it was cut off, by letting the agent's own loop run again.

As long as there are recorded events the model's replies and the actions' results come from them (`recorded_model`,
`recorded_actions`), so that what the loop knows is byte for byte what it knew; then it goes on by itself. The recorded
actions themselves are run again in a fresh child, for the sake of its namespace, their tool calls answered from the
recording. `resuming`, the caller, makes the agent.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from smol_kernel.agents.checks import Repetition
from smol_kernel.errors import ReplayDiffersError, ReplayError
from smol_kernel.events import (
    ActionProposed,
    Checked,
    Event,
    InputsDigested,
    Instructed,
    ModelFellBack,
    Notice,
    Output,
    RunFinished,
    RunResumed,
    RunStarted,
    StepFinished,
    StepStarted,
    ToolCalled,
    ToolReturned,
    settled,
)
from smol_kernel.journal import Journal, open_journal, record
from smol_kernel.memory.plain_settings import plain_settings
from smol_kernel.memory.steps import TaskStep
from smol_kernel.render.plain import plain_line
from smol_kernel.runs.made_again import require_tools
from smol_kernel.runs.outside import UNFINISHED, outside
from smol_kernel.runs.recorded_actions import RecordedActions, leave_rehearsal
from smol_kernel.runs.recorded_callbacks import RecordedCallbacks
from smol_kernel.runs.recorded_end import RecordedEnd
from smol_kernel.runs.recorded_model import RecordedModel
from smol_kernel.runs.recording import (
    actions_of,
    called_runs,
    family_of,
    is_foreign,
    limit_of,
    open_step,
    resting_place,
    used,
    weakest,
    worked,
)

BESIDE = (Notice, ModelFellBack, RunResumed, Instructed, InputsDigested)
"""Events that the loop does not make again: they are passed on in their places."""


class Replay:
    """A recorded run that goes on.

    Parameters: `events` of the run and the agents it called, as `Journal.events(run, family=True)` gives them; the
    `journal` they come from, to which the new ones go; `accept`, go on although something is not the same when it is
    run again; `repeat`, make a call again of which it is not known whether it was made; `whole`, play the run to its
    recorded end only, whatever that was, without a limit on time; `child_lives`, the executor still has the child in
    which the recorded actions ran; `max_steps`, in place of the recorded limit; `differences` that are known already;
    `caller`, the one that this is a part of; `named`, the run that errors name (None: this one). Raises ReplayError for
    events that are not those of a run.
    """

    def __init__(
        self,
        events: Iterable[Event],
        journal: Journal,
        *,
        accept: bool = False,
        repeat: bool = False,
        whole: bool = False,
        child_lives: bool = False,
        max_steps: int | None = None,
        differences: Iterable[str] = (),
        caller: Replay | None = None,
        named: str | None = None,
    ) -> None:
        every = list(events)
        if not every or not isinstance(every[0], RunStarted):
            raise ReplayError("the recording does not begin with the start of a run: it is damaged")
        self.started, self.run = every[0], every[0].run
        self._named = named or self.run
        self.accept, self.repeat, self.child_lives = accept, repeat, child_lives
        self.differences = list(differences)
        self.told: list[str] = []
        """Lines for the account that nobody has to accept."""
        self.refusal: ReplayDiffersError | None = None
        self._journal, self._caller, self._max_steps = journal, caller, max_steps
        self._family = every
        own = [event for event in every if event.run == self.run]
        again = [each.isolation for each in own if isinstance(each, RunResumed) and each.isolation]
        held = weakest(self.started.isolation, *again)
        limit = limit_of(own)  # that of one that took over is not lowered: it may have begun more
        limit = max(max_steps or 0, limit) if caller else max_steps or limit
        self.started = replace(self.started, max_steps=limit, isolation=held)
        self.seconds = -math.inf if whole else worked(own)
        counting = settled(every)
        kept = [event for event in counting if event.run == self.run and not isinstance(event, RunResumed)]
        kept = kept if whole else kept[: resting_place(kept, child_lives)]
        self._kept = len(kept)
        self._sequence = counting[: _place(counting, kept[-1]) + 1]
        """What is played, events of agents that were called included."""
        self._called = called_runs(every, self.run)
        self.counted = [event for event in self._sequence if event.run == self.run or event.run in self._called]
        """What is played, less what is of runs that took over from this one."""
        self._at = 0
        self.replies = [event for event in kept if isinstance(event, RecordedModel.PLAYED)]
        self._end = RecordedEnd(self._sequence, self.replies, BESIDE) if whole else None
        self.actions = actions_of(kept)
        if not whole and is_foreign(self.started) and (step := open_step(kept)):
            self.differences.append(UNFINISHED.format(step))
        last = kept[-1]
        self.cut_step = last.step if isinstance(last, ActionProposed) else 0
        """Number of the step whose action was cut off, and is run again; 0: there is none."""
        self.calls = [event for event in own if isinstance(event, ToolCalled | ToolReturned)]
        """All that were ever made, those that do not count any more included: they had their effects."""
        self.went_on = False
        """Whether something new was recorded."""
        reached = any(isinstance(event, RunFinished) and event.state == "max_steps_error" for event in own)
        self._begins_anew = not whole and self.started.call is None and (reached or bool(self.started.forked))
        self._parts: dict[str | None, str] = {}
        self._hands: RecordedActions | None = None

    @property
    def played(self) -> bool:
        """Whether all recorded events have been passed on."""
        return self._at >= len(self._sequence)

    @property
    def whole(self) -> bool:
        """Whether it is played to its recorded end only."""
        return self._end is not None

    # what the loop asks for

    def begin(self, started: RunStarted) -> RunStarted:
        """The recorded beginning, given the one that the agent would make; of how the two are boxed it tells what holds
        less. Raises ReplayError if a tool is missing."""
        if not (self._end and self.child_lives):  # else none is called
            require_tools(self.started, started.tools)
        self.started = replace(self.started, isolation=weakest(self.started.isolation, started.isolation))
        return self.started

    def go_on(self, agent: Any, run: Generator[Event]) -> Generator[Event]:
        """Pass on the events of `run`, the loop of `agent`: as they were recorded, then new ones, recorded before.

        Raises ReplayDiffersError before anything new is done, if what was run again is not the same.
        """
        shared = isinstance(getattr(agent, "python_executor", None), RecordedActions)  # with the one it took over from
        if self._caller is not None and not (self._end or self.child_lives or shared):
            self.differences += outside(agent, self.repeat)
        with self._installed(agent):
            try:
                self.decide()
                first = yield from self._play(agent, run)
                if first is not None:
                    yield from record(self._live(agent, first, run), self._journal, self.run)
            except Exception:
                if self.refusal is not None:
                    raise self.refusal from None
                if not (self._end and self.played):  # else it ended by that then as well
                    raise
            finally:
                run.close()

    def part(self, call: str | None) -> Replay | None:
        """The recorded run of an agent that was called, to be taken up by `call`; None if there is none."""
        run = self._parts.get(call)
        if call is None and run is None:
            begun = [event for event in self._family if isinstance(event, RunStarted) and event.parent == self.run]
            run = next((event.run for event in reversed(begun) if event.call is None), None)
        if run is None:
            return None
        events = family_of(self._family, run)
        given: dict[str, Any] = {"accept": self.accept, "repeat": self.repeat}
        given["child_lives"] = self.child_lives and self._end is not None
        given["max_steps"] = self._max_steps if call is None else None
        return Replay(events, self._journal, **given, whole=self.whole, caller=self)

    # what the parts of the replay ask for

    def gate(self) -> None:
        """Called before anything new is done. Raises ReplayDiffersError if the user has to decide first."""
        if self._hands is not None and not self._end:
            self._hands.settle()
        self.decide()

    def _may_ask(self, agent: Any) -> bool:
        """Called before the model of `agent` is asked for what is not recorded; whether it is to be."""
        if not self._end:
            self.gate()
        return not self._end or self._end.may_ask(agent)

    def decide(self) -> None:
        """Raises ReplayDiffersError if something differs, and the user has not accepted that."""
        if self.refusal is not None:  # of an agent that was called
            raise self.refusal
        self.differences[:] = map(plain_line, self.differences)  # names in them are those of a record
        if self.differences and not self.accept:
            told = "\n".join(f"- {each}" for each in self.differences)
            self.refusal = ReplayDiffersError(
                f"run {self._named} was not taken up, for it does not replay the same:\n{told}\n"
                "Nothing new was done. accept=True (--accept) goes on all the same",
                list(self.differences),
            )
            if self._caller is not None:
                self._caller.refusal = self.refusal
            raise self.refusal

    def is_recorded_here(self, agent: Any) -> bool:
        """Whether the runs of an agent that is called go to the journal of this one."""
        own = self._journal if agent.journal is None else open_journal(agent.journal)
        return own is not None and own.path == self._journal.path

    def take_up(self, opened: ToolCalled, call: str) -> bool:
        """Note that `call` takes up what `opened` had begun, if that was an agent's run; whether it was."""
        for event in self._family:
            if isinstance(event, RunStarted) and event.parent == self.run and event.call == opened.call:
                self._parts[call] = event.run
                return True
        return False

    def next_checks(self, expressions: Sequence[str]) -> list[Event] | None:
        """What is recorded of these checks of an answer; None if that is not all."""
        found: list[Event] = []
        for event in self._sequence[self._at :]:
            if not isinstance(event, Output | Checked):
                return None
            found.append(event)
            if sum(isinstance(each, Checked) for each in found) == len(expressions):
                return found
        return None

    def charge(self, agent: Any, call: str) -> None:
        """Count for `agent` what an agent used by a `call` that is not made again."""
        calls = {call}
        if call not in self._called.values():  # one that took up what another one had begun
            returned = {event.call for event in self.calls if isinstance(event, ToolReturned)}
            made = [event for event in self.calls if isinstance(event, ToolCalled)]
            same = next(((each.tool, each.args, each.kwargs) for each in made if each.call == call), None)
            begun = [each for each in made if each.call not in returned]
            calls |= {each.call for each in begun if (each.tool, each.args, each.kwargs) == same}
        for event in settled(self._family):
            if self._called.get(event.run) in calls:
                agent.life.account.count(**used(event))

    def to_come(self) -> Iterator[Event]:
        """The recorded events of this run that have not been passed on yet."""
        return (event for event in itertools.islice(self._sequence, self._at, None) if event.run == self.run)

    # playing

    def _play(self, agent: Any, run: Generator[Event]) -> Generator[Event, None, Event | None]:
        """Pass on the recorded events while the loop makes them anew; gives the first that is new."""
        for event in run:
            if event.run != self.run:
                if self.played:  # an agent that was called plays its own recording
                    yield event
                continue
            if self.refusal is not None or not event.durable:
                continue  # of an end that is none; or for those who watch
            if not self.played and (agent.life.stop.is_set() or isinstance(event, RunFinished)) and not self._end:
                if isinstance(event, RunFinished):  # stopped, or failed, before all was played: the recording stays
                    yield event
                continue
            yield from self._beside(agent, type(event))
            if self.played:
                if isinstance(event, BESIDE):
                    continue
                if self._end:
                    return None
                self.gate()
                return event
            recorded = self._sequence[self._at]
            if type(recorded) is type(event):
                self._at += 1
                self._hand_over(agent, recorded)
                yield self.started if isinstance(recorded, RunStarted) else recorded
                if isinstance(recorded, RunStarted | StepFinished):  # the next request is to tell what was instructed
                    yield from self._beside(agent, StepStarted)
                    self._forgive(agent)
                if self._end and self._end.closes(recorded, self._at):
                    yield from self._rest(agent)
                    return None
            elif self._end and self._end.is_next(self._at):
                yield from self._rest(agent)
                return None
            elif self._end and isinstance(event, RunFinished):
                continue  # stopped, or failed: that is raised
            elif not isinstance(event, BESIDE):
                raise ReplayError(
                    f"run {self._named} cannot be taken up: in step {recorded.step} the recording goes on with "
                    f"{recorded.kind!r}, and this version with {event.kind!r}. A fork from the step before begins anew "
                    "from there"
                )
        return None

    def _beside(self, agent: Any, wanted: type[Event]) -> Iterator[Event]:
        while not self.played:
            event = self._sequence[self._at]
            if event.run == self.run and (type(event) is wanted or not isinstance(event, BESIDE)):
                return
            self._at += 1
            if event.run in self._called:
                agent.life.account.count(**used(event))
            if isinstance(event, Instructed):
                agent.memory.steps.append(TaskStep(event.text))
            yield event

    def _forgive(self, agent: Any) -> None:
        """An agent that was ended here for going in circles goes on if it did so then, or somebody wants it to now."""
        if agent.life.repetition.hopeless:
            went_on = any(isinstance(event, StepStarted) for event in self.to_come())
            if went_on or (self.played and self._begins_anew):
                agent.life.repetition = Repetition()

    def _rest(self, agent: Any) -> list[Event]:
        """What is left of the recording: the end of a run, to which its loop does not come."""
        rest = self._sequence[self._at :]
        self._at += len(rest)
        if self._end:
            self._end.remember(agent)
        return rest

    def _hand_over(self, agent: Any, event: Event) -> None:
        """A recorded hand-off is to be one again, though its tool is not called; and an end, though no clock runs."""
        if self._end and isinstance(event, RunFinished):
            self._end.remember(agent)
        if isinstance(event, ToolReturned) and event.ok and event.tool.startswith("transfer_to_"):
            other = agent.handoffs.get(event.tool.removeprefix("transfer_to_"))
            if other is not None:
                made = next(each for each in self.calls if isinstance(each, ToolCalled) and each.call == event.call)
                agent.life.successor = (other, str(made.kwargs.get("reason", next(iter(made.args), ""))))

    def _live(self, agent: Any, first: Event, run: Generator[Event]) -> Generator[Event]:
        kept = self._kept
        yield RunResumed(
            run=self.run,
            step=first.step,
            kept=kept,
            differences=[*self.differences, *self.told, *self._unknown()],
            max_steps=self.started.max_steps,
            budget=plain_settings({"budget": agent.budget}).get("budget", {}),
            isolation=self.started.isolation,
            **agent.model.as_recorded(),
        )
        self.went_on = True
        yield first
        yield from run

    def _unknown(self) -> Iterator[str]:
        """What is not known of the calls that were under way."""
        returned = {event.call for event in self.calls if isinstance(event, ToolReturned)}
        for event in self.calls:
            if not isinstance(event, ToolCalled) or event.replays or event.call in returned:
                continue
            if event.call not in self._called.values() and not (self._hands and self._hands.may_repeat(event.tool)):
                what = "made again" if self.repeat else "not repeated"
                yield f"It is not known whether {event.summary} had its effect: {what}."

    @contextmanager
    def _installed(self, agent: Any) -> Generator[None]:
        """The agent has what plays the recording in place of its own model, callbacks and executor."""
        hands = "python_executor" if agent.writes_code else "_hands"
        held = {name: getattr(agent, name) for name in ("model", "step_callbacks", hands)}
        agent.model = RecordedModel(held["model"], self.replies, partial(self._may_ask, agent))
        agent.step_callbacks = RecordedCallbacks(held["step_callbacks"], self)
        self._hands = RecordedActions(held[hands], self, agent)
        setattr(agent, hands, self._hands)
        try:
            yield
        finally:
            for name, value in held.items():
                setattr(agent, name, value)
            if not self._end:
                leave_rehearsal(held[hands])


def _place(events: list[Event], event: Event) -> int:
    return next(place for place, each in enumerate(events) if each is event)
