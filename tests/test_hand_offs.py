"""An agent hands its task on: conversation and child go along, and the other's answer is the run's."""

from __future__ import annotations

import pytest
from scripted_replies import call, code, read

from smol_kernel import AgentError, CodeAgent, Journal, LogLevel, ScriptedModel, ToolCallingAgent
from smol_kernel.events import FinalAnswer, HandedOff, RunFinished, RunStarted


@pytest.fixture
def make(tmp_path):
    made = []

    def make(kind, replies, **options):
        agent = kind([], ScriptedModel(replies), journal=tmp_path / "j.sqlite", verbosity_level=LogLevel.OFF, **options)
        made.append(agent)
        return agent

    yield make
    for agent in made:
        agent.cleanup()


def test_conversation_and_variables_go_along_and_the_answer_is_the_run_s(make, tmp_path):
    expert = make(CodeAgent, [code("final_answer(found * 2)")], name="expert", description="Doubles.")
    first = make(CodeAgent, [code("found = 21\ntransfer_to_expert(reason='it doubles')")], handoffs=[expert])
    events = list(first.events("double what you find"))
    assert (first.answer, events[-1].state) == (42, "success")
    (handed,) = [event for event in events if isinstance(event, HandedOff)]
    assert (handed.agent, handed.reason, handed.run) == ("expert", "it doubles", first.run_id)
    started = [event for event in events if isinstance(event, RunStarted)]
    assert (started[1].parent, started[1].name) == (first.run_id, "expert")
    assert "found = 21" in read(expert.model.requests[0])
    answers = [event.run for event in events if isinstance(event, FinalAnswer)]
    assert sorted(answers) == sorted([first.run_id, started[1].run])
    stored = Journal(tmp_path / "j.sqlite").events(first.run_id, family=True)
    assert [event for event in stored if isinstance(event, RunStarted)] == started


def test_code_hands_on_to_structured_calls_and_back(make):
    last = make(CodeAgent, [code("final_answer(n + 1)")], name="last", description="Ends.")
    caller = make(
        ToolCallingAgent,
        [call("transfer_to_last", reason="sums")],
        name="caller",
        description="Calls.",
        handoffs=[last],
    )
    first = make(CodeAgent, [code("n = 1\ntransfer_to_caller(reason='calls')")], handoffs=[caller])
    assert first.run("count") == 2


def test_a_task_that_is_handed_on_for_ever_is_ended(make):
    ping = make(CodeAgent, [code("transfer_to_pong(reason='you')")] * 20, name="ping", description="Pings.")
    pong = make(CodeAgent, [code("transfer_to_ping(reason='no, you')")] * 20, name="pong", description="Pongs.")
    ping.handoffs, pong.handoffs = {"pong": pong}, {"ping": ping}
    with pytest.raises(AgentError, match="handed on 10 times"):
        ping.run("play")


def test_a_stop_reaches_the_agent_that_took_over(make):
    slow = make(CodeAgent, [code("import time\nprint('in')\ntime.sleep(600)")], name="slow", description="Waits.")
    first = make(CodeAgent, [code("transfer_to_slow(reason='it waits')")], handoffs=[slow])
    states = []
    for event in first.events("wait"):
        if getattr(event, "text", "") == "in\n":
            first.interrupt()
        if isinstance(event, RunFinished):
            states.append(event.state)
    assert states == ["interrupted", "interrupted"]
