"""`%agent runs`: lists the runs in the journal, and takes old ones out. Called by `magics`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from smol_magic.endings import CellError
from smol_magic.parser import CommandParser

if TYPE_CHECKING:
    from smol_kernel.journal import Journal, RunSummary

MOST_LISTED = 20
"""Runs that are listed."""


def runs_command(journal: Journal, words: Sequence[str]) -> None:
    """Carry out the command. Raises ConfigError and JournalError, with the reason in a sentence."""
    chosen = _read(words)
    if chosen.prune or chosen.delete:
        _take_out(journal, chosen)
        return
    runs = journal.runs(limit=MOST_LISTED, search=" ".join(chosen.words) or None)
    if not runs:
        print("No runs in the journal yet." if not chosen.words else f"No run with {' '.join(chosen.words)!r} in it.")
    _list(runs)
    if len(runs) == MOST_LISTED:
        print("… perhaps more: !smol runs -n 100 lists them, %agent runs --prune takes old ones out")


def _list(runs: Sequence[RunSummary]) -> None:
    from smol_kernel.render.run_line import run_line

    for run in runs:
        print(run_line(run))


def _take_out(journal: Journal, chosen: Any) -> None:
    """A cell asks nobody: it lists, and the same line with --yes does it."""
    from smol_kernel.render.plain import counted
    from smol_kernel.runs.pruning import deletable, prunable, take_out

    runs = [deletable(journal, chosen.delete)] if chosen.delete else prunable(journal, chosen.older_than, chosen.keep)
    _list(runs)
    if not runs:
        print("There are none to take out.")
    elif chosen.yes:
        print(take_out(journal, runs))
    else:
        print(f"{counted(len(runs), 'run')} would be taken out of {journal.path}: the same line with --yes does it.")


def _read(words: Sequence[str]) -> Any:
    parser = CommandParser(prog="%agent runs", add_help=False, allow_abbrev=False)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--prune", action="store_true")
    parser.add_argument("--delete", metavar="RUN")
    parser.add_argument("--older-than", metavar="AGE")
    parser.add_argument("--keep", type=int, default=0, metavar="N")
    parser.add_argument("--yes", action="store_true")
    chosen = parser.parse_args(list(words))
    about = [*(["--older-than"] * bool(chosen.older_than)), *(["--keep"] * bool(chosen.keep))]
    if about and not chosen.prune:
        raise CellError(f"%agent runs: {about[0]} goes with --prune, which takes old runs out")
    if chosen.words and (chosen.prune or chosen.delete):
        raise CellError(
            f"%agent runs: {chosen.words[0]!r}: --prune and --delete look for no text in runs; leave it out"
        )
    return chosen
