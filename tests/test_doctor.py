"""`smol doctor`: what it finds of a box that stands, of a child without one, and where there can be none."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from no_namespaces import COMMAND, run_without_namespaces

from smol_kernel.errors import ExecutorError
from smol_kernel.executors.launchers.plain import short_folder
from smol_kernel.executors.probe import here, probe
from smol_kernel.journal import Journal
from smol_kernel.serve.cli import main
from smol_kernel.serve.cli.doctor import examine, journal_trouble, lines

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the box of Linux")

ORDINARY = {"folder", "python"}
"""What has to work in a box and outside."""


@pytest.fixture(scope="module")
def boxed():
    return probe()


@pytest.fixture(scope="module")
def unboxed():
    return probe(box=False)


def test_a_box_holds_everything_that_is_tried(boxed):
    assert [attempt.told for attempt in boxed.attempts if not attempt.held] == []
    assert len(boxed.attempts) >= 12
    assert boxed.isolation == "box" and boxed.held
    assert all(limit > 0 for limit in boxed.limits.values()), boxed.limits


def test_the_same_without_a_box_gets_everywhere(unboxed):
    """Otherwise the attempts would show nothing."""
    held = {attempt.name for attempt in unboxed.attempts if attempt.held}
    assert held >= ORDINARY
    assert held <= ORDINARY | {"library"}  # not every user may change the Python
    assert unboxed.isolation == "none" and not unboxed.held


def test_nothing_of_it_stays(boxed, unboxed, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    probe(box=False)
    assert [path.name for path in tmp_path.rglob("smol-doctor*")] == []


def test_it_explains_a_box_that_stands(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("SMOL_JOURNAL", str(tmp_path / "there" / "journal.sqlite"))
    monkeypatch.setenv("SMOL_MODEL", "openai/some")
    monkeypatch.delenv("SMOL_BOX", raising=False)
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    told = ["✓ the agent's code can be boxed here", "✓ reads no file of your home", "✓ has no shell", "GiB"]
    for words in (
        *told,
        "faults of the kernel",
        "bubblewrap: ",
        sys.executable,
        "ipykernel",
        f"✓ journal: {tmp_path}",
        "openai/some",
    ):
        assert words in shown
    assert "✗" not in shown.partition("This system")[0]
    assert not (tmp_path / "there").exists(), "it makes nothing"


def test_it_says_where_runs_are_not_boxed_though_they_could_be(capsys, monkeypatch):
    monkeypatch.setenv("SMOL_BOX", "off")
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["box"]["available"] and not report["box"]["wanted"]
    assert all(each["held"] for each in report["tried"])
    main(["doctor"])
    assert "runs are NOT boxed" in capsys.readouterr().out


def test_without_namespaces_it_says_why_and_what_helps(tmp_path):
    done = run_without_namespaces(*COMMAND, "doctor", folder=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "✗ no box can be built here: user namespace" in done.stdout
    for words in (
        "max_user_namespaces=10000",
        "seccomp=unconfined",
        "--box off",
        "✗ user namespaces: most: 0",
        "Python",
    ):
        assert words in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    done = run_without_namespaces(*COMMAND, "doctor", "--json", folder=tmp_path)
    report = json.loads(done.stdout)
    assert report["box"]["available"] is False and report["tried"] == []
    assert "max_user_namespaces" in report["box"]["reason"]
    assert Journal().runs() == []


@pytest.mark.parametrize("step", ["namespaces", "user namespace"])
def test_numbers_of_the_kernel_do_not_speak_against_a_container_that_refuses(step):
    report = examine()
    assert "refused here" not in "\n".join(lines(report))
    report["box"] |= {"available": False, "reason": f"no box can be built here: {step}: Operation not permitted."}
    report["system"]["user namespaces"]["most"] = 96365
    assert "✗ user namespaces: most: 96365" in (told := "\n".join(lines(report))) and "; refused here" in told


def damaged(path):
    journal = Journal(path)
    journal.cut_off("")
    journal.close()
    path.write_bytes(path.read_bytes()[:-4096])


def newer(path):
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")


def beneath_a_file(path):
    path.parent.rmdir()
    path.parent.write_text("text")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (damaged, "reads as damaged"),
        (newer, "has schema 99, written by a newer version"),
        (lambda path: path.write_text("my notes\n" * 99), "is not a journal"),
        (Path.mkdir, "is no file"),
        (beneath_a_file, "cannot be made there: make its folder"),
        (lambda path: Journal(path).cut_off(""), None),
        (Path.touch, None),
        (lambda path: None, None),
    ],
    ids=["truncated", "newer", "a text", "a folder", "beneath a file", "a good one", "empty", "none yet"],
)
def test_a_journal_that_the_other_commands_refuse_is_not_passed(tmp_path, make, told):
    path = tmp_path / "there" / "journal.sqlite"
    path.parent.mkdir()
    make(path)
    before = path.is_file() and path.read_bytes()
    trouble = journal_trouble(path)
    assert (trouble is None) if told is None else (told in trouble)
    assert (path.is_file() and path.read_bytes()) == before


def test_a_home_that_is_full_does_not_keep_it_from_trying_the_box(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    full = ("bwrap", "--dev-bind", "/", "/", "--size", "4096", "--tmpfs", str(home), "--", "sh", "-c")
    done = subprocess.run(
        [*full, 'head -c 4096 /dev/zero > "$HOME/full"; exec "$@"', "-", sys.executable, *COMMAND, "doctor"],
        env={**os.environ, "HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "No space left" not in done.stderr
    assert "none of your home was tried" in done.stdout and "✓ reads no file of your home" not in done.stdout
    assert "✓ has a /tmp of its own" in done.stdout and done.returncode == 0


def test_a_folder_in_which_every_run_is_refused_is_not_passed(tmp_path):
    (tmp_path / "shared").mkdir()
    mounted = ["bwrap", "--unshare-user", "--dev-bind", "/", "/", "--tmpfs", str(tmp_path / "shared")]
    done = subprocess.run(
        [*mounted, "--chdir", str(tmp_path), sys.executable, *COMMAND, "doctor", "--json"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(done.stdout)
    assert done.returncode == 1 and all(each["held"] for each in report["tried"])
    assert f"{tmp_path}/shared is a file system of its own" in report["box"]["here"]["refused"]
    assert "✗ not in this folder: no box can be built here: mounts" in "\n".join(lines(report))


def test_without_proc_it_says_that_and_gives_its_report():
    done = subprocess.run(
        ["bwrap", "--unshare-user", "--dev-bind", "/", "/", "--tmpfs", "/proc", sys.executable, *COMMAND, "doctor"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "✗ no box can be built here: /proc is not mounted. Mount it, or, to run without one" in done.stdout
    assert "This system" in done.stdout


def test_a_folder_that_is_not_shown_is_told(monkeypatch):
    monkeypatch.chdir("/")
    refused, (notice,) = here()
    assert not refused and notice.startswith("The working folder / is not shown")


NO_FILES = ("sh", "-c", 'ulimit -f 0 && exec "$@"', "-")
"""Runs what follows where no file can be written to: to Python as on a read-only system."""
A_RUN = """
from smol_kernel import CodeAgent, ScriptedModel
from smol_kernel.errors import ExecutorError
for box in (True, False):
    model = ScriptedModel(["<code>\\nfinal_answer(41 + 1)\\n</code>"])
    agent = CodeAgent([], model, journal=False, executor_kwargs={"box": box})
    try:
        print(agent.run("t"))
    except ExecutorError as error:
        print(error)
    agent.cleanup()
