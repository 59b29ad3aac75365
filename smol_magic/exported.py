"""`%agent export`: writes a run as a file, never over the notebook it stands in. Called by `magics`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smol_magic.endings import CellError, Stopped
from smol_magic.parser import CommandParser
from smol_magic.session import notebook_path

if TYPE_CHECKING:
    from smol_kernel.events import Event
    from smol_kernel.render.transcript import Transcript
    from smol_kernel.runs.proof import Proof
    from smol_kernel.runs.prove import Prover
    from smol_magic.session import Session


def export_command(session: Session, words: Sequence[str], find: Callable[[str], Transcript]) -> None:
    """Carry out the command; `find` gives a run by the beginning of its id, the last one for "".

    Raises CellError for what cannot be written or understood.
    """
    from smol_kernel.errors import RunNotFoundError
    from smol_kernel.runs.earlier import runs_before
    from smol_kernel.runs.exporting import OF_EVENTS, export, form_of
    from smol_kernel.runs.prove import prover_of

    chosen = _read(words)
    if chosen is None:
        return
    file = chosen.file
    try:
        path = Path(file).expanduser()
        _check_free(path, file, chosen.force)
    except (OSError, RuntimeError) as error:  # RuntimeError: ~NAME, and nobody has that name
        raise CellError(f"%agent export {file}: {getattr(error, 'strerror', None) or error}") from None
    run = find(chosen.run)
    form_of(path, script=chosen.script)  # what is wrong with the name is told before anything is proved
    try:
        events = session.journal.events(run.run, family=True)
    except RunNotFoundError:
        events = []  # the journal failed when it ran; it is told as it was seen
    seen, lack = _seen_further(session, events)
    of_events = path.suffix.lower() in OF_EVENTS
    cut_off = run.state == "unfinished" or seen is not None
    if seen is not None and not of_events:
        run, events = seen, []
    try:
        if not path.parent.is_dir():
            raise CellError(f"%agent export {file}: there is no folder {str(path.parent)!r}")
        if path.exists() and not chosen.force:
            raise FileExistsError
        script: bool | Proof = chosen.script
        before = runs_before(session.journal, events) if script and events else []
        if script and events and not chosen.no_proof:
            script = _proved(prover_of(events, before))
            print(script.line)
        export(events, path, script=script, overwrite=chosen.force, cut_off=cut_off, transcript=run, before=before)
    except FileExistsError:
        raise CellError(
            f"%agent export {file}: the file exists: choose another name, or replace it with --force"
        ) from None
    except OSError as error:
        raise CellError(f"%agent export {file}: {error.strerror or error}") from None
    how = f", {'without the rest' if of_events else 'as it was seen'}: {lack}" if seen is not None else ""
    print(f"written: {file}{how}")


def _seen_further(session: Session, events: Sequence[Event]) -> tuple[Transcript | None, str]:
    """The last run of this session as it was seen, if these are its events and end before it did, and a sentence on
    that."""
    from smol_kernel.render.transcript import Transcript

    seen = session.last
    if seen is None or not events or seen.run != events[0].run or seen.state in ("running", "unfinished"):
        return None, ""
    kept = Transcript.from_events(events)
    if kept.state != "running":
        return None, ""
    if len(kept.steps) == len(seen.steps):
        return seen, "the journal has not all of its last step"
    return seen, f"the journal has only {len(kept.steps)} of its {len(seen.steps)} steps"


def _proved(prover: Prover) -> Proof:
    """The proof, made on another thread: ■ ends it, and the command, also in its last moment. Raises Stopped."""
    from smol_magic.thread import Blocking

    thread = Blocking()
    proofs: list[Proof] = []
    with thread.interruptible(prover.stop):
        print("proving …", flush=True)
        failure = thread.carry_out(lambda: proofs.append(prover.prove()))
    if failure is not None:
        raise failure
    if thread.interrupted:
        raise Stopped("Stopped: nothing was written. --no-proof writes it as it was run.")
    return proofs[0]


def _check_free(path: Path, file: str, force: bool) -> None:
    """Raise CellError for a notebook that no export wrote, OSError for a name that cannot be looked up."""
    opened = notebook_path()
    if opened and path.exists() and path.resolve() == Path(opened).resolve():
        raise CellError(f"%agent export {file}: this is the notebook you are in; choose another name")
    if force and path.suffix.lower() == ".ipynb" and path.is_file() and not _is_exported(path):
        # Perhaps the one that is open: after it was renamed the kernel knows its old name only.
        raise CellError(f"%agent export {file}: this is a notebook that no export wrote; choose another name")


def _is_exported(path: Path) -> bool:
    try:
        return "run" in json.loads(path.read_bytes())["metadata"]["smol"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):  # whatever the file may hold
        return False


def _read(words: Sequence[str]) -> Any:
    """What the words behind the command say; None if they ask for help."""
    parser = CommandParser("export")
    parser.add_argument("file", metavar="FILE", help="the file to write: .ipynb, .py, .html, .md or .json")
    parser.add_argument("run", nargs="?", default="", metavar="RUN", help="default: the last of this notebook")
    parser.add_argument("--script", action="store_true", help="the finished work only (.ipynb, .py)")
    parser.add_argument("--no-proof", action="store_true", help="with --script: all that completed, as it was run")
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")
    return parser.read(words)
