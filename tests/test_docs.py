"""The Python in README and docs runs as it stands, and the commands they name exist."""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from smol_kernel import Budget
from smol_magic.magics import SmolMagic

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = {
    f"{page.name}-{number}": block
    for page in PAGES
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL))
    if "from smol_kernel import" in block
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_in_the_docs_runs(name, tmp_path):
    # a copy of the environment's packages may lie elsewhere: run where no checkout is on the path
    done = subprocess.run(
        [sys.executable, "-c", PROGRAMS[name]], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_there_are_programs_in_the_docs():
    assert len(PROGRAMS) >= 2


def test_every_command_the_docs_name_exists():
    text = "\n".join(page.read_text() for page in PAGES)
    named = set(re.findall(r"(?:^|`|/)smol ([a-z]+)", text, re.MULTILINE))
    shown = subprocess.run(
        [sys.executable, "-c", "from smol_kernel.serve.cli import main; main()", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert named
    assert [name for name in named if not re.search(rf"^\s+{name}\b", shown.stdout, re.MULTILINE)] == []


def test_every_limit_of_a_budget_that_the_docs_name_is_one():
    text = "\n".join(page.read_text() for page in PAGES)
    named = {name for given in re.findall(r"\bBudget\(([^)]*)", text) for name in re.findall(r"(\w+)\s*=", given)}
    assert named and named <= {field.name for field in fields(Budget)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_a_page_points_to_is_there(page):
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_setting_is_on_its_page_and_no_other():
    page = (ROOT / "docs" / "settings.md").read_text()
    traits = {row.split("|")[1] for row in re.findall(r"^\| `[a-z].*", page, re.MULTILINE)}
    assert set(re.findall(r"`(\w+)`", " ".join(traits))) == set(SmolMagic.class_traits(config=True))
    sources = [path.read_text() for package in ("smol_kernel", "smol_magic") for path in (ROOT / package).rglob("*.py")]
    read = set(re.findall(r"""["' `](SMOL_[A-Z_]+)""", "\n".join(sources)))
    ours = {"SMOL_PROJECT_PATH", "SMOL_DOCTOR_NOTE"}  # between our own processes
    assert set(re.findall(r"`(SMOL_[A-Z_]+)`", page)) == read - ours
