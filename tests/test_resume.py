"""A run that was cut off goes on: the same requests, the same answer, and no effect twice."""

from __future__ import annotations

import contextlib

import pytest
from scripted_replies import code, read

from smol_kernel import CodeAgent, ScriptedModel, tool
from smol_kernel.events import ModelReplied, RunResumed
from smol_kernel.journal import Journal
from smol_kernel.memory.monitoring import LogLevel

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
        return len(path.read_text().split())

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
