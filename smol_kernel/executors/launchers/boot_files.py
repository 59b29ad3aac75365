"""The file system of a box, for `boot`: a small root, the system read-only, and what the child may write in memory.

Everything is built in a mount namespace of its own, in place of a folder from which no box shows anything, and then
made the root.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
from collections.abc import Callable
from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from smol_kernel.executors.launchers import boot_calls as calls
else:  # part of a script, which puts this folder on the path
    import boot_calls as calls

TOP = "/sys"
"""Where it is built."""
SCRATCH = "/.scratch-of-the-box"
"""In it, what is in memory before it has its place: a name that no folder of a host has."""
EMPTY_PROC = (
    "cmdline",
    "config.gz",
    "partitions",
    "kcore",
    "keys",
    "key-users",
    "kmsg",
    "kallsyms",
    "sysrq-trigger",
    "timer_list",
    "latency_stats",
    "sched_debug",
)
DEVICES = ("null", "zero", "full", "random", "urandom")
SAFE = calls.NOSUID | calls.NODEV
SAFE_ATTRIBUTES = calls.ATTR_NOSUID | calls.ATTR_NODEV


class Root:
    """The file system to be; `begin` is told what is done now, and `mask` has the host hide what the child must not see
    of a folder, in the layer of this descriptor. The names are not told: of what builds a box a child may be forked.

    `owner` is the user the child runs as, if that is another than the one who builds: what is root's then looks like
    the child's own in the folders it is given, where the file system can show it so.
    """

    def __init__(self, owner: int | None, begin: Callable[[str], None], mask: Callable[[str, int], None]) -> None:
        self.owner, self.begin, self.mask = owner, begin, mask
        self.scratch = TOP + SCRATCH
        self.overlays = 0
        self.users: int | None = None
        self.settings: dict[str, Any] = {}

    def prepare(self) -> None:
        """Mount what is in every box."""
        self.begin("mounts: private")
        calls.mount(None, "/", None, calls.REC | calls.PRIVATE)
        self.begin("mounts: root")
        if self.owner is not None:
            self.users = namespace_of(self.owner)
        calls.mount("tmpfs", TOP, "tmpfs", SAFE, "mode=0755,size=4m,nr_inodes=20k")
        os.mkdir(self.scratch)
        self.devices()
        self.begin("mounts: /proc")
        self.proc()

    def build(self, settings: dict[str, Any]) -> list[int]:
        """Mount what the settings say, the less deep before the deeper; gives descriptors of the two layers that the
        host goes on with, none without a working folder: what the child makes there, and what it does not see of it."""
        self.settings, kept = settings, list[int]()
        self.begin("mounts: scratch")
        calls.mount("tmpfs", self.scratch, "tmpfs", SAFE, f"mode=0755,size={settings['disk']},nr_inodes=200k")
        places: list[tuple[str, str, Any]] = [(path, "system", source) for path, source in settings["binds"]]
        places += [("/tmp", "own", 0o1777), ("/dev/shm", "own", 0o1777), (settings["home"], "own", 0o700)]
        places += [(path, "veiled", None) for path in settings["veiled"]]
        places += [(path, "pinned", None) for path in settings["pinned"]]
        places += [(path, "mount", writable) for path, writable in settings["mounts"]]
        if settings["folder"]:
            places.append((settings["folder"], "overlay", None))
        for path, kind, what in sorted(places, key=lambda place: place[0].count("/")):
            self.begin(f"mounts: {path}")
            target = TOP + path
            if kind == "system":
                bind(what, target)
            elif kind == "pinned":
                calls.mount(target, target, None, calls.BIND | calls.REC)
            elif kind == "own":
                calls.mount(self.own(f"own{path.replace('/', '-')}", what), folder(target), None, calls.BIND)
            elif kind == "mount":
                self.mapped(path, target)
                calls.restrict(target, SAFE_ATTRIBUTES | (0 if what else calls.ATTR_RDONLY))
                if path in settings["rehearsed"]:
                    for layer in self.overlay(path, target, writable=True):
                        os.close(layer)
            elif kind == "veiled":
                self.overlay(path, target, writable=False)
            else:
                kept = self.overlay(path, target, writable=True)
        self.begin("mounts: small files")
        self.small_files()
        self.begin("mounts: scratch")
        calls.unmount(self.scratch)
        os.rmdir(self.scratch)
        return kept

    def enter(self) -> None:
        """Make it the root: the host's file system is gone."""
        self.begin("pivot_root")
        calls.change_root(TOP)
        calls.mount(None, "/", None, calls.REMOUNT | calls.BIND | calls.RDONLY | SAFE)

    def own(self, name: str, mode: int = 0o755) -> str:
        """A new folder on the sized file system in memory, the child's own."""
        made = f"{self.scratch}/{name}"
        os.mkdir(made)
        os.chmod(made, mode)
        if self.owner is not None:
            os.chown(made, self.owner, self.owner)
        return made

    def mapped(self, source: str, target: str) -> None:
        """Show what the user gave at `target`, with root's files as the child's own where that can be."""
        place(source, target)
        calls.mount(source, target, None, calls.BIND | calls.REC)
        if self.users is not None:
            with contextlib.suppress(OSError):  # not every file system can; then it is as it is
                calls.mount_mapped(source, target, self.users)

    def overlay(self, path: str, target: str, writable: bool) -> list[int]:
        """A folder of the host's less what is masked; if `writable`, with the child's own writing above it.

        Gives descriptors of the layer where that gathers and of the one that masks. The layers are named by descriptor:
        a path may hold the commas and colons that mean something else to overlayfs.
        """
        self.overlays += 1
        lower = f"{self.scratch}/lower{self.overlays}"
        os.mkdir(lower)
        self.mapped(path, lower)
        mode = stat.S_IMODE(os.stat(lower).st_mode) | 0o700
        mask = self.own(f"mask{self.overlays}", mode)
        if path in self.settings["masked"]:
            layer = os.open(mask, os.O_RDONLY | os.O_DIRECTORY)
            self.mask(path, layer)
            os.close(layer)
        kept = list[int]()
        layers = [os.open(each, os.O_PATH | os.O_DIRECTORY) for each in (mask, lower)]
        options = "lowerdir=/proc/self/fd/{}:/proc/self/fd/{}"
        if writable:
            upper, work = self.own(f"upper{self.overlays}", mode), self.own(f"work{self.overlays}")
            layers += [os.open(each, os.O_PATH | os.O_DIRECTORY) for each in (upper, work)]
            options += ",upperdir=/proc/self/fd/{},workdir=/proc/self/fd/{}"
            kept = [os.open(each, os.O_RDONLY | os.O_DIRECTORY) for each in (upper, mask)]
        options = options.format(*layers) + ",redirect_dir=nofollow" + ("" if whole_system() else ",userxattr")
        calls.mount("overlay", folder(target), "overlay", SAFE | (0 if writable else calls.RDONLY), options)
        for layer in layers:
            os.close(layer)
        return kept

    def devices(self) -> None:
        """A /dev of harmless devices."""
        os.makedirs(TOP + "/dev/shm")
        for name in DEVICES:
            calls.write(f"{TOP}/dev/{name}", "")
            calls.mount(f"/dev/{name}", f"{TOP}/dev/{name}", None, calls.BIND)
        for name, end in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
            os.symlink(f"/proc/self/fd{end}", f"{TOP}/dev/{name}")

    def proc(self) -> None:
        """The /proc of the box's own processes, less what tells of the machine. Nothing can be written there: a process
        could make itself one that is ended last where memory is short."""
        proc = folder(TOP + "/proc")
        calls.mount("proc", proc, "proc", SAFE | calls.NOEXEC | calls.RDONLY)
        for name in EMPTY_PROC:
            if os.path.exists(f"{proc}/{name}"):
                calls.mount("/dev/null", f"{proc}/{name}", None, calls.BIND)

    def small_files(self) -> None:
        """Files written for the box alone, what its home begins with, and links."""
        for path, text in self.settings["files"].items():
            os.makedirs(os.path.dirname(TOP + path), exist_ok=True)
            calls.write(TOP + path, text)
        home = TOP + self.settings["home"]
        for name, source in self.settings["home_files"].items():
            target = f"{home}/{name}"
            if os.path.lexists(target) or not copied(source, target):
                continue
            while self.owner is not None and target != home:
                os.chown(target, self.owner, self.owner)
                target = os.path.dirname(target)
        for path, target in self.settings["links"].items():
            if not os.path.lexists(TOP + path):
                os.makedirs(os.path.dirname(TOP + path), exist_ok=True)
                os.symlink(target, TOP + path)


