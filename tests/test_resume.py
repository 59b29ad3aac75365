"""A run that was cut off goes on: the same requests, the same answer, and no effect twice."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import threading
from collections import Counter
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image
from proxy_ends import no_proxy_of_the_machine
from scripted_replies import call, calls, code, final, images, read
from web_server import Answer, WebServer

from smol_kernel import Budget, CodeAgent, ScriptedModel, ToolCallingAgent, UserInputTool, tool
from smol_kernel.errors import (
    AgentBudgetError,
    AgentError,
    AgentToolExecutionError,
    ConfigError,
    JournalError,
    ReplayDiffersError,
    ReplayError,
    RunTakenOverError,
)
from smol_kernel.events import (
    ActionFinished,
    InputsDigested,
    ModelReplied,
    RunFinished,
    RunResumed,
    StepFinished,
    ToolCalled,
    ToolProgress,
    ToolReturned,
    emit,
)
from smol_kernel.executors import kept_values
from smol_kernel.executors.kept_values import digest_of
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.values import decode, encode
from smol_kernel.journal import Journal
from smol_kernel.memory.monitoring import LogLevel
from smol_kernel.memory.steps import FinalAnswerStep
from smol_kernel.memory.untrusted import Outside
from smol_kernel.models.media import image_url
from smol_kernel.render.transcript import UNBOXED, Transcript
from smol_kernel.runs.exporting import export
from smol_kernel.runs.importing import import_run
from smol_kernel.runs.resuming import prepare, prepare_fork
from smol_kernel.runs.timeline import timeline_of
from smol_kernel.serve.cli import main
from smol_kernel.tools.defaults.final_answer import FinalAnswerTool

__all__ = ["no_proxy_of_the_machine"]

TRIED = """
def tried(text):
    try:
        return note(text) > 0
    except RuntimeError as error:
        return "not repeated" in str(error)
"""
REPLIES = [
    code(TRIED + "table = {'a': 1}\nfirst = tried('one')"),
    code("import math\nprint(first, math.pi)\nraise ValueError('not yet')"),
    code("table['b'] = [tried('two'), tried('two')]\ntable"),
    code("final_answer((first, table))"),
]
ANSWER = (True, {"a": 1, "b": [True, True]})


@pytest.fixture
def noting(tmp_path):
    """A tool that appends to a file, and what the file holds."""
    path = tmp_path / "effects.txt"
    path.touch()

    @tool
    def note(text: str) -> int:
        """Notes it.

        Args:
            text: What to note.
        """
        with path.open("a") as file:
            file.write(text + "\n")
        return len(text)

    return note, lambda: path.read_text().split()


def options(tmp_path, **more):
    return {"journal": tmp_path / "journal.sqlite", "verbosity_level": LogLevel.OFF, **more}


def cut_off(agent, task, at):
    """Run until just after event number `at`, as if the process had ended then; the run's id."""
    events = agent.events(task)
    for number, _ in enumerate(events, 1):
        if number == at:
            break
    agent.python_executor.cleanup()
    with contextlib.suppress(BaseException):
        events.throw(GeneratorExit)
    return agent.run_id


def all_requests(model):
    return [read(messages) for messages in model.requests]


def test_wherever_it_is_cut_off_it_gives_the_same(noting, tmp_path):
    note, effects = noting
    with CodeAgent(tools=[note], model=ScriptedModel(REPLIES), **options(tmp_path)) as agent:
        events = list(agent.events("count"))
        asked = all_requests(agent.model)
        assert agent.answer == ANSWER
    for at in range(1, len(events), 4):
        (tmp_path / "effects.txt").write_text("")
        with CodeAgent(tools=[note], model=ScriptedModel(REPLIES), **options(tmp_path)) as agent:
            run = cut_off(agent, "count", at)
        replied = sum(isinstance(event, ModelReplied) for event in agent_events(tmp_path, run))
        model = ScriptedModel(REPLIES[replied:])
        answer = CodeAgent.resume(run, tools=[note], model=model, accept=False, **options(tmp_path))
        assert answer == ANSWER, at
        resumed = next(event for event in agent_events(tmp_path, run) if isinstance(event, RunResumed))
        unknown = resumed.differences
        assert len(unknown) <= 1, at
        assert len(effects()) + len(unknown) == 3, at
        assert all_requests(model) == asked[replied:], at


def agent_events(tmp_path, run):
    return Journal(tmp_path / "journal.sqlite").events(run, family=True)


def taken_up(tmp_path, run, replies, tools=(), kind=CodeAgent, **more):
    """The answer of the run when it goes on, and the model that was asked."""
    model = ScriptedModel(replies)
    return kind.resume(run, tools=list(tools), model=model, **options(tmp_path, **more)), model


def ran(tmp_path, replies, tools=(), kind=CodeAgent, at=None, task="count", **more):
    """The id of a run that was cut off after event `at`, or when its script was over."""
    agent = kind(tools=list(tools), model=ScriptedModel(replies), **options(tmp_path, **more))
    with contextlib.suppress(AgentError), contextlib.closing(agent.events(task)) as events:
        for number, _ in enumerate(events, 1):
            if number == at:
                break
    agent.cleanup()
    return agent.run_id


def test_what_does_not_replay_the_same_is_shown_and_the_user_decides(tmp_path):
    run = ran(tmp_path, [code("import time\nnow = time.time_ns()\nnow")])
    before = agent_events(tmp_path, run)
    with pytest.raises(ReplayDiffersError, match=r"1: its value was '\d+', and is '\d+'(.|\n)*accept=True") as error:
        taken_up(tmp_path, run, [code("final_answer(1)")])
    assert len(error.value.differences) == 1
    assert agent_events(tmp_path, run) == before
    answer, model = taken_up(tmp_path, run, [code("final_answer(now > 0)")], accept=True)
    assert answer is True
    assert before[5].value_text in read(model.requests[0]), "the model reads what it read"
    assert "its value was" in str([event for event in agent_events(tmp_path, run) if isinstance(event, RunResumed)])


def test_addresses_are_no_difference(tmp_path):
    run = ran(tmp_path, [code("thing = object()\nprint(thing)\nthing")])
    assert taken_up(tmp_path, run, [code("final_answer(type(thing).__name__)")])[0] == "object"


def test_a_call_of_which_nothing_is_known_is_made_again_on_request(noting, tmp_path):
    note, effects = noting
    run = ran(tmp_path, [code("note('a')")], [note], at=5)
    answer, _ = taken_up(tmp_path, run, [code("final_answer(2)")], [note], repeat=True)
    assert (answer, effects()) == (2, ["a"])
    assert "made again" in str(agent_events(tmp_path, run))


def test_waiting_for_a_person_survives(tmp_path, monkeypatch):
    run = ran(tmp_path, [code("name = user_input('Who?')")], [UserInputTool()], at=5)
    assert isinstance(agent_events(tmp_path, run)[-2], ToolCalled)
    monkeypatch.setattr("builtins.input", lambda prompt: "Ada")
    assert taken_up(tmp_path, run, [code("final_answer(name)")], [UserInputTool()])[0] == "Ada"


def test_what_cannot_be_taken_up_is_refused_with_the_reason(noting, tmp_path):
    note, _ = noting
    done = ran(tmp_path, [code("final_answer(note('x'))")], [note])
    with pytest.raises(ReplayError, match="has ended with its answer; fork it"):
        taken_up(tmp_path, done, [])
    short = ran(tmp_path, [code("note('x')"), "no more"], [note], max_steps=1)
    with pytest.raises(ReplayError, match=r"limit of 1 steps: give a higher one, max_steps="):
        taken_up(tmp_path, short, [], [note])
    with pytest.raises(ReplayError, match=f"run {short} has the tools note, which are not here: .* as tools="):
        taken_up(tmp_path, short, [], max_steps=3)
    with pytest.raises(ReplayError, match="is of a CodeAgent, not of a ToolCallingAgent"):
        taken_up(tmp_path, short, [], [note], ToolCallingAgent, max_steps=3)
    with pytest.raises(ConfigError, match="model= is missing: the run had 'scripted'"):
        CodeAgent.resume(short, max_steps=3, **options(tmp_path))
    assert taken_up(tmp_path, short, [code("final_answer(3)")], [note], max_steps=3)[0] == 3


def test_a_raised_limit_stays_when_the_run_is_cut_off_again(tmp_path):
    run = ran(tmp_path, [code("x = 1"), "no more"], max_steps=1)
    with pytest.raises(AgentError):
        taken_up(tmp_path, run, [code("y = 2")], max_steps=4)  # its script is over then
    answer, _ = taken_up(tmp_path, run, [code("z = 3"), code("final_answer(x + y + z)")])
    assert answer == 6
    begun = [event.max_steps for event in agent_events(tmp_path, run) if isinstance(event, RunResumed)]
    assert begun == [4, 4]


def test_a_recorded_error_keeps_its_classes_however_often_it_is_replayed(tmp_path):
    @tool
    def missing() -> int:
        """Raises."""
        raise FileNotFoundError("nothing there")

    run = ran(
        tmp_path, [code("try:\n    missing()\nexcept OSError as error:\n    found = type(error).__name__")], [missing]
    )
    for number in (1, 2):
        with pytest.raises(AgentError):
            taken_up(tmp_path, run, [code(f"n = {number}")], [missing])
    assert taken_up(tmp_path, run, [code("final_answer((found, n))")], [missing])[0] == ("FileNotFoundError", 2)
    fork = {"tools": [missing], **options(tmp_path)}
    action = "try:\n    missing()\nexcept Exception as e:\n    final_answer(type(e).__mro__[1].__name__)"
    assert CodeAgent.fork(run, step=1, action=action, model=ScriptedModel([]), **fork) == "OSError"


