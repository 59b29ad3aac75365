"""Keeps an interpreter in its place that lies in a folder where the child may write. `view` asks it.

What is shown of it is read-only; but the folders around that are not, and a child that could rename one would put
another interpreter there, for the host to start next. A folder on which something is mounted cannot be renamed: each
one on the way is mounted on itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from smol_kernel.errors import ConfigError


def pinned(places: Iterable[str], writable: Sequence[str]) -> list[str]:
    """The folders between the `writable` mounts and the `places` in them that are shown read-only."""
    found: dict[str, None] = {}
    for place in places:
        for mount in writable:
            folder = os.path.dirname(place)
            while folder.startswith(f"{mount}/"):
                found[folder] = None
                folder = os.path.dirname(folder)
    return sorted(found)


def check_programs(programs: Iterable[str], read_only: Sequence[str], writable: Sequence[str]) -> None:
    """Raises ConfigError if one of these `programs` of an interpreter lies where the child may write: in a mount within
    what is read-only, or in its place."""
    for program in programs:
        around = [place for place in (*read_only, *writable) if f"{program}/".startswith(f"{place}/")]
        nearest = max(around, key=len, default="")
        if nearest in writable:
            raise ConfigError(
                f"mount {nearest}:rw would let the child put another {program} there, which this host starts: "
                f"mount a folder without it, or this one without :rw"
            )


def check_links(paths: Iterable[str], read_only: Iterable[str], writable: Sequence[str]) -> None:
    """Raises ConfigError if on the way to one of these `paths` of an interpreter there is a link where the child may
    write: it could lead elsewhere."""
    fixed = [f"{place}/" for place in read_only]
    for path in paths:
        part = path
        while part != os.path.dirname(part):
            mount = next((mount for mount in writable if part.startswith(f"{mount}/")), None)
            if mount and os.path.islink(part) and not any(part.startswith(place) for place in fixed):
                raise ConfigError(
                    f"mount {mount}:rw would let the child lead {part} elsewhere, a link by which {path} is found: "
                    f"mount a folder without it, or this one without :rw"
                )
            part = os.path.dirname(part)
