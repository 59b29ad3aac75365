"""Prints the project's budgets and whether they are met, with a profile of what misses: `python benchmarks/budgets.py`.

All that has a budget in `run`, `host` and `tables`, and the length of the prompts. It takes some minutes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import host
import run
import tables
from libraries import OURS, THEIRS
from libraries import run as run_apart
from rows import Row, show
from side_by_side import prompts, tokens


def system_prompts(python: str | None) -> Iterator[Row]:
    """Their tokens."""
    ours = run_apart(sys.executable, OURS, [prompts])["prompts"]
    theirs = run_apart(python, THEIRS, [prompts])["prompts"] if python else {}
    for name, text in ours.items():
        there = tokens(theirs[name]) if name in theirs else None
        yield Row(f"tokens of the prompt: {name}", tokens(text), there, "the same tools, litellm.token_counter")


def rows(quick: bool, python: str | None) -> Iterator[Row]:
    """All of it, as it is measured."""
    yield from run.rows(quick)
    with tempfile.TemporaryDirectory() as folder:
        yield from host.long_run(10 if quick else 200, Path(folder))
    yield from host.computation(python, quick)
    yield from tables.rows(quick)
    yield from system_prompts(python)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repetitions: shows that it works, not how fast it is")
    host.add_smolagents(parser)
    options = parser.parse_args()
    budgeted = (row for row in rows(options.quick, options.smolagents) if row.most or "tokens" in row.what)
    show(budgeted, options.quick)


if __name__ == "__main__":
    main()