def test_a_run_that_is_at_work_elsewhere_is_left_alone(tmp_path):
    agent = CodeAgent(tools=[], model=ScriptedModel([code("final_answer(1)")]), **options(tmp_path))
    with contextlib.closing(agent.events("t")) as events:
        next(events)
        with pytest.raises(JournalError, match=rf"run {agent.run_id} is at work in process {os.getpid()}"):
            taken_up(tmp_path, agent.run_id, [])
    agent.cleanup()


def test_a_run_that_was_taken_over_on_another_machine_calls_no_tool_more(tmp_path, capsys, monkeypatch):
    path, made = tmp_path / "journal.sqlite", []
    monkeypatch.setenv("SMOL_JOURNAL", str(path))

    @tool
    def book(what: str) -> str:
        """Books it, while another machine takes the run over.

        Args:
            what: What to book.
        """
        made.append(what)
        with contextlib.closing(sqlite3.connect(path)) as db, db:
            db.execute("UPDATE runs SET process = '1 1 node-b'")
        return "ok"

    model = ScriptedModel([code("book('one')\nbook('two')")])
    with CodeAgent(tools=[book], model=model, **options(tmp_path)) as agent:
        with pytest.raises(RunTakenOverError, match="taken over by process 1 on node-b: here it ends"):
            agent.run("t")
        run = agent.run_id
    assert made == ["one"]
    assert main(["runs"]) == 0 and "at work on node-b, as far as is known" in capsys.readouterr().out
    assert main(["show", "last"]) == 0 and "It is at work on node-b" in capsys.readouterr().out
    assert main(["runs", "--delete", "last", "--yes"]) == 2
    assert "is at work on node-b" in (said := capsys.readouterr().err) and f"smol resume {run} --take-over" in said
    with pytest.raises(JournalError, match="--take-over"):
        taken_up(tmp_path, run, [], [book])
    assert taken_up(tmp_path, run, [code("final_answer(1)")], [book], take_over=True)[0] == 1
    assert made == ["one"]


def test_inputs_are_those_of_the_beginning(tmp_path):
    frame = pd.DataFrame({"a": [1, 2]})
    agent = CodeAgent(tools=[], model=ScriptedModel([code("df['b'] = 3\nlen(given)")]), **options(tmp_path))
    with contextlib.suppress(AgentError):
        agent.run("t", additional_args={"df": frame, "given": [1]})
    agent.cleanup()
    reply = code("final_answer(int(df.sum().sum()))")
    assert taken_up(tmp_path, agent.run_id, [reply])[0] == 9
    fork = {"tools": [], "step": 1, **options(tmp_path)}
    with pytest.raises(ReplayDiffersError, match="The input 'df' is not what it was when the run began"):
        CodeAgent.fork(agent.run_id, model=ScriptedModel([reply]), additional_args={"df": frame + 1}, **fork)
    with pytest.raises(ConfigError, match="model= is missing"):
        CodeAgent.fork(agent.run_id, **fork)
    with pytest.raises(ConfigError, match=rf"run {agent.run_id} was given no 'new' \(it has: df, given\)"):
        CodeAgent.fork(agent.run_id, model=ScriptedModel([reply]), additional_args={"df": frame, "new": 5}, **fork)
    model = ScriptedModel([reply])
    for wrong, said in (
        ({"max_step": 9}, "CodeAgent has no parameter 'max_step'"),
        ({"tools": FinalAnswerTool()}, "tools has to be a list"),
        ({"step": "1"}, "step is '1': give the number of a step"),
        ({"max_steps": "4"}, "max_steps is '4'"),
    ):
        with pytest.raises(ConfigError, match=said):
            CodeAgent.fork(agent.run_id, model=model, **{**fork, **wrong})
    with pytest.raises(ConfigError, match="the run is None: give its id"):
        CodeAgent.resume(None, model=model)
    assert [run.run for run in Journal(tmp_path / "journal.sqlite").runs()] == [
        agent.run_id
    ]  # no fork that was refused
    same = {"df": pd.DataFrame({"a": [1, 2]})}
    assert CodeAgent.fork(agent.run_id, model=ScriptedModel([reply]), additional_args=same, **fork) == 9


def test_inputs_keep_their_classes_also_where_these_are_not_any_more(tmp_path):
    class Row(NamedTuple):
        item: str
        price: float

    given = {"rows": [Row("a", 2.0)], "counts": Counter("aab")}
    agent = CodeAgent(tools=[], model=ScriptedModel([code("rows[0].price")]), **options(tmp_path))
    with contextlib.suppress(AgentError):
        agent.run("t", additional_args=given)
    agent.cleanup()
    kept = Journal(tmp_path / "journal.sqlite").events(agent.run_id)[0].values
    assert decode(kept["rows"]["value"]) == [("a", 2.0)] and kept["rows"]["digest"] == digest_of([("a", 2.0)])
    reply = code("final_answer((rows[0].item, counts.most_common(1)))")
    assert taken_up(tmp_path, agent.run_id, [reply])[0] == ("a", [("a", 2)])
    fork = {"tools": [], "model": ScriptedModel([reply]), "step": 1, "additional_args": given, **options(tmp_path)}
    assert CodeAgent.fork(agent.run_id, **fork) == ("a", [("a", 2)])


def test_a_tool_gets_a_recorded_input_of_structured_calls_as_a_plain_value(tmp_path):
    @tool
    def kind(value: object) -> str:
        """Tells it.

        Args:
            value: Anything.
        """
        return type(value).__name__

    replies = [call("kind", value="counts"), call("kind", value="counts")]
    agent = ToolCallingAgent(tools=[kind], model=ScriptedModel(replies[:1]), **options(tmp_path))
    with contextlib.suppress(AgentError):
        agent.run("t", additional_args={"counts": Counter("aab")})
    model = ScriptedModel([*replies[1:], call("final_answer", answer="done")])
    again = ToolCallingAgent.fork(agent.run_id, 1, model=model, tools=[kind], **options(tmp_path))
    assert again == "done" and "dict" in read(model.requests[-1])


def test_a_large_input_has_to_be_given_again(tmp_path):
    large = np.zeros(9 << 20)
    agent = CodeAgent(tools=[], model=ScriptedModel([code("n = len(large)")]), **options(tmp_path))
    with contextlib.suppress(AgentError):
        agent.run("t", additional_args={"large": large})
    agent.cleanup()
    with pytest.raises(ConfigError, match=r"the run was given 'large' \(ndarray.*additional_args="):
        taken_up(tmp_path, agent.run_id, [])
    large[5] = 1
    with pytest.raises(ReplayDiffersError, match="The input 'large' is not what it was"):
        taken_up(tmp_path, agent.run_id, [], additional_args={"large": large})
    large[5] = 0
    reply = code("final_answer(n)")
    assert taken_up(tmp_path, agent.run_id, [reply], additional_args={"large": large})[0] == 9 << 20


def weights(unit):
    table = pd.Series([1.0])
    table.attrs["unit"] = unit
    return table


class Polars:
    """As a table of polars."""

    columns = ("n",)

    def __init__(self, numbers):
        self.numbers = numbers

    def estimated_size(self, unit="b"):
        return 8 * len(self.numbers)

    def to_arrow(self):
        return pa.table({"n": self.numbers})


class PolarsColumn(Polars):
    columns = property()

    def to_frame(self):
        return Polars(self.numbers)


Polars.__module__ = PolarsColumn.__module__ = "polars.here"


TIMES = pd.date_range("2000", periods=9, freq="s", tz="UTC")
LARGE = {
    "array": [np.zeros(9), np.zeros(9, "i8")],
    "index": [pd.Series(0, index=range(n, n + 9)) for n in range(2)],
    "zone": [pd.DataFrame({"t": times}) for times in (TIMES, TIMES.tz_convert("Europe/Berlin"))],
    "same label twice": [pd.DataFrame([[0, n]], columns=["a", "a"]) for n in range(2)],
    "order of categories": [pd.Series(["u", "v"], dtype=pd.CategoricalDtype(list(order))) for order in ("uv", "vu")],
    "Arrow": [pa.table({"n": np.full(9, n)}) for n in range(2)],
    "attributes": [weights("kg"), weights("g")],
}


@pytest.mark.parametrize("kind", [Polars, PolarsColumn])
def test_the_digest_of_a_large_table_of_polars_is_taken_of_it_as_arrow(monkeypatch, kind):
    monkeypatch.setattr(kept_values, "LARGE", 64)
    one, same, other = (digest_of(kind([n] * 9)) for n in (1, 1, 2))
    assert one == same != other and one.startswith("fast:")
    assert not digest_of(kind([1] * 8)).startswith("fast:")


@pytest.mark.parametrize(("one", "other"), LARGE.values(), ids=LARGE)
def test_large_inputs_that_differ_have_different_digests(monkeypatch, one, other):
    monkeypatch.setattr(kept_values, "LARGE", 0)
    assert digest_of(one).startswith("fast:")
    assert digest_of(one) == digest_of(decode(encode(one)))
    assert digest_of(one) != digest_of(other)


