"""`smol resume`, `smol fork`, `%agent resume` and `%agent fork`."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from loaded_shell import loaded_shell
from model_server import ModelServer, Text
from scripted_replies import code

from smol_kernel import ScriptedModel, tool
from smol_kernel.errors import ConfigError
from smol_kernel.events import RunStarted
from smol_kernel.journal import Journal
from smol_kernel.models.demo import DEMO_TASKS
from smol_kernel.models.named import model_to_go_on
from smol_kernel.serve.cli import main
from smol_magic.endings import CellError


@pytest.fixture
def shell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with loaded_shell() as shell:
        yield shell


def test_a_run_goes_on_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", DEMO_TASKS[0].task, "--model", "demo", "--max-steps", "2"]) == 1
    assert main(["resume", "last"]) == 1
    assert "reached its limit of 2 steps: give a higher one, max_steps= (--max-steps)" in capsys.readouterr().err
    assert main(["resume", "last", "--max-steps", "9", "-o", "answer.json"]) == 0
    assert "taken up again here\n3. " in capsys.readouterr().out
    assert "the 1980s" in json.loads((tmp_path / "answer.json").read_text())
    assert main(["resume", "last"]) == 1
    assert "has ended with its answer; fork it to go on from one of its steps" in capsys.readouterr().err
    (tmp_path / "action.py").write_text("final_answer('no need')\n")
    assert main(["fork", "last", "--step", "3", "--action", "action.py"]) == 0
    assert "no need" in capsys.readouterr().out
    assert [run.state for run in Journal().runs()] == ["success", "success"]
    (tmp_path / "action.py").write_text("open('made.txt', 'w').write('kept')\nfinal_answer('made')\n")
    again = ["fork", "last", "--step", "3", "--action", "action.py"]
    assert main(again) == 0
    assert "--save-files after the run keeps them" in capsys.readouterr().err
    assert main([*again, "--save-files", "place"]) == 0
    assert (tmp_path / "place/made.txt").read_text() == "kept"
    assert main([*again, "--save-files", "action.py"]) == 2
    assert main(["fork", "last", "--step", "3", "--action", "missing.py"]) == 2


def test_the_run_of_the_demo_is_forked_as_the_readme_shows_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["demo"]) == 0
    (line,) = re.findall(r"^smol (fork .*)$", (Path(__file__).parent.parent / "README.md").read_text(), re.MULTILINE)
    assert main(shlex.split(line)) == 0
    assert "In the 1980s: the yearly median grew by 16.1 ppm" in capsys.readouterr().out
    assert [run.state for run in Journal().runs()] == ["success", "success"]


def test_in_a_notebook_it_goes_on_in_the_child_that_lives_and_else_in_a_fresh_one(shell, capsys):
    noted = []

    @tool
    def note(text: str) -> int:
        """Notes it.

        Args:
            text: What.
        """
        noted.append(text)
        return len(noted)

    shell.user_ns.update(note=note, m=ScriptedModel([code("x = note('a')"), "best"]))
    assert shell.run_cell("%%agent --model m --max-steps 1\ncount").success
    run = shell.smol_session.last.run
    assert shell.run_cell("%%py\nextra = 5").success
    shell.user_ns["m"] = ScriptedModel([code("final_answer(x + extra)")])
    assert shell.run_cell("%agent resume --model m --max-steps 4 -o answer").success
    assert (shell.user_ns["answer"], noted, shell.smol_session.last.run) == (6, ["a"], run)
    shell.user_ns["m"] = ScriptedModel([code("final_answer(('extra' in dir(), x))")])
    assert shell.run_cell(f"%agent fork {run} --step 1 --model m -o answer --instruction 'Look.'").success
    assert (shell.user_ns["answer"], noted) == ((False, 1), ["a"])
    shell.user_ns["m"] = ScriptedModel([code("final_answer(x + 1)")])
    assert shell.run_cell("%%agent --continue --model m -o answer\nmore").success
    assert shell.user_ns["answer"] == 2
    capsys.readouterr()
    error = shell.run_cell(f"%agent resume {run} --model m").error_in_exec
    assert isinstance(error, CellError) and "has ended with its answer; fork it" in str(error)
    error = shell.run_cell("%agent resume --nonsense").error_in_exec
    assert isinstance(error, CellError) and "%agent resume: unrecognized arguments: --nonsense" in str(error)
    del shell.user_ns["note"]
    error = shell.run_cell(f"%agent fork {run} --model m").error_in_exec
    assert isinstance(error, CellError) and "has the tools note, which are not here" in str(error)


@pytest.mark.parametrize("proves", [True, False])
def test_a_run_that_goes_on_is_proved_with_the_large_input_of_the_notebook_as_is_set(shell, proves):
    shell.run_line_magic("config", f"SmolMagic.prove = {proves}")
    shell.user_ns["big"] = pd.DataFrame({"a": np.arange(3_000_000)})
    shell.user_ns["m"] = ScriptedModel([code("x = int(big.a.sum())"), "best", code("final_answer(x + 1)")])
    assert shell.run_cell("%%agent --model m --in big --max-steps 1\nadd up").success
    shell.run_cell("%agent stop")
    shell.rl_next_input = None
    assert shell.run_cell("%agent resume --model m --max-steps 3 -o answer").success
    assert shell.user_ns["answer"] == shell.user_ns["big"].a.sum() + 1
    assert ("Proved" in shell.rl_next_input) is proves


def test_what_differs_is_told_in_a_cell_and_accepted_by_an_option(shell):
    shell.user_ns["m"] = ScriptedModel([code("import time\nt = time.time_ns()\nt"), "best"])
    assert shell.run_cell("%%agent --model m --max-steps 1\ncount").success
    shell.run_cell("%agent stop")
    shell.user_ns["m"] = ScriptedModel([code("final_answer(t > 0)")])
    error = shell.run_cell("%agent resume --model m --max-steps 3 last").error_in_exec
    assert isinstance(error, CellError) and "Step 1: its value was" in str(error)
    assert shell.run_cell("%agent resume --model m --max-steps 3 --accept -o answer last").success
    assert shell.user_ns["answer"] is True


def test_a_conversation_is_not_sent_to_another_server_than_the_run_s(shell, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    at_limit = [Text(code("x = 6")), Text("best")]
    with ModelServer(Text("no")) as usual, ModelServer(*at_limit, *at_limit, Text(code("final_answer(x)"))) as own:
        monkeypatch.setenv("OPENAI_API_BASE", usual.url)
        asked = ["run", "secret", "--model", "openai/double", "--api-base", own.url, "--max-steps", "1"]
        assert main(asked) == 1
        assert main(["resume", "last", "--max-steps", "3"]) == 2
        assert (
            f"asked 'openai/double' at {own.url!r}: give this address again with --api-base" in capsys.readouterr().err
        )
        for model in ("openai/double", "openai/double,openai/other"):
            assert main(["fork", "last", "--model", model]) == 2
        line = f"%%agent --model openai/double --api-base {own.url} --max-steps 1 -o answer\nsecret"
        assert shell.run_cell(line).success and shell.user_ns["answer"] != 6
        shell.run_cell("%agent stop")
        error = shell.run_cell("%agent resume --max-steps 3").error_in_exec
        assert isinstance(error, CellError) and "give this address again with --api-base" in str(error)
        assert shell.run_cell(f"%agent resume --max-steps 3 --api-base {own.url}").success
        assert shell.user_ns["answer"] == 6  # the variable of the run
        assert not usual.requests


def test_the_last_run_of_a_notebook_goes_on_with_its_own_model(shell):
    shell.user_ns["m"] = ScriptedModel([code("x = 6"), "best", code("final_answer(x)"), code("final_answer(x + 1)")])
    assert shell.run_cell("%%agent --model m --max-steps 1 -o answer\ncount").success
    del shell.user_ns["m"]
    assert shell.run_cell("%agent resume --max-steps 3").success
    assert shell.user_ns["answer"] == 6
    assert shell.run_cell("%%agent --continue -o answer\nmore").success
    assert shell.user_ns["answer"] == 7
    shell.run_cell("%agent stop")
    shell.user_ns["m"] = ScriptedModel([code("final_answer(0)")] * 2)
    run = shell.smol_session.last.run
    assert shell.run_cell("%%agent --model m\nanother").success
    assert shell.run_cell(f"%agent fork {run} --step 0 --model m").success
    assert shell.user_ns["answer"] == 7  # what a record says names no variable
    shell.run_cell("%agent stop")
    error = shell.run_cell("%agent fork last").error_in_exec
    assert isinstance(error, CellError) and "came from a script: name a model with --model" in str(error)
    assert "No model is set" in str(shell.run_cell("%%agent --continue\nmore").error_in_exec)


def test_without_a_name_it_is_the_newest_run_of_this_notebook_that_goes_on(shell, monkeypatch):
    elsewhere = ["run", DEMO_TASKS[0].task, "--model", "demo", "--max-steps", "2"]
    monkeypatch.setenv("JPY_SESSION_NAME", "here.ipynb")
    main(elsewhere)
    assert "no run in this notebook yet" in str(shell.run_cell("%agent resume").error_in_exec)
    shell.user_ns["m"] = ScriptedModel([code("x = 6"), "best", code("final_answer(x)")])
    assert shell.run_cell("%%agent --model m --max-steps 1\ncount").success
    mine = shell.smol_session.last.run
    main(elsewhere)
    for command in ("unload_ext", "load_ext"):  # as after a restart
        shell.run_line_magic(command, "smol_magic")
    assert shell.run_cell("%agent resume --model m --max-steps 3 -o answer").success
    assert (shell.smol_session.last.run, shell.user_ns["answer"]) == (mine, 6)


def test_where_only_cassettes_are_to_play_no_model_is_asked(shell, monkeypatch, capsys):
    started = RunStarted(
        run="r", task="t", model="openai/x", agent="CodeAgent", isolation="box", max_steps=3, system_prompt=""
    )
    monkeypatch.setenv("SMOL_CASSETTE_MODE", "replay")
    with pytest.raises(ConfigError, match="SMOL_CASSETTE_MODE is replay"):
        model_to_go_on(started, None, "http://127.0.0.1:9/v1")
    monkeypatch.setenv("SMOL_CASSETTE_MODE", "auto")
    assert model_to_go_on(started, None, "http://127.0.0.1:9/v1").model_id == "openai/x"
