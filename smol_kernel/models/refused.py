"""`RefusedParameters`: what of a request a model turned out to refuse, or not to bear: it is asked once more without,
and it is not sent to it again. Of images and the like it is `sent_media.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from smol_kernel.errors import ModelError
from smol_kernel.events import Notice, emit
from smol_kernel.memory.messages import ChatMessage, ChatMessageStreamDelta
from smol_kernel.models.base import Model
from smol_kernel.models.call import begin_again
from smol_kernel.models.failures import refused_parameter
from smol_kernel.models.requests import without_system
from smol_kernel.models.unusable import NothingCame, StoppedThinking

T = TypeVar("T", ChatMessage, ChatMessageStreamDelta)
_LEFT_OUT = "it is left out"
CAN_GO = {
    "stop": "none are sent; they end its reply all the same",
    "stream": "its replies come whole",
    "stream_options": _LEFT_OUT,
    "system": "what is said there is said as the user",
    "tools": "it is asked to write its calls as text",
    "tool_choice": _LEFT_OUT,
    "parallel_tool_calls": _LEFT_OUT,
    "temperature": _LEFT_OUT,
    "top_p": _LEFT_OUT,
    "max_tokens": "max_completion_tokens is sent in its place",
}
"""What a reply can do without and still be one to what was asked, parameters and "system", the messages of that role →
what is done instead."""
_CALLED = {
    "stop": "stop sequences",
    "stream": "request to stream",
    "system": "system message",
    "tools": "structured calls",
}
_ALONG = {"tools": ("tool_choice", "parallel_tool_calls"), "stream": ("stream_options",)}
"""What goes with it."""


class RefusedParameters:
    """Of one model."""

    def __init__(self, model: Model) -> None:
        self.refused: frozenset[str] = frozenset()
        self._model = model
        self._came_whole = False
        """Whether something else than a stream has come before: once, it may have been what an error is told in."""

    def found_out(self, request: dict[str, Any], ask: Callable[[dict[str, Any]], Iterator[T]]) -> Iterator[T]:
        """What `ask(request)` gives, without the parameters that are refused. Raises ModelError."""
        left_out = self.refused
        stopped, only_now = False, frozenset[str]()
        while True:
            sent = _without(request, left_out)
            delivered = said = False
            try:
                for piece in ask(sent):
                    delivered = True
                    said = said or bool(piece.content or piece.tool_calls)
                    yield piece
            except StoppedThinking:
                stopped = True
                left_out |= {"stop"}
                begin_again()
            except ModelError as error:
                name = error.may_be if isinstance(error, NothingCame) else refused_in(error.__cause__, sent)
                if name not in _sent(sent) or delivered:
                    raise
                left_out |= {name}
                if name == "stream" and isinstance(error, NothingCame) and not self._came_whole:
                    self._came_whole, only_now = True, frozenset([name])
            else:
                break
        if said:
            self._learn(left_out - self.refused - only_now, stopped)

    def _learn(self, names: frozenset[str], stopped: bool) -> None:
        self.refused |= names
        for name in sorted(names):
            why = f"takes no {_CALLED.get(name, name)}"
            if name == "stop" and stopped:
                why = "is stopped by stop sequences while it thinks"
            emit(Notice(text=f"Model {self._model.model_id!r} {why}: {CAN_GO[name]}."))


def refused_in(error: BaseException | None, request: dict[str, Any]) -> str | None:
    """What of CAN_GO in `request` the server says that it refuses; None: `error` says something else."""
    return refused_parameter(error, _sent(request))


def _without(request: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    gone = names.union(*(_ALONG.get(name, ()) for name in names))
    kept = {name: value for name, value in request.items() if name not in gone}
    if "max_tokens" in gone and "max_tokens" in request:
        kept["max_completion_tokens"] = request["max_tokens"]
    return kept | ({"messages": without_system(request["messages"])} if "system" in gone else {})


def _sent(request: dict[str, Any]) -> dict[str, Any]:
    """What of CAN_GO is in `request`."""
    said = [message for message in request["messages"] if message["role"] == "system"]
    return {name: request[name] for name in CAN_GO if name in request} | ({"system": said} if said else {})
