"""Why a cell of finished work did not run to its end, and in what its table is another one, in words. Used by `prove`
and `same`."""

from __future__ import annotations

import re

from smol_kernel.events import ActionFinished
from smol_kernel.render.plain import one_line, plain

_NETWORK = frozenset(
    ["gaierror", "ConnectionError", "URLError", "ConnectError", "ConnectTimeout", "ProxyError", "NewConnectionError"]
)
_FIRST = re.compile(r"At positional index (\d+), first diff: (.*) != (.*)", re.DOTALL)
_SIDES = re.compile(r"\[left\]:(.*)\n\[right\]:(.*)", re.DOTALL)
_SHOWN = 60  # characters of a value


def failure(ended: ActionFinished) -> str:
    """Why a cell did not run to its end."""
    kind, message = ended.error_type or "", " ".join(plain(ended.error or "").split())[:200]
    said = ": ".join(filter(None, [kind, message])) or f"the kernel ended ({ended.status})"
    if kind in _NETWORK or "Network is unreachable" in message or "name resolution" in message:
        return f"the cells need the network, which a proof has not ({said})"
    if kind == "NameError":
        return f"the cells use what they do not make themselves, such as a variable of an earlier run ({said})"
    if kind == "FileNotFoundError":
        return f"a file is not there any more, or an earlier run had made it ({said})"
    return f"the cells fail ({said})"


def table_difference(said: str) -> str:
    """What `pandas.testing` said of two tables, the left one that of the run, as a part of a sentence."""
    title, *lines = [line for line in said.splitlines() if line.strip()] or [""]
    what = lines[0] if lines else title
    if what.startswith("Attribute "):
        subject = title.removeprefix("Attributes of ").removesuffix(" are different")
        what = f"{subject}: {what.removeprefix('Attribute ').removesuffix(' are different')} differs"
    where = ""
    if found := _FIRST.search(said):
        where, was, now = f"at position {found[1]}: ", found[2], found[3]
    elif found := _SIDES.search(said):
        was, now = found[1], found[2]
    else:
        return one_line(what, 3 * _SHOWN)
    was, now = (one_line(value.strip(), _SHOWN) for value in (was, now))
    return f"{one_line(what, 2 * _SHOWN)}, {where}{now} where the run had {was}"
