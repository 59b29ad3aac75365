"""A child never outlives its host, and leaves nothing behind."""

from __future__ import annotations

import errno
import gc
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from interrupts import interrupted
from scripted_replies import code

from smol_kernel import CodeAgent, LogLevel, ScriptedModel, tool
from smol_kernel.errors import ExecutorError
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.launchers import zygote
from smol_kernel.executors.launchers.choose import launch
from smol_kernel.executors.launchers.plain import PlainChild
from smol_kernel.executors.launchers.settings import settings_for
from smol_kernel.executors.made_files import MadeFiles
from smol_kernel.executors.values import decode

HOST = """
import sys
from smol_kernel.executors.kernel import KernelExecutor
executor = KernelExecutor()
for event in executor.run(sys.argv[1]):
    if event.kind == "output":
        print(event.text, end="", flush=True)
        if len(sys.argv) > 2:
            sys.stdin.readline()
            sys.exit()
"""
FAMILY = """
import os, subprocess, sys
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
forked = os.fork()
if forked == 0:
    while True: pass
print("all there", flush=True)
"""


@pytest.fixture(autouse=True, params=["on", "off"], ids=["boxed", "plain"])
def box(request, monkeypatch):
    monkeypatch.setenv("SMOL_BOX", request.param)
    return request.param == "on"


def below(pid):
    """Ids, as the host counts them, of all processes that came of one: within a box they have others."""
    return [process.pid for process in psutil.Process(pid).children(recursive=True)]


@contextmanager
def host_running(code, *options):
    """A host process; gives it, and the ids of the processes that came of it, once its action has printed a line."""
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, code, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert host.stdout.readline()
        yield host, below(host.pid)
    finally:
        host.kill()
        host.wait()
        host.stdin.close()
        host.stdout.close()


def gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE  # dead; its parent has not looked yet
    except psutil.NoSuchProcess:
        return True


def all_gone(pids, seconds=60.0):
    """Waits until none of the processes is left."""
    deadline = time.monotonic() + seconds
    while not all(map(gone, pids)):
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.02)
    return True


def value(executor, code):
    return decode(list(executor.run(code))[-1].value)


@pytest.mark.parametrize("busy_with", ["while True: pass", "(10**8) ** (10**7)", "import time; time.sleep(600)"])
def test_nothing_is_left_when_the_host_is_killed(busy_with):
    with host_running(FAMILY + busy_with) as (host, pids):
        assert len(pids) >= 3
        assert not any(map(gone, pids))
        host.kill()
        assert all_gone(pids)


def test_nothing_is_left_when_the_host_is_killed_with_all_of_them_stopped():
    """Stopped processes can do nothing for their end: the system has to."""
    with host_running(FAMILY + "while True: pass") as (host, pids):
        assert len(pids) >= 3
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        host.kill()
        assert all_gone(pids)


def test_nothing_is_left_when_the_host_ends_in_order():
    with host_running(FAMILY + "while True: pass", "leave") as (host, pids):
        assert len(pids) >= 3
        host.stdin.close()
        assert host.wait(timeout=30) == 0
        assert all_gone(pids)


