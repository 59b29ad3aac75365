"""One limit for a boxed child and all that it starts: a control group, where a part of cgroup v2 is delegated to us.

Where none is, as on most servers and in most containers, the box has limits of each process only. The box's launcher
calls this. Our CI has no delegated cgroup v2: there its files are tested on an ordinary folder. The protocol is told in
https://docs.kernel.org/admin-guide/cgroup-v2.html.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import time
from pathlib import Path

from smol_kernel.executors.launchers.settings import Limits

PATIENCE = 2.0
"""Seconds to wait at most for the end of killed processes before a group is left for later."""
_CONTROLLERS = {"memory", "pids"}
_NAME = re.compile(r"smol-([0-9a-f]+)-([0-9a-f]+)-([0-9a-f]+)-[0-9a-f]+")
_ESCAPED = re.compile(r"\\([0-7]{3})")


class Cgroup:
    """A group of our own. `path` is its folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._oom_killed: bool | None = None

    def add(self, pid: int) -> bool:
        """Move a process into the group, with what it starts from then on; False if the system does not allow it.

        Those that it has started before stay where they are, and in a cgroup namespace it goes on by the name that it
        had there.
        """
        return _write(self.path / "cgroup.procs", str(pid))

    def oom_killed(self) -> bool:
        """Whether a process of the group was killed because the memory of all together reached the limit."""
        if self._oom_killed is not None:
            return self._oom_killed
        events = dict(line.split() for line in _read(self.path / "memory.events").splitlines() if line.count(" ") == 1)
        return any(events.get(name, "0") != "0" for name in ("oom_kill", "oom_group_kill"))

    def close(self) -> None:
        """Kill what is in the group and remove it. More than once is fine."""
        if self._oom_killed is None:
            self._oom_killed = self.oom_killed()
            _remove(self.path)


def delegated(limits: Limits, root: Path = Path("/")) -> Cgroup | None:
    """A new group with these limits, or None where no cgroup v2 with memory and pids is delegated to us.

    Its memory is that of all processes together and the files that the box keeps in memory, so `memory` and `disk` of
    the limits together, but not more than the host's own group has. It lies below the host's own group or, since a
    group with processes may have none below it, beside it. Groups of hosts that are dead are removed. `root` is where
    /proc and the file system of the groups are. Never raises.
    """
    host = _host(root)
    own, top = _own_group(root)
    if host is None or own is None:
        return None
    for parent in (own, own.parent):
        if parent != top and top not in parent.parents:
            continue
        if _has_controllers(parent, enable=parent == own):
            _remove_stale(parent, host, root)
            path = parent / f"smol-{host}-{secrets.token_hex(4)}"
            if _make(path, limits, own):
                return Cgroup(path)
    return None


def _make(path: Path, limits: Limits, own: Path) -> bool:
    try:
        path.mkdir()
    except OSError:
        return False
    _write(path / "memory.swap.max", "0")  # it is missing where the kernel has no swap
    made = (
        _write(path / "memory.max", str(_at_most(limits.memory + limits.disk, own / "memory.max")))
        and _write(path / "memory.oom.group", "1")
        and _write(path / "pids.max", str(_at_most(limits.processes, own / "pids.max")))
        and os.access(path.parent / "cgroup.procs", os.W_OK)  # who moves a process must be allowed to write there
    )
    if not made:
        _remove(path)
    return made


def _host(root: Path) -> str | None:
    """What tells this process from all others: its pid namespace, pid and start, as a group's name has it."""
    try:
        namespace = re.sub(r"\D", "", os.readlink(root / "proc/self/ns/pid"))
        pid = int(_read(root / "proc/self/stat").split()[0])
        return f"{int(namespace):x}-{pid:x}-{_started(root, 'self'):x}"
    except (OSError, ValueError, IndexError):
        return None


def _started(root: Path, pid: int | str) -> int:
    """When a process started, in clock ticks since the boot (proc_pid_stat(5), field 22)."""
    return int((root / f"proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19])


def _own_group(root: Path) -> tuple[Path | None, Path]:
    """The folder of the group we are in, and that of the topmost one we can see."""
    name = next((line[3:] for line in _read(root / "proc/self/cgroup").splitlines() if line.startswith("0::/")), None)
    for line in _read(root / "proc/self/mountinfo").splitlines() if name else ():
        mount, _, kind = line.partition(" - ")
        fields = [_ESCAPED.sub(lambda found: chr(int(found[1], 8)), field) for field in mount.split()]
        if kind.split()[:1] == ["cgroup2"] and len(fields) > 4 and name:
            below = os.path.relpath(name, fields[3])
            if below.split("/")[0] != "..":
                top = root / fields[4].lstrip("/")
                return top / below, top
    return None, root


def _has_controllers(group: Path, enable: bool) -> bool:
    """Whether groups below this one can have our limits. In one that is not our own nothing is switched on: who rules
    there may switch it off again."""
    switched_on = _read(group / "cgroup.subtree_control").split()
    if set(switched_on) >= _CONTROLLERS:
        return True
    available = set(_read(group / "cgroup.controllers").split()) >= _CONTROLLERS
    return enable and available and _write(group / "cgroup.subtree_control", "+memory +pids")


def _at_most(limit: int, file: Path) -> int:
    given = _read(file).strip()
    return min(limit, int(given)) if given.isdigit() else limit


def _remove_stale(parent: Path, host: str, root: Path) -> None:
    """Remove groups of ours whose host is dead, as far as can be told: those of our own pid namespace."""
    try:
        names = [entry.name for entry in parent.iterdir()]
    except OSError:
        return
    for found in filter(None, map(_NAME.fullmatch, names)):
        namespace, pid, started = found.groups()
        if namespace != host.partition("-")[0]:
            continue
        try:
            alive = _started(root, int(pid, 16)) == int(started, 16)
        except FileNotFoundError:
            alive = False
        except (OSError, ValueError, IndexError):
            alive = True
        if not alive:
            _remove(parent / found[0])


def _remove(group: Path) -> None:
    end = time.monotonic() + PATIENCE
    killed = _write(group / "cgroup.kill", "1")  # it came with Linux 5.14
    while group.exists():
        for pid in () if killed else _read(group / "cgroup.procs").split():
            if pid.isdigit() and int(pid) > 0:  # 0 stands for those that we cannot see
                with contextlib.suppress(OSError):
                    os.kill(int(pid), signal.SIGKILL)
        try:
            group.rmdir()
        except OSError:
            if time.monotonic() > end:
                return
            time.sleep(0.005)


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def _write(file: Path, text: str) -> bool:
    try:
        with open(file, "w") as opened:
            opened.write(text)
    except OSError:
        return False
    return True
