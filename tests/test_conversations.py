"""A conversation is played again from its beginning before one of its runs goes on, whatever became of those before."""

from __future__ import annotations

import datetime
import os
import signal
import threading
from contextlib import suppress
from dataclasses import replace

import numpy
import pytest
from loaded_shell import loaded_shell
from scripted_replies import calls, code, counted, read

from smol_kernel import Budget, CodeAgent, ScriptedModel, ToolCallingAgent, tool
from smol_kernel.errors import AgentError, ContextLengthError, ReplayDiffersError, ReplayError
from smol_kernel.events import ActionProposed, ModelReplied, Output, RunFinished, RunStarted
from smol_kernel.journal import Journal
from smol_kernel.runs.resuming import prepare_fork
from smol_magic.endings import CellError

LEFT = "final_answer((x, 'y' in globals(), 'z' in globals()))"
SAY = "\nif print('stop here', flush=True) is None:\n    while True: pass"


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
    "stopped in an action": ([code("y = 1\nw = 2" + SAY)], {}, "interrupted"),
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
        with pytest.raises(ReplayDiffersError, match=r"Of the earlier run .* was run again, 2 statements\."):
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


def taken_further(tmp_path, *settings, kinds=(CodeAgent, CodeAgent, CodeAgent)):
    """Three runs of a conversation, before each of which the agent was changed; the requests of the last one's fork,
    and those that it had itself."""
    given = {"tools": [], "journal": tmp_path / "journal.sqlite", "verbosity_level": 0}
    agent = None
    for kind, (replies, changes) in zip(kinds, settings, strict=True):
        fresh = kind(model=model(*replies), **given, **changes)
        if agent is not None:
            fresh.memory.steps, fresh.life.run_id = list(agent.memory.steps), agent.run_id
            if fresh.writes_code and agent.writes_code:
                fresh.python_executor = agent.python_executor
        list(fresh.events("task", reset=agent is None))
        agent = fresh
    asked = [read(each) for each in agent.model.requests]
    goes_on = model(*settings[-1][0])
    functions = [check for _, changes in settings for check in changes.get("final_answer_checks", ())]
    options = {**given, "model": goes_on, "final_answer_checks": functions or None}
    kinds[-1].fork(agent.run_id, 0, **options)
    agent.cleanup()
    return [read(each) for each in goes_on.requests], asked


ONE = code("x = 1"), code("final_answer(x)")
TWO = code("y = x + 1"), code("final_answer(y)")
BY_CALL = [calls(("final_answer", {"answer": 2}))]
CHANGES = {
    "a plan": [(ONE, {}), (["A plan.", *TWO], {"planning_interval": 9}), (TWO, {})],
    "no plan": [(["A plan.", *ONE], {"planning_interval": 9}), (TWO, {}), (TWO, {})],
    "a check": [(ONE, {}), (TWO, {"checks": ["answer < 5"]}), (TWO, {"checks": ["answer < 9", "answer > 0"]})],
    "a budget": [(ONE, {}), (TWO, {"budget": Budget(input_tokens=15)}), (TWO, {"budget": Budget(steps=1)})],
    "the tags": [(ONE, {}), (["```python\nfinal_answer(x)\n```"], {"code_block_tags": "markdown"}), (TWO, {})],
    "a function": [(ONE, {}), (TWO, {"final_answer_checks": [lambda answer: True]}), (TWO, {})],
}


@pytest.mark.parametrize("settings", CHANGES.values(), ids=CHANGES)
def test_each_run_is_played_with_the_settings_that_it_had(settings, tmp_path):
    again, asked = taken_further(tmp_path, *settings)
    assert again == asked and asked


@pytest.mark.parametrize(
    "kinds",
    [
        (CodeAgent, ToolCallingAgent, CodeAgent),
        (ToolCallingAgent, CodeAgent, ToolCallingAgent),
        (CodeAgent, CodeAgent, ToolCallingAgent),
    ],
)
def test_runs_of_either_kind_go_on_from_each_other(kinds, tmp_path):
    replies = [BY_CALL if kind is ToolCallingAgent else [code("final_answer(1)")] for kind in kinds]
    again, asked = taken_further(tmp_path, *((each, {}) for each in replies), kinds=kinds)
    assert again == asked and asked


