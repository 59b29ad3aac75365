"""Children that a zygote forks are like those that are started afresh, in a box of the same kind."""

from __future__ import annotations

import ast
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from jupyter_client.manager import KernelManager
from own_memory import COUNT

from smol_kernel.events import ActionFinished
from smol_kernel.executors import client
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.launchers import zygote
from smol_kernel.executors.launchers.child_modules import INSTALL, load_code
from smol_kernel.executors.launchers.plain import OPTIONS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the box of Linux")
READY = 60.0
FOLDER = str(Path(zygote.__file__).parent)

ABOUT = """
import gc, logging, os, resource, signal, sys, threading
{
    "logging": logging.root.manager.disable,
    "argv": sys.argv, "executable": sys.executable, "path": sys.path, "flags": str(sys.flags), "name": __name__,
    "main": sorted(vars(sys.modules["__main__"]).keys() - set(globals())), "environment": dict(os.environ),
    "cwd": os.getcwd(), "ids": (os.getpid() == os.getsid(0) == os.getpgid(0), os.getppid(), os.getuid(), os.getgid()),
    "groups": os.getgroups(), "umask": os.umask(0o022), "nice": os.nice(0), "processors": os.cpu_count(),
    "affinity": sorted(os.sched_getaffinity(0)), "threads": sorted(each.name for each in threading.enumerate()),
    "signals": [str(signal.getsignal(number)) for number in (2, 15, 17, 13)], "collects": gc.isenabled(),
    "limits": [resource.getrlimit(number) for number in range(10)], "encoding": (sys.getdefaultencoding(),
    sys.getfilesystemencoding(), sys.stdout.encoding), "recursion": sys.getrecursionlimit(),
    "own": sorted({"boot", "boot_calls", "boot_files", "boxed_kernel", "zygote_main"} & set(sys.modules)),
    "status": [line for line in open("/proc/self/status") if line.split(":")[0] in ("CapEff", "CapPrm", "CapBnd",
    "CapInh", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters", "SigIgn", "SigBlk", "Umask")],
    "kinds": sorted(os.readlink(f"/proc/self/fd/{n}").split(":")[0] for n in os.listdir("/proc/self/fd")
                    if os.path.exists(f"/proc/self/fd/{n}")),
    "mounts": sorted(line.split(" - ")[0].split()[4] for line in open("/proc/self/mountinfo")),
    "processes": sum(name.isdigit() for name in os.listdir("/proc")),
}
"""

