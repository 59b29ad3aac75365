"""A recorded run as a file, in every form, and given back from it; old runs taken out."""

from __future__ import annotations

import base64
import json
import runpy
import subprocess
import sys
import time

import nbformat
import pytest
from scripted_replies import code, counted

from smol_kernel import CodeAgent, LogLevel, ScriptedModel
from smol_kernel.errors import ConfigError, RunNotFoundError
from smol_kernel.events import Notice
from smol_kernel.journal import Journal
from smol_kernel.runs.exporting import FORMS, export, packed
from smol_kernel.runs.importing import import_run
from smol_kernel.serve.cli import main

HOSTILE = "<script>alert(1)</script><img src=https://evil.example/x.png onerror=alert(1)>"
REPLIES = [
    counted(code("rows = [1, 2, 3]\nprint(len(rows))", thought=f"Look. {HOSTILE}"), cost=0.25),
    counted(code("rows['x']")),
    counted(code(f"from IPython.display import HTML, display\ndisplay(HTML({HOSTILE!r}))\nreport = helper('sum')")),
    counted(code("final_answer(sum(rows))")),
]


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """A journal with a run that called an agent; its events."""
    monkeypatch.setenv("SMOL_JOURNAL", str(tmp_path / "journal.sqlite"))
    journal = Journal()
    quiet = {"verbosity_level": LogLevel.OFF, "journal": journal, "tools": []}
    helper = CodeAgent(model=ScriptedModel([code("final_answer(6)")]), name="helper", description="Helps.", **quiet)
    with CodeAgent(model=ScriptedModel(REPLIES), managed_agents=[helper], **quiet) as agent:
        assert agent.run("Sum up.") == 6
    return journal, journal.events(agent.run_id, family=True)


def test_every_form_is_written_and_two_give_the_run_back(recorded, tmp_path, capsys):
    _, events = recorded
    for ending in FORMS:
        assert main(["export", "last", "--to", str(tmp_path / f"run{ending}")]) == 0
        assert main(["export", "last", "--to", str(tmp_path / f"run{ending}")]) == 2, "it is there"
    for name in ("run.ipynb", "run.json"):
        with_other = Journal(tmp_path / f"other-{name}.sqlite")
        assert import_run(tmp_path / name, with_other).remarks == []
        assert with_other.events(events[0].run, family=True) == events
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
    assert "# This failed:\n# rows['x']" in (tmp_path / "run-False.py").read_text()
    notebook = nbformat.read(export(events, tmp_path / "work.ipynb", script=True), 4)
    nbformat.validate(notebook)
    assert "rows['x']" not in str(notebook.cells)


def test_the_notebook_is_clean_in_nbconvert(recorded, tmp_path):
    path = export(recorded[1], tmp_path / "run.ipynb")
    for form in ("html", "script"):
        done = subprocess.run(
            [sys.executable, "-m", "nbconvert", "--to", form, str(path)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert "alert(1)</script>" not in (tmp_path / "run.html").read_text()


def test_the_page_is_whole_and_runs_nothing_but_its_own(recorded, tmp_path):
    page = export(recorded[1], tmp_path / "run.html").read_text()
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-" in page
    assert page.count("<script") == 1 and "evil.example/x.png" in page
    assert not any(f'{attribute}="http' in page for attribute in ("src", "href"))
    assert "<img src=https" not in page and "&lt;script&gt;alert(1)" in page
    for told in (
        "Sum up.",
        "KeyError" if "KeyError" in page else "TypeError",
        "helper",
        "Model calls: 60 tokens",
        "$0.25",
    ):
        assert told in page


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
        "g.json": ({**data, "events": data["events"][1:]}, "do not begin with the start of a run"),
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
    assert done.run != events[0].run and "so this one has a new one" in done.remarks[0]
    assert journal.events(events[0].run, family=True) == events
    family = journal.events(done.run, family=True)
    assert (family[0].task, len(family), len({event.run for event in family})) == ("Another.", len(events), 2)


def test_what_cannot_be_written_is_said_in_a_line(recorded, tmp_path, capsys):
    for arguments, why in (
        (["--to", "run.pdf"], "run.pdf: give a file that ends in .ipynb, .py, .html, .md, .json"),
        (["--to", "run.md", "--script"], "run.md: the finished work is written as .ipynb or .py"),
        (["--to", str(tmp_path / "no" / "run.md")], "No such file or directory"),
        (["--to", str(tmp_path), "--force"], "give a file that ends in"),
    ):
        assert main(["export", "last", *arguments]) == 2
        assert why in capsys.readouterr().err


def test_old_runs_are_taken_out_whole_and_on_request_only(recorded, capsys):
    journal, events = recorded
    journal.append(Notice(run=events[0].run, text="x" * 60_000))
    journal.close()
    before = journal.path.stat().st_size
    assert main(["runs", "--prune", "--older-than", "30d", "--yes"]) == 0
    assert "There are none to take out." in capsys.readouterr().out
    assert [run.run for run in journal.prune(time.time() + 1)] == [events[0].run]
    assert journal.prune(time.time() + 1, keep=1) == []
    assert main(["runs", "--prune", "--older-than", "0h", "--dry-run"]) == 0
    assert "1 run would be taken out." in capsys.readouterr().out
    assert main(["runs", "--prune", "--older-than", "0h"]) == 2
    assert main(["runs", "--prune", "--older-than", "soon"]) == 2
    assert len(journal.events(events[0].run, family=True)) == len(events) + 1
    assert main(["runs", "--delete", events[0].run, "--yes"]) == 0
    with pytest.raises(RunNotFoundError):
        journal.events(events[0].run)
    with journal._connection() as db:
        assert [db.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("runs", "events", "blobs")] == [0, 0, 0]
    journal.close()
    assert journal.path.stat().st_size < before


def test_a_run_at_work_is_not_taken_out(tmp_path, monkeypatch):
    monkeypatch.setenv("SMOL_JOURNAL", str(tmp_path / "journal.sqlite"))
    agent = CodeAgent(tools=[], model=ScriptedModel([code("1")]), verbosity_level=LogLevel.OFF)
    events = agent.events("t")
    next(events)
    assert Journal().prune(time.time() + 1) == []
    assert main(["runs", "--delete", agent.run_id, "--yes"]) == 2
    events.close()
    agent.cleanup()
