"""Boxed children from a zygote: a process that has imported what a kernel needs, and forks one for each. `box` asks it.

A zygote costs a second of processor time, so it is started once a host has had two children; at the first one, where
more are to be expected (`expect`: in a notebook), or where many come at once. It serves one interpreter and its
environment, and is given up when what is installed changes, or what is mounted. Where there is none, or SMOL_ZYGOTE is
"off", a child is a Python started afresh; its box is the same. `zygote_main` is the process itself.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib.machinery import all_suffixes
from pathlib import Path

from smol_kernel.executors.child_modules import load_code
from smol_kernel.executors.launchers.plain import OPTIONS
from smol_kernel.executors.launchers.readable import readable

VARIABLE = "SMOL_ZYGOTE"
"""Set to "off" in the environment: no zygotes."""
MOST = 2
"""Zygotes of one host at once."""
ANSWER_SECONDS = 20.0
"""How long a zygote may take to fork; it may be importing something."""
LATE = ("PYTHONPATH", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy", "NO_PROXY")
"""Variables that a child has, and a zygote has not. Python itself would import from the folders of PYTHONPATH: a child
may be let write there, and a zygote stands outside of the boxes."""
NAMES = ("IPython", "ipykernel", "numpy", "pandas", "pyarrow", "sitecustomize", "traitlets", "usercustomize", "zmq")
"""Modules that a child of a zygote has from the environment."""
MAIN = str(Path(__file__).with_name("zygote_main.py"))

CROWD_SECONDS = 1.0
"""In which so many come as to be a crowd."""

_zygotes: dict[tuple[object, ...], Zygote] = {}
_lock = threading.Lock()
_given_up, _expected = threading.Event(), threading.Event()
_served: set[tuple[object, ...]] = set()
"""What there was a child for already."""
_came: dict[tuple[object, ...], list[float]] = {}
"""When those came that found no zygote ready."""
_failed: set[tuple[object, ...]] = set()
"""What a zygote could not begin for: the next one would fail as well."""


class ForkedProcess:
    """A process that a zygote has forked, in the form of `subprocess.Popen`, as far as `box` needs that.

    `descriptor` is its pidfd, `status` the pipe into which it writes its exit code; both stay the caller's to close.
    """

    def __init__(self, pid: int, descriptor: int, status: int) -> None:
        self.pid, self.descriptor, self._status = pid, descriptor, status
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code, as a shell would tell it; None while it runs."""
        if self._code is None and readable(self.descriptor, 0):
            told = os.read(self._status, 20) if readable(self._status, 0) else b""
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


