"""The agent whose actions are structured tool calls: checks them, makes them side by side, reads what came."""

from __future__ import annotations

import contextvars
import inspect
import itertools
import queue
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from smol_kernel.agents.multi_step import MultiStepAgent
from smol_kernel.agents.prompts import PromptTemplates
from smol_kernel.agents.results import ToolOutput
from smol_kernel.errors import (
    AgentExecutionError,
    AgentParsingError,
    AgentToolCallError,
    AgentToolExecutionError,
    ConfigError,
)
from smol_kernel.events import ActionFinished, ActionProposed, Event, ToolCalled, ToolReturned, listening
from smol_kernel.executors.coroutines import wait
from smol_kernel.executors.observation import clean, truncate
from smol_kernel.executors.values import NotPortable, encode, remote
from smol_kernel.memory.messages import ChatMessage
from smol_kernel.memory.rich_values import handle_agent_output_types
from smol_kernel.memory.steps import ActionStep, ToolCall
from smol_kernel.models.base import parse_json_if_needed
from smol_kernel.tools.base import Tool, validate_tool_arguments

MOST_CALLS = 100
"""Calls in one reply; a reply with more of them is a model gone astray."""
LONGEST_RESULT = 20_000
"""Characters of a result that the model reads."""
AT_ONCE = 32
"""Calls of one reply that run at once, if not told otherwise."""


@dataclass
class _Call:
    """A call under way."""

    event: ToolCalled
    call: ToolCall
    tool: Tool
    arguments: dict[str, Any]
    started: float = 0.0


