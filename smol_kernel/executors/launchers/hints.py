"""What an error of an action has to do with the box, in a plain sentence or two: the limit, its value, what to do.

The executor adds it to what the child said. That text is the child's and may be forged: it only chooses among sentences
that hold for the box in any case, and nothing of it is repeated.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

from smol_kernel.executors.launchers.hidden import is_hidden
from smol_kernel.executors.launchers.links import leads_out, other_names
from smol_kernel.executors.launchers.project_path import imports_elsewhere
from smol_kernel.executors.launchers.settings import BoxSettings, held_limit, size_in_words
from smol_kernel.executors.launchers.view import host_home, is_shown
from smol_kernel.executors.launchers.working_folder import holds

MAX_READ = 20_000
"""Characters of a message that are looked at."""

_PROGRAMS = """
sh bash zsh ls cat cp mv rm mkdir head tail wc sort grep sed awk find ps kill which env tar zip unzip curl wget ssh git
make cmake cc gcc g++ clang pip pip3 uv conda apt apt-get brew node npm npx java R Rscript julia go cargo rustc docker
ffmpeg convert dot pdflatex xelatex pandoc tesseract nvidia-smi
"""
_PROGRAM_FOLDERS = ("/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/", "/usr/local/bin/", "/opt/homebrew/bin/")
_is_linux = sys.platform == "linux"  # on macOS such a folder is shown
_MISSING = re.compile(r"No such file or directory\b[^\n:]*: (?P<quote>b?['\"]?)(?P<path>[^\n'\"]+)")
_NO_MODULE = re.compile(r"No module named '(?P<name>\w+)'")


@dataclass(frozen=True)
class _Box:
    """What the sentences tell of."""

    settings: BoxSettings
    cwd: str | None

    def more(self, limit: str) -> str:
        _, name = held_limit(self.settings.limits, limit)
        return f"or ask the user {f'to raise {name}' if 'ulimit' in name else f'for more: limits={{{limit!r}: ...}}'}"

    def most(self, limit: str) -> tuple[str, str]:
        """How many bytes or pieces there may be, and what sets that."""
        most, name = held_limit(self.settings.limits, limit)
        return size_in_words(most) if limit in ("memory", "file_size") else f"{most:,}", name

    def memory(self) -> str:
        most, name = self.most("memory")
        return (
            f"The box lets a process hold at most {most} of data in memory ({name}). Work on it in parts, free "
            f"what is not needed, {self.more('memory')}."
        )

    def disk(self) -> str:
        most = size_in_words(self.settings.limits.disk)
        return (
            f"All files written in the box may take {most} together (limit disk); they are kept in memory. Delete what "
            f"is not needed, {self.more('disk')}. A mounted folder has the space of its own disk instead."
        )

    def file_size(self) -> str:
        most, name = self.most("file_size")
        return f"In the box a file may have at most {most} ({name}). Write several, {self.more('file_size')}."

    def database(self) -> str:
        most, name = self.most("file_size")
        return (
            f"In the box a file may have at most {most} ({name}), all together "
            f"{size_in_words(self.settings.limits.disk)} (limit disk); this may be why."
        )

    def processes(self) -> str:
        most, name = self.most("processes")
        return (
            f"The box has at most {most} processes and threads at once ({name}). "
            f"End some, use fewer workers, {self.more('processes')}."
        )

    def may_be_processes(self) -> str:
        return f"If a process or thread was to be started: {self.processes()}"

    def open_files(self) -> str:
        most, name = self.most("open_files")
        return (
            f"A process in the box has at most {most} open files and sockets at once ({name}). Close those "
            f"that are not needed, {self.more('open_files')}."
        )

    def read_only(self) -> str:
        writable = [mount.path for mount in self.settings.mounts if mount.writable]
        places = ", ".join([*writable, "the working folder", "the home folder", "/tmp"])
        return f"In the box these can be written: {places}. For another, ask the user for --mount PATH:rw."

    def network(self) -> str | None:
        if self.settings.network == "full":
            return None
        hosts = self.settings.allow_hosts
        if not hosts:
            return (
                "The box has no network; tools run outside of it and may have. If a host is needed, ask the user for "
                "--allow-host NAME."
            )
        return (
            f"From the box only {', '.join(hosts)} can be reached, and only by http and https through the proxy that "
            "http_proxy and https_proxy name. If another host is needed, ask the user for --allow-host NAME."
        )

    def loopback(self) -> str | None:
        if self.settings.network == "full":
            return None
        return "In the box 127.0.0.1 is the box itself: servers that run on this machine are not reached from it."

    def refused_call(self) -> str:
        return (
            "The box refuses some system calls, among them those for mounts, namespaces, tracing, clocks and raw "
            "sockets; this may be one. No setting allows them: do it in another way, or with a tool."
        )

    def no_program(self) -> str:
        return (
            "In the box there is no shell and no program but Python itself (sys.executable): do it with Python's own "
            "means, or with a tool."
        )

    def _is_elsewhere(self) -> bool:
        """Whether it works in another folder than the user's program."""
        return self.cwd is not None and _is_linux and not is_shown(self.cwd, host_home())

    def _shown(self) -> list[str]:
        """Folders and files of the user's that it shows."""
        own = [self.cwd] if self.cwd and not self._is_elsewhere() else []
        return [*own, *(mount.path for mount in self.settings.mounts)]

    def _real(self, path: str) -> str:
        """The path, which is not looked at, as a real one if it begins with another name of what is shown."""
        names = other_names(self.settings, self.cwd or "")
        for name in sorted(names, key=len, reverse=True):
            if holds(name, path):
                return names[name] + path[len(name) :]
        return path

    def missing(self, path: str) -> str | None:
        """Of a file that is not there."""
        if path.startswith(_PROGRAM_FOLDERS) or path in _PROGRAMS.split():
            return self.no_program()
        whole = self._real(os.path.normpath(os.path.join(self.cwd or "/", path)))
        inside = self.cwd is not None and holds(self.cwd, whole)
        if any(
            is_hidden(name)
            for name in (os.path.relpath(whole, self.cwd) if inside else path).split("/")
            if name != ".."
        ):
            return (
                "Hidden files, and those that by their names hold keys or credentials, are not shown in the box. If it "
                "is there and needed, ask the user for --mount PATH."
            )
        if leads_out(whole, self._shown()):
            return (
                "Of this machine's files the box shows the working folder and what is mounted. A link on the way to "
                "this one leads elsewhere. If it is needed, ask the user for --mount PATH of what the link leads to."
            )
        elsewhere = os.path.isabs(path) or path.startswith("..")
        if any(holds(mount.path, whole) for mount in self.settings.mounts):
            return None
        if (inside or not elsewhere) and self._is_elsewhere():
            return self.other_folder()
        if inside or not elsewhere:
            return None
        return (
            "Of this machine's files the box shows the working folder and what is mounted; home and /tmp are its own. "
            "If the file lies elsewhere, ask the user for --mount PATH."
        )

    def no_module(self, name: str) -> str | None:
        """Of a module that is not found. Its name, which is the child's, is looked for only where the child sees all:
        whether this machine has a module is not told."""
        places = [os.path.join(self.cwd or "/", name + end) for end in ("", ".py")]
        shown = self._shown()
        if not imports_elsewhere(shown) and not any(leads_out(place, shown) for place in places):
            return None
        if self._is_elsewhere():
            return self.other_folder()
        return (
            "Of the user's own modules the box has those in the working folder, in what is mounted, and those that are "
            "installed. If this is one that lies elsewhere, ask the user for --mount PATH."
        )

    def other_folder(self) -> str:
        return (
            "The folder in which the user's program works is not shown in the box, which works in an empty one of "
            "its own. If the file lies there, ask the user for --mount PATH, or to work in another folder."
        )

    def worker(self) -> str:
        most, name = self.most("memory")
        return f"A worker that ended may have needed more than the {most} of data a process may hold ({name})."


