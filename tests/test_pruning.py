"""Old runs are taken out of the journal whole, when they are asked to be, and never while somebody works on them."""

from __future__ import annotations

import io
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import replace

import pytest
from nested_events import started, whole_run

from smol_kernel.errors import JournalError, RunNotFoundError
from smol_kernel.events import Output, RunFinished, RunResumed
from smol_kernel.journal import Journal
from smol_kernel.serve.cli import main

DAY = 86_400


def plot(run, letter):
    return Output(run=run, channel="display", data={"image/png": letter * 400_000})


def old(run, days, *more):
    """A run that ended so many days ago."""
    return [
        started(run, f"Task of {run}.", time=time.time() - days * DAY),
        *more,
        RunFinished(run=run, state="success", time=time.time() - days * DAY),
    ]


@pytest.fixture
def journal(tmp_path, monkeypatch):
    """Three runs of their own, which share a plot, and a family; all but the newest are old."""
    monkeypatch.setenv("SMOL_JOURNAL", str(tmp_path / "journal.sqlite"))
    with closing(Journal()) as journal:
        journal.append_all(old("r90", 90, plot("r90", "A"), plot("r90", "B")))
        journal.append_all(old("r40", 40, plot("r40", "B")))
        journal.append_all(old("r1", 1, plot("r1", "B")))
        journal.append_all([event for event in whole_run() if event.durable])
        yield journal


def kept(journal):
    return sorted(run.run for run in journal.runs())


def rows(journal, table):
    with closing(sqlite3.connect(journal.path)) as db:
        return db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def test_old_runs_go_and_the_file_gets_smaller(journal, capsys):
    journal.close()
    before = journal.path.stat().st_size
    assert main(["runs", "--prune", "--older-than", "60d", "--dry-run"]) == 0
    assert "r90" in (told := capsys.readouterr().out) and "1 run would be taken out." in told and "r40" not in told
    assert main(["runs", "--prune", "--keep", "3", "--yes"]) == 0  # of those older than 30 days
    assert kept(journal) == ["p", "r1", "r40"]
    assert rows(journal, "blobs") == 1  # what others refer to stays
    assert journal.events("r40") and len(journal.events("r40")[1].data["image/png"]) == 400_000
    assert "1 run taken out" in (told := capsys.readouterr().out) and "now" in told
    assert journal.path.stat().st_size < before - 350_000
    assert main(["runs", "--prune", "--older-than", "30d", "--keep", "9", "--yes"]) == 0
    assert "There are none to take out." in capsys.readouterr().out


def test_a_run_goes_with_the_agents_it_called_and_not_without_them(journal, capsys):
    for run in "abcw":
        assert main(["runs", "--delete", run, "--yes"]) == 2
        assert "which called it; delete that one" in capsys.readouterr().err
    before = rows(journal, "events")
    assert main(["runs", "--delete", "p", "--yes"]) == 0
    for run in "pabcw":
        with pytest.raises(RunNotFoundError):
            journal.events(run)
    assert before - rows(journal, "events") == sum(event.durable for event in whole_run())
    assert kept(journal) == ["r1", "r40", "r90"]


def test_what_somebody_works_on_stays(journal, capsys):
    journal.claim("r90")  # as one that goes on after its end
    journal.append(started("late", "Still at work.", parent="r40"))
    assert [run.run for run in journal.prunable(time.time() + DAY)] == ["p", "r1"]
    for run in ("r90", "r40"):
        assert main(["runs", "--delete", run, "--yes"]) == 1
        assert "is at work" in capsys.readouterr().err
    with pytest.raises(JournalError, match="r90 is at work"):
        journal.delete(["r1", "r90"])
    assert kept(journal) == ["p", "r1", "r40", "r90"]
    journal.cut_off("r90")
    journal.cut_off("late")
    assert len(journal.prunable(time.time() + DAY)) == 4


def test_what_a_run_that_stays_goes_on_from_stays(journal, capsys):
    for run, continues, days in (("first", None, 80), ("second", "first", 70), ("third", "second", 0)):
        begun, ended = old(run, days)
        journal.append_all([replace(begun, continues=continues), ended])
        journal.cut_off(run)
    assert main(["runs", "--prune", "--older-than", "60d", "--yes"]) == 0
    assert {"first", "second", "third"} < set(kept(journal)) and "r90" not in kept(journal)
    assert main(["runs", "--delete", "second", "--yes"]) == 2
    assert "run third goes on from it; delete that one first" in capsys.readouterr().err
    assert main(["runs", "--delete", "third", "--yes"]) == 0
    assert main(["runs", "--prune", "--older-than", "60d", "--yes"]) == 0
    assert not {"first", "second", "third"} & set(kept(journal))


