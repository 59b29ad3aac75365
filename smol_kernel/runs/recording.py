"""What `replay` reads off the recording of a run: where it rests, its limit, its time, and its actions."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from smol_kernel.errors import ReplayError
from smol_kernel.events import (
    ActionFinished,
    ActionProposed,
    Event,
    FinalAnswer,
    ModelReplied,
    RunFinished,
    RunResumed,
    RunStarted,
    StepFinished,
    StepStarted,
    ToolCalled,
)

NOT_COUNTED = ("input", "final_answer")
"""Calls that no budget counts."""


def resting_place(own: list[Event], child_lives: bool) -> int:
    """How many of a run's own events count when it is taken up again: without an end that was none, without a step
    that got no reply, and without what a cut-off action had put out. An action that was stopped is one, unless the
    child lives, in which it left what it had done."""
    end = len(own)
    if isinstance(own[-1], RunFinished):
        end -= 1
        if own[-1].state in ("max_steps_error", "budget", "success"):
            over = (StepFinished, ActionFinished) if own[-1].state == "budget" else StepFinished  # it may end in a step
            ended = [place for place, event in enumerate(own[:end]) if isinstance(event, over)]
            end = ended[-1] + 1 if ended else 1
    begun = [place for place, event in enumerate(own[:end]) if isinstance(event, StepStarted)]
    if not begun:
        return end
    step = own[begun[-1] : end]
    replied = any(isinstance(event, ModelReplied) and event.purpose == "action" for event in step)
    stopped = any(isinstance(event, ActionFinished) and event.status == "interrupted" for event in step)
    if any(isinstance(event, StepFinished) for event in step) and not stopped:
        return end if replied else begun[-1]
    if (stopped and not child_lives) or not any(isinstance(event, ActionFinished) for event in step):
        proposed = [place for place, event in enumerate(step) if isinstance(event, ActionProposed)]
        return begun[-1] + proposed[-1] + 1 if proposed else end
    return end


def is_foreign(started: RunStarted) -> bool:
    """Whether the record of a run came from a file: somebody else may have written it."""
    return bool(started.origin.get("imported"))


def open_step(own: Iterable[Event]) -> int:
    """Number of the step whose action is run with effect when these events of a run have been played: it has a
    reply, whatever that was asked for, and no end; 0: there is none."""
    begun, inside, replied = 0, False, False
    for event in own:
        if isinstance(event, StepStarted):
            begun, inside, replied = begun + 1, True, False  # the number that it says it has may be any
        elif isinstance(event, ModelReplied | ActionProposed):
            replied = inside
        elif isinstance(event, ActionFinished | StepFinished):
            replied, inside = False, inside and isinstance(event, ActionFinished)
    return begun if replied else 0


def asks_next(own: Sequence[Event]) -> bool:
    """Whether a run of which these events count goes on with a question to its model: it has no reply whose step is
    under way, and no answer."""
    steps = (StepStarted, ModelReplied, StepFinished)
    last = next((event for event in reversed(own) if isinstance(event, steps)), None)
    under_way = isinstance(last, ModelReplied) and last.purpose == "action"
    return not under_way and not any(isinstance(event, FinalAnswer) for event in own)


def limit_of(own: Iterable[Event]) -> int:
    """Steps that a run may take in all: as it was told last, of a run's own events."""
    told = [event.max_steps for event in own if isinstance(event, RunStarted | RunResumed) and event.max_steps]
    if not told or told[-1] < 1:
        raise ReplayError("the recording has no limit of steps: it is damaged")
    return told[-1]


def steps_counted(own: Iterable[Event]) -> int:
    """Steps that count towards the limit, of the events of one run that count."""
    ended = [event for event in own if isinstance(event, StepFinished)]
    return (ended[-1].step if ended[-1].counted is None else ended[-1].counted) if ended else 0


def last_in_turn(family: Iterable[Event], run: str) -> str:
    """The run that the task was handed on to last, by hand-offs; `run` itself if there was none."""
    for event in family:  # in the order in which they began
        if isinstance(event, RunStarted) and event.parent == run and event.call is None:
            run = event.run
    return run


def called_runs(family: Iterable[Event], run: str) -> dict[str, str]:
    """The runs of agents that `run` called, and of those that these had work for them: with the call of `run`."""
    found: dict[str, str] = {}
    for event in family:
        if isinstance(event, RunStarted) and event.parent is not None:
            call = event.call if event.parent == run else found.get(event.parent)
            if call is not None:  # else the run was handed over
                found[event.run] = call
    return found


def family_of(family: Iterable[Event], run: str) -> list[Event]:
    """Of these events those of `run` and of all runs below it."""
    runs, found = {run}, list[Event]()
    for event in family:
        if isinstance(event, RunStarted) and event.parent in runs:
            runs.add(event.run)
        if event.run in runs:
            found.append(event)
    return found


def used(event: Event) -> dict[str, float | None]:
    """What was used of a budget when this was recorded, by the names of `Budget`."""
    if isinstance(event, ModelReplied):
        return {name: getattr(event, name) for name in ("input_tokens", "output_tokens", "cost")}
    if isinstance(event, ToolCalled):
        return {"tool_calls": int(event.tool not in NOT_COUNTED)}
    return {"steps": 1} if isinstance(event, StepStarted) else {}


def weakest(*isolations: str) -> str:
    """Of the `isolation` of several children that of which holds least."""
    return max(isolations, key=lambda each: (each in ("", "none"), each.endswith("the network"), "with" in each))


def worked(own: list[Event]) -> float:
    """Seconds that the run took, without the time in which nobody worked on it."""
    pairs = itertools.pairwise(own)
    return sum(max(0.0, b.time - a.time) for a, b in pairs if not isinstance(b, RunResumed))


def actions_of(own: list[Event]) -> list[list[Event]]:
    """The events of each action that was not cut off: ActionProposed, and what belongs to it up to ActionFinished; that
    is all of one that was refused before it began."""
    found: list[list[Event]] = []
    taking = False
    for event in own:
        if isinstance(event, ActionProposed):
            found.append([])
            taking = True
        elif isinstance(event, StepFinished | StepStarted | ModelReplied):
            taking = False
        if taking:
            found[-1].append(event)
            taking = not isinstance(event, ActionFinished)
    return found[:-1] if isinstance(own[-1], ActionProposed) else found
