"""Prints how long tables take into children, as ratios to a copy in the same process: `python benchmarks/tables.py`.

1 GB of float columns; with `--quick` 20 MB. Times are medians on this machine, now; only the ratios travel. It needs
four times the size as memory, and asserts nothing.
"""

from __future__ import annotations

import argparse
import base64
import os
import pickle
import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import numpy as np
import pandas as pd
from rows import Row, show
from run import milliseconds, our_child

COLUMNS = 10
CHILDREN = 4


def numbers(size: int, rounds: int) -> Iterator[Row]:
    """Columns of floats into one child after the other; the table is another one in each round."""
    first: list[float] = []
    further: list[float] = []
    copies: list[float] = []
    used: list[float] = []
    changed: list[float] = []
    random = np.random.default_rng(1)
    frame = pd.DataFrame({place: random.random(size // 8 // COLUMNS) for place in range(COLUMNS)})
    with ExitStack() as stack:
        children = [stack.enter_context(our_child()) for _ in range(CHILDREN)]
        for child in children:
            child("import pandas")
        for _ in range(rounds):
            copied: list[pd.DataFrame] = []
            copies.append(milliseconds(lambda copied=copied: copied.append(frame.copy())))
            table = copied[0]
            times = [
                milliseconds(lambda child=child, table=table: child.send_variables({"t": table})) for child in children
            ]
            first.append(times[0])
            further += times[1:]
            used.append(milliseconds(lambda: children[0]("t.iloc[0, 0] = 1\nt.sum()")))
            table.iloc[1, 1] = 2.0
            changed.append(milliseconds(lambda table=table: children[0].send_variables({"t": table})))
            for child in children:
                child.forget(["t"])
    stock = statistics.median(copies)
    what = f"{size / 1e6:,.0f} MB of float columns"
    method = "send_variables() against df.copy()"
    yield Row(f"{what} into the first child", statistics.median(first), stock, method, 2.5, partial(memory, size))
    method = "the same table into 3 others, unchanged"
    yield Row("into each further child", statistics.median(further), stock, method, 0.1)
    yield Row("into a child again, one cell changed", statistics.median(changed), stock, "written anew")
    yield Row("used there for the first time", statistics.median(used), stock, "an action: `t.iloc[0, 0] = 1; t.sum()`")


def memory(size: int, _quick: bool) -> str:
    """What the system takes for the memory alone, three times each: shared memory that is written, and copies."""
    data = np.ones(size // 8)

    def write() -> None:
        descriptor, part = os.memfd_create("profile"), memoryview(data).cast("B")
        while part:
            part = part[os.write(descriptor, part) :]
        os.close(descriptor)

    written, copied = ([f"{milliseconds(work):.0f}" for _ in range(3)] for work in (write, data.copy))
    return (
        f"To write {size / 1e6:,.0f} MB into shared memory takes {', '.join(written)} ms in this process, "
        f"and to copy the array {', '.join(copied)} ms."
    )


def strings(size: int, rounds: int) -> Iterator[Row]:
    """A column of strings of 20 characters, which crosses as an Arrow stream."""
    frame = pd.DataFrame({"s": np.arange(size // 20)}).astype(str).s.str.zfill(20).to_frame()
    ours: list[float] = []
    stock: list[float] = []

    def pickled() -> None:
        pickle.loads(base64.b64decode(base64.b64encode(pickle.dumps(frame))))

    with our_child() as child:
        child("import pandas, pyarrow")
        for _ in range(rounds):
            ours.append(milliseconds(lambda: child.send_variables({"t": frame})))
            stock.append(milliseconds(pickled))
    method = "as an Arrow stream in memory, against pickle by way of text in this process"
    yield Row(f"{size / 1e6:,.0f} MB of strings", statistics.median(ours), statistics.median(stock), method)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20 MB: shows that it works, not how fast it is")
    quick = parser.parse_args().quick
    show(rows(quick), quick)


def rows(quick: bool) -> Iterator[Row]:
    """All of it, as it is measured."""
    size, rounds = (20_000_000, 3) if quick else (1_000_000_000, 5)
    yield from numbers(size, rounds)
    yield from strings(size // 10, rounds)


if __name__ == "__main__":
    main()
