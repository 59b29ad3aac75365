"""A recorded run as a file, in every form, and given back from it; old runs taken out."""

from __future__ import annotations

import base64
import json
import runpy
import shutil
import warnings
from dataclasses import replace

import nbformat
import pytest
from nbconvert import HTMLExporter, PythonExporter
from nested_events import started
from scripted_replies import code, counted

from smol_kernel import CodeAgent, LogLevel, PythonInterpreterTool, ScriptedModel
from smol_kernel.config import TOOLS, RunOptions
from smol_kernel.errors import ConfigError
from smol_kernel.events import ActionFinished, ActionProposed, RunStarted, StepFinished
from smol_kernel.journal import Journal
from smol_kernel.runs.exporting import FORMS, export, packed
from smol_kernel.runs.importing import import_run
from smol_kernel.runs.needs import BUILT_IN, Need
from smol_kernel.serve.cli import main

HOSTILE = "<script>alert(1)</script><img src=https://evil.example/x.png onerror=alert(1)>"
REPLIES = [
    counted(code("rows = [1, 2, 3]\nprint(len(rows))", thought=f"Look. {HOSTILE}"), cost=0.25),
    counted(code("gone = True\nrows['x']\nrows = None")),
    counted(code(f"from IPython.display import HTML, display\ndisplay(HTML({HOSTILE!r}))\nreport = helper('sum')")),
    counted(code("final_answer(sum(rows))")),
]


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """The file of a journal with a run that called an agent."""
    journal = Journal(tmp_path_factory.mktemp("once") / "journal.sqlite")
    quiet = {"verbosity_level": LogLevel.OFF, "journal": journal, "tools": []}
    helper = CodeAgent(model=ScriptedModel([code("final_answer(6)")]), name="helper", description="Helps.", **quiet)
    with CodeAgent(model=ScriptedModel(REPLIES), managed_agents=[helper], **quiet) as agent:
        assert agent.run("Sum up. coding: latin-9") == 6
    journal.close()
    return journal.path


@pytest.fixture
def recorded(once, tmp_path, monkeypatch):
    """A journal of the test's own with that run; its events."""
    monkeypatch.setenv("SMOL_JOURNAL", str(shutil.copy(once, tmp_path / "journal.sqlite")))
    journal = Journal()
    return journal, journal.events(journal.find("last").run, family=True)


def test_every_form_is_written_and_two_give_the_run_back(recorded, tmp_path, capsys):
    _, events = recorded
    for ending in FORMS:
        assert main(["export", "last", "--to", str(tmp_path / f"run{ending}")]) == 0
        assert main(["export", "last", "--to", str(tmp_path / f"run{ending}")]) == 2, "it is there"
    for name in ("run.ipynb", "run.json"):
        with_other = Journal(tmp_path / f"other-{name}.sqlite")
        assert import_run(tmp_path / name, with_other).remarks == []
        came = with_other.events(events[0].run, family=True)
        assert [event for event in came if not isinstance(event, RunStarted)] == [
            event for event in events if not isinstance(event, RunStarted)
        ]
        assert all(event.origin["imported"] for event in came if isinstance(event, RunStarted))
        assert [(run.state, run.answer, run.steps) for run in with_other.runs()] == [("success", "6", 4)]
        export(with_other.events(events[0].run, family=True), tmp_path / f"again-{name}")
        assert (tmp_path / f"again-{name}").read_text() == (tmp_path / name).read_text()
    capsys.readouterr()
    assert main(["import", str(tmp_path / "run.json")]) == 0
    assert "The run was in the journal already." in capsys.readouterr().out
    assert len(Journal().runs()) == 1


def test_the_python_file_runs(recorded, tmp_path):
    _, events = recorded
    for script in (False, True):
        path = export(events, tmp_path / f"run-{script}.py", script=script)
        assert runpy.run_path(str(path), {"helper": lambda task: "6"})["rows"] == [1, 2, 3]
        assert path.read_text().splitlines()[0] == "# -*- coding: utf-8 -*-"  # the second line says "coding: latin-9"
    assert "\ngone = True\n# This failed: TypeError: " in (tmp_path / "run-False.py").read_text()
    notebook = nbformat.read(export(events, tmp_path / "work.ipynb", script=True), 4)
    nbformat.validate(notebook)
    assert "rows['x']" not in str(notebook.cells)


