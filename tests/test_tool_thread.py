"""Plain tools run on the thread of the outermost action, whichever agent calls them: with real children, a real sqlite3
connection of that thread, and real interrupts."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import queue
import signal
import sqlite3
import threading

import pytest

from smol_kernel import ChatMessage, CodeAgent, ScriptedModel, ToolCallingAgent, tool
from smol_kernel.events import ActionFinished, RunFinished, RunStarted, ToolCalled, ToolProgress, ToolReturned, emit
from smol_kernel.executors.tool_thread import Job, PollingToolThread, ToolThread, on_tool_thread, tool_thread, tools_on
from smol_kernel.memory.steps import ActionStep


@pytest.fixture
def base():
    base = sqlite3.connect(":memory:")
    base.execute("create table t (n)")
    base.execute("insert into t values (42)")
    yield base
    base.close()


@pytest.fixture
def query(base):
    @tool
    def query(sql: str) -> list:
        """Rows of the base.

        Args:
            sql: A statement.
        """
        return [list(row) for row in base.execute(sql)]

    return query


@pytest.fixture
def made():
    """Makes agents; their children end with the test."""
    agents = []

    def make(kind, *replies, name=None, **options):
        agent = kind(
            options.pop("tools", []),
            ScriptedModel(list(replies)),
            name=name,
            description=f"the agent {name}",
            journal=options.pop("journal", False),
            verbosity_level=0,
            **options,
        )
        agents.append(agent)
        return agent

    yield make
    for agent in agents:
        agent.cleanup()


def code(source):
    return f"```python\n{source}\n```"


def calls(*wanted):
    """A reply with structured calls, each a pair of name and arguments."""
    made = [
        {"id": f"id{number}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for number, (name, arguments) in enumerate(wanted)
    ]
    return ChatMessage.from_dict({"role": "assistant", "content": "", "tool_calls": made})


SQL = {"sql": "select n from t"}


def asks_the_base(made, kind, query, name):
    """An agent that answers with what `query` gave."""
    if kind is CodeAgent:
        return made(kind, code("final_answer(query('select n from t')[0][0])"), name=name, tools=[query])
    replies = calls(("query", SQL)), lambda messages: calls(("final_answer", {"answer": messages[-1].text}))
    return made(kind, *replies, name=name, tools=[query])


@pytest.mark.parametrize("called", [CodeAgent, ToolCallingAgent])
@pytest.mark.parametrize("caller", [CodeAgent, ToolCallingAgent])
def test_a_connection_of_this_thread_works_in_a_called_agent(made, query, caller, called):
    reader = asks_the_base(made, called, query, "reader")
    if caller is CodeAgent:
        boss = made(caller, code("final_answer(reader('read it'))"), managed_agents=[reader])
    else:
        told = lambda messages: calls(("final_answer", {"answer": messages[-1].text}))  # noqa: E731
        boss = made(caller, calls(("reader", {"task": "read it"})), told, managed_agents=[reader])
    assert "42" in boss.run("what is in the base?")


@pytest.mark.parametrize("called", [CodeAgent, ToolCallingAgent])
@pytest.mark.parametrize("caller", [CodeAgent, ToolCallingAgent])
def test_callbacks_of_a_called_agent_run_on_this_thread_too(made, base, query, caller, called):
    reader = asks_the_base(made, called, query, "reader")
    reader.step_callbacks.register(ActionStep, lambda step: base.execute("insert into t values ('step')"))
    replies = calls(("reader", {"task": "x"})), calls(("final_answer", {"answer": 1}))
    replies = [code("reader('x')\nfinal_answer(1)")] if caller is CodeAgent else replies
    assert made(caller, *replies, managed_agents=[reader]).run("read") == 1
    steps = base.execute("select count(*) from t where n = 'step'").fetchone()[0]
    assert steps == len(reader.memory.steps) - 1


def test_a_callback_is_called_here_where_the_thread_ends_meanwhile():
    thread = PollingToolThread(lambda: thread.close())
    with tools_on(thread):
        assert on_tool_thread(threading.get_ident) == threading.get_ident()


def test_agents_at_work_side_by_side_take_turns_and_their_callers_go_on(made, base, query):
    inside = threading.Lock()

    @tool
    def count(who: str) -> int:
        """Counts a call.

        Args:
            who: The caller.
        """
        assert inside.acquire(blocking=False), "two plain tools at once"
        with base:
            base.execute("insert into t values (?)", [who])
        inside.release()
        return 1

    source = "final_answer(sum(count('{0}') for _ in range(5)))"
    one, two = (made(CodeAgent, code(source.format(name)), name=name, tools=[count]) for name in ("one", "two"))
    gathered = "import asyncio\nmine = [count.aio('boss') for _ in range(5)]\n"
    gathered += "final_answer(await asyncio.gather(one.aio('x'), two.aio('x'), *mine))"
    boss = made(CodeAgent, code(gathered), managed_agents=[one, two], tools=[count])
    first, second, *rest = boss.run("count")
    assert ("5" in first, "5" in second, rest) == (True, True, [1] * 5)
    assert base.execute("select n, count(*) from t where n != 42 group by n order by n").fetchall() == [
        ("boss", 5),
        ("one", 5),
        ("two", 5),
    ]


def test_a_call_two_agents_down_comes_straight_to_this_thread(made, query):
    reader = asks_the_base(made, CodeAgent, query, "reader")
    between = made(CodeAgent, code("final_answer(reader('x'))"), name="between", managed_agents=[reader])
    boss = made(CodeAgent, code("final_answer(between('x'))"), managed_agents=[between])
    assert "42" in boss.run("go")


def test_an_agent_run_by_a_plain_tool_waits_for_no_thread_that_is_busy(made, query):
    inner = made(CodeAgent, code("final_answer(here())"), tools=[here_or_not()])

    @tool
    def awaited() -> bool:
        """Has an agent work, in a thread of its own, while this one waits."""
        return asyncio.run(inner.arun("where?"))

    called = made(CodeAgent, code("final_answer(awaited())"), name="called", tools=[awaited])
    boss = made(CodeAgent, code("final_answer(called('x'))"), managed_agents=[called])
    assert boss.run("go").endswith("False")


def here_or_not():
    this = threading.get_ident()

    @tool
    def here() -> bool:
        """Whether this is the thread of the test."""
        return threading.get_ident() == this

    return here


def test_a_person_is_asked_on_this_thread_by_called_agents_too(made):
    asked, this = [], threading.get_ident()

    def ask(prompt, password):
        asked.append((prompt, threading.get_ident() == this))
        return "Ada"

    called = made(CodeAgent, code("final_answer(input('Name? '))"), name="called")
    boss = made(CodeAgent, code("final_answer(called('x'))"), managed_agents=[called])
    boss.python_executor.ask_person = ask
    assert "Ada" in boss.run("go")
    assert asked == [("Name? ", True)]


def test_nobody_to_ask_is_an_error_in_a_called_agent(made):
    asks = "try:\n    input('Name? ')\nexcept EOFError as error:\n    final_answer(str(error))"
    called = made(CodeAgent, code(asks), name="called")
    boss = made(CodeAgent, code("final_answer(called('x'))"), managed_agents=[called])
    assert "nobody" in boss.run("go")


@pytest.mark.parametrize("kind", [CodeAgent, ToolCallingAgent])
def test_an_interrupt_in_a_called_agents_tool_stops_both_runs(made, kind):
    @tool
    def press() -> None:
        """Presses Ctrl-C."""
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait()

    reply = code("press()") if kind is CodeAgent else calls(("press", {}))
    called = made(kind, reply, name="called", tools=[press])
    ended = end_of(called)
    replies = code("kept = 7\ncalled('x')"), code("final_answer(kept)")
    boss = made(CodeAgent, *replies, managed_agents=[called])
    with pytest.raises(KeyboardInterrupt):
        boss.run("go")
    assert ended.get(timeout=60).state == "interrupted"
    assert boss.run("go on", reset=False) == 7  # its child lives on


def test_a_stop_is_heard_by_an_agent_whose_call_waits_its_turn(made):
    boss_inside, release, called = threading.Event(), threading.Event(), []

    @tool
    def hold() -> None:
        """Holds the thread."""
        boss_inside.set()
        release.wait(60)

    @tool
    def waiting() -> None:
        """Is never called."""
        called.append(True)

    worker = made(CodeAgent, code("waiting()"), name="worker", tools=[waiting])
    source = "import asyncio\nwork = asyncio.ensure_future(worker.aio('x'))\n"
    source += "ready()\nawait asyncio.gather(work, hold.aio())"

    @tool
    def ready() -> None:
        """Nothing."""

    boss = made(CodeAgent, code(source), tools=[hold, ready], managed_agents=[worker])
    ended = end_of(worker)

    def stop():
        boss_inside.wait(60)
        boss.interrupt()
        assert ended.get(timeout=60).state == "interrupted"
        release.set()

    stopper = threading.Thread(target=stop)
    stopper.start()
    *_, last = boss.events("go")
    stopper.join()
    assert not called
    assert last.state == "interrupted"


def end_of(agent):
    """A queue that gets the last event of the agent's next run."""
    events, ended = agent.run_events, queue.SimpleQueue()

    def watched(*args, **kwargs):
        for event in events(*args, **kwargs):
            if isinstance(event, RunFinished):
                ended.put(event)
            yield event

    vars(agent)["run_events"] = watched
    return ended


