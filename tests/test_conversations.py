"""A conversation is played again from its beginning before one of its runs goes on, whatever became of those before."""

from __future__ import annotations

import threading

import pytest
from scripted_replies import calls, code, counted, read

from smol_kernel import Budget, CodeAgent, ScriptedModel, ToolCallingAgent, tool
from smol_kernel.errors import AgentError, ContextLengthError, ReplayDiffersError
from smol_kernel.events import Output, RunFinished
from smol_kernel.journal import Journal

LEFT = "final_answer((x, 'y' in globals(), 'z' in globals()))"
SAY = "\nprint('stop here', flush=True)\nwhile True: pass"


def fails(messages):
    raise RuntimeError("503, the server is busy")


def is_too_long(messages):
    raise ContextLengthError("too long")


class Stops:
    """A reply that does not come, for the run is stopped while the model is asked."""

    agent: CodeAgent | ToolCallingAgent

    def __call__(self, messages):
        self.agent.interrupt()
        return code("final_answer(0)")


@tool
def double(number: int) -> int:
    """Twice the number.

    Args:
        number: Which.
    """
    return 2 * number


def helper(replies):
    """An agent that others may call, or hand over to."""
    model = ScriptedModel([*replies], model_id="m")
    return CodeAgent([], model, name="helper", description="Helps.", verbosity_level=0)


def model(*replies):
    """One that tells its tokens, of these replies."""
    return ScriptedModel([counted(each) if isinstance(each, str) else each for each in replies], model_id="m")


def work(agent, **more):
    """Work on the second task, to whatever end, which is given; stop where that is printed."""
    stopping, state = None, ""
    try:
        for event in agent.events("second", reset=False, **more):
            if isinstance(event, Output) and "stop here" in str(event) and stopping is None:
                stopping = threading.Thread(target=agent.interrupt)
                stopping.start()
            state = event.state if isinstance(event, RunFinished) and event.run == agent.run_id else state
    except AgentError:
        pass
    if stopping is not None:
        stopping.join()
    return state


ENDS = {
    "success": ([code("y = 1"), code("final_answer(y)")], {}, "success"),
    "a call": ([code("y = double(4)"), code("final_answer(y)")], {"tools": [double]}, "success"),
    "a called agent": ([code("y = helper('Help.')"), code("final_answer(y)")], {"managed_agents": 1}, "success"),
    "a hand-off": ([code("y = 1\ntransfer_to_helper('It knows.')")], {"handoffs": 1}, "success"),
    "a hand-off to nowhere": ([code("y = 1\ntransfer_to_helper('It knows.')")], {"handoffs": 0}, "error"),
    "no reply": ([fails], {}, "error"),
    "no reply to the second step": ([code("y = 1"), fails], {}, "error"),
    "no plan": ([fails], {"planning_interval": 2}, "error"),
    "a best answer": ([code("y = 1"), code("z = 1"), "Some seven."], {"max_steps": 2}, "max_steps_error"),
    "no best answer": ([code("y = 1"), code("z = 1"), fails], {"max_steps": 2}, "max_steps_error"),
    "tokens": ([counted(code("y = 1"), 600)], {"budget": Budget(input_tokens=500)}, "budget"),
    "calls": ([code("y = double(1)\nz = double(2)")], {"tools": [double], "budget": Budget(tool_calls=1)}, "budget"),
    "time": ([code("y = 1\nprint(y)\nwhile True: pass")], {"budget": Budget(seconds=3)}, "budget"),
    "too long": ([code("y = 1"), *[is_too_long] * 9], {}, "error"),
    "stopped": (["stops"], {}, "interrupted"),
    "stopped in the second step": ([code("y = 1"), "stops"], {}, "interrupted"),
    "stopped in an action": ([code("y = 1" + SAY)], {}, "interrupted"),
    "a dead child": ([code("import os\nos._exit(1)"), code("x = 8"), code("final_answer(x)")], {}, "success"),
}  # fmt: skip


@pytest.mark.parametrize(("replies", "settings", "state"), ENDS.values(), ids=ENDS)
def test_a_run_goes_on_from_one_that_ended_in_any_way(replies, settings, state, tmp_path):
    given = {"tools": [], "verbosity_level": 0, **settings}
    limits = {"max_steps": given.pop("max_steps", 5)}
    for kind in ("managed_agents", "handoffs"):
        if kind in given:
            given[kind] = [helper([code("final_answer(5)")] * given[kind])]
    plan = ["A plan."] * ("planning_interval" in given)
    begins = model(*plan, code("x = 7"), code("final_answer(x)"))
    stops = Stops()
    with CodeAgent(model=begins, journal=tmp_path / "journal.sqlite", **given) as agent:
        agent.run("first")
        stops.agent, agent.model = agent, model(*(stops if each == "stops" else each for each in replies))
        assert work(agent, **limits) == state
        agent.model = model(*plan, code(LEFT))
        answer = agent.run("third", reset=False)
        asked = [read(messages) for messages in agent.model.requests]
    journal = Journal(tmp_path / "journal.sqlite")
    recorded = {run.run: len(journal.events(run.run, family=True)) for run in journal.runs()}
    goes_on = model(*plan, code(LEFT))
    options = {name: given[name] for name in ("tools", "managed_agents", "handoffs") if name in given}
    fork = {**options, "model": goes_on, "journal": journal, "verbosity_level": 0}
    if "while True" in str(replies):
        with pytest.raises(ReplayDiffersError, match=r"Of the earlier run .*only the 2 statements .* were run again"):
            CodeAgent.fork(agent.run_id, 0, **fork)
        fork["accept"] = True
    assert CodeAgent.fork(agent.run_id, 0, **fork) == answer
    assert [read(messages) for messages in goes_on.requests] == asked
    now = {run.run: len(journal.events(run.run, family=True)) for run in journal.runs()}
    assert {run: now[run] for run in recorded} == recorded and len(now) == len(recorded) + 1


@pytest.mark.parametrize("reply", [fails, "stops"])
def test_so_does_one_of_structured_calls(reply, tmp_path):
    given = {"tools": [double], "journal": tmp_path / "journal.sqlite", "verbosity_level": 0}
    agent = ToolCallingAgent(model=model(calls(("final_answer", {"answer": 1}))), **given)
    agent.run("first")
    stops = Stops()
    stops.agent, agent.model = agent, model(calls(("double", {"number": 4})), stops if reply == "stops" else reply)
    assert work(agent) == ("interrupted" if reply == "stops" else "error")
    agent.model = model(calls(("final_answer", {"answer": 2})))
    agent.run("third", reset=False)
    goes_on = model(calls(("final_answer", {"answer": 3})))
    assert ToolCallingAgent.fork(agent.run_id, 0, **{**given, "model": goes_on}) == 3
    assert [read(each) for each in goes_on.requests] == [read(each) for each in agent.model.requests]
