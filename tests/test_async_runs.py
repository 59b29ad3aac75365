"""`arun` and `astream`: runs in a thread of their own, awaited, cancelled, several at once."""

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

import anyio
import pytest
from scripted_replies import call, calls, code, final, of

from smol_kernel.agents.code_agent import CodeAgent
from smol_kernel.agents.tool_calling_agent import ToolCallingAgent
from smol_kernel.errors import AgentError, AgentGenerationError, ConfigError
from smol_kernel.events import ModelDelta, Notice, Output, RunFinished, RunStarted, ToolProgress, emit
from smol_kernel.journal import Journal
from smol_kernel.memory.messages import ChatMessageStreamDelta
from smol_kernel.memory.monitoring import LogLevel
from smol_kernel.models.scripted import ScriptedModel
from smol_kernel.tools.base import tool

WAIT = 20
"""Seconds after which something that should have come long ago counts as missing."""


@pytest.fixture
def make(tmp_path):
    made = []

    def make(replies, tools=(), kind=ToolCallingAgent, **options):
        options = {"journal": tmp_path / "journal.sqlite", "verbosity_level": LogLevel.OFF, **options}
        made.append(kind(list(tools), ScriptedModel(replies), **options))
        return made[-1]

    yield make
    for agent in made:
        agent.cleanup()


@tool
def hang() -> None:
    """Tells that it has begun, and hangs."""
    emit(ToolProgress(tool="hang", text="go"))
    threading.Event().wait()


def never(messages):
    threading.Event().wait()


def hanging_model(inside):
    """A reply that never comes; `inside` is set when it is asked for."""

    def reply(messages):
        inside.set()
        never(messages)

    return reply


def state(agent):
    return Journal(agent.journal).events(agent.run_id)[-1].state


class Reports:
    """What the event loop's handler is told: errors that nobody has awaited."""

    def __init__(self):
        self.told = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: self.told.append(context))


# arun


def test_a_run_is_awaited(make):
    agent = make([final(41), final(42)])

    async def main():
        full = await agent.arun("ask", return_full_result=True)
        return full, await agent.arun("ask", reset=False)

    full, answer = asyncio.run(main())
    assert (full.output, full.state, answer, agent.run_id) == (
        41,
        "success",
        42,
        Journal(agent.journal).find("last").run,
    )


def test_the_loop_goes_on_while_runs_work_side_by_side(make):
    meeting, here = threading.Barrier(3), threading.Event()

    def meet(number):
        def reply(messages):
            meeting.wait(WAIT)
            return final(number) if here.wait(WAIT) else "nobody is here"

        return reply

    agents = [make([meet(number)]) for number in range(2)]

    async def main():
        runs = asyncio.gather(*[agent.arun("ask") for agent in agents])
        await asyncio.to_thread(meeting.wait, WAIT)
        here.set()  # by the loop, while both wait
        return await runs

    assert asyncio.run(main()) == [0, 1]


def test_the_context_of_the_caller_is_that_of_its_tools(make):
    who = contextvars.ContextVar("who")

    @tool
    def look() -> str:
        """Looks who calls."""
        return who.get()

    agents = [
        make([calls(("look", {}), ("look", {})), lambda said: final(said[-1].text.split()[1:])], [look]) for _ in "ab"
    ]

    async def one(agent, name):
        who.set(name)
        return await agent.arun("look")

    async def main():
        return await asyncio.gather(*[one(agent, name) for agent, name in zip(agents, "ab", strict=True)])

    assert asyncio.run(main()) == [["a", "a"], ["b", "b"]]


@pytest.mark.parametrize("way", ["arun", "astream"])
@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (ValueError("no such model"), AgentGenerationError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (None, ConfigError),
    ],
)
def test_what_a_run_raises_is_raised_where_it_is_awaited(make, way, reply, error):
    agent = make([reply, final("ok")])
    caught = []

    async def main():
        reports = Reports()
        try:
            await one(agent, way, "" if reply is None else "ask")
        except error as caught_here:  # in the coroutine: never by way of a task of ours, which would end the loop
            caught.append(caught_here)
        await asyncio.sleep(0)
        return reports.told

    assert asyncio.run(main()) == []
    assert type(caught[0]) is error
    agent.model.replies = [final("ok")] * 3
    assert agent.run("again") == "ok"


async def one(agent, way, task="ask"):
    """A whole run, one way or the other."""
    if way == "arun":
        return await agent.arun(task)
    return [event async for event in agent.astream(task)]


HANGS = {
    "in a model": (ToolCallingAgent, None),
    "in a tool": (ToolCallingAgent, calls(("hang", {}), ("hang", {}))),
    "in an action": (CodeAgent, code("look()\nwhile True: pass")),
}


