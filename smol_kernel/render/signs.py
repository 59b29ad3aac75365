"""Signs that a terminal may lack, and what is written for them there: by the console, and by all that `smol` prints."""

from __future__ import annotations

SIGNS = {"▸": ">", "→": "->", "…": "...", "·": "-", "–": "-", "│": "|", "✓": "ok", "✗": "NO"}


def in_few_characters(error: UnicodeError) -> tuple[str | bytes, int]:
    """What is written for characters that an encoding lacks, and where it goes on: see `codecs`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    # All at once: an encoder that is asked again for each looks through those behind it each time.
    lacking = error.object[error.start : error.end]
    return "".join(SIGNS.get(each) or each.encode("ascii", "backslashreplace").decode() for each in lacking), error.end
