"""Writes a file whole or not at all; what was there before stays until then."""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from smol_kernel.executors.places import open_place

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


def write_whole(
    content: str | bytes, path: str | Path, *, overwrite: bool = False, untrusted: Sequence[str | Path] = ()
) -> Path:
    """Write `content` to `path`, text as UTF-8, a question mark for what that cannot hold; gives the whole path.

    Links are followed, but for those that lie in one of the `untrusted` folders: one in the file's own place is
    replaced. Raises FileExistsError unless `overwrite`, and OSError where the file cannot be written.
    """
    folder, target = open_place(Path(path).expanduser(), untrusted)
    data = content.encode("utf-8", "replace") if isinstance(content, str) else content
    try:
        _write(data, folder, target.name, overwrite)
    finally:
        os.close(folder)
    return target


def _write(data: bytes, folder: int, name: str, overwrite: bool) -> None:
    mode = None
    with suppress(FileNotFoundError):
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    if not overwrite:  # taken at once, so that nobody else's file of that name can be lost
        os.close(os.open(name, _NEW, 0o666, dir_fd=folder))
    elif mode is not None and stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    beside = f".{name}.{uuid.uuid4().hex[:8]}.part"
    try:
        with open(os.open(beside, _NEW, 0o666, dir_fd=folder), "wb") as file:
            file.write(data)
            if mode is not None and stat.S_ISREG(mode):
                os.fchmod(file.fileno(), stat.S_IMODE(mode))
        os.replace(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        for each in [beside] if overwrite else [beside, name]:
            with suppress(OSError):
                os.unlink(each, dir_fd=folder)
        raise
