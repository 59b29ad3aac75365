"""Large tables go into children through memory that is written once: what arrives, who sees changes, what stays."""

from __future__ import annotations

import gc
import mmap
import os
import subprocess
import sys
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pytest

import smol_kernel
from smol_kernel.errors import ExecutorError
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.launchers import zygote
from smol_kernel.executors.shared_memory import SMALLEST

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere tables go by message")

ROWS = 100_000
MAPPED = """
def mapped():
    return sorted({line.split()[4] for line in open('/proc/self/maps') if 'smol-table' in line})
"""


@pytest.fixture
def child():
    zygote.expect()  # it and its spare are there from the first one on
    executor = KernelExecutor()
    executor(MAPPED)
    yield executor
    executor.cleanup()


def floats(rows: int = ROWS) -> pd.DataFrame:
    return pd.DataFrame({"a": np.arange(rows, dtype=float), "b": np.arange(rows, dtype=float) * 2})


def printed(executor: KernelExecutor, expression: str) -> str:
    return executor(f"print({expression})").logs.strip()


def is_mapped(executor: KernelExecutor) -> bool:
    return printed(executor, "mapped()") != "[]"


def descriptors(name: str = "") -> list[str]:
    """What this process has open, with what a child forked ahead needs."""
    zygote.wait_for_spares(60)
    found = []
    for each in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{each}"))
        except OSError:
            continue
    return sorted(each for each in found if name in each)


# what arrives


