"""What comes out of models: messages, tool calls in text and in pieces; what is saved of a model."""

from __future__ import annotations

import json

import pytest
from model_server import ModelServer, Text, ToolCalls

from smol_kernel.errors import ModelError, ToolError
from smol_kernel.memory.messages import (
    ChatMessage,
    ChatMessageStreamDelta,
    ChatMessageToolCall,
    ChatMessageToolCallFunction,
    ChatMessageToolCallStreamDelta,
    MessageRole,
    agglomerate_stream_deltas,
    pieces_of,
)
from smol_kernel.memory.usage import TokenUsage
from smol_kernel.models.base import Model
from smol_kernel.models.fallback import FallbackModel
from smol_kernel.models.litellm import LiteLLMModel, LiteLLMRouterModel
from smol_kernel.models.providers import AmazonBedrockModel, AzureOpenAIModel, InferenceClientModel, OpenAIModel
from smol_kernel.models.registry import model_from_dict
from smol_kernel.models.replies import get_tool_call_from_text, parse_json_if_needed, tool_calls_in
from smol_kernel.models.scripted import ScriptedModel
from smol_kernel.tools import tool

ASSISTANT = MessageRole.ASSISTANT


def called(calls):
    return [(call.function.name, call.function.arguments) for call in calls or []]


# Tool calls in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"name": "f", "arguments": {"a": 1}}', [("f", {"a": 1})]),
        ('I call {"name": "f", "arguments": {"a": {"b": "}"}}} now.', [("f", {"a": {"b": "}"}})]),
        ('```json\n{"name": "f", "arguments": {}}\n```', [("f", {})]),
        ('{"name": "f", "arguments": "{\\"a\\": 1}"}', [("f", {"a": 1})]),
        ('{"name": "f", "arguments": "plain"}', [("f", "plain")]),
        ('{"name": "f"}', [("f", None)]),
        ('{"name": "f", "parameters": {"a": 1}}', [("f", {"a": 1})]),
        ('[{"name": "f", "arguments": {}}, {"name": "g", "arguments": {}}]', [("f", {}), ("g", {})]),
        ('<tool_call>\n{"name": "f"}\n</tool_call>\n<tool_call>{"name": "g"}</tool_call>', [("f", None), ("g", None)]),
        ('{"tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{}"}}]}', [("f", {})]),
        ('Of {"a": 1} and [2], I choose {"name": "f", "arguments": {"x": "two\nlines"}}', [("f", {"x": "two\nlines"})]),
        ('a set {not json} first: {"name": "f", "arguments": {}}', [("f", {})]),
        ('<think>{"name": "g"}? No.</think>{"name": "f"}', [("f", None)]),
        ('<thinking>{"name": "g"}? No.</thinking>{"name": "f"}', [("f", None)]),
        ('{"name": "g"}? No.</think>{"name": "f"}', [("f", None)]),
        ('{"name": "f", "arguments": {"a": "<think>b</think>"}}', [("f", {"a": "<think>b</think>"})]),
        ('{"name": "f", "arguments": {"a": "}}", "b": "</think>"}}', [("f", {"a": "}}", "b": "</think>"})]),
        ('{"name": "f", "arguments": {}}\n<think>ok</think>', [("f", {})]),
        ('{"name": "f"}\n<think>{"name": "h"}?</think>\n{"name": "g"}', [("f", None), ("g", None)]),
        ('[THINK]{"name": "g"}? No.[/THINK]{"name": "f"}', [("f", None)]),
        ('<thought>hm …\n{"name": "f"}', [("f", None)]),
        ('<|channel|>analysis<|message|>{"name": "g"}?<|end|><|start|>assistant{"name": "f"}', [("f", None)]),
        ('{"name": "f", "arguments": {"a": "[/THINK]◁think▷"}}', [("f", {"a": "[/THINK]◁think▷"})]),
        ("<think>[</think>" * 25_000 + '{"name": "f"}', [("f", None)]),
        ('{"name": "f", "arguments": "' + "{" * 20_000 + '"}{"name": "g"}', [("f", "{" * 20_000), ("g", None)]),
    ],
)  # fmt: skip
def test_calls_are_found_in_text(text, expected):
    calls = tool_calls_in(text, "name", "arguments")
    assert called(calls) == expected
    assert called([get_tool_call_from_text(text, "name", "arguments")]) == expected[:1]
    assert len({call.id for call in calls}) == len(calls) and all(call.type == "function" for call in calls)


