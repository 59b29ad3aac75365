"""What works in any kernel works in the box: each case is run boxed and plain, with the same result."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pytest

from smol_kernel.errors import ConfigError, ExecutorError
from smol_kernel.events import FilesMade
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.launchers import hidden
from smol_kernel.executors.launchers.identity import identity
from smol_kernel.executors.values import decode

CASES = {
    "relative read_csv": "import pandas as pd\nint(pd.read_csv('data/sales.csv')['amount'].sum())",
    "absolute path of the folder": "import os\nos.getcwd()",
    "writes and reads back": "open('out.txt', 'w').write('x' * 10)\nopen('out.txt').read()",
    "appends to a file that is there": "open('notes.txt', 'a').write('more')\nopen('notes.txt').read()",
    "removes and renames": "import os\nos.remove('old.txt')\nos.rename('notes.txt', 'n.txt')\nsorted(os.listdir('.'))",
    "makes folders": "import os\nos.makedirs('a/b/c')\nopen('a/b/c/f', 'w').close()\nos.path.exists('a/b/c/f')",
    "user": "import getpass\ngetpass.getuser()",
    "home": "import os\n(os.path.expanduser('~'), os.access(os.path.expanduser('~'), os.W_OK))",
    "temporary files": "import tempfile\nwith tempfile.NamedTemporaryFile() as f: _ = f.write(b'abc')\nTrue",
    "pool of processes": (
        "import multiprocessing as mp\nwith mp.get_context('fork').Pool(2) as p: r = p.map(abs, [-1, 2])\nr"
    ),
    "spawned pool": (
        "from concurrent.futures import ProcessPoolExecutor\nimport multiprocessing as mp\n"
        "with ProcessPoolExecutor(2, mp_context=mp.get_context('spawn')) as p: r = list(p.map(abs, [-1, 2]))\nr"
    ),
    "shared memory": (
        "from multiprocessing import shared_memory\ns = shared_memory.SharedMemory(create=True, size=100)\n"
        "s.buf[0] = 7\nv = s.buf[0]\ns.close(); s.unlink()\nv"
    ),
    "queue and lock": "import multiprocessing as mp\nq = mp.Queue()\nq.put(3)\nr = q.get()\nwith mp.Lock(): pass\nr",
    "pool of threads": (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(8) as p: r = sum(p.map(abs, range(99)))\nr"
    ),
    "BLAS": "import numpy as np\na = np.ones((400, 400))\nfloat((a @ a).sum())",
    "plot": (
        "import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\n_ = ax.plot([1, 2])\nfig.savefig('p.png')\n"
        "plt.close()\nimport os\nos.path.getsize('p.png') > 1000"
    ),
    "arrow": (
        "import pandas as pd\npd.DataFrame({'a': range(1000)}).to_parquet('t.parquet')\n"
        "int(pd.read_parquet('t.parquet')['a'].sum())"
    ),
    "sqlite": (
        "import sqlite3\ndb = sqlite3.connect('db.sqlite')\n_ = db.execute('create table t (n)')\n"
        "_ = db.execute('insert into t values (5)')\ndb.commit()\ndb.execute('select n from t').fetchone()[0]"
    ),
    "the interpreter itself": (
        "import subprocess, sys\n"
        "subprocess.run([sys.executable, '-c', 'import numpy; print(6 * 7)'], capture_output=True, text=True).stdout"
    ),
    "module beside the notebook": "import own_module\nown_module.VALUE",
    "asyncio": "import asyncio\nasync def f():\n    await asyncio.sleep(0)\n    return 5\nawait f()",
    "a server of its own": (
        "import http.server, threading, urllib.request\n"
        "s = http.server.HTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)\n"
        "t = threading.Thread(target=s.serve_forever); t.start()\n"
        "r = urllib.request.urlopen(f'http://127.0.0.1:{s.server_port}/data/sales.csv').status\n"
        "s.shutdown(); t.join(); s.server_close()\nr"
    ),
    "time zone": (
        "import datetime, zoneinfo\nstr(datetime.datetime(2024, 7, 1, tzinfo=zoneinfo.ZoneInfo('Europe/Paris')))"
    ),
    "random numbers": "import random, secrets\n0 <= random.random() < 1 and len(secrets.token_bytes(8)) == 8",
    "memory map": (
        "import mmap\nwith open('m.bin', 'w+b') as f:\n    _ = f.write(b'0' * 4096); f.flush()\n"
        "    with mmap.mmap(f.fileno(), 0) as m: m[0:1] = b'1'\nopen('m.bin', 'rb').read(1)"
    ),
    "address space that is only reserved": (
        "import mmap\nprivate = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE\n"
        "with mmap.mmap(-1, 32 << 30, flags=private, prot=mmap.PROT_READ) as m: r = len(m)\nr"
    ),
    "zip": (
        "import os, shutil\n_ = shutil.make_archive('z', 'zip', 'data')\n"
        "shutil.unpack_archive('z.zip', 'unzipped')\nos.listdir('unzipped')"
    ),
    "processor count": "import os\nos.cpu_count(), len(os.sched_getaffinity(0))",
    "memory seen": "import psutil\npsutil.virtual_memory().total",
    "named pipe": "import os\nos.mkfifo('pipe')\nimport stat\nstat.S_ISFIFO(os.stat('pipe').st_mode)",
    "processes of joblib": (
        "from joblib import Parallel, delayed\nParallel(n_jobs=2)(delayed(abs)(n) for n in (-1, -2))"
    ),
    "a file only its owner may read": "open('private.csv').read()",
    "tables that are assigned to": "import pandas as pd\ndf.iloc[0, 0] = 9\ndf['a'].tolist()",
    "magics": "%timeit -n1 -r1 -q -o pass\n_ = get_ipython().run_line_magic('pwd', '')\n_",
    "locale": "import locale, sys\n(sys.getfilesystemencoding(), locale.getpreferredencoding())",
}


def run(executor, code):
    last = list(executor.run(code))[-1]
    assert last.status == "ok", f"{last.error_type}: {last.error}\n{last.logs}\n{last.traceback}"
    return decode(last.value)


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    work = tmp_path_factory.mktemp("work")
    (work / "data").mkdir(parents=True)
    (work / "data" / "sales.csv").write_text("amount\n1\n2\n")
    (work / "notes.txt").write_text("some ")
    (work / "old.txt").write_text("old")
    (work / "private.csv").write_text("a\n1\n")
    (work / "private.csv").chmod(0o600)
    (work / "own_module.py").write_text("VALUE = 11\n")
    return work


@pytest.fixture(scope="module")
def results(folder):
    """What each case gave boxed, and then plain, in the same folder: the box leaves it as it was."""
    before = files(folder)
    told = []
    for box in (True, False):
        executor = KernelExecutor(timeout_seconds=120, cwd=folder, box=box)
        executor.send_variables({"df": pd.DataFrame({"a": [1, 2, 3]})})
        told.append({name: list(executor.run(code))[-1] for name, code in CASES.items()})
        executor.cleanup()
        if box:
            assert files(folder) == before  # the overlay has what was written
    return told


@pytest.mark.parametrize("name", CASES)
def test_the_ordinary_is_the_same_in_the_box(name, results):
    boxed, plain = (each[name] for each in results)
    assert (boxed.status, boxed.error, boxed.traceback) == ("ok", None, "")
    assert decode(boxed.value) == decode(plain.value)


def test_a_writable_mount_is_written_through(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    executor = KernelExecutor(cwd=tmp_path, mounts=[f"{out}:rw"])
    last = list(executor.run(f"open({str(out / 'f.txt')!r}, 'w').write('kept')"))[-1]
    executor.cleanup()
    assert last.status == "ok", last.error
    assert (out / "f.txt").read_text() == "kept"
    assert (out / "f.txt").stat().st_uid == os.getuid()


def test_a_mount_is_read_only_unless_told(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "in.txt").write_text("seen")
    executor = KernelExecutor(cwd=tmp_path, mounts=[other])
    assert decode(list(executor.run(f"open({str(other / 'in.txt')!r}).read()"))[-1].value) == "seen"
    assert "Read-only" in list(executor.run(f"open({str(other / 'new')!r}, 'w')"))[-1].error
    executor.cleanup()


def test_a_package_installed_as_editable_is_there(tmp_path):
    package = tmp_path / "project" / "mine"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("WORD = 'editable'\n")
    (tmp_path / "project" / ".env").write_text("SECRET")
    python = tmp_path / "environment" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", python.parents[1]], check=True)
    (packages,) = python.parents[1].glob("lib/*/site-packages")
    (packages / "mine.pth").write_text(f"{package.parent}\n{os.path.dirname(os.path.dirname(pd.__file__))}\n")
    executor = KernelExecutor(python=python, cwd=tmp_path / "environment")
    assert run(executor, "import mine, os\nmine.WORD, os.listdir(os.path.dirname(os.path.dirname(mine.__file__)))") == (
        "editable",
        ["mine"],
    )
    executor.cleanup()


def environment(folder, maker=sys.executable):
    """The interpreter of a new virtual environment, with the packages that this one has."""
    subprocess.run([maker, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/*/site-packages")
    (packages / "others.pth").write_text(f"{os.path.dirname(os.path.dirname(pd.__file__))}\n")
    return folder / "bin" / "python"


def test_an_environment_made_by_way_of_a_link_to_its_interpreter_works(tmp_path):
    link = tmp_path / "links" / "python"
    link.parent.mkdir()
    link.symlink_to(os.path.realpath(sys.executable))
    python = environment(tmp_path / "environment", link)
    assert os.path.realpath(link) in map(os.path.realpath, python.parent.iterdir())
    (tmp_path / "work").mkdir()
    executor = KernelExecutor(python=python, cwd=tmp_path / "work")
    assert run(executor, "import sys\nsys.base_prefix") == sys.base_prefix
    executor.cleanup()


def test_an_interpreter_with_an_old_ipykernel_is_told_what_it_needs(tmp_path):
    python = environment(tmp_path / "environment")
    (packages,) = (tmp_path / "environment").glob("lib/*/site-packages")
    (packages / "old.pth").write_text("import ipykernel._version as its; its.version_info = (7, 2, 0)\n")
    (tmp_path / "work").mkdir()
    executor = KernelExecutor(python=python, cwd=tmp_path / "work")
    with pytest.raises(ExecutorError, match=r"it needs ipykernel 7[.]3 or newer, and its Python has"):
        executor("1")
    executor.cleanup()


def test_an_interpreter_is_found_that_was_called_by_way_of_the_folder_above(tmp_path):
    python = environment(tmp_path / "environment")
    for name in ("there", "work"):
        (tmp_path / name).mkdir()
    executor = KernelExecutor(python=f"{tmp_path}/there/../environment/bin/python", cwd=tmp_path / "work")
    assert run(executor, "import sys\nsys.executable") == str(python)
    executor.cleanup()


PUT_ANOTHER_THERE = """\
import os, shutil
for path in {paths}:
    try: os.rename(path, path + '-old'); shutil.copytree(path + '-old', path, symlinks=True); print('moved', path)
    except OSError as error: print(error.strerror, path)
    try: open(path + '/new', 'w').close()
    except OSError as error: print(error.strerror, path)
