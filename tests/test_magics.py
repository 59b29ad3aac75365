"""The magics in a plain IPython shell: options, settings, commands, messages for what cannot be done."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from loaded_shell import loaded_shell
from nested_events import started

from smol_kernel import AgentRecipe, CodeAgent, ScriptedModel, tool
from smol_kernel.events import RunFinished
from smol_kernel.journal import Journal
from smol_magic.endings import CellError, Stopped
from smol_magic.thread import stoppable

ADDS = "Add them.\n<code>\nfinal_answer(1 + 1)\n</code>"


def a_tool() -> int:
    """Gives a number."""
    return 1


@pytest.fixture
def shell(tmp_path, monkeypatch):
    monkeypatch.setenv("SMOL_JOURNAL", str(tmp_path / "journal.sqlite"))
    monkeypatch.delenv("SMOL_MODEL", raising=False)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    monkeypatch.chdir(tmp_path)
    with loaded_shell() as shell:
        yield shell


def error_of(shell: InteractiveShell, cell: str) -> BaseException | None:
    """What the cell ended with."""
    return shell.run_cell(cell).error_in_exec


def refused(shell: InteractiveShell, cell: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The message of a cell that must end in one of ours, without a traceback and without having run anything."""
    error = error_of(shell, cell)
    assert isinstance(error, CellError)
    shown = "".join(capsys.readouterr())
    assert " ".join(str(error).split()) in " ".join(shown.split())
    assert "Traceback" not in shown
    assert not Journal().runs()
    return str(error)


def test_a_task_runs_and_the_answer_lands_in_the_namespace(shell):
    shell.user_ns["m"] = ScriptedModel([ADDS])
    assert error_of(shell, "%%agent --model m -o answer\nadd 1 and 1") is None
    assert shell.user_ns["answer"] == 2


def test_variables_go_in_by_name_and_stay_as_they_are(shell):
    shell.user_ns["numbers"] = [1, 2, 3]
    shell.user_ns["m"] = ScriptedModel(["Sum.\n<code>\nnumbers.append(4)\nfinal_answer(sum(numbers))\n</code>"])
    assert error_of(shell, "%%agent --model m --in numbers -o total\nadd them") is None
    assert shell.user_ns["total"] == 10
    assert shell.user_ns["numbers"] == [1, 2, 3]


def test_tools_of_the_notebook_are_called_by_name_on_its_own_thread(shell, request):
    import sqlite3

    connection = sqlite3.connect(":memory:")  # usable only on the thread that made it
    request.addfinalizer(connection.close)
    connection.execute("CREATE TABLE prices (price REAL)")
    connection.execute("INSERT INTO prices VALUES (2.5), (4)")

    @tool
    def total() -> float:
        """Adds up all prices."""
        return connection.execute("SELECT sum(price) FROM prices").fetchone()[0]

    shell.user_ns["total"] = total
    shell.user_ns["m"] = ScriptedModel(["Ask.\n<code>\nfinal_answer(total())\n</code>"])
    assert error_of(shell, "%%agent --model m -o answer\nhow much?") is None
    assert shell.user_ns["answer"] == 6.5


def test_continue_goes_on_in_the_same_conversation_and_namespace(shell):
    shell.user_ns["m"] = model = ScriptedModel(
        ["<code>\nkept = 41\nfinal_answer(kept)\n</code>", "<code>\nfinal_answer(kept + 1)\n</code>"]
    )
    assert error_of(shell, "%%agent --model m\nfirst question") is None
    assert error_of(shell, "%%agent --model m --continue -o answer\nsecond question") is None
    assert shell.user_ns["answer"] == 42
    assert "first question" in str(model.requests[-1])


def test_a_conversation_keeps_the_model_that_was_named_for_it_until_another_one_is_named_or_set(shell):
    for name in ("usual", "own", "other"):
        shell.user_ns[name] = ScriptedModel([f"<code>\nfinal_answer('{name}')\n</code>"] * 4, model_id=name)
    lines = {"": "usual", "--continue": "usual", "--model own": "own", "--continue --max-steps 9": "own"}
    assert error_of(shell, "%agent model usual") is None
    for options, asked in lines.items():
        assert error_of(shell, f"%%agent {options} -o answer\nWho is it?") is None
        assert shell.user_ns["answer"] == asked
    assert error_of(shell, "%config SmolMagic.model = 'other'") is None
    for options, asked in {"--continue": "other", "--continue --model usual": "usual", "": "other"}.items():
        assert error_of(shell, f"%%agent {options} -o answer\nWho is it?") is None
        assert shell.user_ns["answer"] == asked


def test_without_continue_conversation_and_namespace_are_fresh(shell):
    shell.user_ns["m"] = model = ScriptedModel(
        ["<code>\nkept = 41\nfinal_answer(kept)\n</code>", "<code>\nfinal_answer('kept' in globals())\n</code>"]
    )
    assert error_of(shell, "%%agent --model m\nfirst question") is None
    assert error_of(shell, "%%agent --model m -o answer\nsecond question") is None
    assert shell.user_ns["answer"] is False
    assert "first question" not in str(model.requests[-1])