def test_the_digest_of_a_large_input_is_taken_beside_the_run_and_recorded_before_its_end(tmp_path):
    large = {"large": np.zeros(9 << 20), "small": [1]}
    replies = [code("n = len(large)"), code("m = 1"), code("final_answer(n + m)"), code("final_answer(0)")]
    with CodeAgent(tools=[], model=ScriptedModel(replies), **options(tmp_path)) as agent:
        events = list(agent.events("t", additional_args=large))
        agent.journal = False
        unrecorded = list(agent.events("t", additional_args={"large": large["large"]}, reset=False))
    assert set(events[0].values["large"]) == {"bytes"}
    assert events[0].values["small"]["digest"]
    digested = [event for event in events if isinstance(event, InputsDigested)]
    assert [list(event.digests) for event in digested] == [["large"]]
    assert digested[0] in agent_events(tmp_path, events[0].run)
    assert digested[0].digests["large"].startswith("fast:")
    assert not any(isinstance(event, InputsDigested) for event in unrecorded)
    fork = {"step": 1, "additional_args": large, **options(tmp_path)}
    assert CodeAgent.fork(events[0].run, model=ScriptedModel([code("final_answer(n)")]), **fork) == 9 << 20
    large["large"][3] = 1
    with pytest.raises(ReplayDiffersError, match="The input 'large' is not what it was"):
        CodeAgent.fork(events[0].run, model=ScriptedModel([]), **fork)


def test_images_of_the_task_are_recorded_and_shown_again(tmp_path):
    picture = Image.new("RGB", (3, 2), "red")
    file = tmp_path / "blue.png"
    Image.new("RGB", (2, 2), "blue").save(file)
    replies = [code("x = 1"), code("final_answer(x)")]
    with CodeAgent(tools=[], model=ScriptedModel(replies), **options(tmp_path)) as agent:
        agent.run("look", images=[picture, str(file)])
        asked = agent.model.requests[1]
    run = agent.run_id
    urls = [image_url(each) for each in images(asked)]
    file.unlink()
    model = ScriptedModel(replies[1:])
    assert CodeAgent.fork(run, step=1, model=model, **options(tmp_path)) == 1
    assert [image_url(each) for each in images(model.requests[0])] == urls
    for other in ([picture, picture], picture):
        with pytest.raises(ReplayDiffersError, match="The images given with the task are not those of the beginning"):
            CodeAgent.fork(run, step=1, model=ScriptedModel([]), images=other, **options(tmp_path))


def test_a_large_medium_has_to_be_given_again(tmp_path):
    file = tmp_path / "large.wav"
    file.write_bytes(b"RIFF" + bytes(5 << 20))
    agent = CodeAgent(tools=[], model=ScriptedModel([code("x = 1")]), **options(tmp_path))
    with contextlib.suppress(AgentError):
        agent.run("listen", audio=[str(file)])
    agent.cleanup()
    (kept,) = agent_events(tmp_path, agent.run_id)[0].media["audio"]
    assert set(kept) == {"digest", "bytes"} and kept["bytes"] == (5 << 20) + 4
    with pytest.raises(ConfigError, match=r"given audio that are not recorded whole: pass them again, audio=\["):
        taken_up(tmp_path, agent.run_id, [])
    with pytest.raises(ReplayDiffersError, match="The audio given with the task are not those of the beginning"):
        taken_up(tmp_path, agent.run_id, [], audio=[b"RIFF"])
    reply = code("final_answer(x)")
    assert taken_up(tmp_path, agent.run_id, [reply], audio=[str(file)])[0] == 1


def test_a_record_shows_the_model_no_file_of_this_machine(tmp_path):
    secret = tmp_path / "secret.png"
    Image.new("RGB", (2, 2)).save(secret)
    run = ran(tmp_path, [code("1")], at=2)
    begun, *others = agent_events(tmp_path, run)
    for named in (str(secret), encode(secret)):
        journal = Journal(tmp_path / f"foreign-{len(str(named))}.sqlite")
        journal.append_all([replace(begun, media={"images": [{"value": named}]}), *others])
        with pytest.raises(ConfigError, match="images that are not recorded whole"):
            CodeAgent.resume(run, model=ScriptedModel([]), verbosity_level=LogLevel.OFF, journal=journal)


def test_what_a_conversation_began_with_is_there_again(tmp_path):
    with CodeAgent(
        tools=[], model=ScriptedModel([code("final_answer(x + 1)"), code("y = 5")]), **options(tmp_path)
    ) as agent:
        assert agent.run("first", additional_args={"x": 2}) == 3
        with contextlib.suppress(AgentError):
            agent.run("second", reset=False)
    assert taken_up(tmp_path, agent.run_id, [code("final_answer((x, y))")])[0] == (2, 5)


def test_structured_calls_are_not_made_again(noting, tmp_path):
    note, effects = noting
    replies = [calls(("note", {"text": "a"}), ("note", {"text": "b"})), call("note", text="c"), final("done")]
    agent = ToolCallingAgent(tools=[note], model=ScriptedModel(replies), **options(tmp_path))
    whole = list(agent.events("count"))
    asked = all_requests(agent.model)
    for at in range(2, len(whole), 3):
        (tmp_path / "effects.txt").write_text("")
        run = ran(tmp_path, replies, [note], ToolCallingAgent, at)
        replied = sum(isinstance(event, ModelReplied) for event in agent_events(tmp_path, run))
        answer, model = taken_up(tmp_path, run, replies[replied:], [note], ToolCallingAgent)
        assert answer == "done", at
        assert max(map(effects().count, "abc")) == 1, at
        unknown = "It is not known" in str(agent_events(tmp_path, run))
        assert unknown or all_requests(model) == asked[replied:], at


def test_an_agent_that_was_called_goes_on_itself(noting, tmp_path):
    note, effects = noting

    def agent(own, inner):
        counter = CodeAgent(
            tools=[note], model=ScriptedModel(inner), name="counter", description="Counts.", **options(tmp_path)
        )
        return {"tools": [], "model": ScriptedModel(own), "managed_agents": [counter], **options(tmp_path)}

    outer = [code("report = counter('count')\nprint(report)"), code("final_answer(report.count('7'))")]
    inner = [code("note('a')"), code("note('b')"), code("final_answer(7)")]
    caller = CodeAgent(**agent(outer, inner))
    kinds = [(event.run == caller.run_id, event.kind) for event in caller.events("count")]
    assert (caller.answer, effects()) == (1, ["a", "b"])
    caller.cleanup()
    at = next(place for place, (own, kind) in enumerate(kinds, 1) if not own and kind == "step_finished")
    (tmp_path / "effects.txt").write_text("")
    first = CodeAgent(**agent(outer, inner))
    with contextlib.closing(first.events("count")) as events:
        for number, _ in enumerate(events, 1):
            if number == at:
                break
    first.cleanup()
    family = agent_events(tmp_path, first.run_id)  # it may have come further than its caller saw
    replied = sum(isinstance(event, ModelReplied) and event.run != first.run_id for event in family)
    answer = CodeAgent.resume(first.run_id, **agent(outer[1:], inner[replied:]))
    family = agent_events(tmp_path, first.run_id)
    assert (answer, effects().count("a")) == (1, 1)
    assert effects().count("b") == 1 or "It is not known" in str(family)
    runs = {event.run for event in family}
    assert len(runs) == 2, "it is the same run of the agent that was called"


INSIDE = {
    CodeAgent: [code("z = note('a')"), code("hang()"), code("final_answer(z)")],
    ToolCallingAgent: [call("note", text="a"), call("hang"), final("1")],
}
OUTSIDE = {
    CodeAgent: [code("report = counter('count')"), code("final_answer(report)")],
    ToolCallingAgent: [call("counter", task="count"), final("over")],
}


@pytest.mark.parametrize("by", ["interrupt", "close"])
@pytest.mark.parametrize("inside", INSIDE)
@pytest.mark.parametrize("outside", OUTSIDE)
def test_an_agent_that_was_called_goes_on_after_a_stop(noting, tmp_path, outside, inside, by):
    note, effects = noting
    the_end = threading.Event()

    @tool(threaded=True)
    def hang() -> None:
        """Hangs."""
        emit(ToolProgress(tool="hang", text="go"))
        the_end.wait()

    def given(own, inner):
        tools, model = [note, hang], ScriptedModel(inner)
        counter = inside(tools=tools, model=model, name="counter", description="Counts.", **options(tmp_path))
        return {"tools": [], "model": ScriptedModel(own), "managed_agents": [counter], **options(tmp_path)}

    agent = outside(**given(OUTSIDE[outside], INSIDE[inside]))
    with contextlib.closing(agent.events("count")) as events:
        next(event for event in events if getattr(event, "text", "").strip() == "go")
        if by == "interrupt":
            agent.interrupt()
            assert list(events)[-1].state == "interrupted"
    for thread in threading.enumerate():
        if thread.name == "tool counter":
            thread.join(30)
    agent.cleanup()
    the_end.set()
    parts = given(OUTSIDE[outside][1:], INSIDE[inside][2:])
    answer = outside.resume(agent.run_id, **parts)
    family = agent_events(tmp_path, agent.run_id)
    assert effects() == ["a"]
    assert len({event.run for event in family}) == 2, "it is the same run of the agent that was called"
    assert "Report of counter:\n1" in (answer if outside is CodeAgent else read(parts["model"].requests[0]))
    assert "OutcomeUnknownError" in read(parts["managed_agents"][0].model.requests[0])


