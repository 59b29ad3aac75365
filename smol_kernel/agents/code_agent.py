"""The agent whose actions are Python: takes the code out of a reply, runs it in a child kernel, reads what came."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from smol_kernel.agents.managed_agent import functions
from smol_kernel.agents.multi_step import MultiStepAgent
from smol_kernel.agents.prompts import PromptTemplates, template
from smol_kernel.errors import AgentExecutionError, AgentParsingError
from smol_kernel.events import ActionFinished, ActionProposed, Event, FinalAnswer, Output
from smol_kernel.executors.base import PythonExecutor, executor_of, failure, give_executor, observation
from smol_kernel.executors.create import create
from smol_kernel.executors.imports import allowed_modules
from smol_kernel.executors.observation import truncate
from smol_kernel.executors.pictures import observed_images
from smol_kernel.executors.several_agents import make_ready
from smol_kernel.executors.state import State
from smol_kernel.memory.messages import ChatMessage, MessageRole
from smol_kernel.memory.steps import ActionStep, ToolCall
from smol_kernel.models import code_replies
from smol_kernel.tools.base import Tool

_LONGEST_REPLY = 100_000  # characters of a reply that are remembered
_LONGEST_UNUSABLE_REPLY = 10_000  # the same for a reply that held no action


class CodeAgent(MultiStepAgent):
    """An agent that acts by writing Python, run as real CPython in a child kernel of its own.

    Parameters besides those of MultiStepAgent: `additional_authorized_imports`, modules an action may import besides a
    few of the standard library (None or "*": all that is installed), which is a policy and no protection; `executor`,
    an instance to use in place of a new one; `executor_type` ("local") and `executor_kwargs`, parameters of
    KernelExecutor, for a new one; `max_print_outputs_length`, characters the model reads of an action's output (None:
    20,000); `use_structured_outputs_internally`, whether replies are asked for as JSON; `code_block_tags`,
    "markdown" or a pair of opening and closing tag. Used as a context manager, or by `cleanup()`, it ends its child.
    Raises what MultiStepAgent and KernelExecutor do; ConfigError also for an executor, or options of one, that cannot
    be used.
    """

    templates = "code_agent"
    recorded_settings = (
        *MultiStepAgent.recorded_settings, "additional_authorized_imports", "executor_type", "executor_kwargs",
        "max_print_outputs_length", "use_structured_outputs_internally", "code_block_tags",
    )  # fmt: skip
    writes_code = True
    python_executor = property(executor_of, give_executor)
    """Where it acts; what is set is made an executor, as by the constructor."""

    def __init__(
        self,
        tools: Sequence[Tool],
        model: Any,
        prompt_templates: PromptTemplates | None = None,
        additional_authorized_imports: list[str] | None = None,
        planning_interval: int | None = None,
        executor: Any = None,
        executor_type: str = "local",
        executor_kwargs: Mapping[str, Any] | None = None,
        max_print_outputs_length: int | None = None,
        stream_outputs: bool = False,
        use_structured_outputs_internally: bool = False,
        code_block_tags: str | tuple[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        self.code_block_tags = code_replies.block_tags(code_block_tags)
        self.additional_authorized_imports = (
            ["*"] if additional_authorized_imports is None else list(additional_authorized_imports)
        )
        self.authorized_imports = allowed_modules(additional_authorized_imports) or ["*"]
        self.use_structured_outputs_internally = use_structured_outputs_internally
        self.max_print_outputs_length = max_print_outputs_length
        self.executor_type, self.executor_kwargs = executor_type, dict(executor_kwargs or {})
        self._given_executor = executor
        super().__init__(
            tools, model, prompt_templates, planning_interval=planning_interval, stream_outputs=stream_outputs, **kwargs
        )

    def _begin_life(self) -> None:
        super()._begin_life()
        given = self._given_executor
        self.python_executor = self.create_python_executor() if given is None else given
        self._last_action = ActionFinished(status="")

    def create_python_executor(self) -> PythonExecutor:
        """A new executor of the agent's type; its child starts at first use."""
        shown, allowed = self.max_print_outputs_length, self.authorized_imports
        options = {"max_print_outputs_length": shown, "additional_authorized_imports": allowed, **self.executor_kwargs}
        return create(self.executor_type, **options)

    @property
    def state(self) -> State:
        """The variables of the child as a dict, read when asked for; a RemoteValue where one cannot cross."""
        return self.python_executor.state

    @state.setter
    def state(self, variables: Mapping[str, Any]) -> None:
        self.python_executor.state.become(variables)

    @property
    def isolation(self) -> str:
        """How the child is boxed; "none" means that it, or the one of an interpreter among the tools, is not at all."""
        return "none" if super().isolation == "none" else self.python_executor.isolation

    def cleanup(self) -> None:
        """End the child, and what the agents it may call hold. A later run starts a fresh one."""
        super().cleanup()
        self.python_executor.cleanup()

    def __enter__(self) -> CodeAgent:
        return self

    def __exit__(self, *error: object) -> None:
        self.cleanup()

    def _prompt_variables(self) -> dict[str, Any]:
        opening, closing = self.code_block_tags
        return {
            **super()._prompt_variables(),
            "authorized_imports": "*" if "*" in self.authorized_imports else self.authorized_imports,
            "code_block_opening_tag": opening,
            "code_block_closing_tag": closing,
            "structured": self.use_structured_outputs_internally,
        }

    def _request_options(self) -> dict[str, Any]:
        opening, closing = self.code_block_tags
        if self.use_structured_outputs_internally:
            return {"response_format": json.loads(template("code_agent/reply_format.json"))}
        return {"stop_sequences": ["Observation:", "<end_code>", *([] if closing in opening else [closing])]}

    def _remembered(self, message: ChatMessage, purpose: str = "action") -> str:
        is_whole = purpose == "action" and not (self.use_structured_outputs_internally or message.cut_off)
        reply = code_replies.closed(message.text, self.code_block_tags) if is_whole else message.text
        return truncate(reply, _LONGEST_REPLY)

    def _answer_in(self, message: ChatMessage, best: Any) -> Any:
        """The text of a last reply; of one that ends in an action all the same, its literal answer or what it says."""
        tags = None if self.use_structured_outputs_internally else self.code_block_tags
        return code_replies.answer_in(message.text, tags, best)

    def _interrupt_action(self) -> None:
        self.python_executor.interrupt()

    def _prepare(self, anew: bool, variables: Mapping[str, Any]) -> None:
        executor: Any = self.python_executor
        life = self.life  # not the agent: a child ends with the last name for its agent
        executor.send_tools(functions(self))  # first: it says so where another agent acts there now
        executor.clear_interrupt()
        executor.refuse = lambda call: None if call.tool == "input" else life.account.refuse_call()
        make_ready(executor, life, anew, variables)
        executor.send_variables(variables)

    def _act(self, step: ActionStep) -> Generator[Event, None, None]:
        message = step.model_output_message or ChatMessage(MessageRole.ASSISTANT)
        try:
            tags = None if self.use_structured_outputs_internally else self.code_block_tags
            action = code_replies.parse_reply(message.text, tags, cut_off=message.cut_off)
        except AgentParsingError:
            step.model_output = truncate(message.text, _LONGEST_UNUSABLE_REPLY)
            raise
        step.code_action = action.code
        step.tool_calls = [ToolCall(name="python_interpreter", arguments=action.code, id=f"call_{step.step_number}")]
        yield ActionProposed(thought=action.thought, code=action.code)
        outputs, finished = list[Event](), ActionFinished(status="no account of the action")
        for event in self.python_executor.run(action.code):
            yield event
            if event.run:  # of an agent that was called
                continue
            if isinstance(event, Output) and event.data:
                outputs.append(event)
            elif isinstance(event, ActionFinished):
                finished = event
        self._last_action, step.is_final_answer = finished, finished.final
        shown = observation(finished, self.max_print_outputs_length or self.python_executor.max_print_outputs_length)
        step.observations, step.observations_images = shown or None, observed_images(outputs) or None
        if finished.status != "ok":
            raise AgentExecutionError(failure(finished))
        step.action_output = self.python_executor.output_of(finished)

    def _told(self, answer: Any) -> FinalAnswer:
        """The answer as an event: as it came from the child, where it did."""
        finished = self._last_action
        if not finished.final or self.life.step is None or answer is not self.life.step.action_output:
            return super()._told(answer)
        return FinalAnswer(value=finished.value, text=answer if isinstance(answer, str) else finished.value_text)
