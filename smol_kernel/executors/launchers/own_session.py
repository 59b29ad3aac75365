"""Starts programs in sessions of their own, where no interrupt of this process' group reaches them.

■ and Ctrl-C go to the whole group, see kill(2). From its fork to its setsid(2) a new process belongs to it, and an
interrupt would end it there. It begins with SIGINT blocked, therefore; when it unblocks that it drops what came.
Used by `box`, `interpreter`, `plain` and `zygote`.
"""

from __future__ import annotations

import errno
import signal
import subprocess
from collections.abc import Sequence
from typing import Any

NO_ROOM = (errno.EMFILE, errno.ENFILE)
"""Numbers of the error that too many files are open."""
SHORT_OF = (errno.EAGAIN, errno.ENOMEM, *NO_ROOM)
"""Numbers of the error that a program was not started for want of processes, memory or files, whatever it is."""


def popen(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """The process; `options` are those of `subprocess.Popen`. To hear SIGINT it has to unblock it."""
    if not hasattr(signal, "pthread_sigmask"):
        return subprocess.Popen[bytes](command, start_new_session=True, **options)
    # In `signal` it is Python code, before which a KeyboardInterrupt can be raised.
    from _signal import pthread_sigmask  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

    before = pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
        return subprocess.Popen[bytes](command, start_new_session=True, **options)
    finally:
        pthread_sigmask(signal.SIG_SETMASK, before)


def output(command: Sequence[str], seconds: float, **options: Any) -> bytes:
    """What the program has put out when it ends, within so long. Raises OSError or subprocess.SubprocessError."""
    with popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as process:
        try:
            said, complaint = process.communicate(timeout=seconds)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, said, complaint)
    return said
