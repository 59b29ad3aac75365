"""The record keeps no secrets, and what is wrong with its file is said in a sentence that loses nothing."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sqlite3
import subprocess
import sys

import psutil
import pytest
from scripted_replies import code

from smol_kernel import CodeAgent, ScriptedModel, tool
from smol_kernel.errors import AgentGenerationError, JournalError
from smol_kernel.executors.base import CodeOutput, PythonExecutor
from smol_kernel.journal import Journal
from smol_kernel.memory.known_secrets import INSTEAD, redacted
from smol_kernel.memory.monitoring import LogLevel

KEY = "sk-" + "Q7f" * 9


class Nothing(PythonExecutor):
    """Runs nothing, and takes every action for the last."""

    def send_tools(self, tools):
        """They are not needed."""

    def send_variables(self, variables):
        """They are not needed."""

    def __call__(self, code_action):
        return CodeOutput(1, "", is_final_answer=True)


def an_agent(tmp_path, replies, **more):
    given = {"journal": tmp_path / "journal.sqlite", "verbosity_level": LogLevel.OFF, "tools": [], **more}
    return CodeAgent(model=ScriptedModel(replies), **given)


def test_a_key_reaches_the_file_on_no_way(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", KEY)

    @tool
    def leak(given: str) -> str:
        """Tells it.

        Args:
            given: Whatever.
        """
        return f"the key is {os.environ['SOME_API_KEY']}"

    replies = [code(f"a = leak('{KEY}')\nprint('{KEY}')\n'{KEY}'"), code(f"raise ValueError('{KEY}')")]
    replies.append(code(f"'{KEY}' * 5_000"))
    replies.append(code(f"final_answer(['{KEY}'])", thought=KEY))
    with an_agent(tmp_path, replies, tools=[leak], instructions=f"Use {KEY}.") as agent:
        agent.run(f"Use {KEY}", additional_args={"key": KEY, "deep": [{"k": KEY}]})
    for file in tmp_path.glob("journal*"):
        assert KEY.encode() not in file.read_bytes(), file
    told = str(Journal(tmp_path / "journal.sqlite").events(agent.run_id))
    assert "(a secret of the host)" in told


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AWS_SECRET_ACCESS_KEY", "/JalrXUtnFEMI/K7MDENG/bPxRfiCY", "/JalrXUtnFEMI/K7MDENG/bPxRfiCY"),
        ("MY_API_KEY", "~tilde-secret-1234567", "~tilde-secret-1234567"),
        ("DB_PASSWORD", ".dot5secret9876543", ".dot5secret9876543"),
        ("NL_SECRET", "endsnewline-778899aa\n", "endsnewline-778899aa"),
        ("DB_URL", "postgresql://user:p%40ssw0rd-long-1234@db/x", "p@ssw0rd-long-1234"),
    ],
)
def test_a_secret_is_found_however_it_begins_and_is_written(monkeypatch, name, value, said):
    monkeypatch.setenv(name, value)
    assert redacted(f"it is {said}, so") == f"it is {INSTEAD}, so"


def test_a_place_is_no_secret(monkeypatch, tmp_path):
    (tmp_path / "credentials").touch()
    places = {
        "PWD": "/somewhere/that/is/gone",
        "SSH_AUTH_SOCK": "/tmp/agent.1234/gone",
        "GOOGLE_APPLICATION_CREDENTIALS": "/somewhere/service-account.json",
        "SECRET_AT": str(tmp_path / "credentials"),
    }
    for name, value in places.items():
        monkeypatch.setenv(name, value)
    assert redacted(list(places.values())) == list(places.values())


def test_a_secret_that_json_and_python_write_otherwise_is_found_in_every_form(tmp_path, monkeypatch):
    secret = "pä\"ss\\w\to'rd-0123"
    monkeypatch.setenv("SOME_PASSWORD", secret)
    forms = [secret, json.dumps(secret), json.dumps(secret, ensure_ascii=False), repr(secret)]
    with an_agent(tmp_path, [code("final_answer(given)")], instructions=f"Use {secret}.") as agent:
        agent.run("\n".join(forms), additional_args={"given": forms})
    events = Journal(tmp_path / "journal.sqlite").events(agent.run_id)
    told = repr([event.to_dict() for event in events])
    assert [form for form in forms if form[1:-1] in told or repr(form)[1:-1] in told] == []
    assert "(a secret of the host)" in told


def test_an_input_that_holds_a_secret_within_a_pickle_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", KEY)
    given = {"pickled": [object, KEY], "bytes": KEY.encode(), "plain": [object, 1]}
    with an_agent(tmp_path, [code("final_answer(1)")]) as agent:
        started = next(iter(list(agent.events("t", additional_args=given))))
    assert [name for name, kept in started.values.items() if "value" in kept] == ["plain"]


def test_of_a_run_that_is_not_recorded_no_input_is_kept(tmp_path):
    with an_agent(tmp_path, [code("final_answer(x)")] * 2) as agent:
        recorded = next(iter(list(agent.events("t", additional_args={"x": 1}))))
        agent.journal = False
        unrecorded = next(iter(list(agent.events("t", additional_args={"x": 1}))))
    assert (recorded.values["x"]["value"], unrecorded.values, unrecorded.inputs) == (1, {}, recorded.inputs)


@pytest.fixture
def recorded(tmp_path):
    """A journal with a run in it, and the run's id."""
    journal = Journal(tmp_path / "journal.sqlite")
    with an_agent(tmp_path, [code("final_answer(1)")], journal=journal) as agent, contextlib.closing(journal):
        agent.run("count")
    path = tmp_path / "journal.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path, agent.run_id


