"""The stream of steps that users of smolagents know, drawn from our events."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any

from smol_kernel import events as ev
from smol_kernel.errors import AgentError, AgentGenerationError
from smol_kernel.memory.messages import ChatMessageStreamDelta, read_usage
from smol_kernel.memory.rich_values import handle_agent_output_types
from smol_kernel.memory.steps import ActionOutput, ActionStep, FinalAnswerStep, PlanningStep

if TYPE_CHECKING:
    from smol_kernel.agents.running import RunnableAgent


def stream_of(events: Iterable[ev.Event], agent: RunnableAgent) -> Generator[Any]:
    """The run of `agent` as the objects that `run(stream=True)` of smolagents yields.

    ChatMessageStreamDelta, ToolCall, ToolOutput, ActionOutput, PlanningStep, ActionStep and FinalAnswerStep; runs of
    agents it calls are left out. The last one is a FinalAnswerStep, of None where there is no answer. Raises AgentError
    when the run was stopped, or ended because the agent was given another task, and what the run raises, after the
    step in which the model gave no reply.
    """
    try:
        yield from _drawn(events, agent)
    except AgentGenerationError as error:
        last = agent.memory.steps[-1] if agent.memory.steps else None
        if isinstance(last, ActionStep) and last.error is error:
            yield last
        raise


def _drawn(events: Iterable[ev.Event], agent: RunnableAgent) -> Generator[Any]:
    ended = False
    for event in events:
        if event.run not in ("", agent.life.run_id):
            continue
        step, done = agent.memory.steps[-1] if agent.memory.steps else None, agent.life.step
        if isinstance(event, ev.ModelDelta):
            yield ChatMessageStreamDelta(content=event.text)
        elif isinstance(event, ev.ModelReplied) and agent.stream_outputs and event.input_tokens is not None:
            yield ChatMessageStreamDelta(content="", token_usage=read_usage(event))
        elif isinstance(event, ev.PlanMade) and isinstance(step, PlanningStep):
            yield step
        elif isinstance(event, ev.ActionProposed) and done is not None:
            yield from done.tool_calls or []
        elif isinstance(event, ev.ToolReturned) and event.call in agent.life.outputs:
            yield agent.life.outputs[event.call]
        elif isinstance(event, ev.StepFinished) and done is not None and (done.model_output_message or done.error):
            if done.error is None:
                yield ActionOutput(done.action_output, done.is_final_answer)
            yield done
        elif isinstance(event, ev.RunFinished):
            ended = True
            if event.state == "interrupted":
                raise AgentError("The agent was interrupted.")
            if event.state in ("max_steps_error", "budget") and step is not done:  # it was asked for the best answer
                yield step
            if agent.life.answered or event.state != "error":  # else it raises
                yield FinalAnswerStep(handle_agent_output_types(agent.life.answer))
    if not ended:  # somebody closed them
        raise AgentError(
            "This run was ended before all of it was read: the agent was given another task on the same thread. Give "
            "each task that is worked on at the same time an agent of its own."
        )
