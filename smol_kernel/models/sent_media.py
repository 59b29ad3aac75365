"""`SentMedia`: the images, sounds and videos that go out with the requests to a model, and which of them it refuses.

Of many models, those of local servers above all, nobody knows whether they take images. They are sent some; where that
is refused the model is asked once more without.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from smol_kernel.errors import ModelError
from smol_kernel.events import Notice, emit
from smol_kernel.memory.messages import ChatMessage
from smol_kernel.models.base import Model
from smol_kernel.models.failures import is_media, may_be_media
from smol_kernel.models.media import MEDIA, sendable
from smol_kernel.models.quirks import Kind
from smol_kernel.models.requests import known_role

T = TypeVar("T")
TWICE = 2
"""So many refusals in a row that do not name their reason are for the media."""
_another_is_asked: ContextVar[bool] = ContextVar("_another_is_asked", default=False)


class SentMedia:
    """Of one model. `refused` are the kinds that it turned out to refuse."""

    def __init__(self, model: Model) -> None:
        self.refused: frozenset[Kind] = frozenset()
        self._model = model
        self._told: set[str] = set()
        self._in_a_row = 0

    def sendable(self, messages: list[ChatMessage], without: Collection[Kind] = ()) -> list[ChatMessage]:
        """The messages with their media as the model can take them, and none of the kinds `without`; the person is told
        once what it cannot. Raises ModelError."""

        def takes(kind: Kind) -> bool | None:
            return False if kind in without else self._model.takes(kind)

        ready: list[ChatMessage] = []
        left_out: set[str] = set()
        for message in map(_as_message, messages):
            content, missing = sendable(message.content, takes, str(self._model.model_id))
            ready.append(dataclasses.replace(message, content=content))
            left_out.update(missing)
        self._tell(left_out.difference(without))
        return ready

    def found_out(self, messages: list[ChatMessage], ask: Callable[[list[ChatMessage]], Iterator[T]]) -> Iterator[T]:
        """What `ask(messages)` gives. If it is refused, maybe for media of which nobody knows whether the model takes
        them, that is found out by asking without. Raises ModelError; where both are refused, the first."""
        pieces = ask(messages)
        try:
            first = next(pieces, None)
        except ModelError as error:
            without = self._doubted(messages)
            if not without or not may_be_media(error.__cause__) or _another_is_asked.get():
                raise
            pieces = ask(self.sendable(messages, without))
            try:
                first = next(pieces, None)
            except ModelError:
                raise error from error.__cause__
            self._in_a_row += 1
            self._learn(without, is_media(error.__cause__) or self._in_a_row == TWICE)
        else:
            self._in_a_row = 0 if self._doubted(messages) else self._in_a_row
        if first is not None:
            yield first
        yield from pieces

    def _doubted(self, messages: list[ChatMessage]) -> frozenset[Kind]:
        """The kinds in the messages of which nobody knows."""
        contents = [message.content for message in map(_as_message, messages)]
        sent = {part.get("type") for content in contents if isinstance(content, list) for part in content}
        sent |= {"image"} if "video" in sent else set()  # as its frames
        return frozenset(kind for kind in MEDIA if kind in sent and self._model.takes(kind) is None)

    def _learn(self, refused: frozenset[Kind], for_good: bool) -> None:
        if for_good:
            self.refused |= refused
            self._tell(refused)
        else:
            what = " and ".join("images" if kind == "image" else kind for kind in sorted(refused))
            emit(Notice(text=f"Model {self._model.model_id!r} refused a request with {what}: asked again without."))

    def _tell(self, left_out: Collection[str]) -> None:
        for kind in sorted(set(left_out) - self._told):
            self._told.add(kind)
            what = "images" if kind == "image" else kind
            emit(Notice(text=f"Model {self._model.model_id!r} takes no {what}: left out of what it reads."))


def _as_message(message: ChatMessage) -> ChatMessage:
    """A message that may be given as a dict."""
    if isinstance(message, dict):
        return ChatMessage.from_dict({**message, "role": known_role(message.get("role"))})
    return message


@contextmanager
def another_is_asked(there_is: bool) -> Generator[None]:
    """Meanwhile a refusal is one, whatever it may be for, if there is another model to ask."""
    token = _another_is_asked.set(there_is)
    try:
        yield
    finally:
        _another_is_asked.reset(token)
