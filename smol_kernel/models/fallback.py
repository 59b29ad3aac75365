"""A model of whatever a user gave (`as_model`); of a list it is a FallbackModel, which asks one after the other."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from smol_kernel.errors import ModelError
from smol_kernel.events import ModelFellBack, emit
from smol_kernel.memory.messages import ChatMessage, ChatMessageStreamDelta
from smol_kernel.models.base import Model
from smol_kernel.models.call import (
    begin_again,
    can_begin_again,
    is_bound_to_a_thread,
    is_ended_by,
    leave_the_thread,
    was_abandoned,
)
from smol_kernel.models.callables import CallableModel, ForeignModel, stream_of
from smol_kernel.models.failures import is_too_long
from smol_kernel.models.quirks import Kind
from smol_kernel.models.requests import given_options
from smol_kernel.models.sent_media import another_is_asked

if TYPE_CHECKING:
    from smol_kernel.tools.base import Tool


def as_model(model: Any) -> Model:
    """`model` as a Model: itself, wrapped if it is another object with `generate` or a plain callable, or a list of
    such: each is asked when the one before it failed.

    Raises ModelError for anything else, such as a model's name.
    """
    if getattr(type(model), "is_model", False):
        return model
    if isinstance(model, (list, tuple)):
        return FallbackModel(model)
    if callable(getattr(model, "generate", None)):
        return ForeignModel(model)
    if isinstance(model, str):
        raise ModelError(f"{model!r} is the name of a model; pass LiteLLMModel({model!r})")
    if callable(model):
        return CallableModel(model)
    raise ModelError(f"model has to be a Model or a function that takes messages, not {model!r:.80}")


def model_of(agent: Any) -> Model:
    """The model of an agent."""
    try:
        return vars(agent)["model"]
    except KeyError:
        raise AttributeError(f"{type(agent).__name__} has no model yet") from None


def give_model(agent: Any, model: Any) -> None:
    """Let an agent ask this model, which is what `as_model` takes."""
    vars(agent)["model"] = as_model(model)


class FallbackModel(Model):
    """Asks the first of `models`; where it fails, after its own retries, the next, with a ModelFellBack event.

    It stays with the one that answered; `model_id` is that one's. A conversation too long for it is raised at once
    (ContextLengthError): the agent shortens it, as for any model, and has the next one asked where that does not help
    (`fall_back`). When all have failed, ModelError names each reason.
    A stream that breaks in the middle is begun again by the next model inside a run, where its pieces can be taken
    back; elsewhere it is raised. Where one of them is not to be asked in a thread, none is. Each is one that
    an agent takes as its `model`. Raises ModelError for an empty list, and for what is none.
    """

    def __init__(self, models: Sequence[Any]) -> None:
        if not models:
            raise ModelError("FallbackModel needs at least one model: FallbackModel([first, second])")
        self.models = [as_model(model) for model in models]
        self._current = 0
        self._too_long: dict[int, str] = {}
        """Places of those for which one request was too long → what they said; and of those asked in their place."""
        self._lock = threading.Lock()
        super().__init__(model_id=self.models[0].model_id)
        self.in_thread = self.in_thread and all(model.in_thread for model in self.models)

    def __repr__(self) -> str:
        return f"FallbackModel({self.models!r})"

    @property
    def current(self) -> Model:
        """The model that is asked next."""
        return self.models[self._current]

    @property
    def scripted(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether any of them is."""
        return any(model.scripted for model in self.models)

    @property
    def server_address(self) -> str | None:
        """That of the model by whose name it goes, see `named_as`."""
        return (self.models[0] if self._listed else self.current).server_address

    @property
    def named_as(self) -> list[str]:
        """Those of all, if all have some and were given one address or none; else those of the model asked next."""
        return [name for each in self.models for name in each.named_as] if self._listed else self.current.named_as

    @property
    def _listed(self) -> bool:
        return all(each.named_as for each in self.models) and len({each.given_address for each in self.models}) == 1

    @property
    def slow_start(self) -> str | None:
        """That of the model asked next."""
        return self.current.slow_start

    @property
    def supports_stop_parameter(self) -> bool:
        """That of the model asked next."""
        return self.current.supports_stop_parameter

    def takes(self, kind: Kind) -> bool | None:
        """What the model asked next takes."""
        return self.current.takes(kind)

    def parse_tool_calls(self, message: ChatMessage) -> ChatMessage:
        """As the model asked last reads them."""
        return self.current.parse_tool_calls(message)

    def fall_back(self, reason: Exception) -> ModelFellBack | None:
        """From now on ask the next model that may read what is too long for the one asked last."""
        if (told := self.current.fall_back(reason)) is not None:
            return told
        self._too_long[self._current] = str(reason)
        following = next((place for place in self._places() if place not in self._too_long), None)
        if following is None:
            self._too_long.clear()
            return None
        self._too_long[following] = ""
        told = ModelFellBack(
            failed=self.model_id or "", model=self.models[following].model_id or "", reason=str(reason)
        )
        self._stay_with(following)
        return told

    def to_dict(self) -> dict[str, Any]:
        """The settings of each: `{"models": [{"class": …, "data": …}]}`."""
        return {"models": [{"class": type(model).__name__, "data": model.to_dict()} for model in self.models]}

    @classmethod
    def from_dict(cls, model_dictionary: dict[str, Any]) -> FallbackModel:
        """The inverse of `to_dict`. Raises ModelError for a class that is none of ours."""
        from smol_kernel.models.registry import model_from_dict  # it knows this class too

        return cls([model_from_dict(entry["class"], entry["data"]) for entry in model_dictionary["models"]])

    def generate(
        self,
        messages: list[ChatMessage],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: list[Tool] | None = None,
        **kwargs: Any,
    ) -> ChatMessage:
        """The reply of the first model that gives one. Raises ModelError, ContextLengthError."""
        options = given_options(stop_sequences, response_format, tools_to_call_from, kwargs)
        places, failures = self._asked()
        for place in places:
            try:
                with another_is_asked(place != places[-1]):
                    reply = self.models[place].generate(messages, **options)
            except Exception as error:  # noqa: BLE001 - a user's own model raises what it likes
                self._go_on(error, places, place, failures)
            else:
                self._stay_with(place)
                self._too_long.clear()
                return reply
        self._too_long.clear()
        raise self._all_failed(failures)

    def generate_stream(
        self,
        messages: list[ChatMessage],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: list[Tool] | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatMessageStreamDelta]:
        """The pieces of the first model that gives a whole reply; one that cannot stream gives it in one piece. Raises
        as `generate`, and what a model raises in the middle of its reply."""
        options = given_options(stop_sequences, response_format, tools_to_call_from, kwargs)
        places, failures = self._asked()
        for place in places:
            delivered = False
            pieces = stream_of(self.models[place], messages, options)
            try:
                with another_is_asked(place != places[-1]):
                    first = next(pieces, None)
                if first is not None:
                    delivered = True
                    yield first
                yield from pieces
            except Exception as error:
                if delivered and not can_begin_again():
                    raise
                self._go_on(error, places, place, failures)
            else:
                self._stay_with(place)
                self._too_long.clear()
                return
        self._too_long.clear()
        raise self._all_failed(failures)

    def _places(self) -> list[int]:
        """The order to ask in: from the one that answered last, to the end, and round."""
        start, count = self._current, len(self.models)
        return [(start + step) % count for step in range(count)]

    def _asked(self) -> tuple[list[int], list[str]]:
        """The order to ask in without those for which the request is too long; and what these said."""
        known = {place: said for place, said in self._too_long.items() if place != self._current and said}
        return [place for place in self._places() if place not in known], list(known.values())

    def _go_on(self, error: Exception, places: list[int], place: int, failures: list[str]) -> None:
        """Note that a model failed, and that the next is asked; raises where that is of no use."""
        if (too_long := is_too_long(error)) or was_abandoned() or is_ended_by(error):
            self._stay_with(place)
            if not too_long:
                self._too_long.clear()
            raise error
        if (
            self.in_thread
            and can_begin_again()
            and is_bound_to_a_thread(error)
            and leave_the_thread(self.models[place])
        ):
            self.in_thread = False
            self._stay_with(place)
            raise error  # the same model is asked once more
        failures.append(str(error) if isinstance(error, ModelError) else f"{type(error).__name__}: {error}")
        if place != places[-1]:
            following = places[places.index(place) + 1]
            begin_again()
            failed, asked = self.models[place].model_id or "", self.models[following].model_id or ""
            emit(ModelFellBack(failed=failed, model=asked, reason=failures[-1]))

    def _stay_with(self, place: int) -> None:
        with self._lock:
            self._current = place
            self.model_id = self.models[place].model_id

    def _all_failed(self, failures: list[str]) -> ModelError:
        return ModelError("no model gave a reply:\n" + "\n".join(f"- {failure}" for failure in failures))
