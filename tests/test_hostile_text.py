"""What hostile models and children write is harmless in every form in which it is shown (see also tests/browser)."""

from __future__ import annotations

import random

import mistune
import pytest
from harmless import Page, assert_harmless
from hostile import pieces

from smol_kernel.events import Output
from smol_kernel.render.html import step_html
from smol_kernel.render.markdown import safe_markdown
from smol_kernel.render.plain import plain
from smol_kernel.render.records import StepRecord
from smol_kernel.render.sanitize import clean_html, output_html

PIECES = pieces("http://evil.example")
HTML = pieces("http://evil.example", "loads", "moves", "scripts")
GFM = ["table", "url", "footnotes", "task_lists", "strikethrough", "def_list"]


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


@pytest.mark.parametrize("plugins", [None, GFM], ids=["plain", "GitHub's"])
@pytest.mark.parametrize("name", PIECES)
def test_markdown_makes_no_element_that_loads_runs_or_leads(name, plugins):
    page = Page(mistune.create_markdown(escape=False, plugins=plugins)(safe_markdown(PIECES[name])))
    allowed = {"p", "em", "strong", "code", "pre", "ul", "ol", "li", "blockquote", "hr", "br", "input", "del"}
    allowed |= {f"h{level}" for level in range(1, 7)} | {"table", "thead", "tbody", "tr", "th", "td", "section", "sup"}
    assert page.tags <= allowed
    assert {name for _, name, _ in page.attributes} <= {"class", "type", "disabled", "checked", "style", "start"}


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
