"""Builds the notebooks from their sources: scripts/notebook_sources/NAME.md becomes notebooks/NAME.ipynb, executed.

In a source each block that begins with ```python is a code cell, and the text between two of them a Markdown cell.

Usage: python scripts/notebooks.py [NAME ...]   (all without a name; in an environment with the extra [test])
"""

import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

SOURCES = Path(__file__).with_name("notebook_sources")
TARGETS = Path(__file__).parents[1] / "notebooks"
CODE = re.compile(r"^```python\n(.*?)\n```$", re.MULTILINE | re.DOTALL)


def cells_of(source: str) -> list[nbformat.NotebookNode]:
    """The cells of a source, not yet executed."""
    parts = CODE.split(source)  # text, code, text, code, …, text
    made = [(new_code_cell if place % 2 else new_markdown_cell)(part.strip("\n")) for place, part in enumerate(parts)]
    return [cell for cell in made if cell.source]


def execute(notebook: nbformat.NotebookNode) -> None:
    """Run all cells, as a person would from the menu."""
    beside = {"metadata": {"path": str(TARGETS)}}  # the files that it reads lie there
    NotebookClient(notebook, kernel_name="python3", timeout=120, coalesce_streams=True, resources=beside).execute()


def as_saved_without_widgets(notebook: nbformat.NotebookNode, name: str) -> None:
    """Leave out what a reopened notebook cannot show: widget state and views, the times of cells, their ids."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells):
        cell.id = f"{name}-{number}"
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            if "data" in output:
                output["metadata"] = new_output("display_data").metadata


def build(source: Path) -> None:
    """Write the notebook of a source."""
    notebook = new_notebook(cells=cells_of(source.read_text("utf-8")))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SMOL_JOURNAL"] = str(Path(folder, "journal.sqlite"))
        execute(notebook)
    as_saved_without_widgets(notebook, source.stem)
    nbformat.validate(notebook)
    target = TARGETS / f"{source.stem}.ipynb"
    nbformat.write(notebook, target)
    print(f"wrote {target}")


if __name__ == "__main__":
    names = sys.argv[1:]
    for found in sorted(SOURCES.glob("*.md")):
        if not names or found.stem in names:
            build(found)
