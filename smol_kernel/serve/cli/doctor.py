"""`smol doctor`: whether the agent's code can be boxed here, what the box holds and what not, and what is installed."""

from __future__ import annotations

import argparse
import errno
import json
import os
import platform
import shutil
import sys
import textwrap
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from smol_kernel.errors import BoxUnavailableError, JournalError
from smol_kernel.executors.launchers.settings import VARIABLE, Limits, held_limit, size_in_words, wants_box
from smol_kernel.journal import Journal, default_path
from smol_kernel.journal.database import explain
from smol_kernel.models.named import API_BASE_VARIABLE, MODEL_VARIABLE
from smol_kernel.render.plain import one_line

MECHANISMS = {
    "linux": "namespaces, an overlay, seccomp and limits of the Linux kernel; neither root nor another program",
    "darwin": "a sandbox-exec profile",
}
"""What a box is made of, by `sys.platform`."""
PACKAGES = (
    "smol-kernel",
    "ipykernel",
    "jupyter_client",
    "ipython",
    "pyzmq",
    "litellm",
    "cloudpickle",
    "pyarrow",
    "mcp",
)

ALWAYS_OPEN = (
    "faults of the kernel: the box is as strong as the system it stands on",
    "what runs in the host: your tools, MCP servers and cells written back, once you run them, have your rights",
    "what the answer says: a model can ask you to do what it cannot",
)
REFUSED = ("no box can be built here: namespaces", "no box can be built here: user namespace")
"""With what the reason for no box begins where the system refuses namespaces, whatever its numbers say."""
TOGETHER = "the memory of all its processes together: no control group is delegated, so each process has its own limit"


def add_commands(commands: Any) -> None:
    """Add `doctor` to the subcommands."""
    parser = commands.add_parser(
        "doctor",
        help="see whether the agent's code can be boxed here",
        description="Start a box, try from inside to reach what it must not, and show what this system gives. "
        "Exit status: 0 the box stands and held everything; 1 there can be none here or in this folder, or it leaks.",
    )
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    parser.set_defaults(command=command)


def command(arguments: argparse.Namespace) -> int:
    """Carry out `smol doctor`; 0 if a box can be had and holds."""
    report = examine()
    if arguments.json:
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        print("\n".join(lines(report)))
    box = report["box"]
    good = box["available"] and not box["here"]["refused"] and all(each["held"] for each in report["tried"])
    return 0 if good else 1


def examine() -> dict[str, Any]:
    """All there is to tell, as plain data. Raises ExecutorError if a child of any kind cannot be started."""
    from smol_kernel.executors.probe import here, probe

    box: dict[str, Any] = {"available": True, "wanted": wants_box(None), "mechanism": MECHANISMS.get(sys.platform)}
    tried, limits = list[dict[str, Any]](), dict[str, int]()
    try:
        found = probe()
        tried = [{"name": each.name, "held": each.held, "told": each.told} for each in found.attempts]
        limits = found.limits
        refused, notices = here()
        box["here"] = {"refused": refused, "notices": notices}
    except BoxUnavailableError as error:
        reason = str(error).replace(" See `smol doctor`.", "")
        box |= {"available": False, "mechanism": None, "reason": reason}
    facts = system()
    open_to = [*ALWAYS_OPEN] if facts["control group"]["delegated"] else [TOGETHER, *ALWAYS_OPEN]
    return {"box": box, "tried": tried, "limits": limits, "not held": open_to if tried else [], "system": facts}


def system() -> dict[str, Any]:
    """What matters of this machine and this Python."""
    try:
        journal = default_path()
        trouble = journal_trouble(journal)
    except JournalError as error:
        journal, trouble = None, str(error)
    facts: dict[str, Any] = {
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "kernel": f"{platform.system()} {platform.release()} ({platform.machine()})",
        "user": {"id": os.getuid()} if hasattr(os, "getuid") else {},
        "user namespaces": {
            "most": _number("/proc/sys/user/max_user_namespaces"),
            "for ordinary users": _number("/proc/sys/kernel/unprivileged_userns_clone"),
            "restricted by AppArmor": _number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
        },
        "bubblewrap": shutil.which("bwrap"),
        "overlayfs": "overlay" in _read("/proc/filesystems").split(),
        "seccomp": _read("/proc/sys/kernel/seccomp/actions_avail").split(),
        "control group": control_group(),
        "packages": {name: _version(name) for name in PACKAGES},
        "journal": {"path": journal and str(journal), "writable": trouble is None, "trouble": trouble},
        "model": {MODEL_VARIABLE: os.environ.get(MODEL_VARIABLE), API_BASE_VARIABLE: os.environ.get(API_BASE_VARIABLE)},
        VARIABLE: os.environ.get(VARIABLE),
    }
    return facts


def control_group() -> dict[str, Any]:
    """Whether cgroup v2 is there, and whether we can have a group with limits in it: one is made, and removed."""
    from smol_kernel.executors.launchers.cgroup import delegated

    group = delegated(Limits())
    if group is not None:
        group.close()
    v2 = any(line.startswith("0::") for line in _read("/proc/self/cgroup").splitlines())
    return {"v2": v2 and "cgroup2" in _read("/proc/self/mounts"), "delegated": group is not None}


