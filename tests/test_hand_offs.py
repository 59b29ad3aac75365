"""Hand-offs: another agent takes over the task, the conversation and the variables, and its answer is the run's."""

import threading
from itertools import pairwise

import pytest
from living import children
from PIL import Image
from scripted_replies import call, calls, code, counted, final, images, of, read, request

from smol_kernel.agents.code_agent import CodeAgent
from smol_kernel.agents.managed_agent import MOST_HAND_OFFS, AgentRecipe, functions
from smol_kernel.agents.tool_calling_agent import ToolCallingAgent
from smol_kernel.errors import AgentError, AgentGenerationError, SmolError
from smol_kernel.events import (
    Checked,
    FinalAnswer,
    HandedOff,
    Output,
    RunFinished,
    RunStarted,
    ToolProgress,
    emit,
    watched,
)
from smol_kernel.journal import Journal
from smol_kernel.memory.budget import Budget
from smol_kernel.memory.monitoring import LogLevel
from smol_kernel.memory.steps import ActionStep, FinalAnswerStep, TaskStep
from smol_kernel.models.scripted import ScriptedModel
from smol_kernel.tools.base import tool


@pytest.fixture
def make(tmp_path):
    """Makes agents; no child may be left of those that took over."""
    before, made = children(), []

    def make(kind, replies, tools=(), name=None, **options):
        options = {"journal": None if name else tmp_path / "journal.sqlite", "verbosity_level": LogLevel.OFF, **options}
        about = {"name": name, "description": f"Knows about {name}."} if name else {}
        agent = kind(list(tools), ScriptedModel(replies), **about, **options)
        if name is None:
            made.append(agent)
        return agent

    yield make
    for agent in made:
        agent.cleanup()
    assert children() - before == set()


def over(name, reason="It knows more."):
    """A reply that hands over, for either kind of agent."""
    return calls((f"transfer_to_{name}", {"reason": reason}))


def family(agent, events):
    """Check that each run is in the journal once, in its own place; gives their names, the first to begin first."""
    begun = of(RunStarted, events)
    assert len({event.run for event in begun}) == len(begun)
    journal = Journal(agent.journal)
    for event in begun:
        mine = [one for one in events if one.run == event.run and one.durable]
        assert journal.events(event.run) == mine
        assert len(of(RunFinished, mine)) == 1
    assert journal.events(agent.run_id, family=True) == [event for event in events if event.durable]
    for caller, event in pairwise(begun):
        assert (event.parent, event.call) == (caller.run, None)
    return [event.name for event in begun]


def test_the_other_agent_answers_in_the_same_child_and_conversation(make):
    writer = make(CodeAgent, [code("y = x + 1\nfinal_answer(y)")], name="writer")
    agent = make(
        CodeAgent,
        [code("x = 41\nprint('see: forty-one')"), code("print(transfer_to_writer('It writes better.'))")],
        handoffs=[writer],
    )
    events = list(agent.events("write", additional_args={"given": [1, 2]}))
    assert (agent.answer, agent.life.answered, events[-1].state) == (42, True, "success")
    assert family(agent, events) == [None, "writer"]
    [handed] = of(HandedOff, events)
    assert (handed.agent, handed.reason, handed.run, handed.step) == ("writer", "It writes better.", agent.run_id, 2)
    [said] = writer.model.requests
    for told in ("write", "`given`", "see: forty-one", "takes over after this action"):
        assert told in read(said)
    assert [event.run for event in of(FinalAnswer, events)] == [of(RunStarted, events)[1].run, agent.run_id]
    assert "transfer_to_writer" in agent.system_prompt
    assert "transfer_to" not in writer.system_prompt
    assert agent.state["y"] == 42


@pytest.mark.parametrize("first", [CodeAgent, ToolCallingAgent])
def test_from_one_kind_to_the_other_variables_are_known_by_name(make, first):
    picture = Image.new("RGB", (4, 3))
    if first is CodeAgent:
        other = make(ToolCallingAgent, [call("look", of="picture"), final("made")], [look], name="other")
        replies = [code("made = given * 2\ntransfer_to_other('Call tools.')")]
    else:
        other = make(CodeAgent, [code("final_answer(look(picture) + str(given * 2))")], [look], name="other")
        replies = [over("other")]
    agent = make(first, replies, handoffs=[other])
    answer = agent.run("look", additional_args={"given": 21, "picture": picture})
    if first is CodeAgent:
        assert answer == 42
        assert "(4, 3)" in request(other)
    else:
        assert answer == "(4, 3)42"


