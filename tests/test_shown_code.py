"""Code of a model is shown, and written into cells, as it runs: nothing in it is left out or done by a terminal."""

from __future__ import annotations

import ast
import html
import io
import re

import pytest

from smol_kernel.events import ActionFinished, ActionProposed, RunFinished, RunStarted, StepFinished, StepStarted
from smol_kernel.render.console import ConsoleReader
from smol_kernel.render.html import account_html
from smol_kernel.render.markdown import account_markdown
from smol_kernel.render.plain import plain_code
from smol_kernel.render.text import account_text
from smol_kernel.render.transcript import Transcript
from smol_kernel.runs.notebook import to_notebook
from smol_kernel.runs.python_file import python_file
from smol_kernel.runs.report import report_html
from smol_kernel.runs.script import script_cells
from smol_magic.writeback import as_one_cell

HIDING = {
    "import re\n\x0cdef f(): pass": "import re\ndef f(): pass",
    "x = open('a', 'w')  #" + "\b" * 20 + "y = 1": "x = open('a', 'w')  #" + r"\x08" * 20 + "y = 1",
    "x = open('a', 'w')\ry = 1": "x = open('a', 'w')\ny = 1",
    "x = 1\r\ny = 2": "x = 1\ny = 2",
    "x = 1  # \x1b[2K\ry = 3": "x = 1  # \\x1b[2K\ny = 3",
    "x = '\x9b2K\x7f'[:1]": r"x = '\x9b2K\x7f'[:1]",
    "x = 'a\u202eb\u2066'  # \u200f": r"x = 'a\u202eb\u2066'  # \u200f",
    "x = 'a\u200b\u00ad\ufeff\U000e0041\u3164'": r"x = 'a\u200b\xad\ufeff\U000e0041\u3164'",
    "x = 1  # \u2028y = 2\x85\x0c\x1c": r"x = 1  # \u2028y = 2\x85\x0c\x1c",
    "x = 'a\ufe0f'": r"x = 'a\ufe0f'",
    "x = 'a at 0x1234'\ny = ' at 0x12345'": "x = 'a at 0x1234'\ny = ' at 0x12345'",
}


def a_run(code, status="ok"):
    at = {"run": "r", "step": 1}
    start = {"task": "t", "agent": "CodeAgent", "model": "m", "isolation": "none", "max_steps": 2, "system_prompt": ""}
    return [
        RunStarted(run="r", **start),
        StepStarted(**at),
        ActionProposed(**at, thought="Look.", code=code),
        ActionFinished(**at, status=status, completed=len(ast.parse(code).body)),
        StepFinished(**at),
        RunFinished(run="r", state="success", steps=1),
    ]


def printed(events):
    stream = io.StringIO()
    reader = ConsoleReader(stream)
    for event in events:
        reader(event)
    return stream.getvalue()


def words(page):
    return html.unescape(re.sub(r"<[^>]*>", "", page))


@pytest.mark.parametrize("code", HIDING)
def test_code_is_shown_everywhere_as_it_runs(code):
    events, shown = a_run(code), HIDING[code]
    assert plain_code(code) == plain_code(shown) == shown
    assert ast.dump(ast.parse(code)) == ast.dump(ast.parse(shown))
    run, stopped = Transcript.from_events(events), Transcript.from_events(a_run(code, "died"))
    marked = [f"> {line}" for line in shown.split("\n")]
    for text in (account_text(run), printed(events)):
        assert [line.strip() for line in text.split("\n") if line.strip().startswith("> ")] == marked
    for text in (account_markdown(run), words(account_html(run)), words(report_html(events))):
        assert shown in text
    assert shown in to_notebook(stopped).cells[1].source


@pytest.mark.parametrize("code", HIDING)
def test_cells_hold_what_is_read_in_them(code):
    run, shown = Transcript.from_events(a_run(code)), HIDING[code]
    assert [cell.source for cell in script_cells(run) if cell.kind == "code"] == [shown]
    assert [cell.source for cell in to_notebook(run).cells if cell.cell_type == "code"] == [shown]
    assert as_one_cell(script_cells(run)).endswith(f"# %%\n{shown}")
    assert python_file(run, None).endswith(f"# %%\n{shown}\n")


@pytest.mark.parametrize(
    "code", ["x = 'é 漢\u3000字 \U0001f600 ✔\ufe0f 👩\u200d💻 می\u200cخواهم'\n\tañb = 1", "", "a\nb\n"]
)
def test_ordinary_code_stays_as_it_is(code):
    assert plain_code(code) == code


@pytest.mark.parametrize(
    "code", ["x = r'\u200b'", "x = '\\\u200b'", "import re\nx = re.sub(r'\u200b|\ufeff', '', 'a')"]
)
def test_where_an_escape_means_something_else_cells_have_the_code_as_it_is(code):
    events = a_run(code)
    assert Transcript.from_events(events).steps[0].code == code
    assert "\u200b" not in printed(events) and r"\u200b" in printed(events)
