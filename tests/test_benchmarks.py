"""The benchmarks print their table; what they measure is nobody's test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import smol_kernel

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.mark.parametrize(("script", "rows"), [("run.py", 9), ("tables.py", 5)])
def test_the_benchmarks_print_a_row_for_each_measurement(script, rows):
    environment = {**os.environ, "PYTHONPATH": str(Path(smol_kernel.__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, str(FOLDER / script), "--quick"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    measured = {line[0]: line[1] for line in lines[1:]}
    assert len(measured) == rows
    assert all(float(milliseconds) > 0 for milliseconds in measured.values())
