"""`Pace`: spaces the requests to a model evenly. `api.py` asks it when the next one is due."""

from __future__ import annotations

import threading
import time

from smol_kernel.errors import ModelError


class Pace:
    """Spaces requests evenly, for all threads that share a model."""

    def __init__(self, per_minute: float | None) -> None:
        if per_minute is not None and not per_minute > 0:
            raise ModelError(f"requests_per_minute has to be above 0, not {per_minute!r}; leave it out for no limit")
        self._interval = 60 / per_minute if per_minute else 0.0
        self._due = 0.0
        self._lock = threading.Lock()

    def reserve(self) -> float:
        """Take the next free place; returns the seconds until it is due."""
        with self._lock:
            now = time.monotonic()
            due = max(now, self._due)
            self._due = due + self._interval
            return due - now
