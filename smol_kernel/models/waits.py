"""Reads how long a server asks to wait before the next request: in its headers, else in its words. Called by
`failures.py`."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime

_UNITS = {
    r"h(?:(?:ou)?rs?)?": 3600.0,
    r"m(?:in(?:ute)?s?)?": 60.0,
    r"s(?:ec(?:ond)?s?)?": 1.0,
    r"m(?:illi)?s(?:ec(?:ond)?s?)?": 0.001,
}
_NUMBER = r"\d+(?:\.\d+)?"
_BEGINS = rf"(?={_NUMBER}\s?(?:{'|'.join(_UNITS)})(?![a-z]))"
_TIME = _BEGINS + "".join(rf"(?:({_NUMBER})\s?{unit}(?![a-z])[\s,]{{0,2}})?" for unit in _UNITS)
_SAID = (
    re.compile(rf"retrydelay\W{{1,6}}{_TIME}"),  # Google's RetryInfo
    re.compile(rf"(?:retry|try again) (?:in|after) {_TIME}"),
)
"""The time in what servers say, in lower case: "Please try again in 7m12.5s"."""


def told_wait(headers: Mapping[str, str], words: str) -> float | None:
    """The seconds to wait; `words` in lower case. None where nothing is told, or nothing that can be waited for."""
    with suppress(KeyError, ValueError):
        return _usable(float(headers["retry-after-ms"]) / 1000)
    if headers.get("retry-after"):
        return _seconds(headers["retry-after"], headers.get("date"))
    said = next(filter(None, (each.search(words) for each in _SAID)), None)
    counts = said.groups(default="0") if said else ()
    return _usable(sum(float(n) * unit for n, unit in zip(counts, _UNITS.values(), strict=False)))


def _seconds(wait: str, date: str | None) -> float | None:
    """`Retry-After` (RFC 9110) in seconds: a number, or a date, counted from the server's own clock where it tells
    it."""
    try:
        return _usable(float(wait))
    except ValueError:
        try:
            now = parsedate_to_datetime(date).timestamp() if date else time.time()
            return _usable(parsedate_to_datetime(wait).timestamp() - now)
        except (ValueError, TypeError, OverflowError):
            return None


def _usable(seconds: float) -> float | None:
    return seconds if 0 < seconds < math.inf else None
