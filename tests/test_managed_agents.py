"""Agents that agents call: in an action and by structured calls, side by side, failing, stopped, nested, counted."""

import io
import sys
import threading
from collections import Counter

import pandas as pd
import pytest
from living import children
from PIL import Image
from scripted_replies import calls, code, counted, final, images, of, read

from smol_kernel.agents.code_agent import CodeAgent
from smol_kernel.agents.managed_agent import AgentRecipe
from smol_kernel.agents.tool_calling_agent import ToolCallingAgent
from smol_kernel.errors import ConfigError, SmolError
from smol_kernel.events import (
    ActionFinished,
    FinalAnswer,
    Notice,
    RunFinished,
    RunStarted,
    ToolCalled,
    ToolProgress,
    ToolReturned,
    emit,
)
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.journal import Journal
from smol_kernel.memory.budget import Budget
from smol_kernel.memory.monitoring import AgentLogger, LogLevel
from smol_kernel.models.scripted import ScriptedModel
from smol_kernel.tools.base import tool
from smol_kernel.tools.defaults.final_answer import FinalAnswerTool

WAIT = 20
"""Seconds after which something that should have come long ago counts as missing."""

THE_END = threading.Event()
"""Of the test: what hangs, hangs until then."""


@pytest.fixture(scope="module")
def executor():
    """The child of parents whose own child is not what a test is about; it is not restarted between them."""
    executor = KernelExecutor()
    executor("import asyncio\nfrom concurrent.futures import ThreadPoolExecutor")
    yield executor
    executor.cleanup()


@pytest.fixture
def make(tmp_path, executor):
    """Makes agents. When the test is over no child may be left, once all that was left alone has come to its end."""
    before, made, others = children(), [], set(threading.enumerate())
    THE_END.clear()

    def make(kind, replies, tools=(), **options):
        if kind is Parent:
            options = {"executor": executor, **options}
        options = {"journal": tmp_path / "journal.sqlite", "verbosity_level": LogLevel.OFF, **options}
        agent = kind(list(tools), ScriptedModel(replies), **options)
        if kind is not Parent:
            made.append(agent)
        return agent

    yield make
    THE_END.set()
    for thread in threading.enumerate():
        if thread.name.startswith("tool ") and thread not in others:  # those of other tests may hang for ever
            thread.join(WAIT)
    for agent in made:
        agent.cleanup()
    assert children() - before == set()


class Parent(CodeAgent):
    """Its actions run in the shared child, with what is there."""

    def events(self, task, **options):
        yield from super().events(task, **{**options, "reset": False})


def named(name="helper", **options):
    return {"name": name, "description": f"Does what {name}s do.", "journal": None, **options}


def task_of(messages):
    """The last line of the task that an agent was given."""
    return next(message.text for message in messages if message.text.startswith("Task:")).split("\n")[-1]


def report_in(messages):
    """The last line of the last report that came back."""
    return next(message.text for message in reversed(messages) if "Report of" in message.text).split("\n")[-1]


def family(agent, events):
    """Check who called whom, and that each run is in the journal once, at its own place; gives the runs by name."""
    begun = {event.run: event for event in of(RunStarted, events)}
    assert len(begun) == len(of(RunStarted, events)), "a run begins once"
    assert [run for run, event in begun.items() if event.parent is None] == [agent.run_id]
    called = {(event.run, event.call): event.tool for event in of(ToolCalled, events)}
    for event in begun.values():
        if event.parent is not None:
            assert called[event.parent, event.call] == event.name
    journal = Journal(agent.journal)
    for run in begun:
        mine = [event for event in events if event.run == run and event.durable]
        assert journal.events(run) == mine
        assert Counter(map(type, mine))[RunStarted] == Counter(map(type, mine))[RunFinished] == 1
    stored = journal.events(agent.run_id, family=True)
    assert sorted(event.time for event in stored) == sorted(event.time for event in events if event.durable)
    return [event.name for event in begun.values()]


# called


