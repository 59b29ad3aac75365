"""A lock for what one process has once: in a process that is forked while a thread holds it, it is free."""

from __future__ import annotations

import os
import threading


def own_lock() -> threading.Lock:
    """For a module, not for what comes and goes: it is never forgotten."""
    lock = threading.Lock()  # itself, with nothing around: an interrupt cannot come between `with` and what it holds
    os.register_at_fork(after_in_child=lock._at_fork_reinit)  # type: ignore[attr-defined] - as Python's own modules do
    return lock
