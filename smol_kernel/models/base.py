"""The seam for models: `Model`, and `ModelCall`, by which the loop asks.

Implementations live beside this file; a user's own class or a plain function is as welcome (`fallback.as_model`).
"""

from __future__ import annotations

import contextvars
import dataclasses
import inspect
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from smol_kernel.errors import ModelError, ToolError
from smol_kernel.events import Event, ModelFellBack, Notice, emit, listening
from smol_kernel.memory.known_secrets import is_secret_setting, without_password
from smol_kernel.memory.messages import ChatMessage, ChatMessageStreamDelta, MessageRole, agglomerate_stream_deltas
from smol_kernel.memory.usage import TokenUsage
from smol_kernel.models.quirks import Kind, quirk_of, supports_stop_parameter
from smol_kernel.models.replies import parse_json_if_needed, tool_calls_in
from smol_kernel.models.requests import (
    REMOVE_PARAMETER,
    TOOL_ROLE_CONVERSIONS,
    get_clean_message_list,
    get_tool_json_schema,
    known_role,
)

if TYPE_CHECKING:
    from smol_kernel.tools.base import Tool

_current: contextvars.ContextVar[ModelCall | None] = contextvars.ContextVar("current", default=None)
"""The call that the request of this thread belongs to."""
ADDRESSES = ("api_base", "base_url", "aws_bedrock_runtime_endpoint")
"""Names under which LiteLLM is told where to ask."""
IN_PYTHON = "a model made in Python"
IN_CASSETTE = "as a cassette has it"
NOWHERE = (IN_PYTHON, IN_CASSETTE)
"""In place of a server's address: the model's name alone does not tell where it is asked."""


