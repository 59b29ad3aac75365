"""The journal: what is written comes back, from any thread and process, and a broken file loses no run."""

from __future__ import annotations

import copy
import errno
import gc
import inspect
import itertools
import os
import pickle
import platform
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from smol_kernel.errors import JournalError, RunNotFoundError, RunTakenOverError
from smol_kernel.events import (
    ActionProposed,
    Event,
    FinalAnswer,
    ModelDelta,
    Notice,
    Output,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    ToolCalled,
)
from smol_kernel.journal import Journal, default_path, open_journal, record, unwritten
from smol_kernel.journal.database import explain

JOURNAL = str(Path(inspect.getfile(Journal)).parent)


@pytest.fixture
def journal(tmp_path):
    with closing(Journal(tmp_path / "new" / "journal.sqlite")) as journal:
        yield journal


def started(run="r1", **fields):
    defaults = {"task": "count", "agent": "CodeAgent", "model": "m", "isolation": "none", "max_steps": 5}
    return RunStarted(run=run, system_prompt="be kind", **{**defaults, **fields})


def a_run(run="r1", **fields):
    return [
        started(run, **fields),
        StepStarted(run=run, step=1),
        ActionProposed(run=run, step=1, thought="t", code="x = 1"),
        StepFinished(run=run, step=1),
        FinalAnswer(run=run, value=1, text="one"),
        RunFinished(run=run, state="success", steps=1),
    ]


def test_events_come_back_as_they_went_in(journal):
    odd = [
        ToolCalled(run="r1", call="c1", tool="f", args=[{"$": "blob", "v": "x"}, None, 1.5], kwargs={"$blob": "é"}),
        Output(run="r1", channel="stdout", text="lone \ud800, nul \x00, \U0001f600"),
        Output(run="r1", channel="display", data={"image/png": "A" * 200_000, "text/plain": "x"}),
        FinalAnswer(run="r1", value=["B" * 70_000, {"deep": ["C" * 70_000]}], text="D" * 70_000),
    ]
    for event in [started(task="lone \ud800"), *odd]:
        journal.append(event)
    assert journal.events("r1")[1:] == odd


def test_a_long_string_is_stored_once(journal):
    for _ in range(20):
        journal.append(Output(run="r1", channel="display", data={"image/png": "A" * 200_000}))
    journal.close()
    assert journal.path.stat().st_size < 800_000


def test_what_only_watchers_see_is_not_written(journal):
    journal.append(started())
    journal.append(ModelDelta(run="r1", text="hm"))
    assert [event.kind for event in journal.events("r1")] == ["run_started"]


def test_an_event_of_a_program_s_own_is_for_watchers_and_takes_nobody_s_name(journal):
    given = {"__module__": "program", "__annotations__": {}}
    mine, named = type("RowsRead", (Event,), given), type("Notice", (Event,), given)
    with closing(journal):
        journal.append_all([started(), mine(run="r1"), named(run="r1"), Notice(run="r1", text="so")])
    code = f"from smol_kernel.journal import Journal; print(len(Journal({str(journal.path)!r}).events('r1')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "2\n"
    assert [event.kind for event in journal.events("r1")] == ["run_started", "notice"]


def test_a_finished_run_is_summed_up(journal):
    for event in a_run(origin={"front": "cli"}, scripted=True):
        journal.append(event)
    [run] = journal.runs()
    assert (run.state, run.steps, run.answer, run.origin, run.scripted) == ("success", 1, "one", {"front": "cli"}, True)
    assert run.finished is not None and run.finished >= run.started


def test_runs_are_listed_newest_first_and_searched_without_case(journal):
    for number, task in enumerate(["Count 100% of sheep", "draw a plot"]):
        journal.append(started(f"r{number}", task=task, time=float(number)))
    journal.append(started("child", parent="r1", time=9.0))
    assert [run.run for run in journal.runs()] == ["r1", "r0"]
    journal.append(started("late", task="Wie viele Ärzte gibt es?", time=-1.0))
    assert [run.run for search in ("Ärzte", "äRZTE") for run in journal.runs(search=search)] == ["late"] * 2
    assert [run.run for run in journal.runs(search="SHEEP")] == ["r0"]
    assert [run.run for run in journal.runs(search="0%")] == ["r0"]
    assert journal.runs(search="_") == []
    assert len(journal.runs(limit=1)) == 1


