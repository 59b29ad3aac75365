"""A limit of time that a worker sets ends the run wherever it comes: an Exception from the handler of a real signal."""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import threading

import pytest
from scripted_replies import call, code, final

from smol_kernel import CodeAgent, FallbackModel, ScriptedModel, ToolCallingAgent, tool
from smol_kernel.events import Notice, watched
from smol_kernel.executors.base import CodeOutput, PythonExecutor
from smol_kernel.journal import Journal

KINDS = [CodeAgent, ToolCallingAgent]


class TimeIsUp(Exception):
    """As Celery's SoftTimeLimitExceeded and RQ's JobTimeoutException."""


class FunctionTimedOut(BaseException):
    """As that of func_timeout, and gevent's Timeout."""


def time_is_up(number, frame):
    raise TimeIsUp


def timeout(seconds):
    """A handler as a tool and its worker may both have it of one library."""

    def handler(number, frame):
        raise TimeIsUp(f"after {seconds} s")

    return handler


def timed(seconds):
    """A library's limit of time for a function: of the processor's, which the timeout of these tests leaves alone."""

    def decorate(function):
        @functools.wraps(function)
        def limited(*given):
            def handler(number, frame):
                raise TimeIsUp("at last")

            before = signal.signal(signal.SIGVTALRM, handler)
            signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
            try:
                return function(*given)
            finally:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
                signal.signal(signal.SIGVTALRM, before)

        return limited

    return decorate


@pytest.fixture
def handled():
    """Has a signal handled, as it is given."""
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGVTALRM)}
    yield lambda handler, number=signal.SIGUSR1: signal.signal(number, handler)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def limited(handled):
    """A worker's limit is set, and `reach` reaches it: whoever does that is still at work then."""
    handled(time_is_up)
    over = threading.Event()
    yield lambda *_: (os.kill(os.getpid(), signal.SIGUSR1), over.wait(60))
    over.set()


@pytest.fixture
def make(tmp_path):
    """Makes an agent that has `one` called, and then answers 1; its child ends with the test."""
    agents = []

    def make(kind, one, **options):
        replies = [code(f"{one.name}()"), code("final_answer(1)")]
        if kind is ToolCallingAgent:
            replies = [call(one.name), final(1)]
        options = {"tools": [one], "model": ScriptedModel(replies), "journal": tmp_path / "j.sqlite", **options}
        agents.append(kind(verbosity_level=0, **options))
        return agents[-1]

    yield make
    for agent in agents:
        agent.cleanup()


def reaching(reach):
    @tool
    def query() -> int:
        """Is still at work when the limit comes."""
        reach()
        return 3

    return query


@tool
def answer() -> int:
    """Is done at once."""
    return 3


@pytest.mark.parametrize("kind", KINDS)
def test_in_a_tool(make, limited, kind):
    agent = make(kind, reaching(limited))
    with pytest.raises(TimeIsUp):
        agent.run("t")
    assert Journal(agent.journal).find(agent.run_id).state == "error"  # as in an action
    assert agent.run("again", reset=False) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_such_a_run_is_taken_up(make, limited, kind):
    agent = make(kind, reaching(limited))
    with pytest.raises(TimeIsUp):
        agent.run("t")
    model = ScriptedModel([final(1) if kind is ToolCallingAgent else code("final_answer(1)")])
    options = {"tools": [reaching(bool)], "verbosity_level": 0, "journal": agent.journal}
    assert kind.resume(agent.run_id, model=model, repeat=True, **options) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_in_the_tool_of_a_called_agent(make, limited, kind):
    called = make(kind, reaching(limited), name="called", description="Works.")
    replies = [code("called('x')"), code("final_answer(1)")]
    boss = make(CodeAgent, answer, model=ScriptedModel(replies), managed_agents=[called])
    with pytest.raises(TimeIsUp):
        boss.run("t")


