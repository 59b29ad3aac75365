"""The time in which a thread of this process waits for a library to load: it is charged to no run's budget."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

_lock = threading.Lock()
_waiting = 0
"""Threads that wait now."""
_since = _before = 0.0
"""When the first of them began to, and the seconds in which some did before that."""


@contextmanager
def loading() -> Generator[None]:
    """Meanwhile, this thread waits."""
    global _waiting, _since, _before
    with _lock:
        _since = _since if _waiting else time.monotonic()
        _waiting += 1
    try:
        yield
    finally:
        with _lock:
            _waiting -= 1
            _before += 0.0 if _waiting else time.monotonic() - _since


def seconds_of_loading(now: float) -> float:
    """How long some thread has waited, in all, until `now`, as `time.monotonic` tells it."""
    with _lock:
        return _before + (now - _since if _waiting else 0.0)
