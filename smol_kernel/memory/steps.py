"""The steps of a run. They are plain and mutable: a callback may edit them, and the next request shows it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from hashlib import sha256
from numbers import Integral
from typing import Any, cast

from smol_kernel.errors import AgentError, AgentExecutionError, AgentMaxStepsError, ConfigError
from smol_kernel.memory.messages import (
    ChatMessage,
    ChatMessageStreamDelta,
    ChatMessageToolCall,
    MessageRole,
    text_message,
    text_of,
)
from smol_kernel.memory.monitoring import AgentLogger, LogLevel
from smol_kernel.memory.raw_replies import as_data, without_keys
from smol_kernel.memory.untrusted import Outside, inert
from smol_kernel.memory.usage import Timing, TokenUsage

_RETRY = "Do it in another way now: the same again would fail again."
_GIVEN = "These values come with the task. To hand one to a tool as it is, give its name as the argument:"
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]{6,}")
_DEEPEST = 20  # levels of a value that are told as data


@dataclass
class ToolCall:
    """A call an agent makes: a tool by name, or for a CodeAgent the interpreter with its code."""

    name: str
    arguments: Any
    id: str

    def dict(self) -> dict[str, Any]:
        """The call in the shape of OpenAI's tool calls, its arguments as plain data."""
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": _plain(self.arguments)}}


@dataclass
class ActionOutput:
    """What an action gave."""

    output: Any
    is_final_answer: bool


@dataclass
class ToolOutput:
    """What a structured tool call gave; `observation` is what the model reads of it."""

    id: str
    output: Any
    is_final_answer: bool
    observation: str
    tool_call: ToolCall


@dataclass
class MemoryStep:
    """Base of all steps."""

    left_out = False
    """Whether the model reads nothing of it any more: the conversation was too long."""

    def dict(self) -> dict[str, Any]:
        """The step as plain data."""
        return {name: value for name, value in self.__dict__.items() if name != "left_out"}

    def to_messages(self, summary_mode: bool = False) -> list[ChatMessage]:
        """What the model reads of this step; `summary_mode` leaves out what a summary does not need."""
        return []


@dataclass
class SystemPromptStep(MemoryStep):
    """The system prompt."""

    system_prompt: str

    def to_messages(self, summary_mode: bool = False) -> list[ChatMessage]:
        """One system message; with `summary_mode` none."""
        return [] if summary_mode else [text_message(MessageRole.SYSTEM, self.system_prompt)]


@dataclass
class TaskStep(MemoryStep):
    """A task of the user, with the images, sounds and videos given with it."""

    task: str
    task_images: list[Any] | None = None
    task_audio: list[Any] | None = None
    task_videos: list[Any] | None = None

    @classmethod
    def with_inputs(cls, task: str, inputs: Mapping[str, str], code: bool, *media: list[Any] | None) -> TaskStep:
        """The step of a task that was given variables, each told in a line, to an agent that writes `code` or not."""
        listed = "\n".join(f"- `{name}`: {inert(told)}" for name, told in inputs.items())
        head = "These variables are defined already:" if code else _GIVEN
        return cls(f"{task}\n\n{head}\n{listed}" if inputs else task, *media)

    @staticmethod
    def check(task: Any) -> None:
        """Raises ConfigError for a task that says nothing."""
        if not isinstance(task, str) or not task.strip():
            what = "empty" if isinstance(task, str) else f"{task!r:.80}, which is no text"
            raise ConfigError(f"the task is {what}: say what the agent shall do")

    @staticmethod
    def media(images: Any, audio: Any, videos: Any) -> dict[str, list[Any] | None]:
        """What is shown with a task, as lists: of each kind a single one need not be in a list."""
        return {"images": _listed(images), "audio": _listed(audio), "videos": _listed(videos)}

    def dict(self) -> dict[str, Any]:
        """The step as plain data; sounds and videos where there are any."""
        return {
            name: value
            for name, value in self.__dict__.items()
            if name != "left_out" and (value is not None or name not in ("task_audio", "task_videos"))
        }

    def to_messages(self, summary_mode: bool = False) -> list[ChatMessage]:
        """One user message, with `summary_mode` too."""
        content: list[dict[str, Any]] = [{"type": "text", "text": f"Task:\n{self.task}"}]
        for kind, given in (("image", self.task_images), ("audio", self.task_audio), ("video", self.task_videos)):
            content += [{"type": kind, kind: value} for value in given or []]
        return [ChatMessage(role=MessageRole.USER, content=content)]


