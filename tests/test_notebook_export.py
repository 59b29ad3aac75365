"""A run as a notebook: valid, with its real outputs, and running again where its inputs and tools are defined."""

from __future__ import annotations

import base64
import io
import json
import os
import stat

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

from smol_kernel.events import (
    ActionFinished,
    ActionProposed,
    FinalAnswer,
    ModelReplied,
    Output,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    ToolCalled,
    ToolReturned,
)
from smol_kernel.executors.values import encode
from smol_kernel.render.transcript import SCRIPTED, Transcript
from smol_kernel.runs.exporting import export
from smol_kernel.runs.notebook import to_notebook

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()
EVIL = "![x](http://evil.example) <img src=//evil.example>"


def a_run(answer="six", **started):
    """Four steps: prints and shows, fails, is stopped, answers."""
    one, two, three, four = ({"run": "r1", "step": number} for number in (1, 2, 3, 4))
    fields = {"task": f"Add it up.\nKindly. {EVIL}", "agent": "CodeAgent", "model": "m/1", "isolation": "none"}
    fields |= {"max_steps": 9, "system_prompt": "", "inputs": {"df": "list of 3 items: [1, 2, 3]"}}
    fields |= {"tools": ["unit", "unused", "final_answer"]}
    return Transcript.from_events(
        [
            RunStarted(run="r1", **{**fields, **started}),
            StepStarted(**one),
            ActionProposed(**one, thought=f"Look. {EVIL}", code="print('hello')\nunit()\nlen(df)"),
            ToolCalled(**one, call="c1", tool="unit", summary="unit()"),
            ToolReturned(**one, call="c1", tool="unit", ok=True, summary="'ppm'"),
            Output(**one, channel="stdout", text="hello\n"),
            Output(**one, channel="stderr", text="\x1b[31mcareful\x1b[0m\n"),
            Output(**one, channel="display", text="<Figure>", data={"image/png": PNG, "text/html": EVIL}),
            Output(**one, channel="result", text="3", data={"text/plain": "3"}),
            ActionFinished(**one, status="ok", completed=3, value_text="3"),
            StepFinished(**one),
            StepStarted(**two),
            ActionProposed(**two, thought="A slip", code="total = sum(df)\nnothing"),
            ActionFinished(
                **two, status="error", completed=1, error_type="NameError", error="name 'nothing' is not defined",
                traceback="Traceback (most recent call last):\n  File \"<action>\", line 2\nNameError: name 'nothing'",
            ),
            StepFinished(**two, error_type="AgentExecutionError", error="NameError"),
            StepStarted(**three),
            ActionProposed(**three, thought="Too long", code="while True: pass"),
            Output(**three, channel="stdout", text="tick\n"),
            ActionFinished(**three, status="timeout", error_type="TimeoutError", error="took over 300 s", lost=["x"]),
            StepFinished(**three, error_type="AgentExecutionError", error="timeout"),
            StepStarted(**four),
            ModelReplied(**four, content="…", model="m"),
            ActionProposed(**four, thought="Done", code="final_answer({'total': total})\nprint('never')"),
            ActionFinished(**four, status="ok", completed=1, final=True),
            StepFinished(**four),
            FinalAnswer(run="r1", value=encode(answer), text=str(answer)),
            RunFinished(run="r1", state="success", steps=4),
        ]
    )  # fmt: skip


def test_the_notebook_is_valid_and_tells_where_it_comes_from():
    notebook = to_notebook(a_run(scripted=True))
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    ours = notebook.metadata.smol
    assert (ours.run, ours.model, ours.scripted, ours.isolation, ours.state) == ("r1", "m/1", True, "none", "success")
    assert set(ours.versions) == {"smol-kernel", "python"}
    assert SCRIPTED in notebook.cells[0].source


def test_the_same_run_gives_the_same_notebook():
    assert nbformat.writes(to_notebook(a_run())) == nbformat.writes(to_notebook(a_run()))


def test_the_first_cell_says_what_the_notebook_needs():
    first = to_notebook(a_run()).cells[0].source
    assert first.startswith("# Add it up.\n\nKindly.")
    assert "- `df`: list of 3 items" in first
    assert "- `unit`: a tool, a function of yours" in first
    assert "unused" not in first
    assert "final_answer" not in first


def test_a_step_has_its_real_outputs():
    outputs = to_notebook(a_run()).cells[2].outputs
    assert [output.output_type for output in outputs] == ["stream", "stream", "display_data", "execute_result"]
    assert [output.text for output in outputs[:2]] == ["hello\n", "careful\n"]
    assert outputs[2].data["image/png"] == PNG
    assert outputs[3].data["text/plain"] == "3"


def test_a_failed_step_has_its_error_and_may_fail_again():
    cell = to_notebook(a_run()).cells[4]
    assert cell.metadata.tags == ["raises-exception"]
    assert (cell.outputs[0].output_type, cell.outputs[0].ename) == ("error", "NameError")
    assert cell.outputs[0].traceback[0].startswith("Traceback")


def test_a_step_that_was_stopped_is_text():
    cell = to_notebook(a_run()).cells[5]
    assert cell.cell_type == "markdown"
    for words in ("while True: pass", "tick", "TimeoutError: took over 300 s", "Lost with the child kernel: x"):
        assert words in cell.source


def test_the_answer_is_the_value_of_the_last_cell():
    cell = to_notebook(a_run(answer={"total": 6})).cells[-1]
    assert cell.source == "{'total': total}"
    assert cell.outputs[-1].data["text/plain"] == "{'total': 6}"


