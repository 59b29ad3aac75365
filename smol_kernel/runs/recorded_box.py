"""What a proof takes of the box that a recorded run had. Called by `prove`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from smol_kernel.errors import ConfigError
from smol_kernel.events import Event, RunStarted
from smol_kernel.executors.launchers.hidden import is_hidden
from smol_kernel.executors.launchers.settings import read_mount
from smol_kernel.executors.launchers.view import host_home, is_shown
from smol_kernel.executors.launchers.working_folder import holds, working_folder
from smol_kernel.render.plain import listed, one_line
from smol_kernel.runs.recording import is_foreign


def recorded_box(events: Iterable[Event]) -> dict[str, Any]:
    """The box of the run of `events`, its first one, as parameters of a Prover. Mounts that are not there are left out;
    of the record of somebody else all is, for it must open nothing of this machine. A record does not name the folder
    of its run: relative mounts are looked for from that of this process."""
    started = next((event for event in events if isinstance(event, RunStarted)), None)
    box = started.settings.get("executor_kwargs") if started is not None else None
    if started is None or not isinstance(box, dict):
        return {}
    mounts = [str(mount) for mount in box.get("mounts") or ()]
    if is_foreign(started):
        return {"lacks": _told(mounts, "asked for by the record of somebody else")}
    there = [mount for mount in mounts if _is_there(mount)]
    gone = [mount for mount in mounts if mount not in there]
    fixed = [mount for mount in gone if mount.startswith(("/", "~"))]
    relative = [mount for mount in gone if mount not in fixed]
    lacks = [_told(relative, "not there from this folder"), _told(fixed, "not there any more")]
    return {
        "mounts": there,
        "limits": box.get("limits") or {},
        "timeout": box.get("timeout_seconds", 300.0),
        "lacks": ", ".join(filter(None, lacks)),
    }


def to_read(mounts: Iterable[Any], cwd: str | Path | None) -> list[str]:
    """The mounts of a proof that works in the folder `cwd`, none to write in. One that was is left out where the folder
    shows the same, as a copy that the cells can change. Raises ConfigError for one that is not there any more."""
    folder = working_folder(cwd)
    found = [(str(given).removesuffix(":rw"), read_mount(given)) for given in mounts]
    return [given for given, mount in found if not (mount.writable and _shows(folder, mount.path))]


def _shows(folder: str, path: str) -> bool:
    """Whether a child that works in the folder sees the path without a mount; both are real paths."""
    if not is_shown(folder, host_home()) or not holds(folder, path):
        return False
    return not any(map(is_hidden, Path(path).relative_to(folder).parts))


def _is_there(mount: str) -> bool:
    try:
        return bool(read_mount(mount))
    except ConfigError:
        return False


def _told(mounts: list[str], why: str) -> str:
    return f"{one_line(listed(f'--mount {mount}' for mount in mounts), 300)} ({why})" if mounts else ""
