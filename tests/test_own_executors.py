"""Executors of a program's own: a `__call__` before one of ours, objects of another class, and where they are given."""

from __future__ import annotations

from collections import Counter

import pytest
from scripted_replies import call, code, request

from smol_kernel.agents.code_agent import CodeAgent
from smol_kernel.agents.tool_calling_agent import ToolCallingAgent
from smol_kernel.errors import AgentExecutionError, ConfigError
from smol_kernel.events import ActionFinished, ActionProposed, FilesMade, Output, ToolCalled, ToolReturned
from smol_kernel.executors.base import CodeOutput, PythonExecutor, failure
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.local import LocalPythonExecutor
from smol_kernel.executors.values import RemoteValue, decode
from smol_kernel.journal import Journal
from smol_kernel.memory.steps import ActionStep
from smol_kernel.tools import tool


@tool
def double(number: int) -> int:
    """Twice the number.

    Args:
        number: what to double.
    """
    return 2 * number


class Guard(LocalPythonExecutor):
    """Refuses some code, and notes all."""

    def __init__(self, *given, **options):
        super().__init__(*given, **options)
        self.asked = []

    def __call__(self, code_action):
        self.asked.append(code_action)
        if "rm -rf" in code_action:
            raise ValueError("refused by policy")
        return super().__call__(code_action)


class Audit:
    """The same as a class to mix in."""

    def __call__(self, code_action):
        self.asked = [*getattr(self, "asked", []), code_action]
        if "rm -rf" in code_action:
            raise ValueError("refused by policy")
        return super().__call__(code_action)


class Audited(Audit, KernelExecutor):
    """A guard by a mixin."""


class Further(Guard):
    """A subclass of a guard."""


class ByRun(Guard):
    """A guard that goes on by `run`."""

    def __call__(self, code_action):
        self.asked.append(code_action)
        if "rm -rf" in code_action:
            raise ValueError("refused by policy")
        finished = [event for event in self.run(code_action) if isinstance(event, ActionFinished)][-1]
        if finished.status != "ok":
            raise AgentExecutionError("\n".join(filter(None, [finished.logs, failure(finished)])))
        return CodeOutput(decode(finished.value), finished.logs, finished.final)


@pytest.fixture(params=[Guard, Audited, Further, ByRun])
def guard(request):
    executor = request.param()
    yield executor
    executor.cleanup()


def passed_on(make, guard, way, replies, tools=()):
    if way == "given":
        return make(replies, tools, executor=guard)
    if way == "made":
        kind = type("Own", (CodeAgent,), {"create_python_executor": lambda self: guard})
        return make(replies, tools, kind=kind)
    agent = make(replies, tools)
    agent.python_executor = guard
    return agent


@pytest.mark.parametrize("way", ["given", "made", "set"])
def test_a_guard_of_the_child_is_asked(make, guard, way):
    replies = [code("x = 'rm -rf'"), code("x = double(number=2)\nprint('seen')\nx"), code("final_answer(x)")]
    agent = passed_on(make, guard, way, replies, [double])
    assert agent.run("go") == 4
    assert agent.python_executor is guard
    assert guard.asked == ["x = 'rm -rf'", "x = double(number=2)\nprint('seen')\nx", "final_answer(x)"]
    refused, ran, _ = agent.memory.steps[1:]
    assert type(refused.error) is AgentExecutionError and "refused by policy" in refused.error.message
    assert (ran.error, ran.observations) == (None, "Execution logs:\nseen\nLast output from code snippet:\n4")
    assert agent.state["x"] == 4


def test_what_happens_behind_a_guard_is_recorded(make, guard, tmp_path):
    agent = make([code("x = double(number=2)\nprint('seen')"), code("final_answer('a')")], [double], executor=guard)
    agent.run("go")
    kinds = (ActionProposed, Output, ToolCalled, ToolReturned, ActionFinished)
    events = [e for e in Journal(tmp_path / "journal.sqlite").events(agent.run_id) if isinstance(e, kinds)]
    assert [type(e) for e in events[:4]] == [ActionProposed, ToolCalled, ToolReturned, Output]
    ended = [e for e in events if isinstance(e, ActionFinished)]
    assert [(e.names, e.completed, e.value_text) for e in ended] == [(["x"], 2, ""), (["x"], 1, "'a'")]


def test_an_error_behind_a_guard_is_told_as_without(make, guard):
    agent = make([code("print('half')\n1 / 0"), code("final_answer(1)")], executor=guard)
    plain = make([code("print('half')\n1 / 0"), code("final_answer(1)")])
    assert agent.run("go") == plain.run("go") == 1
    errors = [each.memory.steps[1].error for each in (agent, plain)]
    assert errors[0].message == errors[1].message and "ZeroDivisionError" in errors[0].message
    assert request(agent) == request(plain)


