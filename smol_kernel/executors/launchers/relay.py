"""Carries bytes both ways between two connected sockets, in one thread and with bounded memory, for `proxy`."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable, Iterable

from smol_kernel.executors.launchers.http_messages import Transform

PIECE = 64 * 1024


class Flow:
    """One direction. It holds one piece at most and reads on only when that is sent.

    Parameters: `transform`, what is passed on of a piece (None: all of it); `first`, bytes to send before;
    `half_close`, whether the sink is told when the source ends; `optional`, whether a sink that takes no more is no
    error (a host may answer a request without reading all of it).
    """

    def __init__(
        self,
        source: socket.socket,
        sink: socket.socket,
        transform: Transform | None = None,
        first: bytes = b"",
        *,
        half_close: bool = False,
        optional: bool = False,
    ) -> None:
        self._source, self._sink = source, sink
        self._transform = transform or _everything
        self._pending = memoryview(first)
        self._half_close, self._optional = half_close, optional
        self.finished = False  # the source has ended, and all is sent
        self.sent = 0

    def waits_for(self) -> tuple[socket.socket, int]:
        """The socket and the event of poll(2) this flow needs to go on."""
        return (self._sink, select.POLLOUT) if self._pending else (self._source, select.POLLIN)

    def move(self) -> None:
        """Send some of what is held, or read a piece. Raises OSError if the connection is gone."""
        if self._pending:
            self._send()
        elif piece := self._source.recv(PIECE):
            self._pending = memoryview(self._transform(piece))
        else:
            self.finished = True
            if self._half_close:
                self._sink.shutdown(socket.SHUT_WR)

    def _send(self) -> None:
        try:
            count = self._sink.send(self._pending)
        except ConnectionError:
            if not self._optional:
                raise
            self._transform, self._pending = _nothing, memoryview(b"")
        else:
            self.sent += count
            self._pending = self._pending[count:]


def relay(flows: tuple[Flow, Flow], enough: Callable[[Iterable[bool]], bool], idle_seconds: float) -> None:
    """Carry bytes until `enough` (any or all) of the flows are finished.

    Raises OSError if a connection is gone, TimeoutError if nothing moves for `idle_seconds`, and what a transform
    raises. The sockets must not block; whoever wants to end this shuts them down.
    """
    while not enough(flow.finished for flow in flows):
        waiting = [(flow, *flow.waits_for()) for flow in flows if not flow.finished]
        masks: dict[int, int] = {}
        for _, connection, event in waiting:
            masks[connection.fileno()] = masks.get(connection.fileno(), 0) | event
        poll = select.poll()
        for descriptor, mask in masks.items():
            poll.register(descriptor, mask)
        ready = dict(poll.poll(idle_seconds * 1000))
        if not ready:
            raise TimeoutError("nothing moved")
        for flow, connection, event in waiting:
            if ready.get(connection.fileno(), 0) & (event | select.POLLHUP | select.POLLERR):
                with contextlib.suppress(BlockingIOError):
                    flow.move()


def _everything(piece: bytes) -> bytes:
    return piece


def _nothing(_: bytes) -> bytes:
    return b""
