"""ZeroMQ, as local kernels speak it: four sockets and one poller, which also sees the child end and a wake-up call."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import zmq
from jupyter_client.session import Session

from smol_kernel.errors import ChildDiedError
from smol_kernel.executors.host_line import pack
from smol_kernel.executors.transports import Channel, Message

MEBIBYTE = 1 << 20
MAX_MESSAGE: dict[Channel, int] = {
    "iopub": 32 * MEBIBYTE,
    "stdin": 128 * MEBIBYTE,
    "shell": 128 * MEBIBYTE,
    "control": MEBIBYTE,
}
"""Bytes. The child counts as dead above it: ours sends nothing that long. A single part that long ZeroMQ refuses to
receive; of a message in many parts the sum is known only when all are here."""
MAX_QUEUE = 10_000
"""Messages of output kept while the host is busy elsewhere; more are lost."""
HANDSHAKE = 120_000
"""Milliseconds for a child to take up the connection."""
BATCH = 200
"""Messages read from a socket at once, so that a flood leaves time to notice a stop."""
LATE = 0.5
"""Seconds to wait at most for the last messages of a child that ended: a process it left may hold its sockets open."""
CHECK = 0.5
"""Seconds between looks at the child where the system cannot tell that it ended."""


class ZmqTransport:
    """A connection to one kernel.

    `connection` is in the form of a connection file; `descriptor`, if the system has one, is readable once the child
    has ended; else `alive` is asked. `reconnect` says whether to dial again while the child boots.
    """

    def __init__(
        self,
        connection: dict[str, Any],
        descriptor: int | None,
        alive: Callable[[], bool],
        reconnect: bool = True,
    ) -> None:
        self._descriptor, self._alive = descriptor, alive
        self._reconnect = reconnect
        key, scheme = connection["key"].encode(), connection["signature_scheme"]
        self._session = Session(key=key, signature_scheme=scheme, pack=pack)
        self._context = zmq.Context()
        self._poller = zmq.Poller()
        self._monitors: list[zmq.Socket[bytes]] = []
        self._sockets: dict[Channel, zmq.Socket[bytes]] = {
            channel: self._connect(channel, connection) for channel in MAX_MESSAGE
        }
        self._wake_lock = threading.Lock()
        self._wake_read, self._wake_write = os.pipe()
        self._closed = False
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._poller.register(self._wake_read, zmq.POLLIN)
        if descriptor is not None:
            self._poller.register(descriptor, zmq.POLLIN)

    def _connect(self, channel: Channel, connection: dict[str, Any]) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.SUB if channel == "iopub" else zmq.DEALER)
        socket.linger = 0
        socket.maxmsgsize = MAX_MESSAGE[channel]
        socket.reconnect_ivl = 5 if self._reconnect else -1
        socket.handshake_ivl = HANDSHAKE  # a child that boots says nothing yet
        if channel == "iopub":
            socket.rcvhwm = MAX_QUEUE
            socket.subscribe(b"")
        else:
            socket.sndtimeo = 5_000
            socket.identity = self._session.bsession  # the same on all: the kernel routes input requests by it
        monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._poller.register(monitor, zmq.POLLIN)
        self._monitors.append(monitor)
        mark = "-" if connection["transport"] == "ipc" else ":"
        socket.connect(f"{connection['transport']}://{connection['ip']}{mark}{connection[channel + '_port']}")
        self._poller.register(socket, zmq.POLLIN)
        return socket

    def send(self, channel: Channel, type: str, content: dict[str, Any]) -> str:
        """Send a message and give its id."""
        try:
            message = self._session.send(self._sockets[channel], type, content)
        except zmq.ZMQError as error:
            raise ChildDiedError(f"the child kernel takes no messages any more ({error})") from None
        return str(message["header"]["msg_id"]) if message else ""

    def receive(self, timeout: float | None) -> list[Message]:
        """Wait for messages; those of iopub come first."""
        wait = timeout if self._descriptor is not None else min(CHECK, timeout if timeout is not None else CHECK)
        ready = dict(self._poller.poll(None if wait is None else max(0, math.ceil(wait * 1000))))
        if self._wake_read in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_read, 65_536)
        messages = self._read(ready)
        if messages or not self._gone(ready):
            return messages
        messages = self._last_messages()
        if not messages:
            raise ChildDiedError("the child kernel ended by itself")
        return messages

    def _last_messages(self) -> list[Message]:
        """What is still on its way from a child that ended: a socket reports its end after all that it received."""
        deadline = time.monotonic() + LATE
        open_ends = set(self._monitors)
        late = zmq.Poller()
        for socket in (*self._sockets.values(), *open_ends):
            late.register(socket, zmq.POLLIN)
        while True:
            patience = deadline - time.monotonic() if open_ends else 0
            ready = dict(late.poll(max(0, math.ceil(patience * 1000))))
            closed = open_ends.intersection(ready)
            if (messages := self._read(ready)) or not closed:
                return messages
            open_ends -= closed
            for monitor in closed:
                late.unregister(monitor)

    def _gone(self, ready: dict[Any, int]) -> bool:
        ended = self._descriptor in ready if self._descriptor is not None else not self._alive()
        return ended or any(monitor in ready for monitor in self._monitors)

    def _read(self, ready: dict[Any, int]) -> list[Message]:
        messages: list[Message] = []
        for channel, socket in self._sockets.items():
            if socket not in ready:
                continue
            for _ in range(BATCH):
                try:
                    frames = socket.recv_multipart(zmq.NOBLOCK)
                except zmq.Again:
                    break
                if sum(map(len, frames)) > MAX_MESSAGE[channel]:
                    raise ChildDiedError("the child kernel sent a message of a size that none of ours has")
                messages.append(self._parse(channel, frames))
        return messages

    def _parse(self, channel: Channel, frames: list[bytes]) -> Message:
        try:
            message = self._session.deserialize(self._session.feed_identities(frames)[1])
            parent = message["parent_header"].get("msg_id", "")
            content = message["content"]
            if not isinstance(parent, str) or not isinstance(content, dict):
                raise TypeError("not in the form of a Jupyter message")
            return Message(channel, str(message["header"]["msg_type"]), parent, content)
        except Exception as error:  # noqa: BLE001 - boundary: a child can send anything
            raise ChildDiedError(f"the child kernel sent a message that cannot be trusted ({error})"[:300]) from None

    def wake(self) -> None:
        """Let `receive` return; does nothing after `close`."""
        with self._wake_lock:
            if not self._closed:
                with contextlib.suppress(BlockingIOError):
                    os.write(self._wake_write, b".")

    def close(self) -> None:
        """Free sockets and descriptors; more than once is fine."""
        with self._wake_lock:
            if self._closed:
                return
            self._closed = True
            os.close(self._wake_read)
            os.close(self._wake_write)
        for monitor, socket in zip(self._monitors, self._sockets.values(), strict=True):
            socket.disable_monitor()
            monitor.close(linger=0)
            socket.close(linger=0)
        self._context.term()
