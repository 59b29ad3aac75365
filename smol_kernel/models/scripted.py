"""`ScriptedModel`: a model that gives prepared replies. For tests, ours and users', and for the demo."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from smol_kernel.errors import ConfigError, ContextLengthError, ModelError
from smol_kernel.events import Compacted, ModelReplied, settled
from smol_kernel.journal import Journal, open_journal
from smol_kernel.memory.messages import ChatMessage, ChatMessageStreamDelta, MessageRole, pieces_of
from smol_kernel.models.base import Model
from smol_kernel.models.quirks import Kind
from smol_kernel.models.replies import reply_of

Reply = str | ChatMessage | BaseException | Callable[[list[ChatMessage]], "Reply"]
"""Text, a message, an exception to raise, or a function of the messages that returns one of these."""


class ScriptedModel(Model):
    """Gives `replies` in their order, whatever it is asked. It calls no network and needs no key.

        model = ScriptedModel(["Let me add.\\n<code>\\nfinal_answer(1 + 1)\\n</code>"])
        assert CodeAgent(tools=[], model=model).run("add") == 2

    A reply is text, a ChatMessage, an exception (raised), or a function that is given the messages and returns one of
    these. `requests` holds the messages of every request so far. Asked once more than it has replies, it
    raises ModelError. Raises ConfigError for `replies` that are one text.
    """

    scripted = True

    def __init__(self, replies: Iterable[Reply], model_id: str = "scripted") -> None:
        super().__init__(model_id=model_id)
        if isinstance(replies, str):
            raise ConfigError("replies is a text: give a list, ScriptedModel([…])")
        self.replies = list(replies)
        self.requests: list[list[ChatMessage]] = []
        self._lock = threading.Lock()

    @classmethod
    def from_run(cls, run_id: str = "last", journal: Journal | str | Path | None = None) -> ScriptedModel:
        """The replies that the model of a recorded run gave, as a script: plans, actions and a last answer, in order.

        `run_id` is the run's id or the beginning of it, `journal` where it is recorded (None: the default one). Replies
        to agents that it called are not among them: each has a run of its own. Where the model had refused to read the
        whole conversation, so does the script (ContextLengthError). Raises RunNotFoundError, and ModelError for a run
        in which the model never spoke.
        """
        book = open_journal(journal)
        if book is None:
            raise ModelError("journal is False: give the journal that the run is in")
        summary = book.find(run_id)
        events = settled(book.events(summary.run))
        too_long = ContextLengthError("recorded: the conversation was longer than the model could read")
        spoken = [event for event in events if isinstance(event, ModelReplied | Compacted)]
        if not spoken:
            raise ModelError(f"in run {summary.run} the model gave no reply: there is nothing to make a script of")
        return ScriptedModel(
            [reply_of(event) if isinstance(event, ModelReplied) else too_long for event in spoken], summary.model
        )

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
        yield from pieces_of(self.generate(messages, *args, **kwargs))

    def reply(self, number: int, messages: list[ChatMessage]) -> Reply:
        """The reply to request `number`, counted from 1. Raises ModelError where the script has none."""
        if number > len(self.replies):
            raise ModelError(
                f"the script of model {self.model_id!r} is over: it has {len(self.replies)} "
                f"{'reply' if len(self.replies) == 1 else 'replies'}, and this is request {number}"
            )
        return self.replies[number - 1]

    def _message(self, reply: Reply, messages: list[ChatMessage]) -> ChatMessage:
        if isinstance(reply, BaseException):
            raise reply
        if callable(reply):
            return self._message(reply(messages), messages)
        if isinstance(reply, str):
            return ChatMessage(role=MessageRole.ASSISTANT, content=reply)
        return reply
