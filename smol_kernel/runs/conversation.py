"""`Conversation`: the earlier runs of one that is to go on, each played by an agent such as it had, to the end it had.

They share the child of the agent that goes on, which is left with what all of them put there, and get the memory of the
one before; the model of none is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from smol_kernel.agents.code_agent import CodeAgent
from smol_kernel.agents.tool_calling_agent import ToolCallingAgent
from smol_kernel.errors import AgentError, ReplayError, RunNotFoundError
from smol_kernel.events import Checked, Event, RunStarted
from smol_kernel.journal import Journal
from smol_kernel.runs.made_again import beginning, inputs_of, made_again, media_of
from smol_kernel.runs.replay import Replay


class Conversation:
    """The runs from which `started`, a run in `journal`, goes on.

    Parameters: `agent`, the one that goes on; `tools`, and what else it was `given`; `inputs`, variables that are not
    recorded whole; `child_lives`, nothing has to be run again. Raises ReplayError if one of the runs is not there.
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
    ) -> None:
        self._journal, self._agent, self._tools, self._given = journal, agent, tools, given
        self._child_lives = child_lives or not agent.writes_code
        self._runs: list[tuple[Any, RunStarted, dict[str, Any]]] = []
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
            started = beginning(events)
            self._runs.insert(0, self._run(started, events, inputs))

    def _run(
        self, started: RunStarted, events: Sequence[Event], inputs: Mapping[str, Any]
    ) -> tuple[Any, RunStarted, dict[str, Any]]:
        """The agent that plays a run, and what is passed to it."""
        agent = self._made(started, events)
        variables, changed = inputs_of(events, inputs)
        lives = agent.writes_code and self._child_lives
        changed = [] if lives else changed
        replay = Replay(events, self._journal, whole=True, accept=True, child_lives=lives, differences=changed)
        options = {**media_of(started, {})[0], "additional_args": variables, "resumed": replay}
        return agent, started, {"reset": started.continues is None, **options}

    def _made(self, started: RunStarted, events: Sequence[Event]) -> Any:
        """An agent with the settings of that run, and the functions that checked an answer of it."""
        kinds = {kind.__name__: kind for kind in (CodeAgent, ToolCallingAgent, type(self._agent))}
        kind = kinds.get(started.agent)
        if kind is None:
            raise ReplayError(
                f"the run goes on from run {started.run}, which is of a {started.agent}, not of a "
                f"{type(self._agent).__name__}"
            )
        checked = {event.check for event in events if isinstance(event, Checked) and event.run == started.run}
        functions = self._given.get("final_answer_checks") or ()
        given = {name: value for name, value in self._given.items() if name not in started.settings}
        given["final_answer_checks"] = [each for each in functions if _name(each) in checked] or None
        given["executor"] = self._agent.python_executor if kind.writes_code and self._agent.writes_code else None
        return made_again(kind, started, self._agent.model, self._tools, given)

    def play(self) -> list[str]:
        """Play them; gives what did not replay the same. Raises AgentError where the agent is stopped meanwhile."""
        found: list[str] = []
        before: Any = None
        self._agent.stop.clear()
        for agent, started, options in self._runs:
            if before is not None:
                _go_on(agent, before)
            self._agent.called.add(agent)
            try:
                for _ in agent.events(started.task, **options):
                    pass
            except Exception:
                if not self._agent.stop.is_set():
                    raise
            finally:
                self._agent.called.discard(agent)
            if self._agent.stop.is_set():
                raise AgentError("The agent was interrupted.")
            found += [f"Of the earlier run {started.run}: {each}" for each in options["resumed"].differences]
            before = agent
        if before is not None:
            _go_on(self._agent, before)
        return found


def _go_on(agent: Any, before: Any) -> None:
    """Have `agent` be where `before` is in the conversation."""
    agent.memory.steps, agent.run_id = list(before.memory.steps), before.run_id
    if not agent.writes_code and not before.writes_code:
        agent.state.update(before.state)


def _name(check: Any) -> str:
    return getattr(check, "__name__", type(check).__name__)
