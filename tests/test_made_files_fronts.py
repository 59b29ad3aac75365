"""Files made in a box, as people meet them: in the account of a run, in a terminal, in a notebook and its cells."""

from __future__ import annotations

import io
import os
import re
from dataclasses import replace

import mistune
import pytest
from loaded_shell import loaded_shell
from notebook_kernel import NotebookKernel

from smol_kernel.events import FilesMade, FinalAnswer, RunFinished, RunStarted, from_dict
from smol_kernel.models.scripted import ScriptedModel
from smol_kernel.render.console import ConsoleReader
from smol_kernel.render.files import MOST_NAMED, size_text
from smol_kernel.render.html import account_html
from smol_kernel.render.markdown import account_markdown
from smol_kernel.render.text import account_text
from smol_kernel.render.transcript import Transcript
from smol_kernel.runs.notebook import to_notebook
from smol_kernel.serve.cli import main
from smol_magic.account import account
from smol_magic.endings import CellError

FILES = [
    {"path": "data.csv", "bytes": 31, "change": "changed"},
    {"path": "latest", "bytes": 0, "change": "made", "type": "link"},
    {"path": "old.csv", "bytes": 0, "change": "removed"},
    {"path": "out/plot.png", "bytes": 12_345, "change": "made"},
]
SENTENCE = (
    "Files made in the box: data.csv (changed, 1 kB), latest (a link), old.csv (removed) and out/plot.png (12 kB)"
)


def a_run(files, more=0, **started):
    base = {"run": "r", "step": 1}
    fields = {"task": "Draw", "agent": "CodeAgent", "model": "m", "isolation": "box", "max_steps": 3}
    return [
        RunStarted(run="r", system_prompt="", **{**fields, **started}),
        FilesMade(**base, files=[{"path": "early", "bytes": 1, "change": "made"}]),
        FilesMade(**base, files=files, more=more),
        FinalAnswer(run="r", value=1, text="1"),
        RunFinished(run="r", state="success", steps=1),
    ]


def printed(events):
    stream = io.StringIO()
    reader = ConsoleReader(stream, color=False)
    for event in events:
        reader(event)
    return " ".join(stream.getvalue().split())


def without_tags(html):
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]+>", "", html, flags=re.DOTALL).split())


# accounts


def test_every_account_ends_with_the_last_list_of_files():
    transcript = Transcript.from_events(a_run(FILES))
    assert transcript.files == FILES
    for text in (account_text(transcript), without_tags(account_html(transcript)), printed(a_run(FILES))):
        assert SENTENCE in text
        assert "early" not in text
    marked = re.sub(r"(data.csv|latest|old.csv|out/plot.png)", r"`\1`", SENTENCE)
    assert account_markdown(transcript).endswith(marked)
    assert to_notebook(transcript).cells[-1].source.endswith(marked)


@pytest.mark.parametrize(
    ("origin", "how"),
    [
        ({}, "agent.python_executor.save_files()"),
        ({"front": "terminal"}, "%agent files save"),
        ({"front": "cli"}, None),
    ],
)
def test_a_terminal_says_what_keeps_them_there(origin, how):
    text = printed(a_run(FILES, origin=origin))
    assert f"{SENTENCE} — not saved yet: {how}" in text if how else "not saved" not in text


def test_a_run_without_files_looks_as_ever():
    events = a_run([])
    transcript = Transcript.from_events(events)
    without = Transcript.from_events([event for event in events if not isinstance(event, FilesMade)])
    for draw in (account_text, account_html, account_markdown):
        assert draw(transcript) == draw(without)
    assert "Files" not in printed(events)


def test_of_many_files_some_are_named():
    files = [{"path": f"{n:04}", "bytes": n, "change": "made"} for n in range(1_000)]
    text = account_text(Transcript.from_events(a_run(files, more=99_000)))
    assert f"{MOST_NAMED - 1:04} (1 kB) and {100_000 - MOST_NAMED:,} others" in text
    assert f"{MOST_NAMED:04}" not in text


