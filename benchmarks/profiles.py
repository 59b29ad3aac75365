"""Where the time goes in what the benchmarks measure: the stages of a start, and the functions of a call or a step."""

from __future__ import annotations

import cProfile
import io
import pstats
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from smol_kernel import CodeAgent, KernelExecutor, LogLevel, ScriptedModel
from smol_kernel.events import StepFinished
from smol_kernel.executors import client
from smol_kernel.executors.launchers import box, zygote
from smol_kernel.executors.standby import STANDBY

LINES = 15
"""Functions of a profile that are shown."""


def start_of_a_child(quick: bool) -> str:
    """The milliseconds after which each stage of a forked child's start was over, as its host sees it: of one that was
    forked ahead, and of one that was not."""
    zygote.expect()
    first = KernelExecutor()
    first("pass")
    first.cleanup()
    zygote.wait(60)
    count = 1 if quick else 15
    return "\n\n".join([_starts(count, "forked ahead"), _starts(count, "forked when asked for")])


def _starts(count: int, which: str) -> str:
    runs: list[dict[str, float]] = []
    for _ in range(count):
        zygote.wait_for_spares(60)
        time.sleep(0.3)  # it is booting
        executor, other = KernelExecutor(), KernelExecutor()
        if which != "forked ahead":
            other("pass")
        with _stages() as at:
            begun = time.perf_counter()
            executor("pass")
            at["the first action is done"] = time.perf_counter()
        executor.cleanup()
        other.cleanup()
        runs.append({stage: (when - begun) * 1000 for stage, when in at.items()})
    medians = {stage: statistics.median(run[stage] for run in runs) for stage in runs[-1]}
    lines = [f"| {stage} | {after:.1f} | {after - before:.1f} |" for (stage, after), before in _pairs(medians)]
    return "\n".join([f"| stage of a child {which} | after ms | took ms |", "|---|---|---|", *lines])


def _pairs(medians: dict[str, float]) -> Iterator[tuple[tuple[str, float], float]]:
    return zip(medians.items(), [0.0, *medians.values()], strict=False)


