"""What went wrong with a request, in the server's own words and without keys: against a real HTTP server."""

from __future__ import annotations

import json
import re
import ssl
import subprocess
import sys
import traceback

import httpx
import pytest
from model_server import ModelServer, Raw, Refused, Status, Text, unused_address

from smol_kernel.agents.tool_calling_agent import ToolCallingAgent
from smol_kernel.errors import AgentGenerationError, ConfigError, ContextLengthError, ModelError
from smol_kernel.memory.messages import ChatMessage, MessageRole, agglomerate_stream_deltas
from smol_kernel.memory.usage import TokenUsage
from smol_kernel.models.call import ModelCall
from smol_kernel.models.failures import Target, read_failure
from smol_kernel.models.fallback import FallbackModel
from smol_kernel.models.litellm import LiteLLMModel, LiteLLMRouterModel, load
from smol_kernel.models.providers import AzureOpenAIModel, OpenAIModel

MESSAGES = [ChatMessage(MessageRole.USER, "Say hello.")]
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


@pytest.fixture(autouse=True)
def nothing_leaves_this_machine(monkeypatch):
    monkeypatch.setenv("SMOL_ALLOW_MODEL_REQUESTS", "0")
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE", "AZURE_OPENAI_API_KEY", "AZURE_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def model_at(server, **options):
    return LiteLLMModel(**{"model_id": "openai/double", "api_base": server.url, "retry_wait": 0, **options})


def ask(model, stream=False):
    return agglomerate_stream_deltas(model.generate_stream(MESSAGES)) if stream else model.generate(MESSAGES)


def refusal(model, stream=False):
    with pytest.raises(ModelError) as caught:
        ask(model, stream)
    return caught.value


# Keys


def router(server, **params):
    listed = {"model": "openai/double", "api_base": server.url, **params}
    return LiteLLMRouterModel("group", [{"model_name": "group", "litellm_params": listed}], retry=False)


def openai_client(server, **options):
    import openai

    return openai.OpenAI(base_url=server.url, **{"api_key": "of-no-use-0001", **options})


