"""What a person does with the view of a run while it goes on: what they unfold, scroll, answer and hear."""

from __future__ import annotations

import pytest
from lab import NotebookPage
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

SETUP = """%load_ext smol_magic
from smol_kernel import CodeAgent, ScriptedModel, UserInputTool

def scripted(*actions):
    return ScriptedModel(["I do it.\\n<code>\\n" + action + "\\n</code>" for action in actions])

def waits(gate):
    return f"import os, time\\nnumber = 0\\nwhile {gate!r} not in os.listdir('.'):\\n" \\
           "    print(number := number + 1)\\n    time.sleep(0.1)\\n"
"""
HAS_CHANGED = "([part, seen]) => document.querySelector(part).textContent !== seen"


@pytest.fixture
def tab(lab, context, request):
    """A notebook whose cell 1 makes the model `m`, and cell 2 runs the agent, in the middle of its first steps."""
    model, options = request.param
    name = f"{request.node.name.partition('[')[0]}.ipynb"
    lab.write(name, [SETUP, model, f"%%agent --model m --no-write {options}\ngo"])
    page = NotebookPage(context, lab, name)
    page.run(0)
    page.run(1)
    page.start(2)
    return page


LONG = r"""m = scripted("\n".join(f"v{n} = '{'a long line ' * 30}'" for n in range(60)) + "\n" + waits("long"),
             "final_answer(1)")"""


@pytest.mark.parametrize("tab", [(LONG, "")], indirect=True)
def test_code_that_runs_can_be_read_while_it_prints(lab, tab, screenshot):
    view = tab.cell(2).locator(".smol-view")
    code, printed = view.locator("pre.smol-code"), view.locator("pre.smol-out")
    expect(printed).to_contain_text("1")
    code.evaluate("code => { code.focus(); code.scrollTop = 200 }")
    tab.page.wait_for_function(HAS_CHANGED, arg=[".smol-view pre.smol-out", printed.text_content()])
    assert code.evaluate("code => [code.scrollTop, code === document.activeElement]") == [200, True]
    screenshot(tab.page, "code-read")
    view.locator(".smol-step > summary").click()
    expect(code).to_be_hidden()
    expect(printed).to_be_hidden()
    (lab.notebooks / "long").touch()
    tab.wait_for_end(2)


CALLS = """model = scripted(waits("one"), waits("two"), "final_answer(1)")
helper = CodeAgent([], model, name="helper", description="x")
m = scripted("helper('go on')", "final_answer(1)")"""


DRAWN_BEFORE_THE_NEXT_FRAME = """async () => {
  const card = document.querySelector(".smol-view .smol-sub > summary").closest(".widget-html-content");
  const draw = async () => {
    card.innerHTML = card.innerHTML;
    await null;  // what observes it has done its part
  };
  card.toggleAttribute("data-changed");
  await null;
  await draw();
  for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);
  await draw();
}"""


@pytest.mark.parametrize("tab", [(CALLS, "--agent helper")], indirect=True)
def test_a_called_agent_that_a_person_folds_stays_so_and_keeps_the_focus(lab, tab, screenshot):
    called = tab.cell(2).locator(".smol-view .smol-sub")
    printed = called.locator("pre.smol-out")
    expect(printed).to_contain_text("1")
    line = called.locator("> summary")
    line.focus()
    tab.page.keyboard.press("Enter")
    expect(printed).to_be_hidden()
    screenshot(tab.page, "helper-folded")
    tab.page.evaluate(DRAWN_BEFORE_THE_NEXT_FRAME)  # not of the line: it may be drawn anew before that
    expect(line).to_be_focused()
    (lab.notebooks / "one").touch()
    expect(line).to_contain_text("2 steps")
    expect(called.locator(".smol-step pre.smol-out")).to_be_hidden()
    expect(line).to_be_focused()
    tab.page.keyboard.press("Enter")
    expect(printed).to_be_visible()
    (lab.notebooks / "two").touch()
    tab.wait_for_end(2)


@pytest.mark.parametrize("tab", [(LONG.replace('waits("long")', '"print(v1)"'), "")], indirect=True)
def test_arrows_scroll_code_and_leave_the_notebook_where_it_is(tab):
    tab.wait_for_end(2)
    step = tab.output(2).nth(1).locator(".smol-step").first
    step.locator("summary").click()
    for part, place in (
        ("pre.smol-code", "scrollTop"),
        ("pre.smol-code", "scrollLeft"),
        ("pre.smol-out", "scrollLeft"),
    ):
        step.locator(part).focus()
        tab.page.keyboard.press("ArrowDown" if place == "scrollTop" else "ArrowRight")
        moved = "([part, place]) => document.querySelector(`.jp-OutputArea .smol-step[open] ${part}`)[place] > 0"
        tab.page.wait_for_function(moved, arg=[part, place])
        expect(step.locator(part)).to_be_focused()


ASKS = r"""m = scripted(waits("asks"), "print(user_input('Go on?\\n(1) yes\\n(2) no'))", "final_answer(1)")"""
REGION = "() => document.querySelector('.smol-view [role=status]')"


@pytest.mark.parametrize("tab", [(ASKS, "--tool user_input")], indirect=True)
def test_a_question_and_the_end_are_told_in_one_region_that_was_there_before(lab, tab, screenshot):
    view = tab.cell(2).locator(".smol-view")
    expect(view.get_by_role("status")).to_have_text("")
    before = tab.page.evaluate_handle(REGION)
    (lab.notebooks / "asks").touch()
    expect(view.get_by_role("status")).to_have_text("the agent asks you: answer below, or ■ ends it")
    expect(tab.page.locator(".jp-Stdin-prompt")).to_contain_text("Your answer:")
    screenshot(tab.page, "agent-asks")
    tab.page.locator(".jp-Stdin-input").fill("1")
    tab.page.keyboard.press("Enter")
    tab.wait_for_end(2)
    expect(view.get_by_role("status")).to_have_text("done, 3 steps")
    assert tab.page.evaluate("before => before === document.querySelector('.smol-view [role=status]')", before)
    screenshot(tab.page, "agent-asked")