def test_a_run_is_found_by_the_beginning_of_its_id(journal):
    for run in ["abc1", "abd2", "abc1x"]:
        journal.append(started(run))
    assert journal.find("abd").run == "abd2"
    assert journal.find("abc1").run == "abc1"
    assert journal.find("last").run == "abc1x"
    with pytest.raises(JournalError, match="abd2"):
        journal.find("ab")
    for missing in ["zz", "", "%"]:
        with pytest.raises(RunNotFoundError, match=repr(missing)):
            journal.find(missing)
    with pytest.raises(RunNotFoundError, match="'abc'"):
        journal.events("abc")


def test_last_of_an_empty_journal_says_that_it_is_empty(journal):
    with pytest.raises(RunNotFoundError, match=r"no runs in .* yet"):
        journal.find("last")


def test_a_family_is_read_in_the_order_it_happened(journal):
    mixed = [started("r1"), started("r2", parent="r1"), started("r3", parent="r2"), started("other")]
    for event in [*mixed, StepStarted(run="r2", step=1), StepStarted(run="r1", step=1)]:
        journal.append(event)
    assert [event.run for event in journal.events("r1", family=True)] == ["r1", "r2", "r3", "r2", "r1"]
    assert [event.run for event in journal.events("r1")] == ["r1", "r1"]


def test_the_run_of_a_killed_process_is_unfinished_and_that_of_a_living_one_running(journal):
    script = textwrap.dedent(f"""
        import sys
        from smol_kernel.events import RunStarted
        from smol_kernel.journal import Journal
        Journal({str(journal.path)!r}).append(RunStarted(run="r1", task="t", agent="a", model="m", isolation="none",
            max_steps=1, system_prompt=""))
        print("written", flush=True)
        sys.stdin.read()
    """)
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "written\n"
    assert journal.find("r1").state == "running"
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert journal.find("r1").state == "unfinished"


def test_a_recycled_process_number_does_not_make_a_dead_run_live(journal):
    journal.append(started())
    with closing(sqlite3.connect(journal.path)) as db, db:
        db.execute("UPDATE runs SET process = ?", (f"{os.getpid()} 1 {platform.node()}",))
    assert journal.find("r1").state == "unfinished"


def test_the_newest_run_is_the_one_recorded_last_though_the_clock_was_set_back(journal):
    now = time.time()
    for run, at, origin in (
        ("ahead", now + 86_400, {}),
        ("later", now, {}),
        ("given", now - 50, {"imported": True}),
        ("last", now + 9, {}),
    ):
        journal.append(started(run, time=at, origin=origin))
    assert [run.run for run in journal.runs()] == ["last", "later", "ahead", "given"]
    assert journal.find("last").run == "last"


def test_runs_that_came_in_files_stand_by_their_date_among_the_newest(journal):
    now = time.time()
    for number in range(20):
        at = now + 500 if number == 3 else now + number
        journal.append(started(f"own{number}", time=at))
        journal.append(started(f"given{number}", time=now + 400 + 10 * number, origin={"imported": True}))
    whole = [run.run for run in journal.runs(limit=40)]
    own, given = ([f"{kind}{number}" for number in range(19, -1, -1)] for kind in ("own", "given"))
    assert whole == [*given[:9], *own[:9], given[9], *own[9:17], *given[10:], *own[17:]]
    for limit in (1, 5, 12, 30):
        assert [run.run for run in journal.runs(limit=limit)] == whole[:limit]


def test_where_a_run_came_from_that_cannot_be_read_is_nothing_to_the_others(journal):
    for run in ("damaged", "r1"):
        journal.append(started(run))
    with closing(sqlite3.connect(journal.path)) as db, db:
        db.execute("""UPDATE runs SET origin = '{"imported"' WHERE run = 'damaged'""")
    assert [run.run for run in journal.runs(limit=1)] == ["r1"] == [journal.find("last").run]
    assert journal.find("r1").run == "r1"


def put_elsewhere(journal, machine="node-a"):
    """The runs at work here are those of a process of another machine that shares the file."""
    with closing(sqlite3.connect(journal.path)) as db, db:
        db.execute("UPDATE runs SET process = ? WHERE process <> ''", (f"{os.getpid()} 1 {machine}",))


