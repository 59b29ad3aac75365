"""The plain launcher: a child without a box, a process with the user's own rights. `choose` calls it.

It talks over unix sockets in a short-lived folder that only the user can open.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from smol_kernel.errors import ConfigError, ExecutorError
from smol_kernel.executors.launchers.finalizer import Finalizer, close_all
from smol_kernel.executors.launchers.interpreter import as_started, own_environment
from smol_kernel.executors.launchers.memory_line import MemoryLine, memory_line
from smol_kernel.executors.launchers.own_session import popen
from smol_kernel.executors.launchers.project_path import with_project_path
from smol_kernel.executors.transports import Transport
from smol_kernel.executors.transports.zmq import ZmqTransport
from smol_kernel.memory.known_secrets import SECRET_NAME

PRELUDE = """\
import sys
sys.path[:] = [folder for folder in sys.path if folder]
import os, signal
if hasattr(signal, "pthread_sigmask"):
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, handler)
life, memory_line = int(sys.argv.pop(1)), int(sys.argv.pop(1))
def end_with_host():
    os.read(life, 1)
    os.killpg(0, signal.SIGKILL)
try:
    import fcntl
    fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
    import select
    poller = select.poll()
    poller.register(life, select.POLLIN)
    if poller.poll(0):
        end_with_host()
except (AttributeError, OSError):
    import threading
    threading.Thread(target=end_with_host, daemon=True).start()
sys.modules["debugpy"] = None
from ipykernel.kernelapp import IPKernelApp, launch_new_instance
IPKernelApp.memory_line = memory_line if memory_line >= 0 else None
launch_new_instance()
"""
"""What the child's Python runs first. `life` is the read end of a pipe whose other end only the host holds.

On Linux the system itself kills the child's process group when that end closes (F_SETSIG on a pipe, see fcntl(2)), even
while code of the child holds the interpreter lock; elsewhere a thread does, which such code can delay. The current
folder leaves the path until the kernel puts it back, lest a file there shadow a module the kernel imports. Without
debugpy a child starts in half the time.
"""

OPTIONS = (
    "--HistoryManager.enabled=False",
    "--Completer.use_jedi=False",
    "--IPKernelApp.log_level=CRITICAL",
    "--InteractiveShellApp.exec_PYTHONSTARTUP=False",
)
_HARMLESS = ("PWD", "OLDPWD")
_PASSWORD_IN_URL = re.compile(r"://[^/\s]*:[^/\s]*@")
_NOT_INHERITED = re.compile(r"JPY_|JUPYTERHUB_|PYTEST_|PYTHONSTARTUP$|PYTHONINSPECT$")
CHANNELS = ("shell", "iopub", "stdin", "control", "hb")
_MAX_PLACE = 100 - len("/smol-XXXXXXXX/k-1")
"""Bytes in the path of a folder in which the folder with the sockets can be."""


class PlainChild:
    """A started kernel process; its `transport` can be used at once, the sockets appear while it boots.

    `python` is the interpreter (None: the host's own), `cwd` the working folder (None: the host's). Raises ConfigError
    if one of them is not there.
    """

    loaded = False
    """It is a Python started afresh, which has none of our modules."""

    def __init__(
        self, python: str | Path | None = None, cwd: str | Path | None = None, notices: Sequence[str] = ()
    ) -> None:
        self.notices = list(notices)
        self._lock = threading.Lock()
        self._ended = False
        self._held: list[int] = []
        self._free = Finalizer(self, close_all, self._held)  # with the write end of its life line the child ends
        self.memory_line: MemoryLine | None = memory_line()
        self._folder = short_folder()
        try:
            self.connection = connection(str(self._folder / "k"))
            self._start(str(python or sys.executable), None if cwd is None else str(cwd))
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            if self.memory_line is not None:
                self.memory_line.close()
            self._free()
            raise
        try:
            descriptor = pid_descriptor(self._process.pid)
            self._held += [] if descriptor is None else [descriptor]
            self.transport: Transport = ZmqTransport(self.connection, descriptor, self.alive)
        except BaseException:
            self._end()
            raise

    def _start(self, python: str, cwd: str | None) -> None:
        file = self._folder / "connection.json"
        file.write_text(json.dumps(self.connection))
        line = self.memory_line.there.fileno() if self.memory_line else -1
        with open(self._folder / "stderr", "wb") as errors:
            read_end, life = os.pipe()
            self._held.append(life)
            try:
                self._process = popen(
                    self._command(python, [str(read_end), str(line), "-f", str(file), *OPTIONS]),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    cwd=cwd,
                    env=self._environment(cwd),
                    pass_fds=[each for each in (read_end, line) if each >= 0],
                )
            except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
                if cwd is not None and not os.path.isdir(cwd):
                    raise ConfigError(f"cwd {cwd!r} is not a folder; name one that exists") from None
                raise ConfigError(f"python {python!r} cannot be run ({error.strerror}); name an interpreter") from None
            finally:
                os.close(read_end)
                if self.memory_line is not None:
                    self.memory_line.started()

    def _command(self, python: str, arguments: list[str]) -> list[str]:
        """What to start: the interpreter with PRELUDE, which takes the arguments."""
        return [python, "-c", PRELUDE, *arguments]

    def _environment(self, cwd: str | None) -> dict[str, str]:
        whole = with_project_path(as_started(own_environment()), ["/"], (), os.path.realpath(cwd or "."))
        return child_environment(whole, self._folder)

    @property
    def pid(self) -> int:
        """Process id, which is also the id of the child's process group."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether the process still runs."""
        with self._lock:
            return not self._ended and _running(self._process)

    def ending(self) -> str:
        """How the process ended."""
        if not hasattr(os, "waitid"):
            return ""
        with contextlib.suppress(ChildProcessError):
            ended = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            if ended is not None:
                code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
                return f" ({ending(code)})"
        return ""

    def connected(self) -> None:
        """Remove the folder: open sockets do without, and nobody else can connect any more."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def refresh(self, action: bool) -> None:
        """Nothing to do: it sees the working folder itself."""

    def end_rehearsal(self, in_use: bool) -> bool:
        """It sees what it sees: without the box that Linux gives there is no rehearsal."""
        return True

    def last_words(self) -> str:
        """The end of what the process wrote to its standard error while it started."""
        with contextlib.suppress(OSError):
            return (self._folder / "stderr").read_bytes()[-2_000:].decode(errors="replace").strip()
        return ""

    def kill(self) -> None:
        """Kill the process group. What left the group by a session of its own is not found."""
        with self._lock:
            if not self._ended:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill the process group, wait for its end and free everything. After an interrupt it can be called again."""
        self.transport.close()
        self._end()

    def _end(self) -> None:
        self.kill()
        with self._lock:
            self._ended = True  # from here on the id may be another's
            self._process.wait()
            if self.memory_line is not None:
                self.memory_line.close()
        self._free()
        shutil.rmtree(self._folder, ignore_errors=True)


