"""A person's notebook in a real JupyterLab: the whole story of an agent cell, and how it is stopped and found again."""

from __future__ import annotations

import re

import pytest
from lab import NotebookPage
from playwright.sync_api import expect

from smol_kernel.models.demo import DEMO_TASKS

pytestmark = pytest.mark.browser

TASK = DEMO_TASKS[0].task
STOP = ".smol-view-stop"

SETUP = """%load_ext smol_magic
from smol_kernel import ScriptedModel, tool

def scripted(*actions):
    return ScriptedModel(["I do it.\\n<code>\\n" + action + "\\n</code>" for action in actions])
"""

STORY = [
    """%load_ext smol_magic
%agent model demo""",
    """from smol_kernel import tool
from smol_kernel.models.demo import demo_data

df = demo_data("co2")""",
    """import pathlib, time

@tool(threaded=True)
def fetch_unit(name: str) -> str:
    \"\"\"Looks up the unit of a measured quantity.

    Args:
        name: Name of the quantity.
    \"\"\"
    while not pathlib.Path("GATE").exists():
        time.sleep(0.01)
    return {"co2": "ppm"}[name]""",
    f"%%agent --in df -o answer\n{TASK}",
    "print(answer)",
]
AGENT = 3  # the agent cell of the story


def test_from_a_task_to_cells_that_run(lab, context, screenshot):
    gate = lab.notebooks / "gate"
    lab.write("story.ipynb", [cell.replace("GATE", str(gate)) for cell in STORY])
    tab = NotebookPage(context, lab, "story.ipynb")
    tab.command("application:toggle-left-area")
    for index in range(AGENT):
        tab.run(index)
    tab.start(AGENT)

    # The tool waits for us, so all of this is seen while the run goes on.
    view = tab.cell(AGENT).locator(".smol-view")
    expect(view).to_contain_text("I look at the table first")
    expect(view).to_contain_text("KeyError")
    expect(view).to_contain_text("The dates are the index", ignore_case=True)
    expect(view).to_contain_text("waiting for fetch_unit")
    expect(view).to_contain_text("isolated: box")
    expect(view).to_contain_text("scripted")
    expect(tab.cell(AGENT).locator(STOP)).to_be_visible()
    assert not tab.has_ended(AGENT)
    assert len(tab.cells()) == len(STORY)
    tab.scroll_to(AGENT)
    screenshot(tab.page, "running")
    now, stop = view.locator(".smol-view-now").bounding_box(), tab.cell(AGENT).locator(STOP).bounding_box()
    assert 0 < now["y"] - stop["y"] < 60  # it is told where Stop is, however long the run gets
    edges = sides(view)

    gate.touch()
    tab.wait_for_end(AGENT)
    expect(tab.cell(AGENT).locator(STOP)).to_be_hidden()
    expect(view).to_contain_text("done")
    account = tab.output(AGENT).nth(1)
    expect(account).to_contain_text("In the 1980s")
    expect(account.locator("img").first).to_be_visible()
    assert sides(account.locator(".smol")) == edges
    tab.page.set_viewport_size({"width": 1200, "height": 1150})
    tab.scroll_to(AGENT)
    screenshot(tab.page, "finished")
    tab.set_theme("Dark")
    screenshot(tab.page, "finished-dark")
    tab.set_theme("Light")
    tab.page.set_viewport_size({"width": 480, "height": 1150})
    for shown in (view, account.locator(".smol")):
        assert shown.evaluate("element => element.scrollWidth <= element.clientWidth")
    screenshot(tab.page, "finished-narrow")
    tab.page.set_viewport_size({"width": 1200, "height": 900})

    inserted = [cell for cell in tab.cells() if "smol" in cell["metadata"]]
    assert tab.cells()[AGENT + 1 : AGENT + 1 + len(inserted)] == inserted  # right below, in one piece
    assert [cell["cell_type"] for cell in inserted] == ["markdown", "code"] * (len(inserted) // 2)
    steps = [cell["metadata"]["smol"]["step"] for cell in inserted]
    assert steps == sorted(steps)
    assert all(cell.get("execution_count") is None and not cell.get("outputs") for cell in inserted)  # never run
    expect(tab.cell(AGENT + 1).locator(".jp-RenderedMarkdown")).to_be_visible()
    assert "%%agent" not in "".join(cell["source"] for cell in inserted)

    for _ in range(2):
        tab.run_below(AGENT + 1)
        cells = tab.cells()[AGENT + 1 :]
        assert not [out for cell in cells for out in cell.get("outputs", []) if out["output_type"] == "error"]
        assert "1980s" in str(cells[-1]["outputs"])  # print(answer), which stood below all the time
        assert any("image/png" in out.get("data", {}) for cell in cells for out in cell.get("outputs", []))
    screenshot(tab.page, "cells")

    tab.save()
    tab.page.close()
    lab.end_sessions()
    reopened = NotebookPage(context, lab, "story.ipynb", workspace="later")
    shown = reopened.output(AGENT)
    expect(shown).to_have_count(2)
    expect(shown.nth(1)).to_contain_text("In the 1980s")
    expect(shown.nth(0)).to_be_hidden()  # no height: the view has no kernel any more
    assert not reopened.ask("panel => panel.content.model.dirty")
    text = reopened.cell(AGENT).locator(".jp-OutputArea").inner_text()
    assert "Error displaying widget" not in text
    expect(reopened.page.get_by_text("Error displaying widget")).to_have_count(0)
    reopened.page.close()


def sides(shown):
    """Where its left and its right edge are."""
    box = shown.bounding_box()
    return box["x"], box["x"] + box["width"]


LONG_TASK = "Read the table and say which decade grew fastest, " * 8 + "\n\nIn the answer:\n- the unit\n- the amount"


def test_a_long_task_is_unfolded_by_a_key_and_stays_whole(lab, context, screenshot):
    lab.write("long.ipynb", [SETUP, "m = scripted('final_answer(1)')", f"%%agent --model m\n{LONG_TASK}"])
    tab = NotebookPage(context, lab, "long.ipynb")
    for index in range(3):
        tab.run(index)
    task = tab.output(2).nth(1).locator(".smol-task")
    screenshot(tab.page, "long-task")
    expect(task.get_by_text("- the amount")).to_be_hidden()
    task.locator("summary").focus()
    tab.page.keyboard.press("Enter")
    expect(task.get_by_text("- the amount")).to_be_visible()
    assert " ".join(task.inner_text().split()) == " ".join(LONG_TASK.split())
    screenshot(tab.page, "long-task-open")


def test_running_the_cell_again_replaces_its_own_cells_but_not_an_edited_one(lab, context):
    lab.write(
        "again.ipynb", [SETUP, "m = scripted('x = 20', 'final_answer(x + 1)')", "%%agent --model m\nadd", "'end'"]
    )
    tab = NotebookPage(context, lab, "again.ipynb")
    for index in range(3):
        tab.run(index)
    first = tab.cells()
    written = [cell["source"] for cell in first[3:-1]]
    assert written[1] == "x = 20"
    tab.edit(4, "x = 30  # mine")
    tab.run(1)
    tab.run(2)
    again = tab.sources()
    assert again[3 : 3 + len(written)] == written
    assert again[3 + len(written) :] == ["x = 30  # mine", "'end'"]


def test_running_the_cell_again_leaves_what_a_person_locked_and_the_cells_that_are_the_same(lab, context):
    made = """%config SmolMagic.prove = False
x = globals().get('x', 0) + 1
m = scripted('a = 1', f'x = {x}', 'final_answer(a + x)')
m.replies.extend(m.replies)"""
    lab.write("locked.ipynb", [SETUP, made, "%%agent --model m\nadd", "'end'"])
    tab = NotebookPage(context, lab, "locked.ipynb")
    view = tab.cell(2).locator(".smol-view")
    for index in (0, 1, 2, 4, 6):
        tab.run(index)
    assert tab.sources()[4:9:2] == ["a = 1", "x = 1", "a + x"]
    tab.ask("""panel => {
      const { cells } = panel.content.model.sharedModel;
      cells[4].setMetadata('tags', ['mine']);
      cells[6].setMetadata('deletable', false);
    }""")
    before = tab.cells()

    def marks(cells):
        return [
            {key: value for key, value in cell["metadata"].items() if key not in ("smol", "trusted")} for cell in cells
        ]

    tab.run(2)
    expect(view).to_contain_text("the cells below are those of this run as well")
    again = tab.cells()
    assert [{**cell, "metadata": 0} for cell in again[3:]] == [{**cell, "metadata": 0} for cell in before[3:]]
    assert marks(again[3:]) == marks(before[3:])
    assert again[4]["metadata"]["smol"]["run"] != before[4]["metadata"]["smol"]["run"]

    tab.run(1)
    tab.run(2)
    expect(view).to_contain_text("1 cell inserted below, 5 kept: read before you run")
    expect(view).to_contain_text("1 cell that you locked stays below them")
    last = tab.cells()
    assert tab.sources()[4:9:2] == ["a = 1", "x = 2", "a + x"] and tab.sources()[9:] == ["x = 1", "'end'"]
    for now, then in ((4, 4), (8, 8), (9, 6)):
        assert (last[now]["id"], last[now].get("outputs")) == (before[then]["id"], before[then].get("outputs"))
    assert marks(last[4:5]) == [{"tags": ["mine"]}]
    assert last[6]["execution_count"] is None and last[9]["execution_count"]


def test_cells_that_run_all_has_sent_are_not_run_unseen_when_others_take_their_place(lab, context, screenshot):
    made = """import pathlib
runs = pathlib.Path('runs')
runs.write_text((runs.read_text() if runs.exists() else '') + '.')
m = scripted(f'x = {min(2, len(runs.read_text()))}', 'final_answer(x + 1)')
x = 0"""
    lab.write("all.ipynb", [SETUP, made, "%%agent --model m\nadd", "x"])
    tab = NotebookPage(context, lab, "all.ipynb")
    view = tab.cell(2).locator(".smol-view")

    def run_all():
        tab.command("notebook:run-all-cells")
        tab.wait_for_end(len(tab.cells()) - 1)
        code = [cell for cell in tab.cells() if cell["cell_type"] == "code"][3:]
        return [(cell["source"], "".join(out["data"]["text/plain"] for out in cell["outputs"])) for cell in code]

    assert run_all() == [("x = 1", ""), ("x + 1", ""), ("x", "0")]
    expect(view).to_contain_text("cells inserted below: read before you run")
    assert run_all() == [("x = 2", ""), ("x + 1", ""), ("x", "0")]  # the old ones have not been run
    expect(view).to_contain_text("The ones that they replace were not run")
    screenshot(tab.page, "run-all")
    assert run_all() == [("x = 2", ""), ("x + 1", "3"), ("x", "2")]  # the same: they stay, and run as asked
    expect(view).to_contain_text("the cells below are those of this run as well")


def test_notebook_7_gets_its_cells_as_well(lab, context):
    lab.write(
        "seven.ipynb", [SETUP, "m = scripted('x = 20', 'final_answer(x + 1)')", "%%agent --model m\nadd", "'end'"]
    )
    tab = NotebookPage(context, lab, "seven.ipynb", app="notebook")
    for index in range(3):
        tab.run(index)
    expect(tab.cell(2).locator(".smol-view")).to_contain_text("cells inserted")
    assert [cell["source"] for cell in tab.cells()[3:] if cell["cell_type"] == "code"] == ["x = 20", "x + 1", "'end'"]


def test_two_tabs_get_the_cells_once_in_the_tab_that_ran_the_cell(lab, context):
    lab.write("tabs.ipynb", [SETUP, "m = scripted('x = 20', 'final_answer(x + 1)')", "%%agent --model m\nadd"])
    first = NotebookPage(context, lab, "tabs.ipynb", workspace="one")
    second = NotebookPage(context, lab, "tabs.ipynb", workspace="two")
    for index in range(3):
        second.run(index)
    assert [cell["source"] for cell in second.cells() if "smol" in cell["metadata"]][1::2] == ["x = 20", "x + 1"]
    assert not [cell for cell in first.cells() if "smol" in cell["metadata"]]


ADDS = [SETUP, "m = scripted('x = 20', 'final_answer(x + 1)')", "%%agent --model m\nadd", "'end'"]
WAITS = r"""from pathlib import Path
m = scripted("import os\nwhile 'GATE' not in os.listdir('.'): pass", "final_answer(42)")"""


def test_a_copy_of_an_inserted_cell_is_the_persons_own(lab, context):
    lab.write("copy.ipynb", ADDS)
    tab = NotebookPage(context, lab, "copy.ipynb")
    for index in range(3):
        tab.run(index)
    written = tab.sources()[3:-1]
    assert written[1] == "x = 20"
    for index, command in ((4, "copy-cell"), (len(tab.cells()) - 1, "paste-cell-below")):
        tab.cell(index).locator(".jp-InputPrompt").click()
        tab.command(f"notebook:{command}")
    assert tab.sources()[3:] == [*written, "'end'", "x = 20"]
    tab.run(1)
    tab.run(2)
    assert tab.sources()[3:] == [*written, "'end'", "x = 20"]


def test_cells_are_inserted_also_when_a_second_view_was_closed(lab, context):
    lab.write("views.ipynb", ADDS)
    tab = NotebookPage(context, lab, "views.ipynb")
    first = tab.ask("panel => panel.id")
    tab.command("docmanager:clone")
    tab.wait_for("(panel, first) => panel.id !== first", first)
    tab.command("application:close")
    tab.wait_for("(panel, first) => panel.id === first", first)
    for index in range(3):
        tab.run(index)
    expect(tab.cell(2).locator(".smol-view")).to_contain_text("cells inserted")
    assert "x = 20" in tab.sources()


def test_a_cell_cut_and_pasted_in_the_middle_of_a_run_says_where_its_account_is(lab, context, screenshot):
    gate = lab.notebooks / "pasted-gate"
    lab.write("pasted.ipynb", [SETUP, WAITS.replace("GATE", gate.name), "%%agent --model m\nwait for it", "'end'"])
    tab = NotebookPage(context, lab, "pasted.ipynb")
    tab.run(0)
    tab.run(1)
    tab.start(2)
    expect(tab.cell(2).locator(".smol-view")).to_contain_text("os.listdir")
    tab.cell(2).locator(".jp-InputPrompt").click()
    tab.command("notebook:cut-cell")
    tab.command("notebook:paste-cell-above")
    index = tab.sources().index("%%agent --model m\nwait for it")
    gate.touch()
    expect(tab.cell(index).locator(".smol-view")).to_contain_text("its account: %agent show")
    screenshot(tab.page, "pasted")


CONSOLE = """async id => {
  const options = {kernelPreference: {name: 'python3', ...(id ? {id} : {})}, activate: true};
  const { sessionContext } = await window.jupyterapp.commands.execute('console:create', options);
  await sessionContext.ready;
  const { kernel } = sessionContext.session;
  await kernel.info;
  return kernel.id;
}"""


def test_cells_are_inserted_also_where_a_console_had_the_kernel_first(lab, context):
    """Of all that has one kernel in a window, the first alone hears of comms."""
    lab.write("plain.ipynb", ["1"])
    lab.write("beside.ipynb", ADDS)
    tab = NotebookPage(context, lab, "plain.ipynb")
    kernel = tab.page.evaluate(CONSOLE)
    tab.command("docmanager:open", {"path": "beside.ipynb", "kernel": {"id": kernel}})
    tab.wait_for("panel => panel.context.path === 'beside.ipynb'")
    tab.page.evaluate(
        "[...window.jupyterapp.shell.widgets('main')].find(each => each.context?.path === 'plain.ipynb').dispose()"
    )
    tab.page.wait_for_function("() => document.querySelectorAll('.jp-NotebookPanel').length === 1")
    tab.wait_until_ready()
    assert tab.ask("panel => panel.sessionContext.session.kernel.id") == kernel
    for index in range(3):
        tab.run(index)
    expect(tab.cell(2).locator(".smol-view")).to_contain_text("cells inserted")
    assert "x = 20" in tab.sources()


def test_cells_are_inserted_once_where_another_window_has_a_console_on_the_kernel(lab, context):
    lab.write("windows.ipynb", ADDS)
    tab = NotebookPage(context, lab, "windows.ipynb")
    other = context.new_page()
    other.goto(f"{lab.url}/lab/workspaces/windows?token={lab.token}&reset")
    other.wait_for_function("() => window.jupyterapp?.commands.hasCommand('console:create')")
    kernel = tab.ask("panel => panel.sessionContext.session.kernel.id")
    assert other.evaluate(CONSOLE, kernel) == kernel
    tab.page.bring_to_front()
    for index in range(3):
        tab.run(index)
    expect(tab.cell(2).locator(".smol-view")).to_contain_text("cells inserted")
    assert tab.sources().count("x = 20") == 1
    assert not [source for source in tab.sources() if source.startswith("# %%")]


def test_a_code_console_keeps_the_task_that_was_sent(lab, context, screenshot):
    lab.write("console.ipynb", ADDS)
    tab = NotebookPage(context, lab, "console.ipynb")
    tab.run(0)
    tab.run(1)
    kernel = tab.ask("panel => panel.sessionContext.session.kernel.id")
    tab.command("console:create", {"kernelPreference": {"id": kernel}, "path": "console.ipynb", "activate": True})
    console = tab.page.locator(".jp-CodeConsole")
    prompt = console.locator(".jp-CodeConsole-promptCell .cm-content")
    prompt.click()
    tab.page.keyboard.insert_text("%%agent --model m\nadd in a console")
    tab.page.keyboard.press("Shift+Enter")
    expect(console).to_contain_text("%agent export FILE --script")
    tab.page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'"
    )
    expect(console.locator(".jp-CodeConsole-content")).to_contain_text("add in a console")
    screenshot(tab.page, "console")