def test_a_text_answer_can_be_read_as_prose():
    notebook = to_notebook(a_run(answer=f"Six.\n\n{EVIL}"))
    assert notebook.cells[-1].cell_type == "markdown"
    assert "Six.\n\n!&#91;x]" in notebook.cells[-1].source
    assert notebook.cells[-2].outputs[-1].data["text/plain"].startswith("'Six.")


def test_a_table_as_answer_is_shown_as_a_table():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"a": [1]})
    assert to_notebook(a_run(answer=table)).cells[-1].outputs[-1].data["text/html"] == table._repr_html_()
    table = pandas.DataFrame({"a": ["$x$"]})
    html = to_notebook(a_run(answer=table)).cells[-1].outputs[-1].data["text/html"]
    assert "<table" in html and "<style" not in html


def test_an_answer_whose_text_would_fill_the_memory_is_not_written_out():
    pandas = pytest.importorskip("pandas")
    index = pandas.Index(["x" * 1_000_000, *range(99)], dtype=object)
    for answer in (index, {"a": [index]}, pandas.DataFrame({"a": range(100)}, index=index)):
        assert len(nbformat.writes(to_notebook(a_run(answer=answer)))) < 3_000_000


def test_a_picture_as_answer_is_shown_as_one():
    picture = Image.new("RGB", (20, 20), "red")
    shown = to_notebook(a_run(answer=picture)).cells[-1].outputs[-1].data["image/png"]
    assert Image.open(io.BytesIO(base64.b64decode(shown))).getpixel((1, 1)) == (255, 0, 0)
    nbformat.validate(to_notebook(a_run(answer=picture)))


def test_nothing_in_the_notebook_loads_anything():
    text = nbformat.writes(to_notebook(a_run(answer=EVIL)))
    cells = [cell for cell in to_notebook(a_run(answer=EVIL)).cells if cell.cell_type == "markdown"]
    assert not any("![" in cell.source or "<img" in cell.source or "http://" in cell.source for cell in cells)
    assert "<img src=" not in json.dumps([cell.outputs for cell in to_notebook(a_run()).cells if "outputs" in cell])
    assert "\\u001b" not in text


def test_the_notebook_runs_again_where_its_needs_are_met():
    notebook = to_notebook(a_run(answer={"total": 6}))
    notebook.cells.insert(0, nbformat.v4.new_code_cell("df = [1, 2, 3]\ndef unit(): return 'ppm'"))
    NotebookClient(notebook, kernel_name="python3", timeout=60).execute()
    assert notebook.cells[-1].outputs[-1].data["text/plain"] == "{'total': 6}"


@pytest.mark.parametrize("state", ["interrupted", "error", "max_steps_error"])
def test_a_run_that_did_not_succeed_is_a_notebook_too(state):
    events = [
        RunStarted(run="r", task="t", agent="a", model="m", isolation="box", max_steps=1, system_prompt=""),
        StepStarted(run="r", step=1),
        ModelReplied(run="r", step=1, content=f"No code here. {EVIL}", model="m"),
        StepFinished(run="r", step=1, error_type="AgentParsingError", error="no code"),
        FinalAnswer(run="r", value="as far as I can tell", text="as far as I can tell"),
        RunFinished(run="r", state=state, error="why it ended"),
    ]
    text = nbformat.writes(to_notebook(Transcript.from_events(events)))
    for words in ("No code here.", "AgentParsingError: no code", "why it ended", "as far as I can tell"):
        assert words in text
    nbformat.validate(to_notebook(Transcript.from_events(events[:1])))


def test_writing_does_not_replace_a_file_unless_told(tmp_path):
    path = tmp_path / "run.ipynb"
    assert export([], path, transcript=a_run()) == path
    nbformat.validate(nbformat.read(path, as_version=4))
    path.write_text("mine")
    with pytest.raises(FileExistsError):
        export([], path, transcript=a_run())
    assert path.read_text() == "mine"
    path.chmod(0o640)
    export([], path, overwrite=True, transcript=a_run())
    assert path.read_text().startswith("{")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["run.ipynb"]


def test_a_place_that_cannot_be_written_is_left_as_it_was(tmp_path):
    with pytest.raises(FileNotFoundError):
        export([], tmp_path / "nowhere" / "run.ipynb", transcript=a_run())
    (tmp_path / "folder.ipynb").mkdir()
    for overwrite in (False, True):
        with pytest.raises(OSError, match=r"folder\.ipynb"):
            export([], tmp_path / "folder.ipynb", overwrite=overwrite, transcript=a_run())
    assert os.listdir(tmp_path) == ["folder.ipynb"]


def test_final_answer_is_defined_where_the_notebook_still_names_it():
    one, two = {"run": "r", "step": 1}, {"run": "r", "step": 2}
    events = [
        RunStarted(run="r", task="t", agent="a", model="m", isolation="none", max_steps=2, system_prompt=""),
        ActionProposed(**one, thought="Short", code="fa = final_answer"),
        ActionFinished(**one, status="ok", completed=1),
        StepFinished(**one),
        ActionProposed(**two, thought="Done", code="fa(6)"),
        ActionFinished(**two, status="ok", completed=1, final=True),
        StepFinished(**two),
        FinalAnswer(run="r", value=6, text="6"),
        RunFinished(run="r", state="success", steps=2),
    ]
    first, last = (
        cell.source for cell in to_notebook(Transcript.from_events(events)).cells if cell.cell_type == "code"
    )
    namespace = {}
    exec(first, namespace)
    exec(last, namespace)
    assert namespace["answer"] == 6
