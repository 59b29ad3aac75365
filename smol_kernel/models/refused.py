"""`RefusedParameters`: parameters of a request that a model turned out to refuse, or not to bear: it is asked once more
without, and they are not sent to it again. Of images and the like it is `sent_media.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from smol_kernel.errors import ModelError
from smol_kernel.events import Notice, emit
from smol_kernel.memory.messages import ChatMessage, ChatMessageStreamDelta
from smol_kernel.memory.usage import TokenUsage
from smol_kernel.models.base import Model
from smol_kernel.models.call import begin_again, charge_refused
from smol_kernel.models.failures import refused_parameter
from smol_kernel.models.replies import without_reasoning

T = TypeVar("T", ChatMessage, ChatMessageStreamDelta)
CAN_GO = ("stop", "stream_options", "tool_choice", "parallel_tool_calls", "temperature", "top_p", "max_tokens")
"""Parameters without which a reply is still one to what was asked."""
_IN_PLACE = {"max_tokens": "max_completion_tokens"}
"""What is sent in place of one that is refused."""


class StoppedThinking(ModelError):
    """A stop sequence that was sent ended a reply in which the model only thought so far."""


class RefusedParameters:
    """Of one model."""

    def __init__(self, model: Model) -> None:
        self.refused: frozenset[str] = frozenset()
        self._model = model

    def found_out(self, request: dict[str, Any], ask: Callable[[dict[str, Any]], Iterator[T]]) -> Iterator[T]:
        """What `ask(request)` gives, without the parameters that are refused. Raises ModelError."""
        left_out = self.refused
        stopped = False
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
                name = refused_parameter(error.__cause__, [each for each in CAN_GO if each in sent])
                if name is None or delivered:
                    raise
                left_out |= {name}
            else:
                break
        if said:
            self._learn(left_out - self.refused, stopped)

    def _learn(self, names: frozenset[str], stopped: bool) -> None:
        self.refused |= names
        for name in sorted(names):
            instead = f"{_IN_PLACE[name]} is sent in its place" if name in _IN_PLACE else "it is left out"
            why = f"takes no {name}: {instead}."
            if name == "stop":
                why = "is stopped by stop sequences while it thinks" if stopped else "takes no stop sequences"
                why += ": none are sent; they end its reply all the same."
            emit(Notice(text=f"Model {self._model.model_id!r} {why}"))


def require_not_stopped(
    request: dict[str, Any], finished: str | None, said: str, thought: bool, counted: TokenUsage | None
) -> None:
    """Raises StoppedThinking for a reply that ended so, of what was `said` and `thought` beside it, where a stop
    sequence that is meant for what is said may have ended it."""
    only_thought = thought if not said.strip() else not without_reasoning(said).strip()
    if "stop" in request and finished == "stop" and only_thought:
        if counted:
            charge_refused(counted)
        raise StoppedThinking(f"model {request.get('model')!r} was stopped while it was still thinking")


def thought_in(message: Any) -> bool:
    """Whether there is reasoning beside the text of a message, or of a piece of one."""
    return bool(getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None))


def _without(request: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    kept = {name: value for name, value in request.items() if name not in names}
    return kept | {_IN_PLACE[name]: request[name] for name in names if name in _IN_PLACE and name in request}