@pytest.mark.parametrize("kind", [CodeAgent, ToolCallingAgent])
def test_an_agent_in_an_action_is_given_variables_and_gives_a_report(make, kind):
    add = code("final_answer(int(table.x.sum()) + extra['n'] + picture.size[0])")
    reply = add if kind is CodeAgent else final("picture")
    helper = make(kind, [reply], **named())
    given = (
        "import pandas as pd\nfrom PIL import Image\n"
        "args = dict(table=pd.DataFrame({'x': [1, 2]}), extra={'n': 3}, picture=Image.new('RGB', (4, 5)))\n"
        "report = helper('Add.', additional_args=args)\nfinal_answer(report)"
    )
    report = make(Parent, [code(given)], managed_agents=[helper]).run("add")
    assert "helper" in report
    assert ("10" if kind is CodeAgent else "Image") in report
    [request] = helper.model.requests
    assert task_of(request).startswith("- `picture`: ")
    assert "Add." in read(request)
    assert [image.size for image in images(request)] == [(4, 5)]
    if kind is ToolCallingAgent:
        pd.testing.assert_frame_equal(helper.state["table"], pd.DataFrame({"x": [1, 2]}))


def test_an_agent_by_a_structured_call(make):
    helper = make(ToolCallingAgent, [final("extra")], **named())
    ask = calls(("helper", {"task": "Give it back.", "additional_args": {"extra": [1, 2]}}))
    agent = make(ToolCallingAgent, [ask, lambda said: final(read(said).rpartition("\n")[2])], managed_agents=[helper])
    events = list(agent.events("ask"))
    assert agent.answer == "[1, 2]"
    assert family(agent, events) == [None, "helper"]
    assert "- `extra`: " in task_of(helper.model.requests[0])


def test_what_a_parent_has_by_name_can_be_given_on(make):
    picture = Image.new("RGB", (4, 5))
    helper = make(ToolCallingAgent, [final("it")], **named())
    ask = calls(("helper", {"task": "Look.", "additional_args": {"it": "picture", "n": 1}}))
    agent = make(ToolCallingAgent, [ask, final("ok")], managed_agents=[helper])
    agent.run("ask", additional_args={"picture": picture})
    assert helper.answer is picture
    assert images(helper.model.requests[0]) == [picture]


@pytest.mark.parametrize("kind", [CodeAgent, ToolCallingAgent])
def test_what_is_put_into_the_state_of_an_agent_it_has_in_each_call(make, kind):
    reply = final("mine") if kind is ToolCallingAgent else code("final_answer([mine, globals().get('once')])")
    helper = make(kind, [reply] * 4, **named())
    helper.state["mine"] = "first"
    told = "once={'once': 1}\nfinal_answer([helper('a', once), helper('b'), put('second'), helper('c'), helper('d')])"

    @tool
    def put(text: str) -> None:
        """Puts it there.

        Args:
            text: what.
        """
        helper.state["mine"] = text

    agent = make(Parent, [code(told)], [put], managed_agents=[helper])
    said = [one and one.split("\n")[-1] for one in agent.run("ask")]
    if kind is ToolCallingAgent:
        assert said == ["first", "first", None, "second", "second"]
    else:
        assert said == ["['first', 1]", "['first', None]", None, "['second', None]", "['second', None]"]
    twin = helper.another()
    assert twin.state["mine"] == "first"
    assert "once" not in twin.state


@pytest.mark.parametrize("kind", [CodeAgent, ToolCallingAgent])
def test_what_a_run_put_into_the_state_of_an_agent_no_later_run_has(make, kind):
    reply = final("mine") if kind is ToolCallingAgent else code("final_answer(globals().get('mine'))")
    never = "mine" if kind is ToolCallingAgent else "None"
    helper = make(kind, [reply] * 3, **named())

    @tool
    def put(text: str) -> None:
        """Puts it there.

        Args:
            text: what.
        """
        helper.state["mine"] = text

    called = "final_answer(helper('it').split('\\n')[-1])"
    told = ["put('first')\nfinal_answer(0)", called, f"put('third')\n{called}", called]
    agent = make(CodeAgent, [code(each) for each in told], [put], managed_agents=[helper])
    assert [agent.run("ask") for _ in told] == [0, never, "third", never]


