"""How large this process and its children are at a moment: memory, descriptors, threads, processes, temporary files."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import psutil

MB = 1e6


def host_memory() -> float:
    """Megabytes that this process alone holds (USS)."""
    gc.collect()
    return psutil.Process().memory_full_info().uss / MB


def children_memory() -> float:
    """Megabytes that the processes below this one have of their own: without files they have mapped, whose share (so
    USS and PSS) depends on who else has. What a fork has of its parent counts for both."""
    return sum(_anonymous(each) for each in psutil.Process().children(recursive=True))


def _anonymous(process: psutil.Process) -> float:
    try:
        info = process.memory_info()
    except psutil.NoSuchProcess:
        return 0.0
    return (info.rss - getattr(info, "shared", 0)) / MB


def whole_memory() -> float:
    """Megabytes of this process and all below it, pages that several processes share counted in parts (PSS)."""
    gc.collect()
    this = psutil.Process()
    return sum(_shared_out(each) for each in (this, *this.children(recursive=True)))


def _shared_out(process: psutil.Process) -> float:
    try:
        return process.memory_full_info().pss / MB
    except psutil.NoSuchProcess:
        return 0.0


def counts(folder: Path) -> dict[str, float]:
    """What has to stay the same however long this process works; `folder` is where its temporary files are."""
    this = psutil.Process()
    return {
        "descriptors": _descriptors(this),
        "threads": this.num_threads(),
        "processes": len(this.children(recursive=True)),
        "temporary files": sum(1 for _ in folder.rglob("*")),
    }


def _descriptors(process: psutil.Process) -> int:
    count: Callable[[], int] | None = getattr(process, "num_fds", None) or getattr(process, "num_handles", None)
    return count() if count else 0