class Model:
    """Asked by the loop for the next reply. Subclasses define `generate`, and `generate_stream` if they can stream.

    Parameters: `flatten_messages_as_text` sends text only (images are left out); `tool_name_key` and
    `tool_arguments_key` are the keys of a tool call written as JSON; `model_id` is the id as the user gave it;
    `kwargs` go along with every request.
    """

    is_model: ClassVar[bool] = True
    """True of the class of whatever the loop may ask as it is; isinstance() tells it of a mock of a Model as well."""
    scripted: bool = False
    """True: the replies come from a script, and every account of the run says so."""
    _unsaved: frozenset[str] = frozenset({"self", "client"})
    """Parameters that `to_dict` leaves out, because they cannot be saved or the class sets them itself."""

    flatten_messages_as_text: bool | None = False  # these stand for a subclass that does not call this constructor
    tool_name_key: str = "name"
    tool_arguments_key: str = "arguments"
    model_id: str | None = None
    kwargs: dict[str, Any] = {}  # noqa: RUF012 - it is replaced, and never changed

    def __init__(
        self,
        flatten_messages_as_text: bool | None = False,
        tool_name_key: str = "name",
        tool_arguments_key: str = "arguments",
        model_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.flatten_messages_as_text = flatten_messages_as_text
        self.tool_name_key = tool_name_key
        self.tool_arguments_key = tool_arguments_key
        self.model_id = model_id
        self.kwargs = kwargs

    @property
    def server_address(self) -> str | None:
        """Address that the user gave of the server it asks, without user and password; None: its provider's own, which
        LiteLLM finds by the name alone, or one of NOWHERE."""
        return self.given_address or (None if self.named_as or self.scripted else IN_PYTHON)

    @property
    def given_address(self) -> str | None:
        """The same where it was given in Python; else None."""
        told = (getattr(self, "api_base", None), *(self.kwargs.get(name) for name in ADDRESSES))
        address = next((each for each in told if isinstance(each, str) and each), None)
        return without_password(address) if address else None

    @property
    def named_as(self) -> list[str]:
        """The names that `--model` takes for a model like it, asked at its `server_address`; none: only Python makes
        it."""
        return []

    def as_recorded(self) -> dict[str, Any]:
        """What RunStarted and RunResumed record of it: enough to ask it again, without keys."""
        return {
            "model": str(self.model_id or type(self).__name__),
            "named_as": self.named_as,
            "scripted": self.scripted,
            "server": self.server_address,
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model_id!r})"

    @property
    def slow_start(self) -> str | None:
        """A sentence for the person watching, where the next request has to load something first; None if not."""
        return None

    @property
    def supports_stop_parameter(self) -> bool:
        """Whether stop sequences are sent; where not, they end the reply all the same."""
        return supports_stop_parameter(self.model_id or "")

    def takes(self, kind: Kind) -> bool | None:
        """Whether the model takes images, audio, video, structured tool calls, or a JSON schema for its reply.

        None: unknown; it is sent then. May load what the first request needs (see `slow_start`).
        """
        return True if kind in quirk_of(self.model_id or "").takes else None

    def generate(
        self,
        messages: list[ChatMessage],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: list[Tool] | None = None,
        **kwargs: Any,
    ) -> ChatMessage:
        """The reply to `messages`.

        `stop_sequences` end it and are not part of it; `response_format` is OpenAI's parameter of that name; with
        `tools_to_call_from` the reply is a structured call of one or several of these. Raises ModelError.
        """
        raise NotImplementedError(f"{type(self).__name__} has to define generate()")

    def __call__(self, *args: Any, **kwargs: Any) -> ChatMessage:
        """The same as `generate`."""
        return self.generate(*args, **kwargs)

    def parse_tool_calls(self, message: ChatMessage) -> ChatMessage:
        """`message` with its tool calls: those that came as such, or those its text holds as JSON; arguments decoded.

        Arguments that are no JSON stay text. Raises ToolError, a ValueError, if there is no call to be found; it says
        what a call looks like.
        """
        message.role = MessageRole.ASSISTANT
        if not message.tool_calls:
            if not message.text.strip():
                raise ToolError("the reply is empty: it has neither text nor a tool call")
            message.tool_calls = tool_calls_in(message.text, self.tool_name_key, self.tool_arguments_key)
        for call in message.tool_calls:
            call.function.arguments = parse_json_if_needed(call.function.arguments)
        return message

    def fall_back(self, reason: Exception) -> ModelFellBack | None:
        """Called where a conversation is too long for the model and cannot be shortened: from now on ask another model,
        and tell which. None: there is none to ask."""
        return None

    def to_dict(self) -> dict[str, Any]:
        """The settings that `from_dict` makes a model of. Keys, tokens and headers are left out, at any depth."""
        settings: dict[str, Any] = {**self.kwargs, "model_id": self.model_id}
        for name, parameter in _parameters(type(self)).items():
            if name in {*settings, *self._unsaved}:
                continue
            value = getattr(self, name, parameter.default)
            if value != parameter.default:
                settings[name] = value
        return {name: value for name, value in open_settings(settings).items() if value != {}}

    @classmethod
    def from_dict(cls, model_dictionary: dict[str, Any]) -> Model:
        """The model of `to_dict`. Keys come from the environment, or are added to the dict by the caller."""
        return cls(**model_dictionary)

    def _prepare_completion_kwargs(
        self,
        messages: Sequence[ChatMessage | dict[str, Any]],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: list[Tool] | None = None,
        custom_role_conversions: Mapping[Any, Any] | None = None,
        convert_images_to_image_urls: bool = False,
        tool_choice: str | dict[str, Any] | None = "required",
        **kwargs: Any,
    ) -> dict[str, Any]:
        """A request as keywords of OpenAI's chat completions API. smolagents' models call it by this name."""
        roles: dict[Any, Any] = dict(TOOL_ROLE_CONVERSIONS)
        roles.update({known_role(old): new for old, new in (custom_role_conversions or {}).items()})
        flatten = kwargs.pop("flatten_messages_as_text", self.flatten_messages_as_text)
        request: dict[str, Any] = {
            "messages": get_clean_message_list(messages, roles, convert_images_to_image_urls, flatten)
        }
        if stop_sequences and self.supports_stop_parameter:
            request["stop"] = stop_sequences
        if response_format is not None:
            request["response_format"] = response_format
        if tools_to_call_from:
            request["tools"] = [get_tool_json_schema(tool) for tool in tools_to_call_from]
            request["tool_choice"] = tool_choice
        request |= {**self.kwargs, **kwargs}
        if not request.get("tools"):  # OpenAI refuses them then
            request |= {"tool_choice": None, "parallel_tool_calls": None}
        return {name: value for name, value in request.items() if value is not None and value is not REMOVE_PARAMETER}


