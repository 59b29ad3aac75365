"""The box on macOS: a child kernel under `sandbox-exec`, with a profile that denies all but a list. `choose` calls it.

Our CI has no macOS: the profile is tested as text, and the launcher with a stand-in for sandbox-exec. Apple documents
the language of profiles nowhere; what is used here is found in the profiles of /System/Library/Sandbox/Profiles and of
browsers.

It gives less than the box on Linux. There is no overlay: the working folder can only be read, and what the child writes
goes to a private folder, its home and TMPDIR, which is removed with the child. Hidden files and keys cannot be opened,
but their names are listed. Memory, processes and disk have no limit. What the child started, and gave a session of its
own, outlives it, under the same profile. The contents of a file tell nothing of whether it is a key.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from smol_kernel.errors import BoxUnavailableError, ConfigError
from smol_kernel.executors.launchers import hidden
from smol_kernel.executors.launchers.host_imports import writable_places
from smol_kernel.executors.launchers.interpreter import interpreter
from smol_kernel.executors.launchers.plain import PRELUDE, PlainChild
from smol_kernel.executors.launchers.project_path import with_project_path
from smol_kernel.executors.launchers.settings import OPT_OUT, BoxSettings
from smol_kernel.executors.launchers.view import box_environment, host_user, resource_limits
from smol_kernel.executors.launchers.working_folder import holds, home_folder, working_folder

SANDBOX_EXEC = "/usr/bin/sandbox-exec"

SYSTEM = (
    *("/usr/lib", "/usr/share", "/System/Library", "/Library/Apple", "/Library/Fonts", "/private/var/db/dyld"),
    *("/System/Volumes/Preboot/Cryptexes", "/private/preboot/Cryptexes", "/System/Cryptexes"),
    *("/private/var/db/timezone", "/private/etc/localtime", "/private/etc/passwd", "/private/etc/protocols"),
    *("/private/etc/services", "/private/etc/ssl"),
    *("/opt/homebrew/Cellar", "/opt/homebrew/opt", "/opt/homebrew/lib", "/opt/homebrew/etc/ca-certificates"),
    *("/usr/local/Cellar", "/usr/local/opt", "/usr/local/lib", "/opt/local/lib"),
)
"""What is read of the system: libraries, zones, fonts, certificates. Homebrew's and MacPorts' too."""
RESOLVER = ("/private/etc/hosts", "/private/etc/resolv.conf", "/private/var/run/resolv.conf")
LINKS = ("/", "/etc", "/tmp", "/var", "/private", "/private/etc", "/private/tmp", "/private/var")
"""Links and folders on the way to others."""
PARTS = ("bin", "lib", "include", "share", "etc", "pyvenv.cfg")
"""Of an environment's folder, where that may hold other things as well."""
SYSCTLS = (
    *("kern.argmax", "kern.hostname", "kern.maxfilesperproc", "kern.maxproc", "kern.ngroups", "kern.osproductversion"),
    *("kern.osrelease", "kern.ostype", "kern.osvariant_status", "kern.osversion", "kern.secure_kernel"),
    *("kern.usrstack64", "kern.version", "sysctl.proc_cputype", "sysctl.proc_translated", "vm.loadavg"),
)
"""What can be asked of the kernel by name, besides hw.* and machdep.cpu.*: not kern.proc* and kern.procargs*, which
tell of other processes, their arguments and environment."""
SERVICES = ("com.apple.system.opendirectoryd.libinfo", "com.apple.system.notification_center")
"""Mach services: user names, and changes of the time zone."""
NETWORK_SERVICES = ("com.apple.SystemConfiguration.configd", "com.apple.SystemConfiguration.DNSConfiguration")

_SEPARATOR = "[-_. ]"
_NUMBERED = "([-_. ]*[(]?[0-9]+[)]?)?"
_BACKUP = f"([.]({'|'.join(sorted(hidden.BACKUPS))}|[0-9]+)|~)*"