class Zygote:
    """A zygote of the interpreter `python` with these variables. It is ready some time after it was started."""

    def __init__(self, python: str, environment: Mapping[str, str], watched: Sequence[str]) -> None:
        self._watched, self._stamp = watched, _stamp(watched)
        self._lock = threading.Lock()
        self.ready = False
        """Whether it can fork; it sees to that by itself."""
        self._needed: list[str] = []
        """Modules that its children have from the environment in any case."""
        self._host, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        life, self._life = os.pipe()
        try:
            self._process = subprocess.Popen(
                [
                    *(python, "-I", "-S", *(["-B"] if sys.dont_write_bytecode else []), MAIN),
                    str(there.fileno()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=dict(environment),
                pass_fds=[there.fileno(), life],
                start_new_session=True,
            )
            end_with_host(life, self._process.pid)
        except OSError:
            self._host.close()
            os.close(self._life)
            raise
        finally:
            there.close()
            os.close(life)
        with contextlib.suppress(OSError):  # it has ended already: `is_of_use` tells
            self._host.sendall(json.dumps({"modules": load_code(), "options": OPTIONS}).encode())

    def fork(self, descriptors: Sequence[int], status: int, folders: Iterable[str]) -> ForkedProcess | None:
        """A new process that has these descriptors; None if there can be none (yet), or if a child would have to import
        what it needs from one of `folders`."""
        with self._lock, contextlib.suppress(OSError, ValueError):  # the second: it has been closed
            if not self._is_ready() or has_one_of(folders, self._needed):
                return None
            rights = array.array("i", descriptors)
            self._host.sendmsg([b"fork"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            if not readable(self._host, ANSWER_SECONDS):
                self._process.kill()  # else its answer would be taken for that to another
                self._process.wait()
            text, given, _, _ = self._host.recvmsg(32, socket.CMSG_LEN(16), socket.MSG_CMSG_CLOEXEC)
            received = array.array("i")
            for _, _, data in given:
                received.frombytes(data)
            if text.isdigit() and len(received) == 1:
                return ForkedProcess(int(text), received[0], status)
        return None

    def wait(self, seconds: float) -> bool:
        """Wait until it can fork; whether it can."""
        with contextlib.suppress(OSError, ValueError):
            if not self.ready:
                readable(self._host, seconds)  # without the lock: others are to go the cold path
            with self._lock:
                return self._is_ready()
        return False

    def _is_ready(self) -> bool:
        if not self.ready and readable(self._host, 0):
            told = self._host.recv(1 << 16)
            self.ready = bool(told)  # else it has ended
            self._needed = json.loads(told or "[]")
        return self.ready

    @property
    def failed(self) -> bool:
        """Whether it ended by a fault of its own: this system does not let it be, or Python lacks what it needs."""
        return (self._process.poll() or 0) > 0

    def is_of_use(self) -> bool:
        """Whether it lives, and nothing was installed since it began."""
        return self._process.poll() is None and _stamp(self._watched) == self._stamp

    def close(self) -> None:
        """End it; its children live on."""
        with self._lock:
            self.ready = False
            self._host.close()
            os.close(self._life)
        self._process.wait()


def end_with_host(life: int, pid: int) -> None:
    """Have the system kill a process when this one ends, whatever either does: `life` is the read end of a pipe whose
    other end only this process holds. For F_SETSIG on a pipe see fcntl(2)."""
    fcntl.fcntl(life, fcntl.F_SETOWN, pid)
    fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)


def fork(
    python: str, environment: Mapping[str, str], packages: Sequence[str], descriptors: Sequence[int], status: int
) -> ForkedProcess | None:
    """A process forked by a zygote; None where there is none. `packages` are as of `prepare`. Of many that come at once
    those wait for one that come after the first few."""
    if not _can_serve(environment, packages):
        return None
    with _lock:
        key = _key(python, environment)
        zygote = _zygotes.get(key)
        if zygote is not None and not zygote.is_of_use():
            del _zygotes[key]
            _failed.update([key] if zygote.failed else [])
            threading.Thread(target=zygote.close, name="zygote", daemon=True).start()
            zygote = None
        in_crowd = (zygote is None or not zygote.ready) and _in_crowd(key)
        if in_crowd and zygote is None:
            zygote = _begun(key, python, environment, packages)
    if zygote is None:
        return None
    if in_crowd:
        zygote.wait(ANSWER_SECONDS)
    return zygote.fork(descriptors, status, _own_folders(environment, packages))


def _in_crowd(key: tuple[object, ...]) -> bool:
    """Whether so many have come just now that a zygote is there sooner than they are without."""
    now = time.monotonic()
    came = [each for each in _came.get(key, ()) if now - each < CROWD_SECONDS]
    _came[key] = [*came, now]
    return len(came) > (os.cpu_count() or 1)


def expect() -> None:
    """Have a zygote from the first child on: more will come."""
    _expected.set()


def prepare(python: str, environment: Mapping[str, str], packages: Sequence[str]) -> None:
    """Have a zygote for the children to come, if there is none; `packages` are the folders of what is installed."""
    if not _can_serve(environment, packages):
        return
    with _lock:
        key = _key(python, environment)
        first = key not in _served
        _served.add(key)
        if key not in _zygotes and (_expected.is_set() or not first):
            _begun(key, python, environment, packages)


def _begun(
    key: tuple[object, ...], python: str, environment: Mapping[str, str], packages: Sequence[str]
) -> Zygote | None:
    """A new zygote; None if there can be none."""
    if key in _failed:
        return None
    with contextlib.suppress(OSError):
        while len(_zygotes) >= MOST:
            _zygotes.pop(next(iter(_zygotes))).close()
        if not _zygotes:
            atexit.register(_close_all, os.getpid())
        _zygotes[key] = Zygote(python, _early(environment), packages)
        return _zygotes[key]
    return None


def wait(seconds: float) -> bool:
    """Wait until the zygotes of this host can fork; whether there are any, and all can."""
    with _lock:
        there = list(_zygotes.values())
    return bool(there) and all(each.wait(seconds) for each in there)


def _close_all(host: int) -> None:
    """At the end of the host, unless this is a process that was forked from it."""
    if os.getpid() == host:
        for each in _zygotes.values():
            each.close()
        _zygotes.clear()


def give_up() -> bool:
    """End all zygotes of this host, and have none any more; whether there were any."""
    with _lock:
        there = list(_zygotes.values())
        _zygotes.clear()
        if there:
            _given_up.set()
    for each in there:
        each.close()
    return bool(there)


def _can_serve(environment: Mapping[str, str], packages: Sequence[str]) -> bool:
    """Whether there may be a zygote for these variables: not where PYTHONPATH leads to another of what it imports."""
    if os.environ.get(VARIABLE, "").strip().lower() in ("off", "0", "false", "no") or _given_up.is_set():
        return False
    return not has_one_of(_own_folders(environment, packages), NAMES)


def _own_folders(environment: Mapping[str, str], packages: Sequence[str]) -> set[str]:
    """Folders of PYTHONPATH that hold other things than what is installed."""
    return {*filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))} - {*packages}


def has_one_of(folders: Iterable[str], modules: Iterable[str]) -> bool:
    """Whether one of these modules is found first in one of these folders, which come first on a path."""
    names = {name + end for name in modules for end in ("", *all_suffixes())}
    for folder in folders:
        with contextlib.suppress(OSError):
            if not names.isdisjoint(os.listdir(folder)):
                return True
    return False


def _key(python: str, environment: Mapping[str, str]) -> tuple[object, ...]:
    """What a zygote is for; a host that was forked itself has no part in its parent's."""
    return os.getpid(), python, frozenset(_early(environment).items())


def _early(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a zygote has."""
    return {name: value for name, value in environment.items() if name not in LATE}


def _stamp(folders: Sequence[str]) -> list[object]:
    """What changes when something is installed, or mounted: a zygote knows the mounts that were there when it began."""
    found: list[object] = []
    for folder in folders:
        try:
            found.append(os.stat(folder).st_mtime_ns)
        except OSError:
            found.append(None)
    with contextlib.suppress(OSError):
        found.append(Path("/proc/self/mountinfo").read_bytes())
    return found
