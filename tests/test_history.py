"""The conversation as it goes over the wire: it only grows at its end, and is shortened where it is too long."""

import json
from itertools import pairwise

import pytest
from model_server import ModelServer, Status, Text, ToolCall
from scripted_replies import call, code, of

from smol_kernel.agents.tool_calling_agent import ToolCallingAgent
from smol_kernel.errors import AgentGenerationError, ContextLengthError, ModelError
from smol_kernel.events import Compacted, ModelFellBack, ModelReplied, PlanMade, StepFinished
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.journal import Journal
from smol_kernel.models.litellm import LiteLLMModel
from smol_kernel.models.scripted import ScriptedModel
from smol_kernel.render.text import note_text
from smol_kernel.tools.base import tool


@tool
def look(place: str) -> str:
    """Looks somewhere.

    Args:
        place: where.
    """
    if place == "nowhere":
        raise ValueError("there is no such place")
    return f"{place}: " + "much " * (800 if place.startswith("far") else 1)


@pytest.fixture(scope="module")
def child():
    executor = KernelExecutor()
    yield executor
    executor.cleanup()


class NarrowServer(ModelServer):
    """A server whose model reads no more than `limit` characters."""

    def __init__(self, limit, *behaviors):
        super().__init__(*behaviors)
        self.limit, self.refused = limit, []

    def next(self, request):
        length = len(json.dumps(request.body["messages"]))
        if length <= self.limit:
            return super().next(request)
        self.refused.append(length)
        message = f"This model's maximum context length is {self.limit} tokens, your messages have {length}."
        return Status(400, message, error_code="context_length_exceeded")


def sent(server):
    """The messages of each request, as text without what closes it."""
    return [json.dumps(request.body["messages"]).rstrip('"]}') for request in server.requests]


def breaks(texts):
    """Numbers of the requests that do not extend the one before."""
    return [number for number, (earlier, later) in enumerate(pairwise(texts), 1) if not later.startswith(earlier)]


def model(server):
    return LiteLLMModel("openai/double", api_base=server.url, retry_wait=0)


CODE = [
    Text("1. Look."),
    Text(code("x = 1\nprint('é\\n\"quoted\" {}')")),
    Text("What was asked?"),
    Text(code("1 / 0")),
    Text(code("import asyncio\nprint('a' * 100_000)")),
    Text("2. Look again.\n"),
    Text("<code>\nfinal_answer(0)\n</code> and more"),
    Text(code("raise KeyError('x')", thought="")),
    Text("```python\nlook('here')\n```"),
    Text(code("look('nowhere')")),
    Text("3. Look\n\nharder.  "),
    Text("  \n" + code("final_answer(0)")),
    *(Text(code("y = 2")) for _ in range(3)),
    Text("4. Give up."),
    Text("<code>\nprint('half"),
    Text("Nothing."),
]
CALLS = [
    Text("1. Look."),
    ToolCall("look", {"place": "here"}),
    Text("What was asked?"),
    ToolCall("look", {"place": "nowhere"}),
    ToolCall("look", {"wrong": 1}),
    Text("2. Look again."),
    Text('I call it: {"name": "look", "arguments": {"place": "thére"}}'),
    ToolCall("final_answer", {"answer": 0}),
    ToolCall("look", "{not json"),
    ToolCall("nothing", {}),
    Text("3. Go on."),
    *(ToolCall("look", {"place": "here"}) for _ in range(3)),
    ToolCall("look", {"place": "far"}),
    Text("4. Give up."),
    ToolCall("look", {"place": "here"}),
    Text("Nothing."),
]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("kind", ["code", "calls"])
def test_each_request_extends_the_last_one_byte_for_byte(make, child, kind, stream):
    behaviors = CODE if kind == "code" else CALLS
    with ModelServer(*behaviors) as server:
        options = {"executor": child} if kind == "code" else {"kind": ToolCallingAgent}
        agent = make(
            [],
            [look],
            model=model(server),
            planning_interval=4,
            max_steps=13,
            stream_outputs=stream,
            checks=[lambda answer: "not nothing"],
            **options,
        )
        events = list(agent.events("Find it.", reset=False, additional_args={"given": [1, 2]}))
    assert (events[-1].state, agent.answer) == ("max_steps_error", "Nothing.")
    assert len(server.requests) == len(behaviors)
    assert [event.purpose for event in of(ModelReplied, events)].count("plan") == 4
    assert sum(event.error is not None for event in of(StepFinished, events)) >= 4
    assert not breaks(sent(server))


