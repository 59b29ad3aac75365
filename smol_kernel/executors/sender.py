"""ipykernel's thread that sends what an action puts out, made safe against interrupts and finalizers.

Travels into the child as source, for `child.py`; needs the standard library and what ipykernel brings.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


def make_safe(sender: Any) -> None:
    """Mend an IOPubThread."""
    _tell_alive(sender.thread)
    schedule: Callable[[Callable[[], Any]], None] = sender.schedule

    def schedule_safely(work: Callable[[], Any]) -> None:
        """The thread wakes itself by its loop. By a pipe, as others do, it would wait for ever where that is full: only
        it reads it, and the garbage collector runs finalizers there that write. Nor would it have one, and lose what it
        is to send, where the action has all the files open that it may."""
        if threading.get_ident() != sender.thread.ident:
            schedule(work)
            return
        sender._events.append(work)
        sender.io_loop.asyncio_loop.call_soon_threadsafe(sender._handle_event, None)

    sender.schedule = schedule_safely


def tell_whoever_hears(sender: Any, tell: Callable[[Any], Any]) -> None:
    """`tell`, which sends something by a socket; and do so again when somebody subscribes, to whom that was lost."""
    welcome: Callable[[str], None] = getattr(sender, "_send_welcome_message", lambda _: None)  # since ipykernel 7.2

    def welcome_and_tell(subscription: str) -> None:
        welcome(subscription)
        tell(sender.socket)  # this is its thread

    sender._send_welcome_message = welcome_and_tell
    tell(sender.background_socket)


def _tell_alive(thread: threading.Thread) -> None:
    """Before Python 3.13 an exception in the middle of `is_alive`, from a signal's handler, marks a thread as ended for
    good (what bpo-45274 added to `_wait_for_tstate_lock`). ipykernel then sends from two threads on one socket."""
    lock = getattr(thread, "_tstate_lock", None)
    if lock is not None:
        thread.is_alive = lambda: not thread._is_stopped and lock.locked()  # type: ignore[attr-defined]
