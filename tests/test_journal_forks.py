"""A process that is forked while others use the journal: both write all that they have to, none waits for ever."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from smol_kernel.journal import Journal

BEGIN = """
import os, sys, threading
from smol_kernel.events import Notice, RunFinished, RunStarted, StepStarted
from smol_kernel.journal import Journal, record

def a_run(run, steps, **fields):
    told = {"task": "count", "agent": "A", "model": "m", "isolation": "none", "max_steps": 5, **fields}
    yield RunStarted(run=run, system_prompt="", **told)
    for step in range(steps):
        yield StepStarted(run=run, step=step)
    yield RunFinished(run=run, state="success")

def forked(work):
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
        os._exit(0)
    except BaseException as error:
        print(repr(error), flush=True)
    finally:
        os._exit(1)

def ended(*pids):
    for pid in pids:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

path = sys.argv[1]
"""


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "journal.sqlite")


def run(journal, program):
    """Run `program` in a process that may fork as it likes."""
    program = BEGIN + textwrap.dedent(program)
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program, str(journal.path)]  # of such forks
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (done.stdout + done.stderr, done.returncode) == ("", 0)


def lengths(journal):
    return {run.run: (run.state, len(journal.events(run.run))) for run in journal.runs(limit=10**6)}


def test_runs_of_a_process_forked_in_mid_run_are_kept(journal):
    program = """
    told, go_on = os.pipe(), os.pipe()

    def work():
        mine = record(a_run("worker", 20), Journal(path), "worker")
        for _ in range(10):
            next(mine)
        os.write(told[1], b".")
        os.read(go_on[0], 1)
        list(mine)
        assert len(Journal(path).events("worker")) == 22
        list(record(a_run("later", 3), Journal(path), "later"))

    host = record(a_run("host", 20), Journal(path), "host")
    for _ in range(10):
        next(host)
    worker = forked(work)
    os.read(told[0], 1)
    list(host)  # whoever closes the file last here, it is in use there
    os.write(go_on[1], b".")
    ended(worker)
    list(record(a_run("afterwards", 3), Journal(path), "afterwards"))
    """
    run(journal, program)
    whole = {"host": 22, "worker": 22, "later": 5, "afterwards": 5}
    assert lengths(journal) == {run: ("success", events) for run, events in whole.items()}


def test_a_process_forked_in_mid_run_that_does_not_go_on_with_it_leaves_it(journal):
    """Its copies of the run end there, closed or collected."""
    program = """
    host = record(a_run("host", 20), Journal(path), "host")
    for _ in range(5):
        next(host)
    ended(forked(lambda: None))
    ended(forked(host.close))
    assert Journal(path).find("host").state == "running"
    list(host)
    """
    run(journal, program)
    assert lengths(journal) == {"host": ("success", 22)}


def test_a_forked_process_does_not_write_what_the_other_could_not(journal):
    program = """
    import resource, sqlite3
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    host = record(a_run("host", 20), Journal(path), "host")
    next(host)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    list(host)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    ended(forked(lambda: list(record(a_run("worker", 3), Journal(path), "worker"))))
    assert sqlite3.connect(path).execute("SELECT count(*) FROM events WHERE run = 'host'").fetchone() == (1,)
    """
    run(journal, program)
    assert lengths(journal) == {"host": ("success", 23), "worker": ("success", 5)}


def test_forks_while_threads_write_and_read(journal):
    program = """
    done = threading.Event()
    shared = Journal(path)

    def write(name):
        number = 0
        while not done.is_set() or number < 3:
            own = Journal(path) if number % 2 else shared
            assert len(list(record(a_run(f"{name}{number}", 5), own, f"{name}{number}"))) == 7
            assert len(shared.events(f"{name}{number}")) == 7
            number += 1

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for number in range(12):
        pid = forked(lambda: [list(record(a_run(f"f{number}-{n}", 5), shared, f"f{number}-{n}")) for n in range(3)])
        list(record(a_run(f"m{number}", 5), shared, f"m{number}"))
        ended(pid)
    done.set()
    for thread in threads:
        thread.join()
    """
    run(journal, program)
    found = lengths(journal)
    assert set(found.values()) == {("success", 7)}
    assert len([run for run in found if run[0] in "fm"]) == 12 * 4


def test_a_fork_in_the_midst_of_writing_leaves_that_whole(journal):
    """What a fork finds half-written by its own thread, it leaves alone."""
    program = """
    class Forking(dict):
        def items(self):
            if not forks and sys._getframe(1).f_code.co_name == "summarise":
                forks.append(forked(lambda: None))
            return super().items()

    forks = []
    journal = Journal(path)
    journal.append_all(a_run("r1", 3, origin=Forking(front="x")))
    ended(*forks)
    assert len(forks) == 1
    assert [(run.run, run.state) for run in journal.runs()] == [("r1", "success")]
    """
    run(journal, program)
    assert lengths(journal) == {"r1": ("success", 5)}


def test_a_fork_from_each_of_several_threads(journal):
    program = """
    def work(name):
        for number in range(5):
            mine = record(a_run(f"{name}{number}", 5), Journal(path), f"{name}{number}")
            next(mine)
            inner = f"{name}{number}-"
            pid = forked(lambda: list(record(a_run(inner, 5), Journal(path), inner)))
            list(mine)
            ended(pid)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    """
    run(journal, program)
    found = lengths(journal)
    assert (len(found), set(found.values())) == (40, {("success", 7)})


def test_forks_of_forks(journal):
    program = """
    def work(depth):
        mine = record(a_run(f"d{depth}", 5), Journal(path), f"d{depth}")
        next(mine)
        pids = [forked(lambda: work(depth + 1))] if depth < 3 else []
        list(mine)
        ended(*pids)

    work(0)
    """
    run(journal, program)
    assert lengths(journal) == {f"d{depth}": ("success", 7) for depth in range(4)}
