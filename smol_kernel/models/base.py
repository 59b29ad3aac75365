"""The seam for models: `Model`, how messages are made ready for a provider, and `ModelCall`, by which the loop asks.

Implementations live beside this file; a user's own class or a plain function is as welcome (`as_model`).
"""

from __future__ import annotations

import base64
import contextvars
import inspect
import io
import ipaddress
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from smol_kernel.errors import ModelError
from smol_kernel.events import Notice
from smol_kernel.memory.messages import (
    ChatMessage,
    ChatMessageStreamDelta,
    MessageRole,
    agglomerate_stream_deltas,
    text_of,
)

if TYPE_CHECKING:
    from smol_kernel.tools.base import Tool

TOOL_ROLE_CONVERSIONS = {MessageRole.TOOL_CALL: MessageRole.ASSISTANT, MessageRole.TOOL_RESPONSE: MessageRole.USER}
"""Our tool roles as the three roles that every provider knows."""

_current: contextvars.ContextVar[ModelCall | None] = contextvars.ContextVar("current", default=None)
"""The call that the request of this thread belongs to."""


class Model:
    """Asked by the loop for the next reply. Subclasses define `generate`, and `generate_stream` if they can stream.

    Parameters: `flatten_messages_as_text` sends text only (images are left out); `tool_name_key` and
    `tool_arguments_key` are the keys of a tool call written as JSON; `model_id` is the id as the user gave it;
    `kwargs` go along with every request.
    """

    scripted: bool = False
    """True: the replies come from a script, and every account of the run says so."""

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
    def slow_start(self) -> str | None:
        """A sentence for the person watching, where the next request has to load something first; None if not."""
        return None

    def generate(
        self,
        messages: list[ChatMessage],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, str] | None = None,
        tools_to_call_from: list[Tool] | None = None,
        **kwargs: Any,
    ) -> ChatMessage:
        """The reply to `messages`.

        `stop_sequences` end it and are not part of it; `response_format` is OpenAI's parameter of that name; with
        `tools_to_call_from` the reply is a structured call of one of these. Raises ModelError.
        """
        raise NotImplementedError(f"{type(self).__name__} has to define generate()")

    def __call__(self, *args: Any, **kwargs: Any) -> ChatMessage:
        """The same as `generate`."""
        return self.generate(*args, **kwargs)


