"""The runs of a conversation before one of them, from the journal. Used by `conversation`, and by what proves a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from smol_kernel.errors import ReplayError, RunNotFoundError, SmolError
from smol_kernel.events import Event, RunResumed, RunStarted, settled
from smol_kernel.journal import Journal
from smol_kernel.runs.made_again import beginning


def runs_before(journal: Journal, events: Sequence[Event]) -> list[list[Event]]:
    """The runs that the one of `events` goes on from, the first one first; none where the journal cannot give one."""
    try:
        return [list(settled(run)) for run in earlier_runs(journal, beginning(events))][::-1]
    except SmolError:  # it may be damaged, too
        return []


def earlier_runs(journal: Journal, started: RunStarted) -> Iterator[list[Event]]:
    """The events of each run before `started`, from the last one back. Raises ReplayError if one is not there."""
    seen = {started.run}
    while started.continues is not None:
        if started.continues in seen:
            raise ReplayError("the run goes on from itself: its record is damaged")
        seen.add(started.continues)
        try:
            events = journal.events(started.continues, family=True)
        except RunNotFoundError:
            raise ReplayError(
                f"the run goes on from run {started.continues}, which is not in the journal: import that one first"
            ) from None
        later = started
        started = beginning(events)
        yield _before(later, events)


def _before(later: RunStarted, events: list[Event]) -> list[Event]:
    """Of the `events` of the run that `later` goes on from those that there were then: it may have been resumed."""
    resumed = (place for place, each in enumerate(events) if isinstance(each, RunResumed) and each.time > later.time)
    return events[: next(resumed, None)]
