"""The way to an MCP server and back: a process, or the SDK's HTTP with a cap on answers. Used by connections."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from smol_kernel.parsing import PART, Parts, parsed_json
from smol_kernel.tools.mcp_process import MAX_ANSWER, MAX_COUNTED, TOO_MANY, LastWords, open_process
from smol_kernel.tools.mcp_servers import ServerSpec, plain_text

if TYPE_CHECKING:
    import httpx2

MAX_REASON = 500
"""Characters of what a refusal over HTTP says."""


@dataclass
class HttpAnswer:
    """What HTTP said to a request."""

    status: int = 0
    in_session: bool = False
    """True: the request named a session, which the server had opened before."""

    said: str = ""
    """What the body of a refusal says."""

    @property
    def session_over(self) -> bool:
        """True if the server does not know the session any more, and so did nothing.

        The protocol asks for 404 then; servers made after the TypeScript SDK's examples say 400 and why.
        """
        return self.in_session and (self.status == 404 or (self.status == 400 and "session" in self.said.lower()))


http_answer: ContextVar[HttpAnswer | None] = ContextVar("mcp_http_answer", default=None)
"""Filled in for the task that sends a request: the SDK carries the sender's context to where the request is sent."""


@asynccontextmanager
async def open_transport(spec: ServerSpec, words: LastWords, ended: Callable[[], None]) -> AsyncGenerator[Any]:
    """The SDK's streams to a server. `ended` is called when nothing more will come from it."""
    if spec.transport == "stdio":
        async with open_process(spec.stdio, words, ended) as streams:
            yield streams
    elif spec.transport == "sse":
        from mcp.client.sse import sse_client

        client = sse_client(
            spec.url, httpx_client_factory=lambda headers=None, timeout=None, auth=None: _http_client(spec)
        )
        async with client as (read, write):
            yield _Watched(read, ended), write
    else:
        from mcp.client.streamable_http import streamable_http_client

        async with (
            _http_client(spec) as http,
            streamable_http_client(spec.url, http_client=http, max_sse_event_size=MAX_ANSWER) as (read, write),
        ):
            yield _Watched(read, ended), write


def _http_client(spec: ServerSpec) -> httpx2.AsyncClient:
    import httpx2

    class Capped(httpx2.AsyncByteStream):
        """A body that breaks off where it gets too large."""

        def __init__(self, stream: Any, encoding: str) -> None:
            self._stream, self._encoding = stream, encoding

        async def __aiter__(self) -> AsyncIterator[bytes]:
            if self._encoding != "identity":  # its real size could not be known in advance
                raise httpx2.StreamError(f"the answer is compressed ({self._encoding}), though that was not asked for")
            size, parts = 0, Parts()
            async for chunk in self._stream:
                size += len(chunk)
                if size > MAX_ANSWER:
                    raise httpx2.StreamError(f"the answer is larger than {MAX_ANSWER >> 20} MB")
                parts.add(chunk)
                if parts.number > MAX_COUNTED // PART:
                    raise httpx2.StreamError(f"the answer has {TOO_MANY}")
                yield chunk

        async def aclose(self) -> None:
            await self._stream.aclose()

    async def look(response: Any) -> None:
        answer = http_answer.get()
        if answer is not None and response.request.method == "POST":
            answer.status = response.status_code
            answer.in_session = "mcp-session-id" in response.request.headers
        kind = response.headers.get("content-type", "").lower()
        if kind.startswith("text/event-stream"):
            response.aiter_text = partial(_counted, response.aiter_text)
        else:
            response.stream = Capped(response.stream, response.headers.get("content-encoding", "identity"))
        if answer is not None and response.status_code >= 400 and kind.startswith(("application/json", "text/plain")):
            with suppress(httpx2.StreamError):
                await response.aread()
                answer.said = _words(response.text)

    return httpx2.AsyncClient(
        headers={"Accept-Encoding": "identity", **spec.headers},
        auth=spec.auth,
        timeout=httpx2.Timeout(spec.timeout, read=spec.read_timeout),
        event_hooks={"response": [look]},
    )


async def _counted(read: Callable[[], AsyncIterator[str]]) -> AsyncIterator[str]:
    """The text of an event stream, which breaks off in an event of too many parts; the SDK caps its length."""
    import httpx2

    parts, ends = Parts(), ""
    async for text in read():
        lines = ends + text
        for place, piece in enumerate(lines.replace("\r\n", "\n").replace("\r", "\n").split("\n\n")):
            parts = Parts() if place else parts  # a blank line ends an event
            parts.add(piece.encode(errors="replace"))
            if parts.number > MAX_COUNTED // PART:
                raise httpx2.SSEError(f"the answer has {TOO_MANY}")
        ends = lines[len(lines.rstrip("\r\n")) :][-3:]  # the other end of a blank line may come yet
        yield text


def _words(body: str) -> str:
    """The message of an error in JSON, else the beginning of the text."""
    try:
        error = parsed_json(body.encode(errors="replace"), MAX_ANSWER)["error"]
        return plain_text(str(error["message"] if isinstance(error, dict) else error), MAX_REASON)
    except (ValueError, KeyError, TypeError, RecursionError):
        return plain_text(body, MAX_REASON).strip()


class _Watched:
    """A transport's incoming stream, which tells when it ends."""

    def __init__(self, stream: Any, ended: Callable[[], None]) -> None:
        self._stream, self._ended = stream, ended

    @property
    def last_context(self) -> Any:
        return getattr(self._stream, "last_context", None)

    async def receive(self) -> Any:
        return await self._stream.receive()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def __aiter__(self) -> _Watched:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._stream.__anext__()
        except StopAsyncIteration:
            self._ended()
            raise

    async def __aenter__(self) -> _Watched:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> bool | None:
        return await self._stream.__aexit__(*error)
