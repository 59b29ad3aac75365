"""Runs every program on smolagents and here, and compares: `python benchmarks/programs --smolagents PYTHON`.

With `--save` the answers of smolagents are kept in answers.json, for the tests, which have no smolagents. Exit status 1
if answers differ in a way that `differences.py` does not explain, or if what it explains is no longer so.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

from libraries import (  # noqa: E402
    OURS,
    THEIRS,
    add_arguments,
    add_table_arguments,
    cell,
    functions_of,
    interpreter_with_smolagents,
    run,
)

from programs import MODULES  # noqa: E402
from programs.differences import EXPECTED_DIFFERENCES, differences, explained  # noqa: E402

ANSWERS = Path(__file__).parent / "answers.json"


def as_lines(answers: dict[str, Any]) -> Iterator[str]:
    """The answers as JSON, a program a line."""
    yield "{"
    for index, name in enumerate(sorted(answers), start=1):
        yield f"{json.dumps(name)}: {json.dumps(answers[name])}{',' if index < len(answers) else ''}"
    yield "}"


def short(value: Any) -> str:
    """The value as JSON, not too long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 160 else text[:157] + "..."


def main() -> int:
    parser = argparse.ArgumentParser(prog="programs", description=__doc__)
    add_arguments(parser)
    add_table_arguments(parser)
    parser.add_argument("--save", action="store_true", help="keep what smolagents answers in answers.json")
    options = parser.parse_args()
    programs = [each for name in MODULES for each in functions_of(import_module(f"programs.{name}"))]
    programs = [each for each in programs if not options.only or each.__name__ in options.only]
    with interpreter_with_smolagents(options.smolagents) as python:
        theirs = run(python, THEIRS, programs, verbose=options.verbose)
    if options.save:
        ANSWERS.write_text("".join(f"{line}\n" for line in as_lines(theirs)))
    ours = run(sys.executable, OURS, programs, verbose=options.verbose)

    used, unexplained, equal = set(), 0, 0
    if options.markdown:
        print("| program | what it does | answers | what differs |\n|---|---|---|---|")
    for program in programs:
        name = program.__name__
        found = list(differences(theirs[name], ours[name]))
        keys = [explained(name, place) for place, _, _ in found]
        used.update(key for key in keys if key)
        equal += not found
        unexplained += None in keys
        verdict = "equal" if not found else "DIFFER" if None in keys else "differ as meant"
        reasons = [
            f"{place or 'result'}: {short(left)} there, {short(right)} here"
            + (f" ({EXPECTED_DIFFERENCES[key]})" if key else "")
            for (place, left, right), key in zip(found, keys, strict=True)
        ]
        if options.markdown:
            what, why = ((program.__doc__ or "").strip(), "<br>".join(reasons))
            print(f"| `{name}` | {cell(what)} | {verdict} | {cell(why)} |")
        else:
            print(f"{verdict:16}{name}", *reasons, sep="\n    ", flush=True)
    stale = [key for key in EXPECTED_DIFFERENCES if key not in used] if not options.only else []
    for key in stale:
        print(f"\nNo longer so: {key} ({EXPECTED_DIFFERENCES[key]})")
    print(f"\n{len(programs)} programs: {equal} equal, {unexplained} differ without a reason.")
    return 1 if unexplained or stale else 0


if __name__ == "__main__":
    sys.exit(main())
