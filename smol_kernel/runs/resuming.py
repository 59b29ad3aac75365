"""Goes on with recorded runs: makes the agent again from what is recorded, and lets it take the run up or fork it.

Called by `CodeAgent.resume` and `fork`, the command line and the magics.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from smol_kernel.agents.managed_agent import functions
from smol_kernel.errors import AgentBudgetError, ConfigError, JournalError, ReplayError
from smol_kernel.events import Event, HandedOff, Instructed, ModelReplied, StepFinished, StepStarted, settled
from smol_kernel.journal import Journal, open_journal
from smol_kernel.memory.budget import TO_ASK, Account, Budget, at_least_one, usable
from smol_kernel.memory.steps import TaskStep
from smol_kernel.models.fallback import as_model
from smol_kernel.runs.conversation import Conversation
from smol_kernel.runs.made_again import (
    changed_since,
    has_foreign_templates,
    inputs_of,
    made_again,
    media_of,
    require_inputs,
    require_tools,
    told_last,
    values_of,
)
from smol_kernel.runs.outside import called_for_others, of_others, outside, the_model_of_others
from smol_kernel.runs.recorded_actions import leave_rehearsal
from smol_kernel.runs.recording import asks_next, is_foreign, last_in_turn, limit_of, steps_counted, used
from smol_kernel.runs.replay import Replay
from smol_kernel.runs.source import Source

TEMPLATES = "The prompts of run {} are made of templates that came with it."
AS_THEN = "The input {!r} is as it was when the run began, not as it is now."
LEFT_OUT = "The limit on the {} holds no more: how much of it was used is unknown."


@dataclass
class Resumption:
    """A recorded run that is about to go on with `agent`; `run` or `events` does it, once."""

    agent: Any
    replay: Replay
    journal: Journal
    before: Conversation
    """The earlier runs of the same conversation."""
    options: dict[str, Any] = field(default_factory=dict)
    """What is passed to the agent's `run` or `events`."""
    is_fork: bool = False
    """A new run that is kept only if something new comes of it."""
    take_over: bool = False
    """Also from another machine, on which it is at work as far as is known."""

    def run(self, **options: Any) -> Any:
        """Go on to the end; gives what the agent's `run` gives. Raises as it does, and ReplayDiffersError."""
        with self._claimed():
            return self.agent.run(self.replay.started.task, **self.options, **options)

    def events(self) -> Generator[Event]:
        """The run as events: the recorded ones first."""
        with self._claimed():
            yield from self.agent.run_events(self.replay.started.task, **self.options)

    @contextmanager
    def _claimed(self) -> Generator[None]:
        run = self.replay.run
        self.journal.claim(run, take_over=self.take_over)
        try:
            self.replay.decide()
            self.replay.differences += self.before.play()
            yield
        finally:
            leave_rehearsal(getattr(self.agent, "python_executor", None))
            with suppress(JournalError):  # told already, where it matters
                self.journal.cut_off(run)
                if self.is_fork and not self.replay.went_on:
                    self.journal.delete([run])


def resume(kind: type[Any], run_id: str, **options: Any) -> Any:
    """Go on with a recorded run; see `RunnableAgent.resume`."""
    return _carried_out(prepare(kind, run_id, **options), options)


def fork(kind: type[Any], run_id: str, step: int | None = None, **options: Any) -> Any:
    """Go on from a step of a recorded run, as a new one; see `RunnableAgent.fork`."""
    return _carried_out(prepare_fork(kind, run_id, step, **options), options)


def _carried_out(resumption: Resumption, options: Mapping[str, Any]) -> Any:
    try:
        return resumption.run()
    finally:
        if options.get("executor") is None:
            resumption.agent.cleanup()