def test_a_run_is_as_old_as_the_last_work_on_it(journal):
    resumed = RunResumed(run="r90", kept=0)
    journal.append(resumed)  # and killed again
    journal.cut_off("r90")
    assert [run.run for run in journal.prunable(time.time() - 30 * DAY)] == ["r40"]
    assert [run.run for run in journal.prunable(resumed.time + 1)] == ["p", "r1", "r40", "r90"]


def test_a_fork_is_as_new_as_it_was_made(journal):
    begun, ended = old("fork", 40)
    journal.append_all([replace(begun, forked={"run": "r40", "step": 0, "time": time.time()}), ended])
    assert journal.find("last").run == "fork"
    assert [run.run for run in journal.prunable(time.time() - 30 * DAY)] == ["r40", "r90"]
    begun, ended = old("older", 50)  # of a version that did not tell when
    journal.append_all([replace(begun, forked={"run": "r40", "step": 0}), ended])
    assert [run.run for run in journal.prunable(time.time() - 30 * DAY)] == ["older", "r40", "r90"]


def test_runs_that_go_on_from_each_other_in_a_circle_can_be_deleted(journal):
    for run, continues in (("one", "two"), ("two", "one"), ("own", "own")):  # as an edited record may have it
        begun, ended = old(run, 1)
        journal.append_all([replace(begun, continues=continues), ended])
        journal.cut_off(run)
    for run in ("one", "own"):
        assert main(["runs", "--delete", run, "--yes"]) == 0
    assert not {"one", "own"} & set(kept(journal))


def test_a_person_is_asked(journal, capsys, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for answer, status in (("", 1), ("n\n", 1), ("what\n", 1)):
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        assert main(["runs", "--delete", "r90"]) == status
        assert "Nothing was taken out." in capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["runs", "--delete", "r90"]) == 2
    assert "--yes does it" in capsys.readouterr().err
    assert kept(journal) == ["p", "r1", "r40", "r90"]
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert main(["runs", "--delete", "r90"]) == 0
    assert kept(journal) == ["p", "r1", "r40"]


@pytest.mark.parametrize(
    "words",
    [
        "--prune --older-than soon", "--prune --older-than 9999999d", "--prune --keep -1", "--prune report",
        "report --delete r1", "--older-than 3d", "--yes", "--keep 3", "--dry-run", "--keep 0", "--delete r1 --keep 0",
    ],
)  # fmt: skip
def test_what_is_not_clear_takes_nothing_out(journal, words):
    assert main(["runs", *words.split()]) == 2
    assert rows(journal, "runs") == 8


def test_a_journal_in_use_is_pruned_all_the_same(journal, capsys):
    with closing(sqlite3.connect(journal.path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM events").fetchone()
        assert main(["runs", "--delete", "r90", "--yes"]) == 0
        assert "It did not get smaller: it is in use." in capsys.readouterr().out
    assert "r90" not in kept(journal)


def test_a_damaged_row_hinders_nobody(journal):
    with closing(sqlite3.connect(journal.path)) as db, db:
        db.execute("UPDATE events SET body = '{', blobs = '[' WHERE run = 'r40'")
    assert journal.delete(["r90"])
    assert rows(journal, "blobs") == 1
    assert journal.events("r1")
    assert journal.delete(["r40"])
    assert kept(journal) == ["p", "r1"]


def test_a_journal_that_cannot_be_written_says_so(journal, tmp_path):
    journal.close()
    journal.path.chmod(0o444)
    tmp_path.chmod(0o555)
    program = (
        "import os\nfrom smol_kernel.serve.cli import main\nmain(['runs', '--prune', '--dry-run'])\n"  # all is imported
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"  # root may write anyway
        "raise SystemExit(main(['runs', '--delete', 'r90', '--yes']))"
    )
    for parent in tmp_path.parents:
        with suppress(PermissionError):
            parent.chmod(parent.stat().st_mode | 0o011)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    tmp_path.chmod(0o755)
    assert done.returncode == 1, done.stderr
    assert "read-only" in done.stderr
    assert "r90" in kept(journal)


@pytest.mark.parametrize(
    "damage",
    [
        "process = 'abc', state = NULL",
        "process = 7, state = NULL",
        "started = 1e18",
        "started = 'soon'",
        "started = -1e300",
    ],
)
def test_a_damaged_row_hides_no_other_run(journal, capsys, damage):
    with closing(sqlite3.connect(journal.path)) as db, db:
        db.execute(f"UPDATE runs SET {damage} WHERE run = 'r40'")
    assert main(["runs"]) == 0
    listed = capsys.readouterr().out
    assert "r40" in listed and "r90" in listed
    assert ("  ?  " in listed) == ("started" in damage)
    assert main(["runs", "--prune", "--older-than", "60d", "--yes"]) == 0
    assert "r90" not in kept(journal)
    if "r40" in kept(journal):  # that of no known age
        assert main(["runs", "--delete", "r40", "--yes"]) == 0
    assert kept(journal) == ["p", "r1"]
