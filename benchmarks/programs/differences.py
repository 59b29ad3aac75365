"""How the results of two libraries are compared, and the differences that are meant, each with its reason.

A reason is a row of the table of known faults, or a purposeful difference that docs/migrating-from-smolagents.md lists.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

EXPECTED_DIFFERENCES: dict[str, str] = {
    "checks_with_two_parameters *": "a check may leave out the agent; 1.26 calls that a failed check",
}
"""Program and place in its result, with `*` for any text: the reason."""


def differences(theirs: Any, ours: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two results differ: the place, and what stands there."""
    if any(isinstance(each, dict) and list(each) == ["raised"] for each in (theirs, ours)):
        if theirs != ours:
            yield place, theirs, ours
    elif isinstance(theirs, dict) and isinstance(ours, dict):
        for key in [*theirs, *(key for key in ours if key not in theirs)]:
            yield from differences(theirs.get(key, "absent"), ours.get(key, "absent"), f"{place}.{key}".lstrip("."))
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for index, pair in enumerate(zip(theirs, ours, strict=True)):
            yield from differences(*pair, f"{place}[{index}]")
    elif theirs != ours or type(theirs) is not type(ours):
        yield place, theirs, ours


def explained(program: str, place: str) -> str | None:
    """The key of the expected difference at this place."""
    return next((key for key in EXPECTED_DIFFERENCES if fnmatchcase(f"{program} {place}".strip(), key)), None)
