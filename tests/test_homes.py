"""A user's home need not be a plain folder: where it is a link, and where none is known."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import smol_kernel
from smol_kernel.errors import JournalError
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.launchers.links import links_to
from smol_kernel.executors.values import decode
from smol_kernel.journal import Journal, default_path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the box of Linux")

NO_HOME = """
import os, pwd
def none(user):
    raise KeyError(user)
pwd.getpwuid = none
for name in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME", "JUPYTER_DATA_DIR", "XDG_DATA_HOME"):
    os.environ.pop(name, None)
"""


def told(program, cwd, **variables):
    variables = {**os.environ, "PYTHONPATH": str(Path(smol_kernel.__file__).parents[1]), **variables}
    return subprocess.check_output([sys.executable, "-c", program], cwd=cwd, env=variables, text=True).splitlines()


def test_without_a_home_a_child_sees_the_working_folder(tmp_path):
    (tmp_path / "data.csv").write_text("1")
    program = f"""
{NO_HOME}
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.values import decode
executor = KernelExecutor()
ended = list(executor.run("import os; open('data.csv').read(), os.getcwd(), os.path.expanduser('~')"))[-1]
print(decode(ended.value))
executor.cleanup()
"""
    assert told(program, tmp_path) == [str(("1", str(tmp_path), "/home/user"))]


def test_without_a_home_a_run_says_what_to_set(tmp_path):
    program = f"""
{NO_HOME}
import sys
from smol_kernel import CodeAgent, ScriptedModel
from smol_kernel.errors import JournalError
from smol_kernel.executors.probe import probe
from smol_kernel.models.cassette_requests import _folders
from smol_kernel.serve.cli.doctor import system
_folders(os.getcwd(), "/tmp")
probe(box=False)
print(system()["journal"]["trouble"])
def model():
    return ScriptedModel(["<code>\\nfinal_answer(1)\\n</code>"])
for journal in (None, "~/mine.sqlite"):
    try: CodeAgent(tools=[], model=model(), journal=journal).run("x")
    except JournalError as error: print(error)
with CodeAgent(tools=[], model=model(), journal="here.sqlite") as agent: print(agent.run("x"))
os.environ["SMOL_JOURNAL"] = "there.sqlite"
with CodeAgent(tools=[], model=model(), verbosity_level=0) as agent: print(agent.run("x"))
"""
    rest = "no home folder of this user is known. Set HOME, or SMOL_JOURNAL to the path of a file"
    said = told(program, tmp_path, SMOL_JOURNAL="")
    assert said[0] == said[1] == f"no journal can be kept: {rest}"
    assert said[2] == f"the journal '~/mine.sqlite' cannot be opened: {rest}"
    assert said[-1] == "1" and (tmp_path / "here.sqlite").exists() and (tmp_path / "there.sqlite").exists()
    assert not (tmp_path / "~").exists()


def test_the_user_s_names_lead_to_what_is_shown_where_home_is_a_link(tmp_path, monkeypatch):
    real = tmp_path / "nfs" / "u1"
    for name in ("work", "refs/.hidden", "private", "elsewhere"):
        (real / name).mkdir(parents=True)
    for path in ("work/data.csv", "refs/r.txt", "refs/.hidden/s.txt", "private/p.txt", "elsewhere/e.txt"):
        (real / path).write_text(path)
    home = tmp_path / "home"
    home.symlink_to("nfs/u1")
    (real / "far").symlink_to(tmp_path / "nfs" / "u1" / "elsewhere")
    (tmp_path / "by").symlink_to(tmp_path / "nfs")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PWD", str(home / "work"))
    monkeypatch.chdir(home / "work")
    mounts = ["~/refs", f"{tmp_path}/by/u1/refs/r.txt", f"{home}/far:rw"]
    executor = KernelExecutor(mounts=mounts)
    names = ["work/data.csv", "refs/r.txt", "far/e.txt", "private/p.txt", "../by/u1/refs/r.txt", "../by/u1/other"]
    program = f"""
