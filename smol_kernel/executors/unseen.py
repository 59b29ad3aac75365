"""Characters that are not seen, or that turn the order of those that are."""

from __future__ import annotations

import unicodedata

_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
"""Letters, marks and symbols that look like nothing."""
_JOINERS = "\u200c\u200d"
"""Within a word they change how it is written, and make one emoji of several."""
_KEYS = frozenset("0123456789#*")


def is_unseen(character: str, before: str = " ") -> bool:
    """Whether a reader could not tell that it is there, behind the character `before`; a space is seen."""
    if character in _JOINERS and not before.isascii() and unicodedata.category(before)[0] in "LMS":
        return False
    if character == "\ufe0f" and (before in _KEYS or unicodedata.category(before) == "So"):
        return False
    kind = unicodedata.category(character)
    variation = "\ufe00" <= character <= "\ufe0f" or "\U000e0000" <= character <= "\U000e0fff"
    return kind in _CATEGORIES or character in _BLANK or variation
