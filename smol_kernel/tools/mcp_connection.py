"""One connection to an MCP server, within the portal's loop: open, list the tools, call, tell why it failed."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterator
from typing import Any

from smol_kernel.errors import MCPServerError, MCPTimeoutError
from smol_kernel.tools.mcp_process import LastWords
from smol_kernel.tools.mcp_servers import ServerSpec, plain_text
from smol_kernel.tools.mcp_transport import HttpAnswer, http_answer, open_transport

MAX_TOOLS = 500
MAX_ERROR = 10_000
"""Characters of an error of the server."""
MAX_PROGRESS_TEXT, MAX_PROGRESS_WAITING = 500, 1_000
LOG_LEVELS = ("warning", "error", "critical", "alert", "emergency")
"""Levels of a server's log messages that are shown (those of RFC 5424, as MCP has them)."""

Mailbox = queue.SimpleQueue["tuple[str, float | None, float | None] | None"]
"""What a call is told meanwhile: text, done, total; None at its end."""


class Connection:
    """An open connection to a server. Opened and closed by one task, `run`; knows nothing of who holds the portal."""

    def __init__(self, spec: ServerSpec) -> None:
        self.spec = spec
        self.settled, self.over, self.ended = asyncio.Event(), asyncio.Event(), False
        self.client: Any = None
        self.name = ""
        self.tools: list[Any] = []
        self.failure: BaseException | None = None
        self.answer = HttpAnswer()
        self.words = LastWords()
        self.noise = ""
        self.scope: Any = None
        self.mailboxes: set[Mailbox] = set()

    async def run(self) -> None:
        """Open, wait until it is over, close: the whole life of the connection, in one task."""
        import anyio
        from mcp import Client

        http_answer.set(self.answer)
        try:
            with anyio.CancelScope() as self.scope:
                transport: Any = open_transport(self.spec, self.words, self.over.set)
                client = Client(
                    transport,
                    logging_callback=self._on_log,
                    log_level="warning",
                    message_handler=self._on_message,
                    cache=None,
                )
                async with client:
                    await self._list_tools(client)
                    self.name = plain_text(getattr(client.server_info, "name", None) or "", 60)
                    self.client = client
                    self.settled.set()
                    await self.over.wait()
        except BaseException as error:  # noqa: BLE001 - boundary: told to whoever opened it, or calls next
            self.failure = error
        finally:
            self.client, self.ended = None, True
            self.over.set()
            self.settled.set()

    async def open(self, timeout: float | None) -> None:
        """Wait until it is open. Raises MCPServerError saying why it is not."""
        import anyio

        try:
            with anyio.move_on_after(timeout):
                await self.settled.wait()
        except BaseException:
            self.stop()
            raise
        if not self.settled.is_set():
            self.stop()
            await self._hear_out()
            raise MCPTimeoutError(
                f"{self.title} did not answer within {timeout:g} s{self._noise_text()}. Is it an MCP server? "
                f'A slow one gets more time by adapter_kwargs={{"connect_timeout": 120}}{self.words.text}'
            )
        if self.client is None:
            await self._hear_out()
            shows_key = any(map(_is_illegal, leaves(self.failure)))
            raise MCPServerError(f"{self.title} {self.reason}{self.words.text}") from (
                None if shows_key else self.failure
            )

    def stop(self) -> None:
        """Have `run` end: in good order once it is open, else at once."""
        if self.client is None and self.scope is not None:
            self.scope.cancel()
        self.over.set()

    async def call(self, tool: str, arguments: dict[str, Any], mailbox: Mailbox, timeout: float | None) -> Any:
        """The result of a call, of the SDK's type. Raises SessionOver if the server did nothing for that reason."""
        import anyio
        from mcp import MCPError

        async def on_progress(done: float, total: float | None, text: str | None) -> None:
            _tell(mailbox, text or "", done, total)

        answer = HttpAnswer()
        http_answer.set(answer)
        where = f"{self.title}, tool {tool!r}:"
        self.mailboxes.add(mailbox)
        try:
            with anyio.fail_after(timeout):
                return await self.client.call_tool(tool, arguments, progress_callback=on_progress)
        except TimeoutError:
            raise MCPTimeoutError(
                f"{where} no answer within {timeout:g} s; the call was cancelled, what it did until then is not "
                f"known{self._noise_text()}. "
                'More time: MCPClient(…, adapter_kwargs={"call_timeout": 3600}), or None for no limit'
            ) from None
        except MCPError as error:
            message = http_reason(answer) or plain_text(error.message, MAX_ERROR)
            if answer.session_over:
                self.stop()
                raise SessionOver(f"{where} {message}") from error
            if self.over.is_set() or _is_lost(error):
                raise await self._lost(where) from error
            raise MCPServerError(f"{where} {message}") from error
        except (anyio.ClosedResourceError, anyio.BrokenResourceError) as error:
            raise await self._lost(where) from error
        except (RuntimeError, ValueError) as error:  # a result that the SDK finds to be against the protocol
            raise MCPServerError(f"{where} unusable result: {plain_text(str(error), MAX_ERROR)}") from error
        finally:
            self.mailboxes.discard(mailbox)

    @property
    def title(self) -> str:
        """The server as messages name it."""
        return f"MCP server {self.spec.label}"

    @property
    def reason(self) -> str:
        """Why the connection failed, as the rest of a sentence."""
        return why(self.failure, self.spec, self.answer) + self._noise_text()

    async def _lost(self, where: str) -> MCPServerError:
        await self._hear_out()  # not stop(): over HTTP it can be this one answer that broke off
        reason = f" ({why(self.failure, self.spec, self.answer)})" if self.failure else ""
        return MCPServerError(
            f"{where} the connection was lost during the call{reason}; whether it had its effect is not known. "
            f"The next call connects again{self.words.text}"
        )

    async def _hear_out(self) -> None:
        """Give what the server said last a moment to arrive."""
        for _ in range(50):
            if self.ended:
                return
            await asyncio.sleep(0.01)

    async def _list_tools(self, client: Any) -> None:
        cursor, pages = None, 0
        while pages == 0 or cursor:
            page = await client.list_tools(cursor=cursor)
            self.tools += page.tools
            cursor, pages = page.next_cursor, pages + 1
            if len(self.tools) > MAX_TOOLS or pages > MAX_TOOLS:
                raise MCPServerError(f"offers more than {MAX_TOOLS} tools: use a server that offers fewer")

    def _noise_text(self) -> str:
        return f" (what it wrote is no message of the protocol: {self.noise})" if self.noise else ""

    async def _on_message(self, message: Any) -> None:
        if isinstance(message, Exception) and not self.noise:
            shown = getattr(message, "errors", list)()
            self.noise = repr(plain_text(str(shown[0].get("input", "")) if shown else str(message), 100).strip())

    async def _on_log(self, params: Any) -> None:
        if params.level in LOG_LEVELS:
            for mailbox in self.mailboxes:  # a log message does not say to which call it belongs
                _tell(mailbox, f"{params.level}: {params.data}")


