"""What an error says of the box: on the errors of a real boxed child, and on those of libraries that are not there."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import textwrap

import pytest

from smol_kernel.events import ActionFinished
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.launchers.hints import hint, hint_of_death
from smol_kernel.executors.launchers.settings import BoxSettings, Limits, Mount

LIMITS = {
    "memory": "700 MiB",
    "disk": "64 MiB",
    "file_size": "32 MiB",
    "processes": 100,
    "open_files": 256,
    "cpu_seconds": 3_600,
}
BOX = BoxSettings(limits=Limits(700 << 20, 64 << 20, 32 << 20, 100, 256, 3_600))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    (folder / ".env").write_text("KEY=1")
    (folder / "inside").mkdir()
    for name, leads in (("data", "../big"), ("again", "inside"), (".kept", "../kept")):
        (folder / name).symlink_to(leads)
    return folder


@pytest.fixture(scope="module")
def child(folder):
    executor = KernelExecutor(cwd=folder, box=True, limits=LIMITS)
    list(executor.run("import os, socket, subprocess, threading"))
    yield executor
    executor.cleanup()


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("b = bytearray(1 << 30)", "at most 700 MiB of data in memory"),
        ("open('/tmp/one', 'wb').write(bytes(40 << 20))", "a file may have at most 32 MiB"),
        ("for n in range(4): open(f'/tmp/{n}', 'wb').write(bytes(20 << 20))", "may take 64 MiB together"),
        ("held = [socket.socketpair() for _ in range(300)]", "at most 256 open files"),
        (
            "done = threading.Event()\ntry:\n    for _ in range(200): threading.Thread(target=done.wait).start()\n"
            "finally:\n    done.set()",
            "at most 100 processes and threads",
        ),
        ("open('/usr/lib/new', 'w')", "the working folder, the home folder, /tmp"),
        ("socket.create_connection(('192.0.2.1', 80))", "no network"),
        ("socket.getaddrinfo('example.org', 80)", "--allow-host NAME"),
        ("socket.create_connection(('127.0.0.1', 9))", "127.0.0.1 is the box itself"),
        ("os.chroot('/tmp')", "refuses some system calls"),
        ("subprocess.run('ls', shell=True)", "no shell and no program but Python"),
        ("subprocess.run(['git', 'status'])", "no shell and no program but Python"),
        ("!ls", "no shell and no program but Python"),
        ("%pip install x", "no shell and no program but Python"),
        ("found = !ls", "no shell and no program but Python"),
        ("open('.env')", "Hidden files"),
        ("open('../other.csv')", "--mount PATH"),
        ("open('/srv/data/big.csv')", "--mount PATH"),
        ("open('data/d.csv')", "leads elsewhere"),
        ("open(os.path.abspath('again/../data/d.csv'))", "leads elsewhere"),
        ("open('.kept/d.csv')", "Hidden files"),
        ("open('again/nothing.csv')", None),
        ("open('nothing.csv')", None),
        ("1 / 0", None),
    ],
)
def test_errors_of_a_boxed_child(child, folder, code, told):
    try:
        ended = [event for event in child.run(code) if isinstance(event, ActionFinished)][-1]
        assert ended.status == "error"
        found = hint(ended.error_type, ended.error, BOX, str(folder))
        assert told in found if told else found is None
    finally:
        list(
            child.run(
                "held = b = None\nfor name in os.listdir('/tmp'):\n    if name[0] != '.': os.unlink('/tmp/' + name)"
            )
        )


def test_where_this_machine_grants_less_than_the_box_that_is_told():
    script = """
        import resource
        for number, most in ((resource.RLIMIT_AS, 3 << 30), (resource.RLIMIT_FSIZE, 300 << 10)):
            resource.setrlimit(number, (most, most))
        from smol_kernel.executors.kernel import KernelExecutor
        from smol_kernel.executors.probe import probe
        from smol_kernel.serve.cli.doctor import limits_in_words
        executor = KernelExecutor(box=True, limits={"memory": "8 GiB", "open_files": 64})
        try:
            for code in ("b = bytearray(4 << 30)", "open('/tmp/one', 'wb').write(bytes(400_000))"):
                print(list(executor.run(code))[-1].traceback.splitlines()[-1])
        finally:
            executor.cleanup()
        print(limits_in_words(probe().limits))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    memory, file, limits = done.stdout.splitlines()
    assert "at most 3 GiB of data in memory (this machine's ulimit -v)" in memory
    assert memory.endswith("or ask the user to raise this machine's ulimit -v.")
    assert "at most 300 KiB (this machine's ulimit -f)" in file and "limits=" not in file
    assert limits.startswith("3 GiB of memory in each process (this machine's ulimit -v), ")
    assert "300 KiB in one (this machine's ulimit -f), " in limits


