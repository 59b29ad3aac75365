"""Models that users bring: a plain function, or an object of another library with `generate`. Made by `as_model`."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from smol_kernel.errors import ModelError
from smol_kernel.memory.messages import (
    ChatMessage,
    ChatMessageStreamDelta,
    ChatMessageToolCallStreamDelta,
    MessageRole,
    read_usage,
)
from smol_kernel.memory.usage import TokenUsage
from smol_kernel.models.base import Model
from smol_kernel.models.quirks import Kind
from smol_kernel.models.requests import request_options

if TYPE_CHECKING:
    from smol_kernel.tools.base import Tool

_OPTIONS = {"tools": "tools_to_call_from", "response_schema": "response_format"}
"""Kind → the parameter by which a function says that it takes it."""


class CallableModel(Model):
    """A plain function as a model. It is given those parameters of `generate` that it has, by name or by place."""

    def __init__(self, function: Callable[..., Any], model_id: str | None = None) -> None:
        super().__init__(model_id=model_id or getattr(function, "__name__", type(function).__name__))
        self.in_thread = self.in_thread and getattr(function, "in_thread", True) is not False
        self._function = function
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except ValueError:  # some built-in callables tell none
            parameters = [inspect.Parameter("messages", inspect.Parameter.POSITIONAL_ONLY)]
        kinds = {parameter.name: parameter.kind for parameter in parameters}
        self._takes_all = inspect.Parameter.VAR_KEYWORD in kinds.values()
        self._names = {p.name for p in parameters if p.kind not in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL)}
        self._places = [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY][1:]
        self._messages_by_name = not any(
            p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL) for p in parameters
        )

    def takes(self, kind: Kind) -> bool | None:
        """Tools and schemas: whether the function has the parameter for them; media: unknown."""
        if kind not in _OPTIONS:
            return super().takes(kind)
        return self._takes_all or _OPTIONS[kind] in {*self._names, *self._places}

    def generate(
        self,
        messages: list[ChatMessage],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: list[Tool] | None = None,
        **kwargs: Any,
    ) -> ChatMessage:
        """What the function returns: a ChatMessage, a message of the same shape, or text. It gets copies."""
        options = request_options(stop_sequences, response_format, tools_to_call_from, kwargs)
        return self._read(self._called(self._function, messages, options))

    def _called(self, function: Callable[..., Any], messages: list[ChatMessage], options: dict[str, Any]) -> Any:
        messages = [dataclasses.replace(message) for message in messages]
        placed = [options.pop(name, None) for name in self._places]
        wanted = {
            name: value
            for name, value in options.items()
            if name in self._names or (self._takes_all and value is not None)
        }
        if self._messages_by_name:
            return function(messages=messages, **wanted)
        return function(messages, *placed, **wanted)

    def _read(self, reply: Any) -> ChatMessage:
        if isinstance(reply, str):
            return ChatMessage(role=MessageRole.ASSISTANT, content=reply)
        if isinstance(reply, ChatMessage):
            return reply
        parts: Mapping[str, Any] = reply if isinstance(reply, Mapping) else getattr(reply, "__dict__", {})
        content, calls, usage = parts.get("content"), parts.get("tool_calls"), parts.get("token_usage")
        if not isinstance(content, (str, list)) and not calls:
            raise ModelError(f"the model {self.model_id} returned {reply!r:.80}; return a ChatMessage or a str")
        usage = read_usage(usage) if usage is not None else None
        return ChatMessage(MessageRole.ASSISTANT, content, calls or None, raw=reply, token_usage=usage)


class ForeignModel(CallableModel):
    """An object with `generate`, such as another library's model; it is asked to stream where it can."""

    def __init__(self, model: Any) -> None:
        name = getattr(model, "model_id", None)
        super().__init__(model.generate, name if name and isinstance(name, str) else type(model).__name__)
        self.in_thread = self.in_thread and getattr(model, "in_thread", True) is not False
        self._stream = getattr(model, "generate_stream", None)

    def generate_stream(
        self,
        messages: list[ChatMessage],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: list[Tool] | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatMessageStreamDelta]:
        """The pieces the object streams, their token counts summed up; or its whole reply as one."""
        options = request_options(stop_sequences, response_format, tools_to_call_from, kwargs)
        if self._stream is None:
            yield from in_pieces(self.generate(messages, **options))
            return
        counted = TokenUsage(0, 0, cost=0.0)
        for piece in self._called(self._stream, messages, options):
            usage = getattr(piece, "token_usage", None)
            if usage is not None:  # smolagents' pieces tell what they add
                counted += read_usage(usage)
            calls = [ChatMessageToolCallStreamDelta.read(call) for call in getattr(piece, "tool_calls", None) or []]
            yield ChatMessageStreamDelta(
                getattr(piece, "content", None), calls or None, counted if usage is not None else None
            )


def in_pieces(message: ChatMessage) -> Iterator[ChatMessageStreamDelta]:
    """A whole reply as a stream of one piece."""
    calls = [
        ChatMessageToolCallStreamDelta(index, call.id, call.type, call.function)
        for index, call in enumerate(message.tool_calls or [])
    ]
    yield ChatMessageStreamDelta(message.text or None, calls or None, message.token_usage, message.cut_off)


def stream_of(model: Any, messages: list[ChatMessage], options: dict[str, Any]) -> Generator[ChatMessageStreamDelta]:
    """The reply of a model in pieces; one that cannot stream gives it in one."""
    if hasattr(model, "generate_stream"):
        yield from model.generate_stream(messages, **options)
    else:
        yield from in_pieces(model.generate(messages, **options))
