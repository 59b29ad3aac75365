"""Cassettes: what is recorded of requests and replies, what is given back, and every way in which a file can fail."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import pytest
from model_server import ModelServer, Status, Text, ToolCall
from PIL import Image

from smol_kernel import (
    CassetteMissError,
    CassetteModel,
    ChatMessage,
    FallbackModel,
    LiteLLMModel,
    MessageRole,
    ScriptedModel,
    ToolCallingAgent,
    agglomerate_stream_deltas,
    tool,
)
from smol_kernel.errors import AgentGenerationError, ConfigError, ContextLengthError, ModelError
from smol_kernel.events import ModelFellBack, ModelReplied, RunStarted
from smol_kernel.memory.usage import TokenUsage
from smol_kernel.models.registry import model_from_dict

FIRST = "I look.\n<code>\nx = 6 * 7\nprint(x)\n</code>"
LAST = "I answer.\n<code>\nfinal_answer(x)\n</code>"


def user(text, **more):
    return ChatMessage(MessageRole.USER, text, **more)


def reply(text, calls=None, usage=None):
    return ChatMessage(MessageRole.ASSISTANT, text, calls, token_usage=usage)


@pytest.fixture(autouse=True)
def no_mode(monkeypatch):
    monkeypatch.delenv("SMOL_CASSETTE", raising=False)
    monkeypatch.delenv("SMOL_CASSETTE_MODE", raising=False)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "cassette.json"


def record(file, *replies, ask=("hello",), **options):
    model = CassetteModel(ScriptedModel(list(replies)), file, "record")
    return [model.generate([user(text)], **options) for text in ask]


# What is given back


def test_an_agent_runs_from_a_cassette_as_it_ran_with_the_model(file, make):
    accounts = []
    for inner, mode in ((ScriptedModel([FIRST, LAST]), "auto"), (None, "replay")):
        agent = make([], model=CassetteModel(inner, file, mode), stream_outputs=True)
        events = list(agent.events("six times seven?"))
        started, replied = events[0], [event for event in events if isinstance(event, ModelReplied)]
        assert isinstance(started, RunStarted)
        accounts.append((agent.answer, started.model, started.scripted, [event.content for event in replied]))
    assert accounts[0] == accounts[1] == (42, "scripted (cassette)", True, [FIRST, LAST])


def test_calls_token_counts_and_cost_are_kept_and_the_reply_comes_in_pieces(file):
    calls = [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": "é"}'}}]
    whole = reply("Some words before it.\nAnd more.", calls, TokenUsage(5, 7, cached_tokens=2, cost=0.25))
    whole.cut_off = True
    record(file, whole)
    model = CassetteModel(None, file, "replay")
    assert model.generate([user("hello")]) == whole
    model = CassetteModel(None, file, "replay")
    pieces = list(model.generate_stream([user("hello")]))
    assert len(pieces) > 3
    assert agglomerate_stream_deltas(pieces) == whole


def test_replies_to_the_same_request_come_in_their_order(file):
    record(file, "one", "two", ask=("again", "again"))
    for _ in range(2):  # each model begins at the first
        model = CassetteModel(None, file, "replay")
        assert [model.generate([user("again")]).text for _ in range(2)] == ["one", "two"]
        with pytest.raises(CassetteMissError, match="has 2 replies to this request, and it came once more"):
            model.generate([user("again")])
    assert len(json.loads(file.read_text())["calls"]) == 1
    model = CassetteModel(ScriptedModel(["three"]), file)
    assert [model.generate([user("again")]).text for _ in range(3)] == ["one", "two", "three"]


def test_auto_asks_only_for_what_is_not_there(file):
    record(file, "first")
    model = CassetteModel(ScriptedModel(["second"]), file)
    assert [model.generate([user(text)]).text for text in ("hello", "more")] == ["first", "second"]
    assert len(model.model.requests) == 1
    assert CassetteModel(None, file, "replay").generate([user("more")]).text == "second"


def test_record_asks_anew_and_leaves_what_it_does_not_meet(file):
    record(file, "old", "kept", ask=("hello", "other"))
    record(file, "new")
    model = CassetteModel(None, file, "replay")
    assert [model.generate([user(text)]).text for text in ("hello", "other")] == ["new", "kept"]
    CassetteModel(ScriptedModel(["its own"], model_id="other"), file, "record").generate([user("hello")])
    data = json.loads(file.read_text())
    assert (data["model"], len(data["calls"])) == ("other", 1), "of another model it begins anew"


def test_the_environment_chooses_and_replay_goes_before_all(file, monkeypatch):
    monkeypatch.setenv("SMOL_CASSETTE_MODE", "record")
    assert CassetteModel(ScriptedModel([]), file).mode == "record"
    assert CassetteModel(ScriptedModel([]), file, "auto").mode == "auto"
    record(file, "kept")
    monkeypatch.setenv("SMOL_CASSETTE_MODE", "replay")
    assert CassetteModel(ScriptedModel([]), file, "record").generate([user("hello")]).text == "kept"
    monkeypatch.setenv("SMOL_CASSETTE_MODE", "play")
    with pytest.raises(ConfigError, match="SMOL_CASSETTE_MODE of a cassette is 'play'; there are auto, replay, record"):
        CassetteModel(ScriptedModel([]), file)


def test_errors_are_not_recorded_but_a_conversation_that_was_too_long_is(file):
    too_long = [ContextLengthError("long"), RuntimeError("context_length_exceeded")]  # one of theirs
    model = CassetteModel(ScriptedModel([ModelError("busy"), "then", *too_long]), file)
    with pytest.raises(ModelError, match="busy"):
        model.generate([user("hello")])
    assert not file.exists()
    assert model.generate([user("hello")]).text == "then"
    for text, error in (("long", ContextLengthError), ("longer", RuntimeError)):
        with pytest.raises(error):
            model.generate([user(text)])
        with pytest.raises(ContextLengthError):
            CassetteModel(None, file, "replay").generate([user(text)])


@pytest.mark.parametrize("stream", [False, True])
def test_a_run_whose_next_model_was_asked_plays_without_models(file, stream):
    answer = '{"name": "final_answer", "arguments": {"answer": 42}}'
    models = [ScriptedModel([ContextLengthError("long")], "a"), ScriptedModel([answer], "b")]
    for asked in (models, None):
        model = CassetteModel(asked, file)
        agent = ToolCallingAgent([], model, verbosity_level=0, stream_outputs=stream)
        told = [event for event in agent.events("task") if isinstance(event, ModelFellBack)]
        assert (agent.answer, len(told)) == (42, 1)
    with pytest.raises(AgentGenerationError, match="once more"):
        ToolCallingAgent([], model, verbosity_level=0).run("task")


def test_a_run_that_was_too_long_for_all_plays_without_models(file):
    for asked in (ScriptedModel([ContextLengthError("long")] * 9), None):
        agent = ToolCallingAgent([], CassetteModel(asked, file), verbosity_level=0)
        with pytest.raises(AgentGenerationError, match="long"):
            agent.run("task")


def test_a_stream_that_breaks_or_is_left_is_not_recorded(file):
    class Breaks(ScriptedModel):
        def generate_stream(self, *args, **kwargs):
            yield from list(super().generate_stream(*args, **kwargs))[:1]
            raise ModelError("broke off")

    with pytest.raises(ModelError, match="broke off"):
        list(CassetteModel(Breaks(["one two three " * 9]), file).generate_stream([user("hello")]))
    stream = CassetteModel(ScriptedModel(["one two three " * 9]), file).generate_stream([user("hello")])
    next(stream)
    stream.close()
    assert not file.exists()


def test_pieces_that_were_taken_back_are_not_recorded(file, make):
    class Breaks(ScriptedModel):
        def generate_stream(self, *args, **kwargs):
            yield from list(super().generate_stream(*args, **kwargs))[:1]
            raise ModelError("broke off")

    answer = "<code>\nfinal_answer(1)\n</code>"
    two = FallbackModel([Breaks(["Words that are taken back, and more of them"]), ScriptedModel([answer])])
    assert make([], model=CassetteModel(two, file), stream_outputs=True).run("one?") == 1
    assert "taken back" not in file.read_text()
    assert make([], model=CassetteModel(None, file, "replay"), stream_outputs=True).run("one?") == 1


# What a request is


def test_what_changes_the_reply_makes_another_request(file):
    record(file, "plain")
    model = CassetteModel(None, file, "replay")
    ways = (
        {"stop_sequences": ["End"]},
        {"response_format": {"type": "json_object"}},
        {"temperature": 0.5},
        {"tools_to_call_from": [tool(stock)]},
    )
    for options in ways:
        with pytest.raises(CassetteMissError) as missed:
            model.generate([user("hello")], **options)
        assert "\n+" in str(missed.value)
    for role in (MessageRole.SYSTEM, MessageRole.ASSISTANT):
        with pytest.raises(CassetteMissError):
            model.generate([ChatMessage(role, "hello")])


def stock(item: str) -> int:
    """How many of an item are in stock.

    Args:
        item: name of the item.
    """
    return 12


def test_images_and_sounds_count_by_what_they_hold(file, tmp_path):
    def shown(color, kind="image"):
        return [{"type": "text", "text": "look"}, {"type": kind, kind: color}]

    red, blue = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
    sound = tmp_path / "sound.wav"
    sound.write_bytes(b"RIFF1234")
    model = CassetteModel(ScriptedModel(["a red one", "a noise"]), file)
    model.generate([user(shown(red))])
    model.generate([user(shown(str(sound), "audio"))])
    model = CassetteModel(None, file, "replay")
    assert model.generate([user(shown(red.copy()))]).text == "a red one"
    assert model.generate([user(shown(b"RIFF1234", "audio"))]).text == "a noise"
    with pytest.raises(CassetteMissError, match="sha256"):
        model.generate([user(shown(blue))])
    assert "iVBOR" not in file.read_text()


def test_a_temporary_folder_that_is_called_a_dot_is_no_dot_of_a_text(file, monkeypatch):
    record(file, "yes", ask=["./sales.csv and ."])
    monkeypatch.setattr("tempfile.tempdir", ".")
    assert CassetteModel(None, file, "replay").generate([user("./sales.csv and .")]).text == "yes"


def test_what_varies_between_machines_and_runs_is_no_part_of_it(file, tmp_path, monkeypatch):
    told = "{cwd}/sales.csv and {home}/x and <f at 0x7f3a11aa22bb> in /tmp/ipykernel_{pid}/{pid}.py, {cwd}."
    texts = []
    for name, pid in (("one", 11), ("two", 222)):
        folder, home = tmp_path / name / "repo", tmp_path / name
        folder.mkdir(parents=True)
        monkeypatch.chdir(folder)
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setattr("tempfile.tempdir", "/tmp")
        texts.append(told.format(cwd=folder, home=home, pid=pid))
    texts[0] = texts[0].replace("0x7f3a11aa22bb", "0x55aa00000001")
    monkeypatch.chdir(tmp_path / "one" / "repo")
    monkeypatch.setenv("HOME", str(tmp_path / "one"))
    record(file, "yes", ask=texts[:1])
    monkeypatch.chdir(tmp_path / "two" / "repo")
    monkeypatch.setenv("HOME", str(tmp_path / "two"))
    assert CassetteModel(None, file, "replay").generate([user(texts[1])]).text == "yes"
    assert "./sales.csv and ~/x and <f at 0x…> in (temporary), ." in file.read_text()


@pytest.mark.parametrize("elsewhere", [True, False])
def test_where_the_working_folder_is_the_home_folder_it_is_the_working_folder(file, tmp_path, monkeypatch, elsewhere):
    asked = []
    for name, home in (("one", "one"), ("two", "other")):
        folder = tmp_path / name
        folder.mkdir()
        asked.append((folder, tmp_path / home, f"No such file: {folder}/sales.csv"))
    for folder, home, text in asked if elsewhere else asked[::-1]:
        monkeypatch.chdir(folder)
        monkeypatch.setenv("HOME", str(home))
        if not file.exists():
            record(file, "yes", ask=[text])
        assert CassetteModel(None, file, "replay").generate([user(text)]).text == "yes"
    assert "No such file: ./sales.csv" in file.read_text()


def test_calls_that_a_model_wrote_as_text_replay_though_their_ids_are_ours(file, make):
    calls = ['{"name": "stock", "arguments": {"item": "tea"}}', '{"name": "final_answer", "arguments": {"answer": 12}}']
    for inner, mode in ((ScriptedModel(calls), "auto"), (None, "replay")):
        agent = make([], tools=[tool(stock)], kind=ToolCallingAgent, model=CassetteModel(inner, file, mode))
        assert agent.run("How much tea?") == 12


# Keys


def test_over_http_no_key_reaches_the_file_and_replay_needs_neither_key_nor_litellm(file, monkeypatch):
    keys = ["plantedkey1234567", "planted-secret-987654", "sk-proj-AbCdEf0123456789AbCdEf", "header-planted-55555"]
    monkeypatch.setenv("OPENAI_API_KEY", keys[0])
    monkeypatch.setenv("OTHER_SECRET", keys[1])
    more = {"extra_headers": {"X-Api-Key": keys[3]}, "temperature": 0, "max_tokens": 50}
    with ModelServer(
        Text(f"Your keys are {' and '.join(keys)}."), Status(400), ToolCall("stock", {"item": "tea"})
    ) as http:
        inner = LiteLLMModel("openai/double", api_base=http.url, retry=False, **more)
        model = CassetteModel(inner, file)
        said = f"{keys[1]} {keys[2]} {keys[3]}"
        assert keys[0] in model.generate([user(said)], stop_sequences=["End"], api_key=keys[2]).text
        with pytest.raises(ModelError):
            model.generate([user("fails")])
        called = model.generate([user("tea?")], tools_to_call_from=[tool(stock)])
        assert http.requests[0].headers["x-api-key"] == keys[3]
        port = http.url
    text = file.read_text()
    assert [key for key in [*keys, port, "127.0.0.1", "X-Api-Key"] if key in text] == []
    assert json.loads(text)["model"] == "openai/double"
    assert json.loads(text)["parameters"] == {"temperature": 0, "max_tokens": 50}
    assert len(json.loads(text)["calls"]) == 2
    replay = f"""