class ToolCallingAgent(MultiStepAgent):
    """An agent that acts by structured tool calls, several at once where a reply has several.

    Parameters besides those of MultiStepAgent: `max_tool_threads`, how many calls of one reply run at once (None: 32).
    A single call of a plain tool runs on the thread that called `run()`. `state` holds the variables given as
    `additional_args`, and images and sounds that tools returned: an argument that is such a name stands for the value.
    Models without structured calls may write one as JSON.
    """

    templates = "tool_calling_agent"

    def __init__(
        self,
        tools: Sequence[Tool],
        model: Any,
        prompt_templates: PromptTemplates | None = None,
        planning_interval: int | None = None,
        stream_outputs: bool = False,
        max_tool_threads: int | None = None,
        **kwargs: Any,
    ) -> None:
        if max_tool_threads is not None and (type(max_tool_threads) is not int or max_tool_threads < 1):
            raise ConfigError(f"max_tool_threads is {max_tool_threads!r}: give a whole number of at least 1, or None")
        self.max_tool_threads = max_tool_threads
        super().__init__(
            tools,
            model,
            prompt_templates,
            planning_interval=planning_interval,
            stream_outputs=stream_outputs,
            **kwargs,
        )

    def _begin_life(self) -> None:
        super()._begin_life()
        self.state: dict[str, Any] = {}
        self._numbers = itertools.count(1)
        self._arrivals: queue.SimpleQueue[Any] = queue.SimpleQueue()

    @property
    def tools_and_managed_agents(self) -> list[Any]:
        """All that a reply may call: tools, and the agents this one manages."""
        return [*self.tools.values(), *self.managed_agents.values()]

    def _request_options(self) -> dict[str, Any]:
        return {**super()._request_options(), "tools_to_call_from": list(self.functions.values())}

    def _prepare(self, reset: bool, variables: Mapping[str, Any]) -> None:
        if reset:
            self.state.clear()
        self.state.update(variables)

    def _interrupt_action(self) -> None:
        self._arrivals.put(None)

    def _act(self, step: ActionStep) -> Generator[Event, None, None]:
        message, begun = step.model_output_message, time.monotonic()
        step.tool_calls = calls = self._read_calls(message)
        yield ActionProposed(thought=message.text.strip() if message else "", code="\n".join(map(_as_python, calls)))
        if len(calls) > 1 and any(call.name == "final_answer" for call in calls):
            raise AgentExecutionError("Call final_answer alone, in a reply of its own, when you have all results.")
        errors = yield from self._make([self._checked(call) for call in calls])
        outputs = [output for output in self.outputs.values()]
        step.observations = "\n".join(output.observation for output in outputs) or None
        step.observations_images = [output.output for output in outputs if output.observation in self.state] or None
        if outputs:
            step.action_output, step.is_final_answer = outputs[-1].output, outputs[-1].is_final_answer
        yield ActionFinished(
            status="error" if errors else "ok",
            final=step.is_final_answer,
            logs=step.observations or "",
            error_type="AgentToolExecutionError" if errors else None,
            error=errors[0] if errors else None,
            completed=0 if errors else len(outputs),
            seconds=time.monotonic() - begun,
        )
        if errors:
            raise AgentToolExecutionError("\n".join(errors))

    def _read_calls(self, message: ChatMessage | None) -> list[ToolCall]:
        """The calls in a reply: structured ones, else one that is written as JSON."""
        try:
            found = (message and message.tool_calls) or self.model.parse_tool_calls(message).tool_calls or []
        except Exception as error:
            raise AgentParsingError(f"Your reply holds no call of a tool that can be read: {error}") from error
        if not 0 < len(found) <= MOST_CALLS:
            raise AgentParsingError(
                f"Your reply holds {len(found)} tool calls; call at least one, at most {MOST_CALLS}."
            )
        return [
            ToolCall(call.function.name, parse_json_if_needed(call.function.arguments), call.id or f"call_{number}")
            for number, call in enumerate(found, 1)
        ]

    def _checked(self, call: ToolCall) -> _Call:
        """A call with its tool and arguments. Raises AgentError where there is no such tool, or they do not fit."""
        tool = self.functions.get(call.name)
        if tool is None:
            raise AgentToolExecutionError(f"There is no tool {call.name!r}; there are: {', '.join(self.functions)}.")
        arguments: Any = call.arguments if call.arguments not in (None, "") else {}
        if not isinstance(arguments, dict):  # of a tool with one input some models give the value alone
            arguments = {next(iter(tool.inputs), "value"): arguments}
        arguments = {name: self.state.get(v, v) if isinstance(v, str) else v for name, v in arguments.items()}
        try:
            validate_tool_arguments(tool, arguments)
        except (ValueError, TypeError) as error:
            raise AgentToolCallError(str(error)) from error
        pooled = bool(tool.threaded or tool.is_async)
        event = ToolCalled(
            call=f"c{next(self._numbers)}",
            tool=call.name,
            kwargs={name: _plain(value) for name, value in arguments.items()},
            summary=_as_python(call, 200),
            blocking=not pooled,
        )
        return _Call(event, call, tool, arguments)

    def _make(self, calls: list[_Call]) -> Generator[Event, None, list[str]]:
        """Make the calls, side by side unless it is a single one of a plain tool; returns what the errors say."""
        self._arrivals = arrivals = queue.SimpleQueue[Any]()
        room, waiting, errors = threading.Semaphore(self.max_tool_threads or AT_ONCE), dict[str, _Call](), list[str]()
        for made in calls:
            side_by_side = len(calls) > 1 or not made.event.blocking
            yield replace(made.event, blocking=not side_by_side)
            waiting[made.event.call] = made
            refusal = None if made.call.name == "final_answer" else self.account.refuse_call()
            if refusal or self._stop.is_set():
                arrivals.put((made, None, AgentExecutionError(refusal or "the run was stopped")))
            elif side_by_side:
                context = contextvars.copy_context()
                work = threading.Thread(target=context.run, args=(self._perform, made, arrivals, room), daemon=True)
                work.start()
            else:
                self._perform(made, arrivals, room)
        while waiting:
            item = arrivals.get()
            if isinstance(item, Event):
                yield item
                continue
            stopped = AgentExecutionError("the run was stopped")
            for made, value, error in [item] if item else [(made, None, stopped) for made in waiting.values()]:
                waiting.pop(made.event.call)
                yield self._returned(made, value, error, errors)
        order = [made.event.call for made in calls]
        self.outputs = {call: self.outputs[call] for call in order if call in self.outputs}
        return errors

    def _perform(self, made: _Call, arrivals: queue.SimpleQueue[Any], room: threading.Semaphore) -> None:
        made.started = time.monotonic()
        try:
            with room, listening(arrivals.put, made.event.call):
                value = made.tool(**made.arguments)
                value = wait(value, lambda _: None) if inspect.isawaitable(value) else value
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - boundary: a tool can raise anything; the model shall see it
            arrivals.put((made, None, error))
        else:
            arrivals.put((made, value, None))

    def _returned(self, made: _Call, value: Any, error: BaseException | None, errors: list[str]) -> ToolReturned:
        """Keep what a call gave, and say it."""
        if error is not None:
            said = f"{type(error).__name__}: {error}"
            errors.append(f"Tool {made.call.name!r} failed: {truncate(clean(said), LONGEST_RESULT)}")
        else:
            kept = {"AgentImage": "image.png", "AgentAudio": "audio.mp3"}.get(
                type(handle_agent_output_types(value, made.tool.output_type)).__name__
            )
            said = truncate(clean(str(value)), LONGEST_RESULT).strip()
            if kept is not None:
                said = kept = kept if kept not in self.state else f"{len(self.state)}_{kept}"
                self.state[kept] = value
            final = made.call.name == "final_answer"
            self.outputs[made.event.call] = ToolOutput(made.call.id, value, final, said, made.call)
        return ToolReturned(
            call=made.event.call,
            tool=made.call.name,
            ok=error is None,
            value=None if error else _plain(value),
            error_type=type(error).__name__ if error else None,
            error=str(error) if error else None,
            summary=said[:200],
            seconds=time.monotonic() - (made.started or time.monotonic()),
        )


def _as_python(call: ToolCall, longest: int = 2_000) -> str:
    """A call as a line of Python."""
    arguments = call.arguments if isinstance(call.arguments, dict) else {}
    written = ", ".join(f"{name}={value!r}" for name, value in arguments.items()) or repr(call.arguments or "")[1:-1]
    return truncate(f"{call.name}({written})", longest)


def _plain(value: Any) -> Any:
    try:
        return encode(value)
    except NotPortable:
        return remote(value, "")
