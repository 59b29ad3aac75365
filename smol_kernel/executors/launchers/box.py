"""The box on Linux: starts a child kernel that the operating system keeps from everything else. `kernel` calls it.

The host makes the sockets and a description of what the child may see; `boot` builds that and becomes the kernel. What
comes back are descriptors: the first process of the box, the layer that holds the files the child made, and with a list
of allowed hosts the socket on which `proxy` answers.
"""

from __future__ import annotations

import array
import base64
import contextlib
import getpass
import json
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any

from smol_kernel.errors import BoxUnavailableError, ConfigError, ExecutorError
from smol_kernel.executors.launchers import seccomp
from smol_kernel.executors.launchers.hidden import masked
from smol_kernel.executors.launchers.plain import CHANNELS, OPTIONS, pid_descriptor, short_folder
from smol_kernel.executors.launchers.settings import OPT_OUT, BoxSettings, Limits

BUILD_SECONDS = 30.0
"""How long the box may take to be built."""
PROXY_PORT = 3128
"""Of the proxy, on the box's own 127.0.0.1."""
BOOT = str(Path(__file__).with_name("boot.py"))

PRELUDE = """\
import json, sys
sockets = json.loads(sys.argv.pop(1))
sys.path[:] = [folder for folder in sys.path if folder]
sys.modules["debugpy"] = None
import zmq
from ipykernel.kernelapp import IPKernelApp

class BoxedKernel(IPKernelApp):
    def _try_bind_socket(self, socket, port):
        socket.setsockopt(zmq.USE_FD, sockets[port - 1])
        return super()._try_bind_socket(socket, port)
    def init_control(self, context):
        super().init_control(context)
        self.debug_shell_socket.close()
        self.debug_shell_socket = None
    def init_heartbeat(self):
        self.heartbeat = None
    def write_connection_file(self, **options):
        pass
    cleanup_connection_file = write_connection_file

BoxedKernel.launch_instance()
"""
"""What the child's Python runs first: ipykernel, on sockets that listen already. The host made them, so nothing in a
file system leads to them. There is no debugger, whose socket dials the shell's, and no heartbeat."""

CONNECTION_FILE = "/run/kernel.json"
SYSTEM = ("/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64", "/usr/share", "/usr/local/share",
          "/nix/store", "/gnu/store")  # fmt: skip
SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime",
                "/etc/timezone", "/etc/mime.types", "/etc/fonts", "/etc/services", "/etc/protocols", "/etc/ssl/certs",
                "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted")  # fmt: skip
RESOLVER_FILES = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf")
LINKED = ("/lib", "/lib32", "/lib64", "/libx32")
ENVIRONMENT_PARTS = ("bin", "lib", "lib64", "include", "share", "etc", "pyvenv.cfg")
SHELLS = ("sh", "bash", "dash", "zsh", "ksh", "fish", "tcsh", "csh", "busybox")
NEVER_SHOWN = ("/", "/tmp", "/var", "/home", "/usr", "/opt", "/mnt", "/media", "/srv", "/var/tmp")
NEVER_BELOW = ("/proc", "/sys", "/dev", "/run", "/boot", "/etc", "/bin", "/sbin", "/lib", "/lib64", "/usr/bin", "/usr/sbin",
               "/usr/lib")  # fmt: skip

KEPT_VARIABLES = {
    "LANG", "LANGUAGE", "TZ", "COLUMNS", "LINES", "NUMBA_NUM_THREADS", "LOKY_MAX_CPU_COUNT", "JOBLIB_START_METHOD",
    "PYTHONPATH", "PYTHONHASHSEED", "PYTHONUTF8", "PYTHONIOENCODING", "PYTHONWARNINGS", "PYTHONDONTWRITEBYTECODE",
    "PYTHONOPTIMIZE", "MPLSTYLE", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    "TOKENIZERS_PARALLELISM", "CONDA_PREFIX", "VIRTUAL_ENV", "NO_COLOR",
}  # fmt: skip
KEPT_BEGINNINGS = ("LC_", "OMP_", "OPENBLAS_", "MKL_", "BLIS_", "VECLIB_", "NUMEXPR_", "POLARS_", "ARROW_", "KMP_")
"""Variables of the host's environment that a boxed child has as well. All else stays outside."""

