"""The event loop on which async tools run: one for the whole process, so that what is bound to a loop, such as an HTTP
client, works in all calls. `bridge` waits here, in a thread of the pool.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

from smol_kernel.executors.launchers.own_lock import own_lock
from smol_kernel.executors.tool_body import tool_body
from smol_kernel.waits import result

_lock = own_lock()
_loops: dict[int, tuple[asyncio.AbstractEventLoop, threading.Thread]] = {}
_depth: ContextVar[int] = ContextVar("smol_async_depth", default=0)
"""How many async tools the caller is within. One that runs an agent may hold up its loop: the agent's own async tools
need another."""


def wait(awaitable: Awaitable[Any], started: Callable[[Future[Any]], object]) -> Any:
    """Its result, from the loop, where it runs in a copy of the caller's context.

    `started` is given the future, by which another thread can cancel it. An exception of the wait itself, such as
    KeyboardInterrupt, cancels it too.
    """
    future = asyncio.run_coroutine_threadsafe(_result(awaitable), _loop(_depth.get()))
    try:
        started(future)
        return result(future)
    finally:
        future.cancel()


async def _result(awaitable: Awaitable[Any]) -> Any:
    _depth.set(_depth.get() + 1)
    with tool_body():
        return await awaitable


def _run(loop: asyncio.AbstractEventLoop) -> None:
    while True:
        with suppress(SystemExit, KeyboardInterrupt):  # a tool raised it, which gets it as well; others go on
            loop.run_forever()


def _loop(depth: int) -> asyncio.AbstractEventLoop:
    """The loop; started at first use, and again in a process forked from this one, where its thread is gone."""
    with _lock:
        if depth not in _loops or not _loops[depth][1].is_alive():
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=_run, args=(loop,), name=f"smol async tools {depth}", daemon=True)
            thread.start()
            _loops[depth] = loop, thread
        return _loops[depth][0]