def profile(
    settings: BoxSettings,
    python_prefixes: Sequence[str],
    cwd: str,
    home: str,
    work_folder: str,
    socket_folder: str,
    executables: Sequence[str] = (),
    packages: Sequence[str] = (),
    proxy_port: int | None = None,
) -> str:
    """The profile of a child, as `sandbox-exec -p` takes it. All paths are absolute, and as the system knows them:
    without links.

    Parameters: `python_prefixes`, files and folders of the interpreter, shown whole; `cwd`, the working folder; `home`,
    the user's home, whose Library is hidden where `cwd` holds it; `work_folder`, where the child may write;
    `socket_folder`, where its sockets are; `executables`, the interpreters it may start; `packages`, other folders it
    imports from; `proxy_port` on localhost, of the proxy that reaches the allowed hosts. Raises ConfigError for a path
    that cannot be written in a profile.
    """
    below = [(path, "system") for path in (*SYSTEM, *python_prefixes)]
    below += [(path, "veiled") for path in (*packages, cwd)]
    below += [(mount.path, "writable" if mount.writable else "mount") for mount in settings.mounts]
    below += [(socket_folder, "sockets"), (work_folder, "writable")]
    below.sort(
        key=lambda place: place[0].rstrip("/").count("/")
    )  # what is said last holds: the deeper after the less deep
    above = sorted({part for path, _ in (*below, *((each, "") for each in executables)) for part in _above(path)})
    lines = [
        "(version 1)",
        "(deny default)",
        "(allow process-fork)",
        *_rule("allow process-exec", _literals(executables)),
        "(allow signal (target same-sandbox))",
        "(allow process-info* (target same-sandbox))",
        *_rule("allow sysctl-read", [f"(sysctl-name {_quoted(name)})" for name in SYSCTLS]),
        '(allow sysctl-read (sysctl-name-prefix "hw.") (sysctl-name-prefix "machdep.cpu."))',
        *_rule("allow mach-lookup", [f"(global-name {_quoted(name)})" for name in SERVICES]),
        "(allow ipc-posix-sem)",  # multiprocessing's locks
        "(allow ipc-posix-shm-read-data ipc-posix-shm-write-create ipc-posix-shm-write-data ipc-posix-shm-write-unlink"
        ' (ipc-posix-name-regex #"^/(psm_|__KMP_REGISTERED_LIB_)"))',  # multiprocessing.shared_memory, OpenMP
        '(allow file-read* (literal "/") (literal "/dev/random") (literal "/dev/urandom"))',
        '(allow file-read* file-write-data file-ioctl (literal "/dev/null") (literal "/dev/zero"))',
    ]
    for path, kind in below:
        lines += _place(path, kind, home)
    lines += _rule("allow file-read-metadata", _literals(dict.fromkeys((*LINKS, *above))))
    for path in (cwd, *_above(cwd)):  # renamed, it would be under no rule but those of a folder above it
        lines.append(f"(deny file-write-unlink (literal {_quoted(path)}))")
    lines.append("(deny file-write-setugid)")
    lines += _network(settings, (socket_folder, work_folder), proxy_port)
    return "\n".join(lines) + "\n"


def _place(path: str, kind: str, home: str) -> list[str]:
    here = f"(subpath {_quoted(path)})"
    lines = [f"(allow file-read* file-map-executable {here})"]
    if kind == "writable":
        return [*lines, f"(allow file-write* {here})"]
    lines.append(f"(deny file-write* {here})")
    if kind == "sockets":  # no links, nor other files: the host reads here
        sockets = f"(require-all {here} (vnode-type SOCKET))"
        lines.append(f"(allow file-write-create file-write-unlink {sockets})")
    if kind == "veiled":
        private = [f"(subpath {_quoted(home + '/Library')})"] if holds(path, home) else []
        special = [f"(require-all {here} (vnode-type {name}))" for name in ("FIFO", "SOCKET")]
        names = [f'(regex (string-append "^" (regex-quote {_quoted(path)}) #"/(.*/)?{each}"))' for each in patterns()]
        lines += _rule("deny file-read* file-write* file-map-executable", [*names, *special, *private])
    return lines


def _network(settings: BoxSettings, socket_folders: Iterable[str], proxy_port: int | None) -> list[str]:
    lines = ["(allow system-socket (socket-domain AF_UNIX))"]
    for folder in socket_folders:
        here = f"(subpath {_quoted(folder)})"
        lines.append(f"(allow network-bind network-inbound (local unix-socket {here}))")
        lines.append(f"(allow network-outbound (remote unix-socket {here}))")
    if proxy_port is not None:
        lines.append(f'(allow network-outbound (remote ip "localhost:{int(proxy_port)}"))')
    if settings.network == "full":
        lines.append("(allow network-bind network-inbound (local ip))")
        lines.append("(allow network-outbound (remote ip))")
        lines.append('(allow network-outbound (remote unix-socket (literal "/private/var/run/mDNSResponder")))')
        lines += _rule("allow mach-lookup", [f"(global-name {_quoted(name)})" for name in NETWORK_SERVICES])
        lines += _rule("allow file-read*", _literals(RESOLVER))
    return lines


