"""`smol validate`, and `pytest --nbval` beside it: notebooks run again, and what is not as it was."""

from __future__ import annotations

import base64
import io
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest
import yaml
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image, ImageDraw, PngImagePlugin
from scripted_replies import code

from smol_kernel import CassetteModel, CodeAgent, LogLevel, ScriptedModel
from smol_kernel.executors.displays import CHART
from smol_kernel.journal import Journal
from smol_kernel.render.transcript import UNBOXED
from smol_kernel.runs.exporting import export
from smol_kernel.runs.same_outputs import differences, unlike
from smol_kernel.runs.validate import notebooks_in, validate
from smol_kernel.serve.cli import main

FULL = os.environ.get("SMOL_FULL") == "1"
DOCS = Path(__file__).parents[1] / "docs"
READ = "import csv\nrows = [int(row[0]) for row in csv.reader(open('data.csv'))]"


def cell(source, *outputs, tag=None):
    """A cell as if it had been run, with these outputs: text is what it printed."""
    shown = [new_output("stream", text=each) if isinstance(each, str) else each for each in outputs]
    return new_code_cell(source, outputs=shown, execution_count=1, metadata={"tags": [tag]} if tag else {})


def result(text, **more):
    return new_output("execute_result", {"text/plain": text, **more}, execution_count=1)


def write(path, *cells, kernel="python3"):
    notebook = new_notebook(cells=list(cells), metadata={"kernelspec": {"name": kernel, "display_name": kernel}})
    nbformat.write(notebook, path)
    return path


def stored(path: Path, *cells: str) -> Path:
    """A notebook of these cells, executed."""
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}).execute()
    for each in notebook.cells:
        each.metadata.pop("execution", None)
    nbformat.write(notebook, path)
    return path


def drawn(*lines, size=(400, 250), software="one", mode="RGB", ground="white"):
    """A picture with these lines in it: (x, y, x, y) each."""
    picture = Image.new(mode, size, ground)
    for line in lines:
        ImageDraw.Draw(picture).line(line, fill=(31, 119, 180), width=2)
    info, buffer = PngImagePlugin.PngInfo(), io.BytesIO()
    info.add_text("Software", software)
    picture.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.csv").write_text("10\n20\n30\n")
    return tmp_path


def test_where_plots_cannot_be_put_that_is_said_before_anything_runs(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["validate", str(tmp_path / "none.ipynb"), "--save-diff", str(tmp_path / "file")]) == 2
    assert "it is a file; name a folder" in capsys.readouterr().err


