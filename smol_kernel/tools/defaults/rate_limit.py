"""Keeps requests of one tool apart, from whichever threads they come."""

from __future__ import annotations

import threading
import time

from smol_kernel.errors import ConfigError


class RateLimit:
    """At most `per_second` turns a second (None: no limit). Raises ConfigError unless it is above 0."""

    def __init__(self, per_second: float | None) -> None:
        if per_second is not None and not per_second > 0:
            raise ConfigError(f"rate_limit {per_second!r}: give requests a second above 0, or None for no limit")
        self._apart = 0.0 if per_second is None else 1 / per_second
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when it is the caller's turn."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._apart
        if turn > now:
            time.sleep(turn - now)