@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_of_a_library_is_the_tools_failure(make, kind):
    """Also one that is no Exception."""

    @tool
    def query() -> None:
        """Is still at work when another thread ends it."""
        thread, raised = ctypes.c_ulong(threading.get_ident()), ctypes.py_object(FunctionTimedOut)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, raised)
        while True:
            pass

    agent = make(kind, query)
    assert agent.run("t") == 1
    assert "FunctionTimedOut" in agent.memory.steps[1].error.message


def test_the_action_can_catch_such_a_limit(make):
    @tool
    def query() -> None:
        """Has a limit of its own."""
        raise FunctionTimedOut("after 0.3 s")

    caught = code("try:\n    query()\nexcept Exception as error:\n    final_answer(str(error))")
    assert "after 0.3 s" in make(CodeAgent, query, model=ScriptedModel([caught])).run("t")


@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_of_the_tools_own_in_one_of_the_same_library(make, handled, kind):
    @timed(0.001)
    def slow():
        while True:
            pass

    @tool
    def query() -> None:
        """Takes too long."""
        slow()

    agent = make(kind, query)
    assert timed(3_600)(agent.run)("t") == 1
    assert "TimeIsUp" in agent.memory.steps[1].error.message


@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_of_the_tools_own_is_its_failure(make, handled, kind):
    """Also where it is of the same making as the worker's, or sets a timer whose handler the program has installed."""
    handled(timeout(600))
    handled(time_is_up, signal.SIGVTALRM)

    @tool
    def own() -> None:
        """Takes too long."""
        before = signal.signal(signal.SIGUSR1, timeout(5))
        try:
            os.kill(os.getpid(), signal.SIGUSR1)
            threading.Event().wait(60)
        finally:
            signal.signal(signal.SIGUSR1, before)

    @tool
    def timed() -> None:
        """Takes too long."""
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.001)
        while True:
            pass

    for one in (own, timed):
        agent = make(kind, one)
        assert agent.run("t") == 1
        assert "TimeIsUp" in agent.memory.steps[1].error.message


def test_a_timer_that_the_program_has_set(make, handled):
    handled(time_is_up, signal.SIGVTALRM)

    @tool
    def query() -> None:
        """Is still at work when the time is up."""
        while True:
            pass

    def reply(_):
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.2)
        return code("query()")

    model = ScriptedModel([reply, code("final_answer(1)")])
    model.in_thread = False
    with pytest.raises(TimeIsUp):
        make(CodeAgent, query, model=model).run("t")


@pytest.mark.parametrize("here", [False, True], ids=["in a thread", "on the thread of the run"])
def test_while_the_model_is_asked(make, limited, here):
    def asked(_):
        limited()
        return code("final_answer(2)")

    first = ScriptedModel([asked])
    first.in_thread = not here
    agent = make(CodeAgent, answer, model=FallbackModel([first, ScriptedModel([code("final_answer(2)")])]))
    with pytest.raises(TimeIsUp):
        agent.run("t")
    assert agent.run("again") == 2


class Own(PythonExecutor):
    """Runs actions here."""

    def __init__(self, reach):
        self.reach = reach

    def __call__(self, code_action):
        if "reach" in code_action:
            self.reach()
        return CodeOutput(2, "", True)

    def send_tools(self, tools):
        pass

    def send_variables(self, variables):
        pass


@pytest.mark.parametrize("replies", [["reach()"], ["2"]], ids=["action", "check"])
def test_in_an_executor_of_ones_own(make, limited, replies):
    model = ScriptedModel([*map(code, replies), code("2")])
    agent = make(CodeAgent, answer, model=model, executor=Own(limited), checks=["answer == 'reach'"])
    with pytest.raises(TimeIsUp):
        agent.run("t")


@pytest.mark.parametrize("place", ["step_callbacks", "final_answer_checks"])
def test_in_what_the_program_put_in(make, limited, place):
    model = ScriptedModel([code("final_answer(1)")])
    with pytest.raises(TimeIsUp):
        make(CodeAgent, answer, model=model, **{place: [limited]}).run("t")


def test_in_a_reader_of_events(limited):
    with pytest.raises(TimeIsUp):
        list(watched([Notice(text="t")], limited))
