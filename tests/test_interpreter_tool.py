"""PythonInterpreterTool in real child kernels."""

from __future__ import annotations

import gc
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from scripted_replies import calls

from smol_kernel.agents.tool_calling_agent import ToolCallingAgent
from smol_kernel.errors import AgentExecutionError, ConfigError
from smol_kernel.events import ToolCalled
from smol_kernel.executors.interpreter_tool import PythonInterpreterTool
from smol_kernel.memory.monitoring import LogLevel
from smol_kernel.models.scripted import ScriptedModel


@pytest.fixture(scope="module")
def tool():
    made = PythonInterpreterTool(timeout_seconds=60)
    yield made
    made.cleanup()


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("(2 / 2) * 4", "Stdout:\n\nOutput: 4.0"),
        ("x = 3\nprint('a')\nprint(x)\nx", "Stdout:\na\n3\n\nOutput: 3"),
        ("x = 5", "Stdout:\n\nOutput: 5"),
        ("'abc'", "Stdout:\n\nOutput: abc"),
        ("print(1)", "Stdout:\n1\n\nOutput: None"),
        ("", "Stdout:\n\nOutput: None"),
        ("[n for n in range(60)][-3:]", "Stdout:\n\nOutput: [57, 58, 59]"),
        ("class A:\n    def __repr__(self): return 'an A'\nA()", "Stdout:\n\nOutput: an A"),
        ("'\\x1b[31mred\\x1b[0m'", "Stdout:\n\nOutput: red"),
        ("final_answer(6 * 7)", "Stdout:\n\nOutput: 42"),
    ],
)
def test_what_is_printed_and_the_last_value(tool, code, told):
    assert tool(code) == told
    assert tool(code=code) == told


def test_it_runs_in_another_process(tool):
    assert tool(f"import os; os.getpid() != {os.getpid()}") == "Stdout:\n\nOutput: True"


def test_each_call_begins_anew(tool):
    assert tool("from __future__ import annotations\nleft = [1]\nprint = 3\nlen = None").startswith("Stdout:")
    with pytest.raises(AgentExecutionError, match="NameError: name 'left' is not defined"):
        tool("left")
    assert (
        tool("def f(x: int): ...\nprint(len('four'), f.__annotations__['x'] is int)")
        == "Stdout:\n4 True\n\nOutput: None"
    )


def test_what_cannot_be_cleared_gets_a_fresh_child(tool):
    marked = "import builtins\nhasattr(builtins, 'mark')"
    tool("import builtins\nbuiltins.mark = 1")
    assert tool(marked) == "Stdout:\n\nOutput: True"
    tool("import IPython\nIPython.get_ipython().reset = None\nleft = 1")
    with pytest.raises(AgentExecutionError, match="name 'left' is not defined"):
        tool("left")
    assert tool(marked) == "Stdout:\n\nOutput: False"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("print('before')\n1 / 0", r"before\n[\s\S]*1 / 0\nZeroDivisionError: division by zero"),
        ("x =", "SyntaxError"),
        ("input('name?')", "EOFError: nobody is there"),
        ("import nonsense_xyz", "No module named 'nonsense_xyz'"),
        ("print('last words', flush=True)\nimport os\nos._exit(3)", r"last words\n[\s\S]*ChildDiedError"),
    ],
)
def test_an_error_is_raised_with_what_was_printed_before(tool, code, words):
    with pytest.raises(AgentExecutionError, match=words):
        tool(code)
    assert tool("1 + 1") == "Stdout:\n\nOutput: 2"


def test_a_call_that_takes_too_long_is_ended():
    tool = PythonInterpreterTool(timeout_seconds=1.5)
    try:
        with pytest.raises(AgentExecutionError, match=r"begun\n[\s\S]*TimeoutError: stopped after 1.5 s"):
            tool("print('begun', flush=True)\nimport time\ntime.sleep(60)")
        assert tool("1") == "Stdout:\n\nOutput: 1"
    finally:
        tool.cleanup()


def test_a_large_output_is_cut_in_the_middle(tool):
    told = tool("'a' * 50_000 + 'b' * 50_000")
    assert len(told) < 21_000 and told.startswith("Stdout:\n\nOutput: aaa") and told.endswith("bbb")


