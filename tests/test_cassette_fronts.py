"""Cassettes at the command line and in notebooks: options, settings, environment; a replay names no model."""

from __future__ import annotations

import json

import pytest
from loaded_shell import loaded_shell

from smol_kernel import CassetteModel, ScriptedModel
from smol_kernel.journal import Journal
from smol_kernel.models.demo import DEMO_TASKS
from smol_kernel.models.named import make_model
from smol_kernel.serve.cli import main
from smol_magic.endings import CellError

ADDS = "Add them.\n<code>\nfinal_answer(1 + 1)\n</code>"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    for name in ("SMOL_CASSETTE", "SMOL_CASSETTE_MODE", "JPY_SESSION_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def shell():
    with loaded_shell() as shell:
        yield shell


def test_smol_run_records_and_replays_without_a_model(here, monkeypatch, capsys):
    task = DEMO_TASKS[1].task
    assert main(["run", task, "--model", "demo", "--cassette", "kept/demo.json", "-o", "one.txt"]) == 0
    assert json.loads((here / "kept/demo.json").read_text())["scripted"] is True
    capsys.readouterr()
    monkeypatch.setenv("SMOL_CASSETTE", "kept/demo.json")
    monkeypatch.setenv("SMOL_CASSETTE_MODE", "replay")
    monkeypatch.setenv("SMOL_MODEL", "openai/not-asked")
    assert main(["run", task, "-o", "two.txt"]) == 0
    assert (here / "one.txt").read_text() == (here / "two.txt").read_text()
    shown = capsys.readouterr().out
    assert "demo (cassette)" in shown and "Replies come from a script" in shown
    assert [run.model for run in Journal().runs()] == ["demo (cassette)"] * 2
    assert make_model("demo (cassette)").model_id == "demo", "so a run of the journal can be resumed"


def test_wrong_options_are_refused(here, capsys):
    assert main(["run", "x", "--cassette", "none.json", "--cassette-mode", "replay"]) == 2
    assert "there is no cassette" in capsys.readouterr().err
    assert main(["run", "x", "--cassette", "none.json"]) == 2
    assert "No model is set" in capsys.readouterr().err


def test_where_only_a_cassette_may_answer_one_has_to_be_named(here, shell, monkeypatch, capsys):
    model = ["--model", "openai/not-asked", "--api-base", "http://127.0.0.1:1"]
    for mode in ("replay", "record"):
        assert main(["run", "x", *model, "--cassette-mode", mode]) == 2
        assert f"--cassette-mode {mode}: no cassette is named; add --cassette FILE" in capsys.readouterr().err
    shell.run_line_magic("config", "SmolMagic.cassette_mode = 'record'")
    shell.user_ns["m"] = ScriptedModel([ADDS, ADDS])
    assert shell.run_cell("%%agent --model m --no-write\nadd").error_in_exec is None
    told = shell.run_cell("%%agent --model m --no-write --cassette-mode replay\nadd").error_in_exec
    assert "--cassette-mode replay: no cassette is named" in str(told)
    told = shell.run_cell("%%agent --continue --no-write --cassette-mode replay\nadd").error_in_exec
    assert "--cassette-mode replay: no cassette is named" in str(told)
    monkeypatch.setenv("SMOL_CASSETTE_MODE", "replay")
    assert main(["run", "x", *model]) == 2
    said = "no model is asked here (SMOL_CASSETTE_MODE=replay, as smol validate sets it), and no cassette is named"
    assert said in capsys.readouterr().err
    assert said in str(shell.run_cell("%%agent --model openai/x --no-write\nadd").error_in_exec)
    assert shell.run_cell("%%agent --model m --no-write\nadd").error_in_exec is None
    assert main(["run", DEMO_TASKS[1].task, "--model", "demo"]) == 0


def test_a_conversation_with_a_cassette_goes_on_where_all_cassettes_replay(here, shell, monkeypatch):
    shell.user_ns["m"] = ScriptedModel([ADDS, ADDS])
    cell = "%%agent {} --no-write --cassette-mode record\nadd"
    assert shell.run_cell(cell.format("--model m --cassette c.json")).error_in_exec is None
    assert shell.run_cell(cell.format("--continue")).error_in_exec is None
    monkeypatch.setenv("SMOL_CASSETTE_MODE", "replay")
    assert shell.run_cell(cell.format("--model m --cassette c.json")).error_in_exec is None
    assert shell.run_cell(cell.format("--continue")).error_in_exec is None
    shell.user_ns["own"] = CassetteModel(ScriptedModel([]), "c.json", mode="record")
    assert shell.run_cell(cell.format("--model own")).error_in_exec is None


def test_a_cell_records_and_replays(here, shell, monkeypatch):
    shell.user_ns["m"] = ScriptedModel([ADDS])
    assert shell.run_cell("%%agent --model m -o a --cassette c.json --no-write\nadd").error_in_exec is None
    shell.run_line_magic("config", "SmolMagic.cassette = 'c.json'")
    shell.run_line_magic("config", "SmolMagic.cassette_mode = 'replay'")
    assert shell.run_cell("%%agent -o b --no-write\nadd").error_in_exec is None
    assert (shell.user_ns["a"], shell.user_ns["b"]) == (2, 2)
    missed = shell.run_cell("%%agent -o c --no-write\nadd more").error_in_exec
    assert isinstance(missed, CellError)
    assert "\n-add\n+add more" in str(missed)
    assert len(shell.user_ns["m"].requests) == 1
    assert "cassette: c.json" in shown(shell, "%agent")


def test_a_model_with_a_cassette_of_its_own_keeps_it(here, shell, monkeypatch):
    monkeypatch.setenv("SMOL_CASSETTE", "other.json")
    shell.user_ns["m"] = CassetteModel(ScriptedModel([ADDS]), "own.json")
    assert shell.run_cell("%%agent --model m --no-write\nadd").error_in_exec is None
    assert sorted(path.name for path in here.glob("*.json")) == ["own.json"]


def shown(shell, line):
    from IPython.utils.capture import capture_output

    with capture_output() as captured:
        shell.run_cell(line)
    return captured.stdout
