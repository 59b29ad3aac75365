"""What the host reads of a child between actions: variables, `State`, checks on live values; names that are gone."""

from __future__ import annotations

import re
import threading

import numpy as np
import pytest

from smol_kernel.errors import ConfigError, ExecutorError, NotPortableError
from smol_kernel.events import ActionFinished, Checked, Output, ToolCalled
from smol_kernel.executors.base import CodeOutput, PythonExecutor, as_executor
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.local import LocalPythonExecutor
from smol_kernel.executors.state import State
from smol_kernel.executors.values import RemoteValue, decode
from smol_kernel.tools import tool


@tool
def ping() -> str:
    """Answers."""
    return "pong"


@pytest.fixture(scope="module")
def kernel():
    executor = KernelExecutor(timeout_seconds=60, interrupt_grace_seconds=1)
    executor.send_tools({"ping": ping})
    yield executor
    executor.cleanup()


@pytest.fixture
def fresh(kernel):
    """The same child without the variables of other tests."""
    kernel.clear_interrupt()
    kernel.timeout_seconds, kernel.interrupt_grace_seconds = 60, 1
    kernel.forget(kernel.names())
    return kernel


def run(executor, code):
    *_, finished = executor.run(code)
    assert isinstance(finished, ActionFinished)
    return finished


def checked(executor, *expressions, **options):
    *_, last = events = list(executor.check(expressions, **options))
    assert isinstance(last, Checked)
    return [(event.check, event.ok, event.reason) for event in events if isinstance(event, Checked)]


# reading


def test_variables_are_read_from_the_child(fresh):
    run(fresh, "x = {'a': [1, 2]}\nimport threading\nlock = threading.Lock()\n_hidden = 5")
    assert fresh.names() == ["x", "threading", "lock"]
    assert fresh.read("x") == {"a": [1, 2]}
    assert fresh.read("_hidden") == 5
    lock = fresh.read("lock")
    assert isinstance(lock, RemoteValue) and lock.handle == "lock"
    with pytest.raises(KeyError, match="nothing"):
        fresh.read("nothing")


def test_reading_in_the_midst_of_an_action_is_an_error(fresh):
    for event in fresh.run("ping()"):
        if isinstance(event, ToolCalled):
            with pytest.raises(ExecutorError, match="busy"):
                fresh.read("x")
            assert isinstance(fresh.names(), list)


def test_an_answer_that_is_not_sound_is_an_error(fresh):
    run(
        fresh,
        "from smol_in_child import values\nkept = values.encode\n"
        "values.encode = lambda *a, **k: {'$': 'pickle', 'v': 1}",
    )
    try:
        with pytest.raises(ExecutorError, match="unknown tag 'pickle'"):
            fresh.read("kept")
    finally:
        run(fresh, "values.encode = kept")


def test_state_is_a_dict_that_reads_through(fresh):
    state = State(fresh, {}, {})
    assert (len(state), dict(state), "x" in state) == (0, {}, False)
    state["x"] = [1]
    state.update({"y": 2}, z=3)
    run(fresh, "x.append(y)\nw = 'made there'\ndel z")
    state["x"].append(3)  # to a copy
    assert state["x"] == [1, 2]
    assert state.get("w") == "made there"
    assert state.get("z") is None and "z" not in state
    assert sorted(state.keys()) == ["w", "x", "y"]
    assert sorted(state.items()) == [("w", "made there"), ("x", [1, 2]), ("y", 2)]
    assert repr(state) == "<State of 3 variables: x, y, w>"
    assert state.pop("y") == 2
    assert run(fresh, "y").error_type == "NameError"
    with pytest.raises(KeyError):
        del state["y"]
    with pytest.raises(NotPortableError, match="variable 'lock'"):
        state["lock"] = threading.Lock()
    state.clear()
    assert fresh.names() == [] and dict(state) == {}


def test_options_of_the_host_do_not_hold_in_an_action(fresh):
    with np.printoptions(precision=1):
        assert run(fresh, "import numpy\nnumpy.array([1.25])").value_text == "array([1.25])"