def test_a_drift_in_the_data_is_told_at_the_cell_that_changed(here, capsys):
    picture = (
        "import io\nfrom IPython.display import Image\nfrom PIL import Image as Picture\nfile = io.BytesIO()\n"
        "Picture.new('L', (20, 20), rows[2]).save(file, 'PNG')\nImage(file.getvalue())"
    )
    stored(here / "a.ipynb", READ, "sum(rows)", picture, "print('end')")
    write(here / "b.ipynb", cell("1 + 1", result("2")))
    assert main(["validate", "a.ipynb"]) == 0
    assert capsys.readouterr().out == "a.ipynb: as it was (4 cells)\n"
    (here / "data.csv").write_text("10\n20\n31\n")
    assert main(["validate", ".", "--junit", "told.xml"]) == 1
    told = capsys.readouterr().out
    assert "a.ipynb: code cell 2 differs\n    > sum(rows)\n" in told
    assert "    -60\n    +61\n" in told
    assert told.endswith("b.ipynb: as it was (1 cell)\n2 notebooks, 1 of them not as it was\n")
    suite = ElementTree.parse(here / "told.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert "+61" in suite.find("testcase/failure").text
    (here / "data.csv").write_text("10\n20\n240\n")
    notebook = nbformat.read(here / "a.ipynb", 4)
    del notebook.cells[1]
    nbformat.write(notebook, here / "a.ipynb")
    assert main(["validate", "a.ipynb", "--save-diff", "seen"]) == 1
    assert "code cell 2 differs" in (told := capsys.readouterr().out) and "plot 1: 100.00% of its pixels differ" in told
    names = ["a-cell2-plot1-now.png", "a-cell2-plot1-stored.png"]
    assert sorted(path.name for path in (here / "seen").iterdir()) == names
    (here / "more").mkdir()
    for name in ("a.ipynb", "data.csv"):
        shutil.copy(name, "more")
    assert main(["validate", "a.ipynb", "more/a.ipynb", "--save-diff", "both"]) == 1
    names += ["a-2-cell2-plot1-now.png", "a-2-cell2-plot1-stored.png"]
    assert sorted(path.name for path in (here / "both").iterdir()) == sorted(names)


def test_tags_errors_and_cells_that_were_never_run(here):
    raises = new_output("error", ename="ZeroDivisionError", evalue="division by zero", traceback=[])
    write(
        here / "tags.ipynb",
        cell("import time\ntime.time_ns()", tag="nbval-ignore-output"),
        cell("raise SystemExit", tag="nbval-skip"),
        cell("# NBVAL_SKIP\nraise SystemExit"),
        cell("# NBVAL_IGNORE_OUTPUT\ntime.time_ns()"),
        cell("1 / 0", raises, tag="raises-exception"),
        new_code_cell("print('not run when it was saved')"),
        cell("import sys\n_ = sys.stdout.write('1 %\\r100 %\\n')", "100 %\n"),
        cell("object()", result("<object at 0x7f3a11aa22bb>")),
        cell(
            "import os\nprint(os.environ['SMOL_CASSETTE_MODE'], os.environ['SMOL_ALLOW_MODEL_REQUESTS'])", "replay 0\n"
        ),
        cell("1 / 0", raises),
    )
    told = validate(here / "tags.ipynb")
    assert (told.cell, told.source) == (10, "1 / 0"), told.difference
    assert told.difference.startswith("the cell fails now:\n") and "ZeroDivisionError" in told.difference
    assert "SMOL_CASSETTE_MODE" not in os.environ


def test_what_cannot_be_run_is_told_and_the_others_go_on(here, capsys, monkeypatch):
    kernels = here / "kernels" / "broken"
    kernels.mkdir(parents=True)
    (kernels / "kernel.json").write_text('{"argv": ["false"], "display_name": "broken", "language": "python"}')
    monkeypatch.setenv("JUPYTER_PATH", str(here))
    write(here / "a.ipynb", cell("1"), kernel="broken")
    (here / "b.ipynb").write_text('{"cells": [')
    write(here / "d.ipynb", cell("import os\nos._exit(3)"))
    write(here / "e.ipynb", cell("print('there')", "there\n"))
    assert main(["validate", "."]) == 1
    told = capsys.readouterr().out
    assert "a.ipynb: its kernel 'broken' cannot be started: Kernel died before replying" in told
    assert "b.ipynb: it cannot be read as a notebook: " in told
    assert "d.ipynb: code cell 1 differs" in told and "the kernel died while the cell ran" in told
    assert "e.ipynb: as it was (1 cell)\n4 notebooks, 3 of them not as it was" in told
    write(here / "c.ipynb", cell("while True: pass"))
    assert main(["validate", "c.ipynb", "b.ipynb", "--timeout", "0.5"]) == 1
    told = capsys.readouterr().out
    assert (
        "c.ipynb: code cell 1 differs\n    > while True: pass\n    the cell did not come to its end within 0.5 s"
        in told
    )
    assert "b.ipynb: it cannot be read as a notebook: " in told.partition("c.ipynb")[2]


def test_a_notebook_is_run_where_temporary_files_have_a_long_path(here, monkeypatch):
    long = here / ("long" * 30)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    monkeypatch.setenv("TMPDIR", str(long))
    made = "open(os.environ['SMOL_JOURNAL'], 'w').close()"
    told = validate(write(here / "a.ipynb", cell(f"import os\n{made}\n1 + 1", result("2"))))
    assert told.ok, told.difference
    assert list(long.iterdir()) == []


STOPPING = """
import signal, sys
from smol_kernel.serve.cli import process
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(process())
"""


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_one_that_is_stopped_says_where_it_was_and_reports_it(here, sent, status):
    write(here / "a.ipynb", cell("1 + 1", result("2")))
    write(here / "b.ipynb", cell("a = 3"), cell("open('begun', 'w').close()\nopen('never').close()"))
    write(here / "c.ipynb", cell("a = 3"))
    os.mkfifo("begun")
    os.mkfifo("never")
    command = [sys.executable, "-c", STOPPING, "validate", ".", "--junit", "told.xml"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    open("begun").close()
    process.send_signal(sent)
    out, err = process.communicate()
    assert (process.returncode, err.strip()) == (status, "Stopped.")
    assert out.startswith("a.ipynb: as it was (1 cell)\nb.ipynb: stopped while code cell 2 ran\n    > open('begun'")
    assert "c.ipynb" not in out
    suite = ElementTree.parse(here / "told.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert [each.get("message") for each in suite.iter("failure")] == ["stopped while code cell 2 ran"]


def test_in_a_folder_that_is_gone_it_says_so(here, monkeypatch, capsys):
    write(here / "a.ipynb", cell("1"))
    (here / "gone").mkdir()
    monkeypatch.chdir(here / "gone")
    (here / "gone").rmdir()
    assert main(["validate", str(here / "a.ipynb")]) == 2
    assert capsys.readouterr().err == "smol: the working folder is gone; change to one that is there\n"


@pytest.mark.parametrize(
    ("content", "said"), [("hello", "it is no JSON"), ("", "the file is empty"), ("[]", "its JSON has no cells")]
)
def test_what_is_no_notebook_at_all_is_refused_as_a_wrong_path_is(here, content, said, capsys):
    (here / "a.ipynb").write_text(content)
    assert main(["validate", "a.ipynb"]) == 2
    assert capsys.readouterr().out == f"a.ipynb: it cannot be read as a notebook: {said}\n"


def test_a_notebook_that_was_never_run_is_not_called_as_it_was(here, capsys):
    write(here / "a.ipynb", new_code_cell("print(1)"))
    assert main(["validate", "a.ipynb"]) == 0
    said = "a.ipynb: 1 cell run, none compared: none of them had been run before it was saved\n"
    assert capsys.readouterr().out == said


def test_a_cell_that_asks_a_model_needs_a_cassette(here, capsys):
    write(here / "a.ipynb", cell("%load_ext smol_magic"), cell("%%agent --model openai/gpt-4.1-mini\nhi"))
    assert main(["validate", "a.ipynb"]) == 1
    said = "no model is asked here (SMOL_CASSETTE_MODE=replay, as smol validate sets it), and no cassette is named for"
    assert said in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("kernelspec", "language_info", "said"),
    [
        ({"name": "ir", "language": "R"}, {}, "its kernel 'ir' is not installed"),
        ({"name": "ir"}, {"name": "R"}, "its kernel 'ir' is not installed"),
        (None, {"name": "julia"}, "its kernel 'julia' is not installed"),
        ({"name": "my-env", "language": "python"}, {}, ""),
        ({"name": "my-env"}, {"name": "python"}, ""),
        ({"name": "my-env"}, None, ""),
        (None, None, ""),
    ],
)
def test_a_notebook_of_another_language_is_not_run_as_python(here, kernelspec, language_info, said):
    metadata = {
        "kernelspec": {"display_name": "x", **kernelspec} if kernelspec else None,
        "language_info": language_info,
    }
    notebook = new_notebook(cells=[cell("print(1)", "1\n")], metadata={k: v for k, v in metadata.items() if v})
    nbformat.write(notebook, here / "a.ipynb")
    told = validate(here / "a.ipynb")
    assert (told.difference, told.cells) == (said, 0 if said else 1)


def test_displays_are_compared_as_later_cells_have_updated_them(here):
    show = "shown = display(rows[0], display_id='x')"
    path = stored(here / "a.ipynb", READ, show, "display('kept')", "shown.update(sum(rows))", "print(rows[0])")
    assert nbformat.read(path, 4).cells[1].outputs[0].data["text/plain"] == "60"
    assert validate(path).difference == ""
    (here / "data.csv").write_text("10\n20\n31\n")
    told = validate(path)
    assert (told.cell, told.source) == (2, show) and "-60\n+61" in told.difference
    (here / "data.csv").write_text("11\n20\n29\n")
    assert validate(path).cell == 5
    write(here / "b.ipynb", cell("display(1, display_id='x')\n1 / 0", result("1")), cell("print(1)", "2\n"))
    told = validate(here / "b.ipynb")
    assert told.cell == 1 and told.difference.startswith("the cell fails now")


def test_wrong_paths_and_options_are_refused(here, capsys):
    for arguments, why in (
        (["missing.ipynb"], "missing.ipynb: there is no such notebook or folder"),
        (["data.csv"], "data.csv is no notebook: name an .ipynb or a folder"),
        (["."], "no notebooks in ."),
        ([".", "--timeout", "0"], "--timeout is 0: give seconds above 0"),
    ):
        assert main(["validate", *arguments]) == 2
        assert why in capsys.readouterr().err
    for folder in (".ipynb_checkpoints", "deep/er"):
        (here / folder).mkdir(parents=True)
        (here / folder / "x.ipynb").write_text("{")
    assert notebooks_in([here]) == [here / "deep/er/x.ipynb"]


TOLD = "not proved: no box · its cells: %agent export FILE ab12 --script"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ([result("1")], [result("1")], ""),
        ([result("a\nb\nc")], [result("a\nB\nc")], "--- stored text/plain\n+++ now\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c"),
        ([result("1")], [], "--- stored text/plain\n+++ now\n@@ -1 +0,0 @@\n-1"),
        (
            [result("x", **{"text/html": "<b>1</b>"})],
            [result("x", **{"text/html": "<b>2</b>"})],
            "-<b>1</b>\n+<b>2</b>",
        ),
        ([result("x", **{"application/json": {"a": 1}})], [result("x", **{"application/json": {"a": 2}})], '- "a": 1'),
        ([new_output("stream", text="a"), new_output("stream", text="b")], [new_output("stream", text="ab")], ""),
        ([new_output("stream", text="a"), result("1")], [result("1"), new_output("stream", text="a")], ""),
        ([result("1"), result("2")], [result("1\n2")], "another number of outputs"),
        ([result("x", **{"application/vnd.jupyter.widget-view+json": {"model_id": "a"}})], [result("x")], ""),
        ([result("x" * 900)], [result("y" * 900)], f"-{'x' * 299} …"),
        (
            [new_output("stream", name="stderr", text="<action>:2: UserWarning: old\n  f(1)\n")],
            [new_output("stream", name="stderr", text="/tmp/ipykernel_5/67.py:2: UserWarning: new\n  f(1)\n")],
            "-UserWarning: old\n+UserWarning: new",
        ),
        (
            [new_output("stream", text="a/b.py:2: error: no")],
            [new_output("stream", text="c/b.py:2: error: no")],
            "-a/b.py:2: error: no",
        ),
        (
            [new_output("stream", text="nodes: 7 · isolated: 3 · edges: 12\n")],
            [new_output("stream", text="nodes: 7 · isolated: 4 · edges: 12\n")],
            "-nodes: 7 · isolated: 3 · edges: 12",
        ),
        (
            [new_output("stream", text="a · not isolated 4 · b\nNOT ISOLATED: this run 3")],
            [new_output("stream", text="a · not isolated 5 · b\nNOT ISOLATED: this run 4")],
            "-NOT ISOLATED: this run 3",
        ),
        (
            [result("Agent run", **{"text/html": "<!-- Agent run -->"})],
            [result(f"Agent run · {TOLD}", **{"text/html": f"<small>Agent run · {TOLD}</small>"})],
            "",
        ),
        ([result("Agent run · 3 boxes")], [result("Agent run · 4 boxes")], "-Agent run · 3 boxes"),
        ([result(f"1\n\n{UNBOXED}\n\n{UNBOXED}\n\nFiles made in the box: a\n2")], [result("1\n2")], ""),
        ([result("1" + "\n" * 1_000_000 + "2")], [result("1" + "\n" * 1_000_000 + "2")], ""),
    ],
)
def test_outputs_are_compared_by_their_kind(old, new, said):
    told, pictures = differences(old, new)
    assert told == said if not said else said in told, told
    assert pictures == []


