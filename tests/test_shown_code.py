"""Code of a model is shown, and written into cells, as it runs: nothing in it is left out or done by a terminal."""

from __future__ import annotations

import ast
import html
import io
import re
from dataclasses import replace

import pytest

from smol_kernel.events import ActionFinished, ActionProposed, RunFinished, RunStarted, StepFinished, StepStarted
from smol_kernel.render.code_to_run import LEFT
from smol_kernel.render.console import ConsoleReader
from smol_kernel.render.html import account_html
from smol_kernel.render.markdown import account_markdown
from smol_kernel.render.plain import plain_code
from smol_kernel.render.text import account_text
from smol_kernel.render.transcript import Transcript
from smol_kernel.runs.notebook import to_notebook
from smol_kernel.runs.proof import Proof
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
    "x = '1\ufe0f'": r"x = '1\ufe0f'",
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
    "code", ["x = '1\ufe0f\u20e3 é 漢\u3000字 \U0001f600 ✔\ufe0f 👩\u200d💻 می\u200cخواهم'\n\tañb = 1", "", "a\nb\n"]
)
def test_ordinary_code_stays_as_it_is(code):
    assert plain_code(code) == code


ELSEWHERE = {
    "x = r'\u200b'": r"x = '\u200b'",
    "x = '\\\u200b'": r"x = '\\\u200b'",
    "import re\nx = re.sub(r'\u200b|\ufeff', '', 'a')": "import re\nx = re.sub('\\u200b|\\ufeff', '', 'a')",
    "# \u202e}  eteled\nx = r'\u200b'  # \u2066": "# \\u202e}  eteled\nx = '\\u200b'  # \\u2066",
    "x = 'a\u200b', R'\\d\\'\\\\\u200b\"', r'\\d'": r"""x = 'a\u200b', '\\d\\\'\\\\\u200b"', r'\d'""",
    "x = r'''a\\\n'\u2028'\n\x0cb'''\n\x0cy = 1": "x = '''a\\\\\n'\\u2028'\n\\x0cb'''\ny = 1",
    "x = '''\n\x0cb'''\n#\x0c": "x = '''\n\\x0cb'''\n#\\x0c",
    "x = rb'\\w\x1b[2K' rb'\\w'": r"x = b'\\w\x1b[2K' rb'\w'",
    "n = 1\nx = rf'\\d{n:>3}\u200b{{' f'{n}\u200b'  # \u200b": (
        "n = 1\nx = f'\\\\d{n:>3}\\u200b{{' f'{n}\\u200b'  # \\u200b"
    ),
    "x =\x0c r'\u200b'\r\ny = 1": "x =  '\\u200b'\ny = 1",
}


ELSEWHERE |= {
    "x = r'\\d ✔\ufe0f \u200b'": r"x = '\\d ✔️ \u200b'",
    "x = r'\u200b', '✔\ufe0f \u200b \\d'": r"x = '\u200b', '✔️ \u200b \d'",
}


@pytest.mark.filterwarnings("ignore::SyntaxWarning")  # of Python's parser, from 3.12 on
@pytest.mark.parametrize("code", ELSEWHERE)
def test_where_an_escape_means_something_else_a_text_is_written_in_another_way(code):
    events, shown = a_run(code), ELSEWHERE[code]
    assert ast.dump(ast.parse(code)) == ast.dump(ast.parse(shown))
    assert Transcript.from_events(events).steps[0].code == shown
    assert [cell.source for cell in script_cells(Transcript.from_events(events))] == ["Look.", shown]


@pytest.mark.parametrize("text", ["Größe\nÄpfel: für größere", "привет\nмир: большой"])
def test_where_a_comment_is_told_wrong_by_python_it_stays(text):
    """Python 3.12.1 counts bytes behind such a text."""
    code = f'x = """{text}"""  # Übergröße prüfen\ny = r"[\u200b]"\n'
    shown = Transcript.from_events(a_run(code)).steps[0].code
    assert "# Übergröße prüfen" in shown
    assert ast.dump(ast.parse(code)) == ast.dump(ast.parse(shown))


@pytest.mark.parametrize(
    ("code", "shown", "left"),
    [
        ("a\u034f = 1  # \u202e\nx = r'\u200b'", "a\u034f = 1  # \\u202e\nx = '\\u200b'", "U+034F"),
        (
            "\u3164 = n = 1  # \u202e\nx = rf'{\u3164=}\u200b', r'\u200b'",
            "\u3164 = n = 1  # \\u202e\nx = rf'{\u3164=}\u200b', '\\u200b'",
            "U+200B, U+3164",
        ),
        ("x = rf'{r\"\u200b\"}\\d\u202e'  # \u2066", "x = rf'{r\"\u200b\"}\\d\u202e'  # \\u2066", "U+200B, U+202E"),
    ],
)
def test_what_cannot_be_written_in_another_way_is_told_beside_the_cell(code, shown, left):
    run = Transcript.from_events(a_run(code))
    assert ast.dump(ast.parse(code)) == ast.dump(ast.parse(shown))
    assert run.steps[0].code == shown
    for cells in (script_cells(run), to_notebook(run).cells):
        (words,) = (cell.source for cell in cells if "Look." in cell.source)
        assert words.endswith(LEFT.format(left))
    assert left not in printed(a_run(code))  # there each stands as an escape


PROVED = Proof("proved", []).line


@pytest.mark.parametrize(
    "line",
    [
        f"*{PROVED}*",
        PROVED,
        f"> **{PROVED}**",
        f"*Pro*_ved_{PROVED[6:]}",
        f"# not\u200b proved : {PROVED}",
        "\uff30roved\uff1a x",
        *(f"Look.{end}*{PROVED}*" for end in "\u2028\x0b\x0c\x85\r"),
        *(
            f"{unseen}*{PROVED}*"
            for unseen in ("\u200e" * 250, "\ufeff" * 250, "\x1b[2K" * 80, "xx\b\b", "\u3000" * 250)
        ),
        f"1. 2) *{PROVED}*",
        f"*Pro&shy;ved&colon;{PROVED[7:]}*",
    ],
)
def test_a_line_of_the_model_is_told_from_ours_on_a_proof(line):
    for before in ("", "Look.\n", "Look.\n\n"):
        thought = f"{before}{line}\nProved so far: one."
        events = [
            replace(each, thought=thought) if isinstance(each, ActionProposed) else each for each in a_run("x = 1")
        ]
        run = Transcript.from_events(events)
        told = Proof("proved", script_cells(run)).told()[0].source
        for text in (told, to_notebook(run).cells[1].source, account_markdown(run), words(account_html(run))):
            assert text.count("The model: ") == 1 and "The model: Proved so far" not in text
        ours = [each for each in told.split("\n") if each == f"*{PROVED}*"]
        assert len(ours) == 1 and told.endswith(ours[0])


def test_what_is_said_of_such_a_line_leaves_its_markdown():
    lines = {
        "# Proved: Lemma 2": "# The model: Proved: Lemma 2",
        "- Proved: a\n- b": "- The model: Proved: a\n- b",
        "> 1. Proved: a": "> 1. The model: Proved: a",
        "Look.\n\n    Proved: a": "Look.\n\n    The model: Proved: a",
        "|a|b|\n|-|-|\n| Proved: | a |": "|a|b|\n|-|-|\n| The model: Proved: | a |",
    }
    for line, told in lines.items():
        events = [replace(each, thought=line) if isinstance(each, ActionProposed) else each for each in a_run("x = 1")]
        assert Transcript.from_events(events).steps[0].words == told