open('result.txt', 'w').write('kept')
"""


@pytest.mark.parametrize("within", [".venv", "tools/env", "."])
def test_an_interpreter_in_a_writable_mount_stays_what_it_is(tmp_path, within):
    project = tmp_path / "project"
    python = environment(project / within)
    executor = KernelExecutor(python=python, cwd=project, mounts=[f"{project}:rw"])
    paths = [".venv", "tools", "tools/env", "bin", "lib"]
    there = [path for path in paths if (project / path).is_dir()]
    out = executor(PUT_ANOTHER_THERE.format(paths=there)).logs
    executor.cleanup()
    assert "moved" not in out and out.count("Device or resource busy") == len(there)
    assert out.count("Read-only file system") == len([path for path in there if path != "tools"])
    assert (project / "result.txt").read_text() == "kept"


def test_a_link_to_the_interpreter_that_the_child_could_change_is_refused(tmp_path):
    python = environment(tmp_path / "made")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "env").symlink_to(tmp_path / "made")
    with pytest.raises(ConfigError, match=r"shared:rw would let the child lead .*shared/env elsewhere"):
        KernelExecutor(python=tmp_path / "shared/env/bin/python", cwd=tmp_path, mounts=[f"{tmp_path}/shared:rw"])("1")
    executor = KernelExecutor(python=python, cwd=tmp_path, mounts=[f"{tmp_path}/shared:rw"])
    assert run(executor, "1 + 1") == 2
    executor.cleanup()


@pytest.mark.parametrize("also", [".venv", ".venv/bin"])
def test_an_environment_that_is_a_writable_mount_itself_can_be_written_no_more_than_in_one(tmp_path, also):
    python = environment(tmp_path / ".venv")
    executor = KernelExecutor(python=python, cwd=tmp_path, mounts=[f"{tmp_path}:rw", f"{tmp_path}/{also}:rw"])
    if also == ".venv":
        out = executor(PUT_ANOTHER_THERE.format(paths=[".venv/bin", ".venv/lib"])).logs
        assert "moved" not in out and out.count("Read-only file system") == 2
    else:
        with pytest.raises(ConfigError, match=r"bin:rw would let the child put another .*python.* there"):
            executor("1")
    executor.cleanup()


def test_what_the_box_itself_puts_in_the_folder_is_not_told_as_made(tmp_path):
    folder = tmp_path / "work"
    (folder / ".links").mkdir(parents=True)
    (folder / ".links" / "python").symlink_to(os.path.realpath(sys.executable))
    python = environment(tmp_path / "environment", folder / ".links" / "python")
    (folder / ".venv").symlink_to(tmp_path / "environment")
    executor = KernelExecutor(python=folder / ".venv/bin" / python.name, cwd=folder)
    assert not [event for event in executor.run("1") if isinstance(event, FilesMade)]
    (told,) = [event for event in executor.run("open('new', 'w').close()") if isinstance(event, FilesMade)]
    assert [each["path"] for each in told.files] == ["new"]
    executor.cleanup()


def replace(path, text):
    """Write a file anew, as editors do."""
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").rename(path)


@pytest.fixture(params=[hidden.SETTLED_SECONDS, 0.02], ids=["lately changed", "settled"])
def looks(request, monkeypatch):
    """Looks at a folder that changed lately, which is read again each time, and at one that is read when it changes."""
    monkeypatch.setattr(hidden, "SETTLED_SECONDS", request.param)


@pytest.mark.usefixtures("looks")
@pytest.mark.parametrize("box", [True, False], ids=["boxed", "plain"])
def test_what_is_changed_in_the_folder_meanwhile_is_seen(tmp_path, box):
    """By the user between two actions, and by a tool in the middle of one: overlayfs would not notice by itself."""
    folder = tmp_path / "work"
    (folder / "sub").mkdir(parents=True)

    def change(times: int) -> None:
        replace(folder / "data.csv", f"new {times}")
        replace(folder / "sub" / "deep.csv", f"deep {times}")
        (folder / f"made {times}").write_text("")
        (folder / "gone").unlink()

    look = (
        "def look(): return (open('data.csv').read(), open('sub/deep.csv').read(), os.path.exists('made 1'), "
        "os.path.exists('made 2'), os.path.exists('gone'))"
    )
    (folder / "data.csv").write_text("old")
    (folder / "sub" / "deep.csv").write_text("old")
    (folder / "gone").write_text("")

    def change_and_fail() -> None:
        replace(folder / "data.csv", "written by one that failed")
        raise ValueError("too late")

    executor = KernelExecutor(cwd=folder, box=box)
    executor.send_tools({"change": change, "change_and_fail": change_and_fail})
    try:
        assert run(executor, f"import os\n{look}\nlook()") == ("old", "old", False, False, True)
        change(1)
        assert run(executor, "look()") == ("new 1", "deep 1", True, False, False)
        (folder / "gone").write_text("")
        assert run(executor, "os.path.exists('gone')") is True
        assert run(executor, "change(2)\nlook()") == ("new 2", "deep 2", True, True, False)
        failing = "open('data.csv').read()\ntry: change_and_fail()\nexcept ValueError: pass\nopen('data.csv').read()"
        assert run(executor, failing) == "written by one that failed"
        if box:
            assert run(executor, "open('data.csv', 'w').write('the child\\'s')") == 11
            replace(folder / "data.csv", "newest")
            assert run(executor, "open('data.csv').read()") == "the child's"  # its own changes stay above
    finally:
        executor.cleanup()


@pytest.fixture
def looking(tmp_path, looks):
    """A boxed child that has looked through its folder, in which there are an open one and one that is hidden."""
    folder = tmp_path / "work"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "table.csv").touch()
    (folder / ".hidden").mkdir()
    executor = KernelExecutor(60, cwd=folder, box=True)
    executor.send_tools({"leave_key": lambda: (folder / "id_rsa").write_text("secret")})
    seen = "sorted(os.path.join(base, name) for base, _, names in os.walk('.') for name in names)"
    run(executor, f"import os\ndef seen(): return {seen}\nseen()")
    yield folder, executor
    executor.cleanup()


def test_what_is_to_be_hidden_is_so_when_it_came_later(looking):
    folder, executor = looking
    (folder / "new" / "deep").mkdir(parents=True)
    names = [".env", "sub/key.pem", "new/.netrc", "new/deep/credentials.json", ".hidden/more", "secrets/plain.txt"]
    (folder / "secrets").mkdir()
    for name in [*names, "seen.csv", "new/deep/seen.csv"]:
        (folder / name).write_text("secret")
    ordinary = ["./new/deep/seen.csv", "./seen.csv", "./sub/table.csv"]
    assert run(executor, "seen()") == ordinary
    assert run(executor, f"[name for name in {names} if os.path.exists(name)]") == []
    assert run(executor, "leave_key()\nseen()") == ordinary
    (folder / "hidden").mkdir()
    (folder / "hidden" / ".env").write_text("secret")  # in a folder that has become another kind of thing
    (folder / ".env").unlink()
    (folder / ".env").mkdir()
    (folder / ".env" / "id_rsa").write_text("secret")
    assert run(executor, "seen()") == ordinary


def test_what_is_to_be_hidden_is_so_with_the_next_action_where_looking_takes_long(looking):
    folder, executor = looking
    (folder / "many").mkdir()
    for number in range(20_000):
        (folder / "many" / str(number)).touch()
    assert run(executor, "len(os.listdir('many'))") == 20_000
    (folder / ".env").write_text("secret")
    assert run(executor, "os.path.exists('.env')") is False


def test_a_box_that_was_late_once_hides_what_comes_afterwards(looking):
    folder, executor = looking
    outside = executor._client.child.pid
    os.kill(outside, signal.SIGSTOP)
    (folder / "new.csv").touch()
    assert run(executor, "kept = 5") == 5
    os.kill(outside, signal.SIGCONT)
    (folder / ".env").write_text("secret")
    assert run(executor, "kept, seen()") == (5, ["./new.csv", "./sub/table.csv"])


def test_while_a_box_does_not_say_that_a_file_is_hidden_no_action_runs_in_it(looking, monkeypatch):
    """Nor if an interrupt ended the first wait for that."""
    folder, executor = looking
    child = executor._client.child
    os.kill(child.pid, signal.SIGSTOP)
    (folder / ".env").write_text("secret")
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    with pytest.raises(KeyboardInterrupt):
        child.refresh(action=True)
    signal.signal(signal.SIGALRM, before)
    monkeypatch.setattr("smol_kernel.executors.launchers.box.SURE_SECONDS", 0.1)
    events = list(executor.run("print(open('.env').read())"))
    assert "secret" not in str(events)
    assert events[-1].status == "died"
    assert "could not be hidden from it: the box does not answer" in events[-1].error


def test_rights_that_are_given_meanwhile_are_had(looking):
    folder, executor = looking
    closed = folder / "sub" / "table.csv"
    closed.chmod(0)
    trying = "try: text = open('sub/table.csv').read()\nexcept PermissionError: text = None\ntext"
    assert run(executor, trying) in (None, "")  # root of a box of its own may read it
    closed.chmod(0o644)
    for _ in range(1_000):
        if run(executor, trying) == "":
            return
    raise AssertionError("the child still may not read it")


def test_what_comes_into_a_folder_that_was_moved_under_the_child_is_not_seen(looking):
    """A process that works there, or holds it open, is in it still, and no mask is."""
    folder, executor = looking
    (folder / "sub" / ".old").touch()
    assert run(executor, "os.chdir('sub')\nkept = 5\nos.listdir('.')") == ["table.csv"]
    (folder / "sub").rename(folder / "moved")
    assert run(executor, "kept") == 5  # what is hidden in it was so before
    (folder / "moved" / "deep").mkdir()
    (folder / "moved" / "deep" / "id_rsa").write_text("secret")
    *_, ended = executor.run("print(open('deep/id_rsa').read())")
    assert ended.status == "died" and "it lies in a folder that was moved" in ended.error
    assert "secret" not in ended.logs
    assert run(executor, "import os\nsorted(os.listdir('moved/deep'))") == []


def test_in_a_folder_that_was_moved_and_that_nobody_is_in_names_come_as_ever(looking):
    """Of editors and notebooks."""
    folder, executor = looking
    assert run(executor, "kept = 5\nos.listdir('sub')") == ["table.csv"]
    (folder / "sub").rename(folder / "moved")
    (folder / "moved" / ".ipynb_checkpoints").mkdir()
    assert run(executor, "kept, os.listdir('moved')") == (5, ["table.csv"])
    run(executor, "os.chdir('moved')")
    (folder / "moved").rename(folder / "again")
    (folder / "again" / ".swp").touch()
    *_, ended = executor.run("kept")
    assert ended.status == "died"


def test_another_folder_of_the_same_number_is_none_that_was_moved(looking):
    folder, executor = looking
    if not identity(str(folder))[2]:
        pytest.skip("this file system does not tell when a folder was made")
    for _ in range(50):  # a file system may give the number of one that is gone to the next
        (folder / "new").mkdir()
        run(executor, "os.listdir('.')")
        (folder / "new").rmdir()
        (folder / "other").mkdir()
        (folder / "other" / ".env").write_text("secret")
        assert run(executor, "os.listdir('other')") == []
        (folder / "other" / ".env").unlink()
        (folder / "other").rmdir()


def test_what_is_to_be_hidden_in_other_folders_of_the_user_s_is_empty(tmp_path, monkeypatch, looks):
    packages, folder = tmp_path / "packages", tmp_path / "work"
    (packages / "mine").mkdir(parents=True)
    folder.mkdir()
    (packages / "mine" / "__init__.py").write_text("N = 5")
    monkeypatch.setenv("PYTHONPATH", str(packages))
    executor = KernelExecutor(60, cwd=folder, box=True)
    try:
        assert run(executor, "import mine\nmine.N") == 5
        names = [str(packages / ".env"), str(packages / "mine" / "secrets.yaml")]
        for name in names:
            Path(name).write_text("secret")
        (packages / "mine" / "more.py").write_text("M = 6")
        assert run(executor, f"[open(name).read() for name in {names!r}]") == ["", ""]
        assert run(executor, "import mine.more\nmine.more.M") == 6
    finally:
        executor.cleanup()


SET_ID = """
import ctypes, glob, os, stat, struct
libc, place = ctypes.CDLL(None, use_errno=True), PLACE + '/x'
open(place, 'w').close(); fd, folder = os.open(place, os.O_RDWR), os.open(PLACE, os.O_RDONLY)
def tried(f, *words, **options):
    try: f(*words, **options)
    except OSError: pass
