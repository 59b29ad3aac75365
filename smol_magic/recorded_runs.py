"""`%agent runs`: lists the runs in the journal, and takes old ones out. Called by `magics`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from smol_magic.parser import CommandParser

if TYPE_CHECKING:
    from smol_kernel.journal import Journal, RunSummary

MOST_LISTED = 20
"""Runs that are listed."""


def runs_command(journal: Journal, given: Sequence[str]) -> None:
    """Carry out the command. Raises ConfigError and JournalError, with the reason in a sentence."""
    chosen = _read(given)
    if chosen is None:
        return
    from smol_kernel.runs.pruning import takes_out

    words = " ".join(chosen.words)
    if takes_out(words, chosen.prune, chosen.delete, chosen.older_than, chosen.keep, yes=chosen.yes):
        _take_out(journal, chosen)
        return
    runs = journal.runs(limit=MOST_LISTED, search=words or None)
    if not runs:
        print(f"No run with {words!r} in it." if words else "No runs in the journal yet.")
    _list(runs)
    if len(runs) == MOST_LISTED:
        print("… perhaps more: !smol runs -n 100 lists them, %agent runs --prune takes old ones out")


def _list(runs: Sequence[RunSummary]) -> None:
    from smol_kernel.render.run_line import run_lines

    for line in run_lines(runs):
        print(line)


def _take_out(journal: Journal, chosen: Any) -> None:
    """A cell asks nobody: it lists, and the same line with --yes does it."""
    from smol_kernel.render.plain import counted
    from smol_kernel.runs import pruning

    runs = pruning.chosen(journal, chosen.delete, chosen.older_than, chosen.keep)
    _list(runs)
    if not runs:
        print("There are none to take out.")
    elif chosen.yes:
        print(pruning.take_out(journal, runs))
    else:
        print(f"{counted(len(runs), 'run')} would be taken out of {journal.path}: the same line with --yes does it.")


def _read(words: Sequence[str]) -> Any:
    """What the words behind the command say; None if they ask for help."""
    parser = CommandParser("runs")
    parser.add_argument("words", nargs="*", metavar="WORD", help="only runs whose id, task or answer has it")
    parser.add_argument("--prune", action="store_true", help="take old runs out of the journal")
    parser.add_argument("--delete", metavar="RUN", help="take this run out of the journal")
    parser.add_argument("--older-than", metavar="AGE", help="which runs to prune: 12h, 30d, 8w (default: 30d)")
    parser.add_argument("--keep", type=int, metavar="N", help="do not prune the newest N runs")
    parser.add_argument("--yes", action="store_true", help="do it; without it they are only listed")
    return parser.read(words)
