"""A lock that each process has for itself: in one that is forked while a thread holds it, it is free."""

from __future__ import annotations

import os
import threading


class ProcessLock:
    """For objects that come and go."""

    def __init__(self) -> None:
        self._by_process: dict[int, threading.Lock] = {}

    @property
    def here(self) -> threading.Lock:
        """This process's, with nothing around: an interrupt cannot come between `with` and what it holds."""
        return self._by_process.setdefault(os.getpid(), threading.Lock())
