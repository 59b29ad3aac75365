"""Plans: when they are made, where they are kept, what callbacks may do with them."""

import pytest
from model_server import ModelServer, Text
from scripted_replies import call, code, counted, of, request

from smol_kernel.agents.tool_calling_agent import ToolCallingAgent
from smol_kernel.errors import AgentError, AgentGenerationError
from smol_kernel.events import MemoryEdited, ModelReplied, PlanMade, StepStarted
from smol_kernel.journal import Journal
from smol_kernel.memory.steps import ActionStep, PlanningStep, TaskStep
from smol_kernel.models.providers import OpenAIModel
from smol_kernel.models.scripted import ScriptedModel
from smol_kernel.tools.base import tool


@tool
def look(place: str) -> str:
    """Looks somewhere.

    Args:
        place: where.
    """
    return f"nothing at {place}"


@pytest.fixture
def planner(make):
    """Makes agents that plan every second step, and call tools."""

    def planner(replies, **options):
        return make(replies, [look], **{"kind": ToolCallingAgent, "planning_interval": 2, **options})

    return planner


SCRIPT = ["1. Look.", call("look", place="a"), call("look", place="b"), " 2. Look again. ", call("look", place="c")]
SCRIPT += [call("final_answer", answer="nothing")]


def test_the_reasoning_of_a_plan_is_no_part_of_it(planner):
    agent = planner(
        ["<think>All?</think> 1. Look.", call("look", place="a"), "<think>Hm.</think>", SCRIPT[-1]], planning_interval=1
    )
    events = list(agent.events("search"))
    assert [event.plan for event in of(PlanMade, events)] == ["1. Look."]
    assert [step.plan for step in agent.memory.steps if isinstance(step, PlanningStep)] == ["1. Look."]
    assert "All?" not in request(agent) and "Hm." not in request(agent)


def test_a_plan_comes_before_every_so_many_steps(planner, tmp_path):
    agent = planner(SCRIPT, max_steps=9)
    events = list(agent.events("search"))
    assert events[-1].state == "success"
    order = [type(event) for event in events if isinstance(event, PlanMade | StepStarted)]
    assert order == [PlanMade, StepStarted, StepStarted, PlanMade, StepStarted, StepStarted]
    assert [(event.plan, event.step) for event in of(PlanMade, events)] == [("1. Look.", 1), ("2. Look again.", 3)]
    purposes = ["plan", "action", "action", "plan", "action", "action"]
    assert [event.purpose for event in of(ModelReplied, events)] == purposes
    kinds = [TaskStep, PlanningStep, ActionStep, ActionStep, PlanningStep, ActionStep, ActionStep]
    assert [type(step) for step in agent.memory.steps] == kinds
    assert of(PlanMade, Journal(tmp_path / "journal.sqlite").events(agent.run_id)) == of(PlanMade, events)


@pytest.mark.parametrize("stream", [False, True])
def test_what_comes_behind_the_mark_of_a_plan_s_end_is_left_out(make, stream):
    """Templates of smolagents ask for the mark."""
    with ModelServer(Text("1. Look.<end_plan>\nThere is nothing."), Text(code("final_answer(1)"))) as server:
        model = OpenAIModel("double", server.url, "key")
        agent = make([], model=model, planning_interval=5, stream_outputs=stream)
        assert agent.run("search") == 1
    assert server.requests[0].body["stop"] == ["<end_plan>"]
    assert agent.memory.steps[1].plan == "1. Look."
    assert "There is nothing" not in str(server.requests[1].body)


def test_the_first_plan_is_asked_for_otherwise_than_later_ones_and_tells_the_steps_left(planner):
    agent = planner(SCRIPT, max_steps=9)
    agent.run("search")
    assert "Before you act, make a plan" in request(agent, 0)
    assert "Look back at the work so far" not in request(agent, 0)
    assert "Look back at the work so far" in request(agent, 3)
    assert "7 steps remain" in request(agent, 3)
    assert "{" not in request(agent, 3).partition("Look back")[2]
    assert "nothing at b" in request(agent, 3)
    assert "2. Look again." in request(agent, 4)