def test_a_value_that_stays_in_the_child_is_told_as_without(guard):
    *_, ended = (
        e for e in guard.run("import threading\nlock = threading.Lock()\nlock") if isinstance(e, ActionFinished)
    )
    assert ended.status == "ok" and ended.value_text.startswith("<unlocked")
    assert isinstance(guard("lock").output, RemoteValue)
    assert guard("1 + 1") == CodeOutput(2, "", False)
    with pytest.raises(AgentExecutionError, match="ZeroDivisionError"):
        guard("1 / 0")
    with pytest.raises(ValueError, match="policy"):
        guard("'rm -rf'")


class Hides(LocalPythonExecutor):
    """Changes what came of an action."""

    def __call__(self, code_action):
        if "twice" in code_action:
            super().__call__("kept = 1")
        try:
            done = super().__call__(code_action)
        except AgentExecutionError:
            return CodeOutput("it failed, which is fine", "", False)
        if "raise later" in code_action:
            raise PermissionError("what it gave is refused")
        if "in place" in code_action:
            done.output.clear()
        else:
            done.output = "hidden"
        done.logs = done.logs.replace("key", "***")
        return done


@pytest.mark.parametrize(
    ("action", "status", "text", "logs"),
    [
        ("print('the key')\n'key'", "ok", "hidden", "the ***"),
        ("# in place\n['key']", "ok", "[]", ""),
        ("# raise later\nprint('the key')", "error", "", ""),
        ("kept / 0", "ok", "it failed, which is fine", ""),
        ("# twice\nkept + 1", "ok", "hidden", ""),
    ],
)
def test_a_guard_may_change_what_is_seen(action, status, text, logs):
    executor = Hides()
    try:
        events = list(executor.run(action))
    finally:
        executor.cleanup()
    (ended,) = (event for event in events if isinstance(event, ActionFinished))
    assert (ended.status, ended.value_text, ended.logs.strip()) == (status, text, logs)
    assert "key" not in repr(ended)


def test_files_of_an_action_are_told_before_its_end(guard, tmp_path):
    guard.cwd = tmp_path
    events = list(guard.run("open('made.txt', 'w').write('text')"))
    if guard.isolation != "none":
        assert [type(event) for event in events[-2:]] == [FilesMade, ActionFinished]


def test_a_stop_behind_a_guard_is_one(make, guard):
    @tool
    def stop() -> None:
        """Stops."""
        agent.interrupt()

    agent = make([code("stop()\nwhile True: pass")], [stop], executor=guard)
    assert agent.run("go", return_full_result=True).state == "interrupted"


def test_a_child_that_cannot_be_had_ends_the_run_behind_a_guard_too(make):
    agent = make([code("1")] * 3, executor=Guard(timeout_seconds=5))
    agent.python_executor.python = "/nowhere/python"
    with pytest.raises(ConfigError, match="/nowhere/python"):
        agent.run("go")
    assert len(agent.model.requests) == 1


def test_a_run_of_ones_own_is_not_passed_by():
    class Both(KernelExecutor):
        def run(self, code):
            yield ActionFinished(status="ok", value=1)

        def __call__(self, code_action):
            return CodeOutput(2, "", False)

    class Under(Guard):
        def run(self, code):
            yield from super().run(f"{code} + 1")

    executor = Under()
    try:
        assert next(iter(Both().run("x"))).value == 1
        assert [e.value for e in executor.run("1") if isinstance(e, ActionFinished)] == [2]
        assert executor.asked == ["1 + 1"]
    finally:
        executor.cleanup()


def test_a_call_that_has_nothing_behind_it_says_so():
    class Empty(PythonExecutor):
        def send_tools(self, tools): ...

        def send_variables(self, variables): ...

        def __call__(self, code_action):
            return super().__call__(code_action)

    with pytest.raises(NotImplementedError, match="Empty"):
        Empty()("1")


def test_a_run_behind_a_guard_is_taken_up(make, tmp_path):
    def count() -> int:
        """Counts."""
        counted.append(1)
        return len(counted)

    counted = []
    given = {"tools": [tool(count)], "journal": tmp_path / "journal.sqlite"}
    agent = make([code("n = count()")], given["tools"], executor=Guard(), max_steps=1)
    agent.run("go")
    model = make([code("final_answer(n + 1)")]).model
    again = Guard()
    assert CodeAgent.resume(agent.run_id, executor=again, model=model, max_steps=3, **given) == 2
    assert again.asked == ["n = count()", "final_answer(n + 1)"] and counted == [1]


# objects of another class


class Foreign:
    """What smolagents' users write, without a class of ours."""

    def __init__(self):
        self.variables, self.tools, self.asked, self.closed = {}, {}, [], False

    def send_tools(self, tools):
        self.tools = tools

    def send_variables(self, variables):
        self.variables.update(variables)

    def __call__(self, code_action):
        self.asked.append(code_action)
        return CodeOutput(eval(code_action, {**self.tools, **self.variables}), "", code_action.startswith("final"))

    def cleanup(self):
        self.closed = True