@pytest.mark.parametrize("ended", ["restarted", "stopped", "out of steps", "never"])
def test_to_continue_where_there_is_no_conversation_says_so_and_what_goes_on(shell, capsys, monkeypatch, ended):
    monkeypatch.setenv("JPY_SESSION_NAME", "here.ipynb")
    run = ""
    if ended != "never":
        shell.user_ns["m"] = ScriptedModel(["<code>\nkept = 41\n</code>", "<code>\nfinal_answer(kept)\n</code>"])
        line = "--max-steps 1" if ended == "out of steps" else ""
        assert error_of(shell, f"%%agent --model m {line}\nfirst") is None
        run = shell.smol_session.last.run
        for cell in ("%agent stop",) if ended == "stopped" else ("%unload_ext smol_magic", "%load_ext smol_magic"):
            assert error_of(shell, cell) is None
    shell.user_ns["m"] = ScriptedModel(["<code>\nfinal_answer('kept' in globals())\n</code>"] * 2)
    capsys.readouterr()
    assert error_of(shell, "%%agent --continue --model m --no-write -o answer\nsecond") is None
    told = capsys.readouterr().out
    assert shell.user_ns["answer"] is False
    assert told.startswith("--continue: there is no conversation here to go on with; a new one begins.\n")
    goes_on = {"never": "", "out of steps": f"%agent resume {run} --max-steps N\n"}
    assert goes_on.get(ended, f'%agent fork {run} --instruction "…"\n') in told
    assert ("%agent" in told) is (ended != "never")
    assert error_of(shell, "%%agent --continue --no-write\nthird") is None
    assert "no conversation" not in capsys.readouterr().out


REFUSED = {
    "an input that cannot cross": ("--in bad", "can neither cross nor be pickled"),
    "a tool's name": ("--in price", "variable 'price' has the name of a tool"),
}


@pytest.mark.parametrize("by", ["agent", "py"])
@pytest.mark.parametrize(("line", "says"), REFUSED.values(), ids=list(REFUSED))
def test_a_cell_that_is_refused_before_the_model_is_asked_leaves_the_conversation(shell, capsys, line, says, by):
    @tool
    def price() -> int:
        """Gives it."""
        return 1

    makes = "kept = 41\nopen('made.txt', 'w').write('mine')"
    shell.user_ns |= {"bad": pd.DataFrame({"o": [threading.Lock()]}), "price": 3, "p": price}
    if by == "agent":
        shell.user_ns["m"] = ScriptedModel([f"<code>\n{makes}\nfinal_answer(kept)\n</code>"])
        assert error_of(shell, "%%agent --model m\nkeep it") is None
    else:
        assert error_of(shell, f"%%py\n{makes}") is None
    shell.user_ns["m"] = model = ScriptedModel(["<code>\nfinal_answer(kept + 1)\n</code>"])
    assert says in str(error_of(shell, f"%%agent --model m {line}\nlook"))
    capsys.readouterr()
    assert error_of(shell, "%agent files") is None
    assert "made.txt" in capsys.readouterr().out
    assert error_of(shell, "%%agent --continue --model m -o answer\ngo on") is None
    assert shell.user_ns["answer"] == 42
    assert ("keep it" in str(model.requests[-1])) is (by == "agent") and "look" not in str(model.requests[-1])


class Stops:
    """Stops the agent while it crosses."""

    def __init__(self, session):
        self._session = session

    def __reduce__(self):
        self._session.stop_running()
        return int, (3,)


@pytest.fixture
def not_begun(shell):
    """Variables of the shell with which no run begins."""

    @tool
    def price() -> int:
        """Gives it."""
        return 1

    inputs = {"bad": threading.Lock(), "stops": Stops(shell.smol_session)}
    shell.user_ns |= {name: pd.DataFrame({"o": [value]}) for name, value in inputs.items()}
    shell.user_ns |= {"price": 3, "p": price}


@pytest.mark.usefixtures("not_begun")
@pytest.mark.parametrize(("line", "says"), [("--in bad", "neither cross"), ("--in stops", "agent was stopped.")])
def test_a_run_that_did_not_begin_is_not_the_last_one_of_a_conversation(shell, capsys, line, says):
    replies = ("<code>\nkept = 41\nopen('made.txt', 'w').write('mine')\n</code>", "best")
    shell.user_ns["m"] = ScriptedModel([*replies, "<code>\nfinal_answer(kept)\n</code>"])
    assert error_of(shell, "%%agent --model m --max-steps 1 -o answer\nkeep it") is None
    first = shell.smol_session.last.run
    ended = str(error_of(shell, f"%%agent --model m {line} -o other\nlook"))
    assert says in ended and "goes on" not in ended
    capsys.readouterr()
    for cell in ("%agent", "%agent files", "%agent resume --max-steps 2"):
        assert error_of(shell, cell) is None
    told = capsys.readouterr().out
    assert f"last run: {first}" in told and "made.txt" in told
    assert shell.smol_session.last.run == first
    assert shell.user_ns["answer"] == 41 and "other" not in shell.user_ns


@pytest.mark.parametrize("options", ["", "--plan 1"])
def test_a_run_whose_model_failed_is_the_last_one(shell, options):
    def fails(messages):
        raise RuntimeError("no route")

    shell.user_ns |= {"m": ScriptedModel([ADDS]), "unreachable": ScriptedModel([fails])}
    assert error_of(shell, "%%agent --model m\nadd") is None
    assert "no route" in str(error_of(shell, f"%%agent --model unreachable {options}\nadd once more"))
    assert shell.smol_session.last.task == "add once more"
    assert shell.smol_session.agent.run_id == shell.smol_session.last.run


@pytest.mark.usefixtures("not_begun")
@pytest.mark.parametrize("line", ["--in bad", "--in stops", "--in price", "--continue --in price"])
def test_where_the_first_cell_did_not_begin_there_is_no_conversation_to_go_on_with(shell, capsys, line):
    shell.user_ns["m"] = ScriptedModel([ADDS])
    ended = error_of(shell, f"%%agent --model m {line}\nlook")
    assert isinstance(ended, CellError | Stopped) and "goes on" not in str(ended)
    run = shell.smol_session.last and shell.smol_session.last.run
    assert [each.run for each in Journal().runs()] == [run] * ("price" not in line)
    capsys.readouterr()
    assert error_of(shell, "%%agent --continue --model m -o answer\nadd") is None
    assert shell.user_ns["answer"] == 2
    assert "there is no conversation here to go on with; a new one begins" in capsys.readouterr().out