def test_a_card_that_a_person_folds_stays_so_and_keeps_the_focus_while_its_action_prints(lab, context, screenshot):
    count = r"import os, time\nnumber = 0\nwhile 'GATE' not in os.listdir('.'):\n    print(number := number + 1)"
    count += r"\n    time.sleep(0.1)"
    gate = lab.notebooks / "fold-gate"
    lab.write("fold.ipynb", [SETUP, f'm = scripted("{count}", "final_answer(1)")'.replace("GATE", gate.name), ADDS[2]])
    tab = NotebookPage(context, lab, "fold.ipynb")
    tab.run(0)
    tab.run(1)
    tab.start(2)
    view = tab.cell(2).locator(".smol-view")
    printed = view.locator("pre.smol-out")
    expect(printed).to_contain_text("1")
    expect(view).to_contain_text("step 1 of 20 · the action runs")
    expect(view.get_by_role("status")).to_have_text("")  # what changes with every step is not read aloud
    expect(view.get_by_role("progressbar", name="Agent at work")).to_have_count(1)
    screenshot(tab.page, "unfolded")
    line = view.locator(".smol-step > summary")
    line.focus()
    tab.page.keyboard.press("Enter")
    expect(printed).to_be_hidden()
    seen = printed.text_content()
    tab.page.wait_for_function(
        "seen => document.querySelector('.smol-view pre.smol-out').textContent !== seen", arg=seen
    )
    expect(printed).to_be_hidden()
    expect(line).to_be_focused()
    screenshot(tab.page, "folded")
    gate.touch()
    tab.wait_for_end(2)


