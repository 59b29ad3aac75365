"""Writes a file whole or not at all; what was there before stays until then."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from contextlib import suppress
from pathlib import Path


def write_whole(text: str, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write `text` to `path` as UTF-8, a question mark for what that cannot hold; gives the whole path.

    Raises FileExistsError unless `overwrite`, and OSError where the file cannot be written.
    """
    target = Path(path).expanduser().resolve()
    if not overwrite:  # taken at once, so that nobody else's file of that name can be lost
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    elif target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    beside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        beside.write_text(text, encoding="utf-8", errors="replace")
        if target.exists():
            shutil.copymode(target, beside)
        os.replace(beside, target)
    except BaseException:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
            if not overwrite:
                target.unlink()
        raise
    return target
