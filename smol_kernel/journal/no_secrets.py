"""The last net below the record: no secret that this process knows reaches the file, wherever in an event it stands."""

from __future__ import annotations

import sys
from typing import Any

from smol_kernel.events import Event, from_dict
from smol_kernel.memory.known_secrets import redacted


def without_secrets(event: Event) -> tuple[Event, dict[str, Any]]:
    """`event`, or one like it that holds words in place of each secret (see `memory.known_secrets`); and its data,
    to be read alone."""
    data = event.to_dict(shared=True)
    clean = redacted(data, most=sys.maxsize)
    if clean is data:
        return event, data
    event = from_dict(clean)
    return event, event.to_dict(shared=True)