@pytest.mark.parametrize("kind", [CodeAgent, ToolCallingAgent])
def test_what_a_callback_or_tool_put_into_the_state_ends_with_the_run(make, kind):
    seen = []

    def note(step, agent):
        seen.append(sorted({"mine", "noted", "once"}.intersection(agent.state)))
        agent.state["noted"], agent.state["mine"] = 1, "the run's"

    @tool
    def put() -> None:
        """Puts it there."""
        agent.state["once"] = 2

    if kind is ToolCallingAgent:
        replies = [calls(("put", {})), final("mine")]
    else:
        replies = [code("put()"), code("final_answer(mine)")]
    agent = make(kind, replies * 3, [put], step_callbacks=[note])
    agent.state["mine"] = "the user's"
    everything = ["mine", "noted", "once"]
    assert [agent.run("go"), agent.run("go"), agent.state["noted"]] == ["the run's", "the run's", 1]
    assert seen == [["mine", "once"], everything] * 2
    assert agent.another().state["mine"] == "the user's"
    agent.state["noted"] = "by hand"
    agent.run("go")
    assert seen[4] == everything


@pytest.mark.parametrize("kind", [CodeAgent, ToolCallingAgent])
def test_what_a_call_hands_over_is_before_what_was_put_there_for_that_call_only(make, kind):
    reply = final("mine") if kind is ToolCallingAgent else code("final_answer(mine)")
    helper = make(kind, [reply] * 5, **named())
    helper.state["mine"] = "own"
    told = "once = {'mine': 'once'}\nfinal_answer([helper('a', once), helper('b'), helper('c', once), helper('d')])"
    said = make(Parent, [code(told)], managed_agents=[helper]).run("ask")
    assert [one.split("\n")[-1] for one in said] == ["once", "own"] * 2
    assert helper.another().state["mine"] == "own"


def test_namespaces_are_apart(make):
    helper = make(CodeAgent, [code("final_answer('secret' in globals())\nshared = 2")], **named())
    replies = [code("secret = shared = 1\nsaid = helper('Look.')"), code("final_answer((said[-5:], shared))")]
    assert make(Parent, replies, managed_agents=[helper]).run("look") == ("False", 1)


def test_positional_arguments_and_help_are_those_of_the_signature(make):
    helper = make(ToolCallingAgent, [final("a"), final("b")], **named())
    look = "import inspect\nhelper('One.', {'n': 1})\nhelper(task='Two.')\n"
    look += "final_answer(str(inspect.signature(helper)) + inspect.getdoc(helper))"
    told = make(Parent, [code(look)], managed_agents=[helper]).run("look")
    assert told.startswith("(task, additional_args=None)Does what helpers do.")
    assert len(helper.model.requests) == 2


@pytest.mark.parametrize("wrong", ["helper()", "helper(3)", "helper('x', [1])", "helper('x', more=1)"])
def test_a_wrong_call_is_an_error_of_the_action(make, wrong):
    helper = make(ToolCallingAgent, [], **named())
    agent = make(Parent, [code(wrong), code("final_answer('ok')")], managed_agents=[helper])
    assert agent.run("call") == "ok"
    assert "helper()" in agent.memory.steps[1].error.message
    assert helper.model.requests == []


@pytest.mark.parametrize("level", [LogLevel.OFF, LogLevel.ERROR, LogLevel.INFO])
def test_an_agent_with_a_console_of_its_own_prints_there_at_its_level(make, level):
    above, below = (io.StringIO() for _ in range(2))
    own = {"verbosity_level": LogLevel.INFO, "logger": AgentLogger(level, below)}
    helper = make(CodeAgent, [code("1 / 0"), code("final_answer('found')")], **named(), **own)
    asks = {"managed_agents": [helper], "verbosity_level": LogLevel.INFO}
    between = make(CodeAgent, [code("final_answer(helper('look')[:0])")], **named("between"), **asks)
    asks = {"managed_agents": [between], "logger": AgentLogger(console=above)}
    make(Parent, [code("final_answer(between('ask')[:0])")], **asks).run("go")
    assert "between │ ask" in above.getvalue() and "helper │" not in above.getvalue()
    said = [words in below.getvalue() for words in ("ZeroDivisionError", "found")]
    assert said == [level >= LogLevel.ERROR, level >= LogLevel.INFO]


class Recording:
    """A console that keeps what it prints, as one of the package rich does with `record=True`."""

    record = True

    def __init__(self, file):
        self.file, self.kept = file, []

    def print(self, *objects, **options):
        self.kept += map(str, objects)

    def export_text(self):
        return "\n".join(self.kept)