def test_calls_from_several_threads_wait_for_each_other(tool):
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda n: tool(f"mine = {n}\nimport time\ntime.sleep(0.01)\nmine"), range(4)))
    assert told == [f"Stdout:\n\nOutput: {n}" for n in range(4)]


@pytest.mark.parametrize("number", [1, 2], ids=["alone", "while another waits"])
def test_a_stop_of_the_agent_ends_the_code(number, tmp_path):
    begun, ended = threading.Event(), threading.Event()
    functions = {"begun": begun.set, "ended": ended.set}
    tool = PythonInterpreterTool(executor_kwargs={"additional_functions": functions})
    reply = calls(*[("python_interpreter", {"code": "import time\nbegun()\ntime.sleep(10)\nended()"})] * number)
    agent = ToolCallingAgent(
        [tool], ScriptedModel([reply]), journal=tmp_path / "journal.sqlite", verbosity_level=LogLevel.OFF
    )
    stopping = threading.Thread(target=lambda: (begun.wait(), agent.interrupt()))
    stopping.start()
    try:
        *_, last = agent.events("run it")
        stopping.join()
        assert last.state == "interrupted"
        assert tool("1 + 1") == "Stdout:\n\nOutput: 2"
        assert not ended.is_set()
    finally:
        tool.cleanup()


@pytest.mark.parametrize("stopped", ["waits", "has ended"])
def test_a_stop_leaves_the_code_of_another_alone(stopped, tmp_path):
    """The call of the agent that is stopped waits until another has ended, or has had its turn."""
    begun, go_on, had = threading.Event(), threading.Event(), tmp_path / "had"
    os.mkfifo(had)
    functions = {"begun": begun.set, "go_on": go_on.wait}
    tool = PythonInterpreterTool(executor_kwargs={"additional_functions": functions, "box": False})
    reply = calls(*[("python_interpreter", {"code": f"open({str(had)!r}, 'w').close()"})] * 2)
    agent = ToolCallingAgent(
        [tool], ScriptedModel([reply]), journal=tmp_path / "journal.sqlite", verbosity_level=LogLevel.OFF
    )
    events = agent.events("run it")

    def until_the_first_is_made():
        called = (event for event in events if isinstance(event, ToolCalled))
        return [next(called) for _ in range(2)]

    with ThreadPoolExecutor(1) as pool:
        try:
            if stopped == "has ended":
                until_the_first_is_made()
                had.read_bytes()
            other = pool.submit(tool, "begun()\ngo_on()\n6 * 7")
            begun.wait()
            if stopped == "waits":
                until_the_first_is_made()
            agent.interrupt()
            go_on.set()
            assert other.result() == "Stdout:\n\nOutput: 42"
            *_, last = events
            assert last.state == "interrupted"
        finally:
            go_on.set()
            tool.cleanup()


def running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_child_starts_with_the_first_call_and_ends_with_the_tool():
    tool = PythonInterpreterTool(executor_kwargs={"box": False})  # its pid is one of ours
    assert tool._executor._client is None and tool.isolation == "none"
    pid = int(tool("import os\nprint(os.getpid())").split()[1])
    assert running(pid)
    tool.cleanup()
    assert not running(pid)
    pid = int(tool("import os\nprint(os.getpid())").split()[1])
    del tool
    gc.collect()
    assert not running(pid)


def test_the_model_is_told_what_may_be_imported():
    about = PythonInterpreterTool(authorized_imports=["numpy", "pandas.core"]).inputs["code"]["description"]
    assert "numpy, pandas.core" in about
    for everything in (None, ["*"]):
        assert "import" not in PythonInterpreterTool(authorized_imports=everything).inputs["code"]["description"]
    with pytest.raises(ConfigError, match="timeout_seconds 0"):
        PythonInterpreterTool(timeout_seconds=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timeout_seconds": 60}, r"give it to the tool itself: PythonInterpreterTool\(timeout_seconds=…\)"),
        ({"additional_authorized_imports": ["numpy"]}, r"PythonInterpreterTool\(authorized_imports=…\)"),
        ({"timeout": 60}, "executor_kwargs .*'timeout'"),
        ({"interrupt_grace_seconds": -1}, "interrupt_grace_seconds -1"),
        ({"limits": 5}, "limits 5: give a dict"),
        (5, "executor_kwargs 5 is no dict"),
    ],
)
def test_options_of_its_executor_that_cannot_be_had_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        PythonInterpreterTool(executor_kwargs=options)
