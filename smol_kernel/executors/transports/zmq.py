"""ZeroMQ, as local kernels speak it: four connections and one selector, which also sees the child end and a wake-up."""

from __future__ import annotations

import contextlib
import hmac
import math
import selectors
import socket
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from jupyter_client.session import Session

from smol_kernel.errors import ChildDiedError
from smol_kernel.executors.host_line import pack
from smol_kernel.executors.transports import READ, Channel, Message
from smol_kernel.executors.transports.zmtp import Broken, Wire
from smol_kernel.memory.process_lock import ProcessLock
from smol_kernel.parsing import parsed_json
from smol_kernel.waits import LOOK

MEBIBYTE = 1 << 20
MAX_MESSAGE: dict[Channel, int] = {
    "iopub": 32 * MEBIBYTE,
    "stdin": 128 * MEBIBYTE,
    "shell": 128 * MEBIBYTE,
    "control": MEBIBYTE,
}
"""Bytes. The child counts as dead above it, or with more parts than `parsing` allows in as many: ours sends nothing
that long, and fewer parts (`account`)."""
MAX_HEADER = 1 << 16
"""Bytes of a message's header."""
DELIMITER = b"<IDS|MSG>"
SEND_SECONDS = 0.5
"""How long to wait for a child to take a message before it is left to be sent later."""
DIAL_SECONDS = 0.005
"""Between attempts to connect to a child that boots."""
LATE = 0.5
"""Seconds to wait at most for the last messages of a child that ended: a process it left may hold its sockets open."""
CHECK = 0.5
"""Seconds between looks at the child where the system cannot tell that it ended."""


