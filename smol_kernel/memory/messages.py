"""Chat messages as models read and write them, in the shape of OpenAI's chat completions API
(https://platform.openai.com/docs/api-reference/chat)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
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

    def __str__(self) -> str:
        return f"{self.function.name}({self.function.arguments}) [{self.id}]"

    def dict(self) -> dict[str, Any]:
        """The call as plain data, in the shape of OpenAI's API."""
        function = {"name": self.function.name, "arguments": self.function.arguments}
        if self.function.description is not None:
            function["description"] = self.function.description
        return {"id": self.id, "type": self.type, "function": function}

    @classmethod
    def read(cls, call: Any) -> ChatMessageToolCall:
        """A call as a ChatMessageToolCall: one already, a dict, or another library's object of the same shape."""
        if isinstance(call, ChatMessageToolCall):
            return call
        function = _member(call, "function")
        return cls(
            ChatMessageToolCallFunction(
                _member(function, "name") or "", _member(function, "arguments"), _member(function, "description")
            ),
            id=str(_member(call, "id") or ""),
            type=_member(call, "type") or "function",
        )


@dataclass
class ChatMessage:
    """One message. `content` is text, or a list of parts such as `{"type": "text", "text": …}`.

    `tool_calls` may be given as dicts, or as objects of another library, in the shape of OpenAI's API; `raw` is the
    provider's own reply; `cut_off` says that a limit on its tokens, or the provider, ended it.
    """

    role: MessageRole
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[ChatMessageToolCall] | None = None
    raw: Any = None
    token_usage: TokenUsage | None = None
    cut_off: bool = False

    def __post_init__(self) -> None:
        if self.tool_calls is not None:
            self.tool_calls = [ChatMessageToolCall.read(call) for call in self.tool_calls]

    @property
    def text(self) -> str:
        """The text parts joined; empty where there are none."""
        return text_of(self.content)

    def dict(self) -> dict[str, Any]:
        """The message as plain data; `raw` is None: a step's `dict()` has of the provider's reply what is data."""
        return {
            "role": MessageRole(self.role).value,
            "content": self.content,
            "tool_calls": [call.dict() for call in self.tool_calls or []] or None,
            "raw": None,
            "token_usage": self.token_usage.dict() if self.token_usage is not None else None,
            **({"cut_off": True} if self.cut_off else {}),
        }

    def model_dump_json(self) -> str:
        """`dict()` as JSON. What JSON cannot hold, such as an image, is there as its repr."""
        return json.dumps(self.dict(), default=repr)

    def render_as_markdown(self) -> str:
        """The text, then each tool call as a JSON object."""
        calls = [
            json.dumps({"tool": call.function.name, "arguments": call.function.arguments}, default=repr)
            for call in self.tool_calls or []
        ]
        return self.text + "\n".join(calls)

    @classmethod
    def from_dict(cls, data: dict[str, Any], raw: Any = None, token_usage: TokenUsage | None = None) -> ChatMessage:
        """The inverse of `dict()`, with the provider's `raw` reply and a `token_usage` that goes before the dict's."""
        counted = data.get("token_usage")
        if token_usage is None and counted is not None:
            token_usage = read_usage(counted)
        content, calls, cut_off = data.get("content"), data.get("tool_calls") or None, data.get("cut_off", False)
        return cls(MessageRole(data["role"]), content, calls, raw, token_usage, cut_off)


@dataclass
class ChatMessageToolCallStreamDelta:
    """A piece of a structured tool call, as it streams in."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: ChatMessageToolCallFunction | None = None

    @classmethod
    def read(cls, call: Any) -> ChatMessageToolCallStreamDelta:
        """A piece of another library's, of the same shape."""
        made = call.function
        function = made and ChatMessageToolCallFunction(made.name or "", made.arguments or "")
        return cls(call.index, call.id, call.type, function)


@dataclass
class ChatMessageStreamDelta:
    """A piece of a reply, as it streams in; `token_usage` comes with the last one, and `cut_off` (see ChatMessage)."""

    content: str | None = None
    tool_calls: list[ChatMessageToolCallStreamDelta] | None = None
    token_usage: TokenUsage | None = None
    cut_off: bool = False