def child_environment(environment: dict[str, str], folder: Path) -> dict[str, str]:
    """The host's environment without variables that look like secrets by their name.

    Keys live in the host; this keeps them out of a child's sight, but it is no boundary: an unboxed child can read the
    user's files and the host's memory map as any process of the user can.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if name in _HARMLESS or not (SECRET_NAME.search(name) or _PASSWORD_IN_URL.search(value))
        if not _NOT_INHERITED.match(name)
    }
    return {
        **kept,
        "JPY_PARENT_PID": str(os.getpid()),
        "IPYTHONDIR": str(folder / "ipython"),  # a child starts the same whatever the user's own profile does
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }


def connection(ip: str) -> dict[str, Any]:
    """What a Jupyter connection file says of a kernel's sockets, IP-NUMBER each, with a new key."""
    ports = {f"{channel}_port": number for number, channel in enumerate(CHANNELS, 1)}
    return {
        "transport": "ipc",
        "ip": ip,
        "key": secrets.token_hex(32),
        "signature_scheme": "hmac-sha256",
        **ports,
    }


def short_folder() -> Path:
    """A new folder of mode 0700, its path without links: in /tmp where the usual place is gone, or has too long a path.
    That of a unix socket is limited to some 100 bytes.

    Raises ExecutorError where none can be made.
    """
    place = ""
    try:
        place = tempfile.gettempdir()  # found out once in the life of a process
        fits = os.path.isdir(place) and not _is_too_long(place)
        return Path(os.path.realpath(tempfile.mkdtemp(prefix="smol-", dir=place if fits else "/tmp")))
    except OSError as error:
        raise no_temporary_folder(error, place) from None


def _is_too_long(place: str) -> bool:
    return len(os.path.realpath(os.fsencode(place))) > _MAX_PLACE


def no_temporary_folder(error: OSError, place: str = "") -> ExecutorError:
    """What to tell where no temporary folder can be made, neither in the usual `place`, if there is one, nor in /tmp:
    read-only systems have none."""
    if place and not os.path.isdir(place):
        return ExecutorError(
            f"no child kernel can be started: the folder for temporary files, {place}, is gone, and /tmp cannot be "
            f"written ({error.strerror}). Make it again, or make /tmp writable"
        )
    if place and _is_too_long(place):
        return ExecutorError(
            f"no child kernel can be started: the path of the folder for temporary files, {place}, is too long for "
            f"sockets, and /tmp cannot be written ({error.strerror}). Set TMPDIR to a writable folder with a path of "
            f"{_MAX_PLACE} bytes at most, or make /tmp writable"
        )
    where = f", {place}" if place else ""
    return ExecutorError(
        f"no child kernel can be started: it needs a folder for temporary files{where} ({error.strerror}). Mount a "
        "writable one at /tmp, or set TMPDIR to one"
    )


def ending(code: int) -> str:
    """How a process ended whose exit code is this; below 0 the number of a signal."""
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


def pid_descriptor(pid: int) -> int | None:
    """A descriptor that is readable once the process has ended; None where the system has none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # not Linux, an old kernel, or forbidden
        return None


def _running(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process of ours runs. Does not reap it, where that can be had: so the id of its group stays its own."""
    if not hasattr(os, "waitid"):  # macOS
        return process.poll() is None
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False
