"""The portal: one thread with an event loop, in which the connections of one MCP client live from first to last.

`Server` is what tools and the client hold: calls from any thread, one connection kept, opened again if it was lost.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import functools
import logging
import queue
import threading
import weakref
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from smol_kernel.errors import MCPServerError
from smol_kernel.events import ToolProgress, emit
from smol_kernel.tools.mcp_connection import Connection, Mailbox, SessionOver
from smol_kernel.tools.mcp_servers import ServerSpec
from smol_kernel.waits import arrival

CLOSE_TIMEOUT = 10.0
"""Seconds for all servers together to end; the SDK ends a stubborn process after 6."""

_T = TypeVar("_T")


@dataclass
class _State:
    """What the portal's thread knows. It must not know the Portal: that one's end is this one's."""

    loop: asyncio.AbstractEventLoop | None = None
    stop: asyncio.Event | None = None
    closed: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    ready: threading.Event = field(default_factory=threading.Event)
    calls: set[asyncio.Task[Any]] = field(default_factory=set)
    connections: dict[asyncio.Task[None], Connection] = field(default_factory=dict)


class Portal:
    """The thread. It ends with `close()`, with the interpreter, and when nobody holds the portal any more."""

    def __init__(self) -> None:
        _prepare()
        _portals.add(self)
        self._state = _State()
        self._thread = threading.Thread(target=_run, args=(self._state,), name="mcp portal", daemon=True)
        self._thread.start()
        self._state.ready.wait()
        self._finalizer = weakref.finalize(self, _stop, self._state)
        self._finalizer.atexit = False

    @property
    def closed(self) -> bool:
        """True once no more work is taken."""
        return self._state.closed

    def start(self, work: Coroutine[Any, Any, _T]) -> concurrent.futures.Future[_T]:
        """Begin `work` in the portal's loop. Raises MCPServerError if it is closed."""
        state = self._state
        with state.lock:
            if state.closed or state.loop is None:
                work.close()
                raise MCPServerError("the MCP client is not connected any more: call its connect() first")
            return asyncio.run_coroutine_threadsafe(_tracked(state, work), state.loop)

    async def connect(self, spec: ServerSpec, timeout: float | None) -> Connection:
        """Open a connection that the portal closes at its end. To be awaited within the portal."""
        connection = Connection(spec)
        connections = self._state.connections
        task = asyncio.create_task(connection.run())
        connections[task] = connection
        task.add_done_callback(connections.pop)
        await connection.open(timeout)
        return connection

    def stop(self) -> None:
        """Have all calls and connections end, then the thread; not waiting for it."""
        _stop(self._state)

    def close(self) -> None:
        """The same, waiting at most CLOSE_TIMEOUT seconds."""
        self.stop()
        self._thread.join(CLOSE_TIMEOUT + 1)


_portals: weakref.WeakSet[Portal] = weakref.WeakSet()


@functools.cache
def _prepare() -> None:
    """What is done once, for the first portal."""
    atexit.register(_close_all)
    logging.getLogger("mcp").addHandler(logging.NullHandler())  # or it writes to the notebook's stderr


def _close_all() -> None:
    for portal in list(_portals):
        portal.stop()  # all first: they end side by side
    for portal in list(_portals):
        portal.close()


def _stop(state: _State) -> None:
    with state.lock:
        if not state.closed and state.loop is not None and state.stop is not None:
            state.loop.call_soon_threadsafe(state.stop.set)
        state.closed = True


def _run(state: _State) -> None:
    asyncio.run(_live(state))


async def _live(state: _State) -> None:
    state.loop, state.stop = asyncio.get_running_loop(), asyncio.Event()
    state.ready.set()
    await state.stop.wait()
    calls = list(state.calls)
    for call in calls:
        call.cancel()
    if calls:
        await asyncio.wait(calls, timeout=CLOSE_TIMEOUT / 4)
    connections = dict(state.connections)
    for connection in connections.values():
        connection.stop()
    if connections:
        await asyncio.wait(connections, timeout=CLOSE_TIMEOUT * 3 / 4)


async def _tracked(state: _State, work: Coroutine[Any, Any, _T]) -> _T:
    task = asyncio.current_task()
    assert task is not None
    state.calls.add(task)
    try:
        return await work
    finally:
        state.calls.discard(task)


class Server:
    """One server of a client, over all its connections."""

    def __init__(self, spec: ServerSpec, connect_timeout: float | None, call_timeout: float | None) -> None:
        self.spec = spec
        self._connect_timeout, self._call_timeout = connect_timeout, call_timeout
        self._portal: Portal | None = None
        self._connection: Connection | None = None
        self._opening = asyncio.Lock()

    @property
    def name(self) -> str:
        """What the server calls itself."""
        return (self._connection.name if self._connection else "") or self.spec.label

    async def open(self, portal: Portal) -> list[Any]:
        """Connect through `portal`, and give the server's tools, of the SDK's type. Runs within the portal."""
        self._portal, self._connection, self._opening = portal, None, asyncio.Lock()
        return (await self._connected()).tools

    def call(self, tool: str, shown: str, arguments: dict[str, Any]) -> Any:
        """The result of a call, of the SDK's type. From any thread; progress is emitted on that thread.

        `shown` is the tool's name in events. Raises MCPServerError.
        """
        if self._portal is None:
            raise MCPServerError("the MCP client is not connected: call its connect() first")
        mailbox: Mailbox = queue.SimpleQueue()
        future = self._portal.start(self._call(tool, arguments, mailbox))
        future.add_done_callback(lambda _: mailbox.put(None))
        try:
            while (note := arrival(mailbox)) is not None:
                text, done, total = note
                emit(ToolProgress(tool=shown, text=text, done=done, total=total))
            return future.result()
        except concurrent.futures.CancelledError:
            raise MCPServerError(
                f"MCP server {self.spec.label}, tool {tool!r}: disconnected during the call; whether it had its "
                "effect is not known"
            ) from None
        finally:
            future.cancel()

    async def _call(self, tool: str, arguments: dict[str, Any], mailbox: Mailbox) -> Any:
        with suppress(SessionOver):
            return await (await self._connected()).call(tool, arguments, mailbox, self._call_timeout)
        try:
            return await (await self._connected()).call(tool, arguments, mailbox, self._call_timeout)
        except SessionOver as error:
            raise MCPServerError(str(error)) from error

    async def _connected(self) -> Connection:
        async with self._opening:
            if self._connection is None or self._connection.over.is_set():
                assert self._portal is not None
                self._connection = await self._portal.connect(self.spec, self._connect_timeout)
            return self._connection
