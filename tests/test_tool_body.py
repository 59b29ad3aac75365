"""What leaves the code of a tool and is no failure of it: what handlers of real signals raise, and forked processes."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import subprocess
import sys
import threading

import pytest
from scripted_replies import call, code, final

from smol_kernel import CodeAgent, ScriptedModel, ToolCallingAgent, tool
from smol_kernel.journal import Journal

KINDS = [CodeAgent, ToolCallingAgent]


@pytest.fixture
def make(tmp_path):
    """Makes an agent that has `one` called, and then answers 1; its child ends with the test."""
    agents = []

    def make(kind, one, **options):
        replies = [code(f"{one.name}()"), code("final_answer(1)")]
        if kind is ToolCallingAgent:
            replies = [call(one.name), final(1)]
        options = {"tools": [one], "journal": tmp_path / "j.sqlite", "verbosity_level": 0, **options}
        agents.append(kind(model=ScriptedModel(replies), **options))
        return agents[-1]

    yield make
    for agent in agents:
        agent.cleanup()


def leave(*_):
    sys.exit(5)


def take_out_and_leave(number, frame):
    signal.signal(number, signal.SIG_IGN)
    sys.exit(5)


def leave_unused(number, frame):
    del number, frame
    sys.exit(5)


def leave_by_name(how, number, frame):
    sys.exit(how)


class Leaving:
    def __call__(self, number, frame):
        self.leave(number, frame)

    def leave(self, number, frame):
        sys.exit(5)


class Over(BaseException):
    """Of a program that ends in a way of its own."""


def over(number, frame):
    raise Over


HANDLERS = {
    "function": leave,
    "takes itself out": take_out_and_leave,
    "forgets its arguments": leave_unused,
    "partial": functools.partial(leave_by_name, 5),
    "object": Leaving(),
    "method": Leaving().leave,
    "no SystemExit": over,
}


@pytest.fixture
def handled():
    """Has SIGTERM handled, as it is given."""
    before = signal.getsignal(signal.SIGTERM)
    yield lambda handler: signal.signal(signal.SIGTERM, handler)
    signal.signal(signal.SIGTERM, before)


@tool
def terminated() -> int:
    """Is still at work when SIGTERM comes."""
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(60)
    return 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS)
def test_what_a_handler_raises_ends_the_run(make, handled, kind, handler):
    handled(handler)
    agent = make(kind, terminated)
    with pytest.raises(Over if handler is over else SystemExit):
        agent.run("t")
    assert Journal(agent.journal).find(agent.run_id).state == "unfinished"
    assert agent.run("again", reset=False) == 1  # the next reply: it can be used again


@pytest.mark.parametrize("kind", KINDS)
def test_such_a_run_is_taken_up(make, handled, kind, tmp_path):
    handled(leave)
    agent = make(kind, terminated)
    with pytest.raises(SystemExit):
        agent.run("t")
    model = ScriptedModel([final(1) if kind is ToolCallingAgent else code("final_answer(1)")])
    options = {"tools": [quick()], "verbosity_level": 0, "journal": agent.journal}
    assert kind.resume(agent.run_id, model=model, repeat=True, **options) == 1


def quick():
    @tool
    def terminated() -> int:
        """Is done at once."""
        return 3

    return terminated


@pytest.mark.parametrize("kind", KINDS)
def test_in_the_tool_of_a_called_agent_it_ends_both(make, handled, kind):
    handled(leave)
    called = make(kind, terminated, name="called", description="Works.")
    asks = [code("called('x')")]
    boss = CodeAgent([], ScriptedModel(asks), managed_agents=[called], journal=called.journal, verbosity_level=0)
    with boss, pytest.raises(SystemExit) as raised:
        boss.run("t")
    assert raised.value.code == 5
    assert Journal(called.journal).find(boss.run_id).state == "unfinished"


@pytest.mark.parametrize("kind", KINDS)
def test_an_exit_of_the_tools_own_is_its_failure(make, handled, kind):
    handled(leave)

    @tool
    def exits() -> None:
        """Exits."""
        sys.exit(5)

    @tool
    def timed() -> None:
        """Exits by a handler that is its own."""
        before = signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(TimeoutError("took too long")))
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(60)
        finally:
            signal.signal(signal.SIGTERM, before)

    for one, said in ((exits, "SystemExit"), (timed, "took too long")):
        agent = make(kind, one)
        assert agent.run("t") == 1
        assert said in agent.memory.steps[1].error.message


ENDS = {
    "sys.exit(7)": (7, ""),
    "sys.exit()": (0, ""),
    "sys.exit('a reason')": (1, "a reason"),
    "raise ValueError('unlike')": (1, "ValueError: unlike"),
    "raise KeyboardInterrupt": (1, "KeyboardInterrupt"),
    "return 0": (0, ""),
}
FORKS = {
    "plain": "@tool\ndef forks() -> int:",
    "threaded": "@tool(threaded=True)\ndef forks() -> int:",
    "async": "@tool\nasync def forks() -> int:",
}
HOST = '''
import os, sys
from scripted_replies import call, code, final
from smol_kernel import CodeAgent, ScriptedModel, ToolCallingAgent, tool
{head}
    """Forks."""
    if (pid := os.fork()) == 0:
        print("forked", flush=False)
        {end}
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

class Answers(ScriptedModel):
    def reply(self, number, messages):
        print("asked", flush=True)
        return super().reply(number, messages)

{make}
print("ANSWER", agent.run("t"), flush=True)
agent.cleanup()
'''
AGENTS = {
    "code": 'agent = CodeAgent([forks], Answers([code("x = forks()"), code("final_answer(x + 100)")]), '
    "verbosity_level=0)",
    "calls": 'agent = ToolCallingAgent([forks], Answers([call("forks"), final(7)]), verbosity_level=0)',
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on Windows")
@pytest.mark.parametrize(
    ("agent", "kind", "end"),
    [("code", "plain", end) for end in ENDS]
    + [("calls", "plain", "return 0")]
    + [(agent, kind, "sys.exit(7)") for agent in AGENTS for kind in FORKS if (agent, kind) != ("code", "plain")],
)
def test_a_forked_process_ends_where_the_tool_does(tmp_path, agent, kind, end):
    program = HOST.format(head=FORKS[kind], end=end, make=AGENTS[agent])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "SMOL_JOURNAL": str(tmp_path / "j.sqlite")},
    )
    status, said = ENDS[end]
    lines = done.stdout.splitlines()
    assert (done.returncode, sorted(lines)) == (
        0,
        sorted(["asked", "forked", "asked", f"ANSWER {status + 100 if agent == 'code' else 7}"]),
    ), done.stderr
    assert said in done.stderr
    assert bool(said) == bool(done.stderr)
    (run,) = Journal(tmp_path / "j.sqlite").runs()
    assert run.state == "success"


def test_a_process_forked_where_a_coroutine_goes_on(make):
    """One that an async tool's own loop forks has no loop to go on in."""

    @tool
    async def later() -> int:
        """Forks after a while."""
        await asyncio.sleep(0)
        if (pid := os.fork()) == 0:
            sys.exit(9)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    agent = make(CodeAgent, later)
    assert agent.run("t") == 1
    assert agent.memory.steps[1].observations.strip().endswith("9")
