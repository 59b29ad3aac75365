"""Agents that other agents call: as tools, made from a recipe at run time, or taking over from the one that calls."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from smol_kernel.errors import AgentError
from smol_kernel.events import Event, HandedOff, RunFinished, current_call, emit
from smol_kernel.executors.interpreter_tool import PythonInterpreterTool
from smol_kernel.executors.recorded import AbandonedError
from smol_kernel.memory.monitoring import stands_apart
from smol_kernel.memory.rich_values import AgentImage, handle_agent_output_types
from smol_kernel.memory.steps import TaskStep
from smol_kernel.tools.base import Tool
from smol_kernel.tools.collection import by_name
from smol_kernel.tools.defaults import base_tools
from smol_kernel.tools.defaults.final_answer import FinalAnswerTool

if TYPE_CHECKING:
    from smol_kernel.agents.multi_step import MultiStepAgent

MOST_HAND_OFFS = 10
"""How often a task may be handed on."""
STOPPED = ("interrupted", "Stopped before there was an answer.")
"""State of a run that was stopped, and the sentence on it."""

TASK_INPUTS: dict[str, Any] = {
    "task": {"type": "string", "description": "All that the agent has to know: it sees nothing of this conversation."},
    "additional_args": {"type": "object", "description": "Variables for it, by name.", "nullable": True},
}
"""What an agent is called with, in the form of `Tool.inputs`."""


class AgentRecipe:
    """How to make an agent when an action calls it, for `managed_agents`.

    Parameters: `name` and `description`, as of an agent; `make`, called for each call, which returns an agent;
    `inputs`, the further arguments of such a call, in the form of `Tool.inputs`, which `make` is given by name.
    What `make` raises is raised where the agent was called. The agent that a recipe is given to raises ConfigError for
    one without name or description, and for a name that is taken.
    """

    def __init__(
        self,
        name: str,
        description: str,
        make: Callable[..., MultiStepAgent],
        inputs: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        self.name, self.description, self.make, self.inputs = name, description, make, dict(inputs or {})

    def another(self) -> AgentRecipe:
        """The same: each call makes an agent of its own."""
        return self

    def cleanup(self) -> None:
        """Nothing is held: an agent that was made ends with its call."""


class ManagedAgentTool(Tool):
    """An agent as a tool: it works on a task and returns a report. Each call is a run of its own."""

    threaded = True
    output_type = "string"

    def __init__(self, agent: MultiStepAgent | AgentRecipe, caller: MultiStepAgent) -> None:
        self.name, self.description = str(agent.name), str(agent.description)
        self.inputs = {**TASK_INPUTS, **agent.inputs}
        self._agent, self._above = agent, caller.life  # not the agent: its child ends with the last name for it
        self._logger = caller.logger

    def forward(self, task: str, additional_args: dict[str, Any] | None = None, **options: Any) -> str:
        """The agent's report. Raises AgentError if it has no answer; AbandonedError if its caller was stopped: that has
        the call made again then, and the agent go on."""
        agent: Any = self._agent
        above, lent = self._above, None
        if isinstance(agent, AgentRecipe):
            agent = agent.make(**options)
            agent.name = agent.name or self.name
        else:
            alone = getattr(agent, "_given_executor", None) is not None  # there is one place for it: calls wait
            lent = agent.life.lend(wait=alone)
            agent = agent if lent else agent.another()
        try:
            given, end, call = additional_args or {}, RunFinished(state="error"), current_call()
            seen = [v for v in given.values() if isinstance(handle_agent_output_types(v), AgentImage)] or None
            above.called.add(agent)
            taken_up = {"call": call, "resumed": above.resumed and above.resumed.part(call)}
            origin = {"printed": "apart"} if stands_apart(agent.logger, self._logger) else {}
            events = agent.run_events(task, additional_args=given, images=seen, above=above, origin=origin, **taken_up)
            for event in agent._printed(events) if origin else events:
                emit(event)
                end = event if isinstance(event, RunFinished) and event.run == agent.life.run_id else end
            if not agent.life.answered:
                failed = AbandonedError if above.stop.is_set() else AgentError
                raise failed(f"agent {self.name!r} gave no answer: {end.error or end.state}")
            return agent.report_on(agent.life.answer)
        finally:
            above.called.discard(agent)
            if lent:
                lent.release()
            else:
                agent.cleanup()


class HandOffTool(Tool):
    """Hands the task and the conversation on to another agent, whose answer becomes the run's."""

    inputs = {"reason": {"type": "string", "description": "Why, in a sentence."}}  # noqa: RUF012 - never changed
    output_type = "string"

    def __init__(self, agent: MultiStepAgent | AgentRecipe, caller: MultiStepAgent) -> None:
        self.name = f"transfer_to_{agent.name}"
        self.description = f"Hands this task on to {agent.name}, who answers it in your place: {agent.description}"
        self._agent, self._above = agent, caller.life

    def forward(self, reason: str) -> str:
        """A sentence on what happens next."""
        self._above.successor = (self._agent, reason)
        return f"{self._agent.name} takes over after this action."


