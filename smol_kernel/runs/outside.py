"""What the actions of an agent reach besides a box of their own, told before recorded ones are run again.

Called by `resuming` for the agent of a run, and by `replay` for those that it called.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from smol_kernel.events import RunStarted
from smol_kernel.executors.launchers.settings import Limits
from smol_kernel.executors.launchers.view import not_rehearsed
from smol_kernel.render.plain import plain_line
from smol_kernel.runs.recording import is_foreign

OUTSIDE = "Running its actions again can change what is outside of its box a second time: {}."
SEEN = "Its actions {}."
"""What a record alone does not decide: it may have come from somebody else, by `smol import`."""
MODEL = "The whole conversation goes to the model {}, because a record of somebody else says so."
LONGEST = 300
"""Characters of a name in a question, which else could be lost behind it."""
UNFINISHED = "Step {} is not over in its record: its action is run now, and the calls in it are made."


def outside(agent: Any, repeat: bool) -> Iterator[str]:
    """What the actions of the agent reach besides their working folder, when they are run again; `repeat`, also what
    they reach only with leave to do things twice."""
    executor = getattr(agent, "python_executor", None)
    if executor is None:
        return
    settings = getattr(executor, "settings", None)
    if python := getattr(executor, "python", None):
        yield SEEN.format(f"run in the interpreter {plain_line(python, LONGEST)}")
    if settings is None:
        yield OUTSIDE.format("there is no box")
        return
    if seen := [mount.path for mount in settings.mounts]:
        yield SEEN.format(f"see {', '.join(seen)} besides the working folder")
    if writable := not_rehearsed(executor.cwd, settings):  # no interpreter that a record names is started for this
        yield OUTSIDE.format(f"they may write to {', '.join(writable)}")
    if settings.network == "full":
        yield OUTSIDE.format("they have the network")
    elif repeat and settings.allow_hosts:
        yield OUTSIDE.format(f"they have a network ({settings.words})")


def of_others(agent: Any) -> Iterator[str]:
    """What the actions of the agent reach because the record of somebody else says so."""
    executor = getattr(agent, "python_executor", None)
    settings = getattr(executor, "settings", None)
    if executor is not None and (folder := os.path.realpath(executor.cwd or ".")) != os.path.realpath("."):
        yield SEEN.format(f"work in the folder {folder}")
    if settings is not None and settings.allow_hosts:
        yield SEEN.format(f"have a network ({settings.words})")
    usual = asdict(Limits())
    given = asdict(settings.limits) if settings is not None else usual
    if other := [f"{name}={value}" for name, value in given.items() if value != usual[name]]:
        yield SEEN.format(f"have limits of their own ({', '.join(other)})")


def the_model_of_others(model: Any) -> str:
    """That the record of somebody else says which model gets the conversation."""
    names = model.named_as or [str(model.model_id)]
    return MODEL.format(", ".join(plain_line(name, LONGEST) for name in names))


def called_for_others(started: RunStarted, earlier: Sequence[RunStarted], found: Iterable[str]) -> Iterator[str]:
    """Which tools and agents, `found` here and not given, a run that goes on from `earlier` ones may call because the
    record of somebody else says so."""
    if not is_foreign(started):
        theirs = {name for each in earlier if is_foreign(each) for name in each.tools}
        found = [name for name in found if name in theirs and name not in started.tools]
    if names := ", ".join(dict.fromkeys(found)):
        yield SEEN.format(f"may call {names}, outside of their box, because a record of somebody else says so")
