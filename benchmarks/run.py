"""Prints how fast the engine is, as ratios to stock Jupyter measured in the same run: `python benchmarks/run.py`.

Times are medians on this machine, now; only the ratios travel. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import profiles
from jupyter_client.manager import start_new_kernel
from rows import Row, show
from sizes import whole_memory

from smol_kernel import KernelExecutor, tool
from smol_kernel.executors.launchers import zygote
from smol_kernel.executors.standby import STANDBY
from smol_kernel.tools.base import Tool

SETTLED = 0.5
"""Seconds after which what was ended before has let go of processors and memory."""
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
    yield Row("one action `x = 1`", ours, stock, "executor('x = 1') against execute_interactive('x = 1')", 0.85)


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
        method = f"mean of {count} calls in one action against input()"
        yield Row("tool call", ours, float("".join(printed)), method, 1, profiles.calls_of_tools)
        together = float(executor(PARALLEL_CALLS.format(count=20)).logs)
    yield Row("20 threaded tool calls of 100 ms at once", together, None, "a thread pool of 20 in the action", 200)


def child_ready(count: int, many: int) -> Iterator[Row]:
    method = "executor('pass') on a new executor against start_new_kernel(), which waits by wait_for_ready()"
    os.environ[zygote.VARIABLE] = "off"
    yield Row("child ready, started afresh", *ready(count), method)
    del os.environ[zygote.VARIABLE]
    zygote.expect()
    with our_child():
        if not zygote.wait(60):
            return  # no Linux, or SMOL_ZYGOTE=off
        if not zygote.wait_for_spares(60):  # it imports more while nobody asks
            raise SystemExit("no child is forked ahead")
        forked, stock = ready(3 * count, "forked ahead")
        yield Row("child ready, forked ahead by a zygote", forked, stock, method, 1 / 20, profiles.start_of_a_child)
        asked = ready(2 * count, "the second of two")
        yield Row("child ready, forked when asked for", *asked, method, 1 / 20, profiles.start_of_a_child)
        waited = ready(2 * count, "waiting")
        yield Row("child ready, one that waited", *waited, method, 1 / 80, profiles.one_that_waited)
        yield from many_children(many, stock)


def many_children(count: int, stock: float) -> Iterator[Row]:
    """So many children at once; `stock` are the milliseconds in which one stock kernel starts."""
    before = whole_memory()
    executors = [KernelExecutor() for _ in range(count)]
    threads = [threading.Thread(target=partial(executor, "pass")) for executor in executors]

    def start() -> None:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    took = milliseconds(start)
    each = (whole_memory() - before) / count
    for executor in executors:
        executor.cleanup()
    method = "an action in each, against one start_new_kernel()"
    yield Row(f"{count} children at once, all ready", took, stock, method, 4, profiles.processes)
    method = "all processes of the box, numpy and pandas imported"
    yield Row("memory of each in MB (PSS)", each, None, method, 15, profiles.processes)


def ready(count: int, which: str = "") -> tuple[float, float]:
    """Medians of the time to a child of ours, and to a stock kernel, in turns; of ours `which` is started."""
    ours: list[float] = []
    stock: list[float] = []
    STANDBY.keep(1 if which == "waiting" else 0)
    if which == "waiting":
        with our_child():
            pass
    for _ in range(count):
        if which == "waiting" and not STANDBY.waiting(60):
            raise SystemExit("no child can be had that waits")
        if which in ("forked ahead", "the second of two") and not zygote.wait_for_spares(60):
            raise SystemExit("no child is forked ahead")
        executor, other = KernelExecutor(), KernelExecutor()
        time.sleep(SETTLED)
        if which == "the second of two":  # the first has the one that was forked ahead
            other("pass")
        ours.append(milliseconds(partial(executor, "pass")))
        executor.cleanup()
        other.cleanup()
        time.sleep(SETTLED)
        start = time.perf_counter()
        manager, client = start_new_kernel(kernel_name="python3", stderr=subprocess.DEVNULL)
        stock.append((time.perf_counter() - start) * 1000)
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    STANDBY.keep(0)
    STANDBY.close()
    return statistics.median(ours), statistics.median(stock)


def imports(count: int) -> Iterator[Row]:
    shell = "from IPython.core.interactiveshell import InteractiveShell; shell = InteractiveShell.instance()"
    statements = {
        "import smol_kernel": ("", "import smol_kernel", 0.4),
        "from smol_kernel import CodeAgent": ("", "from smol_kernel import CodeAgent", None),
        "%load_ext smol_magic": (shell, "shell.run_line_magic('load_ext', 'smol_magic')", 0.8),
    }
    for what, (before, statement, most) in statements.items():
        ours, stock = [], []
        for _ in range(count):
            ours.append(fresh_process(before, statement))
            stock.append(fresh_process("", "import ipykernel.kernelapp"))
        method = "in a fresh process, against `import ipykernel.kernelapp`"
        yield Row(f"`{what}`", statistics.median(ours), statistics.median(stock), method, most)


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
    show(rows(quick), quick)


def rows(quick: bool) -> Iterator[Row]:
    """All of it, as it is measured."""
    yield from one_action(10 if quick else 200)
    yield from tool_calls(10 if quick else 500)
    yield from child_ready(1 if quick else 7, 4 if quick else 100)
    yield from imports(1 if quick else 7)


if __name__ == "__main__":
    main()
