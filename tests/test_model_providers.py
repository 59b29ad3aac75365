"""The models of each provider over real HTTP on this machine; what a reply costs; clients of one's own."""

from __future__ import annotations

import email.utils
import inspect
import secrets
import time
from types import SimpleNamespace

import httpx
import pytest
from model_server import Converse, ModelServer, Status, Text

from smol_kernel.errors import ContextLengthError, ModelError
from smol_kernel.memory.known_secrets import redacted
from smol_kernel.memory.messages import ChatMessage, MessageRole, agglomerate_stream_deltas
from smol_kernel.memory.usage import TokenUsage
from smol_kernel.models import providers
from smol_kernel.models.api import ApiModel
from smol_kernel.models.litellm import LiteLLMModel, LiteLLMRouterModel
from smol_kernel.models.providers import AmazonBedrockModel, AzureOpenAIModel, InferenceClientModel, OpenAIModel

MESSAGES = [ChatMessage(MessageRole.SYSTEM, "Be brief."), ChatMessage(MessageRole.USER, "Say hello.")]
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
AWS = {"region_name": "us-east-1", "aws_access_key_id": "AK", "aws_secret_access_key": "SK"}


@pytest.fixture(autouse=True)
def nothing_leaves_this_machine(monkeypatch):
    monkeypatch.setenv("SMOL_ALLOW_MODEL_REQUESTS", "0")
    for name in ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT", "AZURE_API_KEY", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def ask(model, stream=False, **options):
    if stream:
        return agglomerate_stream_deltas(model.generate_stream(MESSAGES, **options))
    return model.generate(MESSAGES, **options)


def root(server):
    return server.url.removesuffix("/v1")


# Providers


@BOTH
def test_openai_sends_what_its_own_client_would(stream):
    with ModelServer(Text("hello")) as server:
        model = OpenAIModel(
            "vendor/name",
            server.url,
            "sk",
            "org",
            "pro",
            {"default_headers": {"X-Mine": "1"}, "timeout": 5},
            max_tokens=9,
        )
        assert (ask(model, stream).text, model.model_id) == ("hello", "vendor/name")
    [request] = server.requests
    assert (request.body["model"], request.body["max_tokens"]) == ("vendor/name", 9)
    wanted = {"authorization": "Bearer sk", "openai-organization": "org", "openai-project": "pro", "x-mine": "1"}
    assert wanted.items() <= request.headers.items()


def test_reasoning_models_are_given_their_name_for_max_tokens():
    with ModelServer(Text("hello")) as server:
        ask(OpenAIModel("gpt-5", server.url, max_tokens=9))
    body = server.requests[0].body
    assert (body["max_completion_tokens"], "max_tokens" in body) == (9, False)


@BOTH
@pytest.mark.parametrize("given", ["arguments", "environment"])
def test_azure_asks_the_deployment(stream, given, monkeypatch):
    with ModelServer(Text("hello")) as server:
        if given == "arguments":
            model = AzureOpenAIModel("dep", root(server), "sk", "2024-10-21", temperature=1)
        else:
            monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", root(server))
            monkeypatch.setenv("AZURE_OPENAI_API_KEY", "sk")
            monkeypatch.setenv("OPENAI_API_VERSION", "2024-10-21")
            model = AzureOpenAIModel("dep")
        assert ask(model, stream).text == "hello"
    [request] = server.requests
    assert request.path == "/openai/deployments/dep/chat/completions?api-version=2024-10-21"
    assert request.headers["api-key"] == "sk"


@BOTH
def test_hugging_face_asks_a_server_of_ones_own(stream):
    with ModelServer(Text("hello"), Text("tgi")) as server:
        model = InferenceClientModel("org/name", base_url=server.url, token="hf", bill_to="acme")
        assert ask(model, stream).text == "hello"
        assert ask(InferenceClientModel(root(server)), stream).text == "tgi"
    first, second = server.requests
    assert {"authorization": "Bearer hf", "x-hf-bill-to": "acme"}.items() <= first.headers.items()
    assert (first.path, first.body["model"], "max_retries" in first.body) == ("/v1/chat/completions", "org/name", False)
    assert (second.path, second.body["model"]) == ("/v1/chat/completions", "tgi")


