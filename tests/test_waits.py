"""Waits that hear a Ctrl-C of which another thread is told, by which the main one is not woken."""

from __future__ import annotations

import asyncio
import queue
import signal
import sys
import threading
from concurrent.futures import Future
from contextlib import contextmanager
from traceback import walk_stack

import pytest

from smol_kernel import waits
from smol_kernel.executors import coroutines

WAIT = 60


@contextmanager
def pressed_while_it_waits(gives_up):
    """Ctrl-C, heard by another thread once this one waits; `gives_up` ends the wait of one that does not look up."""
    main, late = threading.get_ident(), threading.Timer(WAIT, gives_up)

    def press():
        while all(frame.f_code.co_filename != waits.__file__ for frame, _ in walk_stack(sys._current_frames()[main])):
            pass
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    late.start()
    threading.Thread(target=press, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        yield
    assert late.is_alive()
    late.cancel()


def test_for_what_arrives():
    arrivals = queue.SimpleQueue()
    with pressed_while_it_waits(lambda: arrivals.put(1)):
        waits.arrival(arrivals)
    arrivals.put(2)
    assert waits.arrival(arrivals) == 2


def test_for_what_a_future_comes_to():
    future = Future()
    with pressed_while_it_waits(lambda: future.set_result(1)):
        waits.result(future)
    future.set_exception(TimeoutError("its own"))
    with pytest.raises(TimeoutError, match="its own"):
        waits.result(future)


def test_for_a_change():
    change, now = threading.Condition(), []

    def come_true():
        with change:
            now.append(True)
            change.notify_all()

    with change, pressed_while_it_waits(come_true):
        waits.wait_for(change, lambda: bool(now))
    come_true()
    with change:
        waits.wait_for(change, lambda: bool(now))


def test_for_an_asynchronous_tool_which_is_cancelled():
    ended, begun = threading.Event(), []

    async def work():
        try:
            await asyncio.sleep(2 * WAIT)
        finally:
            ended.set()

    with pressed_while_it_waits(lambda: begun[0].cancel()):
        coroutines.wait(work(), begun.append)
    assert ended.wait(WAIT)
