"""What goes into a request: messages and tools in the shape of OpenAI's chat completions API
(https://platform.openai.com/docs/api-reference/chat). Called by the models; public for those that users write."""

from __future__ import annotations

import base64
import ipaddress
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from smol_kernel.errors import ModelError
from smol_kernel.memory.known_secrets import redacted, without_password
from smol_kernel.memory.messages import ChatMessage, MessageRole
from smol_kernel.memory.switch import is_on
from smol_kernel.memory.untrusted import END, Outside
from smol_kernel.models.media import image_bytes, image_url

if TYPE_CHECKING:
    from smol_kernel.tools.base import Tool

VARIABLE = "SMOL_ALLOW_MODEL_REQUESTS"

TOOL_ROLE_CONVERSIONS = {MessageRole.TOOL_CALL: MessageRole.ASSISTANT, MessageRole.TOOL_RESPONSE: MessageRole.USER}
"""Our tool roles as the three roles that every provider knows."""
tool_role_conversions = TOOL_ROLE_CONVERSIONS  # smolagents' name, for models of users' own

REMOVE_PARAMETER: Any = type("REMOVE_PARAMETER", (), {"__repr__": lambda self: "REMOVE_PARAMETER"})()
"""Given as the value of a keyword, it keeps that parameter out of the request."""


def get_clean_message_list(
    message_list: Sequence[ChatMessage | dict[str, Any]],
    role_conversions: Mapping[MessageRole, MessageRole] | Mapping[str, str] | None = None,
    convert_images_to_image_urls: bool = False,
    flatten_messages_as_text: bool | None = False,
) -> list[dict[str, Any]]:
    """Messages in the shape of OpenAI's chat completions API; neighbors of the same role become one, and so do the
    texts that meet there, on lines of their own.

    `role_conversions`, role → role, says as what messages are sent (None: as they are). Images are sent as base64 PNG,
    or with `convert_images_to_image_urls` as `image_url` parts.
    `flatten_messages_as_text`: True sends each content as a string, other parts named in their place; None does so
    where a message holds nothing but text. Behind text from outside (`Outside`) comes the mark of its end. Raises
    ModelError for an unknown role or an image that cannot be read.
    """
    conversions = {
        known_role(old).value: str(getattr(new, "value", new)) for old, new in (role_conversions or {}).items()
    }
    cleaned: list[dict[str, Any]] = []
    for message in message_list:
        role = message.get("role") if isinstance(message, dict) else message.role
        content = message.get("content") if isinstance(message, dict) else message.content
        role, content = _role(role, conversions), _content(content, convert_images_to_image_urls)
        if cleaned and cleaned[-1]["role"] == role:
            cleaned[-1]["content"] = _joined(cleaned[-1]["content"], content)
        else:
            cleaned.append({"role": role, "content": content})
    for entry in cleaned:
        parts = entry["content"]
        if isinstance(parts, list):
            only_text = all(part["type"] == "text" for part in parts)
            if flatten_messages_as_text or (flatten_messages_as_text is None and only_text):
                entry["content"] = "\n".join(map(_as_text, parts))
    return cleaned


def without_system(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages of a request, what is said as the system as the user's."""
    merged: list[dict[str, Any]] = []
    for message in messages:
        role = "user" if message["role"] == "system" else message["role"]
        if merged and merged[-1]["role"] == role == "user":
            merged[-1]["content"] = _joined(merged[-1]["content"], message["content"])
        else:
            merged.append({**message, "role": role})
    return merged


def known_role(role: Any) -> MessageRole:
    """`role`, as one of ours. Raises ModelError for another."""
    try:
        return MessageRole(role)
    except ValueError:
        raise ModelError(f"unknown role {role!r} of a message; use one of {MessageRole.roles()}") from None


def _role(role: Any, conversions: Mapping[str, str]) -> str:
    name = str(known_role(role).value)
    return conversions.get(name, name)


def _content(content: str | list[dict[str, Any]] | None, as_urls: bool) -> str | list[dict[str, Any]] | None:
    """A copy of `content`, its images encoded, and neighboring texts one."""
    if not isinstance(content, list):
        return content
    parts: list[dict[str, Any]] = []
    for part in content:
        if part["type"] == "image" and as_urls:
            part = {"type": "image_url", "image_url": {"url": image_url(part["image"])}}
        elif part["type"] == "image":
            part = {**part, "image": base64.b64encode(image_bytes(part["image"])).decode()}
        elif isinstance(part.get("text"), Outside):
            part = {**part, "text": f"{part['text']}\n{END}"}
        _add(parts, part)
    return parts


def _joined(first: Any, second: Any) -> Any:
    if not first or not second:
        return first or second
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n{second}"
    parts: list[dict[str, Any]] = []
    for content in (first, second):
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            _add(parts, part)
    return parts


def _add(parts: list[dict[str, Any]], part: dict[str, Any]) -> None:
    if parts and parts[-1].keys() == part.keys() == {"type", "text"}:
        parts[-1] = {"type": "text", "text": f"{parts[-1]['text']}\n{part['text']}"}
    else:
        parts.append(dict(part))


def _as_text(part: dict[str, Any]) -> str:
    return part["text"] if part["type"] == "text" else f"[{part['type']} left out: messages go as text]"


_JSON_TYPES: dict[str, dict[str, Any]] = {
    "any": {},
    "image": {"type": "string"},
    "audio": {"type": "string"},
}


def get_tool_json_schema(tool: Tool) -> dict[str, Any]:
    """A tool as the `tools` parameter of OpenAI's chat completions API wants it.

    Types of ours that JSON schema does not know are written in its own, at any depth: `any` is a schema without a
    type, `image` and `audio` are strings. What may be left out is not among the required.
    """
    required = [name for name in tool.inputs if name not in tool.optional_inputs]
    properties = {name: _json_schema(redacted(spec)) for name, spec in tool.inputs.items()}
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": {"type": "object", "properties": properties, "required": required},
        },
    }