class Front(ToolThread):
    """A thread of its own for plain tools, as a front has one."""

    def __init__(self):
        self.jobs = queue.SimpleQueue()
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def work(self):
        while (job := self.jobs.get()) is not None:
            try:
                job.run()
            except BaseException as error:
                job.error = error
            job.tell()

    def submit(self, job):
        self.jobs.put(job)

    def ask_person(self, prompt, password):
        return threading.current_thread().name

    def close(self):
        self.jobs.put(None)
        self.thread.join()


@pytest.fixture
def front():
    front = Front()
    front.thread.name = "front"
    yield front
    front.close()


@tool
def where() -> str:
    """The thread that this runs on."""
    return threading.current_thread().name


@tool
def fail() -> None:
    """Fails."""
    raise LookupError("no such thing")


def test_a_front_has_the_tools_of_all_agents_on_its_thread(made, front):
    called = made(CodeAgent, code("final_answer(where() + ' ' + input('?'))"), name="called", tools=[where])
    boss = made(
        CodeAgent, code("final_answer((where(), input('?'), called('x')))"), tools=[where], managed_agents=[called]
    )
    with tools_on(front):
        mine, asked, theirs = boss.run("go")
    assert (mine, asked, theirs.split()[-2:]) == ("front", "front", ["front", "front"])