def obey(settings: dict[str, Any], words: dict[str, Any]) -> bytes:
    """Do what the host asks for while the child runs; the answer to it, empty to what needs none."""
    if "seen" in words:
        settings |= words["seen"]
        return b""
    if "hidden" in words:
        return b"refreshed" if refresh(settings, words["hidden"]) else b"failed"
    return b"ended" if end_rehearsal(settings["rehearsed"], words["in_use"]) else b"in use"


def end_rehearsal(rehearsed: list[str], in_use: bool) -> bool:
    """Take the overlays away that lie over writable mounts, and so show these themselves; gives whether that is so.

    One in which a process works, or has a file open, stays: that would go on with what nobody sees any more. Unless
    what is `in_use` is to be taken as well.
    """
    while rehearsed:
        try:
            calls.unmount(rehearsed[-1], in_use)
        except OSError:
            return False
        rehearsed.pop()  # what is mounted there now is what the user gave
    return True


def refresh(settings: dict[str, Any], hidden: list[str]) -> bool:
    """Have the overlays forget the names they know, as a remount does. Gives whether what has just been `hidden`, paths
    below the working folder or whole ones, is.

    What is changed in the folders below them, by the user or a tool, they do not notice by themselves ("Changes to
    underlying filesystems", https://docs.kernel.org/filesystems/overlayfs.html).
    """
    for path in filter(None, [settings["folder"], *settings["veiled"]]):
        read_only = 0 if path == settings["folder"] else calls.RDONLY
        with contextlib.suppress(OSError):
            calls.mount(None, path, None, calls.REMOUNT | SAFE | read_only)
    try:
        for name in hidden:
            cover(os.path.join(settings["folder"] or "/", name))
    except OSError:
        return False
    return True