LOOPS = "print('be' + 'gun')\\nwhile True: pass"


@pytest.fixture
def looping(lab, context, request):
    """A notebook whose agent cell (2) is in the middle of an endless action, with a cell queued behind it."""
    name = f"{request.node.name}.ipynb"
    lab.write(name, [SETUP, f"m = scripted('kept = 1', {LOOPS!r})".replace("\\\\n", "\\n"), "%%agent --model m\nloop",
                     "ran = True"])  # fmt: skip
    tab = NotebookPage(context, lab, name)
    tab.run(0)
    tab.run(1)
    tab.start(2)
    tab.start(3)
    expect(tab.cell(2).locator(".smol-view")).to_contain_text("begun")
    return tab


def assert_stopped(tab):
    """The cell says so in one line, nothing was inserted, and the cell queued behind it did not run."""
    tab.wait_for_end(2)
    outputs = tab.cells()[2]["outputs"]
    assert [output["output_type"] for output in outputs] == ["display_data", "display_data", "error"]
    assert outputs[-1]["ename"] == "Stopped" and len(outputs[-1]["traceback"]) == 1
    expect(tab.cell(2).locator(".smol-view")).to_contain_text("stopped")
    expect(tab.cell(2).locator(STOP)).to_be_hidden()
    tab.wait_for_end(3)
    assert tab.cells()[3]["execution_count"] is None
    assert not [cell for cell in tab.cells() if "smol" in cell["metadata"]]