for mode in (0o4755, 0o2755, 0o6755):
    tried(os.chmod, place, mode); tried(os.fchmod, fd, mode); tried(os.chmod, 'x', mode, dir_fd=folder)
    libc.syscall(452, -100, place.encode(), mode, 0)
    how = struct.pack('QQQ', os.O_CREAT | os.O_WRONLY, mode, 0)
    libc.syscall(437, -100, (place + '2').encode(), how, len(how))
    tried(os.open, place + '3', os.O_CREAT | os.O_WRONLY, mode); tried(os.mknod, place + '4', mode | stat.S_IFREG)
    tried(os.mkdir, place + '5', mode)
    if os.uname().machine == 'x86_64':
        libc.syscall(85, (place + '6').encode(), mode); libc.syscall(2, (place + '7').encode(), os.O_CREAT, mode)
os.chmod(place, os.stat(place).st_mode & 0o6000 | 0o1700); os.mkdir(place + '8', 0o755)
sorted(oct(os.stat(each).st_mode & 0o6000) for each in glob.glob(place + '*') if os.stat(each).st_mode & 0o6000)
"""


def test_a_file_in_a_writable_mount_runs_as_nobody_else(tmp_path):
    """It would on the host. What a program copies within the box may have any mode: there it means nothing."""
    folder, mount = tmp_path / "work", tmp_path / "mount"
    folder.mkdir()
    mount.mkdir()
    for mounts, place, some in (([f"{mount}:rw"], mount, False), ([], "/tmp", True)):
        executor = KernelExecutor(60, cwd=folder, box=True, mounts=mounts)
        try:
            found = run(executor, SET_ID.replace("PLACE", repr(str(place))))
            assert bool(found) is some
        finally:
            executor.cleanup()
    assert {each.stat().st_mode & 0o6000 for each in mount.iterdir()} == {0}
    assert (mount / "x").stat().st_mode & 0o7777 == 0o1700


def test_variables_that_are_named_like_secrets_stay_outside(tmp_path, monkeypatch):
    given = {"LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    secret = {"LC_API_TOKEN": "s", "POLARS_CLOUD_CLIENT_SECRET": "s", "ARROW_X_KEY": "s", "OPENAI_API_KEY": "s"}
    for name, text in {**given, **secret}.items():
        monkeypatch.setenv(name, text)
    executor = KernelExecutor(60, cwd=tmp_path, box=True)
    names = [*given, *secret]
    assert run(executor, f"import os\n[name for name in {names!r} if name in os.environ]") == list(given)
    executor.cleanup()


MOUNTED = """
import os, subprocess, sys
from smol_kernel.executors.kernel import KernelExecutor
subprocess.run(["mount", "-t", "tmpfs", "none", "da ta"], check=True)
open("da ta/seen", "w").close()
look = "import os\\nsorted(os.path.join(base, name) for base, _, names in os.walk('.') for name in names)"
for mounts in ([], ["da ta"]):
    executor = KernelExecutor(60, mounts=mounts)
    said = list(executor.run(look))
    print([getattr(event, "text", "") for event in said if "file system of its own" in getattr(event, "text", "")])
    print(said[-1].value)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="to mount takes root")