def test_a_run_of_another_machine_is_at_work_there_until_it_has_been_silent_for_long(journal):
    journal.append(started("r1"))
    journal.append(started("old", time=time.time() - 7_200))
    journal.append(started("caller", time=time.time() - 7_200))
    journal.append(started("called", parent="caller"))
    with closing(sqlite3.connect(journal.path)) as db, db:
        for run, process in (("r1", "7 1 node-a"), ("old", "8 1 node-a"), ("caller", "9 1 b"), ("called", "9 1 b")):
            db.execute("UPDATE runs SET process = ? WHERE run = ?", (process, run))
    told = "at work on node-a, as far as is known: its last event is less than 1 min old"
    assert (journal.find("r1").state, journal.find("r1").whereabouts) == ("elsewhere", told)
    assert journal.find("caller").state == "elsewhere"  # one that it called has written
    assert (journal.find("old").state, journal.find("old").whereabouts) == ("unfinished", "")
    with pytest.raises(JournalError, match=r"run r1 is at work on node-a, .*`smol resume r1 --take-over`"):
        journal.claim("r1")
    with pytest.raises(JournalError, match="run r1 is at work on node-a"):
        journal.delete(["r1"])
    assert journal.events("r1") and "r1" not in [run.run for run in journal.prunable(time.time() + 1)]
    journal.claim("old")
    journal.claim("r1", take_over=True)
    assert journal.find("r1").state == "running"


def test_who_lost_a_run_to_another_process_writes_no_more_of_it_and_ends(journal):
    done = []

    def stream():
        yield started("r1")
        yield StepStarted(run="r1", step=1)
        done.append("called a tool")
        yield StepStarted(run="r1", step=2)

    recorded = record(stream(), journal, "r1")
    next(recorded)
    put_elsewhere(journal)
    with pytest.raises(RunTakenOverError, match=rf"run r1 was taken over by process {os.getpid()} on node-a"):
        next(recorded)
    assert [event.kind for event in journal.events("r1")] == ["run_started"] and done == []
    assert journal.find("r1").state == "elsewhere"  # what it left is the other's still


def test_an_agent_that_was_called_in_a_run_that_is_lost_writes_no_more_either(journal):
    recorded = record(
        (event for event in [started("sub", parent="r1"), StepStarted(run="sub", step=1)]), journal, "sub"
    )
    journal.append(started("r1"))
    next(recorded)
    put_elsewhere(journal, "node-b")
    journal.claim("r1", take_over=True)
    with pytest.raises(RunTakenOverError, match="run sub was taken over"):
        next(recorded)


@pytest.mark.filterwarnings("ignore:Exception ignored in. <sqlite3")  # a connection that nobody could close
def test_a_run_is_whole_wherever_in_the_journal_a_keyboard_interrupt_is_heard(journal):
    told = [event.kind for event in a_run()]

    def press_at(chosen, places):  # a signal is heard where a function in C has ended
        def profile(frame, happened, _):
            if happened == "c_return" and frame.f_code.co_filename.startswith(JOURNAL):
                places.append(happened)
                if len(places) == chosen:
                    signal.raise_signal(signal.SIGINT)

        return profile

    list(record((event for event in a_run()), journal, "r1"))  # it makes the file
    for chosen in itertools.count(1):
        run, places = f"at {chosen}", list[str]()
        events = (event for event in a_run(run))
        sys.setprofile(press_at(chosen, places))
        try:
            with suppress(KeyboardInterrupt):
                list(record(events, journal, run))
        finally:
            sys.setprofile(None)
        with suppress(RunNotFoundError):
            kept = [event.kind for event in journal.events(run)]
            assert kept[-1] == "run_finished" and kept[:-1] == told[: len(kept) - 1], chosen
        if len(places) < chosen:
            break
    assert kept == told and chosen > 100
    gc.collect()  # of a connection that nobody could close is told here, where that is allowed


def test_who_works_on_a_run_that_was_deleted_is_told(journal):
    recorded = record((event for event in a_run()), journal, "r1")
    next(recorded)
    with closing(sqlite3.connect(journal.path)) as db, db:  # by an older version, on another machine
        db.execute("DELETE FROM runs")
        db.execute("DELETE FROM events")
    told = [event.text for event in recorded if event.kind == "notice"]
    assert len(told) == 1 and "run r1 was taken out of" in told[0]
    with closing(sqlite3.connect(journal.path)) as db:
        assert db.execute("SELECT count(*) FROM events").fetchone() == (0,)


