"""`%agent files`: lists what the agent made in its box, and saves it. Called by `magics`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from smol_magic.endings import CellError
from smol_magic.lines import wrapped
from smol_magic.parser import CommandParser

if TYPE_CHECKING:
    from smol_kernel.events import FilesMade
    from smol_magic.session import Session

SAVE_FILES = "%agent files save"
USAGE = "%agent files lists them; %agent files save [NAME …] [--to DIR] [--overwrite] saves them"
GONE = (
    "There are no files of an agent here: none has run in this conversation, or they went with it (%agent stop, and "
    "each %%agent without --continue, begin a new one)."
)


def files_command(session: Session, words: Sequence[str]) -> None:
    """Carry out the command. Raises CellError for what cannot be understood, and where there is no box any more."""
    from smol_kernel.render.files import file_text

    chosen = _read(words)
    if chosen is None:
        return
    if session.child is None:
        if words:
            raise CellError(GONE)
        print(wrapped(GONE))
        return
    made = session.child.files()
    if words and not (getattr(session.child, "started", True) or made.files or made.more):
        raise CellError(
            "There is nothing to save: no agent's code has run in this conversation yet, or its files are gone."
        )
    if not words:
        for file in made.files:
            print(file_text(file))
        if made.more:
            print(f"… and {made.more:,} more")
        print(f"not saved yet: {SAVE_FILES}" if made.files or made.more else "No files but those in your folder.")
        return
    saved = session.child.save_files(chosen.names or None, chosen.to, chosen.overwrite)
    for path in saved:
        print(f"saved: {path}")
    for name, why in saved.refused.items():
        print(f"not saved: {name} {why}".replace("if overwriting is asked for", "with --overwrite"))
    if not saved and not saved.refused:
        print("No files but those in your folder.")


def files_line(made: FilesMade) -> str:
    """What a cell of Python made, in a line; empty if that is nothing."""
    from smol_kernel.render.files import files_text
    from smol_kernel.render.transcript import Transcript

    return files_text(Transcript(files=made.files, more_files=made.more, how_to_save=SAVE_FILES))


def _read(words: Sequence[str]) -> Any:
    """What the words behind the command say; None if they ask for help."""
    parser = CommandParser("files")
    parser.add_argument("command", nargs="?", metavar="save", help="save them; without it they are listed")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these")
    parser.add_argument("--to", metavar="DIR", help="into this folder (default: yours)")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    chosen = parser.read(words)
    if chosen is None:
        return None
    if words and chosen.command != "save":
        raise CellError(f"%agent files {chosen.command or words[0]}: {USAGE}.")
    return chosen
