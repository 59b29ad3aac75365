"""The way out of a box for which hosts are allowed: an HTTP proxy in the host process that lets only those through.

The box's first process listens on 127.0.0.1 *inside the box's own network namespace* and passes the listening socket to
the host; the child is told of it by `http_proxy` and `https_proxy`. There is no other route out of that namespace, so
what does not speak to this proxy reaches nothing. `box` starts one for each boxed child.

- Plain http: one request a connection. Its Host header is written anew from the URL, hop-by-hop headers are removed, a
  request that two servers could read differently is refused.
- CONNECT: bytes both ways, unseen. Inside TLS the proxy sees neither the name nor the request: where a content delivery
  network serves many names, allowing one of them allows whatever it answers for others (domain fronting).
- Which hosts, ports and addresses: `allow_list.AllowList`. How they are reached: `way_out`.

Everything that comes from the child is untrusted. It can hold `ProxyLimits.connections` threads of the host, each with
two pieces of 64 KiB; further connections wait in the system's queue.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from smol_kernel.errors import ConfigError
from smol_kernel.executors.launchers.allow_list import AllowList
from smol_kernel.executors.launchers.http_messages import AnswerHead, Refusal, Request, read_head, read_request
from smol_kernel.executors.launchers.relay import PIECE, Flow, relay
from smol_kernel.executors.launchers.way_out import Keep, Opened, WayOut

REFUSED_KEPT = 100


@dataclass(frozen=True)
class ProxyLimits:
    """What the child may use of the host through a proxy."""

    connections: int = 64
    """Connections at once."""
    head_seconds: float = 15.0
    """Time in which a request's head must be complete."""
    connect_seconds: float = 15.0
    """Time for a connection to a host, after its name is resolved."""
    idle_seconds: float = 300.0
    """Time after which a connection is closed on which nothing moves."""
    farewell_seconds: float = 2.0
    """Time for the client to read an answer whose request it is still sending."""