def test_runs_not_shown_yet_are_offered_once(journal):
    here, there = {"front": "notebook", "notebook": "a.ipynb"}, {"front": "notebook", "notebook": "b.ipynb"}
    for run, origin in [("r1", here), ("r2", there), ("r3", here)]:
        for event in a_run(run, origin=origin):
            journal.append(event)
    journal.append(started("r4", origin=here))
    journal.append(started("r5", origin=here, parent="r4"))
    assert [run.run for run in journal.unseen()] == ["r3", "r2", "r1"]
    journal.offer("r3")
    journal.cut_off("r4")
    assert [run.run for run in journal.unseen()] == ["r4", "r2", "r1"]


def test_threads_and_processes_share_one_file(journal):
    script = textwrap.dedent(f"""
        import sys
        from smol_kernel.events import StepStarted
        from smol_kernel.journal import Journal
        journal = Journal({str(journal.path)!r})
        for step in range(40):
            journal.append(StepStarted(run=sys.argv[1], step=step))
    """)
    # The file does not exist yet: the processes race to make it.
    children = [subprocess.Popen([sys.executable, "-c", script, f"p{n}"]) for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for n in range(4):
            for step in range(40):
                pool.submit(journal.append, StepStarted(run=f"t{n}", step=step))
    assert [child.wait() for child in children] == [0] * 4
    for run in ["p0", "p1", "p2", "p3", "t0", "t1", "t2", "t3"]:
        assert sorted(event.step for event in journal.events(run)) == list(range(40))


def test_first_runs_that_begin_at_once_wait_for_each_other(tmp_path):
    for place in range(60):
        path, together = tmp_path / f"{place}.sqlite", threading.Barrier(4)

        def begin(run, path=path, together=together):
            together.wait()
            with closing(Journal(path)) as journal:
                journal.append(started(run))

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(begin, "abcd")) == [None] * 4
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_file_is_private(journal):
    journal.append(started())
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600


def test_a_closed_journal_opens_again(journal):
    journal.append(started())
    journal.close()
    journal.close()
    assert journal.find("r1").task == "count"


def test_where_the_journal_lies(monkeypatch, tmp_path):
    monkeypatch.setenv("SMOL_JOURNAL", "~/j.sqlite")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_path() == tmp_path / "j.sqlite"
    monkeypatch.delenv("SMOL_JOURNAL")
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    assert default_path() == tmp_path / "data" / "smol_kernel" / "journal.sqlite"
    assert open_journal(False) is None
    assert open_journal(None).path == open_journal(True).path == default_path()
    own = Journal(tmp_path / "x")
    assert open_journal(own) is own


def test_a_newer_file_is_refused_by_name(journal):
    journal.append(started())
    journal.close()
    with closing(sqlite3.connect(journal.path)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError, match=r"schema 99.*upgrade smol-kernel"):
        journal.runs()


def test_a_file_that_is_no_journal_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("my notes, " * 500)
    with pytest.raises(JournalError, match="is not a journal"):
        Journal(path).append(started())
    assert path.read_text() == "my notes, " * 500


def test_a_database_of_another_program_is_left_alone(tmp_path):
    path = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE notes (text)")
    before = path.read_bytes()
    with pytest.raises(JournalError, match="move it away"):
        Journal(path).append(started())
    assert path.read_bytes() == before


def test_a_damaged_row_does_not_keep_the_runs_from_being_listed(journal):
    for name in ("r1", "r2"):
        for event in a_run(name, isolation="none"):
            journal.append(event)
    with closing(sqlite3.connect(journal.path)) as db, db:
        db.execute("UPDATE events SET body = '{' WHERE run = 'r1'")
    assert {run.run: run.isolation for run in journal.runs()} == {"r1": "", "r2": "none"}


def test_a_damaged_row_is_told_in_a_sentence(journal):
    journal.append(started())
    with closing(sqlite3.connect(journal.path)) as db:
        db.execute("UPDATE events SET body = '{'")
        db.commit()
    with pytest.raises(JournalError, match="damaged"):
        journal.events("r1")


def test_a_quota_that_is_used_up_is_told_so(tmp_path):
    told = explain(tmp_path / "journal.sqlite", OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)))
    assert "cannot grow, your quota on that disk is used up: make room, or set SMOL_JOURNAL" in told


def test_a_place_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match="SMOL_JOURNAL"):
        Journal(tmp_path / "file" / "journal.sqlite").runs()


