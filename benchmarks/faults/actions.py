"""Faults in how an action runs: names, language, time limits, variables, what is seen of it.

Each function returns whether the fault shows (`fault`) and what was seen (`seen`).
"""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import Any

from scripted import actions, code, prepared, quiet, text_of

LANGUAGE = {
    "decorator": "def twice(f):\n    return lambda: f() * 2\n@twice\ndef g():\n    return 1\nfinal_answer(g() == 2)",
    "property": "class A:\n    @property\n    def x(self):\n        return 3\nfinal_answer(A().x == 3)",
    "dataclass": "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\nfinal_answer(P(2).x == 2)",
    "generator": "def g():\n    yield 1\n    yield 2\nh = g()\nfinal_answer((next(h), next(h)) == (1, 2))",
    "match": "match (1, 2):\n    case (a, 2):\n        r = a\nfinal_answer(r == 1)",
    "walrus": "if (n := 4) > 3:\n    pass\nfinal_answer(n == 4)",
    "nonlocal": "def f():\n    n = 0\n    def g():\n        nonlocal n\n        n = 1\n    g()\n    return n\n"
    "final_answer(f())",
    "async": "import asyncio\nasync def f():\n    return 5\nfinal_answer(asyncio.iscoroutinefunction(f))",
    "top-level await": "import asyncio\nawait asyncio.sleep(0)\nfinal_answer(True)",
}


def _agent(lib: Any, *texts: str, **options: Any) -> Any:
    return lib.CodeAgent(
        tools=[],
        model=prepared(lib, *[code(text) for text in texts]),
        **{"max_steps": len(texts), **quiet(lib), **options},
    )


def _first_step(lib: Any, text: str, **options: Any) -> Any:
    agent = _agent(lib, text, "final_answer(0)", **options)
    agent.run("Go.")
    return actions(lib, agent.memory)[0]


def _read(step: Any) -> str:
    """All that the model reads of a step."""
    return "\n".join(text_of(message) for message in step.to_messages())


def mistyped_name(lib: Any) -> Any:
    """a mistyped variable silently resolves to a similar one"""
    step = _first_step(lib, "total_price = 3\nprint(total_prices)")
    return {"fault": step.error is None, "seen": (step.error.message if step.error else step.observations)[-90:]}


def language(lib: Any) -> Any:
    """decorators, `@property`, `@dataclass`, generators, `match`, walrus, `async`, `nonlocal` ignored or refused"""
    broken = []
    for name, text in LANGUAGE.items():
        agent = _agent(lib, text, "final_answer('no')", additional_authorized_imports=["dataclasses", "asyncio"])
        if agent.run("Go.") not in (True, 1):
            broken.append(name)
    return {"fault": bool(broken), "seen": f"broken: {', '.join(broken)}" if broken else "all work"}


def time_limit(lib: Any) -> Any:
    """a 1 s timeout on `sleep(4)` returns after 4 s"""
    options = {"executor_kwargs": {"timeout_seconds": 1}, "additional_authorized_imports": ["time"]}
    agent = _agent(lib, "1", "import time\ntime.sleep(4)", "final_answer(0)", **options)
    took = []
    for event in agent.run("Go.", stream=True):
        if isinstance(event, lib.ActionStep):
            took.append(event.timing.duration)
    return {"fault": took[1] > 3.5, "seen": f"the action ended after {took[1]:.1f} s"}


def frozen_process(lib: Any) -> Any:
    """`10**10**8` freezes the whole process (here 10**(2 * 10**7), which ends)"""
    stop, gaps = threading.Event(), []

    def beat() -> None:
        last = time.monotonic()
        while not stop.wait(0.01):
            now = time.monotonic()
            gaps.append(now - last)
            last = now

    thread = threading.Thread(target=beat)
    thread.start()
    options = {"executor_kwargs": {"timeout_seconds": 1}}
    step = _first_step(lib, "x = 10 ** (2 * 10 ** 7)\ny = 1", **options)
    stop.set()
    thread.join()
    said = f"; the step says: {step.error.message[:60]}" if step.error else ""
    return {"fault": max(gaps) > 1.5, "seen": f"another thread stood still for {max(gaps):.1f} s{said}"}


def reset_keeps_variables(lib: Any) -> Any:
    """`reset=True` keeps the executor's variables from the last run"""
    agent = lib.CodeAgent(
        tools=[],
        model=prepared(lib, code("secret = 1\nfinal_answer(0)"), code("final_answer(secret)"), "none"),
        max_steps=1,
        **quiet(lib),
    )
    agent.run("First.")
    second = agent.run("Second.", reset=True)
    return {"fault": second == 1, "seen": f"the second run answers {second!r}"}


def variables_stay_away(lib: Any) -> Any:
    """the code's variables never come back to `agent.state`"""
    agent = _agent(lib, "found = [1, 2]\nfinal_answer(0)")
    agent.run("Go.")
    try:
        seen = repr(agent.state["found"])
    except KeyError as error:
        seen = f"KeyError: {error}"
    return {"fault": seen != "[1, 2]", "seen": f"agent.state['found']: {seen}"}


def prints_before_an_error(lib: Any) -> Any:
    """prints before an error are lost (here: of the interpreter tool)"""
    tool = lib.PythonInterpreterTool()
    try:
        seen = str(tool("print('half-way')\n1 / 0"))
    except Exception as error:  # noqa: BLE001  what it says is the result
        seen = f"{type(error).__name__}: {error}"
    return {"fault": "half-way" not in seen, "seen": seen[:90]}


def escape_sequences(lib: Any) -> Any:
    """ANSI codes reach the model"""
    seen = _read(_first_step(lib, "print('\\x1b[31mred\\x1b[0m')")).rpartition("Observation")[2]
    return {"fault": "\x1b[31m" in seen, "seen": repr(seen[:60])}


def plots(lib: Any) -> Any:
    """plots are dropped"""
    text = "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.show()"
    step = _first_step(lib, text, additional_authorized_imports=["matplotlib.*"])
    count = len(step.observations_images or [])
    return {
        "fault": count == 0,
        "seen": f"{count} images in the observation" + (f"; {step.error.message[:80]}" if step.error else ""),
    }


def tracebacks(lib: Any) -> Any:
    """error text without traceback"""
    step = _first_step(lib, "def inner(x):\n    return 1 / x\ndef outer():\n    return inner(0)\nouter()")
    seen = step.error.message
    return {"fault": "return 1 / x" not in seen, "seen": seen[:200]}


def connection_of_a_thread(lib: Any) -> Any:
    """a tool runs on another thread than `run()`: an sqlite3 connection of the notebook fails"""
    database = sqlite3.connect(":memory:")

    @lib.tool
    def sql(query: str) -> str:
        """Runs a query.

        Args:
            query: SQL.
        """
        return str(database.execute(query).fetchall())

    agent = lib.CodeAgent(
        tools=[sql], model=prepared(lib, code("final_answer(sql('SELECT 1'))"), "none"), max_steps=1, **quiet(lib)
    )
    answer = agent.run("Go.")
    error = actions(lib, agent.memory)[0].error
    return {"fault": answer != "[(1,)]", "seen": answer if answer == "[(1,)]" else str(error and error.message)[:120]}