def stopped(agent):
    agent.interrupt()


def interrupted(agent):
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(("stop", "raised"), [(stopped, AgentError), (interrupted, KeyboardInterrupt)])
def test_a_stop_while_earlier_runs_are_played_is_one(stop, raised, tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "go").touch()
    wait = f"import os\nwhile not os.path.exists({str(tmp_path / 'shared' / 'go')!r}): pass"
    given = {"tools": [], "journal": tmp_path / "journal.sqlite", "verbosity_level": 0}
    box = {"executor_kwargs": {"mounts": [str(tmp_path / "shared")]}}
    with CodeAgent(model=model(code(wait), code("final_answer(1)"), code("final_answer(2)")), **given, **box) as agent:
        agent.run("first")
        agent.run("second", reset=False)
    (tmp_path / "shared" / "go").unlink()
    resumption = prepare_fork(CodeAgent, agent.run_id, 0, model=model(code("final_answer(3)")), accept=True, **given)

    def stop_once_it_plays():
        while not any(each.python_executor.started for each in list(resumption.agent.life.called)):
            pass
        stop(resumption.agent)

    stopping = threading.Thread(target=stop_once_it_plays)
    stopping.start()
    with pytest.raises(raised, match=r"^(The agent was interrupted\.)?$"):
        next(resumption.events())
    stopping.join()
    resumption.agent.cleanup()
    assert len(Journal(tmp_path / "journal.sqlite").runs()) == 2  # the fork that came to nothing is gone


@pytest.mark.parametrize("at", ["ModelReplied", "ActionProposed", "Output", "ToolCalled", "ActionFinished"])
def test_a_run_whose_reader_left_in_the_middle_is_played_up_to_there(at, tmp_path):
    given = {"tools": [double], "journal": tmp_path / "journal.sqlite", "verbosity_level": 0}
    with CodeAgent(model=model(code("x = 1"), code("final_answer(x)")), **given) as agent:
        agent.run("first")
        agent.model = model(code("y = 2\nprint('there', flush=True)\nz = double(4)"), code("final_answer(y)"))
        events = agent.events("second", reset=False)
        next(event for event in events if type(event).__name__ == at)
        events.close()
        agent.model = model(code("final_answer(x)"))
        agent.run("third", reset=False)
        asked = [read(each) for each in agent.model.requests]
    goes_on = model(code("final_answer(x)"))
    assert CodeAgent.fork(agent.run_id, 0, accept=True, **{**given, "model": goes_on}) == 1
    assert [read(each) for each in goes_on.requests] == asked


def test_a_run_whose_actions_made_files_is_played_too(tmp_path):
    given = {"tools": [], "journal": tmp_path / "journal.sqlite", "verbosity_level": 0}
    writes = code("open('made.txt', 'w').write('x')\nx = 1")
    with CodeAgent(model=model(writes, code("final_answer(x)"), code("final_answer(x + 1)")), **given) as agent:
        agent.run("first")
        first = agent.run_id
        agent.run("second", reset=False)
        second = agent.run_id
    for run, step in ((first, 1), (second, 0)):
        goes_on = {**given, "model": model(code("final_answer((x, open('made.txt').read()))"))}
        assert CodeAgent.fork(run, step, **goes_on) == (1, "x")


@pytest.mark.parametrize(
    "now",
    [
        {"checks": ["answer == 1"]},
        {"planning_interval": 1},
        {"budget": Budget(steps=1)},
        {"output_type": int},
        {"final_answer_checks": [lambda answer: True]},
    ],
)
def test_what_is_given_now_is_no_setting_of_earlier_runs(now, tmp_path):
    given = {"tools": [], "journal": tmp_path / "journal.sqlite", "verbosity_level": 0}
    with CodeAgent(model=model(code("x = 1"), code("final_answer('one')"), code("final_answer(2)")), **given) as agent:
        agent.run("first")
        agent.run("second", reset=False)
    replies = [*["A plan."] * ("planning_interval" in now), code("final_answer(x)")]
    assert CodeAgent.fork(agent.run_id, 0, **{**given, **now, "model": model(*replies)}) == 1


