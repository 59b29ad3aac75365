"""Which launcher starts a child here: a box wherever one can be had, the plain one for those who opted out."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from smol_kernel.errors import BoxUnavailableError
from smol_kernel.executors.launchers import Child
from smol_kernel.executors.launchers.settings import OPT_OUT, BoxSettings


def launch(python: str | Path | None, cwd: str | Path | None, settings: BoxSettings | None) -> Child:
    """Start a child; in a box if `settings` are given. Raises BoxUnavailableError, ExecutorError."""
    if settings is None:
        from smol_kernel.executors.launchers.plain import PlainChild

        return PlainChild(python, cwd)
    if any(mount.writable for mount in settings.mounts):
        from smol_kernel.executors.launchers.host_imports import guard

        guard(settings.mounts)
    if sys.platform == "linux":
        from smol_kernel.executors.launchers.box import BoxedChild
        from smol_kernel.executors.launchers.zygote import are_any, told

        try:
            return BoxedChild(python, cwd, settings)
        except BoxUnavailableError:
            if settings.afresh or not are_any():
                raise
            child = BoxedChild(python, cwd, replace(settings, afresh=True))
            told(came_up=False)  # a Python started afresh can
            return child
    if sys.platform == "darwin":
        from smol_kernel.executors.launchers.seatbelt import SeatbeltChild

        return SeatbeltChild(python, cwd, settings)
    raise BoxUnavailableError(f"no box can be built on {sys.platform}: {OPT_OUT}")