"""
COMMANDS = {
    "doctor": [*COMMAND, "doctor"],
    "run": ["-c", A_RUN],
    "model": ["-c", "from smol_kernel.models.litellm import load; load()"],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_where_no_temporary_file_can_be_written_it_says_what_is_needed(command):
    done = subprocess.run(
        [*NO_FILES, sys.executable, *command],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = done.stdout + done.stderr
    if command is COMMANDS["model"]:
        assert "ModelError: LiteLLM cannot be imported ([Errno 2] No usable temporary directory" in said
    else:
        assert "no child kernel can be started: it needs a folder for temporary files" in said
        assert "Traceback" not in said
    assert "set TMPDIR to one" in said


@pytest.fixture
def refusing(monkeypatch):
    """A /tmp that cannot be written."""

    def refused(prefix, dir):
        assert dir == "/tmp"
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(tempfile, "mkdtemp", refused)


def test_where_the_folder_for_temporary_files_has_too_long_a_path_it_says_so(tmp_path, monkeypatch, refusing):
    long = tmp_path / ("long" * 30)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with pytest.raises(ExecutorError) as told:
        short_folder()
    assert f"the path of the folder for temporary files, {long}, is too long for sockets" in str(told.value)
    assert "/tmp cannot be written (Permission denied). Set TMPDIR to a writable folder with a path of" in str(
        told.value
    )
    assert list(long.iterdir()) == []


def test_where_the_folder_for_temporary_files_is_gone_and_no_other_there_it_says_so(tmp_path, monkeypatch, refusing):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(ExecutorError, match=r"/gone, is gone, and /tmp cannot be written \(Permission denied\)"):
        short_folder()