@pytest.mark.parametrize("way", ["arun", "astream"])
@pytest.mark.parametrize("where", HANGS)
def test_canceled_it_stops_and_the_agent_can_be_used_again(make, where, way):
    kind, reply = HANGS[where]
    inside = threading.Event()

    @tool(threaded=True)
    def hang() -> None:
        """Hangs."""
        look()
        threading.Event().wait()

    @tool
    def look() -> None:
        """Tells that it was called."""
        inside.set()

    last = code("final_answer('ok')") if kind is CodeAgent else final("ok")
    agent = make([reply or hanging_model(inside), last], [hang, look], kind)

    async def main():
        reports = Reports()
        run = asyncio.ensure_future(one(agent, way))
        await asyncio.to_thread(inside.wait, WAIT)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert state(agent) == "interrupted"
        assert not agent.life.in_use.locked()
        return await agent.arun("again"), reports.told

    assert asyncio.run(main()) == ("ok", [])


@pytest.mark.parametrize("way", ["arun", "astream"])
@pytest.mark.parametrize("turns", range(4))
def test_canceled_before_it_has_well_begun(make, turns, way):
    """Also a stop that comes before the thread has begun, or before the run has, stops it."""
    inside = threading.Event()
    agent = make([hanging_model(inside), final("ok")])

    async def main():
        run = asyncio.ensure_future(one(agent, way))
        for _ in range(turns):
            await asyncio.sleep(0)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(main())
    agent.model.replies = [final("ok")] * 2
    assert agent.run("again") == "ok"


async def nothing(task):
    """What is done while the task is being cancelled."""


async def by_asyncio(running, begun, meanwhile=nothing):
    """Cancel it twice, when `begun` is over."""
    task = asyncio.ensure_future(running)
    await begun
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await meanwhile(task)
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_anyio(running, begun, meanwhile=nothing):
    """A scope of anyio cancels what is in it at every turn of the loop."""
    tasks = []

    async def first():
        tasks.append(asyncio.current_task())
        await running

    async with anyio.create_task_group() as group:
        group.start_soon(first)
        await begun
        group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await meanwhile(tasks[0])
    assert tasks[0].cancelled()


async def some(turns):
    for _ in range(turns):
        await asyncio.sleep(0)


@pytest.mark.parametrize("way", ["arun", "astream"])
@pytest.mark.parametrize("cancel", [by_asyncio, by_anyio])
@pytest.mark.parametrize("turns", [2, 3, 5, 50])
def test_canceled_again_and_again_it_is_left_when_it_has_ended(make, turns, cancel, way):
    inside = threading.Event()
    agent = make([hanging_model(inside)])

    async def main():
        reports = Reports()
        await cancel(one(agent, way), some(turns))
        assert not agent.life.in_use.locked()
        agent.model = ScriptedModel([final("ok")])
        return await agent.arun("again"), reports.told

    assert asyncio.run(main()) == ("ok", [])


@pytest.mark.parametrize("way", ["arun", "astream"])
@pytest.mark.parametrize("cancel", [by_asyncio, by_anyio])
def test_a_tool_that_cannot_be_stopped_is_waited_for(make, cancel, way):
    inside, go_on, times = threading.Event(), threading.Event(), []

    @tool
    def work() -> None:
        """Works."""
        inside.set()
        go_on.wait(WAIT)

    agent = make([call("work"), final("nobody asks any more")], [work])

    async def meanwhile(task):
        await some(200)
        assert not task.done()
        times.append(getattr(task, "cancelling", int)())  # Python 3.10 does not count them
        go_on.set()

    asyncio.run(cancel(one(agent, way), asyncio.to_thread(inside.wait, WAIT), meanwhile))
    assert times[0] < 5
    assert not agent.life.in_use.locked()
    assert state(agent) == "interrupted"


@pytest.mark.parametrize("way", ["arun", "astream"])
def test_a_loop_that_ends_waits_for_it(make, way):
    inside = threading.Event()
    agent = make([hanging_model(inside)])
    runs = []

    async def main():
        runs.append(asyncio.ensure_future(one(agent, way)))
        await asyncio.to_thread(inside.wait, WAIT)

    asyncio.run(main())
    assert runs[0].cancelled()
    assert state(agent) == "interrupted"


def test_runs_take_no_thread_of_the_loops_own_pool(make):
    """What a tool hands to the loop may need one, and so does each look-up of a name."""

    async def ask():
        server = asyncio.get_running_loop()
        server.set_default_executor(ThreadPoolExecutor(1))

        @tool
        async def hop() -> str:
            """Hops."""
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asyncio.to_thread(str, "there"), server))

        agents = [make([call("hop"), lambda said: final(said[-1].text.split()[-1])], [hop]) for _ in "abcd"]
        runs = asyncio.gather(*[agent.arun("ask") for agent in agents], one(make([final("ok")]), "astream"))
        return await asyncio.wait_for(runs, WAIT)

    *answers, events = asyncio.run(ask())
    assert answers == ["there"] * 4
    assert events[-1].state == "success"


def test_time_out(make):
    agent = make([never])

    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(agent.arun("ask"), 0.05)
        agent.model = ScriptedModel([final("ok")])  # the first may not have been asked yet
        return await agent.arun("again")

    assert asyncio.run(main()) == "ok"