@pytest.mark.parametrize("line", ["", "--model m --in price"])
@pytest.mark.usefixtures("not_begun")
def test_a_new_conversation_is_told_of_only_where_one_begins(shell, capsys, line):
    shell.user_ns["m"] = ScriptedModel([ADDS])
    assert isinstance(error_of(shell, f"%%agent --continue {line}\nadd"), CellError)
    assert "no conversation" not in capsys.readouterr().out


def test_names_are_those_that_python_reads(shell):
    written, read = "\N{MICRO SIGN}", "\N{GREEK SMALL LETTER MU}"
    shell.run_cell(f"{written} = 20")
    shell.user_ns["m"] = ScriptedModel([f"<code>\nfinal_answer({written} + 1)\n</code>"] * 3)
    assert error_of(shell, f"%%agent --model m --in {written},{read} -o k{written}\nadd") is None
    assert shell.run_cell(f"k{written}").result == 21
    assert error_of(shell, f"%agent fork --step 0 --model m -o n{written}") is None
    assert shell.run_cell(f"n{written}").result == 21
    error = error_of(shell, f"%%agent --model m --in {written} -o {read}\nadd")
    assert isinstance(error, CellError) and "choose another name" in str(error)


def test_py_runs_in_the_child_of_the_agent(shell, capsys):
    shell.user_ns["m"] = ScriptedModel(["<code>\nkept = 41\nfinal_answer(kept)\n</code>"])
    assert error_of(shell, "%%agent --model m\nkeep it") is None
    capsys.readouterr()
    assert error_of(shell, "%%py\nprint(kept + 1)") is None
    assert capsys.readouterr().out == "42\n"
    assert "kept" not in shell.user_ns


def test_py_needs_neither_model_nor_agent_and_an_agent_goes_on_where_it_was(shell):
    assert error_of(shell, "%%py\nmine = 7") is None
    shell.user_ns["m"] = ScriptedModel(["<code>\nfinal_answer(mine)\n</code>"])
    assert error_of(shell, "%%agent --model m --continue -o answer\nwhat is mine?") is None
    assert shell.user_ns["answer"] == 7


def test_an_error_in_py_shows_the_childs_traceback_once(shell, capsys):
    error = error_of(shell, "%%py\ndef half(x):\n    return x / 0\n\nhalf(1)")
    assert "ZeroDivisionError" in str(error)
    shown = "".join(capsys.readouterr())
    assert shown.count("ZeroDivisionError: division by zero") == 1
    assert "in half" in shown
    assert "smol_" not in shown


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("%%agent --model m\n   \n", "The task is empty"),
        ("%%agent --modle m\nadd", "Did you mean --model?"),
        ("%%agent --frobnicate\nadd", "there is no option --frobnicate"),
        ("%%agent --max-steps many\nadd", "'many'"),
        ("%%agent --max-steps 0\nadd", "at least 1"),
        ("%%agent --timeout -1\nadd", "0 for no limit"),
        ("%%agent --timeout inf\nadd", "0 for no limit"),
        ("%%agent --model m 'add\nadd", "cannot read"),
        ("%%agent add one and one\nadd", "the task goes in the lines below"),
        ("%%agent --model m --in pricse\nadd", "Did you mean prices?"),
        ("%%agent --model m --in PRICES\nadd", "Did you mean prices?"),
        ("%%agent --model m --in zzz\nadd", "there is no variable 'zzz'"),
        ("%%agent --model m -o 2x\nadd", "'2x' is not a Python name"),
        ("%%agent --model m -o class\nadd", "'class' is not a Python name"),
        ("%%agent --model m --in prices -o prices\nadd", "choose another name"),
        ("%%agent --model m -o m\nadd", "'m' is a model, which the answer would replace"),
        ("%%agent --model m -o a_tool\nadd", "'a_tool' is a tool, which the answer would replace"),
        ("%%agent --model m -o helper\nadd", "'helper' is an agent, which the answer would replace"),
        ("%%agent --model m -o get_ipython\nadd", "IPython needs this name"),
        ("%%agent --model m -o _12\nadd", "IPython needs this name"),
        ("%%agent --model m -o __name__\nadd", "IPython needs this name"),
        ("%%agent --model m -o print\nadd", "actions need this name"),
        ('%agent "" x', "%agent help lists the commands"),
        ("%agent exprot x.ipynb", "Did you mean %agent export?"),
        ("%agent draw me a sheep", "A task goes below %%agent"),
        ("%agent export", "%agent export FILE [RUN]"),
        ("%agent export x.txt", "no run since this session began. %agent runs lists"),
        ("%agent export x.ipynb a b", "unrecognized arguments: b"),
        ("%agent resume", "no run since this session began. %agent runs lists"),
        ("%agent export x.ipynb", "no run since this session began. %agent runs lists"),
        ("%agent show", "no run since this session began. %agent runs lists"),
        ("%agent show abc", "no run 'abc'"),
        ("%agent show abc", "%agent runs lists them"),
        ("%%agent --model x5\nadd", "int, not a model"),
        ("%agent model x5", "int, not a model"),
        ("%%agent --model m --in final_answer\nadd", "it ends the run"),
        ("%%agent --model m --in prices,print\nadd", "--in print"),
        ("%%agent --model m --in frame\nadd", "--in frame: value is a frame"),
        ("%agent model", "Name a model"),
        ("%%py --now\n1", "takes no options"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line_and_nothing_is_run(shell, capsys, cell, says):
    shell.user_ns["m"] = ScriptedModel([ADDS])
    shell.user_ns |= {"prices": [1], "x5": 5, "frame": sys._getframe(), "final_answer": 1, "print": 2}
    shell.user_ns |= {"helper": AgentRecipe("helper", "Helps.", lambda: None), "a_tool": tool(a_tool)}
    assert says in refused(shell, cell, capsys)


def test_a_name_too_long_for_a_file_is_said_in_a_line(shell, monkeypatch, tmp_path):
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "here.ipynb"))
    shell.user_ns["m"] = ScriptedModel([ADDS])
    assert error_of(shell, "%%agent --model m\nadd 1 and 1") is None
    error = error_of(shell, f"%agent export {'x' * 300}.ipynb")
    assert isinstance(error, CellError) and "File name too long" in str(error)
    error = error_of(shell, "%agent export ~nobody_at_all/a.ipynb")
    assert isinstance(error, CellError) and "home directory" in str(error)


