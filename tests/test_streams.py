"""`run(stream=True)`: what it yields and in which order, and how it ends when its reader leaves, or it is stopped."""

import io
import threading

import pytest
from scripted_replies import call, calls, code, counted, final, of

from smol_kernel.agents.code_agent import CodeAgent
from smol_kernel.agents.tool_calling_agent import ToolCallingAgent
from smol_kernel.errors import AgentError, AgentGenerationError, ConfigError
from smol_kernel.events import Output, RunFinished, RunStarted, StepFinished, ToolProgress, emit, watched
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.journal import Journal
from smol_kernel.memory.messages import ChatMessageStreamDelta
from smol_kernel.memory.monitoring import AgentLogger, LogLevel
from smol_kernel.memory.steps import ActionStep, PlanningStep
from smol_kernel.models.scripted import ScriptedModel
from smol_kernel.tools.base import tool


@pytest.fixture(scope="module")
def executor():
    executor = KernelExecutor()
    yield executor
    executor.cleanup()


@pytest.fixture
def make(tmp_path, executor):
    """Makes agents; those that write code share a child, which is fresh for each run that begins with `reset`."""

    def make(kind, replies, tools=(), **options):
        if kind is CodeAgent:
            options["executor"] = executor
        options = {"journal": tmp_path / "journal.sqlite", "verbosity_level": LogLevel.OFF, **options}
        return kind(list(tools), ScriptedModel(replies), **options)

    return make


@tool
def say(text: str) -> str:
    """Says it, but for "bad".

    Args:
        text: what.
    """
    if text == "bad":
        raise ValueError(text)
    return text


def told(stream):
    """What a stream yields, in short; a run of pieces of a reply is one."""
    short = []
    for one in stream:
        kind = type(one).__name__
        if kind == "ChatMessageStreamDelta":
            if short[-1:] != ["pieces"]:
                short.append("pieces")
        elif kind == "ToolCall":
            short.append(f"call {one.name}")
        elif kind == "ToolOutput":
            short.append(f"{one.tool_call.name} gave {one.output!r}{' at last' * one.is_final_answer}")
        elif kind == "ActionOutput":
            short.append(f"action gave {one.output!r}{' at last' * one.is_final_answer}")
        elif kind == "ActionStep":
            short.append(f"step {one.step_number}{' ' + type(one.error).__name__ if one.error else ''}")
        elif kind == "PlanningStep":
            short.append(f"plan {one.plan}")
        else:
            short.append(f"answer {one.output!r}")
    return short


BY_CODE = ["call python_interpreter", "action gave 1", "step 1"]
ANSWER_BY_CODE = ["call python_interpreter", "action gave 2 at last", "step 2", "answer 2"]
ANSWER_BY_CALL = ["call final_answer", "final_answer gave 2 at last", "action gave 2 at last", "step 2", "answer 2"]
TWO = [code("x = 1"), code("final_answer(x + 1)")]