def test_the_stop_button_stops_in_the_middle_of_an_action(looping, screenshot):
    looping.cell(2).locator(STOP).click()
    assert_stopped(looping)
    screenshot(looping.page, "stopped")


@pytest.mark.parametrize("part", [STOP, ".smol-step > summary"])
def test_keys_reach_the_notebook_when_what_had_the_focus_is_gone(looping, part):
    looping.cell(2).locator(part).first.focus()
    if part == STOP:
        looping.page.keyboard.press("Enter")
    else:  # by a command, which leaves the focus where it is, as the toolbar's button does not
        looping.command("notebook:interrupt-kernel", {"activate": False})
    assert_stopped(looping)
    looping.wait_for("panel => panel.content.node.contains(document.activeElement)")
    before = looping.ask("panel => panel.content.activeCellIndex")
    looping.page.keyboard.press("k")
    looping.wait_for("(panel, before) => panel.content.activeCellIndex === before - 1", before)


def test_keys_reach_the_notebook_when_all_that_folds_goes_between_two_frames(looping):
    looping.cell(2).locator(".smol-step > summary").first.focus()
    looping.page.evaluate(
        "async () => { for (const _ of [1, 2]) await new Promise(requestAnimationFrame);"
        " document.activeElement.closest('.smol-view > :last-child').remove(); }"
    )
    looping.wait_for("panel => panel.content.node.contains(document.activeElement)")


