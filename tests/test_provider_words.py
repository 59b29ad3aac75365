"""What providers say in words alone: a conversation is too long, how long to wait, a key is missing or bad."""

from __future__ import annotations

import pytest
from model_server import ModelServer, Refused, Status, Text

from smol_kernel.errors import ContextLengthError, ModelError
from smol_kernel.memory.messages import ChatMessage, MessageRole, agglomerate_stream_deltas
from smol_kernel.models.litellm import LiteLLMModel

MESSAGES = [ChatMessage(MessageRole.USER, "Say hello.")]
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


@pytest.fixture(autouse=True)
def nothing_leaves_this_machine(monkeypatch):
    monkeypatch.setenv("SMOL_ALLOW_MODEL_REQUESTS", "0")
    for provider in ("OPENAI", "GEMINI", "GOOGLE", "COHERE", "FIREWORKS", "FIREWORKS_AI", "XAI"):
        monkeypatch.delenv(f"{provider}_API_KEY", raising=False)


def refusal(behaviors, stream=False, name="openai/double", **options):
    """What a model says that was answered so, and how often it asked."""
    with ModelServer(*behaviors) as server:
        options = {"retry_wait": 0.001, "api_base": server.url, **options}
        model = LiteLLMModel(name, **options)
        with pytest.raises(ModelError) as caught:
            list(model.generate_stream(MESSAGES)) if stream else model.generate(MESSAGES)
        return caught.value, len(server.requests)


# A conversation that is too long


TOO_LONG = {
    "vLLM": "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
    "newer vLLM": (
        "You passed 5000 input tokens and requested 0 output tokens. However, the model's context length is only 4096 "
        "tokens, resulting in a maximum input length of 4096 tokens. Please reduce the length of the input prompt."
    ),
    "LM Studio": "However, the model is loaded with context length of only 4096 tokens, which is not enough.",
    "LM Studio's other": "The number of tokens to keep from the initial prompt is greater than the context length.",
    "xAI": "This model's maximum prompt length is 131072 but the request contains 150000 tokens.",
    "Moonshot": "Invalid request: Your request exceeded model token limit: 262144 (requested: 300000)",
    "Zhipu": "Prompt exceeds max length",
    "DashScope": "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 129024]",
    "Ollama": "prompt too long; exceeded max context length by 1000 tokens",
    "OpenAI": "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens.",
}
BEYOND = {  # words → what there is in all
    "'max_tokens' or 'max_completion_tokens' is too large: 8192. This model's maximum context length is 4096 tokens "
    "and your request has 100 input tokens (8192 > 4096 - 100).": 4096,
    "You passed 100 input tokens and requested 8192 output tokens. However, the model's context length is only 4096 "
    "tokens, resulting in a maximum input length of -4096 tokens.": 4096,
    "This model's maximum context length is 8192 tokens. However, you requested 8292 tokens (100 in the messages, "
    "8192 in the completion). Please reduce the length of the messages or completion.": 8192,
    "input length and `max_tokens` exceed context limit: 100 + 8192 > 8000": 8000,
    "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 100 `inputs` tokens and 8192 `max_new_tokens`": 4096,
}


@pytest.mark.parametrize("provider", TOO_LONG)
def test_a_conversation_that_is_too_long_is_known_by_the_words(provider):
    error, _ = refusal([Status(400, TOO_LONG[provider])])
    assert isinstance(error, ContextLengthError) and "max_tokens" not in str(error)


@BOTH
def test_it_may_come_with_another_status_or_as_a_code(stream):
    assert isinstance(refusal([Status(500, "Context size has been exceeded.")], stream)[0], ContextLengthError)
    body = Status(413, "Request body too large for gpt-4o model. Max size: 8000 tokens.", "tokens_limit_reached")
    assert isinstance(refusal([body], stream)[0], ContextLengthError)


@pytest.mark.parametrize("words", BEYOND)
def test_room_for_the_reply_that_no_model_has_is_no_conversation_that_is_too_long(words):
    error, asked = refusal([Status(400, words)])
    assert not isinstance(error, ContextLengthError) and asked == 1
    assert "max_tokens=8192 leaves no room" in str(error) and f"has {BEYOND[words]} tokens" in str(error)


def test_a_conversation_may_be_too_long_beside_the_room_for_its_reply():
    words = (
        "'max_tokens' or 'max_completion_tokens' is too large: 2000. This model's maximum context length is 4096 "
        "tokens and your request has 3000 input tokens (2000 > 4096 - 3000)."
    )
    error, _ = refusal([Status(400, words)])
    assert isinstance(error, ContextLengthError) and "lower max_tokens=2000" in str(error)


# Keys


@pytest.mark.parametrize(
    ("name", "variable"),
    [("gemini/gemini-2.5-flash", "GEMINI_API_KEY"), ("fireworks_ai/some", "FIREWORKS_API_KEY")],
)
def test_a_key_that_is_not_there_is_no_broken_connection(name, variable):
    error, asked = refusal([], name=name)
    assert f"needs a key: set {variable} (in a notebook" in str(error) and not asked


def test_what_fails_before_it_is_sent_is_no_broken_connection():
    told = []
    error, asked = refusal([], name="sagemaker/x", api_base=None, on_retry=lambda *each: told.append(each))
    assert "connection" not in str(error) and not told and not asked