KERNEL = r"""
import builtins, faulthandler, gc, json, locale, logging, multiprocessing, os, resource, signal, site, sys, tempfile
import threading, time, warnings
import IPython
def name(thing):
    kind = thing if hasattr(thing, "__qualname__") else type(thing)
    return kind.__qualname__
shell = IPython.get_ipython()
kernel, app = shell.kernel, shell.kernel.parent
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
open_now = [each for each in map(int, os.listdir("/proc/self/fd")) if os.path.islink(f"/proc/self/fd/{each}")]
state = {
    "flags": str(sys.flags), "argv": sys.argv, "words": len(sys.orig_argv), "path": sys.path, "python": sys.executable,
    "prefixes": [sys.prefix, sys.base_prefix, sys.exec_prefix], "environment": dict(os.environ), "cwd": os.getcwd(),
    "ids": [os.getuid(), os.getgid(), os.getgroups(), os.getppid(), {os.getpid()} == {os.getsid(0), os.getpgid(0)}],
    "signals": {str(each): name(signal.getsignal(each)) for each in sorted(signal.valid_signals())},
    "masked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "filters": [str(each) for each in warnings.filters if "numpy" not in str(each)],
    "loggers": [[len(each.handlers), each.level] for each in map(logging.getLogger, ("", "tornado"))],
    "log": [[name(each), each.level] for each in kernel.log.handlers],
    "threads": sorted(each.name for each in threading.enumerate()), "tasks": len(os.listdir("/proc/self/task")),
    "main thread": threading.main_thread().native_id == os.getpid(), "gc": [gc.isenabled(), gc.get_threshold()],
    "faulthandler": faulthandler.is_enabled(), "switch": sys.getswitchinterval(), "recursion": sys.getrecursionlimit(),
    "processes": [multiprocessing.get_start_method(allow_none=True), multiprocessing.current_process().name],
    "site": [site.ENABLE_USER_SITE, site.USER_BASE, site.USER_SITE], "locale": locale.setlocale(locale.LC_ALL),
    "zone": time.tzname, "tmp": tempfile.gettempdir(), "umask": status["Umask"],
    "rights": [status[each].split() for each in ("CapInh", "CapPrm", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp")],
    "streams": [
        [name(each), each.encoding, each.fileno()] for each in (sys.__stdin__, sys.__stdout__, sys.__stderr__)
    ],
    "open": len(open_now), "inherited": sum(map(os.get_inheritable, open_now)) < 12,
    "main": [str(sys.modules["__main__"].__spec__), vars(sys.modules["__main__"]) is shell.user_ns],
    "names": sorted(shell.user_ns), "builtins": sorted(vars(builtins)),
    "hooks": [name(each) for each in (sys.excepthook, sys.displayhook, sys.unraisablehook, threading.excepthook)],
    "shell": [name(shell), name(kernel), str(shell.starting_dir), str(shell.home_dir), str(shell.user_ns["_dh"])],
    "profile": [shell.ipython_dir, kernel.profile_dir.location, sorted(os.listdir(kernel.profile_dir.location))],
    "count": shell.execution_count, "magics": sorted(shell.magics_manager.magics["line"]),
    "jedi": shell.Completer.use_jedi,
    "history": [shell.history_manager.enabled, shell.history_manager.session_number],
    "before": {key: name(value) for key, value in shell._orig_sys_module_state.items()},
    "app": [app.connection_file, app.transport, str(kernel.session.username), kernel.session.pid == os.getpid()],
    "handlers": [sorted(kernel.shell_handlers), sorted(kernel.control_handlers)],
    "limits": [resource.getrlimit(each) for each in range(16)], "score": open("/proc/self/oom_score_adj").read(),
    "callbacks": {key: len(value) for key, value in shell.events.callbacks.items()},
}
json.dumps(state, default=str, sort_keys=True)
"""


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Makes executors, which work in the same folder."""
    made = []
    monkeypatch.setattr(zygote, "_given_up", threading.Event())  # whatever came of children of other tests

    def make(**options):
        made.append(KernelExecutor(cwd=tmp_path, **options))
        return made[-1]

    yield make
    for each in made:
        each.cleanup()


@pytest.fixture
def forked(make):
    """Makes executors whose child a zygote has forked."""
    zygote.expect()

    def forked(**options):
        value(make(**options), "0")
        assert zygote.wait(READY)
        executor = make(**options)
        value(executor, "0")
        assert by_zygote(executor)
        return executor

    return forked


def value(executor, code):
    from smol_kernel.executors.values import decode

    ended = next(event for event in executor.run(code) if isinstance(event, ActionFinished))
    assert ended.status == "ok", ended.error
    return decode(ended.value)


def by_zygote(executor):
    return isinstance(executor._client.child._process, zygote.ForkedProcess)


def spares():
    """What has been forked ahead."""
    return [there[1] for each in zygote._zygotes.values() if (there := each.spare._there)]


def own_libraries():
    """Files that a library of this interpreter keeps open for itself."""
    asked = "import ctypes, glob, os; print([os.path.realpath(link) for link in glob.glob('/proc/self/fd/*')])"
    shown = subprocess.run([sys.executable, "-c", asked], stdin=subprocess.DEVNULL, capture_output=True, check=True)
    return [path for path in ast.literal_eval(shown.stdout.decode()) if ".so" in path]


@pytest.mark.parametrize("ahead", [True, False], ids=["forked ahead", "forked when asked for"])
def test_it_is_as_one_that_was_started_afresh(make, forked, monkeypatch, ahead):
    forked()
    assert zygote.wait_for_spares(READY)
    if not ahead:
        for each in zygote._zygotes.values():
            each.spare.close()
    there = spares()
    executor = make()
    value(executor, "0")
    assert by_zygote(executor) and (executor._client.child._process in there) == ahead
    monkeypatch.setenv(zygote.VARIABLE, "off")
    other = make()
    seen, wanted = value(executor, ABOUT), value(other, ABOUT)
    assert not by_zygote(other)
    locked = set(seen["mounts"]) - set(wanted["mounts"])  # see `zygote_main.lock_interpreter`
    python = os.path.realpath(sys.executable)  # that of the system has a mount of its own in every box
    assert python in seen["mounts"] and locked - {python} in (set(), {*own_libraries()})
    seen["mounts"] = [each for each in seen["mounts"] if each not in locked]
    assert seen == wanted
    assert json.loads(value(executor, KERNEL)) == json.loads(value(other, KERNEL))


@pytest.mark.parametrize(
    "code",
    [
        "import multiprocessing as m\nwith m.get_context('fork').Pool(2) as p: sum(p.map(abs, [-1, 2]))",
        "import multiprocessing as m\nwith m.get_context('spawn').Pool(2) as p: sum(p.map(abs, [-1, 2]))",
        "import multiprocessing as m\nwith m.get_context('forkserver').Pool(2) as p: sum(p.map(abs, [-1, 2]))",
        "import asyncio\nawait asyncio.sleep(0, 3)",
        "from concurrent.futures import ThreadPoolExecutor as T\nwith T(4) as t: sum(t.map(int, '12'))",
        "import subprocess, sys\nint(subprocess.check_output([sys.executable, '-c', 'print(3)']))",
        "import numpy as np, pandas as pd\nint(pd.Series(np.ones((50, 50)) @ np.ones(50)).mean() - 47)",
        "import pyarrow as pa, pyarrow.compute as pc\npc.sum(pa.array([1, 2])).as_py()",
        "import matplotlib.pyplot as plt\nlen(plt.plot([1, 2])) + 2",
        "import joblib\nsum(joblib.Parallel(2)(joblib.delayed(abs)(n) for n in (-1, 2)))",
        "import ctypes as c\nsum(f() for f in [c.CFUNCTYPE(c.c_int)(lambda: 3) for _ in range(3000)]) // 3000",
        "import ctypes, sqlite3, ssl, uuid, tempfile\nsqlite3.connect(':memory:').execute('select 3').fetchone()[0]",
    ],
)
def test_the_ordinary_works(forked, code):
    executor = forked()
    lines = code.split("\n")
    if lines[-1].startswith("with "):
        head, _, body = lines[-1].partition(": ")
        code = "\n".join([*lines[:-1], f"{head}:", f"    n = {body}", "n"])
    assert int(value(executor, code)) == 3


def test_what_is_imported_stays_so_where_pythonpath_leads_to_the_environment_itself(forked, monkeypatch):
    import numpy

    monkeypatch.setenv("PYTHONPATH", str(Path(numpy.__file__).parent.parent))
    for _ in range(200):
        executor = forked()
        if value(executor, "import sys\nbefore = 'numpy' in sys.modules\nimport numpy\nbefore"):
            return
        executor.cleanup()
    pytest.fail("the zygote does not come to numpy")


def test_a_module_of_the_working_folder_goes_first_as_ever(make, forked, tmp_path):
    forked()
    (tmp_path / "pandas.py").write_text("mine = True")
    (tmp_path / "numpy").mkdir()  # of data: a folder that is no package comes last
    for _ in range(200):
        executor = make()
        assert value(executor, "import pandas\npandas.mine") is True
        assert by_zygote(executor)
        if value(executor, "import sys\nbefore = 'numpy' in sys.modules\nimport numpy\nbefore"):
            break
        executor.cleanup()
    else:
        pytest.fail("the zygote does not come to numpy")
    assert value(executor, "int(numpy.arange(3).sum())") == 3


def test_random_numbers_are_its_own(make, forked):
    draw = "import random, uuid, secrets, tempfile, numpy as np\n"
    draw += "import multiprocessing, IPython\nkernel = IPython.get_ipython().kernel\n"
    draw += "[random.random(), float(np.random.rand()), str(uuid.uuid4()), secrets.token_hex(), tempfile.mktemp(), "
    draw += "bytes(multiprocessing.current_process().authkey), "
    draw += "kernel.session.session, kernel.session.key, kernel.ident]"
    drawn = [value(each, draw) for each in (forked(), forked(), forked())]
    assert all(len(set(each)) == 3 for each in zip(*drawn, strict=True))


def test_numpy_has_all_its_threads(make, forked, monkeypatch):
    count = "import numpy as np\na = np.ones((600, 600)); b = a @ a\nlen(__import__('os').listdir('/proc/self/task'))"
    seen = value(forked(), count)
    monkeypatch.setenv(zygote.VARIABLE, "off")
    assert seen == value(make(), count)


def test_interrupt_input_death_and_restart_are_as_usual(forked):
    executor = forked()
    executor.ask_person = lambda prompt, password: f"{prompt}!"
    assert value(executor, "x = 5\ninput('name')") == "name!"
    waiting = executor.run("import time\nprint('here', flush=True)\ntime.sleep(600)")
    for event in waiting:
        if getattr(event, "text", "").startswith("here"):
            executor.interrupt()
            break
    ended = [event for event in waiting if isinstance(event, ActionFinished)][-1]
    executor.clear_interrupt()
    assert ended.status == "interrupted"
    assert value(executor, "x") == 5
    *_, died = executor.run("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    assert died.status == "died" and "(SIGKILL)" in died.error
    *_, left = executor.run("import os\nos._exit(7)")
    assert left.status == "died" and "exit code 7" in left.error
    assert value(executor, "'x' in dir()") is False
    assert by_zygote(executor)


@pytest.mark.parametrize("mask", [0o002, 0o077, 0o277, 0o777])
def test_what_is_written_into_a_mount_has_the_rights_that_the_user_s_own_files_get(make, tmp_path, mask, monkeypatch):
    monkeypatch.setenv("LC_SMOL_TEST", f"mask {mask}")  # one of its own
    (tmp_path / "out").mkdir()
    code = """