@pytest.mark.parametrize(
    ("kind", "replies", "options", "order"),
    [
        (CodeAgent, TWO, {}, [*BY_CODE, *ANSWER_BY_CODE]),
        (CodeAgent, TWO, {"stream_outputs": True}, ["pieces", *BY_CODE, "pieces", *ANSWER_BY_CODE]),
        (
            CodeAgent,
            [code("1/0"), code("final_answer(2)")],
            {},
            ["call python_interpreter", "step 1 AgentExecutionError", *ANSWER_BY_CODE],
        ),
        (CodeAgent, ["Hello.", code("final_answer(2)")], {}, ["step 1 AgentParsingError", *ANSWER_BY_CODE]),
        (
            CodeAgent,
            ["A", code("x = 1"), "B", code("final_answer(2)")],
            {"planning_interval": 1},
            ["plan A", *BY_CODE, "plan B", *ANSWER_BY_CODE],
        ),
        (
            CodeAgent,
            ["A", *TWO],
            {"planning_interval": 2, "stream_outputs": True},
            ["pieces", "plan A", "pieces", *BY_CODE, "pieces", *ANSWER_BY_CODE],
        ),
        (
            CodeAgent,
            [code("x = 1"), "In short: 1"],
            {"max_steps": 1},
            [*BY_CODE, "step 2 AgentMaxStepsError", "answer 'In short: 1'"],
        ),
        (
            ToolCallingAgent,
            [calls(("say", {"text": "a"}), ("say", {"text": "a"})), final(2)],
            {},
            ["call say", "call say", "say gave 'a'", "say gave 'a'", "action gave None", "step 1", *ANSWER_BY_CALL],
        ),
        (
            ToolCallingAgent,
            [calls(("say", {"text": "bad"}), ("say", {"text": "b"})), final(2)],
            {},
            ["call say", "call say", "say gave 'b'", "step 1 AgentToolExecutionError", *ANSWER_BY_CALL],
        ),
        (
            ToolCallingAgent,
            [call("sing"), final(2)],
            {"stream_outputs": True},
            ["call sing", "step 1 AgentToolExecutionError", *ANSWER_BY_CALL],
        ),
        (
            ToolCallingAgent,
            [call("say", text="a"), "In short: a"],
            {"max_steps": 1},
            [
                "call say",
                "say gave 'a'",
                "action gave None",
                "step 1",
                "step 2 AgentMaxStepsError",
                "answer 'In short: a'",
            ],
        ),
    ],
)
def test_a_run_is_told_in_order_and_each_thing_once(make, kind, replies, options, order):
    """The order is that of smolagents 1.26, but for its step that is yielded twice where the steps are used up."""
    agent = make(kind, replies, [say], **options)
    stream = list(agent.run("x", stream=True))
    assert told(stream) == order
    steps = [one for one in stream if isinstance(one, ActionStep | PlanningStep)]
    assert list(map(id, steps)) == list(map(id, agent.memory.steps[1:]))


def test_pieces_are_the_reply_and_tell_its_tokens(make):
    replies = [counted(text, 10, 3) for text in TWO]
    agent = make(CodeAgent, replies, stream_outputs=True)
    pieces = of(ChatMessageStreamDelta, agent.run("x", stream=True))
    assert "".join(piece.content or "" for piece in pieces) == "".join(TWO)
    usages = [piece.token_usage for piece in pieces if piece.token_usage]
    assert [(usage.input_tokens, usage.output_tokens) for usage in usages] == [(10, 3)] * 2


def test_runs_of_other_agents_are_not_in_the_stream(make):
    helper = make(ToolCallingAgent, [call("say", text="a"), final(1)], [say], name="helper", description="Helps.")
    agent = make(ToolCallingAgent, [call("helper", task="x"), final(2)], managed_agents=[helper])
    short = told(agent.run("x", stream=True))
    assert [one for one in short if not one.startswith("helper gave")] == [
        "call helper", "action gave None", "step 1", *ANSWER_BY_CALL,
    ]  # fmt: skip


def test_a_callback_that_empties_the_memory_takes_nothing_from_the_stream(make):
    agent = make(ToolCallingAgent, [call("say", text="a"), final(2)], [say])
    agent.step_callbacks.register(ActionStep, lambda step, agent: agent.memory.steps.clear())
    assert told(agent.run("x", stream=True))[2:] == ["action gave None", "step 1", *ANSWER_BY_CALL]


@pytest.mark.parametrize("streamed", [True, False])
def test_a_model_that_fails_raises_after_what_came_before(make, streamed):
    agent, seen = (
        make(ToolCallingAgent, [call("say", text="a"), ValueError("gone")], [say], stream_outputs=streamed),
        [],
    )
    with pytest.raises(AgentGenerationError, match="gone"):
        list(watched(agent.run("x", stream=True), seen.append))
    assert told(seen) == ["call say", "say gave 'a'", "action gave None", "step 1", "step 2 AgentGenerationError"]


def test_nothing_is_done_before_the_first_thing_is_asked_for(make):
    agent = make(ToolCallingAgent, [final(2)])
    stream = agent.run("x", stream=True)
    assert (agent.model.requests, agent.life.in_use.locked()) == ([], False)
    assert told(stream)[-1] == "answer 2"
    with pytest.raises(ConfigError, match="task is empty"):
        next(agent.run(" ", stream=True))


# left, stopped


def ends(agent):
    """How the runs in the journal ended, the last one last."""
    journal = Journal(agent.journal)
    return [journal.events(run.run)[-1].state for run in reversed(journal.runs())]


