"""`smol validate`, and `pytest --nbval` beside it: notebooks run again, and what is not as it was."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from nbclient import NotebookClient
from scripted_replies import code

from smol_kernel import CassetteModel, CodeAgent, LogLevel, ScriptedModel
from smol_kernel.journal import Journal
from smol_kernel.render.transcript import Transcript
from smol_kernel.runs.notebook import write_notebook
from smol_kernel.runs.validate import notebooks_in
from smol_kernel.serve.cli import main

DOCS = Path(__file__).parents[1] / "docs"
READ = "import csv\nrows = [int(row[0]) for row in csv.reader(open('data.csv'))]"
PLOT = "import matplotlib.pyplot as plt\nplt.figure(figsize=(3, 2))\nplt.bar(range(3), rows)\nplt.show()"


def stored(path: Path, *cells: str, tags: dict[int, str] | None = None) -> Path:
    """A notebook of these cells, executed."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    for place, tag in (tags or {}).items():
        notebook.cells[place].metadata.tags = [tag]
    NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.csv").write_text("10\n20\n30\n")
    return tmp_path


def test_a_drift_in_the_data_is_told_at_the_cell_that_changed(here, capsys):
    stored(here / "a.ipynb", READ, "sum(rows)", PLOT, "print('end')")
    assert main(["validate", "a.ipynb"]) == 0
    assert capsys.readouterr().out == "a.ipynb: as it was (4 cells)\n"
    (here / "data.csv").write_text("10\n20\n31\n")
    assert main(["validate", "."]) == 1
    told = capsys.readouterr().out
    assert "a.ipynb: code cell 2 differs\n    > sum(rows)\n" in told
    assert "    -60\n    +61\n" in told


def test_plots_are_compared(here, capsys):
    stored(here / "a.ipynb", READ, PLOT)
    assert main(["validate", "a.ipynb"]) == 0
    (here / "data.csv").write_text("30\n20\n10\n")
    assert main(["validate", "a.ipynb", "--save-diff", "seen"]) == 1
    assert re.search(r"code cell 2 differs(.|\n)*plot 1: \d+\.\d% of its pixels differ", capsys.readouterr().out)
    assert sorted(path.name for path in (here / "seen").iterdir()) == [
        "a-cell2-plot1-now.png",
        "a-cell2-plot1-stored.png",
    ]


def test_errors_tags_and_cells_without_end(here, capsys):
    cells = ["import time\ntime.time_ns()", "1 / 0", "# NBVAL_IGNORE_OUTPUT\nimport time\ntime.time_ns()"]
    stored(here / "tags.ipynb", *cells, tags={0: "nbval-ignore-output", 1: "raises-exception"})
    stored(here / "breaks.ipynb", "open('data.csv').close()\nprint('there')")
    stored(here / "endless.ipynb", "import os\nwhile not os.path.exists('data.csv'): pass")
    assert main(["validate", "tags.ipynb", "breaks.ipynb"]) == 0
    (here / "data.csv").unlink()
    assert main(["validate", "breaks.ipynb", "tags.ipynb", "endless.ipynb", "--timeout", "2"]) == 1
    told = capsys.readouterr().out
    assert "breaks.ipynb: code cell 1 differs" in told and "the cell fails now:" in told and "FileNotFoundError" in told
    assert "tags.ipynb: as it was (3 cells)" in told
    assert "endless.ipynb: code cell 1 differs" in told and "did not come to its end" in told


def test_what_is_no_notebook_is_named(here, capsys):
    (here / "broken.ipynb").write_text("{")
    for arguments, why in (
        (["missing.ipynb"], "missing.ipynb: there is no such notebook or folder"),
        (["broken.ipynb"], "broken.ipynb cannot be read as a notebook"),
        (["data.csv"], "data.csv: there is no such notebook"),
        (["broken.ipynb", "--timeout", "0"], "--timeout is 0: give seconds above 0"),
    ):
        assert main(["validate", *arguments]) == 2
        assert why in capsys.readouterr().err
    (here / ".ipynb_checkpoints").mkdir()
    (here / ".ipynb_checkpoints" / "x.ipynb").write_text("{")
    assert [path.name for path in notebooks_in([here])] == ["broken.ipynb"]


def test_the_documented_workflow_is_green_without_a_key(tmp_path, monkeypatch):
    """A repository with both kinds of notebooks: one with an `%%agent` cell and its cassette, one that was exported."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    (folder / "data.csv").write_text("10\n20\n30\n")
    monkeypatch.chdir(folder)
    script = [code(f"{READ}\nrows"), code("final_answer(sum(rows))")]
    model = CassetteModel(ScriptedModel(script), folder / "sum.json", "record")
    with CodeAgent(tools=[], model=model, verbosity_level=LogLevel.OFF, journal=tmp_path / "journal.sqlite") as agent:
        assert agent.run("Sum up the rows of data.csv.") == 60
        events = Journal(tmp_path / "journal.sqlite").events(agent.run_id)
    write_notebook(Transcript.from_events(events), folder / "exported.ipynb")
    cell = "%%agent --cassette sum.json -o total --no-write\nSum up the rows of data.csv."
    stored(folder / "agent.ipynb", "%load_ext smol_magic", cell, "total")
    document = re.search(r"```yaml\n(.*?)```", (DOCS / "ci.md").read_text(), re.DOTALL)
    assert document is not None
    job = yaml.safe_load(document[1])["jobs"]["validate"]
    commands = [step["run"] for step in job["steps"] if "run" in step and not step["run"].startswith("pip ")]
    assert len(commands) == 2
    kept = {name: value for name, value in os.environ.items() if "KEY" not in name and name != "SMOL_MODEL"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command in commands:
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env={**kept, **job["env"], "PATH": path}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    (folder / "data.csv").write_text("10\n20\n31\n")
    assert main(["validate", str(folder)]) == 1
