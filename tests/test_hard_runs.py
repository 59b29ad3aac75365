"""A child that is killed, stopped, filled up or floods: the run goes on, and the notebook hears its user meanwhile."""

from __future__ import annotations

import signal
import sys

import psutil
import pytest
from notebook_kernel import NotebookKernel

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the box of Linux")

SCRIPTS = """
from smol_kernel import ScriptedModel, tool

@tool
def begin() -> str:
    '''Begins.'''
    print("be" + "gun")
    return "so"

def scripted(*actions):
    return ScriptedModel([f"I do it.\\n<code>\\n{action}\\n</code>" for action in actions])
"""
BY_ITSELF = {
    "stops itself": "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
    "fills its memory": "held = []\nwhile True:\n    try: held.append(bytearray(1 << 24))\n"
    "    except MemoryError: pass",
    "fills its files": "n = 0\nwhile True:\n    n += 1\n    try: open(f'/tmp/{n}', 'wb').write(bytes(1 << 24))\n"
    "    except OSError: pass",
    "floods the output": "while True: print('x' * 1000)",
    "floods with calls": "while True: begin()",
    "counts without a pause": "pow(7, 10**9)",
}
"""What a child does after it has begun, and does not end by itself."""
LIMITS = "--box-limit memory=300MB --box-limit disk=64MB --box-limit file_size=32MB"


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    kernel = NotebookKernel(tmp_path_factory.mktemp("kernel"))
    kernel.run(SCRIPTS).must_be_ok()
    yield kernel
    kernel.close()


def press_stop(kernel, cell):
    opened = cell.contents("comm_open")
    button = next(each["comm_id"] for each in opened if each["data"]["state"].get("_model_name") == "ButtonModel")
    kernel.send_comm(button, {"method": "custom", "content": {"event": "click"}})


def box_of(kernel):
    """The processes of the child, as the system counts them."""
    return psutil.Process(kernel.manager.provisioner.process.pid).children(recursive=True)


def works_again(kernel):
    kernel.run("m = scripted('final_answer(6 * 7)')").must_be_ok()
    kernel.run("%%agent --model m -o answer\nwork").must_be_ok()
    assert kernel.value("answer") == 42


@pytest.mark.parametrize("action", BY_ITSELF.values(), ids=BY_ITSELF)
def test_the_stop_button_is_heard(kernel, action):
    kernel.run(f"m = scripted({'begin()' + chr(10) + action!r})").must_be_ok()
    cell = kernel.start(f"%%agent --model m {LIMITS}\nbegin")
    cell.until_shown("begun")
    press_stop(kernel, cell)
    cell.finish()
    assert cell.status == "error"
    assert "stopped" in cell.errors[0]
    works_again(kernel)


@pytest.mark.parametrize("all_of_it", [False, True], ids=["the kernel", "all of the box"])
def test_the_stop_button_is_heard_while_the_child_is_stopped_from_outside(kernel, all_of_it):
    kernel.run("%config SmolMagic.standby = 0\nm = scripted('begin()\\nwhile True: pass')").must_be_ok()
    cell = kernel.start("%%agent --model m\nbegin")
    cell.until_shown("begun")
    for process in box_of(kernel)[0 if all_of_it else -1 :]:
        process.send_signal(signal.SIGSTOP)
    press_stop(kernel, cell)
    cell.finish()
    assert cell.status == "error"
    works_again(kernel)


ONE_AFTER_THE_OTHER = [
    "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "bytearray(1 << 30)",
    "open('/tmp/long', 'wb').write(bytes(40_000_000))",
    "for n in range(5): open(f'/tmp/{n}', 'wb').write(bytes(1 << 24))",
    "for n in range(300_000): print('A' * 100)",
    "final_answer(6 * 7)",
]


def test_a_run_goes_on_after_each_of_them(kernel):
    kernel.run(f"m = scripted(*{ONE_AFTER_THE_OTHER!r})").must_be_ok()
    kernel.run(f"%%agent --model m {LIMITS} -o answer\nwork").must_be_ok()
    assert kernel.value("answer") == 42
    told = kernel.value("str(m.requests[-1])")
    for words in ("SIGKILL", "limit memory", "limit disk", "limit file_size"):
        assert words in told
    assert 10_000 < told.count("A") < 100_000  # of 30 million