def test_functions_among_the_checks_are_those_of_earlier_runs_as_well(tmp_path):
    def positive(answer):
        return answer > 0

    given = {"tools": [], "journal": tmp_path / "journal.sqlite", "verbosity_level": 0}
    given["checks"] = ["answer < 5", positive]
    with CodeAgent(model=model(code("x = 1"), *[code("final_answer(x)")] * 2), **given) as agent:
        agent.run("first")
        agent.run("second", reset=False)
    assert CodeAgent.fork(agent.run_id, 0, **{**given, "model": model(code("final_answer(x)"))}) == 1


def test_a_run_left_while_an_agent_worked_for_it_is_played_up_to_there(tmp_path):
    given = {"tools": [], "journal": tmp_path / "journal.sqlite", "verbosity_level": 0}
    given["managed_agents"] = [helper([code("final_answer(5)")] * 2)]
    with CodeAgent(model=model(code("x = 1"), code("final_answer(x)")), **given) as agent:
        agent.run("first")
        agent.model = model(code("y = helper('Help.')"), code("final_answer(y)"))
        events = agent.events("second", reset=False)
        next(event for event in events if event.kind == "action_finished" and event.run != agent.run_id)
        events.close()
        agent.model = model(code("final_answer(x)"))
        agent.run("third", reset=False)
        asked = [read(each) for each in agent.model.requests]
    goes_on = model(code("final_answer(x)"))
    assert CodeAgent.fork(agent.run_id, 0, accept=True, **{**given, "model": goes_on}) == 1
    assert [read(each) for each in goes_on.requests] == asked


@pytest.mark.parametrize(
    ("options", "number", "answer"),
    [("", "1", (1, 2)), ("--in data --tool visit_webpage", "data.sum()", (499999500000.0, 2))],
)
def test_where_a_child_lives_the_conversation_is_whole_and_nothing_is_asked_for(
    options, number, answer, tmp_path, monkeypatch
):
    monkeypatch.setenv("SMOL_JOURNAL", str(tmp_path / "journal.sqlite"))
    with loaded_shell() as shell:
        shell.user_ns["data"] = numpy.arange(1_000_000.0)
        shell.user_ns["one"] = model(code(f"x = {number}\nfinal_answer(x)"))
        shell.run_cell_magic("agent", f"--model one {options}", "The first task.")
        shell.user_ns["two"] = model(code("y = 2"), "best")
        shell.run_cell_magic("agent", "--continue --model two --max-steps 1", "The second.")
        shell.user_ns["three"] = goes_on = model(code("final_answer((x, y))"))
        shell.run_line_magic("agent", "resume --model three --max-steps 4 -o both")
        assert shell.user_ns["both"] == answer
        assert "The first task." in read(goes_on.requests[0]) and f"x = {number}" in read(goes_on.requests[0])


def test_a_fork_that_is_refused_leaves_the_conversation_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setenv("SMOL_JOURNAL", str(tmp_path / "journal.sqlite"))
    with loaded_shell() as shell:
        shell.user_ns["one"] = model(code("import random\nx = random.random()\nprint(x)"), code("final_answer(x)"))
        shell.run_cell_magic("agent", "--model one -o first", "The first task.")
        shell.user_ns["two"] = model(code("final_answer(x)"))
        shell.run_cell_magic("agent", "--continue --model two -o second", "The second.")
        shell.user_ns["three"] = asked = model(code("final_answer(x)"))
        with pytest.raises(CellError, match="does not replay the same"):
            shell.run_line_magic("agent", "fork --model three -o third")
        assert "third" not in shell.user_ns and not asked.requests  # the number is another one
        shell.user_ns["four"] = model(code("final_answer(x)"))
        shell.run_cell_magic("agent", "--continue --model four -o fourth", "The fourth.")
        assert shell.user_ns["fourth"] == shell.user_ns["second"] == shell.user_ns["first"]
        shell.run_line_magic("agent", "fork --model three -o third --accept")
        assert len(asked.requests) == 1 and shell.user_ns["third"] != shell.user_ns["first"]