def test_another_task_in_the_same_conversation_extends_it_as_well(make, child):
    with ModelServer(*(Text(code(f"final_answer({number})")) for number in range(3))) as server:
        agent = make([], model=model(server), executor=child)
        answers = [agent.run(f"Task {number}", reset=False) for number in range(3)]
    assert answers == [0, 1, 2]
    assert not breaks(sent(server))


def test_a_conversation_that_is_too_long_is_shortened_and_its_values_stay(make, child, tmp_path):
    prints = [Text(code(f"v{number} = '{number}' * 3000\nprint(v{number})")) for number in range(4)]
    with NarrowServer(12_000, *prints, Text(code("final_answer(len(v0 + v1 + v2 + v3))"))) as server:
        agent = make([], model=model(server), executor=child)
        events = list(agent.events("Print it.", reset=False))
    assert (events[-1].state, agent.answer) == ("success", 12_000)
    assert server.refused
    compacted = of(Compacted, events)
    assert compacted[0].steps[0] == 1
    texts = sent(server)
    assert len(breaks(texts)) == len(compacted)
    assert "shortened" in texts[-1]
    assert "0" * 3000 not in texts[-1]
    assert "0" * 100 in texts[-1]
    assert "3" * 3000 in texts[-1]  # the newest is whole
    assert of(Compacted, Journal(tmp_path / "journal.sqlite").events(agent.run_id)) == compacted


def test_a_long_conversation_of_small_steps_goes_on(make, child):
    says = "I look at the next column and print what is in it, as planned. " * 4
    replies = [code(f"print('row {number} ' * 50)", says) for number in range(12)]
    texts = [each for number, reply in enumerate(replies) for each in (reply, code(f"final_answer({number})", says))]
    with NarrowServer(9_000, *map(Text, texts)) as server:
        agent = make([], model=model(server), executor=child)
        runs = [list(agent.events(f"task {number}", reset=False)) for number in range(12)]
    assert [events[-1].state for events in runs] == ["success"] * 12
    left_out = [event for events in runs for event in of(Compacted, events) if event.left_out]
    assert left_out and "does not read some earlier steps" in note_text(left_out[0])
    last = sent(server)[-1]
    assert "[Left out here for length: " in last and "row 3 " in agent.memory.return_full_code()
    assert "task 0" in last and "final_answer(0)" in last and "row 0 " not in last
    assert "task 11" in last and "row 11 " in last


class Narrow(ScriptedModel):
    """Reads no more than `limit` characters."""

    limit = 9_000
    refused = 0
    error = ContextLengthError("too long")

    def generate(self, messages, *args, **kwargs):
        if sum(len(message.text) for message in messages) > self.limit:
            self.refused += 1
            raise self.error
        return super().generate(messages, *args, **kwargs)


def test_of_many_short_tasks_half_are_left_out_at_once(make):
    agent = make([], kind=ToolCallingAgent)
    agent.model = Narrow([call("final_answer", answer=number) for number in range(62)])
    agent.model.limit = 10**6
    for number in range(60):
        agent.run(f"task {number}", reset=False)
    agent.model.limit = sum(len(message.text) for message in agent.model.requests[-1]) // 2
    assert agent.run("go on", reset=False) == 60
    assert agent.model.refused < 6
    assert not [step for step in agent.memory.steps[-2:] if step.left_out]


def test_a_task_that_is_too_long_by_itself_costs_the_others_nothing(make):
    replies = [call("final_answer", answer=number) for number in range(4)]

    agent = make([], kind=ToolCallingAgent)
    agent.model = Narrow([*replies, call("final_answer", answer="on")])
    for number in range(4):
        agent.run(f"task {number}", reset=False)
    with pytest.raises(AgentGenerationError):
        agent.run("sum this up: " + "pasted " * 2_000, reset=False)
    assert not any(step.left_out for step in agent.memory.steps)
    assert agent.run("go on", reset=False) == "on"
    told = "".join(message.text for message in agent.model.requests[-1])
    assert all(f"task {number}" in told for number in range(4)) and "pasted" not in told


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_what_cannot_be_shortened_enough_is_given_to_the_next_model(make, stream):
    replies = [call("final_answer", answer=number) for number in range(3)]
    models = [Narrow(["never"], "narrow"), ScriptedModel([ModelError("down")] * 2, "b"), Narrow(replies, "wide")]
    models[2].limit = 60_000
    agent = make([], kind=ToolCallingAgent, model=models, stream_outputs=stream)
    fell = of(ModelFellBack, agent.events("sum this up: " + "pasted " * 2_000))
    assert [(event.failed, event.model) for event in fell] == [("narrow", "b"), ("b", "wide")]
    assert (agent.answer, agent.run("go on", reset=False), models[0].refused) == (0, 1, 1)
    for number in (1, 2):  # it ends, and is tried again for another task
        with pytest.raises(AgentGenerationError, match="too long"):
            agent.run("sum this up: " + "pasted " * 20_000)
        assert models[0].refused == 1 + number
    assert agent.run("go on") == 2


