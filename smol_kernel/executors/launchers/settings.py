"""What a box lets its child have: files, network and resources, read from what the user gave, checked."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, cast

from smol_kernel.errors import ConfigError
from smol_kernel.executors.launchers.allow_list import split_authority
from smol_kernel.memory.switch import is_on

Network = Literal["none", "full"]

VARIABLE = "SMOL_BOX"

OPT_OUT = (
    "to run without one, with your own rights: --box off, executor_kwargs={'box': False}, or SMOL_BOX=off. Code that a "
    "model writes can then read your files and use the network"
)
"""How to do without a box, for messages."""

MOST = 1 << 62
"""Of any limit; what setrlimit(2) takes is twice as much."""
MEBIBYTE = 1 << 20
GIBIBYTE = 1 << 30
LEAST = {"memory": 256, "disk": 1, "file_size": 1}
"""MiB of each without which no kernel runs."""
_UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000, "ki": 1 << 10, "mi": MEBIBYTE, "gi": GIBIBYTE}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmg]i?)?b?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Mount:
    """A file or folder of the host that the child sees at its own path, writable if `writable`."""

    path: str
    writable: bool = False
    named: str = ""
    """How it was given, where that leads there by way of a link."""

    def __str__(self) -> str:
        return f"{self.path}:rw" if self.writable else self.path


def _half_of_memory() -> int:
    try:
        return max(2 * GIBIBYTE, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    except (AttributeError, OSError, ValueError):
        return 4 * GIBIBYTE


def _processes() -> int:
    return 256 + 8 * min(os.cpu_count() or 1, 16)


@dataclass(frozen=True)
class Limits:
    """What a boxed child may use at most. Each can be given as a number, sizes also as text: "4 GB"."""

    memory: int = field(default_factory=_half_of_memory)
    """Bytes of data in memory, of each process; of all together where a cgroup is delegated to us."""
    disk: int = GIBIBYTE
    """Bytes of all files together that the child writes: its home, /tmp, /dev/shm and the overlay. They are kept in
    memory."""
    file_size: int = 512 * MEBIBYTE
    """Bytes of one file."""
    processes: int = field(default_factory=_processes)
    """Processes and threads."""
    open_files: int = 1024
    """Open files of each process."""
    cpu_seconds: int = 86_400
    """Seconds of processor time of each process, over all actions; the time of one action is `timeout_seconds`."""


_ULIMITS = {
    "memory": {"d": resource.RLIMIT_DATA, "v": resource.RLIMIT_AS},
    "file_size": {"f": resource.RLIMIT_FSIZE},
    "processes": {"u": resource.RLIMIT_NPROC},
    "open_files": {"n": resource.RLIMIT_NOFILE},
    "cpu_seconds": {"t": resource.RLIMIT_CPU},
}
"""Limit → what the shell's ulimit calls those of the machine that hold beside it."""


def held_limit(limits: Limits, name: str) -> tuple[int, str]:
    """What holds of a limit, and what sets it: a machine may grant less (`ulimit`) than the box is to have."""
    held = [(getattr(limits, name), f"limit {name}")]
    for letter, number in _ULIMITS.get(name, {}).items():
        if (most := resource.getrlimit(number)[1]) != resource.RLIM_INFINITY:
            held.append((most, f"this machine's ulimit -{letter}"))
    return min(held, key=lambda each: each[0])