def test_a_file_system_in_the_folder_is_shown_where_it_is_given_alone(tmp_path):
    """Never what lies below it."""
    (tmp_path / "da ta").mkdir()
    (tmp_path / "da ta" / "id_rsa").write_text("secret")
    (tmp_path / "da ta" / "covered").touch()
    command = ["unshare", "-m", sys.executable, "-c", MOUNTED]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    notice = f"{tmp_path}/da ta is a file system of its own: it is shown to the child only if it is given as a mount."
    assert told.stdout.splitlines() == [str([notice]), "[]", "[]", "['./da ta/seen']"]


def test_what_is_to_be_hidden_in_a_folder_that_the_child_is_in_is_empty(looking):
    """Such a folder keeps its names for the child; what they name is covered."""
    folder, executor = looking
    assert run(executor, "os.chdir('sub')\nheld = os.open('.', os.O_RDONLY)\nos.listdir(held)") == ["table.csv"]
    (folder / "sub" / ".env").write_text("secret")
    (folder / "sub" / "secrets").mkdir()
    (folder / "sub" / "secrets" / "plain.txt").write_text("secret")
    (folder / "sub" / "table.csv").write_text("new")
    assert run(executor, "[open('.env').read(), os.listdir('secrets'), open('table.csv').read()]") == ["", [], "new"]
    assert run(executor, "os.read(os.open('.env', os.O_RDONLY, dir_fd=held), 100)") == b""


