"""`RecordedCallbacks`: step callbacks that are not called again; what they changed stays changed. `replay` puts them
between the loop and the agent's own."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from smol_kernel.events import FinalAnswer, MemoryEdited, Notice, StepFinished
from smol_kernel.executors.values import decode
from smol_kernel.memory.steps import ActionStep, FinalAnswerStep, MemoryStep

if TYPE_CHECKING:
    from smol_kernel.runs.replay import Replay


class RecordedCallbacks:
    """Calls no callback again; the edits that one made, of the count of steps and of the answer too, are made from the
    recording."""

    def __init__(self, own: Any, replay: Replay) -> None:
        self._own, self._replay = own, replay

    def __len__(self) -> int:
        return max(2, len(self._own))

    def another(self, old: Any, new: Any) -> Any:
        """The agent's own, for a copy of it."""
        return self._own.another(old, new)

    def callback(self, memory_step: MemoryStep, **given: Any) -> None:
        """Make the recorded edits after a step; of one that is new, call the agent's own."""
        if self._replay.played:
            self._own.callback(memory_step, **given)
            return
        agent = given["agent"]
        if isinstance(memory_step, ActionStep):
            agent.monitor.update_metrics(memory_step)
        steps = [*agent.memory.steps, memory_step]
        for event in self._replay.to_come():
            if isinstance(event, MemoryEdited) and event.index < len(steps):
                _edit(steps[event.index], event.changes)
            elif isinstance(event, StepFinished) and isinstance(memory_step, ActionStep):
                agent.step_number = agent.step_number if event.counted is None else event.counted
            elif isinstance(event, FinalAnswer) and isinstance(memory_step, FinalAnswerStep):
                memory_step.output = decode(event.value)
            if not isinstance(event, MemoryEdited | Notice):
                return


def _edit(step: Any, changes: dict[str, Any]) -> None:
    """Change what the model reads of a step, as it was changed then."""
    for name, value in changes.items():
        if isinstance(value, int):
            if value == 0:
                setattr(step, name, None)
        elif name == "error":
            if step.error is not None:
                step.error.message = value
        else:
            with suppress(AttributeError):
                setattr(step, name, value or None)
