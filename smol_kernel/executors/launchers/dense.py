"""Has a zygote's memory lie so that a fork of it has little of its own, and is made fast. `zygote_main` runs it.

A fork shares each page with the zygote until one of them writes there, and Python writes to all that it looks at, for
it counts who does. After many imports there are gaps all over the memory: what a fork made would go there. Nothing else
depends on this; where the C library, the system or Python is another, it does less.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections import deque
from itertools import islice, repeat
from typing import Any

POOL = 1 << 14
"""Bytes that Python takes at once for objects of one size, or more than that, see `obmalloc.c` there."""
LARGEST = 512
"""Bytes of the largest object for which it does; the others are the C library's business."""
OF_NONE = sys.getsizeof(b"")
MOST = 1 << 19
"""Bytes that go into the gaps of one size, where there is no end of them."""
LARGE_GAP = 100_000
LARGE_PAGE = 1 << 21
_COLLAPSE = 25

_libc = ctypes.CDLL(None)
_kept: list[deque[Any]] = []
"""What is in the gaps."""


def settle() -> None:
    """Fill the gaps, and join what can be joined: once everything is imported."""
    gc.collect()  # what nobody needs any more leaves gaps as well
    fill_objects()
    if hasattr(_libc, "gnu_get_libc_version"):
        fill_the_rest()
    set_apart()
    join_pages()


def set_apart() -> None:
    """Have forks look at little of what there is: by the garbage collector, and in the cache of attributes, where who
    puts a name in the place of another writes to both."""
    gc.freeze()
    getattr(sys, "_clear_type_cache", list)()


def fill_objects() -> None:
    """Fill the gaps between Python's small objects."""
    for size in range(32, LARGEST + 1, 16):
        count = POOL // 2 // size
        make = map(bytes, repeat(size - OF_NONE)) if size > OF_NONE else map(complex, repeat(0.5))
        for _ in range(MOST // size // count):
            made = deque(islice(make, count))
            _kept.append(made)
            if id(made[-1]) - id(made[0]) == size * (count - 1):  # one beside the other: there were no gaps any more
                break


def fill_the_rest() -> None:
    """Fill the gaps of glibc, as far as they lie before the end of what it has in use."""
    allocate = _libc.malloc
    allocate.argtypes, allocate.restype = [ctypes.c_size_t], ctypes.c_size_t
    end = allocate(LARGE_GAP)
    for size in (*(1 << power for power in range(16, 10, -1)), *range(1032, 8, -16)):
        for _ in range(max(1, MOST // size)):
            if not 0 < allocate(size) < end:
                break


def join_pages() -> None:
    """Have the system keep memory in large pages, of which a fork takes less long; see MADV_COLLAPSE in madvise(2)."""
    with open("/proc/self/maps") as lines:
        maps = [line.split() for line in lines]
    for place, rights, *_, inode in (each[:5] for each in maps):
        if rights == "rw-p" and inode == "0":
            start, end = (int(each, 16) for each in place.split("-"))
            for page in range(-(-start // LARGE_PAGE) * LARGE_PAGE, end - LARGE_PAGE + 1, LARGE_PAGE):
                _libc.madvise(ctypes.c_void_p(page), ctypes.c_size_t(LARGE_PAGE), _COLLAPSE)
