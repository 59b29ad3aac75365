"""What reads the texts of models and their code takes as long as they are long: with one step for each pair of
characters these would take hours."""

from __future__ import annotations

import pytest

from smol_kernel.models.too_long import asked_and_whole
from smol_kernel.render.draft import words_and_code
from smol_kernel.render.sanitize import clean_html, is_base64
from smol_kernel.runs.source import Source, nodes_of
from smol_kernel.runs.sql_chance import sql_chance

LONG = 4_000_000
BLANKS, HALF = " " * LONG, " " * (LONG // 2)
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.mark.parametrize(
    "style", ["text-align:left{}x", "{}text-align:left;x", "text-align:{}x", "text-align:left{};{}x"]
)
def test_a_style(style):
    assert clean_html(f'<p style="{style.replace("{}", BLANKS)}">a</p>') == "<p>a</p>"


def test_a_style_is_an_alignment_and_no_more():
    for style in ("text-align:left", " text-align: right ; ", "TEXT-ALIGN:center;"):
        assert clean_html(f'<p style="{style}">a</p>') == f'<p style="{style}">a</p>'
    for style in ("text-align:left" + " " * 200, "text-align:left;;", "text-align:left;x", ""):
        assert clean_html(f'<p style="{style}">a</p>') == "<p>a</p>"


@pytest.mark.parametrize("end", ["!", "=!", "==="])
def test_a_picture(end):
    assert clean_html(f'<img src="data:image/png;base64,A{BLANKS}{end}">') == "<img>"
    assert not is_base64(f"A{BLANKS}{end}")
    for value in (PIXEL, f"{PIXEL}\n", f"{PIXEL[:20]}\n{PIXEL[20:]} "):
        assert is_base64(value)
        assert "src=" in clean_html(f'<img src="data:image/png;base64,{value}">')
    assert not is_base64(f"{PIXEL}\nx") and not is_base64(f'{PIXEL}"')


@pytest.mark.parametrize("fence", ["```", "~~~", "x\n  ```"])
def test_a_draft(fence):
    assert words_and_code(f"Look.\n{fence}{BLANKS}x y") == (f"Look.\n{fence}{BLANKS}x y", "")
    assert words_and_code(f"Look.\n{fence}{BLANKS}\nx = 1")[1] == "x = 1"
    assert words_and_code(f"Look.\n{fence} python {BLANKS}\nx = 1")[1] == "x = 1"


@pytest.mark.parametrize("line", ["{}y y", "y{}y", "{}y y = (3)", "y{}? y", "{}'?", "{}#?"])
def test_a_line_that_may_be_one_of_ipython_s(line):
    assert Source(f"%ls\n{line.replace('{}', BLANKS)}").magics == {1}


def test_which_lines_are_ipython_s():
    lines = "  %time x\n?len\nlen??\n  len? \nx = !ls\n  x.y [0]=%ls\n\n  \ny = 1\n'?'".replace("?len\n", "")
    assert Source(f"if x:\n  {lines}").magics == {2, 3, 4, 5, 6}


@pytest.mark.parametrize("end", ["\f", "\\\n", ";\f", ";\f# x"])
def test_what_stands_behind_a_statement(end):
    source = Source(f"x{BLANKS}{end}")
    if source.body:
        assert source.end_of(source.body[0]) >= 1
    for behind in ("", " ", " ;", " ; ", ";# a", "  # a;"):
        source = Source(f"x{behind}\ny")
        assert source.body and source.end_of(source.body[0]) == len(f"x{behind}")


def sql(text):
    return sql_chance(nodes_of([f"import sqlite3\nc.execute({text!r})"]))


CLOCK = "the cells read the clock (`now()` in SQL)"


@pytest.mark.parametrize(
    "text",
    [f"select default{HALF}!", f"select default ({HALF}!", f"select default x{HALF}!", "select " + "/* " * (LONG // 4)],
    ids=["default", "in brackets", "a call", "comments"],
)
def test_sql(text):
    assert sql(text) == ""
    assert sql(f"{text}\n, now()") == CLOCK


def test_what_sql_leaves_out():
    for text in (
        "create table t (a default current_date)",
        "create table t (a default (current_date))",
        "create table t (a default ( date('now') ))",
        "create table t (a default now ())",
        "select /* now() */ 1 -- now()",
        "select /* now() -- */ 1",
        "select 1 /*/ now() */",
    ):
        assert sql(text) == "", text
    for text in ("select /* a */ now() /* b */", "select '/*', now()", "select /* -- */ now()", "select 1 /*/ now()"):
        assert sql(text) == CLOCK, text
    assert sql("select '/*' -- now()") == ""


def test_the_words_of_a_provider():
    assert asked_and_whole("context length is 4096: " + "9" * LONG) is None
    assert asked_and_whole("context length is 4096: 100 in the messages, 4000 in the completion") == (4000, 4096)
    assert asked_and_whole("context length is 4096: " + "9" * LONG + " in the completion") is None
