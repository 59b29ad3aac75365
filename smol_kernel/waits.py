"""Waits that hear a Ctrl-C. One without end misses a signal that came just before it, and one of which another thread
was told: so these look up once a second.
"""

from __future__ import annotations

import concurrent.futures
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

LOOK = 1.0
"""Seconds after which a wait of the main thread is to look up, which then raises the KeyboardInterrupt."""


def arrival(arrivals: queue.SimpleQueue[T]) -> T:
    """The next that arrives there."""
    while True:
        with suppress(queue.Empty):
            return arrivals.get(timeout=LOOK)


def result(future: concurrent.futures.Future[T]) -> T:
    """What it comes to: the value is given, what it raised is raised."""
    while not concurrent.futures.wait([future], LOOK).done:
        pass
    return future.result()


def wait_for(change: threading.Condition, until: Callable[[], bool]) -> None:
    """Return once it is so; the caller holds the condition, which is notified of each change."""
    while not change.wait_for(until, LOOK):
        pass
