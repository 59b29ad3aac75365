"""The shipped notebooks: their plots are the stored ones (nbval, which runs them all, skips images), their cells those
of their sources, and their outputs such that they are the same on any machine."""

import base64
import io
import re
import runpy
from pathlib import Path

import nbformat
import pytest
from PIL import Image

from smol_kernel.runs.validate import validate

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
WITH_PLOTS = [path for path in NOTEBOOKS if path.stem in ("00_quickstart", "04_vision_and_plots")]
SOURCES = sorted((ROOT / "scripts" / "notebook_sources").glob("*.md"))
VARIES = re.compile(r"0x[0-9a-f]{6}|127\.0\.0\.1|localhost|/(?:tmp|home|root|Users|usr)/|\\Users\\")


def plots(notebook):
    """Every PNG of the notebook's outputs, in order."""
    return [
        Image.open(io.BytesIO(base64.b64decode(output["data"]["image/png"]))).convert("RGB")
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]


@pytest.mark.parametrize("path", WITH_PLOTS, ids=lambda path: path.name)
def test_run_again_the_plots_are_the_stored_ones(path):
    assert plots(nbformat.read(path, as_version=4)), "none is left to compare"
    assert validate(path, timeout=120).difference == ""


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
