"""Lists of models, models of users and of other libraries, and events on the way: no network but this machine's."""

from __future__ import annotations

import threading

import pytest
from model_server import Cut, ModelServer, Status, Text

from smol_kernel.agents.tool_calling_agent import ToolCallingAgent
from smol_kernel.errors import AgentGenerationError, ContextLengthError, ModelError
from smol_kernel.events import ModelFellBack, Notice, emit, listening
from smol_kernel.memory.messages import ChatMessage, MessageRole
from smol_kernel.memory.usage import TokenUsage
from smol_kernel.models.api import Pace
from smol_kernel.models.base import Model
from smol_kernel.models.call import ModelCall
from smol_kernel.models.fallback import FallbackModel, as_model
from smol_kernel.models.litellm import LiteLLMModel
from smol_kernel.models.scripted import ScriptedModel

MESSAGES = [ChatMessage(MessageRole.USER, "Hi")]
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


@pytest.fixture(autouse=True)
def nothing_leaves_this_machine(monkeypatch):
    monkeypatch.setenv("SMOL_ALLOW_MODEL_REQUESTS", "0")


def run(model, stream=False, **options):
    """The reply, and the events on the way: (text,) or (failed, asked, reason)."""
    call = ModelCall(model, MESSAGES, stream=stream, **options)
    told = [event for event in call if isinstance(event, (Notice, ModelFellBack))]
    return call.message, [(e.text,) if isinstance(e, Notice) else (e.failed, e.model, e.reason) for e in told]


# Lists


@BOTH
def test_the_next_model_is_asked_and_stays(stream):
    first = ScriptedModel([ModelError("a is down"), "three"], "a")
    model = as_model([first, ScriptedModel(["one", "two"], "b")])
    reply, told = run(model, stream)
    assert (reply.text, told, model.model_id) == ("one", [("a", "b", "a is down")], "b")
    reply, told = run(model, stream)
    assert (reply.text, told) == ("two", [])
    reply, told = run(model, stream)  # the second is over: round to the first
    assert (reply.text, [entry[:2] for entry in told], model.model_id) == ("three", [("b", "a")], "a")


@BOTH
def test_all_failed_names_each_reason(stream):
    def third(messages):
        raise KeyError("no idea")

    model = FallbackModel([ScriptedModel([ModelError("down")], "a"), ScriptedModel([TimeoutError("slow")], "b"), third])
    with pytest.raises(ModelError) as caught:
        run(model, stream)
    assert str(caught.value) == "no model gave a reply:\n- down\n- TimeoutError: slow\n- KeyError: 'no idea'"


@BOTH
def test_a_conversation_too_long_is_raised_at_once(stream):
    with ModelServer(Status(400, "prompt is too long: 9 tokens")) as server:
        second = ScriptedModel(["never"])
        model = FallbackModel([LiteLLMModel("openai/double", api_base=server.url), second])
        with pytest.raises(ContextLengthError):
            run(model, stream)
    assert second.requests == []


@BOTH
def test_one_for_which_it_is_too_long_is_not_asked_again_and_is_named_with_those_that_failed(stream):
    first = ScriptedModel([ContextLengthError("a reads less"), "short"], "a")
    models = FallbackModel([first, ScriptedModel([ModelError("b is down")] * 2, "b"), ScriptedModel(["x"] * 0, "c")])
    agent = ToolCallingAgent([], models, verbosity_level=-1, stream_outputs=stream)
    with pytest.raises(AgentGenerationError, match="no model gave a reply:\n- a reads less\n- b is down\n- "):
        agent.run("task")
    assert len(first.requests) == 1
    assert run(models, stream)[0].text == "short"  # another request


@pytest.mark.parametrize("inside", [True, False], ids=["in a run", "by itself"])
def test_a_stream_that_breaks_is_begun_again_where_it_can_be(inside):
    with ModelServer(Cut("first half"), *[Status(500)] * 3, Text("whole")) as server:
        models = [LiteLLMModel(f"openai/{name}", api_base=server.url, retry_wait=0) for name in "ab"]
        if inside:
            reply, told = run(FallbackModel(models), stream=True)
            assert reply.text == "whole"
            assert [len(entry) for entry in told] == [1, 1, 1, 3]  # three waits, then the fall
        else:
            heard = []
            with pytest.raises(ModelError, match="in the middle of the reply"):
                heard.extend(piece.content for piece in FallbackModel(models).generate_stream(MESSAGES))
            assert "".join(heard) == "first half"


def test_an_abandoned_request_goes_to_no_other_model():
    waiting = threading.Event()
    second = ScriptedModel(["never"])
    with ModelServer(Status(500)) as server:
        first = LiteLLMModel("openai/a", api_base=server.url, retry_wait=30, on_retry=lambda *told: waiting.set())
        before = set(threading.enumerate())
        call = ModelCall(FallbackModel([first, second]), MESSAGES)
        threading.Thread(target=lambda: (waiting.wait(), call.abandon()), daemon=True).start()
        assert all(isinstance(event, Notice) for event in call)
        for thread in set(threading.enumerate()) - before:
            if thread.name == "smol-model-call":
                thread.join(timeout=60)
    assert second.requests == []


