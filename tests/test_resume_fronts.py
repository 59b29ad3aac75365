"""`smol resume`, `smol fork`, `%agent resume` and `%agent fork`."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from loaded_shell import loaded_shell
from model_server import ModelServer, Status, Text
from scripted_replies import call, code, final

from smol_kernel import CodeAgent, FallbackModel, LiteLLMModel, OpenAIServerModel, ScriptedModel, tool
from smol_kernel.errors import ConfigError
from smol_kernel.events import RunStarted
from smol_kernel.journal import Journal
from smol_kernel.models.cassette import CassetteModel
from smol_kernel.models.demo import DEMO_TASKS
from smol_kernel.models.fallback import as_model
from smol_kernel.models.named import model_to_go_on
from smol_kernel.render.text import head_text
from smol_kernel.render.transcript import model_label
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


@pytest.mark.parametrize("ended", [False, True])
def test_a_run_that_went_on_goes_on_again_and_so_does_its_conversation(shell, ended):
    def cell(line, *replies):
        if ended:
            shell.run_cell("%agent stop")
        shell.user_ns["m"] = ScriptedModel([code(each) for each in replies[:-1]] + [replies[-1]])
        shell.run_cell(line).raise_error()

    shell.user_ns["x"] = 5
    shell.user_ns["m"] = ScriptedModel([code("y = x + 1"), "best"])
    assert shell.run_cell("%%agent --model m --in x --max-steps 1\none").success
    cell("%agent resume --model m --max-steps 2", "z = y + 1", "best")
    run = shell.smol_session.last.run
    cell("%agent resume --model m --max-steps 3 -o a", code("final_answer(z)"))
    assert (shell.user_ns["a"], shell.smol_session.last.run) == (7, run)
    cell("%agent fork --step 2 --model m -o a", code("w = z + 1\nfinal_answer(w)"))
    assert shell.user_ns["a"] == 8
    if not ended:
        cell("%%agent --continue --model m --max-steps 1\ntwo", "v = w + 1", "best")
        cell("%agent resume --model m --max-steps 2", "u = v + 1", "best")
        cell("%agent resume --model m --max-steps 3 -o a", code("final_answer(u)"))
        assert shell.user_ns["a"] == 10
        assert shell.run_cell("%%py\nu += 1").success
        cell("%%agent --continue --model m -o a\nthree", code("final_answer(u)"))
        assert shell.user_ns["a"] == 11


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


@pytest.mark.parametrize("command", ["resume", "fork --step 1"])
@pytest.mark.parametrize("follow_up", [False, True])
@pytest.mark.parametrize("ended", [False, True])
def test_an_input_that_has_changed_is_as_it_was_then(shell, capsys, command, follow_up, ended):
    shell.run_line_magic("config", "SmolMagic.prove = True")
    shell.user_ns["df"] = pd.DataFrame({"x": [1.0, 2.0, 3.0]})
    if follow_up:
        shell.user_ns["m"] = ScriptedModel([code("n = len(df)\nfinal_answer(n)")])
        assert shell.run_cell("%%agent --model m --in df\ncount").success
    shell.user_ns["m"] = ScriptedModel([code("s = float(df.x.sum())\nprint(s)"), "best"])
    line = "--continue" if follow_up else "--in df"
    assert shell.run_cell(f"%%agent --model m {line} --max-steps 1\nadd").success
    shell.user_ns["df"]["x"] *= 10
    if ended:
        shell.run_cell("%agent stop")
    shell.user_ns["m"] = ScriptedModel([code("final_answer(float(df.x.max()) + s)")])
    capsys.readouterr()
    assert shell.run_cell(f"%agent {command} --model m --max-steps 3 -o answer").success
    assert (shell.user_ns["answer"], shell.user_ns["df"].x.max()) == (9.0, 30.0)
    assert "The input 'df' is as it was when the run began, not as it is now." in " ".join(
        capsys.readouterr().out.split()
    )
    assert "Not reproduced: the answer is 90.0 where the run had 9.0" in shell.rl_next_input  # with the table of now


def test_a_structured_call_gets_no_input_that_only_a_child_could_unpickle(shell):
    class Place:
        def __init__(self, name):
            self.name = name

    @tool
    def look(place: Any) -> str:
        """Looks.

        Args:
            place: Where.
        """
        return place.name

    shell.user_ns |= {"look": look, "home": Place("home")}
    shell.user_ns["m"] = ScriptedModel([call("look", place="home"), final("there")])
    assert shell.run_cell("%%agent --model m --type tool-calling --in home\nlook").success
    shell.user_ns["home"].name = "elsewhere"
    shell.user_ns["m"] = ScriptedModel([final("again")])
    error = shell.run_cell("%agent fork --step 0 --model m").error_in_exec
    assert isinstance(error, CellError) and "The input 'home' is not what it was" in str(error)


@pytest.mark.parametrize("command", ["resume --max-steps 3", "fork --max-steps 3"])
@pytest.mark.parametrize("option", ["--prove-cell", "--no-write"])
def test_a_run_that_goes_on_keeps_what_its_cell_said_of_its_cells(shell, option, command):
    shell.user_ns["m"] = ScriptedModel([code("x = 1"), "best", code("final_answer(x + 1)")])
    assert shell.run_cell(f"%%agent --model m {option} --max-steps 1 -o answer\nadd").success
    shell.rl_next_input = None
    assert shell.run_cell(f"%agent {command} --model m -o answer").success
    assert shell.user_ns["answer"] == 2
    if option == "--no-write":
        assert shell.rl_next_input is None
    else:
        assert shell.rl_next_input.endswith("assert answer == 2")
    assert {run.origin.get("write", True) for run in Journal().runs()} == {option != "--no-write"}


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


@pytest.mark.parametrize("lives", [True, False])
@pytest.mark.parametrize("set_by", ["command", "profile", "environment"])
def test_what_is_set_for_new_tasks_does_not_take_the_place_of_the_run_s_model(shell, monkeypatch, set_by, lives):
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    replies = [Text(code("x = 6")), Text("best"), Text(code("final_answer(x)")), Text(code("final_answer(x + 1)"))]
    with ModelServer(*[Text(code("final_answer(0)"))] * 2) as usual, ModelServer(*replies) as own:
        first = f"%%agent --model openai/private --api-base {own.url} --max-steps 1 -o answer\nsecret"
        assert shell.run_cell(first).success
        run = shell.smol_session.last.run
        if set_by == "environment":
            monkeypatch.setenv("SMOL_MODEL", "openai/usual")
            monkeypatch.setenv("SMOL_API_BASE", usual.url)
        else:
            shell.run_line_magic("config", f"SmolMagic.api_base = {usual.url!r}")
        if set_by == "command":
            assert shell.run_cell("%agent model openai/usual").success
        elif set_by == "profile":
            shell.run_line_magic("config", "SmolMagic.model = 'openai/usual'")
        address = ""
        if not lives:
            shell.run_cell("%agent stop")
            for command in ("resume --max-steps 3", f"fork {run}", f"fork {run} --model openai/private"):
                error = shell.run_cell(f"%agent {command}").error_in_exec
                assert isinstance(error, CellError) and "give this address again with --api-base" in str(error)
            address = f" --api-base {own.url}"
        assert shell.run_cell(f"%agent resume --max-steps 3{address}").success
        assert shell.user_ns["answer"] == 6
        assert shell.run_cell(f"%agent fork --step 1 -o other{address}").success
        assert shell.user_ns["other"] == 7
        assert shell.smol_session.last.model == "openai/private"
        assert (len(own.requests), len(usual.requests)) == (4, 0)
        assert shell.run_cell(f"%agent fork {run} --step 1 --model openai/usual -o other").success
        assert (shell.user_ns["other"], shell.smol_session.last.model) == (0, "openai/usual")


def recorded(model="openai/own", server=None, scripted=False, named_as=()):
    return RunStarted(
        run="r", task="t", model=model, server=server, scripted=scripted, named_as=list(named_as),
        agent="CodeAgent", isolation="box", max_steps=3, system_prompt="",
    )  # fmt: skip


OWN, OTHER = "http://own/v1", "http://other/v1"


@pytest.mark.parametrize(
    ("started", "line", "usual", "asked"),
    [
        # the provider's own
        ((), (None, None), (None, None), ("openai/own", None)),
        ((), (None, None), ("openai/other", OTHER), ("openai/own", None)),
        ((), (None, OTHER), ("openai/another", OWN), ("openai/own", OTHER)),
        ((), ("openai/own", None), ("openai/other", OTHER), ("openai/own", None)),
        ((), ("openai/other", None), (None, OTHER), ("openai/other", OTHER)),
        # a server
        (("openai/own", OWN), (None, None), (None, None), "give this address again"),
        (("openai/own", OWN), (None, None), ("openai/own", OTHER), "give this address again"),
        (("openai/own", OWN), ("openai/own", None), (None, OTHER), "give this address again"),
        (("openai/own", OWN), ("openai/other,openai/own", None), (None, OTHER), "give this address again"),
        (("openai/own", OWN), (None, None), ("openai/other", OWN + "/"), ("openai/own", OWN + "/")),
        (("openai/own", OWN), (None, None), (None, "http://me:word@own/v1"), ("openai/own", "http://me:word@own/v1")),
        (("openai/own", OWN), (None, OTHER), (None, None), ("openai/own", OTHER)),
        (("openai/own (cassette)", OWN), (None, OWN), ("openai/other", OTHER), ("openai/own", OWN)),
        (("openai/own", OWN), ("openai/other", None), (None, None), ("openai/other", None)),
        # names of its own
        (("own", OWN, False, ["openai/own"]), (None, OWN), (None, None), ("openai/own", OWN)),
        (("own", OWN, False, ["openai/own"]), ("own", OWN), (None, None), ("openai/own", OWN)),
        (("own", OWN, False, ["openai/own"]), (None, None), (None, OTHER), "give this address again"),
        (("own", None, False, ["openai/own"]), (None, None), (None, OTHER), ("openai/own", None)),
        (("own", OWN, False, ["openai/own"]), ("openai/other", None), (None, OTHER), ("openai/other", OTHER)),
        # a script
        (("scripted", None, True), (None, None), (None, None), "came from a script"),
        (("scripted", None, True), (None, None), ("openai/other", OTHER), ("openai/other", OTHER)),
        (("scripted", OWN, True), (None, None), ("openai/other", OTHER), "came from a script"),
        (("demo", None, True), (None, None), ("openai/other", OTHER), ("demo", None)),
        # what no name stands for
        (("gpt", "a model made in Python"), (None, None), ("gpt", OTHER), "'gpt', a model made in Python: name"),
        (("gpt", "a model made in Python"), ("gpt", None), ("other", OTHER), ("gpt", OTHER)),
        (("openai/own (cassette)", "as a cassette has it"), (None, None), (None, None), "as a cassette has it: name a"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("by_environment", [False, True])
def test_which_model_goes_on_and_where_it_is_asked(monkeypatch, started, line, usual, asked, by_environment):
    if by_environment:
        for variable, value in zip(("SMOL_MODEL", "SMOL_API_BASE"), usual, strict=True):
            monkeypatch.setenv(variable, value or "")
        usual = (None, None)
    if isinstance(asked, str):
        with pytest.raises(ConfigError, match=asked):
            model_to_go_on(recorded(*started), *line, {}, usual)
    else:
        model = model_to_go_on(recorded(*started), *line, {}, usual)
        assert (model.model_id, getattr(model, "api_base", None)) == asked


def test_a_model_that_is_set_by_a_variable_goes_on_where_it_is_the_run_s():
    own = LiteLLMModel("openai/own", api_base="http://me:word@own/v1", api_key="k")
    usual = ("m", OTHER)
    assert model_to_go_on(recorded("openai/own", OWN), None, None, {"m": own}, usual) is own
    assert model_to_go_on(recorded("openai/own", OWN), None, OWN, {"m": own}, usual) is not own
    with pytest.raises(ConfigError, match="give this address again"):
        model_to_go_on(recorded("openai/own", OWN), None, None, {"m": LiteLLMModel("openai/own")}, usual)
    assert model_to_go_on(recorded("openai/other"), None, None, {"m": own}, usual).model_id == "openai/other"
    assert model_to_go_on(recorded("openai/other"), "m", None, {"m": own}, usual) is own


@pytest.mark.parametrize("command", [["resume", "last"], ["fork", "last", "--step", "1"]])
def test_a_run_that_was_moved_to_another_server_stays_there(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    at_limit = [Text(code("x = 6")), Text("best")]
    with ModelServer(*at_limit) as usual, ModelServer(*at_limit, Text(code("final_answer(x)"))) as own:
        monkeypatch.setenv("OPENAI_API_BASE", usual.url)  # it stands for the provider's own
        monkeypatch.setenv("SMOL_ALLOW_MODEL_REQUESTS", "1")
        assert main(["run", "t", "--model", "openai/usual", "--max-steps", "1"]) == 1
        assert main([*command, "--model", "openai/own", "--api-base", own.url, "--max-steps", "2"]) == 1
        assert main(["resume", "last", "--max-steps", "4"]) == 2
        assert f"asked 'openai/own' at {own.url!r}: give this address again" in capsys.readouterr().err
        assert main(["resume", "last", "--max-steps", "4", "--api-base", own.url]) == 0
        assert (len(usual.requests), [each.body["model"] for each in own.requests]) == (2, ["own"] * 3)


def test_an_address_that_litellm_takes_from_the_environment_is_recorded(monkeypatch):
    monkeypatch.setenv("OPENAI_API_BASE", "http://me:word@own/v1/")
    address = LiteLLMModel("openai/own").server_address
    assert address == OWN + "/"
    assert model_to_go_on(recorded("openai/own", address), None, None).model_id == "openai/own"
    monkeypatch.delenv("OPENAI_API_BASE")
    with pytest.raises(ConfigError, match="give this address again"):
        model_to_go_on(recorded("openai/own", address), None, None)


def test_where_the_environment_changes_the_provider_s_own_address_nothing_is_sent_there(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", OWN)
    monkeypatch.setenv("OLLAMA_API_BASE", OTHER)
    with pytest.raises(ConfigError, match=f"at its provider's own server, and the environment says '{OWN}'"):
        model_to_go_on(recorded("openai/own"), None, None)
    assert model_to_go_on(recorded("openai/own"), None, OWN).server_address == OWN
    names = ("gpt-4o", "o3-mini", "claude-sonnet-4-5", "command-a-03-2025", "ollama_chat/qwen3", "ollama/qwen3")
    addresses = [LiteLLMModel(name).server_address for name in names]
    assert addresses == [OWN, OWN, None, None, OTHER, OTHER]


def test_of_several_models_all_go_on(shell, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    script = [Text(code("x = 6")), Text("best"), Text(code("final_answer(x)"))]
    with ModelServer(*script[:2], Status(400), *script[2:]) as own:
        names = "openai/first,openai/second"
        assert main(["run", "t", "--model", names, "--api-base", own.url, "--max-steps", "1"]) == 1
        assert main(["resume", "last", "--max-steps", "3", "--api-base", own.url]) == 0
        assert [each.body["model"] for each in own.requests] == ["first", "first", "first", "second"]
    two = FallbackModel([LiteLLMModel("openai/a"), LiteLLMModel("anthropic/b")])
    monkeypatch.setenv("OPENAI_BASE_URL", OWN)  # comes again by itself
    assert two.as_recorded() | {"model": ""} == {
        "model": "", "named_as": ["openai/a", "anthropic/b"], "scripted": False, "server": OWN,
    }  # fmt: skip
    elsewhere = FallbackModel([LiteLLMModel("openai/a", api_base=OTHER), LiteLLMModel("anthropic/b")])
    assert (elsewhere.named_as, elsewhere.server_address) == (["openai/a"], OTHER)


def test_one_model_of_a_list_is_that_one(shell, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    at_limit = [Text(code("x = 6")), Text("best")]
    with ModelServer(*at_limit, Status(400), *at_limit, Status(400)) as own:
        names = f"--model openai/first,openai/second --api-base {own.url}"
        assert main(["run", "t", *names.split(), "--max-steps", "1"]) == 1
        assert main(["resume", "last", "--max-steps", "3", "--model", "openai/first", "--api-base", own.url]) == 1
        assert shell.run_cell(f"%%agent {names} --max-steps 1\nt").success
        line = f"--continue --model openai/first --api-base {own.url}"
        assert shell.run_cell(f"%%agent {line}\nt").error_in_exec is not None
        assert {each.body["model"] for each in own.requests} == {"first"}


def test_a_model_of_openai_s_class_goes_on_by_its_name(make, monkeypatch, capsys):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "secret")
    replies = [Text(code("final_answer(0)")), Text(code("x = 6")), Text("best"), Text(code("final_answer(x)"))]
    with ModelServer(*replies) as own:
        model = OpenAIServerModel("claude-sonnet-4-5", api_base=own.url, api_key="k")
        agent = make([], model=model, journal=Journal(), max_steps=1)
        agent.run("first")
        agent.run("t")
        assert main(["resume", "last", "--max-steps", "3"]) == 2
        assert "give this address again with --api-base" in capsys.readouterr().err
        assert main(["resume", "last", "--max-steps", "3", "--api-base", own.url]) == 0
        assert {(each.path, each.body["model"]) for each in own.requests} == {
            ("/v1/chat/completions", "claude-sonnet-4-5")
        }
        assert "secret" not in str([each.headers for each in own.requests])


@pytest.mark.parametrize(
    ("first", "later", "asked"),
    [
        ("--model openai/own --api-base OWN", "--cassette a.json", "own"),
        ("--model openai/own --api-base OWN --cassette c.json", "--model openai/own", "own"),
        ("--model openai/own --api-base OWN --cassette c.json", "--cassette a.json", "own"),
        ("--model openai/own,openai/b --api-base OWN", "--model openai/own,openai/b", "own"),
        ("--model openai/own,openai/b --api-base OTHER", "--api-base OWN", "own"),
        ("--model openai/own --api-base OTHER --cassette c.json", "--api-base OWN", "own"),
        ("--model m", "--model qwen3", "qwen3"),
        ("--model m", "--cassette a.json", "qwen3"),
    ],
)
def test_a_conversation_that_goes_on_keeps_its_model_behind_what_the_line_adds(
    shell, monkeypatch, tmp_path, first, later, asked
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    replies = [Text(code("final_answer(1)"))] * 2
    with ModelServer(*replies) as usual, ModelServer(*replies) as own, ModelServer(*replies) as other:
        monkeypatch.setenv("OPENAI_API_BASE", usual.url)
        assert shell.run_cell("%agent model openai/usual").success
        shell.user_ns["m"] = OpenAIServerModel("qwen3", own.url, "k")
        for options in (first, f"--continue {later}"):
            line = options.replace("OWN", own.url).replace("OTHER", other.url)
            assert shell.run_cell(f"%%agent {line}\nwork").success
        assert own.requests[-1].body["model"] == asked and "work" in str(own.requests[-1].body["messages"][2:])
        assert not usual.requests and len(own.requests) + len(other.requests) == 2
        assert (tmp_path / "a.json").exists() == ("a.json" in later)


def test_an_address_for_a_model_made_in_python_needs_its_name_as_well(shell):
    shell.user_ns["m"] = as_model(lambda messages: code("final_answer(1)"))
    assert shell.run_cell("%%agent --model m\nwork").success
    error = shell.run_cell(f"%%agent --continue --api-base {OWN}\nwork").error_in_exec
    assert isinstance(error, CellError) and "was made in Python: name one as well" in str(error)


def test_a_conversation_stays_at_its_server_unless_another_one_is_named(shell, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    replies = [Text(code("final_answer(1)"))] * 4
    with ModelServer(*replies) as usual, ModelServer(*replies) as own:
        monkeypatch.setenv("OPENAI_API_BASE", usual.url)
        line = "--model openai/own"
        for options, asked in {f"{line} --api-base {own.url}": 1, "--continue": 2, f"--continue {line}": 3}.items():
            assert shell.run_cell(f"%%agent {options}\nwork").success
            assert (len(own.requests), len(usual.requests)) == (asked, 0)
        assert shell.run_cell(f"%%agent --continue --api-base {usual.url}\nwork").success
        assert [each.body["model"] for each in usual.requests] == ["own"]


def test_a_record_tells_where_a_name_alone_does_not(tmp_path, make):
    class Foreign:
        model_id = "openai/gpt-oss-20b"

        def generate(self, messages, **options):
            return code("final_answer(1)")

    class Own(LiteLLMModel):
        """A user's."""

    class Client:
        def completion(self, **request):
            raise NotImplementedError

    CassetteModel(lambda messages: "a", tmp_path / "tape.json").generate([])
    places = [
        (as_model(Foreign()), "a model made in Python"),
        (as_model(lambda messages: ""), "a model made in Python"),
        (LiteLLMModel("openai/own", client=Client()), "a model made in Python"),
        (LiteLLMModel("openai/own"), None),
        (LiteLLMModel("openai/own", base_url=OWN), OWN),
        (OpenAIServerModel("claude-sonnet-4"), None),  # it is named as OpenAI's
        (OpenAIServerModel("gpt-4.1", organization="org"), "a model made in Python"),
        (OpenAIServerModel("qwen3", OWN), OWN),
        (Own("openai/own"), "a model made in Python"),
        (as_model([LiteLLMModel("openai/own"), Foreign()]), None),
        (ScriptedModel([]), None),
        (CassetteModel(ScriptedModel([]), tmp_path / "new.json"), None),
        (CassetteModel(LiteLLMModel("openai/own", OWN), tmp_path / "new.json"), OWN),
        (CassetteModel(None, tmp_path / "tape.json"), "as a cassette has it"),
    ]
    assert [model.server_address for model, _ in places] == [place for _, place in places]
    agent = make([], model=Foreign(), journal=Journal())
    assert agent.run("secret") == 1
    with pytest.raises(ConfigError, match="model= is missing"):
        CodeAgent.fork("last", journal=Journal())
    assert main(["fork", "last"]) == 2


def test_the_account_names_the_model_that_went_on(shell, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    with ModelServer(Text(code("final_answer(x)"))) as server:
        shell.user_ns["m"] = ScriptedModel([code("x = 6"), "best"])
        assert shell.run_cell("%%agent --model m --max-steps 1 -o answer\ncount").success
        shell.run_cell("%agent stop")
        shell.run_line_magic("config", f"SmolMagic.api_base = {server.url!r}")
        assert shell.run_cell("%agent model openai/usual").success
        assert shell.run_cell("%agent resume --max-steps 3").success
        assert shell.user_ns["answer"] == 6
        last = shell.smol_session.last
        assert model_label(last.model, last.scripted) == "scripted, then openai/usual"
        assert "scripted, then openai/usual · isolated" in head_text(last)


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
    assert "no run since this session began" in str(shell.run_cell("%agent resume").error_in_exec)
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