def test_a_truncated_journal_is_told_and_left_as_it_is(recorded):
    path, run = recorded
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(JournalError, match=r"reads as damaged: .*move it away, or set SMOL_JOURNAL"):
        Journal(path).events(run)
    assert len(path.read_bytes()) == len(whole) // 2


def test_a_read_only_journal_can_be_read(recorded, tmp_path):
    path, run = recorded
    folder = tmp_path / "read-only"
    folder.mkdir()
    (folder / "journal.sqlite").write_bytes(path.read_bytes())
    (folder / "journal.sqlite").chmod(0o444)
    folder.chmod(0o555)
    program = (
        "import json, os, sys, urllib.parse\nfrom smol_kernel.errors import JournalError\n"
        "from smol_kernel.events import Notice\n"
        "from smol_kernel.journal import Journal\nimport smol_kernel.journal.no_secrets\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"  # root may write anyway
        "journal = Journal(sys.argv[1])\nprint(len(journal.events(sys.argv[2])))\n"
        "try:\n    journal.append(Notice(run='r', text='x'))\nexcept JournalError as error:\n    print(error)\n"
    )
    for parent in (tmp_path, *tmp_path.parents):
        with contextlib.suppress(PermissionError):
            parent.chmod(parent.stat().st_mode | 0o011)
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder / "journal.sqlite"), run],
        capture_output=True,
        text=True,
        check=False,
    )
    folder.chmod(0o755)
    assert done.returncode == 0, done.stderr
    count, said = done.stdout.splitlines()
    assert int(count) > 5
    assert "cannot be written (read-only): make it writable, run without it (smol run --no-journal, " in said


def test_what_is_no_file_is_no_journal():
    with pytest.raises(JournalError, match=r"'/dev/null' is no file: set SMOL_JOURNAL to one, or run without"):
        Journal("/dev/null").runs()


def test_a_journal_without_wal_serves_as_well(recorded):
    path, run = recorded
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
        held = db.execute("SELECT count(*) FROM events").fetchone()[0]
        db.execute("BEGIN IMMEDIATE")  # so that nobody can turn it on
        journal = Journal(path)
        assert len(journal.events(run)) == held
        db.execute("ROLLBACK")
    with contextlib.closing(an_agent(path.parent, [code("final_answer(2)")]).events("two")) as events:
        assert [event.kind for event in events][-1] == "run_finished"


def test_agents_that_were_let_go_hold_no_file(tmp_path):
    gc.collect()
    gc.disable()
    try:
        for task in ("first", "second"):
            an_agent(tmp_path, [code("final_answer(1)")], executor=Nothing()).run(task)
            with pytest.raises(AgentGenerationError):
                an_agent(tmp_path, [], executor=Nothing()).run(task)
        held = [file.path for file in psutil.Process().open_files() if file.path.startswith(str(tmp_path))]
    finally:
        gc.enable()
    assert held == []
    assert len(Journal(tmp_path / "journal.sqlite").runs()) == 4


def test_a_locked_journal_ends_a_run_before_it_has_cost_anything(recorded, monkeypatch):
    path, _ = recorded
    agent = an_agent(path.parent, [code("final_answer(2)")])
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("BEGIN EXCLUSIVE")
        with pytest.raises(JournalError, match="is locked by another process: try again when that is done"):
            agent.run("two")
    assert agent.model.requests == []
    assert agent.run("two") == 2
    agent.cleanup()