@pytest.mark.parametrize("leave", ["close", "drop", "run again"])
@pytest.mark.parametrize(("kind", "numbers"), [(CodeAgent, [4]), (ToolCallingAgent, range(1, 14))])
def test_a_reader_may_leave_at_any_point(make, kind, numbers, leave):
    """Whatever was yielded last, the run is over, and the agent can be used again."""
    first = code("x = 1") if kind is CodeAgent else call("say", text="a")
    last = code("final_answer(2)") if kind is CodeAgent else final(2)
    for number in numbers:
        agent = make(kind, ["A plan of", first, last], [say], planning_interval=2, stream_outputs=True)
        stream = agent.run("x", stream=True)
        came = [next(stream, None) for _ in range(number)]
        if leave == "close":
            stream.close()
        elif leave == "drop":
            del stream
        agent.model = ScriptedModel(["A plan", last])
        assert agent.run("again") == 2
        over = told(one for one in came if one is not None)[-1:] == ["answer 2"]
        assert ends(agent)[-2:] == ["success" if over else "interrupted", "success"]
    assert over is (kind is ToolCallingAgent), "all of it was tried"


def test_a_stream_that_was_left_for_another_run_says_so_where_it_is_read_on(make):
    agent = make(ToolCallingAgent, [call("say", text="a"), final(1), final(2)], [say])
    stream = agent.run("x", stream=True)
    next(stream)
    assert agent.run("again") == 1
    with pytest.raises(AgentError, match="the agent was given another task on the same thread"):
        next(stream)
    assert list(stream) == []


@pytest.mark.parametrize("where", ["an action", "a tool", "a model"])
def test_closed_in_the_middle_of_what_runs(make, where):
    def hang_in_a_model(messages):
        emit(ToolProgress(tool="model", text="go"))
        threading.Event().wait()

    @tool(threaded=True)
    def hang() -> None:
        """Hangs."""
        emit(ToolProgress(tool="hang", text="go"))
        threading.Event().wait()

    reply = {"an action": code("print('go', flush=True)\nwhile True: pass"), "a tool": code("hang()")}
    agent = make(CodeAgent, [reply.get(where, hang_in_a_model), code("final_answer(2)")], [hang])
    stream = agent.events("x")
    next(event for event in stream if isinstance(event, Output | ToolProgress))
    stream.close()
    assert ends(agent) == ["interrupted"]
    assert agent.run("again") == 2


def test_an_interrupted_stream_raises_and_repeats_no_step(make):
    def stop(messages):
        agent.interrupt()
        return final("late")

    agent, seen = make(ToolCallingAgent, [call("say", text="a"), stop], [say]), []
    with pytest.raises(AgentError, match="interrupted"):
        list(watched(agent.run("x", stream=True), seen.append))
    assert told(seen) == ["call say", "say gave 'a'", "action gave None", "step 1"]
    assert ends(agent) == ["interrupted"]


class Pressing(io.StringIO):
    """A console at which somebody presses Ctrl-C when `text` appears."""

    def __init__(self, text):
        super().__init__()
        self.text = text

    def write(self, text):
        if self.text and self.text in text:
            self.text = ""
            raise KeyboardInterrupt
        return super().write(text)


@pytest.mark.parametrize("streamed", [True, False])
def test_ctrl_c_while_something_is_shown_ends_the_run(make, streamed):
    """Also where the traceback is kept, as notebooks do, and with it all that was on the way."""
    logger = AgentLogger(LogLevel.INFO, console=Pressing("say"))
    agent = make(ToolCallingAgent, [call("say", text="a"), final(2)], [say], logger=logger)
    with pytest.raises(KeyboardInterrupt) as kept:
        list(agent.run("x", stream=True)) if streamed else agent.run("x")
    assert (agent.life.in_use.locked(), ends(agent)) == (False, ["interrupted"])
    assert agent.run("again") == 2
    assert kept.value is not None


def test_events_end_with_the_run_where_their_reader_goes_on(make):
    agent = make(ToolCallingAgent, [final(1), final(2)])
    events = list(agent.events("x"))
    assert [type(event) for event in events if type(event) in (RunStarted, StepFinished, RunFinished)] == [
        RunStarted, StepFinished, RunFinished,
    ]  # fmt: skip
    assert agent.run("again", reset=False) == 2
    assert Journal(agent.journal).events(agent.run_id)[0].continues == events[0].run
