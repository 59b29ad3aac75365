"""Writes a recorded run as a file of the form that its name asks for: notebook, script, page, Markdown or events."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smol_kernel.errors import ConfigError
from smol_kernel.events import SCHEMA_VERSION, Event, RunStarted
from smol_kernel.executors.launchers.settings import read_mount
from smol_kernel.parsing import has_too_many_parts
from smol_kernel.render.markdown import account_markdown
from smol_kernel.render.transcript import Transcript
from smol_kernel.runs.lent import lent
from smol_kernel.runs.needs import made_in, with_making
from smol_kernel.runs.notebook import opening, to_notebook
from smol_kernel.runs.python_file import python_file
from smol_kernel.runs.report import report_html
from smol_kernel.runs.script import ScriptCell, script_cells
from smol_kernel.runs.whole_file import write_whole

if TYPE_CHECKING:
    from nbformat import NotebookNode

    from smol_kernel.runs.proof import Proof

FORMAT = "smol-kernel run"
"""What a file of events says that it is."""
FORMS = (".ipynb", ".py", ".html", ".md", ".json")
"""Endings of a file's name that say its form."""
OF_EVENTS = (".json", ".html")
"""Those of the forms that are made of the events themselves."""
LARGEST_RECORD = 256 << 20
"""Bytes of a record, before it is compressed, up to which a notebook holds it, if it has no more parts than `parsing`
allows in these."""


def export(
    events: Sequence[Event],
    path: str | Path,
    *,
    script: bool | Proof = False,
    overwrite: bool = False,
    cut_off: bool = False,
    transcript: Transcript | None = None,
    before: Sequence[Sequence[Event]] = (),
) -> Path:
    """Write a run, as `Journal.events(run, family=True)` gives it, to `path`, whole or not at all; gives the path.

    The name's ending says the form: `.ipynb`, `.py`, `.html`, `.md` or `.json`. With `script` the finished work alone,
    as a notebook or as Python: all that completed, or of a Proof the cells that it is about; `before` are the runs that
    it goes on from. `cut_off` says that nobody works on a run that has not ended, as the journal knows by its state. A
    run that was never recorded is given as its `transcript`, with no events; a notebook of it holds no record then.
    Raises ConfigError for another ending, and where a form needs the events, FileExistsError unless `overwrite`, and
    OSError, also where a link on the way to `path` lies in a mount that the run could write in.
    """
    ending = form_of(path, script=script is not False)
    if not events and ending in OF_EVENTS:
        raise ConfigError(f"{path}: this run is not in the journal, so it can be written as .ipynb, .py or .md only")
    run = Transcript.from_events(events, cut_off=cut_off) if events or transcript is None else transcript
    if not isinstance(script, bool) and script.transcript is not None:
        run = script.transcript
    elif script and before:
        run = Transcript.from_events(lent([*before, events]), cut_off=cut_off)
    cells = script_cells(run) if script is True else script.told() if script else None
    cells = None if cells is None else with_making(cells, run)
    write = partial(write_whole, path=path, overwrite=overwrite, untrusted=_written_by(events))
    if ending != ".ipynb":
        return write(_text(run, events, ending, cells))
    from nbformat import writes

    notebook = _notebook(run, events, cells)
    if script and script is not True:
        notebook.metadata["smol"]["proof"] = script.marks
    return write(writes(notebook) + "\n")


def _written_by(events: Sequence[Event]) -> list[str]:
    """The folders of this machine that the code of a run could write in, as its record says."""
    found: list[str] = []
    for event in events:
        settings = event.settings.get("executor_kwargs") if isinstance(event, RunStarted) else None
        mounts: Any = settings.get("mounts") if isinstance(settings, dict) else None
        for each in mounts if isinstance(mounts, list) else ():
            with suppress(ConfigError, ValueError):  # nothing is there any more
                found += [mount.path for mount in [read_mount(str(each))] if mount.writable]
    return found


def form_of(path: str | Path, *, script: bool = False) -> str:
    """The ending of the name, which says the form. Raises ConfigError for one that says none."""
    ending = Path(path).suffix.lower()
    if ending not in FORMS:
        raise ConfigError(f"{path}: give a file that ends in {', '.join(FORMS)}")
    if script and ending not in (".ipynb", ".py"):
        raise ConfigError(f"{path}: the finished work is written as .ipynb or .py")
    return ending


def record_of(events: Sequence[Event]) -> dict[str, Any]:
    """The run whole, as data: from it `importing` gives it back. That it was imported itself is left out."""
    data = [event.to_dict(shared=True) for event in events]
    for event in data:
        if isinstance(origin := event.get("origin"), dict):
            event["origin"] = {name: value for name, value in origin.items() if name != "imported"}
    return {"format": FORMAT, "schema": SCHEMA_VERSION, "events": data}


def packed(events: Sequence[Event]) -> dict[str, Any]:
    """The same for a notebook's metadata: compressed, with a digest of it. Empty where it is too large for that."""
    data = json.dumps(record_of(events)).encode()
    if not events or len(data) > LARGEST_RECORD or has_too_many_parts(data, LARGEST_RECORD):
        return {}
    return {"record": base64.b64encode(zlib.compress(data, 9)).decode(), "digest": hashlib.sha256(data).hexdigest()}


def cells_digest(notebook: Any) -> str:
    """What tells whether the cells of a notebook are as they were written; their outputs do not count."""
    text = json.dumps([[cell["cell_type"], "".join(cell["source"])] for cell in notebook["cells"]], ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def _notebook(transcript: Transcript, events: Sequence[Event], cells: list[ScriptCell] | None) -> NotebookNode:
    from nbformat.v4 import new_code_cell, new_markdown_cell

    notebook = to_notebook(transcript)
    if cells is not None:
        make = {"markdown": new_markdown_cell, "code": new_code_cell}
        notebook.cells = [new_markdown_cell(opening(transcript, made_in(cells, transcript)), id="task")]
        notebook.cells += [make[cell.kind](cell.source, id=f"work-{number}") for number, cell in enumerate(cells, 1)]
    notebook.metadata["smol"] |= {**packed(events), "cells": cells_digest(notebook)}
    return notebook


def _text(transcript: Transcript, events: Sequence[Event], ending: str, cells: list[ScriptCell] | None) -> str:
    if ending == ".py":
        return python_file(transcript, cells)
    if ending == ".html":
        return report_html(events, cut_off=transcript.state == "unfinished")
    if ending == ".md":
        return account_markdown(transcript).rstrip() + "\n"
    return json.dumps(record_of(events), indent=1) + "\n"