@BOTH
def test_bedrock_speaks_converse_and_signs(stream):
    with ModelServer(Converse("hello")) as server:
        model = AmazonBedrockModel(
            "us.amazon.nova-pro-v1:0",
            client_kwargs={**AWS, "endpoint_url": root(server)},
            inferenceConfig={"maxTokens": 9, "topP": 0.5},
            retry=False,
        )
        if stream:  # it streams in a binary form of its own: what is asked for is all that is looked at
            with pytest.raises(ModelError):
                ask(model, stream)
        else:
            assert (ask(model).text, ask_usage(model)) == ("hello", (11, 7))
    [request] = server.requests
    assert request.path == f"/model/us.amazon.nova-pro-v1%3A0/converse{'-stream' if stream else ''}"
    assert request.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AK/")
    assert request.body["inferenceConfig"] == {"maxTokens": 9, "topP": 0.5}
    assert request.body["system"] == [{"text": "Be brief."}]


def ask_usage(model):
    return model.usage.input_tokens, model.usage.output_tokens


def test_bedrock_takes_a_client_of_boto3():
    boto3 = pytest.importorskip("boto3")
    with ModelServer(*[Converse("hello")] * 3) as server:
        client = boto3.client("bedrock-runtime", **AWS, endpoint_url=root(server))
        for model in given("us.amazon.nova-pro-v1:0", client, AmazonBedrockModel):
            assert ask(model).text == "hello"
        client.close()
    assert "Credential=AK/" in server.requests[0].headers["authorization"]


@BOTH
def test_the_router_asks_a_deployment_of_the_group(stream):
    with ModelServer(Text("hello")) as server:
        deployment = {"model": "openai/double", "api_base": server.url, "api_key": "k"}
        deployments = [{"model_name": "group", "litellm_params": deployment}]
        reply = ask(LiteLLMRouterModel("group", deployments, {"routing_strategy": "simple-shuffle"}), stream)
    assert (reply.text, reply.token_usage) == ("hello", TokenUsage(11, 7))
    assert LiteLLMModel("openai/double").takes("image") is None  # the Router made an entry for it
    with pytest.raises(ModelError, match="no group 'other'; its groups: group"):
        LiteLLMRouterModel("other", deployments)


def test_the_switch_holds_for_every_deployment_of_a_router():
    with ModelServer(Text("hello")) as server:
        deployments = [{"model": "openai/a", "api_base": server.url}, {"model": "openai/b", "api_key": "k"}]
        entries = [{"model_name": "group", "litellm_params": each} for each in deployments]
        with pytest.raises(ModelError, match="switched off by SMOL_ALLOW_MODEL_REQUESTS=0"):
            ask(LiteLLMRouterModel("group", entries))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: OpenAIModel("x", client_kwargs={"mounts": 1}),
            "default_query, max_retries, project); pass what LiteLLM",
        ),
        (
            lambda: ask(OpenAIModel("x", None, "k", client_kwargs={"http_client": httpx.AsyncClient()})),
            "client_kwargs: Invalid",
        ),
        (lambda: ask(OpenAIModel("x", client_kwargs={"default_query": {"a": 1}})), "OPENAI_API_KEY"),
        (lambda: AzureOpenAIModel("x", client_kwargs={"http_client": 1}), "http_client cannot be handed to LiteLLM"),
        (lambda: InferenceClientModel("x", client_kwargs={"proxies": {}}), "proxies cannot be handed to LiteLLM"),
        (lambda: AmazonBedrockModel("x", client_kwargs={"config": 1}), "config cannot be handed to LiteLLM"),
        (lambda: InferenceClientModel(token="a", api_key="b"), "token or api_key, which mean the same"),
        (lambda: OpenAIModel(""), "OpenAIModel needs a model_id, not ''"),
        (lambda: LiteLLMModel("openai/x", client=7), "client has to have completion(**request)"),
        (lambda: ApiModel("x").generate(MESSAGES), "ApiModel needs a client"),
        (lambda: ask(OpenAIModel("gpt-4.1-mini")), "model 'gpt-4.1-mini' needs a key: set OPENAI_API_KEY"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ModelError) as caught:
        make()
    assert message in str(caught.value)