def test_the_bar_that_moves_does_not_have_the_page_laid_out_again_in_each_frame(looping):
    measured = looping.page.context.new_cdp_session(looping.page)
    measured.send("Performance.enable")

    def layouts():
        return {each["name"]: each["value"] for each in measured.send("Performance.getMetrics")["metrics"]}[
            "LayoutCount"
        ]

    bar = looping.cell(2).locator(".smol-view-bar i")
    place, before = bar.bounding_box()["x"], layouts()
    looping.page.evaluate("async () => { for (let n = 0; n < 120; n++) await new Promise(requestAnimationFrame); }")
    assert layouts() - before < 60
    assert bar.bounding_box()["x"] != place


def test_the_toolbars_square_stops_in_the_middle_of_an_action(looping):
    looping.press_interrupt()
    assert_stopped(looping)


def test_pressing_stop_and_the_square_many_times_is_as_good_as_once(looping):
    looping.cell(2).locator(STOP).click()
    for _ in range(3):
        looping.press_interrupt()
    assert_stopped(looping)
    looping.edit(3, "1 + 1")
    looping.run(3)
    assert "2" in str(looping.cells()[3]["outputs"])


def test_a_kernel_restarted_in_the_middle_of_a_run_leaves_no_dead_view_and_offers_the_run(looping, screenshot):
    looping.page.locator('.jp-NotebookPanel-toolbar [data-jp-item-name="restart"]').click()
    looping.page.locator(".jp-Dialog .jp-mod-accept").click()
    expect(looping.cell(2).locator(".smol-view")).to_have_count(0)
    line = looping.output(2).first
    expect(line).to_contain_text("Agent run, its end not seen here")
    screenshot(looping.page, "restarted")
    looping.wait_until_idle()
    (run,) = set(re.findall(r"%agent (?:show|resume) (\w+)", line.inner_text()))
    looping.edit(3, "%load_ext smol_magic\n%agent")
    looping.run(3)
    offered = str(looping.cells()[3]["outputs"])
    assert "“loop”" in offered and f"%agent show {run}" in offered
    looping.run(3)
    again = str(looping.cells()[3]["outputs"])
    assert f"last run of this notebook: {run} · " in again and "An earlier run" not in again
    screenshot(looping.page, "restarted-agent")
    looping.edit(3, f"%agent show {run}")
    looping.run(3)
    expect(looping.output(3)).to_contain_text("loop")