def test_of_variables_only_those_of_the_person_are_suggested(shell, capsys):
    shell.user_ns["m"] = ScriptedModel([ADDS])
    assert shell.user_ns["open"]
    assert "Did you mean" not in refused(shell, "%%agent --model m --in opne\nadd", capsys)


def test_without_a_model_the_cell_says_what_to_set_and_runs_nothing(shell, capsys):
    message = refused(shell, "%%agent\nadd 1 and 1", capsys)
    assert "--model" in message
    assert "SMOL_MODEL" in message
    assert "the model demo" in message


def test_a_table_that_cannot_cross_is_named(shell):
    pandas = pytest.importorskip("pandas")
    shell.user_ns["table"] = pandas.DataFrame({"cells": [sys._getframe()]})
    shell.user_ns["m"] = ScriptedModel([ADDS])
    error = error_of(shell, "%%agent --model m --in table\nadd")
    assert isinstance(error, CellError)
    assert "table" in str(error)


def test_the_settings_name_the_ways_to_set_a_model(shell, capsys):
    assert error_of(shell, "%agent") is None
    shown = capsys.readouterr().out
    assert shown.startswith("No model is set. Set one of:\n")
    assert "%agent model" in shown and "SMOL_MODEL" in shown
    assert max(map(len, shown.splitlines())) < 90, "a page breaks longer lines in the middle of a name"


def test_where_the_cells_name_their_models_the_settings_say_briefly_that_none_is_set(shell, capsys, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "here.ipynb")
    shell.user_ns["m"] = ScriptedModel([ADDS])
    assert error_of(shell, "%%agent --model m\nadd") is None
    for command in ("unload_ext", "load_ext"):  # now, and as after a restart
        capsys.readouterr()
        assert error_of(shell, "%agent") is None
        shown = capsys.readouterr().out
        assert shown.startswith("model: none set (%agent help)\n") and "Set one of" not in shown
        if command == "unload_ext":
            shell.run_line_magic("unload_ext", "smol_magic")
            shell.run_line_magic("load_ext", "smol_magic")
    monkeypatch.setenv("JPY_SESSION_NAME", "another.ipynb")
    assert error_of(shell, "%agent") is None
    assert capsys.readouterr().out.startswith("No model is set. Set one of:\n")


def test_the_demo_model_refuses_a_task_it_has_no_script_for(shell, capsys):
    error = error_of(shell, "%%agent --model demo\nPaint my house.")
    assert isinstance(error, CellError)
    shown = "".join(capsys.readouterr())
    assert "demo" in shown
    assert "Traceback" not in shown


def test_a_model_that_raises_ends_the_cell_with_its_reason_and_keeps_the_answer_name_free(shell):
    shell.user_ns["m"] = ScriptedModel([RuntimeError("no credit left")])
    error = error_of(shell, "%%agent --model m -o answer\nadd")
    assert isinstance(error, CellError)
    assert "no credit left" in str(error)
    assert "answer" not in shell.user_ns


def test_a_failed_action_is_repaired_and_the_cell_ends_well(shell):
    shell.user_ns["m"] = ScriptedModel(["<code>\nundefined_name\n</code>", ADDS])
    assert error_of(shell, "%%agent --model m -o answer\nadd") is None
    assert shell.user_ns["answer"] == 2


def test_at_the_step_limit_the_best_answer_is_kept(shell):
    shell.user_ns["m"] = ScriptedModel(["<code>\nx = 1\n</code>", "about two"])
    assert error_of(shell, "%%agent --model m --max-steps 1 -o answer\nadd") is None
    assert shell.user_ns["answer"] == "about two"


def test_at_a_limit_it_is_said_what_goes_on(shell, capsys):
    shell.user_ns["m"] = ScriptedModel(["<code>\nx = 1\n</code>", "about two", "<code>\nfinal_answer(x + 1)\n</code>"])
    shell.run_cell("%%agent --model m --max-steps 1\nadd")
    assert "\n%agent resume --max-steps 2 goes on\n" in capsys.readouterr().out
    assert error_of(shell, "%agent resume --max-steps 2 -o answer") is None
    assert shell.user_ns["answer"] == 2
    shell.user_ns["m"] = ScriptedModel(["<code>\nprint(input())\n</code>", "about", "<code>\nfinal_answer(3)\n</code>"])
    shell.run_cell("%%agent --model m --max-seconds 0.001\nadd")
    assert "\n%%agent --continue goes on\n" in capsys.readouterr().out
    assert error_of(shell, "%%agent --continue -o answer --max-seconds 60\ngo on") is None


