"""Parameters that a model refuses or cannot bear: it is asked once more without, and not sent them again."""

from __future__ import annotations

import pytest
from model_server import ModelServer, Refused, Status, Text, _chunk, _completion

from smol_kernel.agents.tool_calling_agent import ToolCallingAgent
from smol_kernel.errors import ModelError
from smol_kernel.events import Notice
from smol_kernel.memory.messages import ChatMessage, MessageRole, agglomerate_stream_deltas
from smol_kernel.models.call import ModelCall
from smol_kernel.models.litellm import LiteLLMModel
from smol_kernel.models.providers import AzureOpenAIModel
from smol_kernel.models.requests import REMOVE_PARAMETER

MESSAGES = [ChatMessage(MessageRole.USER, "Say hello.")]
STOP = ["</code>"]
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


@pytest.fixture(autouse=True)
def nothing_leaves_this_machine(monkeypatch):
    monkeypatch.setenv("SMOL_ALLOW_MODEL_REQUESTS", "0")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def model_at(server, **options):
    return LiteLLMModel(**{"model_id": "openai/double", "api_base": server.url, "retry_wait": 0, **options})


def asked(model, stream=False, **options):
    """The reply, and what was told meanwhile."""
    call = ModelCall(model, MESSAGES, stream=stream, stop_sequences=STOP, **options)
    told = [each.text for each in call if isinstance(each, Notice)]
    return call.message.text, told


def openai(name, words, code="unsupported_parameter"):
    return Refused(400, {"error": {"message": words, "type": "invalid_request_error", "param": name, "code": code}})


def fastapi(name):
    entry = {"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted", "input": 1}
    return Refused(422, {"detail": [entry]})


REFUSALS = {
    "OpenAI's stop": ("stop", openai("stop", "Unsupported parameter: 'stop' is not supported with this model.")),
    "FastAPI's stop": ("stop", fastapi("stop")),
    "Bedrock's stop": ("stop", Status(400, "This model doesn't support the stopSequences field. Remove it.")),
    "xAI's stop": ("stop", Refused(400, {"code": "x", "error": "Model grok does not support parameter stop."})),
    "a stop that is an argument": ("stop", Status(400, "Unrecognized request argument supplied: stop")),
    "stop sequences": ("stop", Status(400, "Stop sequences are not supported by this model")),
    "a stop without quotes": ("stop", Status(400, "stop is not supported by this model")),
    "xAI's stop at the end": ("stop", Status(400, "Argument not supported on this model: stop")),
    "Bedrock's stop in brackets": ("stop", Status(400, "Malformed input: #: extraneous key [stop] is not permitted")),
    "pydantic's stop": ("stop", Status(422, "body -> stop\n  extra fields not permitted")),
    "stop words": ("stop", Status(400, "this model does not support stop; stop-words are currently not supported")),
    "a temperature": (
        "temperature",
        openai("temperature", "'temperature' does not support 0.2 with this model.", "unsupported_value"),
    ),
    "Kimi's temperature": ("temperature", Status(400, "invalid temperature: only 0.6 is allowed for this model")),
    "Anthropic's temperature": ("temperature", Status(400, "`temperature` is deprecated for this model.")),
    "old OpenAI": ("temperature", Status(400, "Unrecognized request argument supplied: temperature")),
}


@BOTH
@pytest.mark.parametrize("case", REFUSALS)
def test_a_parameter_that_is_refused_is_left_out_and_not_sent_again(case, stream):
    name, refusal = REFUSALS[case]
    with ModelServer(refusal, Text("hello"), Text("again")) as server:
        model = model_at(server, temperature=0.2)
        text, told = asked(model, stream)
        assert text == "hello" and len(told) == 1 and ("stop sequences" if name == "stop" else name) in told[0]
        assert asked(model, stream) == ("again", [])
    assert [name in request.body for request in server.requests] == [True, False, False]
    other = {"stop": "temperature", "temperature": "stop"}[name]
    assert all(other in request.body for request in server.requests)


def test_several_are_found_out_one_after_the_other():
    refusals = [fastapi("stream_options"), fastapi("stop"), fastapi("temperature")]
    with ModelServer(*refusals, Text("hello"), Text("again")) as server:
        model = model_at(server, temperature=0.2)
        text, told = asked(model, stream=True)
        assert (text, len(told)) == ("hello", 3)
        assert asked(model, stream=True)[0] == "again"
    for request in server.requests[-2:]:
        assert not {"stream_options", "stop", "temperature"} & set(request.body)


@BOTH
def test_max_tokens_goes_by_its_other_name(stream):
    words = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    with ModelServer(*[openai("max_tokens", words), Text("hello")] * 2) as server:
        azure = AzureOpenAIModel("dep", server.url.removesuffix("/v1"), "k", "2024-10-21", max_tokens=100)
        for model in (model_at(server, max_tokens=100), azure):
            text, told = asked(model, stream)
            assert text == "hello" and "max_completion_tokens is sent in its place" in told[0]
    assert [request.body.get("max_completion_tokens") for request in server.requests] == [None, 100] * 2
    assert not any("max_tokens" in request.body for request in server.requests[1::2])


