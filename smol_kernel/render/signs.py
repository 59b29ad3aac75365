"""Signs that a terminal may lack, and what is written for them there: by the console, and by all that `smol` prints."""

from __future__ import annotations

import codecs

SIGNS = {"▸": ">", "→": "->", "…": "...", "·": "-", "–": "-", "│": "|", "✓": "ok", "✗": "NO"}


def in_few_characters(error: UnicodeError) -> tuple[str | bytes, int]:
    """What is written for the first character that an encoding lacks, and where it goes on: see `codecs`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    error.end = error.start + 1
    sign = SIGNS.get(error.object[error.start])
    return codecs.backslashreplace_errors(error) if sign is None else (sign, error.end)
