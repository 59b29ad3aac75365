"""A run that goes on or is played again has what is left of its budget: what agents that it called used counts."""

from __future__ import annotations

from contextlib import suppress

import pytest
from loaded_shell import loaded_shell
from scripted_replies import code, counted

from smol_kernel import Budget, CodeAgent, ScriptedModel, tool
from smol_kernel.errors import AgentGenerationError
from smol_kernel.events import RunFinished
from smol_kernel.runs.resuming import prepare
from smol_magic.endings import CellError


def fails(messages):
    raise RuntimeError("503, the server is busy")


@tool
def double(number: int) -> int:
    """Twice the number.

    Args:
        number: Which.
    """
    return 2 * number


def model(*replies):
    """One that takes 100 tokens to read what it is asked."""
    return ScriptedModel([counted(each, 100) if isinstance(each, str) else each for each in replies], model_id="m")


def helper(*replies):
    """An agent to call; by default it takes two steps."""
    asked = model(*(replies or (code("q = 1"), code("final_answer(q)"))))
    return CodeAgent([], asked, name="helper", description="Helps.", verbosity_level=0)


@pytest.mark.parametrize(("budget", "tokens"), [(Budget(input_tokens=450), 500), (Budget(steps=5), 600)])
@pytest.mark.parametrize("cut", ["between two steps", "in a second agent"])
def test_what_an_agent_used_that_was_called_is_used(budget, tokens, cut, tmp_path):
    given = {"tools": [], "journal": tmp_path / "journal.sqlite", "verbosity_level": 0, "budget": budget}
    replies = (code("y = helper('a')"), fails)
    helpers = [helper()]
    if cut == "in a second agent":
        replies = (code("y = helper('a')\nz = other('b')"),)
        other = helper(fails)
        other.name = "other"
        helpers.append(other)
    agent = CodeAgent(model=model(*replies), managed_agents=helpers, **given)
    events = agent.events("Go.")
    with suppress(AgentGenerationError):
        for event in events:
            if isinstance(event, RunFinished) and event.run != agent.run_id and event.state == "error":
                events.close()  # in the action
    agent.cleanup()
    asked = model(*[code(f"z = {number}") for number in range(9)])
    used = agent.life.account.used
    other = helper(code("final_answer(2)"))
    other.name = "other"
    more = {**given, "managed_agents": [helper(), other][: len(helpers)], "max_steps": 9, "accept": True}
    resumed = prepare(CodeAgent, agent.run_id, model=asked, **more)
    with resumed.agent:
        ended = list(resumed.events())[-1]
        spent = resumed.agent.life.account.used
    assert (used["steps"], used["input_tokens"]) == (4, 300)  # one step had no reply
    assert (ended.state, spent["steps"], spent["input_tokens"]) == ("budget", 5, tokens)
    assert len(asked.requests) == (tokens - 300) // 100 - (cut == "in a second agent")


def test_calls_made_where_a_child_lives_count(tmp_path, monkeypatch):
    monkeypatch.setenv("SMOL_JOURNAL", str(tmp_path / "journal.sqlite"))
    with loaded_shell() as shell:
        shell.user_ns["double"] = double
        shell.user_ns["one"] = model(code("x = double(1)"), code("y = double(2)"), fails)
        with pytest.raises(CellError):
            shell.run_cell_magic("agent", "--model one --max-tool-calls 2 -o first", "The first task.")
        shell.user_ns["two"] = model(code("z = double(3)"), "I have two.")
        shell.run_line_magic("agent", "resume --model two -o first")
        assert shell.user_ns["first"] == "I have two."


def test_an_earlier_run_that_used_up_its_budget_with_a_called_agent_is_played_to_its_end(tmp_path):
    given = {"tools": [], "journal": tmp_path / "journal.sqlite", "verbosity_level": 0}
    replies = (code("y = helper('a')"), "best", code("final_answer(y[-1])"))
    called = helper(code("final_answer(1)"), code("final_answer(1)"))
    with CodeAgent(model=model(*replies), managed_agents=[called], budget=Budget(steps=2), **given) as agent:
        assert agent.run("first") == "best"
        assert agent.run("second", reset=False) == "1"
    goes_on = {**given, "model": model(code("final_answer(y[-1])")), "managed_agents": [helper()]}
    assert CodeAgent.fork(agent.run_id, 0, **goes_on) == "1"


def test_what_an_agent_used_counts_however_often_its_call_was_cut_off(tmp_path):
    given = {"tools": [], "journal": tmp_path / "journal.sqlite", "verbosity_level": 0}

    def agents(*replies):
        other = helper(*replies[1])
        other.name = "other"
        return [helper(*replies[0]), other]

    def cut(events):
        with suppress(AgentGenerationError):
            for event in events:
                if isinstance(event, RunFinished) and event.state == "error":
                    events.close()  # in the action

    agent = CodeAgent(
        model=model(code("y = helper('a')\nz = other('b')")),
        managed_agents=agents([code("q = 1"), fails], [fails]),
        **given,
    )
    cut(agent.events("Go."))
    agent.cleanup()
    more = {**given, "model": model(), "managed_agents": agents([code("final_answer(q)")], [fails])}
    resumed = prepare(CodeAgent, agent.run_id, **more)
    cut(resumed.events())
    resumed.agent.cleanup()
    more = {"model": model(code("final_answer(1)")), "managed_agents": agents([fails], [code("final_answer(7)")])}
    resumed = prepare(CodeAgent, agent.run_id, **{**given, **more})
    with resumed.agent:
        assert resumed.run() == 1
        used = resumed.agent.life.account.used
    assert (used["steps"], used["input_tokens"]) == (5, 500)