import os
found = []
for path in {[f"{home}/{name}" for name in names]!r}:
    path = os.path.normpath(path)
    try: found.append(open(path).read())
    except OSError as error: found.append(error.strerror)
(found, os.path.realpath({str(home)!r}), sorted(os.listdir({str(home)!r})))
"""
    missing = "No such file or directory"
    values = decode(list(executor.run(program))[-1].value)
    assert values == (
        ["work/data.csv", "refs/r.txt", "elsewhere/e.txt", missing, "refs/r.txt", missing],
        str(real),
        ["elsewhere", "far", "refs", "work"],
    )
    for path in (
        f"{home}/work/none.csv",
        f"{home}/refs/none.csv",
    ):  # it is not for lack of a mount that it is not there
        assert "--mount" not in str(list(executor.run(f"open({path!r})"))[-1])
    assert "--mount" in str(list(executor.run(f"open('{home}/private/p.txt')"))[-1])
    executor.cleanup()
    assert sorted(os.listdir(real)) == ["elsewhere", "far", "private", "refs", "work"]
    assert sorted(os.listdir(real / "elsewhere")) == ["e.txt"]


def test_a_link_of_the_user_s_is_there_though_matplotlib_keeps_its_fonts_by_its_way(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    (tmp_path / "home").mkdir()
    for path in ("scratch/data/x.txt", "scratch/matplotlib/fontlist-v1.json"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text("seen")
    (tmp_path / "home" / ".cache").symlink_to(tmp_path / "scratch")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    executor = KernelExecutor(mounts=["~/.cache/data"], cwd=tmp_path / "work")
    code = "import os\nopen(os.path.expanduser('~/.cache/data/x.txt')).read()"
    assert decode(list(executor.run(code))[-1].value) == "seen"
    executor.cleanup()


def test_a_folder_that_was_named_by_way_of_a_link_has_that_name_beside_what_is_shown_there(tmp_path, monkeypatch):
    """In the box a folder is where the link would be, as something else is shown by its way."""
    real = tmp_path / "real"
    (real / "work").mkdir(parents=True)
    (real / "environment").symlink_to(sys.prefix)
    (tmp_path / "link").symlink_to(real)
    python = tmp_path / "link" / "environment" / "bin" / Path(sys.executable).name
    executor = KernelExecutor(python=python, cwd=tmp_path / "link" / "work")
    (real / "work" / "data.csv").write_text("seen")
    code = f"import os\nopen('{tmp_path}/link/work/data.csv').read(), os.getcwd()"
    assert decode(list(executor.run(code))[-1].value) == ("seen", f"{real}/work")
    executor.cleanup()


def test_links_on_the_way_are_found_at_their_own_places(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    for link, leads in (("one", "a"), ("a/two", "../three"), ("three", f"{tmp_path}/a/b"), ("loop", "loop")):
        (tmp_path / link).symlink_to(leads)
    found = {f"{tmp_path}/one": "a", f"{tmp_path}/a/two": "../three", f"{tmp_path}/three": f"{tmp_path}/a/b"}
    assert links_to(f"{tmp_path}/one/./two/../b/none") == (f"{tmp_path}/a/b/none", found)
    assert links_to("/") == ("/", {})
    assert links_to(f"{tmp_path}/loop/x")[1] == {f"{tmp_path}/loop": "loop"}


@pytest.mark.parametrize("given", ["~/mine.sqlite", "~nobody-0123456789/mine.sqlite"])
def test_a_journal_in_a_home_that_is_not_known_is_no_file_of_that_name(monkeypatch, tmp_path, given):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMOL_JOURNAL", given)
    if given.startswith("~/"):
        assert default_path() == Path.home() / "mine.sqlite"
        return
    with pytest.raises(JournalError, match="no home folder"):
        default_path()
    with pytest.raises(JournalError, match="no home folder"):
        Journal(given)
