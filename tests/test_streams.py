"""`run(stream=True)`: the objects smolagents' users know, each once, and closed at any point."""

from __future__ import annotations

import pytest
from scripted_replies import call, calls, code, final

from smol_kernel import AgentError, CodeAgent, KernelExecutor, LogLevel, ScriptedModel, ToolCallingAgent, tool


@pytest.fixture(scope="module")
def child():
    executor = KernelExecutor()
    yield executor
    executor.cleanup()


@pytest.fixture
def make(child):
    def make(replies, tools=(), kind=CodeAgent, **options):
        if kind is CodeAgent:
            options["executor"] = child
        return kind(list(tools), ScriptedModel(replies), journal=False, verbosity_level=LogLevel.OFF, **options)

    return make


@tool
def double(n: int) -> int:
    """Doubles.

    Args:
        n: A number.
    """
    return 2 * n


def kinds(stream):
    return [type(item).__name__ for item in stream]


def test_the_order_of_code_with_plans_and_errors(make):
    agent = make(["A plan.", code("1 / 0"), code("final_answer(3)")], planning_interval=3)
    assert kinds(agent.run("go", stream=True, reset=False)) == [
        "PlanningStep", "ToolCall", "ActionStep", "ToolCall", "ActionOutput", "ActionStep", "FinalAnswerStep",
    ]  # fmt: skip


def test_the_order_of_structured_calls(make):
    agent = make([calls(("double", {"n": 1}), ("double", {"n": 2})), final("done")], [double], ToolCallingAgent)
    items = list(agent.run("go", stream=True))
    assert kinds(items) == [
        "ToolCall", "ToolCall", "ToolOutput", "ToolOutput", "ActionOutput", "ActionStep",
        "ToolCall", "ToolOutput", "ActionOutput", "ActionStep", "FinalAnswerStep",
    ]  # fmt: skip
    assert sorted(item.output for item in items[2:4]) == [2, 4]
    assert items[-1].output == "done"


def test_pieces_of_the_reply_come_first(make):
    agent = make([code("final_answer(3)")], stream_outputs=True)
    items = list(agent.run("go", stream=True, reset=False))
    pieces = [item.content for item in items if type(item).__name__ == "ChatMessageStreamDelta"]
    assert "".join(pieces) == code("final_answer(3)")
    assert kinds(items)[len(pieces) :] == ["ToolCall", "ActionOutput", "ActionStep", "FinalAnswerStep"]


def test_out_of_steps_each_step_comes_once(make):
    agent = make([code("1"), "Best."], max_steps=1)
    items = list(agent.run("go", stream=True, reset=False))
    assert [item.step_number for item in items if type(item).__name__ == "ActionStep"] == [1, 2]
    assert items[-1].output == "Best."


@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_closed_at_any_point_the_agent_is_free_again(make, after):
    agent = make([code("x = 1"), code("final_answer(x)"), code("final_answer(2)")], stream_outputs=True)
    stream = agent.run("go", stream=True, reset=False)
    for _ in range(after):
        next(stream)
    stream.close()
    asked = len(agent.model.requests)
    agent.model.replies = [code("final_answer(7)")] * (asked + 1)
    assert agent.run("again", reset=False) == 7


def test_a_stream_left_half_way_is_ended_by_the_next_run(make):
    agent = make([code("x = 1"), code("final_answer(2)")])
    left = agent.run("go", stream=True, reset=False)
    next(left)
    assert agent.run("again", reset=False) == 2
    assert list(left) == []


def test_an_interrupt_is_raised_in_the_stream(make):
    agent = make([code("x = 1"), code("x = 2")])
    with pytest.raises(AgentError, match="interrupted"):  # noqa: PT012 - the loop is what is tried
        for item in agent.run("go", stream=True, reset=False):
            if type(item).__name__ == "ActionStep":
                agent.interrupt()


def test_called_agents_are_left_out(make):
    helper = make([call("final_answer", answer="hi")], (), ToolCallingAgent, name="helper", description="Helps.")
    agent = make([code("final_answer(helper('greet'))")], managed_agents=[helper])
    items = list(agent.run("go", stream=True, reset=False))
    assert kinds(items) == ["ToolCall", "ActionOutput", "ActionStep", "FinalAnswerStep"]
    assert "hi" in items[-1].output
