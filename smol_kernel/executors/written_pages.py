"""Whether memory of this process has been written to since: Linux is asked, which notes it page by page (since 6.7).

Pages are write-protected by a userfaultfd in its asynchronous mode: the first write to one takes the protection away by
itself, and PAGEMAP_SCAN tells where it is gone. See ioctl_userfaultfd(2) and Documentation/admin-guide/mm/pagemap.rst
of Linux. Only private memory without a file is watched: to other memory another process may write.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import struct
import weakref
from collections.abc import Sequence

PAGE = os.sysconf("SC_PAGE_SIZE")
MOST = 1_000
"""Spans that are watched together: each may take two mappings more, of which a process has 65,530."""
_USERFAULTFD = {"x86_64": 323, "aarch64": 282}
_USER_MODE_ONLY = 1
_API, _WITH_UNPOPULATED, _ASYNC = 0xAA, 1 << 13, 1 << 15
_DO_API, _REGISTER, _PROTECT, _SCAN = 0xC018AA3F, 0xC020AA00, 0xC018AA06, 0xC0606610
_MODE_PROTECT, _PROTECT_ON = 2, 1
_CHECK_ALL_WATCHED, _IS_WRITTEN = 2, 2

Span = tuple[int, int]
"""Where memory begins, and where it ends."""


class WrittenPages:
    """Watches the whole pages of these spans from now on. Raises OSError where they cannot be watched."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = [span for span in map(whole_pages, spans) if span[0] < span[1]]
        if len(spans) > MOST or not _are_private(self._spans):
            raise OSError("this memory cannot be watched")
        self._close = weakref.finalize(self, os.close, _userfaultfd())
        self._close.atexit = False
        descriptor = self._close.peek()[2][0]  # pyright: ignore[reportOptionalSubscript] - it was made just now
        try:
            fcntl.ioctl(descriptor, _DO_API, bytearray(struct.pack("QQQ", _API, _WITH_UNPOPULATED | _ASYNC, 0)))
            for start, end in self._spans:
                fcntl.ioctl(descriptor, _REGISTER, bytearray(struct.pack("4Q", start, end - start, _MODE_PROTECT, 0)))
                fcntl.ioctl(descriptor, _PROTECT, bytearray(struct.pack("3Q", start, end - start, _PROTECT_ON)))
        except OSError:
            self.close()
            raise
        for other in list(_watching):
            if other.overlaps(self._spans):  # what it watched was given back meanwhile
                other.close()
        _watching.add(self)

    def overlaps(self, spans: Sequence[Span]) -> bool:
        """Whether it watches some of this memory."""
        return any(start < end and begin < stop for start, stop in self._spans for begin, end in spans)

    def written(self) -> bool | None:
        """Whether any of it has been written to; None if nobody can tell: it is other memory by now."""
        if not self._close.alive:
            return None
        try:
            pagemap = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return any(_is_written(pagemap, start, end) for start, end in self._spans)
        except OSError:
            return None
        finally:
            os.close(pagemap)

    def close(self) -> None:
        """Watch no more."""
        self._close()


_watching: weakref.WeakSet[WrittenPages] = weakref.WeakSet()


def whole_pages(span: Span) -> Span:
    """The part of it that is whole pages."""
    return -(-span[0] // PAGE) * PAGE, span[1] // PAGE * PAGE


def _userfaultfd() -> int:
    number = _USERFAULTFD.get(platform.machine())
    if number is None:
        raise OSError("the number of the call is not known here")
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.syscall(ctypes.c_long(number), ctypes.c_long(os.O_CLOEXEC | os.O_NONBLOCK | _USER_MODE_ONLY))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "userfaultfd")
    return descriptor


def _is_written(pagemap: int, start: int, end: int) -> bool:
    """Raises OSError if some of it is not watched."""
    found = (ctypes.c_uint64 * 3)()
    size, at = 96, ctypes.addressof(found)
    asked = (size, _CHECK_ALL_WATCHED, start, end, 0, at, 1, 0, 0, _IS_WRITTEN, 0, _IS_WRITTEN)
    return fcntl.ioctl(pagemap, _SCAN, bytearray(struct.pack("12Q", *asked))) > 0


def _are_private(spans: Sequence[Span]) -> bool:
    """Whether all of it is private memory of this process without a file, see proc_pid_maps(5)."""
    private: list[Span] = []
    with open("/proc/self/maps") as lines:
        for line in lines:
            where, rights, _, _, inode, *_ = line.split()
            start, end = (int(each, 16) for each in where.split("-"))
            if rights.endswith("p") and inode == "0":
                if private and private[-1][1] == start:
                    start = private.pop()[0]
                private.append((start, end))
    return all(any(low <= start and end <= high for low, high in private) for start, end in spans)
