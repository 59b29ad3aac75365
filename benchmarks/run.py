"""Prints how fast the engine is, as ratios to stock Jupyter measured in the same run: `python benchmarks/run.py`.

Times are medians on this machine, now; only the ratios travel. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import psutil
from jupyter_client.manager import start_new_kernel

from smol_kernel import KernelExecutor, tool
from smol_kernel.executors.launchers import zygote
from smol_kernel.executors.standby import STANDBY
from smol_kernel.tools.base import Tool

TIMED_CALLS = """
import time as _time
_start = _time.perf_counter()
for _ in range({count}): {call}
print((_time.perf_counter() - _start) / {count} * 1000)
"""
PARALLEL_CALLS = """
import time as _time
from concurrent.futures import ThreadPoolExecutor
_start = _time.perf_counter()
with ThreadPoolExecutor({count}) as pool: _ = list(pool.map(wait, range({count})))
print((_time.perf_counter() - _start) * 1000)
"""


@dataclass
class Row:
    """One line of the table; times in milliseconds. `stock` is None where there is nothing to compare with."""

    what: str
    ours: float
    stock: float | None
    method: str


@tool
def same(value: int) -> int:
    """The value itself.

    Args:
        value: Any number.
    """
    return value


@tool(threaded=True)
def wait(value: int) -> int:
    """The value, after 100 ms.

    Args:
        value: Any number.
    """
    time.sleep(0.1)
    return value


def milliseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def alternating(count: int, ours: Callable[[], object], stock: Callable[[], object]) -> tuple[float, float]:
    """Medians of both, measured in turns so that a busy moment of the machine hits them alike."""
    times = [(milliseconds(ours), milliseconds(stock)) for _ in range(count)]
    return statistics.median(pair[0] for pair in times), statistics.median(pair[1] for pair in times)


@contextmanager
def our_child(*tools: Tool) -> Iterator[KernelExecutor]:
    executor = KernelExecutor()
    try:
        executor.send_tools({each.name: each for each in tools})
        executor("pass")
        yield executor
    finally:
        executor.cleanup()


@contextmanager
def stock_kernel():
    manager, client = start_new_kernel(kernel_name="python3", stderr=subprocess.DEVNULL)
    try:
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def one_action(count: int) -> Iterator[Row]:
    with our_child() as executor, stock_kernel() as client:
        for _ in range(10):
            executor("x = 1")
            client.execute_interactive("x = 1")
        ours, stock = alternating(count, lambda: executor("x = 1"), lambda: client.execute_interactive("x = 1"))
    yield Row("one action `x = 1`", ours, stock, "executor('x = 1') against execute_interactive('x = 1')")


def tool_calls(count: int) -> Iterator[Row]:
    with our_child(same, wait) as executor, stock_kernel() as client:
        ours = float(executor(TIMED_CALLS.format(count=count, call="same(1)")).logs)
        printed: list[str] = []
        client.execute_interactive(
            TIMED_CALLS.format(count=count, call="input()"),
            allow_stdin=True,
            stdin_hook=lambda message: client.input("1"),
            output_hook=lambda message: printed.append(message["content"].get("text", "")),
        )
        yield Row("tool call", ours, float("".join(printed)), f"mean of {count} calls in one action against input()")
        together = float(executor(PARALLEL_CALLS.format(count=20)).logs)
    yield Row("20 threaded tool calls of 100 ms at once", together, None, "a thread pool of 20 in the action")


def child_ready(count: int) -> Iterator[Row]:
    method = "executor('pass') on a new executor against start_new_kernel(), which waits by wait_for_ready()"
    os.environ[zygote.VARIABLE] = "off"
    yield Row("child ready, started afresh", *ready(count), method)
    del os.environ[zygote.VARIABLE]
    zygote.expect()
    with our_child():
        if not zygote.wait(60):
            return  # no Linux, or SMOL_ZYGOTE=off
        time.sleep(3)  # it imports more while nobody asks
        yield Row("child ready, forked by a zygote", *ready(3 * count), method)
        yield Row("child ready, one that waited", *ready(2 * count, waiting=True), method)
        yield Row("its memory in MB (PSS)", memory_of_child(), None, "of the kernel, numpy and pandas imported")


def ready(count: int, waiting: bool = False) -> tuple[float, float]:
    """Medians of the time to a child of ours, and to a stock kernel, in turns; of ours one may be `waiting`."""
    ours: list[float] = []
    stock: list[float] = []
    STANDBY.keep(1 if waiting else 0)
    if waiting:
        with our_child():
            pass
    for _ in range(count):
        if waiting and not STANDBY.waiting(60):
            raise SystemExit("no child can be had that waits")
        executor = KernelExecutor()
        ours.append(milliseconds(partial(executor, "pass")))
        executor.cleanup()
        start = time.perf_counter()
        manager, client = start_new_kernel(kernel_name="python3", stderr=subprocess.DEVNULL)
        stock.append((time.perf_counter() - start) * 1000)
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    STANDBY.keep(0)
    STANDBY.close()
    return statistics.median(ours), statistics.median(stock)


def memory_of_child() -> float:
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    with our_child():
        new = [each for each in psutil.Process().children(recursive=True) if each.pid not in before]
        kernel = max(new, key=lambda each: each.memory_full_info().uss)
        return kernel.memory_full_info().pss / 1e6


def imports(count: int) -> Iterator[Row]:
    shell = "from IPython.core.interactiveshell import InteractiveShell; shell = InteractiveShell.instance()"
    statements = {
        "import smol_kernel": ("", "import smol_kernel"),
        "from smol_kernel import CodeAgent": ("", "from smol_kernel import CodeAgent"),
        "%load_ext smol_magic": (shell, "shell.run_line_magic('load_ext', 'smol_magic')"),
    }
    for what, (before, statement) in statements.items():
        ours, stock = [], []
        for _ in range(count):
            ours.append(fresh_process(before, statement))
            stock.append(fresh_process("", "import ipykernel.kernelapp"))
        method = "in a fresh process, against `import ipykernel.kernelapp`"
        yield Row(f"`{what}`", statistics.median(ours), statistics.median(stock), method)


def fresh_process(before: str, statement: str) -> float:
    code = (
        f"{before}\nimport time; start = time.perf_counter()\n{statement}\nprint((time.perf_counter() - start) * 1000)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repetitions: shows that it works, not how fast it is")
    quick = parser.parse_args().quick
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}; times in ms, medians\n")
    print("| what | ours | stock | ratio | method |\n|---|---|---|---|---|")
    for rows in (
        one_action(10 if quick else 200),
        tool_calls(10 if quick else 500),
        child_ready(1 if quick else 7),
        imports(1 if quick else 7),
    ):
        for row in rows:
            stock, ratio = ("", "") if row.stock is None else (f"{row.stock:.2f}", f"{row.ours / row.stock:.2f}")
            print(f"| {row.what} | {row.ours:.2f} | {stock} | {ratio} | {row.method} |", flush=True)


if __name__ == "__main__":
    main()
