"""Waits until something can be read, by poll(2): a host of many children has more descriptors than select(2) takes.

For `box`, `forked` and `zygote`.
"""

from __future__ import annotations

import select
import socket


def readable(file: int | socket.socket, seconds: float | None = None) -> bool:
    """Whether there is something to read, or the end, within `seconds` (None: without a limit)."""
    poller = select.poll()
    poller.register(file, select.POLLIN)
    return bool(poller.poll(None if seconds is None else 1000 * seconds))
