"""Where the time goes in what the benchmarks measure: the stages of a start, and the functions of a call or a step."""

from __future__ import annotations

import cProfile
import io
import pstats
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from smol_kernel import CodeAgent, KernelExecutor, LogLevel, ScriptedModel
from smol_kernel.events import StepFinished
from smol_kernel.executors import client
from smol_kernel.executors.launchers import box, zygote

LINES = 15
"""Functions of a profile that are shown."""


def start_of_a_child(count: int = 15) -> str:
    """The milliseconds after which each stage of a forked child's start was over, as its host sees it."""
    zygote.expect()
    first = KernelExecutor()
    first("pass")
    first.cleanup()
    zygote.wait(60)
    runs: list[dict[str, float]] = []
    for _ in range(count):
        executor = KernelExecutor()
        with _stages() as at:
            begun = time.perf_counter()
            executor("pass")
            at["the first action is done"] = time.perf_counter()
        executor.cleanup()
        runs.append({stage: (when - begun) * 1000 for stage, when in at.items()})
    medians = {stage: statistics.median(run[stage] for run in runs) for stage in runs[-1]}
    lines = [f"| {stage} | {after:.1f} | {after - before:.1f} |" for (stage, after), before in _pairs(medians)]
    return "\n".join(["| stage of a forked child | after ms | took ms |", "|---|---|---|", *lines])


def _pairs(medians: dict[str, float]) -> Iterator[tuple[tuple[str, float], float]]:
    return zip(medians.items(), [0.0, *medians.values()], strict=False)


@contextmanager
def _stages() -> Iterator[dict[str, float]]:
    """Note when each stage ends, by name in their order."""
    at: dict[str, float] = {}
    places: list[tuple[Any, str, Any, Callable[[Any], str | None]]] = [
        (box, "view", box.view, lambda _: "what the child may see is known"),
        (zygote, "fork", zygote.fork, lambda _: "the zygote has forked"),
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
    return "its namespaces are made" if "first" in words else "its box is built" if "ready" in words else None


def calls_of_tools() -> str:
    """The functions of the host that take most of the time of 500 tool calls."""
    from run import TIMED_CALLS, our_child, same

    with our_child(same) as executor:
        return _functions(lambda: executor(TIMED_CALLS.format(count=500, call="same(1)")))


def steps() -> str:
    """The functions of the host that take most of the time of 200 steps."""
    from scripted import code

    replies = [code(f"x = {number}\nprint(x)") for number in range(200)] + [code("final_answer(x)")]
    model = ScriptedModel(replies)
    with CodeAgent(tools=[], model=model, max_steps=201, verbosity_level=LogLevel.OFF) as agent:
        return _functions(lambda: agent.run("Go."))


def late_steps() -> str:
    """What grows with the number of steps: the functions of the host that take longer in the last 50 of 200."""
    from scripted import code

    replies = [code(f"x = {number}\nprint(x)") for number in range(200)] + [code("final_answer(x)")]
    profiles = {step: cProfile.Profile() for step in (5, 150)}
    with CodeAgent(tools=[], model=ScriptedModel(replies), max_steps=201, verbosity_level=LogLevel.OFF) as agent:
        profile = None
        for event in agent.events("Go."):
            if isinstance(event, StepFinished) and profile and event.step in (55, 200):
                profile.disable()
            if isinstance(event, StepFinished) and event.step in profiles:
                profile = profiles[event.step]
                profile.enable()
    early, late = ({key: row[2] for key, row in _rows(profile).items()} for profile in profiles.values())
    grown = sorted(((late[key] - early.get(key, 0.0), key) for key in late), reverse=True)[:6]
    lines = [f"| {name} | {more / 50 * 1000:+.2f} |" for more, (_, _, name) in grown]
    return "\n".join(["| function of the host, by its own time | ms of a step, late less early |", "|---|---|", *lines])


def _rows(profile: cProfile.Profile) -> dict[tuple[str, int, str], tuple[int, int, float, float, Any]]:
    return vars(pstats.Stats(profile))["stats"]


def computation() -> str:
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
