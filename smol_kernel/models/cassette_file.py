"""The file of a cassette: JSON that reads well in a diff, written whole or not at all.

Each message stands in it once, under a name made of its digest; an entry names the messages of its request, in order,
and holds the replies to it. Used by `cassette.py`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from smol_kernel.errors import ConfigError, ContextLengthError, ModelError
from smol_kernel.memory.messages import ChatMessage, MessageRole
from smol_kernel.models.cassette_requests import key_of, without_secrets

SCHEMA_VERSION = 1
"""The value of `cassette` in the file; raised by one whenever its meaning changes."""
TOO_LONG: dict[str, Any] = {"refused": "the conversation was longer than the model can read"}
"""Stands in the place of a reply: agents shorten the conversation then, and go on."""

_CONFLICT = re.compile(r"^(?:<{7}|={7}|>{7}|\|{7})", re.MULTILINE)
"""A line with which git marks a conflict; none of JSON begins so."""
_MORE = ("tool_calls",)  # what a message may have besides role and content


@dataclass
class Entry:
    """A request, as `request_of` has it, and the replies to it in their order."""

    request: dict[str, Any]
    replies: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Tape:
    """What a file holds. `model` and `parameters` are those of the model that was asked, `scripted` as in Model."""

    model: str
    parameters: dict[str, Any]
    scripted: bool
    entries: dict[str, Entry] = field(default_factory=dict)


def named(path: Path) -> str:
    """The path as messages have it: as it is seen from the working folder, if it is below that."""
    return str(path.relative_to(here) if path.is_relative_to(here := Path.cwd()) else path)


def read_tape(path: Path) -> Tape | None:
    """What the file holds; None if there is none. Raises ConfigError for one that cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _unreadable(path, getattr(error, "strerror", None) or str(error)) from None
    try:
        data = json.loads(text)
        version = data["cassette"]
        if type(version) is int and version > SCHEMA_VERSION:
            raise ConfigError(
                f"the cassette {named(path)!r} has version {version}, written by a newer smol-kernel (this one knows "
                f"{SCHEMA_VERSION}): upgrade smol-kernel, or record into another file"
            )
        if version != SCHEMA_VERSION:
            raise ValueError(f"its version is {version!r}")
        return _decoded(data)
    except ConfigError:
        raise
    except json.JSONDecodeError as error:
        if not text.strip():
            raise _unreadable(path, "it is empty") from None
        if mark := _CONFLICT.search(text):
            line = text.count("\n", 0, mark.start()) + 1
            raise ConfigError(
                f"the cassette {named(path)!r} holds marks of a merge conflict (line {line}): take one side, then run "
                "once in mode auto, which asks only for what is missing"
            ) from None
        raise _unreadable(path, f"it is no whole JSON: {error.msg} in line {error.lineno}") from None
    except KeyError as error:
        raise _unreadable(path, f"{error} is missing") from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _unreadable(path, str(error)) from None


def add_reply(
    path: Path, empty: Tape, request: dict[str, Any], reply: dict[str, Any], *, anew: bool, begins: bool
) -> Tape:
    """Add a reply to what the file holds at this moment, and return that; `empty` is a tape without entries.

    `anew`: it takes the place of the earlier replies to that request. `begins`: a file of another model is begun anew.
    Raises ModelError, and ConfigError for a file of another model or a damaged one; the file is as it was then.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path.parent):
            tape = read_tape(path) or empty
            if begins and (tape.model, tape.parameters) != (empty.model, empty.parameters):
                tape = empty
            refuse_another(path, tape, empty)
            tape.scripted = tape.scripted or empty.scripted
            entry = tape.entries.setdefault(key_of(request), Entry(request))
            entry.replies = [reply] if anew else [*entry.replies, reply]
            _write(path, _encoded(tape))
            return tape
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from None


def refuse_another(path: Path, tape: Tape, given: Tape) -> None:
    """Raise ConfigError, which names both, if the tape is of another model or other parameters than `given`."""
    for what, recorded, now in (
        ("model", tape.model, given.model),
        ("the parameters", tape.parameters, given.parameters),
    ):
        if recorded != now:
            raise ConfigError(
                f"the cassette {named(path)!r} was recorded with {what} {recorded!r}, and now {now!r}: use another "
                "file, or record this one anew (mode record); to replay it as it is, name no model"
            )


def check_writable(path: Path) -> None:
    """Raise ModelError, before a reply is paid for, if it cannot be written to the file."""
    if path.is_dir():
        raise _unwritable(path, "it is a folder")
    if path.exists() and (not path.stat().st_mode & 0o222 or not os.access(path, os.W_OK)):
        raise _unwritable(path, "it is read-only")
    folder = next((each for each in path.parents if each.exists()), path.parent)
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise _unwritable(path, f"{str(folder)!r} is {'read-only' if folder.is_dir() else 'no folder'}")


def reply_to_dict(message: ChatMessage) -> dict[str, Any]:
    """A reply as the file holds it: text, tool calls, token counts and cost. The provider's own object is left out."""
    kept: dict[str, Any] = {}
    if message.text:
        kept["text"] = _split(without_secrets(message.text))
    if message.tool_calls:
        calls = json.dumps([call.dict() for call in message.tool_calls], ensure_ascii=False, default=str)
        kept["tool_calls"] = json.loads(without_secrets(calls))
    if message.token_usage is not None:
        kept["usage"] = {k: v for k, v in message.token_usage.dict().items() if k != "total_tokens"}
    if message.cut_off:
        kept["cut_off"] = True
    return kept


