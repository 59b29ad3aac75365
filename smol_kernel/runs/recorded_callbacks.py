"""`RecordedCallbacks`: step callbacks that are not called again; what they changed stays changed. `replay` puts them
between the loop and the agent's own."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from smol_kernel.memory.steps import MemoryStep

if TYPE_CHECKING:
    from smol_kernel.runs.replay import Replay


class RecordedCallbacks:
    """Calls no callback again; the edits that one made are made from the recording."""

    def __init__(self, own: Any, replay: Replay) -> None:
        self._own, self._replay = own, replay

    def __len__(self) -> int:
        return max(2, len(self._own))

    def another(self, old: Any, new: Any) -> Any:
        """The agent's own, for a copy of it."""
        return self._own.another(old, new)

    def callback(self, memory_step: MemoryStep, **given: Any) -> None:
        """Make the recorded edits of a step; of one that is new, call the agent's own."""
        if self._replay.played:
            self._own.callback(memory_step, **given)
            return
        agent = given["agent"]
        agent.monitor.update_metrics(memory_step)
        self._replay.edit([*agent.memory.steps, memory_step])


def edit(step: Any, changes: dict[str, Any]) -> None:
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
