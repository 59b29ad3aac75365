"""LiteLLMModel against a real HTTP server on this machine, and how messages are made ready for it."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from loaded_shell import loaded_shell
from model_server import Cut, Hang, ModelServer, Raw, Status, Text, ToolCall, unused_address

from smol_kernel.errors import ConfigError, MissingDependencyError, ModelError
from smol_kernel.events import Notice
from smol_kernel.memory.messages import ChatMessage, MessageRole, agglomerate_stream_deltas
from smol_kernel.memory.usage import TokenUsage
from smol_kernel.models import litellm as seam
from smol_kernel.models.call import ModelCall
from smol_kernel.models.litellm import LiteLLMModel
from smol_kernel.models.media import image_url
from smol_kernel.models.quirks import supports_stop_parameter
from smol_kernel.models.replies import StopScan, remove_content_after_stop_sequences
from smol_kernel.models.requests import (
    REMOVE_PARAMETER,
    get_clean_message_list,
    get_tool_json_schema,
    require_allowed,
)
from smol_kernel.tools import tool

MESSAGES = [ChatMessage(MessageRole.SYSTEM, "Be brief."), ChatMessage(MessageRole.USER, "Say hello.")]
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


@pytest.fixture(autouse=True)
def nothing_leaves_this_machine(monkeypatch):
    monkeypatch.setenv("SMOL_ALLOW_MODEL_REQUESTS", "0")
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE"):
        monkeypatch.delenv(name, raising=False)


def model_at(server, **options):
    return LiteLLMModel(**{"model_id": "openai/double", "api_base": server.url, "retry_wait": 0, **options})


def ask(model, stream=False, **options):
    """The reply, asked plainly or as a stream put together again."""
    if stream:
        return agglomerate_stream_deltas(model.generate_stream(MESSAGES, **options))
    return model.generate(MESSAGES, **options)


def refusal(model, stream=False, **options):
    with pytest.raises(ModelError) as caught:
        ask(model, stream, **options)
    return caught.value


# Replies


@BOTH
def test_a_reply_comes_with_its_text_and_usage(stream):
    with ModelServer(Text("Hello, world.", cached_tokens=5)) as server:
        reply = ask(model_at(server), stream)
    assert (reply.role, reply.text) == (MessageRole.ASSISTANT, "Hello, world.")
    assert reply.token_usage == TokenUsage(11, 7, cached_tokens=5)


@BOTH
def test_usage_is_none_where_the_server_tells_none(stream):
    with ModelServer(Text("Hello", usage=False)) as server:
        model = model_at(server)
        reply = ask(model, stream)
    assert (reply.text, reply.token_usage, model.usage) == ("Hello", None, TokenUsage(0, 0))


def test_a_model_sums_the_usage_of_all_its_requests():
    with ModelServer(Text("a", cached_tokens=2), Text("b")) as server:
        model = model_at(server)
        ask(model)
        ask(model, stream=True)
    assert model.usage == TokenUsage(22, 14, cached_tokens=2)


def test_a_stream_yields_pieces_as_they_come():
    with ModelServer(Text("0123456789")) as server:
        pieces = [piece.content for piece in model_at(server).generate_stream(MESSAGES)]
    assert pieces == ["01234", "56789", None]


@BOTH
def test_what_is_sent_is_what_was_meant(stream):
    with ModelServer(Text("x")) as server:
        ask(model_at(server, temperature=0.5, seed=1), stream, stop_sequences=["END"], seed=REMOVE_PARAMETER)
    body = server.requests[0].body
    assert body["model"] == "double"
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Say hello."},
    ]
    assert (body["temperature"], body["stop"], "seed" in body) == (0.5, ["END"], False)


@BOTH
def test_a_key_is_sent_and_a_local_server_needs_none(stream):
    with ModelServer(Text("x"), Text("y")) as server:
        ask(model_at(server, api_key="sk-mine"), stream)
        ask(model_at(server), stream)
    assert [request.headers["authorization"] for request in server.requests] == ["Bearer sk-mine", "Bearer none"]


@BOTH
def test_a_stop_sequence_the_server_ignores_ends_the_reply_all_the_same(stream):
    with ModelServer(Text("one two STOP three")) as server:
        reply = ask(model_at(server), stream, stop_sequences=["never", "STOP"])
    assert reply.text == "one two "
    assert reply.token_usage == TokenUsage(11, 7)


def test_models_without_stop_sequences_are_not_sent_any():
    with ModelServer(Text("one STOP")) as server:
        reply = ask(model_at(server, model_id="openai/gpt-5"), stop_sequences=["STOP"])
    assert ("stop" in server.requests[0].body, reply.text) == (False, "one ")


@pytest.mark.parametrize(
    ("model_id", "supported"),
    [("openai/o3", False), ("o4-mini", False), ("gpt-5.1", False), ("xai/grok-4", False), ("openai/gpt-4.1", True)],
)
def test_which_models_support_stop_sequences(model_id, supported):
    assert supports_stop_parameter(model_id) is supported


def test_tools_are_offered_and_a_call_comes_back():
    @tool
    def search(query: str, limit: int = 5) -> str:
        """Searches.

        Args:
            query: What for.
            limit: How many.
        """
        return query

    with ModelServer(ToolCall("search", {"query": "x"})) as server:
        reply = ask(model_at(server), tools_to_call_from=[search])
    assert [(call.function.name, call.function.arguments) for call in reply.tool_calls] == [
        ("search", '{"query": "x"}')
    ]
    assert server.requests[0].body["tools"] == [get_tool_json_schema(search)]
    assert get_tool_json_schema(search)["function"]["parameters"] == {
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "What for."},
            "limit": {"type": "integer", "nullable": True, "default": 5, "description": "How many."},
        },
        "required": ["query"],
    }


# Retries


@BOTH
@pytest.mark.parametrize("trouble", [Status(429, retry_after="0"), *map(Status, (408, 500, 503, 504)), Cut()], ids=str)
def test_passing_trouble_is_tried_again(stream, trouble):
    waits = []
    with ModelServer(trouble, trouble, Text("at last")) as server:
        reply = ask(model_at(server, on_retry=lambda message, seconds: waits.append(message)), stream)
    assert (reply.text, len(server.requests), len(waits)) == ("at last", 3, 2)


@pytest.mark.parametrize("code", [429, 502])
def test_trouble_told_in_a_reply_with_status_200_is_tried_again(code):
    trouble = Raw(json.dumps({"error": {"code": code, "message": "Provider returned error"}}))
    with ModelServer(trouble, Text("at last")) as server:
        assert ask(model_at(server)).text == "at last"


@BOTH
def test_trouble_that_stays_ends_after_four_attempts(stream):
    with ModelServer(*[Status(500, "on fire")] * 5) as server:
        error = refusal(model_at(server), stream)
    assert len(server.requests) == 4
    assert "failed: on fire (500) (tried 4 times)" in str(error)
    assert error.__cause__ is not None


def test_the_wait_is_what_the_server_asks_for():
    waits = []
    with ModelServer(Status(429, retry_after="0.001"), Text("x")) as server:
        ask(model_at(server, retry_wait=30, on_retry=lambda message, seconds: waits.append(seconds)))
    assert waits == [0.001]


def test_the_wait_doubles_with_jitter_where_the_server_asks_for_none():
    waits = []
    with ModelServer(Status(500), Status(500), Text("x")) as server:
        ask(model_at(server, retry_wait=0.001, on_retry=lambda message, seconds: waits.append(seconds)))
    assert 0.00075 <= waits[0] <= 0.00125 and 0.0015 <= waits[1] <= 0.0025


@BOTH
def test_who_watches_is_told_why_it_takes_longer(stream):
    with ModelServer(Status(429, retry_after="0"), Text("x")) as server:
        call = ModelCall(model_at(server), MESSAGES, stream=stream)
        told = [piece.text for piece in call if isinstance(piece, Notice)]
    assert len(told) == 1
    assert re.search(r"too many requests: .* \(429\)\. Trying again in 1 s\.$", told[0])
    assert call.message.text == "x"


def test_a_server_that_asks_for_an_hour_is_not_waited_for():
    with ModelServer(Status(429, retry_after="3600"), Text("x")) as server:
        error = refusal(model_at(server))
    assert len(server.requests) == 1
    assert "too many requests: the double says no (429) (it asks to wait 3600 seconds)" in str(error)


@pytest.mark.parametrize("clean", [False, True], ids=["broken", "ended early"])
def test_a_stream_cut_in_the_middle_is_an_error_and_not_asked_again(clean):
    heard = []
    with (
        ModelServer(Cut("0123456789", clean=clean), Text("x")) as server,
        pytest.raises(ModelError, match=re.escape("(in the middle of the reply)")),
    ):
        heard.extend(piece.content for piece in model_at(server).generate_stream(MESSAGES))
    assert (heard, len(server.requests)) == (["01234", "56789"], 1)


def test_a_plain_reply_cut_in_the_middle_is_asked_again():
    with ModelServer(Cut("half of this"), Text("all of this")) as server:
        assert ask(model_at(server)).text == "all of this"


# Errors


@BOTH
@pytest.mark.parametrize(
    ("behavior", "message"),
    [
        (Status(401), "refused the key (401). Check OPENAI_API_KEY or api_key"),
        (Status(403), "refused access (403). Check OPENAI_API_KEY or api_key. It says: the double says no"),
        (Status(404), "knows no model 'double' (404)"),
        (Status(400, "max_tokens is too large"), "refused the request: max_tokens is too large (400)"),
        (
            Status(400, "maximum context length is 8 tokens", "context_length_exceeded"),
            "longer than the model can read",
        ),
        (Status(429, "pay", "insufficient_quota"), "the quota of this key is used up"),
        (Raw("{not json", "text/plain"), "is no chat completion"),
        (Raw("<html>Welcome</html>", "text/html"), "is no chat completion"),
        (Raw("", "text/plain"), "is no chat completion"),
    ],
    ids=str,
)
def test_each_failure_has_a_sentence_and_is_not_tried_again(stream, behavior, message):
    with ModelServer(behavior, Text("x")) as server:
        error = refusal(model_at(server), stream)
    assert message in str(error) and "'openai/double'" in str(error)
    assert len(server.requests) == 1


@BOTH
def test_an_empty_reply_is_a_reply_for_the_loop_to_repair(stream):
    with ModelServer(Text("")) as server:
        assert ask(model_at(server), stream).text == ""


@BOTH
def test_a_reply_that_was_held_back_is_no_empty_reply(stream):
    with ModelServer(Text("", finish="content_filter")) as server:
        assert "the provider's content filter held the reply back" in str(refusal(model_at(server), stream))


def test_a_refusal_is_told():
    message = {"role": "assistant", "content": None, "refusal": "I cannot help with that."}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = {"id": "1", "object": "chat.completion", "created": 1, "model": "double", "choices": [choice]}
    with ModelServer(Raw(json.dumps(body))) as server:
        assert "refused to answer: I cannot help with that." in str(refusal(model_at(server)))


@BOTH
def test_a_refused_connection_names_the_address(stream):
    address = unused_address()
    error = refusal(LiteLLMModel("openai/double", api_base=address), stream)
    assert f"nobody answers at {address}: connection refused" in str(error)
    assert error.__cause__ is not None


@pytest.mark.parametrize("key", ["double", "openai", "e", "EMPTY"])
def test_a_word_given_as_a_key_is_not_taken_out_of_what_is_said(key):
    error = str(refusal(LiteLLMModel("openai/double", api_base=unused_address(), api_key=key, retry=False)))
    assert "model 'openai/double': nobody answers at" in error


class Sent:
    """A stream that ends in an error, after `pieces`."""

    def __init__(self, code, *pieces):
        self.events = [*pieces, {"error": {"message": "what is wrong with it", "code": code, "type": "x"}}]

    def answer(self, handler, request):
        handler.start_stream()
        for event in self.events:
            handler.send_event(event)
        handler.end_stream()


@pytest.mark.parametrize("pieces", [0, 1])
@pytest.mark.parametrize(
    ("code", "passes"), [("bad_image", False), (400, False), (500, True), ("429", True), (None, True)]
)
def test_an_error_in_a_stream_has_its_own_words(code, passes, pieces):
    delta = {"index": 0, "delta": {"role": "assistant", "content": "Hm"}, "finish_reason": None}
    piece = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "double", "choices": [delta]}
    with ModelServer(*[Sent(code, *[piece] * pieces)] * 4) as server:
        error = refusal(model_at(server), stream=True)
    assert "what is wrong with it" in str(error)
    assert len(server.requests) == (4 if passes and not pieces else 1)


def test_a_password_in_an_address_is_not_told():
    address = unused_address().replace("://", "://ada:secret@")
    error = str(refusal(LiteLLMModel("openai/double", api_base=address)))
    assert "secret" not in error
    assert "127.0.0.1" in error


def test_a_model_that_repeats_itself_without_end_is_told_so():
    with ModelServer(*[Text("again" * 300)] * 3) as server:
        error = refusal(model_at(server), stream=True)
    assert "repeated itself without end (in the middle of the reply)" in str(error)


def test_a_refused_connection_to_ollama_asks_whether_it_runs():
    assert "Is Ollama running?" in str(refusal(LiteLLMModel("ollama_chat/qwen3", api_base=unused_address())))


def test_a_missing_key_names_the_variable_to_set():
    message = "model 'openai/gpt-4.1-mini' needs a key: set OPENAI_API_KEY (in a notebook: %env OPENAI_API_KEY=…"
    assert str(refusal(LiteLLMModel("openai/gpt-4.1-mini"))).startswith(message)


def test_an_unknown_provider_shows_the_form():
    error = refusal(LiteLLMModel("qwen3"))
    assert "does not say which provider it is of" in str(error)
    assert "'openai/qwen3'" in str(error) and "'ollama/qwen3'" in str(error)


def test_a_provider_that_there_is_not_is_named():
    unknown = str(refusal(LiteLLMModel("nonsense/qwen3")))
    assert "names the provider 'nonsense', which LiteLLM does not know. At an OpenAI-compatible server" in unknown
    assert "'openai/nonsense/qwen3'" in unknown
    assert "Did you mean 'anthropic/claude'?" in str(refusal(LiteLLMModel("Antropic/claude")))
    assert "notebook" not in unknown


def test_of_variables_it_speaks_in_a_notebook_only():
    assert "notebook" not in str(refusal(LiteLLMModel("m")))
    with loaded_shell():
        assert "No variable of the notebook is called m either" in str(refusal(LiteLLMModel("m")))


@pytest.mark.parametrize("model_id", [None, "", "  ", 7])
def test_a_model_without_a_name_says_what_to_set(model_id):
    with pytest.raises(ModelError, match=re.escape("LiteLLMModel('openai/gpt-4.1-mini')")):
        LiteLLMModel(model_id)


@BOTH
def test_a_key_never_shows_in_an_error(stream, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-the-environment")
    behaviors = [Status(400, "bad key sk-given"), Status(400, "bad key sk-from-the-environment")]
    with ModelServer(*behaviors) as server:
        messages = [str(refusal(model_at(server, api_key=key), stream)) for key in ("sk-given", None)]
    assert all("bad key …" in message for message in messages)


# The switch


def test_requests_to_the_outside_can_be_forbidden():
    message = "switched off by SMOL_ALLOW_MODEL_REQUESTS=0"
    assert message in str(refusal(LiteLLMModel("openai/gpt-4.1-mini", api_key="sk-x")))
    assert message in str(refusal(LiteLLMModel("openai/x", api_base="http://192.0.2.1/v1", api_key="sk-x")))


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:1/v1", "http://localhost:11434", "http://[::1]:80", "localhost:80", "127.5.0.1"]
)
def test_this_machine_is_always_allowed(address):
    require_allowed(address, "m")


@pytest.mark.parametrize("address", [None, "", "https://api.openai.com", "http://localhost.example.com", "10.0.0.1"])
def test_everything_else_counts_as_outside(address, monkeypatch):
    with pytest.raises(ModelError, match="is not on this machine"):
        require_allowed(address, "m")
    monkeypatch.delenv("SMOL_ALLOW_MODEL_REQUESTS")
    require_allowed(address, "m")


@pytest.mark.parametrize("said", ["off", "False", " no ", "0"])
def test_each_word_for_off_forbids_requests(said, monkeypatch):
    monkeypatch.setenv("SMOL_ALLOW_MODEL_REQUESTS", said)
    with pytest.raises(ModelError, match="is not on this machine"):
        require_allowed("https://api.openai.com", "m")
    require_allowed("http://127.0.0.1:1/v1", "m")


@pytest.mark.parametrize("said", ["", "on", "1", "TRUE", "yes"])
def test_each_word_for_on_allows_requests(said, monkeypatch):
    monkeypatch.setenv("SMOL_ALLOW_MODEL_REQUESTS", said)
    require_allowed("https://api.openai.com", "m")


def test_a_misspelt_switch_is_refused_by_name(monkeypatch):
    monkeypatch.setenv("SMOL_ALLOW_MODEL_REQUESTS", "of")
    with pytest.raises(ConfigError, match="SMOL_ALLOW_MODEL_REQUESTS is 'of': set it to off or on"):
        require_allowed("https://api.openai.com", "m")


# Leaving a request


@BOTH
def test_a_request_is_left_at_once_while_it_blocks(stream):
    hang = Hang("first ")
    with ModelServer(hang) as server:
        call = ModelCall(model_at(server), MESSAGES, stream=stream)
        threading.Thread(target=lambda: (hang.reached.wait(), call.abandon()), daemon=True).start()
        heard = "".join(piece.content or "" for piece in call)
        assert call.message is None
        assert "first ".startswith(heard)
        assert not hang.release.is_set()


def test_a_keyboard_interrupt_that_another_thread_hears_ends_the_wait():
    hang = Hang("first ")
    with ModelServer(hang) as server:
        call = ModelCall(model_at(server), MESSAGES)

        def press():  # the main thread is not woken by it
            hang.reached.wait()
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)

        threading.Thread(target=press, daemon=True).start()
        gives_up = threading.Timer(60, hang.release.set)
        gives_up.start()
        with pytest.raises(KeyboardInterrupt):
            list(call)
        gives_up.cancel()
        assert not hang.release.is_set()


def test_an_abandoned_request_is_not_tried_again():
    waiting = threading.Event()
    with ModelServer(Status(500), Text("x")) as server:
        model = model_at(server, retry_wait=30, on_retry=lambda message, seconds: waiting.set())
        before = set(threading.enumerate())
        call = ModelCall(model, MESSAGES)
        threading.Thread(target=lambda: (waiting.wait(), call.abandon()), daemon=True).start()
        assert all(isinstance(piece, Notice) for piece in call)
        assert call.message is None
        for thread in set(threading.enumerate()) - before:
            if thread.name == "smol-model-call":
                thread.join(timeout=20)
        assert len(server.requests) == 1


# Loading litellm


def run_python(code, **env):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LITELLM_", "SMOL_"))}
    clean["PYTHONPATH"] = str(Path(__file__).parent.parent)
    result = subprocess.run([sys.executable, "-c", code], env={**clean, **env}, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_importing_the_file_does_not_import_litellm():
    code = "import sys, smol_kernel.models.litellm as m; print('litellm' in sys.modules); m.LiteLLMModel('openai/x')"
    assert run_python(code + "; print('litellm' in sys.modules)").split() == ["False", "False"]


def test_loading_leaves_the_environment_as_it_was_and_reads_no_dotenv(tmp_path):
    (tmp_path / ".env").write_text("SECRET_OF_DOTENV=1\n")
    code = (
        "import os; os.chdir(os.environ['WHERE']); before = dict(os.environ)\n"
        "from smol_kernel.models.litellm import LiteLLMModel, load, warm_up\n"
        "model = LiteLLMModel('openai/x'); print(bool(model.slow_start)); warm_up(); load(); print(model.slow_start)\n"
        "print(before == dict(os.environ), os.environ.get('LITELLM_MODE'))"
    )
    assert run_python(code, WHERE=str(tmp_path)).split() == ["True", "None", "True", "None"]
    kept = run_python(code, WHERE=str(tmp_path), LITELLM_MODE="PRODUCTION")
    assert kept.split() == ["True", "None", "True", "PRODUCTION"]


def test_litellm_gets_no_global_callbacks():
    litellm = seam.load()
    before = [list(each) for each in (litellm.success_callback, litellm.failure_callback, litellm.callbacks)]
    with ModelServer(Text("x")) as server:
        ask(model_at(server))
    assert [litellm.success_callback, litellm.failure_callback, litellm.callbacks] == before
    assert before[1:] == [[], []] and set(before[0]) <= {"cache"}  # LiteLLM's for Gemini, if another test asked it
    assert litellm.cache is None


def test_a_missing_litellm_is_named():
    code = (
        "import sys; sys.modules['litellm'] = None\n"
        "from smol_kernel.models.litellm import load\n"
        "try: load()\n"
        "except ImportError as error: print(type(error).__name__, error)"
    )
    assert run_python(code).startswith(MissingDependencyError.__name__) and "pip install litellm" in run_python(code)


# Messages


def test_tool_roles_become_roles_that_providers_know():
    messages = [
        ChatMessage(MessageRole.USER, "task"),
        ChatMessage(MessageRole.TOOL_CALL, "call"),
        {"role": "tool-response", "content": "seen"},
    ]
    roles = {MessageRole.TOOL_CALL: MessageRole.ASSISTANT, MessageRole.TOOL_RESPONSE: MessageRole.USER}
    assert [entry["role"] for entry in get_clean_message_list(messages, roles)] == ["user", "assistant", "user"]
    assert [entry["role"] for entry in get_clean_message_list(messages)] == ["user", "tool-call", "tool-response"]


def test_neighbors_of_the_same_role_become_one_message():
    messages = [ChatMessage(MessageRole.USER, "a"), ChatMessage(MessageRole.USER, [{"type": "text", "text": "b"}])]
    assert get_clean_message_list(messages) == [{"role": "user", "content": [{"type": "text", "text": "a\nb"}]}]
    assert get_clean_message_list(messages, flatten_messages_as_text=True) == [{"role": "user", "content": "a\nb"}]


def test_cleaning_leaves_the_messages_themselves_alone():
    content = [{"type": "text", "text": "a"}]
    messages = [ChatMessage(MessageRole.USER, content), ChatMessage(MessageRole.USER, "b")]
    get_clean_message_list(messages, flatten_messages_as_text=True)
    assert content == [{"type": "text", "text": "a"}]


def test_images_travel_as_data_urls():
    image = pytest.importorskip("PIL.Image").new("RGB", (2, 1), "red")
    message = ChatMessage(MessageRole.USER, [{"type": "text", "text": "see"}, {"type": "image", "image": image}])
    with ModelServer(Text("red")) as server:
        model_at(server).generate([message])
    text, picture = server.requests[0].body["messages"][0]["content"]
    assert text == {"type": "text", "text": "see"}
    header, _, data = picture["image_url"]["url"].partition(",")
    assert header == "data:image/png;base64"
    from PIL import Image

    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (2, 1)


def _seen(image):
    from PIL import Image

    return Image.open(io.BytesIO(base64.b64decode(image_url(image).partition(",")[2])))


@pytest.mark.parametrize("mode", ["I", "F", "I;16B"])
def test_the_range_of_an_image_of_numbers_becomes_shades(mode):
    image = pytest.importorskip("PIL.Image").new(mode, (3, 1), 1000)
    image.putpixel((1, 0), 20_000)
    image.putpixel((2, 0), 30_000)
    assert [_seen(image).getpixel((x, 0)) // 5 for x in range(3)] == [0, 167 // 5, 255 // 5]


@pytest.mark.parametrize(("mode", "sent"), [("La", (50, 200)), ("RGBa", (50, 50, 50, 200)), ("PA", None)])
def test_an_image_that_can_be_seen_through_stays_so(mode, sent):
    Image = pytest.importorskip("PIL.Image")
    if sent is None:
        image, sent = Image.new(mode, (1, 1)), (50, 60, 70, 200)
        image.putpalette(sent[:3])
        image.putpixel((0, 0), (0, 200))
    else:
        image = Image.new(mode.upper(), (1, 1), sent).convert(mode)
    got = _seen(image).getpixel((0, 0))
    assert len(got) == len(sent) and all(abs(a - b) < 2 for a, b in zip(got, sent, strict=True))


def test_bytes_and_data_urls_are_images_too():
    assert image_url(b"\x89PNG...").startswith("data:image/png;base64,")
    assert image_url(b"\xff\xd8...").startswith("data:image/jpeg;base64,")
    assert image_url("data:image/png;base64,AA==") == "data:image/png;base64,AA=="
    with pytest.raises(ModelError, match="cannot send 5 as an image"):
        image_url(5)


def test_an_unknown_role_is_named():
    with pytest.raises(ModelError, match="unknown role 'narrator'"):
        get_clean_message_list([ChatMessage("narrator", "x")])


# Stop sequences


def test_text_ends_at_the_first_stop_sequence():
    assert remove_content_after_stop_sequences("a STOP b END", ["END", "STOP"]) == "a "
    assert remove_content_after_stop_sequences("a", None) == "a"


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_streamed_stop_sequence_is_found_however_it_is_cut(size):
    text, scan = "x </c y </code> z", StopScan(["</code>", "Observation:"])
    shown = [scan.feed(text[start : start + size]) for start in range(0, len(text), size)]
    assert "".join(shown) + scan.rest() == "x </c y "


THOUGHT = "I write <code>x</code>."
ANALYSIS = f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant"


@pytest.mark.parametrize(
    "thought",
    [
        f"<think>{THOUGHT}</think>",
        f"\n <think>{THOUGHT}</think>\n<think>{THOUGHT}</think>",
        f"[THINK]{THOUGHT}[/THINK]",
        f"<thought>{THOUGHT}</thought>\n<reasoning>{THOUGHT}\n</reasoning>",
        f"<think>It ends at `</think>`. {THOUGHT}</think>",
        f"{ANALYSIS}{ANALYSIS}<|channel|>final<|message|>",
        "I put it between `<think>` and <think>.",
    ],
)
@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_a_stop_sequence_in_the_reasoning_ends_nothing(thought, size):
    text, scan = f"{thought}Done. <code>print('<think>')", StopScan(["</code>", "Observation:"])
    whole = f"{text}</code>\nObservation: <think>"
    shown = [scan.feed(whole[start : start + size]) for start in range(0, len(whole), size)]
    assert ("".join(shown) + scan.rest(), scan.over) == (text, True)
    assert remove_content_after_stop_sequences(whole, ["</code>"]) == text


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_a_stop_sequence_behind_a_word_that_opens_no_reasoning_ends_the_reply(size):
    text, scan = "<thought>I write\n<code>\nx = 1\n", StopScan(["</code>", "Observation:"])
    whole = f"{text}</code>\nObservation: 1\n<code>y</code>"
    shown = [scan.feed(whole[start : start + size]) for start in range(0, len(whole), size)]
    assert ("".join(shown) + scan.rest(), scan.over) == (text, True)


def test_what_only_began_like_a_stop_sequence_is_shown_at_the_end():
    scan = StopScan(["</code>"])
    assert (scan.feed("a </co"), scan.rest()) == ("a ", "</co")
