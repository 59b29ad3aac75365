"""What a zygote does lest its forks have much memory of their own, see `dense` of the launchers."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path

import pytest

from smol_kernel.executors.launchers import zygote

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="zygotes are for Linux")

BEGINNING = f"import sys; sys.path.insert(0, {str(Path(zygote.MAIN).parent)!r})\n"
SIDE_BY_SIDE = """
import json
import dense
held = [[bytes(size) for _ in range(500)] for size in range(100, 480, 16)]
for each in held:
    del each[::2]  # there are gaps now
dense.settle()
found = []
for size in range(100, 480, 16):
    made = [bytes(size) for _ in range(21)]
    step = (sys.getsizeof(made[0]) + 15) // 16 * 16
    found.append(sum(id(after) - id(before) == step for before, after in zip(made, made[1:])))
print(json.dumps([min(found), sum(map(len, dense._kept))]))
"""
HOOKS = """
import os
import boot_calls
os.register_at_fork(after_in_child=lambda: print("a hook", flush=True))
child = boot_calls.fork()
if child == 0:
    print("the child", os.getpid() != os.getppid(), flush=True)
    os._exit(3)
print("its parent", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def printed_by(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", BEGINNING + code], capture_output=True, text=True, check=True)
    return done.stdout


def test_what_is_made_later_lies_side_by_side():
    together, kept = json.loads(printed_by(SIDE_BY_SIDE))
    assert together >= 15, "of 20 of a size"
    assert kept < 100_000, "it ends where there are no gaps any more"


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "_Fork"), reason="the C library has no such fork")
def test_a_bare_fork_is_a_fork_without_hooks():
    assert printed_by(HOOKS).splitlines() == ["the child True", "its parent 3"]
