"""Why a cell of finished work did not run to its end, and in what its table is another one, in words. Used by `prove`
and `same`."""

from __future__ import annotations

import re
from contextlib import suppress
from importlib import import_module
from typing import Any

from smol_kernel.events import ActionFinished
from smol_kernel.render.plain import one_line, plain

_NETWORK = frozenset(
    ["gaierror", "ConnectionError", "URLError", "ConnectError", "ConnectTimeout", "ProxyError", "NewConnectionError"]
)
_FIRST = re.compile(r"At positional index (\d+), first diff: (.*) != (.*)", re.DOTALL)
_PART = re.compile(r"\w+(?:\.(index|columns)|\.iloc\[:, (\d+)\])?")
"""Of a table, as the title of what is said of it names it: the table itself, its index or columns, or one column."""
_SIDES = re.compile(r"\[left\]:(.*)\n\[right\]:(.*)", re.DOTALL)
_SHOWN = 60  # characters of a value
_UNMADE = "the cells use what they do not make themselves, such as a variable of an earlier run"
_UNMADE_BY_ALL = (
    "the cells use what neither they nor earlier runs make, such as a variable of a `%%py` cell or one deleted since"
)


def failure(ended: ActionFinished) -> str:
    """Why a cell did not run to its end."""
    kind, message = ended.error_type or "", " ".join(plain(ended.error or "").split())[:200]
    said = ": ".join(filter(None, [kind, message])) or f"the kernel ended ({ended.status})"
    if kind in _NETWORK or "Network is unreachable" in message or "name resolution" in message:
        return f"the cells need the network, which a proof has not ({said})"
    if kind == "NameError":
        return f"{_UNMADE} ({said})"
    if kind == "FileNotFoundError":
        return f"a file is not there any more, or an earlier run had made it ({said})"
    return f"the cells fail ({said})"


def with_earlier(alone: str, together: str) -> str:
    """Why cells that fail `alone` do not give the answer `together` with what earlier runs had made."""
    if not together or not alone.startswith(_UNMADE):
        return alone
    if together.startswith(_UNMADE):
        return together.replace(_UNMADE, _UNMADE_BY_ALL)
    return f"with what earlier runs had made, {together}"


def table_difference(said: str, *tables: Any) -> str:
    """What `pandas.testing` said of two tables, the first one that of the run, as a part of a sentence."""
    title, *lines = [line for line in said.splitlines() if line.strip()] or [""]
    what = lines[0] if lines else title
    if what.startswith("Attribute "):
        subject = title.removeprefix("Attributes of ").removesuffix(" are different")
        what = f"{subject}: {what.removeprefix('Attribute ').removesuffix(' are different')} differs"
    where = ""
    if found := _FIRST.search(said):
        place, was, now = _first(found, title, *tables)
        where = f"at position {place}: "
    elif found := _SIDES.search(said):
        was, now = found[1], found[2]
    else:
        return one_line(what, 3 * _SHOWN)
    was, now = (one_line(value.strip(), _SHOWN) for value in (was, now))
    return f"{one_line(what, 2 * _SHOWN)}, {where}{now} where the run had {was}"


def _first(said: re.Match[str], title: str, *tables: Any) -> tuple[str, str, str]:
    """Position and values of the first difference, looked up in the tables: of some types pandas counts only what is
    not missing, and before 3 it writes a str without quotes, so that 1 and '1' look alike."""
    at, was, now = said.groups()
    with suppress(Exception):  # boundary: what pandas says, and what a table holds, may be anything
        part = _PART.match(title) or [""] * 3
        parts = [t.iloc[:, int(part[2])] if part[2] else getattr(t, part[1]) if part[1] else t for t in tables]
        for places in (range(len(parts[0])), import_module("numpy").flatnonzero(~parts[0].isna())):
            place = int(places[int(at)])
            first, second = (getattr(each, "iloc", each)[place] for each in parts)
            if was in (str(first), repr(first)) and now in (str(second), repr(second)):
                was, now = (repr(v) if isinstance(v, str) else w for v, w in ((first, was), (second, now)))
                return str(place), was, now
    return at, was, now