@dataclass
class ActionStep(MemoryStep):
    """One thought, action and observation.

    `step_number` counts from 1, `timing` is that of the whole step. The model was sent `model_input_messages`, replied
    `model_output_message`, which took `token_usage`, and `model_output` is what is remembered of that. The action is
    `code_action`, or `tool_calls`; what the model reads of it next are `observations`, `observations_images` and
    `error`. `action_output` is its value, the answer if `is_final_answer`. None: there is none.
    """

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
    _read = None
    """What `to_messages` gave, before it what that was made of, and behind it its `vars`, which are soon compared."""

    def dict(self) -> dict[str, Any]:
        """The step as plain data: `action_output` as far as JSON goes, images as their pixels."""
        return {
            "step_number": self.step_number,
            "timing": self.timing.dict(),
            "model_input_messages": _plain([message.dict() for message in self.model_input_messages or []]) or None,
            "tool_calls": [call.dict() for call in self.tool_calls or []],
            "error": self.error.dict() if self.error else None,
            "model_output_message": _reply(self.model_output_message) if self.model_output_message else None,
            "model_output": self.model_output,
            "code_action": self.code_action,
            "observations": self.observations,
            "observations_images": [_pixels(image) for image in self.observations_images or []] or None,
            "action_output": _plain(self.action_output),
            "token_usage": self.token_usage.dict() if self.token_usage else None,
            "is_final_answer": self.is_final_answer,
        }

    @property
    def seen_text(self) -> str:
        """What the model reads of the action, less addresses in memory: the same where the same came of it."""
        return _ADDRESS.sub(" at 0x…", self.observations or "")

    @property
    def seen_images(self) -> tuple[str, ...]:
        """Digests of the images that it is shown of the action."""
        found = [_pixels(each) for each in self.observations_images or ()]
        return tuple(sha256(each if isinstance(each, bytes) else repr(each).encode()).hexdigest() for each in found)

    def to_messages(self, summary_mode: bool = False) -> list[ChatMessage]:
        """What the model said (left out with `summary_mode`) and called, then what it saw of it, marked as data.

        Code stands in the reply already; structured calls become a message of their own. While nobody changes the step
        or them, the messages are the same objects each time: a long run has them in each of its many requests.
        """
        texts = (self.model_output, self.observations, self.error and self.error.message)
        if self.observations_images or self.code_action is None or isinstance(self.model_output, list):
            return self._messages(summary_mode)
        made_of = (summary_mode, type(self.error), *texts)
        if self._read is None or self._read[0] != made_of or list(map(vars, self._read[1])) != self._read[2]:
            self._read = made_of, self._messages(summary_mode), list(map(vars, self._messages(summary_mode)))
        return list(self._read[1])

    def _messages(self, summary_mode: bool) -> list[ChatMessage]:
        messages: list[ChatMessage] = []
        called = self.tool_calls if self.code_action is None else None
        output = self.model_output
        if output is not None and not summary_mode and (not called or text_of(output).strip()):
            content: list[dict[str, Any]] = [{"type": "text", "text": output}] if isinstance(output, str) else output
            messages.append(ChatMessage(role=MessageRole.ASSISTANT, content=content))
        if called:
            calls = json.dumps([call.dict() for call in called], ensure_ascii=False)
            messages.append(text_message(MessageRole.TOOL_CALL, f"Tool calls:\n{calls}"))
        if self.observations_images:
            images: list[dict[str, Any]] = [{"type": "image", "image": image} for image in self.observations_images]
            messages.append(ChatMessage(role=MessageRole.USER, content=images))
        if self.observations is not None:
            messages.append(_told(Outside(f"Observation:\n{inert(self.observations)}")))
        if self.error is not None:
            said = f"Error:\n{inert(self.error.message)}"
            # what is wrong with a reply we say ourselves, and it is to be heeded
            said = Outside(said) if isinstance(self.error, AgentExecutionError) else said
            messages.append(_told(said, "" if isinstance(self.error, AgentMaxStepsError) else _RETRY))
        return messages


@dataclass
class PlanningStep(MemoryStep):
    """A `plan` the model made between actions; messages, `timing` and `token_usage` are as in ActionStep."""

    model_input_messages: list[ChatMessage]
    model_output_message: ChatMessage
    plan: str
    timing: Timing
    token_usage: TokenUsage | None = None
    request: str = ""
    """The words it was asked for with, where they stay in the conversation."""

    def dict(self) -> dict[str, Any]:
        """The step as plain data."""
        return {
            "model_input_messages": _plain([message.dict() for message in self.model_input_messages]),
            "model_output_message": _reply(self.model_output_message),
            "plan": self.plan,
            "timing": self.timing.dict(),
            "token_usage": self.token_usage.dict() if self.token_usage else None,
        }

    def to_messages(self, summary_mode: bool = False) -> list[ChatMessage]:
        """The plan, and a word to carry it out; with `summary_mode` none: there old plans would mislead."""
        if summary_mode:
            return []
        asked = [text_message(MessageRole.USER, self.request)] if self.request else []
        plan = text_message(MessageRole.ASSISTANT, self.plan)
        return [*asked, plan, text_message(MessageRole.USER, "Carry out this plan.")]


@dataclass
class FinalAnswerStep(MemoryStep):
    """The answer of the run."""

    output: Any


StreamEvent = (
    ChatMessageStreamDelta
    | ChatMessageToolCall
    | ActionOutput
    | ToolCall
    | ToolOutput
    | PlanningStep
    | ActionStep
    | FinalAnswerStep
)
"""What `run(stream=True)` yields."""


