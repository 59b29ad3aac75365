"""A run that came from a file: its record does not choose the model that gets the conversation."""

from __future__ import annotations

from dataclasses import replace

import pytest
from loaded_shell import loaded_shell
from model_server import ModelServer, Text
from scripted_replies import code
from test_resume_fronts import recorded
from test_resume_of_others import came, record_of

from smol_kernel import FallbackModel, LiteLLMModel
from smol_kernel.errors import ConfigError, ModelError
from smol_kernel.journal import Journal
from smol_kernel.models.address_in_name import address_in
from smol_kernel.models.named import model_to_go_on
from smol_kernel.serve.cli import main

ASKED = "The whole conversation goes to the model {}, because a record of somebody else says so."
ANSWER = Text(code("final_answer(x)"))


def theirs(tmp_path, *names, run="theirs", model=None, server=None):
    """A journal that got a file with a run which says that these models were asked."""
    begun = {"model": model or names[0], "named_as": list(names), "scripted": False, "server": server}
    return came(tmp_path, record_of(tmp_path, [], run=run, **begun), Journal())


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    monkeypatch.setenv("SMOL_ALLOW_MODEL_REQUESTS", "1")  # of an address in a name it is not known where that is
    return tmp_path


@pytest.mark.parametrize("command", ["resume", "fork"])
def test_a_record_of_somebody_else_does_not_give_the_address(here, capsys, command):
    with ModelServer(ANSWER, ANSWER) as evil, ModelServer(ANSWER) as known:
        address = evil.url.removesuffix("/v1")
        name = f"oobabooga/{address}"
        theirs(here, name)
        theirs(here, "openai/known", name, run="second")
        theirs(here, name, run="forged", model="openai/known")
        theirs(here, name, run="placed", server=address)
        for run in ("theirs", "second", "forged", "placed"):
            assert main([command, run, "--max-steps", "3", "--accept"]) == 2
            assert f"is an address of its author's choice, {name!r}" in capsys.readouterr().err
        assert main([command, "forged", "--max-steps", "3", "--model", "openai/known", "--api-base", known.url]) == 0
        assert (len(known.requests), evil.requests) == (1, [])
        assert main([command, "theirs", "--max-steps", "3", "--model", name]) == 0
        assert len(evil.requests) == 1


