"""The programs of benchmarks/programs, run here, against what smolagents 1.26 answered (their answers.json).

They are in the shapes of its documentation. `python benchmarks/programs --save` makes the answers anew.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

import pytest

import smol_kernel

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.append(str(BENCHMARKS))

libraries, programs, expected = (import_module(name) for name in ("libraries", "programs", "programs.differences"))
ANSWERS = json.loads((BENCHMARKS / "programs" / "answers.json").read_text())
PROGRAMS = [each for name in programs.MODULES for each in libraries.functions_of(import_module(f"programs.{name}"))]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_a_program_answers_as_on_smolagents(program):
    name = program.__name__
    answer = json.loads(json.dumps(program(smol_kernel)))
    found = expected.differences(ANSWERS[name], answer)
    assert [each for each in found if expected.explained(name, each[0]) is None] == []


def test_the_answers_are_those_of_the_programs():
    assert sorted(ANSWERS) == sorted(program.__name__ for program in PROGRAMS)
    assert [key for key in expected.EXPECTED_DIFFERENCES if key.split()[0] not in ANSWERS] == []