@tool
def look(of: object) -> str:
    """Tells the size.

    Args:
        of: which image.
    """
    return str(of.size)


def test_images_that_tools_gave_are_known_to_the_next(make):
    @tool
    def draw() -> object:
        """Draws."""
        return Image.new("RGB", (5, 6))

    other = make(
        ToolCallingAgent, [call("look", of="image.png"), lambda said: final(said[-1].text[-6:])], [look], name="other"
    )
    agent = make(ToolCallingAgent, [call("draw"), over("other")], [draw], handoffs=[other])
    assert agent.run("draw") == "(5, 6)"
    assert images(other.model.requests[0])[0].size == (5, 6)
    writer = make(CodeAgent, [code("final_answer('ok')")], name="writer")
    agent = make(ToolCallingAgent, [call("draw"), over("writer")], [draw], handoffs=[writer])
    assert agent.run("draw") == "ok"  # in code it has no name


def test_there_and_back_the_child_is_the_same(make):
    """A ToolCallingAgent between two that write code knows the first one's variables, and hands them on."""
    last = make(CodeAgent, [code("final_answer(x + 1)")], name="last")
    mid = make(ToolCallingAgent, [over("last")], name="mid", handoffs=[last])
    agent = make(CodeAgent, [code("x = 1\ntransfer_to_mid('Go on.')")], handoffs=[mid])
    events = list(agent.events("count"))
    assert agent.answer == 2
    assert family(agent, events) == [None, "mid", "last"]
    assert [(event.run, event.agent) for event in of(HandedOff, events)] == [
        (begun.run, name) for begun, name in zip(of(RunStarted, events), ["mid", "last"], strict=False)
    ]


def test_the_ball_goes_to_and_fro_but_not_for_ever(make):
    ping = make(ToolCallingAgent, [over("pong")] * 20, name="ping")
    pong = make(ToolCallingAgent, [over("ping")] * 20, name="pong", handoffs=[ping])
    ping.handoffs["pong"] = pong
    agent = make(ToolCallingAgent, [over("ping")], handoffs=[ping])
    events = []
    with pytest.raises(AgentError, match=f"handed on {MOST_HAND_OFFS} times"):
        list(watched(agent.events("play"), events.append))
    assert len(of(RunStarted, events)) == MOST_HAND_OFFS + 1
    assert {event.state for event in of(RunFinished, events)} == {"error"}
    family(agent, events)


def test_to_and_fro_with_an_answer(make):
    pong = make(ToolCallingAgent, [over("ping")], name="pong")
    ping = make(ToolCallingAgent, [over("pong"), final("point")], name="ping", handoffs=[pong])
    pong.handoffs["ping"] = ping
    agent = make(ToolCallingAgent, [over("ping")], handoffs=[ping])
    assert agent.run("play") == "point"
    assert [type(step) for step in agent.memory.steps] == [TaskStep, *[ActionStep] * 4]  # its own, and theirs


def test_a_recipe_may_take_over(make):
    recipe = AgentRecipe("fresh", "Is made when needed.", lambda: make(ToolCallingAgent, [final("made")], name="fresh"))
    agent = make(ToolCallingAgent, [over("fresh")], handoffs=[recipe])
    assert agent.run("make") == "made"


# what is the run's


def test_limits_and_checks_of_the_run(make):
    def counts(answer, memory):
        return answer == "right" or "It is wrong."

    wrong = make(ToolCallingAgent, [final("wrong"), final("right")], name="other", final_answer_checks=[counts])
    agent = make(ToolCallingAgent, [counted(over("other"))], handoffs=[wrong], budget=Budget(steps=3))
    ended = []
    agent.step_callbacks.register(FinalAnswerStep, lambda step: ended.append(step.output))
    result = agent.run("ask", return_full_result=True)
    assert (result.output, result.state, result.used["steps"], ended) == ("right", "success", 3, ["right"])


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"output_type": int}, "many"),
        ({"checks": [lambda answer: answer == 2]}, 1),
        ({"final_answer_checks": [lambda answer: answer == 2]}, 1),
    ],
)
def test_who_takes_over_is_held_to_what_was_asked_of_the_first(make, options, wrong):
    other = make(ToolCallingAgent, [final(wrong), final(2)], name="other")
    agent = make(ToolCallingAgent, [over("other")], handoffs=[other], **options)
    assert agent.run("ask") == 2
    assert (other.answer_type, other.checks) == (None, [])


