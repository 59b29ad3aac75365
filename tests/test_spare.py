"""One child is forked before somebody asks; the next executor has it, whatever its box is to be like."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from own_memory import COUNT

from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.launchers import spare, zygote
from smol_kernel.executors.launchers.readable import readable
from smol_kernel.executors.values import decode

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the box of Linux")
SECONDS = 60.0


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Makes executors, which have a zygote of their own; it has forked one ahead already."""
    made = []

    def make(**options):
        made.append(KernelExecutor(**{"cwd": tmp_path, **options}))
        return made[-1]

    zygote.expect()
    monkeypatch.setattr(zygote, "_given_up", threading.Event())  # whatever came of children of other tests
    monkeypatch.setenv("LC_SMOL_TEST", tmp_path.name)
    value(make(), "0")
    assert own().spare.wait(SECONDS)
    yield make
    for each in made:
        each.cleanup()


def value(executor, code):
    ended = list(executor.run(code))[-1]
    assert ended.status == "ok", ended.error
    return decode(ended.value)


def own():
    """The zygote of this test, the newest."""
    return list(zygote._zygotes.values())[-1]


def there():
    """The process that has been forked ahead."""
    return own().spare._there[1]


def was(process, executor):
    return executor._client.child._process is process


def kernel_of(process):
    """The kernel in the box to be, once it has given up its rights: others are there for a moment that never do."""
    while True:
        with suppress(psutil.NoSuchProcess, FileNotFoundError):
            for each in psutil.Process(process.pid).children(recursive=True):
                if each.ppid() != process.pid and status(each)["Seccomp"].strip() == "2":
                    return each
        threading.Event().wait(0.01)


def status(process):
    return dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())


def test_the_next_child_has_the_folder_as_it_is_when_it_is_asked_for(make, tmp_path):
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "data.csv").write_text("a\n1\n")
    (folder / ".env").write_text("KEY=secret")
    process = there()
    executor = make(cwd=folder)
    look = "import os\n[os.getcwd(), os.environ['PWD'] if 'PWD' in os.environ else '', sorted(os.listdir())]"
    assert value(executor, look) == [str(folder), "", ["data.csv"]]
    assert was(process, executor)
    value(executor, "open('made', 'w').close()")
    assert [each["path"] for each in executor.made_files.listing().to_dict()["files"]] == ["made"] and not (
        folder / "made"
    ).exists()


def test_it_has_the_limits_mounts_and_variables_of_who_asks(make, tmp_path, monkeypatch):
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    value(make(), "0")  # a zygote has these variables
    assert own().spare.wait(SECONDS)
    process = there()
    executor = make(limits={"open_files": 99, "memory": "1 GB"}, mounts=[str(mounted)], allow_hosts=["example.org"])
    look = "import os, resource\n[resource.getrlimit(resource.RLIMIT_NOFILE)[1], os.environ['OMP_NUM_THREADS'], "
    look += "os.environ['http_proxy'], resource.getrlimit(resource.RLIMIT_DATA)[0]]"
    assert value(executor, look) == [99, "1", "http://127.0.0.1:3128", 10**9]
    assert was(process, executor)
    (mounted / "made").touch()
    assert value(executor, f"os.path.exists({str(mounted / 'made')!r})") is True


def test_one_for_a_box_without_a_network_serves_no_other(make):
    process = there()
    executor = make(network="full")
    assert value(executor, "import os\nos.readlink('/proc/self/ns/net')") == os.readlink("/proc/self/ns/net")
    assert not was(process, executor) and executor._client.child.loaded
    assert process.poll() is not None  # it is not kept


def test_one_that_may_set_every_mode_serves_no_box_with_a_writable_mount(make, tmp_path):
    process = there()
    executor = make(mounts=[f"{tmp_path}:rw"])
    value(executor, f"open({str(tmp_path / 'made')!r}, 'w').close()")
    assert (tmp_path / "made").exists()
    assert not was(process, executor) and executor._client.child.loaded