def test_consoles_that_record_are_each_its_own_place(make):
    file = io.StringIO()
    above, below = Recording(file), Recording(file)
    helper = make(ToolCallingAgent, [final("found")], **named(), logger=AgentLogger(console=below))
    asks = {"managed_agents": [helper], "logger": AgentLogger(console=above)}
    make(Parent, [code("final_answer(helper('look')[:0])")], **asks).run("go")
    told, said = above.export_text(), below.export_text()
    assert "helper │" not in told and "found" in said


class Quiet(AgentLogger):
    """Made without what the class it derives from does."""

    def __init__(self):
        self.level = LogLevel.INFO

    def log(self, *args, **kwargs):
        pass


class Log:
    """Has but what a program calls itself."""

    def log(self, *args, **kwargs):
        pass


@pytest.mark.parametrize("logger", [Quiet, Log])
def test_an_agent_with_a_logger_that_says_little_can_be_called(make, logger):
    helper = make(CodeAgent, [code("final_answer('found')")], **named(), logger=logger())
    agent = make(Parent, [code("final_answer(helper('look')[-5:])")], managed_agents=[helper])
    assert agent.run("go") == "found"


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize(("level", "below"), [(0, 0), (0, 1), (1, 0), (-1, 0), (0, -1)])
def test_an_error_of_an_agent_that_another_one_calls_is_printed_once(make, capsys, level, below, own):
    console = {"logger": AgentLogger(below, sys.stdout)} if own else {"verbosity_level": below}
    helper = make(CodeAgent, [code("1 / 0"), code("final_answer('found')")], **named(), **console)
    asks = {"managed_agents": [helper], "verbosity_level": level}
    make(Parent, [code("final_answer(helper('look'))")], **asks).run("go")
    said = capsys.readouterr().out.count("ZeroDivisionError: ")
    assert said == (below >= 0)


def test_a_summary_of_its_work_comes_along_where_it_is_asked_for(make):
    @tool
    def look() -> str:
        """Looks."""
        return "a white rabbit"

    for summary in (True, False):
        helper = make(
            ToolCallingAgent, [calls(("look", {})), final("seen")], [look], **named(provide_run_summary=summary)
        )
        agent = make(ToolCallingAgent, [calls(("helper", {"task": "Look."})), final("ok")], managed_agents=[helper])
        agent.run("ask")
        report = agent.memory.steps[1].observations
        assert "seen" in report
        assert ("a white rabbit" in report) is summary


# side by side


def meeting(parties):
    """A reply that waits until so many are asked at once, then answers with the task's last line."""
    barrier = threading.Barrier(parties)

    def reply(messages):
        barrier.wait(WAIT)
        return final(f"done {task_of(messages)}")

    return reply


GATHER = "said = await asyncio.gather(*[helper.aio(f'task {n}') for n in range(3)])"
POOL = "with ThreadPoolExecutor() as pool: said = list(pool.map(helper, [f'task {n}' for n in range(3)]))"


@pytest.mark.parametrize("action", [GATHER, POOL])
def test_the_same_agent_at_once_has_a_run_of_its_own_for_each_call(make, action):
    helper = make(ToolCallingAgent, [meeting(3)] * 3, **named())
    agent = make(Parent, [code(f"{action}\nfinal_answer([one.split()[-1] for one in said])")], managed_agents=[helper])
    events = list(agent.events("ask"))
    assert agent.answer == ["0", "1", "2"]
    assert family(agent, events) == [None, "helper", "helper", "helper"]
    assert len(helper.memory.steps) == 2
    assert all(len(of(FinalAnswer, [e for e in events if e.run == one.run])) == 1 for one in of(RunStarted, events))
    assert not helper.life.lent.here.locked()


def test_the_same_agent_at_once_by_structured_calls_has_children_of_its_own(make):
    plain = {"executor_kwargs": {"box": False}}  # in a box each child has the same number
    helper = make(CodeAgent, [code("import os\nfinal_answer((task, os.getpid()))")] * 2, **named(), **plain)
    both = calls(*[("helper", {"task": "x", "additional_args": {"task": n}}) for n in (1, 2)])
    agent = make(ToolCallingAgent, [both, final("ok")], managed_agents=[helper])
    events = list(agent.events("ask"))
    family(agent, events)
    answers = [event.value["v"] for event in of(FinalAnswer, events) if event.run != agent.run_id]
    assert sorted(number for number, _ in answers) == [1, 2]
    assert len({pid for _, pid in answers}) == 2
    assert len(children() & {pid for _, pid in answers}) == 1, "that of a copy ends with its call"