def test_expressions_that_check_are_tried_in_the_first_ones_child(make):
    """Whoever answers: an agent that calls tools too, and the one that it hands on to."""
    last = make(ToolCallingAgent, [final(1), final(2)], name="last")
    mid = make(ToolCallingAgent, [over("last")], name="mid", handoffs=[last])
    agent = make(CodeAgent, [code("least = 2\ntransfer_to_mid('Go on.')")], handoffs=[mid], checks=["answer >= least"])
    events = list(agent.events("count"))
    assert agent.answer == 2
    assert [(seen.check, seen.ok) for seen in of(Checked, events)] == [("answer >= least", ok) for ok in (False, True)]


def test_a_recipe_that_keeps_its_agent_gets_it_back_as_it_was(make):
    kept = make(ToolCallingAgent, [final(2), final("two")], name="kept")
    recipe = AgentRecipe("kept", "Is made once.", lambda: kept)
    strict = make(ToolCallingAgent, [over("kept")], handoffs=[recipe], output_type=int, checks=[lambda answer: answer])
    assert strict.run("ask") == 2
    assert (kept.answer_type, kept.checks) == (None, [])
    assert make(ToolCallingAgent, [over("kept")], handoffs=[recipe]).run("ask") == "two"


@pytest.mark.parametrize(
    ("replies", "options", "state", "output", "said"),
    [
        (["Hm.", "Best."], {"max_steps": 1}, "max_steps_error", "Best.", "limit of 1 step"),
        ([counted("Hm.")] * 3, {"budget": Budget(input_tokens=5)}, "budget", "All.", "input tokens"),
    ],
)
def test_where_the_other_finds_no_answer_the_run_ends_so(make, replies, options, state, output, said):
    other = make(ToolCallingAgent, replies, name="other", **options)
    agent = make(ToolCallingAgent, [over("other"), "All."], handoffs=[other])
    stream = list(agent.run("ask", stream=True))
    steps = of(ActionStep, stream)
    assert len({id(step) for step in steps}) == len(steps)
    assert stream[-1].output == output
    agent.model = ScriptedModel([over("other"), "All."])
    other.model = ScriptedModel(replies)
    result = agent.run("ask", return_full_result=True)
    assert (result.state, result.output) == (state, output)
    assert said in result.error


def test_a_model_that_fails_after_the_hand_off_fails_the_run(make):
    other = make(ToolCallingAgent, [ValueError("gone")], name="other")
    agent = make(ToolCallingAgent, [over("other"), final("next")], handoffs=[other])
    with pytest.raises(AgentGenerationError, match="gone"):
        agent.run("ask")
    assert Journal(agent.journal).events(agent.run_id)[-1].state == "error"
    assert agent.run("again") == "next"


def test_an_answer_beside_the_hand_off_counts(make):
    other = make(CodeAgent, [], name="other")
    agent = make(CodeAgent, [code("transfer_to_other('x')\nfinal_answer(3)")], handoffs=[other])
    assert agent.run("ask") == 3
    assert other.model.requests == []


def test_an_action_that_fails_after_the_hand_off_still_hands_over(make):
    other = make(CodeAgent, [code("final_answer(before)")], name="other")
    agent = make(CodeAgent, [code("before = 1\ntransfer_to_other('x')\n1/0")], handoffs=[other])
    assert agent.run("ask") == 1
    assert "ZeroDivisionError" in request(other)


def test_a_called_agent_may_hand_over(make):
    expert = make(ToolCallingAgent, [final("expert's")], name="expert")
    clerk = make(ToolCallingAgent, [over("expert")], name="clerk", handoffs=[expert])
    agent = make(ToolCallingAgent, [call("clerk", task="x"), lambda said: final(said[-1].text)], managed_agents=[clerk])
    assert "Report of clerk" in agent.run("ask")
    assert agent.answer.endswith("expert's")
    runs = {event.run: event for event in of(RunStarted, Journal(agent.journal).events(agent.run_id, family=True))}
    names = [(event.name, event.parent and runs[event.parent].name) for event in runs.values()]
    assert names == [(None, None), ("clerk", None), ("expert", "clerk")]


