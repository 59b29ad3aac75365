"""The write-ahead log beside a SQLite database (https://www.sqlite.org/fileformat.html#the_write_ahead_log).

Used by `overlay` and `runs.same_file`. What it holds is untrusted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial

from smol_kernel.executors.saved_files import same_content

HEADER, FRAME_HEADER = 32, 24
INDEX_BLOCK = 32_768
"""What the size of the index of a log, the `-shm` file, is a multiple of."""
LARGEST_LOG = 64 << 20
"""Bytes of a log up to which it is looked into."""
_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
_SIZES = frozenset(1 << bits for bits in range(9, 17))
"""Bytes that a page may have."""


def log_parts(log: bytes) -> Iterator[bytes]:
    """What is in a log, without its random salts and the checksums that come of them, but with which pages count.

    Raises ValueError for what is no log.
    """
    page = _page_size(log[:HEADER])
    if not page:
        raise ValueError("no log")
    yield log[:16]
    for at in range(HEADER, len(log), FRAME_HEADER + page):
        counts = log[at + 8 : at + 16] == log[16:24]
        yield log[at : at + 8] + bytes([counts]) + log[at + FRAME_HEADER : at + FRAME_HEADER + page]


def is_written_in(log: int, before: int, now: int) -> bool:
    """Whether a database is `now` as it was `before`, with what its log held written into it and nothing else.

    All three are descriptors.
    """
    if os.fstat(log).st_size > LARGEST_LOG:
        return False
    page, places, pages = _committed(partial(_read, log))
    if not pages:
        return same_content(before, now)
    if os.fstat(now).st_size != pages * page:
        return False
    for number in range(pages):
        source, at = (log, places[number + 1]) if number + 1 in places else (before, number * page)
        if _read(source, at, page) != _read(now, number * page, page):
            return False
    return True


def _committed(read: Callable[[int, int], bytes]) -> tuple[int, dict[int, int], int]:
    """The size of a page, where in a log each page stands that a finished transaction wrote, and how many pages the
    database has after the last one: none where there was none."""
    header = read(0, HEADER)
    page, at = _page_size(header), HEADER
    written: dict[int, int] = {}
    unfinished: dict[int, int] = {}
    pages = 0
    while page and len(frame := read(at, FRAME_HEADER)) == FRAME_HEADER and frame[8:16] == header[16:24]:
        unfinished[int.from_bytes(frame[:4], "big")] = at + FRAME_HEADER
        if after := int.from_bytes(frame[4:8], "big"):
            written |= unfinished
            unfinished, pages = {}, after
        at += FRAME_HEADER + page
    return page, written, pages


def _page_size(header: bytes) -> int:
    """Of a log with that header; 0 if it is none."""
    size = int.from_bytes(header[8:12], "big")
    return size if len(header) == HEADER and header[:4] in _MAGIC and size in _SIZES else 0


def _read(file: int, at: int, size: int) -> bytes:
    return os.pread(file, size, at)
