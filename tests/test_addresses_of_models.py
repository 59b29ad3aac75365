"""Which of the models that are named are asked at the address of a server of one's own."""

from __future__ import annotations

import argparse

import pytest
from loaded_shell import loaded_shell
from model_server import ModelServer, Status, Text

from smol_kernel.config import RunOptions, add_options, model_of, read_options
from smol_kernel.errors import ConfigError
from smol_kernel.models.litellm import LiteLLMModel
from smol_kernel.models.named import make_model
from smol_kernel.serve.cli import main
from smol_magic.endings import CellError

URL = "http://127.0.0.1:9/v1"
KEY = "k-of-a-provider-0001"


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMOL_ALLOW_MODEL_REQUESTS", "0")
    for name in ("SMOL_MODEL", "SMOL_API_BASE", "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AZURE_API_BASE", "AZURE_OPENAI_ENDPOINT", "AZURE_AI_API_BASE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)


def addresses(names, *args, **options):
    made = make_model(names, *args, **options)
    return [each.api_base for each in getattr(made, "models", [made])]


@pytest.mark.parametrize(
    ("names", "asked"),
    [
        ("anthropic/claude", [URL]),  # it is meant for the one that is named with it
        ("azure/mine", [URL]),
        ("gpt-4.1-mini", [URL]),
        ("openai/a,openai/b", [URL, URL]),
        ("anthropic/a,anthropic/b", [URL, URL]),
        ("openai/own,anthropic/claude", [URL, None]),
        ("anthropic/claude,hosted_vllm/own", [None, URL]),
        ("ollama/own,openai/gpt-4.1,gemini/x", [URL, None, None]),
        ("gpt-4.1-mini,claude-sonnet-4-5", [URL, None]),
        ("demo,openai/own", [None, URL]),
    ],
)
def test_an_address_is_for_the_server_of_one_s_own(names, asked):
    made = make_model(names, URL)
    assert [getattr(each, "api_base", None) for each in getattr(made, "models", [made])] == asked


def test_an_address_that_is_for_none_of_several_models_is_refused():
    with pytest.raises(ConfigError, match=f"anthropic/a: its provider's key would go to {URL}"):
        make_model("anthropic/a,gemini/b", URL)


def test_an_address_that_was_set_for_other_models_gets_no_key_of_a_provider(monkeypatch):
    monkeypatch.setenv("SMOL_API_BASE", URL)
    for name in ("anthropic/claude", "claude-sonnet-4-5", "gemini/x"):
        with pytest.raises(ConfigError, match="to ask its provider give --api-base ''"):
            make_model(name)
        assert addresses(name, "") == [None] and addresses(name, URL) == [URL]
    assert addresses("qwen3") == [None]  # LiteLLM says that it names no provider
    assert addresses("openai/own") == addresses("ollama/own") == [URL]
    assert addresses("openai/own,anthropic/claude") == [URL, None]
    assert make_model("demo").scripted and make_model("mine", None, {"mine": LiteLLMModel("gemini/x")}).api_base is None
    monkeypatch.setenv("SMOL_MODEL", "anthropic/claude")
    assert addresses(None) == [URL]  # set together


def test_an_address_is_meant_for_models_of_the_provider_that_it_was_set_with(monkeypatch):
    assert addresses("anthropic/b", URL, beside=["anthropic/a"]) == [URL]
    assert addresses("claude-b,anthropic/c", URL, beside=["anthropic/a"]) == [URL, URL]
    for name, beside in (("gemini/b", ["anthropic/a"]), ("gemini/b,anthropic/b", ["anthropic/a"]), ("gemini/b", [])):
        with pytest.raises(ConfigError, match="key would go to"):
            make_model(name, URL, beside=beside)
    assert addresses("deepseek-chat", URL, beside=["qwen3"]) == [None]  # of neither is the provider known
    monkeypatch.setenv("SMOL_MODEL", "anthropic/a")
    assert addresses("anthropic/b", URL, beside=[]) == [URL]
    with pytest.raises(ConfigError, match="key would go to"):
        make_model("anthropic/b", URL, beside=["gemini/a"])
    monkeypatch.setenv("SMOL_API_BASE", URL)
    assert addresses("anthropic/b") == addresses("anthropic/b", beside=["gemini/a"]) == [URL]
    with pytest.raises(ConfigError, match="key would go to"):
        make_model("gemini/b")


def test_what_has_no_other_address_is_asked_at_the_one_that_is_set(monkeypatch):
    monkeypatch.setenv("SMOL_API_BASE", URL)
    assert addresses("azure/mine") == addresses("azure_ai/mine") == [URL]
    monkeypatch.setenv("AZURE_API_BASE", "https://mine.openai.azure.com")
    with pytest.raises(ConfigError, match="azure/mine: its provider's key would go to"):
        make_model("azure/mine")


def test_on_the_command_line_the_key_stays_here(monkeypatch, capsys):
    with ModelServer(Text("<code>\nfinal_answer(42)\n</code>")) as server:
        monkeypatch.setenv("SMOL_API_BASE", server.url)
        assert main(["run", "6 * 7?", "--model", "anthropic/claude", "--no-journal"]) == 2
        assert "anthropic/claude: its provider's key would go to" in capsys.readouterr().err
        assert not server.requests
        assert main(["run", "6 * 7?", "--model", "anthropic/claude", "--api-base", "", "--no-journal"]) == 1
        assert "'anthropic/claude' is not on this machine" in " ".join(capsys.readouterr().out.split())
        assert not server.requests


def test_behind_an_own_server_the_next_model_is_asked_at_its_provider(capsys):
    with ModelServer(Status(404, "no such model")) as server:
        names = "openai/own,anthropic/claude"
        assert main(["run", "6 * 7?", "--model", names, "--api-base", server.url, "--no-journal"]) == 1
        assert len(server.requests) == 1 and KEY not in str(server.requests)
    assert "'anthropic/claude' is not on this machine" in " ".join(capsys.readouterr().out.split())


def test_in_a_notebook_a_model_is_not_named_for_an_address_that_gets_its_key(capsys):
    with loaded_shell() as shell:
        shell.run_line_magic("config", f"SmolMagic.api_base = '{URL}'")
        with pytest.raises(CellError, match="its provider's key would go to"):
            shell.run_line_magic("agent", "model anthropic/claude")
        shell.run_line_magic("agent", "model ollama/own")
        assert "model: ollama/own" in capsys.readouterr().out
        shell.run_line_magic("config", "SmolMagic.model = 'anthropic/a'")
        shell.run_line_magic("agent", "model anthropic/b")
        assert "model: anthropic/b" in capsys.readouterr().out
        with pytest.raises(
            CellError, match=r"set it by %config SmolMagic.model = 'gemini/b'; .* SmolMagic.api_base = ''"
        ):
            shell.run_line_magic("agent", "model gemini/b")


def test_so_it_is_for_the_model_of_one_cell():
    usual = RunOptions(models=["anthropic/a"], api_base=URL)
    for name, address in (("anthropic/b", URL), ("openai/own", URL)):
        parser = argparse.ArgumentParser()
        add_options(parser, usual)
        assert model_of(read_options(parser.parse_args(["--model", name]))).api_base == address
    with pytest.raises(ConfigError, match="key would go to"):
        model_of(read_options(parser.parse_args(["--model", "gemini/b"])))
