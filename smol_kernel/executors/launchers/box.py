"""The box on Linux: starts a child kernel that the operating system keeps from everything else. `choose` calls it.

The host makes the sockets and a description of what the child may see; `boot` builds that, and of it comes the kernel.
What comes back are descriptors: the first process of the box, the layer that holds the files the child made, and with a
list of allowed hosts the socket on which `proxy` answers.
"""

from __future__ import annotations

import array
import contextlib
import errno
import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

from smol_kernel.errors import BoxUnavailableError, ConfigError, ExecutorError
from smol_kernel.executors.launchers import zygote
from smol_kernel.executors.launchers.cgroup import Cgroup, delegated
from smol_kernel.executors.launchers.finalizer import close_all
from smol_kernel.executors.launchers.hints import hint_of_death
from smol_kernel.executors.launchers.interpreter import loading, straight
from smol_kernel.executors.launchers.lines import ARGUMENTS, CONNECTION_FILE, Lines
from smol_kernel.executors.launchers.mask_layer import MaskLayer, hide
from smol_kernel.executors.launchers.memory_line import MemoryLine
from smol_kernel.executors.launchers.no_box import no_box
from smol_kernel.executors.launchers.own_session import NO_ROOM, SHORT_OF, popen
from smol_kernel.executors.launchers.plain import ending, pid_descriptor
from smol_kernel.executors.launchers.process_tree import tree
from smol_kernel.executors.launchers.readable import readable
from smol_kernel.executors.launchers.settings import OPT_OUT, BoxSettings
from smol_kernel.executors.launchers.view import View, view
from smol_kernel.executors.launchers.working_folder import working_folder
from smol_kernel.executors.transports import Transport

BUILD_SECONDS = 30.0
"""How long the box may take to be built."""
REFRESH_SECONDS, LATE_SECONDS, SURE_SECONDS = 1.0, 0.05, 10.0
"""How long a box may take to forget what it knows of the working folder; where it was late before; and to do what must
be done."""
HIDDEN_AT_ONCE = 8
"""Paths that one message tells: of 4 KiB each, and 24 as JSON at worst, where a message holds 200."""
BOOT = str(Path(__file__).with_name("boot.py"))
KERNEL = Path(__file__).with_name("boxed_kernel.py")
EARLY = ("ids", "network", "seccomp")
"""Settings that a child of a zygote needs before it is told the others."""
SEEN = ("folder", "rehearsed", "veiled")
"""Those that the process outside the box needs, where another one has read them."""


