"""Recorded runs in a line each, as lists of runs have them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from smol_kernel.journal import RunSummary
from smol_kernel.render.plain import counted, one_line
from smol_kernel.render.text import state_word
from smol_kernel.render.transcript import model_label

_ID_LENGTH, _TASK_LENGTH = 12, 60


def run_lines(runs: Sequence[RunSummary]) -> list[str]:
    """Of each its id, when it began (by the local clock), how it ended, its steps, its model, and the beginning of its
    task, each below those of the others."""
    states, models = [run_state(run) for run in runs], [_model(run) for run in runs]
    wide, width = max(map(len, states), default=0), max(map(len, models), default=0)
    return [
        _line(run, f"{state:{max(wide, 13)}}", f"{model:{width}}")
        for run, state, model in zip(runs, states, models, strict=True)
    ]


def run_state(run: RunSummary) -> str:
    """How the run ended, or where it is at work, as people read it."""
    return one_line(run.whereabouts.partition(":")[0]) or state_word(run.state)


def _model(run: RunSummary) -> str:
    boxed = "  not isolated" if run.isolation == "none" else ""
    return one_line(model_label(run.model, run.scripted)) + boxed


def _line(run: RunSummary, state: str, model: str) -> str:
    try:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started))
    except (ValueError, OverflowError, OSError):  # of a damaged row
        when = "?".ljust(len("2026-01-01 00:00"))
    steps = counted(run.steps, "step")
    task = one_line(run.task, _TASK_LENGTH)
    return f"{run.run[:_ID_LENGTH]:{_ID_LENGTH}}  {when}  {state}  {steps:>8}  {model}  {task}"
