"""Which processes of children live; what they are forked from is none, nor what is forked ahead."""

from __future__ import annotations

import psutil

from smol_kernel.executors.launchers import zygote


def children() -> set[int]:
    """Their ids."""
    zygotes = {each._process.pid for each in zygote._zygotes.values()}
    living = {child.pid for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE}
    spares = {there[1].pid for each in zygote._zygotes.values() if (there := each.spare._there)}
    return living - zygotes - spares