def read_usage(usage: Any) -> TokenUsage:
    """Counts as a TokenUsage: one already, a dict, an event, or another library's object with the same names."""
    if isinstance(usage, TokenUsage):
        return usage
    return TokenUsage(
        _member(usage, "input_tokens") or 0,
        _member(usage, "output_tokens") or 0,
        _member(usage, "cached_tokens") or 0,
        _member(usage, "cost"),
    )


def _member(thing: Any, name: str) -> Any:
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)


def text_message(role: MessageRole, text: str) -> ChatMessage:
    """A message of one text part."""
    return ChatMessage(role=role, content=[{"type": "text", "text": text}])


HAS_TO_BE = 'has to be text or a list of parts such as {"type": "text", "text": "…"}'
"""What is to be said of a message's content that is something else."""


def text_of(content: str | list[dict[str, Any]] | None) -> str:
    """The text of a message's content; other parts are left out. Raises TypeError for what is no content."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    try:
        return "\n".join(part["text"] for part in content if part.get("type") == "text")
    except (TypeError, AttributeError, KeyError):
        raise TypeError(f"content {HAS_TO_BE}, not {content!r:.80}") from None


def agglomerate_stream_deltas(
    stream_deltas: Iterable[ChatMessageStreamDelta], role: MessageRole = MessageRole.ASSISTANT
) -> ChatMessage:
    """The message, of this `role`, that a finished stream of pieces amounts to.

    Usage is that of the last piece that carries one: providers send running totals, not differences. A piece of a
    tool call belongs to the last call of its index, where it has one; a new id with a name begins a new call.
    """
    text: list[str] = []
    calls: list[tuple[int | None, ChatMessageToolCall]] = []
    usage, cut_off = None, False
    for delta in stream_deltas:
        if delta.content:
            text.append(delta.content)
        usage = delta.token_usage or usage
        cut_off = cut_off or getattr(delta, "cut_off", False)  # pieces of another library have no such field
        for piece in delta.tool_calls or []:
            _add_piece(_call_of(calls, piece), piece)
    whole = [call for _, call in calls if call.function.name or str(call.function.arguments).strip()]
    return ChatMessage(role, "".join(text), tool_calls=whole or None, token_usage=usage, cut_off=cut_off)


def pieces_of(message: ChatMessage) -> Iterator[ChatMessageStreamDelta]:
    """A whole message as if it streamed in: a line or a few words at a time, then its calls, then its counts."""
    for piece in re.findall(r"[^\n]{0,24}\S*\s*|\n", message.text):
        if piece:
            yield ChatMessageStreamDelta(content=piece)
    for index, call in enumerate(message.tool_calls or []):
        delta = ChatMessageToolCallStreamDelta(index=index, id=call.id, type=call.type, function=call.function)
        yield ChatMessageStreamDelta(tool_calls=[delta])
    if message.token_usage is not None or message.cut_off:
        yield ChatMessageStreamDelta(token_usage=message.token_usage, cut_off=message.cut_off)


def _call_of(
    calls: list[tuple[int | None, ChatMessageToolCall]], piece: ChatMessageToolCallStreamDelta
) -> ChatMessageToolCall:
    """The call that `piece` goes on with; some providers send no index, or the same one for all calls, and some a new
    id with each piece."""
    fitting = [call for index, call in reversed(calls) if piece.index in (None, index)]
    for call in fitting:
        if not piece.id or piece.id == call.id or not call.id:
            return call
    if fitting and not (piece.function and piece.function.name) and not _is_whole(fitting[0].function.arguments):
        return fitting[0]
    call = ChatMessageToolCall(ChatMessageToolCallFunction(name="", arguments=""), id="")
    calls.append((piece.index, call))
    return call


def _is_whole(arguments: Any) -> bool:
    """Whether nothing can follow in the arguments of a call."""
    if not isinstance(arguments, str):
        return arguments is not None
    try:
        return isinstance(json.loads(arguments), dict)
    except (ValueError, RecursionError):
        return False


def _add_piece(call: ChatMessageToolCall, piece: ChatMessageToolCallStreamDelta) -> None:
    call.id = call.id or piece.id or ""
    call.type = piece.type or call.type
    if piece.function is not None:
        call.function.name = piece.function.name or call.function.name
        if isinstance(piece.function.arguments, str) and isinstance(call.function.arguments, str):
            call.function.arguments += piece.function.arguments
        elif piece.function.arguments is not None:
            call.function.arguments = piece.function.arguments  # whole already
