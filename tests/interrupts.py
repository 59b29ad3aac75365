"""Interrupts a piece of work at any point where CPython runs the handlers of signals, see test_interrupted_anywhere."""

from __future__ import annotations

import sys


def interrupted(work, number):
    """Whether an interrupt came to the work in this process: it comes at the point of this number, if there is one."""
    left = number

    def profile(frame, event, arg):
        nonlocal left
        left -= event in ("call", "c_return")
        if not left:
            sys.setprofile(None)
            raise KeyboardInterrupt

    try:
        sys.setprofile(profile)
        work()
    except KeyboardInterrupt:
        pass
    finally:
        sys.setprofile(None)
    return left <= 0
