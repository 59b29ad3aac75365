"""Chat messages as models read and write them, in the shape of OpenAI's chat completions API
(https://platform.openai.com/docs/api-reference/chat)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from smol_kernel.memory.usage import TokenUsage


class MessageRole(str, Enum):
    """Who speaks. The tool roles are ours; models that know only three get them mapped."""

    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"
    TOOL_CALL = "tool-call"
    TOOL_RESPONSE = "tool-response"

    @classmethod
    def roles(cls) -> list[str]:
        """All roles as strings."""
        return [role.value for role in cls]


@dataclass
class ChatMessageToolCallFunction:
    """The function a structured tool call names, with its arguments (a dict, or JSON text)."""

    name: str
    arguments: Any
    description: str | None = None


@dataclass
class ChatMessageToolCall:
    """One structured tool call of a reply."""

    function: ChatMessageToolCallFunction
    id: str
    type: str = "function"


@dataclass
class ChatMessage:
    """One message. `content` is text, or a list of parts such as `{"type": "text", "text": …}`."""

    role: MessageRole
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[ChatMessageToolCall] | None = None
    raw: Any = None
    token_usage: TokenUsage | None = None

    @property
    def text(self) -> str:
        """The text parts joined; empty where there are none."""
        return text_of(self.content)

    def dict(self) -> dict[str, Any]:
        """The message as plain data, without the provider's raw reply."""
        calls = [
            {
                "id": call.id,
                "type": call.type,
                "function": {"name": call.function.name, "arguments": call.function.arguments},
            }
            for call in self.tool_calls or []
        ]
        return {"role": MessageRole(self.role).value, "content": self.content, "tool_calls": calls or None}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ChatMessage:
        """The inverse of `dict()`."""
        calls = [
            ChatMessageToolCall(
                function=ChatMessageToolCallFunction(**call["function"]), id=call["id"], type=call["type"]
            )
            for call in data.get("tool_calls") or []
        ]
        return cls(role=MessageRole(data["role"]), content=data.get("content"), tool_calls=calls or None)


@dataclass
class ChatMessageToolCallStreamDelta:
    """A piece of a structured tool call, as it streams in."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: ChatMessageToolCallFunction | None = None


@dataclass
class ChatMessageStreamDelta:
    """A piece of a reply, as it streams in; `token_usage` comes with the last one."""

    content: str | None = None
    tool_calls: list[ChatMessageToolCallStreamDelta] | None = None
    token_usage: TokenUsage | None = None


def text_message(role: MessageRole, text: str) -> ChatMessage:
    """A message of one text part."""
    return ChatMessage(role=role, content=[{"type": "text", "text": text}])


def text_of(content: str | list[dict[str, Any]] | None) -> str:
    """The text of a message's content; other parts are left out."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part.get("type") == "text")


def agglomerate_stream_deltas(
    deltas: Iterable[ChatMessageStreamDelta], role: MessageRole = MessageRole.ASSISTANT
) -> ChatMessage:
    """The message that a finished stream of pieces amounts to.

    Usage is that of the last piece that carries one: providers send running totals, not differences.
    """
    text: list[str] = []
    calls: dict[int, ChatMessageToolCall] = {}
    usage: TokenUsage | None = None
    for delta in deltas:
        if delta.content:
            text.append(delta.content)
        usage = delta.token_usage or usage
        for piece in delta.tool_calls or []:
            _add_piece(calls, piece)
    ordered = [calls[index] for index in sorted(calls)]
    return ChatMessage(role=role, content="".join(text), tool_calls=ordered or None, token_usage=usage)


def _add_piece(calls: dict[int, ChatMessageToolCall], piece: ChatMessageToolCallStreamDelta) -> None:
    index = piece.index if piece.index is not None else max(calls, default=0)
    call = calls.setdefault(index, ChatMessageToolCall(ChatMessageToolCallFunction(name="", arguments=""), id=""))
    call.id = piece.id or call.id
    call.type = piece.type or call.type
    if piece.function is not None:
        call.function.name = piece.function.name or call.function.name
        call.function.arguments += piece.function.arguments or ""
