"""Finds a place to write to, and follows no link that a boxed child may have made on the way.

In its writable mounts a child can put a link in the place of anything, also while the host looks, and at what only the
host can reach. So a way through one of these is gone folder by folder, by descriptors.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from smol_kernel.memory.which_file import file_at

_STEP = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW
_MOST_LINKS = 40
ANYWHERE = ("/",)
"""As `untrusted`: no link at all is followed."""
_LED = "a link on the way there lies where the agent's code can write; name the place itself"


def open_folder(path: Path, untrusted: Sequence[str | Path] = (), *, make: bool = False) -> int:
    """A descriptor of the folder at the absolute `path`; with `make` it is made if need be.

    Raises OSError, also for a link on the way that lies in one of the `untrusted` folders.
    """
    if not untrusted:
        if make:
            path.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    way = _Way(untrusted)
    try:
        way.go([*path.parts[1:]], make)
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=way.folders[-1])
    finally:
        way.close()


def open_place(path: Path, untrusted: Sequence[str | Path] = ()) -> tuple[int, Path]:
    """A descriptor of the folder that a file at `path` is in, and the path of the file, links followed.

    A link in its own place is not followed if it lies in one of the `untrusted` folders: then the path is that of the
    link. Raises OSError as `open_folder` does.
    """
    if not untrusted:
        path = Path(os.path.realpath(path))
        return os.open(path.parent, _STEP), path
    way = _Way(untrusted)
    try:
        left = [*path.absolute().parts[1:]]
        while True:
            way.go(left[:-1], make=False)
            name = left[-1] if left else "."
            link = None if way.is_untrusted() else way.link(name)
            if link is None:
                return os.dup(way.folders[-1]), Path("/", *way.names, name)
            left = way.beginning(link)
    finally:
        way.close()


class _Way:
    """The folders from the root to where one has come, each opened from the one before, and their names."""

    def __init__(self, untrusted: Sequence[str | Path]) -> None:
        self.folders, self.names = [os.open("/", _STEP)], list[str]()
        self._untrusted = {file_at(each) for each in untrusted}
        self._links = 0

    def close(self, but: int = 0) -> None:
        """Go back, to the first `but` folders."""
        while len(self.folders) > but:
            os.close(self.folders.pop())
        del self.names[max(0, but - 1) :]

    def is_untrusted(self) -> bool:
        """Whether a child can write in the folder that one is in."""
        passed = ((status.st_dev, status.st_ino) for status in map(os.fstat, self.folders))
        return any(each in self._untrusted for each in passed)

    def go(self, parts: Sequence[str], make: bool) -> None:
        """Go on, through folders of these names."""
        left = [*parts]
        while left:
            part = left.pop(0)
            if part == "..":
                self.close(but=max(1, len(self.folders) - 1))
            elif not self._enter(part, make):
                link = self.link(part)
                if link is None:
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), part)
                if self.is_untrusted():
                    raise OSError(errno.ELOOP, _LED, part)
                left = [*self.beginning(link), *left]

    def _enter(self, part: str, make: bool) -> bool:
        """Go into a folder; False if that is no folder, or a link."""
        try:
            try:
                folder = os.open(part, _STEP, dir_fd=self.folders[-1])
            except FileNotFoundError:
                if not make:
                    raise
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=self.folders[-1])
                folder = os.open(part, _STEP, dir_fd=self.folders[-1])
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                return False
            raise
        self.folders.append(folder)
        self.names.append(part)
        return True

    def link(self, name: str) -> str | None:
        """Where the link of this name leads; None if it is none."""
        try:
            return os.readlink(name, dir_fd=self.folders[-1])
        except OSError:
            return None

    def beginning(self, link: str) -> list[str]:
        """The parts of where a link leads, from the folder one is in then: it is the root for a whole path."""
        self._links += 1
        if self._links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), link)
        if link.startswith("/"):
            self.close(but=1)
        return [part for part in link.split("/") if part not in ("", ".")]