def test_after_going_in_circles_it_is_said_what_goes_on(shell, capsys):
    circles = ["<code>\nx = 1\n</code>"] * 9
    shell.user_ns["m"] = ScriptedModel([*circles, "one", *["<code>\nfinal_answer(x + 1)\n</code>"] * 2])
    shell.run_cell("%%agent --model m\nadd")
    told = capsys.readouterr().out
    assert "\n%%agent --continue goes on\n" in told and "--max-steps" not in told
    assert error_of(shell, "%agent resume -o answer") is None
    assert shell.user_ns.pop("answer") == 2
    assert error_of(shell, "%%agent --continue -o answer\nAnother way, please.") is None
    assert shell.user_ns["answer"] == 2


def test_at_the_step_limit_without_any_answer_the_variable_keeps_its_value(shell):
    shell.user_ns["answer"] = "of yesterday"
    shell.user_ns["m"] = ScriptedModel(["<code>\nx = 1\n</code>", RuntimeError("no credit left")])
    error = error_of(shell, "%%agent --model m --max-steps 1 -o answer\nadd")
    assert isinstance(error, CellError)
    assert "limit of 1 step" in str(error) and "no credit left" in str(error)
    assert shell.user_ns["answer"] == "of yesterday"


@pytest.mark.parametrize(
    "cell",
    [
        "# a comment\n\n%%agent --model m -o answer\nadd",
        "%%time\n%%agent --model m -o answer\nadd",
        "%%time\n# a comment\n%%agent --model m -o answer\nadd",
        "get_ipython().run_cell('%%agent --model m -o answer\\nadd').raise_error()",
    ],
)
def test_the_cell_works_behind_comments_and_other_magics_and_from_code(shell, cell):
    shell.user_ns["m"] = ScriptedModel([ADDS])
    assert error_of(shell, cell) is None
    assert shell.user_ns["answer"] == 2


@pytest.mark.parametrize("comment", ["", "# a comment\n"])
def test_the_cell_works_without_autoawait(shell, comment):
    shell.run_line_magic("autoawait", "False")
    try:
        shell.user_ns["m"] = ScriptedModel([ADDS])
        assert error_of(shell, comment + "%%agent --model m -o answer\nadd") is None
        assert shell.user_ns["answer"] == 2
        assert error_of(shell, comment + "%%py\nx = 1") is None
    finally:
        shell.run_line_magic("autoawait", "asyncio")


@pytest.mark.parametrize("awaits", ["asyncio", "False"])
@pytest.mark.parametrize("start", ["", "# a comment\n", ">>> "])
def test_a_task_keeps_its_prompts(shell, start, awaits):
    """IPython strips what looks like one from each cell."""
    asked = []

    def reply(messages):
        asked.append(messages)
        return ADDS

    shell.user_ns["m"] = ScriptedModel([reply])
    shell.run_line_magic("autoawait", awaits)
    try:
        assert error_of(shell, f"{start}%%agent --model m -o answer\nExplain\n>>> f(1)\n2\n... x") is None
    finally:
        shell.run_line_magic("autoawait", "asyncio")
    expected = "Explain\nf(1)\n2\nx" if start == ">>> " else "Explain\n>>> f(1)\n2\n... x"  # pasted from a session
    assert expected in str(asked[0][-1].content[0]["text"])


def test_an_agent_command_inside_a_tool_is_refused_and_the_run_goes_on(shell):
    @tool
    def nested() -> str:
        """Runs another agent cell."""
        result = shell.run_cell("%%agent --model m\nadd")
        return str(result.error_in_exec)

    shell.user_ns["nested"] = nested
    shell.user_ns["m"] = ScriptedModel(["<code>\nfinal_answer(nested())\n</code>"])
    assert error_of(shell, "%%agent --model m -o answer\nnest") is None
    assert "An agent is at work" in shell.user_ns["answer"]


def test_the_model_is_set_by_command_configuration_or_environment(shell, capsys, monkeypatch):
    shell.user_ns["m"] = ScriptedModel([ADDS])
    shell.user_ns["n"] = ScriptedModel([ADDS])
    assert error_of(shell, "%agent model m") is None
    assert "from a script" in capsys.readouterr().out
    assert error_of(shell, "%%agent -o first\nadd") is None
    assert error_of(shell, "%config SmolMagic.model = 'n'") is None
    assert error_of(shell, "%%agent -o second\nadd") is None
    assert (shell.user_ns["first"], shell.user_ns["second"]) == (2, 2)
    monkeypatch.setenv("SMOL_MODEL", "some/model")
    assert error_of(shell, "%config SmolMagic.model = ''") is None
    capsys.readouterr()
    assert error_of(shell, "%agent") is None
    assert "model: some/model" in capsys.readouterr().out


def test_a_setting_that_is_wrong_when_it_loads_is_named_and_can_be_set_right(shell, capsys):
    shell.run_line_magic("config", "SmolMagic.timeout = 'x'")
    for command in ("reload_ext", "load_ext"):
        error = error_of(shell, f"%{command} smol_magic")
        assert isinstance(error, CellError)
        assert str(error).startswith("c.SmolMagic.timeout expected a float, not the str 'x'.")
        assert "%config SmolMagic.timeout = VALUE, then %load_ext smol_magic" in str(error)
    shell.run_line_magic("config", "SmolMagic.timeout = 60")
    assert error_of(shell, "%load_ext smol_magic") is None
    capsys.readouterr()
    assert error_of(shell, "%agent") is None
    assert "an action at most 60 s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("mounts", ["/nowhere"], "there is no such file or folder (c.SmolMagic.mounts)"),
        ("limits", {"memroy": "8 GB"}, "(c.SmolMagic.limits)"),
        ("allow_hosts", ["a b"], "(c.SmolMagic.allow_hosts)"),
    ],
)
def test_the_settings_are_shown_to_the_end_where_those_of_the_box_do_not_fit(shell, capsys, setting, value, said):
    shell.run_line_magic("config", f"SmolMagic.{setting} = {value!r}")
    capsys.readouterr()
    assert error_of(shell, "%agent") is None
    printed = capsys.readouterr().out
    assert said in printed and "%agent help lists the commands" in printed


