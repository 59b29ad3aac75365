"""The system calls a boxed child may not make, as a seccomp filter program. `view` puts it into the plan of the box.

A deny-list, but one that is closed at its end: calls newer than those known here do not exist for the child. The
namespaces, not this filter, keep the child from the host; it takes away what has often been the way through them, and
memory that no limit of a process counts (memfd_create, shmget, semget, msgget).
Format: classic BPF, see seccomp(2) and Linux' include/uapi/linux/{filter,seccomp,audit}.h.
"""

from __future__ import annotations

import errno
import platform
import struct
from dataclasses import dataclass
from functools import cache

from smol_kernel.errors import BoxUnavailableError

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCH = 0, 4  # offsets in struct seccomp_data; the low halves of arguments follow
_ARGUMENT = (16, 24, 32, 40)

_NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
"""CLONE_NEWNS, …CGROUP, …UTS, …IPC, …USER, …PID, …NET."""
_UNIX = 1
_FAMILIES = (_UNIX, 2, 10)
"""AF_UNIX, AF_INET, AF_INET6; AF_NETLINK is allowed for the routing protocol alone, which libzmq asks."""
_NETLINK, _NETLINK_ROUTE = 16, 0
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_SETLEASE = 1024
"""A lease holds up whoever opens the file for writing, also on the host."""
_SOL_SOCKET, _SNDBUF, _RCVBUF = 1, 7, 8
_SET_ID = 0o6000
"""S_ISUID, S_ISGID: a file in a writable mount would have them on the host."""
_CREATE = 0o20000100
"""O_CREAT and O_TMPFILE: with them alone a call that opens a file has a mode."""

_EVERYWHERE = {  # calls that have one number on all architectures
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_getfd": 438,
    "openat2": 437,
    "process_madvise": 440,
    "mount_setattr": 442,
    "quotactl_fd": 443,
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
    "memfd_secret": 447,
    "process_mrelease": 448,
    "fchmodat2": 452,
}
_LAST_KNOWN = 462  # mseal
_REPLACEABLE = (437, 452)
"""openat2, whose mode is behind a pointer, and fchmodat2: the C library has other calls for the same."""


@dataclass(frozen=True)
class _Architecture:
    audit: int
    clone: int
    clone3: int
    fcntl: int
    ioctl: int
    setsockopt: int
    socket: int
    socketpair: int
    modes: dict[int, int]
    """Calls that set a file's mode, and which argument that is."""
    opens: dict[int, int]
    """Those that may open a file; the argument with the flags, behind which the mode is."""
    denied: dict[str, int]


_ARCHITECTURES = {
    "x86_64": _Architecture(
        0xC000003E,
        clone=56,
        clone3=435,
        fcntl=72,
        ioctl=16,
        setsockopt=54,
        socket=41,
        socketpair=53,
        modes={83: 1, 85: 1, 90: 1, 91: 1, 133: 1, 258: 2, 259: 2, 268: 2},  # mkdir, creat, chmod, fchmod, mknod, …at
        opens={2: 1, 257: 2},
        denied={
            "shmget": 29,
            "semget": 64,
            "msgget": 68,
            "ptrace": 101,
            "syslog": 103,
            "uselib": 134,
            "personality": 135,
            "ustat": 136,
            "sysfs": 139,
            "vhangup": 153,
            "modify_ldt": 154,
            "pivot_root": 155,
            "adjtimex": 159,
            "chroot": 161,
            "acct": 163,
            "settimeofday": 164,
            "mount": 165,
            "umount2": 166,
            "swapon": 167,
            "swapoff": 168,
            "reboot": 169,
            "sethostname": 170,
            "setdomainname": 171,
            "iopl": 172,
            "ioperm": 173,
            "init_module": 175,
            "delete_module": 176,
            "quotactl": 179,
            "nfsservctl": 180,
            "lookup_dcookie": 212,
            "clock_settime": 227,
            "mbind": 237,
            "set_mempolicy": 238,
            "kexec_load": 246,
            "add_key": 248,
            "request_key": 249,
            "keyctl": 250,
            "io_setup": 206,
            "migrate_pages": 256,
            "unshare": 272,
            "move_pages": 279,
            "vmsplice": 278,
            "perf_event_open": 298,
            "fanotify_init": 300,
            "name_to_handle_at": 303,
            "open_by_handle_at": 304,
            "clock_adjtime": 305,
            "setns": 308,
            "process_vm_readv": 310,
            "process_vm_writev": 311,
            "kcmp": 312,
            "finit_module": 313,
            "memfd_create": 319,
            "kexec_file_load": 320,
            "bpf": 321,
            "userfaultfd": 323,
        },
    ),
    "aarch64": _Architecture(
        0xC00000B7,
        clone=220,
        clone3=435,
        fcntl=25,
        ioctl=29,
        setsockopt=208,
        socket=198,
        socketpair=199,
        modes={33: 2, 34: 2, 52: 1, 53: 2},  # mknodat, mkdirat, fchmod, fchmodat
        opens={56: 2},
        denied={
            "io_setup": 0,
            "lookup_dcookie": 18,
            "nfsservctl": 42,
            "umount2": 39,
            "mount": 40,
            "pivot_root": 41,
            "chroot": 51,
            "vhangup": 58,
            "quotactl": 60,
            "vmsplice": 75,
            "acct": 89,
            "personality": 92,
            "unshare": 97,
            "kexec_load": 104,
            "init_module": 105,
            "delete_module": 106,
            "clock_settime": 112,
            "syslog": 116,
            "ptrace": 117,
            "reboot": 142,
            "sethostname": 161,
            "setdomainname": 162,
            "settimeofday": 170,
            "adjtimex": 171,
            "msgget": 186,
            "semget": 190,
            "shmget": 194,
            "add_key": 217,
            "request_key": 218,
            "keyctl": 219,
            "swapon": 224,
            "swapoff": 225,
            "mbind": 235,
            "set_mempolicy": 237,
            "migrate_pages": 238,
            "move_pages": 239,
            "perf_event_open": 241,
            "fanotify_init": 262,
            "name_to_handle_at": 264,
            "open_by_handle_at": 265,
            "clock_adjtime": 266,
            "setns": 268,
            "process_vm_readv": 270,
            "process_vm_writev": 271,
            "kcmp": 272,
            "finit_module": 273,
            "memfd_create": 279,
            "bpf": 280,
            "userfaultfd": 282,
            "kexec_file_load": 294,
        },
    ),
}


