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
_AGAINST = re.compile(r"(?<![a-z])(?:not|cannot|must|should|only|unsupported|invalid|requires?)(?![a-z])")
"""In what servers say of a demand for a call."""
_UNKNOWN = r"(?:unsupported|unrecogni[sz]ed|unknown) [\w ]{1,30}: ['\"`]?"
_REFUSALS = {
    "stream": (
        rf"\bstream(ing)?\b( \w+){{0,2}}{_IS_NOT}",
        r"(not|n't) support stream(ing)?\b",
        rf"{_UNKNOWN}stream\b",
        r"\b(tools?|function calling)\b( \w+){0,4} (in|with|when|while) (using )?stream(ing)?\b",
    ),
    "tools": (
        r"(?<!parallel )(?<!multiple )(?<!strict )(?<!built-in )(?<!message with )(?<!role ['\"`])"
        rf"\b(tools?|tool use|tool calls?|(tool|function) calling){_IS_NOT}",
        r"(not|n't|that) support (tools?\b(?! choice)|function call)",
        rf"{_UNKNOWN}tools\b",
        r"requires --(jinja|enable-auto-tool-choice|tool-call-parser)",
    ),
    "system": (
        rf"\b(system|developer) (instruction|message|prompt)s?{_IS_NOT}",
        r"system['\"`]? role( is)? (not|un)|(not|n't) support ['\"`]?system\b|unexpected role ['\"`]?system",
        r"role:? ['\"`]system['\"`] is not",
        r"(?<!optional system message, conversation )roles (must|should) (be )?alternat",
    ),
}
"""What servers say that refuse these: the words alone are ones of prose, and stand in what is said of one tool."""
_ECHOING = re.compile(r"""\[?\{['"]type['"]: ?['"]\w+['"], ?['"]loc['"]:""")
"""Begins errors of pydantic that a server put into its words: what was sent stands in them."""
_TOLD = re.compile(r"""['"](?:loc|msg)['"]: ?(?:[(\[]([^)\]]*)|"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')""")


def not_taken(words: str, param: str, sent: Mapping[str, Any]) -> str | None:
    """Which of the parameters that were sent, "system" messages among them, `words`, in lower case, say that they do
    not take; `param` is the one that the server names beside them, if it does."""
    words = _without_echo(words)
    may_go = _NOT_TAKEN.search(words) is not None and not _BEYOND.search(words)
    if may_go and param in sent and param not in _REFUSALS:
        return param
    named: dict[str, int] = {}
    for name in sent:
        patterns = _REFUSALS.get(name) or ((_pattern(name),) if may_go else ())
        places = [place.start() for each in patterns if (place := re.search(each, words))]
        if places:
            named[name] = min(places)
    first = min(sorted(named), key=lambda name: named[name], default=None)
    demanded = sent.get("tool_choice") == "required" and re.search("tool[_ ]choice", words)
    if first is None and demanded and _AGAINST.search(words):
        return "tool_choice"  # whatever is said against it: nobody asked for it
    return first


def _without_echo(words: str) -> str:
    begun = _ECHOING.search(words)
    if begun is None:
        return words
    told = [part for found in _TOLD.findall(words, begun.start()) for part in found if part]
    return " ".join([words[: begun.start()], *told])


def _pattern(name: str) -> re.Pattern[str]:
    return _NAMED_STOP if name == "stop" else re.compile(rf"(?<![\w-]){name}(?![\w-])")