_MEMORY_TYPES = frozenset(("MemoryError", "_ArrayMemoryError", "ArrowMemoryError"))
_POOL_TYPES = frozenset(("BrokenProcessPool", "TerminatedWorkerError"))
_BY_TEXT: tuple[tuple[re.Pattern[str], Callable[[_Box], str | None]], ...] = tuple(
    (re.compile(pattern), told)
    for pattern, told in (
        (r"can't start new thread", _Box.processes),
        (r"^Unable to allocate |Cannot allocate memory|can't allocate memory|std::bad_alloc", _Box.memory),
        (r"No space left on device", _Box.disk),
        (r"File too large", _Box.file_size),
        (r"^(disk I/O error|database or disk is full)$", _Box.database),
        (r"Too many open files", _Box.open_files),
        (r"Read-only file system", _Box.read_only),
        (
            r"Temporary failure in name resolution|Name or service not known|No address associated with hostname",
            _Box.network,
        ),
        (
            r"nodename nor servname provided|[Ff]ailed to lookup address|Network is unreachable|No route to host",
            _Box.network,
        ),
        (r"Tunnel connection failed: 403|^403 Forbidden", _Box.network),
        (r"Connection refused", _Box.loopback),
        (r'^"\w+" shell not found', _Box.no_program),
        (r"Operation not permitted|Function not implemented|Address family not supported", _Box.refused_call),
    )
)


