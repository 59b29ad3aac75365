"""`RecordedModel`: gives the replies of a recording, then those of the agent's model. `replay` puts it in its place."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from smol_kernel.errors import ContextLengthError
from smol_kernel.events import Compacted, Event, ModelReplied
from smol_kernel.memory.messages import ChatMessage, ChatMessageStreamDelta, MessageRole, pieces_of
from smol_kernel.models.replies import reply_of


class RecordedModel:
    """Stands before `live`, a Model: as long as there are `recorded` replies it gives these, whatever it is asked.

    `gate` is called before `live` is asked, and may raise, or say that it is not to be.
    """

    is_model = True
    PLAYED = (ModelReplied, Compacted)
    """Events that tell what a model did: where one was shortened for, it had refused to read the conversation."""

    def __init__(self, live: Any, recorded: Iterable[Event], gate: Callable[[], bool]) -> None:
        self._live, self._recorded, self._gate = live, deque(recorded), gate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._live, name)

    @property
    def slow_start(self) -> str | None:
        """Nothing has to be loaded for a recorded reply."""
        return None if self._recorded else self._live.slow_start

    def generate(self, messages: list[ChatMessage], **options: Any) -> ChatMessage:
        """The next recorded reply, or the model's own."""
        if self._recorded:
            return self._next()
        return self._live.generate(messages, **options) if self._gate() else ChatMessage(MessageRole.ASSISTANT, "")

    def generate_stream(self, messages: list[ChatMessage], **options: Any) -> Iterator[ChatMessageStreamDelta]:
        """The same in pieces."""
        if not self._recorded and hasattr(self._live, "generate_stream") and self._gate():
            yield from self._live.generate_stream(messages, **options)
        else:
            yield from pieces_of(self.generate(messages, **options))

    def _next(self) -> ChatMessage:
        event = self._recorded.popleft()
        if isinstance(event, ModelReplied):
            return reply_of(event)
        raise ContextLengthError("recorded: the conversation was longer than the model could read")