HOLDERS = {
    "a deployment's key": lambda server, key: router(server, api_key=key),
    "a deployment's header": lambda server, key: router(server, api_key="none", extra_headers={"X-Mine": key}),
    "a client's key": lambda server, key: model_at(server, api_base=None, client=openai_client(server, api_key=key)),
    "a client's header": lambda server, key: model_at(
        server, api_base=None, client=openai_client(server, default_headers={"X-Mine": key})
    ),
    "a header": lambda server, key: OpenAIModel(
        "double", server.url, "none", client_kwargs={"default_headers": {"X-Mine": key}}, retry=False
    ),
    "a token of Azure": lambda server, key: AzureOpenAIModel(
        "double", server.url.removesuffix("/v1"), client_kwargs={"azure_ad_token": key}, api_version="1", retry=False
    ),
    "a key": lambda server, key: model_at(server, api_key=key),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_key_that_the_server_repeats_is_not_told(holder):
    key = f"k-{len(holder)}-{holder[-3:]}-SECRETSECRET"
    with ModelServer(Status(400, f"bad parameter for {key}")) as server:
        error = str(refusal(HOLDERS[holder](server, key)))
    assert "bad parameter for" in error and "SECRETSECRET" not in error


@pytest.mark.parametrize("holder", list(HOLDERS))
@pytest.mark.parametrize(
    ("end", "what"), [("\n", "a line break"), (" ", "a blank at its"), ("\x07", "a control"), ("é", "outside ASCII")]
)
def test_a_key_that_cannot_be_sent_is_refused_before_it_is(holder, end, what):
    key = "k-123-SECRETSECRET" + end
    with ModelServer(Text("x")) as server:
        error = refusal(HOLDERS[holder](server, key))
        assert not server.requests
    shown = "".join(traceback.format_exception(error))
    assert what in str(error) and "SECRETSECRET" not in shown
    assert any(name in str(error) for name in ("api_key", "X-Mine", "azure_ad_token"))


@BOTH
def test_a_variable_with_a_line_break_is_named(stream, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-NEWLINEKEY777\n")
    with ModelServer(Text("x")) as server:
        error = refusal(model_at(server), stream)
        assert not server.requests
    assert "OPENAI_API_KEY holds a line break" in str(error) and "NEWLINEKEY" not in str(error)
    assert "OPENAI_API_KEY holds" in str(refusal(model_at(server, api_key="sk-NEWLINEKEY777\n")))


def test_an_ordinary_key_and_header_are_sent_as_they_are(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of_the.environment+/=~")
    with ModelServer(Text("x"), Text("y")) as server:
        ask(model_at(server, extra_headers={"X-Title": "A (good) title; q=1, 2", "X-Empty": ""}))
        ask(router(server, api_key="os.environ/OPENAI_API_KEY"))
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer sk-of_the.environment+/=~"}


def test_a_header_that_cannot_be_sent_is_not_tried_again_and_not_shown():
    class Client:  # in LiteLLM's place, so nothing is known of its keys
        def completion(self, **request):
            httpx.get(request["api_base"], headers={"Authorization": "Bearer k-SECRETSECRET\n"})

    heard = []
    with ModelServer(Text("x")) as server:
        error = refusal(model_at(server, client=Client(), on_retry=lambda *told: heard.append(told)))
    assert "the request cannot be sent" in str(error) and not heard
    assert "SECRETSECRET" not in "".join(traceback.format_exception(error))


def test_a_header_of_an_mcp_server_that_cannot_be_sent_is_refused():
    pytest.importorskip("mcp")
    from smol_kernel.tools.mcp_servers import read_specs

    for end, what in (("\n", "a line break"), ("é", "a character outside ASCII")):
        given = {"url": "http://127.0.0.1:9/mcp", "headers": {"Authorization": f"Bearer k-SECRET{end}"}}
        with pytest.raises(ConfigError, match=f"header 'Authorization' holds {what}") as caught:
            read_specs(given)
        assert "SECRET" not in "".join(traceback.format_exception(caught.value))


# Addresses


@pytest.mark.parametrize("name", ["OPENAI_BASE_URL", "OPENAI_API_BASE"])
def test_an_address_in_the_environment_is_as_one_that_was_given(name, monkeypatch):
    with ModelServer(Text("x"), Status(400), Text("x")) as server:
        monkeypatch.setenv(name, server.url)
        model = LiteLLMModel("openai/gpt-4.1-mini", retry_wait=0)
        reply = ask(model)
        error = str(refusal(model))
        assert ask(LiteLLMModel("gpt-4.1-mini")).text == "x"
        assert len(server.requests) == 3 and model.server_address == server.url
    assert (reply.text, reply.token_usage.cost) == ("x", None)
    assert f"the server at {server.url} refused the request" in error
    monkeypatch.setenv(name, "http://192.0.2.1/v1")
    assert "switched off by SMOL_ALLOW_MODEL_REQUESTS=0" in str(refusal(model))
    monkeypatch.setenv(name, address := unused_address())
    assert f"nobody answers at {address}: connection refused" in str(refusal(model))
    monkeypatch.setenv(name, "localhost:8000/v1")
    assert "write it as 'http://localhost:8000/v1'" in str(refusal(model))


def test_what_a_client_asks_at_a_server_of_ones_own_has_no_price():
    with ModelServer(Text("x")) as server:
        reply = ask(LiteLLMModel("openai/gpt-4.1-mini", client=openai_client(server)))
    assert reply.token_usage.cost is None


def test_what_openai_itself_was_asked_has_its_price(monkeypatch):
    model = LiteLLMModel("openai/gpt-4.1-mini")
    usage = load().Usage(prompt_tokens=100, completion_tokens=10, total_tokens=110)
    known = model._cost(usage, None)
    assert known and known > 0
    monkeypatch.setenv("OPENAI_BASE_URL", "https://api.openai.com/v1")
    assert model._cost(usage, None) == known
    monkeypatch.setenv("OPENAI_BASE_URL", "https://llm.example.org/v1")
    assert model._cost(usage, None) is None
    assert LiteLLMModel("anthropic/claude-sonnet-4-5")._cost(usage, None)


@pytest.mark.parametrize(
    ("address", "written"),
    [
        ("localhost:8000/v1", "http://localhost:8000/v1"),
        ("127.0.0.1:1", "http://127.0.0.1:1"),
        ("//example.org/v1", "https://example.org/v1"),
        ("ada:secret@example.org/v1", "https://example.org/v1"),
        ("htp://example.org/v1", "https://example.org/v1"),
        ("http://localhost:8000/v1/chat/completions", "http://localhost:8000/v1"),
        ("https://example.org/v1/chat/completions/", "https://example.org/v1"),
    ],
)
def test_an_address_that_cannot_be_asked_is_refused_when_the_model_is_made(address, written):
    with pytest.raises(ModelError, match=re.escape(f"write it as {written!r}")):
        LiteLLMModel("openai/m", api_base=address)
    with pytest.raises(ModelError, match=re.escape(f"write it as {written!r}")):
        OpenAIModel("m", client_kwargs={"base_url": address})
    with pytest.raises(ModelError, match=re.escape(f"write it as {written!r}")):
        LiteLLMModel("openai/m", base_url=address)


@pytest.mark.parametrize("address", [None, "", "http://h/v1", "HTTPS://h/v1/", "http://[::1]:8000/v1"])
def test_other_addresses_are_taken(address):
    assert LiteLLMModel("openai/m", api_base=address).api_base == address
    LiteLLMModel("cohere/m", api_base="https://h/v1/chat/completions")


# Roles


@BOTH
def test_a_role_may_be_converted_to_one_that_only_the_provider_knows(stream):
    messages = [ChatMessage(MessageRole.SYSTEM, "Be brief."), ChatMessage(MessageRole.USER, "Say hello.")]
    with ModelServer(Text("x"), Text("y")) as server:
        for conversions in ({"system": "developer"}, {MessageRole.SYSTEM: MessageRole.USER}):
            # of other models LiteLLM makes it "system", which is the same to OpenAI
            model = model_at(server, model_id="openai/o3", custom_role_conversions=conversions)
            list(model.generate_stream(messages)) if stream else model.generate(messages)
    roles = [[message["role"] for message in request.body["messages"]] for request in server.requests]
    assert roles == [["developer", "user"], ["user"]]


def test_a_role_that_there_is_not_is_named():
    model = LiteLLMModel("openai/m")
    for message in ({"role": "tool", "content": "x"}, {"content": "x"}):
        with pytest.raises(ModelError, match=r"unknown role '?(tool|None)'? of a message; use one of"):
            model.generate([message])
    with pytest.raises(ModelError, match="unknown role 'developer'"):
        LiteLLMModel("openai/m", custom_role_conversions={"developer": "system"}).generate(MESSAGES)


# What was paid for


@BOTH
@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_what_a_refused_reply_took_is_counted(finish, stream):
    with ModelServer(Text("", finish=finish)) as server:
        model = model_at(server)
        call = ModelCall(model, MESSAGES, stream=stream)
        with pytest.raises(ModelError):
            list(call)
    assert model.usage == TokenUsage(11, 7)
    assert (call.refused.input_tokens, call.refused.output_tokens) == (11, 7)


@BOTH
def test_a_reply_of_the_next_model_has_what_the_first_took(stream):
    prices = {"input_cost_per_token": 1.0, "output_cost_per_token": 2.0}
    with ModelServer(Text("", finish="length"), Text("here"), Text("again")) as server:
        both = FallbackModel([model_at(server, **prices), model_at(server, model_id="openai/other", **prices)])
        usages = []
        for _ in range(2):
            call = ModelCall(both, MESSAGES, stream=stream)
            list(call)
            usages.append(call.message.token_usage)
    assert usages == [TokenUsage(22, 14, cost=50.0), TokenUsage(11, 7, cost=25.0)]
    assert [model.usage.total_tokens for model in both.models] == [18, 36]


@BOTH
def test_a_run_that_ends_for_a_refused_reply_tells_what_it_took(make, stream):
    with ModelServer(Text("", finish="content_filter")) as server:
        agent = make((), kind=ToolCallingAgent, model=model_at(server), stream_outputs=stream)
        heard = []
        with pytest.raises(AgentGenerationError):
            heard.extend(agent.events("task"))  # what came before the error is in it
    assert (heard[-1].input_tokens, heard[-1].output_tokens) == (11, 7)


class Finished:
    """A stream with its text and finish reason, cut off before its end; with `then` behind them."""

    def __init__(self, finish="stop", then=None):
        self.deltas = [({"content": "all of it"}, None), *([({}, finish)] if finish else [])]
        self.then = then

    def answer(self, handler, request):
        handler.start_stream()
        for delta, finish in self.deltas:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            handler.send_event(
                {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
            )
        if self.then:
            handler.send_event(self.then)
        handler.cut()


class Silent:
    """A stream that ends, as HTTP allows, behind deltas without text."""

    def __init__(self, *deltas):
        self.deltas = deltas

    def answer(self, handler, request):
        handler.start_stream()
        for delta in self.deltas:
            choice = {"index": 0, "delta": delta, "finish_reason": None}
            handler.send_event(
                {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
            )
        handler.end_chunks()
        handler.cut()


@pytest.mark.parametrize("deltas", [[{"role": "assistant"}], [{"role": "assistant"}, {"reasoning_content": "hm"}]])
def test_a_stream_that_ended_before_its_text_is_asked_again(deltas):
    with ModelServer(Silent(*deltas), Text("all of it")) as server:
        assert ask(model_at(server), stream=True).text == "all of it"


def test_a_stream_cut_behind_its_finish_reason_is_whole():
    with ModelServer(
        Finished(), Finished("length"), Finished(None), Finished(then={"error": {"message": "no"}})
    ) as server:
        model = model_at(server)
        whole, cut_off = ask(model, stream=True), ask(model, stream=True)
        errors = [str(refusal(model, stream=True)) for _ in range(2)]
    assert (whole.text, whole.cut_off, cut_off.text, cut_off.cut_off) == ("all of it", False, "all of it", True)
    assert all("(in the middle of the reply)" in error for error in errors)


# The server's own words


TGI = "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens"
SHAPES = {
    "TGI": lambda words: {"error": words, "error_type": "validation"},
    "FastAPI": lambda words: {"detail": words},
    "FastAPI's list": lambda words: {"detail": [{"loc": ["body", "stop"], "msg": words, "type": "value_error"}]},
    "old vLLM": lambda words: {"object": "error", "message": words, "code": 400},
    "Fastify": lambda words: {"statusCode": 400, "error": "Bad Request", "message": words},
    "a list": lambda words: {"errors": [{"message": words}]},
    "text": lambda words: words,
    "OpenAI": lambda words: {"error": {"message": words, "code": None}},
}


@BOTH
@pytest.mark.parametrize("shape", SHAPES)
def test_words_in_any_shape_are_told(shape, stream):
    with ModelServer(*[Refused(422, SHAPES[shape](words)) for words in ("stop is not permitted", TGI)]) as server:
        model = model_at(server)
        error = str(refusal(model, stream))
        too_long = refusal(model, stream)
    assert error.endswith("stop is not permitted (422)")
    assert isinstance(too_long, ContextLengthError)


@BOTH
def test_a_page_for_a_browser_is_not_told(stream):
    page = "<html><head><title>413 Request Entity Too Large</title></head></html>"
    with ModelServer(Refused(413, page, "text/html"), Refused(403, page, "text/html")) as server:
        model = model_at(server)
        errors = [str(refusal(model, stream)) for _ in range(2)]
    assert "title" not in "".join(errors) and errors[1].endswith(
        "refused access (403). Check OPENAI_API_KEY or api_key"
    )


@BOTH
@pytest.mark.parametrize("depth", [50, 100_000])
def test_a_body_that_is_nested_without_end_is_no_trouble(stream, depth):
    with ModelServer(Refused(400, '{"error":' * depth + "1" + "}" * depth, "application/json")) as server:
        assert "refused the request" in str(refusal(model_at(server), stream))


@BOTH
def test_what_is_said_of_access_and_of_names_is_told_without_keys(stream):
    words = "Project `proj_x` of sk-MINEMINE1234 has no access"
    gone = {"error": {"code": "DeploymentNotFound", "message": "The API deployment does not exist."}}
    with ModelServer(Status(403, words), Status(404, "deprecated, learn more"), Refused(404, gone)) as server:
        model = model_at(server, api_key="sk-MINEMINE1234")
        access, name = (str(refusal(model, stream)) for _ in range(2))
        azure = AzureOpenAIModel("dep", server.url.removesuffix("/v1"), "k", "2024-06-01")
        deployment = str(refusal(azure, stream))
    assert "refused access (403)" in access and access.endswith("It says: Project `proj_x` of … has no access")
    assert "knows no model 'double' (404)" in name and name.endswith("It says: deprecated, learn more")
    assert "knows no deployment 'dep' (404)" in deployment and "/v1" not in deployment
    assert deployment.endswith("It says: The API deployment does not exist.")


@BOTH
@pytest.mark.parametrize(
    ("status", "words", "told"),
    [
        (413, "Request too large on tokens per minute: rate limit. Please reduce your message size", None),
        (401, "Too many failed attempts, rate limit", "refused the key (401)"),
        (400, "parameter max_tokens: rate limit of 429 must be", "refused the request: parameter max_tokens"),
    ],
)
def test_the_status_is_the_one_that_came(status, words, told, stream):
    with ModelServer(Status(status, words, "rate_limit_exceeded"), Text("x")) as server:
        error = refusal(model_at(server), stream)
        assert len(server.requests) == 1
    assert isinstance(error, ContextLengthError) if told is None else told in str(error)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"error": {"message": "blocked by moderation", "code": 403}}, "refused access (403)"),
        (
            {"error": {"message": "tools are not supported", "code": 400}},
            "refused the request: tools are not supported",
        ),
        ({"error": {"message": "it failed"}}, "it failed"),
    ],
)
def test_an_error_in_a_body_that_came_with_status_200_has_its_words(body, told):
    with ModelServer(*[Raw(json.dumps(body))] * 4) as server:
        error = str(refusal(model_at(server)))
    assert told in error and body["error"]["message"] in error


def test_an_error_in_a_stream_may_be_a_mere_text():
    event = Raw('data: {"error": "CUDA out of memory"}\n\n', "text/event-stream")
    with ModelServer(*[event] * 4) as server:
        assert "failed: CUDA out of memory (tried 4 times)" in str(refusal(model_at(server), stream=True))


@pytest.mark.parametrize("wait", ["inf", "nan", "-5", "0", "Thu, 01 Jan 1970 00:00:00 GMT", "soon"])
def test_a_wait_that_is_none_is_ours_instead(wait):
    waits = []
    with ModelServer(Status(429, retry_after=wait), Text("x")) as server:
        model = model_at(server, retry_wait=0.001, on_retry=lambda message, seconds: waits.append(seconds))
        assert ask(model).text == "x"
    assert 0.00075 <= waits[0] <= 0.00125


# Odd replies, and what Azure needs


class Parts:
    """A reply whose content is a list of parts."""

    def answer(self, handler, request):
        content = [
            {"type": "thinking", "thinking": []},
            {"type": "text", "text": "hel"},
            {"type": "text", "text": "lo"},
        ]
        choice = {"index": 0, "finish_reason": "stop"}
        body = {"id": "1", "created": 1, "model": "m"}
        if request.body.get("stream"):
            handler.start_stream()
            piece = {
                **body,
                "object": "chat.completion.chunk",
                "choices": [{**choice, "delta": {"content": content}}],
            }
            handler.send_event(piece)
            handler.end_stream()
        else:
            message = {"role": "assistant", "content": content}
            handler.send_json(200, {**body, "object": "chat.completion", "choices": [{**choice, "message": message}]})


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # as load() has it, outside of pytest
def test_streamed_parts_are_text_and_plain_ones_are_refused_in_a_sentence():
    with ModelServer(Parts(), Parts()) as server:
        assert ask(model_at(server), stream=True).text == "hello"
        error = str(refusal(model_at(server)))
    assert "is no chat completion" in error and "Traceback" not in error


@BOTH
def test_why_no_server_was_reached_is_said_once(stream, monkeypatch):
    with ModelServer(Text("x")) as server:
        secure = server.url.replace("http:", "https:")
        error = str(refusal(model_at(server, api_base=secure), stream))
        assert error.endswith(f"the server at {secure} does not speak https: write {server.url}")
        monkeypatch.setenv("SMOL_ALLOW_MODEL_REQUESTS", "1")  # a name that no server has
        error = str(refusal(model_at(server, api_base="http://no-such-host.invalid/v1"), stream))
    assert "no server is called 'no-such-host.invalid' (" in error and "check api_base, or your network" in error


@BOTH
def test_behind_a_proxy_it_is_named_without_its_password(stream, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("SMOL_ALLOW_MODEL_REQUESTS", "1")  # none gets further than the proxy
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@no-such-proxy.invalid:3128")
    proxy, at = "or the proxy http://no-such-proxy.invalid:3128, is not found (", "https://models.invalid/v1"
    error = str(refusal(LiteLLMModel("openai/double", api_base=at, api_key="k", retry_wait=0), stream))
    assert f"the server at {at}, {proxy}" in error and "secret" not in error and error.endswith("(tried 4 times)")
    monkeypatch.setenv("NO_PROXY", "models.invalid")
    error = str(refusal(LiteLLMModel("openai/double", api_base=at, api_key="k", retry_wait=0), stream))
    assert "no server is called 'models.invalid' (" in error and "proxy" not in error
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("HTTPS_PROXY", unused_address())
    at = "https://refused.invalid/v1"  # a client of its own
    error = str(refusal(LiteLLMModel("openai/double", api_base=at, api_key="k", retry_wait=0), stream))
    assert f"nobody answers at {at}, or the proxy http://127.0.0.1" in error


@pytest.mark.parametrize(
    ("address", "advice"),
    [
        ("https://models.example/v1", ""),
        ("https://8.8.8.8/v1", ""),
        ("https://10.1.2.3/v1", ": write http://10.1.2.3/v1"),
        ("https://[::1]:8/v1", ": write http://[::1]:8/v1"),
        ("HTTPS://localhost:8/v1", ": write http://localhost:8/v1"),
    ],
)
def test_a_key_is_sent_in_the_clear_to_no_server_outside(address, advice, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    error = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    failure = read_failure(error, Target("openai/double", address, "OPENAI_API_KEY"))
    assert failure.message.endswith(f"the server at {address} does not speak https{advice}")


@pytest.mark.parametrize(
    ("code", "why", "said"),
    [
        (18, "self-signed certificate", "(self-signed certificate): set SSL_CERT_FILE to the file of your authority"),
        (62, "Hostname mismatch, certificate is not valid for 'x'.", "certificate is not valid for 'x')"),
    ],
)
def test_a_certificate_that_is_not_trusted_is_said_with_what_helps(code, why, said):
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED]")
    error.verify_code, error.verify_message = code, why
    failure = read_failure(error, Target("openai/double", "https://x/v1", "OPENAI_API_KEY"))
    assert failure.message.endswith(said) and not failure.retry


@BOTH
@pytest.mark.parametrize("name", ["anthropic/claude-3", "gemini/gemini-2.0-flash", "cohere/command-r"])
def test_a_server_of_another_protocol_is_asked_once_and_its_own_is_named(name, stream):
    with ModelServer(*[Text("x")] * 4) as server:
        error = str(refusal(model_at(server, model_id=name, api_key="abcdefghijklmnop"), stream))
        assert len(server.requests) == 1
    provider, _, short = name.partition("/")
    assert f"is no reply as '{provider}' gives it; for an OpenAI-compatible server write 'openai/{short}'" in error


@BOTH
@pytest.mark.parametrize("name", ["ollama/qwen3", "ollama_chat/qwen3"])
def test_the_address_of_ollama_has_no_v1(name, stream):
    with ModelServer(*[Refused(404, "404 page not found")] * 4) as server:
        error = str(refusal(model_at(server, model_id=name), stream))
    assert "leave /v1 off the end of api_base for ollama" in error and "or name it 'openai/qwen3'" in error


def test_an_odd_reply_is_no_warning_in_a_cell():
    code = (
        "import sys; from smol_kernel.models.litellm import LiteLLMModel\n"
        "try: LiteLLMModel('openai/m', api_base=sys.argv[1]).generate([{'role': 'user', 'content': 'x'}])\n"
        "except Exception as error: print(error)"
    )
    with ModelServer(Parts()) as server:
        ran = subprocess.run([sys.executable, "-c", code, server.url], capture_output=True, text=True)
    assert "is no chat completion" in ran.stdout and "Warning" not in ran.stderr


def test_azure_without_a_key_or_an_address_names_what_is_documented(monkeypatch):
    for name in ("AZURE_OPENAI_ENDPOINT", "AZURE_API_BASE", "AZURE_AD_TOKEN", "OPENAI_API_VERSION"):
        monkeypatch.delenv(name, raising=False)
    error = str(refusal(AzureOpenAIModel("dep")))
    assert "pass azure_endpoint=…, or set AZURE_OPENAI_ENDPOINT" in error
    with ModelServer() as server:
        error = str(refusal(AzureOpenAIModel("dep", server.url, api_version="1")))
        plain = str(refusal(LiteLLMModel("azure/dep", server.url, api_version="1")))
    assert "needs a key: set AZURE_OPENAI_API_KEY (in a notebook: %env AZURE_OPENAI_API_KEY=…" in error
    assert "needs a key: set AZURE_API_KEY (in a notebook: %env AZURE_API_KEY=…" in plain


@BOTH
@pytest.mark.parametrize("given", [{"azure_ad_token": "tok-1"}, {"azure_ad_token_provider": lambda: "tok-1"}], ids=list)
def test_where_azure_is_given_a_token_no_key_is_taken_from_the_environment(given, stream, monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "k-of-the-environment")
    monkeypatch.setenv("AZURE_API_KEY", "k-of-the-environment")
    with ModelServer(Text("x"), Text("y")) as server:
        model = AzureOpenAIModel("dep", server.url, api_version="2024-06-01", client_kwargs=given)
        assert ask(model, stream).text == "x"
        others = {"azure_endpoint": server.url, **given} if stream else {"base_url": f"{server.url}/openai", **given}
        assert ask(AzureOpenAIModel("dep", client_kwargs={**others, "timeout": 60, "max_retries": 2})).text == "y"
    request = server.requests[0]
    assert all(each.headers["authorization"] == "Bearer tok-1" for each in server.requests)
    assert request.headers["authorization"] == "Bearer tok-1" and "api-key" not in request.headers
    assert request.path.endswith("/openai/deployments/dep/chat/completions?api-version=2024-06-01")


@pytest.mark.parametrize("version", ["v1", "preview", "2024-10-21"])
def test_a_token_goes_to_the_address_of_the_environment_in_the_form_of_its_version(monkeypatch, version):
    with ModelServer(Text("hello")) as server:
        monkeypatch.setenv("AZURE_API_BASE", server.url.removesuffix("/v1"))
        model = AzureOpenAIModel("d", api_version=version, client_kwargs={"azure_ad_token": "tok-1"})
        assert ask(model).text == "hello"
    [request] = server.requests
    assert request.headers["authorization"] == "Bearer tok-1"
    form = "/openai/v1/chat/completions" if version in ("v1", "preview") else "/openai/deployments/d/chat/completions"
    assert request.path.startswith(form)


@pytest.mark.parametrize("name", ["OPENAI_BASE_URL", "OPENAI_API_BASE"])
def test_a_query_goes_to_the_address_of_the_environment_too(monkeypatch, name):
    with ModelServer(Text("hello")) as server:
        monkeypatch.setenv(name, server.url)
        assert ask(OpenAIModel("d", extra_query={"a": "b"})).text == "hello"
    assert server.requests[0].path.endswith("/chat/completions?a=b")


def test_a_query_that_would_not_arrive_is_refused():
    with ModelServer() as server:
        for model in (
            OpenAIModel("d", client=openai_client(server), extra_query={"a": "b"}, retry=False),
            OpenAIModel("d", server.url, extra_query={"a": "c"}, retry=False),
            OpenAIModel("d", server.url, retry=False),
        ):
            with pytest.raises(ModelError, match="takes it as default_query"):
                model.generate(MESSAGES, extra_query={"a": "b"})
    assert not server.requests


def test_an_empty_key_is_none():
    with ModelServer(Text("hello")) as server:
        assert ask(model_at(server, api_key="")).text == "hello"
    assert "set GROQ_API_KEY" in str(refusal(LiteLLMModel("groq/llama", api_key="", retry=False)))


def test_a_key_that_is_no_text_is_told_as_what_litellm_says_of_it():
    with ModelServer() as server:
        assert "'function' object" in str(refusal(model_at(server, api_key=lambda: "key", retry=False)))
