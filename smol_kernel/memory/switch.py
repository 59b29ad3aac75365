"""Switches in the environment: which words turn one on, and which off."""

from __future__ import annotations

import os

from smol_kernel.errors import ConfigError

_OFF, _ON = ("off", "0", "false", "no"), ("on", "1", "true", "yes")


def is_on(variable: str, unset: bool) -> bool:
    """Whether the environment variable is switched on; `unset`, where it is unset or empty. Raises ConfigError for
    another word: a misspelt "off" is not to mean "on"."""
    said = os.environ.get(variable, "")
    word = said.strip().lower()
    if word not in ("", *_OFF, *_ON):
        raise ConfigError(f"{variable} is {said!r}: set it to off or on, or unset it")
    return word in _ON if word else unset
