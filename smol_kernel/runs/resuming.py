"""Goes on with recorded runs: makes the agent again from what is recorded, and lets it take the run up or fork it.

Called by `CodeAgent.resume` and `fork`, the command line and the magics.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from smol_kernel.errors import ConfigError, JournalError, ReplayError, RunNotFoundError, SmolError
from smol_kernel.events import Event, InputsDigested, Instructed, ModelReplied, RunStarted, StepFinished, settled
from smol_kernel.executors.kept_values import digest_of, digest_of_medium, recorded_medium, recorded_value
from smol_kernel.executors.launchers.settings import Limits
from smol_kernel.executors.launchers.view import not_rehearsed
from smol_kernel.executors.values import MalformedValue
from smol_kernel.journal import Journal, open_journal
from smol_kernel.memory.budget import Budget
from smol_kernel.memory.steps import TaskStep
from smol_kernel.runs.recorded_actions import leave_rehearsal
from smol_kernel.runs.recording import limit_of
from smol_kernel.runs.replay import Replay, require_tools
from smol_kernel.runs.source import Source

OUTSIDE = "Running its actions again can change what is outside of its box a second time: {}."
SEEN = "Its actions {}."
"""What a record alone does not decide: it may have come from somebody else, by `smol import`."""


@dataclass
class Resumption:
    """A recorded run that is about to go on with `agent`; `run` or `events` does it, once."""

    agent: Any
    replay: Replay
    journal: Journal
    options: dict[str, Any] = field(default_factory=dict)
    """What is passed to the agent's `run` or `events`."""
    before: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Earlier runs of the same conversation, oldest first: their tasks, and what is passed with them."""
    is_fork: bool = False
    """A new run that is kept only if something new comes of it."""

    def run(self, **options: Any) -> Any:
        """Go on to the end; gives what the agent's `run` gives. Raises as it does, and ReplayDiffersError."""
        with self._claimed():
            return self.agent.run(self.replay.started.task, **self.options, **options)

    def events(self) -> Generator[Event]:
        """The run as events: the recorded ones first."""
        with self._claimed():
            yield from self.agent.events(self.replay.started.task, **self.options)

    @contextmanager
    def _claimed(self) -> Generator[None]:
        run = self.replay.run
        self.journal.claim(run)
        try:
            self.replay.decide()
            for task, options in self.before:
                for _ in self.agent.events(task, **options):
                    pass
                earlier = options["resumed"]
                self.replay.differences += [f"Of the earlier run {earlier.run}: {each}" for each in earlier.differences]
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
    accept: bool = False,
    repeat: bool = False,
    executor: Any = None,
    child_lives: bool = False,
    agent: Any = None,
    copied_from: str | None = None,
    **parameters: Any,
) -> Resumption:
    """The recorded run `run_id` (the beginning of its id, or "last"), ready to go on.

    Parameters: as of `RunnableAgent.resume`; `agent`, in place of a new one of class `kind`; `child_lives`, the
    `executor` still has the child of the run; `copied_from`, the run that errors name, of which this one is a copy that
    the user has not seen. Raises RunNotFoundError; ReplayError for a run that has ended with its
    answer, is another kind of agent's, or is one that another agent called; ConfigError for what does not fit.
    """
    book = _journal(journal)
    summary = book.find(run_id)
    if summary.parent is not None:
        raise ReplayError(f"run {summary.run} is one that another agent called: resume run {summary.parent}")
    events = book.events(summary.run, family=True)
    started = _beginning(events)
    if summary.state == "success":
        raise ReplayError(f"run {summary.run} has ended with its answer; fork it to go on from one of its steps")
    reached = limit_of(event for event in events if event.run == summary.run)
    if summary.state == "max_steps_error" and (max_steps or 0) <= reached:
        raise ReplayError(
            f"run {summary.run} has reached its limit of {reached} steps: give a higher one, max_steps= (--max-steps)"
        )
    seen = replace(started, run=copied_from or started.run)
    agent = agent or _made(kind, seen, model, tools, {**parameters, "journal": book, "executor": executor})
    require_tools(seen, agent.functions)
    variables, changed = _inputs(events, additional_args or {})
    media, others = _media(started, TaskStep.media(images, audio, videos))
    asked = [] if child_lives else [*_outside(agent, repeat)]
    if executor is None and started.origin.get("imported"):
        asked += _of_others(agent)
    differences = [*changed, *others, *asked]
    replay = Replay(
        events,
        book,
        accept=accept,
        repeat=repeat,
        max_steps=max_steps,
        child_lives=child_lives,
        differences=differences,
    )
    given = {"reset": started.continues is None, **media, "additional_args": variables, "resumed": replay}
    before = [] if child_lives else _conversation(book, started, additional_args or {})
    return Resumption(agent, replay, book, given, before)


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
    **options: Any,
) -> Resumption:
    """The recorded run `run_id` up to `step` as a new run in the journal, ready to go on.

    None is the last step: of a run that has its answer the one before that, unless an `action` takes its place. Raises
    ReplayError for a step that it has not or that gave the answer, and as `prepare`.
    """
    book = _journal(journal)
    summary = book.find(run_id)
    events = book.events(summary.run, family=True)
    started = _beginning(events)
    own = [event for event in settled(events) if event.run == summary.run and event.kind != "run_resumed"]
    last = max((event.step for event in own if isinstance(event, StepFinished)), default=0)
    answering = last if summary.state == "success" and action is None else None
    step = last - (answering is not None) if step is None else step
    if not 0 <= step <= last:
        has = f"the steps 1 to {last}" if last else "no steps"
        raise ReplayError(f"step {step}: run {summary.run} has {has}; 0 begins before the first")
    if step == answering:
        raise ReplayError(f"step {step} gave the answer: fork at step {step - 1}{' or earlier' if step > 1 else ''}")
    if action is not None and not step:
        raise ReplayError("action: give the step whose action it takes the place of")
    copied = _up_to(own, step, edited=action is not None)
    run = secrets.token_hex(4)
    model_id = getattr(model, "model_id", None) or started.model
    common = {"run": summary.run, "step": step - (action is not None)}
    if max_steps is None:
        max_steps = max(limit_of(event for event in events if event.run == summary.run), step + 1)
    elif max_steps < 1:
        raise ReplayError(f"max_steps: {max_steps}; a run takes one step or more")
    beginning = replace(
        started,
        values=_values(events),
        run=run,
        forked=common,
        model=model_id,
        scripted=getattr(model, "scripted", False),
        max_steps=max_steps,
    )
    new: list[Event] = [beginning, *(replace(event, run=run) for event in copied[1:])]
    if action is not None:
        reply = next(event for event in reversed(new) if isinstance(event, ModelReplied))
        new[new.index(reply)] = replace(reply, content=_edited(reply.content, own, step, action))
    if instruction is not None:
        if action is not None:
            raise ReplayError("give either an instruction or an action: the one comes after the step, the other in it")
        new.append(Instructed(run=run, step=step, text=instruction))
    book.append_all(new)
    book.cut_off(run)
    try:
        ready = prepare(kind, run, journal=book, model=model, copied_from=summary.run, **options)
        return replace(ready, is_fork=True)
    except BaseException:
        book.delete([run])
        raise


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
    if Source(action).body is None:
        raise ReplayError("action: it is no Python that can be read")
    return reply.replace(code.strip("\n"), action.strip("\n"))