WAITS = {
    CodeAgent: [code("y = note('a')"), code("z = note('b')"), code("final_answer(z)")],
    ToolCallingAgent: [call("note", text="a"), call("note", text="b"), final("1")],
}


@pytest.mark.parametrize("further", [False, True])
@pytest.mark.parametrize("inside", WAITS)
@pytest.mark.parametrize("outside", OUTSIDE)
def test_a_close_stops_an_agent_that_was_called_before_its_call_comes_to_nothing(
    noting, tmp_path, outside, inside, further
):
    """Its plain call waits for the thread of the run, which is not to make it: none of its models is asked again. So it
    is with `further`, where it was called by one that was called."""
    note, effects = noting
    gate, (first, second, last) = threading.Event(), WAITS[inside]

    def gated(messages):
        gate.wait()
        return second

    def given(outer, inner):
        counter = inside([note], ScriptedModel(inner), name="counter", description="Counts.", **options(tmp_path))
        parts = {"tools": [], "model": ScriptedModel(outer), "managed_agents": [counter], **options(tmp_path)}
        if not further:
            return parts
        between = outside(**parts, name="counter", description="Has it counted.")
        return {**parts, "model": ScriptedModel(outer), "managed_agents": [between]}

    def calls_of_note():
        return [e for e in agent_events(tmp_path, agent.run_id) if isinstance(e, ToolCalled) and e.tool == "note"]

    parts = given(OUTSIDE[outside], [first, gated, last])
    agent, counter = outside(**parts), parts["managed_agents"][0]
    counter = counter.managed_agents["counter"] if further else counter
    with contextlib.closing(agent.events("count")) as events:
        next(event for event in events if isinstance(event, ToolReturned) and event.tool == "note")
        gate.set()
        while len(calls_of_note()) < 2:
            pass
    for thread in threading.enumerate():
        if thread.name == "tool counter":
            thread.join(30)
    agent.cleanup()
    assert (len(counter.model.requests), effects()) == (2, ["a"])
    ends = [event for event in agent_events(tmp_path, agent.run_id) if isinstance(event, RunFinished)]
    assert [event.state for event in ends] == ["interrupted"] * (2 + further)
    parts = given(OUTSIDE[outside][1:], [last])
    answer = outside.resume(agent.run_id, **parts)
    assert effects() == ["a", "b"]
    caller = parts["managed_agents"][0] if further else None
    told = answer if outside is CodeAgent else read((caller.model if caller else parts["model"]).requests[0])
    assert "Report of counter:\n1" in told


@pytest.mark.parametrize("inside", WAITS)
def test_ctrl_c_in_a_tool_of_one_agent_stops_another_whose_call_waits(noting, tmp_path, inside):
    """Both were called at once; the plain calls of the second have to wait for the first one's tool."""
    note, effects = noting
    pressing, first = threading.Event(), WAITS[inside][0]
    last = code("final_answer(y)") if inside is CodeAgent else final("1")
    both = code(
        "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor() as pool:\n"
        "    a, b = pool.submit(one, 'press'), pool.submit(other, 'count')\n    report = a.result() + b.result()"
    )

    @tool
    def press() -> None:
        """Waits for the other's call, and for Ctrl-C."""
        pressing.set()
        while not any(event.kind == "tool_called" and event.tool == "note" for event in events()):
            pass
        raise KeyboardInterrupt

    def then(messages):
        pressing.wait()
        return first

    def events():
        return agent_events(tmp_path, agent.run_id)

    def given(*replies):
        own, one, other = map(ScriptedModel, replies)
        more = options(tmp_path)
        one = CodeAgent([press], one, name="one", description="Presses.", **more)
        other = inside([note], other, name="other", description="Counts.", **more)
        return {"tools": [], "model": own, "managed_agents": [one, other], **more}

    parts = given([both], [code("press()")], [then, last])
    agent, other = CodeAgent(**parts), parts["managed_agents"][1]
    with pytest.raises(KeyboardInterrupt):
        list(agent.events("count"))
    for thread in threading.enumerate():
        if thread.name.startswith("tool "):
            thread.join(30)
    agent.cleanup()
    assert (len(other.model.requests), effects()) == (1, [])
    assert [event.state for event in events() if event.kind == "run_finished"] == ["interrupted"] * 3
    parts = given([code("final_answer(report)")], [code("final_answer('pressed')")], [last])
    assert "1" in CodeAgent.resume(agent.run_id, **parts)
    assert effects() == ["a"]


def test_structured_calls_that_were_stopped(noting, tmp_path):
    """What had its effect is not repeated; what was under way is not known; what had to wait is made."""
    note, effects = noting
    the_end, replies = threading.Event(), [calls(("note", {"text": "a"}), ("hang", {}), ("later", {})), final("done")]

    @tool(threaded=True)
    def hang() -> None:
        """Hangs."""
        emit(ToolProgress(tool="hang", text="go"))
        the_end.wait()

    @tool(threaded=True)
    def later() -> str:
        """Comes later."""
        return note("late")

    def make(**more):
        return {"tools": [note, hang, later], "max_tool_threads": 1, **options(tmp_path), **more}

    agent = ToolCallingAgent(model=ScriptedModel(replies), **make())
    for event in agent.events("count"):
        if isinstance(event, ToolProgress):
            agent.interrupt()
    assert event.state == "interrupted"
    the_end.set()
    model = ScriptedModel(replies[1:])
    assert ToolCallingAgent.resume(agent.run_id, model=model, **make()) == "done"
    assert sorted(effects()) == ["a", "late"]
    said = read(model.requests[0])
    assert "OutcomeUnknownError" in said and said.count("failed") == 1


def test_a_plain_structured_call_that_came_to_its_end_after_the_stop_counts(noting, tmp_path):
    note, effects = noting

    @tool
    def charge() -> str:
        """Stops the run that it is part of, and goes on."""
        agent.interrupt()
        return note("a")

    agent = ToolCallingAgent([charge], ScriptedModel([call("charge")]), **options(tmp_path))
    assert agent.run("t", return_full_result=True).state == "interrupted"
    answer, model = taken_up(tmp_path, agent.run_id, [final("ok")], [charge], ToolCallingAgent)
    assert (answer, effects()) == ("ok", ["a"])
    assert read(model.requests[0]).endswith("Observation:\n1")


class Denied(AgentError):
    """What a guard raises for the model to read."""

    def __init__(self, rule):
        Exception.__init__(self, "denied", rule)
        self.message = rule


class Refused(AgentToolExecutionError):
    """The same, where the tool's words are in it."""


def marked(model):
    """Of each request how much in it is marked as said by others."""
    return [
        sum(isinstance(part.get("text"), Outside) for message in messages for part in message.content)
        for messages in model.requests
    ]


def guarded(error, after):
    """A class that raises `error` around the calls of "b": before or after the tool is called."""

    class Guarded(ToolCallingAgent):
        def execute_tool_call(self, tool_name, arguments):
            if arguments != {"text": "b"}:
                return super().execute_tool_call(tool_name, arguments)
            if after:
                super().execute_tool_call(tool_name, arguments)
            raise error

    return Guarded


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("error", [Denied("not b"), Refused("not b"), Denied("")], ids=repr)
def test_an_agent_error_from_around_a_call_is_read_again_as_it_was(noting, tmp_path, error, after):
    note, effects = noting
    kind = guarded(error, after)
    both = calls(("note", {"text": "b"}), ("note", {"text": "c"}))
    replies = [call("note", text="a"), call("note", text="b"), both, final("done")]
    agent = kind(tools=[note], model=ScriptedModel(replies), **options(tmp_path))
    whole = list(agent.events("count"))
    asked = all_requests(agent.model)
    ends = [place for place, event in enumerate(whole, 1) if isinstance(event, ActionFinished | StepFinished)]
    for at in ends[:-2]:
        (tmp_path / "effects.txt").write_text("")
        run = ran(tmp_path, replies, [note], kind, at)
        before = sorted(effects())
        replied = sum(isinstance(event, ModelReplied) for event in agent_events(tmp_path, run))
        answer, model = taken_up(tmp_path, run, replies[replied:], [note], kind)
        assert answer == "done"
        assert all_requests(model) == asked[replied:], at
        assert marked(model) == marked(agent.model)[replied:], at
        assert sorted(effects())[: len(before)] == before
        assert sorted(effects()) == sorted(["a", *["b"] * after * 2, "c"])


@pytest.mark.parametrize("after", [False, True])
def test_a_run_that_ended_by_what_came_from_around_a_call_goes_on_without_that_call(noting, tmp_path, after):
    note, effects = noting
    kind = guarded(PermissionError("not b"), after)
    both = calls(("note", {"text": "b"}), ("note", {"text": "c"}))
    for reply, done in ((call("note", text="b"), ["b"] * after), (both, [*["b"] * after, "c"])):
        (tmp_path / "effects.txt").write_text("")
        agent = kind(tools=[note], model=ScriptedModel([call("note", text="a"), reply]), **options(tmp_path))
        with pytest.raises(PermissionError):
            agent.run("count")
        answer, model = taken_up(tmp_path, agent.run_id, [final("done")], [note], kind)
        assert (answer, sorted(effects())) == ("done", ["a", *done])
        assert "Tool 'note' failed: PermissionError: not b" in read(model.requests[0])


