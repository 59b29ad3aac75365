"""What a tool was made with, as far as it can be written down: plain values that are plainly no keys."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from smol_kernel.memory.known_secrets import SHORTEST, is_random, is_secret_setting, redacted, secret_settings
from smol_kernel.memory.plainly_no_key import is_plainly_no_key

IMPORTS = "authorized_imports"
"""An argument that limits what code may do: what of it cannot be written is not allowed to what is made again."""
_MODULE = re.compile(r"\*|[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*(\.\*)?")
STAYS: Any = ...
"""In place of an argument that is kept nowhere."""
MOST, LONGEST = 200, 10_000
"""Parts of an argument, and its characters as Python; of what is larger nothing is kept."""


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


def writable(tool: Any) -> tuple[dict[str, Any], list[str]]:
    """Of the arguments of a tool: those that may be written down, none of which is held as a key somewhere in it; and
    the names of the others, and of those of which some is left out."""
    made_with: Mapping[str, Any] = tool._made_with
    kept = {name: value for name, value in made_with.items() if value is not STAYS}
    kept |= {IMPORTS: []} if made_with.get(IMPORTS) is STAYS else {}
    written = open_of(tool, kept)
    return written, [name for name in made_with if name not in written or written[name] != made_with[name]]


def open_of(tool: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Of plain settings of a tool those that are plainly no keys, and not held as keys somewhere in it. Of modules that
    may be imported those are left out that are not."""
    held = [value for _, value in secret_settings({**vars(type(tool)), **vars(tool)})]
    keys = {*held, *(value.split()[-1] for value in held)}  # of "Bearer KEY" the key
    found = {name: value for name, value in settings.items() if _is_open(value, keys)}
    if (modules := settings.get(IMPORTS)) is not None and IMPORTS not in found:
        kind: Any = type(modules)
        found[IMPORTS] = kind(each for each in modules if _is_module(each, keys)) if kind in (list, tuple) else []
    return found


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


def _is_module(value: Any, keys: Set[str]) -> bool:
    """Whether it is the name of a module, such as `h5py`, which may look like a key."""
    if type(value) is not str or redacted(value) != value or _holds(value, keys):
        return False
    return bool(_MODULE.fullmatch(value)) or is_plainly_no_key([value])


def _holds(text: str, keys: Set[str]) -> bool:
    """Whether a key is in the text; one that is a short word only where it is the text."""
    return text in keys or any(key in text for key in keys if is_random(key) or len(key) >= SHORTEST)


def _is_open(value: Any, keys: Set[str]) -> bool:
    texts = list(_texts(value))
    return is_plainly_no_key(texts) and redacted(texts) == texts and not any(_holds(text, keys) for text in texts)


def _texts(value: Any) -> Iterator[str]:
    """The texts in a plain value, with their names before them, and "0" for what is none: a key may be a number."""
    if type(value) is dict:
        for item in value.items():
            yield from _texts(item)
    elif type(value) in (list, tuple):
        for each in value:
            yield from _texts(each)
    else:
        yield value if type(value) is str else "0"