@pytest.mark.parametrize(
    "name",
    [
        "<img src=//evil.example onerror=x()>",
        "![p](http://evil.example/b)",
        "`</code><script>alert(1)</script>`",
        "https://evil.example/x",
        "a\nb\x1b[2J\u202e.png",
        "__init__.py",
    ],
)
def test_a_name_is_text_everywhere(name):
    """Here even names that the executor would not let through."""
    events = a_run([{"path": name, "bytes": 5, "change": "made"}])
    transcript = Transcript.from_events([from_dict(event.to_dict()) for event in events])
    transcript.how_to_save = "%agent files save"
    html, markdown = account_html(transcript), account_markdown(transcript)
    for page in (html, mistune.html(markdown), mistune.html(to_notebook(transcript).cells[-1].source)):
        assert not re.search(r"<(?:img|a|script|em)\b", page)
        assert "<strong>init" not in page
    for text in (account_text(transcript), html, markdown, printed(events)):
        assert not set(text) & set("\x1b\u202e")
    assert "a b.png" in account_text(transcript) or "\n" not in name


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "1 kB"), (12_345, "12 kB"), (12_401, "12 kB"), (123_456, "120 kB"), (999_999, "1 MB"), (5 << 30, "5400 MB")],
)
def test_sizes_are_rough(size, text):
    assert size_text(size) == text


# the notebook


