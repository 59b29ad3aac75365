"""An OpenAI-compatible chat server on this machine, scripted: what LiteLLM talks to in tests.

Each behavior answers one request, whatever its path, in order. `requests` keeps what was asked.

    with ModelServer(Text("Hello"), Status(429, retry_after="0"), Text("again")) as server:
        LiteLLMModel("openai/double", api_base=server.url, api_key="none").generate(messages)
"""

from __future__ import annotations

import json
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Request:
    """What one client asked: the JSON body, and the headers with lower-case names."""

    body: dict[str, Any]
    headers: dict[str, str]
    path: str


@dataclass
class Text:
    """A reply, plain or streamed as the request asks, with usage; `finish` is the reason why it ends."""

    text: str
    cached_tokens: int = 0
    usage: bool = True
    finish: str = "stop"

    def answer(self, handler: _Handler, request: Request) -> None:
        if not request.body.get("stream"):
            completion = _completion(self.text, self._usage())
            completion["choices"][0]["finish_reason"] = self.finish
            handler.send_json(200, completion)
            return
        handler.start_stream()
        for piece in _pieces(self.text):
            handler.send_event(_chunk({"role": "assistant", "content": piece}))
        handler.send_event(_chunk({}, finish_reason=self.finish))
        if self.usage and request.body.get("stream_options", {}).get("include_usage"):
            handler.send_event({**_chunk({}), "choices": [], "usage": self._usage()})
        handler.end_stream()

    def _usage(self) -> dict[str, Any] | None:
        if not self.usage:
            return None
        return {**_USAGE, "prompt_tokens_details": {"cached_tokens": self.cached_tokens}}


@dataclass
class ToolCall:
    """A reply that is one structured tool call."""

    name: str
    arguments: Any

    def answer(self, handler: _Handler, request: Request) -> None:
        ToolCalls([(self.name, self.arguments)]).answer(handler, request)


@dataclass
class ToolCalls:
    """A reply of several structured tool calls, (name, arguments) each; arguments that are text are sent as they are.

    Streamed, each comes in pieces; `index` is what the pieces carry: "each" its own, "same" always 0.
    """

    calls: list[tuple[str, Any]]
    text: str | None = None
    index: str = "each"

    def answer(self, handler: _Handler, request: Request) -> None:
        calls = [
            {
                "index": number,
                "id": f"call_{number + 1}",
                "type": "function",
                "function": {"name": name, "arguments": given if isinstance(given, str) else json.dumps(given)},
            }
            for number, (name, given) in enumerate(self.calls)
        ]
        if request.body.get("stream"):
            self._stream(handler, calls)
            return
        completion = _completion(self.text, _USAGE)
        completion["choices"][0]["message"]["tool_calls"] = calls
        completion["choices"][0]["finish_reason"] = "tool_calls"
        handler.send_json(200, completion)

    def _stream(self, handler: _Handler, calls: list[dict[str, Any]]) -> None:
        handler.start_stream()
        if self.text:
            handler.send_event(_chunk({"role": "assistant", "content": self.text}))
        for call in calls:
            index = call["index"] if self.index == "each" else 0
            first = {**call, "index": index, "function": {"name": call["function"]["name"], "arguments": ""}}
            handler.send_event(_chunk({"tool_calls": [first]}))
            for piece in _pieces(call["function"]["arguments"]):
                handler.send_event(_chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}))
        handler.send_event(_chunk({}, finish_reason="tool_calls"))
        handler.send_event({**_chunk({}), "choices": [], "usage": _USAGE})
        handler.end_stream()


