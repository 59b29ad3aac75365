"""The file that `-o` names: where it is, noted before a run, and the answer written there afterwards."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from smol_kernel.errors import ConfigError
from smol_kernel.executors.places import ANYWHERE, open_place
from smol_kernel.runs.file_form import require_form
from smol_kernel.runs.whole_file import write_whole

_OPEN = re.compile(r"/dev/(stdout|stderr)|(?:/dev|/proc/self)/fd/([0-9]+)")
"""What is open in this process."""


class AnswerFile:
    """What is at the path that was given, before anything is run.

    The run may be able to write there (`--mount .:rw`), and so to put a link or a pipe in the place of the file or of a
    folder above it. So links are followed now, and none later; and nothing but a regular file is opened then, unless it
    is the very thing that is there now. What is open already (`/dev/stdout`) is written on. Raises ConfigError if no
    answer can be written there, which is so of a notebook and of the files that are `handed` in: options as they were
    given, each with the path that it names.
    """

    def __init__(self, given: str, handed: Sequence[tuple[str, str]] = ()) -> None:
        if given == "-":  # a file of that name is ./-
            raise ConfigError("-o -: name a file, or /dev/stdout")
        self.path = path = Path(given)
        if path.is_dir() or not path.parent.is_dir():
            what = f"{given!r} is a folder" if path.is_dir() else f"there is no folder {str(path.parent)!r}"
            raise ConfigError(f"-o {given}: {what}")
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise ConfigError(f"-o {given}: it cannot be written (no permission)")
        for option, file in handed:
            if _is_same(path, Path(file).expanduser()):
                raise ConfigError(
                    f"-o {given}: this file is handed in by {option} and stays as it is; name another one"
                )
        require_form(path.suffix.lower(), f"-o {given}")
        self._open = _descriptor(given)
        found = path.stat() if path.exists() else None
        self._other = None if found is None or stat.S_ISREG(found.st_mode) else _what(found)
        self._target = Path(os.path.realpath(path))

    def write(self, data: bytes) -> None:
        """Write it. Raises OSError."""
        if self._open is not None:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()  # what was said before stands before it
            with open(os.dup(self._open), "wb") as file:
                file.write(data)
        elif self._other is not None:  # a pipe, a terminal
            if _what(os.stat(self.path)) != self._other:
                raise OSError(0, "something else is in its place now")
            self._put(data, os.open(self.path, os.O_WRONLY | os.O_NOCTTY))
        elif os.access(self._target.parent, os.W_OK):
            write_whole(data, self._target, overwrite=True, untrusted=ANYWHERE)
        else:  # nothing can be made beside it
            folder, target = open_place(self._target, ANYWHERE)
            try:
                flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
                self._put(data, os.open(target.name, flags, dir_fd=folder))
            finally:
                os.close(folder)

    def write_beside(self, data: bytes, run: str) -> Path:
        """Write it as text that is named after the file and the run, for want of the form that was asked for; gives
        the path. Raises OSError."""
        beside = self._target.with_name(f"{self._target.name}.{run}.txt")
        return write_whole(data, beside, untrusted=ANYWHERE)

    def _put(self, data: bytes, descriptor: int) -> None:
        with open(descriptor, "wb") as file:
            found = os.fstat(descriptor)
            is_file = self._other is None and stat.S_ISREG(found.st_mode)
            if not is_file and _what(found) != self._other:
                raise OSError(0, "something else is in its place now")
            if is_file:
                file.truncate(0)
            file.write(data)


def _descriptor(given: str) -> int | None:
    """The descriptor that is meant by a path such as /dev/stdout."""
    if (named := _OPEN.fullmatch(given)) is None:
        return None
    return {"stdout": 1, "stderr": 2}[named[1]] if named[1] else int(named[2])


def _is_same(one: Path, other: Path) -> bool:
    """Whether both paths lead to the same file, be it there or not."""
    if one.exists() and other.exists():
        return one.samefile(other)
    return os.path.realpath(one) == os.path.realpath(other)


def _what(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_dev, found.st_ino, stat.S_IFMT(found.st_mode)