def prepare(
    kind: type[Any],
    run_id: str = "last",
    *,
    tools: Sequence[Any] = (),
    model: Any = None,
    journal: Journal | str | Path | None = None,
    additional_args: Mapping[str, Any] | None = None,
    images: list[Any] | None = None,
    audio: list[Any] | None = None,
    videos: list[Any] | None = None,
    max_steps: int | None = None,
    limits: Mapping[str, Any] | None = None,
    accept: bool = False,
    repeat: bool = False,
    take_over: bool = False,
    executor: Any = None,
    child_lives: bool = False,
    agent: Any = None,
    copied_from: str | None = None,
    found: Sequence[str] = (),
    inputs_found: bool = False,
    model_chosen: bool = True,
    **parameters: Any,
) -> Resumption:
    """The recorded run `run_id` (the beginning of its id, or "last"), ready to go on.

    Parameters: as of `RunnableAgent.resume`; `agent`, in place of a new one of class `kind`; `limits`, of
    a budget, by the names of `Budget`, each in place of the recorded one; `child_lives`, the
    `executor` still has the child of the run; `copied_from`, the run that errors name, of which this one is a copy that
    the user has not seen; `found`, names of those among the tools and agents that the user did not give: a front found
    them for the names that are recorded; `inputs_found`, whether it found the `additional_args` so as well: of one that
    has changed the recorded value is taken, where there is one; `model_chosen`, whether the user chose the model, and
    not only the record.
    Raises RunNotFoundError; ReplayError for a run that has ended with its answer, is another kind of agent's, or is one
    that another agent called; ConfigError for what does not fit.
    """
    book = _journal(journal)
    if max_steps is not None:
        at_least_one("max_steps", max_steps)
    summary = book.find(_read_id(run_id))
    if summary.parent is not None:
        raise ReplayError(f"run {summary.run} is one that another agent called: resume run {summary.parent}")
    events = book.events(summary.run, family=True)
    started = told_last(events)
    last = last_in_turn(events, summary.run)
    if summary.state == "success":
        raise ReplayError(f"run {summary.run} has ended with its answer; fork it to go on from one of its steps")
    own = [event for event in settled(events) if event.run == last]
    limit, taken = limit_of(own), steps_counted(own)  # fewer, where it was ended for going in circles
    if summary.state == "max_steps_error" and (max_steps or limit) <= taken:
        reached = f"reached its limit of {taken} steps" if taken >= limit else f"taken {taken} of {limit} steps"
        more = "give a higher one" if taken >= limit else f"give a limit above {taken}, or none"
        raise ReplayError(f"run {summary.run} has {reached}: {more}, max_steps= (--max-steps)")
    begun = max((event.step for event in settled(events) if event.run == summary.run), default=0)
    if max_steps is not None and max_steps < begun:
        raise ConfigError(f"max_steps is {max_steps}: run {summary.run} has begun {begun} steps: give that or more")
    seen = replace(started, run=copied_from or started.run)
    left_out: list[str] = []
    if limits:
        kept = started.settings.get("budget")
        recorded: dict[str, Any] = kept if isinstance(kept, dict) else {}
        left_out = _left_out(events, recorded, limits)
        budget = {**recorded, **limits, **dict.fromkeys(left_out)}
        seen = replace(seen, settings={**started.settings, "budget": budget})
    more = {**parameters, "journal": book}
    agent = agent or made_again(kind, seen, model, tools, {**more, "executor": executor}, accept)
    require_tools(seen, functions(agent))
    now = dict(additional_args or {})
    then = changed_since(started, now, in_child=agent.writes_code) if inputs_found else []
    variables, changed = inputs_of(agent, events, {name: value for name, value in now.items() if name not in then})
    media, others = media_of(started, TaskStep.media(images, audio, videos))
    asked = [] if child_lives else [*outside(agent, repeat)]
    if executor is None and is_foreign(started):
        asked += of_others(agent)
        if not model_chosen:
            asked.append(the_model_of_others(agent.model))
    if has_foreign_templates(started) and parameters.get("prompt_templates") is None:
        asked.append(TEMPLATES.format(seen.run))
    differences = [*changed, *others, *asked]
    replay = Replay(
        events,
        book,
        accept=accept,
        repeat=repeat,
        max_steps=max_steps,
        child_lives=child_lives,
        differences=differences,
        named=seen.run,
    )
    _require_budget(seen.run, usable(agent.budget), replay, summary.state == "budget")
    given = {"reset": started.continues is None, **media, "additional_args": variables, "resumed": replay}
    before = Conversation(book, started, agent, tools, more, now, child_lives, repeat, accept)
    require_inputs([seen, *before.beginnings], now)
    if inputs_found:  # those of earlier runs are as they are recorded anyway
        theirs = {name: value for name, value in now.items() if name not in started.inputs}
        then += [name for run in before.beginnings for name in changed_since(run, theirs, in_child=True)]
    replay.told += [AS_THEN.format(name) for name in dict.fromkeys(then)]
    replay.told += [LEFT_OUT.format(name.replace("_", " ")) for name in left_out]
    replay.differences += [TEMPLATES.format(run) for run in before.foreign_templates]
    replay.differences += called_for_others(started, before.beginnings, found)
    return Resumption(agent, replay, book, before, given, take_over=take_over)


