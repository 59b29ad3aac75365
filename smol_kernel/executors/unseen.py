"""Characters that are not seen, or that turn the order of those that are."""

from __future__ import annotations

import unicodedata

_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
"""Letters, marks and symbols that look like nothing."""


def is_unseen(character: str) -> bool:
    """Whether a reader could not tell that it is there; a space is seen."""
    kind = unicodedata.category(character)
    variation = "\ufe00" <= character <= "\ufe0f" or "\U000e0000" <= character <= "\U000e0fff"
    return kind in _CATEGORIES or character in _BLANK or variation