def test_a_tool_that_never_returns_does_not_keep_the_host_from_ending():
    code = """
import sys, threading
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.tools import tool
@tool(threaded=True)
def hang() -> None:
    "Never returns."
    threading.Event().wait()
executor = KernelExecutor()
executor.send_tools({"hang": hang})
for event in executor.run("hang()"):
    sys.exit(5)
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 5


def test_cleanup_leaves_neither_processes_nor_files(monkeypatch, tmp_path):
    folder = tmp_path / "t"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    before = set(below(os.getpid())) - kept()
    executor = KernelExecutor()
    value(executor, FAMILY)
    pids = set(below(os.getpid())) - before - kept()
    assert len(pids) >= 3
    assert list(folder.iterdir()) == []  # gone as soon as the child is connected
    executor.cleanup()
    assert all_gone(pids)


def kept():
    """The processes that fork children, and those they have forked ahead: they end with the host."""
    zygote.wait_for_spares(60)
    spares = [there[1].pid for each in zygote._zygotes.values() if (there := each.spare._there)]
    return {each._process.pid for each in zygote._zygotes.values()}.union(spares, *map(below, spares))


@pytest.fixture
def open_ones():
    """Counts the descriptors that are open here, once one child is forked ahead; but for those of folders: what a
    child made may be kept longer than it."""

    def count():
        gc.collect()  # what earlier tests left
        kept()
        return len([each for each in Path("/proc/self/fd").iterdir() if not each.is_dir()])

    executor = KernelExecutor()
    for _ in range(2):  # from then on one is
        value(executor, "1")
        executor.cleanup()
    return count


def test_descriptors_do_not_pile_up(open_ones):
    before, executor = open_ones(), KernelExecutor()
    for _ in range(2):
        value(executor, "1")
        executor.cleanup()
    assert open_ones() == before


def test_an_executor_that_is_forgotten_ends_its_child():
    before = set(below(os.getpid())) - kept()
    executor = KernelExecutor()
    value(executor, "1")
    pids = set(below(os.getpid())) - before - kept()
    assert pids
    del executor
    gc.collect()
    assert all_gone(pids)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_a_child_that_an_interrupt_left_with_nobody_ends(box):
    before = set(below(os.getpid())) - kept()
    child = launch(None, None, settings_for(None, allow_hosts=["example.org"] if box else ()))
    pids = set(below(os.getpid())) - before - kept()
    assert child.pid in pids
    del child
    gc.collect()
    assert all_gone(pids)


def test_a_child_whose_start_was_interrupted_ends():
    def profile(frame, event, arg):
        if frame.f_code is MadeFiles.begin.__code__:
            sys.setprofile(None)
            raise KeyboardInterrupt

    before = set(below(os.getpid())) - kept()
    executor = KernelExecutor()
    sys.setprofile(profile)
    with pytest.raises(KeyboardInterrupt):
        list(executor.run("1"))
    assert sys.getprofile() is None
    executor.cleanup()
    assert all_gone(set(below(os.getpid())) - before - kept())
    assert value(executor, "1") == 1
    executor.cleanup()


@pytest.mark.parametrize("again", [True, False], ids=["cleaned up again", "forgotten"])
def test_a_child_whose_end_was_interrupted_leaves_nothing_open(open_ones, again):
    before = open_ones()
    for number in range(1, 999, 17):
        executor = KernelExecutor()
        value(executor, "1")
        came = interrupted(executor.cleanup, number)
        if again:
            executor.cleanup()
        else:
            del executor
        assert open_ones() == before, number
        if not came:
            break
    assert number > 100


@tool
def half(number: int) -> int:
    """Half of a number.

    Args:
        number: an even one.
    """
    if number % 2:
        raise ValueError("it is odd")
    return number // 2


def agent_of(*replies, **options):
    model = ScriptedModel([reply if "<" in reply else code(reply) for reply in replies])
    return CodeAgent(tools=[half], model=model, verbosity_level=LogLevel.OFF, **options)


def caller_of(how):
    other = agent_of("final_answer(half(4))", name="other", description="Halves four.")
    first = (
        "final_answer(int(other(task='Halve it.')[-1]))"
        if how == "managed_agents"
        else "transfer_to_other(reason='It can.')"
    )
    return agent_of(first, **{how: [other]})


@pytest.mark.parametrize(
    "make",
    [
        lambda: agent_of("x = half(4)", "final_answer(x)"),
        lambda: agent_of("1 / 0", "half(3)", "<nothing to run>", "final_answer(2)"),
        lambda: agent_of(
            "final_answer(1)", "final_answer(2)", final_answer_checks=[lambda answer, memory: answer == 2]
        ),
        lambda: caller_of("managed_agents"),
        lambda: caller_of("handoffs"),
    ],
    ids=["short", "errors", "check", "managed agent", "hand-off"],
)
def test_an_agent_that_is_forgotten_ends_its_child_at_once(make):
    gc.collect()
    gc.disable()  # its memory may be large: nobody shall have to wait for the collector
    try:
        before = set(below(os.getpid())) - kept()
        agent = make()
        assert agent.run("Halve four.") == 2
        pids = set(below(os.getpid())) - before - kept()
        executor = weakref.ref(agent.python_executor)
        assert pids
        del agent
        assert executor() is None
        assert all_gone(pids)
    finally:
        gc.enable()


def test_the_child_outlives_the_thread_that_started_it():
    executor = KernelExecutor()
    pids = []
    thread = threading.Thread(target=lambda: pids.append(value(executor, "import os\nos.getpid()")))
    thread.start()
    thread.join()
    assert value(executor, "os.getpid()") == pids[0]
    executor.cleanup()


def test_a_child_killed_on_the_host_is_reaped():
    before = set(below(os.getpid())) - kept()
    executor = KernelExecutor()
    value(executor, "1")
    pids = set(below(os.getpid())) - before - kept()
    processes = [psutil.Process(pid) for pid in pids]
    (kernel,) = [each for each in processes if not each.children()]
    kernel.kill()  # in a box what is above it ends as well
    assert list(executor.run("1"))[-1].status == "died"
    assert not any(each.is_running() for each in processes)  # one that nobody has waited for is


FORKED = """
import gc, os, sys
from smol_kernel.executors.kernel import KernelExecutor
kept = {"it": KernelExecutor(additional_functions={"half": lambda number: number // 2})}
kept["it"]("x = 5")
while_it_acts, *all_that_is_done = sys.argv[1:]
for done in all_that_is_done:
    if while_it_acts:
        kept["events"] = kept["it"].run("print(x)\\ny = half(4)")
        while next(kept["events"]).kind != "output":
            pass
    if os.fork() == 0:  # has all that the host has, as a worker of multiprocessing does
        exec(done)
        sys.exit()
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 0, done
    assert all(event.status == "ok" for event in kept.pop("events", ()) if event.kind == "action_finished"), done
    assert kept["it"]("x").output == 5, done
kept["it"].cleanup()
"""
WHILE_IT_RESTS = (
    "pass",
    "kept.clear(); gc.collect()",
    "kept['it'].cleanup()",
    "kept['it'].restart()",
    "kept['it'].interrupt()",
    "assert kept['it']('x = 6\\nx').output == 6; kept['it'].cleanup()",
    "kept['it'].send_variables({'x': 7}); assert kept['it']('x').output == 7",
    "kept['it'].state.update(x=8); kept['it'].forget(['x'])",
    "assert 'x' not in kept['it'].state.copy()",
    "assert not kept['it'].complete('x.bit', 5)['matches']",
    "assert not list(kept['it'].check(['x == 5']))[0].ok",
    "assert kept['it'].end_rehearsal(True)",
)
WHILE_IT_ACTS = (
    "pass",
    "kept['events'].close()",
    "kept.clear(); gc.collect()",
    "kept['it'].interrupt(); list(kept['events'])",
    "kept['it'].cleanup(); list(kept['events'])",
    "assert list(kept['events'])[-1].status == 'died'; assert kept['it']('6').output == 6",
)


@pytest.mark.parametrize("done", [("", *WHILE_IT_RESTS), ("x", *WHILE_IT_ACTS)], ids=["at rest", "in an action"])
def test_what_a_forked_process_does_does_not_reach_the_child(done, tmp_path):
    subprocess.run([sys.executable, "-c", FORKED, *done], cwd=tmp_path, timeout=300, check=True)


WORKERS = """
import os, sys
from smol_kernel import CodeAgent, LogLevel, ScriptedModel
def code(text): return f"<code>\\n{text}\\n</code>"
replies = [code("x = 5"), code("final_answer(x)"), code("final_answer(x + 1)")]
with CodeAgent([], ScriptedModel(replies), verbosity_level=LogLevel.OFF) as agent:
    agent.run("Begin.")
    workers = []
    for number in range(3):
        workers.append(os.fork())
        if workers[-1] == 0:
            agent.model = ScriptedModel([code("y = 1"), code(f"x = {number} + y"), code("final_answer(x)")])
            events = list(agent.events("Go on.", reset=False))
            (gone,) = [event.lost for event in events if event.kind == "action_finished" and event.lost]
            (notice,) = [event.text for event in events if event.kind == "notice"]
            assert gone == ["x"] and "forked" in notice
            sys.exit(agent.answer)
    print(*(os.waitstatus_to_exitcode(os.waitpid(each, 0)[1]) for each in workers), agent.run("Go on.", reset=False))
"""


def test_each_of_many_forked_processes_goes_on_with_a_child_of_its_own(tmp_path):
    told = subprocess.check_output([sys.executable, "-c", WORKERS], cwd=tmp_path, text=True, timeout=120)
    assert told.split() == ["1", "2", "3", "6"]


HELD = """
import os, sys, threading
from smol_kernel.executors import coroutines, sealed_memory
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.launchers import view, zygote
held, go_on = threading.Event(), threading.Event()
def hold():
    with view._lock, zygote._lock, sealed_memory._lock, coroutines._lock:
        held.set()
        go_on.wait()
thread = threading.Thread(target=hold)
thread.start()
held.wait()
if os.fork() == 0:
    import numpy
    async def half(number): return number // 2
    executor = KernelExecutor(additional_functions={"half": half})
    executor("1")
    executor.send_variables({"x": numpy.zeros(1_000_000)})
    print(executor("half(len(x))").output, flush=True)
    executor.cleanup()
    os._exit(0)
os.wait()
go_on.set()
"""


def test_a_process_that_is_forked_while_threads_begin_children_has_its_own(tmp_path):
    assert subprocess.check_output([sys.executable, "-c", HELD], cwd=tmp_path, text=True, timeout=120) == "500000\n"


AT_WORK = """
import os, threading
from smol_kernel import CodeAgent, LogLevel, ScriptedModel, tool
def code(text): return f"<code>\\n{text}\\n</code>"
begun, go_on = threading.Event(), threading.Event()
@tool
def wait() -> int:
    "Waits."
    begun.set()
    go_on.wait()
    return 1
def agent(tools, *replies, **options):
    return CodeAgent(tools, ScriptedModel(replies), verbosity_level=LogLevel.OFF, journal=False, **options)
other = agent([wait], code("final_answer(wait())"), code("final_answer(2)"), name="other", description="Waits.")
asked = code("final_answer(int(other(task='Wait.')[-1]))")
agent = agent([], asked, asked, managed_agents=[other])
thread = threading.Thread(target=lambda: print(agent.run("Ask.")))
thread.start()
begun.wait()
if os.fork() == 0:
    print(agent.run("Ask."), other.state.get("wait"), flush=True)
    agent.cleanup()
    other.cleanup()
    os._exit(0)
os.wait()
go_on.set()
thread.join()
print(agent.run("Ask."))
"""


def test_a_process_that_is_forked_while_a_thread_runs_an_agent_can_run_it(tmp_path):
    told = subprocess.check_output([sys.executable, "-c", AT_WORK], cwd=tmp_path, text=True, timeout=120)
    assert told.split() == ["2", "None", "1", "2"]


def test_nothing_of_the_child_reaches_the_hosts_own_streams():
    code = "import os\nos.write(1, b'raw out')\nos.write(2, b'raw err')\nos.system('echo sub')"
    program = HOST.replace('print(event.text, end="", flush=True)', "pass") + "executor.cleanup()\n"
    done = subprocess.run([sys.executable, "-c", program, code], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_long_temporary_folder_still_gives_a_short_socket_path(monkeypatch, tmp_path):
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    executor = KernelExecutor()
    assert value(executor, "1") == 1
    executor.cleanup()


def test_the_socket_folder_is_the_users_alone():
    child = PlainChild()
    folder = Path(child.connection["ip"]).parent
    assert folder.stat().st_mode & 0o777 == 0o700
    child.close()
    assert not folder.exists()


MANY = """
import os, resource
from smol_kernel.errors import ExecutorError
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.launchers import zygote
from smol_kernel.executors.launchers.choose import launch
resource.setrlimit(resource.RLIMIT_NOFILE, (200, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
first = KernelExecutor()
first("1")
first.cleanup()
before, executors = len(os.listdir("/dev/fd")), []
try:
    for _ in range(100):
        executors.append(KernelExecutor())
        executors[-1]("1")
except ExecutorError as error:
    print(error)
for each in executors:
    each.cleanup()
zygote.give_up()
print(len(os.listdir("/dev/fd")) - before, first("6 * 7").output)
"""


def test_a_host_that_may_open_no_more_files_says_so_and_loses_none(tmp_path):
    told = subprocess.check_output([sys.executable, "-c", MANY], cwd=tmp_path, text=True).splitlines()
    assert "200 files are open, as many as this process may have" in told[0]
    assert told[1] == "0 42"


def test_a_host_has_more_children_than_descriptors_that_select_takes(tmp_path, box):
    """The first one comes when so many files are open already."""
    program = (
        "import os\nfrom smol_kernel.executors.kernel import KernelExecutor\n"
        "from smol_kernel.executors.launchers import zygote\n"
        "for _ in range(1100): os.open(os.devnull, os.O_RDONLY)\n"
        "first, second, third = KernelExecutor(), KernelExecutor(), KernelExecutor()\n"
        "print(first('1').output, second('2').output)\n"
        "first.interrupt()\nprint(zygote.wait(60), third('3').output)\n"
        "print(getattr(third._client.child, 'loaded', False))\nfor each in (first, second, third): each.cleanup()"
    )
    limit = f"import resource, sys\nresource.setrlimit(resource.RLIMIT_NOFILE, (2_000, 4_000))\n{program}"
    forked = str(box)
    assert subprocess.check_output([sys.executable, "-c", limit], cwd=tmp_path, text=True).split() == [
        *("1", "2", forked, "3", forked)
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no ulimit")
@pytest.mark.parametrize("box", [True, False])
@pytest.mark.parametrize("most", [32, 40, 48, 52, 64])
def test_where_few_files_may_be_open_it_works_or_says_so(most, box):
    program = "from smol_kernel.executors.kernel import KernelExecutor as Executor\n"
    program += f"executor = Executor(box={box})\nprint(executor('6 * 7').output)\nexecutor.cleanup()"
    command = ["sh", "-c", f'ulimit -n {most} && exec "$@"', "-", sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "42\n" or "ulimit -n" in done.stderr, done.stderr
    assert "kernelapp.py" not in done.stderr  # the last line says enough


@pytest.mark.parametrize("box", [True, False])
def test_where_no_process_can_be_had_it_says_so(monkeypatch, box):
    def refused(*_):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setenv("SMOL_ZYGOTE", "off")
    monkeypatch.setattr(subprocess, "_fork_exec", refused)
    with pytest.raises(ExecutorError, match=r"no further process can be had here .*ulimit -u"):
        KernelExecutor(box=box).start()


def test_where_the_folder_for_temporary_files_is_gone_children_come_all_the_same(tmp_path, monkeypatch, box):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    executor = KernelExecutor(box=box)
    assert executor("6 * 7").output == 42
    executor.cleanup()