class BoxedChild:
    """A started kernel process in a box of its own; its `transport` can be used at once.

    `python` is the interpreter (None: the host's own), `cwd` the working folder (None: the host's), `settings` what the
    child may have. Raises ConfigError if an interpreter or folder is not there, BoxUnavailableError if this system
    gives no boundary.
    """

    def __init__(self, python: str | Path | None, cwd: str | Path | None, settings: BoxSettings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._ended = False
        self.upper: int | None = None
        """Descriptor of the folder that holds what the child wrote in the working folder; None without one."""
        self.user_namespace_by = ""
        """Who made it: "bubblewrap", "unshare", or "nobody" where the box was built by root."""
        self.notices: list[str] = []
        """What the user should know of this box."""
        self.placed: dict[str, str] = {}
        """What was put into the layer of the working folder when the box was built, see `View`."""
        self._masks: MaskLayer | None = None
        self._ended_for = ""
        self._proxy: Any = None
        self._cgroup: Cgroup | None = None
        self._first: int | None = None
        """Descriptor of the box's first process, with which all others end."""
        self._process: subprocess.Popen[bytes] | zygote.ForkedProcess | None = None
        self._questions, self._is_late = 0, False
        """How often the process that waits outside the box was asked, and whether the last answer has not come yet."""
        self._unhidden: list[str] = []
        """What is to be hidden, and has not been called so by it."""
        self._lines: Lines | None = None
        try:
            self._start(straight(str(python or sys.executable)), working_folder(cwd), cwd)
        except BaseException:
            self.close()
            raise

    # start

    def _start(self, python: str, cwd: str, named: str | Path | None) -> None:
        seen = view(python, cwd, self.settings, named)
        self.notices, self.placed = seen.notices, seen.placed
        early, forked = {name: seen.plan[name] for name in EARLY}, None
        served = python, seen.plan["env"], seen.packages, seen.first
        zygote.let_go_of_unsafe()
        if not (self.settings.afresh or seen.afresh):
            self._process = forked = zygote.fork(*served, early)
        lines = self._lines = forked.lines if forked else Lines()
        plan: dict[str, Any] = {**seen.plan, **lines.early}
        plan["files"][CONNECTION_FILE] = json.dumps(plan["connection"])
        if forked is None:
            words = [python, "-c", KERNEL.read_text("utf-8"), json.dumps(lines.given["sockets"]), *ARGUMENTS]
            plan |= {**lines.given, "argv": words, "bubblewrap": shutil.which("bwrap")}
            self._process = _started(python, lines, loading(seen.plan["env"]))
        descriptor = forked.descriptor if forked else pid_descriptor(self.pid)
        if descriptor is not None and forked is None:
            lines.keep(descriptor)
        self.transport: Transport = lines.transport
        child = weakref.ref(self)  # what `lines` hold does not know it: they end with it
        lines.transport.watch(descriptor, lambda: (here := child()) is not None and here.alive())
        if forked:  # where its kernel has begun, it learns now who hears it
            with contextlib.suppress(ExecutorError):  # it has ended: that is told below
                lines.transport.receive(0)
        self._prepare = lambda: seen.afresh or zygote.prepare(*served, None if self.settings.afresh else early)
        self._cgroup = delegated(self.settings.limits)
        if self._cgroup is not None:  # they still wait for their settings
            pids = [self.pid]
            if self.loaded:
                (kernel,) = self._take(lines, seen, "kernel")
                pids += [pid_of(each) for each in (self._first, kernel) if each is not None]
                os.close(kernel)
            if not all(map(self._cgroup.add, pids)):
                self._cgroup.close()
                self._cgroup = None
        with contextlib.suppress(ConnectionError):  # it has ended: that is told below
            if self.loaded:
                lines.control.send(json.dumps({"seen": {name: plan[name] for name in SEEN}}).encode())
            lines.tell(json.dumps(plan).encode())
        layers = self._take(lines, seen, "ready")
        mask = None
        if seen.watch is not None:
            self.upper, mask = layers[:2]
        self._masks = MaskLayer(mask, seen.watch, seen.others, seen.masks, self._holds)
        if self.settings.allow_hosts:
            self._answer_hosts(lines, layers[-1])

    def _take(self, lines: Lines, seen: View, last: str) -> list[int]:
        """Read what the processes send that build the box, up to the `last`; gives the descriptors with it, that of a
        kernel to be closed."""
        while True:
            if not readable(lines.control, BUILD_SECONDS):
                raise BoxUnavailableError(f"no box: it was not built within {BUILD_SECONDS:.0f} s; {OPT_OUT}")
            message, descriptors = _receive(lines.control)
            if "mask" in message:
                self._mask(message["mask"], seen.masks[message["mask"]], *descriptors)
                continue
            if "kernel" in message and last != "kernel":
                os.close(*descriptors)
            elif "kernel" not in message:
                lines.own += descriptors
            if "first" in message:
                self._first = descriptors[0]
                self.user_namespace_by = str(message["user namespace by"])
            elif "kernel" not in message and "ready" not in message:
                raise no_box(message, self.last_words())
            if last in message:
                return descriptors

    def _mask(self, folder: str, names: list[str], layer: int, answering: int) -> None:
        """Hide names of a folder in a layer, and answer who waits for it."""
        try:
            for name in names:
                hide(layer, folder, name)
            os.write(answering, b".")
        except OSError as error:
            if error.errno in (*NO_ROOM, errno.EBADF):
                raise
            raise no_box({"failed": f"mounts: {folder}", "error": error.strerror}) from None
        finally:
            close_all([layer, answering])

    def _answer_hosts(self, lines: Lines, listener: int) -> None:
        from smol_kernel.executors.launchers.proxy import AllowProxy

        lines.own.remove(listener)
        allowed = () if self.settings.rehearsal == "offline" else self.settings.allow_hosts
        notices = self.notices
        self._proxy = AllowProxy(
            socket.socket(fileno=listener),
            allowed,
            lambda host: notices.append(f"The child kernel asked for {host}, which is not an allowed host."),
        )
        lines.held.append(self._proxy)
        self._proxy.start()

    # the Child protocol

    @property
    def loaded(self) -> bool:
        """Whether our modules are in it already: a zygote has them."""
        return isinstance(self._process, zygote.ForkedProcess)

    @property
    def pid(self) -> int:
        """Id of the process that waits outside the box."""
        return self._process.pid if self._process else 0

    def alive(self) -> bool:
        """Whether the box still stands."""
        with self._lock:
            return not self._ended and self._process is not None and self._process.poll() is None

    def ending(self) -> str:
        """How the kernel ended, as the process outside tells it by its own exit code."""
        with self._lock:
            if self._ended or self._process is None:
                return ""
            try:
                code = self._process.wait(1)
            except subprocess.TimeoutExpired:
                return f". {self._ended_for.rstrip('.')}" if self._ended_for else ""  # it runs on, or is stopped
            full = self._cgroup is not None and self._cgroup.oom_killed()
        how = f" ({ending(128 - code if code > 128 else code)})"
        why = self._ended_for or hint_of_death(code, self.settings, full)
        return f"{how}. {why.rstrip('.')}" if why else how

    @property
    def memory_line(self) -> MemoryLine | None:
        """By which it is passed memory."""
        return self._lines.memory_line if self._lines else None

    def connected(self) -> None:
        """See to it that the next child is there sooner."""
        self._prepare()

    def refresh(self, action: bool) -> None:
        """Have the overlay forget the names it knows: it does not notice what is changed in the folder below it. What
        is to be hidden and was not yet is; the box is ended if that fails."""
        if self._masks is None:
            return
        try:
            self._unhidden += self._masks.renew(action)
            if not self._masks.stale:
                return
            for start in range(0, max(1, len(self._unhidden)), HIDDEN_AT_ONCE):
                hidden = self._unhidden[start : start + HIDDEN_AT_ONCE]
                seconds = SURE_SECONDS if hidden else LATE_SECONDS if self._is_late else REFRESH_SECONDS
                answer = self._asked({"hidden": hidden}, seconds)
                if hidden and answer != b"refreshed":
                    raise OSError(errno.EBUSY, "the box does not answer, or could not cover it")
            self._unhidden.clear()
            if not self._is_late:
                self._masks.renewed()
        except OSError as error:
            if self.alive():
                self._ended_for = f"A file that it must not see could not be hidden from it: {error.strerror}"
                self.kill()
                if self._first is not None:
                    readable(self._first)  # until then it could still take the action, and see it

    def _holds(self, folder: str) -> bool:
        """Whether a process of the box is in this folder, or below it, or holds it open, as far as that can be seen."""
        for pid in tree(self.pid):
            for each in (f"/proc/{pid}/cwd", *glob.glob(f"/proc/{pid}/fd/*")):
                with contextlib.suppress(OSError):
                    place = os.readlink(each).removesuffix(" (deleted)")
                    if place == folder or place.startswith(f"{folder}/"):
                        return True
        return False

    def _asked(self, words: dict[str, Any], seconds: float) -> bytes:
        """What the process outside the box answers, see `boot_files.obey`; empty if it does not in time: it has ended,
        or is stopped. An answer that comes late is not taken for that to another question."""
        if self._lines is None:
            return b""
        control = self._lines.control
        with contextlib.suppress(ConnectionError, BlockingIOError):
            if self._is_late and seconds < SURE_SECONDS and not self._answer(control, seconds):
                return b""  # one question is enough: many would leave no room for what has to be hidden
            self._questions += 1
            self._is_late = True
            control.send(json.dumps({**words, "question": self._questions}).encode(), socket.MSG_DONTWAIT)
            return self._answer(control, seconds)
        return b""

    def _answer(self, control: socket.socket, seconds: float) -> bytes:
        while readable(control, seconds) and (said := control.recv(100)):
            question, _, answer = said.partition(b" ")
            if int(question) == self._questions:
                self._is_late = False
                return answer
        return b""

    def end_rehearsal(self, in_use: bool) -> bool:
        """Let the child write to its mounts themselves, and reach its hosts, from now on; gives whether it does.

        It does not if something of it is in such a mount, save if what is `in_use` may be lost."""
        if self.settings.rehearsal and self._asked({"in_use": in_use}, SURE_SECONDS) != b"ended":
            return False
        if self._proxy is not None:
            self._proxy.allow(self.settings.allow_hosts)
        return True

    def last_words(self) -> str:
        """The end of what the child wrote to its standard error while it started."""
        with contextlib.suppress(OSError):
            stderr = self._lines.stderr if self._lines else -1
            end = os.fstat(stderr).st_size
            return os.pread(stderr, 2_000, max(0, end - 2_000)).decode(errors="replace").strip()
        return ""

    def kill(self) -> None:
        """End the box and everything in it."""
        with self._lock:
            if not self._ended:
                self._signal()

    def _signal(self) -> None:
        if self._first is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._first, signal.SIGKILL)
        elif self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """`kill`, wait until nothing of it is left, and free everything. After an interrupt it can be called again."""
        with self._lock:
            if not self._ended:
                self._signal()
                if self._first is not None:
                    readable(self._first)  # pid 1 ends after all others of its namespace
                if self._process is not None:
                    with contextlib.suppress(ProcessLookupError):
                        self._process.send_signal(signal.SIGCONT)  # somebody may have stopped it
                    try:
                        self._process.wait(5)  # it reaps the first one, and ends
                    except subprocess.TimeoutExpired:
                        self._process.kill()
                        self._process.wait()
                self._ended = True
            self._first = self.upper = self._masks = None
            if self._proxy is not None:
                self._proxy.close()
            if self._cgroup is not None:
                self._cgroup.close()
            if self._lines is not None:
                self._lines.close()


