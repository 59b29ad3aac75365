"""A provider's own reply as plain data, for the steps as data: never in the journal, never with a key in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any, cast

from smol_kernel.memory.known_secrets import SHORTEST, is_secret_setting, redacted

_MOST_PARTS = 1_000_000


def as_data(raw: Any) -> Any:
    """What a reply holds, if it is a dict, a list, a dataclass or of pydantic; else None."""
    try:
        if is_dataclass(raw) and not isinstance(raw, type):
            raw = asdict(raw)
        elif callable(dump := getattr(raw, "model_dump", None)):
            raw = dump(warnings=False)
    except Exception:  # noqa: BLE001 - boundary: an object of any library
        return None
    return raw if isinstance(raw, Mapping | list) else None


def without_keys(data: Any) -> Any:
    """Plain data without what is secret by its name, unless it is a short word as the `token` of a log probability,
    and without the secrets that this process knows."""
    return redacted(_without(data), _MOST_PARTS)


def _without(data: Any) -> Any:
    if isinstance(data, list):
        return [_without(each) for each in cast("list[Any]", data)]
    if isinstance(data, dict):
        pairs = cast("dict[str, Any]", data).items()
        is_word = "logprob" in data  # its `token` is one
        return {
            name: _without(value)
            for name, value in pairs
            if is_word or not (is_secret_setting(name) and _may_be_key(value))
        }
    return data


def _may_be_key(value: Any) -> bool:
    return len(value) >= SHORTEST if isinstance(value, str) else isinstance(value, dict | list)
