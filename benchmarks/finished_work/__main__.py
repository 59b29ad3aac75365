"""Prints what is left of each run of the corpus, and whether that is proved: `python -m benchmarks.finished_work`.

Fails unless at least 95 % of the runs that can give their answer again are proved, none is called proved whose cells
do not give it in plain IPython, none of those that cannot is called proved, and half of them keep at most 40 % of
their lines. `--sample N` takes every so many-th run, `--save` writes the table to `table.md` beside this file.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.finished_work.corpus import HERE, Run, Script, carry_out, furnish, scripts
from benchmarks.finished_work.independent import gives
from smol_kernel.agents.managed_agent import functions
from smol_kernel.events import ActionProposed, ToolCalled, ToolReturned
from smol_kernel.executors.values import decode
from smol_kernel.runs.prove import Prover

LEAST_PROVED = 0.95
MOST_KEPT = 0.40


@dataclass(frozen=True)
class Row:
    """One run of the table."""

    script: Script
    logged: int
    kept: int
    state: str
    reason: str
    wrong: str
    """Why it is proved and should not be; empty if all is well."""
    look: tuple[int, int] = (0, 0)
    """Lines of the action before the last one that were run, and of these the ones that are left."""

    @property
    def share(self) -> float:
        """Of the lines that were run, those that are left."""
        return self.kept / self.logged

    @property
    def share_without_look(self) -> float:
        """The same, as if the action before the last one, a look at the values, had not been."""
        return (self.kept - self.look[1]) / max(1, self.logged - self.look[0])

    def __str__(self) -> str:
        said = self.state + (f": {self.reason}" if self.state.startswith("not") else "")
        said += f" — WRONG: {self.wrong}" if self.wrong else ""
        name = f"{self.script.kind}: {self.script.name}"
        return f"| {name} | {self.logged} | {self.kept} | {self.share:.0%} | {said.replace('|', '/')} |"


def measure(script: Script) -> Row:
    """Run it, prove it, and look whether what is proved is so."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        furnish(folder)
        run = carry_out(script, folder)
        try:
            proof = Prover(run.events, tools=functions(run.agent), made=run.agent.python_executor, cwd=folder).prove()
        finally:
            run.agent.cleanup()
        code = [(cell.step, cell.source) for cell in proof.cells if cell.kind == "code"]
        wrong = gives(code, list(_calls(run)), run.answer, folder) if proof.proved else ""
    actions = [event for event in run.events if isinstance(event, ActionProposed)]
    logged = sum(_lines(event.code) for event in actions)
    looks = [event for event in actions[-2:-1] if script.kind != "unrepeatable"]
    look = sum(_lines(event.code) for event in looks)
    left = sum(_lines(source) for step, source in code if step in [event.step for event in looks])
    kept = sum(_lines(source) for _, source in code)
    return Row(script, logged, kept, proof.state, proof.reason, wrong, (look, left))


def _calls(run: Run) -> Iterator[tuple[int, str, Any, Any]]:
    returned = {event.call: event for event in run.events if isinstance(event, ToolReturned)}
    for event in run.events:
        if isinstance(event, ToolCalled):
            result = returned[event.call]
            value = decode(result.value) if result.ok else LookupError(result.error)
            yield event.step, event.tool, [decode(event.args), decode(event.kwargs)], value


def _lines(code: str) -> int:
    return sum(bool(line.strip()) for line in code.splitlines())


def failures(rows: Sequence[Row]) -> list[str]:
    """What does not hold of these rows, a sentence each."""
    found = [f"{row.script.name}: called {row.state}, but {row.wrong}" for row in rows if row.wrong]
    can = [row for row in rows if row.script.kind != "unrepeatable"]
    cannot = [row for row in rows if row.script.kind == "unrepeatable"]
    found += [f"{row.script.name}: {row.state}, and it cannot be" for row in cannot if row.state != "not reproduced"]
    proved = sum(row.state in ("proved", "whole") for row in can)
    if proved < LEAST_PROVED * len(can):
        found.append(f"only {proved} of {len(can)} are proved")
    if can and (middle := statistics.median(row.share for row in can)) > MOST_KEPT:
        found.append(f"the median keeps {middle:.0%} of the lines")
    return found


def table(rows: Sequence[Row]) -> str:
    """The rows and what they come to, as Markdown."""
    can = [row for row in rows if row.script.kind != "unrepeatable"]
    count = {state: sum(row.state == state for row in can) for state in ("proved", "whole")}
    cannot = len(rows) - len(can)
    lines = ["| run | lines run | lines kept | kept | finished work |", "|---|---:|---:|---:|---|", *map(str, rows), ""]
    lines.append(
        f"Of {len(can)} runs that can give their answer again {sum(count.values())} are proved "
        f"({sum(count.values()) / max(1, len(can)):.0%}), {count['whole']} of them as the whole script; "
        f"the median keeps {statistics.median(row.share for row in can):.0%} of the lines, and would keep "
        f"{statistics.median(row.share_without_look for row in can):.0%} without the longer look that each run takes "
        "before its last action. "
        f"{cannot} more cannot, by the clock, by chance or by what failed half-way: they do not count here, and "
        f"{sum(row.state == 'not reproduced' for row in rows if row not in can)} of them are told as not reproduced. "
        f"Called proved, and not so in plain IPython: {sum(bool(row.wrong) for row in rows)}."
    )
    return "\n".join(lines)


def main() -> int:
    """Print the table; 1 if something does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.finished_work", description=__doc__)
    parser.add_argument("--sample", type=int, metavar="N", help="so many of the runs")
    parser.add_argument("--only", metavar="WORD", help="runs with this word in their names")
    parser.add_argument("--save", action="store_true", help="write the table to table.md")
    options = parser.parse_args()
    chosen = [script for script in scripts() if not options.only or options.only in script.name]
    if options.sample:
        chosen = chosen[:: max(1, len(chosen) // options.sample)][: options.sample]
    rows: list[Row] = []
    for script in chosen:
        rows.append(measure(script))
        print(rows[-1], flush=True)
    text = table(rows)
    print(text.rpartition("\n")[2])
    if options.save:
        (HERE / "table.md").write_text(
            f"# Finished work\n\nBy `python -m benchmarks.finished_work --save`.\n\n{text}\n"
        )
    wrong = failures(rows)
    for sentence in wrong:
        print(f"DOES NOT HOLD: {sentence}", file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
