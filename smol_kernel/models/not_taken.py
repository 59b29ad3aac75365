"""Reads in a provider's words which parameter of a request a model does not take. Called by `failures.py`."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NOT_TAKEN = re.compile(
    r"not support|n't support|unsupported|not permitted|not allowed|not accepted|unrecogni[sz]ed|unknown|extra inputs"
    r"|unexpected|incompatible|may not be|may only be|only \S{1,20} is (allowed|supported)|deprecated"
)
"""In what servers say of a parameter that they do not take, or not with this value."""
_BEYOND = re.compile(
    r"[<>]=?\s*\d|less than|greater than|between -?\d|at (most|least) \d|too (large|high|big|low|small)|out of range"
)
"""In what they say of a value that is too much or too little: the user's to mend."""
_NAMED_STOP = re.compile(
    r"""(?:["'`.\[(]|(?:parameter|argument|field|key|supplied)s?:? )stop(?![\w-])"""
    r"""|(?:[:,>] |support )stop(?=[\])}'"`.;\s]*(?:$|\n|,|is\b))"""
    r"|(?<![\w-])stop(?:[ _-]?(?:sequence|word|string|token)s?\b| (?:parameter|argument|field)"
    r"|(?: is|:) (?:currently )?(?:not|un|extra|deprecated))"
)
"""`stop` as a parameter: the word is one of prose as well."""


def parameter_not_taken(words: str, param: str, sent: Sequence[str]) -> str | None:
    """Which of the parameters that were sent `words`, in lower case, say that they do not take; `param` is the one that
    the server names beside them, if it does."""
    if not _NOT_TAKEN.search(words) or _BEYOND.search(words):
        return None
    if param in sent:
        return param
    places = {name: _pattern(name).search(words) for name in sent}
    named = {name: place.start() for name, place in places.items() if place}
    return min(named, key=lambda name: named[name], default=None)


def _pattern(name: str) -> re.Pattern[str]:
    return _NAMED_STOP if name == "stop" else re.compile(rf"(?<![\w-]){name}(?![\w-])")
