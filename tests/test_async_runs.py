"""Runs for asyncio: awaited, streamed, cancelled."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest
from scripted_replies import call, code, final

from smol_kernel import CodeAgent, LogLevel, ScriptedModel, ToolCallingAgent, tool
from smol_kernel.errors import AgentGenerationError
from smol_kernel.events import ActionProposed, FinalAnswer, RunFinished, RunStarted

NAME = contextvars.ContextVar("NAME", default="nobody")


def caller(replies, tools=(), **options):
    return ToolCallingAgent(list(tools), ScriptedModel(replies), journal=False, verbosity_level=LogLevel.OFF, **options)


@tool
def who() -> str:
    """Tells who asks."""
    return NAME.get()


def test_a_run_is_awaited_with_the_context_of_the_caller():
    async def main():
        NAME.set("Ada")
        return await caller([call("who"), final("done")], [who]).arun("ask", return_full_result=True)

    result = asyncio.run(main())
    assert (result.output, result.state) == ("done", "success")
    assert result.steps[1]["observations"] == "Ada"


def test_runs_go_on_side_by_side():
    gate = threading.Barrier(3, timeout=60)

    @tool
    def meet() -> bool:
        """Waits for the others."""
        return gate.wait() >= 0

    async def main():
        return await asyncio.gather(*(caller([call("meet"), final(n)], [meet]).arun("meet") for n in range(3)))

    assert asyncio.run(main()) == [0, 1, 2]


def test_events_are_streamed_in_their_order():
    async def main():
        return [event async for event in caller([call("who"), final(1)], [who]).astream("ask")]

    events = asyncio.run(main())
    assert isinstance(events[0], RunStarted) and isinstance(events[-1], RunFinished)
    assert [event.value for event in events if isinstance(event, FinalAnswer)] == [1]


@pytest.mark.parametrize("way", ["arun", "astream"])
def test_what_a_run_raises_is_raised_where_it_is_awaited(way):
    async def main():
        agent = caller([RuntimeError("no credit")])
        if way == "arun":
            await agent.arun("ask")
        async for _ in agent.astream("ask"):
            pass

    with pytest.raises(AgentGenerationError, match="no credit"):
        asyncio.run(main())


@pytest.mark.parametrize("pressed", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_the_thread_is_raised_where_it_is_awaited(pressed):
    async def main():
        events = caller([pressed()]).astream("ask")
        with pytest.raises((pressed, AgentGenerationError)):
            async for _ in events:
                pass

    asyncio.run(main())


def test_a_cancelled_run_is_stopped_and_the_agent_free_again():
    begun = threading.Event()

    def reply(messages):
        begun.set()
        threading.Event().wait()

    async def main():
        agent = caller([reply, final("second")])
        work = asyncio.ensure_future(agent.arun("hang"))
        await asyncio.to_thread(begun.wait)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        return await agent.arun("again")

    assert asyncio.run(main()) == "second"


def test_a_stream_closed_half_way_stops_the_action(tmp_path):
    async def main():
        model = ScriptedModel([code("import time\ntime.sleep(600)"), code("final_answer(2)")])
        with CodeAgent([], model, journal=False, verbosity_level=LogLevel.OFF) as agent:
            events = agent.astream("hang")
            async for event in events:
                if isinstance(event, ActionProposed):
                    break
            await events.aclose()
            return await agent.arun("again")

    assert asyncio.run(main()) == 2