REMEDIES = {
    "user namespace": "This system lets ordinary users make no user namespaces. On Ubuntu 23.10 and later: sudo sysctl -w "
    "kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for this Python with `userns,`. On Debian: "
    "sudo sysctl -w kernel.unprivileged_userns_clone=1. Elsewhere: sudo sysctl -w user.max_user_namespaces=10000",
    "namespaces": "In a container, its runtime has to allow namespaces: for Docker --security-opt seccomp=unconfined "
    "--security-opt apparmor=unconfined --cap-add SYS_ADMIN, or run as an ordinary user under rootless Podman",
    "mounts: /proc": "The container masks parts of /proc, which keeps a fresh one from being mounted: for Docker "
    "--security-opt systempaths=unconfined, for Podman --security-opt unmask=ALL, in Kubernetes procMount: Unmasked",
}


class BoxedChild:
    """A started kernel process in a box of its own; its `connection` can be used at once.

    `python` is the interpreter (None: the host's own), `cwd` the working folder (None: the host's), `settings` what the
    child may have. Raises ConfigError if an interpreter or folder is not there, BoxUnavailableError if this system
    gives no boundary.
    """

    reconnect = False
    """Whether the client may dial again: here nobody but the child was ever behind the sockets."""

    def __init__(
        self, python: str | Path | None = None, cwd: str | Path | None = None, settings: BoxSettings | None = None
    ) -> None:
        if sys.platform != "linux":
            raise BoxUnavailableError(f"no box on {sys.platform} with this launcher: {OPT_OUT}")
        self.settings = settings or BoxSettings()
        self._lock = threading.Lock()
        self._ended = False
        self._open: list[int] = []
        self._listeners: list[socket.socket] = []
        self.upper: int | None = None
        """Descriptor of the folder that holds what the child wrote in the working folder; None without one."""
        self.notices: list[str] = []
        """What the user should know of this box."""
        self._proxy: Any = None
        self._first: int | None = None
        """Descriptor of the box's first process, with which all others end."""
        self._process: subprocess.Popen[bytes] | None = None
        self.descriptor: int | None = None
        self._folder = short_folder()
        try:
            self.connection = self._listen()
            self._start(str(python or sys.executable), os.path.realpath(cwd or os.getcwd()))
        except BaseException:
            self.close()
            raise

    # start

    def _listen(self) -> dict[str, Any]:
        for number, _ in enumerate(CHANNELS, 1):
            listener = socket.socket(socket.AF_UNIX)
            self._listeners.append(listener)
            listener.bind(str(self._folder / f"k-{number}"))
            listener.listen(1)
        ports = {f"{channel}_port": number for number, channel in enumerate(CHANNELS, 1)}
        key = secrets.token_hex(32)
        where = {"transport": "ipc", "ip": str(self._folder / "k")}
        return {**where, "key": key, "signature_scheme": "hmac-sha256", **ports}

    def _start(self, python: str, cwd: str) -> None:
        if not os.path.isdir(cwd):
            raise ConfigError(f"cwd {cwd!r} is not a folder; name one that exists")
        environment = box_environment(dict(os.environ), self.settings)
        facts = interpreter(python, environment.get("PYTHONPATH", ""))
        (self._folder / "root").mkdir()
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        life, self._life = os.pipe()
        self._open.append(self._life)
        self._stderr = os.memfd_create("stderr")
        self._open.append(self._stderr)
        inherited = [there.fileno(), life, self._stderr, *(each.fileno() for each in self._listeners)]
        plan = self._plan(facts, cwd, environment)
        plan |= {"control": there.fileno(), "life": life, "stderr": self._stderr}
        plan["sockets"] = [each.fileno() for each in self._listeners]
        plan["argv"] = [python, "-c", PRELUDE, json.dumps(plan["sockets"]), "-f", CONNECTION_FILE, *OPTIONS]
        try:
            self._process = subprocess.Popen(
                [python, "-I", "-S", BOOT],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                cwd="/",
                env={},
                pass_fds=inherited,
                start_new_session=True,
            )
        except OSError as error:
            raise ConfigError(f"python {python!r} cannot be run ({error.strerror}); name an interpreter") from None
        finally:
            there.close()
            os.close(life)
        self.descriptor = pid_descriptor(self._process.pid)
        try:
            assert self._process.stdin is not None
            with contextlib.suppress(BrokenPipeError), self._process.stdin as pipe:
                pipe.write(json.dumps(plan).encode())
            self._take(here)
        finally:
            here.close()
        for listener in self._listeners:
            listener.close()

    def _take(self, control: socket.socket) -> None:
        """Read what the boot process sends until the box stands."""
        while True:
            if not select.select([control], [], [], BUILD_SECONDS)[0]:
                raise BoxUnavailableError(f"the box was not built within {BUILD_SECONDS:.0f} s; {OPT_OUT}")
            message, descriptors = _receive(control)
            self._open += descriptors
            if "first" in message:
                self._first = descriptors[0]
            elif message.get("ready"):
                if self.cwd_is_overlay:
                    self.upper = descriptors.pop(0)
                if descriptors:
                    self._answer_hosts(descriptors[0])
                return
            else:
                raise BoxUnavailableError(self._why(message))

    def _why(self, message: dict[str, Any]) -> str:
        step, said = message.get("failed"), message.get("error")
        if step is None:
            said, step = self.last_words()[-500:] or "the process that builds it ended", "start"
        remedy = REMEDIES.get(str(step), "See `smol doctor`")
        return f"no box can be built here: {step}: {said}. {remedy}. Or, {OPT_OUT}"

    def _answer_hosts(self, listener: int) -> None:
        from smol_kernel.executors.launchers.proxy import AllowProxy

        self._open.remove(listener)
        self._proxy = AllowProxy(socket.socket(fileno=listener), self.settings.allow_hosts)
        self._proxy.start()

    # what the child sees

    def _plan(self, facts: dict[str, Any], cwd: str, environment: dict[str, str]) -> dict[str, Any]:
        """The settings of `boot`."""
        home, user = host_home(), host_user()
        mounts = [(mount.path, mount.writable) for mount in self.settings.mounts]
        shown = cwd if may_show(cwd) else None
        if shown is None:
            self.notices.append(f"the working folder {cwd} is not shown to the child; it works in {home}")
        elif any(path == cwd for path, _ in mounts):
            shown = None
        binds = self._binds(facts, home, cwd)
        skip = [path for path, _ in (*binds, *mounts)]
        veiled = [(path, self._masks(path, skip)) for path in self._own_packages(facts, home, binds)]
        masks = self._masks(shown, skip) if shown else []
        self.cwd_is_overlay = shown is not None
        ids = [os.getuid(), os.getgid()] if os.getuid() else [1000, 1000]
        environment |= {
            "HOME": home,
            "USER": user,
            "LOGNAME": user,
            "PATH": f"{facts['prefix']}/bin",
            "IPYTHONDIR": "/tmp/.ipython",
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        }
        files = {
            "/etc/passwd": f"{user}:x:{ids[0]}:{ids[1]}::{home}:/bin/false\nnobody:x:65534:65534::/:/bin/false\n",
            "/etc/group": f"{user}:x:{ids[1]}:\nnogroup:x:65534:\n",
            CONNECTION_FILE: json.dumps({**self.connection, "ip": "/run/k"}),
        }
        if self.settings.network != "full":
            files["/etc/hosts"] = "127.0.0.1 localhost box\n::1 localhost\n"
            files["/etc/nsswitch.conf"] = "passwd: files\ngroup: files\nhosts: files dns\n"
        limits = self.settings.limits
        return {
            "root": str(self._folder / "root"),
            "binds": binds,
            "links": {path: os.readlink(path) for path in LINKED if os.path.islink(path)},
            "files": files,
            "home": home,
            "home_files": font_cache(),
            "folder": shown,
            "masks": masks,
            "veiled": veiled,
            "mounts": mounts,
            "cwd": cwd if shown or any(path == cwd for path, _ in mounts) else home,
            "disk": limits.disk,
            "limits": resource_limits(limits),
            "network": self.settings.network,
            "proxy": PROXY_PORT if self.settings.allow_hosts else 0,
            "seccomp": base64.b64encode(seccomp.program()).decode(),
            "ids": ids,
            "env": environment,
        }

    def _binds(self, facts: dict[str, Any], home: str, cwd: str) -> list[tuple[str, str]]:
        """Paths to show read-only, with what is shown there."""
        paths = [*SYSTEM, *SYSTEM_FILES, *(path for path in LINKED if not os.path.islink(path))]
        paths += RESOLVER_FILES if self.settings.network == "full" else ()
        shells: list[tuple[str, str]] = []
        for prefix in dict.fromkeys((facts["base_prefix"], facts["prefix"], facts["exec_prefix"])):
            if prefix in ("/usr", "/usr/local", "/"):
                continue
            whole = prefix == facts["base_prefix"] and not _holds(prefix, home) and not _holds(prefix, cwd)
            paths += [prefix] if whole else [f"{prefix}/{part}" for part in ENVIRONMENT_PARTS]
            shells += [(f"{prefix}/bin/{name}", "/dev/null") for name in SHELLS]
        paths += [*facts["executables"]]
        binds: dict[str, str] = {}
        for path in paths:
            for place in (path, os.path.realpath(path)):
                if os.path.exists(place) and not any(_holds(above, place) for above in binds):
                    binds[place] = os.path.realpath(path)
        covered = {path: null for path, null in shells if os.path.lexists(path) and os.path.isfile(path)}
        return [*binds.items(), *covered.items()]

    def _own_packages(self, facts: dict[str, Any], home: str, binds: list[tuple[str, str]]) -> list[str]:
        """Folders outside the environment that its Python imports from: packages installed as editable, PYTHONPATH."""
        folders = [os.path.realpath(path) for path in facts["path"] if os.path.isdir(path)]
        shown = [path for path, _ in binds]
        own = [
            path
            for path in dict.fromkeys(folders)
            if may_show(path) and not _holds(path, home) and not any(_holds(above, path) for above in shown)
        ]
        return [path for path in own if not any(path != above and _holds(above, path) for above in own)]

    def _masks(self, folder: str, skip: list[str]) -> list[str]:
        """Paths below `folder` that the child must not see."""
        found = masked(folder, skip=skip)
        for each in found:
            if each.unseen:
                self.notices.append(f"{folder}/{each.path} holds too many files to look through: it is not shown")
        return [each.path for each in found]

    # the Child protocol

    @property
    def pid(self) -> int:
        """Id of the process that waits outside the box."""
        return self._process.pid if self._process else 0

    def alive(self) -> bool:
        """Whether the box still stands."""
        with self._lock:
            return not self._ended and self._process is not None and self._process.poll() is None

    def connected(self) -> None:
        """Remove the folder: open sockets do without, and nobody else can connect any more."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def last_words(self) -> str:
        """The end of what the child wrote to its standard error while it started."""
        with contextlib.suppress(OSError):
            end = os.fstat(self._stderr).st_size
            return os.pread(self._stderr, 2_000, max(0, end - 2_000)).decode(errors="replace").strip()
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
        """`kill`, wait until nothing of it is left, and free everything."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
            self._signal()
            if self._first is not None:
                select.select([self._first], [], [])  # pid 1 ends after all others of its namespace
            if self._process is not None:
                self._process.kill()
                self._process.wait()
            if self._proxy is not None:
                self._proxy.close()
            for descriptor in self._open:
                os.close(descriptor)
            self._open, self.upper = [], None
            if self.descriptor is not None:
                os.close(self.descriptor)
            for listener in self._listeners:
                listener.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def box_environment(environment: dict[str, str], settings: BoxSettings) -> dict[str, str]:
    """What a boxed child has of the host's environment: the variables of an allow-list, and the way to the proxy."""
    kept = {
        name: value for name, value in environment.items() if name in KEPT_VARIABLES or name.startswith(KEPT_BEGINNINGS)
    }
    if settings.allow_hosts:
        address = f"http://127.0.0.1:{PROXY_PORT}"
        kept |= dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), address)
        kept |= dict.fromkeys(("no_proxy", "NO_PROXY"), "localhost,127.0.0.1")
    return kept


