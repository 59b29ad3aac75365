"""Children that wait are handed over at once, to who wants one like them; they are fresh, and end when nobody comes."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading

import pytest

from smol_kernel.executors import standby
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.launchers.interpreter import own_environment
from smol_kernel.executors.standby import STANDBY
from smol_kernel.executors.values import decode

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the box of Linux")
READY = 60.0


@pytest.fixture
def make(tmp_path):
    """Makes executors, which work in the same folder, while one child waits."""
    made = []
    folder = tmp_path / "work"
    folder.mkdir()

    def make(**options):
        made.append(KernelExecutor(**{"cwd": folder, **options}))
        return made[-1]

    STANDBY.keep(1)
    yield make
    STANDBY.keep(0)
    STANDBY.close()
    for each in made:
        each.cleanup()


def value(executor, code):
    ended = list(executor.run(code))[-1]
    assert ended.status == "ok", ended.error
    return decode(ended.value)


def waiting():
    """The child that waits."""
    assert STANDBY.waiting(READY) == 1
    ((_, client),) = STANDBY._ready
    return client.child


def child_of(executor):
    value(executor, "0")
    return executor._client.child


def test_the_next_one_is_handed_over_and_another_one_waits(make):
    value(make(), "0")
    first = waiting()
    executor = make()
    executor.send_variables({"given": 5})
    assert value(executor, "given") == 5
    assert executor._client.child is first
    second = waiting()
    assert second is not first and child_of(make()) is second


def test_one_that_is_expected_is_there_before_it_is_asked_for(make):
    executor = make()
    executor.expect()
    child = waiting()
    assert not executor.started
    assert child_of(executor) is child
    executor.expect()  # it has one
    assert waiting() is not child


def test_one_that_begins_is_waited_for_not_started_twice(make, monkeypatch):
    begun = []
    started = standby.started

    def counted(*wish):
        begun.append(wish)
        return started(*wish)

    monkeypatch.setattr(standby, "started", counted)
    executor = make()
    executor.expect()
    while not begun:
        select.select([], [], [], 0.001)
    child_of(executor)
    assert len(begun) == 1


def test_who_waits_for_one_that_begins_can_be_stopped(make, monkeypatch):
    executor = make()
    key = standby._wish(executor.python, executor.cwd, executor.settings).key
    monkeypatch.setattr(STANDBY, "_starting", key)  # and it takes long
    threading.Timer(0.2, executor.interrupt).start()
    ended = list(executor.run("1"))[-1]
    assert ended.status == "interrupted"
    assert not executor.started


def test_it_is_as_fresh_as_one_that_is_started(make):
    executor = make()
    value(executor, "x = 1\nopen('made', 'w').close(); open('/tmp/made', 'w').close()")
    waiting()
    other = make()
    assert (
        value(other, "import os\n['x' in globals(), os.path.exists('made'), os.path.exists('/tmp/made')]")
        == [False] * 3
    )
    draw = "import random, secrets, uuid\n[random.random(), secrets.token_hex(), str(uuid.uuid4())]"
    assert not {*value(executor, draw)} & {*value(other, draw)}
    assert other.names() == ["os"] or "os" in other.names()


def test_it_sees_the_folder_as_it_is_when_it_is_used(make, tmp_path):
    value(make(), "0")
    waiting()
    (tmp_path / "work" / "new.csv").write_text("1")
    (tmp_path / "work" / ".env").write_text("secret")
    assert value(make(), "import os\nsorted(os.listdir('.'))") == ["new.csv"]


@pytest.mark.parametrize(
    "options",
    [
        {"network": "full"},
        {"limits": {"memory": "1 GB"}},
        {"allow_hosts": ["example.org"]},
        {"mounts": ["/usr/share"]},
        {"box": False},
    ],
    ids=str,
)
def test_one_with_other_settings_is_not(make, options):
    value(make(), "0")
    child = waiting()
    other = make(**options)
    assert child_of(other) is not child
    assert other.isolation == make(**options).isolation


def test_one_in_another_folder_or_environment_is_not(make, tmp_path, monkeypatch):
    value(make(), "0")
    child = waiting()
    assert child_of(make(cwd=tmp_path)) is not child
    waiting()
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert value(make(cwd=tmp_path), "import os\nos.environ['OMP_NUM_THREADS']") == "3"
    child = waiting()
    (tmp_path / "work").rename(tmp_path / "old")
    (tmp_path / "work").mkdir()
    assert child_of(make()) is not child


def test_one_that_died_while_it_waited_is_not(make):
    value(make(), "0")
    child = waiting()
    end = os.pidfd_open(child.pid)
    os.kill(child.pid, signal.SIGKILL)
    select.select([end], [], [])
    os.close(end)
    assert child_of(make()) is not child


def test_they_end_when_nobody_comes_and_when_fewer_are_wanted(make, monkeypatch):
    value(make(), "0")
    STANDBY.keep(2)
    value(make(), "0")
    assert STANDBY.waiting(READY) == 2
    ends = [os.pidfd_open(client.child.pid) for _, client in STANDBY._ready]
    STANDBY.keep(1)
    assert select.select(ends, [], [], READY)[0]
    monkeypatch.setattr(standby, "IDLE_SECONDS", 0.0)
    STANDBY.keep(1)
    for each in ends:
        assert select.select([each], [], [], READY)[0]
        os.close(each)
    assert STANDBY._ready == []


def test_there_are_none_unless_a_front_wants_some(make):
    STANDBY.keep(0)
    value(make(), "0")
    assert STANDBY._ready == [] and STANDBY._filler is None


def test_a_front_that_cannot_have_one_does_without(make, monkeypatch):
    executor = make()
    value(executor, "0")
    waiting()
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("SMOL_ZYGOTE", "off")  # else the host would do without from now on
    monkeypatch.setattr("smol_kernel.executors.client.START_SECONDS", 0)
    STANDBY.more(executor.python, executor.cwd, executor.settings)
    assert STANDBY.waiting(READY) == 0
    monkeypatch.undo()
    STANDBY.keep(1)
    assert value(make(), "1") == 1


def test_it_ends_with_its_host_and_a_forked_host_does_not_use_it(tmp_path):
    program = """
import os, sys
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.launchers.interpreter import own_environment
from smol_kernel.executors.standby import STANDBY
STANDBY.keep(1)
first, second = KernelExecutor(), KernelExecutor()
list(first.run("0"))
assert STANDBY.waiting(60) == 1
pid = STANDBY._ready[0][1].child.pid
if os.fork() == 0:
    list(second.run("0"))
    print(second._client.child.pid == pid, flush=True)
    second.cleanup()
    os._exit(0)
os.wait()
print(pid, flush=True)
list(first.run("while True: pass"))
"""
    host = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert host.stdout is not None
    assert host.stdout.readline() == "False\n"
    end = os.pidfd_open(int(host.stdout.readline()))
    host.send_signal(signal.SIGKILL)
    host.wait()
    host.stdout.close()
    assert select.select([end], [], [], READY)[0]
    os.close(end)


def test_variables_are_read_whole_while_another_thread_changes_them():
    done = threading.Event()

    def change():
        while not done.is_set():
            os.environ["SMOL_TEST_THREAD"] = "x"
            del os.environ["SMOL_TEST_THREAD"]

    changing = threading.Thread(target=change)
    changing.start()
    try:
        for _ in range(20_000):
            assert own_environment()["PATH"] == os.environ["PATH"]
    finally:
        done.set()
        changing.join()