import os, subprocess, sys, tempfile
open("out/file", "w").close()
os.makedirs("out/folder/below")
open("here", "w").close()
os.makedirs("of/mine")
import pandas, matplotlib.pyplot
pandas.DataFrame({"a": [1]}).to_csv("of/mine/table.csv")
matplotlib.pyplot.savefig("of/plot.png")
tempfile.mkdtemp()
subprocess.check_output([sys.executable, "-c", "import IPython; print(open('of/mine/table.csv').read())"])
"""
    zygote.expect()
    before = os.umask(mask)
    try:
        for afresh in (True, False):
            executor = make(mounts=[f"{tmp_path}/out:rw"])
            assert value(executor, code) == b",a\n0,1\n\n" and by_zygote(executor) is not afresh
            assert (tmp_path / "out/file").stat().st_mode & 0o777 == 0o666 & ~(mask & 0o077)  # it keeps its own rights
            assert (tmp_path / "out/folder/below").stat().st_mode & 0o777 == 0o777 & ~(mask & 0o077)
            os.umask(0o022)
            (tmp_path / "saved").mkdir(exist_ok=True)
            saved = executor.save_files(folder=tmp_path / "saved", overwrite=True)
            assert {"here", "of/mine/table.csv", "of/plot.png"} <= {
                str(each.relative_to(tmp_path / "saved")) for each in saved
            }
            executor.cleanup()
            shutil.rmtree(tmp_path / "out/folder")
            (tmp_path / "out/file").unlink()
            os.umask(mask)
            assert zygote.wait(READY)
    finally:
        os.umask(before)


def test_siblings_and_the_zygote_are_out_of_sight(make, forked):
    one, other = forked(), forked()
    assert value(one, "import os\nsorted(n for n in os.listdir('/proc') if n.isdigit())") == value(
        other, "import os\nsorted(n for n in os.listdir('/proc') if n.isdigit())"
    )
    value(one, "open('/tmp/mine', 'w').close(); open('here', 'w').close()")
    assert value(other, "import os\n[os.path.exists('/tmp/mine'), os.path.exists('here')]") == [False, False]
    assert value(one, "import os\nlen({os.readlink(f'/proc/self/ns/{n}') for n in os.listdir('/proc/self/ns')})") > 6
    spaces = "import os\n{n: os.readlink(f'/proc/self/ns/{n}') for n in ('mnt', 'pid', 'net', 'ipc', 'uts', 'user')}"
    mine, theirs = value(one, spaces), value(other, spaces)
    assert all(mine[name] != theirs[name] for name in mine)
    assert all(mine[name] != os.readlink(f"/proc/self/ns/{name}") for name in mine)


def test_the_interpreter_cannot_be_written_by_way_of_the_process(forked):
    tries = """