def test_old_names_are_the_same_classes():
    for old, new in {
        "HfApiModel": "InferenceClientModel",
        "OpenAIServerModel": "OpenAIModel",
        "AzureOpenAIServerModel": "AzureOpenAIModel",
        "AmazonBedrockServerModel": "AmazonBedrockModel",
    }.items():
        assert getattr(providers, old) is getattr(providers, new)
    assert list(inspect.signature(ApiModel).parameters)[:5] == [
        "model_id",
        "custom_role_conversions",
        "client",
        "requests_per_minute",
        "retry",
    ]


# Clients of one's own


class Double:
    """A client that keeps what it is asked, and replies as OpenAI's API does."""

    def __init__(self):
        self.requests = []

    def completion(self, **request):
        self.requests.append(request)
        usage = SimpleNamespace(prompt_tokens=5, completion_tokens=2, prompt_tokens_details=None, cost=0.25)
        if request.get("stream"):
            deltas = [SimpleNamespace(content=text, tool_calls=None) for text in ("hel", "lo")]
            chunks = [SimpleNamespace(choices=[SimpleNamespace(delta=delta, finish_reason=None)]) for delta in deltas]
            chunks[-1].choices[0].finish_reason = "stop"
            return iter([*chunks, SimpleNamespace(choices=[], usage=usage)])
        message = SimpleNamespace(content="hello", tool_calls=None)
        return SimpleNamespace(choices=[SimpleNamespace(message=message, finish_reason="stop")], usage=usage)


@BOTH
@pytest.mark.parametrize("kind", [ApiModel, LiteLLMModel])
def test_a_client_is_asked_in_litellms_place(stream, kind):
    client = Double()
    reply = ask(kind("any/name", client=client, temperature=1), stream, stop_sequences=["x"])
    assert (reply.text, reply.token_usage) == ("hello", TokenUsage(5, 2, cost=0.25))
    [request] = client.requests
    assert (request["model"], request["stop"], request["temperature"]) == ("any/name", ["x"], 1)
    assert request["messages"][0]["content"] in ("Be brief.", [{"type": "text", "text": "Be brief."}])


def test_hugging_faces_router_is_told_the_provider():
    client = Double()
    ask(InferenceClientModel("org/name", "together", "hf", client=client))
    ask(InferenceClientModel("org/name", "auto", "hf", client=client))
    assert [request["model"] for request in client.requests] == [
        "huggingface/org/name:together",
        "huggingface/org/name",
    ]
    assert {request["api_base"] for request in client.requests} == {"https://router.huggingface.co/v1"}
    assert (client.requests[0]["timeout"], client.requests[0]["api_key"]) == (120, "hf")


def test_a_client_of_the_openai_package_is_handed_to_litellm():
    openai = pytest.importorskip("openai")
    with ModelServer(*[Text("hello")] * 3) as server, openai.OpenAI(base_url=server.url, api_key="mine") as client:
        for model in given("double", client, OpenAIModel):
            assert ask(model).text == "hello"
            assert model.client is client
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer mine"}


def given(model_id, client, kind):
    """Models with this client, given in each of the ways."""

    class Mine(kind):
        def create_client(self):
            return client

    later = kind(model_id)
    later.client = client
    return kind(model_id, client=client), later, Mine(model_id)


@BOTH
def test_openai_s_client_is_made_where_an_argument_needs_one(stream):
    with ModelServer(Text("hello")) as server, httpx.Client(headers={"X-Proxy": "1"}) as http:
        arguments = {"http_client": http, "default_query": {"team": "a"}, "default_headers": {"X-Mine": "1"}}
        model = OpenAIModel("double", server.url, "sk", project="pro", client_kwargs=arguments)
        assert ask(model, stream).text == "hello"
    [request] = server.requests
    assert request.path.endswith("/chat/completions?team=a")
    wanted = {"authorization": "Bearer sk", "x-proxy": "1", "x-mine": "1", "openai-project": "pro"}
    assert wanted.items() <= request.headers.items()


