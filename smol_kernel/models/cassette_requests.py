"""Requests to a model as a cassette keeps them: plain data that is the same on every machine and holds no secret.

Called by `cassette.py`, which finds a reply by `key_of` and explains a miss with `difference`.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from smol_kernel.memory.known_secrets import INSTEAD, is_secret_setting, keep_secret, redacted
from smol_kernel.memory.messages import ChatMessage, MessageRole
from smol_kernel.models.media import audio_bytes, image_bytes
from smol_kernel.models.requests import REMOVE_PARAMETER, get_tool_json_schema

SHOWN = 60
"""Lines of a difference, at most."""
_HOW_IT_TRAVELS = re.compile(
    "api_(base|version|type)|base_url|aws_bedrock_runtime_endpoint|azure_endpoint|client|(default_|extra_)?headers"
    "|extra_query|http_client|max_retries|model_list|num_retries|organization|project|proxies|(request_)?timeout"
    "|stream(_options)?"
)
"""Settings of a request that say where and how it goes, and nothing of the reply."""
_KEYS = re.compile(
    r"\b(?:sk|pk|rk)-[A-Za-z0-9_-]{20,}|\b[sr]k_live_[A-Za-z0-9]{20,}|\bgh[opsur]_[A-Za-z0-9]{30,}"
    r"|\bgithub_pat_\w{30,}|\bglpat-[\w-]{20}|\bhf_[A-Za-z0-9]{30,}|\bgsk_[A-Za-z0-9]{30,}|\bAKIA[0-9A-Z]{16}\b"
    r"|\bAIza[\w-]{35}|\bxox[abprs]-[\w-]{10,}|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}"
)
"""What the keys of well-known services look like."""
_DATA_URL = re.compile(r"data:([\w/+.-]*);base64,([A-Za-z0-9+/=\s]+)")
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,16}\b")
_CALL_ID = re.compile(r'(?<="id": ")[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}(?=")')
"""Ids that we give to calls which a model wrote as text."""


def request_of(
    messages: Sequence[ChatMessage | dict[str, Any]],
    stop_sequences: list[str] | None = None,
    response_format: dict[str, Any] | None = None,
    tools: Sequence[Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A request as `{"options": …, "messages": …}`: what the reply depends on, and nothing else.

    Text is kept, images, audio and video by their digest. Left out are keys and all that looks like one, and what
    differs from one machine or run to the next: where the request goes, the working folder (`.`), the home folder
    (`~`), names of temporary files, addresses in memory. Raises ModelError for media that cannot be read.
    """
    chosen: dict[str, Any] = {}
    if stop_sequences:
        chosen["stop"] = list(stop_sequences)
    if response_format is not None:
        chosen["response_format"] = response_format
    if tools:
        chosen["tools"] = [get_tool_json_schema(tool) for tool in tools]
    ids: dict[str, str] = {}
    return {
        "options": {**plain_parameters(chosen), **plain_parameters(options or {})},
        "messages": [_message(message, ids) for message in messages],
    }


def plain_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a request as plain data: without keys, headers, addresses and functions."""
    return {
        str(name): _plain(value)
        for name, value in parameters.items()
        if value is not None and value is not REMOVE_PARAMETER and not _HOW_IT_TRAVELS.fullmatch(str(name))
        if not is_secret_setting(str(name)) and not callable(value)
    }


def keep_all_secret(settings: Mapping[str, Any]) -> None:
    """Know the keys among `settings`, at any depth, so that they are taken out of texts."""
    keep_secret({name: value for name, value in settings.items() if value != "none"})
    for value in settings.values():
        for inner in cast("Iterable[Any]", value if isinstance(value, list | tuple) else [value]):
            if isinstance(inner, Mapping):
                keep_all_secret(cast("Mapping[str, Any]", inner))


def without_secrets(text: str) -> str:
    """`text` with words in place of each key that this process knows, or that looks like one."""
    return _KEYS.sub(INSTEAD, redacted(str(text)))


def key_of(request: dict[str, Any]) -> str:
    """What tells a request from others: equal for equal ones, whatever the order of their options."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def difference(asked: dict[str, Any], recorded: Iterable[dict[str, Any]]) -> str:
    """What tells `asked` from the nearest of the `recorded` requests, as a unified diff; empty if there is none."""
    nearest = max(recorded, key=lambda each: _nearness(each, asked), default=None)
    if nearest is None:
        return ""
    lines = list(difflib.unified_diff(_lines(nearest), _lines(asked), "recorded", "asked now", n=2, lineterm=""))
    if len(lines) > SHOWN:
        lines[SHOWN // 2 : -(SHOWN // 2)] = [f"… {len(lines) - SHOWN} lines left out …"]
    return "\n".join(line if len(line) <= 300 else f"{line[:300]} …" for line in lines)


def _nearness(one: dict[str, Any], other: dict[str, Any]) -> tuple[int, float, int]:
    """How much two requests have in common: their beginning, then how alike the first message is that differs."""
    pairs = list(zip(one["messages"], other["messages"], strict=False))
    same = next((place for place, pair in enumerate(pairs) if pair[0] != pair[1]), len(pairs))
    alike = 0.0
    if same < len(pairs):
        texts = ["\n".join(_body(message))[:4_000] for message in pairs[same]]
        alike = difflib.SequenceMatcher(None, *texts, autojunk=False).quick_ratio()
    length = -abs(len(one["messages"]) - len(other["messages"]))
    return same, alike, length + (one["options"] == other["options"])


def _lines(request: dict[str, Any]) -> list[str]:
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in request["options"].items()]
    for number, message in enumerate(request["messages"], 1):
        lines += [f"[message {number}, {message['role']}]", *_body(message)]
    return lines


