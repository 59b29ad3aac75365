"""A tool reads and writes the variables of the action that calls it, while that waits for the tool."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from contextlib import nullcontext

import pytest

from smol_kernel import CodeAgent, ScriptedModel
from smol_kernel.errors import ExecutorError, NotPortableError
from smol_kernel.events import ActionFinished, ToolCalled
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.local import LocalPythonExecutor
from smol_kernel.executors.values import RemoteValue, decode
from smol_kernel.tools import tool

WAYS = pytest.mark.parametrize("way", ["plain", "threaded", "async"])


@pytest.fixture(scope="module", params=[True, False], ids=["boxed", "not boxed"])
def kernel(request):
    executor = KernelExecutor(timeout_seconds=60, interrupt_grace_seconds=1, box=request.param)
    yield executor
    executor.cleanup()


@pytest.fixture
def fresh(kernel):
    """The same child without the variables of other tests."""
    kernel.clear_interrupt()
    kernel.forget(kernel.names())
    return kernel


def work(executor, way, do):
    """Offer `ask`, a tool of that kind, which does something with the executor."""
    if way == "async":

        @tool
        async def ask(what: str = "") -> object:
            """Asks.

            Args:
                what: It is told.
            """
            return do(what)
    else:

        @tool(threaded=way == "threaded")
        def ask(what: str = "") -> object:
            """Asks.

            Args:
                what: It is told.
            """
            return do(what)

    executor.send_tools({"ask": ask})


def run(executor, code):
    *_, finished = executor.run(code)
    assert isinstance(finished, ActionFinished)
    return finished


def value(executor, code):
    finished = run(executor, code)
    assert finished.status == "ok", finished.traceback
    return decode(finished.value)


@WAYS
def test_a_tool_reads_what_the_action_made_before(fresh, way):
    state = fresh.state
    state["sent"] = "before"
    work(fresh, way, lambda name: [state[name], state.get("nothing", "none"), "nothing" in state, name in state])
    assert value(fresh, "made = [1, 2]\nask('made')") == [[1, 2], "none", False, True]
    assert value(fresh, "ask('sent')") == ["before", "none", False, True]


@WAYS
def test_a_tool_sets_variables_for_the_next_line_and_for_a_restarted_child(fresh, way):
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame({"n": range(100_000)})

    def do(name):
        fresh.send_variables({"large": table})
        fresh.state[name] = {1, 2}
        del fresh.state["old"]

    work(fresh, way, do)
    assert value(fresh, "old = 1\nask('new')\nnew, int(large.n.sum()), 'old' in globals()") == (
        {1, 2},
        int(table.n.sum()),
        False,
    )
    assert set(fresh.names()) == {"new", "large"}
    run(fresh, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    assert value(fresh, "new, len(large)") == ({1, 2}, 100_000)


def test_what_cannot_cross_is_told_as_ever(fresh):
    def do(name):
        with pytest.raises(NotPortableError):
            fresh.state["lock"] = threading.Lock()
        with pytest.raises(ExecutorError, match="could not take the variable 'odd'"):
            fresh.state["odd"] = Unpickled()
        return [isinstance(fresh.read(name), RemoteValue), "odd" in fresh.state]

    work(fresh, "plain", do)
    assert value(fresh, "import threading\nlock = threading.Lock()\nask('lock')") == [True, False]


class Unpickled:
    """In the child it never becomes anything."""

    def __reduce__(self):
        return int, ("no number",)


@WAYS
def test_several_tools_at_once_from_threads_of_the_child(fresh, way):
    def do(name):
        fresh.state[f"of_{name}"] = fresh.state[name]
        return fresh.state[name]

    work(fresh, way, do)
    code = """
from concurrent.futures import ThreadPoolExecutor
for place in range(8):
    globals()[f'v{place}'] = place
with ThreadPoolExecutor(8) as pool:
    found = list(pool.map(ask, [f'v{place}' for place in range(8)]))
