"""A run in a thread of its own, awaited by asyncio. What is left alone there is stopped, and its end waited for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import closing
from typing import Any

from smol_kernel.events import Event

BEAT = 0.1
"""Seconds between two attempts to stop a thread that nobody waits for any more."""


async def in_thread(work: Callable[[], Any], stop: Callable[[], object]) -> Any:
    """What `work` returns, run in a thread with the caller's context. Cancelled, it calls `stop` until `work` ends.

    What it raises is raised here, KeyboardInterrupt too, and never leaves the thread: a task that raises that one ends
    the event loop.
    """
    came: list[Any] = []

    def kept() -> BaseException | None:
        try:
            came.append(work())
        except BaseException as error:  # noqa: BLE001 - the thread's edge: raised where it is awaited
            return error
        return None

    thread = asyncio.ensure_future(asyncio.to_thread(kept))
    try:
        error = await asyncio.shield(thread)
    finally:
        await _ended(thread, stop)
    if error is not None:
        raise error
    return came[0]


async def stream_in_thread(
    events: Generator[Event, None, None], stop: Callable[[], object]
) -> AsyncGenerator[Event, None]:
    """`events`, drawn in a thread with the caller's context. Closed, it calls `stop` until they end.

    What they raise is raised here, KeyboardInterrupt too, and never leaves the thread.
    """
    arrivals: asyncio.Queue[Any] = asyncio.Queue()
    put, left = asyncio.get_running_loop().call_soon_threadsafe, threading.Event()

    def work() -> None:
        end: BaseException | None = None
        try:
            with closing(events):
                for event in events:
                    put(arrivals.put_nowait, event)
                    if left.is_set():
                        break
        except BaseException as error:  # noqa: BLE001 - the thread's edge: raised where it is awaited
            end = error
        put(arrivals.put_nowait, end)

    thread = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        while isinstance(item := await arrivals.get(), Event):
            yield item
        await asyncio.wait({thread})  # it ends by itself: nothing is to be stopped, least of all another run
        if item is not None:
            raise item
    finally:
        left.set()
        await _ended(thread, stop)


async def _ended(thread: asyncio.Future[Any], stop: Callable[[], object]) -> None:
    while not thread.done():
        stop()
        await asyncio.wait({thread}, timeout=BEAT)
