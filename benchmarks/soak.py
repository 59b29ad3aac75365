"""Watches for leaks, over thousands of actions in a child, of children, and of agents: `python benchmarks/soak.py`.

Exits with 1 if a count grew at all, or memory by more than its bound.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from scripted import code
from sizes import children_memory, counts, host_memory

from smol_kernel import CodeAgent, CodeOutput, KernelExecutor, LogLevel, PythonExecutor, ScriptedModel, tool
from smol_kernel.events import ActionFinished
from smol_kernel.executors.launchers import zygote

SAMPLES = 100
JUDGED = 20
"""Samples below which nothing is said to grow."""
WARM_UP = 20
"""Actions or cycles at most before the first sample: the first plot imports a library, the third child has a zygote."""
BOUNDS = {
    "actions": {"host memory": 1.0, "children's memory": 8.0},
    "cycles": {"host memory": 2.0, "children's memory": 4.0},
    "runs": {"host memory": 2.0, "children's memory": 0.0},
}
"""Kilobytes that memory may grow with each action or cycle: the slope over the second half."""
PLAIN = "rows = [n * n for n in range(1_000)]\nprint(sum(rows))\nlen(rows)"
CALL = "total = sum(double(n) for n in range(5))\nassert total == 20\nprint(total)"
FAULT = "def below(n):\n    return 1 / n\n\nbelow(0)"
PLOT = (
    "import matplotlib.pyplot as plt\nfigure, axes = plt.subplots(figsize=(3, 2))\naxes.plot(range(50))\n"
    "plt.show()\nplt.close(figure)"
)
ENDLESS = "stop_soon()\nwhile True:\n    pass"
KINDS = {PLAIN: (50, "ok"), CALL: (25, "ok"), FAULT: (15, "error"), PLOT: (5, "ok"), ENDLESS: (5, "interrupted")}
"""Code → how many of a hundred, and how it ends."""


@tool
def double(value: int) -> int:
    """Twice a number.

    Args:
        value: Any number.
    """
    return 2 * value


@dataclass
class Soak:
    """What was measured of one kind of work; `samples` has for each name the numbers in their order."""

    unit: str
    folder: Path
    at: list[int] = field(default_factory=list)
    samples: dict[str, list[float]] = field(default_factory=dict)

    def sample(self, at: int, children: float) -> None:
        """Measure now, after `at` actions or cycles; `children` is their memory."""
        self.at.append(at)
        there = counts(self.folder)  # before the garbage is collected: it shall not hold what can run out
        numbers = {"host memory": host_memory(), "children's memory": children, **there}
        for name, number in numbers.items():
            self.samples.setdefault(name, []).append(number)

    @property
    def judged(self) -> bool:
        """Whether there are enough samples to tell growth from chance."""
        return len(self.at) >= JUDGED

    def rows(self) -> Iterator[tuple[str, float, float, str, bool]]:
        """A name, the first and the last tenth, by how much it grew and may grow, and whether that is too much."""
        tenth, half = max(1, len(self.at) // 10), max(0, len(self.at) // 2 - 1)
        for name, numbers in self.samples.items():
            first, last = numbers[:tenth], numbers[-tenth:]
            if name in BOUNDS[self.unit]:
                bound = BOUNDS[self.unit][name]
                slope = 1000 * _slope(self.at[half:], numbers[half:])
                growth = f"{slope:+.2f} kB each, at most {bound:g}"
                yield (
                    f"{name}, MB",
                    statistics.mean(first),
                    statistics.mean(last),
                    growth,
                    self.judged and slope > bound,
                )
            else:
                before, after = map(statistics.median_low, (first, last))  # what is about to begin or end is no leak
                yield name, before, after, f"{after - before:+g}, at most 0", self.judged and after > before


def _slope(at: list[int], numbers: list[float]) -> float:
    """The median of the slopes between any two, after Theil and Sen: a child that begins or ends while it is measured
    does not tilt it."""
    pairs = itertools.combinations(zip(at, numbers, strict=True), 2)
    return statistics.median([(later - number) / (then - when) for (when, number), (then, later) in pairs] or [0.0])


def actions(count: int, chance: random.Random, soak: Soak) -> None:
    """Run `count` actions of all kinds in one child."""
    executor = KernelExecutor(timeout_seconds=60)

    @tool
    def stop_soon() -> None:
        """Stop the action that calls."""
        executor.interrupt()

    executor.send_tools({each.name: each for each in (double, stop_soon)})
    weights = [weight for weight, _ in KINDS.values()]
    try:
        warm_up = [*KINDS, *chance.choices(list(KINDS), weights, k=min(WARM_UP, count))]
        work = [*warm_up, *chance.choices(list(KINDS), weights, k=count)]
        for number, text in enumerate(work, -len(warm_up)):
            ended = [event.status for event in executor.run(text) if isinstance(event, ActionFinished)]
            executor.clear_interrupt()
            if ended != [KINDS[text][1]]:
                raise SystemExit(f"the action {text!r} ended as {ended}")
            if number >= 0 and number % max(1, count // SAMPLES) == 0:
                soak.sample(number, children_memory())
    finally:
        executor.cleanup()


def cycles(count: int, chance: random.Random, soak: Soak) -> None:
    """Start a boxed child, run an action in it and end it, `count` times."""
    plain = [text for text, (_, status) in KINDS.items() if status == "ok" and text != PLOT]
    for number in range(-min(WARM_UP, count), count):
        executor = KernelExecutor()
        executor.send_tools({"double": double})
        executor(chance.choice(plain))
        due = number >= 0 and number % max(1, count // SAMPLES) == 0
        if due:
            zygote.wait_for_spares(60)  # the one that is forked ahead is there in each sample
        children = children_memory() if due else 0.0
        executor.cleanup()
        if due:
            soak.sample(number, children)


class Nothing(PythonExecutor):
    """Runs nothing: of the runs all is measured but the child."""

    def send_tools(self, tools: object) -> None:
        """They are not needed."""

    def send_variables(self, variables: object) -> None:
        """They are not needed."""

    def __call__(self, code_action: str) -> CodeOutput:
        return CodeOutput(1, "", is_final_answer="final_answer" in code_action)


def runs(count: int, chance: random.Random, soak: Soak) -> None:
    """Make an agent, have it do a run that is recorded, and let it go, `count` times; some in a thread of their own."""
    replies = [code("x = 1"), code("final_answer(1)")]

    def run() -> None:
        CodeAgent(tools=[], model=ScriptedModel(replies), executor=Nothing(), verbosity_level=LogLevel.OFF).run("Go.")

    for number in range(-min(WARM_UP, count), count):
        if chance.random() < 0.5:
            run()
        else:
            thread = threading.Thread(target=run)
            thread.start()
            thread.join()
        if number >= 0 and number % max(1, count // SAMPLES) == 0:
            soak.sample(number, 0.0)


def plot(soaks: list[Soak], file: Path) -> None:
    """Draw what was measured, each as its own small picture."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    names = list(soaks[0].samples)
    figure, axes = plt.subplots(len(names), len(soaks), figsize=(8, 1.5 * len(names)), sharex="col", squeeze=False)
    for column, soak in enumerate(soaks):
        for row, name in enumerate(names):
            axes[row][column].plot(soak.at, soak.samples[name], linewidth=1)
            axes[row][column].set_ylim(0, 1.2 * max(soak.samples[name]) or 1)
            axes[row][column].set_title(name + (", MB" if "memory" in name else ""), fontsize=8)
            axes[row][column].tick_params(labelsize=7)
        axes[-1][column].set_xlabel(soak.unit, fontsize=8)
    figure.tight_layout()
    figure.savefig(file, dpi=70)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--actions", type=int, default=10_000, metavar="N", help="actions in one child")
    parser.add_argument("--cycles", type=int, default=2_000, metavar="N", help="children that begin and end")
    parser.add_argument("--runs", type=int, default=2_000, metavar="N", help="agents that are run once and let go")
    parser.add_argument("--seed", type=int, default=None, metavar="N", help="of the order of the actions")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="where to draw what was measured, as PNG")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}; --seed {seed}\n")
    print("| what | first tenth | last tenth | growth | |\n|---|---|---|---|---|")
    soaks: list[Soak] = []
    grown: list[str] = []
    work: list[tuple[Callable[[int, random.Random, Soak], None], int]]
    work = [(actions, options.actions), (cycles, options.cycles), (runs, options.runs)]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as journal:
        tempfile.tempdir = os.environ["TMPDIR"] = folder
        os.environ["SMOL_JOURNAL"] = str(Path(journal) / "journal.sqlite")
        for do, count in work:
            if not count:
                continue
            zygote.wait_for_spares(60)  # the child that is forked ahead is there from the first sample on
            soaks.append(Soak(do.__name__, Path(folder)))
            begun = time.monotonic()
            do(count, random.Random(seed), soaks[-1])
            if not soaks[-1].judged:
                print(f"| {count} {do.__name__}: too few to judge | | | | |")
            for what, first, last, growth, too_much in soaks[-1].rows():
                print(f"| {count} {do.__name__}: {what} | {first:.5g} | {last:.5g} | {growth} | {'GROWS' * too_much} |")
                grown += [f"{do.__name__}: {what}"] * too_much
            print(f"| {count} {do.__name__}: seconds | | {time.monotonic() - begun:.1f} | | |", flush=True)
    if options.plot and soaks:
        plot(soaks, options.plot)
    if grown:
        sys.exit(f"grows without bound: {', '.join(grown)}")


if __name__ == "__main__":
    main()