def test_the_python_file_has_the_value_that_was_shown_last(tmp_path, monkeypatch):
    monkeypatch.setenv("SMOL_JOURNAL", str(tmp_path / "journal.sqlite"))
    actions = ["1 + 2", "print('a')", "boom", "n = _\n_ * 2", "final_answer(_ + n)"]
    with CodeAgent(tools=[], model=ScriptedModel(list(map(code, actions))), verbosity_level=LogLevel.OFF) as agent:
        assert agent.run("Count.") == 9
        events = Journal().events(agent.run_id)
    for script in (False, True):
        path = export(events, tmp_path / f"run-{script}.py", script=script)
        assert runpy.run_path(str(path))["_"] == 6
        text = path.read_text()
        assert "\n_ = 1 + 2\n" in text and "\nn = _\n_ = _ * 2\n" in text and "\nprint('a')\n" in text
    shown = [code("1 + 2"), code("for _ in 'ab':\n    n = _\nn"), code("final_answer(_)")]
    with CodeAgent(tools=[], model=ScriptedModel(shown), verbosity_level=LogLevel.OFF) as agent:
        assert agent.run("Count.") == "b"
        text = export(Journal().events(agent.run_id), tmp_path / "other.py").read_text()
    assert "_ = " not in text


def test_the_notebook_is_clean_in_nbconvert(recorded, tmp_path):
    path = export(recorded[1], tmp_path / "run.ipynb")
    page, _ = HTMLExporter().from_filename(str(path))
    assert "alert(1)</script>" not in page
    script, _ = PythonExporter().from_filename(str(path))
    assert "rows = [1, 2, 3]" in script


def test_a_notebook_edited_by_hand_still_holds_its_run(recorded, tmp_path):
    _, events = recorded
    path = export(events, tmp_path / "run.ipynb")
    notebook = nbformat.read(path, 4)
    notebook.cells[1].source += "\nMy own words."
    nbformat.write(notebook, path)
    done = import_run(path, Journal(tmp_path / "other.sqlite"))
    assert (done.run, done.remarks) == (events[0].run, ["The cells were changed since; the record was not."])


def test_a_damaged_or_foreign_file_is_refused_and_nothing_half_written(recorded, tmp_path):
    _, events = recorded
    data = json.loads(export(events, tmp_path / "run.json").read_text())
    notebook = json.loads(export(events, tmp_path / "run.ipynb").read_text())
    other = {**notebook, "metadata": {"smol": {**packed(events), "digest": "0" * 64}}}
    torn = {**notebook, "metadata": {"smol": {**packed(events), "record": base64.b64encode(b"x").decode()}}}
    broken = {**data, "events": [*data["events"][:5], {"kind": "nonsense"}]}
    cases = {
        "a.ipynb": (other, "the record of the run in its metadata is damaged"),
        "b.ipynb": (torn, "the record of the run in its metadata is damaged"),
        "c.ipynb": ({**notebook, "metadata": {}}, "holds no run"),
        "d.json": (broken, "unknown event kind 'nonsense'"),
        "e.json": ({**data, "schema": 99}, "has events of form 99, known is 1: upgrade smol-kernel"),
        "f.json": ({"a": 1}, "holds no run"),
        "g.json": ({**data, "events": data["events"][1:]}, "has not begun"),
    }
    journal = Journal(tmp_path / "other.sqlite")
    for name, (content, why) in cases.items():
        (tmp_path / name).write_text(json.dumps(content))
        with pytest.raises(ConfigError, match=why):
            import_run(tmp_path / name, journal)
    (tmp_path / "h.json").write_text('{"format"')
    with pytest.raises(ConfigError, match="cannot be read"):
        import_run(tmp_path / "h.json", journal)
    assert journal.runs() == []


def test_another_run_of_that_id_is_kept(recorded, tmp_path):
    journal, events = recorded
    data = json.loads(export(events, tmp_path / "run.json").read_text())
    data["events"][0]["task"] = "Another."
    (tmp_path / "other.json").write_text(json.dumps(data))
    done = import_run(tmp_path / "other.json", journal)
    assert done.run != events[0].run and f"so this one has the id {done.run}" in done.remarks[0]
    again = import_run(tmp_path / "other.json", journal)
    assert (again.run, again.new) == (done.run, False)
    assert journal.events(events[0].run, family=True) == events
    family = journal.events(done.run, family=True)
    assert (family[0].task, len(family), len({event.run for event in family})) == ("Another.", len(events), 2)


