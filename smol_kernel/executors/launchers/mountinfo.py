"""What is mounted where, as Linux tells it in /proc/self/mountinfo: see proc_pid_mountinfo(5)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

_OCTAL = re.compile(rb"\\([0-7]{3})")


def file_system(device: int) -> str:
    """The kind of file system that a device holds; empty if that is not known."""
    number = f"{os.major(device)}:{os.minor(device)}"
    return next((kind for found, _, kind in _mounts() if found == number), "")


def mounts_below(folder: str) -> list[str]:
    """Where file systems are mounted in `folder`, a real path; none that lies in another one of them."""
    found: list[str] = []
    for point in sorted(point for _, point, _ in _mounts() if point.startswith(f"{folder}/")):
        if not any(point.startswith(f"{above}/") or point == above for above in found):
            found.append(point)
    return found


def _mounts() -> Iterator[tuple[str, str, str]]:
    """Device number, place and kind of each."""
    try:
        with open("/proc/self/mountinfo", "rb") as lines:
            for line in lines:
                before, _, after = line.partition(b" - ")
                words = before.split(b" ", 5)
                place = _OCTAL.sub(lambda found: bytes([int(found[1], 8)]), words[4])
                yield words[2].decode(), os.fsdecode(place), after.split(b" ", 1)[0].decode()
    except OSError:
        return
