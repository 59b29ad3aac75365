"""Which transport leads to a child: libzmq while its sockets still have to appear, our own to those that listen."""

from __future__ import annotations

from smol_kernel.executors.launchers import Child
from smol_kernel.executors.transports import Transport


def connect(child: Child) -> Transport:
    """A connection to a child that was just started."""
    if child.reconnect:
        from smol_kernel.executors.transports.zmq import ZmqTransport

        return ZmqTransport(child.connection, child.descriptor, child.alive)
    from smol_kernel.executors.transports.zmtp import ZmtpTransport

    return ZmtpTransport(child.connection, child.descriptor, child.alive)