@pytest.mark.parametrize("interval", [None, 1, 3, 100])
def test_the_interval(planner, interval):
    plans = 0 if interval is None else 1 + (3 - 1) // interval
    agent = planner([], planning_interval=interval)
    agent.model = ScriptedModel(
        [lambda messages: "A plan." if "Write nothing else" in messages[-1].text else next(actions)] * (3 + plans)
    )
    actions = iter([call("look", place="a"), call("look", place="b"), call("final_answer", answer=1)])
    assert agent.run("search") == 1
    assert sum(isinstance(step, PlanningStep) for step in agent.memory.steps) == plans


def test_a_code_agent_plans_as_well_and_streams_its_plan(make):
    agent = make(["1. Add.", code("final_answer(1 + 1)")], planning_interval=1, stream_outputs=True)
    streamed = list(agent.run("add", stream=True))
    (plan,) = [item for item in streamed if isinstance(item, PlanningStep)]
    assert plan.plan == "1. Add."
    assert plan.timing.duration is not None
    assert [type(item).__name__ for item in streamed].index("PlanningStep") > 0  # after its pieces
    assert "".join(item.content for item in streamed[: streamed.index(plan)]) == "1. Add."
    assert plan in agent.memory.steps


def test_a_plan_is_counted(planner):
    replies = [counted("1. Look.", 100, 7), counted(call("final_answer", answer=1), 10, 5)]
    agent = planner(replies)
    result = agent.run("search", return_full_result=True)
    assert result.token_usage.dict()["input_tokens"] == 110
    assert result.steps[1]["token_usage"]["input_tokens"] == 100


def test_a_plan_that_a_callback_rewrites_is_what_the_model_reads(planner):
    def rewrite(step, agent):
        step.plan += "\n2. Ask the people."

    agent = planner(SCRIPT, step_callbacks={PlanningStep: rewrite})
    events = list(agent.events("search"))
    assert "1. Look.\n2. Ask the people." in request(agent, 1)
    assert of(PlanMade, events)[0].plan == "1. Look.\n2. Ask the people."
    assert of(MemoryEdited, events)[0].changes == {"plan": "1. Look.\n2. Ask the people."}


def test_a_callback_may_stop_the_run_at_its_plan_and_it_can_go_on(planner):
    def stop(step, agent):
        if len(agent.memory.steps) == 1:
            agent.interrupt()

    agent = planner([SCRIPT[0], "3. Go on.", call("final_answer", answer=1)], step_callbacks={PlanningStep: stop})
    with pytest.raises(AgentError, match="interrupted"):
        agent.run("search")
    assert [type(step) for step in agent.memory.steps] == [TaskStep, PlanningStep]
    assert len(agent.model.requests) == 1
    assert agent.run("search on", reset=False) == 1
    assert "1. Look." in request(agent)


def test_a_model_that_fails_at_the_plan_ends_the_run(planner, tmp_path):
    agent = planner([ValueError("no plan")])
    with pytest.raises(AgentGenerationError, match="no plan"):
        agent.run("search")
    last = Journal(tmp_path / "journal.sqlite").events(agent.run_id)[-1]
    assert (last.state, last.steps) == ("error", 0)


def test_a_summary_leaves_plans_out(planner):
    agent = planner(SCRIPT)
    agent.run("search")
    summary = "\n".join(message.text for message in agent.write_memory_to_messages(summary_mode=True))
    assert "nothing at c" in summary
    assert "Look again" not in summary


def test_templates_of_plans_are_the_users(planner):
    names = "{% for tool in tools.values() %}{{ tool.name }} {% endfor %}"
    templates = {"planning": {"initial_plan": f"PLAN {{{{ task }}}} with {names}", "update_plan_pre_messages": "AGAIN"}}
    agent = planner(SCRIPT, prompt_templates=templates)
    agent.run("search")
    assert "PLAN search with look" in request(agent, 0)
    assert "AGAIN\n\nThen write a new plan" in request(agent, 3)


def test_a_conversation_that_goes_on_is_looked_back_at(planner):
    agent = planner(["1. Look.", call("final_answer", answer=1), "2. Look.", call("final_answer", answer=2)])
    agent.run("search")
    assert agent.run("search on", reset=False) == 2
    assert "Look back at the work so far" in request(agent, 2)
