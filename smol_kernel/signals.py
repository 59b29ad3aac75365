"""What a handler of a signal raises is meant for the program, whatever code the signal met: a worker's limit of time,
say. Who calls code that may raise anything notes the handlers before, and asks what came whether it is of one.
"""

from __future__ import annotations

import functools
import importlib
import signal
import sys
import threading
import time
import traceback
from types import CodeType, FrameType, FunctionType, MethodType
from typing import Any, NamedTuple

_getsignal: Any = importlib.import_module("_signal").getsignal  # signal's own, with its enums, takes 30 times as long
_NUMBERS = [int(number) for number in signal.valid_signals()]
_TIMERS = {
    getattr(signal, name): getattr(signal, timer)
    for name, timer in (("SIGALRM", "ITIMER_REAL"), ("SIGVTALRM", "ITIMER_VIRTUAL"), ("SIGPROF", "ITIMER_PROF"))
    if hasattr(signal, timer)
}
"""Signals that a timer of this process sends."""

_EARLY = 0.1
"""By how many seconds a timer and the clock may differ."""


class Handler(NamedTuple):
    """A function that is written in Python, what it is called with before the signal's number, and when the timer
    is up that ran as this was noted, if its signal is a timer's."""

    number: int
    function: Any
    given: tuple[Any, ...]
    due: float = float("-inf")

    def is_due(self) -> bool:
        """Whether that time has come: a signal before it is of a timer that was set since then, not by the program."""
        return time.monotonic() >= self.due - _EARLY

    def ran_in(self, frame: FrameType) -> bool:
        """Whether `frame` is one of its own: other functions may have the same code, made in another call."""
        code: CodeType = self.function.__code__
        if frame.f_code is not code:
            return False
        cells = zip(code.co_freevars, self.function.__closure__ or (), strict=False)
        held = [(name, cell.cell_contents) for name, cell in cells if name in frame.f_locals]
        held += zip(code.co_varnames[: code.co_argcount], self.given, strict=False)
        return all(frame.f_locals.get(name, value) is value for name, value in held)


def installed() -> list[Handler]:
    """All that are there now."""
    there = [(number, handler) for number in _NUMBERS if callable(handler := _getsignal(number))]
    return [found for number, handler in there if (found := _in_python(number, handler)) is not None]


def program_handlers() -> list[Handler]:
    """Those that may raise on this thread from now on, and for the program: that of a timer's signal only if the timer
    runs, and once it is up, for it is there for whoever sets the timer, be it a tool."""
    if threading.current_thread() is not threading.main_thread():
        return []
    noted: list[Handler] = []
    for each in installed():
        if each.number not in _TIMERS:
            noted.append(each)
        elif left := signal.getitimer(_TIMERS[each.number])[0]:
            noted.append(each._replace(due=time.monotonic() + left))
    return noted


def raised_by(those: list[Handler], error: BaseException) -> bool:
    """Whether `error` came from one of them."""
    if not (due := [each for each in those if each.is_due()]):
        return False
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return any(handler.ran_in(frame) for frame in frames for handler in due)


def failures(those: list[Handler]) -> tuple[type[Exception], ...]:
    """For an `except`: any Exception, save one that came from one of `those`, which is the program's."""
    error = sys.exc_info()[1]
    return () if error is not None and raised_by(those, error) else (Exception,)


def _in_python(number: int, handler: Any) -> Handler | None:
    """What runs if `handler` is called: None where that is not written in Python, or not plain to see."""
    given: tuple[Any, ...] = ()
    for _ in range(20):
        if isinstance(handler, FunctionType):
            return Handler(number, handler, given)
        if isinstance(handler, functools.partial):
            handler, given = handler.func, (*handler.args, *given)
        elif isinstance(handler, MethodType):
            handler, given = handler.__func__, (handler.__self__, *given)
        elif isinstance(handler, staticmethod):
            handler = handler.__func__
        elif isinstance(call := type(handler).__call__, FunctionType):
            handler, given = call, (handler, *given)
        else:
            return None
    return None
