"""How the results of two libraries are compared, and the differences that are meant, each with its reason.

A reason is a row of the table of known faults, or a purposeful difference that docs/migrating-from-smolagents.md lists.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

EXPECTED_DIFFERENCES: dict[str, str] = {
    "checks_with_two_parameters *": "a check may leave out the agent; 1.26 calls that a failed check",
    "stream_needs_a_streaming_model": "with a model that cannot stream, stream_outputs=True asks for whole replies",
    "prompt_templates imports": "the template's authorized_imports is '*' where all may be imported",
    "prompt_templates last request*": "the last request goes on from the conversation: a provider's cache applies",
    "prompt_templates incomplete": "templates that are left out are ours",
    "visit_webpage link": "links of a page are made absolute",
    "save_and_load *": "more settings are kept: instructions, tags, checks, budget, hand-offs",
    "tool_saved_as_code files": "requirements.txt is written as well",
    "schema_of_a_tool any": "an input of any type has no type in the schema; 1.26 says string",
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
