"""Tables and arrays that lie in memory which the host wrote and sealed: mapped copy-on-write, and put together there.

Travels into the child as source, for `questions`; the host uses it for what it wrote itself. What is written to such a
table goes to pages of this process alone.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import weakref
from importlib import import_module
from typing import Any

from . import tables, values

MOST = 1_000
"""Descriptors that may come with a message; an action may have asked for more than these to come, such as times."""


class NotReceived(Exception):
    """The descriptor of the memory did not come."""


class MemoryLine:
    """The end of the line by which descriptors come; `descriptor` is its own (None: there is none)."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        if descriptor is not None:
            os.set_inheritable(descriptor, False)

    def value(self, told: dict[str, Any]) -> Any:
        """The value whose memories were passed under the number that is `told`. Raises NotReceived."""
        descriptors = self._received(told["number"], len(told["sizes"]))
        try:
            return build(told, descriptors)
        finally:
            for each in descriptors:
                os.close(each)

    def _received(self, number: int, count: int) -> list[int]:
        if self._descriptor is None:
            raise NotReceived
        try:
            line = socket.socket(fileno=os.dup(self._descriptor))
        except OSError:  # an action has closed it
            raise NotReceived from None
        with line:
            line.setblocking(False)
            while True:
                try:
                    text, descriptors, _, _ = socket.recv_fds(line, 32, MOST)
                except OSError:
                    raise NotReceived from None
                if text == str(number).encode() and len(descriptors) == count:
                    for each in descriptors:
                        os.set_inheritable(each, False)
                    return descriptors
                for each in descriptors:  # of a request that was given up
                    os.close(each)
                if not text:
                    raise NotReceived


def build(told: dict[str, Any], descriptors: list[int]) -> Any:
    """The value of this form (see `shared_memory`) in the memories behind these descriptors."""
    memories = [_mapped(descriptor, size) for descriptor, size in zip(descriptors, told["sizes"], strict=True)]
    if told["kind"] == "Table":
        return tables.from_stream(memories[0])
    np: Any = import_module("numpy")
    found = [np.ndarray(shape, dtype, memories[0], *place) for dtype, shape, *place in told["arrays"]]
    if told["kind"] == "ndarray":
        return found[0]
    parts: dict[str, Any] = values.decode(told["parts"])
    others = told["others"]
    numbers, rest = iter(found), iter(tables.from_stream(memories[-1]).columns if others else ())
    columns = (next(rest if place in others else numbers) for place in range(len(found) + len(others)))
    block = None if others or len(parts["columns"]) < 2 else _block(np, told["arrays"], parts["columns"], memories[0])
    frame = tables.together(parts, columns, copy=False, block=block)
    if told["kind"] == "DataFrame":
        return frame
    series = frame.iloc[:, 0]
    series.name = parts["name"]
    return series


def _mapped(descriptor: int, size: int) -> Any:
    """The memory, as a buffer which can be written to. A `mmap.mmap` would keep a descriptor of it open."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_int64]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    address = libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE, descriptor, 0)
    if address is None or address == ctypes.c_void_p(-1).value:
        number = ctypes.get_errno()
        raise OSError(number, f"{size:,} bytes cannot be mapped: {os.strerror(number)}")
    buffer = (ctypes.c_char * size).from_address(address)
    weakref.finalize(buffer, libc.munmap, address, size).atexit = False
    return buffer


def _block(np: Any, arrays: list[Any], columns: list[dict[str, Any]], memory: Any) -> Any:
    """All columns of a table as one array, if they lie in equal steps; else None. Arrays after theirs are the index."""
    if len(arrays) < len(columns) or any(column.keys() != {"dtype"} for column in columns):
        return None
    (dtype, shape, start, strides), step = arrays[0], arrays[1][2] - arrays[0][2]
    even = [[dtype, shape, start + place * step, strides] for place in range(len(columns))]
    if step <= 0 or arrays[: len(columns)] != even:
        return None
    return np.ndarray([*shape, len(columns)], dtype, memory, start, [*strides, step])
