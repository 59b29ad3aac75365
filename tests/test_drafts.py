"""What a model is writing is drawn as what it will be: words as words, code as code."""

from __future__ import annotations

import re

import pytest
from harmless import Page

from smol_kernel.events import ModelDelta, ModelReplied, RunFinished, RunStarted, StepFinished, StepStarted
from smol_kernel.render.html import account_html, step_html
from smol_kernel.render.markdown import account_markdown
from smol_kernel.render.text import account_text, step_text
from smol_kernel.render.transcript import Transcript
from smol_kernel.runs.notebook import to_notebook

WRITTEN = 'I clean *it* first. Then\n<code>\n# 1. make it\nfor a in b:\n    x = """\n- a\n"""'
"""A reply on its way, whose code would be Markdown."""


def writing(reply, *events):
    return Transcript.from_events(
        [StepStarted(run="r", step=1), ModelDelta(run="r", step=1, text=reply), *events]
    ).steps[0]


def words_of(html):
    return html.partition("<summary>")[2].partition('<pre class="smol-code">')[0]


@pytest.mark.parametrize("mark", ["<code>", "```python", "~~~", "``` py"])
def test_code_that_the_model_is_writing_is_drawn_as_code(mark):
    step = writing(WRITTEN.replace("<code>", mark))
    html = step_html(step, open=True)
    code = WRITTEN.partition("<code>\n")[2]
    assert Page(html).words.count(code) == 1
    assert words_of(html).count("I clean *it* first.") == 1
    assert not any(part in html for part in ("<li>", "smol-h1", mark))
    assert "\n   > for a in b:\n   >     x =" in step_text(step)


@pytest.mark.parametrize("end", ["<", "<co", "<code", "`", "``", "```", "```pyth"])
def test_of_a_mark_that_is_on_its_way_nothing_is_seen(end):
    step = writing(f"I look. Then\n{end}")
    assert (step.words, step.shown_code) == ("I look. Then", "")
    step = writing(f"I look.\n<code>\nx = 1\n{end.replace('<', '</')}".removesuffix("pyth"))
    assert (step.words, step.shown_code) == ("I look.", "x = 1")


@pytest.mark.parametrize(
    ("reply", "title", "rest"),
    [
        ("", "Asking the model", ""),
        ("I look", "Asking the model", "I look"),
        ("I look. Then I", "I look.", "Then I"),
        ("I look\nand", "I look", "and"),
        ("I look\n<code>\nx", "I look", ""),
        ("Write `<code>`. Then", "Write `<code>`.", "Then"),
        ("<think>\n```\nx\n```", "Asking the model", "<think>\n```\nx\n```"),
    ],
)
def test_a_step_has_its_title_once_its_first_sentence_is_whole(reply, title, rest):
    step = writing(reply)
    assert (step.title, step.words_beyond_title) == (title, rest)


@pytest.mark.parametrize("told", [account_html, account_text, account_markdown, to_notebook])
@pytest.mark.parametrize("replied", [False, True], ids=["broke off", "whole"])
def test_a_reply_is_in_every_account_where_the_run_ended_by_an_error(told, replied):
    begun = RunStarted(run="r", task="t", agent="CodeAgent", model="m", isolation="box", max_steps=3, system_prompt="")
    at = {"run": "r", "step": 1}
    reply = [ModelReplied(**at, content=WRITTEN, model="m")] if replied else []
    events = [begun, StepStarted(**at), ModelDelta(**at, text=WRITTEN), *reply]
    account = str(told(Transcript.from_events([*events, RunFinished(run="r", state="error", error="Gone.")])))
    account = re.sub(r"</?\w[^>]*>", "", account)
    assert all(part in account for part in ("clean", "make it", "for a in b"))


@pytest.mark.parametrize("told", [account_html, account_text, account_markdown, to_notebook])
def test_code_of_a_reply_that_was_stopped_is_code_in_every_account(told):
    begun = RunStarted(run="r", task="t", agent="CodeAgent", model="m", isolation="box", max_steps=3, system_prompt="")
    at = {"run": "r", "step": 1}
    events = [begun, StepStarted(**at), ModelDelta(**at, text=WRITTEN), StepFinished(**at)]
    account = str(told(Transcript.from_events([*events, RunFinished(run="r", state="interrupted")])))
    assert "# 1. make it" in account and "I clean" in account
    assert "<code>\n#" not in account and "<code>\\n#" not in account and 'class="smol-h1' not in account


def test_code_of_a_reply_that_was_stopped_is_no_prose():
    step = writing(WRITTEN, StepFinished(run="r", step=1))
    assert step.state == "interrupted"
    assert "<li>" not in step_html(step, open=True)
    assert "<code>" not in step_text(step)
