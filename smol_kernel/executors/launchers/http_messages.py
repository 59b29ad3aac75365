"""HTTP/1.1 messages as the box's proxy (`proxy`) reads, checks and rewrites them (RFC 9110 and 9112).

A request comes from the child and is read strictly: whatever two servers might understand differently is refused. An
answer comes from a host that the user allowed; only its head is rewritten.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from smol_kernel.executors.launchers.allow_list import join_authority, split_authority

HEAD_BYTES = 32 * 1024
HEADERS = 100

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t -~\x80-\xff]*")
_TARGET = re.compile(r"[!-~]+")
_URL = re.compile(r"http://([^/?#@\\]+)(/[^#]*|\?[^#]*)?", re.IGNORECASE)
_LENGTH = re.compile(r"[0-9]{1,15}")
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,12})[\t ]*(?:;[\t -~\x80-\xff]*)?")
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9][0-9])(?: |$)")
_END = re.compile(rb"\r?\n\r?\n")
_OF_ONE_HOP = {"connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "upgrade"}
_OF_THE_REQUEST = _OF_ONE_HOP | {"te", "trailer", "host", "content-length", "transfer-encoding"}

Transform = Callable[[bytes], bytes]
"""What is passed on of a piece of a stream. Raises Refusal if the stream may not go on."""


class Refusal(Exception):
    """Why a request is not carried out: an HTTP status, the reason in a few words and the text for a person."""

    def __init__(self, status: int, reason: str, text: str = "") -> None:
        super().__init__(reason)
        self.status, self.reason, self.text = status, reason, text or reason

    def answer(self) -> bytes:
        """The whole answer. Clients show of a failed CONNECT only the status line, so the reason is told there."""
        body = f"Smol Kernel: {self.text}\n".encode()
        head = (
            f"HTTP/1.1 {self.status} {self.reason}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode("ascii", "replace") + body


def read_head(connection: socket.socket, seconds: float) -> tuple[bytes, bytes]:
    """The head of a message, without the empty line at its end, and what came after it.

    Raises Refusal if it is too long or not complete after `seconds`, ConnectionError if the other end leaves before.
    """
    deadline = time.monotonic() + seconds
    read = bytearray()
    while (end := read.find(b"\r\n\r\n")) < 0:
        if len(read) > HEAD_BYTES:
            raise Refusal(431, f"the head of the request is longer than {HEAD_BYTES} bytes")
        left = deadline - time.monotonic()
        if left <= 0:
            raise Refusal(408, "the head of the request took too long")
        connection.settimeout(left)
        try:
            piece = connection.recv(8192)
        except TimeoutError:
            continue
        if not piece:
            raise ConnectionError("closed before the end of the head")
        read += piece
    if end > HEAD_BYTES:
        raise Refusal(431, f"the head of the request is longer than {HEAD_BYTES} bytes")
    return bytes(read[:end]), bytes(read[end + 4 :])


@dataclass(frozen=True)
class Request:
    """A request to the proxy. Of its headers only those that are meant for the host itself are kept."""

    method: str
    host: str
    port: int
    path: str
    version: str
    headers: tuple[tuple[str, str], ...]
    length: int | None
    chunked: bool

    @property
    def tunnel(self) -> bool:
        """Whether a tunnel is asked for (CONNECT)."""
        return self.method == "CONNECT"

    @property
    def authority(self) -> str:
        """HOST:PORT."""
        return join_authority(self.host, self.port)

    def head(self, proxy_headers: dict[str, str] | None = None) -> bytes:
        """The head to send: to the host itself, or to a proxy, with `proxy_headers`."""
        host = join_authority(self.host, None if self.port == 80 and not self.tunnel else self.port)
        target = self.authority if self.tunnel else self.path if proxy_headers is None else f"http://{host}{self.path}"
        headers = [("Host", host), *self.headers, *(proxy_headers or {}).items()]
        if self.chunked:
            headers.append(("Transfer-Encoding", "chunked"))
        if self.length is not None:
            headers.append(("Content-Length", str(self.length)))
        if not self.tunnel:
            headers.append(("Connection", "close"))
        lines = [f"{self.method} {target} {self.version}", *(f"{name}: {value}" for name, value in headers)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def body(self) -> Transform:
        """Passes on the bytes of this request's body and drops what follows: there is one request a connection."""
        return _ChunkedBody() if self.chunked else _SizedBody(self.length or 0)