def managed(agent: Any) -> dict[str, Tool]:
    """The agents that `agent` manages, as tools by their names."""
    return {name: ManagedAgentTool(other, agent) for name, other in agent.managed_agents.items()}


def successors(agent: Any) -> dict[str, Tool]:
    """The agents that may take over from `agent`, as tools by their names."""
    return {f"transfer_to_{name}": HandOffTool(other, agent) for name, other in agent.handoffs.items()}


def hand_over(agent: Any, other: Any, reason: str) -> Generator[Event, None, tuple[str, str | None]]:
    """Have `other` go on in the conversation, and the child, of `agent`; returns the state in which that ends, and why.

    Raises AgentError where the task has been handed on too often.
    """
    if agent.life.depth >= MOST_HAND_OFFS:
        raise AgentError(f"the task was handed on {MOST_HAND_OFFS} times without an answer")
    run, step, end = agent.life.run_id or "", agent.life.begun, RunFinished(state="error")
    yield HandedOff(agent=str(other.name), reason=reason).stamped(run, step)
    successor: Any = (other.make() if isinstance(other, AgentRecipe) else other).another()  # a maker may keep its own
    successor.memory.steps, known = list(agent.memory.steps), {id(step) for step in agent.memory.steps}
    successor.answer_type = successor.answer_type or agent.answer_type  # the run is to end as it was asked to
    successor.checks = list({id(c): c for c in (*successor.checks, *agent.checks, *agent.final_answer_checks)}.values())
    own = getattr(successor, "python_executor", None)
    if agent.writes_code or own is None:  # in the same child, if only for the checks: what is spoken of is still there
        successor.python_executor = getattr(agent, "python_executor", None)
    if not agent.writes_code or own is None:
        successor._prepare(False, {name: v for name, v in agent.state.items() if own is None or name.isidentifier()})
    agent.life.called.add(successor)
    try:
        resumed = agent.life.resumed and agent.life.resumed.part(None)
        for event in successor.run_events(agent.task or "", reset=False, above=agent.life, resumed=resumed):
            yield event
            end = event if isinstance(event, RunFinished) and event.run == successor.life.run_id else end
    finally:
        agent.life.called.discard(successor)
        done = (step for step in successor.memory.steps if id(step) not in known and not isinstance(step, TaskStep))
        agent.memory.steps += done  # the conversation knows what became of the task
        successor.python_executor = own
        successor.cleanup()
    if successor.life.answered:
        agent.life.answer, agent.life.answered = successor.life.answer, True
        yield successor._told(successor.life.answer).stamped(run, step)
    return end.state, end.error


def functions(agent: Any) -> dict[str, Tool]:
    """All that an action of `agent` may call: tools, agents, and hand-offs to agents."""
    return {**agent.tools, **managed(agent), **successors(agent)}


def tools_by_name(tools: Sequence[Any], agent: str | None, add_base_tools: bool, interpreter: bool) -> dict[str, Tool]:
    """`tools` of an `agent` by their names, with `final_answer`; with `add_base_tools` the built-in ones too. Raises
    ConfigError."""
    found = by_name(tools, agent)
    extra = [*base_tools().values(), *([PythonInterpreterTool()] if interpreter else [])] if add_base_tools else []
    for tool in [*extra, FinalAnswerTool()]:
        found.setdefault(tool.name, tool)
    return found
