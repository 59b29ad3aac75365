"""Boxed children from a zygote: a process that has imported what a kernel needs, and forks one for each. `box` asks it.

A zygote costs a second of processor time, so it is started once a host has had two children; at the first one, where
more are to be expected (`expect`: in a notebook), or where many come at once. It serves one interpreter and its
environment, and is given up when what is installed changes, or what is mounted. It forks one child ahead, see `spare`.
Where there is none, or SMOL_ZYGOTE is "off", a child is a Python started afresh; its box is the same. `zygote_main` is
the process itself.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from smol_kernel.executors.launchers.boot_calls import end_with_host
from smol_kernel.executors.launchers.child_modules import load_code
from smol_kernel.executors.launchers.forked import ForkedProcess
from smol_kernel.executors.launchers.interpreter import LIBRARIES, has_one_of, is_still_safe
from smol_kernel.executors.launchers.lines import Lines
from smol_kernel.executors.launchers.own_lock import own_lock
from smol_kernel.executors.launchers.own_session import popen
from smol_kernel.executors.launchers.plain import OPTIONS
from smol_kernel.executors.launchers.project_path import VARIABLE as PROJECT_PATH
from smol_kernel.executors.launchers.readable import readable
from smol_kernel.executors.launchers.spare import Spare
from smol_kernel.memory.switch import is_on

VARIABLE = "SMOL_ZYGOTE"
"""Set to "off" in the environment: no zygotes."""
MOST = 2
"""Zygotes of one host at once."""
LOOK_SECONDS = 0.1
"""Between two looks at what it has said: another thread may have taken that."""
RESTED = b"rested"
"""What it says once it has imported everything, see `zygote_main`."""
ANSWER_SECONDS = 20.0
"""How long a zygote may take to fork; it may be importing something."""
_PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy", "NO_PROXY")
LATE = ("PYTHONPATH", PROJECT_PATH, *_PROXIES)
"""Variables that a child has, and a zygote has not. Python itself would import from the folders of PYTHONPATH: a child
may be let write there, and a zygote stands outside of the boxes."""
NAMES = ("IPython", "ipykernel", "numpy", "pandas", "pyarrow", "sitecustomize", "traitlets", "usercustomize", "zmq")
"""Modules that a child of a zygote has from the environment."""
MAIN = str(Path(__file__).with_name("zygote_main.py"))

CROWD_SECONDS = 1.0
"""In which so many come as to be a crowd."""

_zygotes: dict[tuple[object, ...], Zygote] = {}
_lock = own_lock()
_given_up, _expected = threading.Event(), threading.Event()
_served: set[tuple[object, ...]] = set()
"""What there was a child for already."""
_came: dict[tuple[object, ...], list[float]] = {}
"""When those came that found no zygote ready."""
_missed = 0
"""How many in a row did not come up."""
_failed: set[tuple[object, ...]] = set()
"""What a zygote could not begin for: the next one would fail as well."""


class Zygote:
    """A zygote of the interpreter `python` with these variables. It is ready some time after it was started."""

    def __init__(self, python: str, environment: Mapping[str, str], watched: Sequence[str]) -> None:
        self._watched, self._stamp = watched, _stamp(watched)
        self.libraries = environment.get(LIBRARIES, "")
        self._lock = threading.Lock()
        self.ready = False
        """Whether it can fork; it sees to that by itself."""
        self._began = False
        self._needed: list[str] = []
        """Modules that its children have from the environment in any case."""
        self._rested = False
        """Whether it has imported what it imports in quiet."""
        self.spare = Spare(self._fork_ahead)
        self._host, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        life, self._life = os.pipe()
        try:
            self._process = popen(
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

    def fork(self, early: Mapping[str, object], folders: Iterable[str]) -> ForkedProcess | None:
        """A new process that begins with these settings, or one that has; None if there can be none (yet), or if a
        child would have to import what it needs from one of `folders`. Raises OSError if too many files are open."""
        with self._lock, contextlib.suppress(ValueError):  # it has been closed
            if self._is_ready() and not has_one_of(folders, self._needed):
                return self.spare.take(early) or self._forked(early)
        return None

    def _fork_ahead(self, early: Mapping[str, object]) -> ForkedProcess | None:
        """One for later, once everything is imported."""
        with contextlib.suppress(OSError, ValueError):  # it has been closed
            while not self._rested and self._process.poll() is None:
                readable(self._host, LOOK_SECONDS)
                self.wait(0)
            with self._lock:
                return self._forked(early) if self._rested and self._is_ready() else None
        return None

    def _forked(self, early: Mapping[str, object]) -> ForkedProcess | None:
        lines, answer = Lines(), None
        try:
            lines.control.send(json.dumps({**early, **lines.early, "bubblewrap": None}).encode())
            socket.send_fds(self._host, [b"fork"], [lines.plan, *lines.descriptors])
            lines.started()
            while answer is None and self.ready:
                if not readable(self._host, ANSWER_SECONDS):
                    self._process.kill()  # else its answer would be taken for that to another
                    self._process.wait()
                answer = self._hear()
        except (OSError, ValueError):  # it has been closed, or there is no room for a descriptor
            pass
        except BaseException:
            self._process.kill()  # as above
            raise
        finally:
            lines.started()
            if answer is None:
                lines.close()
        return None if answer is None else ForkedProcess(*answer, lines)

    def wait(self, seconds: float) -> bool:
        """Wait until it can fork; whether it can."""
        deadline = time.monotonic() + seconds
        with contextlib.suppress(OSError, ValueError):
            while not self.ready and self._process.poll() is None and (left := deadline - time.monotonic()) > 0:
                readable(self._host, min(left, LOOK_SECONDS))  # without the lock: others are to go the cold path
                with self._lock:
                    self._is_ready()
            with self._lock:
                return self._is_ready()
        return False

    def _is_ready(self) -> bool:
        while readable(self._host, 0):
            self._hear()
            if not self.ready:  # it has ended
                return False
        return self.ready

    def _hear(self) -> tuple[int, int] | None:
        """Take what it says: that it can fork, that it has imported everything, or which process it has forked. That is
        what it gives."""
        text, given = b"", list[tuple[int, int, bytes]]()
        with contextlib.suppress(ConnectionError):  # it has ended
            text, given, _, _ = self._host.recvmsg(1 << 16, socket.CMSG_LEN(16), socket.MSG_CMSG_CLOEXEC)
        received = array.array("i")
        for _, _, data in given:
            received.frombytes(data)
        if text.isdigit():
            if not received:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return int(text), received[0]
        if text == RESTED:
            self._rested = True
        else:
            self.ready, self._needed = bool(text), json.loads(text or b"[]")
            self._began |= self.ready
        return None

    @property
    def failed(self) -> bool:
        """Whether it ended by a fault of its own before it could fork: this system does not let it be, or Python lacks
        what it needs."""
        return not self._began and (self._process.poll() or 0) > 0

    def is_of_use(self) -> bool:
        """Whether it lives, and nothing was installed since it began."""
        return self._process.poll() is None and _stamp(self._watched) == self._stamp

    def close(self) -> None:
        """End it; its children live on, save the one that nobody has."""
        self._process.kill()  # a process forked from this one may hold its lines open as well
        self.spare.close()
        with self._lock:
            self.ready = False
            self._host.close()
            os.close(self._life)
        self._process.wait()


def fork(
    python: str,
    environment: Mapping[str, str],
    packages: Sequence[str],
    first: Sequence[str],
    early: Mapping[str, object],
) -> ForkedProcess | None:
    """A process forked by a zygote; None where there is none. `packages` and `first` are as of `prepare`, `early` the
    settings that it begins with. Of many that come at once those wait for one that come after the first few. Raises
    OSError."""
    if not _can_serve(first):
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
    return zygote.fork(early, first)


def let_go_of_unsafe() -> None:
    """Close those that load libraries from where a child may write by now."""
    with _lock:
        _forget_others()
        unsafe = [_zygotes.pop(key) for key, each in [*_zygotes.items()] if not is_still_safe(each.libraries)]
    for each in unsafe:
        each.close()


def _in_crowd(key: tuple[object, ...]) -> bool:
    """Whether so many have come just now that a zygote is there sooner than they are without."""
    now = time.monotonic()
    came = [each for each in _came.get(key, ()) if now - each < CROWD_SECONDS]
    _came[key] = [*came, now]
    return len(came) > (os.cpu_count() or 1)


def expect() -> None:
    """Have a zygote from the first child on: more will come."""
    _expected.set()


def prepare(
    python: str,
    environment: Mapping[str, str],
    packages: Sequence[str],
    first: Sequence[str],
    early: Mapping[str, object] | None,
) -> None:
    """Have a zygote for the children to come, if there is none, and one child forked ahead that begins with these
    settings (None: none); `packages` are the folders of what is installed, `first` those in which a child looks before
    them."""
    if not _can_serve(first):
        return
    with _lock:
        key = _key(python, environment)
        has_one = key in _served
        _served.add(key)
        if key not in _zygotes and (_expected.is_set() or has_one):
            _begun(key, python, environment, packages)
        if key in _zygotes and early is not None:
            _zygotes[key].spare.want(early)


def _begun(
    key: tuple[object, ...], python: str, environment: Mapping[str, str], packages: Sequence[str]
) -> Zygote | None:
    """A new zygote; None if there can be none."""
    if key in _failed or not is_still_safe(environment.get(LIBRARIES, "")):
        return None
    _forget_others()
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
    there = _of_use()
    return bool(there) and all(each.wait(seconds) for each in there)


def wait_for_spares(seconds: float) -> bool:
    """Wait until those that want one have forked one child ahead; whether there are any, and all have."""
    there = [each for each in _of_use() if each.spare.is_wanted()]
    return bool(there) and all(each.spare.wait(seconds) for each in there)


def _forget_others() -> None:
    """In a process that was forked from a host, let go of what is that one's, and end none of it."""
    for key in [key for key in _zygotes if key[0] != os.getpid()]:
        del _zygotes[key]