found + [globals()[f'of_v{place}'] for place in range(8)]
"""
    assert value(fresh, code) == [*range(8)] * 2


def test_several_that_are_awaited_together(fresh):
    together = threading.Barrier(5)

    def do(name):
        together.wait(30)
        return fresh.state[name]

    work(fresh, "threaded", do)
    code = "import asyncio\na, b, c, d, e = range(5)\nawait asyncio.gather(*map(ask.aio, 'abcde'))"
    assert value(fresh, code) == [*range(5)]


@WAYS
def test_threads_of_a_tools_own_ask_too(fresh, way):
    def do(name):
        found = []
        threads = [threading.Thread(target=lambda: found.append(fresh.state[name])) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found

    work(fresh, way, do)
    assert value(fresh, "x = 5\nask('x')") == [5, 5, 5]


def test_one_asks_while_another_call_is_outstanding_whose_loop_stands_still(fresh):
    asked = threading.Event()

    def do(what):
        if what == "other":
            return asked.wait(30)
        try:
            return fresh.read(what)
        finally:
            asked.set()

    work(fresh, "threaded", do)
    code = "x = 1\nother = asyncio.ensure_future(ask.aio('other'))\nawait asyncio.sleep(0)\n"
    assert value(fresh, f"import asyncio\n{code}[ask('x'), await other]") == [1, True]


def test_a_call_that_is_given_up_answers_no_more_and_another_does(fresh):
    begun, given_up, found = threading.Event(), threading.Event(), []

    def do(what):
        if what == "late":
            begun.set()
            given_up.wait(30)
            found.append(fresh.read("x"))
            found.append(fresh.names())
            given_up.clear()
        elif what == "begun":
            begun.wait(30)
        else:
            given_up.set()
            while given_up.is_set():
                fresh.read("x")
        return what

    work(fresh, "threaded", do)
    code = """
import asyncio
x = 1
late = asyncio.ensure_future(ask.aio('late'))
await ask.aio('begun')
late.cancel()
await asyncio.sleep(0)
await ask.aio('now')
"""
    assert value(fresh, code) == "now"
    assert found == [1, ["asyncio", "x", "late"]]


def test_without_a_call_that_waits_it_is_an_error_at_once(fresh):
    work(fresh, "plain", lambda what: what)
    seen = []
    for event in fresh.run("print('on')\nask('x')"):
        if isinstance(event, ActionFinished):
            break
        with pytest.raises(ExecutorError, match="busy"):
            fresh.read("x")
        with pytest.raises(ExecutorError, match="busy"):
            fresh.send_variables({"x": 1})
        assert "x" not in fresh.names()
        seen.append(type(event))
    assert ToolCalled in seen


def test_a_stop_ends_the_question(fresh):
    def do(_):
        fresh.interrupt()
        fresh.read("x")

    work(fresh, "plain", do)
    assert run(fresh, "x = 1\nask()").status == "interrupted"
    fresh.clear_interrupt()
    assert value(fresh, "x") == 1


def test_a_child_that_ends_at_the_question_is_told(fresh):
    work(fresh, "plain", lambda name: str(fresh.read(name)))
    code = """
import os
class Odd:
    def __reduce__(self): os._exit(3)
    @property
    def __dict__(self): os._exit(3)
    def __repr__(self): os._exit(3)
odd = Odd()
ask('odd')
"""
    assert run(fresh, code).status == "died"
    assert value(fresh, "1") == 1


def test_an_interrupt_reaches_a_value_that_is_being_made_ready(tmp_path):
    os.mkfifo(pipe := tmp_path / "pipe")
    executor = KernelExecutor(box=False)
    work(executor, "plain", lambda name: str(executor.read(name)))
    code = f"""
class Slow:
    def __repr__(self):
        open({str(pipe)!r}, 'w').close()
        while True: pass
