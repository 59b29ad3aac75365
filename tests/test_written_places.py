"""What the host writes for the user goes where the user said, whatever a run put there: links, pipes, other folders."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading

import pytest

from smol_kernel.agents.code_agent import CodeAgent
from smol_kernel.errors import ConfigError
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.places import ANYWHERE, open_folder, open_place
from smol_kernel.journal import Journal
from smol_kernel.models.scripted import ScriptedModel
from smol_kernel.runs.exporting import export
from smol_kernel.runs.whole_file import write_whole
from smol_kernel.serve.cli import main, run
from smol_kernel.serve.cli.answer_file import AnswerFile


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    """The working folder; a folder `elsewhere` beside it, with a file, is what no run may reach."""
    monkeypatch.setenv("SMOL_JOURNAL", str(tmp_path / "journal.sqlite"))
    (tmp_path / "work").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/file").write_text("as it was")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture
def elsewhere(tmp_path):
    return tmp_path / "elsewhere"


@pytest.fixture
def play(monkeypatch):
    """Runs `smol run` with one action."""

    def play(code, *options):
        model = ScriptedModel([f"I do it.\n<code>\nimport os\n{code}\nfinal_answer('the answer')\n</code>"])
        monkeypatch.setattr(run, "model_of", lambda *_: model)
        return main(["run", "the task", *options])

    return play


def untouched(elsewhere):
    return os.listdir(elsewhere) == ["file"] and (elsewhere / "file").read_text() == "as it was"


# the answer


@pytest.mark.parametrize("before", [None, "what was there"])
@pytest.mark.parametrize("target", ["file", "new"])
def test_an_answer_is_not_written_through_a_link_that_the_run_made(play, work, elsewhere, before, target):
    if before is not None:
        (work / "answer.txt").write_text(before)
        (work / "answer.txt").chmod(0o640)
    code = f"""
if os.path.exists('answer.txt'):
    os.unlink('answer.txt')
os.symlink({str(elsewhere / target)!r}, 'answer.txt')
"""
    assert play(code, "--mount", ".:rw", "-o", "answer.txt") == 0
    assert untouched(elsewhere)
    assert not (work / "answer.txt").is_symlink()
    assert (work / "answer.txt").read_text() == "the answer\n"
    assert os.listdir(work) == ["answer.txt"]


def test_an_answer_is_not_written_into_a_folder_that_the_run_put_there(play, work, elsewhere, capsys):
    (work / "out").mkdir()
    code = f"os.rmdir('out')\nos.symlink({str(elsewhere)!r}, 'out')"
    assert play(code, "--mount", ".:rw", "-o", "out/answer.txt") == 1
    assert "a link on the way there lies where the agent's code can write" in capsys.readouterr().err
    assert untouched(elsewhere)


@pytest.mark.parametrize("before", [None, "what was there"])
def test_a_pipe_that_the_run_made_is_not_waited_for(play, work, before):
    if before is not None:
        (work / "answer.txt").write_text(before)
    code = "if os.path.exists('answer.txt'): os.unlink('answer.txt')\nos.mkfifo('answer.txt')"
    assert play(code, "--mount", ".:rw", "-o", "answer.txt") == 0
    assert (work / "answer.txt").is_file()
    assert (work / "answer.txt").read_text() == "the answer\n"


def test_a_link_of_the_users_leads_where_it_led_before_the_run(play, work, elsewhere):
    (work / "answer.txt").symlink_to(elsewhere / "mine.txt")
    (work / "mine").symlink_to(elsewhere)
    code = "for each in ('answer.txt', 'mine'): os.unlink(each); os.symlink('/etc', each)"
    assert play(code, "--mount", ".:rw", "-o", "answer.txt") == 0
    assert (elsewhere / "mine.txt").read_text() == "the answer\n"
    (elsewhere / "mine.txt").unlink()
    (work / "mine").unlink()
    (work / "mine").symlink_to("../elsewhere")
    assert play("os.unlink('mine'); os.symlink('/etc', 'mine')", "--mount", ".:rw", "-o", "mine/mine.json") == 0
    assert (elsewhere / "mine.json").read_text() == '"the answer"\n'
    assert play("", "--mount", ".:rw", "-o", "../elsewhere/../work/plain.txt") == 0
    assert (work / "plain.txt").read_text() == "the answer\n"


def test_a_pipe_of_the_users_gets_the_answer(play, work, capsys):
    os.mkfifo(work / "pipe")
    got = []
    reader = threading.Thread(target=lambda: got.append((work / "pipe").read_text()), daemon=True)
    reader.start()
    assert play("", "--mount", ".:rw", "-o", "pipe") == 0
    reader.join()
    assert got == ["the answer\n"]
    assert play("os.unlink('pipe')\nopen('pipe', 'w').close()", "--mount", ".:rw", "-o", "pipe") == 1
    assert "something else is in its place now" in capsys.readouterr().err
    assert (work / "pipe").read_text() == ""


def test_an_answer_goes_to_a_descriptor_that_was_handed_over(tmp_path):
    ends = os.pipe()
    try:
        AnswerFile(f"/dev/fd/{ends[1]}").write(b"the answer")
        assert os.read(ends[0], 100) == b"the answer"
    finally:
        for each in ends:
            os.close(each)


IN_PLACE = """
import os, sys
from pathlib import Path
from smol_kernel.serve.cli.answer_file import AnswerFile
if os.getuid() == 0:  # who can write anywhere
    os.setgid(65534)
    os.setuid(65534)
