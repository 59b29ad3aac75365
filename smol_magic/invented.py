"""The names that the cells of finished work bind for themselves, told from those that the user gave. Used by
`proving`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from smol_kernel.runs.names import bound_by
from smol_kernel.runs.script import ScriptCell, part_of, read_names
from smol_kernel.runs.source import TRANSPARENT, Source

if TYPE_CHECKING:
    from smol_kernel.render.transcript import Transcript

Invented = dict[str, set[str]]
"""Name → the sources of the cells that bind it."""


def note(invented: Invented, cells: Sequence[ScriptCell], transcript: Transcript) -> None:
    """Take in what the cells bind, and nothing that the run did."""
    parts = [part for step in transcript.steps if (part := part_of(step)) is not None]
    known = read_names(parts).every
    for cell in cells:
        for name in _bound(cell.source) - known if cell.kind == "code" else ():
            invented.setdefault(name, set()).add(cell.source)


def taken(variables: Mapping[str, Any], invented: Invented, history: Sequence[str]) -> frozenset[str]:
    """The names of the notebook that its cells bound, as far as they are no cells of ours; `history` are those that
    were run. So the cells of the same work have the same names again."""
    return frozenset(variables) - {name for name, sources in invented.items() if _is_ours(name, sources, history)}


def _is_ours(name: str, sources: Iterable[str], history: Sequence[str]) -> bool:
    word = re.compile(rf"\b{name}\b")
    last = next((cell for cell in reversed(history) if word.search(cell) and name in _bound(cell)), None)
    return last is None or any(source in last for source in sources)


def _bound(cell: str) -> set[str]:
    while magic := TRANSPARENT.match(cell):
        cell = cell[magic.end() :]
    return bound_by(Source(cell).body or ())
