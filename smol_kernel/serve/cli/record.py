"""`smol runs`, `smol show RUN` and `smol export RUN --to FILE`: what the journal holds."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from smol_kernel.errors import ConfigError
from smol_kernel.journal import Journal, RunSummary
from smol_kernel.render.plain import counted, one_line
from smol_kernel.render.transcript import Transcript, model_label

_ID_LENGTH, _TASK_LENGTH = 12, 60  # characters shown in the list


def add_commands(commands: Any) -> None:
    """Add `runs`, `show` and `export` to the subcommands."""
    runs = commands.add_parser("runs", help="list recorded runs, the newest first")
    runs.add_argument("search", nargs="?", metavar="TEXT", help="only those whose id, task or answer contains TEXT")
    runs.add_argument("-n", "--limit", type=int, default=20, metavar="N", help="at most N of them (default: 20)")
    runs.set_defaults(command=list_runs)

    show = commands.add_parser("show", help="show a recorded run")
    show.set_defaults(command=show_run)
    export = commands.add_parser("export", help="write a recorded run as a notebook")
    export.add_argument("--to", required=True, type=Path, metavar="FILE.ipynb", help="the notebook to write")
    export.add_argument("--force", action="store_true", help="replace the file if it exists")
    export.set_defaults(command=export_run)
    for parser in (show, export):
        parser.add_argument("run", metavar="RUN", help="the run's id or the beginning of it; last: the newest run")


def list_runs(arguments: argparse.Namespace) -> int:
    """Carry out `smol runs`."""
    journal = Journal()
    found = journal.runs(limit=max(arguments.limit, 1), search=arguments.search)
    if not found:
        about = f" about {arguments.search!r}" if arguments.search else ""
        print(f"No runs{about} in {journal.path} yet.")
    for run in found:
        print(_line(run))
    return 0


def show_run(arguments: argparse.Namespace) -> int:
    """Carry out `smol show`."""
    from smol_kernel.render.text import account_text, facts_line

    transcript = _transcript(arguments.run)
    print(f"{account_text(transcript)}\n\n{facts_line(transcript)}")
    return 0


def export_run(arguments: argparse.Namespace) -> int:
    """Carry out `smol export`."""
    from smol_kernel.runs.notebook import write_notebook

    target: Path = arguments.to
    if target.suffix != ".ipynb":
        raise ConfigError(f"--to {target}: give a file that ends in .ipynb")
    transcript = _transcript(arguments.run)
    try:
        write_notebook(transcript, target, overwrite=arguments.force)
    except FileExistsError:
        raise ConfigError(f"--to {target}: the file exists; --force replaces it") from None
    except OSError as error:
        raise ConfigError(f"--to {target}: {error.strerror}") from None
    print(f"Written: {target}")
    return 0


def _transcript(run: str) -> Transcript:
    journal = Journal()
    return Transcript.from_events(journal.events(journal.find(run).run, family=True))


def _line(run: RunSummary) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started))
    task, model = one_line(run.task, _TASK_LENGTH), one_line(model_label(run.model, run.scripted))
    steps = counted(run.steps, "step")
    boxed = "  not isolated" if run.isolation == "none" else ""
    return f"{run.run[:_ID_LENGTH]:{_ID_LENGTH}}  {when}  {run.state:11}  {steps:>8}  {model}{boxed}  {task}"
