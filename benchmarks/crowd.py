"""Fifty agents at work in threads of one process, on either library: what `host` has run in a process of its own."""

from __future__ import annotations

import threading
import time
from functools import partial
from itertools import pairwise
from typing import Any

from scripted import code, model_class, quiet
from sizes import whole_memory

STEPS = 5
SMALL = "x = {number}"
LARGE = "total = 0\nfor i in range(20_000):\n    total += i"


def crowd_of_small_actions(lib: Any) -> Any:
    """Fifty agents whose actions are `x = N`."""
    return _crowd(lib, 50, SMALL)


def crowd_of_large_actions(lib: Any) -> Any:
    """Fifty agents whose actions are 20,000 additions each."""
    return _crowd(lib, 50, LARGE)


def small_crowd(lib: Any) -> Any:
    """Three agents, to show that it works."""
    return _crowd(lib, 3, SMALL)


def _crowd(lib: Any, count: int, action: str) -> dict[str, Any]:
    """Seconds until all have answered, of each agent until its first action was done, and of each further step, from
    one request to the next; megabytes of this process before, and with all of them and their children there."""
    lone = _agent(lib, action, [])  # what is imported late is imported now
    lone.run("Go.")
    _end(lone)
    before = whole_memory()
    asked: list[list[float]] = [[] for _ in range(count)]
    agents = [_agent(lib, action, each) for each in asked]
    answers: list[Any] = []
    together = threading.Barrier(count + 1)

    def work(agent: Any) -> None:
        together.wait()
        answers.append(agent.run("Go."))

    threads = [threading.Thread(target=work, args=(agent,)) for agent in agents]
    for thread in threads:
        thread.start()
    together.wait()
    begun = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begun
    memory = whole_memory()
    for agent in agents:
        _end(agent)
    if answers != ["done"] * count:
        raise RuntimeError(f"{count} agents gave these answers: {answers}")
    steps = [[after - earlier for earlier, after in pairwise(each)] for each in asked]
    return {
        "seconds": seconds,
        "first": [each[0] for each in steps],
        "further": [step for each in steps for step in each[1:]],
        "before": before,
        "memory": memory,
    }


def _agent(lib: Any, action: str, asked: list[float]) -> Any:
    def reply(number: int, messages: list) -> str:
        asked.append(time.perf_counter())
        return code(action.format(number=number) if number < STEPS else 'final_answer("done")')

    replies = [partial(reply, number) for number in range(1, STEPS + 1)]
    return lib.CodeAgent(tools=[], model=model_class(lib)(replies), **quiet(lib))


def _end(agent: Any) -> None:
    if hasattr(agent, "cleanup"):
        agent.cleanup()
