"""The seam for models: `Model`, which the loop asks by way of a `call.ModelCall`.

Implementations live beside this file; a user's own class or a plain function is as welcome (`fallback.as_model`).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from smol_kernel.errors import ToolError
from smol_kernel.events import ModelFellBack
from smol_kernel.memory.known_secrets import is_secret_setting, without_password
from smol_kernel.memory.messages import ChatMessage, MessageRole
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
    in_thread: bool = True
    """Whether each request is made in a thread of its own, so that it can be left at any moment. False: on the thread
    that runs the agent; a stop then comes when the reply, or a piece of it, has come."""
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

        `kind` is "image", "audio", "video", "tools" or "response_schema". None: unknown; it is sent then. May load what
        the first request needs (see `slow_start`).
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
