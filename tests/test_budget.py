"""Limits of a run: each alone, shared with the agents it calls, and what is left when one is reached."""

import subprocess
import sys
import threading

import pytest
from model_server import ModelServer, Text
from scripted_replies import call, code, counted, of, request

from smol_kernel.agents.tool_calling_agent import ToolCallingAgent
from smol_kernel.errors import ConfigError
from smol_kernel.events import ActionFinished, ModelReplied, RunFinished, RunStarted, ToolReturned
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.journal import Journal
from smol_kernel.memory.budget import Account, Budget
from smol_kernel.memory.loading import loading
from smol_kernel.models.litellm import LiteLLMModel
from smol_kernel.tools.base import tool

SOON = 2
"""Seconds of a budget that something hanging uses up."""


@tool
def look(place: str) -> str:
    """Looks somewhere.

    Args:
        place: where.
    """
    return f"nothing at {place}"


@pytest.fixture
def caller(make):
    """Makes agents that call tools; these need no child."""
    return lambda replies, tools=(look,), **options: make(replies, tools, kind=ToolCallingAgent, **options)


@pytest.fixture(scope="module")
def child():
    """A child that runs already, so that no time of a budget goes by until it does."""
    executor = KernelExecutor(interrupt_grace_seconds=30)
    executor("x = 0")
    yield executor
    executor.cleanup()


@pytest.fixture
def never():
    """An event that is set when the test is over."""
    event = threading.Event()
    yield event
    event.set()


SLOW_TO_LOAD = """
import sys, time

class Slow:  # on this system LiteLLM takes a hundred seconds to load
    def find_spec(self, name, path=None, target=None):
        if name == "litellm":
            time.monotonic = lambda now=time.monotonic: now() + 100

sys.meta_path.insert(0, Slow())
from smol_kernel import Budget, CodeAgent, LiteLLMModel
model = LiteLLMModel("openai/double", api_base=sys.argv[1], api_key="none")
agent = CodeAgent([], model, planning_interval=1, budget=Budget(seconds=90), verbosity_level=0, journal=False)
result = agent.run("the task", return_full_result=True)
print(result.state, result.output)
"""


def test_the_time_in_which_litellm_is_loaded_is_not_of_the_budget():
    with ModelServer(Text("1. Answer."), Text(code("final_answer(7)"))) as server:
        done = subprocess.run(
            [sys.executable, "-c", SLOW_TO_LOAD, server.url], capture_output=True, text=True, timeout=120, check=False
        )
    assert done.stdout.split() == ["success", "7"], done.stdout + done.stderr


def test_only_while_somebody_waits_is_the_clock_of_a_budget_still():
    account = Account(Budget(seconds=60))
    with loading(), loading():
        before = account.used["seconds"]
        assert account.used["seconds"] == pytest.approx(before, abs=1e-9)


@pytest.mark.parametrize("limits", [{name: 0} for name in ("steps", "cost")] + [{"seconds": -1}, {"tool_calls": "3"}])
def test_a_limit_is_a_number_above_nothing(limits):
    (name, value), *_ = limits.items()
    with pytest.raises(ConfigError, match=f"{name} is {value!r}"):
        Budget(**limits)


@pytest.mark.parametrize("wrong", [True, float("nan"), {}])
def test_what_only_looks_like_a_number_is_refused(wrong):
    with pytest.raises(ConfigError, match="budget: steps is"):
        Budget(steps=wrong)


def test_a_budget_of_another_kind_is_refused_when_the_agent_is_made(caller):
    with pytest.raises(ConfigError, match="budget is"):
        caller([], budget={"steps": 3})


def test_within_its_limits_a_run_is_like_any_other(caller):
    budget = Budget(steps=2, input_tokens=100, output_tokens=100, cost=1, seconds=600, tool_calls=1)
    replies = [counted(call("look", place="x"), cost=0.01), counted(call("final_answer", answer=1), cost=0.01)]
    result = caller(replies, budget=budget).run("look", return_full_result=True)
    assert (result.output, result.state, result.error) == (1, "success", None)
    assert {**result.used, "seconds": 0} == {
        "steps": 2,
        "input_tokens": 20,
        "output_tokens": 10,
        "cost": pytest.approx(0.02),
        "seconds": 0,
        "tool_calls": 1,
    }


