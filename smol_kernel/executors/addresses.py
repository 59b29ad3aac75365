"""Memory addresses in reprs, such as the one of `<object at 0x7f3a11aa22bb>`: they differ from run to run."""

from __future__ import annotations

import re

_REACH = 200
"""How far from its address a repr is looked at, in characters; reprs are short."""
_ADDRESS = re.compile(r" at 0x(?:[0-9A-Fa-f]{4,}|[0-9A-Fa-f]*(?=\.\.\.|…))")
"""A whole one, or what is left of one in a cell that pandas cut off."""
_MARK = re.compile(r"(<|&lt;)(?=[/\w])|(?<!-)(?:>|&gt;)")
"""What opens or closes a repr, or an element of HTML."""


def without_addresses(text: str) -> str:
    """`text`, which may be HTML, without the addresses that stand in the `<…>` of a repr; all others are its own."""
    return _ADDRESS.sub(lambda match: "" if _in_repr(text, match) else match[0], text)


def _in_repr(text: str, address: re.Match[str]) -> bool:
    start, end = address.span()
    closed, before = 0, text[max(start - _REACH, 0) : start].rpartition("\n")[2]
    for opening in reversed(_MARK.findall(before)):
        closed += -1 if opening else 1
        if closed < 0:
            behind = text[end : end + _REACH].partition("\n")[0]
            return "…" in behind or "..." in behind or (">" if opening == "<" else "&gt;") in behind
    return False