def _started(python: str, lines: Lines, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """The process that builds the box, a Python started afresh, which may lack this one's locale."""
    options = ["-X", f"utf8={int(sys.getfilesystemencoding() == 'utf-8')}", *["-B"] * sys.dont_write_bytecode]
    try:
        return popen(
            [python, "-I", "-S", *options, BOOT],
            stdin=lines.plan,
            stdout=subprocess.DEVNULL,
            stderr=lines.stderr,
            cwd="/",
            env=environment,
            pass_fds=lines.descriptors,
        )
    except OSError as error:
        if error.errno in SHORT_OF:
            raise
        raise ConfigError(f"python {python!r} cannot be run ({error.strerror}); name an interpreter") from None
    finally:
        lines.started()


def _receive(control: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """One message of the boot process, which runs before any code of the child does."""
    text, rights, flags, _ = control.recvmsg(65_536, socket.CMSG_LEN(64), socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, data in rights:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    if flags & socket.MSG_CTRUNC:  # some were left out: there was no room for them
        for each in descriptors:
            os.close(each)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    try:
        return (json.loads(text) if text else {}), list(descriptors)
    except ValueError:
        raise ExecutorError("the box could not be built: its boot process sent what cannot be read") from None


def pid_of(descriptor: int) -> int:
    """The process id behind a pidfd, as this /proc counts; -1 if it has ended."""
    with open(f"/proc/self/fdinfo/{descriptor}") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("Pid:"))
