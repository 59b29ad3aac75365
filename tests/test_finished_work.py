"""The corpus of benchmarks/finished_work: what is called proved gives its answer in plain IPython too.

A sample of the runs, and with `scripts/check --full` all of them, whose table is the one that is kept.
"""

from __future__ import annotations

import os
import random
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))

from benchmarks.finished_work.__main__ import failures, measure, table  # noqa: E402
from benchmarks.finished_work.corpus import HERE, scripts  # noqa: E402
from benchmarks.finished_work.independent import same  # noqa: E402

FULL = os.environ.get("SMOL_ATTACKS") == "full"
SEED = int(os.environ.get("SMOL_ATTACKS_SEED", "1"))


def chosen():
    every = scripts()
    if FULL:
        return every
    pick = random.Random(SEED)
    of = {
        kind: [script for script in every if script.kind == kind] for kind in ("breaking", "ordinary", "unrepeatable")
    }
    return [*pick.sample(of["breaking"], 5), *pick.sample(of["ordinary"], 3), *pick.sample(of["unrepeatable"], 2)]


def test_there_are_fifty_runs_and_some_that_cannot_be_repeated():
    kinds = [script.kind for script in scripts()]
    assert kinds.count("ordinary") + kinds.count("breaking") == 50
    assert kinds.count("unrepeatable") >= 8
    assert len({script.name for script in scripts()}) == len(kinds)


@pytest.mark.skipif(FULL, reason="all are measured together")
@pytest.mark.parametrize("script", chosen(), ids=lambda script: f"{script.kind}: {script.name}")
def test_what_is_called_proved_is_so(script):
    row = measure(script)
    assert row.wrong == ""
    assert (row.state in ("proved", "whole")) is (script.kind != "unrepeatable"), row.reason


@pytest.mark.timeout(900)
@pytest.mark.skipif(not FULL, reason="takes minutes")
def test_the_kept_table_is_the_one_that_comes_out():
    rows = [measure(script) for script in scripts()]
    assert failures(rows) == []
    kept = re.findall(r"^\| (.+?) \| .* \| (proved|whole|not reproduced)\b", (HERE / "table.md").read_text(), re.M)
    assert kept == re.findall(r"^\| (.+?) \| .* \| (proved|whole|not reproduced)\b", table(rows), re.M)


def test_the_comparison_tells_values_apart():
    assert same([1.0, {"a": (2, None)}], [1.0 + 1e-12, {"a": (2, None)}])
    assert not same([1.0], [1.1])
    assert not same(1, 1.0)