os.chdir(sys.argv[1])
Path("other").write_text("")
folder, file = Path("kept"), Path("kept/answer.txt")
folder.mkdir()
file.write_text("what was there before, and is longer")
folder.chmod(0o555)
given = AnswerFile("kept/answer.txt")
given.write(b"the answer")
assert file.read_text() == "the answer"
for put in (lambda: file.symlink_to("../other"), lambda: os.mkfifo(file)):
    folder.chmod(0o755)
    file.unlink()
    put()
    folder.chmod(0o555)
    try:
        given.write(b"the answer")
    except OSError as error:
        print(error)
folder.chmod(0o755)
assert Path("other").read_text() == ""
"""


def test_an_answer_is_written_in_place_where_nothing_can_be_made_beside_it():
    with tempfile.TemporaryDirectory() as folder:  # where others may look, too
        os.chmod(folder, 0o777)
        done = subprocess.run([sys.executable, "-c", IN_PLACE, folder], capture_output=True, text=True, check=False)
    assert (done.stderr, done.returncode) == ("", 0)
    link, pipe = done.stdout.splitlines()
    assert "symbolic links" in link and "No such device" in pipe


# files that are saved


def test_files_are_not_saved_through_a_link_that_the_run_made(tmp_path, elsewhere):
    (tmp_path / "mount").mkdir()
    executor = KernelExecutor(mounts=[f"{tmp_path / 'mount'}:rw"])
    link, inner = tmp_path / "mount/out", tmp_path / "mount/in"
    try:
        list(executor.run(f"import os; os.symlink({str(elsewhere)!r}, {str(link)!r}); os.mkdir({str(inner)!r})"))
        list(executor.run("open('a', 'w').close()"))
        for folder in (link, link / "below", tmp_path / "mount/../mount/out"):
            with pytest.raises(ConfigError, match="a link on the way there lies where the agent's code can write"):
                executor.save_files(folder=folder)
        assert untouched(elsewhere)
        assert executor.save_files(folder=inner / "new") == [inner / "new/a"]
        (tmp_path / "users").symlink_to(elsewhere)
        assert executor.save_files(folder=tmp_path / "users") == [tmp_path / "users/a"]
        assert (elsewhere / "a").exists()
        assert executor.save_files() == [tmp_path / "work/a"]
    finally:
        executor.cleanup()


def test_files_are_saved_where_the_folder_was_before_the_run(play, tmp_path, elsewhere, capsys):
    (tmp_path / "mount").mkdir()
    (tmp_path / "mount/users").symlink_to(elsewhere)
    (tmp_path / "mount/plain").mkdir()
    code = f"""