def test_of_a_missing_module_it_is_told_where_to_look_and_not_whether_it_is_there(tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "features.py").write_text("here = 1")
    (tmp_path / "notebooks" / "linked.py").symlink_to("../src/features.py")
    script = """
        import sys
        from smol_kernel.executors.kernel import KernelExecutor
        def told(*codes, **options):
            executor = KernelExecutor(box=True, **options)
            try:
                for code in codes:
                    print((list(executor.run(code))[-1].traceback or "fine").splitlines()[-1])
            finally:
                executor.cleanup()
        told("import src", "import linked")
        told("import src", cwd="/tmp")
        sys.path.append("..")
        from src import features
        told("from src import features", "import nowhere", "import src.features", "import json.nowhere")
        told("from src import features", "import nowhere", mounts=[".."])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path / "notebooks", capture_output=True, text=True
    )
    before, linked, not_here, src, nowhere, features, part, *mounted = done.stdout.splitlines()
    assert before == "ModuleNotFoundError: No module named 'src'" and "works is not shown in the box" in not_here
    assert linked == src == nowhere == features and "--mount PATH" in src and str(tmp_path) not in done.stdout
    assert part.startswith("ModuleNotFoundError: No module named 'json.nowhere'")
    assert mounted == ["fine", "ModuleNotFoundError: No module named 'nowhere'"]


NO_NAME = "Failed to resolve 'a.example' ([Errno -3] Temporary failure in name resolution)"
TUNNEL = "HTTPSConnectionPool(host='a.example', port=443): ... OSError('Tunnel connection failed: 403 Forbidden')"


@pytest.mark.parametrize(
    ("kind", "message", "told"),
    [
        ("_ArrayMemoryError", "Unable to allocate 2.24 GiB for an array", "limit memory"),
        ("RuntimeError", "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ...", "limit memory"),
        ("OSError", "[Errno 12] Cannot allocate memory", "limit memory"),
        (
            "TerminatedWorkerError",
            "A worker process managed by the executor was unexpectedly terminated.",
            "limit memory",
        ),
        ("BlockingIOError", "[Errno 11] Resource temporarily unavailable", "If a process or thread was to be started"),
        ("BlockingIOError", "the stream has nothing", None),
        ("OperationalError", "disk I/O error", "limit file_size"),
        ("ConnectionError", NO_NAME, "no network"),
        ("URLError", "<urlopen error [Errno 101] Network is unreachable>", "no network"),
        ("ClientConnectorError", "Cannot connect to host 127.0.0.1:8 [Connection refused]", "the box itself"),
        ("OSError", "[Errno 97] Address family not supported by protocol", "system calls"),
        ("ComputeError", "No such file or directory (os error 2): /data/x.parquet", "--mount PATH"),
        ("FileNotFoundError", "[Errno 2] No such file or directory: 'keys/id_rsa'", "Hidden files"),
        ("FileNotFoundError", "[Errno 2] No such file or directory: '/work/sub/x.csv'", None),
        ("FileNotFoundError", "[Errno 2] No such file or directory: 'sub/../x.csv' -> 'y'", None),
        ("FileNotFoundError", "[Errno 2] No such file or directory: './out/plot.png'", None),
        ("FileNotFoundError", "[Errno 2] No such file or directory: '/bin/sh'", "no shell"),
        ("FileNotFoundError", "[Errno 2] No such file or directory: 'no\0path\udc80'", None),
        ("FileNotFoundError", None, None),
        ("KeyError", "'disk'", None),
        ("ValueError", "could not convert string to float", None),
        ("PermissionError", "[Errno 13] Permission denied: 'x'", None),
        ("TimeoutError", "timed out", None),
        (None, None, None),
    ],
)
def test_messages(kind, message, told):
    found = hint(kind, message, BOX, "/work")
    assert told in found if told else found is None


def test_what_is_allowed_is_told():
    some = BoxSettings(allow_hosts=("pypi.org", "*.example.org"), mounts=(Mount("/data/out", True), Mount("/data/in")))
    for kind, message in (("ConnectionError", NO_NAME), ("ProxyError", TUNNEL), ("ProxyError", "403 Forbidden")):
        found = hint(kind, message, some)
        assert "only pypi.org, *.example.org can be reached" in found and "a.example" not in found
    read_only = hint("OSError", "[Errno 30] Read-only file system: '/data/in/x'", some)
    assert "can be written: /data/out, the working folder" in read_only and "/data/in" not in read_only
    assert hint("FileNotFoundError", "[Errno 2] No such file or directory: '/data/in/x'", some, "/work") is None


def test_of_a_working_folder_that_is_not_shown_a_missing_file_tells():
    missing = "[Errno 2] No such file or directory: '{}'".format
    some = BoxSettings(mounts=(Mount("/opt/data"),))
    for path in ("sales.csv", "/opt/sales.csv"):
        assert "is not shown in the box" in hint("FileNotFoundError", missing(path), BOX, "/opt")
        assert hint("FileNotFoundError", missing(path), BOX, "/opt/project") != hint(
            "FileNotFoundError", missing(path), BOX, "/opt"
        )
    assert hint("FileNotFoundError", missing("/opt/data/sales.csv"), some, "/opt") is None
    assert hint("FileNotFoundError", missing("sales.csv"), BOX, "/opt/project") is None


def test_with_the_network_its_errors_are_not_the_box_s():
    full = BoxSettings(network="full")
    for message in (NO_NAME, "[Errno 101] Network is unreachable", "[Errno 111] Connection refused"):
        assert hint("ConnectionError", message, full) is None


def test_nothing_of_the_message_is_repeated():
    forged = "<b>ignore</b>"
    for text in (
        "No such file or directory: '{}'",
        "No such file or directory: '/{}/.env'",
        "Read-only file system: {}",
    ):
        assert forged not in (hint("OSError", text.format(forged), BOX, "/work") or "")
    assert hint("ModuleNotFoundError", f"No module named '{forged}'", BOX, "/work") is None


def test_a_long_message_is_no_burden():
    for text in (
        "No such file or directory " * 100_000,
        "No such file or directory: '" + "a/" * 1_000_000,
        ":" * 10**6,
    ):
        assert hint("Error", text, BOX, "/work") is None


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (128 + signal.SIGXCPU, "3,600 s of processor time"),
        (128 + signal.SIGKILL, "memory of this machine"),
        (-signal.SIGKILL, "memory of this machine"),
        (128 + signal.SIGBUS, "64 MiB together"),
        (128 + signal.SIGABRT, "700 MiB"),
        (128 + signal.SIGSYS, "system call"),
        (128 + signal.SIGSEGV, None),
        (0, None),
        (3, None),
        (None, None),
    ],
)
def test_deaths(code, told):
    found = hint_of_death(code, BOX)
    assert told in found if told else found is None


def test_who_used_up_the_processor_time_is_followed_by_a_fresh_child():
    executor = KernelExecutor(box=True, limits={"cpu_seconds": 4})
    try:
        ended = list(executor.run("kept = 1\nwhile True: pass"))[-1]
        assert isinstance(ended, ActionFinished)
        assert ended.status == "died"
        assert "4 s of processor time" in (ended.error or "")
        assert executor("'fresh', 'kept' in globals()").output == ("fresh", False)
    finally:
        executor.cleanup()


def test_a_death_for_the_memory_of_all():
    found = hint_of_death(128 + signal.SIGKILL, BOX, out_of_memory=True)
    assert "All processes of the box together" in found and "700 MiB" in found


def test_sentences_are_sentences():
    told = {
        hint(kind, message, BOX, "/work")
        for kind, message in (("MemoryError", ""), ("OSError", "No space left on device"), ("E", "File too large"))
    }
    for text in told:
        assert re.fullmatch(r"[A-Z].*\.", text) and "{" not in text.replace("limits={", "")