def test_of_those_that_write_one_notebook_together_one_retires_a_dead_view_and_the_others_wait(looping):
    """Two that do it at once would double the outputs. There is another here as far as the notebook's model tells."""
    looping.ask("""panel => {
      const { awareness } = panel.content.model.sharedModel;
      awareness.getStates().set(awareness.clientID - 1, {});
      const shown = () => document.querySelectorAll('.smol-view').length;
      panel.sessionContext.statusChanged.connect((_, status) => {
        if (status.endsWith('restarting')) window.shownThen ??= shown();
      });
    }""")
    looping.page.locator('.jp-NotebookPanel-toolbar [data-jp-item-name="restart"]').click()
    looping.page.locator(".jp-Dialog .jp-mod-accept").click()
    expect(looping.output(2).first).to_contain_text("its end not seen here")  # the other one may have gone
    expect(looping.cell(2).locator(".smol-view")).to_have_count(0)
    assert looping.ask("() => window.shownThen") == 1


TOOL = '''@tool
def hold() -> int:
    """Holds the notebook's thread."""
    while True: pass

m = scripted("hold()")'''


def test_the_square_stops_a_tool_that_holds_the_notebook(lab, context):
    lab.write("tool.ipynb", [SETUP, TOOL, "%%agent --model m\nhold", "ran = True"])
    tab = NotebookPage(context, lab, "tool.ipynb")
    tab.run(0)
    tab.run(1)
    tab.start(2)
    tab.start(3)
    view = tab.cell(2).locator(".smol-view")
    expect(view).to_contain_text("hold runs in this notebook")
    expect(view).to_contain_text("■")
    tab.press_interrupt()
    assert_stopped(tab)