import os, sys
for name in [name for name in os.environ if name.endswith(("_API_KEY", "_SECRET"))]:
    del os.environ[name]
os.environ["SMOL_ALLOW_MODEL_REQUESTS"] = "0"
from smol_kernel import CassetteModel, ChatMessage, LiteLLMModel, MessageRole
inner = LiteLLMModel("openai/double", api_base="http://elsewhere.example/v1", temperature=0, max_tokens=50)
model = CassetteModel(inner, {str(file)!r}, "replay")
said = {json.dumps(text_instead())}
print(model.generate([ChatMessage(MessageRole.USER, said)], stop_sequences=["End"]).token_usage)
print(model.takes("image"), model.supports_stop_parameter, model.slow_start, "litellm" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", replay], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith("TokenUsage(input_tokens=11, output_tokens=7")
    assert done.stdout.splitlines()[1] == "None True None False"
    assert called.tool_calls[0].function.name == "stock"


def text_instead():
    """What the keys of the message above are replaced by."""
    return " ".join(["(a secret of the host)"] * 3)


# A miss


def test_a_miss_shows_what_differs_from_the_nearest_request_and_how_to_record(file, make):
    make([], model=CassetteModel(ScriptedModel([FIRST, LAST]), file)).run("six times seven?")
    agent = make([], model=CassetteModel(None, file, "replay"))
    with pytest.raises(AgentGenerationError) as failed:
        agent.run("six times eight?")
    assert isinstance(failed.value.__cause__, CassetteMissError)
    said = str(failed.value.__cause__)
    assert "\n-six times seven?\n+six times eight?" in said
    assert "nearest of its 2 requests" in said
    assert "SMOL_CASSETTE_MODE" in said and "--cassette-mode" in said
    assert len(said.splitlines()) < 20


def test_a_long_difference_is_shortened(file):
    record(file, "a", ask=["\n".join(f"line {n}" for n in range(500))])
    with pytest.raises(CassetteMissError, match="lines left out") as missed:
        CassetteModel(None, file, "replay").generate([user("\n".join(f"row {n}" for n in range(500)))])
    assert len(str(missed.value).splitlines()) < 80


# Files that do not serve

WHOLE = {"cassette": 1, "model": "m", "parameters": {}, "scripted": True, "messages": {}, "calls": []}

CONFLICT = '{"cassette": 1,\n<<<<<<< HEAD\n"model": "m"\n=======\n"model": "n"\n>>>>>>> other\n}\n'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", r"\(it is empty\)"),
        (CONFLICT, r"holds marks of a merge conflict \(line 2\): take one side, .* mode auto"),
        (CONFLICT.partition("<<<<<<< HEAD\n")[2], r"merge conflict \(line 2\)"),
        (json.dumps(WHOLE)[:-20], "no whole JSON"),
        ("[1, 2]", "cannot be read"),
        (json.dumps({**WHOLE, "cassette": 2}), "newer smol-kernel"),
        (json.dumps({**WHOLE, "cassette": "x"}), "its version is 'x'"),
        (
            json.dumps({**WHOLE, "calls": [{"messages": ["gone"], "options": {}, "replies": [{}]}]}),
            "'gone' is missing",
        ),
        (json.dumps({**WHOLE, "calls": [{"messages": [], "options": {}, "replies": []}]}), "an entry has no reply"),
        (json.dumps({**WHOLE, "calls": 5}), "cannot be read"),
        (json.dumps({k: v for k, v in WHOLE.items() if k != "model"}), "'model' is missing"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
@pytest.mark.parametrize("mode", ["auto", "replay", "record"])
def test_a_damaged_or_newer_file_is_refused_and_left_as_it_is(file, content, said, mode):
    before = content if isinstance(content, bytes) else content.encode()
    file.write_bytes(before)
    with pytest.raises(ConfigError, match=said):
        CassetteModel(ScriptedModel(["x"], model_id="m"), file, mode)
    assert file.read_bytes() == before


@pytest.mark.parametrize("mode", ["auto", "replay"])
def test_a_cassette_of_another_model_is_refused_and_names_both(file, mode):
    record(file, "old")
    before = file.read_bytes()
    for other, named in (
        (ScriptedModel(["new"], model_id="other"), "model 'scripted', and now 'other'"),
        (LiteLLMModel("openai/x", temperature=1), "'openai/x'"),
    ):
        with pytest.raises(ConfigError, match=named):
            CassetteModel(other, file, mode)
    assert file.read_bytes() == before


def test_other_parameters_are_named(file):
    with ModelServer(Text("Hi")) as http:
        CassetteModel(LiteLLMModel("openai/d", api_base=http.url, temperature=0), file).generate([user("hello")])
    with pytest.raises(ConfigError, match=r"parameters \{'temperature': 0\}, and now \{'temperature': 1\}"):
        CassetteModel(LiteLLMModel("openai/d", temperature=1), file)


def test_what_cannot_be_written_is_said_before_the_model_is_asked(file, tmp_path):
    record(file, "old")
    file.chmod(0o444)
    before = file.read_bytes()
    with pytest.raises(ModelError, match="read-only"):
        CassetteModel(ScriptedModel(["new"]), file, "record")
    model = CassetteModel(ScriptedModel(["new"]), file)
    assert model.generate([user("hello")]).text == "old"
    with pytest.raises(ModelError, match="read-only"):
        model.generate([user("more")])
    assert not model.model.requests
    assert file.read_bytes() == before
    for useless in (tmp_path, file / "below"):
        with pytest.raises((ConfigError, ModelError), match="the cassette '"):
            CassetteModel(ScriptedModel(["new"]), useless, "record")
    with pytest.raises(ConfigError, match=r"there is no cassette .*missing.json' to replay"):
        CassetteModel(None, tmp_path / "missing.json", "replay")
    with pytest.raises(ConfigError, match="no model is given"):
        CassetteModel(None, tmp_path / "missing.json", "auto")


def test_a_write_that_fails_half_way_leaves_the_file_whole(file):
    record(file, "old")
    script = f"""
import resource
from smol_kernel import CassetteModel, ChatMessage, MessageRole, ScriptedModel
model = CassetteModel(ScriptedModel(["x" * 100_000]), {str(file)!r}, "record")
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))
model.generate([ChatMessage(MessageRole.USER, "hello")])
"""
    before = file.read_bytes()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "cannot be written: File too large" in done.stderr
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir() if "cassette" in path.name] == [file.name]


def test_a_run_keeps_the_reply_that_its_cassette_has_no_room_for(file):
    record(file, "old")
    script = f"""
import resource, signal
from smol_kernel import CassetteModel, CodeAgent, ScriptedModel
scripted = ScriptedModel(["x" * 100_000 + "<code>\\nfinal_answer(42)\\n</code>"])
with CodeAgent([], CassetteModel(scripted, {str(file)!r}, "record"), journal=False, verbosity_level=0) as agent:
    events = agent.events("t")
    next(events)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, resource.RLIM_INFINITY))
    for event in events:
        print(event.text if event.kind in ("notice", "final_answer") else "")
        if event.kind == "notice":
            assert event.lasting
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""
    before = file.read_bytes()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    told, answer = filter(None, done.stdout.splitlines())
    assert told.startswith("This run goes on, but a reply of its model is not kept: the cassette ")
    assert "cannot be written: File too large; what it holds is unchanged" in told and answer == "42"
    assert file.read_bytes() == before


def test_threads_and_processes_that_record_lose_nothing_of_each_other(file):
    script = """
import sys
from smol_kernel import CassetteModel, ChatMessage, MessageRole, ScriptedModel
model = CassetteModel(ScriptedModel([f"{sys.argv[2]} {n}" for n in range(15)]), sys.argv[1], "record")
for n in range(15):
    model.generate([ChatMessage(MessageRole.USER, f"{sys.argv[2]} {n}")])
"""
    others = [subprocess.Popen([sys.executable, "-c", script, str(file), name]) for name in ("one", "two")]
    model = CassetteModel(ScriptedModel([lambda messages: messages[-1].text] * 20), file, "auto")
    threads = [threading.Thread(target=model.generate, args=([user(f"thread {n}")],)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [other.wait() for other in others] == [0, 0]
    whole = CassetteModel(None, file, "replay")
    asked = [f"{name} {n}" for name in ("one", "two") for n in range(15)] + [f"thread {n}" for n in range(20)]
    assert [whole.generate([user(text)]).text for text in asked] == asked


# The file


def test_the_file_reads_well_in_a_diff_and_keeps_its_order(file, make):
    make([], model=CassetteModel(ScriptedModel([FIRST, LAST]), file)).run("six times seven?")
    data = json.loads(file.read_text())
    assert [len(entry["messages"]) for entry in data["calls"]] == [2, 4]
    assert len(data["messages"]) == 4, "a message that is in both requests stands there once"
    assert data["calls"][0]["replies"][0]["text"] == FIRST.split("\n")
    before = file.read_text().splitlines()
    make([], model=CassetteModel(ScriptedModel([FIRST, LAST.replace("I answer", "I know")]), file, "record")).run(
        "six times seven?"
    )
    changed = [line for line in zip(before, file.read_text().splitlines(), strict=True) if line[0] != line[1]]
    assert [(old.strip(), new.strip()) for old, new in changed] == [('"I answer.",', '"I know.",')]


def test_any_text_survives_and_a_link_stays_one(file, tmp_path):
    odd = "lone \ud800 surrogate, \x00 and \u2028 and \r\n line ends\n"
    real = tmp_path / "real.json"
    file.symlink_to(real)
    record(file, odd, ask=[odd])
    assert file.is_symlink()
    assert CassetteModel(None, file, "replay").generate([user(odd)]).text == odd


def test_it_is_saved_and_made_again_without_keys(file):
    record(file, "old")
    model = CassetteModel(LiteLLMModel("openai/x", api_key="k" * 20), file.with_name("other.json"))
    saved = model.to_dict()
    assert "k" * 20 not in json.dumps(saved)
    again = model_from_dict("CassetteModel", saved)
    assert (again.model.model_id, again.path, again.mode) == ("openai/x", model.path, "auto")
    replaying = CassetteModel(None, file, "replay")
    assert model_from_dict("CassetteModel", replaying.to_dict()).generate([user("hello")]).text == "old"