def test_a_list_is_as_its_current_model():
    class Eyes(ScriptedModel):
        def takes(self, kind):
            return kind == "image"

    model = FallbackModel([LiteLLMModel("openai/gpt-5"), Eyes(["x"], "b")])
    assert (model.supports_stop_parameter, model.scripted, bool(model.slow_start)) == (
        False,
        True,
        bool(model.current.slow_start),
    )
    model = FallbackModel([ScriptedModel([ModelError("x")]), Eyes(["x"], "b")])
    assert model.takes("audio") is True
    model.generate(MESSAGES)
    assert (model.takes("audio"), model.takes("image")) == (False, True)
    with pytest.raises(ModelError, match="at least one model"):
        FallbackModel([])


# Functions and objects


def only_keywords(**kwargs):
    return repr((kwargs["messages"][0].text, kwargs.get("stop_sequences")))


def keyword_only(*, messages, stop_sequences):
    return repr((messages[0].text, stop_sequences))


def by_place(given, stop, /, response_format=None):
    return repr((given[0].text, stop))


def place_of_its_own(given, stop_sequences=None, /):
    return repr((given[0].text, stop_sequences))


def anything(*args, **kwargs):
    return repr((args[0][0].text, kwargs["stop_sequences"]))


@pytest.mark.parametrize("function", [only_keywords, keyword_only, place_of_its_own, anything])
def test_a_function_may_take_its_parameters_in_any_way(function):
    model = as_model(function)
    assert model.generate(MESSAGES, stop_sequences=["x"]).text == "('Hi', ['x'])"
    assert model.model_id == function.__name__


def test_a_function_tells_by_its_parameters_what_it_takes():
    assert as_model(anything).takes("tools") is True
    assert as_model(keyword_only).takes("tools") is False
    assert (as_model(by_place).takes("response_schema"), as_model(by_place).takes("image")) == (True, None)


class Usage:
    """As smolagents has it."""

    def __init__(self, input_tokens, output_tokens):
        self.input_tokens, self.output_tokens = input_tokens, output_tokens


class Thing:
    """An object of another library, with attributes only."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class OtherLibrary:
    """Spoils the messages it is given, as smolagents does when it converts roles."""

    model_id = "other"

    def generate(self, messages, stop_sequences=None, **kwargs):
        messages[0].role = "spoiled"
        call = Thing(id="1", type="function", function=Thing(name="f", arguments="{}"))
        return Thing(role="assistant", content="hi", tool_calls=[call], raw=None, token_usage=Usage(3, 2))


class OtherStreaming(OtherLibrary):
    def generate_stream(self, messages, **kwargs):
        function = Thing(name="f", arguments=None)
        yield Thing(content="h", tool_calls=None, token_usage=Usage(3, 1))
        yield Thing(
            content="i", tool_calls=[Thing(index=0, id="1", type="function", function=function)], token_usage=None
        )
        yield Thing(content=None, tool_calls=None, token_usage=Usage(0, 1))


@BOTH
@pytest.mark.parametrize("kind", [OtherLibrary, OtherStreaming])
def test_a_model_of_another_library_works(stream, kind):
    reply, _ = run(as_model(kind()), stream)
    assert (reply.text, reply.token_usage, reply.tool_calls[0].function.name) == ("hi", TokenUsage(3, 2), "f")
    assert as_model(kind()).model_id == "other"
    assert MESSAGES[0].role is MessageRole.USER


# Events and waits


def test_what_a_model_emits_comes_with_its_pieces():
    class Talker(Model):
        def generate_stream(self, messages, **kwargs):
            pieces = ScriptedModel(["one two"]).generate_stream(messages)
            emit(Notice(text="before"))
            yield from pieces
            emit(Notice(text="after"))

    call = ModelCall(Talker(), MESSAGES, stream=True)
    assert [getattr(item, "text", None) or item.content for item in call] == ["before", "one two", "after"]


@BOTH
def test_requests_a_minute_are_spaced_and_the_wait_can_be_left(stream):
    with ModelServer(Text("one"), Text("never")) as server:
        model = LiteLLMModel("openai/double", api_base=server.url, requests_per_minute=0.5)
        assert run(model, stream)[0].text == "one"
        call, told = ModelCall(model, MESSAGES, stream=stream), []
        for event in call:
            told.append(event.text)
            call.abandon()
        assert told == ["Waiting 120 s: 'openai/double' may be asked 0.5 times a minute."]
        assert (call.message, len(server.requests)) == (None, 1)


def test_the_pace_gives_each_request_a_place_of_its_own():
    pace = Pace(60)
    waits = [pace.reserve() for _ in range(5)]
    assert waits[0] == 0 and waits == sorted(waits) and 0 < waits[4] <= 4
    assert [Pace(None).reserve() for _ in range(3)] == [0, 0, 0]
    for wrong in (0, -1):
        with pytest.raises(ModelError, match="has to be above 0"):
            Pace(wrong)


def test_outside_of_a_call_a_retry_is_told_to_the_run_it_belongs_to():
    told = []
    with ModelServer(Status(429, retry_after="0"), Text("x")) as server, listening(told.append):
        LiteLLMModel("openai/double", api_base=server.url).generate(MESSAGES)
    assert [type(event) for event in told] == [Notice] and "too many requests" in told[0].text


def test_a_retried_stream_gives_its_pieces_once():
    with ModelServer(Cut("broken off"), Text("whole reply")) as server:
        reply, told = run(LiteLLMModel("openai/double", api_base=server.url, retry_wait=0), stream=True)
    assert reply.text == "whole reply" and len(told) == 1