def prepare_fork(
    kind: type[Any],
    run_id: str = "last",
    step: int | None = None,
    *,
    instruction: str | None = None,
    action: str | None = None,
    journal: Journal | str | Path | None = None,
    model: Any = None,
    max_steps: int | None = None,
    origin: Mapping[str, Any] | None = None,
    **options: Any,
) -> Resumption:
    """The recorded run `run_id` up to `step` as a new run in the journal, ready to go on.

    None is the last step: of a run that has its answer the one before that, unless an `action` takes its place.
    `origin` says where the fork is made, as in RunStarted; what it lacks is as the run has it. Raises ReplayError for a
    step that it has not or that gave the answer, ConfigError for an `action` that is no Python or comes with an
    `instruction`, and as `prepare`.
    """
    if instruction is not None and action is not None:
        raise ConfigError("give either an instruction or an action: the one comes after the step, the other in it")
    if action is not None and Source(action).body is None:
        raise ConfigError("action: it is no Python that can be read")
    book = _journal(journal)
    if max_steps is not None:
        at_least_one("max_steps", max_steps)
    summary = book.find(_read_id(run_id))
    events = book.events(summary.run, family=True)
    started = told_last(events)
    own = [event for event in settled(events) if event.run == summary.run and event.kind != "run_resumed"]
    last = max((event.step for event in own if isinstance(event, StepFinished)), default=0)
    handed_on = any(isinstance(event, HandedOff) for event in own)  # the one that took over gave the answer
    answering = last if summary.state == "success" and action is None and not handed_on else None
    step = last - (answering is not None) if step is None else step
    if not hasattr(step, "__index__"):
        raise ConfigError(f"step is {step!r}: give the number of a step")
    if not 0 <= step <= last:
        has = f"the steps 1 to {last}" if last else "no step that has ended"
        raise ReplayError(f"step {step}: run {summary.run} has {has}; 0 begins before the first")
    if step == answering:
        raise ReplayError(f"step {step} gave the answer: fork at step {step - 1}{' or earlier' if step > 1 else ''}")
    if action is not None and not step:
        raise ReplayError("action: give the step whose action it takes the place of")
    copied = _up_to(own, step, edited=action is not None)
    run = secrets.token_hex(4)
    asked = None if model is None else as_model(model)
    common = {"run": summary.run, "step": step - (action is not None), "time": time.time()}
    if max_steps is None:
        max_steps = max(limit_of(event for event in events if event.run == summary.run), step + 1)
    elif max_steps < step:
        raise ConfigError(f"max_steps is {max_steps}: the fork keeps {step} steps: give that or more")
    forked = replace(
        started,
        values=values_of(events),
        run=run,
        forked=common,
        max_steps=max_steps,
        origin={**started.origin, **(origin or {})},
        **(asked.as_recorded() if asked else {}),
    )
    new: list[Event] = [forked, *(replace(event, run=run) for event in copied[1:])]
    if action is not None:
        reply = next(event for event in reversed(new) if isinstance(event, ModelReplied))
        new[new.index(reply)] = replace(reply, content=_edited(reply.content, own, step, action))
    if instruction is not None:
        # Its clock stands still until the run goes on: the time since the other run is not its own.
        new.append(Instructed(run=run, step=step, time=new[-1].time, text=instruction))
    book.append_all(new)
    book.cut_off(run)
    try:
        ready = prepare(kind, run, journal=book, model=model, copied_from=summary.run, **options)
        return replace(ready, is_fork=True)
    except BaseException:
        book.delete([run])
        raise


