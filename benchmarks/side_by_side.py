"""Measures smolagents and this engine in one run: `python benchmarks/side_by_side.py --smolagents PYTHON`.

Tokens, time per step, import, memory, a compute-bound action. Only the ratios travel; nothing is asserted.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from libraries import OURS, THEIRS, add_arguments, interpreter_with_smolagents, run
from scripted import code, model_class, prepared, public, quiet

STEPS = (2, 50, 200)
ADDITIONS = "total = 0\nfor i in range({count}):\n    total += i\ntotal"

SIEVE = """
def primes(limit):
    prime = [True] * limit
    count = 0
    for number in range(2, limit):
        if prime[number]:
            count += 1
            multiple = number * number
            while multiple < limit:
                prime[multiple] = False
                multiple += number
    return count
primes(100_000)
"""


def prompts(lib: Any) -> Any:
    """The system prompts, and for structured calls the schema of the tools as well."""
    if lib.__name__ == THEIRS:
        from smolagents.models import get_tool_json_schema as schema
    else:
        schema = lib.get_tool_json_schema

    @lib.tool
    def get_weather(location: str, celsius: bool = False) -> str:
        """Tells the weather at a place.

        Args:
            location: The place, such as "Paris, France".
            celsius: Whether to answer in degrees Celsius.
        """
        return location

    @lib.tool
    def convert(amount: float, currency: str) -> float:
        """Converts an amount of euros to another currency.

        Args:
            amount: How many euros.
            currency: The other currency, by its code of three letters.
        """
        return amount

    tools = [get_weather, convert]
    model = prepared(lib)
    caller = lib.ToolCallingAgent(tools=tools, model=model, **quiet(lib))
    return {
        "CodeAgent, no tools": lib.CodeAgent(tools=[], model=model, **quiet(lib)).system_prompt,
        "CodeAgent, two tools": lib.CodeAgent(tools=tools, model=model, **quiet(lib)).system_prompt,
        "ToolCallingAgent, two tools": caller.system_prompt,
        "ToolCallingAgent, two tools, and their schemas": caller.system_prompt
        + "".join(str(schema(tool)) for tool in caller.tools.values()),
    }


def _times(lib: Any, **options: Any) -> dict[str, float]:
    """Milliseconds from one request to the next, at the steps of STEPS."""
    asked: list[float] = []

    def reply(messages: list) -> str:
        asked.append(time.perf_counter())
        return code(f"x = {len(asked)}" if len(asked) <= max(STEPS) else "final_answer(1)")

    steps = max(STEPS) + 1
    model = model_class(lib)([reply] * steps)
    lib.CodeAgent(tools=[], model=model, max_steps=steps, **quiet(lib), **options).run("Go.")
    took = [after - before for before, after in pairwise(asked)]
    found = {}
    for number in STEPS:
        around = took[max(1, number - 5) : number + 5] if number > 5 else took[number - 1 : number + 2]
        found[str(number)] = statistics.median(around) * 1000
    return found


def steps(lib: Any) -> Any:
    """Time per step with the library's own executor."""
    return _times(lib)


def steps_of_the_engine_alone(lib: Any) -> Any:
    """Time per step with an executor that does nothing."""
    output = public(lib, "CodeOutput", "local_python_executor")

    class Nothing(public(lib, "PythonExecutor", "local_python_executor")):
        def send_tools(self, tools):
            pass

        def send_variables(self, variables):
            pass

        def __call__(self, code_action):
            final = "final_answer" in code_action
            return output(output=1, logs="", is_final_answer=final)

    return _times(lib, executor=Nothing())


def computing(lib: Any) -> Any:
    """Milliseconds of 200,000 additions in a loop, by the executor."""
    return _computed(lib, ADDITIONS.format(count=200_000), sum(range(200_000)))


def computing_little(lib: Any) -> Any:
    """Milliseconds of 2,000 additions in a loop, which shows that it works."""
    return _computed(lib, ADDITIONS.format(count=2_000), sum(range(2_000)))


def sieving(lib: Any) -> Any:
    """Milliseconds of the primes below 100,000 by a sieve in a function, by the executor."""
    return _computed(lib, SIEVE, 9_592)


