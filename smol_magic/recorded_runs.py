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
    if chosen is None:
        return
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
    """What the words behind the command say; None if they ask for help."""
    parser = CommandParser("runs")
    parser.add_argument("words", nargs="*", metavar="WORD", help="only runs whose id, task or answer has it")
    parser.add_argument("--prune", action="store_true", help="take old runs out of the journal")
    parser.add_argument("--delete", metavar="RUN", help="take this run out of the journal")
    parser.add_argument("--older-than", metavar="AGE", help="which runs to prune: 12h, 30d, 8w (default: 30d)")
    parser.add_argument("--keep", type=int, default=0, metavar="N", help="do not prune the newest N runs")
    parser.add_argument("--yes", action="store_true", help="do it; without it they are only listed")
    chosen = parser.read(words)
    if chosen is None:
        return None
    about = [*(["--older-than"] * bool(chosen.older_than)), *(["--keep"] * bool(chosen.keep))]
    if about and not chosen.prune:
        raise CellError(f"%agent runs: {about[0]} goes with --prune, which takes old runs out")
    if chosen.words and (chosen.prune or chosen.delete):
        raise CellError(
            f"%agent runs: {chosen.words[0]!r}: --prune and --delete look for no text in runs; leave it out"
        )
    return chosen
