"""The stream as those see it who add to it from afar, and those who read it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

from smol_kernel.events.base import Event
from smol_kernel.signals import failures, program_handlers

_listener: ContextVar[Callable[[Event], object] | None] = ContextVar("smol_listener", default=None)
_call: ContextVar[str | None] = ContextVar("smol_call", default=None)


def emit(event: Event) -> None:
    """Add `event` to the stream of the run that the caller works for, from any thread with its context.

    Tools and models call it for what happens meanwhile. Outside a run nothing happens. Raises TypeError for what is no
    event.
    """
    if not isinstance(cast("Any", event), Event):
        raise TypeError(f"emit() takes an event, such as ToolProgress(text=…), not {event!r:.80}")
    listener = _listener.get()
    if listener is not None:
        listener(event)


def is_heard() -> bool:
    """Whether the caller works for a run, which has in its stream what is emitted."""
    return _listener.get() is not None


def current_call() -> str | None:
    """Id of the tool call in which the caller runs, as its ToolCalled has it; None outside a tool."""
    return _call.get()


@contextmanager
def listening(listener: Callable[[Event], object], call: str | None = None) -> Generator[None]:
    """Have `listener` called with what is emitted in this context; `call` is the id of the tool call it is made for."""
    token, call_token = _listener.set(listener), _call.set(call or _call.get())
    try:
        yield
    finally:
        _call.reset(call_token)
        _listener.reset(token)


def watched(events: Iterable[Event], reader: Callable[[Event], object]) -> Iterator[Event]:
    """Pass `events` on, each shown to `reader` first.

    A reader that raises is left out from then on, with a RuntimeWarning: it never ends a run. KeyboardInterrupt in it
    does, what a handler of a signal raises, and closing this iterator: `events` are closed then.
    """
    broken = False
    try:
        for event in events:
            if not broken:
                handlers = program_handlers()
                try:
                    reader(event)
                except failures(handlers) as error:  # boundary: a reader of events
                    broken = True
                    warnings.warn(f"{reader!r} cannot show this run any more: {error!r}", RuntimeWarning, stacklevel=2)
            yield event
    finally:
        if isinstance(events, Generator):
            events.close()
