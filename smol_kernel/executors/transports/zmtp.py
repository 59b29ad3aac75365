"""ZeroMQ's protocol over unix sockets that listen already, spoken by ourselves: how the host talks to a boxed child.

A child can write anything to its end of the sockets. libzmq in the host would keep it all in memory, of a message whose
parts never end or while nobody reads, and it aborts the process when a flood is cut off at an unlucky moment. This
reads no more than it is asked to, so that a child that sends faster has to wait, and ends with an error at most.
Protocol: ZMTP 3.0 with the NULL mechanism, https://rfc.zeromq.org/spec/23/.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

from jupyter_client.session import Session

from smol_kernel.errors import ChildDiedError
from smol_kernel.executors.host_line import pack
from smol_kernel.executors.transports import Channel, Message
from smol_kernel.executors.transports.zmq import BATCH, CHECK, LATE, MAX_MESSAGE, TOO_LARGE, parsed

CHUNK = 1 << 20
"""Bytes read from a socket at once."""
PATIENCE_MS = 5_000
"""Milliseconds for a child to take up something of what is sent to it."""
PART = 64
"""Bytes that a part of a message counts for besides its own."""
_GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" + bytes(31)
_MORE, _LONG, _COMMAND = 1, 2, 4
_SUBSCRIBE_TO_ALL = b"\x01"


class ZmtpTransport:
    """A connection to one kernel whose sockets listen.

    `connection` is in the form of a connection file; `descriptor`, if the system has one, is readable once the child
    has ended; else `alive` is asked.
    """

    def __init__(self, connection: dict[str, Any], descriptor: int | None, alive: Callable[[], bool]) -> None:
        self._descriptor, self._alive = descriptor, alive
        key, scheme = connection["key"].encode(), connection["signature_scheme"]
        self._session = Session(key=key, signature_scheme=scheme, pack=pack)
        self._wires = {channel: self._connect(channel, connection) for channel in MAX_MESSAGE}
        self._wake_lock = threading.Lock()
        self._wake_read, self._wake_write = os.pipe()
        self._closed = False
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)

    def _connect(self, channel: Channel, connection: dict[str, Any]) -> _Wire:
        kind = b"SUB" if channel == "iopub" else b"DEALER"
        # the same identity on all: the kernel routes input requests by it
        wire = _Wire(f"{connection['ip']}-{connection[channel + '_port']}", MAX_MESSAGE[channel])
        wire.greet(kind, self._session.bsession)
        if channel == "iopub":
            wire.send([_SUBSCRIBE_TO_ALL])
        return wire

    def send(self, channel: Channel, type: str, content: dict[str, Any]) -> str:
        """Send a message and give its id."""
        message = self._session.msg(type, content)
        if not self._wires[channel].send(self._session.serialize(message)):
            raise ChildDiedError("the child kernel takes no messages any more")
        return str(message["header"]["msg_id"])

    def receive(self, timeout: float | None) -> list[Message]:
        """Wait for messages; those of iopub come first."""
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            patience = max(0.0, deadline - time.monotonic())
            woken, ended = self._wait(patience)
            messages = self._parsed()
            if not messages and (ended or any(wire.closed for wire in self._wires.values())):
                messages = self._last_messages()
                if not messages:
                    raise ChildDiedError("the child kernel ended by itself")
            if messages or woken or patience == 0:
                return messages

    def _wait(self, patience: float) -> tuple[bool, bool]:
        """Read what there is, for which to wait; gives whether somebody called `wake`, and whether the child ended."""
        poller = select.poll()
        watched = [self._wake_read, *([] if self._descriptor is None else [self._descriptor])]
        wires = {wire.socket.fileno(): wire for wire in self._wires.values() if not wire.closed}
        for descriptor in (*watched, *wires):
            poller.register(descriptor, select.POLLIN)
        if any(wire.holds_message or wire.closed for wire in self._wires.values()):
            patience = 0.0
        if self._descriptor is None:
            patience = min(CHECK, patience)
        ready = {
            descriptor for descriptor, _ in poller.poll(None if patience == math.inf else math.ceil(patience * 1000))
        }
        for descriptor in ready.intersection(wires):
            if not wires[descriptor].holds_message:
                wires[descriptor].read()
        if woken := self._wake_read in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_read, 65_536)
        return woken, (self._descriptor in ready) if self._descriptor is not None else not self._alive()

    def _parsed(self) -> list[Message]:
        messages: list[Message] = []
        for channel, wire in self._wires.items():
            for _ in range(BATCH):
                frames = wire.message()
                if frames is None:
                    break
                messages.append(parsed(self._session, channel, frames))
        return messages

    def _last_messages(self) -> list[Message]:
        """What is still on its way from a child that ended: a socket gives it all before it tells its end."""
        deadline = time.monotonic() + LATE
        while not (messages := self._parsed()) and (left := [each for each in self._wires.values() if not each.closed]):
            poller = select.poll()
            for wire in left:
                poller.register(wire.socket, select.POLLIN)
            ready = {each for each, _ in poller.poll(max(0, math.ceil((deadline - time.monotonic()) * 1000)))}
            if not ready:
                break
            for wire in left:
                if wire.socket.fileno() in ready:
                    wire.read()
        return messages

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
        for wire in self._wires.values():
            wire.socket.close()


class _Wire:
    """One socket. What came in and is not yet read as messages is less than the largest message and a chunk."""

    def __init__(self, path: str, largest: int) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.closed = False
        """Whether the other end is gone."""
        self.holds_message = False
        """Whether a whole message may be there already."""
        self._largest = largest
        self._came, self._place = bytearray(), 0
        self._greeted = self._ready = False
        self._held: list[bytes] = []
        """What is to be sent once the other end is ready."""
        self._parts: list[bytes] = []
        self._size = 0
        try:
            self.socket.connect(path)
        except OSError:  # a child that has ended already
            self.closed = True
        self.socket.setblocking(False)

    def greet(self, kind: bytes, identity: bytes) -> None:
        """Say who we are. What is sent before the other end has said so too, libzmq would not take."""
        ready = b"\x05READY"
        for name, value in ((b"Socket-Type", kind), (b"Identity", identity)):
            ready += bytes([len(name)]) + name + struct.pack(">I", len(value)) + value
        self._write(_GREETING + bytes([_COMMAND, len(ready)]) + ready)

    def send(self, frames: list[bytes]) -> bool:
        """Send a message; False if the child does not take it."""
        pieces: list[bytes] = []
        for number, frame in enumerate(frames, 1):
            more = _MORE if number < len(frames) else 0
            long = len(frame) > 255
            pieces += [struct.pack(">BQ", more | _LONG, len(frame)) if long else bytes([more, len(frame)]), frame]
        if not self._ready:
            self._held += pieces
            return True
        return self._write(b"".join(pieces))

    def _write(self, data: bytes) -> bool:
        rest = memoryview(data)
        poller = select.poll()
        poller.register(self.socket, select.POLLOUT)
        while rest and not self.closed:
            try:
                rest = rest[self.socket.send(rest[:CHUNK]) :]
            except BlockingIOError:
                if not poller.poll(PATIENCE_MS):
                    return False
            except OSError:
                return False
        return not rest

    def read(self) -> None:
        """Read a chunk of what there is."""
        try:
            chunk = self.socket.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        self.closed = not chunk
        self._came += chunk
        self.holds_message = bool(chunk)

    def message(self) -> list[bytes] | None:
        """The next whole message that has come, in its parts."""
        if not self._greeted:
            if len(self._came) < len(_GREETING):
                self.holds_message = False
                return None
            if self._came[:1] != _GREETING[:1] or self._came[9:11] != _GREETING[9:11]:
                raise ChildDiedError("the child kernel sent what is not ZeroMQ's protocol")
            self._greeted, self._place = True, len(_GREETING)
        while (frame := self._frame()) is not None:
            flags, body = frame
            if flags & _COMMAND:
                if not self._ready:
                    self._ready, held, self._held = True, b"".join(self._held), []
                    self._write(held)
                continue
            self._parts.append(body)
            self._size += PART + len(body)
            if not flags & _MORE:
                parts, self._parts, self._size = self._parts, [], 0
                return parts
        del self._came[: self._place]
        self._place = 0
        self.holds_message = False
        return None

    def _frame(self) -> tuple[int, bytes] | None:
        """The next whole frame, its flags and what is in it."""
        came, place = self._came, self._place
        if len(came) < place + 2:
            return None
        flags = came[place]
        if flags > (_MORE | _LONG | _COMMAND) or (flags & _COMMAND and flags & _MORE):
            raise ChildDiedError("the child kernel sent what is not ZeroMQ's protocol")
        if flags & _LONG:
            if len(came) < place + 9:
                return None
            length, start = int.from_bytes(came[place + 1 : place + 9], "big"), place + 9
        else:
            length, start = came[place + 1], place + 2
        if self._size + PART + length > self._largest:
            raise ChildDiedError(TOO_LARGE)
        if len(came) < start + length:
            return None
        self._place = start + length
        return flags, bytes(memoryview(came)[start : start + length])