def test_steps_are_counted_over_the_whole_run(caller):
    agent = caller([call("look", place="a"), call("look", place="b"), "Nothing at all."], budget=Budget(steps=2))
    result = agent.run("look", return_full_result=True)
    assert (result.output, result.state) == ("Nothing at all.", "budget")
    assert result.error == "The budget is used up: 2 of 2 steps."
    assert result.used["steps"] == 2
    assert "nothing at b" in request(agent)


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"input_tokens": 15}, "20 of 15 input tokens"),
        ({"output_tokens": 10}, "10 of 10 output tokens"),
        ({"cost": 0.03}, "$0.04 of $0.03"),
    ],
)
def test_where_tokens_or_money_are_used_up_the_model_is_not_asked_again(caller, limit, said):
    replies = [counted(call("look", place=place), cost=0.02) for place in "ab"]
    agent = caller([*replies, "not asked for"], budget=Budget(**limit))
    events = list(agent.events("look"))
    finished = events[-1]
    assert (finished.state, finished.steps) == ("budget", 2)
    assert said in finished.error
    assert len(agent.model.requests) == 2
    assert len(of(ToolReturned, events)) == 2  # what was paid for is still run


def test_of_an_unknown_price_nothing_is_guessed(caller):
    agent = caller([counted(call("look", place="a")), "not asked for"], budget=Budget(cost=1))
    result = agent.run("look", return_full_result=True)
    assert result.state == "budget"
    assert "what the model costs is unknown" in result.error
    assert result.used["cost"] is None
    assert result.used["input_tokens"] == 10
    agent = caller([counted(call("final_answer", answer=1))])
    finished = list(agent.events("cost"))[-1]
    assert (finished.cost, finished.input_tokens) == (None, 10)


def test_of_unknown_token_counts_the_sum_is_unknown(caller):
    agent = caller([counted(call("look", place="a")), call("final_answer", answer=1)])
    result = agent.run("look", return_full_result=True)
    assert result.token_usage is None


@pytest.mark.parametrize("name", ["input_tokens", "output_tokens"])
def test_a_limit_on_tokens_that_nobody_tells_ends_the_run_as_one_on_the_cost_does(caller, name):
    agent = caller([call("look", place="a"), call("look", place="b")], budget=Budget(**{name: 9}))
    result = agent.run("look", return_full_result=True)
    assert (result.state, result.used["steps"], result.used[name]) == ("budget", 1, None)
    assert "the model does not tell how many" in result.error and "best answer" not in result.error


def test_a_plan_and_a_last_answer_are_looked_at_too(caller):
    agent = caller([counted("1. Look.", 30)], budget=Budget(input_tokens=20), planning_interval=1)
    events = list(agent.events("plan"))
    assert [event.purpose for event in of(ModelReplied, events)] == ["plan"]
    assert (events[-1].state, events[-1].steps) == ("budget", 1)
    agent = caller([counted(call("look", place="a"), 30)], budget=Budget(input_tokens=20), max_steps=1)
    result = agent.run("look", return_full_result=True)
    assert "30 of 20 input tokens" in result.error
    assert len(agent.model.requests) == 1


def test_a_refused_answer_is_the_best_there_is(caller):
    replies = [counted(call("final_answer", answer=7)), "not asked for"]
    agent = caller(replies, checks=[lambda answer: answer > 10], budget=Budget(input_tokens=10))
    result = agent.run("big", return_full_result=True)
    assert (result.output, result.state) == (7, "budget")


def test_the_call_too_many_is_refused_in_the_child_and_ends_the_run(make):
    text = "for place in 'abc':\n    try:\n        print(look(place))\n    except Exception as error:\n"
    text += "        print(type(error).__name__, error)"
    agent = make([code(text), "Nothing."], [look], budget=Budget(tool_calls=2))
    events = list(agent.events("look"))
    assert [event.ok for event in of(ToolReturned, events)] == [True, True, False]
    logs = of(ActionFinished, events)[0].logs
    assert "nothing at b" in logs
    assert "AgentBudgetError The budget is used up: 3 of 2 tool calls." in logs
    assert (events[-1].state, agent.answer) == ("budget", "Nothing.")


def test_the_structured_call_too_many_is_refused(caller):
    agent = caller([call("look", place="a"), call("look", place="b"), "Nothing."], budget=Budget(tool_calls=1))
    events = list(agent.events("look"))
    assert [event.error_type for event in of(ToolReturned, events)] == [None, "AgentBudgetError"]
    assert (events[-1].state, agent.answer) == ("budget", "Nothing.")
    assert "2 of 1 tool calls" in events[-1].error


def test_a_final_answer_is_no_call_of_a_tool(make, caller):
    budget = Budget(tool_calls=1)
    agent = make([code("look('a')\nfinal_answer(1)")], [look], budget=budget)
    assert agent.run("look", return_full_result=True).state == "success"
    agent = caller([call("look", place="a"), call("final_answer", answer=1)], budget=budget)
    assert agent.run("look", return_full_result=True).state == "success"


@pytest.mark.parametrize("max_steps", [1, 5])
def test_time_ends_a_hanging_action(make, child, max_steps):
    child.clear_interrupt()
    child("x = 0")  # it has started when the time begins
    hang = code("x = 1\nwhile True: pass")
    agent = make([hang], budget=Budget(seconds=2 * SOON), max_steps=max_steps, executor=child)
    result = agent.run("hang", reset=False, return_full_result=True)
    assert result.state == "budget"
    assert f"of {2 * SOON} seconds" in result.error
    assert agent.state["x"] == 1