def hint(error_type: str | None, message: str | None, settings: BoxSettings, cwd: str | None = None) -> str | None:
    """What to add to an error that the box may have caused; None for one that has nothing to do with it.

    `error_type` and `message` are the error's class name and text, `cwd` the child's working folder.
    """
    box, message = _Box(settings, cwd), (message or "")[:MAX_READ]
    if error_type in _MEMORY_TYPES:
        return box.memory()
    if error_type in _POOL_TYPES:
        return box.worker()
    if error_type == "BlockingIOError":
        return box.may_be_processes() if "Resource temporarily unavailable" in message else None
    for pattern, told in _BY_TEXT:
        if pattern.search(message):
            return told(box)
    if error_type == "ModuleNotFoundError":
        unknown = _NO_MODULE.fullmatch(message)
        return box.no_module(unknown["name"]) if unknown else None
    missing = _MISSING.search(message)
    return box.missing(missing["path"]) if missing else None


def hint_of_death(exit_code: int | None, settings: BoxSettings, out_of_memory: bool = False) -> str | None:
    """Why a boxed child may have died; None if nothing of the box is known to end one so.

    `exit_code` is as a shell tells it, 128 and the number of the signal, or as `subprocess` does, below 0 (None: not
    known); `out_of_memory` says that the system killed a process of the box's control group because all of it together
    had reached its limit.
    """
    if exit_code is not None and exit_code < 0:
        exit_code = 128 - exit_code
    box, limits = _Box(settings, None), settings.limits
    if out_of_memory:
        return (
            "All processes of the box together had used up its memory: "
            f"{size_in_words(limits.memory)} (limit memory), and {size_in_words(limits.disk)} of files (limit disk). "
            "Work in parts, use fewer workers, or ask the user for more: limits={'memory': ...}."
        )
    if exit_code == 128 + signal.SIGXCPU:
        seconds, name = box.most("cpu_seconds")
        return f"It had used up its {seconds} s of processor time ({name}); a fresh child begins anew."
    if exit_code == 128 + signal.SIGKILL:
        return "It was killed: by its own code, from outside, or because the memory of this machine ran out."
    if exit_code == 128 + signal.SIGBUS:
        return f"It may have written to a mapped file when there was no space left: {box.disk()}"
    if exit_code == 128 + signal.SIGABRT:
        return f"It gave up by itself, which a library may do when it gets no memory. {box.memory()}"
    if exit_code == 128 + signal.SIGSYS:
        return f"It was ended for a system call. {box.refused_call()}"
    return None
