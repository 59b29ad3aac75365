"""The agent whose actions are Python: takes the code out of a reply, runs it in a child kernel, reads what came."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from smol_kernel.agents.multi_step import MultiStepAgent
from smol_kernel.agents.parsing import DEFAULT_TAGS, MARKDOWN_TAGS, closed, literal_answer, parse_reply
from smol_kernel.agents.prompts import PromptTemplates, default_templates
from smol_kernel.errors import AgentExecutionError, AgentParsingError, ConfigError
from smol_kernel.events import ActionFinished, ActionProposed, Event, FinalAnswer
from smol_kernel.executors.base import PythonExecutor, create
from smol_kernel.executors.observation import truncate
from smol_kernel.executors.values import decode
from smol_kernel.journal import Journal
from smol_kernel.memory.messages import ChatMessage
from smol_kernel.memory.monitoring import LogLevel
from smol_kernel.memory.steps import ActionStep, ToolCall
from smol_kernel.models.base import Model
from smol_kernel.tools.base import Tool
from smol_kernel.tools.defaults.final_answer import FinalAnswerTool

_LONGEST_REPLY = 100_000  # characters of a reply that are remembered
_LONGEST_UNUSABLE_REPLY = 10_000  # the same for a reply that held no action


class CodeAgent(MultiStepAgent):
    """An agent that acts by writing Python, run as real CPython in a child kernel of its own.

    Parameters besides those of MultiStepAgent: `executor`, an instance to use in place of a new one;
    `executor_type` ("local") and `executor_kwargs` for a new one; `max_print_outputs_length`, characters the
    model reads of an action's output; `code_block_tags`, "markdown" or a pair of opening and closing tag.
    Used as a context manager, or by `cleanup()`, it ends its child.
    """

    def __init__(
        self,
        tools: Sequence[Tool],
        model: Model | Callable[..., ChatMessage],
        prompt_templates: PromptTemplates | None = None,
        *,
        executor: PythonExecutor | None = None,
        executor_type: str = "local",
        executor_kwargs: Mapping[str, Any] | None = None,
        max_print_outputs_length: int | None = None,
        code_block_tags: str | tuple[str, str] | None = None,
        instructions: str | None = None,
        max_steps: int = 20,
        verbosity_level: LogLevel = LogLevel.INFO,
        name: str | None = None,
        description: str | None = None,
        return_full_result: bool = False,
        stream_outputs: bool = False,
        journal: Journal | str | Path | bool | None = None,
    ) -> None:
        self.code_block_tags = _tags(code_block_tags)
        self.max_print_outputs_length = max_print_outputs_length
        self.executor_type = executor_type
        self.executor_kwargs = dict(executor_kwargs or {})
        super().__init__(
            tools,
            model,
            prompt_templates,
            instructions,
            max_steps,
            verbosity_level=verbosity_level,
            name=name,
            description=description,
            return_full_result=return_full_result,
            stream_outputs=stream_outputs,
            journal=journal,
        )
        self.python_executor = executor if executor is not None else self.create_python_executor()

    def create_python_executor(self) -> PythonExecutor:
        """A new executor of the agent's type; its child starts at first use."""
        options = {"max_print_outputs_length": self.max_print_outputs_length, **self.executor_kwargs}
        return create(self.executor_type, **options)

    def cleanup(self) -> None:
        """End the child. A later run starts a fresh one."""
        self.python_executor.cleanup()

    def __enter__(self) -> CodeAgent:
        return self

    def __exit__(self, *error: object) -> None:
        self.cleanup()

    def _checked_tools(self, tools: Sequence[Tool]) -> dict[str, Tool]:
        found = super()._checked_tools(tools)
        found.setdefault("final_answer", FinalAnswerTool())
        return found

    def _default_templates(self) -> PromptTemplates:
        return default_templates("code_agent")

    def _prompt_variables(self) -> dict[str, Any]:
        opening, closing = self.code_block_tags
        return {
            **super()._prompt_variables(),
            # the prompt itself explains final_answer
            "tools": {name: tool for name, tool in self.tools.items() if name != "final_answer"},
            "authorized_imports": None,
            "code_block_opening_tag": opening,
            "code_block_closing_tag": closing,
        }

    def _stop_sequences(self) -> list[str]:
        closing = self.code_block_tags[1]
        return ["Observation:", "<end_code>", *([] if closing in self.code_block_tags[0] else [closing])]

    def _completed_reply(self, reply: str) -> str:
        return truncate(closed(reply, self.code_block_tags), _LONGEST_REPLY)

    def _answer_in(self, reply: str) -> str:
        """The text of a last reply; of one that holds code all the same, its literal answer or what it says before."""
        try:
            action = parse_reply(reply, self.code_block_tags)
        except AgentParsingError:
            return reply.strip()
        return literal_answer(action.code) or action.thought

    def _isolation(self) -> str:
        return self.python_executor.isolation

    def _interrupt_action(self) -> None:
        self.python_executor.interrupt()

    def _prepare(self, reset: bool, variables: Mapping[str, Any]) -> None:
        self.python_executor.clear_interrupt()
        if reset:
            self.python_executor.restart()
        self.python_executor.send_tools(self.tools)
        self.python_executor.send_variables(variables)

    def _act(self, step: ActionStep) -> Generator[Event, None, None]:
        reply = step.model_output_message.text if step.model_output_message else ""
        try:
            action = parse_reply(reply, self.code_block_tags)
        except AgentParsingError:
            step.model_output = truncate(reply, _LONGEST_UNUSABLE_REPLY)
            raise
        step.code_action = action.code
        step.tool_calls = [ToolCall(name="python_interpreter", arguments=action.code, id=f"step_{step.step_number}")]
        yield ActionProposed(thought=action.thought, code=action.code)
        finished = yield from self._run_code(action.code)
        yield from self._observe(step, finished)

    def _run_code(self, code: str) -> Generator[Event, None, ActionFinished]:
        finished: ActionFinished | None = None
        for event in self.python_executor.run(code):
            yield event
            if isinstance(event, ActionFinished):
                finished = event
        if finished is None:
            raise AgentExecutionError("The executor ended without saying how the action went.")
        return finished

    def _observe(self, step: ActionStep, finished: ActionFinished) -> Iterator[Event]:
        """Put what the action did into words for the model, and take its answer if it gave one."""
        seen = [f"Execution logs:\n{finished.logs.rstrip()}"] if finished.logs.strip() else []
        if finished.final:
            step.is_final_answer = True
            answer = step.action_output = decode(finished.value)
            yield FinalAnswer(value=finished.value, text=answer if isinstance(answer, str) else finished.value_text)
        elif finished.status == "ok":
            step.action_output = decode(finished.value)
            seen.append(f"Last output from code snippet:\n{finished.value_text or 'None'}")
        step.observations = "\n".join(seen) or None
        if finished.status != "ok" and not finished.final:
            raise AgentExecutionError(_failure(finished))


def _failure(finished: ActionFinished) -> str:
    """What the model reads of a failed action: the traceback, or the sentence, and the names that are gone."""
    said = finished.traceback.strip() or finished.error or f"The action ended with status {finished.status!r}."
    if finished.traceback and finished.status != "error" and finished.error:
        said = f"{said}\n{finished.error}"
    if finished.lost:
        said += f"\nThe kernel was restarted. These names are gone: {', '.join(finished.lost)}."
    return said


def _tags(tags: str | tuple[str, str] | None) -> tuple[str, str]:
    if tags is None:
        return DEFAULT_TAGS
    if tags == "markdown":
        return MARKDOWN_TAGS
    if isinstance(tags, str) or len(tags) != 2 or not all(tags):
        raise ConfigError(f"code_block_tags is {tags!r}: give 'markdown' or a pair (opening, closing)")
    return (tags[0], tags[1])
