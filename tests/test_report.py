"""The page of a run: all of it is there, on its own clock, and nothing in it is live but its own script."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace

import pytest
from hostile import pieces
from nested_events import whole_run
from timed_run import a_run

from smol_kernel.events import RunStarted
from smol_kernel.executors.values import encode
from smol_kernel.runs.readable import readable
from smol_kernel.runs.report import report_html
from smol_kernel.runs.report_steps import seconds_text
from smol_kernel.runs.timeline import covered, timeline_of


def test_time_stands_still_while_nobody_works_on_the_run():
    timeline = timeline_of(a_run())
    assert (timeline.began, timeline.seconds) == (100.0, 6.0)
    one, two = timeline.runs["r"][1], timeline.runs["r"][2]
    assert (one.begin, one.end, one.seconds_of_model, one.seconds_of_code, one.seconds_of_tools) == (
        0,
        4.5,
        1.5,
        0.5,
        2,
    )
    assert (one.action, [(use.begin, use.end) for use in one.tools.values()]) == ((2.0, 4.5), [(2.0, 3.0), (2.5, 4.0)])
    assert (two.begin, two.end, len(two.models)) == (4.5, 6.0, 1)
    assert covered([(0, 2), (1, 3), (5, 6)]) == 4


def test_plans_and_agents_side_by_side_keep_apart():
    timeline = timeline_of(whole_run())
    assert {run: len(list(timeline.models(run))) for run in "pabw"} == {"p": 2, "a": 1, "b": 1, "w": 1}
    assert [use.replied.purpose for use in timeline.plans["p"]] == ["plan"]
    assert set(timeline.runs) == set("pabcw")


def test_all_of_a_run_is_told():
    page = report_html(a_run())
    for told in (
        "<h1>Count.</h1>", '<p class="task">All of them.</p>', "isolated: box", "Run r · 1970-01-01 00:01 UTC",
        "<dt>time</dt><dd>6.0 s</dd>", "<dt>in the model</dt><dd>2.5 s</dd>", "<dt>in code</dt><dd>600 ms</dd>",
        "<dt>in tools</dt><dd>2.0 s</dd>", "<dt>tokens read</dt><dd>1,000</dd>", "<dt>from cache</dt><dd>400</dd>",
        "<dt>cost</dt><dd>$0.2500 and an unknown cost</dd>", 'id="step-1"', 'id="step-2"',
        "4.5 s · 1,050 tok · $0.2500",
        "model 1.5 s (1,000 read, 400 from cache, 50 written, $0.2500) · code 500 ms · tools 2.0 s",
        "find(&#x27;a&#x27;, most=3)", '<p class="name">argument 1</p>', '<p class="name">most</p>',
        "returned", "raised",
        "KeyError: b", "1.0 s · ran in the notebook", "The file changed.", "2 model calls",
        "<code>a .csv</code> (2 kB)",
        "<code>df</code>", "Be kind.", "<code>find</code>, <code>count</code>",
    ):  # fmt: skip
        assert told in page, told
    nested = report_html(whole_run())
    for told in (
        "reader #2",
        "fetcher",
        "writer",
        "NOT ISOLATED",
        "The plan",
        "it writes better",
        "<dt>agents called</dt>",
    ):
        assert told in nested, told
    scripted = report_html(
        [replace(event, scripted=True) if isinstance(event, RunStarted) else event for event in a_run()]
    )
    assert "Replies come from a script" in scripted


@pytest.mark.parametrize("cut", range(1, 22))
def test_a_run_that_was_cut_off_anywhere_is_a_page_too(cut):
    assert report_html(a_run()[:cut]).endswith("</html>\n")


def test_only_its_own_script_and_style_may_run():
    page = report_html(a_run())
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    for kind in ("script", "style"):
        (text,) = re.findall(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy[1]
    assert policy[1].startswith("default-src 'none'; img-src data:;")
    assert page.index("Content-Security-Policy") < page.index("<title>") < page.index("<style>")


def test_what_is_hostile_is_text():
    everything = "".join(pieces("http://evil.example").values())
    clean, page = report_html(a_run()), report_html(a_run(everything))
    assert len(page) > len(clean) + 10 * len(everything)
    for name in ("script", "style", "iframe", "svg", "a", "form", "link", "meta", "object", "video"):
        assert len(re.findall(rf"<{name}[\s>/]", page)) == len(re.findall(rf"<{name}[\s>/]", clean)), name
    assert not re.search(r"<[^>]*\s(?:on\w+|src|href)=", page)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("two\nlines", "two\nlines"),
        ({"a": [1, 2.5, None, True]}, '{"a": [1, 2.5, null, true]}'),
        (encode((1, {2: "b"}, {3})), '[1, {"2": "b"}, [3]]'),
        (encode({"n": 2**70, "at": b"xx"}), f'{{"n": "{hex(2**70)}", "at": "<bytes>"}}'),
        ({"$": 3}, '{"$": 3}'),
        ({"$": "dict", "v": [[1]]}, '"<dict>"'),
        ({"$": "tuple"}, '"<tuple>"'),
        (["x" * 90], f'[\n  "{"x" * 90}"\n]'),
    ],
)
def test_arguments_and_results_can_be_read(value, text):
    assert readable(value) == text


def test_times_are_as_people_write_them():
    written = [seconds_text(seconds) for seconds in (0, 0.0124, 0.9996, 59.94, 59.96, 3599.6, 7265)]
    assert written == ["0 ms", "12 ms", "1.0 s", "59.9 s", "1 min 00 s", "1 h 00 min", "2 h 01 min"]