def test_an_agent_that_is_at_work_for_somebody_else_is_copied(make):
    inside, go_on = threading.Event(), threading.Event()

    def reply(messages):
        if "mine" in task_of(messages):
            inside.set()
            go_on.wait(WAIT)
        return final(task_of(messages))

    helper = make(ToolCallingAgent, [reply] * 2, **named())
    answers = []
    own = threading.Thread(target=lambda: answers.append(helper.run("mine")))
    own.start()
    assert inside.wait(WAIT)
    agent = make(ToolCallingAgent, [calls(("helper", {"task": "theirs"})), final("ok")], managed_agents=[helper])
    assert agent.run("ask") == "ok"
    assert "theirs" in agent.memory.steps[1].observations
    go_on.set()
    own.join(WAIT)
    assert answers == ["mine"]


def test_calls_of_an_agent_whose_executor_was_given_wait_for_each_other(make):
    helper = make(
        CodeAgent, [lambda said: code(f"final_answer({task_of(said)!r})")] * 3, executor=KernelExecutor(), **named()
    )
    three = calls(*[("helper", {"task": f"task {number}"}) for number in range(3)])
    agent = make(ToolCallingAgent, [three, final("ok")], managed_agents=[helper])
    events = list(agent.events("ask"))
    assert agent.memory.steps[1].error is None
    assert sorted(event.value for event in of(FinalAnswer, events)) == ["ok", "task 0", "task 1", "task 2"]


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("whose", ["another agent", "the user"])
def test_the_end_of_one_agent_leaves_what_it_shares_at_work_for_somebody_else(make, whose, depth):
    inside, go_on, made = threading.Event(), threading.Event(), []

    @tool(threaded=True)
    def once() -> str:
        """What is to be done once."""
        made.append(1)
        inside.set()
        return str(go_on.wait(WAIT))

    def with_it():
        other = helper if depth == 1 else make(ToolCallingAgent, [], managed_agents=[helper], **named("between"))
        return make(CodeAgent, [code("final_answer('short')")], managed_agents=[other])

    helper = make(CodeAgent, [code("final_answer(once())")] * 2, [once], **named())
    own = make(ToolCallingAgent, [calls(("helper", {"task": "theirs"})), final("ok")], managed_agents=[helper])
    working = threading.Thread(target=(own if whose == "another agent" else helper).run, args=("go on",))
    working.start()
    assert inside.wait(WAIT)
    with with_it() as agent:
        assert agent.run("short") == "short"
    go_on.set()
    working.join(WAIT)
    assert helper.answer == "True"
    assert made == [1]
    assert helper.python_executor.started
    with with_it():
        pass
    assert not helper.python_executor.started, "at rest its child ends with one that may call it"


# nested


def test_three_levels_deep(make):
    def chain(kinds):
        low = make(
            kinds[2], [final("deep") if kinds[2] is ToolCallingAgent else code("final_answer('deep')")], **named("low")
        )
        mid = make(kinds[1], [code("final_answer(low('go'))")], managed_agents=[low], **named("mid"))
        return make(kinds[0], [code("final_answer(mid('go'))")], managed_agents=[mid])

    agent = chain([Parent, CodeAgent, ToolCallingAgent])
    events = list(agent.events("go down"))
    assert agent.answer.count("Report of") == 2 and agent.answer.endswith("deep")
    assert family(agent, events) == [None, "mid", "low"]
    last = [event.run for event in of(RunFinished, events)]
    assert last == [event.run for event in of(RunStarted, events)][::-1]


def test_a_copy_that_ends_leaves_those_at_work_alone(make):
    """Two copies of one agent share nothing below them: the end of one does not end the other's children."""
    done = threading.Event()

    @tool(threaded=True)
    def wait_for_the_other() -> bool:
        """Waits."""
        return done.wait(WAIT)

    def ask_low(said):
        return final(report_in(said)) if "Report of" in read(said) else calls(("low", {"task": task_of(said)}))

    answer = [lambda said: code(f"final_answer({task_of(said)})")]
    low = make(CodeAgent, answer * 2, [wait_for_the_other], **named("low"))
    mid = make(ToolCallingAgent, [ask_low] * 4, managed_agents=[low], **named("mid"))
    both = calls(("mid", {"task": "wait_for_the_other()"}), ("mid", {"task": "'quick'"}))
    agent = make(ToolCallingAgent, [both, final("ok")], managed_agents=[mid])
    for event in agent.events("ask"):
        if isinstance(event, ToolReturned) and event.run == agent.run_id and event.tool == "mid":
            done.set()
    first, second = agent.memory.steps[1].observations.split("Report of mid")[1:]
    assert "True" in first
    assert "quick" in second
    assert agent.memory.steps[1].error is None