@pytest.mark.parametrize("max_steps", [1, 5])
def test_time_ends_a_hanging_model(caller, never, max_steps):
    agent = caller([lambda messages: never.wait()], budget=Budget(seconds=SOON), max_steps=max_steps)
    result = agent.run("hang", return_full_result=True)
    assert (result.state, result.output) == ("budget", None)
    assert f"of {SOON} seconds" in result.error and result.error.count("used up") == 1


def test_time_ends_a_model_that_hangs_at_the_last_answer(caller, never):
    replies = [call("look", place="a"), lambda messages: never.wait()]
    agent = caller(replies, budget=Budget(seconds=4 * SOON), max_steps=1)
    assert agent.run("hang", return_full_result=True).state == "max_steps_error"
    assert len(agent.model.requests) == 2


@pytest.mark.parametrize("kind", ["code", "call"])
def test_time_ends_a_hanging_tool(make, caller, child, never, kind):
    @tool(threaded=True)
    def hang() -> str:
        """Hangs."""
        never.wait()
        return ""

    if kind == "call":
        agent = caller([call("hang")], [hang], budget=Budget(seconds=SOON))
    else:
        child.clear_interrupt()
        child("x = 0")  # it has started when the time begins
        agent = make([code("hang()")], [hang], budget=Budget(seconds=SOON), executor=child)
    events = list(agent.events("hang", reset=False))
    assert events[-1].state == "budget"
    assert [event.ok for event in of(ToolReturned, events)] == [False]


def test_time_that_is_over_after_the_answer_does_no_harm(caller):
    agent = caller([call("final_answer", answer=1), call("final_answer", answer=2)], budget=Budget(seconds=60))
    assert [agent.run("one"), agent.run("two")] == [1, 2]
    timers = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    assert all(timer.finished.is_set() for timer in timers)


@pytest.mark.parametrize("seconds", [float("inf"), 1e10])
def test_more_time_than_a_timer_can_count_is_no_trouble(caller, seconds, monkeypatch):
    failed = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    assert caller([call("final_answer", answer=1)], budget=Budget(seconds=seconds)).run("one") == 1
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join()
    assert not failed


def test_a_stream_is_counted_once_and_cached_tokens_apart(caller):
    replies = [Text("about", cached_tokens=4), Text("about", cached_tokens=4), Text("Nothing.", cached_tokens=4)]
    with ModelServer(*replies) as server:
        model = LiteLLMModel("openai/double", api_base=server.url, input_cost_per_token=0.1, output_cost_per_token=1)
        agent = caller([], model=model, stream_outputs=True, max_steps=2)
        events = list(agent.events("look"))
    finished = events[-1]
    assert (finished.input_tokens, finished.output_tokens, finished.cached_tokens) == (33, 21, 12)
    replied = of(ModelReplied, events)
    assert [event.cached_tokens for event in replied] == [4, 4, 4]
    assert finished.cost == pytest.approx(sum(event.cost for event in replied))
    assert finished.cost > 0


def test_what_a_managed_agent_uses_is_its_callers_too(make, caller):
    worker = caller(
        [counted(call("look", place=place), 50) for place in "ab"] + ["not asked for"],
        name="worker",
        description="Works.",
    )
    boss = make([counted(code("worker('look')")), "not asked for"], managed_agents=[worker])
    boss.budget = Budget(input_tokens=100)
    events = list(boss.events("look"))
    runs = {event.run: event.name for event in of(RunStarted, events)}
    assert [(runs[event.run], event.state) for event in of(RunFinished, events)] == [
        ("worker", "budget"),
        (None, "budget"),
    ]
    assert boss.life.account.used["input_tokens"] == 110
    assert events[-1].input_tokens == 10  # of its own calls


def test_a_managed_agent_may_have_a_smaller_budget_of_its_own(make, caller):
    worker = caller(
        [call("look", place="a"), "Half done."], name="worker", description="Works.", budget=Budget(steps=1)
    )
    boss = make([code("final_answer(worker('look'))")], managed_agents=[worker], budget=Budget(steps=9))
    result = boss.run("look", return_full_result=True)
    assert result.state == "success"
    assert "Half done." in result.output
    assert result.used["steps"] == 2


def test_what_was_reached_is_in_the_journal_and_on_the_last_step(caller, tmp_path):
    agent = caller([call("look", place="a"), "Nothing."], budget=Budget(steps=1))
    agent.run("look")
    last = Journal(tmp_path / "journal.sqlite").events(agent.run_id)[-1]
    assert (last.state, last.error) == ("budget", "The budget is used up: 1 of 1 steps.")
    assert agent.memory.steps[-1].error.dict()["type"] == "AgentBudgetError"
