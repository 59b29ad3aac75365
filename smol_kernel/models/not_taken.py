"""Reads in a provider's words what of a request a model does not take. Called by `failures.py`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_NOT_TAKEN = re.compile(
    r"not[ _]support|n't support|unsupported|not permitted|not allowed|not accepted|unrecogni[sz]ed|unknown"
    r"|extra inputs|unexpected|incompatible|may not be|may only be|only \S{1,20} is (allowed|supported)|deprecated"
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
_IS_NOT = (
    r"['\"`]?(?: is| are|:)?(?: currently)? (?:not (?:supported|allowed|permitted|implemented|enabled)|extra inputs)"
)
_UNKNOWN = r"(?:unsupported|unrecogni[sz]ed|unknown) [\w ]{1,30}: ['\"`]?"
_REFUSALS = {
    "stream": (
        rf"\bstream(ing)?\b( \w+){{0,2}}{_IS_NOT}",
        r"(not|n't) support stream(ing)?\b",
        rf"{_UNKNOWN}stream\b",
        r"\btools?\b( \w+){0,4} (with|when|while) (using )?stream(ing)?\b",
    ),
    "tools": (
        rf"(?<!parallel )\b(tools?|tool use|tool calls?|(tool|function) calling){_IS_NOT}",
        r"(not|n't|that) support (tools?\b(?! choice)|function call)",
        rf"{_UNKNOWN}tools\b",
        r"requires --(jinja|enable-auto-tool-choice|tool-call-parser)",
    ),
    "system": (
        rf"\b(system|developer) (instruction|message|prompt)s?{_IS_NOT}",
        r"system['\"`]? role|role\W.{0,20}system",
        r"roles (must|should) (be )?alternat",
    ),
}
"""What servers say that refuse these: the words alone are ones of prose, and stand in what is said of one tool."""


def not_taken(words: str, param: str, sent: Mapping[str, Any]) -> str | None:
    """Which of the parameters that were sent, "system" messages among them, `words`, in lower case, say that they do
    not take; `param` is the one that the server names beside them, if it does."""
    for name, said in _REFUSALS.items():
        if name in sent and any(re.search(each, words) for each in said):
            return name
    if sent.get("tool_choice") == "required" and re.search("tool[_ ]choice", words):
        return "tool_choice"  # whatever is said of it: nobody asked for it
    if not _NOT_TAKEN.search(words) or _BEYOND.search(words):
        return None
    if param in sent:
        return param
    places = {name: _pattern(name).search(words) for name in sent if name not in _REFUSALS}
    named = {name: place.start() for name, place in places.items() if place}
    return min(named, key=lambda name: named[name], default=None)


def _pattern(name: str) -> re.Pattern[str]:
    return _NAMED_STOP if name == "stop" else re.compile(rf"(?<![\w-]){name}(?![\w-])")