class ZmqTransport:
    """A connection to one kernel.

    `connection` is in the form of a connection file; `descriptor`, if the system has one, is readable once the child
    has ended; else `alive` is asked. `dialled` are connections that there are already, which it closes in the end;
    without them it dials, and does so again while the child boots.
    """

    def __init__(
        self,
        connection: dict[str, Any],
        descriptor: int | None,
        alive: Callable[[], bool],
        dialled: Mapping[Channel, socket.socket] = MappingProxyType({}),
    ) -> None:
        self._redial = not dialled
        key, scheme = connection["key"].encode(), connection["signature_scheme"]
        self._session = Session(key=key, signature_scheme=scheme, pack=pack)
        self._wires: dict[Channel, Wire] = {channel: self._wire(channel, connection) for channel in MAX_MESSAGE}
        for channel, connected in dialled.items():
            self._wires[channel].adopt(connected)
        self._dialing = True
        self._gone = False
        self._last = 0.0  # when the last message of a child that is gone came
        self._wake_lock = ProcessLock()
        self._wake_read, self._wake_write = socket.socketpair()
        self._closed = False
        for end in (self._wake_read, self._wake_write):
            end.setblocking(False)
        self._selector = selectors.DefaultSelector()  # the last that can fail: it lives until its cycle is collected
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._descriptor: int | None = None
        self.watch(descriptor, alive)
        self._dial()

    def watch(self, descriptor: int | None, alive: Callable[[], bool]) -> None:
        """From now on look at these for the child's end."""
        self._descriptor, self._alive = descriptor, alive
        if descriptor is not None:
            self._selector.register(descriptor, selectors.EVENT_READ)

    def _wire(self, channel: Channel, connection: dict[str, Any]) -> Wire:
        address = f"{connection['ip']}-{connection[f'{channel}_port']}"
        kind = b"SUB" if channel == "iopub" else b"DEALER"
        # the same identity on all: the kernel routes input requests by it
        return Wire(address, kind, self._session.bsession, MAX_MESSAGE[channel])

    def send(self, channel: Channel, type: str, content: dict[str, Any]) -> str:
        """Send a message and give its id."""
        message = self._session.msg(type, content)
        wire = self._wires[channel]
        was_behind = wire.waits  # who does not read is waited for once, not with each message
        try:
            wire.write(self._session.serialize(message))
        except Broken as error:
            raise ChildDiedError(f"the child kernel takes no messages any more: {error}") from None
        wire.flush()
        if wire.waits and not was_behind and wire.socket is not None:
            with selectors.DefaultSelector() as selector:
                selector.register(wire.socket, selectors.EVENT_WRITE)
                deadline = time.monotonic() + SEND_SECONDS
                while wire.waits and selector.select(max(0.0, deadline - time.monotonic())):
                    wire.flush()
        return str(message["header"]["msg_id"])

    def receive(self, timeout: float | None) -> list[Message]:
        """Wait for messages; those of iopub come first."""
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            self._dial()
            wait = min(deadline - time.monotonic(), LOOK)
            if self._dialing:
                wait = min(wait, DIAL_SECONDS)
            if self._descriptor is None:
                wait = min(wait, CHECK)
            if self._gone:
                wait = min(wait, self._last + LATE - time.monotonic())
            ready = {key.fileobj for key, _ in self._selector.select(max(0.0, wait))}
            if self._wake_read in ready:
                with contextlib.suppress(BlockingIOError):
                    self._wake_read.recv(65_536)
            messages = self._read(ready)
            self._gone = self._gone or self._is_gone(ready)
            if messages:
                self._last = time.monotonic()
                return messages
            if self._gone and self._is_over():
                raise ChildDiedError("the child kernel ended by itself")
            if self._wake_read in ready or time.monotonic() >= deadline:
                return []

    def _dial(self) -> None:
        """Connect what is not connected; have the selector look for what can happen to each connection."""
        self._dialing = False
        for wire in self._wires.values():
            if wire.ended or not wire.dial():
                wire.ended = wire.ended or not self._redial
                self._dialing = self._dialing or not wire.ended
                self._watch(wire, 0)
            else:
                self._watch(wire, selectors.EVENT_READ | (selectors.EVENT_WRITE if wire.waits else 0))

    def _watch(self, wire: Wire, events: int) -> None:
        if wire.socket is None:
            return
        watched = self._selector.get_map().get(wire.socket)
        if events and watched is None:
            self._selector.register(wire.socket, events)
        elif events and watched is not None and watched.events != events:
            self._selector.modify(wire.socket, events)
        elif not events and watched is not None:
            self._selector.unregister(wire.socket)

    def _is_gone(self, ready: set[Any]) -> bool:
        """Whether the child has ended, or has hung up on one of the connections."""
        ended = not self._alive() if self._descriptor is None else self._descriptor in ready
        if ended and self._descriptor is not None:
            self._selector.unregister(self._descriptor)
        if ended or any(wire.ended for wire in self._wires.values()):
            self._last = time.monotonic()
            return True
        return False

    def _is_over(self) -> bool:
        """Whether nothing more is to come of a child that is gone."""
        open_ends = [wire for wire in self._wires.values() if wire.socket is not None and not wire.ended]
        return not open_ends or time.monotonic() >= self._last + LATE

    def _read(self, ready: set[Any]) -> list[Message]:
        messages: list[Message] = []
        for channel, wire in self._wires.items():
            if wire.socket not in ready:
                continue
            wire.flush()
            try:
                messages += [self._parse(channel, frames) for frames in wire.read()]
            except Broken as error:
                raise ChildDiedError(f"the child kernel broke the protocol: {error}") from None
        return messages

    def _parse(self, channel: Channel, frames: list[bytes]) -> Message:
        try:
            place = frames.index(DELIMITER) + 1
            signature, header, parent, metadata, content = frames[place : place + 5]
            if not hmac.compare_digest(signature, self._session.sign([header, parent, metadata, content])):
                raise ValueError("its signature is wrong")
            if max(len(header), len(parent)) > MAX_HEADER:
                raise ValueError("its header is too long")
            kind, caused_by = _loaded(header)["msg_type"], _loaded(parent).get("msg_id", "")
            if not isinstance(kind, str) or not isinstance(caused_by, str):
                raise ValueError("its header is not in the form of Jupyter's")
            is_read = channel != "iopub" or kind in READ
            data = _loaded(content, MAX_MESSAGE[channel]) if is_read else dict[str, Any]()
            return Message(channel, kind, caused_by, data, sum(map(len, frames)))
        except Exception as error:  # noqa: BLE001 - boundary: a child can send anything
            raise ChildDiedError(f"the child kernel sent a message that cannot be trusted ({error})"[:300]) from None

    def wake(self) -> None:
        """Let `receive` return; does nothing after `close`."""
        with self._wake_lock.here:
            if not self._closed:
                with contextlib.suppress(BlockingIOError):
                    self._wake_write.send(b".")

    def close(self) -> None:
        """Free sockets and descriptors; more than once is fine."""
        with self._wake_lock.here:
            self._closed = True
            self._wake_read.close()
            self._wake_write.close()
        self._selector.close()
        for wire in self._wires.values():
            wire.close()


def _loaded(part: bytes, most: int = MEBIBYTE) -> dict[str, Any]:
    data = parsed_json(part, most, "replace")
    if not isinstance(data, dict):
        raise TypeError("a part of it is no dict")
    return data
