"""A web server on this machine, scripted by path: what the network tools talk to in tests.

`requests` keeps what was asked. A path without a behavior answers 404.

    with WebServer() as web:
        web["/page"] = Answer("<h1>Hello</h1>")
        VisitWebpageTool()(web.url("/page"))
"""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "DDGS_PROXY")


@dataclass
class Request:
    """What one client asked; header names are in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    """An answer as it stands. `length` is the Content-Length told (None: the true one)."""

    body: str | bytes = b""
    content_type: str | None = "text/html"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None

    def answer(self, handler: _Handler) -> None:
        body = self.body.encode() if isinstance(self.body, str) else self.body
        handler.start(self.status, self.content_type, self.headers, len(body) if self.length is None else self.length)
        handler.wfile.write(body)
        if self.length is not None:
            handler.cut()


def Json(data: Any, status: int = 200, **headers: str) -> Answer:
    return Answer(json.dumps(data), "application/json", status, headers)


def Redirect(to: str) -> Answer:
    return Answer(status=302, headers={"Location": to})


@dataclass
class Endless:
    """Sends `piece` again and again, `every` so many seconds, until the client leaves or the server closes."""

    piece: bytes
    every: float = 0.0
    content_type: str = "text/html"

    def answer(self, handler: _Handler) -> None:
        handler.start(200, self.content_type, {}, None)
        closing = handler.server.owner.closing
        while not closing.wait(self.every) if self.every else not closing.is_set():
            handler.wfile.write(self.piece)
        handler.cut()


@dataclass
class Silent:
    """Takes the request and says nothing until the server closes."""

    def answer(self, handler: _Handler) -> None:
        handler.server.owner.closing.wait()
        handler.cut()


@dataclass
class Cut:
    """Breaks the connection instead of answering."""

    def answer(self, handler: _Handler) -> None:
        handler.cut()


Behavior = Answer | Endless | Silent | Cut


class WebServer:
    """The server; a context manager."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self._behaviors: dict[str, Behavior] = {}
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __setitem__(self, path: str, behavior: Behavior) -> None:
        self._behaviors[path] = behavior

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self._http.server_address[1]}{path}"

    def __enter__(self) -> WebServer:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def behavior(self, request: Request) -> Behavior:
        self.requests.append(request)
        return self._behaviors.get(request.path, Answer("not here", status=404))


class _Server(ThreadingHTTPServer):
    owner: WebServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave in mid-answer are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    timeout = 60

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, parts.path, dict(parse_qsl(parts.query)), headers, body)
        self.server.owner.behavior(request).answer(self)

    do_POST = do_GET

    def do_CONNECT(self) -> None:
        """As a proxy this server lets nobody through."""
        self.start(403, None, {}, 0)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing on stderr."""

    def start(self, status: int, content_type: str | None, headers: dict[str, str], length: int | None) -> None:
        self.send_response(status)
        if content_type is not None:
            self.send_header("Content-Type", content_type)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in {**headers, "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()

    def cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def unused_address() -> str:
    """An address on this machine where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/"


@contextmanager
def unreachable_address():
    """An address that takes no further connection and refuses none: its queue is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        try:
            for _ in range(4):
                waiting.append(socket.socket())
                waiting[-1].setblocking(False)
                waiting[-1].connect_ex(listener.getsockname())
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            for each in waiting:
                each.close()