LINE = (20, 200, 380, 40)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (drawn(LINE), None),
        (drawn(LINE, software="two"), None),  # the pixels are the same
        (drawn((21, 201, 381, 41), software="two"), None),  # as another version would draw it
        (drawn(LINE, size=(402, 249), software="two"), None),
        (drawn(LINE, mode="RGBA", ground=(0, 0, 0, 0)), None),
        (drawn((20, 200, 380, 60)), "of its pixels differ"),
        (drawn((20, 200, 380, 60), software="two"), "of its pixels differ"),
        (drawn(LINE, (100, 100, 106, 100)), "of its pixels differ"),  # one point more
        (drawn(LINE, size=(500, 250)), "it was 400 x 250 pixels, and is 500 x 250"),
        (b"no picture", "the new one cannot be read"),
    ],
)
def test_plots_are_compared_as_an_eye_would(other, said):
    told = unlike(drawn(LINE), other)
    assert said in told if said else told == "", told


def test_plots_within_html_are_compared_as_plots_too():
    def account(picture):
        image = f'<p>Account</p><img src="data:image/png;base64,{base64.b64encode(picture).decode()}">'
        return [result("account", **{"text/html": image})]

    moved = drawn((20, 200, 380, 60))
    assert differences(account(drawn(LINE)), account(drawn(LINE, software="two"))) == ("", [])
    told, pictures = differences(account(drawn(LINE)), account(moved))
    assert re.fullmatch(r"plot 1: \d\.\d\d% of its pixels differ", told)
    assert pictures == [(drawn(LINE), moved)]


