"""Replies for `ScriptedModel`: an action as code, or as structured calls."""

from __future__ import annotations

from typing import Any

from smol_kernel.memory.messages import (
    ChatMessage,
    ChatMessageToolCall,
    ChatMessageToolCallFunction,
    MessageRole,
)
from smol_kernel.memory.usage import TokenUsage


def code(text: str, thought: str = "Next.") -> str:
    """A reply whose action is `text`."""
    return f"{thought}\n<code>\n{text}\n</code>"


def calls(*made: tuple[Any, Any], ids: list[Any] | None = None, text: str | None = None) -> ChatMessage:
    """A reply that makes calls, each given as name and arguments."""
    ids = [f"call-{number}" for number in range(1, len(made) + 1)] if ids is None else ids
    functions = [ChatMessageToolCallFunction(name, arguments) for name, arguments in made]
    structured = [ChatMessageToolCall(function, id=one) for function, one in zip(functions, ids, strict=True)]
    return ChatMessage(MessageRole.ASSISTANT, text, structured)


def call(tool: str, /, **arguments: Any) -> ChatMessage:
    """A reply that makes one call."""
    return calls((tool, arguments))


def counted(reply: str | ChatMessage, read: int = 10, written: int = 5, **counts: Any) -> ChatMessage:
    """The reply with its token counts."""
    message = ChatMessage(MessageRole.ASSISTANT, reply) if isinstance(reply, str) else reply
    message.token_usage = TokenUsage(read, written, **counts)
    return message


def final(answer: Any) -> ChatMessage:
    """A reply that gives the answer by a call."""
    return calls(("final_answer", {"answer": answer}))


def read(messages: list[ChatMessage]) -> str:
    """The text of a request."""
    return "\n".join(message.text for message in messages)


def request(agent: Any, number: int = -1) -> str:
    """The text of a request that the agent's scripted model got; the last one if not told otherwise."""
    return read(agent.model.requests[number])


def images(messages: list[ChatMessage]) -> list[Any]:
    """The images in a request."""
    parts = [part for message in messages if isinstance(message.content, list) for part in message.content]
    return [part["image"] for part in parts if part.get("type") == "image"]


def of(kind: type, events: Any) -> list[Any]:
    """The events of one kind."""
    return [event for event in events if isinstance(event, kind)]