def test_the_conversation_can_go_on(make):
    other = make(CodeAgent, [code("y = x + 1\nfinal_answer(y)")], name="other")
    agent = make(CodeAgent, [code("x = 1\ntransfer_to_other('x')"), code("final_answer(y)")], handoffs=[other])
    assert agent.run("ask") == 2
    assert agent.run("and now?", reset=False) == 2
    assert list(functions(agent)) == ["final_answer", "transfer_to_other"]


@pytest.mark.parametrize("kind", [CodeAgent, ToolCallingAgent])
@pytest.mark.parametrize("other_kind", [CodeAgent, ToolCallingAgent])
def test_the_conversation_knows_what_the_other_did(make, kind, other_kind):
    def answers(kind, answer):
        return final(answer) if kind is ToolCallingAgent else code(f"final_answer({answer!r})")

    last = make(other_kind, [answers(other_kind, "Your refund is no. 7731.")], name="last")
    between = make(CodeAgent, [code("print('seen between')\ntransfer_to_last('x')")], handoffs=[last], name="between")
    first = over("between") if kind is ToolCallingAgent else code("transfer_to_between('x')")
    agent = make(kind, [first, answers(kind, "7731")], handoffs=[between])
    assert "7731" in agent.run("I want a refund.")
    agent.run("Which number was that?", reset=False)
    said = read(agent.model.requests[-1])
    assert said.count("7731") and said.count("seen between") and said.count("I want a refund.") == 1
    assert said.index("7731") < said.index("Which number")
    steps = [step for step in agent.memory.steps if isinstance(step, ActionStep)]
    assert len(steps) == len({id(step) for step in steps}) == 4


# stopped


def go_in_a_model(messages):
    emit(ToolProgress(tool="model", text="go"))
    threading.Event().wait()


@pytest.mark.parametrize("by", ["interrupt", "close"])
@pytest.mark.parametrize("where", ["in a model", "in code"])
def test_a_stop_reaches_the_one_at_work(make, where, by):
    kind = CodeAgent if where == "in code" else ToolCallingAgent
    reply = code("print('go', flush=True)\nwhile True: pass") if where == "in code" else go_in_a_model
    other = make(kind, [reply], name="other")
    agent = make(ToolCallingAgent, [over("other"), final("ok")], handoffs=[other])
    stream, seen = agent.events("ask"), []
    for event in stream:
        seen.append(event)
        if isinstance(event, Output | ToolProgress):
            if by == "close":
                break
            agent.interrupt()
    stream.close()
    journal = Journal(agent.journal)
    assert [journal.events(event.run)[-1].state for event in of(RunStarted, seen)] == ["interrupted"] * 2
    assert agent.run("again") == "ok"


def test_a_stop_between_two_agents_begins_nothing(make):
    other = make(ToolCallingAgent, [final("late")], name="other")
    agent = make(ToolCallingAgent, [over("other")], handoffs=[other])
    for event in agent.events("ask"):
        if isinstance(event, HandedOff):
            agent.interrupt()
    assert event.state == "interrupted"
    assert other.model.requests == []


def test_a_tool_or_agent_that_a_hand_off_would_hide_is_refused(make):
    hidden, other = (make(ToolCallingAgent, [], name=name) for name in ("transfer_to_other", "other"))
    with pytest.raises(SmolError, match="called 'transfer_to_other'"):
        make(ToolCallingAgent, [], managed_agents=[hidden], handoffs=[other])


@pytest.mark.parametrize(
    ("handoffs", "said"),
    [
        (["other", "other"], "two agents or tools"),
        ([None], "neither name nor description"),
        ([look], "name and a description"),
    ],
)
def test_agents_that_could_not_be_called_by_name_are_refused(make, handoffs, said):
    with pytest.raises(SmolError, match=said):
        make(
            ToolCallingAgent,
            [],
            handoffs=[one if one is look else make(ToolCallingAgent, [], name=one) for one in handoffs],
        )
