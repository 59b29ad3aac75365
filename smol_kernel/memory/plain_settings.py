"""Settings as plain data, for a recording from which an agent is made again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any, cast

from smol_kernel.memory.known_secrets import SECRET_NAME

LONGEST = 100_000
"""Characters of one setting; a longer one is left out."""


def plain_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` without those that are not given, that look like keys, or that no text can stand for: functions,
    models and other live objects. Paths and mounts become text, dataclasses and lists what they hold."""
    return {name: plain for name, value in settings.items() if (plain := _plain(value)) not in (None, {}, "")}


def _plain(value: Any) -> Any:
    try:
        text = json.dumps(_kept(value), default=_written)
    except (TypeError, ValueError, RecursionError):
        return None
    return json.loads(text) if len(text) <= LONGEST else None


def _kept(value: Any) -> Any:
    """Without the functions in a list, and what looks like a key in a dict."""
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {name: _kept(each) for name, each in items if not SECRET_NAME.search(str(name)) and not callable(each)}
    if isinstance(value, list | tuple):
        return [_kept(each) for each in cast("list[Any]", value) if not callable(each)]
    return value


def _written(value: Any) -> Any:
    if hasattr(value, "__fspath__"):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return str(value) if type(value).__str__ is not object.__str__ else asdict(value)
    raise TypeError(type(value).__name__)
