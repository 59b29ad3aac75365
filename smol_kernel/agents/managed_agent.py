"""Agents that other agents call: as tools, made from a recipe at run time, or taking over from the one that calls."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from smol_kernel.agents.prompts import populate_template
from smol_kernel.errors import AgentError, ConfigError
from smol_kernel.events import Event, HandedOff, RunFinished, current_call, emit
from smol_kernel.tools.base import Tool
from smol_kernel.tools.defaults import base_tools
from smol_kernel.tools.defaults.final_answer import FinalAnswerTool

if TYPE_CHECKING:
    from smol_kernel.agents.multi_step import MultiStepAgent

MOST_HAND_OFFS = 10
"""How often a task may be handed on."""


class AgentRecipe:
    """How to make an agent when an action calls it, for `managed_agents`.

    Parameters: `name` and `description`, as of an agent; `make`, called for each call, which returns an agent;
    `inputs`, the further arguments of such a call, in the form of `Tool.inputs`, which `make` is given by name.
    """

    def __init__(
        self,
        name: str,
        description: str,
        make: Callable[..., MultiStepAgent],
        inputs: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        self.name, self.description, self.make, self.inputs = name, description, make, dict(inputs or {})

    def cleanup(self) -> None:
        """Nothing is held: an agent that was made ends with its call."""


class ManagedAgentTool(Tool):
    """An agent as a tool: it works on a task and returns a report. Each call is a run of its own."""

    threaded = True
    output_type = "string"

    def __init__(self, agent: MultiStepAgent | AgentRecipe, caller: MultiStepAgent) -> None:
        self.name, self.description = str(agent.name), str(agent.description)
        task = "All that the agent has to know: it sees nothing of this conversation."
        self.inputs = {
            "task": {"type": "string", "description": task},
            "additional_args": {"type": "object", "description": "Variables for it, by name.", "nullable": True},
            **(agent.inputs if isinstance(agent, AgentRecipe) else {}),
        }
        self._agent, self._caller = agent, caller

    def forward(self, task: str, additional_args: dict[str, Any] | None = None, **options: Any) -> str:
        """The agent's report. Raises AgentError if it has no answer."""
        own = not isinstance(self._agent, AgentRecipe) and self._agent.lent.acquire(blocking=False)
        made = self._agent.make(**options) if isinstance(self._agent, AgentRecipe) else self._agent
        agent = made if own or isinstance(self._agent, AgentRecipe) else made.another()
        end = RunFinished(state="error")
        self._caller.called.add(agent)
        try:
            for event in agent.events(
                agent.assignment(task),
                additional_args=additional_args,
                images=[value for value in (additional_args or {}).values() if _is_image(value)] or None,
                caller=self._caller,
                call=current_call(),
            ):
                emit(event)
                end = event if isinstance(event, RunFinished) and event.run == agent.run_id else end
            if not agent.answered:
                raise AgentError(f"agent {self.name!r} gave no answer: {end.error or end.state}")
            return report(agent, agent.answer)
        finally:
            self._caller.called.discard(agent)
            agent.lent.release() if own else agent.cleanup()


class HandOffTool(Tool):
    """Hands the task and the conversation on to another agent, whose answer becomes the run's."""

    inputs = {"reason": {"type": "string", "description": "Why, in a sentence."}}  # noqa: RUF012 - never changed
    output_type = "string"

    def __init__(self, agent: MultiStepAgent, caller: MultiStepAgent) -> None:
        self.name = f"transfer_to_{agent.name}"
        self.description = (
            f"Hands this task on to the agent {agent.name}, which answers in your place: {agent.description}"
        )
        self._agent, self._caller = agent, caller

    def forward(self, reason: str) -> str:
        """A sentence on what happens next."""
        self._caller.successor = (self._agent, reason)
        return f"{self._agent.name} takes over after this action."


def hand_over(
    agent: MultiStepAgent, other: MultiStepAgent, reason: str
) -> Generator[Event, None, tuple[str, str | None]]:
    """Have `other` go on in the conversation, and the child, of `agent`; returns the state in which that ends, and why.

    Raises AgentError where the task has been handed on too often.
    """
    if agent.depth >= MOST_HAND_OFFS:
        raise AgentError(f"the task was handed on {MOST_HAND_OFFS} times without an answer")
    yield HandedOff(agent=str(other.name), reason=reason).stamped(agent.run_id or "", agent.step_number)
    successor, end = other.another(), RunFinished(state="error")
    successor.take_over(agent)
    agent.called.add(successor)
    try:
        for event in successor.events(agent.task or "", reset=False, caller=agent):
            yield event
            end = event if isinstance(event, RunFinished) and event.run == successor.run_id else end
    finally:
        agent.called.discard(successor)
    if successor.answered:
        agent.answer, agent.answered = successor.answer, True
        yield agent.told(successor.answer).stamped(agent.run_id or "", agent.step_number)
    return end.state, end.error


def report(agent: MultiStepAgent, answer: Any) -> str:
    """The answer of a managed agent, as the one that called it reads it."""
    template = agent.prompt_templates["managed_agent"]["report"]
    text = populate_template(template, {"name": agent.name, "task": agent.task, "final_answer": answer})
    if agent.provide_run_summary:
        steps = "\n\n".join(message.text for message in agent.write_memory_to_messages(summary_mode=True))
        text += f"\n\nWhat it did:\n{steps}"
    return text


def tools_by_name(tools: Sequence[Any], add_base_tools: bool, *, interpreter: bool) -> dict[str, Tool]:
    """`tools` by their names, with `final_answer`; with `add_base_tools` the built-in ones too.

    Raises ConfigError for what is no tool, and for two of one name.
    """
    found: dict[str, Tool] = {}
    for tool in tools:
        if not isinstance(tool, Tool):
            raise ConfigError(f"{tool!r} is not a tool: decorate the function with @tool, or subclass Tool")
        if tool.name in found:
            raise ConfigError(f"two tools are called {tool.name!r}: rename one of them")
        found[tool.name] = tool
    for tool in base_tools(interpreter=interpreter) if add_base_tools else ():
        found.setdefault(tool.name, tool)
    found.setdefault("final_answer", FinalAnswerTool())
    return found


def agents_by_name(agents: Sequence[Any], tools: Mapping[str, Tool]) -> dict[str, Any]:
    """`agents` by their names. Raises ConfigError for one without name or description, and for a name used twice."""
    found: dict[str, Any] = {}
    for agent in agents:
        if not getattr(agent, "name", None) or not getattr(agent, "description", None):
            raise ConfigError(f"{agent!r} needs a name and a description to be called by another agent")
        if agent.name in found or agent.name in tools:
            raise ConfigError(f"two agents or tools are called {agent.name!r}: rename one of them")
        found[agent.name] = agent
    return found


def _is_image(value: Any) -> bool:
    return any(kind.__module__.startswith("PIL.") for kind in type(value).__mro__)
