"""Shortens the oldest observations when the conversation has become longer than the model can read."""

from __future__ import annotations

from collections.abc import Sequence

from smol_kernel.executors.observation import truncate
from smol_kernel.memory.steps import ActionStep, MemoryStep

KEPT = 300
"""Characters that stay of a shortened observation or error."""
_NOTE = "[shortened; variables that this step made are still defined] "


def compact(steps: Sequence[MemoryStep]) -> list[int]:
    """Shorten the older half of the long observations in `steps`; returns the numbers of the steps it changed.

    The newest step is left alone as long as others can be shortened; images of a shortened step are dropped. An empty
    list: nothing is left to shorten.
    """
    actions = [step for step in steps if isinstance(step, ActionStep)]
    older = [step for step in actions[:-1] if _can_shrink(step)] or [step for step in actions[-1:] if _can_shrink(step)]
    chosen = older[: (len(older) + 1) // 2]
    for step in chosen:
        step.observations_images = None
        step.observations = step.observations and _shortened(step.observations)
        if step.error is not None:
            step.error.message = _shortened(step.error.message)
    return [step.step_number for step in chosen]


def _can_shrink(step: ActionStep) -> bool:
    longest = max(len(step.observations or ""), len(step.error.message) if step.error else 0)
    return longest > 2 * KEPT or bool(step.observations_images)


def _shortened(text: str) -> str:
    return text if len(text) <= 2 * KEPT else _NOTE + truncate(text, KEPT)
