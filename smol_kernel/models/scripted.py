"""`ScriptedModel`: a model that gives prepared replies. For tests, ours and users', and for the demo."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from smol_kernel.errors import ModelError
from smol_kernel.memory.messages import (
    ChatMessage,
    ChatMessageStreamDelta,
    ChatMessageToolCallStreamDelta,
    MessageRole,
)
from smol_kernel.models.base import Model
from smol_kernel.models.quirks import Kind

Reply = str | ChatMessage | BaseException | Callable[[list[ChatMessage]], str | ChatMessage]
"""Text, a message, an exception to raise, or a function of the messages that returns text or a message."""


class ScriptedModel(Model):
    """Gives `replies` in their order, whatever it is asked. It calls no network and needs no key.

        model = ScriptedModel(["Let me add.\\n<code>\\nfinal_answer(1 + 1)\\n</code>"])
        assert CodeAgent(tools=[], model=model).run("add") == 2

    A reply is text, a ChatMessage, an exception (raised), or a function that is given the messages and returns text
    or a ChatMessage. `requests` holds the messages of every request so far. Asked once more than it has replies, it
    raises ModelError.
    """

    scripted = True

    def __init__(self, replies: Iterable[Reply], model_id: str = "scripted") -> None:
        super().__init__(model_id=model_id)
        self.replies = list(replies)
        self.requests: list[list[ChatMessage]] = []
        self._lock = threading.Lock()

    def takes(self, kind: Kind) -> bool:
        """True: a script reads nothing, so nothing is kept from it."""
        return True

    def generate(self, messages: list[ChatMessage], *args: Any, **kwargs: Any) -> ChatMessage:
        """The next reply, word for word; stop sequences and other parameters change nothing."""
        with self._lock:
            self.requests.append(list(messages))
            number = len(self.requests)
        return self._message(self.reply(number, messages), messages)

    def generate_stream(
        self, messages: list[ChatMessage], *args: Any, **kwargs: Any
    ) -> Iterator[ChatMessageStreamDelta]:
        """The next reply, piece by piece: a line or a few words each."""
        yield from small_pieces(self.generate(messages, *args, **kwargs))

    def reply(self, number: int, messages: list[ChatMessage]) -> Reply:
        """The reply to request `number`, counted from 1. Raises ModelError where the script has none."""
        if number > len(self.replies):
            raise ModelError(
                f"the script of model {self.model_id!r} is over: it has {len(self.replies)} replies, and this is "
                f"request {number}"
            )
        return self.replies[number - 1]

    def _message(self, reply: Reply, messages: list[ChatMessage]) -> ChatMessage:
        if isinstance(reply, BaseException):
            raise reply
        if not isinstance(reply, (str, ChatMessage)):
            reply = reply(messages)
        if isinstance(reply, str):
            return ChatMessage(role=MessageRole.ASSISTANT, content=reply)
        return reply


def small_pieces(message: ChatMessage) -> Iterator[ChatMessageStreamDelta]:
    """A whole reply as if it streamed in: a line or a few words each, then its calls and its token counts."""
    for piece in re.findall(r"[^\n]{0,24}\S*\s*|\n", message.text):
        if piece:
            yield ChatMessageStreamDelta(content=piece)
    for index, call in enumerate(message.tool_calls or []):
        delta = ChatMessageToolCallStreamDelta(index=index, id=call.id, type=call.type, function=call.function)
        yield ChatMessageStreamDelta(tool_calls=[delta])
    if message.token_usage is not None:
        yield ChatMessageStreamDelta(token_usage=message.token_usage)
