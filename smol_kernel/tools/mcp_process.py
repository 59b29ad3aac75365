"""An MCP server as a process of this machine: messages as lines through its stdin and stdout, its stderr kept.

The stdio transport of the protocol (https://modelcontextprotocol.io/specification/2025-11-25/basic/transports). The
SDK's own reads a line of any length, in time that grows with its square.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from smol_kernel.parsing import PART, has_too_many_parts
from smol_kernel.tools.mcp_servers import plain_text

MAX_ANSWER = 64 << 20
"""Bytes of one message of a server."""
MAX_COUNTED = 2 * MAX_ANSWER
"""Bytes for which the parts of a message may count (`PART`)."""
TOO_MANY = f"more than {MAX_COUNTED // PART:,} lists, dicts, items and names"
STDERR_LINES, STDERR_WIDTH = 20, 500
GRACE = 2.0
"""Seconds a server has to end once its stdin is closed, and once more after SIGTERM."""


class LastWords:
    """The last lines a server wrote to stderr, and its exit code: for the message when it fails."""

    def __init__(self) -> None:
        self.exit_code: int | None = None
        self.complaint = ""
        """What was wrong with its messages, where that ended the connection."""
        self._lines: deque[str] = deque(maxlen=STDERR_LINES)

    async def keep(self, stream: asyncio.StreamReader) -> None:
        """Read all that comes."""
        line = b""
        while chunk := await stream.read(1 << 16):
            *ended, line = (line + chunk).split(b"\n")
            self._lines.extend(_shown(each) for each in ended)
            line = line[-STDERR_WIDTH * 4 :]
        self._lines.append(_shown(line))

    @property
    def text(self) -> str:
        """What there is, as an addition to a message; empty if there is none."""
        lines = [f"    {line}" for line in self._lines if line.strip()]
        code = f"\nIts exit code was {self.exit_code}." if self.exit_code else ""
        return "\n".join(
            [f"{self.complaint}{code}", "It wrote to stderr:", *lines] if lines else [self.complaint + code]
        )


def _shown(line: bytes) -> str:
    return plain_text(line.decode(errors="replace"), STDERR_WIDTH)


@asynccontextmanager
async def open_process(parameters: Any, words: LastWords, ended: Callable[[], None]) -> AsyncGenerator[Any]:
    """The streams to a server that is started by the SDK's StdioServerParameters, and stopped in the end.

    `ended` is called when nothing more will come from it. Raises OSError if it cannot be started.
    """
    import anyio
    from mcp.client.stdio import get_default_environment

    process = await asyncio.create_subprocess_exec(
        parameters.command,
        *parameters.args,
        env={**get_default_environment(), **(parameters.env or {})},
        cwd=parameters.cwd,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=MAX_ANSWER,
        start_new_session=True,  # its whole group can be ended, and an interrupt of the notebook does not reach it
    )
    assert process.stdin and process.stdout and process.stderr
    incoming, read = anyio.create_memory_object_stream[Any](0)
    write, outgoing = anyio.create_memory_object_stream[Any](0)
    with incoming, read, write, outgoing:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_receive, process.stdout, incoming, ended, words, parameters)
            tasks.start_soon(_send, process.stdin, outgoing, incoming, parameters)
            listening = asyncio.create_task(words.keep(process.stderr))
            try:
                yield read, write
            finally:
                with anyio.CancelScope(shield=True):
                    await _stop(process)
                    words.exit_code = process.returncode
                    await asyncio.wait({listening}, timeout=GRACE / 4)
                    listening.cancel()
                    _close_pipes(process)
                tasks.cancel_scope.cancel()


async def _receive(
    stdout: asyncio.StreamReader, incoming: Any, ended: Callable[[], None], words: LastWords, parameters: Any
) -> None:
    import anyio
    from mcp.shared.message import SessionMessage

    try:
        while line := await stdout.readline():
            if has_too_many_parts(line, MAX_COUNTED):
                words.complaint = f"\nIt wrote a message of {TOO_MANY}."
                return
            try:
                text = line.decode(parameters.encoding, parameters.encoding_error_handler)
                message: Any = SessionMessage(_read(text))
            except ValueError as error:  # the session is told, and goes on
                message = error
            await incoming.send(message)
    except ValueError:
        words.complaint = f"\nIt wrote a message of more than {MAX_ANSWER >> 20} MB."
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        return
    finally:
        ended()
        incoming.close()


def _read(line: str) -> Any:
    """The message of a line. Half a character, as JavaScript can write one, becomes "?"; an answer that is none of the
    protocol becomes an error, so that nobody waits for it. Raises ValueError for any other line."""
    from mcp_types import PARSE_ERROR, ErrorData, JSONRPCError, jsonrpc_message_adapter

    try:
        return jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError as error:
        try:
            data = json.loads(line)
            whole = json.dumps(data, ensure_ascii=False).encode(errors="replace")
        except (ValueError, RecursionError):
            raise error from None
        with suppress(ValueError):
            return jsonrpc_message_adapter.validate_json(whole, by_name=False)
        if not isinstance(data, dict) or "method" in data or type(data.get("id")) not in (int, str):
            raise
        said = f"its answer is no message of the protocol: {plain_text(line, 100).strip()}"
        return JSONRPCError(jsonrpc="2.0", id=data["id"], error=ErrorData(code=PARSE_ERROR, message=said))


async def _send(stdin: asyncio.StreamWriter, outgoing: Any, incoming: Any, parameters: Any) -> None:
    try:
        async for sent in outgoing:
            text = sent.message.model_dump_json(by_alias=True, exclude_unset=True)
            stdin.write(f"{text}\n".encode(parameters.encoding, parameters.encoding_error_handler))
            await stdin.drain()
    except OSError:  # it reads no more: for the session that is the end, even if it still runs
        incoming.close()


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Close its stdin, then end it and what it started, the harder way the longer it takes."""
    assert process.stdin
    process.stdin.close()
    if await _exits(process):
        return
    for kind in ("SIGTERM", "SIGKILL"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, getattr(signal, kind))  # a session's leader leads its group
        if await _exits(process):
            return


async def _exits(process: asyncio.subprocess.Process) -> bool:
    for _ in range(int(GRACE / 0.01)):  # not process.wait(): that waits for the ends of its pipes, too
        if process.returncode is not None:
            return True
        await asyncio.sleep(0.01)
    return False


def _close_pipes(process: asyncio.subprocess.Process) -> None:
    """Let go of pipes that something else holds open; asyncio has no public way."""
    transport = getattr(process, "_transport", None)
    if transport is not None:
        with suppress(PermissionError):
            transport.close()