def test_a_run_whose_budget_ended_around_a_call_remembers_that_call(noting, tmp_path):
    note, effects = noting
    kind = guarded(AgentBudgetError("no more of b"), after=True)
    replies = [call("note", text="a"), call("note", text="b"), "the best"]
    agent = kind(tools=[note], model=ScriptedModel(replies), **options(tmp_path))
    assert agent.run("count", return_full_result=True).state == "budget"
    answer, model = taken_up(tmp_path, agent.run_id, [final("done")], [note], kind)
    assert (answer, effects()) == ("done", ["a", "b"])
    assert "no more of b" in read(model.requests[0])


def test_one_s_own_templates_take_the_place_of_those_of_somebody_else(tmp_path):
    run = ran(tmp_path, [code("x = 1")])
    begun, *others = agent_events(tmp_path, run)
    theirs = {**begun.settings, "given_templates": {"system_prompt": "{{ nothing }}"}}
    journal = Journal(tmp_path / "foreign.sqlite")
    journal.append_all([replace(begun, settings=theirs, origin={"imported": "run.json"}), *others])
    journal.cut_off(run)
    given = {"journal": journal, "verbosity_level": LogLevel.OFF, "prompt_templates": {"system_prompt": "Be brief."}}
    assert CodeAgent.resume(run, model=ScriptedModel([code("final_answer(x)")]), **given) == 1


def test_a_conversation_goes_on_after_a_run_that_ended_by_what_came_from_around_a_call(noting, tmp_path):
    note, effects = noting
    kind = guarded(PermissionError("not b"), after=True)

    def fails(messages):
        raise RuntimeError("busy")

    replies = [call("note", text="b"), call("note", text="c"), fails]
    agent = kind(tools=[note], model=ScriptedModel(replies), **options(tmp_path))
    with pytest.raises(PermissionError):
        agent.run("first")
    with pytest.raises(AgentError, match="busy"):
        agent.run("second", reset=False)
    answer, model = taken_up(tmp_path, agent.run_id, [final("done")], [note], kind)
    assert (answer, effects()) == ("done", ["b", "c"])
    assert all_requests(model)[0] == all_requests(agent.model)[-1]


def test_a_hand_off_is_one_again(tmp_path):
    def agent(own, other):
        second = CodeAgent(
            tools=[], model=ScriptedModel(other), name="second", description="Ends.", **options(tmp_path)
        )
        return {"tools": [], "model": ScriptedModel(own), "handoffs": [second], **options(tmp_path)}

    own, other = [code("x = 20\ntransfer_to_second('it can')")], [code("y = 2"), code("final_answer(x + y)")]
    first = CodeAgent(**agent(own, other))
    with contextlib.closing(first.events("t")) as events:
        next(event for event in events if event.kind == "step_finished" and event.run != first.run_id)
    first.cleanup()
    assert CodeAgent.resume(first.run_id, **agent([], other[1:])) == 22


def test_what_the_one_did_that_took_over_is_not_done_again(tmp_path):
    calls, folder = [], tmp_path / "shared"
    folder.mkdir()
    log = folder / "log.txt"

    @tool
    def charge(amount: int) -> str:
        """Charges.

        Args:
            amount: how much.
        """
        calls.append(amount)
        return f"charged {amount}"

    def agent(*replies):
        own, second, third = ([reply] if reply else [] for reply in replies)
        more = {**options(tmp_path), "executor_kwargs": {"mounts": [f"{folder}:rw"]}}
        last = CodeAgent([charge], ScriptedModel(third), name="last", description="Ends.", **more)
        between = {"name": "between", "description": "Between.", "handoffs": [last]}
        handoffs = [CodeAgent([charge], ScriptedModel(second), **between, **more)]
        return {"tools": [charge], "model": ScriptedModel(own), "handoffs": handoffs, **more}

    write = f"_ = open({str(log)!r}, 'a').write"
    replies = [
        code(f"x = charge(1)\n{write}('a')\ntransfer_to_between('it can')"),
        code(f"y = charge(2)\n{write}('b')\ntransfer_to_last('it can')"),
        code(f"z = charge(3)\n{write}('c')\nz"),
    ]
    first = CodeAgent(**agent(*replies))
    with contextlib.closing(first.events("t")) as events:
        ended = (event for event in events if event.kind == "step_finished")
        assert len([next(ended) for _ in range(3)]) == 3
    first.cleanup()
    done = code("final_answer((x, y, z, charge(4)))")
    assert CodeAgent.resume(first.run_id, accept=True, **agent("", "", done)) == (
        "charged 1", "charged 2", "charged 3", "charged 4",
    )  # fmt: skip
    assert (calls, log.read_text()) == ([1, 2, 3, 4], "abc")


@pytest.mark.parametrize("kind", [CodeAgent, ToolCallingAgent])
@pytest.mark.parametrize("box", [{"box": False}, {"network": "full"}])
def test_what_a_called_agent_reaches_outside_is_asked_for_too(tmp_path, kind, box):
    log = tmp_path / "log.txt"

    def agent(own, other):
        more = {**options(tmp_path), "executor_kwargs": box}
        called = CodeAgent([], ScriptedModel(other), name="called", description="Works.", **more)
        return {"tools": [], "model": ScriptedModel(own), "managed_agents": [called], **options(tmp_path)}

    writes = kind is CodeAgent
    own = code("r = called('do')") if writes else call("called", task="do")
    first = kind(**agent([own], [code(f"_ = open({str(log)!r}, 'a').write('a')"), code("2")]))
    with contextlib.closing(first.events("t")) as events:
        next(event for event in events if event.kind == "step_finished" and event.run != first.run_id)
    first.cleanup()
    wrote = log.read_text() if log.exists() else ""
    end = code("final_answer(r)") if writes else lambda said: final(said[-1].text)
    again = agent([end], [code("final_answer('done')")])
    with pytest.raises(ReplayDiffersError, match="outside of its box a second time"):
        kind.resume(first.run_id, **again)
    assert not again["model"].requests
    assert (log.read_text() if log.exists() else "") == wrote
    assert "done" in kind.resume(first.run_id, accept=True, **again)


@pytest.mark.parametrize("kind", [CodeAgent, ToolCallingAgent])
def test_a_tool_that_is_only_named_like_a_hand_off_is_not_called_again(tmp_path, kind):
    made = []

    @tool
    def transfer_to_savings(amount: int) -> str:
        """Moves money.

        Args:
            amount: how much.
        """
        made.append(amount)
        return "moved"

    @tool
    def last() -> str:
        """Comes last."""
        return "last"

    both = [("transfer_to_savings", {"amount": 100}), ("last", {})]
    reply = code("a = transfer_to_savings(100)\nb = last()\nfinal_answer(a + b)") if kind is CodeAgent else calls(*both)
    first = kind([transfer_to_savings, last], ScriptedModel([reply]), **options(tmp_path))
    with contextlib.closing(first.events("t")) as events:
        next(event for event in events if event.kind == "tool_returned" and event.tool == "transfer_to_savings")
    first.cleanup()
    model = ScriptedModel([final("moved")])
    again = kind.resume(first.run_id, tools=[transfer_to_savings, last], model=model, **options(tmp_path))
    assert again.startswith("moved") and made == [100]


@pytest.mark.parametrize("name", ["NotMadeError", "AbandonedError"])
def test_an_error_of_a_user_s_that_is_named_like_a_stop_is_none(tmp_path, name):
    @tool
    def order(number: int) -> str:
        """Orders.

        Args:
            number: which.
        """
        raise type(name, (RuntimeError,), {})("no")

    first = ToolCallingAgent([order], ScriptedModel([call("order", number=1), final("a")]), **options(tmp_path))
    with contextlib.closing(first.events("t")) as events:
        next(event for event in events if event.kind == "step_finished")
    first.cleanup()
    [ended] = [event for event in agent_events(tmp_path, first.run_id) if event.kind == "action_finished"]
    assert ended.status == "error"


@pytest.mark.parametrize("kind", ["tool_called", "tool_returned"])
@pytest.mark.parametrize("first_kind", [CodeAgent, ToolCallingAgent])
def test_a_hand_off_that_was_cut_off_is_made_again(tmp_path, kind, first_kind):
    def agent(own, other):
        second = CodeAgent([], ScriptedModel(other), name="second", description="Ends.", **options(tmp_path))
        more = {"executor_kwargs": {"cwd": tmp_path}} if first_kind is CodeAgent else {}
        return {"tools": [], "model": ScriptedModel(own), "handoffs": [second], **options(tmp_path), **more}

    asked = "transfer_to_second('it can')\nimport os, time\nwhile not os.path.exists('go'):\n    time.sleep(0.01)"
    own = code(asked) if first_kind is CodeAgent else call("transfer_to_second", reason="it can")
    first = first_kind(**agent([own], []))
    with contextlib.closing(first.events("t")) as events:
        next(event for event in events if event.kind == kind)
    first.cleanup()
    (tmp_path / "go").touch()
    again = agent(["no"], [code("final_answer('second')")])
    assert first_kind.resume(first.run_id, **again) == "second"
    resumed, handed = (
        next(event for event in agent_events(tmp_path, first.run_id) if event.kind == name)
        for name in ("run_resumed", "handed_off")
    )
    assert (resumed.differences, handed.reason) == ([], "it can")


