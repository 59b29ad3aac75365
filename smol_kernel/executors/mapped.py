"""Tables and arrays that lie in memory which the host wrote and sealed: mapped copy-on-write, and put together there.

Travels into the child as source, for `questions`; the host uses it for what it wrote itself. What is written to such a
table goes to pages of this process alone.
"""

from __future__ import annotations

import mmap
import os
import socket
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smol_kernel.executors import tables, values
else:  # in the child they have other names
    tables, values = (import_module(__name__.replace("mapped", name)) for name in ("tables", "values"))


class NotReceived(Exception):
    """The descriptor of the memory did not come."""


class MemoryLine:
    """The end of the line by which descriptors come; `descriptor` is its own (None: there is none)."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        if descriptor is not None:
            os.set_inheritable(descriptor, False)

    def value(self, told: dict[str, Any]) -> Any:
        """The value whose memory was passed under the number that is `told`. Raises NotReceived."""
        descriptor = self._received(told["number"])
        try:
            return build(told, descriptor)
        finally:
            os.close(descriptor)

    def _received(self, number: int) -> int:
        if self._descriptor is None:
            raise NotReceived
        try:
            line = socket.socket(fileno=os.dup(self._descriptor))
        except OSError:  # an action has closed it
            raise NotReceived from None
        with line:
            while True:
                try:
                    text, descriptors, _, _ = socket.recv_fds(line, 32, 1, socket.MSG_DONTWAIT)
                except OSError:
                    raise NotReceived from None
                if text == str(number).encode() and len(descriptors) == 1:
                    os.set_inheritable(descriptors[0], False)
                    return descriptors[0]
                for each in descriptors:  # of a request that was given up
                    os.close(each)
                if not text:
                    raise NotReceived


def build(told: dict[str, Any], descriptor: int) -> Any:
    """The value of this form (see `shared_memory`) in the memory behind `descriptor`."""
    np: Any = import_module("numpy")
    memory = mmap.mmap(descriptor, told["size"], flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    found = [np.ndarray(shape, dtype, memory, offset, strides) for dtype, shape, offset, strides in told["arrays"]]
    if told["kind"] == "ndarray":
        return found[0]
    parts: dict[str, Any] = values.decode(told["parts"])
    others = iter(parts["arrow"].columns if told["others"] else ())
    waiting = iter(found)
    columns = (next(others) if place in told["others"] else next(waiting) for place in range(told["columns"]))
    frame = tables.together(parts, columns, copy=False, block=_block(np, told, parts, memory))
    if told["kind"] == "DataFrame":
        return frame
    series = frame.iloc[:, 0]
    series.name = parts["name"]
    return series


def _block(np: Any, told: dict[str, Any], parts: dict[str, Any], memory: Any) -> Any:
    """All columns as one array, where they lie in equal steps; else None."""
    count = len(parts["columns"])
    columns = told["arrays"][:count]
    if count < 2 or len(columns) < count or any(place < count for place in told["others"]):
        return None
    if any(column.keys() != {"dtype"} for column in parts["columns"]):
        return None
    (dtype, shape, start, strides), step = columns[0], columns[1][2] - columns[0][2]
    even = [[dtype, shape, start + place * step, strides] for place in range(count)]
    if step <= 0 or columns != even:
        return None
    return np.ndarray([*shape, count], dtype, memory, start, [*strides, step])