@BOTH
@pytest.mark.parametrize("name", ["double", "gpt-4o"])
def test_parameters_of_openai_s_api_arrive_where_they_belong(stream, name):
    body = {"user": "u", "metadata": {"a": "b"}, "verbosity": "low", "extra_body": {"top_k": 3}, "seed": 4}
    with ModelServer(Text("hello"), Text("hello")) as server:
        model = OpenAIModel(name, server.url, "sk", extra_query={"api-version": "1"}, **body)
        assert [ask(model, stream).text for _ in range(2)] == ["hello"] * 2
    for request in server.requests:
        assert request.path.endswith("/chat/completions?api-version=1")
        given = {**body, **body["extra_body"]}
        del given["extra_body"]
        assert {key: request.body.get(key) for key in given} == given
        assert "extra_body" not in request.body and "extra_query" not in request.body


class OwnGenerate(OpenAIModel):
    """As programs written for smolagents have it."""

    def generate(self, messages, stop_sequences=None, **options):
        request = self._prepare_completion_kwargs(messages, stop_sequences, model=self.model_id, **options)
        reply = self.retryer(self.client.chat.completions.create, **request)
        return ChatMessage(MessageRole.ASSISTANT, reply.choices[0].message.content)


def test_a_program_s_own_generate_has_a_client_of_the_openai_package():
    openai = pytest.importorskip("openai")
    kept = "sk-" + secrets.token_hex(12)
    with ModelServer(*[Text("hello")] * 3) as server, httpx.Client(headers={"X-Proxy": "1"}) as http:
        arguments = {"default_headers": {"X-Mine": "1"}, "max_retries": 0, "timeout": 9}
        for more in ({}, {"http_client": http}):
            model = OwnGenerate("double", server.url, kept, "org", "pro", client_kwargs={**arguments, **more})
            assert ask(model).text == "hello"
            assert isinstance(model.client, openai.OpenAI) and model.client is model.client
        assert redacted(f"with {kept}") != f"with {kept}"
        plain = OpenAIModel("double", server.url, kept)
        assert plain.client.chat.completions and plain.named_as == ["openai/double"]
        assert ask(plain).text == "hello"
        assert kept not in str(plain.to_dict())
    wanted = {"authorization": f"Bearer {kept}", "x-mine": "1", "openai-project": "pro"}
    for request, more in zip(server.requests, [{}, {"x-proxy": "1"}], strict=False):
        assert (wanted | {"openai-organization": "org"} | more).items() <= request.headers.items()


def test_a_client_of_the_openai_package_says_what_it_lacks(monkeypatch):
    openai = pytest.importorskip("openai")
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ModelError, match=r"OpenAIModel: no client can be made of its arguments .*OPENAI_API_KEY"):
        assert OpenAIModel("double").client
    assert OpenAIModel("double", "http://127.0.0.1:9/v1").client.api_key == "none"
    with pytest.raises(ModelError, match="switched off"):
        assert OpenAIModel("double", api_key="k").client
    monkeypatch.delenv("SMOL_ALLOW_MODEL_REQUESTS")
    azure = AzureOpenAIModel("dep", "https://mine.openai.azure.com", "k", "2024-10-21").client
    assert isinstance(azure, openai.AzureOpenAI) and str(azure.base_url).startswith("https://mine.openai.azure.com/")
    by_address = {"base_url": "https://mine.example/openai", "api_version": "2024-10-21"}
    azure = AzureOpenAIModel("dep", api_key="k", client_kwargs=by_address).client
    assert str(azure.base_url).startswith("https://mine.example/openai")


def test_a_client_that_cannot_be_asked_is_refused_however_it_is_given():
    class Mine(OpenAIModel):
        def create_client(self):
            return 7

    model = OpenAIModel("double")
    with pytest.raises(ModelError, match="client has to have completion"):
        model.client = 7
    with pytest.raises(ModelError, match="client has to have completion"):
        ask(Mine("double"))


def test_a_class_of_ones_own_may_use_the_retries():
    class Mine(ApiModel):
        def create_client(self):
            return iter([ConnectionResetError("reset"), "made it"])

        def generate(self, messages, **kwargs):
            self._apply_rate_limit()
            request = self._prepare_completion_kwargs(messages, tool_choice=None, **kwargs)
            return ChatMessage(MessageRole.ASSISTANT, self.retryer(self.send, request))

        def send(self, request):
            reply = next(self.client)
            if isinstance(reply, Exception):
                raise OSError("connection lost") from type("ReadError", (Exception,), {})()
            return f"{reply}: {request['messages'][1]['content']}"

    assert Mine("x", retry_wait=0).generate(MESSAGES).text == "made it: Say hello."


