"""Which file or folder lies at a path: another one that was put in its place is told from it."""

from __future__ import annotations

import os
from contextlib import suppress


def file_at(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Which one lies there, by device and number; None: none that can be seen."""
    with suppress(OSError):
        found = os.stat(path)
        return found.st_dev, found.st_ino
    return None
