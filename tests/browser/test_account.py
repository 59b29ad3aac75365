"""The account of a run as a browser lays it out."""

from __future__ import annotations

import pytest

from smol_kernel.events import ActionProposed, FinalAnswer, RunFinished, RunStarted, StepFinished, StepStarted
from smol_kernel.render.html import account_html
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


def account(words):
    """The account of a run whose words are these."""
    at = {"run": "r", "step": 1}
    events = [
        RunStarted(run="r", task=words, agent="CodeAgent", model="m", isolation="box", max_steps=3, system_prompt=""),
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
