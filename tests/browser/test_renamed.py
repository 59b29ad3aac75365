"""A notebook in a real JupyterLab that is renamed while its kernel goes on, and the next one of its name."""

from __future__ import annotations

import pytest
from lab import NotebookPage
from playwright.sync_api import expect
from test_notebook import SETUP, WAITS

pytestmark = pytest.mark.browser

TASK = "%%agent --model m -o ans\ncount the secrets"


def restart(tab):
    tab.page.locator('.jp-NotebookPanel-toolbar [data-jp-item-name="restart"]').click()
    tab.page.locator(".jp-Dialog .jp-mod-accept").click()
    expect(tab.output(2).first).to_contain_text("its end not seen here")
    tab.wait_until_idle()


def said(tab, index):
    tab.run(index)
    return str(tab.cells()[index]["outputs"])


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_a_renamed_notebook_keeps_its_runs_and_the_next_one_of_its_name_gets_none(lab, context, screenshot, app):
    name, gate = f"untitled-{app}.ipynb", lab.notebooks / f"renamed-gate-{app}"
    lab.write(name, [SETUP, WAITS.replace("GATE", gate.name), TASK, "%agent"])
    tab = NotebookPage(context, lab, name, app=app)
    tab.run(0)
    tab.run(1)
    tab.ask("(panel, name) => panel.context.rename(name)", f"project-{app}.ipynb")
    tab.start(2)
    expect(tab.cell(2).locator(".smol-view")).to_contain_text("os.listdir")
    restart(tab)
    screenshot(tab.page, f"renamed-{app}")
    tab.run(0)
    assert "count the secrets" in said(tab, 3)
    tab.save()

    answers = "m = scripted('final_answer(42)')"
    lab.write(name, [SETUP, answers, "%agent", "%agent resume --model m", "%agent show"])
    other = NotebookPage(context, lab, name, workspace="other", app=app)
    other.run(0)
    other.run(1)
    assert "no run since this kernel was started" in said(other, 2)
    for index in (3, 4):
        assert "There was no run since this kernel was started" in said(other, index)
    screenshot(other.page, f"next-of-its-name-{app}")
    other.edit(3, "%%agent --model m\nthe next one's")
    assert "42" in said(other, 3)
    other.save()
    other.page.close()

    assert "the next one" not in said(tab, 3)
    tab.page.close()
    lab.end_sessions()
    gate.touch()
    again = NotebookPage(context, lab, f"project-{app}.ipynb", workspace="again", app=app)
    expect(again.output(2).first).to_contain_text("its end not seen here")
    again.run(0)
    again.edit(1, answers)
    again.run(1)
    told = said(again, 3)
    assert "last run of this notebook" in told and "%agent resume" in told
    screenshot(again.page, f"renamed-again-{app}")
    again.edit(3, "%agent resume --model m")
    again.run(3)
    index = len(again.cells()) - 1
    assert again.sources()[index] == "ans = 42\nans"
    again.edit(index, "ans")
    assert "42" in said(again, index)