def test_help_is_printed_and_nothing_is_run(shell, capsys):
    assert error_of(shell, "%%agent --help\n") is None
    options = capsys.readouterr().out
    for option in ("--model", "--in", "-o", "--max-steps", "--no-write", "--continue"):
        assert option in options
    assert error_of(shell, "%agent help") is None
    commands = capsys.readouterr().out.splitlines()
    assert any(line.startswith("%agent export FILE [RUN]") and "   write a run as" in line for line in commands)
    assert len({len(line) - len(line.split("   ", 1)[1].lstrip()) for line in commands}) == 1  # one column
    assert max(map(len, commands)) <= 92  # a page breaks longer ones anywhere
    assert not any(line.startswith("%%host") for line in commands)
    assert not Journal().runs()


def test_a_run_without_a_box_is_marked_in_the_list(shell, capsys):
    for options in ("", " --box off"):
        shell.user_ns["m"] = ScriptedModel([ADDS])
        assert error_of(shell, f"%%agent --model m{options}\nadd one and one") is None
    capsys.readouterr()
    assert error_of(shell, "%agent runs") is None
    assert [("not isolated" in line) for line in capsys.readouterr().out.splitlines()] == [True, False]


def test_runs_are_listed_in_columns(shell, capsys):
    shell.user_ns |= {"m": ScriptedModel([ADDS]), "a_long_name": ScriptedModel([ADDS], model_id="a-long-name")}
    for name in ("m", "a_long_name"):
        assert error_of(shell, f"%%agent --model {name}\nadd {name}") is None
    capsys.readouterr()
    assert error_of(shell, "%agent runs") is None
    lines = capsys.readouterr().out.splitlines()
    assert len({line.index("  add ") for line in lines}) == 1 and len(lines) == 2


def test_old_runs_are_listed_and_taken_out_when_that_is_confirmed(shell, capsys):
    with contextlib.closing(Journal()) as journal:
        for run, age in (("old1", 90), ("new1", 1)):
            begun = started(run, f"Task of {run}.", time=time.time() - age * 86_400)
            journal.append_all([begun, RunFinished(run=run, state="success", time=begun.time)])
    assert error_of(shell, "%agent runs --prune --older-than 8w") is None
    listed = capsys.readouterr().out
    assert "old1" in listed and "new1" not in listed
    assert "1 run would be taken out of" in listed and "the same line with --yes does it" in listed
    assert len(Journal().runs()) == 2
    assert error_of(shell, "%agent runs --prune --older-than 8w --yes") is None
    assert "1 run taken out of" in capsys.readouterr().out
    assert error_of(shell, "%agent runs --delete new1 --yes") is None
    assert not Journal().runs()
    assert error_of(shell, "%agent runs --prune") is None
    assert "There are none to take out." in capsys.readouterr().out
    for line, said in (
        ("--prune --older-than soon", "write it as 12h, 30d or 8w"),
        ("--keep 3", "--keep goes with --prune"),
        ("--keep 0", "--keep goes with --prune"),
        ("--delete new1 --keep 0", "--delete takes out the one run that it names"),
        ("word --prune", "look for no text in runs"),
        ("--delete nothing", "no run"),
    ):
        assert said in str(error_of(shell, f"%agent runs {line}"))


def test_a_run_is_listed_shown_and_exported(shell, capsys, tmp_path):
    import nbformat

    shell.user_ns["m"] = ScriptedModel([ADDS])
    assert error_of(shell, "%%agent --model m\nadd one and one") is None
    capsys.readouterr()
    assert error_of(shell, "%agent runs") is None
    listed = capsys.readouterr().out
    run = Journal().find("last").run
    assert run in listed and "add one and one" in listed and "not isolated" not in listed
    assert error_of(shell, f"%agent show {run}") is None
    assert error_of(shell, f"%agent show {run[:5]}") is None
    shown = capsys.readouterr().out
    assert "add one and one" in shown
    assert shown.splitlines()[-1] == "Answer: 2"  # no times: the output of a cell is the same each time
    assert error_of(shell, "%agent") is None
    assert f"{run} · done · 1 step · " in capsys.readouterr().out
    assert error_of(shell, "%agent export out.ipynb") is None
    exported = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    nbformat.validate(exported)
    assert "1 + 1" in str(exported)
    again = error_of(shell, "%agent export out.ipynb")
    assert "out.ipynb: the file exists: choose another name, or replace it with --force" in str(again)
    assert error_of(shell, f"%agent export out.ipynb --force {run}") is None
    for mine in (nbformat.writes(nbformat.v4.new_notebook()), "no notebook"):
        (tmp_path / "renamed.ipynb").write_text(mine)
        assert "a notebook that no export wrote" in str(error_of(shell, "%agent export renamed.ipynb --force"))
        assert (tmp_path / "renamed.ipynb").read_text() == mine
    for name, words in (("work.py", "1 + 1"), ("page.html", "<!doctype html>"), ("run.md", "add one and one")):
        assert error_of(shell, f"%agent export {name} {run[:5]}{' --script' if name == 'work.py' else ''}") is None
        assert words in (tmp_path / name).read_text()
    assert "give a file that ends in" in str(error_of(shell, "%agent export x.txt"))
    capsys.readouterr()
    for name, words in (("page.html", "is written as .ipynb or .py"), ("no/work.py", "there is no folder 'no'")):
        assert words in str(error_of(shell, f"%agent export {name} --script --force"))
    assert "proving" not in capsys.readouterr().out
    assert error_of(shell, "%agent") is None
    assert f"last run: {run} · done · 1 step · " in capsys.readouterr().out


