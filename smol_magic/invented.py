"""The names that the cells of finished work bind for themselves, told from those that the user gave."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from smol_kernel.runs.names import bound_by
from smol_kernel.runs.script import ScriptCell, parts_of, read_names
from smol_kernel.runs.source import TRANSPARENT, Source

if TYPE_CHECKING:
    from smol_kernel.render.transcript import Transcript
    from smol_magic.session import Session

Invented = dict[str, set[str]]
"""Name → the sources of the cells that bind it, all without underscores at the ends of names."""
_ENDS = re.compile(r"(?<=[^\W_])_+\b")
"""What makes a name one that is free."""

_WANTED = frozenset(["answer", "answered", "expected", "rows"])
"""Names that `script` and `check_cell` make free ones of, beside those of inputs with a `_` behind them."""


def any_invented(names: Iterable[str], inputs: Iterable[str]) -> bool:
    """Whether any of `names` may be one that cells of a run with these inputs bind for themselves."""
    spared = {_ENDS.sub("", name) for name in inputs}
    return any(bare in _WANTED or (bare != name and bare in spared) for name in names for bare in [_ENDS.sub("", name)])


def note(invented: Invented, cells: Sequence[ScriptCell], transcript: Transcript) -> None:
    """Take in what the cells bind, and nothing that the code of the run did."""
    known = read_names(part for part in parts_of(transcript) if not part.step.only_calls).every
    for cell in cells:
        for name in _bound(cell.source) - known if cell.kind == "code" else ():
            invented.setdefault(_ENDS.sub("", name), set()).add(_ENDS.sub("", cell.source))


def taken(
    variables: Mapping[str, Any], invented: Invented, history: Sequence[str], answers: Container[str]
) -> frozenset[str]:
    """The names of the notebook, but for those that cells of ours gave their values, and no cell of the user's since;
    `history` are the cells that were run, `answers` the names that the user gave to answers. So the cells of the same
    work have the same names again."""
    found = {name: invented.get(_ENDS.sub("", name)) for name in variables if name not in answers}
    return frozenset(variables) - {
        name for name, sources in found.items() if sources and _is_ours(name, sources, history)
    }


def spare(agent: Any, session: Session, variables: Mapping[str, Any]) -> None:
    """Have an agent of structured calls give none of the names that are taken to what its tools give."""
    if not agent.writes_code:
        agent._hands.taken = taken(variables, session.invented, session.history, session.answers)


def _is_ours(name: str, sources: Iterable[str], history: Sequence[str]) -> bool:
    word = re.compile(rf"\b{name}\b")
    last = next((cell for cell in reversed(history) if word.search(cell) and name in _bound(cell)), None)
    return last is not None and any(source in _ENDS.sub("", last) for source in sources)


def _bound(cell: str) -> set[str]:
    while magic := TRANSPARENT.match(cell):
        cell = cell[magic.end() :]
    return bound_by(Source(cell).body or ())
