"""The benchmarks print their tables; what they measure is nobody's test."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

import smol_kernel

FULL = os.environ.get("SMOL_FULL") == "1"
FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


def output_of(script: str, *arguments: str) -> str:
    """What a script prints."""
    environment = {**os.environ, "PYTHONPATH": str(Path(smol_kernel.__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, str(FOLDER / script), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=3000 if FULL else 300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows_in(output: str) -> list[list[str]]:
    """The rows of the table, without the head."""
    table = output.partition("\n## ")[0]
    return [line.removeprefix("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")][1:]


def rows_of(script: str, *arguments: str) -> list[list[str]]:
    """The rows of the table that a script prints, without the head."""
    return rows_in(output_of(script, *arguments))


@pytest.mark.skipif(not FULL, reason="without --full the budgets, which are made of the same rows, are enough")
@pytest.mark.parametrize(("script", "rows"), [("run.py", 12), ("tables.py", 5)])
def test_the_benchmarks_print_a_row_for_each_measurement(script, rows):
    measured = {row[0]: row[1] for row in rows_of(script, "--quick")}
    assert len(measured) == rows
    assert all(float(milliseconds) > 0 for milliseconds in measured.values())


def test_long_runs_floods_and_many_agents_have_their_rows():
    rows = rows_of("host.py", "--quick", "--smolagents", "")
    whats = [row[0] for row in rows]
    assert len(set(whats)) == len(rows) == 19
    for what in ("whole step", "1,000 lines printed as one text", "Three agents", "additions in a loop"):
        assert any(what in each for each in whats), what
    assert all(float(row[1]) > 0 for row in rows if "own time" not in row[0])


@pytest.mark.timeout(900)  # each row is measured several times, on a busy machine as well
def test_the_budgets_have_each_a_verdict_and_what_misses_its_own_a_profile():
    done = output_of("budgets.py", "--quick", "--smolagents", "")
    rows = rows_in(done)
    budgeted = {row[0]: row[4] for row in rows if row[4].strip()}
    assert len(budgeted) == 14
    assert all(each.endswith((" met", " missed")) for each in budgeted.values())
    assert len(rows) == len(budgeted) + 4  # the lengths of the prompts
    forked = [budgeted[f"child ready, forked {when}"] for when in ("ahead by a zygote", "when asked for")]
    assert ("stage of a child forked" in done) == any(each.endswith("missed") for each in forked)
    waited = "child ready, one that waited"
    assert (f"Where the time goes: {waited}" in done) == budgeted[waited].endswith("missed")
    first = budgeted["20 MB of float columns into the first child"]
    assert ("To write 20 MB into shared memory takes" in done) == first.endswith("missed")
    together = [each for what, each in budgeted.items() if "children at once" in what or "memory of each" in what]
    assert len(together) == 2
    assert ("| the kernel |" in done) == any(each.endswith("missed") for each in together)


@pytest.mark.timeout(3600)
def test_nothing_grows_in_a_soak(capsys):
    """The whole takes ten minutes; without SMOL_FULL a few of each, too few to judge what grows."""
    counts = {} if FULL else {"actions": 19, "cycles": 5, "runs": 10}
    seed = secrets.randbelow(1 << 20)
    options = [word for name, count in counts.items() for word in (f"--{name}", str(count))]
    with capsys.disabled():
        print(f"\npython benchmarks/soak.py --seed {seed} {' '.join(options)}")
    whats = [row[0] for row in rows_of("soak.py", "--seed", str(seed), *options)]
    for work, count in (counts or {"actions": 10_000, "cycles": 2_000, "runs": 2_000}).items():
        for what in ("host memory, MB", "children's memory, MB", "descriptors", "processes", "temporary files"):
            assert f"{count} {work}: {what}" in whats