def test_record_writes_before_it_passes_on(journal):
    def stream():
        for event in a_run():
            yield event
            assert journal.events("r1")[-1] == event

    assert [event.kind for event in record(stream(), journal, "r1")] == [event.kind for event in a_run()]


def test_record_passes_on_other_runs_unwritten(journal):
    events = [started(), StepStarted(run="sub", step=1), ModelDelta(run="r1", text="x")]
    assert list(record((event for event in events), journal, "r1")) == events
    assert journal.events("r1") == events[:1]
    with pytest.raises(RunNotFoundError):
        journal.events("sub")


def test_a_stream_that_is_closed_closes_its_source_and_is_interrupted(journal):
    closed = []

    def stream():
        try:
            yield from a_run()
        finally:
            closed.append(True)

    for recorded in (record(stream(), journal, "r1"), record(stream(), None, "r1")):
        next(recorded)
        recorded.close()
    assert closed == [True, True]
    assert journal.find("r1").state == "interrupted"


def test_a_journal_that_fails_at_once_stops_the_run_before_it_begins(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(JournalError):
        next(record((event for event in a_run()), Journal(tmp_path / "file" / "j"), "r1"))


def test_a_full_disk_in_mid_run_loses_neither_the_answer_nor_what_can_be_written_later(journal):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    big = Output(run="r1", step=1, channel="display", data={"image/png": "A" * 3_000_000})

    def stream():
        first, *rest, answer, last = a_run()
        yield first
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
        yield big
        yield from rest
        yield answer
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        yield last

    try:
        seen = list(record(stream(), journal, "r1"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    notices = [event for event in seen if isinstance(event, Notice)]
    assert len(notices) == 1
    assert "is not kept from here" in notices[0].text
    assert [event.kind for event in seen if event not in notices] == [
        "run_started", "output", "step_started", "action_proposed", "step_finished", "final_answer", "run_finished"
    ]  # fmt: skip
    assert journal.events("r1") == seen
    assert journal.find("r1").state == "success"


@contextmanager
def full_disk(room=1_000_000):
    """A file may have no more than `room` bytes meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def recorded_on_a_full_disk(journal, end=None):
    """What is seen of a run while there is no room for most of it."""
    first, *rest = a_run()
    recording = record((event for event in [first, big_output(), *rest][:end]), journal, "r1")
    seen = [next(recording)]
    with full_disk():
        return seen + list(recording)


def big_output():
    return Output(run="r1", step=1, channel="display", data={"image/png": "A" * 3_000_000})


@pytest.mark.parametrize("end", [None, -2])
def test_what_a_run_could_not_write_is_written_after_its_end_once_there_is_room(journal, end):
    seen = recorded_on_a_full_disk(journal, end)
    assert journal.find("r1").state == ("unfinished" if end else "success")
    assert journal.events("r1") == seen
    (told,) = (event for event in seen if isinstance(event, Notice))
    assert told.lasting and not any(event.lasting for event in journal.events("r1") if isinstance(event, Notice))
    with closing(sqlite3.connect(journal.path)) as db:
        assert db.execute("SELECT process FROM runs").fetchall() == [(None,)]


def test_a_run_that_has_ended_is_not_at_work_while_there_is_no_room_and_nobody_goes_on_with_half_of_it(journal):
    first, *rest = a_run()
    recording = record((event for event in [first, big_output(), *rest]), journal, "r1")
    next(recording)
    with full_disk():
        list(recording)
        assert journal.find("r1").state == "unfinished" and not journal.unseen()
        with pytest.raises(JournalError, match=r"r1 is not whole in its journal yet: .*make room"):
            journal.claim("r1")
    assert journal.claim("r1").state == "success"


def test_of_what_could_not_be_written_the_oldest_is_let_go(journal, monkeypatch):
    monkeypatch.setattr(unwritten, "MOST_KEPT", 4_000_000)
    kept = [record((event for event in [started(run), replace(big_output(), run=run)]), journal, run) for run in "ab"]
    for recording in kept:
        next(recording)
    with full_disk():
        for recording in kept:
            list(recording)
        list(record((event for event in a_run("c")), journal, "c"))  # it fits
    assert [len(journal.events(run)) for run in "ab"] == [1, 3]
    assert [run.state for run in journal.runs()] == ["success", "unfinished", "unfinished"]


def test_one_that_is_too_large_to_be_kept_costs_no_other(journal, monkeypatch):
    monkeypatch.setattr(unwritten, "MOST_KEPT", 4_000_000)
    much = [replace(big_output(), run="b")] * 2
    kept = [record(iter_of([started("a"), replace(big_output(), run="a")]), journal, "a")]
    kept.append(record(iter_of([started("b"), *much]), journal, "b"))
    for recording in kept:
        next(recording)
    with full_disk():
        for recording in kept:
            list(recording)
    assert [len(journal.events(run)) for run in "ab"] == [3, 1]


def iter_of(events):
    """A generator of them."""
    yield from events


def with_an_agent_that_is_kept(journal):
    """Two runs that have ended: one that is whole in the file, and one that it called, which is kept."""
    first, *rest = a_run()
    outer, inner = record(iter_of([first, *rest]), journal, "r1"), [*a_run("r2", parent="r1", call="c1")]
    next(outer)
    inner.insert(1, replace(big_output(), run="r2"))
    with full_disk():
        list(record(iter_of(inner), journal, "r2"))
        yield
        list(outer)


def test_a_run_is_not_whole_while_something_is_kept_of_one_that_it_called(journal):
    for _ in with_an_agent_that_is_kept(journal):
        with pytest.raises(JournalError, match="run r1 is not whole in its journal yet"):
            journal.claim("r1")
    assert journal.claim("r1").state == "success"
    assert len(journal.events("r2")) == len(a_run()) + 2


def test_what_is_kept_of_an_agent_is_let_go_with_the_run_that_called_it(journal):
    for _ in with_an_agent_that_is_kept(journal):
        pass
    unwritten.let_go(journal.path, "r1")
    assert journal.find("r1").state == "success"
    assert [event.kind for event in journal.events("r2")] == ["run_started"]


AT_EXIT = """
import sys
sys.path.insert(0, sys.argv[2])
from test_journal import Journal, recorded_on_a_full_disk
recorded_on_a_full_disk(Journal(sys.argv[1]))
"""


def test_what_a_run_could_not_write_is_written_as_its_process_exits(journal):
    subprocess.run([sys.executable, "-c", AT_EXIT, str(journal.path), str(Path(__file__).parent)], check=True)
    assert (journal.find("r1").state, len(journal.events("r1"))) == ("success", len(a_run()) + 2)


def test_an_agent_that_is_called_while_the_journal_fails_runs_and_stands_behind_its_call(journal):
    first, *rest = a_run()
    called = ToolCalled(run="r1", step=1, call="c1", tool="helper", args=[], kwargs={}, summary="helper()")
    outer = record((event for event in [first, big_output(), called, *rest]), journal, "r1")
    next(outer)
    with full_disk():
        seen = [next(outer), next(outer), next(outer)]
        inner = list(record((event for event in a_run("r2", parent="r1", call="c1")), journal, "r2"))
        assert [event.kind for event in inner if not isinstance(event, Notice)] == [event.kind for event in a_run()]
        assert "is not kept from here" in inner[1].text
    between = list(record((event for event in a_run("r3", parent="r1", call="c1")), journal, "r3"))
    assert journal.events("r1", family=True)[: len(seen) + 1] == [first, *seen]
    list(outer)
    assert [journal.events(run) for run in ("r2", "r3")] == [inner, between]
    assert journal.find("r1").state == journal.find("r2").state == "success"


def test_a_run_whose_journal_was_locked_is_kept_when_it_is_free(journal):
    first, *rest = a_run()
    recording = record((event for event in [first, *rest]), journal, "r1")
    seen = [next(recording)]
    with closing(sqlite3.connect(journal.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        seen += recording
        assert journal.find("r1").state == "unfinished"
        other.execute("COMMIT")
    assert len([event for event in seen if isinstance(event, Notice)]) == 1
    assert (journal.find("r1").state, journal.events("r1")) == ("success", seen)


def deleted(path):
    for file in path.parent.glob(path.name + "*"):
        file.unlink()


def moved(path):
    path.rename(path.with_name("old.sqlite"))


def replaced(path):
    shutil.copy(path, path.with_name("copy.sqlite"))
    path.with_name("copy.sqlite").replace(path)


@pytest.mark.parametrize("lose", [deleted, moved, replaced])
def test_a_file_that_is_lost_in_mid_run_is_told_and_a_new_one_gets_no_half_run(journal, lose):
    def stream():
        first, *rest = a_run()
        yield first
        lose(journal.path)
        journal.close()  # as before a fork
        yield from rest

    seen = list(record(stream(), journal, "r1"))
    notices = [event.text for event in seen if isinstance(event, Notice)]
    assert len(notices) == 1
    assert "is not kept from here" in notices[0] and "put back the one it was" in notices[0]
    assert [event.kind for event in seen if not isinstance(event, Notice)] == [event.kind for event in a_run()]
    if lose is not replaced:
        assert journal.runs() == []
    assert len(list(record((event for event in a_run("r2")), journal, "r2"))) == len(a_run())
    assert (journal.find("r2").state, len(journal.events("r2"))) == ("success", len(a_run()))


def test_a_run_that_changes_the_folder_stays_in_its_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    journal = Journal("j.sqlite")

    def stream():
        first, *rest = a_run()
        yield first
        os.chdir("elsewhere")
        journal.close()  # as before a fork
        yield from rest

    assert list(record(stream(), journal, "r1")) == Journal(tmp_path / "j.sqlite").events("r1")
    assert os.listdir() == []


def test_a_file_that_comes_back_in_mid_run_gets_the_whole_run(journal):
    away = journal.path.with_name("away.sqlite")

    def stream():
        first, second, third, *rest = a_run()
        yield first
        journal.path.rename(away)
        yield second
        away.rename(journal.path)
        yield third
        yield from rest

    seen = list(record(stream(), journal, "r1"))
    assert len([event for event in seen if isinstance(event, Notice)]) == 1
    assert journal.events("r1") == seen


def test_ctrl_c_while_another_process_holds_the_file_leaves_nothing_open(journal):
    journal.append(started())
    other = sqlite3.connect(journal.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")

    def press():
        main = threading.main_thread().ident
        while sys._current_frames()[main].f_code.co_name != "transaction":
            pass
        signal.raise_signal(signal.SIGINT)  # heard once the file is free
        other.execute("COMMIT")

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        journal.append(StepStarted(run="r1", step=1))
    thread.join()
    other.execute("BEGIN IMMEDIATE")
    other.execute("ROLLBACK")
    other.close()
    journal.append(StepStarted(run="r1", step=2))


LEFT = """
import sys
from smol_kernel import CodeAgent, ScriptedModel
agent = CodeAgent([], ScriptedModel(["<code>\\n1\\n</code>"]), journal=sys.argv[1], verbosity_level=0)
kept = agent.run("x", stream=True)
next(kept)
del agent
sys.exit()
"""


def test_a_stream_that_its_program_leaves_open_is_told_as_interrupted(journal):
    command = [sys.executable, "-c", LEFT, str(journal.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert (done.stderr, journal.find("last").state) == ("", "interrupted")


def test_a_copy_of_a_journal_has_connections_of_its_own(journal, tmp_path):
    """Also where its number is another journal's: in a process that was started afresh."""
    journal.runs()
    program = """
import pickle, sys
from smol_kernel.events import RunStarted
from smol_kernel.journal import Journal
shared, own = pickle.loads(bytes.fromhex(sys.argv[1])), Journal(sys.argv[2])
shared.runs()
told = {"task": "t", "agent": "A", "model": "m", "isolation": "none", "max_steps": 5, "system_prompt": ""}
own.append(RunStarted(run="r", **told))
"""
    own = tmp_path / "own.sqlite"
    subprocess.run([sys.executable, "-c", program, pickle.dumps(journal).hex(), str(own)], check=True)
    assert [run.run for run in Journal(own).runs()] == ["r"] and not journal.runs()
    twin = copy.deepcopy(journal)
    twin.runs()
    del journal
    gc.collect()
    assert twin.runs() == []


def test_an_open_journal_whose_file_was_removed_begins_a_new_one(journal):
    journal.append(started("one"))
    assert journal.runs()
    for path in journal.path.parent.glob("journal.sqlite*"):
        path.unlink()
    journal.append(started("two"))
    assert [run.run for run in Journal(journal.path).runs()] == [run.run for run in journal.runs()] == ["two"]


def test_a_thread_that_has_ended_is_not_kept_by_what_it_used(journal):
    class Worker(threading.Thread):
        def run(self):
            journal.runs()

    worker = Worker()
    worker.start()
    worker.join()
    kept = weakref.ref(worker)
    del worker
    gc.collect()
    assert kept() is None
