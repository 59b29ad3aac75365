"""What a tool emits while it runs, on its way into the stream of events. `bridge` makes one for each call."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from smol_kernel.events import Event, ToolProgress
from smol_kernel.executors.observation import PACE


class Emitted:
    """The listener of one call: hands each event to `put`, from any thread.

    ToolProgress of the call itself gets its id, and a flood of it is thinned out to one in PACE seconds; the last one
    is held until then, and `wake` called so that somebody comes for it.
    """

    def __init__(self, call: str, put: Callable[[Event], object], wake: Callable[[], object]) -> None:
        self._call, self._put, self._wake = call, put, wake
        self._lock = threading.Lock()
        self._held: ToolProgress | None = None
        self._told = 0.0
        self._ended = False

    def __call__(self, event: Event) -> None:
        """Take in what the tool emits; nothing more once its call has ended."""
        with self._lock:
            if self._ended:
                return
            if isinstance(event, ToolProgress) and not event.run and event.call in ("", self._call):
                held, self._held = self._held, replace(event, call=self._call)
                if time.monotonic() - self._told < PACE:
                    if held is None:
                        self._wake()
                    return
                event, self._held = self._held, None
                self._told = time.monotonic()
            elif self._held is not None:
                self._put(self._held)
                self._held = None
            self._put(event)

    @property
    def holds(self) -> bool:
        """Whether something waits."""
        return self._held is not None

    def release(self) -> Event | None:
        """What waits, if it has waited long enough."""
        with self._lock:
            if self._held is None or time.monotonic() - self._told < PACE:
                return None
            held, self._held, self._told = self._held, None, time.monotonic()
            return held

    def end(self) -> Event | None:
        """Take nothing any more; gives what waits."""
        with self._lock:
            self._ended = True
            held, self._held = self._held, None
            return held
