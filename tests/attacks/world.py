"""What an attack may be after: planted secrets, listeners, a live kernel, and the evidence that one was reached.

Everything planted can be read and written by any user, so that nothing but the box keeps a child from it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import psutil

ENV = "PLANTED_VALUE"
"""Name of the host's environment variable that holds a secret."""
HIDDEN = (".env", ".git/config", ".ssh/id_ed25519", "id_rsa", "data/.netrc", "data/server.pem", "secrets/token.txt")
"""Files in the working folder that a boxed child must not see."""
PACKAGES_HIDDEN = (".env", ".git/config", "id_rsa")
"""The same in a folder of packages, which is on the path of the interpreter."""
_SETTINGS = ("kernel/core_pattern", "kernel/hostname", "kernel/modprobe", "net/ipv4/ip_forward", "vm/overcommit_memory")
_FOLDERS = ("outside", "work", "marks", "scratch", "packages", "libraries")
_HARMED = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP, psutil.STATUS_DEAD)
_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGCONT, signal.SIGALRM)


def secret() -> str:
    """A text that is nowhere else."""
    return f"CANARY-{secrets.token_hex(12)}"


class World:
    """The host of some attacks. To be used in a `with` statement, on the main thread."""

    def __init__(self) -> None:
        self.top = Path(os.path.realpath(tempfile.mkdtemp(prefix="attacked-")))
        folders = [self.top / name for name in _FOLDERS]
        self.outside, self.work, self.marks, self.scratch, self.packages, self.libraries = folders
        self.secrets = {"environment": os.environ.get(ENV, "no such variable")}
        self.more: dict[str, str] = {}
        """More values for placeholders."""
        self._planted: dict[Path, str] = {}
        self.hits: list[str] = []
        self.signals: list[int] = []
        self._decoy, self._old_decoys = self._start_decoy(), list[psutil.Popen]()
        self._selector = selectors.DefaultSelector()
        self._over = threading.Event()
        self._live = None
        for folder in (self.top, *folders):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o777)
        self._plant(self.outside / "canary.txt", "canary")
        self._plant(self.outside / "home/.ssh/id_canary", "the user's key")
        for name in HIDDEN:
            self._plant(self.work / name, f"hidden {name}")
        for name in PACKAGES_HIDDEN:
            self._plant(self.packages / name, f"hidden packages/{name}")
        (self.packages / "planted_package.py").write_text("VALUE = 1\n")
        (self.packages / "planted_package.py").chmod(0o666)
        os.environ["PYTHONPATH"] = f"{os.environ.get('PYTHONPATH', '')}:{self.packages}"
        self._plant(self.libraries / ".env", "hidden libraries/.env")
        (self.libraries / "libplanted.so").touch()
        os.environ["LD_LIBRARY_PATH"] = f"{self.libraries}:{os.environ.get('LD_LIBRARY_PATH', '')}"
        (self.work / "table.csv").write_text("a,b\n1,2\n")
        (self.work / "own_module.py").write_text("VALUE = 1\n")
        (self.work / "link.txt").symlink_to(self.outside / "canary.txt")
        (self.work / "linked").symlink_to(self.outside)
        os.link(self.work / ".env", self.work / "data" / ".env-too")
        self.before = self._state()
        self._listen()
        self._handlers = {number: signal.signal(number, lambda got, _: self.signals.append(got)) for number in _SIGNALS}
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _plant(self, path: Path, name: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o777)
        self.secrets[name] = secret()
        self._planted[path] = f"{self.secrets[name]}\n"
        path.write_text(self._planted[path])
        path.chmod(0o666)

    def _start_decoy(self) -> psutil.Popen:
        """A process of the host's with the host's environment, which may be attacked in the host's stead."""
        wait = "import os; os.read(0, 1)"  # ends with this process
        return psutil.Popen([sys.executable, "-c", wait], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)

    def _decoy_harmed(self) -> list[str]:
        """What was done to that process."""
        if self._decoy.is_running() and self._decoy.status() not in (*_HARMED, psutil.STATUS_ZOMBIE):
            return []
        status = self._decoy.status() if self._decoy.is_running() else "gone"
        self._decoy.kill()
        self._old_decoys.append(self._decoy)  # one that is traced cannot be waited for while its tracer lives
        self._decoy = self._start_decoy()
        return [f"a process of the host is {status}"]

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # pyright: ignore
        self._selector.close()
        for decoy in (self._decoy, *self._old_decoys):
            decoy.kill()
            decoy.wait()
            decoy.stdin.close()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self._live is not None:
            self._live.shutdown_kernel(now=True)
        shutil.rmtree(self.top, ignore_errors=True)

    # what listens

    def _listen(self) -> None:
        self.abstract = f"attacked-{secrets.token_hex(6)}"
        tcp = socket.create_server(("127.0.0.1", 0))
        self.port = tcp.getsockname()[1]
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", self.port))
        self._take(tcp, "a TCP connection")
        self._take(udp, "a UDP packet")
        if socket.has_ipv6:
            six = socket.create_server(("::1", 0), family=socket.AF_INET6)
            self.port6 = six.getsockname()[1]
            self._take(six, "a TCP connection over IPv6")
        for address, what in (
            (str(self.outside / "server.sock"), "unix socket"),
            (str(self.work / "server.sock"), "unix socket in the working folder"),
            (f"\0{self.abstract}", "abstract unix socket"),
        ):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(address)
            listener.listen()
            if address[0] != "\0":
                os.chmod(address, 0o777)
            self._take(listener, f"a connection to a {what}")

    def _take(self, listener: socket.socket, what: str) -> None:
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, what)

    def _watch(self) -> None:
        while not self._over.is_set():
            self._look(0.1)

    def _look(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            listener: socket.socket = key.fileobj  # pyright: ignore
            try:
                if listener.type == socket.SOCK_DGRAM:
                    listener.recv(100)
                else:
                    listener.accept()[0].close()
            except BlockingIOError:
                continue
            self.hits.append(key.data)

    @property
    def runtime(self) -> Path:
        """A folder with the connection file of another kernel, which runs; it is started when first asked for."""
        folder = self.outside / "runtime"
        if self._live is None:
            from jupyter_client.manager import KernelManager

            folder.mkdir()
            self._live = KernelManager(connection_file=str(folder / "kernel-4711.json"), kernel_name="python3")
            self._live.start_kernel()
            for path in (folder, folder / "kernel-4711.json"):
                path.chmod(0o777)
            client = self._live.blocking_client()
            client.start_channels()
            client.wait_for_ready(timeout=60)
            client.stop_channels()
        return folder

    # snippets and evidence

    def fill_in(self, code: str) -> str:
        """The code with its placeholders replaced."""
        values = {
            "CANARY": str(self.outside / "canary.txt"),
            "CDIR": str(self.outside),
            "MARK": str(self.marks / "mark"),
            "MARKS": str(self.marks),
            "PORT": str(self.port),
            "PORT6": str(getattr(self, "port6", 0)),
            "UNIX": str(self.outside / "server.sock"),
            "WORKUNIX": str(self.work / "server.sock"),
            "WORK": str(self.work),
            "PACKAGES": str(self.packages),
            "LIBRARIES": str(self.libraries),
            "ABS": self.abstract,
            "HPID": str(self._decoy.pid),
            "RUNNER": str(os.getpid()),
            "ENV": ENV,
            "TOOLRPC": "call",
            **self.more,
        }
        if "@JRT@" in code:
            values["JRT"] = str(self.runtime)
        for name, value in values.items():
            code = code.replace(f"@{name}@", value)
        return code

    def evidence(self, text: str) -> list[str]:
        """What shows, here on the host, that something was reached; `text` is all that came out of the child."""
        found = [f"read: {name}" for name, value in self.secrets.items() if value in text or value[::-1] in text]
        found += [f"made: {each.name}" for each in self.marks.iterdir()]
        for path in self.marks.iterdir():
            path.rmdir() if path.is_dir() else path.unlink()
        after = self._state()
        found += [f"changed: {path}" for path in {*self.before, *after} if self.before.get(path) != after.get(path)]
        if after != self.before:  # for those that follow
            for path, words in self._planted.items():
                with contextlib.suppress(OSError):
                    path.chmod(0o666)
                    path.write_text(words)
        self.before = self._state()
        hits, self.hits = self.hits, []
        signals, self.signals = self.signals, []
        return [
            *found,
            *self._decoy_harmed(),
            *hits,
            *(f"the host got {signal.Signals(each).name}" for each in signals),
        ]

    def _state(self) -> dict[str, str]:
        """Everything that must stay as it is."""
        state: dict[str, str] = {}
        for folder in (self.outside, self.work, self.packages, self.libraries):
            for base, folders, files in os.walk(folder):
                if base == str(self.outside / "runtime"):
                    continue
                for name in (*folders, *files):
                    path = os.path.join(base, name)
                    if not path.endswith((".sock", "/runtime")):
                        state[path] = _digest(path)
        for name in _SETTINGS:
            try:
                state[name] = Path("/proc/sys", name).read_text()
            except OSError:
                continue
        return state


def _digest(path: str) -> str:
    if os.path.islink(path):
        return os.readlink(path)
    mode = oct(os.stat(path).st_mode)
    if not os.path.isfile(path) or not os.access(path, os.R_OK):
        return mode
    return mode + hashlib.sha256(Path(path).read_bytes()).hexdigest()


def family_of(pid: int) -> list[psutil.Process]:
    """A process and all that come of it, for as long as they are its."""
    try:
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; one that is dead but not yet waited for does not."""
    return [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