def resource_limits(limits: Limits) -> dict[str, int]:
    """The limits by the names of the standard library's `resource`.

    What a process may hold is counted by RLIMIT_DATA, which leaves out address space that is only reserved, as pyarrow
    and torch do; RLIMIT_AS bounds what is shared besides.
    """
    return {
        "RLIMIT_DATA": limits.memory,
        "RLIMIT_AS": limits.memory + (64 << 30),
        "RLIMIT_NPROC": limits.processes,
        "RLIMIT_FSIZE": limits.file_size,
        "RLIMIT_NOFILE": limits.open_files,
        "RLIMIT_CPU": limits.cpu_seconds,
        "RLIMIT_CORE": 0,
    }


def may_show(path: str) -> bool:
    """Whether a folder may be the child's working folder: none that holds what is not the user's work."""
    return path not in NEVER_SHOWN and not any(_holds(above, path) for above in NEVER_BELOW)


def _holds(above: str, path: str) -> bool:
    return path == above or path.startswith(above.rstrip("/") + "/")


def host_user() -> str:
    """The user's name, as the child sees it as well."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        return "user"
    return name if name.isprintable() and not set(name) & set(":/\n") else "user"


def host_home() -> str:
    """Path of the user's home; the child's own home, an empty one, has the same."""
    home = os.path.realpath(os.path.expanduser("~"))
    return home if may_show(home) and home.isprintable() else f"/home/{host_user()}"


def font_cache() -> dict[str, str]:
    """Matplotlib's list of fonts, which takes seconds to make anew in each empty home."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path(os.path.expanduser("~"), ".cache")) / "matplotlib"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return {f".cache/matplotlib/{each.name}": each.read_text("utf-8") for each in folder.glob("fontlist-*.json")}
    return {}