def test_the_one_that_took_over_is_given_more_steps_and_its_predecessor_forked(tmp_path):
    def agent(own, other):
        more = {"name": "second", "description": "Ends.", "max_steps": 2}
        second = CodeAgent([], ScriptedModel(other), **more, **options(tmp_path))
        return {"tools": [], "model": ScriptedModel(own), "handoffs": [second], **options(tmp_path)}

    first = CodeAgent(**agent([code("x = 1\ntransfer_to_second('it can')")], [code("x"), code("x + 1"), "best"]))
    assert first.run("t", return_full_result=True).state == "max_steps_error"
    first.cleanup()
    with pytest.raises(ReplayError, match="its limit of 2 steps"):
        CodeAgent.resume(first.run_id, **agent([], []))
    assert CodeAgent.resume(first.run_id, max_steps=5, **agent([], [code("final_answer(x + 2)")])) == 3
    assert CodeAgent.fork(first.run_id, 1, **agent([], [code("final_answer(x + 3)")])) == 4
    run = CodeAgent(**agent([code("x = 1\ntransfer_to_second('it can')")], [code("x"), code("x + 1")]))
    with contextlib.closing(run.events("t")) as events:
        [next(each for each in events if each.kind == "step_finished") for _ in range(3)]
    run.cleanup()  # the second has taken two steps, and keeps its limit
    resumed = CodeAgent.resume(run.run_id, max_steps=1, return_full_result=True, **agent([], ["the best"]))
    assert (resumed.state, resumed.output) == ("max_steps_error", "the best")


def test_a_called_agent_that_had_not_begun_begins(tmp_path):
    def agent(own, other):
        called = CodeAgent([], ScriptedModel(other), name="called", description="Works.", **options(tmp_path))
        return {"tools": [], "model": ScriptedModel(own), "managed_agents": [called], **options(tmp_path)}

    first = CodeAgent(**agent([code("r = called('do')")], [code("final_answer('late')")]))
    with contextlib.closing(first.events("t")) as events:
        next(event for event in events if event.kind == "tool_called")
    first.cleanup()
    book = Journal(tmp_path / "journal.sqlite")
    book.delete([event.run for event in book.events(first.run_id, family=True) if event.run != first.run_id])
    again = agent([code("final_answer(r)")], [code("final_answer('done')")])
    assert "done" in CodeAgent.resume(first.run_id, **again)


def test_what_a_callback_changed_stays_changed_and_it_is_not_called_again(tmp_path):
    called = []

    def shorten(step, agent):
        called.append(step.step_number)
        step.observations = f"seen {step.step_number}"

    run = ran(tmp_path, [code("1"), code("2")], step_callbacks=[shorten])
    assert called == [1, 2]
    answer, model = taken_up(tmp_path, run, [code("final_answer(3)")], step_callbacks=[shorten])
    assert (answer, called) == (3, [1, 2, 3])
    assert "seen 1" in read(model.requests[0]) and "seen 2" in read(model.requests[0])


def test_the_count_of_steps_that_a_callback_set_stays_set(tmp_path):
    def free(step, agent):
        agent.step_number -= 1

    run = ran(tmp_path, [code("a = 1"), code("b = 2"), code("c = 3")], step_callbacks=[free], max_steps=2)
    answer, model = taken_up(tmp_path, run, [code("d = 4"), code("final_answer(a + b + c + d)")])
    assert (answer, len(model.requests)) == (10, 2)


def test_a_conversation_goes_on_behind_an_answer_that_a_callback_made(tmp_path):
    def redact(step):
        step.output = "redacted"

    replies = [code("x = 3\nfinal_answer('a secret')"), code("y = 4")]
    agent = CodeAgent([], ScriptedModel(replies), step_callbacks={FinalAnswerStep: redact}, **options(tmp_path))
    assert agent.run("count") == "redacted"
    with pytest.raises(AgentError, match="gave no reply"):
        agent.run("go on", reset=False)
    agent.cleanup()
    answer, _ = taken_up(tmp_path, agent.run_id, [code("final_answer(x + y)")])
    assert answer == 7


def test_plans_checks_and_the_budget_count_as_before(tmp_path):
    replies = ["First a, then b.", code("a = 1"), code("final_answer(a)")]
    more = {"planning_interval": 5, "checks": ["answer > 1"], "budget": Budget(steps=4)}
    run = ran(tmp_path, replies, **more)
    events = agent_events(tmp_path, run)
    assert events[0].settings["budget"]["steps"] == 4 and events[0].settings["checks"] == ["answer > 1"]
    answer, model = taken_up(tmp_path, run, [code("final_answer(a + 1)"), "not asked"])
    assert answer == 2
    assert "First a, then b." in read(model.requests[0]) and "answer > 1" in read(model.requests[0])
    run = ran(tmp_path, replies, **more)
    result = CodeAgent.resume(
        run, tools=[], model=ScriptedModel([code("a"), "the best"]), return_full_result=True, **options(tmp_path)
    )
    assert (result.state, result.used["steps"]) == ("budget", 4)


def test_a_run_that_was_ended_for_going_in_circles_goes_on_where_it_is_asked_to(tmp_path):
    given = {"tools": [], **options(tmp_path)}
    agent = CodeAgent(model=ScriptedModel([code("x = 1")] * 9 + ["best"]), max_steps=20, **given)
    assert agent.run("t") == "best"
    agent.cleanup()
    run = agent.run_id
    model = ScriptedModel([code("final_answer(x + 1)")])
    assert CodeAgent.fork(run, instruction="Use another way.", model=model, **given) == 2
    assert "Use another way." in read(model.requests[0])
    for fewer in (5, 9):
        with pytest.raises(ReplayError, match="has taken 9 of 20 steps: give a limit above 9, or none, max_steps="):
            CodeAgent.resume(run, model=ScriptedModel([]), max_steps=fewer, **given)
    again = ScriptedModel([code("y = x")] * 9 + ["better"])
    assert CodeAgent.resume(run, model=again, **given) == "better"
    last = ScriptedModel([code("final_answer(x + y)")])
    assert CodeAgent.resume(run, model=last, max_steps=21, **given) == 2
    assert [each.steps for each in Journal(tmp_path / "journal.sqlite").runs()] == [10, 19]
    assert CodeAgent.fork(run, 18, model=ScriptedModel([code("final_answer(y + 6)")]), **given) == 7


def test_a_run_that_goes_in_circles_and_is_cut_off_before_its_end_ends_as_it_would_have(tmp_path):
    given = {"tools": [], **options(tmp_path)}
    agent = CodeAgent(model=ScriptedModel([code("x = 1")] * 9), **given)
    with contextlib.closing(agent.events("t")) as events:
        next(event for event in events if isinstance(event, StepFinished) and event.step == 9)
    agent.cleanup()
    assert CodeAgent.resume(agent.run_id, model=ScriptedModel(["best"]), **given) == "best"
    last = ScriptedModel([code("y = x + 1"), code("final_answer(y)")])
    assert CodeAgent.resume(agent.run_id, model=last, **given) == 2


def test_a_conversation_goes_on_from_a_run_that_went_on_after_going_in_circles(tmp_path):
    given = {"tools": [], **options(tmp_path)}
    agent = CodeAgent(model=ScriptedModel([code("x = 1")] * 9 + ["best"]), **given)
    agent.run("t")
    agent.cleanup()
    resumed = prepare(CodeAgent, agent.run_id, model=ScriptedModel([code("final_answer(x)")]), **given)
    with resumed.agent as agent:
        assert resumed.run() == 1
        agent.model = ScriptedModel([code("y = x + 1"), code("final_answer(y)")])
        assert agent.run("more", reset=False) == 2
    assert CodeAgent.fork(agent.run_id, model=ScriptedModel([code("final_answer(x + y)")]), **given) == 3


def test_a_conversation_is_played_from_its_beginning(tmp_path):
    agent = CodeAgent(tools=[], model=ScriptedModel([code("x = 5\nfinal_answer(x)")]), **options(tmp_path))
    agent.run("first")
    agent.model = ScriptedModel([code("x += 1")])
    with contextlib.suppress(AgentError):
        agent.run("second", reset=False)
    agent.cleanup()
    answer, model = taken_up(tmp_path, agent.run_id, [code("final_answer(x)")])
    assert answer == 6
    assert "first" in read(model.requests[0]) and "second" in read(model.requests[0])


