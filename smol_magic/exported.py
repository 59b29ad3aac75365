"""`%agent export`: writes a run as a file, never over the notebook it stands in. Called by `magics`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from smol_magic.endings import CellError
from smol_magic.session import notebook_path

if TYPE_CHECKING:
    from smol_kernel.render.transcript import Transcript
    from smol_magic.session import Session

OPTIONS = ("--script", "--no-proof", "--force")


def export_command(session: Session, file: str, words: Sequence[str], find: Callable[[str], Transcript]) -> None:
    """Carry out the command; `find` gives a run by the beginning of its id, the last one for "".

    Raises CellError for what cannot be written or understood.
    """
    from smol_kernel.errors import RunNotFoundError
    from smol_kernel.events import settled
    from smol_kernel.runs.exporting import export
    from smol_kernel.runs.prove import Proof, Prover

    unknown = [word for word in words if word.startswith("-") and word not in OPTIONS]
    runs = [word for word in words if not word.startswith("-")]
    if unknown or len(runs) > 1 or file.startswith("-"):
        raise CellError("%agent export is written so: %agent export FILE [RUN] [--script [--no-proof]] [--force]")
    path = Path(file).expanduser()
    opened = notebook_path()
    if opened and path.exists() and path.resolve() == Path(opened).resolve():
        raise CellError(f"%agent export {file}: this is the notebook you are in; choose another name")
    run = find("".join(runs))
    try:
        events = session.journal.events(run.run, family=True)
    except RunNotFoundError:
        events = []  # the journal failed when it ran; it is told as it was seen
    try:
        if path.exists() and "--force" not in words:
            raise FileExistsError
        script: bool | Proof = "--script" in words
        if script and events and "--no-proof" not in words:
            script = Prover(settled(events)).prove()
            print(script.line)
        export(events, path, script=script, overwrite="--force" in words, transcript=run)
    except FileExistsError:
        raise CellError(
            f"%agent export {file}: the file exists: choose another name, or replace it with --force"
        ) from None
    except OSError as error:
        raise CellError(f"%agent export {file}: {error.strerror or error}") from None
    print(f"written: {file}")
