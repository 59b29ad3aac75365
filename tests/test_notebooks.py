"""The shipped notebooks run, show what they showed, and their plots are the stored ones (nbval skips images)."""

import base64
import io
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image, ImageChops, ImageFilter

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def plots(notebook):
    """Every PNG of the notebook's outputs, in order."""
    return [
        Image.open(io.BytesIO(base64.b64decode(output["data"]["image/png"]))).convert("RGB")
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]


def share_of_pixels_that_differ(one, other):
    """Pixels that differ visibly, as a share of all.

    Another matplotlib or font moves letters by a pixel or two: both are blurred, and the frame may differ by as much.
    """
    assert max(abs(one.width - other.width), abs(one.height - other.height)) <= 3
    one, other = (image.resize(one.size).filter(ImageFilter.BoxBlur(3)) for image in (one, other))
    difference = ImageChops.difference(one, other).convert("L").point(lambda level: 255 if level > 48 else 0)
    return difference.histogram()[255] / (one.width * one.height)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_run_again_the_plots_are_the_stored_ones(path, monkeypatch, tmp_path):
    monkeypatch.setenv("SMOL_JOURNAL", str(tmp_path / "journal.sqlite"))
    stored = nbformat.read(path, as_version=4)
    again = nbformat.read(path, as_version=4)
    NotebookClient(again, kernel_name="python3", timeout=120).execute()
    assert plots(stored), "a quickstart without a plot"
    pairs = list(zip(plots(stored), plots(again), strict=True))
    assert [share_of_pixels_that_differ(*pair) < 0.02 for pair in pairs] == [True] * len(pairs)


def test_a_changed_plot_is_noticed():
    stored = plots(nbformat.read(NOTEBOOKS[0], as_version=4))[0]
    changed = stored.copy()
    changed.paste((200, 60, 40), (40, 40, changed.width // 2, changed.height // 2))
    assert share_of_pixels_that_differ(stored, changed) > 0.02