def _journal(journal: Journal | str | Path | None) -> Journal:
    found = open_journal(journal)
    if found is None:
        raise ConfigError("journal is False: a run can only go on from a journal")
    return found


def _beginning(events: Sequence[Event]) -> RunStarted:
    if isinstance(events[0], RunStarted):
        return events[0]
    raise ReplayError(f"run {events[0].run} cannot be taken up: its recording does not begin with its start")


def _made(kind: type[Any], started: RunStarted, model: Any, tools: Sequence[Any], given: Mapping[str, Any]) -> Any:
    """The agent of a recorded run."""
    if model is None:
        raise ConfigError(f"model= is missing: the run had {started.model!r}; a model is never kept, for it holds keys")
    if started.agent != kind.__name__:
        raise ReplayError(
            f"run {started.run} is of a {started.agent}, not of a {kind.__name__}: use {started.agent}.resume"
        )
    settings = dict(started.settings)
    if "given_templates" in settings:
        settings["prompt_templates"] = settings.pop("given_templates")
    chosen = {name: value for name, value in given.items() if value is not None}
    try:
        if isinstance(settings.get("budget"), dict):
            settings["budget"] = Budget(**settings["budget"])
        return kind(tools=tools, model=model, **{"max_steps": started.max_steps, **settings, **chosen})
    except SmolError:
        raise
    except (TypeError, ValueError) as error:  # of a record that somebody else wrote
        raise ReplayError(f"the run was made with settings that do not fit: {error}") from error


def _values(own: Sequence[Event]) -> dict[str, dict[str, Any]]:
    """What is recorded of the variables that a run was given, with the digests that came later."""
    started = _beginning(own)
    values = {name: dict(kept) for name, kept in started.values.items()}
    for event in own:
        if isinstance(event, InputsDigested) and event.run == started.run:
            for name, digest in event.digests.items():
                values.setdefault(name, {})["digest"] = digest
    return values


