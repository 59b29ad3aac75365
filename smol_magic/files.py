"""`%agent files`: lists what the agent made in its box, and saves it. Called by `magics`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from smol_magic.endings import CellError

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

    names, folder, overwrite = _read(words)
    if session.child is None:
        raise CellError(GONE)
    made = session.child.files()
    if names is None:
        for file in made.files:
            print(file_text(file))
        if made.more:
            print(f"… and {made.more:,} more")
        print(f"not saved yet: {SAVE_FILES}" if made.files or made.more else "No files but those in your folder.")
        return
    saved = session.child.save_files(names or None, folder, overwrite)
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


def _read(words: Sequence[str]) -> tuple[list[str] | None, str | None, bool]:
    """Names to save (None: only list), the folder, and whether to overwrite."""
    if not words:
        return None, None, False
    command, *rest = words
    names: list[str] = []
    folder, overwrite = None, False
    while rest and command == "save":
        word = rest.pop(0)
        if word == "--to" and rest:
            folder = rest.pop(0)
        elif word == "--overwrite":
            overwrite = True
        elif word.startswith("--"):
            raise CellError(f"%agent files: {word} is not understood. {USAGE}.")
        else:
            names.append(word)
    if command != "save":
        raise CellError(f"%agent files {command}: {USAGE}.")
    return names, folder, overwrite
