"""Which recorded runs are of the notebook that a kernel belongs to. Used by `session`.

Jupyter tells a kernel the path of its notebook once, as it starts it. The notebook may be renamed after that, and
another one made at that path: JupyterLab calls each new one Untitled.ipynb. So a path alone tells little. The same page
and the same kernel, restarted or not, are those of the same notebook; of others the files tell, as they were saved.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smol_kernel.journal import RunSummary

LARGEST = 64 << 20
"""Bytes of a file that is read."""


@dataclass(frozen=True)
class Saved:
    """What a notebook's file tells: the ids of its cells, and of the runs that outputs and cells are marked with."""

    cells: frozenset[str] = frozenset()
    runs: frozenset[str] = frozenset()


def belongs(run: RunSummary, here: Mapping[str, Any], sent: AbstractSet[str]) -> bool:
    """Whether `run` is of the notebook at `here` (see `session.origin`), of which the cells `sent` were run so far.

    One of another notebook never is; where nothing tells, because its cell was not saved, one of this is not either.
    """
    then, path, cell = run.origin, here["notebook"], run.origin.get("cell_id")
    there = then.get("notebook")

    def same(name: str) -> bool:
        return here[name] is not None and then.get(name) == here[name]

    if then.get("imported"):
        return False
    if same("session") or (same("connection") and same("notebook")):
        return True
    if path is None or not isinstance(there, str):
        return False
    file = saved(path)
    if not isinstance(cell, str) or ":" in cell or file is None:  # VS Code's ids are addresses, and stand in no file
        return there == path
    if sent and sent.isdisjoint(file.cells):  # this notebook was renamed, or the cells were made since it was saved
        return False
    if there == path:
        return cell in file.cells or run.run in file.runs
    before = saved(there)  # if that has the cell, this is a copy
    return run.run in file.runs and before is not None and cell not in before.cells


def saved(path: str) -> Saved | None:
    """What the file at `path` tells; nothing if there is none. None: it has no ids of cells (a format before 4.5, a
    script that is opened as a notebook), or is too large to be read for them."""
    try:
        found = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return Saved()
    except (OSError, ValueError):
        return None
    return None if found.st_size > LARGEST else _read(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=8)
def _read(path: str, *_: int) -> Saved | None:
    try:
        cells = json.loads(Path(path).read_bytes())["cells"]
        return Saved(frozenset(str(cell["id"]) for cell in cells), frozenset(_marks(cells)))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):  # whatever it may hold
        return None


def _marks(cells: Any) -> Iterator[str]:
    for cell in cells:
        for each in (cell, *cell.get("outputs", ())):
            if run := each.get("metadata", {}).get("smol", {}).get("run"):
                yield str(run)