def test_a_fork_goes_its_own_way_and_leaves_the_run_as_it_is(noting, tmp_path):
    note, effects = noting
    run = ran(tmp_path, [code("n = 10"), code("n = n + 1\nnote('a')"), code("final_answer(n)")], [note])
    before = agent_events(tmp_path, run)
    given = {"tools": [note], **options(tmp_path)}
    model = ScriptedModel([code("final_answer(n * 2)")], model_id="other")
    assert CodeAgent.fork(run, 2, model=model, instruction="Double it.", **given) == 22
    assert read(model.requests[0]).rstrip().endswith("Double it.")
    assert CodeAgent.fork(run, 1, model=ScriptedModel([code("final_answer(n)")]), **given) == 10
    edited = {"action": "n = n + 5\nnote('b')", "model": ScriptedModel([code("final_answer(n)")])}
    assert CodeAgent.fork(run, 2, **edited, **given) == 15
    assert effects() == ["a", "b"]
    assert agent_events(tmp_path, run) == before
    forks = Journal(tmp_path / "journal.sqlite").runs()
    assert [summary.state for summary in forks] == ["success"] * 4 and forks[-1].run == run
    begun = agent_events(tmp_path, forks[0].run)[0]
    assert begun.forked.items() >= {"run": run, "step": 1}.items()
    assert begun.time == before[0].time < begun.began == forks[0].started
    with pytest.raises(ReplayError, match=f"step 9: run {run} has the steps 1 to 3"):
        CodeAgent.fork(run, 9, model=model, **given)


def test_a_fork_that_is_refused_names_the_run_that_there_is(tmp_path):
    run = ran(tmp_path, [code("import time\nprint(time.time())"), code("final_answer(1)")])
    given = {"model": ScriptedModel([]), "tools": [], **options(tmp_path)}
    with pytest.raises(ReplayDiffersError, match=f"run {run} was not taken up"):
        CodeAgent.fork(run, 1, **given)
    with pytest.raises(ConfigError, match="give either an instruction or an action"):
        CodeAgent.fork(run, 1, instruction="Else.", action="1", **given)
    with pytest.raises(ConfigError, match="action: it is no Python"):
        CodeAgent.fork(run, 1, action="1 +", **given)
    assert [each.run for each in Journal(tmp_path / "journal.sqlite").runs()] == [run]


def test_the_time_until_a_fork_is_made_is_not_its_own(tmp_path):
    run = ran(tmp_path, [code("n = 1"), code("final_answer(n)")])
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.sqlite")) as db, db:  # as if it were of long ago
        db.execute("UPDATE events SET body = json_set(body, '$.time', json_extract(body, '$.time') - 86400)")
    model = ScriptedModel([code("final_answer(n + 1)")])
    assert (
        CodeAgent.fork(run, 1, model=model, instruction="Add one.", budget=Budget(seconds=3_600), **options(tmp_path))
        == 2
    )
    book = Journal(tmp_path / "journal.sqlite")
    timeline = timeline_of(book.events(book.find("last").run))
    assert timeline.seconds < 3_600 and timeline.began == book.find("last").started


def test_a_fork_of_which_nothing_new_comes_leaves_no_run(noting, tmp_path):
    note, _ = noting
    run = ran(tmp_path, [code("n = note('a')"), code("m = 1"), code("final_answer(n)")], [note])
    journal = Journal(tmp_path / "journal.sqlite")
    with pytest.raises(ReplayError, match=f"run {run} has the tools note, which are not here: .* the command line"):
        CodeAgent.fork(run, 2, tools=[], model=ScriptedModel([]), **options(tmp_path))
    assert [each.run for each in journal.runs()] == [run]
    forked = prepare_fork(CodeAgent, run, 2, tools=[note], model=ScriptedModel([]), **options(tmp_path))
    with contextlib.closing(forked.events()) as events:
        assert next(events).run != run
    forked.agent.cleanup()
    assert journal.find("last").run == run


def test_a_fork_begins_before_the_step_that_gave_the_answer(tmp_path):
    run = ran(tmp_path, [code("n = 10"), code("m = 1"), code("final_answer(n)")])
    with pytest.raises(ReplayError, match="step 3 gave the answer: fork at step 2 or earlier"):
        CodeAgent.fork(run, 3, model=ScriptedModel([]), instruction="Double it.", **options(tmp_path))
    model = ScriptedModel([code("final_answer(n * 2)")])
    assert CodeAgent.fork(run, model=model, instruction="Double it.", **options(tmp_path)) == 20
    assert read(model.requests[0]).rstrip().endswith("Double it.")
    edited = {"action": "final_answer(n + m)", "model": ScriptedModel([])}
    assert CodeAgent.fork(run, **edited, **options(tmp_path)) == 11
    at_once = ran(tmp_path, [code("final_answer(1)")])
    with pytest.raises(ReplayError, match=r"step 1 gave the answer: fork at step 0$"):
        CodeAgent.fork(at_once, 1, model=ScriptedModel([]), **options(tmp_path))
    assert CodeAgent.fork(at_once, model=ScriptedModel([code("final_answer(2)")]), **options(tmp_path)) == 2


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        ({"continues": "r"}, "the run goes on from itself"),
        ({"continues": "gone"}, "the run goes on from run gone, which is not in the journal"),
        ({"max_steps": 0}, "no limit of steps"),
        ({"settings": {"foo": 1}}, "settings that do not fit: .*foo"),
        ({"settings": {"budget": {"foo": 1}}}, "settings that do not fit: .*foo"),
        ({"settings": {"executor_kwargs": "x"}}, "settings that do not fit"),
    ],
)
def test_a_record_that_somebody_else_wrote_is_refused_in_a_line(tmp_path, damage, why):
    run = ran(tmp_path, [code("x = 1")])
    begun, *others = (replace(event, run="r") for event in agent_events(tmp_path, run))
    given = {**options(tmp_path), "journal": tmp_path / "other.sqlite"}
    Journal(given["journal"]).append_all([replace(begun, **damage), *others])
    Journal(given["journal"]).cut_off("r")
    for go_on in (CodeAgent.resume, CodeAgent.fork):
        with pytest.raises(ReplayError, match=why):
            go_on("r", tools=[], model=ScriptedModel([]), **given)
    assert [each.run for each in Journal(given["journal"]).runs()] == ["r"]


def test_what_a_dead_child_knew_stays_lost(tmp_path):
    run = ran(tmp_path, [code("x = 1"), code("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"), code("y = 2")])
    answer, _ = taken_up(tmp_path, run, [code("final_answer(('x' in dir(), y))")])
    assert answer == (False, 2)


