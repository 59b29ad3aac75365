"""Makes the conversation shorter when it has become longer than the model can read."""

from __future__ import annotations

from smol_kernel.events import Compacted
from smol_kernel.executors.observation import truncate
from smol_kernel.memory.messages import text_of
from smol_kernel.memory.steps import ActionStep, MemoryStep, TaskStep, longest

KEPT = 300
"""Characters that stay of a shortened observation, error or reply."""


def compact(steps: list[MemoryStep]) -> Compacted | None:
    """Shorten the older half of the long observations in `steps`, with their images; where there are none, of the long
    replies; at last leave out the older half of the steps, first those between earlier tasks and their answers, then
    the longest of these. The newest step is left alone as long as there is another. None: nothing is left to do, and
    none is left out any more, since that does not help.
    """
    there = [step for step in steps if not step.left_out]
    actions = [step for step in there if isinstance(step, ActionStep)]
    for said in (False, True):
        long = [step for step in actions if _is_long(step, said)]
        older = [step for step in long if step is not actions[-1]] or long
        if older:
            return Compacted(steps=[_shorten(step, said) for step in older[: (len(older) + 1) // 2]])
    begun = max((index for index, step in enumerate(there) if isinstance(step, TaskStep)), default=0)
    middle = [each for each in there[:begun] if not (isinstance(each, TaskStep) or vars(each).get("is_final_answer"))]
    current = there[begun + 1 : -1]
    gone = middle[: (len(middle) + 1) // 2] or longest(there[:begun]) or current[: (len(current) + 1) // 2]
    for each in gone or steps:
        each.left_out = bool(gone)
    return Compacted(steps=[], left_out=True) if gone else None


def _is_long(step: ActionStep, said: bool) -> bool:
    """Whether what it said is, or what was seen of it."""
    seen = [step.observations or "", step.error.message if step.error else ""]
    return max(map(len, [text_of(step.model_output)] if said else seen)) > 2 * KEPT or bool(step.observations_images)


def _shorten(step: ActionStep, said: bool) -> int:
    """Shorten what is long of a step; gives its number."""
    step.observations_images = None
    step.model_output = _shortened(text_of(step.model_output)) if said else step.model_output
    step.observations = step.observations and _shortened(step.observations)
    if step.error is not None:
        step.error.message = _shortened(step.error.message)
    return step.step_number


def _shortened(text: str) -> str:
    return text if len(text) <= 2 * KEPT else f"[shortened; its variables are still defined] {truncate(text, KEPT)}"
