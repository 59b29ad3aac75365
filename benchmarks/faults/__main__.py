"""Reproduces every known fault on smolagents and here: `python benchmarks/faults --smolagents PYTHON`.

Exit status 1 if a fault shows here, or does not show there, where the table says it does.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

from libraries import OURS, THEIRS, add_arguments, functions_of, interpreter_with_smolagents, run  # noqa: E402


def cell(result: dict) -> str:
    """What was seen, fit for a cell of the table."""
    seen = str(result.get("seen", result.get("raised", ""))).strip()
    return seen.replace("\\", "\\\\").replace("|", "\\|").replace("\n", "<br>").replace("{", "&#123;")


def main() -> int:
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    add_arguments(parser)
    options = parser.parse_args()
    faults = [each for name in ("actions", "loop") for each in functions_of(import_module(f"faults.{name}"))]
    faults = [each for each in faults if not options.only or each.__name__ in options.only]
    with interpreter_with_smolagents(options.smolagents) as python:
        theirs = run(python, THEIRS, faults, seconds=120, verbose=options.verbose)
    ours = run(sys.executable, OURS, faults, seconds=120, verbose=options.verbose)
    print("| fault | smolagents 1.26 | here |\n|---|---|---|")
    surprises = []
    for each in faults:
        name, there, here = each.__name__, theirs[each.__name__], ours[each.__name__]
        print(f"| {(each.__doc__ or '').strip()} | {cell(there)} | {cell(here)} |")
        if there.get("fault") is not True:
            surprises.append(f"{name}: does not show on smolagents")
        if here.get("fault") is not False:
            surprises.append(f"{name}: shows here, or could not be tried")
    print("", *surprises, f"{len(faults)} faults, {len(surprises)} surprises", sep="\n", file=sys.stderr)
    return 1 if surprises else 0


if __name__ == "__main__":
    sys.exit(main())