@dataclass
class Converse:
    """A reply as Amazon Bedrock's Converse API gives it."""

    text: str

    def answer(self, handler: _Handler, request: Request) -> None:
        message = {"role": "assistant", "content": [{"text": self.text}]}
        usage = {"inputTokens": 11, "outputTokens": 7, "totalTokens": 18}
        reply = {"output": {"message": message}, "stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 1}}
        handler.send_json(200, reply)


@dataclass
class Status:
    """An error status with a body as OpenAI writes it."""

    code: int
    message: str = "the double says no"
    error_code: str | None = None
    retry_after: str | None = None

    def answer(self, handler: _Handler, request: Request) -> None:
        headers = {"Retry-After": self.retry_after} if self.retry_after is not None else {}
        error = {"message": self.message, "type": "error", "param": None, "code": self.error_code}
        handler.send_json(self.code, {"error": error}, headers)


@dataclass
class Refused:
    """An error status with a body of whatever shape: data that is sent as JSON, or text."""

    code: int
    body: Any
    content_type: str = "text/plain"

    def answer(self, handler: _Handler, request: Request) -> None:
        if isinstance(self.body, str):
            handler.send_body(self.code, self.body.encode(), self.content_type)
        else:
            handler.send_json(self.code, self.body)


@dataclass
class Raw:
    """A body as it stands, with status 200: malformed JSON, or nothing."""

    body: str
    content_type: str = "application/json"

    def answer(self, handler: _Handler, request: Request) -> None:
        handler.send_body(200, self.body.encode(), self.content_type)


@dataclass
class Cut:
    """The connection breaks: before the reply, or after `text` of it (plain or streamed).

    `clean` ends the stream without a finish reason, but as HTTP allows, as a proxy does that gave up.
    """

    text: str = ""
    clean: bool = False

    def answer(self, handler: _Handler, request: Request) -> None:
        if self.text and request.body.get("stream"):
            handler.start_stream()
            for piece in _pieces(self.text):
                handler.send_event(_chunk({"role": "assistant", "content": piece}))
            if self.clean:
                handler.end_chunks()
        elif self.text:
            body = json.dumps(_completion(self.text, None)).encode()
            handler.send_body(200, body[: len(body) // 2], length=len(body))
        handler.cut()


@dataclass
class Hang:
    """Sends `text` if it streams, then nothing until `release` is set or the server closes."""

    text: str = ""
    release: threading.Event = field(default_factory=threading.Event)
    reached: threading.Event = field(default_factory=threading.Event)
    """Set once the request is here and `text` is out."""

    def answer(self, handler: _Handler, request: Request) -> None:
        if self.text and request.body.get("stream"):
            handler.start_stream()
            for piece in _pieces(self.text):
                handler.send_event(_chunk({"role": "assistant", "content": piece}))
        self.reached.set()
        self.release.wait()
        handler.cut()


_USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 7,
    "total_tokens": 18,
    "prompt_tokens_details": {"cached_tokens": 0},
}

Behavior = Text | ToolCall | ToolCalls | Converse | Status | Refused | Raw | Cut | Hang


class ModelServer:
    """The server; a context manager. `url` is the `api_base` to use."""

    def __init__(self, *behaviors: Behavior) -> None:
        self.behaviors = list(behaviors)
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> ModelServer:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        for behavior in self.behaviors:
            if isinstance(behavior, Hang):
                behavior.release.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def next(self, request: Request) -> Behavior:
        with self._lock:
            self.requests.append(request)
            if len(self.requests) > len(self.behaviors):
                return Status(400, f"the double has {len(self.behaviors)} behaviors; this is one request more")
            return self.behaviors[len(self.requests) - 1]


def unused_address() -> str:
    """An `api_base` on this machine where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/v1"


class _Server(ThreadingHTTPServer):
    owner: ModelServer
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave in mid-reply are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(body, headers, self.path)
        self.server.owner.next(request).answer(self, request)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing on stderr."""

    def send_json(self, code: int, data: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self.send_body(code, json.dumps(data).encode(), headers=headers)

    def send_body(
        self,
        code: int,
        body: bytes,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
        length: int | None = None,
    ) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def start_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def send_event(self, data: dict[str, Any]) -> None:
        self._send_chunk(f"data: {json.dumps(data)}\n\n".encode())

    def end_stream(self) -> None:
        self._send_chunk(b"data: [DONE]\n\n")
        self.end_chunks()

    def end_chunks(self) -> None:
        self._send_chunk(b"")

    def cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _send_chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()


def _pieces(text: str) -> list[str]:
    return [text[start : start + 5] for start in range(0, len(text), 5)]


def _completion(text: str | None, usage: dict[str, Any] | None) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "double",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        **({"usage": usage} if usage else {}),
    }


def _chunk(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "double",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }
