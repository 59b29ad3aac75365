"""Memory without a file (memfd_create(2)) into which arrays were written once; nobody can change it any more.

`memory_of` gives the same memory for the same arrays again, as long as they are unchanged. That is proved each time:
Linux says that nothing was written to their pages since (`written_pages`), else every byte is compared.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from smol_kernel.executors.launchers.own_lock import own_lock
from smol_kernel.executors.written_pages import WrittenPages, whole_pages

NAME = "smol-table"
_ALIGNED = 64
_AT_ONCE = 1 << 20
"""Bytes that are compared at once, or copied to lie in one piece."""
_lock = own_lock()

Piece = tuple[int, Any]
"""An offset, and the array that lies there: of bytes, or one that lies scattered in this process."""


class SealedMemory:
    """Sealed memory of `size` bytes that holds these arrays; `places` are the offset and the strides of each there.

    It is given back with this object, and once no child maps it.
    """

    def __init__(self, arrays: Sequence[Any], watch: bool = True) -> None:
        pieces, self.places, self.size = _laid_out(arrays)
        self.descriptor = os.memfd_create(NAME, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        weakref.finalize(self, os.close, self.descriptor).atexit = False
        self._watch: WrittenPages | None = None
        with suppress(OSError):  # first, lest something change that was read already
            if watch and not any(_is_scattered(array) for _, array in pieces):
                self._watch = WrittenPages([_span(array) for _, array in pieces])
        os.ftruncate(self.descriptor, self.size)
        for offset, array in pieces:
            for part in _parts(array):
                _write(self.descriptor, memoryview(part), offset)
                offset += part.nbytes
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, seals)

    def holds(self, arrays: Sequence[Any]) -> bool:
        """Whether it holds these arrays as they are now. If it watches, they lie where the first ones did."""
        pieces, _, _ = _laid_out(arrays)
        written = self._watch.written() if self._watch else None
        if written is None:
            return self._equals(pieces)
        return not written and all(os.pread(self.descriptor, len(edge), at) == edge for at, edge in _edges(pieces))

    def _equals(self, pieces: Sequence[Piece]) -> bool:
        import numpy as np

        with mmap.mmap(self.descriptor, self.size, mmap.MAP_SHARED, mmap.PROT_READ) as memory:
            for offset, array in pieces:
                for part in _parts(array, _AT_ONCE):
                    if not np.array_equal(part, np.frombuffer(memory, "u1", part.nbytes, offset)):
                        return False
                    offset += part.nbytes
        return True

    def watch_no_more(self) -> None:
        """The arrays have changed."""
        if self._watch is not None:
            self._watch.close()

    def opened(self) -> int:
        """A descriptor of its own by which it can only be read; the caller closes it."""
        os.fchmod(self.descriptor, 0o400)  # a child that runs as the same user can change that
        return os.open(f"/proc/self/fd/{self.descriptor}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)


_known: weakref.WeakValueDictionary[tuple[Any, ...], SealedMemory] = weakref.WeakValueDictionary()
"""By where in this process the arrays lie, and how; or by a size."""


def memory_of(arrays: Sequence[Any], lasting: bool = True) -> SealedMemory:
    """Sealed memory that holds these arrays; they are known again by where they lie, or if they are not `lasting` by
    their size. Raises OSError."""
    key: tuple[Any, ...] = tuple((_address(array), array.dtype.str, array.shape, array.strides) for array in arrays)
    if not lasting:
        key = tuple(array.nbytes for array in arrays)
    with _lock:  # who wants the same waits for it
        memory = _known.get(key)
        if memory is not None:
            if memory.holds(arrays):
                return memory
            memory.watch_no_more()
        memory = _known[key] = SealedMemory(arrays, watch=lasting)
        return memory


def _laid_out(arrays: Sequence[Any]) -> tuple[list[Piece], list[tuple[int, list[int]]], int]:
    """The pieces of a memory for these arrays, offset and strides of each array in it, and its size.

    Memory between the arrays is in no piece: a column may be one of many, of which the others are not to be seen.
    """
    pieces: list[Piece] = []
    places: list[tuple[int, list[int]]] = [(0, [])] * len(arrays)
    offset = 0
    waiting = sorted(range(len(arrays)), key=lambda place: _address(arrays[place]))
    while waiting:
        group = waiting[: _interleaved(arrays, waiting)]
        array = arrays[group[0]] if len(group) == 1 else _rows(arrays[group[0]], len(group))
        if _is_scattered(array):
            pieces.append((offset, array))
            strides = _strides(array.shape, array.itemsize)
        else:
            flat = array if array.flags.c_contiguous else array.T
            pieces.append((offset, flat.reshape(-1).view("u1")))
            strides = list(array.strides)
        for number, place in enumerate(group):
            places[place] = (offset + number * array.itemsize, strides[: arrays[place].ndim])
        offset += -(-array.nbytes // _ALIGNED) * _ALIGNED
        waiting = waiting[len(group) :]
    return pieces, places, offset


def _interleaved(arrays: Sequence[Any], order: Sequence[int]) -> int:
    """How many of the first arrays, in the order of their addresses, are the columns of one table that lies row by row
    in one piece of memory; 1 if they are not."""
    first = arrays[order[0]]
    count = first.strides[0] // first.itemsize if first.ndim == 1 else 1
    columns = [arrays[place] for place in order[: max(1, count)]]
    form = (first.dtype, first.shape, first.strides)
    in_rows = all(
        (array.dtype, array.shape, array.strides) == form
        and _address(array) == _address(first) + place * first.itemsize
        for place, array in enumerate(columns)
    )
    return count if count == len(columns) and in_rows else 1


def _rows(first: Any, count: int) -> Any:
    """The table of so many columns of which `first` is the first."""
    import numpy as np

    shape, strides = (len(first), count), (first.strides[0], first.itemsize)
    return np.lib.stride_tricks.as_strided(first, shape, strides, writeable=False)


def _strides(shape: Sequence[int], size: int) -> list[int]:
    """Strides of an array that lies in one piece, row by row."""
    strides: list[int] = []
    for length in reversed(shape):
        strides.insert(0, size)
        size *= length
    return strides


def _is_scattered(array: Any) -> bool:
    return not (array.flags.c_contiguous or array.flags.f_contiguous)


def _parts(array: Any, most: int = 16 * _AT_ONCE) -> Iterator[Any]:
    """Its bytes in arrays of at most so many, as far as a row is not longer."""
    import numpy as np

    rows = max(1, most // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        yield np.ascontiguousarray(array[start : start + rows]).reshape(-1).view("u1")


def _edges(pieces: Sequence[Piece]) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes of what is in no whole page of the pieces: it cannot be watched."""
    for offset, array in pieces:
        start, end = _span(array)
        low, high = whole_pages((start, end))
        for begin, stop in ((start, low), (high, end)) if low < high else ((start, end),):
            yield offset + begin - start, array[begin - start : stop - start].tobytes()


def _write(descriptor: int, part: memoryview, offset: int) -> None:
    while part:
        written = os.pwrite(descriptor, part, offset)
        part, offset = part[written:], offset + written


def _address(array: Any) -> int:
    return array.__array_interface__["data"][0]


def _span(array: Any) -> tuple[int, int]:
    return _address(array), _address(array) + array.nbytes
