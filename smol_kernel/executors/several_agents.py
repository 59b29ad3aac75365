"""Several agents that act in one executor, one after the other: what one left, and another has ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from smol_kernel.memory.life import Life


def make_ready(executor: Any, life: Life, anew: bool, variables: Mapping[str, Any]) -> None:
    """For a run of the agent that has this life, which is given `variables` next: `anew`, without others; else its next
    action tells which of those that it left have gone with a child since, or are another agent's now."""
    if executor.lost is None:
        if anew:
            executor.restart()
        return
    # the names that an agent left, once another has begun; and how many children had ended when it began itself
    left: WeakKeyDictionary[Life, tuple[list[str] | None, int]]
    left = vars(executor).setdefault("_left", WeakKeyDictionary())
    for other, (names, ended) in list(left.items()):
        if names is None and other is not life:
            left[other] = [*executor.names(), *executor.lost], ended
    names, ended = left.get(life, (None, executor.ended))
    if anew:
        executor.restart()
    elif names and executor.ended != ended:
        mine = {**life.given, **life.own}
        kept = {name for name, value in executor.given.items() if name in mine and mine[name] is value}
        executor.lost += [name for name in names if name not in kept and name not in variables]
    left[life] = None, executor.ended
