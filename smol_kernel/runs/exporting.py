"""Writes a recorded run as a file of the form that its name asks for: notebook, script, page, Markdown or events."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from smol_kernel.errors import ConfigError
from smol_kernel.events import SCHEMA_VERSION, Event
from smol_kernel.render.markdown import account_markdown
from smol_kernel.render.transcript import Transcript
from smol_kernel.runs.notebook import to_notebook
from smol_kernel.runs.report import report_html
from smol_kernel.runs.script import script_cells
from smol_kernel.runs.whole_file import write_whole

FORMAT = "smol-kernel run"
"""What a file of events says that it is."""


def export(events: Sequence[Event], path: str | Path, *, script: bool = False, overwrite: bool = False) -> Path:
    """Write a run, as `Journal.events(run, family=True)` gives it, to `path`, whole or not at all; gives the path.

    The name's ending says the form: `.ipynb`, `.py`, `.html`, `.md` or `.json`. With `script` the finished work alone,
    as a notebook or as Python. Raises ConfigError for another ending, FileExistsError unless `overwrite`, and OSError.
    """
    ending = Path(path).suffix.lower()
    if ending not in FORMS:
        raise ConfigError(f"{path}: give a file that ends in {', '.join(FORMS)}")
    if script and ending not in (".ipynb", ".py"):
        raise ConfigError(f"{path}: the finished work is written as .ipynb or .py")
    return write_whole(FORMS[ending](events, script), path, overwrite=overwrite)


def record_of(events: Sequence[Event]) -> dict[str, Any]:
    """The run whole, as data: from it `importing` gives it back."""
    return {"format": FORMAT, "schema": SCHEMA_VERSION, "events": [event.to_dict() for event in events]}


def packed(events: Sequence[Event]) -> dict[str, Any]:
    """The same for a notebook's metadata: compressed, with a digest of it."""
    data = json.dumps(record_of(events)).encode()
    return {"record": base64.b64encode(zlib.compress(data, 9)).decode(), "digest": hashlib.sha256(data).hexdigest()}


def cells_digest(notebook: Any) -> str:
    """What tells whether the cells of a notebook are as they were written."""
    text = json.dumps([[cell["cell_type"], "".join(cell["source"])] for cell in notebook["cells"]])
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _notebook(events: Sequence[Event], script: bool) -> str:
    from nbformat import writes
    from nbformat.v4 import new_code_cell, new_markdown_cell

    transcript = Transcript.from_events(events)
    notebook = to_notebook(transcript)
    if script:
        make = {"markdown": new_markdown_cell, "code": new_code_cell}
        notebook.cells = [
            make[cell.kind](cell.source, id=f"work-{number}") for number, cell in enumerate(script_cells(transcript), 1)
        ]
    notebook.metadata["smol"] |= {**packed(events), "cells": cells_digest(notebook)}
    return writes(notebook) + "\n"


def _python(events: Sequence[Event], script: bool) -> str:
    """Cells in the percent format; code that failed stands in comments, so that the file runs."""
    transcript = Transcript.from_events(events)
    if script:
        parts = [(cell.kind, cell.source, False) for cell in script_cells(transcript)]
    else:
        parts = [
            (cell.cell_type, cell.source, "raises-exception" in cell.metadata.get("tags", []))
            for cell in to_notebook(transcript).cells
        ]
    written: list[str] = []
    for kind, source, failed in parts:
        if kind == "markdown":
            written.append(f"# %% [markdown]\n{_commented(source)}")
        else:
            source = "# This failed:\n" + _commented(source) if failed else _without_magics(source)
            written.append(f"# %%\n{source}")
    return "\n\n".join(written) + "\n"


def _commented(text: str) -> str:
    return "\n".join(f"# {line}".rstrip() for line in text.splitlines())


def _without_magics(source: str) -> str:
    """Lines that only IPython knows become comments."""
    if source.lstrip().startswith("%%"):
        return _commented(source)
    lines = source.splitlines()
    return "\n".join(f"# {line}" if line.lstrip().startswith(("%", "!")) else line for line in lines)


def _page(events: Sequence[Event], _: bool) -> str:
    return report_html(Transcript.from_events(events))


def _markdown(events: Sequence[Event], _: bool) -> str:
    return account_markdown(Transcript.from_events(events)).rstrip() + "\n"


def _data(events: Sequence[Event], _: bool) -> str:
    return json.dumps(record_of(events), indent=1) + "\n"


FORMS: dict[str, Callable[[Sequence[Event], bool], str]] = {
    ".ipynb": _notebook,
    ".py": _python,
    ".html": _page,
    ".md": _markdown,
    ".json": _data,
}
"""Ending of a file's name → what writes it."""