slow = Slow()
ask('slow')
"""
    stopper = threading.Thread(target=lambda: (pipe.read_text(), executor.interrupt()))
    stopper.start()
    try:
        assert run(executor, code).status == "interrupted"
        stopper.join()
        executor.clear_interrupt()
        assert value(executor, "type(slow).__name__") == "Slow"
    finally:
        executor.cleanup()


@WAYS
@pytest.mark.parametrize("how", ["Ctrl-C", "Ctrl-C while another thread works", "time limit"])
def test_the_one_who_asks_for_a_value_that_is_never_ready_is_not_waited_for(tmp_path, way, how):
    os.mkfifo(pipe := tmp_path / "pipe")
    executor, said = KernelExecutor(box=False, timeout_seconds=1 if how == "time limit" else None), []

    def do(name):
        try:
            executor.read(name)
        except BaseException as error:
            said.append(repr(error))
            raise

    work(executor, way, do)
    code = f"""
class Slow:
    def __repr__(self):
        open({str(pipe)!r}, 'w').close()
        while True: pass
slow = Slow()
ask('slow')
"""
    press = how != "time limit"

    def wait_and_press():
        pipe.read_text()
        if how == "Ctrl-C":
            os.kill(os.getpid(), signal.SIGINT)
        elif press:  # as it is, too, when it comes just before the main thread begins to wait: nothing wakes it
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    presser = threading.Thread(target=wait_and_press)
    presser.start()
    try:
        with pytest.raises(KeyboardInterrupt) if press else nullcontext():
            for event in executor.run(code):
                last = event
        assert last.status == ("interrupted" if press else "timeout")
        assert ["being stopped" in each or each == "KeyboardInterrupt()" for each in said] == [True], said
        assert value(executor, "type(slow).__name__") == "Slow"
    finally:
        presser.join()
        executor.cleanup()


def code(source):
    return f"```python\n{source}\n```"


def agent(*replies, tools=(), **options):
    model = ScriptedModel([code(reply) for reply in replies])
    return CodeAgent(list(tools), model, journal=False, verbosity_level=0, **options)


def test_tools_of_a_managed_agent_reach_both_states():
    found = {}

    @tool
    def look(where: str) -> None:
        """Looks.

        Args:
            where: Who calls.
        """
        for name, one in (("boss", boss), ("helper", helper)):
            found[where, name] = sorted(set(one.state) & {"of_boss", "of_helper", "seen"})
            one.state["seen"] = one.state[f"of_{name}"] + 1

    helper = agent(
        "of_helper = 1\nlook('helper')\nfinal_answer(str(seen))", tools=[look], name="helper", description="helps"
    )
    boss = agent("of_boss = 10\nsaid = helper('go')\nfinal_answer((said[-1:], seen))", managed_agents=[helper])
    with boss, helper:
        assert boss.run("go") == ("2", 11)
    assert found == {("helper", "boss"): ["of_boss"], ("helper", "helper"): ["of_helper"]}


def test_an_agent_that_runs_in_a_tool_has_a_state_of_its_own():
    @tool
    def ask_expert() -> int:
        """Asks."""
        boss.state["asked"] = True
        return expert.run("go") + boss.state["x"]

    @tool
    def both() -> list:
        """Reads."""
        return [expert.state["y"], boss.state["x"]]

    expert = agent("y = 1\nfinal_answer(sum(both()))", tools=[both])
    boss = agent("x = 100\nfinal_answer((ask_expert(), asked))", tools=[ask_expert])
    with boss, expert:
        assert boss.run("go") == (201, True)


def test_the_state_of_an_agent_under_arun_and_with_the_executor_of_smolagents():
    executor = LocalPythonExecutor([])

    @tool
    def whose() -> str:
        """Tells the user."""
        return one.state["user_id"] + one.python_executor.state["user_id"]

    one = agent("final_answer(whose())", tools=[whose], executor=executor)
    with one:
        assert asyncio.run(one.arun("go", additional_args={"user_id": "ada"})) == "adaada"
