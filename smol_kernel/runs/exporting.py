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
from smol_kernel.runs.notebook import opening, to_notebook
from smol_kernel.runs.python_file import python_file
from smol_kernel.runs.report import report_html
from smol_kernel.runs.script import script_cells
from smol_kernel.runs.whole_file import write_whole

FORMAT = "smol-kernel run"
"""What a file of events says that it is."""
LARGEST_RECORD = 256 << 20
"""Bytes of a record, before it is compressed, up to which a notebook holds it."""


def export(
    events: Sequence[Event],
    path: str | Path,
    *,
    script: bool = False,
    overwrite: bool = False,
    transcript: Transcript | None = None,
) -> Path:
    """Write a run, as `Journal.events(run, family=True)` gives it, to `path`, whole or not at all; gives the path.

    The name's ending says the form: `.ipynb`, `.py`, `.html`, `.md` or `.json`. With `script` the finished work alone,
    as a notebook or as Python. A run that was never recorded is given as its `transcript`, with no events; a notebook
    of it holds no record then. Raises ConfigError for another ending, and where a form needs the events,
    FileExistsError unless `overwrite`, and OSError.
    """
    ending = form_of(path, script=script)
    if not events and ending in (".json", ".html"):
        raise ConfigError(f"{path}: this run is not in the journal, so it can be written as .ipynb, .py or .md only")
    run = Transcript.from_events(events) if events or transcript is None else transcript
    return write_whole(FORMS[ending](run, events, script), path, overwrite=overwrite)


def form_of(path: str | Path, *, script: bool = False) -> str:
    """The ending of the name, which says the form. Raises ConfigError for one that says none."""
    ending = Path(path).suffix.lower()
    if ending not in FORMS:
        raise ConfigError(f"{path}: give a file that ends in {', '.join(FORMS)}")
    if script and ending not in (".ipynb", ".py"):
        raise ConfigError(f"{path}: the finished work is written as .ipynb or .py")
    return ending


def record_of(events: Sequence[Event]) -> dict[str, Any]:
    """The run whole, as data: from it `importing` gives it back."""
    return {"format": FORMAT, "schema": SCHEMA_VERSION, "events": [event.to_dict() for event in events]}


def packed(events: Sequence[Event]) -> dict[str, Any]:
    """The same for a notebook's metadata: compressed, with a digest of it. Empty where it is too large for that."""
    data = json.dumps(record_of(events)).encode()
    if not events or len(data) > LARGEST_RECORD:
        return {}
    return {"record": base64.b64encode(zlib.compress(data, 9)).decode(), "digest": hashlib.sha256(data).hexdigest()}


def cells_digest(notebook: Any) -> str:
    """What tells whether the cells of a notebook are as they were written; their outputs do not count."""
    text = json.dumps([[cell["cell_type"], "".join(cell["source"])] for cell in notebook["cells"]], ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def _notebook(transcript: Transcript, events: Sequence[Event], script: bool) -> str:
    from nbformat import writes
    from nbformat.v4 import new_code_cell, new_markdown_cell

    notebook = to_notebook(transcript)
    if script:
        make = {"markdown": new_markdown_cell, "code": new_code_cell}
        work = enumerate(script_cells(transcript), 1)
        notebook.cells = [new_markdown_cell(opening(transcript), id="task")]
        notebook.cells += [make[cell.kind](cell.source, id=f"work-{number}") for number, cell in work]
    notebook.metadata["smol"] |= {**packed(events), "cells": cells_digest(notebook)}
    return writes(notebook) + "\n"


def _python(transcript: Transcript, events: Sequence[Event], script: bool) -> str:
    return python_file(transcript, script=script)


def _page(transcript: Transcript, events: Sequence[Event], script: bool) -> str:
    return report_html(events)


def _markdown(transcript: Transcript, events: Sequence[Event], script: bool) -> str:
    return account_markdown(transcript).rstrip() + "\n"


def _data(transcript: Transcript, events: Sequence[Event], script: bool) -> str:
    return json.dumps(record_of(events), indent=1) + "\n"


FORMS: dict[str, Callable[[Transcript, Sequence[Event], bool], str]] = {
    ".ipynb": _notebook,
    ".py": _python,
    ".html": _page,
    ".md": _markdown,
    ".json": _data,
}
"""Ending of a file's name → what writes it."""