@pytest.mark.parametrize("kind", [CodeAgent, ToolCallingAgent])
@pytest.mark.parametrize("where", ["the action", "an action without an end", "a check"])
def test_an_earlier_run_opens_no_box_by_its_own_word(kind, where, tmp_path):
    given = {"tools": [], "journal": tmp_path / "journal.sqlite", "verbosity_level": 0}
    marker = tmp_path / "was-here"
    touch = f"__import__('pathlib').Path({str(marker)!r}).touch()"
    first = CodeAgent(model=model(code("x = 1"), code("final_answer(x)")), **given)
    first.run("first")
    first.cleanup()
    last = kind(model=model(*(BY_CALL if kind is ToolCallingAgent else [code("final_answer(2)")])), **given)
    last.memory.steps, last.life.run_id = list(first.memory.steps), first.run_id
    list(last.events("second", reset=False))
    last.cleanup()
    journal, forged = Journal(tmp_path / "journal.sqlite"), Journal(tmp_path / "forged.sqlite")
    for run in (first.run_id, last.run_id):
        for event in journal.events(run):
            if isinstance(event, RunStarted) and run == first.run_id:
                unboxed = {**event.settings, "executor_kwargs": {"box": False}}
                event = replace(event, settings={**unboxed, "checks": [touch] * (where == "a check")})
            if "action" in where and isinstance(event, ModelReplied | ActionProposed):
                name = "content" if isinstance(event, ModelReplied) else "code"
                event = replace(event, **{name: getattr(event, name).replace("x = 1", f"x = {touch}")})
            forged.append(event)
            if where == "an action without an end" and run == first.run_id and isinstance(event, ActionProposed):
                break
        forged.cut_off(run)
    again = model(*(BY_CALL if kind is ToolCallingAgent else [code("final_answer(2)")]))
    with suppress(ReplayError, AgentError):
        kind.fork(last.run_id, 0, **{**given, "journal": forged, "model": again})
    assert not marker.exists()


def test_an_earlier_run_has_the_variables_that_it_was_given(tmp_path):
    given = {"tools": [], "journal": tmp_path / "journal.sqlite", "verbosity_level": 0}
    with CodeAgent(model=model(code("x = n * 2"), code("final_answer(x)"), code("final_answer(x)")), **given) as agent:
        agent.run("first", additional_args={"n": 3})
        agent.run("second", reset=False)
    goes_on = {**given, "model": model(code("final_answer((n, x))"))}
    assert CodeAgent.fork(agent.run_id, 0, additional_args={"n": 500}, **goes_on) == (3, 6)


def test_an_answer_that_was_of_another_type_is_refused_again(tmp_path):
    given = {"tools": [], "journal": tmp_path / "journal.sqlite", "verbosity_level": 0, "output_type": datetime.date}
    dates = code("import datetime\nfinal_answer(datetime.date(2026, 1, 2))")
    with CodeAgent(model=model(code("final_answer(3.5j)"), dates, dates), **given) as agent:
        agent.run("first")
        agent.run("second", reset=False)
    assert CodeAgent.fork(agent.run_id, 0, **{**given, "model": model(dates)}) == datetime.date(2026, 1, 2)


def test_a_run_that_goes_on_from_one_that_was_resumed_later_has_what_there_was_then(tmp_path):
    given = {"tools": [], "journal": tmp_path / "journal.sqlite", "verbosity_level": 0}
    with CodeAgent(model=model(code("x = 1"), code("y = 2"), "best"), **given) as agent:
        agent.run("first", max_steps=2)
        first, agent.model = agent.run_id, model(code("final_answer(x)"))
        agent.run("second", reset=False)
        asked = [read(each) for each in agent.model.requests]
    again = model(code("x = 100"), code("final_answer('hundred')"))
    assert CodeAgent.resume(first, max_steps=6, **{**given, "model": again}) == "hundred"
    goes_on = model(code("final_answer(x)"))
    assert CodeAgent.fork(agent.run_id, 0, **{**given, "model": goes_on}) == 1
    assert [read(each) for each in goes_on.requests] == asked