def cover(path: str) -> None:
    """Put something empty over what is still seen: a folder that somebody is in, or holds open, keeps what it had."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        kind = os.lstat(path).st_mode
        if stat.S_ISDIR(kind):
            calls.mount("tmpfs", path, "tmpfs", SAFE | calls.RDONLY, "mode=0555,size=4k,nr_inodes=1")
        elif not stat.S_ISLNK(kind):  # what a link leads to is judged by its own name
            calls.mount("/dev/null", path, None, calls.BIND)


def place(source: str, target: str) -> None:
    """Something for `source` to be mounted on."""
    if os.path.isdir(source):
        folder(target)
    elif not os.path.lexists(target):
        folder(os.path.dirname(target))
        calls.write(target, "")


def folder(path: str) -> str:
    """The folder `path`, made if it is not there."""
    os.makedirs(path, 0o755, exist_ok=True)
    return path


def copied(source: str, target: str) -> bool:
    """Copy a file; gives whether that could be done: it is one, and no link to another."""
    try:
        given = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        if not stat.S_ISREG(os.fstat(given).st_mode):
            return False
        os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
        with open(target, "xb") as made:  # never through a link that lies there
            while os.sendfile(made.fileno(), given, None, 1 << 24):
                pass
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(target)
        return False
    finally:
        os.close(given)
    return True


def bind(source: str, target: str) -> None:
    """Show a file or folder at another place, read-only."""
    place(source, target)
    calls.mount(source, target, None, calls.BIND | calls.REC)
    calls.restrict(target, SAFE_ATTRIBUTES | calls.ATTR_RDONLY)


def whole_system() -> bool:
    """Whether this is the system's own user namespace, whose root may use overlayfs' own kind of attributes."""
    with open("/proc/self/uid_map") as lines:
        return lines.read().split() == ["0", "0", "4294967295"]


def namespace_of(owner: int) -> int | None:
    """The descriptor of a user namespace in which root's files are the owner's; None if there can be none."""
    try:
        child = calls.wait_in(calls.NEWUSER)
    except OSError:
        return None
    try:
        descriptor = os.pidfd_open(child)
        with open(f"/proc/self/fdinfo/{descriptor}") as lines:  # its id as this /proc, still the host's, counts
            number = next(line.split()[1] for line in lines if line.startswith("Pid:"))
        os.close(descriptor)
        for kind in ("uid", "gid"):
            calls.write(f"/proc/{number}/{kind}_map", f"0 {owner} 1")
        return os.open(f"/proc/{number}/ns/user", os.O_RDONLY)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