def test_what_the_journal_has_not_of_a_run_is_said_in_its_account_and_exported_as_it_was_seen(shell, capsys, tmp_path):
    path = tmp_path / "journal.sqlite"

    @tool
    def lose() -> int:
        """Puts another file in the place of the journal, with what it has."""
        shutil.copy(path, tmp_path / "copy")
        (tmp_path / "copy").replace(path)
        return 2

    shell.user_ns["lose"] = lose
    shell.user_ns["m"] = ScriptedModel(
        [f"I do it.\n<code>\n{action}\n</code>" for action in ("x = lose()", "x += 1", "final_answer(x)")]
    )
    assert error_of(shell, "%%agent --model m\nlose it") is None
    capsys.readouterr()
    assert error_of(shell, "%agent show") is None
    assert "This run goes on, but is not kept from here" in capsys.readouterr().out
    run = Journal().find("last")
    assert (run.state, run.steps) == ("unfinished", 1)
    for words in ("seen.md", "seen.py --script", f"seen.ipynb {run.run}"):
        assert error_of(shell, f"%agent export {words}") is None
        said = f"written: {words.split()[0]}, as it was seen: the journal has only 1 of its 3 steps\n"
        assert said in capsys.readouterr().out
    assert "**Answer**\n\n3" in (tmp_path / "seen.md").read_text()
    assert "x += 1" in (tmp_path / "seen.py").read_text() and "x += 1" in (tmp_path / "seen.ipynb").read_text()
    assert error_of(shell, "%agent export kept.html") is None
    assert "kept.html, without the rest: the journal has only 1 of its 3 steps" in capsys.readouterr().out
    assert "cut off" in (tmp_path / "kept.html").read_text()


def test_the_open_notebook_is_never_overwritten(shell, monkeypatch, tmp_path):
    opened = tmp_path / "open.ipynb"
    opened.write_text("{}")
    monkeypatch.setenv("JPY_SESSION_NAME", str(opened))
    shell.user_ns["m"] = ScriptedModel([ADDS])
    assert error_of(shell, "%%agent --model m\nadd") is None
    assert isinstance(error_of(shell, "%agent export open.ipynb"), CellError)
    assert opened.read_text() == "{}"


def test_stop_ends_conversation_and_child(shell):
    shell.user_ns["m"] = ScriptedModel(["<code>\nkept = 1\nfinal_answer(kept)\n</code>"])
    assert error_of(shell, "%%agent --model m\nkeep") is None
    assert error_of(shell, "%agent stop") is None
    assert "NameError" in str(error_of(shell, "%%py\nkept"))


def test_a_cell_that_runs_two_agents_offers_the_work_of_both(shell):
    shell.user_ns["m"] = ScriptedModel([ADDS, ADDS.replace("1 + 1", "2 + 2"), ADDS.replace("1 + 1", "3 + 3")])
    run = "get_ipython().run_cell_magic('agent', '--model m', 'add')"
    assert error_of(shell, f"for _ in range(2):\n    {run}") is None
    assert shell.rl_next_input.count("# %%\n") == 2
    assert shell.rl_next_input.index("1 + 1") < shell.rl_next_input.index("2 + 2")
    assert error_of(shell, run) is None
    assert "3 + 3" in shell.rl_next_input and "1 + 1" not in shell.rl_next_input


def test_during_the_first_run_the_state_does_not_say_that_it_is_elsewhere(shell, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "a.ipynb"))
    run = "def look() -> int:\n    'Looks.'\n    get_ipython().run_line_magic('agent', '')\n    return 1"
    assert error_of(shell, f"from smol_kernel import tool\n@tool\n{run}") is None
    shell.user_ns["m"] = ScriptedModel(["Look.\n<code>\nfinal_answer(look())\n</code>"])
    capsys.readouterr()
    assert error_of(shell, "%%agent --model m\nlook") is None
    told = capsys.readouterr().out
    assert "An agent is at work in this notebook: %agent stop stops it" in told
    assert "last run of this notebook" in told and "in another kernel" not in told


def test_the_script_comes_as_the_next_cell_unless_it_is_not_wanted(shell):
    shell.user_ns["m"] = ScriptedModel([ADDS, ADDS])
    shell.rl_next_input = None
    assert error_of(shell, "%%agent --model m --no-write\nadd") is None
    assert shell.rl_next_input is None
    assert error_of(shell, "%%agent --model m\nadd") is None
    assert "# %%\n1 + 1" in shell.rl_next_input


def test_unloading_takes_everything_away_and_loading_again_works(shell):
    shell.run_line_magic("unload_ext", "smol_magic")
    assert shell.find_cell_magic("agent") is None
    assert shell.smol_session is None
    shell.run_line_magic("load_ext", "smol_magic")
    shell.user_ns["m"] = ScriptedModel([ADDS])
    assert error_of(shell, "%%agent --model m -o answer\nadd") is None
    assert shell.user_ns["answer"] == 2


def test_an_interrupt_in_a_terminal_stops_the_run(shell):
    import _thread

    @tool
    def interrupted() -> int:
        """Is interrupted by the person at the keyboard."""
        _thread.interrupt_main()
        while True:
            pass

    shell.user_ns["interrupted"] = interrupted
    shell.user_ns["m"] = ScriptedModel(["<code>\nfinal_answer(interrupted())\n</code>"])
    assert isinstance(error_of(shell, "%%agent --model m\nwait"), Stopped)
    assert Journal().find("last").state == "interrupted"


