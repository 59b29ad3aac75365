"""The steps of a run. They are plain and mutable: a callback may edit them, and the next request shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from smol_kernel.errors import AgentError
from smol_kernel.memory.messages import ChatMessage, MessageRole, text_message
from smol_kernel.memory.usage import Timing, TokenUsage


@dataclass
class ToolCall:
    """A call an agent makes: a tool by name, or for a CodeAgent the interpreter with its code."""

    name: str
    arguments: Any
    id: str

    def dict(self) -> dict[str, Any]:
        """The call in the shape of OpenAI's tool calls."""
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}


@dataclass
class MemoryStep:
    """Base of all steps."""

    def dict(self) -> dict[str, Any]:
        """The step as plain data."""
        return dict(self.__dict__)

    def to_messages(self, summary_mode: bool = False) -> list[ChatMessage]:
        """What the model reads of this step; `summary_mode` leaves out what a summary does not need."""
        return []


@dataclass
class SystemPromptStep(MemoryStep):
    """The system prompt."""

    system_prompt: str

    def to_messages(self, summary_mode: bool = False) -> list[ChatMessage]:
        """One system message; none in a summary."""
        return [] if summary_mode else [text_message(MessageRole.SYSTEM, self.system_prompt)]


@dataclass
class TaskStep(MemoryStep):
    """A task of the user."""

    task: str
    task_images: list[Any] | None = None

    def to_messages(self, summary_mode: bool = False) -> list[ChatMessage]:
        """One user message."""
        content: list[dict[str, Any]] = [{"type": "text", "text": f"Task:\n{self.task}"}]
        content += [{"type": "image", "image": image} for image in self.task_images or []]
        return [ChatMessage(role=MessageRole.USER, content=content)]


@dataclass
class ActionStep(MemoryStep):
    """One thought, action and observation."""

    step_number: int
    timing: Timing
    model_input_messages: list[ChatMessage] | None = None
    tool_calls: list[ToolCall] | None = None
    error: AgentError | None = None
    model_output_message: ChatMessage | None = None
    model_output: str | list[dict[str, Any]] | None = None
    code_action: str | None = None
    observations: str | None = None
    observations_images: list[Any] | None = None
    action_output: Any = None
    token_usage: TokenUsage | None = None
    is_final_answer: bool = False

    def dict(self) -> dict[str, Any]:
        """The step as plain data; `action_output` stays the value it is."""
        return {
            "step_number": self.step_number,
            "timing": self.timing.dict(),
            "model_input_messages": [message.dict() for message in self.model_input_messages or []] or None,
            "tool_calls": [call.dict() for call in self.tool_calls or []],
            "error": self.error.dict() if self.error else None,
            "model_output_message": self.model_output_message.dict() if self.model_output_message else None,
            "model_output": self.model_output,
            "code_action": self.code_action,
            "observations": self.observations,
            "observations_images": self.observations_images,
            "action_output": self.action_output,
            "token_usage": self.token_usage.dict() if self.token_usage else None,
            "is_final_answer": self.is_final_answer,
        }

    def to_messages(self, summary_mode: bool = False) -> list[ChatMessage]:
        """What the model said (left out in a summary), then what it saw of it: observation and error."""
        messages: list[ChatMessage] = []
        if self.model_output is not None and not summary_mode:
            output = self.model_output
            messages.append(
                text_message(MessageRole.ASSISTANT, output)
                if isinstance(output, str)
                else ChatMessage(role=MessageRole.ASSISTANT, content=output)
            )
        seen = [f"Observation:\n{self.observations}"] if self.observations else []
        if self.error is not None:
            seen.append(f"Error:\n{self.error.message}")
        content: list[dict[str, Any]] = [{"type": "text", "text": "\n\n".join(seen)}] if seen else []
        content += [{"type": "image", "image": image} for image in self.observations_images or []]
        if content:
            messages.append(ChatMessage(role=MessageRole.TOOL_RESPONSE, content=content))
        return messages


@dataclass
class PlanningStep(MemoryStep):
    """A plan the model made between actions."""

    model_input_messages: list[ChatMessage]
    model_output_message: ChatMessage
    plan: str
    timing: Timing
    token_usage: TokenUsage | None = None

    def dict(self) -> dict[str, Any]:
        """The step as plain data."""
        return {
            "model_input_messages": [message.dict() for message in self.model_input_messages],
            "model_output_message": self.model_output_message.dict(),
            "plan": self.plan,
            "timing": self.timing.dict(),
            "token_usage": self.token_usage.dict() if self.token_usage else None,
        }

    def to_messages(self, summary_mode: bool = False) -> list[ChatMessage]:
        """The plan, and a word to carry it out; none in a summary, where old plans would mislead."""
        if summary_mode:
            return []
        return [text_message(MessageRole.ASSISTANT, self.plan), text_message(MessageRole.USER, "Carry out this plan.")]


@dataclass
class FinalAnswerStep(MemoryStep):
    """The answer of the run."""

    output: Any


@dataclass
class AgentMemory:
    """The steps of an agent, after its system prompt (given as text)."""

    system_prompt: SystemPromptStep
    steps: list[MemoryStep] = field(default_factory=list)

    def __init__(self, system_prompt: str) -> None:
        self.system_prompt = SystemPromptStep(system_prompt=system_prompt)
        self.steps = []

    def reset(self) -> None:
        """Forget all steps; the system prompt stays."""
        self.steps = []

    def get_full_steps(self) -> list[dict[str, Any]]:
        """All steps as plain data, oldest first."""
        return [step.dict() for step in self.steps]

    def get_succinct_steps(self) -> list[dict[str, Any]]:
        """The same without the messages that were sent to the model."""
        return [
            {key: value for key, value in step.items() if key != "model_input_messages"}
            for step in self.get_full_steps()
        ]

    def return_full_code(self) -> str:
        """The code of all actions, in order."""
        actions = [step.code_action for step in self.steps if isinstance(step, ActionStep)]
        return "\n\n".join(code for code in actions if code)