def test_an_exported_notebook_is_as_it_was_although_it_was_cleaned(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.csv").write_text("a,b\n1,2\n3,4\n")
    show = "import pandas as pd\nprint('\\x1b[31mred\\x1b[0m')\ntable = pd.read_csv('data.csv')\ndisplay(table)\ntable"
    script = "from IPython.display import HTML\nHTML('<script>alert(1)</script><a href=\"http://x\">a</a>')"
    model = ScriptedModel([code(show), code(script), code("final_answer(table * 2)")])
    with CodeAgent(tools=[], model=model, verbosity_level=LogLevel.OFF, journal=tmp_path / "journal.sqlite") as agent:
        agent.run("Show it.")
        events = Journal(tmp_path / "journal.sqlite").events(agent.run_id)
    path = tmp_path / "exported.ipynb"
    export(events, path)
    assert validate(path).difference == ""
    outputs = str([cell.get("outputs") for cell in nbformat.read(path, 4).cells])
    assert "<script" not in outputs and outputs.count("<style scoped>") == 3
    notebook = nbformat.read(path, 4)
    NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}).execute()
    nbformat.write(notebook, path)  # run and saved again: nothing is cleaned now
    assert validate(path).difference == ""
    (tmp_path / "data.csv").write_text("a,b\n1,2\n3,5\n")
    assert "text/html" in validate(path).difference


