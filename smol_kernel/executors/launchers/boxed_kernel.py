"""The kernel of a box: ipykernel, on sockets that listen already. Travels into the box as source, see `box`.

The host made the sockets, so nothing in a file system leads to them. There is no debugger, whose socket dials the
shell's, and no heartbeat. The current folder leaves the path until the kernel puts it back, lest a file there shadow a
module that the kernel imports.
"""

from __future__ import annotations

import sys

sys.path[:] = [folder for folder in sys.path if folder]
sys.modules["debugpy"] = None  # type: ignore[assignment]

import json  # noqa: E402 - the path comes first
import os  # noqa: E402
import traceback  # noqa: E402
from typing import Any  # noqa: E402

import zmq  # noqa: E402
from ipykernel.kernelapp import IPKernelApp  # noqa: E402
from tornado.ioloop import IOLoop  # noqa: E402


class BoxedKernel(IPKernelApp):
    """The application. `sockets` are the descriptors, in the order of the ports, and last the line for memory."""

    sockets: list[int]

    @property
    def memory_line(self) -> int:
        """By which the memory of tables comes, see `mapped`."""
        return self.sockets[-1]

    def _try_bind_socket(self, s: Any, port: int) -> Any:
        s.setsockopt(zmq.USE_FD, self.sockets[port - 1])
        s.sndhwm = 10_000  # what is put out while the host is busy waits here
        return super()._try_bind_socket(s, port)

    def init_control(self, context: Any) -> None:
        """Without the debugger's way to the shell."""
        super().init_control(context)
        debugging: Any = self.debug_shell_socket
        debugging.close()
        self.debug_shell_socket = None

    def init_heartbeat(self) -> None:
        """There is none."""
        self.heartbeat = None

    def write_connection_file(self, **_: Any) -> None:
        """Nothing to do: the host wrote it."""

    def cleanup_connection_file(self) -> None:
        """Nothing to do: it goes with the box."""

    def start(self) -> None:
        """Where a zygote has loaded our own modules, it begins as a child of ours, and need not be told to."""
        if "smol_in_child.child" in sys.modules:
            IOLoop.current().add_callback(_install)
        super().start()


def _install() -> None:
    try:
        sys.modules["smol_in_child.child"].install()
    except BaseException:  # noqa: BLE001 - boundary: the loop would only log it, and the host wait
        traceback.print_exc(file=sys.__stderr__)
        os._exit(1)


def launch(sockets: list[int]) -> None:
    """Be the kernel until it ends."""
    BoxedKernel.sockets = sockets
    BoxedKernel.launch_instance()


if __name__ == "__main__":
    launch(json.loads(sys.argv.pop(1)))