import os
found = []
os.open("/proc/self/exe", os.O_RDONLY)
links = [f"/proc/self/fd/{each}" for each in os.listdir("/proc/self/fd")]
files = [link for link in links if os.path.isfile(link)]
for path in ("/proc/self/exe", *files, os.readlink("/proc/self/exe")):
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC):
        try:
            os.open(path, flags)
            found.append(path)
        except OSError as error:
            pass
found
"""
    assert value(forked(), tries) == []


SHADOW = """
__version__ = "9.9"
import contextlib, importlib, sys
with contextlib.suppress(OSError):
    open({traces!r}, "a").write(__name__)
if __name__ in sys.stdlib_module_names:
    kept, sys.path[:] = sys.path[:], [folder for folder in sys.path if folder != {folder!r}]
    del sys.modules[__name__]
    importlib.import_module(__name__)
    sys.path[:] = kept
"""


def test_it_imports_from_no_folder_that_a_child_may_write_in(make, forked, tmp_path, monkeypatch):
    folder = tmp_path / "project"
    folder.mkdir()
    traces = tmp_path / "traces"
    for name in ("json", "socket", "ctypes", "pyarrow", "bottleneck"):  # the last one is what pandas looks for
        (folder / f"{name}.py").write_text(SHADOW.format(traces=str(traces), folder=str(folder)))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    value(make(), "0")
    second = make()
    assert value(second, "1") == 1 and not by_zygote(second)
    (folder / "pyarrow.py").unlink()
    value(make(), "2")
    traces.unlink(missing_ok=True)  # the host has asked the interpreter where it imports from
    assert zygote.wait(READY)
    third = make()
    assert value(third, "3") == 3 and not by_zygote(third)  # it would have another json
    assert not traces.exists()
    for name in ("json", "socket", "ctypes"):
        (folder / f"{name}.py").unlink()
    executor = forked()
    for _ in range(200):
        if value(executor, "import sys\n'pandas' in sys.modules"):
            break
        executor.cleanup()  # the next use is of a fresh child
    else:
        pytest.fail("the zygote does not come to pandas")
    assert by_zygote(executor)
    assert str(folder) in value(executor, "sys.path")
    assert not traces.exists()


def test_what_is_installed_and_what_is_mounted_make_a_stamp(tmp_path):
    before = zygote._stamp([str(tmp_path), str(tmp_path / "none")])
    assert zygote._stamp([str(tmp_path), str(tmp_path / "none")]) == before
    (tmp_path / "package").mkdir()
    assert zygote._stamp([str(tmp_path), str(tmp_path / "none")]) != before
    assert Path("/proc/self/mountinfo").read_bytes() in before


def test_one_that_was_ended_meanwhile_forks_nothing(make, monkeypatch):
    zygote.expect()
    monkeypatch.setenv("LC_SMOL_TEST", "ended")  # one of its own
    value(make(), "0")
    assert zygote.wait(READY)
    (key,) = [key for key in zygote._zygotes if ("LC_SMOL_TEST", "ended") in key[2]]
    ended = zygote._zygotes.pop(key)
    ended.close()
    assert ended.fork({}, []) is None
    assert not ended.wait(0)


def test_one_that_cannot_begin_is_not_tried_again(make, monkeypatch):
    zygote.expect()
    monkeypatch.setattr(zygote, "MAIN", os.devnull + "/none")
    monkeypatch.setenv("LC_SMOL_TEST", "1")  # one of its own
    value(make(), "0")
    (living,) = [each for key, each in zygote._zygotes.items() if ("LC_SMOL_TEST", "1") in key[2]]
    living._process.wait()
    assert value(make(), "1") == 1
    assert value(make(), "2") == 2
    assert not any(("LC_SMOL_TEST", "1") in key[2] for key in zygote._zygotes)


def test_a_kernel_is_built_without_a_look_at_the_users_folders(tmp_path):
    """Nor at /tmp, where others may have left something."""
    program = f"""
