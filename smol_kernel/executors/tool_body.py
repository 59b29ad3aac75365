"""The code of a tool, which may raise anything, and do anything in this process: what of that is not the tool's to do.

Its errors are shown to the model. But what a handler of a signal raises while a tool runs is meant for the program, as
SIGTERM is; and a process that was forked in a tool is no second host of the run.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager

from smol_kernel.signals import Handler, installed, raised_by


def ends_the_run(error: BaseException, handlers: list[Handler]) -> bool:
    """Whether `error`, which came in a call on the thread of the run, is no failure of the tool: KeyboardInterrupt, or
    what one of `handlers` raised, the program's from before the call, or any of a signal's to end the program, such as
    SystemExit. Libraries have limits of time, too, that are no Exception: those are the tool's."""
    if isinstance(error, Exception):
        return raised_by(handlers, error)
    return isinstance(error, KeyboardInterrupt) or _comes_of_a_signal(error)


def _comes_of_a_signal(error: BaseException) -> bool:
    """Whether a frame that it left is one of a handler: of one that is installed, or it was given the frame before it,
    as handlers are (one may take itself out before it raises)."""
    codes = {handler.function.__code__ for handler in installed()}
    before = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code in codes:
            return True
        for held in frame.f_locals.values() if before is not None else ():
            if held is before or (isinstance(held, tuple) and any(each is before for each in held)):  # *arguments
                return True
        before = frame
    return False


@contextmanager
def tool_body() -> Generator[None]:
    """Around a tool's code, and nothing else. A process that was forked in it ends where the code does."""
    process = os.getpid()
    try:
        yield
    except BaseException as error:
        if os.getpid() != process:
            _end_process(error)
        raise
    if os.getpid() != process:
        _end_process(None)


def _end_process(error: BaseException | None) -> None:
    """As Python would after its last line, but for what is to be done at exit: that is the host's."""
    status = 0 if error is None else 1
    try:
        if isinstance(error, SystemExit):
            if error.code is None or isinstance(error.code, int):
                status = error.code or 0
            else:
                print(error.code, file=sys.stderr)
        elif error is not None:
            traceback.print_exception(type(error), error, error.__traceback__)
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    finally:
        os._exit(status & 0xFF)
