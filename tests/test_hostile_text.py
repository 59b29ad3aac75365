"""What hostile models and children write is harmless in every form in which it is shown (see also tests/browser)."""

from __future__ import annotations

import random
import re

import mistune
import pandas as pd
import pytest
from harmless import assert_harmless
from hostile import pieces, puzzles
from nbconvert.filters.markdown_mistune import markdown2html_mistune

from smol_kernel.events import (
    ActionFinished,
    ActionProposed,
    Output,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    ToolCalled,
)
from smol_kernel.render.html import step_html
from smol_kernel.render.markdown import account_markdown, fenced, run_markdown, safe_markdown
from smol_kernel.render.plain import plain
from smol_kernel.render.records import StepRecord
from smol_kernel.render.sanitize import NO_FORMULAS, clean_html, kept_html, output_html
from smol_kernel.render.transcript import Transcript
from smol_kernel.runs.notebook import opening
from smol_kernel.runs.python_file import python_file

PIECES = pieces("http://evil.example")
HTML = pieces("http://evil.example", "loads", "moves", "scripts")
BARE = mistune.create_markdown(escape=False)
GFM = ["table", "url", "footnotes", "task_lists", "strikethrough", "def_list"]
READERS = [BARE, mistune.create_markdown(escape=False, plugins=GFM), markdown2html_mistune]


@pytest.mark.parametrize("name", PIECES)
def test_html_is_harmless_and_stays_so_when_it_is_read_again(name):
    cleaned = clean_html(PIECES[name])
    assert_harmless(cleaned)
    assert clean_html(cleaned) == cleaned
    assert_harmless(output_html(Output(channel="display", text="t", data={"text/html": PIECES[name]})))