@pytest.mark.parametrize(
    ("text", "lesson"),
    [
        ("nothing", 'Write it as a JSON object: {"tool": "the_tool", "args": {"argument": "value"}}'),
        ('{"args": {"a": 1}}', "names no tool: it has the keys ['args'], and no 'tool'"),
        ('{"tool": "f", "args": {"a": True}}', "not valid JSON: Expecting value at "),
        ('{"tool": "f", "args": {"a": 1}', "not valid JSON: Expecting ',' delimiter at "),
        ("{'tool': 'f'}", "Strings and keys stand in double quotes, with true, false and null"),
        ("[" * 100_000, "holds no tool call"),
        ("{" * 5_000_000, "not valid JSON: Expecting property name enclosed in double quotes at '{{"),
        ('<think>{"tool": "f"} would be wrong', "holds no tool call"),
        ('OK. <think>{"tool": "f", "args": {}} would be wrong', "holds no tool call"),
        ('<|channel|>analysis to=f<|message|>{"tool": "f", "args": {}}<|call|>', "holds no tool call"),
    ],
)  # fmt: skip
def test_text_without_a_call_teaches_what_one_looks_like(text, lesson):
    with pytest.raises(ToolError) as caught:
        get_tool_call_from_text(text, "tool", "args")
    assert lesson in str(caught.value) and isinstance(caught.value, ValueError)


def test_json_is_decoded_and_all_else_left():
    given = ['{"a": 1}', "x", "5", {"a": 1}, None, "", "[1]", '"a\nb"']
    assert [parse_json_if_needed(value) for value in given] == [{"a": 1}, "x", 5, {"a": 1}, None, "", [1], "a\nb"]


def test_a_message_gets_its_calls_from_its_text_or_keeps_those_it_has():
    model = Model(tool_name_key="tool", tool_arguments_key="args")
    content = [{"type": "text", "text": 'So: {"tool": "f", "args": {"a": 1}}'}]
    assert called(model.parse_tool_calls(ChatMessage(MessageRole.USER, content)).tool_calls) == [("f", {"a": 1})]
    native = ChatMessage(
        ASSISTANT, '{"tool": "g"}', [ChatMessageToolCall(ChatMessageToolCallFunction("f", "{bad"), "1")]
    )
    assert called(model.parse_tool_calls(native).tool_calls) == [("f", "{bad")]
    for content in (None, " "):
        with pytest.raises(ToolError, match="the reply is empty"):
            model.parse_tool_calls(ChatMessage(ASSISTANT, content))


# Tool calls over the wire


@tool
def search(query: str) -> str:
    """Searches.

    Args:
        query: What for.
    """
    return query


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("index", ["each", "same"])
def test_several_calls_come_back_whatever_they_name(stream, index, monkeypatch):
    monkeypatch.setenv("SMOL_ALLOW_MODEL_REQUESTS", "0")
    calls = ToolCalls([("search", {"query": "x"}), ("unknown", "{bad")], text="Let me see.", index=index)
    with ModelServer(calls) as server:
        model = LiteLLMModel("openai/double", api_base=server.url)
        messages = [ChatMessage(MessageRole.USER, "Hi")]
        if stream:
            reply = agglomerate_stream_deltas(model.generate_stream(messages, tools_to_call_from=[search]))
        else:
            reply = model.generate(messages, tools_to_call_from=[search])
    assert (reply.text, reply.token_usage) == ("Let me see.", TokenUsage(11, 7))
    assert called(reply.tool_calls) == [("search", '{"query": "x"}'), ("unknown", "{bad")]
    assert [call.id for call in reply.tool_calls] == ["call_1", "call_2"]
    assert called(model.parse_tool_calls(reply).tool_calls) == [("search", {"query": "x"}), ("unknown", "{bad")]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    ("finish", "text", "cut_off"),
    [("length", "a b", True), ("content_filter", "a b", True), ("length", "a END b", False), ("stop", "a b", False)],
)
def test_a_reply_tells_that_its_tokens_were_up_before_its_end(stream, finish, text, cut_off, monkeypatch):
    monkeypatch.setenv("SMOL_ALLOW_MODEL_REQUESTS", "0")
    with ModelServer(Text(text, finish=finish)) as server:
        model = LiteLLMModel("openai/double", api_base=server.url)
        messages = [ChatMessage(MessageRole.USER, "Hi")]
        if stream:
            reply = agglomerate_stream_deltas(model.generate_stream(messages, stop_sequences=["END"]))
        else:
            reply = model.generate(messages, stop_sequences=["END"])
    assert (reply.text, reply.cut_off) == (text.partition("END")[0], cut_off)
    assert ChatMessage.from_dict(reply.dict()).cut_off == cut_off
    assert agglomerate_stream_deltas(pieces_of(reply)).cut_off == cut_off


def piece(index, call_id, name, arguments):
    function = ChatMessageToolCallFunction(name=name, arguments=arguments)
    return ChatMessageStreamDelta(tool_calls=[ChatMessageToolCallStreamDelta(index, call_id, "function", function)])