@cache
def interpreter(python: str, python_path: str) -> dict[str, Any]:
    """Where an interpreter's files are. Raises ConfigError for one that cannot be run."""
    ask = (
        "import json, sys; print(json.dumps([sys.prefix, sys.base_prefix, sys.exec_prefix, sys.executable, sys.path]))"
    )
    home = {"HOME": os.path.expanduser("~"), **({"PYTHONPATH": python_path} if python_path else {})}
    try:
        done = subprocess.run([python, "-c", ask], capture_output=True, env=home, cwd="/", timeout=60, check=True)
        prefix, base_prefix, exec_prefix, executable, path = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        said = getattr(error, "strerror", None) or error
        raise ConfigError(f"python {python!r} cannot be run ({said}); name an interpreter") from None
    executables: list[str] = []
    link = executable
    while link not in executables and len(executables) < 20:
        executables.append(link)
        if os.path.islink(link):
            link = os.path.normpath(os.path.join(os.path.dirname(link), os.readlink(link)))
    return {
        "prefix": prefix,
        "base_prefix": base_prefix,
        "exec_prefix": exec_prefix,
        "executables": [*executables, os.path.realpath(executable)],
        "path": [folder for folder in path if folder and os.path.isdir(folder)],
    }


def _receive(control: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """One message of the boot process, which runs before any code of the child does."""
    text, rights, _, _ = control.recvmsg(65_536, socket.CMSG_LEN(64), socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, data in rights:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    try:
        return (json.loads(text) if text else {}), list(descriptors)
    except ValueError:
        raise ExecutorError("the box could not be built: its boot process sent what cannot be read") from None
