"""Copies files out of a box into a folder of the user's. `made_files` uses it.

Source and target are reached through descriptors, from one folder down, and no link is followed on the way: the child
may change the one side while it is read, and the other may hold links that lead elsewhere.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from smol_kernel.errors import ConfigError
from smol_kernel.executors.launchers.host_imports import note_saved
from smol_kernel.executors.places import open_folder

READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
"""How a file that another may have put there is opened: no link is followed, and nothing is waited for."""
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_PIECE = 1 << 20
_OPEN = ("-shm", ".wal")
"""What lies beside a SQLite or DuckDB database that is open, or was not closed, behind its name."""

_Open = Callable[[Sequence[str]], int]


class SavedFiles(list[Path]):
    """Where files were saved, or were already; `refused` tells of each other one why it was not."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"SavedFiles({super().__repr__()}, refused={self.refused!r})"


class _Refused(Exception):
    """Why a file is not saved."""


class Saver:
    """Saves into the folder `target`, which is made if need be, `room` bytes at most; a context manager.

    Without `overwrite` a file that is there stays. Raises ConfigError if there can be no such folder, and where a link
    that lies in one of the `untrusted` folders leads to it.
    """

    def __init__(self, target: Path, room: int, overwrite: bool, untrusted: Sequence[str | Path] = ()) -> None:
        self.saved = SavedFiles()
        self._target, self._room, self._overwrite = target, room, overwrite
        self._whole = room
        try:
            self._folder = open_folder(target, untrusted, make=True)
        except OSError as error:
            raise ConfigError(f"nothing can be saved in {str(target)!r}: {error.strerror}; name a folder") from None

    def __enter__(self) -> Saver:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._folder)

    def refuse(self, name: str, why: str) -> None:
        """Note why something is not saved."""
        self.saved.refused[name] = why

    def save(self, parts: Sequence[str], open_source: _Open) -> None:
        """Save the file at `parts`, below the target; `open_source` gives a descriptor of it."""
        opened: list[int] = []
        try:
            opened.append(open_source(parts))
            opened.append(folder_below(self._folder, parts[:-1], make=True))
            self._copy(opened[0], opened[1], parts, open_source)
            self.saved.append(self._target.joinpath(*parts))
            note_saved(str(self.saved[-1]))
        except _Refused as error:
            self.refuse("/".join(parts), str(error))
        except OSError as error:
            self.refuse("/".join(parts), _why(error))
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def _copy(self, source: int, folder: int, parts: Sequence[str], open_source: _Open) -> None:
        name = parts[-1]
        status = os.fstat(source)
        if not stat.S_ISREG(status.st_mode):
            raise _Refused("is no file any more")
        if status.st_size > self._room:
            raise _Refused(f"is too large: {self._whole:,} bytes are saved at most, the disk limit of the box")
        existing = _existing(name, folder)
        is_file = existing is not None and stat.S_ISREG(existing.st_mode)
        if is_file and not self._overwrite and self._is_there(source, folder, name):
            return
        self._keep_databases(folder, parts, existing is not None, open_source)
        if existing is not None and not self._overwrite:
            raise _Refused("is there already; it is replaced if overwriting is asked for")
        part = f".smol-{secrets.token_hex(8)}.part"
        mode = stat.S_IMODE(existing.st_mode) & 0o777 if existing and is_file else None
        copy, taken = os.open(part, _NEW, 0o644, dir_fd=folder), False
        try:
            try:
                _fill(copy, source, status)
                if mode is not None:
                    os.fchmod(copy, mode)
            finally:
                os.close(copy)
            if not self._overwrite:  # taken first, so that nobody's file of that name can be lost
                os.close(os.open(name, _NEW, 0o644, dir_fd=folder))
                taken = True
            os.replace(part, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            for each in [part, name] if taken else [part]:
                with suppress(OSError):
                    os.unlink(each, dir_fd=folder)
            raise
        self._room -= status.st_size

    def _keep_databases(self, folder: int, parts: Sequence[str], is_there: bool, open_source: _Open) -> None:
        """Raise _Refused for what would part a database from its log: whoever has it open would write to what is no
        more, and the log of one would be taken for that of another."""
        path, name = "/".join(parts), parts[-1]
        is_beside = name.endswith(("-wal", *_OPEN)) and _existing(name[:-4], folder) is not None
        if is_beside and path[:-4] in self.saved.refused:
            raise _Refused(f"belongs to {path[:-4]}, which was not saved")
        if not is_there:
            return
        database = name[:-4] if is_beside else name
        signs = [f"{database}{ending}" for ending in _OPEN]
        if not is_beside and not _is_in(open_source, [*parts[:-1], f"{name}-wal"]):  # else that takes its place
            signs.append(f"{name}-wal")
        for sign in signs:
            is_new = self._target.joinpath(*parts[:-1], sign) in self.saved
            if not is_new and _existing(sign, folder) is not None:
                raise _Refused(
                    f"is of a database that is open there, or was not closed, as {sign} shows; "
                    "close it first, or save into another folder"
                )

    def _is_there(self, source: int, folder: int, name: str) -> bool:
        """Whether the file that is there has the same content."""
        there = os.open(name, READ, dir_fd=folder)
        try:
            return os.fstat(there).st_size == os.fstat(source).st_size and same_content(source, there)
        finally:
            os.close(there)


def _fill(copy: int, source: int, status: os.stat_result) -> None:
    """Write all that `source` held when it had this `status`."""
    left = status.st_size
    while left and (piece := os.read(source, min(_PIECE, left))):
        left -= len(piece)
        while piece:
            piece = piece[os.write(copy, piece) :]
    now = os.fstat(source)
    if left or (now.st_size, now.st_mtime_ns) != (status.st_size, status.st_mtime_ns):
        raise _Refused("changed while it was copied; save it once more")


def folder_below(folder: int, parts: Sequence[str], make: bool = False) -> int:
    """A descriptor of the folder at `parts` below `folder`; with `make` those that are not there are made.

    Raises OSError, also where a part of the way is a link.
    """
    at = os.open(".", FOLDER, dir_fd=folder)
    for part in parts:
        try:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=at)
            inner = os.open(part, FOLDER, dir_fd=at)
        finally:
            os.close(at)
        at = inner
    return at


def open_below(folder: int, parts: Sequence[str], flags: int) -> int:
    """A descriptor of what is at `parts` below `folder`. Raises OSError, also where a part of the way is a link."""
    at = folder_below(folder, parts[:-1])
    try:
        return os.open(parts[-1], flags, dir_fd=at)
    finally:
        os.close(at)


def same_content(one: int, other: int) -> bool:
    """Whether two files hold the same, from their beginning; both can be read from there afterwards."""
    at = 0
    while (piece := os.pread(one, _PIECE, at)) == os.pread(other, _PIECE, at):
        if not piece:
            return True
        at += len(piece)
    return False


def _is_in(open_source: _Open, parts: Sequence[str]) -> bool:
    try:
        os.close(open_source(parts))
    except OSError:
        return False
    return True


def _existing(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _why(error: OSError) -> str:
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return "has a link or a file where there would have to be a folder"
    if error.errno == errno.EEXIST:
        return "is there already; it is replaced if overwriting is asked for"
    if error.errno == errno.EISDIR:
        return "is a folder there"
    return f"cannot be copied: {error.strerror}"
