"""Reproduces every known fault on smolagents and here: `python benchmarks/faults --smolagents PYTHON`.

Exit status 1 if a fault shows here, or does not show there, where the table says it does.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

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


def seen(result: dict) -> str:
    """What was seen of a fault."""
    return str(result.get("seen", result.get("raised", ""))).strip()


def main() -> int:
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    add_arguments(parser)
    add_table_arguments(parser)
    options = parser.parse_args()
    faults = [each for name in ("actions", "loop") for each in functions_of(import_module(f"faults.{name}"))]
    faults = [each for each in faults if not options.only or each.__name__ in options.only]
    with interpreter_with_smolagents(options.smolagents) as python:
        theirs = run(python, THEIRS, faults, seconds=120, verbose=options.verbose)
    ours = run(sys.executable, OURS, faults, seconds=120, verbose=options.verbose)
    if options.markdown:
        print("| fault | smolagents 1.26 | here |\n|---|---|---|")
    surprises = []
    for each in faults:
        name, there, here = each.__name__, theirs[each.__name__], ours[each.__name__]
        what = (each.__doc__ or "").strip()
        if options.markdown:
            print(f"| {cell(what)} | {cell(seen(there))} | {cell(seen(here))} |")
        else:
            print(what)
            for library, result in (("smolagents", there), ("here", here)):
                print(f"    {library}:", *seen(result).splitlines(), sep="\n        ")
        if there.get("fault") is not True:
            surprises.append(f"{name}: does not show on smolagents")
        if here.get("fault") is not False:
            surprises.append(f"{name}: shows here, or could not be tried")
    print("", *surprises, f"{len(faults)} faults, {len(surprises)} surprises", sep="\n", file=sys.stderr)
    return 1 if surprises else 0


if __name__ == "__main__":
    sys.exit(main())