def size_in_words(count: int) -> str:
    """Bytes as people read them."""
    for unit, name in ((GIBIBYTE, "GiB"), (MEBIBYTE, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{count / unit:.4g} {name}"
    return f"{count} bytes"


@dataclass(frozen=True)
class BoxSettings:
    """What a box lets its child have."""

    network: Network = "none"
    allow_hosts: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    limits: Limits = field(default_factory=Limits)
    rehearsal: Literal["", "offline", "online"] = ""
    """While recorded actions are run again, until `Child.end_rehearsal`: what the child writes in its writable mounts
    is thrown away. "offline": and no host is allowed."""
    afresh: bool = False
    """Never forked by a zygote: a Python started for it, with a hash seed of its own."""

    @property
    def words(self) -> str:
        """The box in few words, as `isolation` tells it: "box", and what it lets through."""
        if self.network == "full":
            return "box, with the network"
        return f"box, with {', '.join(self.allow_hosts)}" if self.allow_hosts else "box"


def wants_box(box: bool | None) -> bool:
    """Whether to box: as told, else as the environment variable SMOL_BOX says, else yes. Raises ConfigError."""
    if box is not None:
        if type(box) is not bool:
            raise ConfigError(f"box {box!r}: give True, or False to run without a boundary")
        return box
    return is_on(VARIABLE, unset=True)


def why_off(box: bool | None) -> str:
    """What it comes from that no box is wanted, in words."""
    return "the box is off" if box is not None else f"{VARIABLE}={os.environ.get(VARIABLE)} switches it off"


def settings_for(
    box: bool | None,
    network: str = "none",
    allow_hosts: Sequence[str] = (),
    mounts: Sequence[str | Path | Mount] = (),
    limits: Mapping[str, Any] | Limits | None = None,
) -> BoxSettings | None:
    """The settings of the box that is wanted, None if none is. Raises ConfigError, which names the value."""
    if not wants_box(box):
        given = {"allow_hosts": allow_hosts, "mounts": mounts, "limits": limits}
        if useless := [name for name, value in given.items() if value]:
            raise ConfigError(
                f"{', '.join(useless)}: only a box can hold to it, and {why_off(box)}. Leave one of the two out"
            )
        return None
    if network not in ("none", "full"):
        raise ConfigError(f'network {network!r}: there are "none" and "full"; for single hosts use allow_hosts')
    if isinstance(allow_hosts, str) or isinstance(mounts, str | Path | Mount):
        raise ConfigError(f"allow_hosts and mounts are lists: give [{allow_hosts or mounts!r}]")
    if network == "full" and allow_hosts:
        raise ConfigError('allow_hosts has no use with network="full", which allows every host; leave one out')
    return BoxSettings(
        "full" if network == "full" else "none",
        tuple(dict.fromkeys(read_host(host) for host in allow_hosts)),
        tuple(read_mount(mount) for mount in mounts),
        limits if isinstance(limits, Limits) else read_limits(limits or {}),
    )


def read_host(text: str) -> str:
    """The host to allow: a name, NAME:PORT, or *.NAME for those below a name. Raises ConfigError."""
    host = text.strip().lower().rstrip(".")
    try:
        split_authority(host.removeprefix("*."))
    except ValueError:
        raise ConfigError(
            f"allow_hosts {text!r}: give the name of a host, such as example.org or *.example.org:8443"
        ) from None
    return host


def read_mount(given: str | Path | Mount) -> Mount:
    """The mount in PATH or PATH:rw. Raises ConfigError if nothing is there."""
    if isinstance(given, Mount):
        path, writable = given.path, given.writable
    else:
        text = str(given)
        writable = text.endswith(":rw")
        path = text[: -len(":rw")] if writable else text.removesuffix(":ro")
    absolute = os.path.realpath(os.path.expanduser(path))
    if not os.path.exists(absolute):
        raise ConfigError(f"mount {path!r}: there is no such file or folder")
    if absolute == "/" or absolute.split("/")[1] in ("proc", "sys", "dev"):
        raise ConfigError(f"mount {path!r}: / and the system's own folders cannot be mounted; name a folder below")
    named = os.path.abspath(os.path.expanduser(path))
    return Mount(absolute, writable, named if os.path.realpath(named) == absolute != named else "")


def read_limits(given: Mapping[str, Any]) -> Limits:
    """The limits in a mapping of names to numbers or sizes as text. Raises ConfigError."""
    names = [each.name for each in fields(Limits)]
    if not isinstance(cast("Any", given), Mapping):
        raise ConfigError(f"limits {given!r}: give a dict of numbers by name; there are {', '.join(names)}")
    read: dict[str, int] = {}
    for name, value in given.items():
        if name not in names:
            raise ConfigError(f"limit {name!r}: there is no such limit; there are {', '.join(names)}")
        read[name] = _number(name, value)
    limits = Limits(**read)
    for name, least in LEAST.items():
        if getattr(limits, name) < least * MEBIBYTE:
            raise ConfigError(f"limit {name} {given[name]!r}: a kernel needs at least {least} MiB")
    if limits.processes < 32 or limits.open_files < 64:
        raise ConfigError("limits: a kernel needs at least 32 processes and 64 open files")
    return limits


def _number(name: str, value: Any) -> int:
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        value = int(float(match[1]) * _UNITS[(match[2] or "").lower()])
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f'limit {name} {value!r}: give a whole number above 0, or for a size text such as "4 GB"')
    if value > MOST:
        raise ConfigError(f"limit {name} {value}: give a number up to {MOST}, or leave it out")
    return value
