"""The kernel of a box: ipykernel, on sockets that listen already. Travels into the box as source, see `box`.

The host made the sockets, so nothing in a file system leads to them. There is no debugger, whose socket dials the
shell's, and no heartbeat. The current folder leaves the path until the kernel puts it back, lest a file there shadow a
module that the kernel imports.
"""

from __future__ import annotations

import json
import sys
from typing import Any

sys.path[:] = [folder for folder in sys.path if folder]
sys.modules["debugpy"] = None  # type: ignore[assignment]

import zmq  # noqa: E402 - the path comes first
from ipykernel.kernelapp import IPKernelApp  # noqa: E402


def launch(sockets: list[int]) -> None:
    """Be the kernel until it ends; `sockets` are the descriptors, in the order of the ports."""

    class BoxedKernel(IPKernelApp):
        def _try_bind_socket(self, s: Any, port: int) -> Any:
            s.setsockopt(zmq.USE_FD, sockets[port - 1])
            s.sndhwm = 10_000  # what is put out while the host is busy waits here
            return super()._try_bind_socket(s, port)

        def init_control(self, context: Any) -> None:
            super().init_control(context)
            debugging: Any = self.debug_shell_socket
            debugging.close()
            self.debug_shell_socket = None

        def init_heartbeat(self) -> None:
            self.heartbeat = None

        def write_connection_file(self, **_: Any) -> None:
            pass

        cleanup_connection_file = write_connection_file

    BoxedKernel.launch_instance()


if __name__ == "__main__":
    launch(json.loads(sys.argv.pop(1)))
