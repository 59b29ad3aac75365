"""Watches a piece of code: what it may not do is noted, and how much memory it took is told."""

from __future__ import annotations

import os
import site
import sys
import sysconfig
import threading
from typing import Any

LIBRARIES = ("numpy", "pandas", "pyarrow", "PIL", "zoneinfo", "tzdata", "encodings", "dateutil", "importlib", "_")
"""Packages that may load more of themselves."""
_FOLDERS = tuple(
    {*(os.path.realpath(path) for path in (*sysconfig.get_paths().values(), *site.getsitepackages(), sys.base_prefix))}
)
_READABLE = (
    *_FOLDERS,
    "/usr/share/zoneinfo",
    "/usr/lib",
    "/etc/localtime",
    *([os.path.realpath(sys.pycache_prefix)] if sys.pycache_prefix else []),  # byte code kept in one place
    "/proc/self",
    "/usr/share/lib",
    "/dev/null",
)
_FORBIDDEN = (
    *(
        "os.system",
        "os.exec",
        "os.posix_spawn",
        "os.fork",
        "os.forkpty",
        "os.spawn",
        "os.kill",
        "os.remove",
        "os.rename",
    ),
    *("os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.chown", "os.truncate", "os.putenv", "os.chdir"),
    *("subprocess.Popen", "shutil.", "socket.", "ctypes.", "pickle.find_class", "webbrowser.open", "urllib.Request"),
    *("sqlite3.", "tempfile.", "http.", "ftplib.", "smtplib.", "code.__new__", "function.__new__", "builtins.input"),
)
_state = threading.local()


class Guard:
    """A context in which the thread is watched; `deeds` are then the forbidden things that it did."""

    def __init__(self) -> None:
        self.deeds: list[str] = []

    def __enter__(self) -> Guard:
        self._byte_code, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # a library may load more of itself
        _state.guard = self
        return self

    def __exit__(self, *_: object) -> None:
        _state.guard = None
        sys.dont_write_bytecode = self._byte_code


def _hook(event: str, args: tuple[Any, ...]) -> None:
    guard: Guard | None = getattr(_state, "guard", None)
    if guard is None:
        return
    _state.guard = None
    try:
        if _forbidden(event, args):
            guard.deeds.append(f"{event} {args!r:.200}")
    finally:
        _state.guard = guard


def _forbidden(event: str, args: tuple[Any, ...]) -> bool:
    if event == "open":
        path, mode, flags = args
        writes = bool(set(str(mode or "")) & set("wax+")) or bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        return writes or not os.path.realpath(str(path)).startswith(_READABLE)
    if event == "import":
        return not str(args[0]).startswith(LIBRARIES)
    if event == "exec":  # the body of a module that is being imported has a file
        return not os.path.realpath(getattr(args[0], "co_filename", "")).startswith(_FOLDERS)
    if event == "compile":
        return not os.path.realpath(str(args[1])).startswith(_FOLDERS)
    return event.startswith(_FORBIDDEN)


sys.addaudithook(_hook)


class Peak:
    """The most memory that the process had since `begin`, in bytes above what it had then; 0 if it cannot be told."""

    def begin(self) -> None:
        """Count anew (https://man7.org/linux/man-pages/man5/proc_pid_clear_refs.5.html)."""
        try:
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")
        except OSError:
            pass
        self._before = _status("VmRSS")

    @property
    def bytes(self) -> int:
        """So far."""
        return _status("VmHWM") - self._before


def _status(name: str) -> int:
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))
    except (OSError, StopIteration):
        return 0