# what goes wrong


def boom(messages):
    raise ConnectionError("no line to the model")


KILL = code("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")


@pytest.mark.parametrize(
    ("replies", "options", "said"),
    [
        ([boom], {}, "AgentGenerationError: The model gave no reply: no line"),
        (["Hm."] * 2, {"max_steps": 1}, "Report of helper:\nHm."),
        (["Hm.", boom], {"max_steps": 1}, "AgentError: agent 'helper' gave no answer: Reached the limit of 1 step"),
        (
            ["Hm."],
            {"budget": Budget(input_tokens=1)},
            "AgentError: agent 'helper' gave no answer: The budget is used up",
        ),
        ([KILL, code("final_answer('alive')")], {}, "Report of helper:\nalive"),
    ],
)
def test_a_failure_of_an_agent_can_be_caught_in_the_action(make, replies, options, said):
    helper = make(CodeAgent, [counted(one) if isinstance(one, str) else one for one in replies], **named(**options))
    ask = "try:\n    said = helper('Try.')\nexcept Exception as error:\n    said = f'{type(error).__name__}: {error}'\n"
    agent = make(Parent, [code(f"{ask}final_answer(said)")], managed_agents=[helper])
    events = list(agent.events("ask"))
    assert said in agent.answer
    family(agent, events)


def test_an_agent_that_is_stopped_by_itself_is_an_error_of_its_call(make):
    def stop(messages):
        helper.interrupt()
        return final("late")

    helper = make(ToolCallingAgent, [stop], **named())
    agent = make(ToolCallingAgent, [calls(("helper", {"task": "x"})), final("ok")], managed_agents=[helper])
    assert agent.run("ask") == "ok"
    assert "agent 'helper' gave no answer: Stopped" in agent.memory.steps[1].error.message


def test_keyboard_interrupt_in_a_called_agent_does_not_end_the_caller_s_thread(make):
    def press(messages):
        raise KeyboardInterrupt

    helper = make(ToolCallingAgent, [press], **named())
    agent = make(ToolCallingAgent, [calls(("helper", {"task": "x"})), final("ok")], managed_agents=[helper])
    assert agent.run("ask") == "ok"
    assert "KeyboardInterrupt" in agent.memory.steps[1].error.message


def test_a_template_that_fails_leaves_the_agent_free(make):
    helper = make(ToolCallingAgent, [final("fine")], **named())
    good, helper.prompt_templates["managed_agent"]["task"] = (
        helper.prompt_templates["managed_agent"]["task"],
        "{{ no }}",
    )
    ask = calls(("helper", {"task": "x"}))
    agent = make(ToolCallingAgent, [ask, ask, final("ok")], managed_agents=[helper])
    for event in agent.events("ask"):
        if isinstance(event, ActionFinished):
            helper.prompt_templates["managed_agent"]["task"] = good
    assert "prompt template" in agent.memory.steps[1].error.message
    assert (helper.answer, helper.life.lent.here.locked()) == ("fine", False)


# stopped


def go_in_a_model(messages):
    emit(Notice(text="go"))
    THE_END.wait()


@tool(threaded=True)
def hang() -> None:
    """Hangs."""
    emit(ToolProgress(tool="hang", text="go"))
    THE_END.wait()


STOPS = {
    "in a model": (ToolCallingAgent, go_in_a_model),
    "in code": (CodeAgent, code("print('go', flush=True)\nwhile True: pass")),
    "in a tool": (CodeAgent, code("hang()")),
    "in a structured call": (ToolCallingAgent, calls(("hang", {}), ("hang", {}))),
}