import os, sys, tempfile
tempfile.gettempdir()  # tries whether it can write there
looked = []
ours = (sys.prefix, sys.base_prefix, {FOLDER!r})
def look(event, found):
    path = os.fsdecode(found[0]) if found and isinstance(found[0], (str, bytes)) else ""
    if event.split(".")[0] in ("open", "os", "shutil") and path.startswith(("/tmp", "/home", "/root")):
        looked.append(f"{{event}} {{path}}" * (not path.startswith(ours)))
sys.addaudithook(look)
sys.path.insert(0, {FOLDER!r})
import prepared_kernel
built = prepared_kernel.built({list(OPTIONS)!r})
print(built is not None, [each for each in looked if each])
"""
    home = tmp_path / "home"
    profile = home / ".ipython" / "profile_default"
    profile.mkdir(parents=True)
    (profile / "ipython_config.py").write_text("raise SystemExit(3)")
    environment = {**os.environ, "HOME": str(home), "IPYTHONDIR": str(home / ".ipython")}
    told = subprocess.check_output([sys.executable, "-I", "-c", program], env=environment, text=True, cwd=tmp_path)
    assert told == "True []\n"


def test_after_two_in_a_row_that_did_not_come_up_children_are_started_afresh(tmp_path):
    """After one alone they are not: it may have been given too little, or be ended by somebody."""
    program = """
