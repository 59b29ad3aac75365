"""What a tool was made with, as far as it can be written down: plain values, and none that looks like a key."""

from __future__ import annotations

import inspect
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from smol_kernel.memory.known_secrets import SECRET_NAME, is_random, is_secret_setting, redacted, without_secret_words

STAYS: Any = ...
"""In place of an argument that is kept nowhere."""
MOST, LONGEST = 200, 10_000
"""Parts of an argument, and its characters as Python; of what is larger nothing is kept."""
_KEY = re.compile(
    r"\b(sk|pk|rk|hf|gh[a-z]|github_pat|glpat|xox[a-z]|npm|gsk|tvly|pplx)[-_]\w|\b(AKIA|AIza|eyJ)\w{8}"
    r"|(?=\w*\d)(?=\w*[A-Za-z])[A-Za-z0-9]{20}"
)
"""Begins as keys of well-known services do, or goes on as no word does."""


def arguments(kind: type, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What `kind(*args, **kwargs)` gives its constructor by name, save what is the default there; STAYS for what is
    not plain, or cannot be given by name."""
    signature = inspect.signature(kind.__init__)
    try:
        given = signature.bind(None, *args, **kwargs).arguments
    except TypeError:  # it was made in another way
        return {}
    found: dict[str, Any] = {}
    for name, value in list(given.items())[1:]:
        parameter = signature.parameters[name]
        if parameter.kind is parameter.VAR_KEYWORD:
            found |= {each: _kept(each, inner) for each, inner in value.items()}
        elif parameter.kind is not parameter.POSITIONAL_OR_KEYWORD and parameter.kind is not parameter.KEYWORD_ONLY:
            found[name] = STAYS
        elif value is not parameter.default:
            kept = _kept(name, value)
            if type(kept) is not type(parameter.default) or kept != parameter.default:
                found[name] = kept
    return found


def writable(made_with: Mapping[str, Any], attributes: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Of the arguments of a tool that has these attributes: those that may be written down; and the names of others."""
    keys = [value for name, value in attributes.items() if isinstance(value, str) and is_secret_setting(name) and value]
    written = {
        name: value for name, value in made_with.items() if value is not STAYS and not _is_secret(name, value, keys)
    }
    return written, [name for name in made_with if name not in written]


def _kept(name: str, value: Any) -> Any:
    """A copy of a plain value; STAYS for any other."""
    if is_secret_setting(name) or not _is_plain(value, [MOST]) or len(repr(value)) > LONGEST:
        return STAYS
    return _copy(value)


def _is_plain(value: Any, room: list[int]) -> bool:
    """Whether Python's own way to write the value makes it again."""
    room[0] -= 1
    kind = type(value)
    if room[0] < 0:
        return False
    if kind in (list, tuple):
        return all(_is_plain(each, room) for each in value)
    if kind is dict:
        return all(_is_plain(each, room) for item in value.items() for each in item)
    if kind is str or kind is int:
        return (len(value) if kind is str else value.bit_length()) <= LONGEST
    return value is None or kind is bool or (kind is float and math.isfinite(value))


def _copy(value: Any) -> Any:
    if type(value) is dict:
        return {name: _copy(each) for name, each in value.items()}
    return type(value)(map(_copy, value)) if type(value) in (list, tuple) else value


def _is_secret(name: str, value: Any, keys: Sequence[str]) -> bool:
    """Whether a key stands in a plain value, by its name, by its look, or because it is one of `keys`."""
    if type(value) is dict:
        return any(_is_secret(str(each), inner, keys) or _is_secret("", each, keys) for each, inner in value.items())
    if type(value) in (list, tuple):
        return any(_is_secret(name, each, keys) for each in value) or any(
            type(each) is str and _is_secret("", f"{before} {each}", keys) for before, each in itertools.pairwise(value)
        )
    if is_secret_setting(name):
        return True
    return type(value) is str and (
        bool(SECRET_NAME.search(value) and is_random(value))
        or bool(_KEY.search(value))
        or redacted(value) != value
        or without_secret_words(value) != value
        or any(key in value for key in keys)
    )
