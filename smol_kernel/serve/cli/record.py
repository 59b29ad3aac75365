"""`smol runs`, `smol show RUN`, `smol export RUN --to FILE` and `smol import FILE`: what the journal holds."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from smol_kernel.errors import ConfigError, SmolError
from smol_kernel.journal import Journal, RunSummary
from smol_kernel.render.plain import counted, one_line
from smol_kernel.render.run_line import run_lines
from smol_kernel.render.transcript import Transcript
from smol_kernel.runs.exporting import FORMS, export, form_of
from smol_kernel.runs.pruning import chosen, take_out, takes_out


def add_commands(commands: Any) -> None:
    """Add `runs`, `show`, `export` and `import` to the subcommands."""
    runs = commands.add_parser("runs", help="list recorded runs, the newest first")
    runs.add_argument("search", nargs="?", metavar="TEXT", help="only those whose id, task or answer contains TEXT")
    runs.add_argument("-n", "--limit", type=int, default=20, metavar="N", help="at most N of them (default: 20)")
    taking_out = runs.add_mutually_exclusive_group()
    taking_out.add_argument(
        "--prune", action="store_true", help="take old runs out of the journal; see --older-than and --keep"
    )
    taking_out.add_argument("--delete", metavar="RUN", help="take this run out of the journal")
    runs.add_argument("--older-than", metavar="AGE", help="which runs to prune: 12h, 30d, 8w (default: 30d)")
    runs.add_argument("--keep", type=int, metavar="N", help="do not prune the newest N runs")
    runs.add_argument("--dry-run", action="store_true", help="only list what would be taken out")
    runs.add_argument("--yes", action="store_true", help="do not ask before")
    runs.set_defaults(command=list_runs)

    show = commands.add_parser("show", help="show a recorded run")
    show.set_defaults(command=show_run)
    exported = commands.add_parser("export", help="write a recorded run as a notebook, a page, or in another form")
    exported.add_argument(
        "--to", required=True, type=Path, metavar="FILE", help=f"the file to write; it ends in {', '.join(FORMS)}"
    )
    exported.add_argument("--script", action="store_true", help="the finished work only (.ipynb, .py)")
    exported.add_argument(
        "--no-proof", action="store_true", help="with --script: all that completed, without running it in a fresh box"
    )
    exported.add_argument("--force", action="store_true", help="replace the file if it exists")
    exported.set_defaults(command=export_run)
    given_back = commands.add_parser("import", help="put an exported run (.ipynb, .json) into the journal")
    given_back.add_argument("file", type=Path, metavar="FILE", help="what `smol export` wrote")
    given_back.set_defaults(command=import_file)
    for parser in (show, exported):
        parser.add_argument("run", metavar="RUN", help="the run's id or the beginning of it; last: the newest run")


def list_runs(arguments: argparse.Namespace) -> int:
    """Carry out `smol runs`."""
    journal = Journal()
    words, consents = arguments.search or "", {"dry_run": arguments.dry_run, "yes": arguments.yes}
    if takes_out(words, arguments.prune, arguments.delete, arguments.older_than, arguments.keep, **consents):
        return _take_out(journal, arguments)
    if arguments.limit < 1:
        raise ConfigError(f"--limit is {arguments.limit}: give a whole number of at least 1")
    found = journal.runs(limit=arguments.limit, search=arguments.search)
    if not found:
        about = f" about {arguments.search!r}" if arguments.search else ""
        print(f"No runs{about} in {journal.path} yet.")
    for line in run_lines(found):
        print(line)
    return 0


def _take_out(journal: Journal, arguments: argparse.Namespace) -> int:
    """Delete runs, if the person wants it."""
    runs = chosen(journal, arguments.delete, arguments.older_than, arguments.keep)
    for line in run_lines(runs):
        print(line)
    what = counted(len(runs), "run")
    if not runs or arguments.dry_run:
        print(f"{what} would be taken out." if runs else "There are none to take out.")
        return 0
    if not arguments.yes:
        if sys.stdin is None or not sys.stdin.isatty():
            raise ConfigError(f"{what} would be taken out of {journal.path}: --yes does it")
        try:
            agreed = input(f"Take {what} out of {journal.path}? [y/N] ").strip().lower() in ("y", "yes")
        except EOFError:
            agreed = False
        if not agreed:
            print("Nothing was taken out.")
            return 1
    print(take_out(journal, runs))
    return 0


def show_run(arguments: argparse.Namespace) -> int:
    """Carry out `smol show`."""
    from smol_kernel.render.text import account_text, facts_line

    found, transcript = _transcript(arguments.run)
    print(f"{account_text(transcript)}\n\n{facts_line(transcript)}")
    if found.state == "elsewhere":
        print(f"It is {one_line(found.whereabouts)}.")
    return 0


def export_run(arguments: argparse.Namespace) -> int:
    """Carry out `smol export`."""
    from smol_kernel.runs.earlier import runs_before
    from smol_kernel.runs.proof import Proof
    from smol_kernel.runs.prove import prover_of

    target: Path = arguments.to
    form_of(target, script=arguments.script)  # what is wrong with the name is told first
    if not target.expanduser().parent.is_dir():
        raise ConfigError(f"--to {target}: there is no folder {str(target.parent)!r}")
    journal = Journal()
    run = journal.find(arguments.run)
    events = journal.events(run.run, family=True)
    try:
        if target.exists() and not arguments.force:
            raise FileExistsError
        script: bool | Proof = arguments.script
        before = runs_before(journal, events) if script else []
        if script and not arguments.no_proof:
            script = prover_of(events, before).prove()
        cut_off = run.state == "unfinished"
        export(events, target, script=script, overwrite=arguments.force, cut_off=cut_off, before=before)
    except FileExistsError:
        raise ConfigError(f"--to {target}: the file exists; --force replaces it") from None
    except OSError as error:
        raise SmolError(f"--to {target}: {error.strerror}") from None
    print("\n".join([*([script.line] if isinstance(script, Proof) else []), f"Written: {target}"]))
    return 0


def import_file(arguments: argparse.Namespace) -> int:
    """Carry out `smol import`."""
    from smol_kernel.runs.importing import import_run

    done = import_run(arguments.file, Journal())
    print("\n".join([*done.remarks, f"{'Imported: ' if done.new else ''}run {done.run} (smol show {done.run})"]))
    return 0


def _transcript(run: str) -> tuple[RunSummary, Transcript]:
    journal = Journal()
    found = journal.find(run)
    events = journal.events(found.run, family=True)
    return found, Transcript.from_events(events, cut_off=found.state == "unfinished")
