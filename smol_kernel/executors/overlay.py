"""The upper layer of a box's overlay: what its child made, changed and removed in the working folder.

`made_files` holds it. It is the child's to change while it is read here: it is reached through descriptors alone, no
link is followed, nothing but a regular file is opened, and of all else only the kind is told.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from smol_kernel.executors.launchers.finalizer import Finalizer, close_all
from smol_kernel.executors.launchers.hidden import Watch
from smol_kernel.executors.saved_files import FOLDER, READ, folder_below, open_below, same_content
from smol_kernel.executors.sqlite_log import INDEX_BLOCK, is_written_in
from smol_kernel.executors.unseen import is_unseen

MAX_TOLD = 1_000
"""Files that are listed; the others are counted."""
MAX_FOLDERS = 10_000
"""Folders that are looked into; each other one counts as a file that is not listed."""
MAX_DEPTH = 32
MAX_PATH = 400
"""Characters of a path that is listed."""
MAX_COMPARED = 64 << 20
"""Bytes of a file up to which it is compared with the one below: a larger one that was opened for writing is told."""
LITTER = frozenset(
    ("__pycache__", ".ipynb_checkpoints", ".ipython", ".jupyter", ".matplotlib", ".cache", ".pytest_cache")
)
"""Names of what programs leave behind by themselves."""

_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
_KINDS = {stat.S_IFREG: "file", stat.S_IFLNK: "link", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
Change = Literal["made", "changed", "removed"]


@dataclass(frozen=True)
class Made:
    """One file of a layer; `path` as the file system has it."""

    path: str
    change: Change
    bytes: int = 0
    type: str = "file"
    marks: tuple[int, ...] = ()
    """What changes whenever it is written to."""

    @property
    def shown(self) -> str:
        """The path without what a page or terminal would not show as it is."""
        pairs = zip(" " + self.path, self.path)  # noqa: B905 - each with the one before
        return "".join("\ufffd" if is_unseen(each, before) else each for before, each in pairs)

    def told(self) -> dict[str, Any]:
        """As FilesMade has it."""
        told = {"path": self.shown, "bytes": self.bytes, "change": self.change}
        return told if self.type == "file" else {**told, "type": self.type}

    def why_not(self, named: str | None) -> str:
        """Why it is not saved, `named` being the name it or a folder above it was asked for by; empty: it can be."""
        if self.change == "removed":
            return "was removed in the box; it stays where it is"
        if self.type != "file":
            return f"is a {self.type}; only files are saved"
        if self.shown != self.path:
            return "has a name with characters that are not shown; have it renamed in the box"
        beyond = self.path[len(named) :] if named is not None else self.path
        if any(part.startswith(".") for part in beyond.split("/")):
            return "is hidden; it is saved if it is named"
        return ""


@dataclass
class Listing:
    """Files found, in the order of their paths, and how many others there are."""

    files: list[Made] = field(default_factory=list)
    more: int = 0


class Layer:
    """The folder in which the files of one child gather, and the host's folder below it.

    `descriptor` is of the first, of which a duplicate is held: the files live as long as that does. `below` is the path
    of the second. What is hidden from the child there counts as not there: else it could write what it guesses, and
    learn from what is told whether it is that. `placed` was put into the first when the box was built, see `View`.
    """

    def __init__(self, descriptor: int, below: str, room: int, placed: Mapping[str, str] | None = None) -> None:
        self.below, self.room, self._placed = below, room, placed or {}
        held = [os.dup(descriptor)]
        self._upper, self._lower = held[0], None
        self._free = Finalizer(self, close_all, held)
        with suppress(OSError):
            self._lower = os.open(below, os.O_RDONLY | os.O_DIRECTORY)
            held.append(self._lower)
        self._watch = Watch(below)
        self._compared: dict[str, _Compared] = {}

    def close(self) -> None:
        """Let go of the files; more than once is fine."""
        self._free()

    def listing(self) -> Listing:
        """What is in it. Never raises for that."""
        look = _Look(self._compared, self._watch, self._placed)
        self._look(look, self._lower, "")
        self._compared = look.compared
        return look.found

    def files_in(self, path: str) -> Listing:
        """What is in a folder of it, whatever there is below."""
        look = _Look({}, self._watch, self._placed)
        self._look(look, None, path)
        return look.found

    def _look(self, look: _Look, lower: int | None, path: str) -> None:
        upper = None
        try:
            upper = folder_below(self._upper, path.split("/") if path else ())
            look.into(upper, lower, f"{path}/" if path else "")
        except OSError:
            look.found.more += 1
        finally:
            close_all([] if upper is None else [upper])

    def kind(self, parts: Sequence[str]) -> str:
        """What is at a path: "file", "folder", another kind, or empty for nothing."""
        try:
            folder = folder_below(self._upper, parts[:-1])
        except OSError:
            return ""
        try:
            status = _status(parts[-1], folder)
        finally:
            os.close(folder)
        if status is None or _is_whiteout(status):
            return ""
        return "folder" if stat.S_ISDIR(status.st_mode) else _kind(status)

    def open(self, parts: Sequence[str]) -> int:
        """A descriptor to read a file from. Raises OSError."""
        return open_below(self._upper, parts, READ)


_Marks = tuple[int, ...]
_Compared = tuple[_Marks, _Marks, bool]
_At = tuple[str, int | None]
"""The name of a file, and the folder it is in."""


class _Look:
    """One look through a layer; `known` is what the last one found out of contents, `watch` tells what is hidden."""

    def __init__(self, known: dict[str, _Compared], watch: Watch, placed: Mapping[str, str]) -> None:
        self._placed = placed
        self.found = Listing()
        self.compared: dict[str, _Compared] = {}
        self._known, self._watch, self._folders = known, watch, 0

    @cached_property
    def _hidden(self) -> set[str]:
        return {each.path for each in self._watch.masked()}

    def _below(self, name: str, lower: int | None, path: str) -> os.stat_result | None:
        """What the child saw there before."""
        status = _status(name, lower)
        return None if status is None or path in self._hidden else status

    def into(self, upper: int, lower: int | None, prefix: str, depth: int = 0) -> None:
        """Take in what is in a folder. The order is that of the names: of many the same ones are listed each time."""
        with os.scandir(upper) as entries:
            names = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
        for name, is_folder in names:
            if name in LITTER:
                continue
            path = prefix + name
            if is_folder:
                self._enter(upper, lower, name, path, depth)
            elif len(self.found.files) >= MAX_TOLD or len(path) > MAX_PATH:
                self.found.more += 1
            else:
                self._take(upper, lower, name, path)

    def _enter(self, upper: int, lower: int | None, name: str, path: str, depth: int) -> None:
        self._folders += 1
        if depth >= MAX_DEPTH or self._folders > MAX_FOLDERS:
            self.found.more += 1
            return
        inner = under = None
        try:
            inner = os.open(name, FOLDER, dir_fd=upper)
            existing = self._below(name, lower, path)
            if existing is not None and not stat.S_ISDIR(existing.st_mode):
                self._add(Made(path, "removed"))
            elif existing is not None:
                with suppress(OSError):
                    under = os.open(name, FOLDER, dir_fd=lower)
                if _is_opaque(inner):
                    self._add(Made(f"{path}/", "removed"))
            self.into(inner, under, f"{path}/", depth + 1)
        except OSError:  # closed to us, or gone meanwhile
            self.found.more += 1
        finally:
            close_all([each for each in (inner, under) if each is not None])

    def _take(self, upper: int, lower: int | None, name: str, path: str) -> None:
        status, existing = _status(name, upper), self._below(name, lower, path)
        if status is None or self._is_placed(upper, name, path, status):
            return  # gone meanwhile, or of the box itself
        if name.endswith(("-shm", "-wal")) and self._is_kept_by_sqlite(upper, lower, path, status, existing):
            return
        if _is_whiteout(status):
            if existing is not None:
                self._add(Made(path, "removed"))
        elif existing is None or not self._is_same(upper, lower, name, path, status, existing):
            kind = _kind(status)
            size = status.st_size if kind == "file" else 0
            self._add(Made(path, "made" if existing is None else "changed", size, kind, _marks(status)))

    def _is_placed(self, upper: int, name: str, path: str, status: os.stat_result) -> bool:
        """Whether it is still what was put there: an empty file, or a link that leads where it led."""
        leads = self._placed.get(path)
        if not leads:
            return leads is not None and stat.S_ISREG(status.st_mode) and not status.st_size
        with suppress(OSError):
            return os.readlink(name, dir_fd=upper) == leads
        return False

    def _add(self, made: Made) -> None:
        if len(self.found.files) < MAX_TOLD:
            self.found.files.append(made)
        else:
            self.found.more += 1

    def _is_same(
        self, upper: int, lower: int | None, name: str, path: str, status: os.stat_result, existing: os.stat_result
    ) -> bool:
        """Whether it is as the one below: overlayfs copies a file as soon as it is opened for writing."""
        if _kind(status) != _kind(existing):
            return False
        if stat.S_ISLNK(status.st_mode):
            with suppress(OSError):
                return os.readlink(name, dir_fd=upper) == os.readlink(name, dir_fd=lower)
            return False
        if not stat.S_ISREG(status.st_mode) or max(status.st_size, existing.st_size) > MAX_COMPARED:
            return False
        marks = _marks(status), _marks(existing)
        pair = ((name, upper), (name, lower))
        if status.st_size == existing.st_size and self._is_known(path, marks, pair, same_content):
            return True
        log = f"{name}-wal"
        if self._below(log, lower, f"{path}-wal") is None:
            return False
        return self._is_known(f"{path}\0log", marks, ((log, lower), *pair[::-1]), is_written_in)

    def _is_known(
        self, what: str, marks: tuple[_Marks, _Marks], files: Sequence[_At], is_so: Callable[..., bool]
    ) -> bool:
        """Whether something is so of files; it is found out once for files of these `marks`."""
        known = self.compared.get(what) or self._known.get(what)
        so = known[2] if known and known[:2] == marks else _of_files(files, is_so)
        self.compared[what] = (*marks, so)
        return so

    def _is_kept_by_sqlite(
        self, upper: int, lower: int | None, path: str, status: os.stat_result, existing: os.stat_result | None
    ) -> bool:
        """Whether it is what SQLite keeps beside a database by itself: the index of its log, or a log with nothing in
        it, or with nothing that is not in the database by now."""
        path, ending = path[:-4], path[-4:]
        name = path.rpartition("/")[2]
        over, under = _status(name, upper), self._below(name, lower, path)
        there = under if over is None or _is_whiteout(over) else over
        here = existing if _is_whiteout(status) else status
        if here is None or there is None or not (stat.S_ISREG(here.st_mode) and stat.S_ISREG(there.st_mode)):
            return False
        if ending == "-shm":
            return here.st_size > 0 and not here.st_size % INDEX_BLOCK
        if stat.S_ISREG(status.st_mode) and status.st_size:
            return False
        if existing is None or over is None or under is None or max(over.st_size, under.st_size) > MAX_COMPARED:
            return existing is None
        files = ((f"{name}-wal", lower), (name, lower), (name, upper))
        return self._is_known(f"{path}\0log", (_marks(over), _marks(under)), files, is_written_in)


def _status(name: str, folder: int | None) -> os.stat_result | None:
    if folder is None:
        return None
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None


def _is_whiteout(status: os.stat_result) -> bool:
    """Whether it is overlayfs' mark for a name that was removed
    (https://docs.kernel.org/filesystems/overlayfs.html#whiteouts-and-opaque-directories)."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _is_opaque(folder: int) -> bool:
    """Whether it stands for the folder below, of which then nothing is left."""
    for name in _OPAQUE:
        with suppress(OSError):
            return os.getxattr(folder, name) == b"y"
    return False


def _kind(status: os.stat_result) -> str:
    return _KINDS.get(stat.S_IFMT(status.st_mode), "device")


def _marks(status: os.stat_result) -> _Marks:
    """What changes whenever the content does; the time of the last change cannot be set."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _of_files(files: Sequence[_At], is_so: Callable[..., bool]) -> bool:
    opened: list[int] = []
    try:
        for name, folder in files:
            opened.append(os.open(name, READ, dir_fd=folder))
        return all(stat.S_ISREG(os.fstat(each).st_mode) for each in opened) and is_so(*opened)
    except OSError:
        return False
    finally:
        close_all(opened)
