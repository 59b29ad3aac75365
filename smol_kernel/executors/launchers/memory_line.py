"""The one-way line by which a child on this machine is passed descriptors of sealed memory: the host only sends.

A child has it from its start. Nothing that a child does with its end reaches the host, or lets it wait.
"""

from __future__ import annotations

import fcntl
import os
import socket
import sys

_TIOCOUTQ = 0x5411
"""How much of what was sent has not been received, see unix(7)."""


class MemoryLine:
    """`there` is the child's end, to be inherited, which this process has until `started`."""

    def __init__(self) -> None:
        self._host, self.there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._host.shutdown(socket.SHUT_RD)  # what the child sends is an error there
        self._host.setblocking(False)

    def started(self) -> None:
        """The child has its end."""
        self.there.close()

    def give(self, descriptors: list[int], number: int) -> bool:
        """Pass descriptors, under a number. Gives whether they were sent: not to a child that has not taken those
        before, so that what it leaves lying about does not add up."""
        try:
            unread = fcntl.ioctl(self._host, _TIOCOUTQ, bytes(4))
            if any(unread):
                return False
            socket.send_fds(self._host, [str(number).encode()], descriptors)
        except OSError:  # it has ended, or closed its end
            return False
        return True

    def close(self) -> None:
        """Close both ends."""
        self.there.close()
        self._host.close()


def memory_line() -> MemoryLine | None:
    """A line for a new child; None where there is no memory that can be sealed."""
    return MemoryLine() if sys.platform == "linux" and hasattr(os, "memfd_create") else None
