"""The processor time of a child, as the host's system counts it: what the child says of itself is not asked.

`client` has that of its child; the clock of an `action` reads it.
"""

from __future__ import annotations

import time
from contextlib import suppress

from smol_kernel.executors.launchers.process_tree import tree

LIST_SECONDS = 1.0
"""How long it is taken as known which processes there are. One that lives for less may not be counted."""


class ProcessorTime:
    """That of process `pid` (None: of none) and of all that have come of it. Where the system does not tell it stands
    at 0: so it is elsewhere than on Linux."""

    def __init__(self, pid: int | None) -> None:
        self._pid = pid
        self._used: dict[int, float] = {}
        """By process."""
        self._sum, self._listed = 0.0, float("-inf")

    def seconds(self) -> float:
        """Used so far, what was before the first call included; never less than the last time."""
        if self._pid is None:
            return 0.0
        if time.monotonic() - self._listed >= LIST_SECONDS:
            self._listed = time.monotonic()
            self._used = {pid: self._used.get(pid, 0.0) for pid in tree(self._pid)}
        for pid, before in self._used.items():
            with suppress(OSError, AttributeError):  # it has ended; or there are no such clocks
                used = time.clock_gettime(~pid << 3 | 2)  # as clock_getcpuclockid(3) gives it
                self._sum += max(0.0, used - before)
                self._used[pid] = used
        return self._sum