def read_request(head: bytes) -> Request:
    """The request in a head. Raises Refusal."""
    first, *lines = head.decode("latin-1").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]) or not _TARGET.fullmatch(parts[1]):
        raise Refusal(400, "this is no HTTP request")
    method, target, version = parts
    if version not in ("HTTP/1.0", "HTTP/1.1"):
        raise Refusal(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    headers = _read_headers(lines)
    if method == "CONNECT":
        host, port = _authority(target)
        if port is None:
            raise Refusal(400, "CONNECT needs HOST:PORT")
        return Request(method, host, port, "", version, (), None, False)
    match = _URL.fullmatch(target)
    if not match:
        raise Refusal(400, "this is a proxy: ask for http://HOST/PATH, or CONNECT HOST:PORT for https")
    host, port = _authority(match[1])
    path = match[2] or "/"
    length, chunked = _framing(headers, version)
    named = {name.strip().lower() for key, value in headers if key.lower() == "connection" for name in value.split(",")}
    kept = tuple(pair for pair in headers if pair[0].lower() not in _OF_THE_REQUEST | named)
    path = path if path.startswith("/") else f"/{path}"
    return Request(method, host, port or 80, path, version, kept, length, chunked)


def _authority(text: str) -> tuple[str, int | None]:
    try:
        return split_authority(text)
    except ValueError:
        raise Refusal(400, "the host of the request cannot be read") from None


def _read_headers(lines: list[str]) -> list[tuple[str, str]]:
    if len(lines) > HEADERS:
        raise Refusal(431, f"the request has more than {HEADERS} headers")
    headers: list[tuple[str, str]] = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise Refusal(400, "a header of the request cannot be read")
        headers.append((name, value.strip(" \t")))
    return headers


def _framing(headers: list[tuple[str, str]], version: str) -> tuple[int | None, bool]:
    """Where the body ends: its length, or whether it is chunked. Refuses what two servers could read differently."""
    lengths = [value for name, value in headers if name.lower() == "content-length"]
    codings = [value for name, value in headers if name.lower() == "transfer-encoding"]
    if len(lengths) + len(codings) > 1:
        raise Refusal(400, "the request tells more than once where its body ends")
    if codings and (codings[0].lower() != "chunked" or version == "HTTP/1.0"):
        raise Refusal(400, "the only Transfer-Encoding known here is chunked, in HTTP/1.1")
    if lengths and not _LENGTH.fullmatch(lengths[0]):
        raise Refusal(400, "the Content-Length of the request is no number")
    return int(lengths[0]) if lengths else None, bool(codings)


class _SizedBody:
    def __init__(self, length: int) -> None:
        self._left = length

    def __call__(self, piece: bytes) -> bytes:
        piece = piece[: self._left]
        self._left -= len(piece)
        return piece


class _ChunkedBody:
    """Written anew chunk by chunk, without extensions and trailers."""

    def __init__(self) -> None:
        self._held = b""
        self._left = 0  # bytes still to come of this chunk
        self._part: str = "size"

    def __call__(self, piece: bytes) -> bytes:
        if self._part == "done":
            return b""
        self._held += piece
        passed: list[bytes] = []
        while self._held and self._part != "done":
            if self._part == "data":
                data, self._held = self._held[: self._left], self._held[self._left :]
                self._left -= len(data)
                passed.append(data)
                self._part = "data" if self._left else "after data"
                continue
            line, end, rest = self._held.partition(b"\r\n")
            if len(line) > 1024 or b"\n" in line:
                raise Refusal(400, "a chunk of the request's body cannot be read")
            if not end:
                break
            self._held = rest
            passed.append(self._take(line))
        return b"".join(passed)

    def _take(self, line: bytes) -> bytes:
        """What a line outside the data gives to pass on."""
        if self._part == "trailer":
            self._part = "trailer" if line else "done"
            return b""
        if self._part == "after data" and not line:
            self._part = "size"
            return b"\r\n"
        match = _CHUNK.fullmatch(line)
        if self._part != "size" or not match:
            raise Refusal(400, "a chunk of the request's body cannot be read")
        self._left = int(match[1], 16)
        self._part = "data" if self._left else "trailer"
        return b"%x\r\n" % self._left if self._left else b"0\r\n\r\n"


class AnswerHead:
    """Passes an answer on, its head rewritten so that the client knows that the connection closes after it."""

    def __init__(self) -> None:
        self._held = b""
        self._complete = False

    def __call__(self, piece: bytes) -> bytes:
        """What is passed on of a piece of the answer."""
        if self._complete:
            return piece
        self._held += piece
        passed = b""
        while not self._complete and (end := _END.search(self._held)):
            head, self._held = self._held[: end.start()], self._held[end.end() :]
            passed += self._rewrite(head)
        if self._complete:
            passed, self._held = passed + self._held, b""
        elif len(self._held) > 2 * HEAD_BYTES:
            raise Refusal(502, "the head of the answer is too long")
        return passed

    def _rewrite(self, head: bytes) -> bytes:
        first, *lines = re.split(rb"\r?\n", head)
        status = _STATUS.match(first)
        if not status or status[1] == b"101":
            raise Refusal(502, "the host did not answer in HTTP/1.1")
        self._complete = not status[1].startswith(b"1")  # 100 Continue and the like come before the answer
        kept = [first]
        keep = True
        for line in lines:
            if not line.startswith((b" ", b"\t")):  # else it belongs to the line before
                keep = line.partition(b":")[0].strip().lower().decode("latin-1") not in _OF_ONE_HOP
            if keep:
                kept.append(line)
        if self._complete:
            kept.append(b"Connection: close")
        return b"\r\n".join([*kept, b"", b""])