@pytest.mark.parametrize("by", ["interrupt", "close", "cleanup"])
@pytest.mark.parametrize("where", STOPS)
def test_a_stop_reaches_the_agents_at_work(make, where, by):
    kind, reply = STOPS[where]
    before = children()
    helper = make(kind, [reply] * 8, [hang], **named())
    both = code("import asyncio\nsaid = await asyncio.gather(helper.aio('a'), helper.aio('b'))")
    agent = make(CodeAgent, [both, code("final_answer('over')")], managed_agents=[helper])
    stream, seen = agent.events("ask"), []
    for event in stream:
        seen.append(event)
        if len({one.run for one in seen if getattr(one, "text", "").strip() == "go"}) == 2:
            break
    if by == "close":
        stream.close()
    else:
        getattr(agent, by)()
        assert list(stream)[-1].state == {"interrupt": "interrupted", "cleanup": "success"}[by]
    for thread in threading.enumerate():
        if thread.name == "tool helper":
            thread.join(WAIT)
            assert not thread.is_alive()
    journal, runs = Journal(agent.journal), {event.run for event in of(RunStarted, seen)}
    assert len(runs) == 3
    assert {journal.events(run)[-1].state for run in runs - {agent.run_id}} == {"interrupted"}
    assert len(children() - before) <= (2 if kind is CodeAgent else 1), "the copy's has ended"


def test_calls_that_an_action_leaves_behind_are_stopped(make):
    helper = make(ToolCallingAgent, [go_in_a_model, final("late")], **named())
    leave = "import threading\nthreading.Thread(target=helper, args=('x',)).start()\nprint(look())"
    inside = threading.Event()

    @tool(threaded=True)  # its call may come before that of the thread
    def look() -> bool:
        """Waits until the other is at work."""
        return inside.wait(WAIT)

    helper.model.replies[0] = lambda messages: (inside.set(), go_in_a_model(messages))
    agent = make(Parent, [code(leave), code("final_answer('ok')")], [look], managed_agents=[helper])
    events = list(agent.events("ask"))
    assert agent.answer == "ok"
    child = of(RunStarted, events)[1].run
    for thread in threading.enumerate():
        if thread.name == "tool helper":
            thread.join(WAIT)
    assert Journal(agent.journal).events(child)[-1].state == "interrupted"
    assert len(helper.model.requests) == 1


# budgets


def asking(name):
    return counted(f'{{"name": "{name}", "arguments": {{"task": "x"}}}}')


def test_a_budget_is_shared_and_charged_once(make):
    answer = counted('{"name": "final_answer", "arguments": "here"}')
    low = make(ToolCallingAgent, [answer], **named("low"))
    mid = make(ToolCallingAgent, [asking("low"), answer], managed_agents=[low], **named("mid"))
    agent = make(Parent, [counted(code("final_answer(mid('x'))"))], managed_agents=[mid], budget=Budget(steps=10))
    result = agent.run("ask", return_full_result=True)
    used = result.used
    assert (used["input_tokens"], used["output_tokens"], used["steps"], used["tool_calls"]) == (40, 20, 4, 2)
    assert (result.state, result.token_usage.input_tokens) == ("success", 10)
    assert (mid.life.account.used["input_tokens"], mid.life.account.own.input_tokens) == (30, 20)
    assert low.life.account.used["steps"] == 1


@pytest.mark.parametrize(
    ("limit", "output"),
    [("steps", "In short: 3."), ("input_tokens", None), ("tool_calls", "In short: 3.")],
)
def test_the_caller_s_budget_holds_an_agent_that_finds_no_end(make, limit, output):
    def go_on(messages):
        return counted("So far 3." if "Give the best answer" in messages[-1].text else '{"name": "look"}')

    @tool
    def look() -> int:
        """Looks."""
        return 3

    helper = make(ToolCallingAgent, [go_on] * 20, [look], **named())
    limits = Budget(**{limit: {"input_tokens": 35}.get(limit, 4)})
    agent = make(ToolCallingAgent, [asking("helper"), "In short: 3."], managed_agents=[helper], budget=limits)
    result = agent.run("ask", return_full_result=True)
    assert (result.state, result.output) == ("budget", output)
    assert limit.replace("_", " ") in result.error
    said = agent.memory.steps[1].observations or agent.memory.steps[1].error.message
    assert ("So far 3." if output else "gave no answer: The budget is used up") in said
    assert len(helper.model.requests) <= 5