class CallableModel(Model):
    """A plain function as a model. It is given those parameters of `generate` that it names."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(model_id=getattr(function, "__name__", type(function).__name__))
        self._function = function
        parameters = inspect.signature(function).parameters.values()
        self._takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
        self._names = {p.name for p in parameters}

    def generate(self, messages: list[ChatMessage], *args: Any, **kwargs: Any) -> ChatMessage:
        """What the function returns: a ChatMessage, or text."""
        wanted = {name: value for name, value in kwargs.items() if self._takes_all or name in self._names}
        reply = self._function(messages, *args, **wanted)
        if isinstance(reply, str):
            return ChatMessage(role=MessageRole.ASSISTANT, content=reply)
        if isinstance(reply, ChatMessage):
            return reply
        raise ModelError(f"the model {self.model_id} returned {reply!r:.80}; return a ChatMessage or a str")


def as_model(model: Any) -> Model:
    """`model` as a Model: itself, or wrapped if it is another object with `generate`, or a plain callable.

    Raises ModelError for anything else, such as a model's name.
    """
    if isinstance(model, Model):
        return model
    generate = getattr(model, "generate", None)
    if callable(generate):
        wrapped = CallableModel(generate)
        wrapped.model_id = getattr(model, "model_id", None) or type(model).__name__
        return wrapped
    if isinstance(model, str):
        raise ModelError(f"{model!r} is the name of a model; pass LiteLLMModel({model!r})")
    if callable(model):
        return CallableModel(model)
    raise ModelError(f"model has to be a Model or a function that takes messages, not {model!r:.80}")


class ModelCall:
    """One request to a model that can be left at any moment, also while it blocks on the network.

    Iterate over it for the pieces of the reply (none if the model does not stream) and what the model tells the person
    meanwhile (`pause`); then `message` is the reply, or None if `abandon()` was called. What the model raises is raised
    by the iteration. The request runs in a daemon thread with the caller's context variables; one that was abandoned
    ends there by itself, unheard.
    """

    def __init__(self, model: Model, messages: list[ChatMessage], *, stream: bool = False, **options: Any) -> None:
        self.message: ChatMessage | None = None
        self._model = model
        self._messages = messages
        self._stream = stream and hasattr(model, "generate_stream")
        self._options = options
        self._abandoned = threading.Event()
        self._pieces: list[ChatMessageStreamDelta] = []
        self._arrivals: queue.SimpleQueue[ChatMessageStreamDelta | Notice | ChatMessage | BaseException | None]
        self._arrivals = queue.SimpleQueue()

    def abandon(self) -> None:
        """End the iteration at once. May be called from any thread, at any time."""
        self._abandoned.set()
        self._arrivals.put(None)

    def __iter__(self) -> Iterator[ChatMessageStreamDelta | Notice]:
        """Start the request and yield the pieces of its reply, and notices."""
        if self._abandoned.is_set():
            return
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._work,), name="smol-model-call", daemon=True).start()
        try:
            while True:
                arrival = self._arrivals.get()
                if self._abandoned.is_set():
                    return
                if isinstance(arrival, ChatMessageStreamDelta | Notice):
                    yield arrival
                    continue
                if isinstance(arrival, BaseException):
                    raise arrival
                self.message = arrival
                return
        finally:
            self._abandoned.set()

    def wait(self, seconds: float, why: str) -> bool:
        """Tell `why` to the one who iterates, and wait; False as soon as the call is abandoned.

        What came of the reply is forgotten: it is asked for once more.
        """
        self._arrivals.put(Notice(text=why))
        self._pieces.clear()
        return not self._abandoned.wait(seconds)

    def _work(self) -> None:
        _current.set(self)
        try:
            self._arrivals.put(self._streamed() if self._stream else self._generated())
        except BaseException as error:  # noqa: BLE001 - the thread's edge: raised again where it is iterated
            self._arrivals.put(error)

    def _generated(self) -> ChatMessage:
        return self._model.generate(self._messages, **self._options)

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


def pause(seconds: float, why: str) -> None:
    """Wait between two attempts; the person who watches the run is told `why`.

    Raises ModelError at once when the ModelCall it happens in is abandoned.
    """
    call = _current.get()
    if call is None:
        time.sleep(seconds)
    elif not call.wait(seconds, why):
        raise ModelError("the request was abandoned")


def get_clean_message_list(
    message_list: Sequence[ChatMessage | dict[str, Any]],
    role_conversions: Mapping[MessageRole, MessageRole] | Mapping[str, str] | None = None,
    convert_images_to_image_urls: bool = False,
    flatten_messages_as_text: bool | None = False,
) -> list[dict[str, Any]]:
    """Messages in the shape of OpenAI's chat completions API; neighbors of the same role become one.

    `flatten_messages_as_text`: True sends each content as a string, without images; None does so only where a
    message holds nothing but text. Raises ModelError for an unknown role or an image that cannot be read.
    """
    conversions = {MessageRole(old).value: MessageRole(new).value for old, new in (role_conversions or {}).items()}
    cleaned: list[dict[str, Any]] = []
    for message in message_list:
        message = ChatMessage.from_dict(message) if isinstance(message, dict) else message
        role = _role(message.role, conversions)
        parts = _parts(message.content, convert_images_to_image_urls)
        if cleaned and cleaned[-1]["role"] == role:
            cleaned[-1]["content"] += parts
        else:
            cleaned.append({"role": role, "content": parts})
    for entry in cleaned:
        only_text = all(part["type"] == "text" for part in entry["content"])
        if flatten_messages_as_text or (flatten_messages_as_text is None and only_text):
            entry["content"] = text_of(entry["content"])
    return cleaned


def _role(role: MessageRole | str, conversions: Mapping[str, str]) -> str:
    try:
        name = str(MessageRole(role).value)
    except ValueError:
        raise ModelError(f"unknown role {role!r} of a message; use one of {MessageRole.roles()}") from None
    return conversions.get(name, name)


def _parts(content: str | list[dict[str, Any]] | None, images_as_urls: bool) -> list[dict[str, Any]]:
    if not content:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [
        {"type": "image_url", "image_url": {"url": image_url(part["image"])}}
        if part["type"] == "image" and images_as_urls
        else part
        for part in content
    ]


def image_url(image: Any) -> str:
    """An image as a data URL: a PIL image, the bytes of a PNG or JPEG, or a data URL already."""
    save = getattr(image, "save", None)
    if isinstance(image, str) and image.startswith("data:image/"):
        return image
    if isinstance(image, bytes):
        mime, data = "image/jpeg" if image.startswith(b"\xff\xd8") else "image/png", image
    elif callable(save):
        buffer = io.BytesIO()
        save(buffer, format="PNG")
        mime, data = "image/png", buffer.getvalue()
    else:
        raise ModelError(f"cannot send {image!r:.80} as an image; pass a PIL image or the bytes of a PNG")
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


_JSON_TYPES = {"any": {}, "image": {"type": "string"}, "audio": {"type": "string"}}


def get_tool_json_schema(tool: Tool) -> dict[str, Any]:
    """A tool as the `tools` parameter of OpenAI's chat completions API wants it."""
    properties: dict[str, Any] = {}
    for name, spec in tool.inputs.items():
        kind = spec["type"]
        extra = {key: value for key, value in spec.items() if key not in ("type", "nullable")}
        properties[name] = {**_JSON_TYPES.get(str(kind), {"type": kind}), **extra}
    required = [name for name in tool.inputs if name not in tool.optional_inputs]
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": {"type": "object", "properties": properties, "required": required},
        },
    }


def remove_content_after_stop_sequences(content: str, stop_sequences: list[str] | None) -> str:
    """`content` up to the first stop sequence in it."""
    ends = [content.find(stop) for stop in stop_sequences or [] if stop in content]
    return content[: min(ends)] if ends else content


def require_allowed(address: str | None, model_id: str) -> None:
    """Raises ModelError if `SMOL_ALLOW_MODEL_REQUESTS=0` is set and `address` is not on this machine.

    A switch for tests and for machines that must not call out. An unknown address (None) counts as outside.
    """
    if os.environ.get("SMOL_ALLOW_MODEL_REQUESTS", "1") != "0" or (address and _is_loopback(address)):
        return
    raise ModelError(
        f"requests to models are switched off by SMOL_ALLOW_MODEL_REQUESTS=0, and {model_id!r} is not on this "
        f"machine; unset it, or use a local model"
    )


def _is_loopback(url: str) -> bool:
    host = urlsplit(url if "//" in url else f"//{url}").hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