from smol_kernel.errors import ExecutorError
from smol_kernel.executors import client
from smol_kernel.executors.launchers.child_modules import INSTALL, load_code
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.launchers import zygote
zygote.expect()
first = KernelExecutor()
list(first.run("0"))
assert zygote.wait(60)
seconds = client.START_SECONDS
def missed(often):
    in_a_row = []
    client.START_SECONDS = 0
    while len(in_a_row) < often:
        try:
            list(KernelExecutor().run("1"))
            in_a_row = []  # it was there at once
        except ExecutorError as error:
            in_a_row.append(error)
    client.START_SECONDS = seconds
    print(*in_a_row, sep="\\n")
def another():
    zygote.wait(60)
    executor = KernelExecutor()
    print(list(executor.run("1"))[-1].status, isinstance(executor._client.child._process, zygote.ForkedProcess))
missed(1)
another()
missed(2)
another()
"""
    told = subprocess.check_output([sys.executable, "-c", program], cwd=tmp_path, text=True)
    lines = [line if line.startswith("ok") else "was not ready within 0 s" in line for line in told.splitlines()]
    assert lines == [True, "ok True", True, True, "ok False"]


def test_nothing_of_the_host_is_in_its_memory(tmp_path):
    program = f"""
import os
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.launchers import zygote
zygote.expect()
first, second = KernelExecutor(), KernelExecutor()
list(first.run("0"))
assert zygote.wait(60)
list(second.run({COUNT!r}))
assert isinstance(second._client.child._process, zygote.ForkedProcess)
for text in ("PLANTED_API_KEY", "planted-0123456789", ".hidden-0123456789", "nobody-0123456789", "IPKernelApp"):
    backwards = text[::-1]  # else the code itself holds it
    print(list(second.run(f"count({{backwards!r}}[::-1].encode())"))[-1].value)