def test_a_call_on_the_fronts_thread_is_told_in_order_and_its_error_reaches_the_action(made, front):
    source = "try:\n    fail()\nexcept LookupError as error:\n    final_answer(str(error))"
    agent = made(CodeAgent, code(source), tools=[fail])
    with tools_on(front):
        events = list(agent.events("go"))
    told = [event for event in events if isinstance(event, ToolCalled | ToolReturned | ActionFinished)]
    assert [type(event).__name__ for event in told] == ["ToolCalled", "ToolReturned", "ActionFinished"]
    assert (told[0].blocking, told[1].ok, told[1].error_type) == (True, False, "LookupError")
    assert agent.answer == "no such thing"


def test_a_single_structured_call_runs_on_the_fronts_thread(made, front):
    agent = made(
        ToolCallingAgent, calls(("where", {})), lambda m: calls(("final_answer", {"answer": m[-1].text})), tools=[where]
    )
    with tools_on(front):
        assert "front" in agent.run("where?")


def test_every_run_has_its_beginning_and_end(made, query):
    reader = asks_the_base(made, CodeAgent, query, "reader")
    boss = made(CodeAgent, code("final_answer(reader('x'))"), managed_agents=[reader])
    events = list(boss.events("go"))
    runs = [event.run for event in events if isinstance(event, RunStarted)]
    assert runs == [event.run for event in events if isinstance(event, RunFinished)][::-1]
    [called] = [event for event in events if isinstance(event, ToolCalled) and event.tool == "query"]
    assert called.run == runs[1]


def submits_a_plain_call(name, told, made, done):
    """Does what an agent that is called does: tells of its plain call, then has the tool thread make it."""
    emit(ToolProgress(tool="work", text=name, run="of another"))
    at_once = lambda: made.append((name, name in told))  # noqa: E731
    tool_thread().submit(Job(at_once, lambda *came: done.set()))


def test_a_plain_call_is_told_first_that_comes_while_progress_is_handed_on(made):
    handed_on, submitted, done = threading.Event(), threading.Event(), threading.Event()
    told, order = [], []

    @tool(threaded=True)
    def work() -> None:
        """Works on."""
        emit(ToolProgress(tool="work", text="one"))
        emit(ToolProgress(tool="work", text="two"))  # is held for a moment: so many would be a flood
        handed_on.wait(60)
        submits_a_plain_call("plain", told, order, done)
        submitted.set()
        done.wait(60)

    for event in made(CodeAgent, code("work()\nfinal_answer(1)"), tools=[work]).events("go"):
        if isinstance(event, ToolProgress):
            told.append(event.text)
        if told[-1:] == ["two"]:
            handed_on.set()
            submitted.wait(60)
    assert order == [("plain", True)]


def test_each_plain_call_beside_structured_calls_is_told_before_it_is_made(made):
    names = ["one", "two", "three"]
    may, submitted, done = ({name: threading.Event() for name in names} for _ in range(3))
    told, order = [], []

    @tool(threaded=True)
    def work(name: str) -> None:
        """Works on.

        Args:
            name: Of the call.
        """
        may[name].wait(60)
        submits_a_plain_call(name, told, order, done[name])
        submitted[name].set()
        done[name].wait(60)

    replies = calls(*(("work", {"name": name}) for name in names)), calls(("final_answer", {"answer": 1}))
    agent = made(ToolCallingAgent, *replies, tools=[work])
    may["one"].set()
    for event in agent.events("go"):
        if isinstance(event, ToolProgress):
            told.append(event.text)
            following = dict(itertools.pairwise(names)).get(event.text)
            if following:
                submitted[event.text].wait(60)
                may[following].set()
                submitted[following].wait(60)
    assert order == [(name, True) for name in names]
