"""The runs of the corpus: their actions, the files they find, the tools they call, and how one is run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smol_kernel import CodeAgent, ScriptedModel, tool
from smol_kernel.events import Event
from smol_kernel.memory.monitoring import LogLevel

HERE = Path(__file__).parent
KINDS = ("ordinary", "breaking", "unrepeatable")
STORY = """The quick fox saw a lazy dog.
The dog saw the fox and slept on.
"Lazy," said the fox, "is the dog that sleeps."
So the fox went, and the dog slept.
"""


@dataclass(frozen=True)
class Script:
    """A run of the corpus."""

    kind: str
    name: str
    actions: list[str]


def scripts() -> list[Script]:
    """All runs, as the text files beside this one have them."""
    found: list[Script] = []
    for kind in KINDS:
        for case in (HERE / f"{kind}.txt").read_text(encoding="utf-8").split("\n## ")[1:]:
            name, _, body = case.strip("\n").partition("\n")
            found.append(Script(kind, name, body.split("\n---\n")))
    return found


def furnish(folder: Path) -> None:
    """Put the files that the runs read into `folder`."""
    rows = ["date,region,product,amount"]
    for n in range(120):
        month, day = n // 10 + 1, n % 28 + 1
        amount = 50 + 30 * math.sin(n / 5) + (n % 7) * 3 + (400 if n == 77 else 0)
        rows.append(f"2024-{month:02d}-{day:02d},{('north', 'south', 'west')[n % 3]},{'pqr'[n % 2]},{amount:.2f}")
    (folder / "sales.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "story.txt").write_text(STORY, encoding="utf-8")


def tools() -> list[Any]:
    """Tools of one run: two that know something, one that answers otherwise each time, one that only does something."""
    rolled: list[int] = []

    @tool
    def price(city: str) -> float:
        """What a night costs.

        Args:
            city: Where.
        """
        return {"Bonn": 92.5, "Kiel": 81.0, "Jena": 64.25}[city]

    @tool
    def lookup(question: str) -> str:
        """What an encyclopedia says.

        Args:
            question: What to look up.
        """
        if "Bonn" in question:
            return "About 336000 people."
        raise LookupError(f"nothing is known of {question!r}")

    @tool
    def roll(sides: int) -> int:
        """A die is cast.

        Args:
            sides: How many it has.
        """
        rolled.append(sides)
        return (len(rolled) * 7 + 3) % sides + 1

    @tool
    def note(text: str) -> None:
        """Write something down.

        Args:
            text: What.
        """

    return [price, lookup, roll, note]


@dataclass
class Run:
    """A run that was made: its events, its answer, the agent with its child."""

    events: list[Event]
    answer: Any
    agent: CodeAgent


def carry_out(script: Script, folder: Path) -> Run:
    """Run the script in `folder`."""
    replies = [f"I go on: step {at}.\n<code>\n{action}\n</code>" for at, action in enumerate(script.actions, 1)]
    agent = CodeAgent(
        tools=tools(), model=ScriptedModel(replies), executor_kwargs={"cwd": folder}, journal=False,
        verbosity_level=LogLevel.OFF,
    )  # fmt: skip
    events = list(agent.events(f"work: {script.name}"))
    return Run(events, _answer(events), agent)


def _answer(events: list[Event]) -> Any:
    from smol_kernel.events import FinalAnswer
    from smol_kernel.executors.values import decode

    return next((decode(event.value) for event in reversed(events) if isinstance(event, FinalAnswer)), None)