def test_the_finished_work_is_what_was_proved(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SMOL_JOURNAL", str(tmp_path / "journal.sqlite"))
    monkeypatch.chdir(tmp_path)
    replies = [code("numbers = [1, 2]\nprint(numbers)\nunused = 5"), code("final_answer(sum(numbers))")]
    with CodeAgent(tools=[], model=ScriptedModel(replies), verbosity_level=LogLevel.OFF) as agent:
        agent.run("Add.")
    assert main(["export", "last", "--script", "--to", "work.py"]) == 0
    proved = "Proved: run in a fresh kernel, these cells gave the same answer."
    assert capsys.readouterr().out == f"{proved}\nWritten: work.py\n"
    text = (tmp_path / "work.py").read_text()
    assert f"# *{proved}*" in text and "unused" not in text and "print" not in text
    assert main(["export", "last", "--script", "--to", "work.ipynb"]) == 0
    notebook = nbformat.read(tmp_path / "work.ipynb", 4)
    nbformat.validate(notebook)
    assert notebook.metadata.smol.proof["state"] == "proved" and notebook.metadata.smol.proof["digest"]
    assert main(["export", "last", "--script", "--no-proof", "--to", "all.py"]) == 0
    assert "unused = 5" in (tmp_path / "all.py").read_text()
    capsys.readouterr()
    assert main(["export", "last", "--script", "--to", "work.py"]) == 2
    assert "the file exists; --force replaces it" in capsys.readouterr().err


def test_work_that_is_not_reproduced_says_so_in_its_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SMOL_JOURNAL", str(tmp_path / "journal.sqlite"))
    monkeypatch.chdir(tmp_path)
    replies = [code("import time\nfinal_answer(time.time_ns())")]
    with CodeAgent(tools=[], model=ScriptedModel(replies), verbosity_level=LogLevel.OFF) as agent:
        agent.run("Tell the time.")
    assert main(["export", "last", "--script", "--to", "work.py"]) == 0
    assert capsys.readouterr().out.startswith("Not reproduced: ")
    assert "# *Not reproduced: " in (tmp_path / "work.py").read_text()


def test_what_an_earlier_run_was_given_is_told_and_stays_as_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SMOL_JOURNAL", str(tmp_path / "journal.sqlite"))
    monkeypatch.chdir(tmp_path)
    replies = [code("final_answer(len(rows))"), code("print(rows)\nrows.append(4)\nfinal_answer(sum(rows))")]
    with CodeAgent(tools=[], model=ScriptedModel(replies), verbosity_level=LogLevel.OFF) as agent:
        agent.run("Count.", additional_args={"rows": [1, 2]})
        agent.run("Add.", reset=False)
    for options, said in ((["--no-proof"], "print(rows_)"), ([], "Proved: ")):
        for ending in (".py", ".ipynb"):
            assert main(["export", "last", "--script", *options, "--force", "--to", f"work{ending}"]) == 0
            assert said in capsys.readouterr().out + (tmp_path / f"work{ending}").read_text()
            assert "`rows`: list" in (tmp_path / f"work{ending}").read_text()
        rows = [1, 2]
        found = runpy.run_path("work.py", {"rows": rows, "answer": None})
        assert (found["rows_"], rows) == ([1, 2, 4], [1, 2])


def test_what_cannot_be_written_is_said_in_a_line(recorded, tmp_path, capsys):
    for arguments, why in (
        (["--to", "run.pdf"], "run.pdf: give a file that ends in .ipynb, .py, .html, .md, .json"),
        (["--to", "run.md", "--script"], "run.md: the finished work is written as .ipynb or .py"),
        (["--to", str(tmp_path / "no" / "run.md")], "there is no folder"),
        (["--to", str(tmp_path), "--force"], "give a file that ends in"),
    ):
        assert main(["export", "last", *arguments]) == 2
        assert why in capsys.readouterr().err


def test_what_only_ipython_runs_is_made_plain_python(tmp_path):
    actions = [
        "%matplotlib inline\nif True:\n    %time x = 1\ntext = '''\n%kept\n'''",
        "%%time\ny = 2",
        "%%bash\nls",
        "import asyncio\nasync def late(n):\n    await asyncio.sleep(0)\n    return f'''\n{n}'''",
        "a, b = await asyncio.gather(late(1), late(2))",
        "display(a)\nz = await late('\\d')",
        "from math import *\nw = await late(3)",
        "bad = (\x00",
    ]  # fmt: skip
    events = [started("r", "Do it all. \ud800", model="m")]
    for step, action in enumerate(actions, 1):
        events += [
            ActionProposed(run="r", step=step, thought="Next.", code=action),
            ActionFinished(run="r", step=step, status="ok" if "\0" not in action else "error", completed=9),
            StepFinished(run="r", step=step),
        ]
    for script in (False, True):
        path = export(events, tmp_path / f"run-{script}.py", script=script)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # of the escape, from Python 3.12 on
            found = runpy.run_path(str(path))
        assert found["x"] == 1
        assert (found["text"], found["y"], found["a"], found["z"]) == ("\n%kept\n", 2, "\n1", "\n\\d")
        assert path.read_text().count("# This runs in IPython only:\n# from math") == 1
        assert "# This is not Python:\n# %%bash\n# ls\n" in path.read_text()
        found["_loop"].close()


@pytest.mark.parametrize(
    "answer",
    ["pd.DataFrame({'f': [10 ** 5000]}, dtype=object)", "pd.Series([Decimal('sNaN')])", "[10 ** 5000]", "10 ** 5000"],
)
def test_an_answer_that_cannot_be_drawn_is_exported_as_its_text(tmp_path, monkeypatch, capfd, answer):
    monkeypatch.setenv("SMOL_JOURNAL", str(tmp_path / "journal.sqlite"))
    work = f"import pandas as pd\nfrom decimal import Decimal\nfinal_answer({answer})"
    with CodeAgent(tools=[], model=ScriptedModel([code(work)]), verbosity_level=LogLevel.OFF) as agent:
        agent.run("Make it.")
        events = Journal(tmp_path / "journal.sqlite").events(agent.run_id)
    for ending in FORMS:
        assert export(events, tmp_path / f"run{ending}").stat().st_size
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_python_file_that_makes_a_tool_begins_with_what_has_to_be_first(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite")
    work = "from __future__ import annotations\nfinal_answer(python_interpreter('1 + 1'))"
    model, tools = ScriptedModel([code(work)]), [PythonInterpreterTool()]
    with CodeAgent(tools, model, verbosity_level=LogLevel.OFF, journal=journal) as agent:
        agent.run("Add.")
        first, *others = journal.events(agent.run_id)
    events = [replace(first, origin={"given": {"python_interpreter": "--tool PythonInterpreterTool"}}), *others]
    for script in (True, False):
        text = export(events, tmp_path / "run.py", script=script, overwrite=True).read_text()
        assert "python_interpreter = PythonInterpreterTool(timeout_seconds=300).forward" in text
        compile(text, "run.py", "exec")


def test_agents_are_called_agents_whatever_a_record_says_of_tools(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite")
    quiet = {"verbosity_level": LogLevel.OFF, "journal": journal, "tools": []}
    helper = CodeAgent(model=ScriptedModel([code("final_answer(6)")]), name="helper", description="Helps.", **quiet)
    writer = CodeAgent(model=ScriptedModel([code("final_answer(x)")]), name="writer", description="Writes.", **quiet)
    model = ScriptedModel([code("x = helper('sum')"), code("transfer_to_writer('It writes.')")])
    with CodeAgent(model=model, managed_agents=[helper], handoffs=[writer], **quiet) as agent:
        agent.run("Sum up.")
        first, *others = journal.events(agent.run_id, family=True)
    for given in ({}, {"helper": "--tool __import__('os')"}, {"helper": 3}, {"helper": "variable a.b"}, [1], None):
        events = [replace(first, origin={"given": given}), *others]
        text = export(events, tmp_path / "run.py", script=True, overwrite=True).read_text()
        assert "# - `transfer_to_writer`: a hand-off to the agent `writer`; there is none outside of a run" in text
        if given != {"helper": "--tool __import__('os')"}:
            assert "# - `helper`: an agent; each call has it work anew, and asks its model" in text
        assert "import" not in text and "a.b" not in text


def test_every_tool_of_the_option_can_be_made_by_a_line():
    usual = RunOptions()
    assert {type(make(usual)).__name__ for make in TOOLS.values()} == BUILT_IN
    made = f"run = PythonInterpreterTool(timeout_seconds={usual.timeout:g}).forward"
    assert Need("run", "built-in", "PythonInterpreterTool").line == made
