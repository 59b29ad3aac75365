"""Turns `%%agent` and `%%py` cells into an await, so that the kernel stays awake for buttons while they run.

An IPython input transformer, registered by `magics`. Where awaiting is impossible it calls the ordinary cell magic.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from IPython.core.inputtransformer2 import classic_prompt

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_CELL = re.compile(r"%%(agent|py)(?=\s|$)(.*)", re.DOTALL)
_COMMAND = re.compile(r"%agent\s+((?:resume|fork)(?=\s|$).*)")
"""A command that runs an agent, as the one line of its cell."""


class AwaitRewriting:
    """The transformer of one shell: lines of a cell in, lines of a cell out."""

    has_side_effects = True
    """Or terminal IPython, which tries transformers while a cell is typed, would run it after its first line."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._depth = 0  # of cells being executed; more than none: code runs this one
        shell.events.register("pre_run_cell", self._enter)
        shell.events.register("post_run_cell", self._leave)
        cleanup = shell.input_transformers_cleanup
        # Before IPython takes prompts (`>>> `) out of a task, and again, as the cell may have been pasted with one.
        cleanup.insert(cleanup.index(classic_prompt) if classic_prompt in cleanup else 0, self)
        cleanup.append(self)

    def remove(self) -> None:
        """Undo the registrations."""
        while self in self._shell.input_transformers_cleanup:
            self._shell.input_transformers_cleanup.remove(self)
        self._shell.events.unregister("pre_run_cell", self._enter)
        self._shell.events.unregister("post_run_cell", self._leave)

    def __call__(self, lines: list[str]) -> list[str]:
        """Rewrite one of our cells; comments and blank lines may stand before its first line."""
        if self._depth == 0 and self._was_taken_away():
            return ["pass\n"]
        start = 0
        while start < len(lines) and (not lines[start].strip() or lines[start].lstrip().startswith("#")):
            start += 1
        match = _CELL.match(lines[start]) if start < len(lines) else None
        if match is None:
            return self._command(lines, start)
        name, line = match[1], match[2].strip()
        body = "".join(lines[start + 1 :])
        if not self._can_await():
            return [*lines[:start], f"get_ipython().run_cell_magic({name!r}, {line!r}, {body!r})\n"]
        call = f"get_ipython().find_cell_magic({name!r}).__self__.run_{name}({line!r}, {body!r})"
        return [*lines[:start], f"await {call}\n"]

    def _command(self, lines: list[str], start: int) -> list[str]:
        """The lines with a command that stands alone rewritten."""
        match = _COMMAND.match(lines[start]) if start < len(lines) else None
        if match is None or any(map(str.strip, lines[start + 1 :])) or not self._can_await():
            return lines
        call = f"get_ipython().find_line_magic('agent').__self__.run_command({match[1].strip()!r})"
        return [*lines[:start], f"await {call}\n"]

    def _was_taken_away(self) -> bool:
        """Whether the cell has gone from the notebook since it was sent to run; one that is back runs as ever."""
        taken = getattr(getattr(self._shell, "smol_session", None), "taken_away", None)
        if not taken:
            return False
        from smol_magic.place import Place

        place = Place.of(self._shell)
        gone, sent = _time(taken.get(place.cell_id or "")), _time(place.date)
        return gone is not None and sent is not None and sent <= gone

    def _can_await(self) -> bool:
        shell: Any = self._shell
        return bool(shell.autoawait and self._depth == 0 and shell.loop_runner is shell.loop_runner_map["asyncio"][0])

    def _enter(self, *_: object) -> None:
        self._depth += 1
        if session := getattr(self._shell, "smol_session", None):
            session.note_cell()
            if self._depth == 1:
                session.offered.clear()

    def _leave(self, *_: object) -> None:
        self._depth = max(0, self._depth - 1)  # the cell that loads us has been entered before


def _time(date: Any) -> datetime | None:
    """A date of the page's clock, read already or as it comes; None for what is none, or tells no zone."""
    try:
        read = date if isinstance(date, datetime) else datetime.fromisoformat(str(date).replace("Z", "+00:00"))
    except ValueError:
        return None
    return read if read.tzinfo else None