def patterns() -> list[str]:
    """What `hidden` hides by its name, as regular expressions for what comes after a slash."""
    settings, stores, tables = map(_one_of, (hidden.CONFIGURATION, hidden.TOKEN_STORES, hidden.TABLES))
    behind = _one_of(hidden.PLACES | hidden.CONFIGURATION)
    begin, end = f"([^/]*{_SEPARATOR})?", f"{_BACKUP}(#|___jb_(tmp|old)___)?$"
    text, more = "([.][tT][xX][tT])?", f"({_SEPARATOR}[^/]*|[A-Z][^/]*)?"

    def word(words: str) -> str:
        """It, at the beginning or behind a separator, or with a capital behind other letters."""
        return f"({begin}{_any_case(words)}|[^/]*[a-z0-9]{words[0].upper()}{_any_case(words)[len('[aA]') :]})"

    named = [
        *(f"[^/]*[.]{_any_case(ending)}( [^/.]*)?{end}" for ending in sorted(hidden.ENDINGS)),
        *(f"[^/]+[.]{_any_case(part)}([.][^/]*)?{behind}{end}" for part in sorted(hidden.PARTS)),
        *(f"{_any_case('env')}[.]{_any_case(place)}{end}" for place in sorted(hidden.PLACES)),
        *(f"{_any_case(name)}{end}" for name in sorted(hidden.NAMES)),
        *(f"{_any_case(name)}[^/]*$" for name in hidden.BEGINNINGS),
        *(f"{word(words)}{more}{settings}{end}" for words in hidden.WITHIN),
        *(f"{word(words)}{_NUMBERED}({settings}|{text}){end}" for words in hidden.LAST),
        *(f"{word(words)}{_NUMBERED}{tables}{end}" for words in hidden.LAST_OF_TABLES),
        *(f"{_any_case(words)}({_SEPARATOR}[^/]*)?{stores}{end}" for words in hidden.FIRST_OF_TOKENS),
        *(f"{begin}{_any_case(words)}([-_ A-Z][^/.]*)?{text}{end}" for words in hidden.SSH_KEYS),
        f"{_any_case('ssh_host')}{_SEPARATOR}[^/.]*{_any_case('key')}{text}{end}",
        f"{_any_case('kubeconfig')}{_SEPARATOR}[^/.]*{end}",
        f"{_any_case('kernel')}-[0-9a-fA-F-]*[0-9][0-9a-fA-F-]*{stores}{end}",
    ]
    folders = [f"{_any_case(name)}(/|$)" for name in sorted(hidden.FOLDERS)]
    return ["[.][^/]", *folders, *(f"#?{each}" for each in named)]


def _one_of(endings: Iterable[str]) -> str:
    return f"[.]({'|'.join(map(_any_case, sorted(endings)))})"


def _any_case(words: str) -> str:
    """Words in any case, as a regular expression; `_` between them stands for any separator, or none."""
    out: list[str] = []
    for place, letter in enumerate(words):
        if letter == "_" and place:
            out.append(f"{_SEPARATOR}?")
        elif letter.isalpha():
            out.append(f"[{letter}{letter.upper()}]")
        else:
            out.append(letter if letter.isalnum() or letter in "_-" else f"[{letter}]")
    return "".join(out)


