"""The benchmarks print their table; what they measure is nobody's test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import smol_kernel

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "run.py"


def test_the_benchmarks_print_a_row_for_each_measurement():
    environment = {**os.environ, "PYTHONPATH": str(Path(smol_kernel.__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    measured = {row[0]: row[1] for row in rows[1:]}
    assert len(measured) == 9
    assert all(float(milliseconds) > 0 for milliseconds in measured.values())
