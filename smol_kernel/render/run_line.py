"""A recorded run in one line, as lists of runs have it."""

from __future__ import annotations

import time

from smol_kernel.journal import RunSummary
from smol_kernel.render.plain import counted, one_line
from smol_kernel.render.text import state_word
from smol_kernel.render.transcript import model_label

_ID_LENGTH, _TASK_LENGTH = 12, 60


def run_line(run: RunSummary) -> str:
    """Its id, when it began (by the local clock), how it ended, its steps, its model, and the beginning of its task."""
    try:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started))
    except (ValueError, OverflowError, OSError):  # of a damaged row
        when = "?".ljust(len("2026-01-01 00:00"))
    state, steps = state_word(run.state), counted(run.steps, "step")
    task, model = one_line(run.task, _TASK_LENGTH), one_line(model_label(run.model, run.scripted))
    boxed = "  not isolated" if run.isolation == "none" else ""
    return f"{run.run[:_ID_LENGTH]:{_ID_LENGTH}}  {when}  {state:13}  {steps:>8}  {model}{boxed}  {task}"