def test_state_goes_together_with_dicts_and_can_be_another(fresh):
    state = fresh.state
    state["x"] = 1
    assert state == {"x": 1} and state != {"x": 2}
    assert (state | {"y": 2}, {"x": 0, "y": 2} | state) == ({"x": 1, "y": 2}, {"x": 1, "y": 2})
    assert {**state} == dict(state) == state.copy() == {"x": 1}
    state |= {"y": 3}
    assert state == {"x": 1, "y": 3}
    with pytest.raises(ConfigError):
        state.become({"ping": 1})  # a tool's name
    assert state == {"x": 1, "y": 3}
    state.become({"z": 5})
    assert fresh.names() == ["z"]


def test_state_never_starts_a_child():
    executor = KernelExecutor(python="/nowhere/python")
    marker = object()
    state = executor.state
    state.update({"f": len, "n": 1})
    assert state["f"] is len
    assert (list(state), "n" in state, state.get("other", marker)) == (["f", "n"], True, marker)
    del state["n"]
    assert executor.names() == ["f"]
    assert executor.read("f") is len


def test_state_of_a_stopped_executor_can_be_set_and_the_rest_stays(fresh):
    run(fresh, "made = 1")
    fresh.interrupt()
    fresh.state["x"] = 2
    fresh.send_tools({"ping": ping})
    assert run(fresh, "1").status == "interrupted"
    fresh.clear_interrupt()
    assert decode(run(fresh, "made + x").value) == 3


def test_names_lost_to_a_stop_while_something_is_handed_over_are_told():
    executor = KernelExecutor()
    try:
        run(executor, "made = 1\nimport threading\ncode = '''\nimport time\nwhile True: time.sleep(1)\n'''")
        executor.send_variables({"kept": 1})
        stopper = threading.Timer(0, executor.interrupt)
        stopper.start()
        executor.send_variables({"slow": Slow()})  # unpickling it takes for ever
        stopper.join()
        finished = run(executor, "1")
        assert (finished.status, sorted(finished.lost)) == ("interrupted", ["code", "made", "threading"])
        executor.clear_interrupt()
        executor.forget(["slow"])
        finished = run(executor, "kept")
        assert (finished.status, finished.lost, finished.names) == ("ok", [], ["kept"])
    finally:
        executor.cleanup()


class Slow:
    """In the child it never becomes anything."""

    def __reduce__(self):
        return exec, ("import time\nwhile True: time.sleep(1)",)


# a user's own executor


class Own:
    """What smolagents' users write, without a class of ours."""

    def __init__(self):
        self.namespace, self.tools, self.closed = {}, {}, False

    def send_tools(self, tools):
        self.tools = tools

    def send_variables(self, variables):
        self.namespace.update(variables)

    def __call__(self, code_action):
        return CodeOutput(eval(code_action, {**self.tools, **self.namespace}), "logs", False)

    def cleanup(self):
        self.closed = True


def test_an_executor_of_another_class_is_wrapped():
    own = Own()
    executor = as_executor(own)
    assert isinstance(executor, PythonExecutor) and as_executor(executor) is executor
    executor.send_tools({"ping": ping})
    state = State(executor, {}, {})
    state["n"] = 20
    assert executor("ping() * 2").output == "pongpong"
    finished = run(executor, "n + 1")
    assert (decode(finished.value), finished.logs) == (21, "logs")
    assert (dict(state), "other" in state) == ({"n": 20}, False)
    assert run(executor, "1 / 0").error_type == "ZeroDivisionError"
    assert checked(executor, "answer == 3", "answer > 3", "other", answer=3) == [
        ("answer == 3", True, ""),
        ("answer > 3", False, "is False"),
        ("other", False, "name 'other' is not defined"),
    ]
    executor.interrupt()
    executor.cleanup()
    assert own.closed


@pytest.mark.parametrize(("wrong", "words"), [(Own, "is a class"), (3, "has no send_tools and no send_variables")])
def test_what_is_no_executor_is_refused(wrong, words):
    with pytest.raises(ConfigError, match=words):
        as_executor(wrong)


