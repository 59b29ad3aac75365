"""What tools emit while they run, calls that are refused, and the loop of async tools; with a real child."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

from smol_kernel.events import Notice, Output, ToolCalled, ToolProgress, ToolReturned, current_call, emit
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.values import decode
from smol_kernel.tools import tool

seen = threading.Event()
made: list[str] = []
loops: list[asyncio.AbstractEventLoop] = []
canceled = threading.Event()


@tool
def plain_steps(name: str) -> str:
    """Tells of two steps on the calling thread.

    Args:
        name: Comes back with the id of the call.
    """
    made.append(name)
    emit(ToolProgress(tool="plain_steps", text="first", done=1, total=2))
    emit(Notice(text=f"half of {name}"))
    emit(ToolProgress(tool="plain_steps", text="second", done=2, total=2))
    return f"{name} {current_call()}"


@tool(threaded=True)
def watched(name: str) -> str:
    """Goes on once somebody has seen what it emitted.

    Args:
        name: Comes back.
    """
    emit(Notice(run="sub", text=f"begun {name}"))
    assert seen.wait(timeout=30)
    emit(ToolProgress(tool="watched", run="sub", call="c1", text="of a sub-agent"))
    return f"{name} {current_call()}"


@tool(threaded=True)
def flood(number: int) -> int:
    """Tells of many steps.

    Args:
        number: How many.
    """
    for done in range(number):
        emit(ToolProgress(tool="flood", done=done + 1, total=number))
    return number


@tool(threaded=True)
def pauses() -> str:
    """Tells of three steps at once and then waits until the last one was seen."""
    for text in ("a", "b", "c"):
        emit(ToolProgress(tool="pauses", text=text))
    assert seen.wait(timeout=30)
    return "seen"


@tool
async def which_loop() -> int:
    """Notes the loop it runs on, and emits from there."""
    emit(ToolProgress(tool="which_loop", text=str(current_call())))
    loops.append(asyncio.get_running_loop())
    await asyncio.sleep(0)
    return len(set(loops))


@tool
async def for_ever() -> None:
    """Never returns; notes that it was canceled."""
    emit(Notice(text="waiting"))
    try:
        await asyncio.Event().wait()
    finally:
        canceled.set()


@tool
async def leaves(how: str) -> None:
    """Raises what ends a thread.

    Args:
        how: "exit" or "interrupt".
    """
    raise SystemExit("out") if how == "exit" else KeyboardInterrupt("now")


@tool
async def asks_another() -> int:
    """Runs an action with an async tool of its own, and holds up its loop meanwhile."""
    inner = KernelExecutor()
    inner.send_tools({"which_loop": which_loop})
    try:
        return inner("which_loop()").output
    finally:
        inner.cleanup()


TOOLS = {t.name: t for t in (plain_steps, watched, flood, pauses, which_loop, for_ever, leaves, asks_another)}


@pytest.fixture(scope="module")
def kernel():
    executor = KernelExecutor(timeout_seconds=60)
    executor.send_tools(TOOLS)
    yield executor
    executor.cleanup()


@pytest.fixture(autouse=True)
def anew(kernel):
    seen.clear()
    canceled.clear()
    made.clear()
    loops.clear()
    kernel.refuse = None
    kernel.clear_interrupt()


def of_calls(events):
    return [event for event in events if not isinstance(event, Output)][:-1]


def test_a_plain_tool_s_events_come_before_its_return(kernel):
    *events, finished = kernel.run("plain_steps('x')")
    called, first, notice, second, returned = of_calls([*events, finished])
    assert isinstance(called, ToolCalled) and isinstance(returned, ToolReturned)
    assert (first.text, notice.text, second.text) == ("first", "half of x", "second")
    assert first.call == second.call == called.call == returned.call
    assert decode(finished.value) == f"x {called.call}"
    assert current_call() is None


def test_a_pooled_tool_s_events_come_while_it_runs_and_keep_their_marks(kernel):
    events = []
    for event in kernel.run("watched('y')"):
        events.append(event)
        if isinstance(event, Notice):
            seen.set()  # the tool waits for this
    called, begun, progress, returned = of_calls(events)
    assert begun.text == "begun y"
    assert (progress.run, progress.call) == ("sub", "c1")
    assert decode(events[-1].value) == f"y {called.call}"
    assert isinstance(returned, ToolReturned) and returned.ok


def test_a_flood_of_progress_is_thinned_out_and_its_end_kept(kernel):
    events = list(kernel.run("flood(20_000)"))
    told = [event for event in events if isinstance(event, ToolProgress)]
    returned = next(event for event in events if isinstance(event, ToolReturned))
    assert told[0].done == 1
    assert told[-1].done == 20_000
    assert len(told) <= 2 + returned.seconds / 0.09
    assert events.index(told[-1]) < events.index(returned)


def test_progress_held_back_is_told_though_the_tool_says_nothing_more(kernel):
    texts = []
    for event in kernel.run("pauses()"):
        if isinstance(event, ToolProgress):
            texts.append(event.text)
            if event.text == "c":
                seen.set()
    assert texts == ["a", "c"]


def test_nothing_comes_of_a_call_that_has_ended(kernel):
    late, may = [], threading.Event()

    @tool(threaded=True)
    def leaves_thread() -> str:
        """Leaves a thread behind that emits when the call has ended."""
        context = contextvars.copy_context()

        def emits():
            assert may.wait(timeout=30)
            context.run(emit, Notice(text="late"))

        late.append(threading.Thread(target=emits))
        late[0].start()
        return "left"

    kernel.send_tools({**TOOLS, "leaves_thread": leaves_thread})
    events = []
    for event in kernel.run("leaves_thread(); plain_steps('z')"):
        events.append(event)
        if isinstance(event, ToolReturned) and event.tool == "leaves_thread":
            may.set()
            late[0].join()
    assert [event.text for event in events if isinstance(event, Notice)] == ["half of z"]


def test_a_stop_that_comes_with_the_call_s_event_keeps_the_tool_from_being_called(kernel):
    for name in ("plain_steps", "watched"):
        events = []
        for event in kernel.run(f"{name}('never')\nafter = 1"):
            events.append(event)
            if isinstance(event, ToolCalled):
                kernel.interrupt()
        kernel.clear_interrupt()
        called, returned = of_calls(events)
        assert (returned.call, returned.ok) == (called.call, False)
        assert "stopped before the call" in returned.error
        assert events[-1].status == "interrupted"
        assert "after" not in events[-1].names
    assert made == []


def test_a_refused_call_is_an_error_that_the_action_can_catch(kernel):
    asked = []

    def refuse(called):
        asked.append(called)
        return "tool call limit reached" if len(asked) > 1 else None

    kernel.refuse = refuse
    code = "plain_steps('one')\ntry:\n    plain_steps('two')\nexcept PermissionError as e:\n    said = str(e)\nsaid"
    *events, finished = kernel.run(code)
    assert decode(finished.value) == "tool call limit reached"
    assert made == ["one"]
    returned = [event for event in events if isinstance(event, ToolReturned)]
    assert [event.ok for event in returned] == [True, False]
    assert returned[1].error_type == "PermissionError"
    assert [event.call for event in returned] == [called.call for called in asked]


def test_async_tools_share_one_event_loop(kernel):
    code = "import asyncio\nawait asyncio.gather(*(which_loop.aio() for _ in range(3)))\nwhich_loop()"
    *events, finished = kernel.run(code)
    assert decode(finished.value) == 1
    assert len(loops) == 4
    told = [event for event in events if isinstance(event, ToolProgress)]
    assert all(event.text == event.call for event in told) and len(told) == 4
    *_, finished = kernel.run("which_loop()")
    assert decode(finished.value) == 1


@pytest.mark.parametrize("how", ["exit", "interrupt"])
def test_an_async_tool_that_would_end_its_thread_does_not_end_the_loop(kernel, how):
    *events, finished = kernel.run(f"which_loop()\ntry:\n    leaves('{how}')\nexcept Exception: pass\nwhich_loop()")
    assert decode(finished.value) == 1
    assert [event.ok for event in events if isinstance(event, ToolReturned)] == [True, False, True]


def test_an_async_tool_that_runs_an_agent_does_not_wait_for_itself(kernel):
    *_, finished = kernel.run("asks_another()")
    assert (finished.status, decode(finished.value)) == ("ok", 1)


def test_an_async_tool_is_canceled_when_its_action_is_stopped(kernel):
    events = []
    for event in kernel.run("for_ever()"):
        events.append(event)
        if isinstance(event, Notice):
            kernel.interrupt()
    assert canceled.wait(timeout=30)
    assert events[-1].status == "interrupted"
    assert [event.ok for event in events if isinstance(event, ToolReturned)] == [False]