@BOTH
def test_what_is_said_of_a_bad_key_is_told_without_it(stream):
    words = "You have insufficient permissions; key sk-MINEMINE1234"
    error, _ = refusal([Status(401, words)], stream, api_key="sk-MINEMINE1234")
    assert str(error).endswith(
        "refused the key (401). Check OPENAI_API_KEY or api_key. It says: You have insufficient permissions; key …"
    )


GEMINI = {
    "error": {"code": 400, "message": "API key not valid. Please pass one.", "details": [{"reason": "API_KEY_INVALID"}]}
}


@pytest.mark.parametrize(
    ("name", "status", "body", "variable"),
    [
        ("gemini/gemini-2.5-flash", 400, GEMINI, "GEMINI_API_KEY"),
        ("xai/grok-4", 400, {"code": "x", "error": "Incorrect API key provided: sk. Obtain one"}, "XAI_API_KEY"),
        ("cohere_chat/command-r", 401, {"message": "no auth"}, "COHERE_API_KEY"),
    ],
)
def test_a_bad_key_names_its_variable(name, status, body, variable):
    error, asked = refusal([Refused(status, body)], name=name, api_key="sk-BADBADBAD")
    assert f"refused the key ({status}). Check" in str(error) and variable in str(error) and asked == 1
    assert "COHERE_CHAT" not in str(error)


@BOTH
@pytest.mark.parametrize(
    ("status", "words", "told"),
    [
        (401, "Missing or invalid API key", "refused the key (401)"),
        (401, "No API key that counts", "refused the key (401)"),
        (403, "missing scopes for api key", "refused access (403)"),
        (500, "upstream: OPENAI_API_KEY is not set", "failed: upstream"),
        (500, "upstream: missing credentials", "failed: upstream"),
    ],
)
def test_a_key_that_was_sent_is_not_missing(status, words, told, stream):
    error, asked = refusal([Status(status, words)] * 9, stream, api_key="sk-MINEMINE1234")
    assert told in str(error) and words in str(error)
    assert (asked > 1) is (status == 500)


def test_names_that_litellm_does_not_know_are_guessed():
    assert "'gemini/gemini-2.5-pro'?" in str(refusal([], name="google/gemini-2.5-pro")[0])
    assert "names a provider and no model of it: write it as 'openai/NAME'" in str(refusal([], name="openai")[0])


# Waits


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ({"error": {"message": "Limit 30000, Used 28000. Please try again in 20.4s."}}, 20.4),
        ({"error": {"message": "Please try again in 350ms."}}, 0.35),
        ({"error": {"message": "Please retry after 27 seconds."}}, 27),
        ([{"error": {"message": "Quota.\nPlease retry in 34.07s.", "details": [{"retryDelay": "34s"}]}}], 34),
        ({"error": {"message": "exceeded. Please try again in 1m0.5s."}}, 60.5),
        ({"error": {"message": "exceeded. Please try again in 1h2m."}}, 3720),
        ({"error": {"message": "Retry in 1 minute, 30 secs."}}, 90),
        ({"error": {"message": "Please retry after 2 seconds, 3 messages a minute are allowed"}}, 2),
        ({"error": {"message": "Try again in 1s, 5 minutes at most."}}, 1),
        ({"error": {"message": "Retry after 3 more messages, or try again in 4 sec"}}, 4),
    ],
)
def test_a_wait_that_is_only_told_in_words_is_kept(body, seconds):
    told = []

    class Stop(Exception):
        pass

    def heard(message, wait):
        told.append(wait)
        raise Stop

    with ModelServer(Refused(429, body)) as server:
        model = LiteLLMModel("openai/double", api_base=server.url, on_retry=heard)
        with pytest.raises((Stop, ModelError)) as caught:
            model.generate(MESSAGES)
    assert (
        told == [pytest.approx(seconds)]
        if seconds <= 60
        else f"it asks to wait {seconds:.0f} seconds" in str(caught.value)
    )


def test_gemini_tells_its_wait_in_the_body():
    told = []
    error = {"code": 429, "message": "Quota.\nPlease retry in 0.01s.", "status": "RESOURCE_EXHAUSTED"}
    error["details"] = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.001s"}]
    part = {"content": {"role": "model", "parts": [{"text": "hello"}]}, "finishReason": "STOP", "index": 0}
    reply = Refused(200, {"candidates": [part], "usageMetadata": {"promptTokenCount": 1, "totalTokenCount": 1}})
    with ModelServer(Refused(429, {"error": error}), reply) as server:
        model = LiteLLMModel("gemini/gemini-2.5-flash", server.url, "k", on_retry=lambda *each: told.append(each[1]))
        assert model.generate(MESSAGES).text == "hello"
    assert told == [0.001]


@BOTH
def test_a_header_goes_before_the_words(stream):
    told = []
    words = "Please try again in 50s."
    with ModelServer(Status(429, words, retry_after="0.001"), Text("x")) as server:
        model = LiteLLMModel("openai/double", server.url, on_retry=lambda *each: told.append(each[1]))
        pieces = model.generate_stream(MESSAGES) if stream else [model.generate(MESSAGES)]
        assert agglomerate_stream_deltas(list(pieces)).text == "x" if stream else pieces[0].text == "x"
    assert told == [0.001]