def test_the_model_that_only_the_record_of_somebody_else_names_is_asked_about(here, monkeypatch, capsys):
    with ModelServer(ANSWER, ANSWER, ANSWER, ANSWER) as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        for run in ("one", "two", "three", "four"):
            theirs(here, "openai/double", run=run, server=server.url)
        for command in ("resume", "fork"):
            assert main([command, "one", "--max-steps", "3"]) == 1
            assert ASKED.format("openai/double") in capsys.readouterr().err
        assert server.requests == []
        assert main(["resume", "one", "--max-steps", "3", "--accept"]) == 0
        assert main(["resume", "two", "--max-steps", "3", "--model", "openai/double"]) == 0
        monkeypatch.setenv("SMOL_MODEL", "openai/other")
        assert main(["resume", "three", "--max-steps", "3"]) == 1
        monkeypatch.setenv("SMOL_MODEL", "openai/double")
        assert main(["resume", "three", "--max-steps", "3"]) == 0
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("hiding", "told"),
    [
        ("\x1b[1A\x1b[2K\r\x1b[8m", r"openai/x\x1b[1A\x1b[2K \x1b[8m"),
        ("\u202e\u200b\x9b2K\b", r"openai/x\u202e\u200b\x9b2K\x08"),
        ("\n  all good\u2028\x85\x0cso", "openai/x all good so"),
        ("y" * 5_000, f"openai/x{'y' * 122}… 4,748 characters left out …{'y' * 130}"),
    ],
)
def test_no_name_hides_what_is_asked_about_it(here, capsys, hiding, told):
    theirs(here, f"openai/x{hiding}")
    assert main(["resume", "theirs", "--max-steps", "3"]) == 1
    assert f"- {ASKED.format(told)}\n" in capsys.readouterr().err
    theirs(here, f"oobabooga/http://me:word@evil{hiding}", run="placed")
    assert main(["resume", "placed", "--max-steps", "3"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "its author's choice, 'oobabooga/http://evil" in line and line.endswith(": name a model with --model")
    assert line.isprintable() and len(line) < 500


def test_so_it_is_in_a_notebook(here, monkeypatch):
    with ModelServer(ANSWER, ANSWER) as server, loaded_shell() as shell:
        theirs(here, f"huggingface/{server.url}", run="placed")
        theirs(here, "own", run="variable", server=server.url)
        shell.user_ns["own"] = LiteLLMModel("openai/double", api_base=server.url)
        error = shell.run_cell("%agent resume placed --max-steps 3 --accept").error_in_exec
        assert "is an address of its author's choice" in str(error)
        shell.user_ns["own"].model_id = "own"
        error = shell.run_cell("%agent resume variable --max-steps 3").error_in_exec
        assert ASKED.format("own") in str(error)
        shell.user_ns["own"].model_id = "openai/double"
        assert server.requests == []
        assert shell.run_cell("%agent resume variable --max-steps 3 --model own -o answer").success
        assert (shell.user_ns["answer"], len(server.requests)) == (1, 1)


@pytest.mark.parametrize("told", [True, False])
def test_a_run_of_one_s_own_goes_on_at_the_address_in_its_model_s_name(here, told):
    with ModelServer(ANSWER, ANSWER) as server:
        address = server.url.removesuffix("/v1")
        name, journal = f"oobabooga/{address}", Journal()
        begun = {"model": name, "named_as": [name], "scripted": False, "server": address if told else None}
        journal.append_all(record_of(here, [], run="own", **begun))
        journal.cut_off("own")
        assert main(["fork", "own", "--step", "1"]) == 0
        assert main(["resume", "own", "--max-steps", "3"]) == 0
        assert len(server.requests) == 2


NAMES = {
    "oobabooga/http://evil.example": "http://evil.example",
    "huggingface/HTTPS://me:word@evil.example/x": "HTTPS://evil.example/x",
    "http://evil.example": "http://evil.example",
    "bedrock/arn:aws:bedrock:evil.example": "arn:aws:bedrock:evil.example",
    "bedrock/converse/arn:aws:bedrock:x": "arn:aws:bedrock:x",
    "bedrock/agentcore/a:b:c:evil.example/": "a:b:c:evil.example/",
    "ollama/qwen3:8b": None,
    "ollama/learn:8b": None,
    "bedrock/anthropic.claude-3-sonnet-20240229-v1:0": None,
    "huggingface/together/Qwen/Qwen3-32B": None,
    "cloudflare/@cf/meta/llama-3": None,
    "ft:gpt-4o:org::id": None,
}


@pytest.mark.parametrize("name", NAMES)
def test_the_address_in_a_name_is_that_of_the_server(name):
    address = NAMES[name]
    assert address_in(name) == LiteLLMModel(name).server_address == address
    for server in (None, address):
        own, foreign = recorded(name, server), replace(recorded(name, server), origin={"imported": True})
        assert model_to_go_on(own, None, None).model_id == name
        assert model_to_go_on(foreign, name, None).model_id == name
        if address:
            with pytest.raises(ConfigError, match="address of its author's choice"):
                model_to_go_on(foreign, None, None)
    if address:
        model = FallbackModel([LiteLLMModel("openai/x"), LiteLLMModel(name)])
        listed = replace(recorded("openai/x", None, False, model.named_as), origin={"imported": True})
        with pytest.raises(ConfigError, match="address of its author's choice"):
            model_to_go_on(listed, None, None)


@pytest.mark.parametrize("variable", ["HF_API_BASE", "HUGGINGFACE_API_BASE"])
def test_where_litellm_asks_by_the_environment_before_the_name_a_run_goes_on_there_only_if_it_was_there(
    here, monkeypatch, capsys, variable
):
    monkeypatch.setenv("HUGGINGFACE_API_KEY", "test")
    with ModelServer(ANSWER) as named, ModelServer(ANSWER) as set_there:
        name, journal = f"huggingface/{named.url}", Journal()
        places = {"named": named.url, "untold": None, "there": f"{set_there.url}/chat/completions"}
        for run, server in places.items():
            journal.append_all(record_of(here, [], run=run, model=name, named_as=[name], scripted=False, server=server))
            journal.cut_off(run)
        monkeypatch.setenv(variable, places["there"])
        for run in ("named", "untold"):
            assert main(["resume", run, "--max-steps", "3"]) == 2
            assert f"at {named.url!r}: give this address again" in capsys.readouterr().err
        assert main(["resume", "there", "--max-steps", "3"]) == 0
        assert (named.requests, len(set_there.requests)) == ([], 1)
        assert main(["resume", "named", "--max-steps", "3", "--api-base", named.url]) == 0
        assert (len(named.requests), len(set_there.requests)) == (1, 1)


def test_where_litellm_asks_by_the_name_before_all_else_a_run_was_there(here, monkeypatch):
    with ModelServer(ANSWER) as named, ModelServer() as given:
        name, journal = f"oobabooga/{named.url.removesuffix('/v1')}", Journal()
        model = LiteLLMModel(name, api_base=given.url)
        assert model.server_address == address_in(name)
        begun = {"model": name, "named_as": [name], "scripted": False, "server": given.url}
        journal.append_all(record_of(here, [], run="own", **begun))
        journal.cut_off("own")
        monkeypatch.setenv("OOBABOOGA_API_BASE", given.url)
        assert main(["resume", "own", "--max-steps", "3"]) == 0
        assert (len(named.requests), given.requests) == (1, [])


def test_what_may_not_be_asked_is_not_asked_by_a_name_beside_another_address(monkeypatch):
    monkeypatch.setenv("SMOL_ALLOW_MODEL_REQUESTS", "0")
    model = LiteLLMModel("oobabooga/http://evil.invalid", api_base="http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"SMOL_ALLOW_MODEL_REQUESTS=0.*evil\.invalid"):
        model([{"role": "user", "content": "Hello"}])
