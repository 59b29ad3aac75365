"""The system calls that a box is made with, for `boot`, `boot_files` and zygotes: what Python's standard library does
not offer, or not in one call.

See mount(2), mount_setattr(2), open_tree(2), prctl(2), capabilities(7), seccomp(2) and user_namespaces(7). Needs the
standard library alone: it runs as part of a script, in an interpreter without an environment.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import struct

NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
NOSUID, NODEV, NOEXEC, BIND, REC, PRIVATE, REMOUNT, RDONLY = 2, 4, 8, 4096, 16384, 1 << 18, 32, 1
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV, ATTR_IDMAP = 1, 2, 4, 0x00100000
_DETACH = 2
_PDEATHSIG, _DUMPABLE, _SECCOMP, _DROP_BOUND, _NO_NEW_PRIVS, _AMBIENT = 1, 4, 22, 24, 38, 47
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_HERE, _EMPTY_PATH, _RECURSIVE, _CLONE, _MOVE_EMPTY_PATH = -100, 0x1000, 0x8000, 1, 4
_SIGKILL = 9

_CLONE_VM = 0x00000100

_libc = ctypes.CDLL(None, use_errno=True)
_bare_fork = getattr(ctypes.PyDLL(None, use_errno=True), "_Fork", None)
_stack = ctypes.create_string_buffer(1 << 16)
"""Of the process that waits."""


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _call(number: int, *arguments: int | bytes) -> int:
    wide = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return _check(_libc.syscall(ctypes.c_long(number), *wide))


def _prctl(option: int, *arguments: int | bytes) -> int:
    wide = [ctypes.c_ulong(each) if isinstance(each, int) else each for each in (*arguments, 0, 0, 0, 0)[:4]]
    return _check(_libc.prctl(option, *wide))


def unshare(namespaces: int) -> None:
    """New namespaces for this process, or for its children."""
    _check(_libc.unshare(namespaces))


def fork() -> int:
    """`os.fork()` without what libraries have registered to be done then, which costs both processes memory of their
    own: for one that has a single thread, and a child that makes none and uses no such library. See _Fork(3)."""
    return os.fork() if _bare_fork is None else _check(_bare_fork())


def wait_in(namespaces: int) -> int:
    """Start a process in new namespaces that does nothing but wait; gives its id. It shares this one's memory, which a
    fork of a large process takes long to copy, and has a stack of its own. See clone(2)."""
    top = ctypes.addressof(_stack) + len(_stack) & ~15
    does, stack = ctypes.cast(_libc.pause, ctypes.c_void_p), ctypes.c_void_p(top)
    return _check(_libc.clone(does, stack, _CLONE_VM | namespaces | signal.SIGCHLD, None))


def join(namespace: int, kind: int) -> None:
    """Enter a namespace that is there already, by its descriptor."""
    _check(_libc.setns(namespace, kind))


def mount(source: str | None, target: str, kind: str | None = None, flags: int = 0, options: str | None = None) -> None:
    """Mount; None where mount(2) takes a null pointer."""
    words = [each and os.fsencode(each) for each in (source, target, kind)]
    _check(_libc.mount(*words, ctypes.c_ulong(flags), options and os.fsencode(options)))


def restrict(path: str, attributes: int) -> None:
    """Set attributes of a mount and of all mounts below it."""
    packed = struct.pack("QQQQ", attributes, 0, 0, 0)
    _call(_MOUNT_SETATTR, _HERE, os.fsencode(path), _RECURSIVE, packed, len(packed))


def mount_mapped(source: str, target: str, users: int) -> None:
    """Show `source` at `target` with the owners of files mapped as in the user namespace `users`, a descriptor."""
    tree = _call(_OPEN_TREE, _HERE, os.fsencode(source), _CLONE | os.O_CLOEXEC)
    try:
        packed = struct.pack("QQQQ", ATTR_IDMAP, 0, 0, users)
        _call(_MOUNT_SETATTR, tree, b"", _EMPTY_PATH, packed, len(packed))
        _call(_MOVE_MOUNT, tree, b"", _HERE, os.fsencode(target), _MOVE_EMPTY_PATH)
    finally:
        os.close(tree)


def unmount(path: str, in_use: bool = True) -> None:
    """Take a mount, and what is mounted below it, out of sight. Unless also one that is `in_use` is to be taken, that
    is an OSError, EBUSY."""
    _check(_libc.umount2(os.fsencode(path), _DETACH if in_use else 0))


def change_root(folder: str) -> None:
    """Make a mount the root, and let go of the old one."""
    os.chdir(folder)
    _call(_PIVOT_ROOT[os.uname().machine], b".", b".")
    unmount(".")
    os.chdir("/")


def set_host_name(name: bytes) -> None:
    """In a fresh UTS namespace."""
    _check(_libc.sethostname(name, ctypes.c_size_t(len(name))))


def map_user(inside: list[int], user: int, group: int, proc: str = "/proc") -> None:
    """In a fresh user namespace: its only user and group, and by which ids they go `inside`."""
    write(f"{proc}/self/setgroups", "deny")
    write(f"{proc}/self/uid_map", f"{inside[0]} {user} 1")
    write(f"{proc}/self/gid_map", f"{inside[1]} {group} 1")


def die_with_parent() -> None:
    """Be killed when the thread that made this process ends. To be asked anew after a change of user."""
    _prctl(_PDEATHSIG, _SIGKILL)


def end_with_host(life: int, process: int) -> None:
    """Have the system kill a process when the host ends, whatever either does: `life` is the read end of a pipe whose
    other end only the host holds. For F_SETSIG on a pipe see fcntl(2)."""
    fcntl.fcntl(life, fcntl.F_SETOWN, process)
    fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)


def hear_interrupts() -> None:
    """Unblock SIGINT, with which `own_session` starts a program; drop what came before this had a session."""
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, handler)


def set_dumpable(dumpable: bool) -> None:
    """Whether other processes of the user may look into this one, and its /proc is its own."""
    _prctl(_DUMPABLE, int(dumpable))


def give_up_rights() -> None:
    """No capability any more, for this process and all that come of it."""
    for capability in range(64):
        try:
            _prctl(_DROP_BOUND, capability)
        except OSError:
            break  # past the last one there is
    _prctl(_AMBIENT, 4)
    _check(_libc.capset(struct.pack("Ii", 0x20080522, 0), bytes(24)))
    _prctl(_NO_NEW_PRIVS, 1)


def filter_calls(program: bytes) -> None:
    """Seccomp with this program, for this process and all that come of it."""
    lines = ctypes.create_string_buffer(program, len(program))
    _prctl(_SECCOMP, 2, struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(lines)))


def limit(limits: dict[str, int]) -> None:
    """Set resource limits, by their names in `resource`; none above the one that holds already.

    That of processor time ends a process by a signal of its own, and five seconds later by force.
    """
    for name, value in limits.items():
        number = getattr(resource, name)
        most = resource.getrlimit(number)[1]
        soft, hard = (
            each if most == resource.RLIM_INFINITY else min(each, most)
            for each in (value, value + 5 if name == "RLIMIT_CPU" else value)
        )
        resource.setrlimit(number, (soft, hard))


def keep_only(descriptors: set[int]) -> None:
    """Close all other descriptors."""
    low = 0
    for descriptor in sorted(descriptors):
        if descriptor > low:  # an empty range would be taken for all of them
            os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, max(low, 1 << 20))


def write(path: str, text: str) -> None:
    """Write a whole file."""
    with open(path, "w") as file:
        file.write(text)