# Retries and errors


def test_one_attempt_only_where_no_retry_is_wanted():
    for options in ({"retry": False}, {"client_kwargs": {"max_retries": 0}}):
        with ModelServer(Status(503), Text("x")) as server:
            with pytest.raises(ModelError, match="failed: the double says no"):
                ask(OpenAIModel("double", server.url, **options))
            assert len(server.requests) == 1


def test_a_date_to_wait_until_is_understood():
    waits = []
    until = email.utils.formatdate(time.time() + 30, usegmt=True)
    with ModelServer(Status(429, retry_after=until)) as server:
        model = OpenAIModel("double", server.url, on_retry=lambda message, wait: waits.append(wait) or 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ask(model)
    assert 20 < waits[0] <= 31


@BOTH
@pytest.mark.parametrize(
    "words",
    [
        "This model's maximum context length is 8192 tokens",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "the request exceeds the available context size, try increasing it",
        "Please reduce the length of the messages or completion",
        "input length and `max_tokens` exceed context limit: 3 + 1 > 3",
        "`inputs` tokens + `max_new_tokens` must be <= 4096",
    ],
)
def test_a_conversation_too_long_has_an_error_of_its_own(stream, words):
    with ModelServer(Status(400, words)) as server:
        with pytest.raises(ContextLengthError, match="longer than the model can read"):
            ask(OpenAIModel("double", server.url), stream)
        assert len(server.requests) == 1


def test_too_many_tokens_a_minute_are_not_a_conversation_too_long():
    words = "Rate limit reached: too many input tokens per minute"
    with ModelServer(Status(429, words, retry_after="0"), Text("x")) as server:
        assert ask(OpenAIModel("double", server.url)).text == "x"


# Cost


def usage(cached=0):
    import litellm

    return litellm.Usage(
        prompt_tokens=1000,
        completion_tokens=100,
        total_tokens=1100,
        prompt_tokens_details={"cached_tokens": cached},
    )


@pytest.mark.parametrize(
    ("model", "known"),
    [
        (LiteLLMModel("openai/gpt-4o"), True),
        (OpenAIModel("gpt-4o"), True),
        (LiteLLMModel("anthropic/claude-sonnet-4-5"), True),
        (AmazonBedrockModel("us.amazon.nova-pro-v1:0"), True),
        (AzureOpenAIModel("gpt-4o", "https://mine.openai.azure.com"), True),
        (AzureOpenAIModel("my-deployment", "https://mine.openai.azure.com"), False),
        (OpenAIModel("gpt-4o", "https://proxy.example/v1"), False),
        (OpenAIModel("gpt-4o", "http://localhost:8000/v1"), False),
        (LiteLLMModel("openai/unheard-of"), False),
        (LiteLLMModel("ollama/llama3"), False),
        (InferenceClientModel(), False),
        (LiteLLMModel("nonsense/x"), False),
    ],
    ids=repr,
)
def test_a_cost_is_known_or_unknown_and_never_nothing(model, known):
    plain, cached = (model._count(usage(tokens), None) for tokens in (0, 400))
    assert (plain.cost is not None, cached.cost is not None) == (known, known)
    if known:
        assert plain.cost > cached.cost > 0
        assert model.usage.cost == pytest.approx(plain.cost + cached.cost)
    assert cached.cached_tokens == 400


@BOTH
def test_prices_that_were_given_count(stream):
    with ModelServer(Text("a", cached_tokens=5), Text("b")) as server:
        model = OpenAIModel("double", server.url, input_cost_per_token=0.5, output_cost_per_token=2.0)
        assert ask(model, stream).token_usage == TokenUsage(11, 7, cached_tokens=5, cost=19.5)
        ask(model, stream)
    assert model.usage.cost == 39.0
    assert "input_cost_per_token" not in server.requests[0].body


def test_one_unknown_cost_makes_the_sum_unknown():
    model = LiteLLMModel("x", client=Double())
    ask(model)
    assert model.usage.cost == 0.25
    model._count(SimpleNamespace(prompt_tokens=1, completion_tokens=1), None)
    ask(model)
    assert model.usage.cost is None
