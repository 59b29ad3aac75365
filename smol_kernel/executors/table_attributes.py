"""What a pandas table notes beside its cells, its `attrs`: so much of it as may cross between host and child.

Used by `tables`, in the child as well, into which it travels as source.
"""

from __future__ import annotations

import threading
from typing import Any

from . import values

MOST = 1 << 20
"""Bytes of them, encoded."""
MOST_COPIED = 16 << 20
"""The same times the columns of the table: pandas copies them with each column that is taken out."""


class _Reading(threading.local):
    now = False


_reading = _Reading()


def attributes(table: Any) -> dict[Any, Any]:
    """Those of a table that may cross. Raises NotPortable for a table among the attributes of another: those that it
    has in turn could go on without end."""
    if _reading.now:
        raise values.NotPortable("is a table among the attributes of another")
    noted = dict(table.attrs)
    limit = _limit(table.shape[1])
    if not noted or _fit(noted, limit):
        return noted
    return {key: each for key, each in noted.items() if _fit({key: each}, limit // len(noted))}


def checked(noted: Any, columns: int) -> dict[Any, Any]:
    """Those that came for a table of so many columns; they may have grown by what stands for secrets in them."""
    if values.need(noted, dict) and not _fit(noted, 2 * _limit(columns)):
        values.refuse("attributes of a table that may not cross")
    return noted


def _limit(columns: int) -> int:
    return min(MOST, MOST_COPIED // max(1, columns))


def _fit(noted: dict[Any, Any], limit: int) -> bool:
    _reading.now = True
    try:
        values.encode(noted, limit=max(1, limit))
    except values.NotPortable:
        return False
    finally:
        _reading.now = False
    return True
