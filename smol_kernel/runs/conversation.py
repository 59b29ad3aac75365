"""`Conversation`: the earlier runs of one that is to go on, each played by an agent such as it had, to the end it had.

They share the child of the agent that goes on, which is left with what all of them put there, and get the memory of the
one before; the model of none is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from smol_kernel.agents.code_agent import CodeAgent
from smol_kernel.agents.tool_calling_agent import ToolCallingAgent
from smol_kernel.errors import AgentError, AgentExecutionError, ConfigError, ReplayError
from smol_kernel.events import Checked, Event, FinalAnswer, RunStarted, StepFinished
from smol_kernel.journal import Journal
from smol_kernel.runs.earlier import earlier_runs
from smol_kernel.runs.made_again import (
    beginning,
    has_foreign_templates,
    inputs_of,
    made_again,
    media_of,
    parameters,
    told_last,
    values_of,
)
from smol_kernel.runs.replay import Replay
from smol_kernel.tools.answer_type import AnswerType

REFUSED = "The answer has to be"
"""Begins an error that tells that an answer was not of its type, see `AnswerType`."""


class Conversation:
    """The runs from which `started`, a run in `journal`, goes on.

    Parameters: `agent`, the one that goes on; `tools`, and what else it was `given`; `inputs`, variables that are not
    recorded whole; `child_lives`, nothing has to be run again; `repeat`, actions may ask their hosts anew; `accept`,
    the user has accepted what differs. Raises ReplayError if one of the runs is not there.
    """

    def __init__(
        self,
        journal: Journal,
        started: RunStarted,
        agent: Any,
        tools: Sequence[Any],
        given: Mapping[str, Any],
        inputs: Mapping[str, Any],
        child_lives: bool,
        repeat: bool,
        accept: bool,
    ) -> None:
        self._journal, self._agent, self._tools, self._given = journal, agent, tools, given
        self._child_lives = child_lives or not agent.writes_code
        self._runs: list[tuple[Any, RunStarted, dict[str, Any]]] = []
        self._repeat, self._accept = repeat, accept
        self.foreign_templates: list[str] = []
        """The runs among them whose prompts are made of templates of somebody else."""
        for events in earlier_runs(journal, started):
            self._runs.insert(0, self._run(told_last(events), events, inputs))

    def _run(
        self, started: RunStarted, events: Sequence[Event], inputs: Mapping[str, Any]
    ) -> tuple[Any, RunStarted, dict[str, Any]]:
        """The agent that plays a run, and what is passed to it; where the child lives, that has what it was given."""
        agent = self._made(started, events)
        self.foreign_templates += [started.run] * has_foreign_templates(started)
        lives = agent.writes_code and self._child_lives
        recorded = values_of(events)
        missing = {name: value for name, value in inputs.items() if "value" not in recorded.get(name, {})}
        variables, changed = ({}, []) if lives else inputs_of(agent, events, missing)
        try:
            media = media_of(started, {})[0]
        except ConfigError:
            if not lives:
                raise
            media, changed = {}, ["its images, sounds or videos are not recorded whole, and not shown again."]
        replay = Replay(
            events,
            self._journal,
            whole=True,
            accept=True,
            repeat=self._repeat,
            child_lives=lives,
            differences=changed,
        )
        return agent, started, {
            **media, "reset": started.continues is None, "additional_args": variables, "resumed": replay
        }  # fmt: skip

    def _made(self, started: RunStarted, events: Sequence[Event]) -> Any:
        """An agent with the settings of that run, and of the functions that are given now those that it had."""
        kinds = {kind.__name__: kind for kind in (CodeAgent, ToolCallingAgent, type(self._agent))}
        kind = kinds.get(started.agent)
        if kind is None:
            raise ReplayError(
                f"the run goes on from run {started.run}, which is of a {started.agent}, not of a "
                f"{type(self._agent).__name__}"
            )
        own = [event for event in events if event.run == started.run]
        checked = {event.check for event in own if isinstance(event, Checked)}
        known = {*kind.recorded_settings, "prompt_templates"}
        takes = {*self._given} if kind is type(self._agent) else parameters(kind)
        given = {name: value for name, value in self._given.items() if name in takes - known}
        for name in ("checks", "final_answer_checks"):
            recorded, now = (_several(each.get(name)) for each in (started.settings, self._given))
            given[name] = [*recorded, *(each for each in now if callable(each) and _name(each) in checked)] or None
        refused = any(
            isinstance(event, StepFinished)
            and event.error_type != AgentExecutionError.__name__
            and (event.error or "").startswith(REFUSED)
            for event in own
        )
        answers = [event.value for event in own if isinstance(event, FinalAnswer)]
        if not refused and not all(_fits(each, given.get("output_type")) for each in answers):
            given["output_type"] = None
        given["executor"] = self._agent.python_executor if kind.writes_code and self._agent.writes_code else None
        # No record says of itself where its code may run: what the user was asked about is the last agent's executor.
        settings = {name: value for name, value in started.settings.items() if not name.startswith("executor_")}
        started = replace(started, settings=settings)
        return made_again(kind, started, self._agent.model, self._tools, given, self._accept)

    @property
    def beginnings(self) -> list[RunStarted]:
        """How each of them began."""
        return [started for _, started, _ in self._runs]

    def play(self) -> list[str]:
        """Play them; gives what did not replay the same. Raises AgentError where the agent is stopped meanwhile."""
        found: list[str] = []
        before: Any = None
        self._agent.life.stop.clear()
        for agent, started, options in self._runs:
            if before is not None:
                _go_on(agent, before)
            self._agent.life.called.add(agent)
            try:
                for _ in agent.run_events(started.task, **options):
                    pass
            except Exception:
                if not self._agent.life.stop.is_set():
                    raise
            finally:
                self._agent.life.called.discard(agent)
                if agent.writes_code and not self._agent.writes_code:  # it had an executor of its own
                    agent.cleanup()
            if self._agent.life.stop.is_set():
                raise AgentError("The agent was interrupted.")
            if not options["resumed"].played:
                raise ReplayError(f"run {started.run}, from which the run goes on, did not come to its recorded end")
            found += [f"Of the earlier run {started.run}: {each}" for each in options["resumed"].differences]
            before = agent
        if before is not None:
            _go_on(self._agent, before)
        return found


def starts(journal: Journal, started: RunStarted) -> list[RunStarted]:
    """The beginnings of the runs of a conversation that are in the journal, from that of the last one back."""
    found = [started]
    with suppress(ReplayError):
        found += map(beginning, earlier_runs(journal, started))
    return found


def _go_on(agent: Any, before: Any) -> None:
    """Have `agent` be where `before` is in the conversation."""
    agent.memory.steps, agent.life.run_id = list(before.memory.steps), before.life.run_id
    if not agent.writes_code and not before.writes_code:
        agent.state.update(before.state)


def _several(checks: Any) -> Sequence[Any]:
    """One check, or several; of a record that holds something else, none."""
    return (
        checks if isinstance(checks, list | tuple) else [checks] if isinstance(checks, str) or callable(checks) else []
    )


def _fits(answer: Any, output_type: Any) -> bool:
    try:
        return output_type is None or bool([AnswerType(output_type).convert(answer)])
    except AgentError:
        return False


def _name(check: Any) -> str:
    return getattr(check, "__name__", type(check).__name__)