SETUP = """
%load_ext smol_magic
from smol_kernel import ScriptedModel
def scripted(*actions):
    return ScriptedModel(["I do it.\\n<code>\\n" + action + "\\n</code>" for action in actions])
"""
DRAWS = """m = scripted('''
import os
os.makedirs("out", exist_ok=True)
open("out/plot.png", "wb").write(os.urandom(12_000 + os.urandom(1)[0]))  # as large as a date in it makes it
open("table.csv", "w").write("a")
final_answer(1)
''')"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kernel")
    kernel = NotebookKernel(folder)
    kernel.run(SETUP).must_be_ok()
    yield kernel
    kernel.close()


def test_the_final_object_lists_the_files_and_is_the_same_each_time(kernel):
    shown = []
    for _ in range(2):
        kernel.run(DRAWS).must_be_ok()
        shown.append(kernel.run("%%agent --model m\ndraw").must_be_ok().displays[-1]["data"])
    assert shown[0] == shown[1]
    sentence = "Files made in the box: out/plot.png (12 kB) and table.csv (1 kB) — not saved yet: "
    assert sentence + "`%agent files save`" in shown[0]["text/plain"]
    assert sentence + "%agent files save" in without_tags(shown[0]["text/html"])
    assert "not saved yet: `%agent files save`" in shown[0]["text/markdown"]


def test_files_are_listed_and_saved_after_the_run(kernel):
    kernel.run(DRAWS).must_be_ok()
    kernel.run("%%agent --model m\ndraw").must_be_ok()
    folder = kernel.value("__import__('os').getcwd()")
    listed = kernel.run("%agent files").must_be_ok().printed
    assert listed == "out/plot.png (12 kB)\ntable.csv (1 kB)\nnot saved yet: %agent files save\n"
    saved = kernel.run("%agent files save table.csv --to kept").must_be_ok().printed
    assert saved == f"saved: {folder}/kept/table.csv\n"
    kernel.run("open('table.csv', 'w').write('mine')").must_be_ok()
    saved = kernel.run("%agent files save").must_be_ok().printed
    assert f"saved: {folder}/out/plot.png\n" in saved
    assert "not saved: table.csv is there already; it is replaced with --overwrite\n" in saved
    assert kernel.value("open('table.csv').read()") == "mine"
    kernel.run("%agent files save table.csv --overwrite").must_be_ok()
    assert kernel.value("open('table.csv').read()") == "a"
    assert kernel.run("%agent files").must_be_ok().printed == "No files but those in your folder.\n"


def test_saved_files_take_no_module_s_place_in_the_notebook(kernel):
    marks = "__import__('os').environ.__setitem__('OWNED', __name__)"
    names = ("nbformat.py", "jinja2/__init__.py", "conftest.py", "made_here.py")
    code = f"import os\nos.mkdir('jinja2')\nfor name in {names}: open(name, 'w').write({marks!r})\nfinal_answer(1)"
    kernel.run(f"m = scripted({code!r})").must_be_ok()
    kernel.run("%%agent --model m\nwrite").must_be_ok()
    saved = kernel.run("%agent files save").must_be_ok().printed
    assert [line.split()[-1].rpartition("/")[2] for line in saved.splitlines() if "not" not in line] == ["made_here.py"]
    assert "not saved: conftest.py is run by Python or pytest unasked; it is saved if it is named\n" in saved
    kernel.run("%agent export run.ipynb").must_be_ok()
    assert kernel.value("__import__('os').environ.get('OWNED')") is None
    kernel.run("import made_here").must_be_ok()
    assert kernel.value("__import__('os').environ['OWNED']") == "made_here"


def test_a_cell_of_python_tells_what_it_made(kernel):
    kernel.run("%agent stop").must_be_ok()
    cell = kernel.run("%%py\nopen('x.csv', 'w').write('1')\nNone").must_be_ok()
    assert cell.printed == "Files made in the box: x.csv (1 kB) — not saved yet: %agent files save\n"
    assert kernel.run("%%py\nNone").must_be_ok().printed == ""
    kernel.run("%agent stop").must_be_ok()
    assert "There are no files of an agent here" in kernel.run("%agent files").must_be_ok().printed
    assert kernel.run("%%agent --model m\nthe script is over").errors
    [error] = kernel.run("%agent files save").errors
    assert "There is nothing to save: no agent's code has run in this conversation yet" in error


# commands, in a shell without a page


@pytest.fixture
def shell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with loaded_shell() as shell:
        yield shell


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("%agent files keep", "%agent files keep: "),
        ("%agent files save --all", "--all"),
        ("%agent files save a --to", "--to: expected one argument"),
        ("%agent files save", "There are no files of an agent here"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(shell, line, said):
    error = shell.run_cell(line).error_in_exec
    assert isinstance(error, CellError) and said in str(error)


def test_the_account_keeps_the_metadata_it_had():
    data, metadata = account(Transcript.from_events(a_run(FILES)))
    assert SENTENCE in data["text/plain"]
    assert set(metadata["smol"]) == {
        *("run", "state", "model", "isolation", "unboxed", "seconds", "input_tokens", "output_tokens", "cost"),
    }


def test_the_command_line_saves_what_it_is_told_to(tmp_path, monkeypatch, capsys):
    from smol_kernel.serve.cli import run

    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    code = "open('a.txt', 'w').write('a')\nfor name in '.hidden', 'nbformat.py': open(name, 'w').write('h')\n"
    code += "final_answer(1)"
    monkeypatch.setattr(run, "model_of", lambda *_: ScriptedModel([f"I do it.\n<code>\n{code}\n</code>"]))
    assert main(["run", "write", "--save-files"]) == 0
    out, err = capsys.readouterr()
    assert f"Saved: {work}/a.txt" in out
    assert "Not saved: .hidden is hidden" in err
    assert f"Saved: {work}/.not-imported/nbformat.py" in out
    assert "Saved apart: nbformat.py would be imported in place of what is installed as nbformat\n" in err
    assert sorted(os.listdir(work)) == [".not-imported", "a.txt"]
    assert os.listdir(work / ".not-imported") == ["nbformat.py"]
    assert main(["run", "write"]) == 0
    out, err = capsys.readouterr()
    assert "Files made in the box: .hidden (1 kB) and nbformat.py (1 kB)" in out
    assert "--save-files" in err
    assert main(["run", "write", "--save-files", "new/place"]) == 0
    assert main(["run", "write", "--save-files", "a.txt"]) == 2
    assert "is a file" in capsys.readouterr().err


def test_an_answer_is_written_also_where_its_files_cannot_be(tmp_path, monkeypatch, capsys):
    from smol_kernel.serve.cli import run

    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/below").write_text("a file where a folder would have to be")
    code = "import os\nos.mkdir('below')\nopen('below/made.txt', 'w').write('a')\nfinal_answer(1)"
    reply = f"I do it.\n<code>\n{code}\n</code>"
    monkeypatch.setattr(run, "model_of", lambda *_: ScriptedModel([reply]))
    places = {"taken": "Not saved: below/made.txt has a link or a file", "/proc/no": "nothing can be saved in"}
    for folder, said in places.items():
        (tmp_path / "answer.txt").write_text("what was there")
        assert main(["run", "write", "--save-files", folder, "-o", "answer.txt"]) == 1
        assert said in capsys.readouterr().err
        assert (tmp_path / "answer.txt").read_text() == "1\n"


def test_the_files_of_an_agent_that_was_called_stand_in_its_own_account():
    own = a_run(FILES)
    called = [replace(event, run="c") for event in a_run([{"path": "its.txt", "bytes": 1, "change": "made"}])]
    called[0] = replace(called[0], parent="r", name="helper")
    transcript = Transcript.from_events([*own[:1], *called, *own[1:]])
    assert "│ Files made in the box: its.txt (1 kB)" in account_text(transcript)
    assert "its.txt" in account_html(transcript)
    assert "> Files made in the box: `its.txt` (1 kB)" in account_markdown(transcript)
    assert transcript.files == FILES
