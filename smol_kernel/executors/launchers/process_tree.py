"""Which processes have come of one, see proc_pid_task(5)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def tree(pid: int) -> list[int]:
    """A process, and all below it."""
    found = [pid]
    for each in found:  # grows meanwhile
        found.extend(_children(each))
    return found


def _children(pid: int) -> Iterator[int]:
    for each in Path(f"/proc/{pid}/task").glob("*/children"):  # there is one for each of its threads
        with suppress(OSError):
            yield from map(int, each.read_text().split())