def _computed(lib: Any, text: str, result: int) -> float:
    executor = public(lib, "LocalPythonExecutor", "local_python_executor")([])
    executor.send_tools({})
    executor("1")
    times = []
    for _ in range(3):
        start = time.perf_counter()
        assert executor(text).output == result
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def memory(lib: Any) -> Any:
    """Resident megabytes of this process after the import and after a run of five steps, and of its child."""
    getattr(lib, "CodeAgent")  # noqa: B009  the names are loaded when they are first looked up
    gc.collect()
    imported = _resident(os.getpid())
    agent = lib.CodeAgent(
        tools=[], model=prepared(lib, *(code(f"x = {n}") for n in range(4)), code("final_answer(1)")), **quiet(lib)
    )
    agent.run("Go.")
    children = sum(map(_resident, _children()))
    return {"import": imported, "run": _resident(os.getpid()), "child": children}


def _resident(process: int) -> float:
    status = Path(f"/proc/{process}/status")
    if not status.exists():
        return float("nan")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def _children() -> list[int]:
    files = Path("/proc/self/task").glob("*/children") if Path("/proc/self/task").exists() else []
    return [int(number) for file in files for number in file.read_text().split()]


def import_times(python: str, library: str, count: int) -> float:
    """Median milliseconds of `from LIBRARY import CodeAgent` in fresh processes."""
    statement = f"import time; start = time.perf_counter(); from {library} import CodeAgent; "
    statement += "print((time.perf_counter() - start) * 1000)"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)} if library == OURS else None
    times = []
    for _ in range(count):
        done = subprocess.run(
            [python, "-c", statement], capture_output=True, text=True, check=True, env=environment, timeout=120
        )
        times.append(float(done.stdout.splitlines()[-1]))
    return statistics.median(times)


def tokens(text: str) -> int:
    """The tokens of a text, by the tokenizer that LiteLLM brings along."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm

    return litellm.token_counter(model="gpt-4o", text=text)


def rows(theirs: dict, ours: dict, imports: tuple[float, float]) -> Iterator[tuple[str, Any, Any, str, str]]:
    """What was measured: a name, their number, our number, the unit and the method."""

    def pair(function: str, key: str | None = None) -> tuple[Any, Any]:
        found = [each[function] for each in (theirs, ours)]
        found = [None if isinstance(each, dict) and "raised" in each else each for each in found]
        there, here = [each if key is None or each is None else each[key] for each in found]
        return there, here

    prompt_names = next((each["prompts"] for each in (theirs, ours) if "raised" not in each["prompts"]), {})
    for name in prompt_names:
        there, here = pair("prompts", name)
        yield (
            f"system prompt: {name}",
            there and tokens(there),
            here and tokens(here),
            "tokens",
            "the same tools; litellm.token_counter",
        )
    for function, what in (("steps", "own executor"), ("steps_of_the_engine_alone", "executor that does nothing")):
        for number in STEPS:
            yield (
                f"step {number}, {what}",
                *pair(function, str(number)),
                "ms",
                "median from request to request around that step, action `x = N`, nothing printed",
            )
    yield "import CodeAgent", *imports, "ms", "`from … import CodeAgent` in a fresh process, median"
    yield "memory after the import", *pair("memory", "import"), "MB", "resident, of the process"
    yield "memory after a run", *pair("memory", "run"), "MB", "resident, of the process, after five steps"
    there, here = (each["memory"].get("child") for each in (theirs, ours))
    yield "memory of its child", there or None, here or None, "MB", "resident, after the same run"
    yield "200,000 additions in a loop", *pair("computing"), "ms", "executor(code), median of 3"


def number(value: float | None) -> str:
    if value is None:
        return "—"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions of the import")
    options = parser.parse_args()
    measured = [prompts, steps, steps_of_the_engine_alone, computing]
    results = []
    with interpreter_with_smolagents(options.smolagents) as python:
        for interpreter, library in ((python, THEIRS), (sys.executable, OURS)):
            found = run(interpreter, library, measured, seconds=120, verbose=options.verbose)
            found |= run(interpreter, library, [memory], seconds=120, verbose=options.verbose)  # a fresh process
            results.append(found)
        count = 1 if options.quick else 5
        imports = import_times(python, THEIRS, count), import_times(sys.executable, OURS, count)
    print("| what | unit | smolagents 1.26 | here | ratio | method |\n|---|---|---|---|---|---|")
    for what, there, here, unit, method in rows(*results, imports):
        ratio = f"{here / there:.3f}" if here and there else ""
        print(f"| {what} | {unit} | {number(there)} | {number(here)} | {ratio} | {method} |")


if __name__ == "__main__":
    main()