def test_what_actions_write_in_a_mount_is_thrown_away_when_they_are_run_again(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    log = str(shared / "log")
    box = {"mounts": [f"{shared}:rw"]}
    write = f"with open({log!r}, 'a') as file:\n    file.write('x')\n"
    run = ran(tmp_path, [code(write + "n = 1")], executor_kwargs=box)
    with pytest.raises(ReplayDiffersError, match=r"see .*shared besides the working folder"):
        taken_up(tmp_path, run, [])  # the record may be somebody else's
    assert (shared / "log").read_text() == "x"
    answer, _ = taken_up(tmp_path, run, [code(write + f"final_answer((n, open({log!r}).read()))")], accept=True)
    assert (answer, (shared / "log").read_text()) == ((1, "xx"), "xx")


def test_a_file_that_actions_keep_open_in_a_mount_is_told(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    box = {"mounts": [f"{shared}:rw"], "cwd": str(shared)}
    run = ran(tmp_path, [code("file = open('log', 'a')\nn = file.write('x')")], executor_kwargs=box)
    model = ScriptedModel([code("final_answer(file.write('y'))")])
    resumption = prepare(CodeAgent, run, model=model, accept=True, **options(tmp_path))
    events = list(resumption.events())
    resumption.agent.cleanup()
    resumed = next(event for event in events if isinstance(event, RunResumed))
    assert "left a file open in a mount" in str(resumed.differences)
    assert sorted(path.name for path in shared.iterdir()) == ["log"]


@pytest.mark.usefixtures("no_proxy_of_the_machine")
def test_hosts_are_asked_again_only_on_request(tmp_path):
    with WebServer() as web:
        web["/"] = Answer("hello")
        fetch = f"import urllib.request\nurllib.request.urlopen({web.url('/')!r}).read()"
        box = {"allow_hosts": [web.url("/").split("/")[2]]}
        run = ran(tmp_path, [code(fetch)], executor_kwargs=box)
        assert len(web.requests) == 1
        with pytest.raises(ReplayDiffersError, match=r"HTTPError now(.|\n)*no network(.|\n)*repeat=True"):
            taken_up(tmp_path, run, [])
        assert len(web.requests) == 1
        last = code(f"final_answer({fetch.splitlines()[1]})")
        assert taken_up(tmp_path, run, [last], accept=True)[0] == b"hello"  # its own step has its host
        assert len(web.requests) == 2
        with pytest.raises(ReplayDiffersError, match="a second time: they have a network"):
            CodeAgent.fork(run, step=1, model=ScriptedModel([]), repeat=True, **options(tmp_path))
        CodeAgent.fork(run, step=1, model=ScriptedModel([last]), repeat=True, accept=True, **options(tmp_path))
        assert len(web.requests) == 4


@pytest.mark.usefixtures("no_proxy_of_the_machine")
def test_earlier_runs_of_a_conversation_ask_their_hosts_again_as_well(tmp_path):
    with WebServer() as web:
        web["/"] = Answer("hello")
        fetch = f"import urllib.request\nx = urllib.request.urlopen({web.url('/')!r}).read()"
        box = {"allow_hosts": [web.url("/").split("/")[2]]}
        replies = [code(fetch), code("final_answer(x)"), code(fetch.replace("x =", "y =")), code("final_answer(y)")]
        with CodeAgent([], ScriptedModel(replies), executor_kwargs=box, **options(tmp_path)) as agent:
            agent.run("one")
            agent.run("two", reset=False)
        assert len(web.requests) == 2
        both = ScriptedModel([code("final_answer((x, y))")])
        assert CodeAgent.fork(agent.run_id, 1, model=both, repeat=True, accept=True, **options(tmp_path)) == (
            b"hello",
            b"hello",
        )
        assert len(web.requests) == 4


def test_a_refused_resumption_leaves_no_child_that_only_rehearses(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    executor = KernelExecutor(mounts=[f"{shared}:rw"])
    given = {**options(tmp_path), "executor": executor}
    with CodeAgent(tools=[], model=ScriptedModel([code("import time\nt = time.time_ns()\nt")]), **given) as agent:
        with contextlib.suppress(AgentError):
            agent.run("t")
        executor.cleanup()
        with pytest.raises(ReplayDiffersError):
            CodeAgent.resume(agent.run_id, model=ScriptedModel([]), **given)
        list(executor.run(f"open({str(shared / 'real')!r}, 'w').close()"))
    executor.cleanup()
    assert (shared / "real").exists()


def test_what_no_rehearsal_can_keep_from_happening_twice_is_asked_for_first(tmp_path):
    (tmp_path / "shared" / "below").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    box = {"mounts": [f"{tmp_path / 'shared'}:rw", str(tmp_path / "shared" / "below"), f"{tmp_path / 'file'}:rw"]}
    for kwargs, said in (
        (box, "they may write to .*shared, .*file"),
        ({"network": "full"}, "they have the network"),
        ({"box": False}, "there is no box"),
    ):
        run = ran(tmp_path, [code("1")], executor_kwargs=kwargs)
        with pytest.raises(ReplayDiffersError, match=f"can change what is outside of its box a second time: {said}"):
            taken_up(tmp_path, run, [])


def test_nothing_of_a_conversation_is_run_before_that_is_asked_for(tmp_path):
    marker = tmp_path / "was-here"
    run = ran(
        tmp_path, [code(f"import pathlib\npathlib.Path({str(marker)!r}).touch()")], executor_kwargs={"box": False}
    )
    marker.unlink()
    begun, *others = agent_events(tmp_path, run)
    last = replace(begun, run="later", continues=run, settings={**begun.settings, "executor_kwargs": {"box": False}})
    journal = Journal(tmp_path / "journal.sqlite")
    journal.append_all([last, *(replace(event, run="later") for event in others)])
    journal.cut_off("later")
    for take_up in (CodeAgent.resume, CodeAgent.fork):
        with pytest.raises(ReplayDiffersError, match="there is no box"):
            take_up("later", model=ScriptedModel([]), **options(tmp_path))
    assert not marker.exists()


def test_what_the_record_of_somebody_else_reaches_is_asked_for_first(tmp_path, monkeypatch, capsys):
    theirs, mine = tmp_path / "theirs", tmp_path / "mine"
    theirs.mkdir()
    mine.mkdir()
    box = {"cwd": str(theirs), "allow_hosts": ["example.org"], "limits": {"processes": 64}}
    run = ran(tmp_path, [code("x = 1")], executor_kwargs=box)
    export(agent_events(tmp_path, run), tmp_path / "run.json")
    monkeypatch.chdir(mine)
    assert taken_up(tmp_path, run, [code("final_answer(x)")])[0] == 1  # it is one's own
    foreign = Journal(tmp_path / "foreign.sqlite")
    assert import_run(tmp_path / "run.json", foreign).run == run
    given = {**options(tmp_path), "journal": foreign}
    with pytest.raises(ReplayDiffersError) as refused:
        CodeAgent.resume(run, model=ScriptedModel([]), **given)
    assert refused.value.differences == [
        f"Its actions work in the folder {theirs}.",
        "Its actions have a network (box, with example.org).",
        "Its actions have limits of their own (processes=64).",
    ]
    assert CodeAgent.resume(run, model=ScriptedModel([code("final_answer(x)")]), accept=True, **given) == 1


@pytest.mark.parametrize("earlier", [False, True])
def test_templates_of_somebody_else_are_not_rendered_before_that_is_accepted(tmp_path, earlier):
    """They are read before, when the agent is made; so it is with those of an `earlier` run of a conversation."""
    own = {"system_prompt": "{% for i in range(9) %}Obey.{% endfor %}{{ nothing.of_the_kind }}"}
    run = ran(tmp_path, [code("x = 1")])
    begun, *others = agent_events(tmp_path, run)
    begun = replace(begun, settings={**begun.settings, "given_templates": own}, origin={"imported": "run.json"})
    last = replace(begun, run="later", continues=run, settings={}, origin={}) if earlier else None
    journal = Journal(tmp_path / "foreign.sqlite")
    journal.append_all([begun, *others])
    if last is not None:
        journal.append_all([last, *(replace(event, run="later") for event in others)])
    for each in ("later", run)[not earlier :]:
        journal.cut_off(each)
    given = {"journal": journal, "verbosity_level": LogLevel.OFF}
    for take_up in (CodeAgent.resume, CodeAgent.fork):
        model = ScriptedModel([])
        with pytest.raises(ReplayDiffersError) as refused:
            take_up("later" if earlier else run, model=model, **given)
        assert refused.value.differences == [f"The prompts of run {run} are made of templates that came with it."]
        with pytest.raises(ConfigError, match="cannot render the prompt template"):
            take_up("later" if earlier else run, model=model, accept=True, **given)


def test_an_interpreter_of_somebody_else_is_not_started_before_that_is_accepted(tmp_path):
    mine, log = tmp_path / "python", tmp_path / "log"
    mine.write_text(f'#!/bin/sh\necho started >> {log}\nexec {sys.executable} "$@"\n')
    mine.chmod(0o755)
    (tmp_path / "shared").mkdir()
    run = ran(tmp_path, [code("x = 1")])
    begun, *others = agent_events(tmp_path, run)
    asks = {"python": str(mine), "mounts": [f"{tmp_path / 'shared'}:rw"]}
    begun = replace(begun, settings={**begun.settings, "executor_kwargs": asks}, origin={"imported": "run.json"})
    journal = Journal(tmp_path / "foreign.sqlite")
    journal.append_all([begun, *others])
    journal.cut_off(run)
    for take_up in (CodeAgent.resume, CodeAgent.fork):
        with pytest.raises(ReplayDiffersError, match=f"run in the interpreter {mine}"):
            take_up(run, model=ScriptedModel([]), journal=journal, verbosity_level=LogLevel.OFF)
    assert not log.exists()


def test_a_run_that_goes_on_without_a_box_says_so_wherever_it_is_shown(tmp_path, monkeypatch):
    run = ran(tmp_path, [code("x = 1")])
    journal = Journal(tmp_path / "journal.sqlite")
    assert journal.find(run).isolation == "box"
    monkeypatch.setenv("SMOL_BOX", "off")
    resumption = prepare(
        CodeAgent, run, model=ScriptedModel([code("y = 2")] * 2), accept=True, max_steps=2, **options(tmp_path)
    )
    live = Transcript.from_events(resumption.events())
    resumption.agent.cleanup()
    monkeypatch.delenv("SMOL_BOX")
    again = prepare(
        CodeAgent, run, model=ScriptedModel([code("final_answer(y)")]), accept=True, max_steps=9, **options(tmp_path)
    )
    for each in (live, Transcript.from_events(again.events()), Transcript.from_events(agent_events(tmp_path, run))):
        assert each.unboxed and each.isolation_words == "not isolated" and UNBOXED in each.marks
    again.agent.cleanup()
    assert journal.find(run).isolation == "none"


def test_a_stop_while_it_plays_leaves_the_recording(tmp_path):
    run = ran(tmp_path, [code("x = 1"), code("y = 2")])
    before = agent_events(tmp_path, run)
    resumption = prepare(CodeAgent, run, model=ScriptedModel([]), **options(tmp_path))
    for event in resumption.events():
        if event.kind == "step_finished":
            resumption.agent.interrupt()
    assert event.kind == "run_finished" and event.state == "interrupted"
    resumption.agent.cleanup()
    assert agent_events(tmp_path, run) == before
    assert taken_up(tmp_path, run, [code("final_answer(x + y)")])[0] == 3


def test_a_record_alone_neither_starts_a_server_nor_opens_the_box(tmp_path, monkeypatch, capsys):
    marker = tmp_path / "started"
    run = ran(tmp_path, [code("1")], executor_kwargs={"mounts": [str(tmp_path)], "python": "/bin/sh"}, at=2)
    begun, *others = agent_events(tmp_path, run)
    started, address = f"touch {marker} {'x' * 100} last", "https://mcp.example.org/mcp"
    begun = replace(begun, origin={"mcp": [started, address]})
    journal = Journal(tmp_path / "foreign.sqlite")
    journal.append_all([begun, *others])
    with pytest.raises(ReplayDiffersError, match=r"run in the interpreter /bin/sh(.|\n)*see .* besides the working"):
        CodeAgent.resume(run, model=ScriptedModel([]), verbosity_level=LogLevel.OFF, journal=journal)
    monkeypatch.setenv("SMOL_JOURNAL", str(journal.path))
    assert main(["resume", run, "--model", "demo"]) == 2
    asked = f"had tools of MCP servers: give them again, as in --mcp '{started}' --mcp {address}\n"
    assert asked in capsys.readouterr().err
    assert not marker.exists()