def _body(message: dict[str, Any]) -> Iterator[str]:
    for part in message["content"]:
        if part.keys() == {"type", "text"}:
            yield from part["text"].split("\n")
        else:
            yield json.dumps(part, ensure_ascii=False)


def _message(message: ChatMessage | dict[str, Any], ids: dict[str, str]) -> dict[str, Any]:
    message = ChatMessage.from_dict(message) if isinstance(message, dict) else message
    content: Any = message.content
    parts: list[dict[str, Any]] = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    role = MessageRole(message.role)
    made: dict[str, Any] = {"role": role.value, "content": [_part(part) for part in parts]}
    if message.tool_calls:
        made["tool_calls"] = [_plain(call.dict()) for call in message.tool_calls]
    if role is MessageRole.TOOL_CALL:
        for part in made["content"]:
            if isinstance(part.get("text"), str):
                part["text"] = _CALL_ID.sub(lambda match: ids.setdefault(match[0], f"{len(ids) + 1}"), part["text"])
    return made


def _part(part: dict[str, Any]) -> dict[str, Any]:
    kind = part.get("type")
    if kind == "image":
        return {"type": kind, kind: _image(part[kind])}
    if kind == "audio":
        return {"type": kind, kind: _digest(audio_bytes(part[kind]))}
    if kind == "video":
        return {"type": kind, kind: _digest(image_bytes(part[kind])) if not _is_url(part[kind]) else _url(part[kind])}
    return _plain(part)


def _image(image: Any) -> str:
    image = image.to_raw() if hasattr(image, "to_raw") else image
    if _is_url(image):
        return _url(image)
    pixels = getattr(image, "tobytes", None)
    if callable(pixels) and hasattr(image, "mode"):  # a PIL image: how its file is packed is no part of it
        size = "x".join(map(str, image.size))
        return f"{size} {image.mode} {_digest(cast('bytes', pixels()))}"
    return _text(image) if isinstance(image, str) and image.startswith("data:") else _digest(image_bytes(image))


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _is_url(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("http://", "https://"))


def _url(url: str) -> str:
    """An address without user and password; of what follows its `?` (it may be a signature) the digest."""
    parts = urlsplit(url)
    place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return _text(place) + (f"?{_digest(parts.query.encode())}" if parts.query else "")


def _plain(value: Any) -> Any:
    """`value` as JSON has it, without secrets; what JSON does not know by its type."""
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        # in a schema `properties` are names of arguments, which may be called `token` and hold none
        return {str(k): _plain(v) for k, v in items if isinstance(v, Mapping) or not is_secret_setting(str(k))}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in cast("Iterable[Any]", value)]
    if isinstance(value, bytes):
        return _digest(value)
    schema = getattr(value, "model_json_schema", None)  # a pydantic model as response_format
    return _plain(schema()) if callable(schema) else f"({type(value).__name__})"


def _text(text: str) -> str:
    text = without_secrets(text)
    text = _DATA_URL.sub(lambda match: f"data:{match[1]};{_digest(match[2].encode())}", text)
    for pattern, instead in _folders(os.getcwd(), os.path.abspath(tempfile.gettempdir())):
        text = pattern.sub(instead, text)
    return _ADDRESS.sub("0x…", text)


@lru_cache(maxsize=8)
def _folders(cwd: str, temporary: str) -> list[tuple[re.Pattern[str], str]]:
    """Names of places that differ between machines, and what stands in their place."""
    end = r"(?![\w.-]*\w)"
    found = [(rf"{re.escape(temporary)}/(?:tmp\w{{8}}\b|ipykernel_\d+/\d+\.py)", "(temporary)")]
    for folder, instead in sorted({os.path.expanduser("~"): "~", cwd: "."}.items(), key=lambda each: -len(each[0])):
        if len(Path(folder).parts) > 1:  # `/` is a place in every text
            found.append((rf"(?<![\w.-]){re.escape(folder)}{end}", instead))
    found.append((rf"(?<![\w.-]){re.escape(temporary)}{end}", "(temporary)"))
    return [(re.compile(pattern), instead) for pattern, instead in found]