def test_a_child_from_which_nothing_can_be_hidden_any_more_is_ended(looking):
    """It has used up all the names of its file system, which the layer that hides needs as well."""
    folder, executor = looking
    filling = """
    import itertools, threading
    def fill():
        for n in itertools.count():
            try:
                os.symlink("x", f"/tmp/{n}")
            except OSError as error:
                full.append(error.errno)
                full_event.set()
    full, full_event = [], threading.Event()
    threading.Thread(target=fill, daemon=True).start()  # it goes on, in case that a name becomes free
    full_event.wait()
    full[0]
    """
    assert run(executor, textwrap.dedent(filling)) == errno.ENOSPC
    (folder / ".env").write_text("secret")
    events = list(executor.run("open('.env').read()"))
    assert "secret" not in str(events)
    assert events[-1].status == "died"
    assert "could not be hidden from it: No space left on device" in events[-1].error
    assert run(executor, "import os\nos.path.exists('.env')") is False


def test_the_list_of_fonts_is_copied_into_the_home_but_no_link_to_something_else(tmp_path, monkeypatch):
    lists = tmp_path / "cache/matplotlib"
    lists.mkdir(parents=True)
    (lists / "fontlist-v1.json").write_text("[1]")
    (tmp_path / "other").write_text("[2]")
    (lists / "fontlist-v2.json").symlink_to(tmp_path / "other")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    executor = KernelExecutor(60, cwd=lists, box=True)
    look = "import os\nfolder = os.path.expanduser('~/.cache/matplotlib')\n"
    look += "[(name, open(f'{folder}/{name}').read()) for name in os.listdir(folder)]"
    assert run(executor, look) == [("fontlist-v1.json", "[1]")]
    executor.cleanup()
