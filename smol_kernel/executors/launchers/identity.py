"""What tells a folder from every other one, also when it was moved, or when another has got its number since."""

from __future__ import annotations

import ctypes
import os
import struct
import sys

_BTIME, _NO_FOLLOW, _HERE = 0x800, 0x100, -100
_MASK, _BORN, _SIZE = 0, 80, 256
"""Offsets in struct statx, and its size."""

Identity = tuple[int, int, int]


def identity(path: str) -> Identity | None:
    """Device, inode and time of birth of what is there; the last is 0 where the system does not tell it, see statx(2).
    None if nothing is there."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, _born(path)


def _born(path: str) -> int:
    buffer = ctypes.create_string_buffer(_SIZE)
    if _statx is None or _statx(_HERE, os.fsencode(path), _NO_FOLLOW, _BTIME, buffer) != 0:
        return 0
    (told,) = struct.unpack_from("I", buffer, _MASK)
    seconds, nanoseconds = struct.unpack_from("qI", buffer, _BORN)
    return seconds * 1_000_000_000 + nanoseconds if told & _BTIME else 0


_statx = getattr(ctypes.CDLL(None), "statx", None) if sys.platform == "linux" else None