@pytest.mark.parametrize(
    ("action", "also_told"),
    [
        ("from IPython.display import HTML\nHTML('<script>alert(1)</script><b>a</b>')", False),
        (
            "from IPython.display import display\ndisplay({'text/html': '<script>load()</script>'}, raw=True)\n"
            "display({'application/vnd.plotly.v1+json': {'data': []}}, raw=True)",
            False,
        ),
        ("for n in range(30_000):\n    print('x' * 40)", True),
    ],
    ids=["scripts", "a chart", "a megabyte"],
)
def test_what_an_export_holds_less_of_is_told_unless_it_is_tagged(tmp_path, action, also_told):
    model = ScriptedModel([code(action), code("final_answer(1)")])
    with CodeAgent(tools=[], model=model, verbosity_level=LogLevel.OFF, journal=tmp_path / "journal.sqlite") as agent:
        agent.run("Show it.")
        events = Journal(tmp_path / "journal.sqlite").events(agent.run_id)
    notebook = nbformat.read(export(events, tmp_path / "exported.ipynb"), 4)
    plain, tagged = tmp_path / "plain.ipynb", tmp_path / "tagged.ipynb"
    for path, tags in ((plain, []), (tagged, ["nbval-ignore-output"])):
        next(cell for cell in notebook.cells if cell.cell_type == "code").metadata.tags = tags
        nbformat.write(notebook, path)
        assert bool(validate(path).difference) == (also_told and not tags)
    words = [sys.executable, "-m", "pytest", "--nbval", "-p", "no:cacheprovider", plain.name, tagged.name]
    ran = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    failed = re.findall(r"^FAILED (\w+\.ipynb)", ran.stdout, re.MULTILINE)
    assert (ran.returncode, set(failed)) == (1, {plain.name}), ran.stdout