def _require_budget(run: str, budget: Budget | None, replay: Replay, ended: bool) -> None:
    """Raises ReplayError where what is recorded has used up the budget, so that nothing would come of going on; with
    `ended` the run was asked for its best answer already."""
    turns = [replay]
    while after := turns[-1].part(None):  # the task was handed on
        turns.append(after)
    last, events = turns[-1].run, [event for each in turns for event in each.counted]
    own = [place for place, event in enumerate(events) if event.run == last]
    begun = max((place for place in own if isinstance(events[place], StepStarted)), default=0)
    every = tuple(asdict(Budget()))
    _require(run, Account(budget, spent=replay.seconds), events[:begun], every)  # else the last step is not played
    if ended or asks_next([events[place] for place in own]):
        _require(run, Account(budget, spent=replay.seconds), events, every if ended else TO_ASK)


def _require(run: str, account: Account, events: Sequence[Event], names: Sequence[str]) -> None:
    """Raises ReplayError where these events have used up one of the limits `names`."""
    for event in events:
        account.count(**used(event))
    for name in names:
        try:
            account.check((name,))
        except AgentBudgetError as error:
            why = error.message
            option = f" (--max-{name.replace('_', '-')})" * (name != "steps")
            more = f"Give a higher limit: budget=Budget({name}=…){option}"
            if account.used[name] is None:
                known = [f"{each}=…" for each in TO_ASK if account.used[each] is not None]
                options = ", ".join(f"--max-{each[:-2].replace('_', '-')}" for each in known)
                why = f"How much it has used of its limit on the {name.replace('_', ' ')} is unknown."
                more = f"Give another limit instead: budget=Budget({known[0]}) ({options})"
            raise ReplayError(f"run {run} cannot go on. {why} {more}") from None


def _left_out(events: Sequence[Event], recorded: Mapping[str, Any], limits: Mapping[str, Any]) -> list[str]:
    """Names of the recorded limits of which nobody knows how much was used, where `limits` has one that can hold."""
    amounts = [amount for event in settled(events) for amount in used(event).items()]
    unknown = dict.fromkeys(name for name, amount in amounts if amount is None)
    if not any(limits.get(name) for name in TO_ASK if name not in unknown):
        return []
    return [name for name in unknown if recorded.get(name) is not None and name not in limits]


def _up_to(own: list[Event], step: int, *, edited: bool) -> list[Event]:
    """The events up to the end of the step; with `edited` up to its reply."""
    if not edited:
        ends = [place for place, event in enumerate(own) if isinstance(event, StepFinished) and event.step <= step]
        return own[: ends[-1] + 1] if ends else own[:1]
    for place, event in enumerate(own):
        if isinstance(event, ModelReplied) and event.step == step and event.purpose == "action":
            return own[: place + 1]
    raise ReplayError(f"step {step} has no reply of a model whose action could be edited")


def _edited(reply: str, own: list[Event], step: int, action: str) -> str:
    """The reply with another action in it."""
    code = next((event.code for event in own if event.kind == "action_proposed" and event.step == step), "")  # pyright: ignore[reportAttributeAccessIssue]
    if not code.strip() or reply.count(code.strip("\n")) != 1:
        raise ReplayError(f"the action of step {step} cannot be found in the model's reply, so it cannot be edited")
    return reply.replace(code.strip("\n"), action.strip("\n"))


def _read_id(run_id: Any) -> str:
    if not isinstance(run_id, str):
        raise ConfigError(f"the run is {run_id!r}: give its id, the beginning of it, or 'last'")
    return run_id


def _journal(journal: Journal | str | Path | None) -> Journal:
    found = open_journal(journal)
    if found is None:
        raise ConfigError("journal is False: a run can only go on from a journal")
    return found
