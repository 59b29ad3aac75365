"""The account of a run as a browser lays it out."""

from __future__ import annotations

import pytest

from smol_kernel.events import (
    ActionProposed,
    FinalAnswer,
    PlanMade,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
)
from smol_kernel.render.html import account_html, row_html
from smol_kernel.render.records import StepRecord
from smol_kernel.render.style import STYLE
from smol_kernel.render.transcript import Transcript

pytestmark = pytest.mark.browser

RIGHT_TO_LEFT = "أحسب المتوسط للعمود `price` ثم أرسم النتيجة."
LEFT_TO_RIGHT = "I take the mean of `price`, then I draw it."
ENDS = """selector => {
  // Where the first letter of the first text begins, that of the code, and the last letter of the last text.
  const part = document.querySelector(selector), code = part.querySelector('code'), all = document.createRange();
  const place = (node, at) => {
    all.setStart(node, at);
    all.setEnd(node, at + 1);
    return all.getBoundingClientRect().x;
  };
  const last = part.lastChild;
  return [place(part.firstChild, 0), place(code.firstChild, 0), place(last, last.length - 1)];
}"""


def account(words, *plan):
    """The account of a run whose words are these, with the events of a plan or without."""
    at = {"run": "r", "step": 1}
    events = [
        RunStarted(run="r", task=words, agent="CodeAgent", model="m", isolation="box", max_steps=3, system_prompt=""),
        *plan,
        StepStarted(**at),
        ActionProposed(**at, thought=words, code="x"),
        StepFinished(**at),
        FinalAnswer(run="r", value=words, text=words),
        RunFinished(run="r", state="success"),
    ]
    return account_html(Transcript.from_events(events))


@pytest.mark.parametrize("part", [".smol-t", ".smol-final strong"])
def test_words_are_read_in_the_direction_of_their_language(context, part):
    page = context.new_page()
    page.set_content(account(RIGHT_TO_LEFT))
    assert sorted(ends := page.evaluate(ENDS, part), reverse=True) == ends
    page.set_content(account(LEFT_TO_RIGHT))
    assert sorted(ends := page.evaluate(ENDS, part)) == ends
    assert ends[0] < 100


def test_in_a_narrow_window_a_title_stands_beside_its_number(context):
    page = context.new_page()
    page.set_viewport_size({"width": 240, "height": 600})
    page.set_content(account(LEFT_TO_RIGHT))
    number, title = (page.locator(part).first.bounding_box() for part in (".smol-n", ".smol-t"))
    assert title["y"] < number["y"] + number["height"] and title["x"] > number["x"] + number["width"]


def test_in_a_narrow_window_seconds_and_tokens_end_where_the_title_does(context):
    page = context.new_page()
    page.set_viewport_size({"width": 240, "height": 600})
    step = StepRecord(1, "ok", thought=LEFT_TO_RIGHT, code="x", seconds=1.5, tokens=1_000)
    page.set_content(f'{STYLE}<div class="smol-run smol">{row_html(step)}</div>')
    title, spent = (page.locator(part).bounding_box() for part in (".smol-t", ".smol-m"))
    assert spent["y"] > title["y"] and spent["x"] + spent["width"] == pytest.approx(title["x"] + title["width"], abs=1)


def test_on_paper_nothing_is_folded(context):
    page = context.new_page()
    page.set_content(account(LEFT_TO_RIGHT))
    code, seen = page.locator("pre.smol-code"), "code => code.checkVisibility()"
    assert not code.evaluate(seen)
    page.emulate_media(media="print")
    assert code.evaluate(seen)


def test_names_that_are_read_aloud_hold_no_drawn_marks(context):
    page = context.new_page()
    planned = PlanMade(run="r", step=1, plan="Look, then draw.")
    page.set_content(account(f"{LEFT_TO_RIGHT} " * 9, planned))
    tree = context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    names = [node["name"]["value"] for node in tree if node.get("role", {}).get("value") == "DisclosureTriangle"]
    assert names[1:] == ["The plan", "1 I take the mean of price, then I draw it."]
    assert names[0].startswith("I take the mean") and not set("▸▾≡") & set("".join(names))
