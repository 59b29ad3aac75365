"""Hides from a boxed child what it must not see of a folder, also what came into its working folder after the box was
built. `box` has it look before actions.

A layer of the overlay holds a whiteout for each name the child must not see (see `boot_files`); the host keeps a
descriptor of that layer, and adds to it.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time

from smol_kernel.executors.launchers.hidden import Masked, Watch

SLOW_SECONDS = 0.02
"""A look that takes longer, in a folder of many thousands of files, is not followed by another in the same action:"""
PAUSE = 10
"""but after so many times as long, so that it costs a tenth of the time at most. Each action begins with one."""
RENEW_SECONDS = 0.5
"""How long the overlay may know a file's rights after they were changed: names that come and go it is told at once."""


class MaskLayer:
    """The layer open as `descriptor`, over the folder of `watch`, which has looked when the layer was made: `known` are
    the paths below it that are hidden already. `others` are folders in which names alone are looked for."""

    def __init__(self, descriptor: int, watch: Watch, known: list[str], others: list[Watch]) -> None:
        self._descriptor, self._watch = descriptor, watch
        self._others = [each for each in others if each.folder != watch.folder]
        self._known = set(known)
        self._seen: list[Masked] = []
        self._next = self._renewed = 0.0
        self.stale = True
        """Whether the overlays have to forget what they know of the folders below them."""

    def renew(self, action: bool) -> list[str]:
        """Hide what is there now and is to be hidden; gives what was not yet. Raises OSError if it cannot be. Always
        looks before an `action`; within one not at every chance, where a look takes long."""
        if not action and time.monotonic() < self._next:
            return []
        begin, hidden = time.thread_time(), list[str]()
        found = self._watch.masked()
        if found is not self._seen:
            for path in sorted(each.path for each in found if each.path != "."):
                if path not in self._known:
                    hide(self._descriptor, self._watch.folder, path)
                    hidden.append(path)
                    self._known.add(path)
        self._seen = found
        for each in self._others:
            each.masked()
        took = time.thread_time() - begin
        now = time.monotonic()
        self._next = now + PAUSE * took if took > SLOW_SECONDS else 0.0
        changed = any(each.changed for each in (self._watch, *self._others))
        self.stale = self.stale or changed or now > self._renewed + RENEW_SECONDS
        return hidden

    def renewed(self) -> None:
        """They have forgotten."""
        self._renewed, self.stale = time.monotonic(), False


def hide(descriptor: int, folder: str, path: str) -> None:
    """Let nothing be there at `path` below the folder, in a layer of an overlay over it that is open as `descriptor`:
    overlayfs' whiteout, in folders with the rights of those below. Raises OSError."""
    owner = os.fstat(descriptor)
    here, done = os.dup(descriptor), folder
    try:
        *folders, name = path.split("/")
        for part in folders:
            done = f"{done}/{part}"
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, dir_fd=here)
                os.chmod(part, _mode(done), dir_fd=here)
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


def _mode(folder: str) -> int:
    with contextlib.suppress(FileNotFoundError):  # it has gone meanwhile
        return stat.S_IMODE(os.stat(folder).st_mode) | 0o700
    return 0o700
