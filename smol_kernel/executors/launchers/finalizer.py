"""Frees what an owner holds: once it is called, or when the owner is forgotten, wherever an interrupt comes."""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any


class Finalizer:
    """Calls `free` with these arguments, which do not know the owner; it has to stand being called again.

    A `weakref.finalize` alone would be dead after a call that was interrupted. Nothing is done at the host's end. The
    owner calls it: while it does it is not forgotten.
    """

    def __init__(self, owner: object, free: Callable[..., object], *arguments: Any) -> None:
        self._free = partial(free, *arguments)
        self._forgotten = weakref.finalize(owner, self._free)
        self._forgotten.atexit = False

    def __call__(self) -> None:
        """Free it now; more than once is fine."""
        try:
            self._free()
        except BaseException:
            self._free()  # what is left of it is done before an interrupt is heard
            raise
        self._forgotten.detach()


def close_all(descriptors: list[int]) -> None:
    """Close them and empty the list: in one step of the interpreter, so that no interrupt can come between."""
    with suppress(IndexError):
        deque(map(os.close, iter(descriptors.pop, None)), 0)
