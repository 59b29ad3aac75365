"""Which of the recorded events count, where a run was cut off and went on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from smol_kernel.events.base import Event
from smol_kernel.events.kinds import RunResumed


def settled(events: Iterable[Event]) -> list[Event]:
    """`events`, of one run or several, without those that a later RunResumed of the same run left out."""
    kept: list[Event | None] = []
    places: dict[str, list[int]] = defaultdict(list)
    for event in events:
        own = places[event.run]
        if isinstance(event, RunResumed):
            for place in own[event.kept :]:
                kept[place] = None
            del own[event.kept :]
        else:
            own.append(len(kept))
        kept.append(event)
    return [event for event in kept if event is not None]
