"""One ZMTP connection: bytes to messages and back. `zmq` has four of them.

It is the connecting side of ZMTP 3.0 (https://rfc.zeromq.org/spec/23/), as far as a Jupyter kernel needs it. libzmq
limits its queues in messages, however long they are, and collects the parts of a message without any limit: a hostile
child could fill the host. Here memory is limited in bytes, and nothing is read before somebody asks for it.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from dataclasses import dataclass, field

CHUNK = 1 << 16
"""Bytes to read at once where there are many."""
FEW = 1 << 10
"""Where there were none yet: a host may have many connections on which little comes."""
MAX_READ = 8 << 20
"""Bytes to read before something else is looked at; as much is read as there is, for the sake of the order."""
MAX_PARTS = 64
"""Parts of a message."""
MAX_UNSENT = 256 << 20
"""Bytes that may wait for the peer to take them."""

_MORE, _LONG, _COMMAND = 1, 2, 4
_GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
"""Signature, version 3.0, mechanism, "no server", filler."""


class Broken(Exception):
    """The peer does not keep to the protocol, or to its limits."""


@dataclass
class _Held:
    """What has been read of the message under way: `counts` tell how much of `buffer` is filled, `need` how much of it
    has to be before there is something new to see, `parts` and `size` what is complete."""

    buffer: bytearray = field(default_factory=lambda: bytearray(FEW))
    counts: list[int] = field(default_factory=list)
    need: int = len(_GREETING)
    parts: list[bytes] = field(default_factory=list)
    size: int = 0


class Wire:
    """A connection to `address`, the path of a unix socket.

    `kind` is the socket type to claim, DEALER or SUB; `limit` is in bytes of a message. One thread at a time uses it.
    A KeyboardInterrupt that comes in the middle may cost a message, but never part of one.
    """

    def __init__(self, address: str, kind: bytes, identity: bytes, limit: int) -> None:
        self._address, self._limit = address, limit
        self.socket: socket.socket | None = None
        """None before it is connected."""
        self.ended = False
        self._greeted = self._ready = False
        self._held = _Held()
        hello = _GREETING + _command(b"READY", {b"Socket-Type": kind, b"Identity": identity})
        self._hello: deque[tuple[bytes, list[int]]] = deque([(hello, [])])
        self._out: deque[tuple[bytes, list[int]]] = deque()
        self._unsent = 0
        if kind == b"SUB":
            self.write([b"\1"])  # a subscription to everything

    def dial(self) -> bool:
        """Try to connect; tells whether it is connected."""
        if self.socket is None:
            sock = socket.socket(socket.AF_UNIX)
            try:
                sock.settimeout(1)
                sock.connect(self._address)
            except BaseException as error:
                sock.close()
                if isinstance(error, OSError):
                    return False
                raise
            self.adopt(sock)
        return True

    def adopt(self, connected: socket.socket) -> None:
        """Be the one end of this connection."""
        connected.setblocking(False)
        self.socket = connected
        self.flush()

    def write(self, parts: list[bytes]) -> None:
        """Put a message among those to be sent. Raises Broken if too much waits already."""
        frames = [_frame(part, _MORE if place < len(parts) - 1 else 0) for place, part in enumerate(parts)]
        whole = b"".join(piece for frame in frames for piece in frame)
        if self._unsent and self._unsent + len(whole) > MAX_UNSENT:
            raise Broken("it does not read what it is sent")
        self._unsent += len(whole)
        self._out.append((whole, []))

    @property
    def waits(self) -> bool:
        """Whether something is to be sent, and the peer so far that it can be."""
        return bool(self.socket and not self.ended and (self._hello or (self._ready and self._out)))

    def flush(self) -> None:
        """Send what the peer takes now."""
        while self.waits:
            queue = self._hello or self._out
            whole, counts = queue[0]
            done = sum(counts)
            if done == len(whole):
                queue.popleft()
                self._unsent -= done if queue is self._out else 0
            elif not self._transfer(counts, "send", memoryview(whole)[done:]):
                return

    def read(self) -> list[list[bytes]]:
        """The messages of which the end has come, each its parts. Raises Broken; sets `ended` once no more can come."""
        messages: list[list[bytes]] = []
        done = 0
        while done < MAX_READ and self._receive():
            done += self._held.counts[-1]
            if sum(self._held.counts) >= self._held.need:
                complete, self._held = self._parsed(self._held)
                messages += complete
        self.flush()  # what had to wait for the peer's greeting
        return messages

    def _receive(self) -> bool:
        """Fill the buffer a little more; tells whether something came."""
        held = self._held
        filled = sum(held.counts)
        held.counts[:] = [filled]
        if filled == len(held.buffer):
            held.buffer = held.buffer + bytes(max(CHUNK, min(filled, held.need - filled)))
        return self._transfer(held.counts, "recv_into", memoryview(held.buffer)[filled:])

    def close(self) -> None:
        """Close it; more than once is fine."""
        self.ended = True
        if self.socket is not None:
            self.socket.close()

    def _transfer(self, counts: list[int], call: str, view: memoryview) -> bool:
        """Let the socket take from the view or fill it; adds the number of bytes to `counts`, tells whether any passed.

        `extend` adds it before Python can raise a KeyboardInterrupt: no bytes are lost or come twice.
        """
        before = len(counts)
        try:
            counts.extend(map(getattr(self.socket, call), (view,)))
        except BlockingIOError:
            return False
        except OSError:
            self.ended = True
            return False
        if counts[before] == 0:
            self.ended = True
        return counts[before] > 0

    def _parsed(self, held: _Held) -> tuple[list[list[bytes]], _Held]:
        """The complete messages in what is held, and what is held without them."""
        data = memoryview(held.buffer)[: sum(held.counts)]
        messages: list[list[bytes]] = []
        parts, size, place = held.parts.copy(), held.size, 0
        if not self._greeted:
            place = self._greet(data)
        while True:
            need, flags, begin = _head(data, place)
            if flags & ~(_MORE | _LONG | _COMMAND) or (flags & _COMMAND and flags & _MORE):
                raise Broken("it sent a frame of no known kind")
            if size + need > self._limit or len(parts) == MAX_PARTS:
                raise Broken("it sent a message of a size that none of ours has")
            if place + need > len(data):
                break
            body = bytes(data[begin : place + need])
            place += need
            if flags & _COMMAND:
                self._ready = self._ready or body.startswith(b"\5READY")
            elif not self._ready:
                raise Broken("it sent a message before it was ready")
            else:
                parts, size = [*parts, body], size + need
                if not flags & _MORE:
                    messages.append(parts)
                    parts, size = [], 0
        rest = data[place:]
        room = min(CHUNK, max(FEW, 2 * len(data)))
        return messages, _Held(bytearray(rest) + bytes(room), [len(rest)], need, parts, size)

    def _greet(self, data: memoryview) -> int:
        if data[0] != 0xFF or data[9] != 0x7F or data[10] < 3 or bytes(data[12:32]) != _GREETING[12:32]:
            raise Broken("it does not speak ZMTP 3")
        self._greeted = True
        return len(_GREETING)


def _head(data: memoryview, place: int) -> tuple[int, int, int]:
    """Of the frame at that place: its length, as far as it is known, its flags, and where its body begins."""
    there = len(data) - place
    flags = data[place] if there else 0
    head = 9 if flags & _LONG else 2
    if there < head:
        return head, flags, place + head
    length = struct.unpack_from(">Q" if flags & _LONG else ">B", data, place + 1)[0]
    return head + length, flags, place + head


def _frame(body: bytes, flags: int) -> tuple[bytes, bytes]:
    """A frame: its head and its body."""
    if len(body) > 255:
        return struct.pack(">BQ", flags | _LONG, len(body)), body
    return struct.pack(">BB", flags, len(body)), body


def _command(name: bytes, properties: dict[bytes, bytes]) -> bytes:
    body = bytes([len(name)]) + name
    for key, value in properties.items():
        body += bytes([len(key)]) + key + struct.pack(">I", len(value)) + value
    return b"".join(_frame(body, _COMMAND))