@pytest.mark.parametrize("seed", range(10))
def test_html_put_together_from_pieces_is_harmless(seed):
    chance = random.Random(seed)
    parts = [piece[at:] for piece in HTML.values() for at in (0, 0, 0, len(piece) // 2)]
    parts += [
        "<table>",
        "</table>",
        "<td>",
        "<p>",
        "</p>",
        "<svg>",
        "</svg>",
        "<math>",
        "<style>",
        "</style>",
        '"',
        "'",
    ]
    for _ in range(30):
        cleaned = clean_html("".join(chance.choices(parts, k=chance.randrange(2, 8))))
        assert_harmless(cleaned)
        assert clean_html(cleaned) == cleaned


@pytest.mark.parametrize("piece", [*HTML.values(), "$x$", "\\\\(x\\\\)", "</td></tr></table><style>*{}</style><table>"])
def test_a_table_that_a_notebook_keeps_as_it_came_is_nothing_else(piece):
    table = pd.DataFrame({"a": [1, 2.5], "b": ["x & y", "<i>"]})._repr_html_()
    assert kept_html(table) == table
    style = table[table.index("<style") : table.index("</style>") + len("</style>")]
    kept = kept_html(table.replace("<td>2.5</td>", f"<td>{piece}</td>"))
    assert_harmless(kept.replace(style, "", 1))
    assert kept_html(kept) == kept
    assert not re.search(r"[$\\\\]", kept) or NO_FORMULAS in kept


TABLE = pd.DataFrame({"a": [*"xyxy"], "b": [*"ppqq"], "c": [*"mnmn"], "v": [1, 2, 3, 4.5], "w": [1, 2, 3, 4]})
LEVELS = {
    "pivot": TABLE.pivot_table(index="a", columns="b", values="v", aggfunc=["mean", "count"]),
    "pivot of two": TABLE.pivot_table(index=["a", "c"], columns="b", values=["v", "w"], aggfunc=["mean", "count"]),
    "agg": TABLE.groupby("a")[["v", "w"]].agg(["mean", "max"]),
    "two keys": TABLE.groupby(["a", "b"])[["v"]].sum(),
    "two keys, agg": TABLE.groupby(["a", "b"]).agg({"v": ["mean", "max"]}),
    "unstacked": TABLE.set_index(["a", "b", "c"])["v"].unstack(),
    "crosstab": pd.crosstab(TABLE["a"], [TABLE["b"], TABLE["c"]]),
    "described": TABLE.groupby("a").describe(),
    "without names": pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")])),
    "large": pd.DataFrame([[1] * 30] * 100, columns=pd.MultiIndex.from_product([range(3), range(10)])),
}


@pytest.mark.parametrize("name", LEVELS)
def test_a_table_with_levels_is_kept_as_it_came(name):
    html = LEVELS[name]._repr_html_()
    assert kept_html(html) == html
    assert_harmless(clean_html(html))
    aligned = re.search(r'[hv]align="(?:left|top)"', html)
    for value in ("url(//x)", "javascript:x", "left;", "x y"):
        changed = html.replace(aligned[0], f'{aligned[0][:6]}="{value}"') if aligned else ""
        assert value not in kept_html(changed)


def test_a_table_that_stands_in_itself_too_deep_is_not_parsed():
    table = pd.DataFrame({"a": [1]})._repr_html_()
    assert kept_html(table.replace("<td>1</td>", f"<td>{'<b>' * 200_000}</td>")) == ""


def live(markdown):
    """What readers of Markdown make of it that loads, runs or leads somewhere."""
    links = r"<a\b(?! class=\"anchor-link\")(?![^>]*href=\"(?:#|mailto:))"
    for read in READERS:
        yield from re.findall(
            rf"{links}|<(?:img|script|iframe|style|object)\b|language-(?!python)|<\w[^<>]*\son\w+=", read(markdown)
        )


@pytest.mark.parametrize("name", PIECES)
def test_markdown_makes_no_element_that_loads_runs_or_leads(name):
    assert not [*live(safe_markdown(PIECES[name]))]


def test_the_readers_of_markdown_do_make_such_elements_of_it():
    assert sum(any(live(piece)) for piece in PIECES.values()) > 80


def step(seed):
    """A step that holds puzzles everywhere."""
    thought, code, error, text = puzzles(seed, 4)
    output = Output(channel="stdout", text=text)
    return StepRecord(1, thought=thought, code=code * (seed % 2), error_type="E", error=error, outputs=[output])


@pytest.mark.parametrize("seed", range(25))
def test_markdown_is_read_alike_whatever_is_in_it(seed):
    for number in range(10 * seed, 10 * seed + 10):
        inner = Transcript(task="t", state="success", rows=[step(number), step(number + 1)])
        one = step(number)
        one.runs.append(inner)
        assert not [*live(account_markdown(Transcript(task="t", state="success", rows=[one, step(number + 2)])))]
        assert not [*live(run_markdown(inner))]
        for text in puzzles(number, 5):
            assert not [*live(safe_markdown(text))], text


@pytest.mark.parametrize(
    "text",
    [
        "\\$a$ `![i](//e)`",
        "$a$` at 0x1234` `![i](//e)`",
        "`\\\\[` \\\\] `![i](//e)`",
        "`$$`\n\n```\n$$\n![i](//e)\n```",
        "```\n![i](//e)\n```",
        "a\n```\nb\n```",
    ],
)
def test_what_once_got_through(text):
    """Each ran through an earlier version, some in one reader only."""
    code = "```\n![i](//e)\n"
    run = Transcript(task="t", rows=[StepRecord(1, thought=text, code=code, state="error", error_type="E")])
    assert not [*live(account_markdown(run))]
    assert not [*live(safe_markdown(text))]
    assert not [*live(fenced("`` at 0x1234`\n![i](//e)"))]


@pytest.mark.parametrize("seed", range(10))
def test_a_title_is_whole_elements_whatever_marks_are_in_it(seed):
    chance = random.Random(seed)
    for _ in range(100):
        text = "".join(chance.choices(["`", "**", "*", "a", " ", "<b>", "**b**", "`c`", "\n\n"], k=12))
        assert_harmless(step_html(StepRecord(1, thought=text, code="x", state="ok"), open=True))


def test_child_html_has_no_formulas_on_any_page():
    shown = output_html(Output(channel="display", data={"text/html": "<b>$\\href{http://evil.example}{x}$</b>"}))
    assert 'class="tex2jax_ignore mathjax_ignore"' in shown


def test_a_picture_in_html_is_what_it_says_and_no_larger_than_a_page_can_hold(png):
    def shown(width, kind="png"):
        return clean_html(f"<img src='data:image/{kind};base64,{png(width)}'>")

    assert "src=" in shown(100)
    assert "src=" not in shown(100_000)
    assert "src=" not in shown(100, "jpeg")


def run_of(evil, code="x = 1\n1 / 0\ny = 2"):
    """A run whose variables, tools and errors are called and say so."""
    at = {"run": "r", "step": 1}
    begin = {"task": "t", "agent": "CodeAgent", "model": "m", "isolation": "box", "max_steps": 2, "system_prompt": ""}
    return Transcript.from_events(
        [
            RunStarted(run="r", **begin, inputs={evil: evil, "a": evil}, values={evil: {}}, tools=[evil, "f"]),
            StepStarted(**at),
            ActionProposed(**at, thought=evil, code=code),
            ToolCalled(**at, call="c", tool=evil, summary=evil),
            ActionFinished(**at, status="error", completed=1, error_type=evil, error=evil, traceback=evil),
            StepFinished(**at),
            RunFinished(run="r", state="max_steps_error", error=evil),
        ]
    )


@pytest.mark.parametrize("name", PIECES)
def test_no_name_of_a_variable_or_tool_is_live_in_a_notebook(name):
    evil = PIECES[name]
    for named in (evil, f"a` {evil} `b", f"`` {evil}", f"$${evil}$$", f"a\n\n{evil}", f"|{evil}"):
        assert not [*live(opening(run_of(named)))]


def test_a_name_of_a_variable_stands_in_a_notebook_as_it_is():
    for name in ("df", "größe", "my key"):
        assert f"- `{name}`: int 1" in opening(Transcript(task="t", inputs={name: "int 1"}))


UNSEEN = ["\x1b]0;own\x07\x1b[2J", "\u202e\u2066a", "a\rimport os", "\x9b31m\u2028import os", "\0\x85b"]


@pytest.mark.parametrize("evil", UNSEEN)
def test_nothing_unseen_is_in_a_python_file(evil):
    for code in ("x = 1\n1 / 0", f"x = 1\n1 / 0\nz = r'{evil}'  # {evil}", f"1 / 0\n%time 2\n# {evil}", f"no! {evil}"):
        written = python_file(run_of(evil, code))
        assert not [each for each in written if not each.isprintable() and each != "\n"]
        assert "import os" not in [line.strip() for line in written.split("\n")]
        compile(written, "run.py", "exec")


@pytest.mark.parametrize("name", pieces("x://x", "text"))
def test_nothing_unseen_is_left_in_text(name):
    assert not [character for character in plain(PIECES[name]) if not character.isprintable() and character != "\n"]


@pytest.fixture
def png():
    import base64

    def make(side):
        size = side.to_bytes(4, "big")
        return base64.b64encode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + size + size + b"\x08\6\0\0\0" + bytes(20)).decode()

    return make
