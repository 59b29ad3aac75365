"""`smol demo`: a whole run over real data, with replies from a script; no key, no network."""

from __future__ import annotations

import argparse
import inspect
import sys
from pathlib import Path
from typing import Any

from smol_kernel.config import RunOptions, make_agent
from smol_kernel.errors import JournalError
from smol_kernel.events import RunStarted
from smol_kernel.journal import Journal
from smol_kernel.models.demo import DEMO_TASKS, DemoModel
from smol_kernel.render.transcript import Transcript, isolation_words
from smol_kernel.serve.cli.run import NO_BOX, begin, demo_inputs, draw, has_child, is_kept
from smol_kernel.tools.base import Tool, tool

NOTEBOOK = "co2_demo.ipynb"

BEFORE = """\
This is a demonstration. The replies come from a script written by hand: no language model is asked, no key and no
network are used. All else is real: the code runs in a Jupyter kernel of its own on this machine ({box}),
over weekly measurements of CO2 in the air, 1958 to 2001, that the package statsmodels ships.
"""

WRITTEN = """
The run as a notebook: {notebook} (its first cell makes df and fetch_unit, which `smol export` leaves to you)"""
ELSEWHERE = f"To write it elsewhere, less the cell that makes df and fetch_unit: smol export {{run}} --to ~/{NOTEBOOK}"
KEPT = "The run in the journal: smol show {run}"

AFTER = """
With a real model, on a table and a task of yours:
  OPENAI_API_KEY=... smol run --model openai/gpt-4.1-mini --in df=sales.csv "In which month were sales highest?"
  smol run --model ollama/qwen3 --in df=sales.csv "..."       (a model on this machine; any LiteLLM name will do)"""

FAILED = """
The demo did not come to its answer{where}. `smol doctor` tells what works on this machine."""

FIRST_CELL = """\
from smol_kernel import tool
from smol_kernel.models.demo import demo_data

df = demo_data("co2")


@tool
"""


def fetch_unit(name: str) -> str:
    """The unit in which a quantity is measured.

    Args:
        name: The quantity, for instance "co2".
    """
    return {"co2": "ppm", "temperature": "°C"}[name]


def demo_tools(started: RunStarted) -> list[Tool]:
    """The tool of a recorded run that is the demo's; none for any other run."""
    is_ours = (started.model, started.origin.get("front"), started.origin.get("mcp")) == ("demo", "cli", [])
    return [tool(fetch_unit)] if is_ours and fetch_unit.__name__ in started.tools else []


def add_commands(commands: Any) -> None:
    """Add `demo` to the subcommands."""
    parser = commands.add_parser(
        "demo",
        help="see a run without a key or a network",
        description=f"Show a run from a script over real data, and write it to {NOTEBOOK} in this folder.",
    )
    parser.set_defaults(command=command)


def command(arguments: argparse.Namespace) -> int:
    """Carry out `smol demo`; the status is that of `smol run`."""
    inputs = demo_inputs(DEMO_TASKS[0].task)
    agent = make_agent(RunOptions(), DemoModel(), [tool(fetch_unit)], journal=_journal())
    try:
        if not has_child(agent):
            return NO_BOX
        print(BEFORE.format(box=isolation_words(agent.isolation)))
        transcript, status = draw(agent, begin(agent, DEMO_TASKS[0].task, inputs))
    finally:
        agent.cleanup()
    kept, answered = is_kept(agent, transcript.run), transcript.state == "success"
    broken = [
        step for step in transcript.steps if step.state == "error" and step.repaired_in is None and step.error_line
    ]
    where = f": step {broken[0].number} ended with {broken[0].error_line}" if broken else ""
    lines = [] if answered else [FAILED.format(where=where)]
    if answered:
        try:
            lines += [WRITTEN.format(notebook=_write(transcript))]
        except OSError as error:
            lines += [f"\nThe notebook could not be written into {Path.cwd()}: {error.strerror}."]
            lines += [ELSEWHERE.format(run=transcript.run)] if kept else []
            status = 1
    lines += [KEPT.format(run=transcript.run)] if kept else []
    print("\n".join([*lines, AFTER] if answered else lines))
    return status


def _journal() -> Journal | bool:
    """The journal; False, and a word on it, where it cannot be written: the demo is to be seen all the same."""
    journal = Journal()
    try:
        journal.cut_off("")  # no run: it only shows whether it can be written
    except JournalError as error:
        print(f"smol: {error}\nThe demo goes on without a journal.\n", file=sys.stderr)
        return False
    return journal


def _write(transcript: Transcript) -> Path:
    """Write the run into this folder, under a name that is free, with what it was given as the first cell."""
    import nbformat
    from nbformat.v4 import new_code_cell

    from smol_kernel.runs.notebook import to_notebook

    notebook = to_notebook(transcript)
    first = FIRST_CELL + inspect.getsource(fetch_unit)
    place = next((number for number, cell in enumerate(notebook.cells) if cell.cell_type == "code"), 0)
    before_thought = max(place - 1, 0) if place and notebook.cells[place - 1].cell_type == "markdown" else place
    notebook.cells.insert(before_thought, new_code_cell(first.strip()))
    path = None
    try:
        path = _free_name()
        nbformat.write(notebook, path)
    except OSError:
        if path is not None:
            path.unlink(missing_ok=True)
        raise
    return path


def _free_name() -> Path:
    """The notebook's name, numbered where one of that name exists; the file is there when this returns."""
    path, number = Path(NOTEBOOK), 1
    while True:
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            number += 1
            path = Path(f"{Path(NOTEBOOK).stem}-{number}.ipynb")
        else:
            return path
