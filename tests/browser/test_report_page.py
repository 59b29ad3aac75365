"""The page of a run in a browser: it is searched and walked through by keys, and nothing that somebody wrote in it runs
or loads anything. A server listens for whatever gets out."""

from __future__ import annotations

import pytest
from hostile import pieces
from lab import WAIT_MS
from listener import Listener
from playwright.sync_api import expect
from timed_run import a_run

from smol_kernel.runs.report import report_html

pytestmark = pytest.mark.browser

PLANTED = """<img src="{0}/image"><script>fetch("{0}/script", {{mode: "no-cors"}}); window.__pwn = 1</script>
<style>@import "{0}/sheet"; h1 {{ background: url({0}/background) }}</style><iframe src="{0}/frame"></iframe>
<p style="background: url({0}/attribute)">x</p><img src="data:," onerror="fetch('{0}/handler', {{mode: 'no-cors'}})">
<object data="{0}/object"></object><form action="{0}/form"><button id="send">x</button></form>"""
"""What would get out if something let it into the page as it is."""


@pytest.fixture
def listener():
    with Listener() as server:
        yield server


@pytest.fixture
def opened(context, tmp_path):
    """Opens a page from a file; gives it and what its console said."""

    def opened(html, **options):
        (tmp_path / "run.html").write_text(html)
        page, said = context.new_page(), []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.emulate_media(**options)
        page.goto(f"file://{tmp_path / 'run.html'}")
        return page, said

    return opened


def settle(page, listener, name):
    """What the page asked for, once all that it set out to load has been heard of: what is asked for later has come."""
    page.evaluate("() => document.querySelectorAll('details').forEach(one => { one.open = true })")
    other = page.context.new_page()
    other.goto(f"{listener.base}/{name}")
    assert listener.wait_for(name, WAIT_MS / 1000)
    other.close()
    return [asked for asked in listener.asked if asked not in (name, "favicon.ico")]


def test_the_page_is_searched_and_walked_through_by_keys(opened, screenshot):
    page, said = opened(report_html(a_run()), color_scheme="dark")
    steps, search = page.locator("main .row"), page.get_by_role("searchbox")
    cards = page.locator("main .row > details")
    expect(steps).to_have_count(3)  # what happened between the two is a row as well
    page.keyboard.press("/")
    page.keyboard.type("find b")
    expect(page.locator(".row:visible")).to_have_count(1)
    expect(cards.first).to_have_attribute("open", "")
    expect(page.locator(".find output")).to_have_text("1 of 3")
    screenshot(page, "report-search")
    page.keyboard.press("Escape")
    expect(page.locator(".row:visible")).to_have_count(3)
    expect(cards.first).not_to_have_attribute("open", "")
    expect(search).not_to_be_focused()

    page.keyboard.press("j")
    expect(steps.nth(0).locator("summary").first).to_be_focused()
    page.keyboard.press("o")
    expect(cards.first).to_have_attribute("open", "")
    page.locator("details.use summary").first.click()
    expect(page.get_by_text("argument 1").first).to_be_visible()
    for key, at in (("j", 1), ("j", 2), ("j", 2), ("k", 1)):
        page.keyboard.press(key)
        focused = page.evaluate(
            "[...document.querySelectorAll('.row')].indexOf(document.activeElement.closest('.row'))"
        )
        assert focused == at
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).not_to_be_visible()
    page.keyboard.press("e")
    assert page.evaluate("[...document.querySelectorAll('main .row > details')].every(card => card.open)")
    page.set_viewport_size({"width": 320, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    assert said == []


def test_without_script_the_page_says_all_the_same(browser, tmp_path):
    (tmp_path / "run.html").write_text(report_html(a_run()))
    context = browser.new_context(java_script_enabled=False, color_scheme="dark")
    page = context.new_page()
    page.goto(f"file://{tmp_path / 'run.html'}#step-1")
    expect(page.get_by_role("searchbox")).not_to_be_visible()
    page.locator("#step-1 summary").first.click()
    expect(page.get_by_text("code 500 ms")).to_be_visible()
    assert page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor") == "rgb(18, 21, 24)"
    context.close()


def test_what_is_hostile_in_a_run_stays_text(opened, listener):
    page, said = opened(report_html(a_run("\n".join(pieces(listener.base).values()))))
    assert settle(page, listener, "sentinel") == []
    assert page.evaluate("window.__pwn") is None
    assert said == []


def test_what_gets_into_the_page_all_the_same_is_stopped_by_its_policy(opened, listener):
    html = report_html(a_run()).replace("<h1>", PLANTED.format(listener.base) + "<h1>")
    page, _ = opened(html)
    page.evaluate("document.querySelector('#send').click()")
    assert settle(page, listener, "sentinel") == []
    assert page.evaluate("window.__pwn") is None
    page, _ = opened(html.replace("Content-Security-Policy", "none"))
    asked = set(settle(page, listener, "control"))
    assert page.evaluate("window.__pwn") == 1
    assert {"image", "script", "sheet", "frame", "attribute", "handler", "object"} <= asked