def _inputs(own: Sequence[Event], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The variables that a run was given, and what is to be said of them. Raises ConfigError for missing ones."""
    started, values = _beginning(own), _values(own)
    variables: dict[str, Any] = {}
    said: list[str] = []
    for name in started.inputs:
        kept = values.get(name, {})
        if name in given:
            variables[name] = given[name]
            if not kept.get("digest"):
                said.append(f"Whether the input {name!r} is what it was nobody can tell: it has no recorded digest.")
            elif digest_of(given[name]) != kept["digest"]:
                said.append(f"The input {name!r} is not what it was when the run began.")
        elif "value" in kept:
            variables[name] = recorded_value(kept["value"])
        else:
            raise ConfigError(
                f"the run was given {name!r} ({started.inputs[name]}), which is not recorded whole: pass it again, "
                f"additional_args={{{name!r}: …}}"
            )
    return variables, said


def _media(started: RunStarted, given: Mapping[str, list[Any] | None]) -> tuple[dict[str, list[Any] | None], list[str]]:
    """The images, sounds and videos that the model was shown with the task, and what is to be said of them. Raises
    ConfigError for missing ones."""
    shown: dict[str, list[Any] | None] = dict(given)
    said: list[str] = []
    for kind, recorded in started.media.items():
        again = given.get(kind)
        if again is None:
            try:
                shown[kind] = [recorded_medium(each["value"]) for each in recorded]
            except (KeyError, MalformedValue):
                raise ConfigError(
                    f"the run was given {kind} that are not recorded whole: pass them again, {kind}=[…]"
                ) from None
        elif [digest_of_medium(each) for each in again] != [each.get("digest", "") for each in recorded]:
            said.append(f"The {kind} given with the task are not those of the beginning.")
    return shown, said


def _outside(agent: Any, repeat: bool) -> Iterator[str]:
    """What the actions of the agent reach besides their working folder, when they are run again; `repeat`, also what
    they reach only with leave to do things twice."""
    executor = getattr(agent, "python_executor", None)
    if executor is None:
        return
    settings = getattr(executor, "settings", None)
    if python := getattr(executor, "python", None):
        yield SEEN.format(f"run in the interpreter {python}")
    if settings is None:
        yield OUTSIDE.format("there is no box")
        return
    if seen := [mount.path for mount in settings.mounts]:
        yield SEEN.format(f"see {', '.join(seen)} besides the working folder")
    if writable := not_rehearsed(executor.python, executor.cwd, settings):
        yield OUTSIDE.format(f"they may write to {', '.join(writable)}")
    if settings.network == "full":
        yield OUTSIDE.format("they have the network")
    elif repeat and settings.allow_hosts:
        yield OUTSIDE.format(f"they have a network ({settings.words})")


def _of_others(agent: Any) -> Iterator[str]:
    """What the actions of the agent reach because the record of somebody else says so."""
    executor = getattr(agent, "python_executor", None)
    settings = getattr(executor, "settings", None)
    if executor is not None and (folder := os.path.realpath(executor.cwd or ".")) != os.path.realpath("."):
        yield SEEN.format(f"work in the folder {folder}")
    if settings is not None and settings.allow_hosts:
        yield SEEN.format(f"have a network ({settings.words})")
    usual = asdict(Limits())
    given = asdict(settings.limits) if settings is not None else usual
    if other := [f"{name}={value}" for name, value in given.items() if value != usual[name]]:
        yield SEEN.format(f"have limits of their own ({', '.join(other)})")


def _conversation(journal: Journal, started: RunStarted, given: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The runs that this one goes on from, oldest first, to be played before."""
    found: list[tuple[str, dict[str, Any]]] = []
    seen = {started.run}
    while started.continues is not None:
        if started.continues in seen:
            raise ReplayError("the run goes on from itself: its record is damaged")
        seen.add(started.continues)
        try:
            events = journal.events(started.continues, family=True)
        except RunNotFoundError:
            raise ReplayError(
                f"the run goes on from run {started.continues}, which is not in the journal: import that one first"
            ) from None
        started = _beginning(events)
        variables, changed = _inputs(events, given)
        replay = Replay(events, journal, whole=True, accept=True, differences=changed)
        options = {**_media(started, {})[0], "additional_args": variables, "resumed": replay}
        found.insert(0, (started.task, {"reset": started.continues is None, **options}))
    return found