class SessionOver(Exception):
    """The server refused a call unseen, because it does not know the session any more: it can be sent again."""


def _tell(mailbox: Mailbox, text: str, done: float | None = None, total: float | None = None) -> None:
    if mailbox.qsize() < MAX_PROGRESS_WAITING:
        mailbox.put((plain_text(text, MAX_PROGRESS_TEXT), done, total))


def leaves(error: BaseException | None) -> Iterator[BaseException]:
    """The single errors of an exception group, which the transports' task groups raise."""
    for each in getattr(error, "exceptions", ()):
        yield from leaves(each)
    if error is not None and not hasattr(error, "exceptions"):
        yield error


def http_reason(answer: HttpAnswer) -> str:
    """What an HTTP status and the body that came with it say; empty where there is no such status."""
    if answer.status in (401, 403):
        return (
            f"HTTP {answer.status}: the server wants credentials, or other ones. "
            'Give them in the dict: {"url": …, "headers": {"Authorization": "Bearer …"}}'
        )
    if answer.status < 400:
        return ""
    return f"HTTP {answer.status}: {answer.said}" if answer.said else f"HTTP {answer.status}"


_ADVICE = {
    404: " (there is no MCP server at this path; many are at /mcp, older ones at /sse)",
    400: ' (is the transport right: "streamable-http", or "sse"?)',
    405: ' (is the transport right: "streamable-http", or "sse"?)',
    406: ' (is the transport right: "streamable-http", or "sse"?)',
}
"""What a status means where a connection is opened."""


def why(failure: BaseException | None, spec: ServerSpec, answer: HttpAnswer) -> str:
    """Why a connection failed, as the rest of a sentence that begins with the server."""
    import httpx2
    from mcp import MCPError

    for error in leaves(failure):
        if isinstance(error, httpx2.HTTPStatusError):
            answer.status = error.response.status_code
        if isinstance(error, FileNotFoundError | PermissionError) and spec.stdio is not None:
            return (
                f"cannot be started: the command {spec.stdio.command!r} {_MISSING[type(error)]}. "
                "Install it, or give its full path"
            )
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
            return f"cannot be reached ({_first_line(error)}). Is it running, at this address?"
        if _is_illegal(error):
            return "cannot be asked: a header holds a line break, or a character that cannot be sent. Give it without"
        if isinstance(error, MCPServerError):
            return str(error)
        if isinstance(error, MCPError) and _is_lost(error):
            return "ended before it answered as an MCP server"
    found = next(leaves(failure), None)
    refusal = http_reason(answer)
    if refusal:
        return f"refused: {refusal}{_ADVICE.get(answer.status, '')}"
    if found is None:
        return "ended"
    said = _first_line(found)
    return f"did not answer as an MCP server: {said}" if isinstance(found, MCPError) else f"failed: {said}"


def _is_illegal(error: BaseException) -> bool:
    """Whether a header could not be sent. The error shows it, and it may be a key."""
    return type(error).__name__ == "LocalProtocolError" or isinstance(error, UnicodeEncodeError)


def _is_lost(error: Any) -> bool:
    """Whether an MCPError is the SDK's own about a connection that ended; servers use its code for errors of theirs."""
    from mcp_types import CONNECTION_CLOSED

    return error.code == CONNECTION_CLOSED and error.message.startswith(("Connection closed", "SSE stream ended"))


_MISSING = {FileNotFoundError: "is not found", PermissionError: "is not executable"}


def _first_line(error: BaseException) -> str:
    lines = plain_text(str(error), 300).strip().splitlines()
    return lines[0] if lines else type(error).__name__