@cache
def program(set_id: bool = True) -> bytes:
    """The filter for this machine's architecture, as an array of struct sock_filter; without `set_id` no file can be
    given the bits by which it would run as its owner or group.

    Raises BoxUnavailableError for an architecture whose calls are not known here.
    """
    machine = platform.machine()
    here = _ARCHITECTURES.get(machine)
    if here is None:
        raise BoxUnavailableError(
            f"no box: the system calls of {machine} are not known here, only those of {' and '.join(_ARCHITECTURES)}"
        )
    lines: list[tuple[int, int, int, int]] = []

    def add(code: int, value: int, when: int = 0, otherwise: int = 0) -> None:
        lines.append((code, when, otherwise, value))

    def refuse(number: int) -> None:
        add(_RETURN, _ERRNO | number)

    def refuse_where(call: int, argument: int, test: int, value: int) -> None:
        add(_EQUAL, call, 0, 4)
        add(_LOAD, _ARGUMENT[argument])
        add(test, value, 0, 1)
        refuse(errno.EPERM)
        add(_RETURN, _ALLOW)

    add(_LOAD, _ARCH)
    add(_EQUAL, here.audit, 1, 0)
    add(_RETURN, _KILL)  # a 32-bit program, whose calls have other numbers
    add(_LOAD, _NUMBER)
    add(_AT_LEAST, _LAST_KNOWN + 1, 0, 1)  # later than all known; and the x32 calls, from 0x40000000
    refuse(errno.ENOSYS)
    add(_EQUAL, here.clone3, 0, 1)  # its flags are behind a pointer; the C library falls back to clone
    refuse(errno.ENOSYS)
    for number in (*here.denied.values(), *_EVERYWHERE.values()):
        add(_EQUAL, number, 0, 1)
        refuse(errno.ENOSYS if number in _REPLACEABLE else errno.EPERM)
    for number, flags in here.opens.items() if not set_id else ():
        add(_EQUAL, number, 0, 6)
        add(_LOAD, _ARGUMENT[flags])
        add(_ANY_BIT, _CREATE, 0, 3)
        add(_LOAD, _ARGUMENT[flags + 1])
        add(_ANY_BIT, _SET_ID, 0, 1)
        refuse(errno.EPERM)
        add(_RETURN, _ALLOW)
    for number, argument in here.modes.items() if not set_id else ():
        refuse_where(number, argument, _ANY_BIT, _SET_ID)
    refuse_where(here.fcntl, 1, _EQUAL, _SETLEASE)
    add(_EQUAL, here.setsockopt, 0, 7)
    add(_LOAD, _ARGUMENT[1])
    add(_EQUAL, _SOL_SOCKET, 0, 4)
    add(_LOAD, _ARGUMENT[2])
    add(_EQUAL, _SNDBUF, 1, 0)
    add(_EQUAL, _RCVBUF, 0, 1)
    refuse(0)  # as if it were done: the size is advice, and such memory is counted nowhere
    add(_RETURN, _ALLOW)
    refuse_where(here.clone, 0, _ANY_BIT, _NAMESPACES)
    add(_EQUAL, here.ioctl, 0, 5)  # no typing into a terminal
    add(_LOAD, _ARGUMENT[1])
    add(_EQUAL, _TIOCSTI, 1, 0)
    add(_EQUAL, _TIOCLINUX, 0, 1)
    refuse(errno.EPERM)
    add(_RETURN, _ALLOW)
    add(_EQUAL, here.socket, 0, 2 * len(_FAMILIES) + 6)
    add(_LOAD, _ARGUMENT[0])
    for family in _FAMILIES:
        add(_EQUAL, family, 0, 1)
        add(_RETURN, _ALLOW)
    add(_EQUAL, _NETLINK, 0, 3)
    add(_LOAD, _ARGUMENT[2])
    add(_EQUAL, _NETLINK_ROUTE, 0, 1)
    add(_RETURN, _ALLOW)
    refuse(errno.EAFNOSUPPORT)
    add(_EQUAL, here.socketpair, 0, 3)
    add(_LOAD, _ARGUMENT[0])
    add(_EQUAL, _UNIX, 1, 0)
    refuse(errno.EAFNOSUPPORT)
    add(_RETURN, _ALLOW)
    return b"".join(struct.pack("=HBBI", *line) for line in lines)