def test_long_replies_are_shortened_where_nothing_else_can_be(make, child):
    replies = [Text(code(f"{name} = '{name * 3000}'\nw = 0")) for name in "xyz"]
    with NarrowServer(9_000, *replies, Text(code("final_answer(len(x + y + z))"))) as server:
        agent = make([], model=model(server), executor=child)
        events = list(agent.events("Write it.", reset=False))
    assert (events[-1].state, agent.answer) == ("success", 9_000)
    assert of(Compacted, events)[0].steps == [1] and not any(event.left_out for event in of(Compacted, events))
    assert "x" * 3000 not in sent(server)[-1] and "x" * 100 in sent(server)[-1]


def test_structured_calls_are_shortened_too(make):
    calls = [ToolCall("look", {"place": f"far{number}"}) for number in range(5)]
    with NarrowServer(14_000, Text("1. Look far."), *calls, ToolCall("final_answer", {"answer": 1})) as server:
        agent = make([], [look], model=model(server), kind=ToolCallingAgent, planning_interval=9)
        events = list(agent.events("Look."))
    assert events[-1].state == "success"
    assert len(of(PlanMade, events)) == 1
    assert [number for event in of(Compacted, events) for number in event.steps] == [1, 2, 3]


def test_a_last_answer_is_asked_for_in_a_shorter_conversation(make):
    calls = [ToolCall("look", {"place": f"far{number}"}) for number in range(2)]
    with NarrowServer(8_000, *calls, Text("Much.")) as server:
        agent = make([], [look], model=model(server), kind=ToolCallingAgent, max_steps=2)
        events = list(agent.events("Look."))
    assert (events[-1].state, agent.answer) == ("max_steps_error", "Much.")
    assert of(Compacted, events)


def test_pictures_go_first(make, child):
    draw = "from PIL import Image\nimport random\nImage.frombytes('RGB', (40, 40), random.randbytes(4800))"
    with NarrowServer(15_300, *(Text(code(draw)) for _ in range(3)), Text(code("final_answer(1)"))) as server:
        agent = make([], model=model(server), executor=child)
        events = list(agent.events("Draw.", reset=False))
    assert events[-1].state == "success"
    assert of(Compacted, events)
    assert [text.count("data:image/png") for text in sent(server)] == [0, 1, 2, 1]


@pytest.mark.parametrize("replies", [[], [ToolCall("look", {"place": "here"})]])
def test_where_nothing_is_left_to_shorten_the_run_ends_with_its_record(make, tmp_path, replies):
    with NarrowServer(5_000 if replies else 100, *replies) as server:
        agent = make([], [look], model=model(server), kind=ToolCallingAgent)
        agent.step_callbacks.register(object, lambda step: setattr(server, "limit", 100))
        with pytest.raises(AgentGenerationError, match="longer than the model can read"):
            agent.run("Look.")
    assert len(server.refused) == 1
    stored = Journal(tmp_path / "journal.sqlite").events(agent.run_id)
    assert (stored[-1].state, stored[-1].steps) == ("error", 1 + len(replies))
    assert "longer than the model can read" in stored[-1].error


class Refused(Exception):
    """Of a client library that we do not know."""

    code = "context_length_exceeded"


def test_what_a_model_of_the_users_own_raises_is_read_as_well(make):
    agent = make([], [look], kind=ToolCallingAgent)
    agent.model = Narrow(
        [*[call("look", place="far away")] * 2, call("look", place="here"), call("final_answer", answer=1)]
    )
    agent.model.error = RuntimeError("400")
    agent.model.error.__cause__ = Refused("no")
    assert agent.run("go") == 1
    assert agent.model.refused


def test_another_error_of_theirs_ends_the_run(make):
    agent = make([], kind=ToolCallingAgent)
    agent.model = Narrow([])
    agent.model.limit, agent.model.error = 0, RuntimeError("too long a wait")
    with pytest.raises(AgentGenerationError, match="too long a wait"):
        agent.run("go")
    assert agent.model.refused == 1
