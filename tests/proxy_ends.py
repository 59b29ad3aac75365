"""Both ends of the box's proxy for tests: the proxy itself, clients that speak to it, servers behind it."""

from __future__ import annotations

import contextlib
import socket
import threading
import urllib.request

import pytest
from web_server import PROXY_VARIABLES

from smol_kernel.executors.launchers.proxy import AllowProxy, ProxyLimits

PIECE = bytes(range(256)) * 256  # 64 KiB


@pytest.fixture
def no_proxy_of_the_machine(monkeypatch):
    for name in (*PROXY_VARIABLES, "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@contextlib.contextmanager
def proxied(*allow: str, told=None, **limits):
    """A running proxy and its port; its threads are gone afterwards."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    before = set(threading.enumerate())
    proxy = AllowProxy(listener, allow, told, ProxyLimits(**{"farewell_seconds": 30, **limits}))
    proxy.port = listener.getsockname()[1]
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.close()
    left = [thread for thread in set(threading.enumerate()) - before if thread.name == "smol-proxy"]
    assert not left


@contextlib.contextmanager
def raw_server(serve):
    """A server that gives each connection to `serve` in a thread; its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads = []

    def one(connection):
        with connection, contextlib.suppress(ConnectionError):
            serve(connection)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                threads.append(threading.Thread(target=one, args=(listener.accept()[0],)))
                threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join()
        for thread in threads:
            thread.join()
        listener.close()


def echo(connection):
    while piece := connection.recv(65536):
        connection.sendall(piece)


def connected(proxy):
    return socket.create_connection(("127.0.0.1", proxy.port))


def everything(connection) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def read_until(connection, end: bytes) -> bytes:
    """What comes until it ends so."""
    read = b""
    while not read.endswith(end):
        if not (byte := connection.recv(1)):
            raise ConnectionError(f"ended after {read!r}")
        read += byte
    return read


def say(proxy, request: str | bytes) -> str:
    """What the proxy answers to these bytes, until it closes."""
    with connected(proxy) as client:
        client.sendall(request.encode() if isinstance(request, str) else request)
        return everything(client).decode()


def tunnel(proxy, authority: str):
    """A socket whose other end is that host."""
    client = connected(proxy)
    client.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    established = b"HTTP/1.1 200 Connection established\r\n\r\n"
    assert client.recv(len(established), socket.MSG_WAITALL) == established
    return client


def by_urllib(proxy):
    address = f"http://127.0.0.1:{proxy.port}"
    return urllib.request.build_opener(urllib.request.ProxyHandler({"http": address, "https": address}))
