"""Records the cassettes of the notebooks anew, each with the replies that it holds: after a change of what agents send.

Their replies were written by hand, no language model is asked. A notebook is executed with a model that gives them in
their order in the place of the recorded ones; then scripts/notebooks.py is to be run.

Usage: python scripts/cassettes.py   (in an environment with the extra [test])
"""

import json
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell

from notebooks import SOURCES, TARGETS, cells_of, execute

BEFORE = """\
from smol_kernel import ScriptedModel
cassette_replies = ScriptedModel({replies!r})
%config SmolMagic.model = "cassette_replies"
%config SmolMagic.cassette_mode = "record\""""


def record(cassette: Path) -> None:
    """Ask for all replies of a cassette anew, and leave out those that nobody asked for."""
    calls = json.loads(cassette.read_text("utf-8"))["calls"]
    replies = [reply["text"] for call in calls for reply in call["replies"]]
    replies = [text if isinstance(text, str) else "\n".join(text) for text in replies]
    cells = cells_of((SOURCES / cassette.name.replace(".cassette.json", ".md")).read_text("utf-8"))
    last = next(
        number for number, cell in enumerate(cells) if cassette.name in cell.source and "%%agent" in cell.source
    )
    before = cassette.read_text("utf-8")
    cassette.unlink()
    try:
        execute(nbformat.v4.new_notebook(cells=[cells[0], *cells[1:2], new_code_cell(BEFORE.format(replies=replies)),
                                                *cells[2 : last + 1]]))  # fmt: skip
    except BaseException:
        cassette.write_text(before, "utf-8")
        raise
    print(f"recorded {cassette}")


if __name__ == "__main__":
    for found in sorted(TARGETS.glob("*.cassette.json")):
        record(found)