def _json_schema(spec: Mapping[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    kind = spec.get("type")
    if isinstance(kind, str):
        schema |= _JSON_TYPES.get(kind, {"type": kind})
    elif isinstance(kind, Sequence):
        names = [_JSON_TYPES.get(name, {"type": name}).get("type") for name in kind]
        if None not in names:  # with `any` among them, there is nothing to say
            schema["type"] = list(dict.fromkeys(names))
    for key, value in spec.items():
        if key in ("properties", "$defs", "definitions") and isinstance(value, Mapping):
            schema[key] = {name: _json_schema(inner) for name, inner in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, Mapping):
            schema[key] = _json_schema(value)
        elif key in ("anyOf", "oneOf", "allOf", "prefixItems") and isinstance(value, list):
            schema[key] = [_json_schema(inner) if isinstance(inner, Mapping) else inner for inner in value]
        elif key != "type":
            schema[key] = value
    named = schema.get("type")
    if "array" in ([named] if isinstance(named, str) else named or ()):
        schema.setdefault("items", {})  # OpenAI refuses the whole request where there is none
    return schema


def request_options(
    stop_sequences: list[str] | None,
    response_format: dict[str, Any] | None,
    tools_to_call_from: list[Tool] | None,
    kwargs: Mapping[str, Any],
) -> dict[str, Any]:
    """The parameters of `Model.generate` besides the messages, by their names, for another model."""
    return {
        "stop_sequences": stop_sequences,
        "response_format": response_format,
        "tools_to_call_from": tools_to_call_from,
        **kwargs,
    }


def given_options(*given: Any) -> dict[str, Any]:
    """Those of `request_options` that are given."""
    return {name: value for name, value in request_options(*given).items() if value is not None}


def require_allowed(address: str | None, model_id: str) -> None:
    """Raises ModelError if `SMOL_ALLOW_MODEL_REQUESTS` is off and `address` is not on this machine, ConfigError if it
    is neither on nor off.

    A switch for tests and for machines that must not call out. An unknown address (None) counts as outside.
    """
    if is_on(VARIABLE, unset=True) or (address and is_loopback(address)):
        return
    raise ModelError(
        f"requests to models are switched off by {VARIABLE}={os.environ[VARIABLE]}, and {model_id!r} is not on this "
        f"machine; unset it, or use a local model"
    )


def require_usable(address: str, litellm_name: str) -> None:
    """Raises ModelError for an `api_base` at which nothing can be asked; it says how to write it."""
    if not address.lower().startswith(("http://", "https://")):
        bare = address.partition("://")[2] or address.lstrip("/")
        whole = without_password(f"{'http' if is_loopback(bare) else 'https'}://{bare}")
        raise ModelError(f"model {litellm_name!r}: api_base lacks http:// or https:// in front; write it as {whole!r}")
    path = address.rstrip("/")
    if path.endswith("/chat/completions") and litellm_name.partition("/")[0] in ("openai", "azure"):
        rest = without_password(path.removesuffix("/chat/completions"))
        raise ModelError(
            f"model {litellm_name!r}: leave /chat/completions off the end of api_base; write it as {rest!r}"
        )


def is_loopback(url: str) -> bool:
    """Whether `url` is on this machine."""
    host = urlsplit(url if "//" in url else f"//{url}").hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