def test_what_is_told_of_a_display_that_is_not_shown_is_as_it_was(tmp_path):
    shown = "from IPython.display import SVG, display\nfrom IPython.display import HTML\n"
    shown += "display(SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>'))\n"
    shown += "display({'text/html': '<i>' * 600_000}, raw=True)\nHTML('<p>map</p><script>1</script>')"
    model = ScriptedModel([code(shown), code("final_answer(1)")])
    with CodeAgent(tools=[], model=model, verbosity_level=LogLevel.OFF, journal=tmp_path / "journal.sqlite") as agent:
        agent.run("Show it.")
        events = Journal(tmp_path / "journal.sqlite").events(agent.run_id)
    path = export(events, tmp_path / "exported.ipynb")
    first, second, third = next(cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code").outputs
    assert first.data["text/plain"] == "[image/svg+xml left out: SVG is not shown]"
    assert second.data["text/plain"].startswith("[text/html left out: 1,800,000 characters")
    assert "<p>map</p>" in third.data["text/html"] and CHART in third.data["text/html"]
    assert validate(path).difference == ""


def test_what_writes_over_itself_and_an_answer_of_nothing_are_as_they_were(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    count = "import sys\nfor n in range(3):\n    print(f'\\r{n} of 3', end='', flush=True)\nprint()"
    warn = "for n in range(3):\n    sys.stderr.write(f'\\r{n}')\n    sys.stderr.flush()\n    print(n, flush=True)"
    model = ScriptedModel([code(count), code(warn), code("final_answer(None)")])
    with CodeAgent(tools=[], model=model, verbosity_level=LogLevel.OFF, journal=tmp_path / "journal.sqlite") as agent:
        agent.run("Count.")
        events = Journal(tmp_path / "journal.sqlite").events(agent.run_id)
    path = tmp_path / "exported.ipynb"
    export(events, path)
    first, _, last = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    assert (first.outputs[0].text, last.outputs) == ("2 of 3\n", [])
    assert validate(path).difference == ""
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval", "-p", "no:cacheprovider", "exported.ipynb"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout


WARNINGS = (
    "import warnings\nwarnings.warn('old way')\nprint(1)",
    "def old():\n    warnings.warn('two\\n  lines', DeprecationWarning, stacklevel=2)\nold()",
    "import statistics\nwarnings.warn_explicit('of a library', UserWarning, statistics.__file__, 5)",
    "import helper\nhelper.warn()",
    "import traceback\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    traceback.print_exc()",
    "async def never(): pass\nnever()\nNone",
    "'\\d'",  # warned of from Python 3.12 on
    "1 is 1",
    "1 +",
    "print(object())",
)
"""Actions that put out what differs from one process to the next."""


@pytest.mark.timeout(600)  # four times all that a repository's job does
def test_the_documented_workflow_is_green_without_a_key(tmp_path, monkeypatch):
    """A repository with both kinds of notebooks: one with an `%%agent` cell and its cassette, one that was exported."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    (folder / "data.csv").write_text("10\n20\n30\n")
    (folder / "helper.py").write_text("import warnings\n\ndef warn():\n    warnings.warn('of a helper')\n")
    monkeypatch.chdir(folder)
    table = "import pandas as pd\npd.DataFrame({'rows': rows})"
    script = [code(f"{READ}\n{table}"), *map(code, WARNINGS), code("final_answer(warnings.warn('last') or sum(rows))")]
    script.insert(1, code("open('made.txt', 'w').write('hi')"))
    model = CassetteModel(ScriptedModel(script), folder / "sum.json", "record")
    with CodeAgent(tools=[], model=model, verbosity_level=LogLevel.OFF, journal=tmp_path / "journal.sqlite") as agent:
        assert agent.run("Sum up the rows of data.csv.") == 60
        events = Journal(tmp_path / "journal.sqlite").events(agent.run_id)
    export(events, folder / "exported.ipynb")
    cell = "%%agent --cassette sum.json -o total --prove-cell\nSum up the rows of data.csv."
    stored(folder / "agent.ipynb", "%load_ext smol_magic", cell, "open('made.txt', 'w').write('hi')", "total")
    notebook = (folder / "agent.ipynb").read_text()
    assert "--smol-now:#" in notebook
    (folder / "agent.ipynb").write_text(notebook.replace("--smol-now:#", "--smol-older:#"))  # by another version
    blocks = re.findall(r"```(\w*)\n(.*?)```", (DOCS / "ci.md").read_text(), re.DOTALL)
    (tmp_path / "nbval.cfg").write_text(next(text for _, text in blocks if text.startswith("regex: ")))
    document = next(text for kind, text in blocks if kind == "yaml")
    job = yaml.safe_load(document)["jobs"]["validate"]
    commands = [step["run"] for step in job["steps"] if "run" in step and not step["run"].startswith("pip ")]
    assert len(commands) == 2
    kept = {name: value for name, value in os.environ.items() if "KEY" not in name and name != "SMOL_MODEL"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command, box in itertools.product(commands, ["on", "off"] if FULL else ["on"]):
        done = subprocess.run(
            command,
            shell=True,
            cwd=tmp_path,
            env={**kept, **job["env"], "PATH": path, "SMOL_BOX": box},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    (folder / "data.csv").write_text("10\n20\n31\n")
    assert main(["validate", str(folder)]) == 1


def test_a_report_can_be_read_whatever_a_notebook_is_called(here):
    name = os.fsdecode(b"o\xff\x01.ipynb")
    Path(name).write_text("hello")
    assert main(["validate", name, "--junit", "told.xml"]) == 2
    assert ElementTree.parse("told.xml").find("testcase").get("name") == "o\ufffd\ufffd.ipynb"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_report_that_could_not_be_written_is_no_wrong_option(here, capsys):
    write(here / "b.ipynb", cell("1 + 1", result("2")))
    assert main(["validate", "b.ipynb", "--junit", "/dev/full"]) == 1
    told = capsys.readouterr()
    assert "as it was" in told.out and "--junit /dev/full: No space left on device" in told.err
