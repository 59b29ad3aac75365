"""What was shown of a run's finished work, and the line that tells it. Made by `prove`, written by the fronts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from smol_kernel.render.markdown import safe_markdown
from smol_kernel.runs.script import ScriptCell

State = Literal["proved", "whole", "not reproduced", "not proved"]


@dataclass(frozen=True)
class Proof:
    """What was shown of the finished work.

    `state`: "proved" (the part that the answer needs gives it again), "whole" (the whole script does; the part did not,
    or none could be told), "not reproduced" (tried, and something else came out; `reason` says what) or "not proved"
    (not tried to its end; `reason` says why). `cells` are those that were proved, else all; `besides` ends the line.
    """

    state: State
    cells: list[ScriptCell]
    reason: str = ""
    """A part of a sentence, empty for what is proved."""
    digest: str = ""
    """Of the cells' sources and the answer; empty where nothing is proved."""
    besides: str = ""

    @property
    def proved(self) -> bool:
        """Whether the cells were shown to give the answer again."""
        return self.state in ("proved", "whole")

    @property
    def line(self) -> str:
        """The proof in one line."""
        if self.proved:
            return f"Proved: run in a fresh kernel, these cells gave the same answer{self.besides}."
        word = "Not reproduced" if self.state == "not reproduced" else "Not proved"
        return f"{word}: {self.reason}."

    def told(self) -> list[ScriptCell]:
        """The cells; the first says in a line what was shown of them."""
        first, *others = self.cells or [ScriptCell("markdown", "", 0)]
        if first.kind != "markdown":
            return self.cells
        return [replace(first, source=f"{first.source}\n\n*{safe_markdown(self.line)}*".strip()), *others]


class NotReproduced(Exception):
    """The cells gave something else; the message says what."""


class CellsFail(NotReproduced):
    """They did not even run to their end."""


class Unknown(Exception):
    """Why it cannot be tried."""