class AllowProxy:
    """A filtering proxy on a socket that listens.

    Parameters: `listener`, the socket, which is the proxy's from now on; `allow_hosts`, see `AllowList`; `refused`,
    told HOST:PORT once for each that is refused (a hundred at most), from a thread of the proxy; `limits`.

    Raises ConfigError for an entry of `allow_hosts`, or a proxy of the user's own, that cannot be used.
    """

    def __init__(
        self,
        listener: socket.socket,
        allow_hosts: Sequence[str],
        refused: Callable[[str], None] | None = None,
        limits: ProxyLimits | None = None,
    ) -> None:
        self._limits = limits or ProxyLimits()
        self._listener = listener
        try:
            self._way_out = WayOut(AllowList(allow_hosts), self._limits.connect_seconds)
        except ConfigError:
            listener.close()
            raise
        self._listener.set_inheritable(False)
        self._listener.settimeout(0.5)  # where its shutdown wakes nobody (macOS), close() is noticed so
        self._told, self._host = refused, os.getpid()
        self._refused: set[str] = set()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._free = threading.Semaphore(self._limits.connections)
        self._sockets: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._acceptor = threading.Thread(target=self._accept, name="smol-proxy", daemon=True)

    def allow(self, hosts: Sequence[str]) -> None:
        """Let these hosts through from now on, in place of those before. Raises ConfigError."""
        self._way_out = WayOut(AllowList(hosts), self._limits.connect_seconds)

    def start(self) -> None:
        """Take connections from now on, in threads of its own."""
        self._acceptor.start()

    def close(self) -> None:
        """End the listening, all connections and their threads. May be called twice, and from any thread.

        A thread that waits for the system to resolve a name ends when that answers; it is not waited for longer than
        a second.
        """
        if os.getpid() != self._host:
            return  # it is that process's, which this one was forked from
        self._closing.set()
        with self._lock:
            sockets, threads = list(self._sockets), list(self._threads)
        for each in (self._listener, *sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits on it; that thread closes it
        self._free.release()
        deadline = time.monotonic() + 1.0
        for thread in (self._acceptor, *threads):
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join(max(deadline - time.monotonic(), 0.0))
        self._listener.close()

    def _accept(self) -> None:
        while True:
            self._free.acquire()
            if self._closing.is_set():
                return
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                self._free.release()
                continue
            except OSError:
                self._free.release()
                self._closing.wait(0.1)  # no descriptors left, say: the next may find some
                continue
            thread = threading.Thread(target=self._serve, args=(client,), name="smol-proxy", daemon=True)
            with self._lock:
                self._threads.add(thread)
            try:
                thread.start()
            except RuntimeError:  # no threads left
                client.close()
                self._end(thread)

    def _end(self, thread: threading.Thread) -> None:
        with self._lock:
            self._threads.discard(thread)
        self._free.release()

    def _serve(self, client: socket.socket) -> None:
        """One connection, from its head to its end."""
        try:
            with self._kept(client) as keep:
                try:
                    self._carry_out(client, keep)
                except Refusal as refusal:
                    client.settimeout(self._limits.farewell_seconds)
                    client.sendall(refusal.answer())
                self._say_farewell(client)
        except OSError:
            pass  # an end has gone, or close() was called: nobody is left to tell
        finally:
            self._end(threading.current_thread())

    @contextlib.contextmanager
    def _kept(self, client: socket.socket) -> Generator[Keep]:
        """Sockets that close() can wake and that are closed in the end: `client`, and what is given to `keep`."""
        ours = [client]

        def keep(connection: socket.socket) -> None:
            ours.append(connection)
            with self._lock:
                self._sockets.add(connection)
            if self._closing.is_set():
                raise ConnectionAbortedError("the proxy is closed")

        try:
            keep(client)
            yield keep
        finally:
            with self._lock:
                self._sockets.difference_update(ours)
            for each in ours:
                each.close()

    def _carry_out(self, client: socket.socket, keep: Keep) -> None:
        head, rest = read_head(client, self._limits.head_seconds)
        request = read_request(head)
        try:
            opened = self._way_out.open(request, keep)
        except Refusal as refusal:
            if refusal.status == 403:
                self._record(request.authority)
            raise
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setblocking(False)
        opened.connection.setblocking(False)
        if request.tunnel:
            self._tunnel(client, opened, rest)
        else:
            self._exchange(client, opened, request, rest)

    def _tunnel(self, client: socket.socket, opened: Opened, rest: bytes) -> None:
        host = opened.connection
        established = b"HTTP/1.1 200 Connection established\r\n\r\n"
        outward = Flow(client, host, first=rest, half_close=True)
        inward = Flow(host, client, first=established + opened.held, half_close=True)
        relay((outward, inward), all, self._limits.idle_seconds)

    def _exchange(self, client: socket.socket, opened: Opened, request: Request, rest: bytes) -> None:
        host, body = opened.connection, request.body()
        outward = Flow(client, host, body, request.head(opened.proxy_headers) + body(rest), optional=True)
        inward = Flow(host, client, AnswerHead())
        try:
            relay((outward, inward), any, self._limits.idle_seconds)
        except Refusal:
            if inward.sent:  # the client has part of an answer already
                raise ConnectionAbortedError("refused in mid-answer") from None
            raise
        except TimeoutError:
            if inward.sent:
                raise
            raise Refusal(504, f"{request.authority} did not answer in time") from None
        except ConnectionError:
            pass  # the host closes without reading all of the request: what it answered is to arrive
        if not inward.sent and not outward.finished:
            raise Refusal(502, f"{request.authority} closed the connection without an answer")

    def _say_farewell(self, client: socket.socket) -> None:
        """Let the client read the answer: closed at once while it sends, the system would throw the answer away."""
        client.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + self._limits.farewell_seconds
        while (left := deadline - time.monotonic()) > 0:
            client.settimeout(left)
            if not client.recv(PIECE):
                return

    def _record(self, authority: str) -> None:
        with self._lock:
            if authority in self._refused or len(self._refused) >= REFUSED_KEPT:
                return
            self._refused.add(authority)
        if self._told:
            self._told(authority)