@pytest.mark.parametrize("way", ["arun", "astream"])
def test_a_second_run_of_the_same_agent_is_refused_and_leaves_the_first_alone(make, way):
    inside, go_on = threading.Event(), threading.Event()

    def reply(messages):
        inside.set()
        return final("first") if go_on.wait(WAIT) else ""

    agent = make([reply])

    async def main():
        first = asyncio.ensure_future(agent.arun("first"))
        await asyncio.to_thread(inside.wait, WAIT)
        with pytest.raises(AgentError, match="at work on another task"):
            await one(agent, way, "second")
        go_on.set()
        return await first

    assert asyncio.run(main()) == "first"


def test_interrupt_from_the_loop(make):
    inside = threading.Event()
    agent = make([hanging_model(inside)])

    async def main():
        run = asyncio.ensure_future(agent.arun("ask"))
        await asyncio.to_thread(inside.wait, WAIT)
        agent.interrupt()
        with pytest.raises(AgentError, match="interrupted"):
            await run

    asyncio.run(main())
    assert state(agent) == "interrupted"


def test_an_async_tool_hands_work_to_the_loop_of_its_caller(make):
    """The loop it runs on is the library's own."""

    async def ask():
        server = asyncio.get_running_loop()

        async def work():
            return asyncio.get_running_loop() is server

        @tool
        async def hop() -> str:
            """Hops."""
            there = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(), server))
            return f"own {asyncio.get_running_loop() is not server}, there {there}"

        agent = make([call("hop"), lambda said: final(said[-1].text)], [hop])
        return await agent.arun("ask")

    assert "own True, there True" in asyncio.run(ask())


def test_an_async_tool_runs_another_agent(make):
    helper = make([call("twice", text="ab"), lambda said: final(said[-1].text[-4:])], [twice])

    @tool
    async def ask(task: str) -> str:
        """Asks another.

        Args:
            task: what.
        """
        return await helper.arun(task)

    agent = make([call("ask", task="x"), lambda said: final(said[-1].text[-4:])], [ask])
    assert asyncio.run(agent.arun("ask")) == "abab"


@tool
async def twice(text: str) -> str:
    """Says it twice.

    Args:
        text: what.
    """
    await asyncio.sleep(0)
    return text * 2


# astream


def test_events_come_as_they_happen_and_are_those_of_the_journal(make):
    seen, agent = [], make([call("twice", text="ab"), final("ok")], [twice], stream_outputs=True)

    async def main():
        async for event in agent.astream("ask"):
            seen.append(event)

    asyncio.run(main())
    assert type(seen[0]) is RunStarted
    assert seen[-1].state == "success"
    assert Journal(agent.journal).events(agent.run_id) == [event for event in seen if event.durable]


def test_an_event_comes_before_the_run_goes_on(make):
    told, went_on = threading.Event(), []

    def reply(messages):
        emit(Notice(text="look"))
        went_on.append(told.wait(WAIT))
        return final("ok")

    agent = make([reply])

    async def main():
        async for event in agent.astream("ask"):
            if isinstance(event, Notice):
                told.set()

    asyncio.run(main())
    assert went_on == [True]


class Half(ScriptedModel):
    """Streams half a reply, and hangs."""

    def generate_stream(self, messages, **options):
        yield ChatMessageStreamDelta(content="Half")
        never(messages)


@pytest.mark.parametrize(
    ("kind", "reply", "last", "ended"),
    [
        (ToolCallingAgent, never, RunStarted, "interrupted"),
        (ToolCallingAgent, None, ModelDelta, "interrupted"),
        (ToolCallingAgent, calls(("hang", {}), ("hang", {})), ToolProgress, "interrupted"),
        (CodeAgent, code("print('go', flush=True)\nwhile True: pass"), Output, "interrupted"),
        (ToolCallingAgent, final("late"), RunFinished, "success"),
    ],
)
def test_closed_half_way_it_stops(make, kind, reply, last, ended):
    agent = make([reply], [hang], kind, stream_outputs=reply is None)
    if reply is None:
        agent.model = Half([])

    async def main():
        reports = Reports()
        async with aclosing(agent.astream("ask")) as stream:
            async for event in stream:
                if isinstance(event, last):
                    break
        assert not agent.life.in_use.locked()
        assert state(agent) == ended
        agent.model = ScriptedModel([code("final_answer('ok')") if kind is CodeAgent else final("ok")])
        return await agent.arun("again"), reports.told

    assert asyncio.run(main()) == ("ok", [])


def test_a_stream_that_was_never_begun_is_no_run(make):
    agent = make([final("ok")])

    async def main():
        await agent.astream("never").aclose()
        return await agent.arun("ask")

    assert asyncio.run(main()) == "ok"
    assert len(Journal(agent.journal).runs()) == 1


def test_a_stream_that_is_dropped_half_way_ends_with_the_loop(make):
    agent = make([final("late"), final("ok")])

    async def main():
        async for event in agent.astream("ask"):
            if isinstance(event, RunStarted):
                break

    asyncio.run(main())
    assert not agent.life.in_use.locked()
    agent.model.replies = [final("ok")] * 3
    assert agent.run("again") == "ok"
    assert len(of(RunFinished, Journal(agent.journal).events(agent.run_id))) == 1
