"""A run that goes on or is played again has what is left of its budget: what agents that it called used counts."""

from __future__ import annotations

from contextlib import suppress

import pytest
from loaded_shell import loaded_shell
from model_server import ModelServer, Text
from scripted_replies import code, counted

from smol_kernel import Budget, CodeAgent, ScriptedModel, tool
from smol_kernel.errors import AgentGenerationError, ReplayError
from smol_kernel.events import RunFinished, RunResumed
from smol_kernel.journal import Journal
from smol_kernel.runs.resuming import prepare, prepare_fork
from smol_kernel.serve.cli import main
from smol_magic.endings import CellError
from smol_magic.session import to_go_on


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


def test_a_run_whose_budget_is_used_up_goes_on_only_with_more(tmp_path):
    given = {"tools": [], "journal": tmp_path / "journal.sqlite", "verbosity_level": 0}
    with CodeAgent(model=model(code("x = 1")), budget=Budget(input_tokens=100, steps=9), **given) as agent:
        assert agent.run("t") is None
    run, asked = agent.run_id, model(code("y = x + 1"), code("final_answer(y)"))
    for more in ({}, {"budget": Budget(input_tokens=100)}, {"limits": {"cost": 1.0}}, {"max_steps": 99}):
        for go_on in (CodeAgent.resume, CodeAgent.fork):
            with pytest.raises(ReplayError) as refused:
                go_on(run, model=asked, **given, **more)
            assert f"run {run} cannot go on. The budget is used up: 100 of 100 input tokens. Give" in str(refused.value)
            assert "budget=Budget(input_tokens=…) (--max-input-tokens)" in str(refused.value)
    assert not asked.requests and len(Journal(tmp_path / "journal.sqlite").runs()) == 1
    assert CodeAgent.fork(run, 0, model=model(code("final_answer(5)")), **given) == 5
    assert CodeAgent.fork(run, limits={"input_tokens": 200}, model=model(code("final_answer(x)")), **given) == 1
    assert CodeAgent.resume(run, model=asked, limits={"input_tokens": 300}, **given) == 2


def test_a_raised_budget_stays_and_a_conversation_goes_on_from_such_a_run(tmp_path):
    given = {"tools": [], "journal": tmp_path / "journal.sqlite", "verbosity_level": 0}
    with CodeAgent(model=model(code("x = 1")), budget=Budget(input_tokens=100), **given) as agent:
        agent.run("t")
    run = agent.run_id
    with pytest.raises(AgentGenerationError):
        CodeAgent.resume(run, model=model(code("x += 1"), fails), budget=Budget(input_tokens=300), **given)
    resumed = prepare(CodeAgent, run, model=model(code("final_answer(x)")), **given)
    with resumed.agent as agent:
        assert (resumed.run(), agent.budget) == (2, Budget(input_tokens=300))
        agent.model = model(code("y = x + 1\nfinal_answer(y)"))
        assert agent.run("more", reset=False) == 3
    assert CodeAgent.fork(agent.run_id, 0, model=model(code("final_answer(x + 5)")), **given) == 7
    forked = prepare_fork(CodeAgent, run, 1, model=model(), **given)
    assert forked.agent.budget == Budget(input_tokens=300)
    forked.journal.delete([forked.replay.run])


