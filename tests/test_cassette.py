"""Cassettes: replies kept in a file, and played again without key or network."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import pytest
from loaded_shell import loaded_shell
from model_server import ModelServer, Text
from scripted_replies import call, code, counted, final
from test_resume import ran

from smol_kernel import CassetteModel, CodeAgent, LiteLLMModel, ScriptedModel, ToolCallingAgent, tool
from smol_kernel.errors import AgentGenerationError, CassetteMissError, ConfigError, ModelError
from smol_kernel.journal import Journal
from smol_kernel.memory.messages import MessageRole, agglomerate_stream_deltas, text_message
from smol_kernel.memory.monitoring import LogLevel
from smol_kernel.models.base import Model
from smol_kernel.serve.cli import main

REPLIES = [code("x = object()\nprint(x)\n41"), code("final_answer(42)")]
KEY = "sk-" + "Q7f" * 9


def user(text):
    return [text_message(MessageRole.USER, text)]


def answer_of(model, task="count", kind=CodeAgent, tools=()):
    agent = kind(tools=list(tools), model=model, journal=False, verbosity_level=LogLevel.OFF)
    try:
        return agent.run(task)
    finally:
        agent.cleanup()


def test_what_was_recorded_is_played_again_without_a_model(tmp_path):
    file = tmp_path / "deep" / "run.json"
    recording = CassetteModel(ScriptedModel([counted(reply, cost=0.5) for reply in REPLIES]), file, "record")
    assert answer_of(recording) == 42
    first = file.read_text()
    model = CassetteModel(None, file, "replay")
    assert (model.model_id, model.scripted) == ("scripted (cassette)", True)
    assert answer_of(model) == 42
    assert file.read_text() == first
    assert [path.name for path in file.parent.iterdir()] == ["run.json"]
    reply = CassetteModel(None, file).generate(recording_of(file), stop_sequences=stops(file))
    assert (reply.token_usage.input_tokens, reply.token_usage.cost) == (10, 0.5)
    assert answer_of(CassetteModel(ScriptedModel([]), file)) == 42, "auto asks for what is missing only"


def recording_of(file):
    """The messages of the first request in a cassette."""
    data = json.loads(file.read_text())
    messages = [data["messages"][number] for number in data["calls"][0]["messages"]]
    return [text_message(MessageRole(each["role"]), "\n".join(each["text"])) for each in messages]


def test_the_file_is_to_be_read(tmp_path):
    file = tmp_path / "run.json"
    answer_of(CassetteModel(ScriptedModel(REPLIES), file, "record"))
    data = json.loads(file.read_text())
    assert len(data["messages"]) == 4, "the system prompt, the task, a reply, an observation: each once"
    assert data["calls"][1]["messages"] == [0, 1, 2, 3]
    assert '    "Task:",\n    "count"\n' in file.read_text()


def test_a_miss_shows_what_differs(tmp_path):
    file = tmp_path / "run.json"
    answer_of(CassetteModel(ScriptedModel(REPLIES), file, "record"))
    with pytest.raises(AgentGenerationError) as error:
        answer_of(CassetteModel(None, file, "replay"), task="count again")
    told = str(error.value)
    assert "has no reply to this; record it: --cassette-mode auto or record, with a model" in told
    assert "-count\n+count again" in told
    model = CassetteModel(None, file, "replay")
    assert model.generate(recording_of(file), stop_sequences=stops(file)).text == REPLIES[0]
    with pytest.raises(CassetteMissError, match="has this request 1 times, and it came once more"):
        model.generate(recording_of(file), stop_sequences=stops(file))


def stops(file):
    return json.loads(file.read_text())["calls"][0]["options"]["stop_sequences"]


def test_auto_records_the_rest_and_the_same_request_has_several_replies(tmp_path):
    file = tmp_path / "run.json"
    model = CassetteModel(ScriptedModel(["a", "b"]), file)
    assert [model.generate(user("x")).text for _ in range(2)] == ["a", "b"]
    model = CassetteModel(ScriptedModel(["c", "d"]), file)
    assert [model.generate(user(text)).text for text in "xxxy"] == ["a", "b", "c", "d"]
    model = CassetteModel(None, file, "replay")
    assert [model.generate(user(text)).text for text in "yxxx"] == ["d", "a", "b", "c"]


def test_streams_and_structured_calls_are_kept(tmp_path):
    @tool
    def double(number: int) -> int:
        """Doubles.

        Args:
            number: It.
        """
        return 2 * number

    file = tmp_path / "run.json"
    for model in (CassetteModel(ScriptedModel([call("double", number=4), final("8")]), file, "record"), None):
        model = model or CassetteModel(None, file, "replay")
        assert answer_of(model, kind=ToolCallingAgent, tools=[double]) == "8"
    file.unlink()
    CassetteModel(ScriptedModel([counted("one two three\nfour")]), file).generate(user("x"))
    pieces = list(CassetteModel(None, file, "replay").generate_stream(user("x")))
    assert len(pieces) > 2
    message = agglomerate_stream_deltas(pieces)
    assert (message.text, message.token_usage.output_tokens) == ("one two three\nfour", 5)


def test_what_a_model_raises_is_not_recorded(tmp_path):
    file = tmp_path / "run.json"
    model = CassetteModel(ScriptedModel([ModelError("busy"), "a"]), file)
    with pytest.raises(ModelError, match="busy"):
        model.generate(user("x"))
    assert not file.exists()
    assert model.generate(user("x")).text == "a"


def test_no_key_is_in_it_and_a_replay_needs_neither_key_nor_litellm(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    file = tmp_path / "run.json"
    headers = {"authorization": KEY}
    with ModelServer(*map(Text, [REPLIES[0], f"{REPLIES[1]}\n{KEY}"])) as server:
        live = LiteLLMModel("openai/double", api_base=server.url, api_key=KEY, extra_headers=headers, temperature=0.5)
        assert answer_of(CassetteModel(live, file, "record"), task=f"count {KEY}") == 42
        address = server.url
    text = file.read_text()
    assert KEY not in text and address not in text and '"temperature": 0.5' in text
    program = (
        "import sys\nfrom smol_kernel import CassetteModel, CodeAgent, LogLevel\n"
        "agent = CodeAgent(tools=[], model=CassetteModel(None, sys.argv[1], 'replay'), journal=False,"
        " verbosity_level=LogLevel.OFF)\n"
        "print(agent.run('count (a secret of the host)'), 'litellm' in sys.modules)\nagent.cleanup()"
    )
    monkeypatch.delenv("OPENAI_API_KEY")
    done = subprocess.run([sys.executable, "-c", program, file], capture_output=True, text=True, check=False)
    assert done.stdout == "42 False\n", done.stderr


def test_a_cassette_of_another_model_is_refused_by_both_names(tmp_path):
    file = tmp_path / "run.json"
    CassetteModel(ScriptedModel(["a"], "one"), file).generate(user("x"))
    with pytest.raises(ConfigError, match=r"recorded with model 'one', and now 'two': record it anew"):
        CassetteModel(ScriptedModel([], "two"), file)
    assert CassetteModel(None, file, "replay").generate(user("x")).text == "a"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "cannot be read: Expecting value"),
        ('{"cassette": 1, "model": "m"', "cannot be read: Expecting"),
        ('{"cassette": 9}', r"is of a newer form \(9, known is 1\): upgrade smol-kernel"),
        ("[]", "is no cassette"),
        ('{"cassette": 1, "model": "m", "scripted": false, "parameters": {}, "takes": {}, "messages": [],'
         ' "calls": [{"messages": [3], "options": {}, "replies": [{"text": ["a"]}]}]}', "is no cassette: IndexError"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_cassette_is_told_and_left(tmp_path, text, why):
    file = tmp_path / "run.json"
    file.write_text(text)
    for mode in ("replay", "auto"):
        with pytest.raises(ConfigError, match=why):
            CassetteModel(ScriptedModel(["a"]), file, mode)
    assert file.read_text() == text


def test_there_is_none_to_replay(tmp_path):
    with pytest.raises(ConfigError, match=r"there is no cassette .*: record one with --cassette-mode record"):
        CassetteModel(None, tmp_path / "run.json", "replay")
    with pytest.raises(ConfigError, match="cassette mode 'play': give one of replay, record, auto"):
        CassetteModel(None, tmp_path / "run.json", "play")


def test_one_that_cannot_be_written_says_so_and_the_old_one_stays(tmp_path):
    file = tmp_path / "run.json"
    CassetteModel(ScriptedModel(["a"]), file).generate(user("x"))
    before = file.read_text()
    model = CassetteModel(ScriptedModel(["b", "c"]), file, "record")
    assert file.read_text() == before, "it begins anew with the first reply"
    file.unlink()
    file.mkdir()
    with pytest.raises((ModelError, OSError)):
        model.generate(user("y"))
    assert list(tmp_path.iterdir()) == [file]


class Echo(Model):
    """Replies with what it was asked."""

    scripted = True

    def generate(self, messages, *args, **options):
        return text_message(MessageRole.ASSISTANT, messages[-1].text)


def test_several_may_record_at_once(tmp_path):
    file = tmp_path / "run.json"

    def record(letter):
        model = CassetteModel(Echo(model_id="echo"), file)
        for number in range(5):
            model.generate(user(f"{letter}{number}"))

    threads = [threading.Thread(target=record, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    model = CassetteModel(None, file, "replay")
    assert {model.generate(user(f"{letter}{number}")).text for letter in "abcd" for number in range(5)} == {
        f"{letter}{number}" for letter in "abcd" for number in range(5)
    }


def test_options_and_variables_of_the_environment(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with ModelServer(*map(Text, REPLIES)) as server:
        live = ["--model", "openai/double", "--api-base", server.url]
        assert main(["run", "count", *live, "--cassette", "run.json", "--cassette-mode", "record", "-o", "a.json"]) == 0
    assert main(["run", "count", "--cassette", "run.json", "--cassette-mode", "replay", "-o", "b.json"]) == 0
    assert (tmp_path / "a.json").read_text() == (tmp_path / "b.json").read_text() == "42\n"
    monkeypatch.setenv("SMOL_CASSETTE", "run.json")
    monkeypatch.setenv("SMOL_CASSETTE_MODE", "replay")
    assert main(["run", "count"]) == 0
    assert main(["run", "count more"]) == 1
    assert "+count more" in "".join(capsys.readouterr())
    monkeypatch.delenv("SMOL_CASSETTE")
    with loaded_shell() as shell:
        assert shell.run_cell("%%agent --cassette run.json --cassette-mode replay -o answer\ncount").success
        assert shell.user_ns["answer"] == 42
        shell.run_cell("%config SmolMagic.cassette = 'run.json'")
        assert shell.run_cell("%%agent -o again\ncount").success
        assert shell.user_ns["again"] == 42


def test_a_recorded_run_is_a_script(tmp_path):
    replies = ["Plan it.", counted(REPLIES[0]), REPLIES[1]]
    run = ran(tmp_path, replies, planning_interval=5)
    model = ScriptedModel.from_run(run, tmp_path / "journal.sqlite")
    assert (model.scripted, model.model_id, len(model.replies)) == (True, "scripted", 3)
    assert model.replies[1].token_usage.input_tokens == 10
    agent = CodeAgent(tools=[], model=model, planning_interval=5, journal=False, verbosity_level=LogLevel.OFF)
    assert agent.run("count") == 42
    agent.cleanup()
    assert len(ScriptedModel.from_run(run[:5], Journal(tmp_path / "journal.sqlite")).replies) == 3