def test_what_one_kind_of_agent_is_given_is_nothing_to_the_other(tmp_path):
    given = {"tools": [], "journal": tmp_path / "journal.sqlite", "verbosity_level": 0}
    caller = ToolCallingAgent(model=model(calls(("final_answer", {"answer": 1}))), **given)
    caller.run("first")
    with CodeAgent(model=model(code("final_answer(2)")), **given) as agent:
        agent.memory.steps, agent.life.run_id = list(caller.memory.steps), caller.run_id
        agent.run("second", reset=False)
    more = {"additional_authorized_imports": ["numpy"], "model": model(code("final_answer(3)"))}
    assert CodeAgent.fork(agent.run_id, 0, **{**given, **more}) == 3


def test_words_of_an_action_s_own_error_tell_nothing_of_a_type(tmp_path):
    given = {"tools": [], "journal": tmp_path / "journal.sqlite", "verbosity_level": 0}
    raises = code("raise ValueError('The answer has to be positive')")
    with CodeAgent(model=model(raises, code("final_answer('one')"), code("final_answer(2)")), **given) as agent:
        agent.run("first")
        agent.run("second", reset=False)
    more = {"output_type": int, "model": model(code("final_answer(3)"))}
    assert CodeAgent.fork(agent.run_id, 0, **{**given, **more}) == 3


@pytest.mark.parametrize("step", [0, 1])
def test_a_plan_is_made_with_what_was_instructed(step, tmp_path):
    given = {"tools": [], "journal": tmp_path / "journal.sqlite", "verbosity_level": 0}
    replies = ("A plan.", code("x = 1"), "Another.", code("final_answer(x)"))
    with CodeAgent(model=model(*replies), planning_interval=1, **given) as agent:
        agent.run("first")
    asked = model(*replies[2 * step :])
    assert CodeAgent.fork(agent.run_id, step, instruction="Use the median.", **{**given, "model": asked}) == 1
    assert all("Use the median." in read(each) for each in asked.requests)
    assert ("First list what the task gives" in asked.requests[0][-1].text) is (step == 0)


@pytest.mark.parametrize("option", ["--mount data", "--box off"])
def test_a_conversation_keeps_the_box_that_it_began_with(option, tmp_path, monkeypatch):
    monkeypatch.setenv("SMOL_JOURNAL", str(tmp_path / "journal.sqlite"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "n.txt").write_text("42")
    path = str(tmp_path / "data" / "n.txt")
    reads = code(f"final_answer(open({path!r}).read())")
    with loaded_shell() as shell:
        shell.user_ns["one"] = model(code("x = 7"), reads)
        shell.run_cell_magic("agent", f"--model one {option.replace('data', str(tmp_path / 'data'))} -o a", "First.")
        shell.user_ns["two"] = model(reads)
        shell.run_cell_magic("agent", "--continue --model two -o b", "Second.")
        shell.user_ns["three"] = model(code(f"final_answer((x, open({path!r}).read()))"))
        shell.run_line_magic("agent", "fork --step 0 --model three --accept -o c")
        assert shell.user_ns["c"] == (7, "42")
        started = [
            event for run in Journal().runs() for event in Journal().events(run.run) if event.kind == "run_started"
        ]
        assert len({event.isolation for event in started}) == 1 and len(started) == 3


def test_so_has_one_that_goes_on_from_an_agent_that_was_handed_over_to(tmp_path):
    given = {"tools": [], "journal": tmp_path / "journal.sqlite", "verbosity_level": 0}
    begins = model(code("x = 1\ntransfer_to_helper('It knows.')"))
    with CodeAgent(model=begins, handoffs=[helper([code("k = 1"), fails])], **given) as agent:
        with pytest.raises(AgentError):
            agent.run("first")
        first, agent.model = agent.run_id, model(code("final_answer('second')"))
        agent.run("second", reset=False)
    again = {"model": model(), "handoffs": [helper([code("k = 2"), code("final_answer(k)")])]}
    assert CodeAgent.resume(first, **{**given, **again}) == 2
    goes_on = {"model": model(code("final_answer((x, k))")), "handoffs": [helper([])]}
    assert CodeAgent.fork(agent.run_id, 0, **{**given, **goes_on}) == (1, 1)
