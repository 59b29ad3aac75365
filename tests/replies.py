"""Replies as a model writes them, and what a test looks for in a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from smol_kernel.events import Event
from smol_kernel.memory.messages import ChatMessage, MessageRole
from smol_kernel.memory.usage import TokenUsage


def code(text: str, thought: str = "Next.") -> str:
    """The reply of a CodeAgent's model."""
    return f"{thought}\n<code>\n{text}\n</code>"


def call(tool: str, /, text: str = "", **arguments: Any) -> ChatMessage:
    """The reply of a ToolCallingAgent's model: one structured call."""
    function = {"name": tool, "arguments": arguments}
    return ChatMessage(MessageRole.ASSISTANT, text, [{"id": "c1", "type": "function", "function": function}])  # type: ignore[list-item]


def counted(reply: str | ChatMessage, read: int = 10, written: int = 5, **counts: Any) -> ChatMessage:
    """The reply with its token counts."""
    message = ChatMessage(MessageRole.ASSISTANT, reply) if isinstance(reply, str) else reply
    message.token_usage = TokenUsage(read, written, **counts)
    return message


def request(agent: Any, number: int = -1) -> str:
    """The text of a request that the agent's scripted model got; the last one if not told otherwise."""
    return "\n".join(message.text for message in agent.model.requests[number])


def only(events: Iterable[Event], kind: type[Any]) -> list[Any]:
    """The events of one kind."""
    return [event for event in events if isinstance(event, kind)]