def _parameters(cls: type[Model]) -> dict[str, inspect.Parameter]:
    """The named parameters of all constructors of `cls`; where two share a name, those of the subclass."""
    named: dict[str, inspect.Parameter] = {}
    for base in reversed(cls.__mro__[:-1]):
        named.update(inspect.signature(base.__init__).parameters)
    return {n: p for n, p in named.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def open_settings(value: Any, properties: bool = False) -> Any:
    """Plain settings without those that hold keys and the like, or functions, and addresses without user and password;
    at any depth. `properties` of a schema are names of arguments, which hold nothing."""
    if isinstance(value, Mapping):
        return {
            name: open_settings(inner, name == "properties")
            for name, inner in value.items()
            if (properties or not (isinstance(name, str) and is_secret_setting(name))) and not callable(inner)
        }
    if isinstance(value, list):
        return [open_settings(inner) for inner in value]
    return without_password(value) if isinstance(value, str) else value


class ModelCall:
    """One request to a model that can be left at any moment, also while it blocks on the network.

    Iterate over it for the pieces of the reply (none if the model does not stream) and the events that the model emits
    meanwhile (`emit`, `pause`); then `message` is the reply, or None if `abandon()` was called. What the model raises
    is raised by the iteration. The request runs in a daemon thread with the caller's context variables; one that was
    abandoned ends there by itself, unheard.
    """

    def __init__(self, model: Model, messages: list[ChatMessage], *, stream: bool = False, **options: Any) -> None:
        self.message: ChatMessage | None = None
        self._model = model
        self._messages = messages
        self._stream = stream and hasattr(model, "generate_stream")
        self._options = options
        self._abandoned = threading.Event()
        self.begun_again = 0
        """How often the reply was asked for once more."""
        self.refused = TokenUsage(0, 0, cost=0.0)
        """What replies took that were refused. It is part of the message's usage, where there is one."""
        self._pieces: list[ChatMessageStreamDelta] = []
        self._arrivals: queue.SimpleQueue[ChatMessageStreamDelta | Event | ChatMessage | BaseException | None]
        self._arrivals = queue.SimpleQueue()

    def abandon(self) -> None:
        """End the iteration at once. May be called from any thread, at any time."""
        self._abandoned.set()
        self._arrivals.put(None)

    def __iter__(self) -> Iterator[ChatMessageStreamDelta | Event]:
        """Start the request and yield the pieces of its reply, and events."""
        if self._abandoned.is_set():
            return
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._work,), name="smol-model-call", daemon=True).start()
        try:
            while True:
                arrival = self._arrivals.get()
                if self._abandoned.is_set():
                    return
                if isinstance(arrival, ChatMessageStreamDelta | Event):
                    yield arrival
                    continue
                if isinstance(arrival, BaseException):
                    try:
                        raise arrival
                    finally:
                        del arrival  # it knows all that goes on here
                self.message = self._with_refused(arrival)
                return
        finally:
            self._abandoned.set()

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for the reply any more."""
        return self._abandoned.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait; False as soon as the call is abandoned."""
        return not self._abandoned.wait(seconds)

    def begin_again(self) -> None:
        """Forget what came of the reply: it is asked for once more."""
        self._pieces.clear()
        self.begun_again += 1

    def _with_refused(self, message: ChatMessage | None) -> ChatMessage | None:
        if message is None or message.token_usage is None or not self.refused.total_tokens:
            return message
        return dataclasses.replace(message, token_usage=message.token_usage + self.refused)

    def _work(self) -> None:
        _current.set(self)
        with listening(self._arrivals.put):
            try:
                self._arrivals.put(self._streamed() if self._stream else self._generated())
            except BaseException as error:  # noqa: BLE001 - the thread's edge: raised again where it is iterated
                self._arrivals.put(error)

    def _generated(self) -> ChatMessage:
        reply: Any = self._model.generate(self._messages, **self._options)
        if not isinstance(reply, ChatMessage):
            raise ModelError(f"{self._model!r} returned {reply!r:.80}; generate() has to return a ChatMessage")
        return reply

    def _streamed(self) -> ChatMessage:
        stream = cast("Any", self._model).generate_stream(self._messages, **self._options)
        for piece in stream:
            if self._abandoned.is_set():
                stream.close()
                break
            self._pieces.append(piece)
            self._arrivals.put(piece)
        return agglomerate_stream_deltas(self._pieces)


def can_begin_again() -> bool:
    """Whether pieces of a reply that were given can be taken back: inside a ModelCall."""
    return _current.get() is not None


def begin_again() -> None:
    """Take back the pieces of the reply that were given: another reply comes in their place."""
    call = _current.get()
    if call is not None:
        call.begin_again()


def charge_refused(usage: TokenUsage) -> None:
    """Count what a reply took that is not given: it is charged to whoever asked."""
    call = _current.get()
    if call is not None:
        call.refused = call.refused + usage


def times_begun_again() -> int:
    """How often the pieces of the reply were taken back; 0 outside of a ModelCall."""
    call = _current.get()
    return 0 if call is None else call.begun_again


def was_abandoned() -> bool:
    """Whether the call that this request belongs to was abandoned, so that no other attempt is of use."""
    call = _current.get()
    return call is not None and call.abandoned


def pause(seconds: float, why: str | None) -> None:
    """Wait before a request; the person who watches the run is told `why`.

    Raises ModelError at once when the ModelCall it happens in is abandoned.
    """
    if why is not None:
        emit(Notice(text=why))
    call = _current.get()
    if call is None:
        time.sleep(seconds)
    elif not call.wait(seconds):
        raise ModelError("the request was abandoned")