@pytest.mark.parametrize(
    ("indexes", "ids"),
    [
        ((0, 0, 1, 1), ("a", None, "b", None)),
        ((0, 0, 1, 1), ("a", "a", "b", "b")),
        ((0, 0, 0, 0), ("a", None, "b", None)),
        ((None,) * 4, ("a", None, "b", None)),
        ((None,) * 4, ("a", "a", "b", "b")),
        ((0, 0, 1, 1), ("a", "x", "b", "y")),
        ((0, 0, 0, 0), ("a", "x", "b", "y")),
    ],
)
def test_pieces_of_calls_find_their_call(indexes, ids):
    names, arguments = ("f", "", "g", None), ("", '{"a":1}', "", '{"b":2}')
    message = agglomerate_stream_deltas(map(piece, indexes, ids, names, arguments))
    assert called(message.tool_calls) == [("f", '{"a":1}'), ("g", '{"b":2}')]
    assert [call.id for call in message.tool_calls] == ["a", "b"]


@pytest.mark.parametrize("end", [[], [(0, "c", None, "")], [(0, "c", None, " ")]])
def test_a_new_id_behind_whole_arguments_begins_a_call(end):
    pieces = [(0, "a", "f", "{}"), (0, "b", None, ""), (0, None, "g", "{}"), *end]
    message = agglomerate_stream_deltas(piece(*each) for each in pieces)
    assert called(message.tool_calls) == [("f", "{}"), ("g", "{}")]
    assert [call.id for call in message.tool_calls] == ["a", "b"]


def test_pieces_that_come_by_turns_find_their_call():
    pieces = map(piece, (None,) * 4, "abab", ("f", "g", None, None), ("", "", "1", "2"))
    assert called(agglomerate_stream_deltas(pieces).tool_calls) == [("f", "1"), ("g", "2")]


def test_the_usage_of_a_stream_is_the_last_one_told():
    deltas = [
        ChatMessageStreamDelta("a", token_usage=TokenUsage(5, 1)),
        ChatMessageStreamDelta("b", token_usage=TokenUsage(5, 2)),
    ]
    assert agglomerate_stream_deltas(deltas).token_usage == TokenUsage(5, 2)


# Messages as data


def test_a_message_goes_to_plain_data_and_back():
    class Foreign:
        id, type = "1", "function"
        function = ChatMessageToolCallFunction("f", {"x": 1})

    usage = TokenUsage(1, 2, cached_tokens=1, cost=0.5)
    message = ChatMessage("assistant", "so", [Foreign()], raw=object(), token_usage=usage)
    assert message.tool_calls == [ChatMessageToolCall(ChatMessageToolCallFunction("f", {"x": 1}), "1")]
    data = json.loads(message.model_dump_json())
    assert data == message.dict() and data["raw"] is None
    back = ChatMessage.from_dict(data, raw="mine")
    assert (back.tool_calls, back.token_usage, back.raw, back.role) == (message.tool_calls, usage, "mine", ASSISTANT)
    assert ChatMessage.from_dict(data, token_usage=TokenUsage(9, 9)).token_usage == TokenUsage(9, 9)
    assert ChatMessage.from_dict({"role": "user"}) == ChatMessage(MessageRole.USER)
    assert message.render_as_markdown() == 'so{"tool": "f", "arguments": {"x": 1}}'


# Saving


@pytest.mark.parametrize(
    "model",
    [
        LiteLLMModel("openai/x", "http://ada:secret-1@h/v1", "secret-2", {"system": "user"}, max_tokens=3),
        LiteLLMModel("openai/x", extra_headers={"X": "secret-3"}, retry=False, input_cost_per_token=1.0),
        OpenAIModel("x", "http://h/v1", "secret-4", "org", "pro", {"api_key": "secret-5", "timeout": 3}),
        AzureOpenAIModel("x", "http://h", "secret-6", "2024", {"azure_ad_token": "secret-7"}),
        InferenceClientModel("o/x", "together", "secret-8", 7, {"headers": {"a": "secret-9"}}, bill_to="b"),
        AmazonBedrockModel("x", client_kwargs={"aws_secret_access_key": "secret-a", "region_name": "r"}),
        LiteLLMRouterModel("g", [{"model_name": "g", "litellm_params": {"model": "openai/x", "api_key": "secret-b"}}]),
        FallbackModel([LiteLLMModel("openai/x", api_key="secret-c"), OpenAIModel("y", requests_per_minute=3)]),
    ],
    ids=repr,
)  # fmt: skip
def test_a_model_is_saved_without_keys_and_made_again(model):
    data = json.loads(json.dumps(model.to_dict()))
    assert "secret" not in json.dumps(data)
    again = model_from_dict(type(model).__name__, data)
    assert type(again) is type(model) and again.to_dict() == data
    assert again.model_id == model.model_id


def test_what_is_saved_is_what_was_set():
    assert Model(model_id="x", a=1).to_dict() == {"a": 1, "model_id": "x"}
    assert OpenAIModel("x", organization="o", max_tokens=3, tool_name_key="tool").to_dict() == {
        "max_tokens": 3,
        "model_id": "x",
        "organization": "o",
        "tool_name_key": "tool",
    }
    assert ScriptedModel.from_dict(ScriptedModel(["a"]).to_dict()).generate([]).text == "a"
    with pytest.raises(ModelError, match="of the class 'os'"):
        model_from_dict("os", {})
