"""What a boxed child has of its host from the first: sockets that listen already, and pipes. For `box` and `zygote`.

The host makes them before the process that becomes the box, and closes the other's ends once that has them. It is
connected to the sockets before anybody can accept that: no path leads to them any more.
"""

from __future__ import annotations

import os
import shutil
import socket
from typing import Any, Protocol, TypeVar

from smol_kernel.executors.launchers.finalizer import Finalizer, close_all
from smol_kernel.executors.launchers.memory_line import MemoryLine
from smol_kernel.executors.launchers.plain import CHANNELS, OPTIONS, connection, short_folder
from smol_kernel.executors.transports import Channel
from smol_kernel.executors.transports.zmq import ZmqTransport

CONNECTION_FILE = "/run/kernel.json"
"""Where a kernel finds in its box how it is reached."""
ARGUMENTS = ("-f", CONNECTION_FILE, *OPTIONS)
"""Of the kernel's command line."""


class Closable(Protocol):
    """What can be closed, and once more after an interrupt."""

    def close(self) -> None:
        """Close it."""
        ...


Held = TypeVar("Held", bound=Closable)


class Lines:
    """Those of one child. Raises OSError, and leaves nothing open then."""

    def __init__(self) -> None:
        self.held: list[Closable] = []
        self.own: list[int] = []
        """Descriptors of this side. What is in here and in `held` is closed in the end, the last one first."""
        self._others: list[int] = []
        self._free = Finalizer(self, _close, self.held, self.own, self._others)
        """Also of one that an interrupt left with nobody."""
        try:
            self.memory_line = self._hold(MemoryLine())
            self.connection, self._listeners, dialled = self._listen()
            """As in a Jupyter connection file, and as the kernel has it."""
            self.transport = self._hold(ZmqTransport(self.connection, None, lambda: True, dialled))
            """The host's end of the connections: it has greeted, and hears whatever comes first."""
            ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.control, self._there = map(self._hold, ends)
            """To the process that builds the box, and then waits outside of it."""
            self.stderr = os.memfd_create("stderr")
            """What the kernel writes there while it starts, and after."""
            self.own.append(self.stderr)
            self._plan, self.plan = self._pipe(read=False)
            """The other side's descriptor, the second, is that of the pipe by which it is told what to build."""
            _, life = self._pipe(read=False)
            self.status, status = self._pipe(read=True)
            """Where the process outside tells the box's exit code."""
        except BaseException:
            self.close()
            raise
        sockets = [*(each.fileno() for each in self._listeners), self.memory_line.there.fileno()]
        self.descriptors = [self._there.fileno(), life, self.stderr, status, *sockets]
        """The other side's, but for that of the plan, in the order in which a zygote takes them."""
        self.given: dict[str, Any] = {
            "control": self._there.fileno(),
            "life": life,
            "stderr": self.stderr,
            "status": status,
            "sockets": sockets,
        }
        """The same by the names that `boot` has for them."""

    def _hold(self, it: Held) -> Held:
        self.held.append(it)
        return it

    @property
    def early(self) -> dict[str, Any]:
        """What a kernel may know before its box is built."""
        return {"connection": self.connection, "arguments": ARGUMENTS}

    def _listen(self) -> tuple[dict[str, Any], list[socket.socket], dict[Channel, socket.socket]]:
        """How the kernel is reached, its listening sockets, and the host's, which are connected to them."""
        listeners: list[socket.socket] = []
        dialled: dict[Channel, socket.socket] = {}
        folder = short_folder()
        try:
            for number, channel in enumerate(CHANNELS, 1):
                listener = self._hold(socket.socket(socket.AF_UNIX))
                listener.bind(str(folder / f"k-{number}"))
                listener.listen(1)
                listeners.append(listener)
                if channel != "hb":
                    dialled[channel] = self._hold(socket.socket(socket.AF_UNIX))
                    dialled[channel].connect(listener.getsockname())
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return connection("/run/k"), listeners, dialled

    def _pipe(self, read: bool) -> tuple[int, int]:
        """The own end of a new pipe, which is to `read` or to write, and the other's."""
        reading, writing = os.pipe()
        own, other = (reading, writing) if read else (writing, reading)
        self.own.append(own)
        self._others.append(other)
        return own, other

    def started(self) -> None:
        """The process is there, and has its ends."""
        self._there.close()
        self.memory_line.started()
        for listener in self._listeners:
            listener.close()
        close_all(self._others)

    def keep(self, descriptor: int) -> int:
        """Close this one as well in the end."""
        self.own.append(descriptor)
        return descriptor

    def tell(self, plan: bytes) -> None:
        """Tell it the plan of the box. Raises BrokenPipeError if it has ended."""
        self.own.remove(self._plan)
        with open(self._plan, "wb") as pipe:
            pipe.write(plan + b"\n")

    def close(self) -> None:
        """Free everything. Once the other's life line is closed that ends, whatever it does."""
        self._free()


def _close(held: list[Closable], *open_ones: list[int]) -> None:
    while held:
        held[-1].close()
        held.pop()
    for each in open_ones:
        close_all(each)
