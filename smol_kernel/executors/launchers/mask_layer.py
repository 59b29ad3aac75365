"""Hides from a boxed child what it must not see of a folder, also what came into it after the box was built. `box` has
it look before actions.

A layer of the overlay holds a whiteout for each name the child must not see (see `boot_files`). Of the working folder's
the host keeps a descriptor, and adds to it; in other folders what comes later is covered by the box.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable, Mapping

from smol_kernel.executors.launchers.hidden import Masked, Watch, is_key

SLOW_SECONDS = 0.02
"""A look that takes longer, in a folder of many thousands of files, is not followed by another in the same action:"""
PAUSE = 10
"""but after so many times as long, so that it costs a tenth of the time at most. Each action begins with one."""
RENEW_SECONDS = 0.5
"""How long the overlay may know a file's rights after they were changed: names that come and go it is told at once."""


class MaskLayer:
    """The layer open as `descriptor`, over the folder of `watch` (None: there is none), and what is hidden of the
    `others`. All have looked when the box was built: `known` has, by their folders, what is hidden already. `held` says
    whether a process of the box is in a folder, or holds it open."""

    def __init__(
        self,
        descriptor: int | None,
        watch: Watch | None,
        others: list[Watch],
        known: Mapping[str, list[str]],
        held: Callable[[str], bool],
    ) -> None:
        self._descriptor = descriptor
        self._watches = {each.folder: each for each in (*others, *([watch] if watch else []))}
        self._working = watch
        self._held = held
        self._known = {folder: set(known.get(folder, ())) for folder in self._watches}
        self._seen: dict[str, list[Masked]] = {}
        self._next = self._renewed = 0.0
        self.stale = True
        """Whether the overlays have to forget what they know of the folders below them."""

    def renew(self, action: bool) -> list[str]:
        """Hide what is there now and is to be hidden; gives what was not yet, as paths below the working folder or, of
        other folders, whole ones. Raises OSError if it cannot be hidden. Always looks before an `action`; within one
        not at every chance, where a look takes long."""
        if not action and time.monotonic() < self._next:
            return []
        begin, hidden = time.thread_time(), list[str]()
        for folder, watch in self._watches.items():
            found = watch.masked()
            if found is not self._seen.get(folder):
                hidden += self._hidden(watch, sorted(each.path for each in found if each.path != "."))
            self._seen[folder] = found
        took = time.thread_time() - begin
        now = time.monotonic()
        self._next = now + PAUSE * took if took > SLOW_SECONDS else 0.0
        changed = any(each.changed for each in self._watches.values())
        self.stale = self.stale or changed or now > self._renewed + RENEW_SECONDS
        return hidden

    def _hidden(self, watch: Watch, paths: list[str]) -> list[str]:
        known, hidden = self._known[watch.folder], list[str]()
        for path in paths:
            if path in known:
                continue
            if watch is self._working and self._descriptor is not None:
                hide(self._descriptor, watch.folder, path)
            moved = watch.exposed(path, known)
            if moved and (is_key(os.path.basename(path)) or any(self._held(f"{watch.folder}/{old}") for old in moved)):
                raise OSError(errno.EBUSY, "it lies in a folder that was moved, where a process may be still")
            hidden.append(path if watch is self._working else f"{watch.folder}/{path}")
            known.add(path)
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
            here, above = below, here  # first: an interrupt may come as that is closed
            os.close(above)
        with contextlib.suppress(FileExistsError):
            os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=here)
    finally:
        os.close(here)


def _mode(folder: str) -> int:
    with contextlib.suppress(FileNotFoundError):  # it has gone meanwhile
        return stat.S_IMODE(os.stat(folder).st_mode) | 0o700
    return 0o700
