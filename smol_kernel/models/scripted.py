"""`ScriptedModel`: a model that gives prepared replies. For tests, ours and users', and for the demo."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smol_kernel.errors import ContextLengthError, ModelError
from smol_kernel.events import Compacted, ModelReplied, RunStarted, settled
from smol_kernel.memory.messages import (
    ChatMessage,
    ChatMessageStreamDelta,
    ChatMessageToolCall,
    ChatMessageToolCallStreamDelta,
    MessageRole,
)
from smol_kernel.memory.usage import TokenUsage
from smol_kernel.models.base import Model
from smol_kernel.models.quirks import Kind

if TYPE_CHECKING:
    from smol_kernel.journal import Journal

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

    @classmethod
    def from_run(cls, run_id: str, journal: Journal | str | Path | None = None) -> ScriptedModel:
        """The replies of a recorded run as a script: plans, actions and answers in their order, with calls and counts.

        `run_id` is the beginning of its id, or "last"; `journal` is where it is recorded (None: the default journal).
        Those of agents that it called are not among them: each of these has a run, and so a script, of its own. Where
        the model had refused to read the whole conversation, so does the script (ContextLengthError). Raises
        RunNotFoundError, JournalError, and ModelError for a run in which the model never spoke.
        """
        from smol_kernel.journal import open_journal

        opened: Any = open_journal(journal)
        events = settled(opened.events(opened.find(run_id).run))
        replies: list[Reply] = []
        model_id = "scripted"
        for event in events:
            if isinstance(event, RunStarted):
                model_id = event.model
            elif isinstance(event, ModelReplied):
                replies.append(reply_of(event))
            elif isinstance(event, Compacted):
                replies.append(ContextLengthError("recorded: the conversation was longer than the model could read"))
        if not replies:
            raise ModelError(f"in run {run_id!r} the model gave no reply: there is nothing to make a script of")
        return ScriptedModel(replies, model_id)

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


def reply_of(event: ModelReplied) -> ChatMessage:
    """The reply that the event tells of."""
    calls = [ChatMessageToolCall.read(call) for call in event.tool_calls]
    usage = None
    if event.input_tokens is not None:
        usage = TokenUsage(event.input_tokens, event.output_tokens or 0, event.cached_tokens or 0, event.cost)
    return ChatMessage(MessageRole.ASSISTANT, event.content, calls or None, token_usage=usage)
