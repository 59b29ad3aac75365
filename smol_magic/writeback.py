"""Puts the finished work into the notebook as new cells below the one that asked for it. They are never run.

In JupyterLab and Notebook 7 the labextension inserts them, in the tab that sent the cell; the messages are listed
in its JavaScript. Elsewhere everything comes as one next cell. Called by `cell`.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smol_kernel.runs.proof import Proof
    from smol_kernel.runs.script import ScriptCell
    from smol_magic.place import Place

TARGET = "smol.cells"
CLAIM_SECONDS = 2.0
"""How long a page may take to say that it has the cell; longer than other tabs wait for the one that sent it."""
DONE_SECONDS = 10.0
"""How long a page may take that has claimed, or is known to answer."""
SLOW_LINK = 50_000
"""Bytes of an account that reach a page in a second, at the least: the question comes behind them."""
BEHIND_SECONDS = 20.0
"""How long they are waited for at most: the page may be gone."""

_TIME = re.compile(r"(%%time\b[^\n]*)\n+")


@dataclass(frozen=True)
class Written:
    """What a page did: how many cells it put in, or kept because they are the same; ids of those taken away that had
    been sent to run ("Run All Cells"), and when, by its clock; whether it sent the cell (a reloaded page did not), and
    whether the cell shows an account (one that was cut and pasted meanwhile does not); how many cells of earlier runs
    stay, because the person has `edited` or `locked` them. Or it is `lost`: the page took the cells, and did not say
    what it did with them.
    """

    inserted: int
    kept: int
    sent: frozenset[str]
    date: str
    by_sender: bool
    shown: bool
    edited: int
    locked: int
    lost: bool = False


def digest(source: str) -> str:
    """What tells an untouched cell from an edited one."""
    return hashlib.sha256(source.encode(errors="surrogatepass")).hexdigest()[:16]


def notebook_cells(
    script: Sequence[ScriptCell], run: str, cell_id: str | None, proof: Proof | None = None
) -> list[dict[str, Any]]:
    """The script as cells for the page, each marked with where it came from, and with what was shown of them all."""
    marks: dict[str, Any] = {"run": run, "cell": cell_id}
    if proof is not None:
        marks["proof"] = proof.marks
    return [
        {
            "cell_type": part.kind,
            "source": part.source,
            "metadata": {"smol": {**marks, "step": part.step, "digest": digest(part.source)}},
        }
        for part in script
    ]


def untouched(candidates: Any) -> list[str]:
    """Ids of the cells an earlier run wrote that still are as it wrote them."""
    return [cell["id"] for cell in candidates if digest(cell["source"]) == cell["digest"]]


def as_one_cell(script: Sequence[ScriptCell]) -> str:
    """The script as the source of a single cell in the percent format, markdown as comments, and without cell magics,
    which IPython knows in the first line only."""
    from smol_kernel.runs.python_file import percent

    return percent((part.kind, _further_down(part.source) if part.kind == "code" else part.source) for part in script)


def _further_down(code: str) -> str:
    """A cell's code as it runs below others: of `%%time` a comment is left, another cell magic is called."""
    if timed := _TIME.match(code):
        return f"# {timed[1]}\n{_further_down(code[timed.end() :])}"
    if not code.startswith("%%"):
        return code
    from IPython.core.inputtransformer2 import cell_magic

    return "".join(cell_magic(f"{code}\n".splitlines(keepends=True))).rstrip("\n")


@contextmanager
def early(place: Place, known: set[str]) -> Generator[None]:
    """Meanwhile a page may say that it is there: the session of one that does is then in `known`."""
    if place.cell_id is None or place.in_console or place.session in known:
        yield
        return
    with _comm(
        {"session": place.session, "cell_id": place.cell_id, "early": True}, lambda data: known.add(data["session"])
    ):
        yield


async def write(
    cells: Sequence[dict[str, Any]],
    place: Place,
    known: set[str],
    enough: asyncio.Event,
    *,
    replace: bool = True,
    behind: int = 0,
) -> Written | None:
    """Have the page insert `cells` below the cell at `place`; None if no page answers until it is `enough`. One whose
    session is `known` has time, as so many bytes are on their way to it before: those `behind` which the question
    comes.

    With `replace` the untouched cells of its earlier runs go, save those that are the same. Without cells it only asks
    whether the page is there.
    """
    if place.cell_id is None or place.in_console:
        return None
    loop = asyncio.get_running_loop()
    claimed: asyncio.Future[dict[str, Any]] = loop.create_future()
    done: asyncio.Future[dict[str, Any]] = loop.create_future()

    def receive(data: dict[str, Any]) -> None:
        if "claim" in data:
            loop.call_soon_threadsafe(_settle, claimed, data)
        elif "done" in data:
            loop.call_soon_threadsafe(_settle, done, data)

    patience = DONE_SECONDS + min(behind / SLOW_LINK, BEHIND_SECONDS) if place.session in known else CLAIM_SECONDS
    with _comm({"session": place.session, "cell_id": place.cell_id}, receive) as comm:
        given_up = asyncio.ensure_future(enough.wait())
        try:
            await asyncio.wait({claimed, given_up}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        finally:
            given_up.cancel()
        if not claimed.done():
            return None
        claim = claimed.result()
        known.add(claim["session"])
        same = untouched(claim["candidates"])
        remove = same if replace else []
        edited = len(claim["candidates"]) - len(same) if replace else 0
        comm.send({"grant": claim["claim"], "cell_id": place.cell_id, "cells": list(cells), "remove": remove})
        await asyncio.wait({done}, timeout=DONE_SECONDS)
        written = done.result() if done.done() else {}
        inserted, kept, locked = (int(written.get(name, 0)) for name in ("inserted", "kept", "locked"))
        sent, date = frozenset(map(str, written.get("sent", ()))), str(written.get("date", ""))
        by_sender, shown = claim["session"] == place.session, bool(written.get("shown"))
        return Written(inserted, kept, sent, date, by_sender, shown, edited, locked, lost=not written)


@contextmanager
def _comm(opening: dict[str, Any], receive: Callable[[dict[str, Any]], object]) -> Generator[Any]:
    """A comm that is open until it is closed here; `receive` is called with what comes, on whatever thread."""
    from comm import create_comm, get_comm_manager

    comm = create_comm(target_name=TARGET, data=opening)

    def stay(_: object) -> None:
        # A front end that does not know the target closes the comm for the page as well.
        get_comm_manager().register_comm(comm)
        comm._closed = False  # pyright: ignore[reportPrivateUsage] - nothing public opens it again

    def hear(message: dict[str, Any]) -> None:
        receive(message["content"]["data"])

    comm.on_msg(hear)
    comm.on_close(stay)
    try:
        yield comm
    finally:
        comm.close()


def _settle(future: asyncio.Future[dict[str, Any]], data: dict[str, Any]) -> None:
    if not future.done():  # the first page that claims is the one
        future.set_result(data)
