"""One child that a zygote has forked before somebody asks for it. `zygote` keeps one, where there have been children.

Its kernel has begun, in namespaces of its own and without a right, and waits to be told what its box is like; who takes
it has that box built. So it does for any folder and almost any settings.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from smol_kernel.executors.launchers.forked import ForkedProcess

QUIET_SECONDS = 0.3
"""Nobody has asked for a child for so long when one is forked ahead: who has just asked has the processors first."""
IDLE_SECONDS = 600.0
"""After so long without a request it ends."""

Early = Mapping[str, object]


class Spare:
    """The place of one. `fork` makes it, from the settings that it begins with; it gives None where there can be none,
    and may take its time. Any thread, any time."""

    def __init__(self, fork: Callable[[Early], ForkedProcess | None]) -> None:
        self._fork = fork
        self._change = threading.Condition()
        self._early: Early | None = None
        """What one shall be like; None: there shall be none."""
        self._there: tuple[Early, ForkedProcess] | None = None
        self._asked = 0.0
        self._filler: threading.Thread | None = None

    def want(self, early: Early) -> None:
        """Have one like this, soon."""
        with self._change:
            self._early, self._asked = early, time.monotonic()
            if self._filler is None:
                filler = threading.Thread(target=self._fill, name="smol spare", daemon=True)
                with suppress(RuntimeError):  # there may be no more threads: then there is none ahead
                    filler.start()
                    self._filler = filler
            self._change.notify_all()

    def take(self, early: Early) -> ForkedProcess | None:
        """The one that is there, if it is like this and lives."""
        with self._change:
            self._asked = time.monotonic()
            there, self._there = self._there, None
            self._change.notify_all()
        if there is not None and there[0] == early and there[1].poll() is None:
            return there[1]
        _end(there)
        return None

    def is_wanted(self) -> bool:
        """Whether there is one or shall be: where nobody has asked for long, there is none any more."""
        with self._change:
            return self._early is not None

    def wait(self, seconds: float) -> bool:
        """Wait until there is one, or none is wanted any more; whether there is."""
        with self._change:
            self._change.wait_for(lambda: self._there is not None or self._early is None, seconds)
            return self._there is not None

    def close(self) -> None:
        """End it, and have none any more."""
        with self._change:
            self._early = None
            there, self._there = self._there, None
            self._change.notify_all()
        _end(there)

    def _fill(self) -> None:
        while (early := self._next()) is not None:
            process = None
            with suppress(OSError):  # too many files are open
                process = self._fork(early)
            with self._change:
                if process is None:
                    self._early = None if self._early is early else self._early
                elif self._early == early:
                    self._there, process = (early, process), None
                self._change.notify_all()
            if process is not None:
                _end((early, process))

    def _next(self) -> Early | None:
        """What to fork next, once it is time; None once there shall be none."""
        while True:
            with self._change:
                since = time.monotonic() - self._asked
                if self._early is None or since > IDLE_SECONDS:
                    self._early = self._filler = None
                    there, self._there = self._there, None
                    self._change.notify_all()
                elif self._there is not None:
                    self._change.wait(IDLE_SECONDS - since)
                    continue
                elif since < QUIET_SECONDS:
                    self._change.wait(QUIET_SECONDS - since)
                    continue
                else:
                    return self._early
            _end(there)
            return None


def _end(there: tuple[Early, ForkedProcess] | None) -> None:
    if there is not None:
        there[1].close()