def test_time_that_is_up_stops_the_agents_below(make):
    helper = make(ToolCallingAgent, [go_in_a_model], **named())
    ask = calls(("helper", {"task": "x"}), ("helper", {"task": "x"}))
    agent = make(ToolCallingAgent, [ask], managed_agents=[helper], budget=Budget(seconds=0.3))
    result = agent.run("ask", return_full_result=True)
    assert (result.state, result.output) == ("budget", None)


# recipes, names


def test_a_recipe_makes_an_agent_for_each_call(make):
    made = []

    reply = meeting(2)

    def translator(language):
        kind = CodeAgent if language == "xx" else ToolCallingAgent
        agent = make(kind, [code("final_answer('x')") if language == "xx" else reply], journal=None)
        made.append(agent)
        return agent

    inputs = {"language": {"type": "string", "description": "Which."}}
    recipe = AgentRecipe("translator", "Translates.", translator, inputs)
    ask = "said = await asyncio.gather(*[translator.aio(f'to {n}', language=n) for n in ('fr', 'de')])\n"
    ask += "final_answer(said + [translator('to', language='xx')])"
    agent = make(Parent, [code(ask)], managed_agents=[recipe])
    before = children()
    events = list(agent.events("ask"))
    assert [one.rpartition(" ")[2] for one in agent.answer[:2]] == ["fr", "de"]
    assert "Report of translator:" in agent.answer[2]
    assert children() == before
    assert family(agent, events) == [None, "translator", "translator", "translator"]
    assert "language" in agent.system_prompt


def test_a_recipe_that_fails_is_an_error_of_its_call(make):
    recipe = AgentRecipe("broken", "Breaks.", lambda: CodeAgent([], model="no such thing"))
    agent = make(ToolCallingAgent, [calls(("broken", {"task": "x"})), final("ok")], managed_agents=[recipe])
    assert agent.run("ask") == "ok"
    assert "'no such thing' is the name of a model" in agent.memory.steps[1].error.message


class Other:
    """An agent of another library."""

    name, description = "other", "Does it."

    def __call__(self, task):
        return "done"


@pytest.mark.parametrize(
    ("others", "said"),
    [
        (["a", "a"], "two agents or tools are called 'a'"),
        (["final_answer"], "two agents or tools are called 'final_answer'"),
        (["hang"], "two agents or tools are called 'hang'"),
        (["print"], "'print' cannot be the name"),
        (["a b"], "cannot be called in Python"),
        (["class"], "cannot be called in Python"),
        ([None], "an agent that another one calls has no name"),
        ([hang], "name and a description"),
        (["a", hang], "name and a description"),
        ([Other()], "'other' is no agent of this library .*; write a @tool that calls another one"),
    ],
)
def test_agents_that_could_not_be_called_by_name_are_refused(make, others, said):
    with pytest.raises(SmolError, match=said):
        make(
            ToolCallingAgent,
            [],
            [hang],
            managed_agents=[
                one if one is hang or isinstance(one, Other) else make(ToolCallingAgent, [], **named(one))
                for one in others
            ],
        )


def test_in_an_executor_of_the_users_a_called_agent_works_on_when_its_caller_is_gone(make, executor):
    other = make(CodeAgent, [code("final_answer(4)"), code("final_answer(5)")], name="other", description="Knows.")
    assert make(Parent, [code("final_answer(other(task='Tell.'))")], managed_agents=[other]).run("Ask.").endswith("4")
    logs = executor("print(other(task='Tell again.'))").logs
    assert logs.strip().endswith("5")


def test_what_is_given_in_the_wrong_place_is_told_where_it_goes():
    def plain(**options):
        return CodeAgent(tools=[], model=ScriptedModel([]), **options)

    for given, said in (
        ({"managed_agents": [plain(name="w")]}, r"agent 'w' has no description: CodeAgent\(…, name='w', descr"),
        ({"managed_agents": [plain()]}, "an agent that another one calls has neither name nor description"),
        ({"managed_agents": plain(name="w", description="d")}, "managed_agents has to be a list"),
        ({"tools": [plain(name="w", description="d")]}, "an agent goes into managed_agents=.*: w"),
        ({"tools": "web_search"}, "tools has to be a list"),
        ({"tools": FinalAnswerTool()}, "tools has to be a list"),
    ):
        with pytest.raises(ConfigError, match=said):
            CodeAgent(**{"tools": [], "model": ScriptedModel([]), **given})
