"""What of a request a model refuses or cannot bear: it is asked once more without, and not sent it again."""

from __future__ import annotations

import json

import pytest
from model_server import ModelServer, Raw, Refused, Status, Text, _chunk, _completion

from smol_kernel.agents.tool_calling_agent import ToolCallingAgent
from smol_kernel.errors import ModelError
from smol_kernel.events import Notice
from smol_kernel.memory.messages import ChatMessage, MessageRole, agglomerate_stream_deltas
from smol_kernel.models.call import ModelCall
from smol_kernel.models.litellm import LiteLLMModel
from smol_kernel.models.not_taken import not_taken
from smol_kernel.models.providers import AzureOpenAIModel
from smol_kernel.models.requests import REMOVE_PARAMETER
from smol_kernel.tools.base import tool

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


# Tools, the demand for a call, streaming, and system messages

WHOLE = [  # what cannot be taken, and how servers say it
    ("tools", Status(400, "registry.ollama.ai/library/gemma3:4b does not support tools")),
    ("tools", Status(400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set')),
    ("tools", Status(404, "No endpoints found that support tool use.")),
    ("tools", Status(500, "tools param requires --jinja flag")),
    ("tools", Status(500, "Unsupported param: tools")),
    ("tool_choice", Status(400, '`tool_choice` must either be a named tool, "auto", or "none".')),
    ("tool_choice", Status(400, "Tool choice 'required' is not supported for this model")),
    ("tool_choice", Refused(422, {"detail": [{"loc": ["body", "tool_choice"], "msg": "Input should be 'auto'"}]})),
    ("tool_choice", Status(400, "a call cannot be guaranteed", "tool_choice_not_supported")),
    ("tool_choice", Status(500, "Unsupported param: tool_choice")),
    ("stream", Status(500, "Cannot use tools with stream")),
    ("stream", Status(400, "Streaming is not supported")),
    ("stream", Refused(422, {"detail": [{"loc": ["body", "stream"], "msg": "Extra inputs are not permitted"}]})),
    ("system", Status(400, "System role not supported")),
    ("system", Status(500, "Jinja Exception: System role not supported")),
]


@tool
def add(a: int) -> int:
    """Adds.

    Args:
        a: A number.
    """
    return a


def parts_of(request):
    return {*request.body, *(message["role"] for message in request.body["messages"])}


@pytest.mark.parametrize(("name", "refusal"), WHOLE, ids=str)
def test_what_a_server_does_without_is_left_out_at_once_and_from_then_on(make, name, refusal):
    reply = Text('{"name": "final_answer", "arguments": {"answer": 42}}')
    with ModelServer(refusal, reply, reply) as server:
        model = model_at(server, retry_wait=100)
        told = []
        for _ in range(2):
            agent = make((), (add,), kind=ToolCallingAgent, model=model, stream_outputs=True)
            *events, end = agent.events("task")
            told += [each for each in events if isinstance(each, Notice) and each.text.startswith("Model ")]
            assert end.state == "success"
        assert len(told) == 1
    first, *others = map(parts_of, server.requests)
    assert {"tools", "tool_choice", "stream", "system"} <= first and len(others) == 2
    for sent in others:
        along = {"tools": {"tool_choice"}, "stream": {"stream_options"}}.get(name, set())
        assert first - sent == {name, *along}
    said = server.requests[0].body["messages"]
    if name == "system":
        assert server.requests[1].body["messages"][0]["content"] == "\n".join(each["content"] for each in said)


@BOTH
def test_an_order_of_roles_that_litellm_keeps_to_itself_is_that_of_the_system_message(stream):
    messages = [ChatMessage(MessageRole.SYSTEM, "Be kind."), *MESSAGES]
    refusal = Status(400, "Conversation roles must alternate user/assistant/user/assistant/...")

    def ask(model):
        call = ModelCall(model, messages, stream=stream)
        told = [each for each in call if isinstance(each, Notice)]
        return call.message.text, len(told)

    with ModelServer(refusal, refusal, Text("hello"), Text("again"), refusal, refusal) as server:
        model = model_at(server)
        assert [ask(model), ask(model)] == [("hello", 1), ("again", 0)]
        assert server.requests[-1].body["messages"] == [{"role": "user", "content": "Be kind.\nSay hello."}]
        with pytest.raises(ModelError, match="roles must alternate"):
            ask(model)


@pytest.mark.parametrize("calls", [False, True], ids=["text", "calls"])
def test_a_server_that_knows_no_streams_is_read_whole(calls):
    completion = _completion(None if calls else "hello", None)
    if calls:
        call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
        completion["choices"][0]["message"]["tool_calls"] = [call]
    with ModelServer(*[Raw(json.dumps(completion))] * 5) as server:
        model = model_at(server)
        for _ in range(3):
            message = agglomerate_stream_deltas(list(model.generate_stream(MESSAGES)))
            assert message.text == ("" if calls else "hello")
            assert [each.function.name for each in message.tool_calls or ()] == (["add"] if calls else [])
    assert ["stream" in request.body for request in server.requests] == [True, False] * 2 + [False]


def test_what_a_server_says_in_place_of_a_stream_is_told():
    unloaded = Raw(json.dumps({"error": {"message": "Model unloaded."}}))
    with ModelServer(unloaded, unloaded, Text("hello")) as server:
        model = model_at(server)
        with pytest.raises(ModelError, match="Model unloaded"):
            list(model.generate_stream(MESSAGES))
        assert agglomerate_stream_deltas(list(model.generate_stream(MESSAGES))).text == "hello"
    assert ["stream" in request.body for request in server.requests] == [True, False, True]


def test_an_error_once_in_place_of_a_stream_does_not_end_streaming():
    reloaded = Raw(json.dumps({"error": {"message": "Model reloaded."}}))
    with ModelServer(reloaded, *[Text("hello")] * 2) as server:
        model = model_at(server)
        for _ in range(2):
            assert agglomerate_stream_deltas(list(model.generate_stream(MESSAGES))).text == "hello"
    assert ["stream" in request.body for request in server.requests] == [True, False, True]


ECHO = (
    "[{'type': 'value_error', 'loc': ('body',), 'msg': 'Value error, %s', 'input': {'messages': [{'role': 'system', "
    "'content': 'Be kind.'}, {'role': 'user', 'content': 'Say: Streaming is not supported, tools are not supported'}], "
    "'temperature': 0.2}, 'ctx': {'error': ValueError()}}]"
)
SENT = {"stop": ["x"], "stream": True, "stream_options": {}, "system": [1], "tools": [1], "tool_choice": "required"}


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (ECHO % "`tool_choice` must either be a named tool, \\'auto\\', or \\'none\\'.", "tool_choice"),
        (ECHO % "temperature is not supported", "temperature"),
        (ECHO % "no model is loaded", None),
        ("Invalid 'messages[1].role': must be one of system, user", None),
        ("After the optional system message, conversation roles must alternate user/assistant", None),
        ("Conversation roles must alternate user/assistant", "system"),
        ("This model does not support 'system' messages", "system"),
        ("Unsupported parameter: 'stop' is not supported with this model. role=system", "stop"),
        ("tools are not supported in streaming mode", "stream"),
        ("Tool calling is not supported in streaming mode", "stream"),
        ("Function calling is not supported with streaming", "stream"),
        ("streaming with tools is not supported", "stream"),
        ("Multiple tool calls are not supported", None),
        ("strict tools are not supported", None),
        ("Built-in tools are not supported for this model", None),
        ("messages with role 'tool' are not supported", None),
        ("temperature is not supported when using tools with streaming", "temperature"),
        ("worker died while handling tool_choice=required", None),
        ("Invalid tool_choice: required", "tool_choice"),
        ("tool_choice='required' cannot be enforced", "tool_choice"),
        ("`tools` is not supported by this model", "tools"),
    ],
)
def test_only_what_the_words_are_about_is_left_out(words, name):
    assert not_taken(words.lower(), "", {**SENT, "temperature": 0}) == name


@BOTH
@pytest.mark.parametrize(
    "refusal",
    [
        Refused(422, {"detail": [{"loc": ["body", "tools", 0, "strict"], "msg": "Extra inputs are not permitted"}]}),
        Status(400, "Invalid schema for function 'add': this is not supported"),
        Status(400, "unexpected end of the stream of system events"),
        Status(400, "Invalid schema: unknown field: strict"),
        Status(401, "this key does not support tools"),
    ],
    ids=str,
)
def test_a_refusal_that_is_not_about_these_is_told_as_it_is(refusal, stream):
    messages = [ChatMessage(MessageRole.SYSTEM, "Be kind."), *MESSAGES]
    with ModelServer(refusal, Text("x")) as server:
        with pytest.raises(ModelError):
            list(ModelCall(model_at(server), messages, stream=stream, tools_to_call_from=[add]))
        assert len(server.requests) == 1


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
