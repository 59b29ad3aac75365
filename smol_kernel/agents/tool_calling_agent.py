"""The agent whose actions are structured tool calls: reads them from a reply, has them made, reads what came."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from smol_kernel.agents.managed_agent import functions, managed, successors
from smol_kernel.agents.multi_step import MultiStepAgent
from smol_kernel.agents.prompts import PromptTemplates
from smol_kernel.errors import AgentError, AgentExecutionError, AgentParsingError
from smol_kernel.events import ActionFinished, ActionProposed, Event
from smol_kernel.executors.tool_calls import AT_ONCE, LONGEST, ToolCalls, error_of
from smol_kernel.memory.budget import at_least_one
from smol_kernel.memory.messages import ChatMessage, MessageRole
from smol_kernel.memory.steps import ActionStep, ToolCall
from smol_kernel.models.replies import parse_json_if_needed, whole_calls
from smol_kernel.tools.base import Tool

MOST_CALLS = 100
"""Calls in one reply; a reply with more of them is a model gone astray."""


class ToolCallingAgent(MultiStepAgent):
    """An agent that acts by structured tool calls, several at once where a reply has several.

    Parameters besides those of MultiStepAgent: `max_tool_threads`, how many calls of one reply run at once (None or 0:
    32); `max_print_outputs_length`, characters the model reads of a result or an error (None or 0: 50,000).
    A single call of a plain tool runs on the thread that called `run()`. `state` holds the variables given as
    `additional_args`, and images and sounds that tools returned: an argument that is such a name stands for the value.
    Models without structured calls may write one as JSON. Raises what MultiStepAgent does; ConfigError also for one of
    these two numbers that is negative or not whole.
    """

    templates = "tool_calling_agent"
    recorded_settings = (*MultiStepAgent.recorded_settings, "max_tool_threads", "max_print_outputs_length")

    def __init__(
        self,
        tools: Sequence[Tool],
        model: Any,
        prompt_templates: PromptTemplates | None = None,
        planning_interval: int | None = None,
        stream_outputs: bool = False,
        max_tool_threads: int | None = None,
        max_print_outputs_length: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.max_print_outputs_length = at_least_one("max_print_outputs_length", max_print_outputs_length or LONGEST)
        self.max_tool_threads = at_least_one("max_tool_threads", max_tool_threads or AT_ONCE)
        super().__init__(
            tools, model, prompt_templates, planning_interval=planning_interval, stream_outputs=stream_outputs, **kwargs
        )

    def _begin_life(self) -> None:
        super()._begin_life()
        self.state: dict[str, Any] = {}
        most = (self.max_tool_threads, self.max_print_outputs_length)
        self._hands = ToolCalls(self.state, *most, self.life)

    @property
    def tools_and_managed_agents(self) -> list[Any]:
        """All that the model is offered: tools, and the agents this one manages. A subclass may choose among them."""
        return [*self.tools.values(), *self.managed_agents.values()]

    def execute_tool_call(self, tool_name: str, arguments: dict[str, Any] | str) -> Any:
        """What one call gives; a subclass, or a function set in its place, may put itself between: what that raises
        ends the run, or the step if it is an AgentError. Raises AgentError."""
        return self._hands.call(ToolCall(tool_name, arguments, "call"), functions(self))

    def process_tool_calls(self, chat_message: ChatMessage, memory_step: ActionStep) -> Generator[Any]:
        """Make the calls of a reply, for a step of one's own: yields the ToolCalls, then a ToolOutput for each. Raises
        AgentError for a reply that holds none, and where one failed."""
        memory_step.model_output_message = chat_message
        list(self._act(memory_step))  # nobody watches these events
        yield from [*(memory_step.tool_calls or []), *self.life.outputs.values()]

    def _request_options(self) -> dict[str, Any]:
        agents = {agent.name: agent for agent in managed(self).values()}
        chosen: Any = self.tools_and_managed_agents
        chosen = chosen.values() if isinstance(chosen, Mapping) else chosen
        offered = [agents.get(each.name, each) for each in chosen]
        return {**super()._request_options(), "tools_to_call_from": [*offered, *successors(self).values()]}

    def _prepare(self, anew: bool, variables: Mapping[str, Any]) -> None:
        if anew:
            self.state.clear()
        self.state.update(variables)
        self._hands.state = self.state  # it may have been set

    def _interrupt_action(self) -> None:
        self._hands.interrupt()

    def _answer_in(self, message: ChatMessage, best: Any) -> Any:
        """The text of a last reply; of one that calls `final_answer` all the same, what that is given."""
        with suppress(AgentError):
            for call in self._read_calls(message):
                if call.name == "final_answer":
                    given = self._hands.meaning(call, functions(self))[1]
                    return given.get("answer", given if len(given) > 1 else next(iter(given.values()), best))
        return super()._answer_in(message, best)

    def _act(self, step: ActionStep) -> Generator[Event, None, None]:
        message = step.model_output_message or ChatMessage(MessageRole.ASSISTANT)
        step.tool_calls = calls = self._read_calls(message)
        yield ActionProposed(thought=message.text.strip(), code=self._hands.as_python(calls, functions(self)))
        if len(calls) > 1 and any(call.name == "final_answer" for call in calls):
            raise AgentExecutionError("Call final_answer alone, in a reply of its own, when you have all results.")
        self._hands.through = self._overridden("execute_tool_call")
        for event in self._hands.run(calls, functions(self)):
            self.life.outputs = self._hands.outputs
            yield event
            if isinstance(event, ActionFinished) and not event.run:  # else an agent's that was called
                step.observations = event.logs or None
                step.observations_images = self._hands.images or None
                step.is_final_answer = event.final
                step.action_output = list(self.life.outputs.values())[-1].output if event.final else None
                step.error = error_of(event)
        if step.error:
            raise step.error

    def _read_calls(self, message: ChatMessage) -> list[ToolCall]:
        """The calls in a reply: structured ones, else one that is written as JSON."""
        try:
            found = whole_calls(message) or self.model.parse_tool_calls(message).tool_calls or []
        except Exception as error:  # boundary: a user's own model reads it
            raise AgentParsingError(f"Your reply holds no call of a tool that can be read: {error}") from error
        if not 0 < len(found) <= MOST_CALLS:
            raise AgentParsingError(f"Your reply holds {len(found)} tool calls; make between 1 and {MOST_CALLS}.")
        return [
            ToolCall(call.function.name, parse_json_if_needed(call.function.arguments), call.id or f"call_{number}")
            for number, call in enumerate(found, 1)
        ]