def journal_trouble(path: Path) -> str | None:
    """Why the journal cannot be used; None where it can, or can be made. Nothing is made."""
    try:
        if os.path.exists(path) and (not path.is_file() or path.stat().st_size):
            journal = Journal(path)
            journal.runs(limit=1)
            journal.cut_off("")  # no run: it only shows whether it can be written
            return None
    except JournalError as error:
        return str(error)
    refused = _refused(path)
    return None if refused is None else explain(path, OSError(refused, os.strerror(refused)))


def lines(report: dict[str, Any]) -> list[str]:
    """The report of `examine` as people read it."""
    box, facts = report["box"], report["system"]
    if box["available"]:
        told = _wrapped(f"✓ the agent's code can be boxed here: {box['mechanism']}")
        folder = box["here"]
        told += _wrapped(f"✗ not in this folder: {folder['refused']}") if folder["refused"] else []
        told += [line for each in folder["notices"] for line in _wrapped(f"· {each}")]
    else:
        told = _wrapped(f"✗ {box['reason']}")
    if not box["wanted"]:
        told.append(f"✗ {VARIABLE} is {facts[VARIABLE]!r}: runs are NOT boxed unless --box on asks for it")
    if report["tried"]:
        told += ["", "Tried from inside just now. The agent's code"]
        told += [f"  {_mark(each['held'])} {each['told']}" for each in report["tried"]]
        told += ["", *_wrapped(f"Limits: {limits_in_words(report['limits'])}"), "", "Not held by the box:"]
        told += [line for each in report["not held"] for line in _wrapped(f"  · {each}")]
    refused = str(box.get("reason", "")).startswith(REFUSED)
    return [*told, "", "This system", *(f"  {line}" for line in _facts(facts, refused))]


def _facts(facts: dict[str, Any], refused: bool) -> list[str]:
    python, journal, names, group = facts["python"], facts["journal"], facts["user namespaces"], facts["control group"]
    linux = [
        (
            names["most"] != 0 and names["for ordinary users"] != 0 and not refused,
            f"user namespaces: {_in_words(names)}{'; refused here' * refused}",
        ),
        (facts["overlayfs"], "overlayfs" + ("" if facts["overlayfs"] else ": not listed in /proc/filesystems")),
        (bool(facts["seccomp"]), "seccomp" + ("" if facts["seccomp"] else ": not in this kernel")),
    ]
    packages = [f"{name} {found}" for name, found in facts["packages"].items() if found]
    missing = [name for name, found in facts["packages"].items() if not found]
    group_words = "delegated" if group["delegated"] else "not delegated" if group["v2"] else "no cgroup v2 here"
    model = facts["model"][MODEL_VARIABLE]
    bubblewrap = "not installed, and not needed where Python may make user namespaces"
    if facts["bubblewrap"]:
        bubblewrap = f"{facts['bubblewrap']}, which makes the user namespace, unless for root"
    return [
        f"· Python {python['version']}, {python['executable']}",
        f"· {facts['kernel']}" + (f", user {facts['user']['id']}" if facts["user"] else ""),
        *(f"{_mark(good)} {words}" for good, words in (linux if sys.platform == "linux" else [])),
        *([f"· bubblewrap: {bubblewrap}"] if sys.platform == "linux" else []),
        *([f"· control group for all processes together: {group_words}"] if sys.platform == "linux" else []),
        f"· {', '.join(packages)}" + (f"; not installed: {', '.join(missing)}" if missing else ""),
        f"✗ {journal['trouble']}" if journal["trouble"] else f"✓ journal: {journal['path']}",
        f"· model: {one_line(model)}" if model else f"· model: none set ({MODEL_VARIABLE}, --model or %agent model)",
    ]


def limits_in_words(limits: dict[str, int]) -> str:
    """The limits as people read them, and which of them this machine has set."""

    def most(name: str, what: str) -> str:
        by = held_limit(Limits(), name)[1]
        number = size_in_words(limits[name]) if name in ("memory", "disk", "file_size") else f"{limits[name]:,}"
        return f"{number if limits[name] > 0 else 'no limit'}{what}{f' ({by})' if 'ulimit' in by else ''}"

    return ", ".join(
        (
            most("memory", " of memory in each process"),
            most("disk", " of files"),
            most("file_size", " in one"),
            most("processes", " processes and threads"),
            most("open_files", " open files"),
            most("cpu_seconds", " s of processor time"),
        )
    )


def _wrapped(text: str) -> list[str]:
    indent = "    " if text.startswith(" ") else "  "
    return textwrap.wrap(text, 110, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _mark(good: bool) -> str:
    return "✓" if good else "✗"


def _in_words(names: dict[str, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in names.items() if value is not None) or "nothing known"


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def _number(path: str) -> int | None:
    text = _read(path)
    return int(text) if text.isdigit() else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _refused(path: Path) -> int | None:
    """Why the file can neither be written nor made, as `errno` numbers it; None if it can. Nothing is made."""
    rights = os.W_OK if os.path.exists(path) else os.W_OK | os.X_OK
    while not os.path.exists(path) and path != path.parent:
        path = path.parent
    if rights & os.X_OK and not path.is_dir():
        return errno.ENOTDIR
    if os.access(path, rights):
        return None
    return errno.EROFS if os.statvfs(path).f_flag & os.ST_RDONLY else errno.EACCES
