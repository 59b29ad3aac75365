"""Runs every program on smolagents and here, and compares: `python benchmarks/programs --smolagents PYTHON`.

Exit status 1 if answers differ in a way that `differences.py` does not explain, or if what it explains is no longer so.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

from libraries import OURS, THEIRS, add_arguments, functions_of, interpreter_with_smolagents, run  # noqa: E402

from programs.differences import EXPECTED_DIFFERENCES  # noqa: E402

MODULES = ["code_agents", "loops", "settings", "tool_calls", "managed_agents", "web"]


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


def short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False).replace("|", "\\|").replace("\n", " ")
    return text if len(text) <= 160 else text[:157] + "..."


def main() -> int:
    parser = argparse.ArgumentParser(prog="programs", description=__doc__)
    add_arguments(parser)
    options = parser.parse_args()
    programs = [each for name in MODULES for each in functions_of(import_module(f"programs.{name}"))]
    programs = [each for each in programs if not options.only or each.__name__ in options.only]
    with interpreter_with_smolagents(options.smolagents) as python:
        theirs = run(python, THEIRS, programs, verbose=options.verbose)
    ours = run(sys.executable, OURS, programs, verbose=options.verbose)

    used, unexplained, equal = set(), 0, 0
    print("| program | what it does | answers | what differs |\n|---|---|---|---|")
    for program in programs:
        name = program.__name__
        found = list(differences(theirs[name], ours[name]))
        keys = [explained(name, place) for place, _, _ in found]
        used.update(key for key in keys if key)
        equal += not found
        unexplained += None in keys
        verdict = "equal" if not found else "**differ**" if None in keys else "differ as meant"
        reasons = [
            f"{place or 'result'}: {short(left)} there, {short(right)} here"
            + (f" ({EXPECTED_DIFFERENCES[key]})" if key else "")
            for (place, left, right), key in zip(found, keys, strict=True)
        ]
        says = (program.__doc__ or "").strip().replace("|", "\\|")
        print(f"| `{name}` | {says} | {verdict} | {'<br>'.join(reasons)} |", flush=True)
    stale = [key for key in EXPECTED_DIFFERENCES if key not in used] if not options.only else []
    for key in stale:
        print(f"\nNo longer so: {key} ({EXPECTED_DIFFERENCES[key]})")
    print(f"\n{len(programs)} programs: {equal} equal, {unexplained} differ without a reason.")
    return 1 if unexplained or stale else 0


if __name__ == "__main__":
    sys.exit(main())