def test_a_page_reloaded_in_the_middle_of_a_run_is_offered_the_run(lab, context):
    gate = lab.notebooks / "reload-gate"
    waits = f"import os\\nwhile {gate.name!r} not in os.listdir('.'): pass"
    model = f'm = scripted("{waits}", "final_answer(42)")'
    lab.write("reload.ipynb", [SETUP, model, "%%agent --model m --no-write\nwait for it", "%agent", ""])
    tab = NotebookPage(context, lab, "reload.ipynb")
    tab.run(0)
    tab.run(1)
    tab.save()
    tab.start(2)
    expect(tab.cell(2).locator(".smol-view")).to_contain_text("os.listdir")
    tab.page.reload()
    tab.wait_until_shown()
    gate.touch()
    tab.run(tab.sources().index("%agent"))
    offered = str(tab.cells()[tab.sources().index("%agent")]["outputs"])
    assert "wait for it" in offered
    command = offered[offered.index("%agent show") :].split(" · ")[0]
    last = len(tab.cells()) - 1
    tab.edit(last, command)
    tab.run(last)
    expect(tab.output(last)).to_contain_text("42")


def test_a_page_closed_in_the_middle_of_a_run_says_where_its_account_and_its_cells_are(lab, context, screenshot):
    gate = lab.notebooks / "closed-gate"
    lab.write("closed.ipynb", [SETUP, WAITS.replace("GATE", gate.name), "%%agent --model m -o answer\nwait for it", ""])
    tab = NotebookPage(context, lab, "closed.ipynb")
    tab.run(0)
    tab.run(1)
    tab.start(2)
    expect(tab.cell(2).locator(".smol-view")).to_contain_text("os.listdir")
    tab.save()
    tab.page.close()
    gate.touch()
    tab = NotebookPage(context, lab, "closed.ipynb", workspace="reopened")
    tab.edit(3, "answer")
    tab.run(3)
    assert "42" in str(tab.cells()[3]["outputs"])
    line = tab.cell(2).locator(".smol-view")
    expect(line).to_contain_text("its account: %agent show")
    expect(line).to_contain_text("its cells: %agent export FILE")
    screenshot(tab.page, "closed")
    tab.edit(3, "%agent show " + line.inner_text().split("%agent show ")[1].split()[0])
    tab.run(3)
    expect(tab.output(3).last).to_contain_text("42")


