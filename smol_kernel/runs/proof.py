"""What was shown of a run's finished work, and the line that tells it. Made by `prove`, written by the fronts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from smol_kernel.render.markdown import safe_markdown
from smol_kernel.render.transcript import Transcript
from smol_kernel.runs.script import ScriptCell
from smol_kernel.runs.written import How

State = Literal["proved", "whole", "not reproduced", "not proved"]

_SHOWED: dict[How, str] = {
    "": "gave the same answer",
    "unread": "gave the same answer, which the model wrote itself",
    "typed": "gave the same answer from what the model typed in, and showed what it had read",
    "words": "showed what the model had read; the model wrote the answer itself",
}


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
    unshown: str = ""
    """Which numbers that the model wrote had been shown nowhere, as `written.unshown` has it."""
    besides: str = ""
    written: How = ""
    """How far the model wrote the answer down itself; see `written.Written`."""
    transcript: Transcript | None = None
    """What the cells are of, where they begin with what earlier runs of the conversation had made."""
    made: str = ""
    """What came out the same beside such an answer: "files", "pictures", or both."""

    @property
    def proved(self) -> bool:
        """Whether the cells were shown to give the answer again."""
        return self.state in ("proved", "whole")

    @property
    def word(self) -> str:
        """The proof in a word: what is only written down cannot be proved, but what the model had read was shown
        again. Files and pictures that come with it may be the work."""
        is_written = self.written == "words" and (not self.made or self.unshown)
        return ("shown again" if is_written else "proved") if self.proved else self.state

    @property
    def line(self) -> str:
        """The proof in one line."""
        if not self.proved:
            return f"{self.word.capitalize()}: {self.reason}."
        made = f"made the same {self.made} and " if self.made and self.written == "words" else ""
        said = f"{made}{_SHOWED[self.written]}{self.unshown}{self.besides}"
        return f"{self.word.capitalize()}: run in a fresh kernel, these cells {said}."

    @property
    def marks(self) -> dict[str, str]:
        """The proof in the metadata of cells and notebooks."""
        return {"state": self.state, "digest": self.digest} | ({"written": self.written} if self.written else {})

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
