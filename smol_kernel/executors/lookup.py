"""Completion, inspection and values in the child's namespace: what the child answers, checked. Used by `kernel`.

The forms are those of https://jupyter-client.readthedocs.io/en/stable/messaging.html; nothing else is passed on.
"""

from __future__ import annotations

from typing import Any

from smol_kernel.errors import ExecutorError
from smol_kernel.executors.observation import MAX_PLAIN, clean, told
from smol_kernel.executors.values import MalformedValue, decode

MAX_MATCHES = 1_000
MAX_MATCH = 1_000
"""Characters of a completion."""
MAX_NAMES = 10_000
MAX_NAME = 100
"""Characters of a variable's or a class's name."""
TYPES = "_jupyter_types_experimental"
"""Where ipykernel tells the kind of each completion."""


def completions(reply: dict[str, Any], cursor_pos: int, length: int) -> dict[str, Any]:
    """The content of a `complete_reply` about code of `length` characters; without completions if it is not sound."""
    start, end, matches = (reply.get(key) for key in ("cursor_start", "cursor_end", "matches"))
    if not (_place(start, length) and _place(end, length) and isinstance(matches, list)):
        start, end, matches = cursor_pos, cursor_pos, []
    sound = [match for match in matches[:MAX_MATCHES] if _word(match)]
    metadata = reply.get("metadata")
    kinds: Any = metadata.get(TYPES) if isinstance(metadata, dict) else None
    told = [_kind(kind) for kind in kinds[:MAX_MATCHES] if _is_kind(kind, length)] if isinstance(kinds, list) else []
    return {
        "status": "ok",
        "matches": sound,
        "cursor_start": start,
        "cursor_end": end,
        "metadata": {TYPES: told} if told else {},
    }


def help_text(reply: dict[str, Any]) -> dict[str, Any]:
    """The content of an `inspect_reply`: plain text alone."""
    data = reply.get("data")
    text: Any = data.get("text/plain") if isinstance(data, dict) else None
    if not isinstance(text, str):
        return {"status": "ok", "found": False, "data": {}, "metadata": {}}
    return {"status": "ok", "found": True, "data": {"text/plain": clean(text[:MAX_PLAIN])}, "metadata": {}}


def variable(reply: dict[str, Any] | None, name: str) -> Any:
    """The value in the reply to a question for a variable. Raises KeyError if there is none of that name, ExecutorError
    if the reply is none or holds no sound value."""
    if reply is None:
        why = "no answer came in time"
    elif reply.get("status") != "ok":
        why = told(reply, "error")
    elif reply.get("found") is not True:
        raise KeyError(name)
    else:
        try:
            return decode(reply.get("value"))
        except MalformedValue as error:
            why = str(error)
    raise ExecutorError(f"variable {name!r} of the child kernel cannot be read: {why}")


def names(told: Any) -> list[str]:
    """Those of the names told that can be names."""
    found = told[:MAX_NAMES] if isinstance(told, list) else []
    return [name for name in found if isinstance(name, str) and len(name) <= MAX_NAME and name.isidentifier()]


def _place(place: Any, length: int) -> bool:
    return type(place) is int and 0 <= place <= length


def _word(text: Any) -> bool:
    return isinstance(text, str) and len(text) <= MAX_MATCH and clean(text) == text


def _is_kind(kind: Any, length: int) -> bool:
    if not isinstance(kind, dict):
        return False
    return all(_place(kind.get(key), length) for key in ("start", "end")) and all(
        _word(kind.get(key)) for key in ("text", "type")
    )


def _kind(kind: dict[str, Any]) -> dict[str, Any]:
    signature = kind.get("signature")
    parts = {key: kind[key] for key in ("start", "end", "text", "type")}
    return {**parts, "signature": signature if _word(signature) else ""}