open('a', 'w').close()
os.chdir({str(tmp_path / "mount")!r})
os.unlink('users'); os.symlink('/etc', 'users')
os.rmdir('plain'); os.symlink('/etc', 'plain')
"""
    mount = ["--mount", f"{tmp_path / 'mount'}:rw"]
    assert play(code, *mount, "--save-files", "../mount/users") == 0
    assert sorted(os.listdir(elsewhere)) == ["a", "file"]
    (tmp_path / "mount/plain").unlink()
    (tmp_path / "mount/plain").mkdir()
    assert play(code, *mount, "--save-files", "../mount/plain") == 1
    assert "a link on the way there lies where the agent's code can write" in capsys.readouterr().err


# exports


def test_an_export_follows_no_link_in_what_the_run_could_write(work, elsewhere):
    code = f"import os\nos.symlink({str(elsewhere)!r}, 'out')\nos.symlink({str(elsewhere / 'new.py')!r}, 'work.py')"
    model = ScriptedModel([f"I do it.\n<code>\n{code}\nfinal_answer(1)\n</code>"])
    with CodeAgent(tools=[], model=model, executor_kwargs={"mounts": [f"{work}:rw"]}, verbosity_level=0) as agent:
        agent.run("the task")
    events = Journal().events(Journal().find("last").run, family=True)
    for form in (".py", ".ipynb", ".md", ".json", ".html"):
        with pytest.raises(OSError, match="a link on the way there lies where the agent's code can write"):
            export(events, f"out/run{form}")
    with pytest.raises(FileExistsError):
        export(events, "work.py")
    assert export(events, "work.py", overwrite=True) == work / "work.py"
    assert not (work / "work.py").is_symlink()
    assert export(events, "run.ipynb") == work / "run.ipynb"
    assert untouched(elsewhere)
    (elsewhere / "users.md").symlink_to(elsewhere / "real.md")
    assert export(events, elsewhere / "users.md") == elsewhere / "real.md"
    assert main(["export", "last", "--to", "out/run.md"]) == 1


# the way to a place


def places_below(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/up").symlink_to("../a/b/..")
    (tmp_path / "whole").symlink_to(tmp_path / "a/up/b")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "a/file").write_text("")
    (tmp_path / "a/link").symlink_to("./b//new")
    (tmp_path / "mount").mkdir()
    (tmp_path / "mount/link").symlink_to(tmp_path / "a")


@pytest.mark.parametrize("untrusted", [(), ("mount",), ("mount", "gone")])
def test_a_way_by_links_of_the_users_leads_where_it_always_led(tmp_path, untrusted):
    places_below(tmp_path)
    barred = [tmp_path / each for each in untrusted]
    given = {
        "whole/x": "a/b/x",
        "a/up/b/x": "a/b/x",
        "a/link": "a/b/new",
        "a/../a/./b/x": "a/b/x",
        "mount/../a/x": "a/x",
    }
    for place, real in given.items():
        folder, path = open_place(tmp_path / place, barred)
        assert path == tmp_path / real
        assert os.fstat(folder).st_ino == path.parent.stat().st_ino
        os.close(folder)
    for number, made in enumerate(("a/b/n/m", "whole/n/m", "mount/n/m")):
        folder = open_folder(tmp_path / made, barred, make=bool(number != 1))
        assert os.fstat(folder).st_ino == (tmp_path / made).stat().st_ino
        os.close(folder)
    for refused in ("a/file/x", "loop/x", "gone/x"):
        with pytest.raises(OSError, match=r"Not a directory|symbolic links|No such file"):
            open_folder(tmp_path / refused, barred)
    for refused in ("a/b", "whole", "a/b/.."):
        with pytest.raises(IsADirectoryError):
            write_whole("", tmp_path / refused, overwrite=True, untrusted=barred)


def test_no_way_leads_by_a_link_of_others(tmp_path):
    places_below(tmp_path)
    (tmp_path / "to").symlink_to("mount/link")
    opened = len(os.listdir("/dev/fd"))
    for place in ("mount/link/x", "to/x", "mount/../mount/link/b/x"):
        with pytest.raises(OSError, match="a link on the way there"):
            open_place(tmp_path / place, [tmp_path / "mount"])
    for place in ("a/up/x", "to/x"):
        with pytest.raises(OSError, match="a link on the way there"):
            open_place(tmp_path.resolve() / place, ANYWHERE)
    assert len(os.listdir("/dev/fd")) == opened


def test_a_folder_that_becomes_a_link_meanwhile_leads_nowhere_else(tmp_path, elsewhere):
    (tmp_path / "mount").mkdir()
    inner, aside, over = tmp_path / "mount/inner", tmp_path / "mount/aside", threading.Event()
    inner.mkdir()

    def change():
        while not over.is_set():
            inner.rename(aside)
            inner.symlink_to(elsewhere)
            inner.unlink()
            aside.rename(inner)

    changing = threading.Thread(target=change)
    changing.start()
    try:
        tries = written = 0
        while tries < 2_000 or not written:
            tries += 1
            try:
                write_whole("x", inner / f"{tries % 7}", overwrite=True, untrusted=[tmp_path / "mount"])
                written += 1
            except OSError:
                continue
    finally:
        over.set()
        changing.join()
    assert untouched(elsewhere)
    assert set(os.listdir(inner)) <= {str(number) for number in range(7)} and os.listdir(inner)
