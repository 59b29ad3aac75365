"""Prints whether the host keeps up with long runs, floods of output and many agents: `python benchmarks/host.py`.

What can be compared is, in the same run, with stock Jupyter or smolagents. Only the ratios travel; nothing is asserted.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import crowd
import profiles
from libraries import OURS, THEIRS
from libraries import run as run_apart
from rows import Row, show
from run import milliseconds, stock_kernel
from scripted import code
from side_by_side import computing, computing_little, sieving
from sizes import host_memory

from smol_kernel import CodeAgent, LogLevel, ScriptedModel
from smol_kernel.events import ActionFinished, Event, StepFinished, StepStarted
from smol_kernel.render.transcript import Transcript
from smol_kernel.runs.script import script_cells
from smol_magic.view import LiveView

FEW = 50
"""Steps at either end of a long run that are compared."""
TIMES = 3
"""Runs of them."""


def events_of(actions: list[str], folder: Path, model: ScriptedModel | None = None) -> Iterator[Event]:
    """The events of an agent that plays these actions, recorded in a journal of its own."""
    model = model or ScriptedModel([code(each) for each in actions])
    quiet: Any = {"verbosity_level": LogLevel.OFF, "journal": folder / "journal.sqlite"}
    with CodeAgent(tools=[], model=model, max_steps=len(actions), **quiet) as agent:
        yield from agent.events("Go.")


def long_run(count: int, folder: Path) -> Iterator[Row]:
    """A run of so many steps, a few times over."""
    few = min(FEW, count // 2)
    runs = [_steps_of(count, folder, few) for _ in range(TIMES)]
    every, ends = [step for run in runs for step in run], f"the last {few} of {count}, against the first {few}"
    late, early = [step for run in runs for step in run[-few:]], [step for run in runs for step in run[:few]]
    method = f"step less the child's own time, journal on, mean of {count} steps, {TIMES} times over"
    yield Row("engine's own time of a step", _mean("own", every), None, method, 2, profiles.steps)
    fastest = [min(step.own for step in same) for same in zip(*runs, strict=True)]
    method = f"{ends}; of each the fastest of {TIMES} runs, as one in the way of others says nothing of it"
    ours = statistics.mean(fastest[-few:]), statistics.mean(fastest[:few])
    yield Row("the same late in a run, and early", *ours, method, 1.1, profiles.late_steps)
    yield Row(
        "its p95 late, and early", p95([s.own for s in late]), p95([s.own for s in early]), f"{ends}, of all runs"
    )
    method = f"processor time of the host; {ends}"
    yield Row("host's work of a step, mean", _mean("processor", late), _mean("processor", early), method)
    method = f"from StepStarted to StepFinished; {ends}"
    yield Row("whole step, mean", _mean("whole", late), _mean("whole", early), method)
    memory = runs[0][count - 2].memory, runs[0][few - 2].memory
    yield Row("host's memory in MB (USS)", *memory, f"after step {count}, against step {few}, of the first run")


@dataclass
class Step:
    """Milliseconds that a step took: `whole`, without the child's `own`, and of the host's `processor`; the host's
    `memory` in MB after it, where that was looked at."""

    whole: float
    own: float
    processor: float
    memory: float


def _mean(name: str, steps: list[Step]) -> float:
    return statistics.mean(getattr(step, name) for step in steps)


def _steps_of(count: int, folder: Path, few: int) -> list[Step]:
    """All steps of a run but the first, which starts the child."""
    actions = [f"x = {number}\nprint(x)" for number in range(count)] + ["final_answer(x)"]
    steps: list[Step] = []
    begun = worked = childs = 0.0
    for event in events_of(actions, folder):
        if isinstance(event, StepStarted):
            begun, worked, childs = time.perf_counter(), time.process_time(), 0.0
        elif isinstance(event, ActionFinished):
            childs = event.seconds * 1000
        elif isinstance(event, StepFinished) and event.step > 1:
            whole, processor = (time.perf_counter() - begun) * 1000, (time.process_time() - worked) * 1000
            memory = host_memory() if event.step in (few, count) else 0.0
            steps.append(Step(whole, whole - childs, processor, memory))
    return steps


def finished_work(count: int, folder: Path) -> Iterator[Row]:
    """Of a run in which every third action fails."""
    actions = [f"x = [{number}]\nprint(x, 1 / ({number} % 3))" for number in range(count - 1)] + ["final_answer(x)"]
    times: list[float] = []
    for few in (count, count // 4):
        transcript = Transcript.from_events(events_of(actions[-few:], folder))
        begun = time.process_time()
        script_cells(transcript)
        times.append((time.process_time() - begun) * 1000)
    method = f"processor time of script_cells, every third step failed; against {count // 4} steps"
    yield Row(f"finished work of {count} steps", *times, method)


def flood(count: int, folder: Path) -> Iterator[Row]:
    texts = {
        "printed line by line": f"for number in range({count}): print('line', number)",
        "printed as one text": f"print('\\n'.join(f'line {{number}}' for number in range({count})))",
    }
    with stock_kernel() as client:
        client.execute_interactive("x = 1", output_hook=lambda message: None)
        for what, text in texts.items():
            gaps: list[float] = []
            ours = milliseconds(partial(watch, text, folder, gaps))
            theirs = stock_gaps(client, text)
            method = "run with journal and live view, from the action to its end, against execute_interactive"
            yield Row(f"{count:,} lines {what}", sum(gaps), sum(theirs), method)
            method = "between two events, while the view's thread draws, against two messages"
            yield Row(f"{what}: longest silence", max(gaps), max(theirs), method)
            yield Row(f"{what}: the whole run", ours, None, "with the start of its child, and folding the view")


def watch(text: str, folder: Path, gaps: list[float]) -> None:
    """Run the action with a view that draws it as in a notebook; `gaps` gets the milliseconds between its events."""
    transcript = Transcript()
    with contextlib.redirect_stdout(io.StringIO()):  # where there is no page, IPython prints what it displays
        view = LiveView(transcript, lambda: None)
        view.show("Go.", "run", buttons=False)
        at: list[float] = []
        for event in events_of(["x = 1", text, "final_answer(1)"], folder):
            view.feed(event)
            if event.step == 2:
                at.append(time.perf_counter())
        view.fold(None)
    gaps += [(after - before) * 1000 for before, after in pairwise(at)]


def stock_gaps(client: Any, text: str) -> list[float]:
    """The milliseconds between what a stock kernel sends while it runs the same, and to its reply."""
    at = [time.perf_counter()]
    client.execute_interactive(text, output_hook=lambda message: at.append(time.perf_counter()))
    return [(after - before) * 1000 for before, after in pairwise([*at, time.perf_counter()])]


def many_agents(python: str | None, quick: bool, file: Path | None) -> Iterator[Row]:
    functions = [crowd.small_crowd] if quick else [crowd.crowd_of_small_actions, crowd.crowd_of_large_actions]
    ours = run_apart(sys.executable, OURS, functions, seconds=300)
    theirs = run_apart(python, THEIRS, functions, seconds=300) if python else {}
    for function in functions:
        here, there = (results.get(function.__name__) for results in (ours, theirs))
        what = (function.__doc__ or "").partition(".")[0]
        for name, method, number in CROWD:
            yield Row(f"{what}: {name}", number(here), number(there) if there else None, method)
    if file:
        plot(ours, theirs, file)


CROWD: tuple[tuple[str, str, Callable[[Any], float]], ...] = (
    ("all have answered", f"{crowd.STEPS} steps each, started together in threads", lambda it: it["seconds"] * 1000),
    ("until the first action was done, p95", "with the start of its child", lambda it: p95(it["first"]) * 1000),
    ("a further step, p95", "from one request to the next", lambda it: p95(it["further"]) * 1000),
    ("memory in MB (PSS)", "of the host and all its children", lambda it: it["memory"]),
    ("memory in MB (PSS) before", "of the host, after a run of one agent", lambda it: it["before"]),
)


def computation(python: str | None, quick: bool) -> Iterator[Row]:
    functions = [computing_little] if quick else [computing, sieving]
    ours = run_apart(sys.executable, OURS, functions)
    theirs = run_apart(python, THEIRS, functions) if python else {}
    for function in functions:
        name = function.__name__
        what = (function.__doc__ or "").removeprefix("Milliseconds of ").partition(", by")[0]
        method = "executor(code) against smolagents' interpreter, median of 3"
        yield Row(what, ours[name], theirs.get(name), method, 1 / 50 if theirs else None, profiles.computation)


def plot(ours: dict[str, Any], theirs: dict[str, Any], file: Path) -> None:
    """Draw how long the steps of many agents took, and the memory they needed."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(ours), 2, figsize=(8, 3 * len(ours)), squeeze=False)
    for row, function in enumerate(ours):
        results = {name: them[function] for name, them in (("here", ours), (THEIRS, theirs)) if function in them}
        for name, it in results.items():
            steps = sorted(it["first"] + it["further"])
            axes[row][0].plot([100 * (place + 1) / len(steps) for place in range(len(steps))], steps, label=name)
        axes[row][0].set(title=function.replace("_", " "), xlabel="% of the steps", ylabel="at most seconds", ylim=0)
        axes[row][0].legend()
        axes[row][1].bar([*results], [it["memory"] for it in results.values()])
        axes[row][1].set(title="host and children", ylabel="MB (PSS)")
    figure.tight_layout()
    figure.savefig(file, dpi=70)


def p95(numbers: list[float]) -> float:
    return sorted(numbers)[int(0.95 * (len(numbers) - 1))]


def add_smolagents(parser: argparse.ArgumentParser) -> None:
    """The option that says where smolagents is."""
    parser.add_argument(
        "--smolagents",
        metavar="PYTHON",
        default=sys.executable if importlib.util.find_spec(THEIRS) else None,
        help="an interpreter that has smolagents 1.26; without it, and if this one has it not, it is left out",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repetitions: shows that it works, not how fast it is")
    add_smolagents(parser)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="where to draw the many agents, as PNG")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        show(rows(options.quick, options.smolagents, Path(folder), options.plot), options.quick)


def rows(quick: bool, python: str | None, folder: Path, file: Path | None) -> Iterator[Row]:
    """All of it, as it is measured."""
    yield from long_run(10 if quick else 200, folder)
    yield from finished_work(12 if quick else 400, folder)
    yield from flood(1_000 if quick else 100_000, folder)
    yield from many_agents(python, quick, file)
    yield from computation(python, quick)


if __name__ == "__main__":
    main()
