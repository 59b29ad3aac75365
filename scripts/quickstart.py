"""Builds notebooks/00_quickstart.ipynb: runs the agent cell, adds the cells it would insert, and runs them all.

Usage: python scripts/quickstart.py   (in an environment with the extras [demo] and [test])
"""

import os
import tempfile
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from notebooks import as_saved_without_widgets, execute
from smol_kernel.journal import Journal
from smol_kernel.render.transcript import Transcript
from smol_kernel.runs.named_answer import with_answer_in
from smol_kernel.runs.script import script_cells
from smol_magic.writeback import notebook_cells

TARGET = Path(__file__).parents[1] / "notebooks" / "00_quickstart.ipynb"
TASK = "In which decade did the yearly mean grow fastest, and by how much? Draw it."

INTRODUCTION = """\
# Quickstart

An agent works on a table, and its finished work comes back as cells of this notebook.

The model here is the demo: its replies were written by hand, no language model is asked, and no key is needed. For a
real one name any model that LiteLLM knows, for instance `%agent model openai/gpt-4.1-mini`."""

BEFORE_RUN = """\
`--in df` hands a copy of the table to the agent, `-o answer` puts its answer into this notebook. Its code runs in a
child kernel of its own, in a box: it sees this folder, writes to a copy, and has no network."""

AFTER_RUN = """\
The agent inserted the cells below. They need neither the agent nor its package; they are never run for you."""


def build() -> nbformat.NotebookNode:
    """The notebook, executed."""
    head = [
        new_markdown_cell(INTRODUCTION),
        new_code_cell("%load_ext smol_magic\n%agent model demo"),
        new_markdown_cell("Weekly CO₂ at Mauna Loa, which the package statsmodels ships:"),
        new_code_cell("import statsmodels.api as sm\n\ndf = sm.datasets.co2.load_pandas().data\ndf.tail()"),
        new_markdown_cell(BEFORE_RUN),
        new_code_cell(f"%%agent --in df -o answer\n{TASK}"),
        new_code_cell("answer"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        journal = os.environ["SMOL_JOURNAL"] = str(Path(folder, "journal.sqlite"))
        execute(new_notebook(cells=head))
        run = Journal(journal).find("last").run
        script = with_answer_in(script_cells(Transcript.from_events(Journal(journal).events(run))), "answer")
        written = [
            (new_code_cell if cell["cell_type"] == "code" else new_markdown_cell)(
                cell["source"], metadata={"smol": {**cell["metadata"]["smol"], "run": "quickstart"}}
            )
            for cell in notebook_cells(script, run, head[5].id)
        ]
        notebook = new_notebook(cells=[*head, new_markdown_cell(AFTER_RUN), *written])
        execute(notebook)
    return notebook


if __name__ == "__main__":
    executed = build()
    as_saved_without_widgets(executed, "quickstart")
    for written in executed.cells:
        if "smol" in written.metadata:
            written.metadata["smol"]["cell"] = "quickstart-5"
    nbformat.validate(executed)
    TARGET.parent.mkdir(exist_ok=True)
    nbformat.write(executed, TARGET)
    print(f"wrote {TARGET}")
