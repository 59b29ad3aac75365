"""An interrupt may come after any call of ours or of ipykernel's: nothing is left behind that others wait for.

CPython runs the handlers of signals when a function begins and when one in C has returned: a profiler sees these
points one by one, and an exception that it raises there is as one of a handler.
"""

from __future__ import annotations

import os
import sys
import threading

import pytest
from interrupts import interrupted

from smol_kernel import CodeAgent, ScriptedModel, tool
from smol_kernel.errors import AgentError
from smol_kernel.events import ActionFinished
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.launchers.mask_layer import hide
from smol_kernel.executors.values import decode
from smol_kernel.memory.life import InUse

AT = """
import signal, sys, threading
class Ring(BaseException): pass

def interrupted(work, number):
    left = number
    def profile(frame, event, arg):
        nonlocal left
        left -= event in ("call", "c_return")
        if not left:
            sys.setprofile(None)
            raise Ring
    sys.setprofile(profile)
    try:
        work()
    except Ring:
        return True
    finally:
        sys.setprofile(None)
    return False

def everywhere(work, check):
    number = 1
    while interrupted(work, number):
        check(number)
        number += 1
    return number
"""


@tool
def add(a: int, b: int) -> int:
    """Adds two numbers.

    Args:
        a: The one.
        b: The other.
    """
    return a + b


@pytest.fixture
def child():
    executor = KernelExecutor(timeout_seconds=60, interrupt_grace_seconds=4)
    executor.send_tools({"add": add})
    run(executor, AT)
    yield executor
    executor.cleanup()


def run(executor, code):
    finished = list(executor.run(code))[-1]
    assert isinstance(finished, ActionFinished)
    return finished


def value(executor, code):
    finished = run(executor, code)
    assert finished.status == "ok", finished.traceback or finished.error
    return decode(finished.value)


def test_the_thread_that_sends_never_waits_for_one_that_was_interrupted(child):
    code = """
def work():
    print("x")
    sys.stdout.flush()
def check(number):
    answered = threading.Lock()
    answered.acquire()
    sys.stdout.pub_thread.schedule(answered.release)
    assert answered.acquire(timeout=30), number
everywhere(work, check)"""
    assert value(child, code) > 20


def test_a_call_that_was_interrupted_keeps_no_later_one_from_its_answer(child):
    code = """
def check(number):
    assert add(number, 1) == number + 1
everywhere(lambda: add(1, 2), check)"""
    assert value(child, code) > 20


def test_what_was_printed_before_an_interrupt_is_told_with_its_action(child):
    for number in range(1, 200):
        finished = run(child, f"interrupted(lambda: print('old'), {number})")
        assert finished.logs in ("", "old", "old\n")
        assert run(child, "print('new')").logs == "new\n", number
        if not decode(finished.value):
            break
    assert number > 10


ENDING = """
FILES = "socket.py", "zmqstream.py", "session.py"
def profile(frame, event, arg):
    global count
    if event == "return" and frame.f_code.co_name == "_publish_status_and_flush":
        sys.setprofile(None)
    if event in ("call", "c_return") and frame.f_code.co_filename.endswith(FILES):
        count += 1
        if count == {number}:
            sys.setprofile(None)
            signal.raise_signal(signal.SIGINT)
count = 0
sys.setprofile(profile)
"""


@pytest.mark.parametrize("more", ["", "import asyncio\nprint('printed')\nawait asyncio.sleep(0)\n'value'"], ids=len)
def test_an_interrupt_while_the_end_of_an_action_is_told_breaks_nothing_off(child, more):
    run(child, "kept = 1")
    for number in range(1, 200, 3):
        run(child, ENDING.format(number=number) + more)
        kept, count = value(child, "kept, count")
        assert kept == 1
        if count < number:
            break
    assert number > 50


@pytest.mark.parametrize("work", ["while True: pass", "while True: await asyncio.sleep(0)", "await asyncio.sleep(99)"])
def test_an_action_that_awaited_something_can_be_stopped(child, work):
    run(child, "import asyncio\nkept = 1")
    events = child.run(f"print('begun', flush=True)\nawait asyncio.sleep(0)\n{work}")
    assert next(events).text == "begun\n"
    child.interrupt()
    finished = [*events][-1]
    assert (finished.status, finished.lost) == ("interrupted", [])
    child.clear_interrupt()
    assert value(child, "await asyncio.sleep(0)\nkept") == 1


LATE = """
import os
begun = threading.Event()
def interrupt():
    begun.wait(0.3)  # which the next action would set
    os.kill(os.getpid(), signal.SIGINT)
get_ipython().kernel._send_interrupt_children = interrupt
"""


def test_a_stop_that_comes_late_does_not_reach_the_next_action(child):
    """Calls are refused once a stop is wanted: an action that lets them be ends by itself, as the interrupt comes."""

    @tool
    def stop_soon() -> None:
        """Stops the action, some calls later."""
        threading.Thread(target=lambda: called.wait(30) and child.interrupt()).start()

    @tool
    def call() -> None:
        """Does nothing."""
        called.set()

    called = threading.Event()
    child.send_tools({"stop_soon": stop_soon, "call": call})
    run(child, LATE)
    for number in range(3):
        called.clear()
        assert run(child, "begun.clear()\nstop_soon()\nwhile True: call()").status == "interrupted"
        child.clear_interrupt()
        assert value(child, f"begun.set()\nfor _ in range(10**6): pass\n{number}") == number


def test_an_interrupt_while_a_name_is_hidden_is_heard_as_one(tmp_path):
    layer, number = os.open(tmp_path, os.O_RDONLY), 1
    while interrupted(lambda: hide(layer, str(tmp_path), f"{number}/a/key.pem"), number):  # noqa: B023 - called here
        number += 1
    os.close(layer)
    assert number > 20


def test_an_agent_that_was_interrupted_anywhere_before_its_run_takes_the_next_task():
    agent = CodeAgent(tools=[], model=ScriptedModel(["<code>\nfinal_answer(1)\n</code>"] * 100), journal=False)
    with agent:
        for number in range(1, 60):
            events = agent.run_events("task")
            assert interrupted(lambda events=events: next(events), number)
            events.close()
            assert not agent.life.in_use.locked(), number
        assert agent.run("task") == 1


def test_of_many_threads_one_has_an_agent_at_a_time():
    in_use, inside, most = InUse(), [], []

    def work():
        for _ in range(2_000):
            user = [True]
            try:
                in_use.take(user)
                inside.append(user)
                most.append(len(inside))
                inside.pop()
            except AgentError:
                pass
            finally:
                user.clear()

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(before)
    assert set(most) == {1}
    assert not in_use.locked()
