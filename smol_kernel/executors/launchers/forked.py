"""A process that a zygote has forked, in the form of `subprocess.Popen`, as far as `box` needs that."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess

from smol_kernel.executors.launchers.lines import Lines
from smol_kernel.executors.launchers.readable import readable


class ForkedProcess:
    """`descriptor` is its pidfd, `lines` are what it has of its host, and are closed with it. `close` is for one that
    nobody has used."""

    def __init__(self, pid: int, descriptor: int, lines: Lines) -> None:
        self.pid, self.descriptor, self.lines = pid, lines.keep(descriptor), lines
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code, as a shell would tell it; None while it runs."""
        if self._code is None and readable(self.descriptor, 0):
            status = self.lines.status
            told = os.read(status, 20) if readable(status, 0) else b""
            self._code = int(told) if told.isdigit() else 128 + signal.SIGKILL
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises subprocess.TimeoutExpired."""
        if not readable(self.descriptor, timeout):
            raise subprocess.TimeoutExpired("a boxed child", timeout or 0.0)
        return self.poll() or 0

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.descriptor, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """End it, with which all ends that came of it, and free everything."""
        self.kill()
        self.wait()
        self.lines.close()