def test_a_call_that_cannot_be_demanded_is_left_to_the_model(make):
    call = Text('{"name": "final_answer", "arguments": {"answer": 42}}')
    words = "tool_choice 'required' is not supported by this model. Only 'auto' is supported."
    with ModelServer(openai("tool_choice", words, None), call) as server:
        assert make((), kind=ToolCallingAgent, model=model_at(server)).run("task") == 42
    assert [request.body.get("tool_choice") for request in server.requests] == ["required", None]
    assert "tools" in server.requests[1].body


@pytest.mark.parametrize(
    "refusal",
    [
        Status(400, "temperature must be between 0 and 1"),
        Status(400, "max_tokens is too large: 200000. This model supports at most 16384 completion tokens"),
        Status(400, "max_tokens: 100000 > 8192, the most for this model; not allowed"),
        Status(400, "temperature: 3 is not supported: must be <= 2"),
        openai("temperature", "3 is not allowed: it is greater than 2", None),
        Status(400, "unsupported content: please stop"),
        Status(400, "We will not stop: this content is not allowed"),
        Status(401, "stop: not supported"),
        Status(400, "The parameter seed is not supported"),
        Refused(422, {"detail": [{"loc": ["body", "temperature"], "msg": "Input should be less than or equal to 1"}]}),
    ],
)
def test_a_value_that_is_wrong_is_for_the_user_to_mend(refusal):
    with ModelServer(refusal) as server:
        with pytest.raises(ModelError):
            asked(model_at(server, temperature=2, max_tokens=200_000))
        assert len(server.requests) == 1


@BOTH
def test_what_is_refused_without_it_as_well_is_told_and_not_kept(stream):
    with ModelServer(fastapi("stop"), Status(400, "no such luck"), Text("hello")) as server:
        model = model_at(server)
        with pytest.raises(ModelError, match="no such luck"):
            asked(model, stream)
        assert asked(model, stream)[0] == "hello"
    assert "stop" in server.requests[-1].body


def test_options_of_the_stream_are_those_that_were_given():
    with ModelServer(*[Text("x")] * 4) as server:
        model_at(server, stream_options=REMOVE_PARAMETER).generate(MESSAGES)
        for given in ({"stream_options": REMOVE_PARAMETER}, {"stream_options": {"include_usage": False}}, {}):
            list(model_at(server, **given).generate_stream(MESSAGES))
    assert [request.body.get("stream_options") for request in server.requests] == [
        None,
        None,
        {"include_usage": False},
        {"include_usage": True},
    ]


# Stop sequences in what a model thinks

THOUGHT = "I could write <code>1</code>, and be done."
SAID = "Done.\n<code>\nfinal_answer(42)\n</code>"


class Thinks:
    """A server that applies stop sequences to all that the model writes, its thoughts first, as vLLM does."""

    def __init__(self, in_text, said=SAID):
        self.in_text = in_text
        self.said = said

    def answer(self, handler, request):
        whole = f"{THOUGHT}</think>{self.said}"
        ends = [whole.find(stop) for stop in request.body.get("stop", ()) if stop in whole]
        thought, closed, said = whole[: min(ends, default=len(whole))].partition("</think>")
        delta = {"content": f"<think>{thought}{closed}{said}"} if self.in_text else {"reasoning_content": thought}
        delta = delta if self.in_text or not said else {**delta, "content": said}
        usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
        if not request.body.get("stream"):
            completion = _completion(None, usage)
            completion["choices"][0]["message"].update(delta)
            handler.send_json(200, completion)
            return
        handler.start_stream()
        for name, text in delta.items():
            handler.send_event(_chunk({name: text}))
        handler.send_event(_chunk({}, finish_reason="stop"))
        handler.send_event({**_chunk({}), "choices": [], "usage": usage})
        handler.end_stream()


@BOTH
def test_what_a_stop_sequence_ended_in_its_thoughts_is_asked_for_without(stream):
    with ModelServer(*[Thinks(in_text=False)] * 3) as server:
        model = model_at(server)
        call = ModelCall(model, MESSAGES, stream=stream, stop_sequences=STOP)
        told = [each.text for each in call if isinstance(each, Notice)]
        assert call.message.text == SAID.removesuffix("</code>")
        assert len(told) == 1 and "while it thinks" in told[0]
        assert call.message.token_usage.total_tokens == 36 == model.usage.total_tokens
        outside = model.generate_stream(MESSAGES, STOP) if stream else [model.generate(MESSAGES, STOP)]
        assert "".join(each.content or "" for each in outside) == SAID.removesuffix("</code>")
    assert ["stop" in request.body for request in server.requests] == [True, False, False]


@BOTH
def test_so_it_is_where_the_thoughts_stand_in_the_text(stream):
    with ModelServer(*[Thinks(in_text=True)] * 2) as server:
        asked(model_at(server), stream)
    assert ["stop" in request.body for request in server.requests] == [True, False]


def test_pieces_that_were_handed_on_outside_of_a_run_stay():
    with ModelServer(Thinks(in_text=True)) as server:
        message = agglomerate_stream_deltas(list(model_at(server).generate_stream(MESSAGES, STOP)))
    assert message.text.startswith("<think>I could")


@BOTH
def test_a_model_that_only_thought_is_asked_once_more_and_may_stay_silent(stream):
    with ModelServer(*[Thinks(in_text=False, said="")] * 2, Text("hello")) as server:
        model = model_at(server)
        assert asked(model, stream) == ("", [])
        assert asked(model, stream) == ("hello", [])
    assert ["stop" in request.body for request in server.requests] == [True, False, True]