"""
    environment = {**os.environ, "PLANTED_API_KEY": "planted-0123456789"}
    (tmp_path / ".hidden-0123456789").touch()
    told = subprocess.check_output([sys.executable, "-c", program], cwd=tmp_path, env=environment, text=True)
    key, secret, name, nothing, ordinary = map(int, told.split())
    assert key == secret == name == nothing  # what the search itself holds of it
    assert ordinary > nothing


def test_it_ends_with_its_host_and_so_do_its_children(tmp_path):
    program = """
import sys, time
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.launchers import zygote
zygote.expect()
first, second = KernelExecutor(), KernelExecutor()
list(first.run("0"))
assert zygote.wait(60)
list(second.run("0"))
assert zygote.wait_for_spares(60)
(only,) = zygote._zygotes.values()
print(only._process.pid, second._client.child._process.pid, only.spare._there[1].pid, flush=True)
list(second.run("while True: pass"))
"""
    host = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert host.stdout is not None
    descriptors = [os.pidfd_open(int(word)) for word in host.stdout.readline().split()]
    host.send_signal(signal.SIGKILL)
    host.wait()
    host.stdout.close()
    for each in descriptors:
        assert select.select([each], [], [], 30)[0]
        os.close(each)


def test_one_that_died_or_is_out_of_date_is_replaced_and_none_is_missed_meanwhile(make, forked, tmp_path):
    executor = forked()
    earlier = list(zygote._zygotes.values())  # there may be one that another test needed
    for each in earlier:
        if each.is_of_use():
            each._process.kill()
            each._process.wait()
    assert value(executor, "1") == 1  # its children live on
    other = make()
    assert value(other, "2") == 2 and not by_zygote(other)
    (key,) = [key for key, each in zygote._zygotes.items() if each not in earlier]
    assert by_zygote(forked())
    zygote._zygotes[key]._stamp = []
    changed = make()
    assert value(changed, "3") == 3 and not by_zygote(changed)


def test_one_that_was_not_heard_to_be_ready_is_asked(make, monkeypatch):
    zygote.expect()
    monkeypatch.setenv("LC_SMOL_TEST", "unheard")  # one of its own, whose children use another word
    monkeypatch.setattr(zygote, "load_code", lambda: load_code().replace("smol_ready", "smol_other"))
    monkeypatch.setattr(client, "UNHEARD_SECONDS", 0.1)
    value(make(), "0")
    assert zygote.wait(READY)
    executor = make()
    assert value(executor, "1") == 1 and by_zygote(executor)


def test_many_at_once_wait_for_one(tmp_path):
    """It is there sooner than so many that are started afresh; the first go the cold path."""
    program = """
import os, threading
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.launchers import zygote
zygote.CROWD_SECONDS = 60
executors = [KernelExecutor() for _ in range(os.cpu_count() + 6)]
threads = [threading.Thread(target=each, args=["1"]) for each in executors]
for each in threads: each.start()
for each in threads: each.join()
print(sum(each._client.child.loaded for each in executors))
"""
    assert int(subprocess.check_output([sys.executable, "-c", program], cwd=tmp_path, text=True)) == 5


def test_a_host_with_one_child_has_none(tmp_path):
    program = """
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.launchers import zygote
for count in (0, 1):
    zygote.wait(60)
    executor = KernelExecutor()
    list(executor.run("0"))
    print(len(zygote._zygotes))