def test_smolagents_programs_use_the_local_executor_directly():
    executor = LocalPythonExecutor(["json"], additional_functions={"twice": lambda x: 2 * x})
    try:
        executor.send_tools({})
        executor.send_variables({"n": 4})
        assert executor.state["n"] == 4
        assert executor("import json\nprint('hi')\nm = twice(n)") == CodeOutput(8, "hi\n", False)
        assert executor(code_action="final_answer(m)") == CodeOutput(8, "", True)
        assert executor.state["m"] == 8
    finally:
        executor.cleanup()


# checks


def test_checks_see_the_very_object_that_was_given_as_answer(fresh):
    run(fresh, "class Rows(list):\n    pass\nrows = Rows([1, 2])\nlimit = 3\nfinal_answer(rows)")
    before = fresh.names()
    assert checked(
        fresh, "answer is rows", "all(a < limit for a in answer)", "(new := 5) == 5", "len(answer) == 3"
    ) == [
        ("answer is rows", True, ""),
        ("all(a < limit for a in answer)", True, ""),
        ("(new := 5) == 5", True, ""),
        ("len(answer) == 3", False, "is False"),
    ]
    finished = run(fresh, "'answer' in globals() or 'new' in globals()")
    assert decode(finished.value) is False
    assert fresh.names() == before


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise", "SyntaxError: "),
        ("answer.missing", "AttributeError: 'list' object"),
        ("[]", r"is \[\]"),
        ("pd.Series([True, False])", "gives a Series, which is neither true nor false: The truth value"),
        ("np.False_", "is (np.)?False_?"),
        ("exit()", "SystemExit"),
        ("ping()", "RuntimeError: the action of this call has ended"),
        ("'x' * 10_000 + 1", "TypeError"),
    ],
)
def test_a_check_that_fails_tells_why(fresh, expression, reason):
    pytest.importorskip("pandas")
    run(fresh, "import numpy as np, pandas as pd\nfinal_answer([1])")
    [(_, ok, why), (_, other, _)] = checked(fresh, expression, "np.True_")
    assert (ok, other) == (False, True)
    assert re.match(reason, why), why


def test_without_an_answer_of_its_own_the_child_gets_a_copy(fresh):
    run(fresh, "x = 5")
    assert checked(fresh, "answer == x", answer=5) == [("answer == x", True, "")]
    with pytest.raises(NotPortableError, match="'answer'"):
        list(fresh.check(["answer"], threading.Lock()))


def test_what_a_check_prints_is_output(fresh):
    run(fresh, "final_answer(1)")
    *_, output, verdict = fresh.check(["print('looked') is None"])
    assert isinstance(output, Output) and (output.text, verdict.ok) == ("looked\n", True)


def test_a_check_ends_at_the_time_limit_and_at_a_stop(fresh):
    run(fresh, "import time\ndef wait():\n    while True: time.sleep(0.01)\nfinal_answer(1)")
    fresh.timeout_seconds, fresh.interrupt_grace_seconds = 3, 10
    (_, first, _), (_, slow, why), (_, after, _) = checked(fresh, "answer == 1", "wait()", "answer == 1")
    assert (first, slow, after) == (True, False, False)
    assert "stopped after 3 s" in why
    fresh.timeout_seconds = 60
    for event in fresh.check(["print('on') or wait()"]):
        if isinstance(event, Output):
            fresh.interrupt()
    assert isinstance(event, Checked) and "interrupted" in event.reason
    [(_, ok, why)] = checked(fresh, "True")
    assert not ok and "stopped before it began" in why
    fresh.clear_interrupt()
    assert checked(fresh, "answer == 1") == [("answer == 1", True, "")]


def test_a_child_that_dies_of_a_check_is_told_and_its_names_next():
    executor = KernelExecutor()
    try:
        run(executor, "import os\nx = 1\nfinal_answer(1)")
        [(_, ok, why)] = checked(executor, "os.kill(os.getpid(), 9)")
        assert not ok and "ended by itself" in why
        finished = run(executor, "2")
        assert (finished.status, finished.lost) == ("ok", ["os", "x"])
    finally:
        executor.cleanup()