def _quoted(text: str) -> str:
    """A string of the profile's language. Raises ConfigError for what has no sure place in one."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"path {text!r}: it is not UTF-8, and cannot be boxed on macOS; rename it") from None
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise ConfigError(f"path {text!r}: it has control characters, and cannot be boxed on macOS; rename it")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _rule(begin: str, filters: Sequence[str]) -> list[str]:
    """A rule for all of the filters; none without any, for that would hold for everything."""
    return [f"({begin}\n  " + "\n  ".join(filters) + ")"] if filters else []


def _literals(paths: Iterable[str]) -> list[str]:
    return [f"(literal {_quoted(path)})" for path in paths]


def _above(path: str) -> list[str]:
    parts = path.strip("/").split("/")
    return ["/" + "/".join(parts[:count]) for count in range(1, len(parts))]


class SeatbeltChild(PlainChild):
    """A started kernel process under a profile; its `transport` can be used at once.

    Parameters and errors as of `box.BoxedChild`. What it writes is in `work_folder`, until it is closed.
    """

    def __init__(
        self, python: str | Path | None = None, cwd: str | Path | None = None, settings: BoxSettings | None = None
    ) -> None:
        if not os.path.exists(SANDBOX_EXEC):
            raise BoxUnavailableError(f"no box can be built here: there is no {SANDBOX_EXEC}. Or, {OPT_OUT}")
        self.settings = settings or BoxSettings()
        self.work_folder = os.path.realpath(tempfile.mkdtemp(prefix="smol-"))
        self.upper: int | None = None
        """As of `box.BoxedChild`: there is no overlay."""
        notices: list[str] = []
        self._proxy: Any = None
        self._proxy_port: int | None = None
        self._cwd = working_folder(cwd)
        self._home = os.path.realpath(home_folder() or self.work_folder)
        try:
            self._facts = interpreter(
                str(python or sys.executable),
                box_environment(self.settings),
                writable=writable_places(self.settings.mounts),
            )
            if self._cwd != self._home and holds(self._cwd, self._home):
                notices.append(
                    f"The working folder {self._cwd} is not shown to the child kernel, which has an empty one."
                )
                self._cwd = self.work_folder
            if self.settings.allow_hosts:
                self._answer_hosts()
            super().__init__(python, self._cwd, notices)
        except BaseException:
            self._let_go()
            raise

    def _answer_hosts(self) -> None:
        from smol_kernel.executors.launchers.proxy import AllowProxy

        listener = socket.create_server(("127.0.0.1", 0))
        self._proxy_port = listener.getsockname()[1]
        self._proxy = AllowProxy(listener, self.settings.allow_hosts)
        self._proxy.start()

    def _command(self, python: str, arguments: list[str]) -> list[str]:
        executables, readable, packages = _interpreter_files(self._facts, self._cwd, self._home)
        folders = (self._cwd, self._home, self.work_folder, str(self._folder))
        text = profile(self.settings, readable, *folders, executables, packages, self._proxy_port)
        run = self._facts["executables"][0]
        return [SANDBOX_EXEC, "-p", text, run, "-c", _limits(self.settings) + PRELUDE, *arguments]

    def _environment(self, cwd: str | None) -> dict[str, str]:
        prefixes = [self._facts[name] for name in ("prefix", "base_prefix", "exec_prefix")]
        environment = with_project_path(box_environment(self.settings), [self._cwd], prefixes, self._cwd)
        if self._proxy_port is not None:
            address = f"http://127.0.0.1:{self._proxy_port}"
            environment |= dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), address)
        return environment | {
            "HOME": self.work_folder,
            "TMPDIR": self.work_folder,
            "USER": host_user(),
            "LOGNAME": host_user(),
            "PATH": f"{self._facts['prefix']}/bin",
            "JPY_PARENT_PID": str(os.getpid()),
            "IPYTHONDIR": f"{self.work_folder}/.ipython",
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        }

    def close(self) -> None:
        """Kill the process group, wait for its end and free everything."""
        super().close()
        self._let_go()

    def _let_go(self) -> None:
        if self._proxy is not None:
            self._proxy.close()
        shutil.rmtree(self.work_folder, ignore_errors=True)


def _interpreter_files(facts: dict[str, Any], cwd: str, home: str) -> tuple[list[str], list[str], list[str]]:
    """The executables of an interpreter, what it reads, and other folders it imports from; of what `interpreter` tells.

    Nothing that holds the working folder or the home is shown as the interpreter's.
    """
    executables = {*facts["executables"], *map(os.path.realpath, facts["executables"])}
    readable = {*executables}
    for prefix in map(os.path.realpath, (facts["prefix"], facts["base_prefix"], facts["exec_prefix"])):
        executables.add(f"{prefix}/Resources/Python.app/Contents/MacOS/Python")  # what a framework's python becomes
        whole = prefix == os.path.realpath(facts["base_prefix"]) and not (holds(prefix, cwd) or holds(prefix, home))
        if prefix not in ("/", "/usr", "/usr/local", "/opt/homebrew"):
            readable |= {prefix} if whole else {f"{prefix}/{part}" for part in PARTS}
    packages = {
        path
        for path in map(os.path.realpath, facts["path"])
        if not any(holds(above, path) for above in (*readable, cwd)) and not (holds(path, cwd) or holds(path, home))
    }
    return sorted(executables), sorted(readable), sorted(packages)


def _limits(settings: BoxSettings) -> str:
    """Python that sets the limits macOS heeds, none above the one that holds already."""
    wanted = resource_limits(settings.limits)
    heeded = {name: wanted[name] for name in ("RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_CPU", "RLIMIT_CORE")}
    return (
        f"import resource\nfor name, most in {heeded!r}.items():\n"
        "    hard = resource.getrlimit(getattr(resource, name))[1]\n"
        "    most = most if hard == resource.RLIM_INFINITY else min(most, hard)\n"
        "    resource.setrlimit(getattr(resource, name), (most, most))\n"
    )
