"""A line of a benchmark's table, and how the table is printed: with budgets, and a profile of what misses its own."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass
class Row:
    """One line. `ours` and `stock` are in milliseconds if nothing else is said; `stock` is None where there is nothing
    to compare with. `most` is the budget: the largest ratio, or the largest number where there is none. `profile`
    shows where the time goes, of few repetitions if it is given True."""

    what: str
    ours: float
    stock: float | None
    method: str
    most: float | None = None
    profile: Callable[[bool], str] | None = None

    @property
    def ratio(self) -> float | None:
        """Ours to stock."""
        return None if self.stock is None else self.ours / self.stock

    @property
    def missed(self) -> bool:
        """Whether it is above its budget."""
        return self.most is not None and (self.ours if self.ratio is None else self.ratio) > self.most

    def text(self) -> str:
        """The line, as Markdown."""
        stock, ratio = ("", "") if self.ratio is None else (f"{self.stock:.2f}", f"{self.ratio:.3f}")
        budget = "" if self.most is None else f"{self.most:.3g} {'missed' if self.missed else 'met'}"
        return f"| {self.what} | {self.ours:.2f} | {stock} | {ratio} | {budget} | {self.method} |"


def show(rows: Iterable[Row], quick: bool) -> None:
    """Print a table as the rows come, then the profile of each that has missed its budget."""
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}; times in ms, medians\n")
    print("| what | ours | stock | ratio | budget | method |\n|---|---|---|---|---|---|")
    missed: list[Row] = []
    for row in rows:
        print(row.text(), flush=True)
        if row.missed and row.profile and row.profile not in [each.profile for each in missed]:
            missed.append(row)
    for row in missed:
        if row.profile:
            print(f"\n## Where the time goes: {row.what}\n\n{row.profile(quick).rstrip()}", flush=True)