class AgentMemory:
    """The steps of an agent, after its system prompt (given as text)."""

    def __init__(self, system_prompt: str) -> None:
        self.system_prompt = SystemPromptStep(system_prompt=system_prompt)
        self.steps: list[MemoryStep] = []

    def reset(self) -> None:
        """Forget all steps; the system prompt stays."""
        self.steps = []

    def messages(self, summary_mode: bool = False) -> list[ChatMessage]:
        """What the model reads of all steps; of those left out a note is read, with `summary_mode` they themselves."""
        read: list[ChatMessage] = []
        gone = 0
        for step in [self.system_prompt, *self.steps]:
            if step.left_out and not summary_mode:
                gone += 1
                continue
            if gone:
                note = f"[Left out here for length: {gone} step{'s' * (gone > 1)}. What was made then is still there.]"
                read.append(text_message(MessageRole.USER, note))
            gone = 0
            read += step.to_messages(summary_mode=summary_mode)
        return read

    def get_full_steps(self) -> list[dict[str, Any]]:
        """All steps as plain data, oldest first."""
        return [step.dict() for step in self.steps]

    def get_succinct_steps(self) -> list[dict[str, Any]]:
        """The same without the messages that were sent to the model."""
        return [
            {key: value for key, value in step.items() if key != "model_input_messages"}
            for step in self.get_full_steps()
        ]

    def readable(self, *more: MemoryStep) -> list[dict[str, Any]]:
        """What a model reads of each step, and of `more` after them, as plain text; of images their number."""
        names = ("task", "plan", "model_output", "observations", "error", "observations_images", "task_images")
        read = [{name: getattr(step, name, None) for name in names} for step in [*self.steps, *more]]
        return [{k: len(v) if isinstance(v, list) else str(v or "") for k, v in step.items()} for step in read]

    def return_full_code(self) -> str:
        """The code of all actions, in order."""
        actions = [step.code_action for step in self.steps if isinstance(step, ActionStep)]
        return "\n\n".join(code for code in actions if code)

    def replay(self, logger: AgentLogger, detailed: bool = False) -> None:
        """Print the steps again through `logger`; `detailed`, with all that the model was sent at each."""
        logger.log_markdown(self.system_prompt.system_prompt, title="System prompt", level=LogLevel.ERROR)
        for step in self.steps:
            _replay(step, logger, detailed)


def longest(steps: list[MemoryStep]) -> list[MemoryStep]:
    """The longest of the steps, as few as make half of their text."""
    lengths = [(sum(len(message.text) for message in step.to_messages()), place) for place, step in enumerate(steps)]
    half, chosen = sum(length for length, _ in lengths) / 2, list[MemoryStep]()
    for length, place in sorted(lengths, reverse=True):
        if half <= 0 and chosen:
            break
        half -= length
        chosen.append(steps[place])
    return chosen


def _told(*texts: str) -> ChatMessage:
    return ChatMessage(MessageRole.TOOL_RESPONSE, [{"type": "text", "text": text} for text in filter(None, texts)])


def _replay(step: MemoryStep, logger: AgentLogger, detailed: bool) -> None:
    level = LogLevel.ERROR  # all but a logger that is off
    if isinstance(step, TaskStep):
        logger.log_task(step.task, "", level=level)
    elif isinstance(step, PlanningStep):
        logger.log_rule("Plan", level=level)
        if detailed:
            logger.log_messages(step.model_input_messages, level=level)
        logger.log_markdown(step.plan, level=level)
    elif isinstance(step, ActionStep):
        logger.log_rule(f"Step {step.step_number}", level=level)
        if detailed and step.model_input_messages:
            logger.log_messages(step.model_input_messages, level=level)
        for message in step.to_messages():
            logger.log_markdown(message.text, level=level)
    elif isinstance(step, FinalAnswerStep):
        logger.log_markdown(str(step.output), title="Answer", level=level)


def _reply(message: ChatMessage) -> dict[str, Any]:
    """A reply as data, with the provider's own as far as that is data."""
    return {**_plain(message.dict()), "raw": without_keys(_plain(as_data(message.raw)))}


def _pixels(image: Any) -> Any:
    return image.tobytes() if hasattr(image, "tobytes") else image


def _plain(value: Any, depth: int = 0) -> Any:
    """`value` as data that JSON can hold: what has no words of its own by its attributes, all else as text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if depth > _DEEPEST:
        return str(value)
    if isinstance(value, dict):
        return {str(key): _plain(item, depth + 1) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, depth + 1) for item in cast("list[Any]", value)]
    if getattr(value, "shape", None) == () and hasattr(value, "item"):  # a number of numpy's
        return _plain(value.item(), depth + 1)
    speechless = type(value).__repr__ is object.__repr__ and type(value).__str__ is object.__str__
    if hasattr(value, "__dict__") and (speechless or (is_dataclass(value) and not isinstance(value, type))):
        return {"_type": type(value).__name__, **_plain(vars(value), depth + 1)}
    return str(value)


def _listed(media: Any) -> list[Any] | None:
    if media is None or isinstance(media, list):
        return cast("list[Any] | None", media)
    is_sound = isinstance(media, tuple) and bool(media) and isinstance(media[0], Integral)  # samples a second, array
    return list(cast("tuple[Any, ...]", media)) if isinstance(media, tuple) and not is_sound else [media]