def test_more_of_a_budget_is_given_by_options(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with ModelServer(*map(Text, [code("x = 1"), *[code("final_answer(x)")] * 2])) as server:
        asked = ["--model", "openai/double", "--api-base", server.url]
        assert main(["run", "t", *asked, "--max-output-tokens", "1", "--max-seconds", "9000"]) == 3
        capsys.readouterr()
        for command in ("resume", "fork"):
            assert main([command, "last", *asked]) == 1
            told = capsys.readouterr().err
            assert "of 1 output tokens. Give" in told and "(--max-output-tokens)" in told
            assert main([command, "last", *asked, "--max-output-tokens", "0"]) == 2
            assert "--max-output-tokens is 0: give a number above 0" in capsys.readouterr().err
        assert main(["fork", "last", *asked, "--max-output-tokens", "99"]) == 0
        (fork, run) = Journal().runs()
        assert main(["resume", run.run, *asked, "--max-output-tokens", "99"]) == 0
    resumed = next(event for event in Journal().events(run.run) if isinstance(event, RunResumed))
    assert (resumed.budget["output_tokens"], resumed.budget["seconds"], fork.state) == (99, 9000, "success")


def test_in_a_notebook_too(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with loaded_shell() as shell:
        shell.user_ns["m"] = model(code("x = 1"))
        with pytest.raises(CellError):
            shell.run_cell_magic("agent", "--model m --max-input-tokens 100", "Go.")
        capsys.readouterr()
        with pytest.raises(CellError, match="--max-input-tokens"):
            shell.run_line_magic("agent", "resume --model m")
        assert to_go_on("budget", "r1") == " · to go on, with more of what was used up: %agent resume r1 --max-… N"
        shell.user_ns["m"] = model(*[code("final_answer(x)")] * 2)
        shell.run_line_magic("agent", "fork --model m --max-input-tokens 300 -o one")
        assert shell.user_ns["one"] == 1
        run = shell.smol_session.journal.runs()[-1].run
        shell.run_line_magic("agent", f"resume {run} --model m --max-input-tokens 300 -o two")
        assert shell.user_ns["two"] == 1


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


def test_what_is_to_be_done_before_the_model_is_asked_is_done_whatever_was_used(tmp_path):
    given = {"tools": [], "journal": tmp_path / "journal.sqlite", "verbosity_level": 0}
    two = model(code("x = 1"), code("final_answer(x)"))
    with CodeAgent(model=two, budget=Budget(input_tokens=150), **given) as agent:
        assert agent.run("It is over its budget with its answer.") == 1
    assert CodeAgent.fork(agent.run_id, action="final_answer(x + 54)", model=model(), **given) == 55
    two = model(code("x = 1"), code("y = 2"), code("z = 3"))
    with CodeAgent(model=two, budget=Budget(input_tokens=150), **given) as agent:
        assert agent.run("It has none.") is None
    assert CodeAgent.fork(agent.run_id, action="final_answer(x + 5)", model=model(), **given) == 6
    agent = CodeAgent(model=model(code("final_answer(7)")), budget=Budget(input_tokens=100), **given)
    events = agent.events("It is cut off in its action.")
    while next(events).kind != "action_proposed":
        pass
    events.close()
    agent.cleanup()
    assert CodeAgent.resume(agent.run_id, model=model(), **given) == 7


def test_a_run_that_was_cut_off_is_refused_where_it_is_over_a_lower_limit(tmp_path):
    given = {"tools": [], "journal": tmp_path / "journal.sqlite", "verbosity_level": 0}
    three = model(code("x = 1"), code("y = 2"), fails)
    with CodeAgent(model=three, **given) as agent, pytest.raises(AgentGenerationError):
        agent.run("t")
    run, asked = agent.run_id, model(code("final_answer(x + y)"))
    with pytest.raises(ReplayError, match="used up: 200 of 150 input tokens"):
        CodeAgent.resume(run, model=asked, limits={"input_tokens": 150}, **given)
    with pytest.raises(ReplayError, match="used up: 2 of 2 steps"):  # the third was begun
        CodeAgent.resume(run, model=asked, limits={"steps": 2}, **given)
    assert not asked.requests
    assert CodeAgent.resume(run, model=asked, limits={"steps": 3}, **given) == 3


def test_what_was_used_by_one_that_took_over_counts_before_anything_is_run(tmp_path):
    given = {"tools": [], "journal": tmp_path / "journal.sqlite", "verbosity_level": 0}
    handed = model(code("transfer_to_helper('go')"))
    helpers = {"handoffs": [helper(code("x = 1"), code("x = 2"), code("x = 3"))]}
    with CodeAgent(model=handed, budget=Budget(input_tokens=250), **helpers, **given) as agent:
        assert agent.run("t") is None
    helpers = {"handoffs": [helper(code("final_answer(x)"))]}
    with pytest.raises(ReplayError, match=f"{agent.run_id} cannot go on.+ 300 of 250 input"):
        CodeAgent.resume(agent.run_id, model=model(), **helpers, **given)
    assert CodeAgent.resume(agent.run_id, model=model(), limits={"input_tokens": 400}, **helpers, **given) == 2


def test_a_limit_of_which_nobody_knows_how_much_was_used_gives_way_to_one_that_can_hold(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with ModelServer(*map(Text, [code("x = 1"), *[code("final_answer(x)")] * 2])) as server:
        asked = ["--model", "openai/double", "--api-base", server.url]
        assert main(["run", "t", *asked, "--max-cost", "1"]) == 3
        for command in ("resume", "fork"):
            for more in ([], ["--max-cost", "9"], ["--max-tool-calls", "9"]):
                capsys.readouterr()
                assert main([command, "last", *asked, *more]) == 1
                told = capsys.readouterr().err
                assert "its limit on the cost is unknown. Give another limit instead: budget=Budget(input_tok" in told
                assert "(--max-input-tokens, --max-output-tokens, --max-seconds)" in told
        run = Journal().runs()[0].run
        for command in ("fork", "resume"):
            assert main([command, run, *asked, "--max-output-tokens", "1000"]) == 0
            told = " ".join(capsys.readouterr().out.split())
            assert "The limit on the cost holds no more: how much of it was used is unknown." in told
    resumed = next(event for event in Journal().events(run) if isinstance(event, RunResumed))
    assert (resumed.budget["output_tokens"], resumed.budget["cost"]) == (1000, None)


def test_where_the_model_tells_no_tokens_time_can_be_limited(tmp_path):
    given = {"tools": [], "journal": tmp_path / "journal.sqlite", "verbosity_level": 0}
    with CodeAgent(model=ScriptedModel([code("x = 1")]), budget=Budget(input_tokens=100), **given) as agent:
        assert agent.run("t") is None
    asked = ScriptedModel([code("final_answer(x)")])
    for more in ({}, {"limits": {"output_tokens": 900}}, {"budget": Budget(cost=1)}):
        with pytest.raises(
            ReplayError, match=r"unknown. Give another limit instead: .+\(seconds=…\) \(--max-seconds\)"
        ):
            CodeAgent.resume(agent.run_id, model=asked, **more, **given)
    assert CodeAgent.resume(agent.run_id, model=asked, limits={"seconds": 900}, **given) == 1
