"""`RecordedEnd`: ends a run that `replay` plays whole as it ended when it was recorded, whatever that was.

A stop, a model that gave no reply or a clock that had run out do not come again by themselves, and nothing new is to be
done in their place: what comes after in the same conversation goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from smol_kernel.errors import NO_REPLY, AgentBudgetError, ContextLengthError, ModelError
from smol_kernel.events import (
    Compacted,
    Event,
    FinalAnswer,
    HandedOff,
    PlanMade,
    RunFinished,
    RunStarted,
    StepFinished,
)
from smol_kernel.memory.steps import ActionStep
from smol_kernel.memory.usage import Timing

PARTS = (FinalAnswer, RunFinished)
"""Events that an end is made of."""


class RecordedEnd:
    """The end of a run, of all whose `events`, those of agents that it called included, the last one tells it.

    `replies` are what is played of its model, `beside` events that may stand anywhere.
    """

    def __init__(self, events: Sequence[Event], replies: Sequence[Event], beside: tuple[type[Event], ...]) -> None:
        self._last, self._replies = events[-1], replies
        self._state = self._last.state if isinstance(self._last, RunFinished) else ""
        parts = (*PARTS, *beside)
        own = [place for place, each in enumerate(events) if each.run == self._last.run and not isinstance(each, parts)]
        self._begins = own[-1] + 1 if own else 0
        self._paused = (RunStarted, StepFinished, PlanMade, HandedOff, *parts)

    def may_ask(self, agent: Any) -> bool:
        """Called before the model of `agent` is asked for what is not recorded: it never is. False where the run was
        stopped then, as it is now. Raises ModelError as the model did."""
        said = (isinstance(self._last, RunFinished) and self._last.error) or "the recording ends here"
        if self._state in ("interrupted", "budget") and NO_REPLY not in said:
            agent.life.stop.set()
            return False
        too_long = self._replies and isinstance(self._replies[-1], Compacted)
        raise (ContextLengthError if too_long else ModelError)(said.partition(NO_REPLY)[2] or said)

    def is_next(self, at: int) -> bool:
        """Whether from this place on nothing is left but an end to which no loop comes by itself."""
        return self._state not in ("", "success") and at >= self._begins

    def closes(self, event: Event, at: int) -> bool:
        """Whether the reader of the run closed it behind `event`, in a step, with what comes from this place on."""
        return self._state == "interrupted" and not isinstance(event, self._paused) and self.is_next(at)

    def remember(self, agent: Any) -> None:
        """Have in the memory of `agent` that its time was up, if that was so."""
        last = agent.memory.steps[-1]
        if self._state != "budget" or (isinstance(last, ActionStep) and isinstance(last.error, AgentBudgetError)):
            return
        assert isinstance(self._last, RunFinished)
        limit = AgentBudgetError(self._last.error or "")
        agent.memory.steps.append(ActionStep(self._last.steps + 1, Timing(time.time()), error=limit))
