"""The shipped notebooks: their plots are the stored ones (nbval, which runs them all, skips images), their cells those
of their sources, and their outputs such that they are the same on any machine."""

import base64
import re
import runpy
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from smol_kernel.runs.same_outputs import unlike

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
WITH_PLOTS = [path for path in NOTEBOOKS if path.stem in ("00_quickstart", "04_vision_and_plots")]
SOURCES = sorted((ROOT / "scripts" / "notebook_sources").glob("*.md"))
VARIES = re.compile(r"0x[0-9a-f]{6}|127\.0\.0\.1|localhost|/(?:tmp|home|root|Users|usr)/|\\Users\\")


def plots(notebook):
    """Every PNG of the notebook's outputs, in order."""
    return [
        base64.b64decode(output["data"]["image/png"])
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]


@pytest.mark.parametrize("path", WITH_PLOTS, ids=lambda path: path.name)
def test_run_again_the_plots_are_the_stored_ones(path, monkeypatch, tmp_path):
    monkeypatch.setenv("SMOL_JOURNAL", str(tmp_path / "journal.sqlite"))
    stored = nbformat.read(path, as_version=4)
    again = nbformat.read(path, as_version=4)
    NotebookClient(again, kernel_name="python3", timeout=120).execute()
    assert plots(stored), "none is left to compare"
    assert [unlike(*pair) for pair in zip(plots(stored), plots(again), strict=True)] == [""] * len(plots(stored))


def test_only_the_notebooks_that_are_run_again_here_have_plots():
    assert [path for path in NOTEBOOKS if plots(nbformat.read(path, as_version=4))] == WITH_PLOTS


def test_each_notebook_is_made_of_its_source():
    cells_of = runpy.run_path(str(ROOT / "scripts" / "notebooks.py"))["cells_of"]
    assert [path.stem for path in SOURCES] == [path.stem for path in NOTEBOOKS[1:]]
    for source, path in zip(SOURCES, NOTEBOOKS[1:], strict=True):
        made, stored = cells_of(source.read_text("utf-8")), nbformat.read(path, as_version=4).cells
        assert [(cell.cell_type, cell.source) for cell in stored] == [(cell.cell_type, cell.source) for cell in made]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_says_that_no_model_speaks_and_shows_nothing_of_the_machine(path):
    notebook = nbformat.read(path, as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    texts = [output.get("text", "") + str(output.get("data", {}).get("text/plain", "")) for output in outputs]
    assert "no language model is asked" in "".join(cell.source for cell in notebook.cells).lower()
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert [found for text in texts for found in VARIES.findall(text)] == []