def reply_from_dict(reply: dict[str, Any]) -> ChatMessage:
    """The inverse of `reply_to_dict`. Raises ContextLengthError where the conversation was too long."""
    if "refused" in reply:
        raise ContextLengthError(f"recorded: {reply['refused']}")
    content = _joined(reply["text"]) if "text" in reply else None
    data = {"role": MessageRole.ASSISTANT, "content": content, "tool_calls": reply.get("tool_calls")}
    return ChatMessage.from_dict({**data, "token_usage": reply.get("usage"), "cut_off": reply.get("cut_off") is True})


def _encoded(tape: Tape) -> str:
    messages: dict[str, Any] = {}
    entries: list[dict[str, Any]] = []
    for entry in tape.entries.values():
        names: list[str] = []
        for message in entry.request["messages"]:
            names.append(hashlib.sha256(json.dumps(message, sort_keys=True).encode()).hexdigest()[:12])
            messages[names[-1]] = _shortened(message)
        entries.append({"messages": names, "options": entry.request["options"], "replies": entry.replies})
    data = {
        "cassette": SCHEMA_VERSION,
        "model": tape.model,
        "parameters": tape.parameters,
        "scripted": tape.scripted,
        "messages": messages,
        "calls": entries,
    }
    return json.dumps(data, ensure_ascii=False, indent=1) + "\n"


def _decoded(data: dict[str, Any]) -> Tape:
    messages: dict[str, Any] = {}
    for name, message in data["messages"].items():
        messages[name] = _lengthened(message)
    tape = Tape(str(data["model"]), dict(data["parameters"]), data["scripted"] is not False)
    for each in data["calls"]:
        if not each["replies"]:
            raise ValueError("an entry has no reply")
        request = {"options": dict(each["options"]), "messages": [messages[name] for name in each["messages"]]}
        for reply in each["replies"]:
            with suppress(ContextLengthError):
                reply_from_dict(reply)
        tape.entries[key_of(request)] = Entry(request, list(each["replies"]))
    return tape


def _shortened(message: dict[str, Any]) -> dict[str, Any]:
    """A message as the file has it: texts as lists of lines; one that is but a text has no parts."""
    parts = [{**part, "text": _split(part["text"])} if "text" in part else part for part in message["content"]]
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return {"role": message["role"], "text": parts[0]["text"], **{k: v for k, v in message.items() if k in _MORE}}
    return {**message, "content": parts}


def _lengthened(message: dict[str, Any]) -> dict[str, Any]:
    """The inverse of `_shortened`. Raises ValueError, KeyError, TypeError for what is none."""
    parts = message["content"] if "content" in message else [{"type": "text", "text": message["text"]}]
    content = [{**part, "text": _joined(part["text"])} if "text" in part else dict(part) for part in parts]
    more = {name: value for name, value in message.items() if name in _MORE}
    return {"role": MessageRole(message["role"]).value, "content": content, **more}


def _split(text: str) -> str | list[str]:
    return text.split("\n") if "\n" in text else text


def _joined(text: Any) -> str:
    return text if isinstance(text, str) else "\n".join(cast("list[str]", text))


@contextmanager
def _alone(folder: Path) -> Generator[None]:
    """Keep other threads and processes from writing meanwhile."""
    held = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems of a network have none
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _write(path: Path, text: str) -> None:
    check_writable(path)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with part.open("xb") as file:
            file.write(text.encode(errors="backslashreplace"))  # JSON's own way to write a lone surrogate
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, part)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _unreadable(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"the cassette {named(path)!r} cannot be read ({why}). It was left as it is: restore it, or move it away and "
        "record anew"
    )


def _unwritable(path: Path, why: str) -> ModelError:
    return ModelError(f"the cassette {named(path)!r} cannot be written: {why}; what it holds is unchanged")
