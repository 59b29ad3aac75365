"""The last look before an agent is written down: no key that this process knows may stand in any of its texts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from smol_kernel.errors import ConfigError
from smol_kernel.memory.known_secrets import is_path, is_random, is_secret_setting, secret_settings

_SHORTEST = 8  # characters; what is shorter is found in any text
_CLEAR = re.compile("(api|access|private)_?key|passw|passphrase|secret|token|credential|authorization", re.IGNORECASE)
"""Names of what is secret even if it looks like a word, which a `sort_key` or a `signature` may be."""


def refuse_secrets(agent: Any, data: Mapping[str, Any]) -> None:
    """Look in all texts of `data`, which describes `agent`, for keys of its models and tools, and of the environment.

    Raises ConfigError that says where one stands, and whose it is.
    """
    known = dict(_known_to(agent))
    for name, value in os.environ.items():
        if is_secret_setting(name) and not value.isalpha() and not is_path(name, value):  # no plain word
            known[value] = f"the environment variable {name}"
    for place, text in _texts(data):
        for value, owner in known.items():
            if len(value) >= _SHORTEST and value in text:
                raise ConfigError(
                    f"{place} holds the value of {owner}, and would be written down with it. Read it where it is "
                    f"needed, such as by os.environ, in place of writing it out"
                )


def _known_to(agent: Any) -> Iterator[tuple[str, str]]:
    """Secrets that the models and tools of an agent, and of those it calls, were built with; and whose they are."""
    seen: list[Any] = []
    waiting = [agent]
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.append(one)
        waiting += [*getattr(one, "managed_agents", {}).values(), *getattr(one, "handoffs", {}).values()]
        models = [getattr(one, "model", None)]
        for model in models:
            models += getattr(model, "models", [])
            yield from _secrets_in(getattr(model, "__dict__", {}), f"of the model {model!r}")
        for tool in getattr(one, "tools", {}).values():
            yield from _secrets_in({**vars(type(tool)), **vars(tool)}, f"of the tool {tool.name!r}")
        yield from _secrets_in(getattr(one, "executor_kwargs", {}), "in executor_kwargs")


def _secrets_in(settings: Mapping[str, Any], whose: str) -> Iterator[tuple[str, str]]:
    for name, value in secret_settings(settings):
        key = value.split()[-1]  # of "Bearer KEY"
        if is_random(key) or _CLEAR.search(name):
            yield key, f"{name} {whose}"


def _texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Every text in plain data, and where it stands."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        inside = f" of {value['name']!r}" if isinstance(value.get("name"), str) else ""
        for name, inner in value.items():
            yield from _texts(inner, f"{place}{inside}.{name}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, place)