def test_loading_the_extension_loads_nothing_heavy():
    import subprocess

    code = (
        "import sys; from IPython.core.interactiveshell import InteractiveShell as S; s = S();"
        "before = set(sys.modules); s.run_line_magic('load_ext', 'smol_magic');"
        "print(sorted(m for m in set(sys.modules) - before if m.split('.')[0] in"
        " {'litellm', 'ipywidgets', 'jinja2', 'nbformat', 'pandas', 'numpy', 'jupyter_client', 'nh3'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("%agent ex", {"export"}),
        ("%agent model ", {"demo", "m"}),
        ("%%agent --mo", {"--model", "--mount"}),
        ("%%agent --max-s", {"--max-steps", "--max-seconds"}),
        ("%%agent --type ", {"code", "tool-calling"}),
        ("%%agent --cassette-mode ", {"auto", "record", "replay"}),
        ("%%agent --tool vi", {"visit_webpage"}),
        ("%%agent --agent ", {"reader"}),
        ("%%agent --image pri", {"prices"}),
        ("%%agent --model m --in pri", {"prices"}),
        ("%%agent --model ", {"demo", "m"}),
    ],
)
def test_the_first_line_is_completed_with_what_fits_alone(shell, line, offers):
    shell.user_ns["m"] = ScriptedModel([])
    shell.user_ns["prices"] = [1]
    shell.user_ns["reader"] = AgentRecipe("reader", "Reads.", CodeAgent)
    with provisionalcompleter():  # as the kernel asks
        found = {line[: item.start] + item.text for item in shell.Completer.completions(line, len(line))}
    before = line.rpartition(" ")[0]
    assert found == {f"{before} {offer}" for offer in offers}


@pytest.mark.parametrize("option", ["--plan", "--cassette", "-o"])
def test_where_an_option_takes_a_value_no_options_are_offered(shell, option):
    line = f"%%agent {option} "
    with provisionalcompleter():
        assert not [item for item in shell.Completer.completions(line, len(line)) if item.type == "agent"]


@pytest.mark.parametrize("command", ["show", "resume", "fork"])
def test_runs_of_this_session_are_offered_and_no_others(shell, command):
    line = f"%agent {command} "
    with provisionalcompleter():
        assert not [item for item in shell.Completer.completions(line, len(line)) if item.type == "agent"]
        shell.user_ns["m"] = ScriptedModel(["One.\n<code>\nfinal_answer(1)\n</code>"])
        assert shell.run_cell("%%agent --model m\nadd").success
        (found,) = shell.Completer.completions(line, len(line))
    assert found.text == shell.smol_session.last.run


def test_a_run_in_a_thread_is_stopped_by_a_command_and_is_not_left_by_unloading(shell, capsys):
    shell.user_ns["m"] = ScriptedModel(["On.\n<code>\nwhile True: pass\n</code>"])
    ended = []

    def work():
        try:
            shell.run_cell_magic("agent", "--model m", "for ever")
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while shell.smol_session.stop_running is None:
        thread.join(0.01)
    assert "%agent stop" in str(error_of(shell, "%%py\n1"))
    assert "%agent stop" in str(error_of(shell, "get_ipython().extension_manager.unload_extension('smol_magic')"))
    assert error_of(shell, "%agent stop") is None
    assert "is told to stop" in capsys.readouterr().out
    thread.join(60)
    assert not thread.is_alive() and isinstance(ended[0], Stopped)
    assert error_of(shell, "%%py\n1") is None


def test_an_interrupt_before_there_is_a_run_ends_the_cell():
    with pytest.raises(Stopped), stoppable():
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("command", ["resume", "fork", "runs", "files", "export"])
def test_a_command_that_is_written_wrongly_leads_to_the_help_there_is(shell, command, capsys):
    said = str(error_of(shell, f"%agent {command} x --nonsense"))
    assert said.endswith("%agent help lists the commands and their options.")
    for asked in ("-h", "--help"):
        capsys.readouterr()
        assert error_of(shell, f"%agent {command} {asked}") is None
        assert capsys.readouterr().out.startswith(f"usage: %agent {command} ")
    assert not Journal().runs()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("model --help", "model NAME"),
        ("show -h", "show [RUN]"),
        ("stop --help", "stop"),
        ("--help", "help"),
        ("-h", "help"),
        ("help show", "show [RUN]"),
    ],
)
def test_other_commands_tell_theirs_too_and_do_nothing(shell, line, told, capsys):
    capsys.readouterr()
    assert error_of(shell, f"%agent {line}") is None
    assert f"%agent {told} " in capsys.readouterr().out
    assert not shell.magics_manager.registry["SmolMagic"].model


def test_help_with_a_command_that_there_is_not_says_so(shell):
    assert "%agent shwo: there is no such command. Did you mean %agent show?" in str(
        error_of(shell, "%agent help shwo")
    )


def test_a_long_message_is_broken_between_words_only():
    words = "a sentence of some words " * 20 + "/a/path/that-is/" + "long/" * 30
    [shown] = CellError(f"{words}\n  {words}")._render_traceback_()
    assert shown.split() == f"{words} {words}".split()
    assert [line for line in shown.split("\n") if len(line) > 92 and " " in line.strip()] == []
    assert shown.split("\n")[-1].startswith("  /a/path")
    [shown] = CellError("in  columns\n  kept")._render_traceback_()
    assert shown == "in  columns\n  kept"


def test_what_cannot_go_on_says_where_the_runs_are(shell):
    assert "%agent runs lists them" in str(error_of(shell, "%agent resume zzz"))