def _of_use() -> list[Zygote]:
    with _lock:
        _forget_others()
        return [each for each in _zygotes.values() if each.is_of_use()]


def _close_all(host: int) -> None:
    """At the end of the host, unless this is a process that was forked from it."""
    if os.getpid() == host:
        for each in _zygotes.values():
            each.close()
        _zygotes.clear()


def are_any() -> bool:
    """Whether this host has zygotes, or had one that has just ended."""
    with _lock:
        _forget_others()
        return bool(_zygotes)


def give_up() -> None:
    """End all zygotes of this host, and have none any more."""
    with _lock:
        _forget_others()
        there = list(_zygotes.values())
        _zygotes.clear()
        _given_up.set()
    for each in there:
        each.close()


def told(came_up: bool) -> None:
    """Take note of whether a child that was forked here came up. If a second one in a row does not it is for good: the
    first may have been given too little, or was ended by somebody."""
    global _missed
    with _lock:
        _missed = 0 if came_up else _missed + 1
        hopeless = _missed > 1
    if hopeless:
        give_up()


def _can_serve(first: Iterable[str]) -> bool:
    """Whether there may be a zygote: not where a child would find another of what it imports in a folder that comes
    first, by PYTHONPATH or as the user's own site-packages."""
    if not is_on(VARIABLE, unset=True) or _given_up.is_set():
        return False
    return not has_one_of(first, NAMES)


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
