"""A lock for what one process has once: in a process that is forked while a thread holds it, it is free."""

from __future__ import annotations

import os
import threading


class OwnLock:
    """For a module, not for what comes and goes: it is never forgotten."""

    def __init__(self) -> None:
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()  # a thread that held it is not in the process forked meanwhile

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()