@pytest.mark.parametrize("way", ["given", "made", "set"])
def test_an_object_of_another_class_works_wherever_it_is_given(make, way):
    foreign = Foreign()
    agent = passed_on(make, foreign, way, [code("double(number=n)"), code("final_answer(n)")], [double])
    assert agent.run("go", additional_args={"n": 3}) == 3
    assert foreign.asked == ["double(number=n)", "final_answer(n)"]
    assert agent.isolation == "none"
    agent.cleanup()
    assert foreign.closed


@pytest.mark.parametrize("way", ["given", "made", "set"])
def test_what_is_no_executor_is_refused_wherever_it_is_given(make, way):
    with pytest.raises(ConfigError, match="executor"):
        passed_on(make, object(), way, [])


def test_an_agent_that_takes_over_acts_in_the_executor_of_the_other(make):
    foreign = Foreign()
    other = make([code("final_answer(n + 1)")], name="other", description="Goes on.")
    agent = make([code("transfer_to_other(reason='so')")], handoffs=[other], executor=foreign)
    assert agent.run("go", additional_args={"n": 1}) == 2
    assert foreign.asked[-1] == "final_answer(n + 1)"
    caller = make([call("transfer_to_other", reason="so")], kind=ToolCallingAgent, handoffs=[other])
    other.model.replies.append(code("final_answer(5)"))
    assert caller.run("go") == 5


# one executor for several agents


@pytest.fixture
def shared():
    executor = LocalPythonExecutor()
    yield executor
    executor.cleanup()


def test_an_agent_is_told_which_names_another_that_began_afresh_has_ended(make, shared):
    replies = ["y = kept = other = 1\nfinal_answer(y)", "kept = 2", "final_answer(y)", "final_answer(kept)"]
    first = make([code(reply) for reply in replies], executor=shared)
    second = make([code("y += 1\nfinal_answer(y)"), code("other = 5\nfinal_answer(other)")], executor=shared)
    first.state["mine"] = shared.state["again"] = 1
    assert (first.run("t", additional_args={"given": 1, "anew": 1}), second.run("t"), second.run("t")) == (1, 2, 5)
    assert first.run("t", reset=False, additional_args={"anew": 1}) == 2
    _, told, failed, _ = (step for step in first.memory.steps if isinstance(step, ActionStep))
    assert told.observations.endswith("These names are gone: given, y, kept, other.")
    assert "NameError" in str(failed.error) and "gone" not in str(failed.error)


@pytest.mark.parametrize("end", ["cleanup", "kill", "nothing"])
def test_it_is_told_as_well_of_a_child_that_ended_otherwise(make, shared, end):
    killed = code("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    first = make([code("y = 1\nfinal_answer(y)"), code("final_answer(2)")], executor=shared)
    second = make([*([killed] if end == "kill" else []), code("final_answer(3)")], executor=shared)
    first.run("t")
    if end == "cleanup":
        second.cleanup()
    second.run("t", reset=False)
    *_, told = (event for event in first.events("t", reset=False) if isinstance(event, ActionFinished))
    assert told.lost == ([] if end == "nothing" else ["y"])


def test_a_manager_and_its_worker_cannot_act_in_one_executor_at_a_time(make, shared):
    worker = make([code("final_answer(1)")] * 2, executor=shared, name="worker", description="works")
    ask = "try:\n    worker('go')\nexcept Exception as error:\n    print(error)\n"
    manager = make([code(f"x = 5\n{ask}{ask}"), code("final_answer(x)")], executor=shared, managed_agents=[worker])
    assert manager.run("t") == 5
    (step, _) = (step for step in manager.memory.steps if isinstance(step, ActionStep))
    assert step.observations.count("busy with another action") == 2


class Here(PythonExecutor):
    """Runs actions in this process."""

    def send_tools(self, tools):
        """They are not needed."""

    def send_variables(self, variables):
        self.variables = dict(variables)

    def __call__(self, code_action):
        return CodeOutput(eval(code_action, self.variables), "", is_final_answer=True)


@pytest.mark.parametrize(("own", "of_agent", "most"), [(None, None, 20_000), (None, 500, 500), (700, None, 700)])
def test_of_a_long_answer_of_an_own_executor_the_model_reads_as_much_as_was_said(make, own, of_agent, most):
    here = Here()
    here.max_print_outputs_length = own
    agent = make([code("'word ' * 100_000")], executor=here, max_print_outputs_length=of_agent)
    assert len(agent.run("go")) == 500_000
    assert most <= len(agent.memory.steps[-1].observations) < most + 200


@pytest.mark.parametrize("action", ["thing", "[thing, 1]", "{'a': thing}", "type(thing)", "counts"])
def test_the_answer_of_an_own_executor_is_the_very_object(make, action):
    class Thing:
        pass

    seen = []
    given = {"thing": Thing(), "counts": Counter("aab")}
    options = {"executor": Here(), "final_answer_checks": [lambda answer, memory: seen.append(answer) or True]}
    agent = make([code(action)], **options)
    answer = agent.run("go", additional_args=given)
    assert type(answer) is type(eval(action, dict(given))) and answer == eval(action, dict(given))
    assert seen[0] is answer and agent.memory.steps[1].action_output is answer