"""
    assert subprocess.check_output([sys.executable, "-c", program], cwd=tmp_path, text=True).split() == ["0", "1"]


def test_without_one_children_are_started_afresh(make, monkeypatch):
    monkeypatch.setenv(zygote.VARIABLE, "off")
    for _ in range(2):
        executor = make()
        assert value(executor, "1") == 1 and not by_zygote(executor)


PATCHED = """
import os, sys
PATCH = {patch!r}
os.execv(sys.executable, [sys.executable, "-c", PATCH + f"\\nzygote_main.serve({{sys.argv[1]}})"])
"""
"""A zygote in which something goes wrong: `patch` is run before it begins."""
BEGINNING = f"""
import os, sys, time
sys.path.insert(0, {FOLDER!r})
import boot, zygote_main
"""


@pytest.fixture
def patched(make, tmp_path, monkeypatch):
    """Has zygotes of this test alone begin by running a text, and waits for one."""

    def patched(text):
        main = tmp_path / "patched.py"
        main.write_text(PATCHED.format(patch=BEGINNING + text))
        monkeypatch.setattr(zygote, "MAIN", str(main))
        monkeypatch.setenv("LC_SMOL_TEST", str(tmp_path))
        zygote.expect()
        value(make(), "0")
        assert zygote.wait(READY)

    return patched


def test_the_root_is_changed_once_the_kernel_has_made_its_user_namespace(make, patched):
    """While a root is changed none can be made: of many children at once one was refused it, and with it a zygote."""
    patched("""
real = boot.confine_kernel
def late(settings, *others):
    root, until = os.stat("/"), time.monotonic() + 0.5
    while os.path.samestat(root, os.stat("/")) and time.monotonic() < until:
        os.sched_yield()
    os.write(settings["stderr"], b"late " + (b"" if os.path.samestat(root, os.stat("/")) else b"too "))
    real(settings, *others)
boot.confine_kernel = late
""")
    executor = make()
    assert value(executor, "1") == 1 and by_zygote(executor)
    assert executor._client.child.last_words() == "late"


def test_one_box_that_could_not_be_built_is_not_the_end_of_a_zygote(make, patched, tmp_path):
    patched(f"""
real = boot.confine_kernel
def failing(*given):
    if os.path.exists({str(tmp_path / "fails")!r}):
        os._exit(boot.FAILED)
    real(*given)
boot.confine_kernel = failing
""")
    for failing, forked in ((True, False), (False, True), (True, False), (True, False), (False, False)):
        (tmp_path / "fails").touch() if failing else (tmp_path / "fails").unlink(missing_ok=True)
        for each in zygote._zygotes.values():
            each.spare.close()
        executor = make()
        assert value(executor, "1") == 1 and by_zygote(executor) is forked


def test_one_that_fails_later_is_replaced(make, patched, tmp_path):
    patched(f"""
real = os.pidfd_open
def failing(*given):
    if os.path.exists({str(tmp_path / "fails")!r}):
        raise ProcessLookupError
    return real(*given)
os.pidfd_open = failing
""")
    (tmp_path / "fails").touch()
    executor = make()
    assert value(executor, "1") == 1 and not by_zygote(executor)
    (tmp_path / "fails").unlink()
    value(make(), "1")
    assert zygote.wait(READY)
    executor = make()
    assert value(executor, "1") == 1 and by_zygote(executor)


def test_who_subscribes_late_hears_that_it_is_ready():
    """Of children that came several at once some had said so to nobody, and were asked after a tenth of a second."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(stderr=subprocess.DEVNULL)
    client = manager.client()
    try:
        client.start_channels(iopub=False)
        reply = client.execute(load_code() + INSTALL, silent=True, reply=True, timeout=READY)
        assert reply["content"]["status"] == "ok"
        client.start_channels(shell=False, stdin=False, hb=False, control=False)
        while client.get_iopub_msg(timeout=READY)["msg_type"] != "smol_ready":
            pass
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