def many_columns() -> pd.DataFrame:
    n = np.arange(ROWS)
    columns = {
        **{kind: n.astype(kind) for kind in ("bool", "int8", "int64", "uint16", "uint64", "float32", "float64")},
        **{f"date {unit}": n.astype(f"M8[{unit}]") for unit in ("s", "us", "ns")},
        "duration": n.astype("m8[ms]"),
        "zone": pd.date_range("2020", periods=ROWS, freq="min", tz="Europe/Berlin"),
        "nullable": pd.array([1, None] * (ROWS // 2), dtype="Int64"),
        "text": pd.Series([f"text {place}" for place in range(ROWS)], dtype="str"),
        "object": [1, "two"] * (ROWS // 2),
        "category": pd.Categorical(["u", "v", None, "w"] * (ROWS // 4)),
        "arrow": pd.array(n, dtype="int64[pyarrow]"),
    }
    frame = pd.DataFrame(columns)
    frame.loc[3, "float64"] = np.nan
    frame.loc[4, "date ns"] = pd.NaT
    return frame


def tables() -> dict[str, pd.DataFrame]:
    numbers = np.random.default_rng(1).random((ROWS, 4))
    rows = pd.DataFrame(numbers, columns=list("dcba"), copy=False)
    return {
        "many columns": many_columns(),
        "by rows": rows,
        "by columns": pd.DataFrame(np.asfortranarray(numbers)),
        "some columns of rows": rows[["a", "c"]],
        "every third row": rows[::3],
        "backwards": rows[::-1],
        "dates as index": rows.set_index(pd.date_range("2020", periods=ROWS, freq="s", name="when")),
        "numbers as index": rows.set_index(np.arange(ROWS)[::-1]),
        "two levels": rows.set_index([np.arange(ROWS) % 7, np.arange(ROWS)]),
        "labels twice": rows.set_axis(["x", "x", "y", 1], axis=1),
        "levels of labels": rows.set_axis(pd.MultiIndex.from_product([["x", "y"], [1, 2]], names=["p", None]), axis=1),
        "empty": rows[:0],
        "one column": rows[["b"]],
        "attributes": rows.copy(),
    }


@pytest.mark.parametrize("name", tables())
def test_a_table_arrives_as_it_is(child, name):
    table = tables()[name]
    table.attrs = {"unit": "kg"} if name == "attributes" else {}
    child.send_variables({"t": table})
    assert printed(child, "t.attrs") == str(table.attrs)
    pd.testing.assert_frame_equal(child.read("t"), table)
    assert is_mapped(child) == (name != "empty")


@pytest.mark.parametrize("name", ["float64", "text", "zone", "category", "object", "date ns"])
def test_a_column_arrives_as_it_is(child, name):
    column = many_columns()[name]
    child.send_variables({"t": column})
    pd.testing.assert_series_equal(child.read("t"), column)
    new = pd.__version__ >= "3"  # what pandas 2 takes for text are objects, and its times are counted in ns
    mapped = ("float64", "text" if new else "zone", "date ns")
    assert is_mapped(child) == (name in mapped)  # of the others there is little, or a copy


@pytest.mark.parametrize("kind", ["period", "sparse", "fractions", "big-endian", "index"])
def test_a_large_table_that_only_a_pickle_holds_arrives_as_a_small_one_does(child, kind):
    columns = {
        "period": pd.period_range("2000", periods=ROWS, freq="D"),
        "sparse": pd.arrays.SparseArray(np.arange(ROWS, dtype=float)),
        "fractions": [Fraction(1, 3)] * ROWS,
        "big-endian": np.arange(ROWS, dtype=">i8"),
        "index": np.arange(ROWS),
    }
    table = pd.DataFrame({"v": columns[kind], "n": range(ROWS)})
    table = table.set_index(pd.interval_range(0, ROWS)) if kind == "index" else table
    for rows in (20, ROWS):
        child.send_variables({"t": table[:rows]})
        assert (
            printed(child, "len(t), int(t.n.sum()), t.dtypes.iloc[0]")
            == f"{rows} {rows * (rows - 1) // 2} {table.dtypes.iloc[0]}"
        )


def arrays() -> dict[str, np.ndarray]:
    numbers = np.random.default_rng(1).random((300, 400))
    return {
        "C": numbers,
        "F": np.asfortranarray(numbers),
        "a part": np.concatenate([numbers, numbers])[::2, 1:],
        "backwards": numbers[::-1],
        "repeated": np.broadcast_to(np.arange(400.0), (300, 400)),
        "big-endian": numbers.astype(">f4"),
        "complex": numbers + 1j,
        "text": np.array(["ä", "bc"] * ROWS),
        "bytes": np.array([b"x", b"yz"] * 2 * ROWS),
        "dates": np.arange(ROWS).astype("M8[D]"),
        "three dimensions": numbers.reshape(30, 10, 400).transpose(2, 0, 1),
    }


@pytest.mark.parametrize("name", arrays())
def test_an_array_arrives_as_it_is(child, name):
    array = arrays()[name]
    child.send_variables({"t": array})
    there = child.read("t")
    assert there.dtype == array.dtype
    np.testing.assert_array_equal(there, array)
    assert is_mapped(child)


def test_an_arrow_table_arrives_as_it_is(child):
    table = pa.table({"n": np.arange(ROWS), "s": [f"text {place}" for place in range(ROWS)], "l": [[1, 2]] * ROWS})
    child.send_variables({"t": table})
    assert child.read("t").equals(table)
    assert is_mapped(child)


def test_columns_that_lie_together_do_so_in_the_child(child):
    child.send_variables({"t": pd.DataFrame(np.zeros((ROWS, 4)), copy=False), "u": floats()})
    assert printed(child, "[len({c.to_numpy().base is None for _, c in x.items()}) for x in (t, u)]") == "[1, 1]"
    assert printed(child, "[__import__('numpy').shares_memory(x.to_numpy(), x) for x in (t, u)]") == "[True, True]"


def test_what_lies_between_the_columns_does_not_go_along(child):
    numbers = np.zeros((ROWS, 4))
    numbers[:, 1] = 4711.0  # not for the child
    child.send_variables({"t": pd.DataFrame(numbers, columns=list("abcd"), copy=False)[["a", "c"]]})
    search = """
import struct
found = False
for line in open('/proc/self/maps'):
    if 'smol-table' in line:
        start, end = (int(each, 16) for each in line.split()[0].split('-'))
        with open('/proc/self/mem', 'rb') as memory:
            memory.seek(start)
            found |= struct.pack('d', 4711.0) in memory.read(end - start)
print(found, len(mapped()))
"""
    assert child(search).logs.strip() == "False 1"


def test_a_small_table_goes_by_message(child):
    table = floats(SMALLEST // 16 - 1)
    child.send_variables({"t": table})
    assert not is_mapped(child)
    pd.testing.assert_frame_equal(child.read("t"), table)
    child.send_variables({"t": floats(SMALLEST // 16)})
    assert is_mapped(child)


@pytest.mark.parametrize("box", [True, False])
def test_it_is_so_in_a_child_that_was_started_afresh(box, monkeypatch):
    monkeypatch.setenv(zygote.VARIABLE, "off")
    executor = KernelExecutor(box=box)
    executor(MAPPED)
    executor.send_variables({"t": floats()})
    assert is_mapped(executor)
    pd.testing.assert_frame_equal(executor.read("t"), floats())
    executor.cleanup()


FORKED = f"""
import numpy as np
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.launchers import zygote
zygote.expect()
first, second = KernelExecutor(), KernelExecutor()
first("0")
assert zygote.wait(60)
second({MAPPED!r})
assert isinstance(second._client.child._process, zygote.ForkedProcess)
second.send_variables({{"t": np.arange({ROWS})}})
print(second("print(len(mapped()), t.sum())").logs)
for each in (first, second):
    each.cleanup()
"""


def test_it_is_so_in_a_child_that_a_zygote_has_forked(tmp_path):
    environment = {**os.environ, zygote.VARIABLE: "on", "PYTHONPATH": str(Path(smol_kernel.__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", FORKED], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == f"1 {sum(range(ROWS))}", done.stderr


def test_before_the_child_is_started():
    executor = KernelExecutor()
    executor.send_variables({"t": floats()})
    executor(MAPPED)
    assert is_mapped(executor)
    assert printed(executor, "t.b.max()") == str(2.0 * (ROWS - 1))
    executor.cleanup()


# who sees changes


def test_each_changes_a_table_of_its_own(child):
    table = floats()
    with ExitStack() as stack:
        other = KernelExecutor()
        stack.callback(other.cleanup)
        for executor in (child, other):
            executor.send_variables({"t": table})
        assert printed(child, "t.iloc.__setitem__((0, 0), 5.0), t.iloc[0, 0]") == "None 5.0"
        child("t['b'] += 1\nt.loc[7, 'a'] = -1\nt['new'] = 3")
        assert printed(child, "t.iloc[7].tolist()") == "[-1.0, 15.0, 3.0]"
        pd.testing.assert_frame_equal(other.read("t"), floats())
        pd.testing.assert_frame_equal(table, floats())
        table.iloc[0, 0] = 9.0
        assert printed(other, "t.iloc[0, 0]") == "0.0"


def test_ten_children_map_what_was_written_once():
    table = floats()
    gc.collect()  # what other tests have left
    with ExitStack() as stack:
        inodes = set()
        for _ in range(10):
            executor = KernelExecutor()
            stack.callback(executor.cleanup)
            executor(MAPPED)
            executor.send_variables({"t": table})
            inodes.add(printed(executor, "mapped()"))
        assert len(inodes) == 1
        assert len(descriptors("smol-table")) == 1
        del executor
    gc.collect()
    assert not descriptors("smol-table")


WRITES = {
    "a cell": lambda array, file: array.__setitem__(ROWS // 2, -1.0),
    "the first": lambda array, file: array.__setitem__(0, -1.0),
    "the last": lambda array, file: array.__setitem__(-1, -1.0),
    "all": lambda array, file: array.fill(-1.0),
    "two that change places": lambda array, file: array.__setitem__([5, 6], array[[6, 5]]),
    "the system": lambda array, file: file.readinto(memoryview(array)[1000:51000]),
}


@pytest.mark.parametrize("rows", [ROWS, 10 * ROWS])
@pytest.mark.parametrize("write", WRITES)
def test_what_changed_here_since_is_seen(child, write, rows, tmp_path):
    (tmp_path / "f").write_bytes(bytes(8 * ROWS))
    array = np.arange(rows, dtype=float)
    table = pd.DataFrame({"a": array}, copy=False)
    assert np.shares_memory(array, table["a"].to_numpy())
    child.send_variables({"t": table, "u": table})
    one = printed(child, "mapped()")
    for _ in range(2):
        with (tmp_path / "f").open("rb", buffering=0) as file:
            WRITES[write](array, file)
        child.send_variables({"t": table})
        pd.testing.assert_frame_equal(child.read("t"), table)
        array += 1.0
        child.send_variables({"t": table})
        pd.testing.assert_frame_equal(child.read("t"), table)
    assert printed(child, "u.a.tolist() == list(map(float, range(len(u))))") == "True"
    assert printed(child, "mapped()") != one


def test_what_another_process_writes_is_seen(child):
    shared = mmap.mmap(-1, 8 * ROWS)
    array = np.frombuffer(shared, "f8")
    child.send_variables({"t": array})
    one = printed(child, "mapped()")
    child.send_variables({"t": array})
    assert printed(child, "mapped()") == one  # nothing has changed: it was compared
    writer = os.fork()
    if writer == 0:
        shared[:8] = np.array([7.0]).tobytes()
        os._exit(0)
    os.waitpid(writer, 0)
    child.send_variables({"t": array})
    assert printed(child, "t[:2].tolist()") == "[7.0, 0.0]"


def test_another_array_in_the_same_place_is_another(child):
    seen = set()
    for number in range(20):
        array = np.full(10 * ROWS, float(number))
        seen.add(array.__array_interface__["data"][0])
        child.send_variables({"t": array if number % 3 else array.reshape(10, ROWS)})
        assert printed(child, "t.min(), t.max()") == f"{float(number)} {float(number)}"
        del array
    assert len(seen) < 20


def test_a_fresh_child_has_it_as_it_was_handed_over(child):
    table = floats()
    child.send_variables({"t": table})
    table["a"] = -1.0
    list(child.run("import os\nos._exit(1)"))
    child(MAPPED)
    assert is_mapped(child)
    pd.testing.assert_frame_equal(child.read("t"), floats())
    child.restart()
    gc.collect()
    assert not descriptors("smol-table")
    child.send_variables({"t": table})
    pd.testing.assert_frame_equal(child.read("t"), table)


# what is given back, and what a child may do to it


def test_descriptors_are_given_back(child):
    table = floats(SMALLEST // 16)
    for _ in range(3):
        child.send_variables({"t": table})
        child("pass")
    here, there = descriptors(), printed(child, "len(__import__('os').listdir('/proc/self/fd'))")
    for number in range(100):
        table.iloc[0, 0] = number
        child.send_variables({"t": table})
    assert printed(child, "t.iloc[0, 0]") == "99.0"
    assert printed(child, "len(mapped())") == "1"
    now = printed(child, "len(__import__('os').listdir('/proc/self/fd'))")
    assert int(now) <= int(there) + 2  # the kernel opens one of its own at some time
    assert len(descriptors()) == len(here)
    child.forget(["t"])
    gc.collect()
    assert not descriptors("smol-table")


REFUSALS = {
    "does not read": "sys.modules['smol_in_child.mapped'].MemoryLine._received = _refuse",
    "closes its end": "import os\nos.close(get_ipython().kernel.parent.memory_line)",
    "reads something else": "import os\nos.dup2(0, get_ipython().kernel.parent.memory_line)",
}
REFUSE = """
import sys
def _refuse(*_):
    raise sys.modules['smol_in_child.mapped'].NotReceived
"""


@pytest.mark.parametrize("option", [16, 29], ids=["credentials", "times"])  # SO_PASSCRED, SO_TIMESTAMP
def test_what_else_an_action_asked_to_come_by_the_line_takes_no_room(child, option):
    child("import os, socket\nline = socket.socket(fileno=os.dup(get_ipython().kernel.parent.memory_line))")
    child(f"line.setsockopt(socket.SOL_SOCKET, {option}, 1)")
    child.send_variables({"t": floats(SMALLEST // 16)})
    assert is_mapped(child)


@pytest.mark.parametrize("how", REFUSALS)
def test_a_child_that_does_not_take_it_gets_it_by_message(child, how):
    table = floats(SMALLEST // 16)
    child(REFUSE + REFUSALS[how])
    here = len(descriptors())
    for number in range(40):
        table.iloc[0, 0] = number
        child.send_variables({"t": table})
    assert printed(child, "t.iloc[0, 0]") == "39.0"
    assert not is_mapped(child)
    gc.collect()
    assert len(descriptors()) <= here + 2


def test_a_child_that_ended_gets_it_once_it_is_there_again(child):
    child.send_variables({"t": floats()})
    client = child._client
    assert client is not None
    below = psutil.Process(client.child.pid).children(recursive=True)
    client.kill()
    psutil.wait_procs(below, timeout=60)
    child.send_variables({"t": floats() + 1})
    list(child.run("pass"))  # tells that the other one has ended
    child(MAPPED)
    assert is_mapped(child)
    pd.testing.assert_frame_equal(child.read("t"), floats() + 1)


def test_what_is_more_than_a_child_may_have_is_told(monkeypatch):
    monkeypatch.setenv(zygote.VARIABLE, "off")
    executor = KernelExecutor(limits={"memory": "300 MiB"})
    executor("pass")
    with pytest.raises(
        ExecutorError, match=r"variable 't'.*320,000,000 bytes cannot be mapped: Cannot allocate memory"
    ):
        executor.send_variables({"t": np.zeros(40_000_000)})
    assert printed(executor, "1 + 1") == "2"
    executor.cleanup()


def test_where_there_is_no_such_memory_it_goes_by_message(monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    executor = KernelExecutor(box=False)
    executor(MAPPED)
    executor.send_variables({"t": floats()})
    assert not is_mapped(executor)
    pd.testing.assert_frame_equal(executor.read("t"), floats())
    executor.cleanup()
