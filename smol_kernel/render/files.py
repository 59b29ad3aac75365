"""The files that a run made in its box, in words. Used by every account of a run, and by the fronts that list them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from smol_kernel.render.plain import counted, listed, plain

if TYPE_CHECKING:
    from smol_kernel.render.transcript import Transcript

KINDS = ("link", "pipe", "socket", "device")
MOST_NAMED = 20
"""Files named one by one in an account of a run."""


def file_text(file: Mapping[str, Any], name: Callable[[str], str] = str) -> str:
    """One file of FilesMade: its path, as `name` marks it, and its size or what else it is."""
    change, kind = file.get("change"), file.get("type")
    facts = ["changed"] if change == "changed" else []
    facts += [f"a {kind}"] if kind in KINDS else [size_text(file.get("bytes") or 0)]
    path = plain(str(file.get("path"))[:400]).replace("\n", " ")
    return f"{name(path)} ({'removed' if change == 'removed' else ', '.join(facts)})"


def files_text(transcript: Transcript, name: Callable[[str], str] = str, command: Callable[[str], str] = str) -> str:
    """The files of a run in a sentence, and how they can still be saved where that is known; empty if there are none.

    `name` marks a path, `command` what is to be written.
    """
    files, more = transcript.files[:MOST_NAMED], transcript.more_files + len(transcript.files[MOST_NAMED:])
    if not files and not more:
        return ""
    words = [file_text(file, name) for file in files] + ([counted(more, "other")] if more else [])
    how = f" — not saved yet: {command(transcript.how_to_save)}" if transcript.how_to_save else ""
    return f"Files made in the box: {listed(words)}{how}"


def size_text(size: int) -> str:
    """A size in two digits at most, so that a date within a file does not make it another one."""
    kilobytes = max(1, round(float(f"{size / 1000:.2g}")))
    if kilobytes < 1000:
        return f"{kilobytes} kB"
    return f"{float(f'{size / 1_000_000:.2g}'):g} MB"
