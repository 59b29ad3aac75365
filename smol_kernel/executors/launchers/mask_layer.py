"""Hides from a boxed child what came into its working folder after the box was built. `box` has it look before actions.

A layer of the overlay holds a whiteout for each name the child must not see (see `boot_files`); the host keeps a
descriptor of that layer, and adds to it.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time

from smol_kernel.executors.launchers.hidden import masked

SLOW_SECONDS = 0.02
"""A look that takes longer, in a folder of many thousands of files, is not followed by another in the same action:"""
PAUSE = 10
"""but after so many times as long, so that it costs a tenth of the time at most. Each action begins with one."""


class MaskLayer:
    """The layer open as `descriptor`, over the host's `folder`. `skip` are paths that stay to be seen (see `masked`),
    `known` those below the folder that are hidden already."""

    def __init__(self, descriptor: int, folder: str, skip: list[str], known: list[str]) -> None:
        self._descriptor, self._folder, self._skip = descriptor, folder, skip
        self._known = set(known)
        self._next = 0.0

    def renew(self, action: bool) -> list[str]:
        """Hide what is there now and is to be hidden; gives what was not yet. Raises OSError if it cannot be. Always
        looks before an `action`; within one not at every chance, where a look takes long."""
        if not action and time.monotonic() < self._next:
            return []
        begin, hidden = time.thread_time(), list[str]()
        for path in sorted(each.path for each in masked(self._folder, self._skip) if each.path != "."):
            if path not in self._known:
                self._hide(path)
                hidden.append(path)
                self._known.add(path)
        took = time.thread_time() - begin
        self._next = time.monotonic() + PAUSE * took if took > SLOW_SECONDS else 0.0
        return hidden

    def _hide(self, path: str) -> None:
        owner = os.fstat(self._descriptor)
        here, done = os.dup(self._descriptor), self._folder
        try:
            *folders, name = path.split("/")
            for part in folders:
                done = f"{done}/{part}"
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=here)
                    os.chmod(part, stat.S_IMODE(os.stat(done).st_mode) | 0o700, dir_fd=here)
                    os.chown(part, owner.st_uid, owner.st_gid, dir_fd=here)
                try:
                    below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
                except NotADirectoryError:
                    return  # hidden with all that is in it
                os.close(here)
                here = below
            with contextlib.suppress(FileExistsError):
                os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=here)
        finally:
            os.close(here)