def test_its_kernel_has_no_rights_while_it_waits(make):
    kernel = kernel_of(there())
    found = status(kernel)
    assert {found[name].strip() for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")} == {"0" * 16}
    assert found["NoNewPrivs"].strip() == "1"
    assert os.getuid() or "0" not in found["Uid"].split()
    for name in ("mnt", "pid", "net", "ipc", "uts", "user"):
        assert os.readlink(f"/proc/{kernel.pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}")


def test_it_takes_no_message_before_its_box_is_there(make, tmp_path):
    asked = {"code": "import os\nhere = os.getcwd()", "silent": True}
    process = there()
    process.lines.transport.send("shell", "execute_request", asked)
    process.lines.transport.receive(1.0)  # it could have been taken meanwhile
    executor = make()
    assert value(executor, "here") == str(tmp_path)
    assert was(process, executor)


def test_its_kernel_imports_nothing_before_its_box_is_there(make):
    """It could not read an environment that is its host's alone."""
    look = "import sys\nsorted(set(sys.modules) - get_ipython().kernel.parent.modules)"
    process = there()
    executor = make()
    assert value(executor, look) == []
    assert was(process, executor)


def test_where_no_kernel_can_begin_a_child_is_started_afresh(tmp_path):
    program = """
from smol_kernel.executors.launchers.child_modules import load_code
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.launchers import zygote
zygote.load_code = lambda: load_code() + "\\ndel __import__('sys').modules['smol_in_child.child'].set_up"
zygote.expect()
first, second, third = KernelExecutor(), KernelExecutor(), KernelExecutor()
print(first("1").output, zygote.wait(60))
print(second("2").output, second._client.child.loaded, third("3").output, third._client.child.loaded)
"""
    told = subprocess.check_output([sys.executable, "-c", program], cwd=tmp_path, text=True)
    assert told.split() == ["1", "True", "2", "False", "3", "False"]


def test_one_whose_kernel_has_ended_is_not_handed_over(make):
    process = there()
    kernel_of(process).kill()
    assert readable(process.descriptor, SECONDS)  # all of it ends
    executor = make()
    assert value(executor, "1") == 1
    assert not was(process, executor) and executor._client.child.loaded


def test_a_process_forked_from_the_host_neither_holds_up_nor_ends_what_is_its_own(tmp_path):
    program = """
import os, sys, time
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.launchers import box, zygote
box.BUILD_SECONDS = 10.0
zygote.expect()
first, second = KernelExecutor(), KernelExecutor()
print(first("1").output, zygote.wait_for_spares(60), flush=True)
reading, writing = os.pipe()
go_on, going = os.pipe()
forked = os.fork()
if forked == 0:  # has all that the host has, as a worker of multiprocessing does
    os.read(go_on, 1)
    zygote.give_up()
    os.write(writing, b".")
    os.read(go_on, 1)
    os._exit(0)
print(second("2").output, second._client.child.loaded, flush=True)
os.write(going, b".")
os.read(reading, 1)
print(second("3").output, flush=True)
os.write(going, b".")
os.waitpid(forked, 0)
"""
    told = subprocess.check_output([sys.executable, "-c", program], cwd=tmp_path, text=True)
    assert told.split() == ["1", "True", "2", "True", "3"]


def test_it_ends_in_order(make):
    """No descriptor is closed behind the kernel's back."""
    process = there()
    executor = make()
    value(executor, "0")
    assert was(process, executor)
    list(executor.run("import asyncio\nasyncio.get_running_loop().stop()"))  # its reply may come first, or its end
    assert process.wait(SECONDS) == 0


def test_the_name_of_the_machine_is_not_what_was_found_where_no_box_was(make):
    assert value(make(), "import platform\nplatform.node()") == "box"


def test_the_key_of_one_is_not_in_the_memory_of_the_next(make):
    keys = [secrets.token_hex(32)]  # nobody's
    for _ in range(3):
        assert own().spare.wait(SECONDS)
        keys.append(there().lines.connection["key"])
        executor = make()
        value(executor, COUNT)
        halves = [(key[:32], key[32:]) for key in keys]  # else the search itself holds them whole
        *others, mine = value(executor, f"[count(a.encode(), b.encode()) for a, b in {halves!r}]")
        assert mine > 0 and not any(others)


def test_one_that_was_stopped_is_started_again_when_it_is_closed(make):
    process = there()
    for each in (process.pid, *(below.pid for below in psutil.Process(process.pid).children(recursive=True))):
        os.kill(each, 19)
    own().spare.close()
    assert process.poll() is not None


def test_nobody_asks_for_long_and_it_ends(make, monkeypatch, tmp_path):
    first, process = own(), there()
    monkeypatch.setattr(spare, "IDLE_SECONDS", 0.0)
    with own().spare._change:
        own().spare._change.notify_all()
    assert readable(process.descriptor, SECONDS)
    monkeypatch.setattr(spare, "IDLE_SECONDS", SECONDS)
    monkeypatch.setenv("LC_SMOL_TEST", f"{tmp_path.name} of another")
    assert value(make(), "0") == 0
    assert zygote.wait_for_spares(SECONDS)  # that nobody wants one of the first any more holds nobody up
    monkeypatch.setenv("LC_SMOL_TEST", tmp_path.name)
    assert value(make(), "1") == 1
    assert first.spare.wait(SECONDS)


def test_it_ends_with_its_zygote(make):
    process = there()
    descriptor = os.dup(process.descriptor)
    own()._process.kill()
    own()._process.wait()
    executor = make()
    assert value(executor, "1") == 1 and not was(process, executor)
    assert readable(descriptor, SECONDS)
    os.close(descriptor)


def test_who_interrupts_a_start_has_the_next_child_as_usual(make, monkeypatch):
    monkeypatch.setattr(spare, "QUIET_SECONDS", SECONDS)  # it is not asked by another thread
    there = own()
    os.kill(there._process.pid, signal.SIGSTOP)
    started, over = make(), threading.Event()
    value(started, "1")  # the one forked ahead
    assert started._client.child.loaded
    main = threading.main_thread().ident

    def interrupt():
        names = [""]
        while names[-1] != "readable" or "_forked" not in names:  # until it waits for the answer
            if over.wait(0.01):
                return
            names = [frame.name for frame in traceback.extract_stack(sys._current_frames()[main])]
        signal.pthread_kill(main, signal.SIGINT)

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            value(make(), "2")
    finally:
        over.set()
        interrupting.join()
    assert there._process.wait(SECONDS)  # its answer would be taken for one to another
    assert value(make(), "3") == 3


def test_a_host_that_has_no_room_for_a_descriptor_says_so_and_starts_children_again_later(tmp_path):
    program = """
import os, resource
from smol_kernel.errors import ExecutorError
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.launchers import zygote
zygote.expect()
first = KernelExecutor()
print(first("1").output, zygote.wait_for_spares(60))
resource.setrlimit(resource.RLIMIT_NOFILE, (500, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
reading, _ = os.pipe()
full, told, room = [], set(), 0
while True:
    try:
        full.append(os.dup(reading))
    except OSError:
        break
for each in full:  # a little more room each time: it is short at another place of the start
    try:
        print(KernelExecutor()("2").output)
        break
    except ExecutorError as error:
        told.add(str(error).partition(". ")[0])
    os.close(each)
    room += 1
for each in full[room:]:
    os.close(each)
print(*told, sep="\\n")
print(room > 5, KernelExecutor()("3").output, zygote.wait_for_spares(60), KernelExecutor()("4").output)
"""
    told = subprocess.check_output([sys.executable, "-c", program], cwd=tmp_path, text=True).splitlines()
    why = "no child kernel can be started: 500 files are open, as many as this process may have"
    assert told == ["1 True", "2", why, "True 3 True 4"]