def test_the_agent_kernel_takes_a_plain_cell_as_a_task(lab, context, screenshot):
    lab.write(
        "agent.ipynb",
        [
            "%%host\nfrom smol_kernel.models.demo import demo_data\n"
            "from smol_kernel import ScriptedModel\nm = ScriptedModel(["
            "'I read the table and look at its last rows.\\n<code>\\n"
            "import statsmodels.api as sm\\n"
            "df = sm.datasets.macrodata.load_pandas().data\\ndf.tail(3)\\n</code>',\n"
            "'The columns say what I need.\\n<code>\\n"
            'final_answer(f"{len(df)} quarters, {df.year.min():.0f} to {df.year.max():.0f}")\\n</code>\'])',
            "%agent model m",
            "How many quarters does the table of US macro data cover?",
            "%%py\ndf[['year', 'quarter', 'infl']].describe().round(1)",
        ],
        kernel="agent",
    )
    tab = NotebookPage(context, lab, "agent.ipynb")
    tab.command("application:toggle-left-area")
    for index in range(4):
        tab.run(index)
    expect(tab.output(2).nth(1)).to_contain_text("203 quarters, 1959 to 2009")
    expect(tab.output(3)).to_contain_text("infl")
    assert len(tab.cells()) == 4  # a cell of Python would be the next task here
    tab.scroll_to(2)
    screenshot(tab.page, "agent-kernel")


ENGLISH = "For each row in the table, print it if it is not None and return True."
PYTHON = "for row in [None, True]: print(row)"


def is_coloured(tab, index, wanted):
    """Whether CodeMirror has marked words of a cell, once it has or has not."""
    marked = tab.cell(index).locator(".cm-line span")
    return expect(marked).not_to_have_count(0) if wanted else expect(marked).to_have_count(0)


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_a_task_is_not_coloured_as_python(lab, context, app):
    lab.write(f"colours-{app}.ipynb", [f"%%agent -o answer\n{ENGLISH}", PYTHON])
    tab = NotebookPage(context, lab, f"colours-{app}.ipynb", app=app)
    is_coloured(tab, 1, True)
    is_coloured(tab, 0, False)
    tab.edit(0, PYTHON)
    is_coloured(tab, 0, True)
    tab.edit(0, f"%%agents\n{PYTHON}")
    is_coloured(tab, 0, True)
    tab.edit(1, f"\n%%agent\n{ENGLISH}")
    is_coloured(tab, 1, False)
    tab.command("notebook:insert-cell-below")
    tab.edit(2, f"# my question\n\n%%agent\n{ENGLISH}")
    is_coloured(tab, 2, False)


def test_in_the_agent_kernel_only_code_is_coloured(lab, context, screenshot):
    remarks = "# a remark  \n" * 40  # many ways to read the blanks
    cells = [ENGLISH, f"%%py\n{PYTHON}", f"# in the kernel itself\n%%host\n{PYTHON}", f"{remarks}{ENGLISH}"]
    lab.write("agent_colours.ipynb", cells, kernel="agent")
    tab = NotebookPage(context, lab, "agent_colours.ipynb")
    is_coloured(tab, 0, False)
    for index in (1, 2):
        is_coloured(tab, index, True)
    is_coloured(tab, 3, False)
    screenshot(tab.page, "agent_colours")