@contextmanager
def _stages() -> Iterator[dict[str, float]]:
    """Note when each stage ends, by name in their order."""
    at: dict[str, float] = {}
    places: list[tuple[Any, str, Any, Callable[[Any], str | None]]] = [
        (box, "view", box.view, lambda _: "what the child may see is known"),
        (zygote, "fork", zygote.fork, lambda _: "a forked process is there"),
        (box, "_receive", box._receive, _told),
        (client.KernelClient, "boot", client.KernelClient.boot, lambda _: "the kernel runs our code"),
    ]

    def noting(work: Callable[..., Any], stage: Callable[[Any], str | None]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = work(*args, **kwargs)
            if name := stage(result):
                at[name] = time.perf_counter()
            return result

        return call

    for owner, name, work, stage in places:
        setattr(owner, name, noting(work, stage))
    try:
        yield at
    finally:
        for owner, name, work, _ in places:
            setattr(owner, name, work)


def _told(message: tuple[dict[str, Any], list[int]]) -> str | None:
    words = message[0]
    return "its box is built" if "ready" in words else None


def processes(quick: bool) -> str:
    """What each process of a box costs, of many started at once: processor time, and memory shared in parts (PSS)."""
    zygote.expect()
    first = KernelExecutor()
    first("pass")
    zygote.wait(60)
    time.sleep(3)  # it imports more while nobody asks
    count = 4 if quick else 30
    host, executors = psutil.Process(), [KernelExecutor() for _ in range(count)]
    others = {each.pid: _ran(each) for each in host.children()}
    begun = time.process_time()
    threads = [threading.Thread(target=executor, args=["pass"]) for executor in executors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent = {"the host": [1000 * (time.process_time() - begun)]}
    held: dict[str, list[float]] = {}
    for executor in executors:
        outside = psutil.Process(_pid(executor))
        (inside,) = outside.children()
        (kernel,) = inside.children()
        named = {"outside the box": outside, "first in the box": inside, "the kernel": kernel}
        for name, process in named.items():
            spent.setdefault(name, []).append(_ran(process))
            held.setdefault(name, []).append(process.memory_full_info().pss / 1e6)
    spent["the zygote"] = [_ran(each) - others[each.pid] for each in host.children() if each.pid in others]
    for executor in (first, *executors):
        executor.cleanup()
    lines = [f"| {name} | {sum(spent[name]) / count:.1f} | {_mean(held.get(name))} |" for name in spent]
    return "\n".join(["| process | processor time, ms a child | MB a child |", "|---|---|---|", *lines])


def _ran(process: psutil.Process) -> float:
    """The milliseconds of processor time that its threads have had, see proc_pid_schedstat in the kernel's docs."""
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6


def _pid(executor: KernelExecutor) -> int:
    running: Any = executor._client
    return running.child.pid


def _mean(numbers: list[float] | None) -> str:
    return f"{statistics.mean(numbers):.1f}" if numbers else ""


def one_that_waited(_quick: bool) -> str:
    """The functions of the host that take most of the time in which it is handed over and does its first action."""
    STANDBY.keep(1)
    try:
        first, second = KernelExecutor(), KernelExecutor()
        first("pass")
        STANDBY.waiting(60)
        shown = _functions(lambda: second("pass"))
        first.cleanup()
        second.cleanup()
        return shown
    finally:
        STANDBY.keep(0)
        STANDBY.close()


def calls_of_tools(quick: bool) -> str:
    """The functions of the host that take most of the time of 500 tool calls, or 50."""
    from run import TIMED_CALLS, our_child, same

    with our_child(same) as executor:
        return _functions(lambda: executor(TIMED_CALLS.format(count=50 if quick else 500, call="same(1)")))


def steps(quick: bool) -> str:
    """The functions of the host that take most of the time of 200 steps, or 20."""
    from scripted import code

    replies = [code(f"x = {number}\nprint(x)") for number in range(20 if quick else 200)] + [code("final_answer(x)")]
    model = ScriptedModel(replies)
    with CodeAgent(tools=[], model=model, max_steps=201, verbosity_level=LogLevel.OFF) as agent:
        return _functions(lambda: agent.run("Go."))


def late_steps(quick: bool) -> str:
    """What grows with the number of steps: the functions of the host that take longer in the last 50 of 200, or 5 of
    20."""
    from scripted import code

    count, few = (20, 5) if quick else (200, 50)
    replies = [code(f"x = {number}\nprint(x)") for number in range(count)] + [code("final_answer(x)")]
    profiles = {step: cProfile.Profile() for step in (5, count - few)}
    with CodeAgent(tools=[], model=ScriptedModel(replies), max_steps=count + 1, verbosity_level=LogLevel.OFF) as agent:
        profile = None
        for event in agent.events("Go."):
            if isinstance(event, StepFinished) and profile and event.step in (5 + few, count):
                profile.disable()
            if isinstance(event, StepFinished) and event.step in profiles:
                profile = profiles[event.step]
                profile.enable()
    early, late = ({key: row[2] for key, row in _rows(profile).items()} for profile in profiles.values())
    grown = sorted(((late[key] - early.get(key, 0.0), key) for key in late), reverse=True)[:6]
    lines = [f"| {name} | {more / few * 1000:+.2f} |" for more, (_, _, name) in grown]
    return "\n".join(["| function of the host, by its own time | ms of a step, late less early |", "|---|---|", *lines])


def _rows(profile: cProfile.Profile) -> dict[tuple[str, int, str], tuple[int, int, float, float, Any]]:
    return vars(pstats.Stats(profile))["stats"]


def computation(_quick: bool) -> str:
    """How long Python itself takes for it, without a notebook or an agent."""
    from side_by_side import ADDITIONS

    text = compile(ADDITIONS.format(count=200_000), "<additions>", "exec")
    times: list[float] = []
    for _ in range(5):
        begun = time.perf_counter()
        exec(text, {})
        times.append((time.perf_counter() - begun) * 1000)
    return f"Python's own exec() of 200,000 additions takes {statistics.median(times):.1f} ms in this process."


def _functions(work: Callable[[], object]) -> str:
    profile = cProfile.Profile()
    profile.runcall(work)
    text = io.StringIO()
    stats = pstats.Stats(profile, stream=text).strip_dirs().sort_stats("tottime")
    stats.print_stats(LINES)
    return "\n".join(f"    {line}" for line in text.getvalue().strip().splitlines() if line.strip())
