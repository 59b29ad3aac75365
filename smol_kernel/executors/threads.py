"""A run in a thread of its own, awaited by asyncio. What is left alone there is stopped, and its end waited for."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from typing import Any

from smol_kernel.events import Event

BEAT = 0.02
"""Seconds between two attempts to stop a thread that nobody waits for any more: one may come before there is a run."""


async def in_thread(work: Callable[[], Any], stop: Callable[[], object]) -> Any:
    """What `work` returns, run in a thread with the caller's context. Cancelled, it calls `stop` until `work` ends.

    What it raises is raised here, KeyboardInterrupt too, and never leaves the thread: a task that raises that one ends
    the event loop.
    """
    came: list[Any] = []
    ended = _begin(lambda: came.append(work()))
    try:
        await asyncio.wait({ended})
    finally:
        await _stopped(ended, stop)
    if (error := ended.result()) is not None:
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
        with closing(events):
            for event in events:
                put(arrivals.put_nowait, event)
                if left.is_set():
                    break

    ended = _begin(work)
    ended.add_done_callback(lambda _: arrivals.put_nowait(None))
    try:
        while (event := await arrivals.get()) is not None:
            yield event
        if (error := ended.result()) is not None:
            raise error
    finally:
        left.set()
        await _stopped(ended, stop)


def _begin(work: Callable[[], object]) -> asyncio.Future[BaseException | None]:
    """Run `work` in a new thread; what it raised is told when it has ended.

    Not in a thread of the loop's own pool: those are few, and what runs may wait for something that needs one as well.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[BaseException | None] = loop.create_future()

    def raised() -> BaseException | None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - the thread's edge: raised where it is awaited
            return error
        return None

    def run() -> None:
        with suppress(RuntimeError):  # the loop was closed: nobody waits
            loop.call_soon_threadsafe(ended.set_result, raised())

    threading.Thread(target=contextvars.copy_context().run, args=(run,), name="smol run").start()
    return ended


async def _stopped(ended: asyncio.Future[Any], stop: Callable[[], object]) -> None:
    """Call `stop` until the thread has ended, and wait for that, however often the one who waits is cancelled."""

    def again() -> None:
        if not ended.done():
            try:
                stop()
            finally:
                ended.get_loop().call_later(BEAT, again)  # by the loop: a task could be cancelled too

    again()
    cancelled: asyncio.CancelledError | None = None
    with nullcontext() if ended.done() else _shielded():
        while not ended.done():
            try:
                await asyncio.wait({ended})
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        raise cancelled


def _shielded() -> AbstractContextManager[Any]:
    """Where somebody uses anyio: its scopes cancel a task at every turn of the loop, unless it says that it waits."""
    scope = getattr(sys.modules.get("anyio"), "CancelScope", None)
    return nullcontext() if scope is None else scope(shield=True)
