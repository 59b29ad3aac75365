"""What people see of a run: readable everywhere, the same each time, and nothing in it loads or runs anything."""

from __future__ import annotations

import base64
import codecs
import io
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html import escape, unescape

import mistune
import pytest
from harmless import Page, assert_harmless

from smol_kernel.events import (
    ActionFinished,
    ActionProposed,
    FinalAnswer,
    ModelDelta,
    ModelReplied,
    Notice,
    Output,
    Progress,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    ToolCalled,
    ToolReturned,
)
from smol_kernel.executors.values import encode
from smol_kernel.render.console import LINES_A_STEP, ConsoleReader
from smol_kernel.render.html import account_html, is_open, step_html
from smol_kernel.render.markdown import account_markdown, safe_markdown
from smol_kernel.render.plain import one_line, plain, shorten
from smol_kernel.render.records import CallRecord, StepRecord
from smol_kernel.render.sanitize import clean_html, kept_html, output_html
from smol_kernel.render.signs import in_few_characters
from smol_kernel.render.style import STYLE
from smol_kernel.render.text import account_text
from smol_kernel.render.transcript import SCRIPTED, Transcript
from smol_kernel.runs.notebook import opening

PNG = base64.b64encode(
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (640).to_bytes(4, "big") + (480).to_bytes(4, "big") + b"\x08\6\0\0\0" + bytes(20)
).decode()
EVIL = (
    "<img src=//evil.example/a onerror=x()><script>alert(1)</script>![p](http://evil.example/b)[l](http://evil.example)"
)
FINISHED_OK = ActionFinished(run="r", step=1, status="ok", completed=1)


def a_run(*, run="r", at=1.0, text="", scripted=False, isolation="none", state="success", answer="1980s", value=None):
    """A run of three steps: looks, fails, repairs with a tool and a plot."""
    base = {"run": run, "time": at}
    one, two, three = ({**base, "step": number} for number in (1, 2, 3))
    return [
        RunStarted(
            **base, task=f"Which decade? {text}", agent="CodeAgent", model="m/1", scripted=scripted,
            isolation=isolation, max_steps=5, system_prompt="", inputs={"df": "DataFrame 3 x 2"},
        ),
        StepStarted(**one),
        ModelReplied(**one, content="…", model="m", input_tokens=1000, output_tokens=204, seconds=at),
        ActionProposed(**one, thought=f"Look first. Then {text} think.", code=f"print(df.shape)  # {text}\ndf"),
        Output(**one, channel="stdout", text=f"(3, 2) {text}\n"),
        Output(**one, channel="result", text="   a\n0  1", data={"text/html": f"<table><td>1{text}</td></table>"}),
        ActionFinished(**one, status="ok", completed=2, value_text=f"{text}", seconds=at),
        StepFinished(**one, seconds=at),
        StepStarted(**two),
        ActionProposed(**two, thought="Yearly means", code="df['date']"),
        ActionFinished(
            **two, status="error", error_type="KeyError", error=f"'date'{text}",
            traceback=f'Traceback\n  File "<action>", line 1, in <module>\n    {text}\nKeyError: \'date\'',
        ),
        StepFinished(**two, error_type="AgentExecutionError", error="KeyError", seconds=at),
        StepStarted(**three),
        ActionProposed(**three, thought="By the index", code="u = unit('co2')\ndf.plot()"),
        ToolCalled(**three, call="c1", tool="unit", summary=f"unit('co2'{text})", blocking=True),
        ToolReturned(**three, call="c1", tool="unit", ok=True, summary=f"'ppm'{text}", seconds=at),
        Output(**three, channel="result", text=f"<Axes at 0x7f{int(at)}aaaa>{text}"),
        Output(**three, channel="display", text="<Figure>", data={"image/png": PNG}),
        ActionFinished(**three, status="ok", completed=2, final=True),
        StepFinished(**three, seconds=at),
        FinalAnswer(**base, value=value, text=f"{answer} {text}".strip()),
        RunFinished(**base, state=state, steps=3, seconds=at),
    ]  # fmt: skip


def fold(*args, **kwargs):
    return Transcript.from_events(a_run(*args, **kwargs))


# the transcript


def test_a_transcript_tells_what_happened():
    run = fold()
    assert [step.state for step in run.steps] == ["ok", "error", "ok"]
    assert [step.repaired_in for step in run.steps] == [None, 3, None]
    assert run.steps[0].title == "Look first."
    assert run.steps[1].error_line == "KeyError: 'date'"
    assert (run.steps[2].calls[0].ok, run.steps[2].calls[0].result) == (True, "'ppm'")
    assert (run.totals.input_tokens, run.totals.output_tokens) == (1000, 204)
    assert (run.state, run.answer_text) == ("success", "1980s")


def test_a_transcript_is_the_same_fed_at_once_or_step_by_step():
    events, growing = a_run(), Transcript()
    for event in events:
        growing.feed(event)
    assert growing == Transcript.from_events(events)


def test_text_of_one_stream_is_joined_until_something_else_comes():
    at = {"run": "r", "step": 1}
    outputs = [("stdout", "a"), ("stdout", "b\n"), ("stderr", "c"), ("stdout", "d"), ("display", "e"), ("display", "f")]
    run = Transcript.from_events(Output(**at, channel=channel, text=text) for channel, text in outputs)
    assert [output.text for output in run.steps[0].outputs] == ["ab\n", "c", "d", "e", "f"]


def test_a_reply_grows_as_it_streams_in():
    pieces = [ModelDelta(run="r", step=1, text=text) for text in ("he", "llo")]
    run = Transcript.from_events([StepStarted(run="r", step=1), *pieces])
    assert (run.steps[0].state, run.steps[0].reply) == ("thinking", "hello")


def test_a_run_that_is_stopped_leaves_no_step_at_work():
    run = Transcript.from_events([*a_run()[:4], RunFinished(run="r", state="interrupted")])
    assert run.steps[0].state == "interrupted"


def test_a_call_without_an_answer_is_settled_when_its_action_ends():
    events = [ToolCalled(run="r", step=1, call="c", tool="f"), replace(FINISHED_OK, status="died")]
    assert Transcript.from_events(events).steps[0].calls[0].ok is False


def test_runs_of_called_agents_are_children_of_any_depth():
    start = {"task": "t", "agent": "a", "model": "m", "isolation": "none", "max_steps": 1, "system_prompt": ""}
    events = [
        RunStarted(run="r", **start),
        RunStarted(run="s", parent="r", **start),
        RunStarted(run="t", parent="s", **start),
        StepStarted(run="t", step=1),
        RunStarted(run="stranger", **start),
    ]
    run = Transcript.from_events(events)
    assert list(run.children) == ["s"]
    assert len(run.children["s"].children["t"].steps) == 1
    assert run.steps == []


# text from models and children


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b", "ab"),
        ("a\x9b2Jb\x1bPq\x1b\\c", "abc"),
        ("a\x00\x7fb", "ab"),
        ("a\u202eb\u2066c\u200fd", "abcd"),
        ("10%\r50%\r100%\r\ndone\r", "100%\ndone"),
        ("lone \ud800", "lone \ufffd"),
        ("tab\tand\nline – é 漢 \U0001f600", "tab\tand\nline – é 漢 \U0001f600"),
        ("cut off \x1b[", "cut off "),
    ],
)
def test_what_could_steer_a_terminal_or_mislead_is_taken_out(text, shown):
    assert plain(text) == shown


def test_long_text_loses_its_middle_and_says_how_much():
    assert shorten("a" * 50 + "b" * 50, characters=20) == "a" * 10 + "\n… 80 characters left out …\n" + "b" * 10
    assert shorten("\n".join(map(str, range(100))), characters=999, lines=6).split("\n") == [
        "0", "1", "2", "… 95 lines left out …", "98", "99"
    ]  # fmt: skip
    assert shorten("short", characters=5, lines=1) == "short"
    assert one_line("a\n  b" + "c" * 99, 9) == "a bccccc…"


# HTML


@pytest.mark.parametrize(
    "html",
    [
        "<script>alert(1)</script>x",
        "<img src=http://evil.example/x.png>",
        "<img src='data:image/svg+xml;base64,PHN2Zz4='>",
        "<img src='data:image/png;base64,AAAA\" onload=x' >",
        "<img srcset='http://evil.example 2x' src=x>",
        "<table background=http://evil.example><tr style='background:url(http://evil.example)'><td>1</table>",
        "<p style='text-align:left;background-image:url(//evil.example)'>x</p>",
        "<a href='http://evil.example' ping='http://evil.example'>text</a><a href='javascript:x()'>t</a>",
        "<link rel=stylesheet href=//evil.example><style>@import '//evil.example'</style>",
        "<iframe srcdoc='<script>1</script>'></iframe><object data=x></object><embed src=x>",
        "<form action=//evil.example><input name=x><button formaction=x>go</button></form>",
        "<meta http-equiv=refresh content='0;url=//evil.example'><base href=//evil.example>",
        "<svg><image href='//evil.example'/><script>1</script></svg><math><mtext><script>1</script></mtext></math>",
        "<video poster=//evil.example></video><audio src=//evil.example autoplay>",
        "<div id=x class='jp-Cell' onclick='x()' data-commandlinker-command=x>x</div>",
        "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
        "<!-- <script>1</script> --><b>x",
    ],
)
def test_html_of_a_child_loads_and_runs_nothing(html):
    assert_harmless(clean_html(html))


@pytest.mark.parametrize(
    ("html", "shown"),
    [
        ("<p>a <img src=http://evil.example/x.png width=3> b</p>", '<p>a <img width="3"> b</p>'),
        ("<table><tr><td><img srcset=x></table>", "<table><tbody><tr><td><img></td></tr></tbody></table>"),
    ],
)
def test_a_picture_that_would_be_loaded_has_no_source_and_is_not_shown(html, shown):
    assert clean_html(html) == shown
    assert ".smol-rich img:not([src]){display:none}" in STYLE
    picture = Output(channel="display", text="<Image>", data={"text/html": "<img src=http://x/a.png>"})
    assert "&lt;Image&gt;" in output_html(picture)


def test_a_table_keeps_its_form_and_a_picture_its_own_data():
    html = '<table border="1" class="dataframe x"><tr style="text-align: right;"><td colspan="2">1</td></tr></table>'
    html += f'<img src="data:image/png;base64,{PNG}">'
    cleaned = clean_html(html)
    assert '<table class="dataframe">' in cleaned
    assert 'style="text-align: right;"' in cleaned
    assert 'colspan="2"' in cleaned
    assert f'<img src="data:image/png;base64,{PNG}">' in cleaned


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"image/png": PNG, "text/html": "<b>x</b>", "text/plain": "t"}, "<img"),
        ({"text/html": "<b>x</b>", "text/plain": "t"}, "<b>x</b>"),
        ({"text/html": "<div id=w></div><script>draw()</script>", "text/plain": "t"}, "<pre"),
        ({"text/html": "<b>" + "x" * 600_000, "text/plain": "t"}, "<pre"),
        ({"image/png": '"><script>', "text/plain": "t"}, "cannot be shown"),
        ({"application/javascript": "alert(1)", "text/plain": "t"}, "<pre"),
    ],
)
def test_an_output_is_shown_in_its_best_harmless_form(data, expected):
    shown = output_html(Output(channel="display", text=data["text/plain"], data=data))
    assert expected in shown
    assert_harmless(shown)


LONG = "Read the table and say which decade grew fastest, in what unit, and by how much the yearly mean grew in it.\n"


@pytest.mark.parametrize(
    ("task", "shown", "folded"),
    [
        ("Which decade?", "Which decade?", ""),
        ("Which decade?\nDraw it.", "Which decade?\nDraw it.", ""),
        (f"{LONG}\n- a <b>\n  - c", LONG.strip(), "- a <b>\n  - c"),
        ("Two lines,\nand a third\none", "Two lines,\nand a third", "one"),
        (LONG * 3, f"{LONG}Read the", "table and say" + (LONG * 3).strip()[len(LONG) + 22 :]),
        ("word " * 4_000, ("word " * 24).strip(), ("word " * 3_976).strip()),
        ("長" * 400, "長" * 120, "長" * 280),
        ("<br>" * 99, "<br>" * 30, "<br>" * 69),
    ],
)
def test_of_a_long_task_two_lines_are_shown_and_the_rest_is_folded(task, shown, folded):
    html = account_html(Transcript(task=task, state="success"))
    bold = re.findall("(?s)<strong[^>]*>(.*?)</strong>", html)
    rest = re.findall("(?s)</strong></summary><div>(.*?)</div>", html)
    assert (list(map(unescape, bold)), "".join(map(unescape, rest))) == ([shown], folded)
    assert_harmless(html)


def test_an_account_is_harmless_whatever_model_and_child_wrote():
    for state in ("success", "error", "interrupted", "max_steps_error"):
        assert_harmless(account_html(fold(text=EVIL, state=state, answer=EVIL)))


def test_a_dollar_sign_is_not_mathematics():
    assert "mathjax_ignore" in account_html(fold())
    assert "mathjax_ignore" in step_html(fold().steps[0], open=True)


def test_two_runs_of_the_same_course_have_the_same_account():
    one, other = fold(), fold(run="other", at=2.0)
    for account in (account_html, account_text, account_markdown):
        assert account(one) == account(other)
        assert "0x7f" not in account(one)
        assert "1,204" not in account(one)
    assert "1,204 tok" in step_html(one.steps[0], open=True)


def test_an_address_in_a_task_an_answer_or_an_output_is_told():
    task, answer = "Which function lies at 0x00401136?", "The crash is at 0x00401136 -> the stack at 0x7ffe0010."
    printed = "handler at 0x00401136, table at 0x00402000 <main>"
    run = Transcript(task=task, state="success", answered=True, answer=answer, answer_text=answer)
    run.rows.append(
        StepRecord(1, thought=task, code="f()", state="ok", outputs=[Output(channel="stdout", text=printed)])
    )
    for told in (Page(account_html(run)).words, account_text(run), account_markdown(run).replace("&#62;", ">")):
        assert told.count(task) == 2
        assert answer in told and printed in told


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ("[<Line2D at 0x7f00aa>, <Line2D at 0x7f00ab>]", "[<Line2D>, <Line2D>]"),
        ("<generator object <genexpr> at 0x7f3a11>", "<generator object <genexpr>>"),
        ("<bound method A.f of <A object at 0x7f3a11>>", "<bound method A.f of <A object>>"),
        ("<cell at 0x7f3a11: int object at 0x7f3a12>", "<cell: int object>"),
        ("0  <__main__.AccountOfACustomer object at 0x7f3fa...", "0  <__main__.AccountOfACustomer object..."),
        ("main at 0x00401136 is <f at 0x7f3a11>", "main at 0x00401136 is <f>"),
        ("a <b at 0x00401136", "a <b at 0x00401136"),
    ],
)
def test_only_reprs_lose_their_addresses(shown, expected):
    run = Transcript(task="t", state="success")
    run.rows.append(StepRecord(1, state="ok", outputs=[Output(channel="stdout", text=shown)]))
    for told in (account_html(run), account_text(run), account_markdown(run)):
        assert (escape(expected, quote=False) if told.startswith("<") else expected) in told


def test_the_account_says_in_words_what_colour_says():
    page = Page(account_html(fold(scripted=True)))
    assert "KeyError, went on in 3" in page.words
    for words in ("m/1 (scripted)", "not isolated", "done", SCRIPTED):
        assert words in page.words
    assert SCRIPTED not in Page(account_html(fold(isolation="box"))).words
    assert "isolated: box" in Page(account_html(fold(isolation="box"))).words


@pytest.mark.parametrize("account", [account_html, account_text, account_markdown])
def test_every_account_of_a_scripted_run_says_so(account):
    assert SCRIPTED in account(fold(scripted=True))
    assert SCRIPTED not in account(fold(scripted=False))


def test_every_account_tells_what_will_be_left_of_the_run_and_no_other_notice():
    evil = "not kept: <b>&</b> [x](http://x.invalid)"
    transcript = fold()
    transcript.feed(Notice(run=transcript.run, text=evil, lasting=True))
    transcript.feed(Notice(run=transcript.run, text="slow"))
    assert evil in Page(account_html(transcript)).words and evil in account_text(transcript)
    for told in (account_markdown(transcript), opening(transcript)):
        assert safe_markdown(evil) in told and "](" not in told and "slow" not in told


def test_steps_at_work_failed_for_good_or_with_a_picture_are_open():
    one, two, three = fold().steps
    assert [is_open(one), is_open(two), is_open(three)] == [False, False, True]
    two.repaired_in = None
    one.state = "running"
    assert [is_open(one), is_open(two)] == [True, True]


def test_a_table_as_answer_is_a_table():
    pandas = pytest.importorskip("pandas")
    answer = pandas.DataFrame({"a<b>": ["<script>", "x"]})
    html = account_html(fold(value=encode(answer), answer="text"))
    assert "dataframe" in html
    assert "&lt;script&gt;" in html
    assert_harmless(html)


def test_an_empty_table_as_answer_is_told_to_be_empty():
    pandas = pytest.importorskip("pandas")
    nothing = pandas.DataFrame()
    assert "Empty DataFrame" in Page(account_html(fold(value=encode(nothing), answer=repr(nothing)))).words
    for none in (pandas.DataFrame({"a": [1], "b": [2]})[:0], pandas.Series([], name="a", dtype=float)):
        shown = Page(account_html(fold(value=encode(none), answer="text"))).words
        assert "0 rows ×" in shown and "a" in shown


def test_a_table_in_colours_says_that_they_are_left_out():
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("jinja2")
    table = pandas.DataFrame({"a": [1, 2]})

    def shown(html):
        return output_html(Output(run="r", channel="display", data={"text/html": html}))

    assert "colours left out" in shown(table.style.set_properties(color="red").to_html())
    assert "left out" not in shown(table.style.to_html()) + shown(table.to_html())


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Two things.\n\nThe first.  And the second.", False),
        ("year  ppm\n1958  315", True),
        ("list:\n  - item", True),
        ("one line with  a gap", False),
    ],
)
def test_only_an_answer_in_columns_keeps_its_spaces(text, kept):
    run = Transcript.from_events([*BEGUN, FinalAnswer(run="r", value=text, text=text)])
    assert ("<pre" in account_html(run)) == kept
    assert ("```" in account_markdown(run)) == kept


def test_a_step_that_was_stopped_while_the_model_was_asked_is_no_success():
    asked = [StepStarted(run="r", step=1), StepFinished(run="r", step=1)]
    assert Transcript.from_events([*BEGUN, *asked]).steps[0].state == "interrupted"


def test_an_answer_that_cannot_be_read_is_shown_as_text():
    html = account_html(fold(value={"$": "DataFrame", "v": "broken"}, answer="the text"))
    assert "the text" in html


def test_code_is_coloured_and_whole():
    code = "if x:  # why\n\tprint('a <b>', 1.5)\n\n"
    html = step_html(
        Transcript.from_events([ActionProposed(run="r", step=1, thought="t", code=code)]).steps[0], open=True
    )
    assert Page(html).words.count(code) == 1
    assert '<span class="smol-k">if</span>' in html


def test_colours_are_readable_on_both_themes():
    def luminance(color):
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    themes = [
        dict(re.findall(r"--smol-(\w+):(#\w{6})", block)) for block in re.findall(r"\{(--smol-dim[^}]*)\}", STYLE)
    ]
    themes = themes or [dict(re.findall(r"--smol-(\w+):(#\w{6})", part)) for part in STYLE.split("--smol-dim")[1:]]
    assert len(themes) == 2
    for theme, page in zip(themes, ("#ffffff", "#111111"), strict=True):
        for name in ("now", "ok", "bad", "warn", "k", "s", "d", "c"):
            for ground in (page, theme["soft"]):
                high, low = sorted([luminance(theme[name]), luminance(ground)], reverse=True)
                assert (high + 0.05) / (low + 0.05) >= 4.5, (name, ground)


# Markdown


@pytest.mark.parametrize(
    "text",
    [
        EVIL,
        "![a][b]\n\n[b]: http://evil.example",
        "![a]\n\n[a]: //evil.example 'x'",
        "[text]( http://evil.example )",
        "<http://evil.example> <IMG SRC=x> </p> <!-- x --> <?x?>",
        "http://evil.example www.evil.example",
        "\\![x](http://evil.example) \\<img src=x>",
        "&lt;img src=x&gt; &#33;[x](//evil.example)",
        "- [ ] ![x](//evil.example)\n> ![x](//evil.example)",
        "[![x](//evil.example)](//evil.example)",
        "`code` ![`x`](//evil.example)",
        "_www.evil.example/x awww.evil.example",
        "<1@e.example> <_a@e.example> <&x@e.example> <1`b`@e.example> <{b}@e.example>",
    ],
)
def test_markdown_of_a_model_loads_nothing_and_leads_nowhere(text):
    for plugins in (None, ["table", "url", "footnotes", "task_lists"]):
        render = mistune.create_markdown(escape=False, plugins=plugins)
        assert not Page(render(safe_markdown(text))).tags & {"img", "a", "script", "link", "iframe"}


@pytest.mark.parametrize(
    "piece", ["~~~a\n", "```" + "a" * 1_000, "`a`$", "<", "](", "$a", "www", "```\n", "\n", "- > ```a\n", "\\"]
)
def test_long_markdown_takes_no_time_that_grows_with_its_square(piece):
    assert safe_markdown(piece * (1_000_000 // len(piece)) + " $ $ x")


@pytest.mark.parametrize("html", ["<div>", "<dd><li>", "<div><!--</div>-->", "<b><p>", "<table>", "<td><tr>"])
def test_html_that_stands_in_itself_too_deep_is_not_parsed(html):
    shown = output_html(Output(channel="display", text="deep", data={"text/html": "x" + html * (400_000 // len(html))}))
    assert "deep" in shown or "x" in shown


@pytest.mark.parametrize(
    "html",
    [
        "<br-x>" * 60_000,
        "<\x01div>" * 60_000,
        "<div>" * 4_900 + "</p>" * 100_000,
        "<div a='<p>'</p>" * 4_000 + "</p>" * 50_000,
        "<table>" + "<img>x" * 60_000,
        f"<p {' '.join(f'a{number}' for number in range(20_000))}>x",
        "<p " + " ".join(f"a{number}='>'" for number in range(20_000)) + ">x",
        "&" * 200_000,
    ],
)
def test_html_that_takes_the_square_of_its_length_is_not_parsed(html):
    shown = output_html(Output(channel="display", text="as text", data={"text/html": f"<i>x</i>{html}"}))
    assert "as text" in shown
    assert kept_html(f"<i>x</i>{html}") == ""


@pytest.mark.parametrize("block", ["<div>x</div>", "<p>x", "<li>x", "<table><td>x</table>"])
def test_formatting_that_is_left_open_is_not_repeated_in_all_that_follows(block):
    html = "<div>" + "".join(f"<i title='{number:0160}'><font color={number}>" for number in range(99)) + "</div>"
    assert len(clean_html(html + block * 1_000)) < 2 * len(html + block * 1_000)


def test_formatting_stays_and_ends_with_what_it_stands_in():
    html = "<p>a <b>b <i>c</i></b> <code>&lt;b></code></p>"
    assert clean_html(html) == html.replace(">&lt;b>", ">&lt;b&gt;")
    assert clean_html("<p title='&amp;lt;b>'><b class='x' title='y'>x</p><p>y</p>").endswith("><b>x</b></p><p>y</p>")
    assert clean_html("<\ufdd0div><b\ufdd0>x") == "&lt;\ufffddiv&gt;x"


def test_no_tag_can_stand_in_itself_within_a_picture():
    assert clean_html("a<svg>" + "<td>" * 50_000 + "</x>" * 20_000 + "</svg>b<math><td>x</math>c") == "abc"


def test_large_ordinary_tables_stay_tables():
    rows = "<tr><td style='text-align:left' class=a id=b>1</td><td><div><b>x</b> &amp; y</div></td></tr>" * 4_000
    html = f"<style>td > b {{color: red}}</style><table>{rows}</table><pre>{'many words ' * 7_000}</pre>"
    shown = output_html(Output(channel="display", text="as text", data={"text/html": html}))
    assert shown.count("<b>x</b>") == 4_000


def test_what_follows_a_picture_without_content_stays():
    assert clean_html("<p>a</p><svg viewBox='0 0 1 1'/><p>b</p><math/><p>c</p>") == "<p>a</p><p>b</p><p>c</p>"


@pytest.mark.parametrize("before", ["a < b", '<pre>x="> y</pre>', "<a onclick='f(x => y)'>b</a>"])
def test_words_are_no_attributes(before):
    html = f"<p>{before}</p>" + "many words " * 7_000 + "<b>end</b>"
    assert "<b>end</b>" in output_html(Output(channel="display", text="as text", data={"text/html": html}))


def test_nothing_unseen_comes_in_as_a_character_reference():
    assert clean_html("<p title='&#x202e;a'>&#x202e;&#27;[2J&#13;evil&#x2066;</p>") == '<p title="a">[2Jevil</p>'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It fell from $5 to $4.50.", "It fell from `$5` to `$4.50.`"),
        ("With $a^2 + b$ and more", "With `$a^2 + b$` and more"),
        ("Only $5", "Only $5"),
        ("`$a` and `$b`", "`$a` and `$b`"),
        ("\\\\(x\\\\)", "\\\\\u2060(x\\\\\u2060)"),
        ("`$$` and `\\\\[`", "`$\u2060$` and `\\\\\u2060[`"),
        ("`df[df.a<b]` is <b>", "`df[df.a<b]` is &#60;b>"),
    ],
)
def test_prices_are_no_formula_and_code_stays_code(text, expected):
    assert safe_markdown(text) == expected


def test_markdown_keeps_its_form_and_its_words():
    text = "**bold** `a < b`\n\n- one\n- two\n\n```python\nx = 1\n```"
    assert safe_markdown(text) == text
    assert (
        Page(mistune.html(safe_markdown("see http://x.org and [1](2) <b>"))).words.strip()
        == "see http://x.org and [1](2) <b>"
    )


@pytest.mark.parametrize("fence", ["```mermaid", "~~~ mermaid x", "- [ ] ```mermaid", "> ```&#109;ermaid", "````js"])
@pytest.mark.parametrize("end", ["", "```", "~~~", "````", "> ```"])
def test_no_code_block_is_drawn_as_a_diagram(fence, end):
    page = Page(mistune.html(safe_markdown(f"a\n\n{fence}\nflowchart\n{end}\nb\n")))
    assert not any(name == "class" for _, name, _ in page.attributes)


def test_a_code_block_left_open_does_not_turn_the_rest_inside_out():
    text = safe_markdown("a\n```\n![x](//evil.example)") + "\n\n```\n<img src=//evil.example>\n```\n"
    assert not Page(mistune.create_markdown(escape=False)(text)).tags & {"img", "a"}


def test_an_account_in_markdown_is_harmless_and_keeps_fences_whole():
    markdown = account_markdown(fold(text=f"{EVIL}\n```\n{EVIL}"))
    page = Page(mistune.create_markdown(escape=False, plugins=["table", "url"])(markdown))
    assert not page.tags & {"img", "a", "script"}


# plain text and the console


def test_the_account_in_text_has_all_the_run_in_it():
    text = account_text(fold())
    for words in ("Which decade?", "m/1 · not isolated · done", "1. Look first.", "> print(df.shape)", "(3, 2)",
                  "2. Yearly means [KeyError, went on in 3]", "KeyError: 'date'", "▸ unit('co2') → 'ppm'",
                  "[plot, 640 x 480]", "Answer: 1980s"):  # fmt: skip
        assert words in text


WORDS = "I try it. Then I see. And more:\n\n- of it"
ERROR = "two things are wrong:\n- this one\n- that one"
TRACEBACK = f'Traceback (most recent call last):\n  File "<action>", line 1, in <module>\nmy.BadError: {ERROR}\n'


def test_text_has_all_words_and_all_of_an_error():
    events = [
        *a_run()[:2],
        ActionProposed(**AT, thought=WORDS, code="f()"),
        ActionFinished(**AT, status="error", error_type="BadError", error=ERROR, traceback=TRACEBACK),
        StepFinished(**AT, error_type="AgentExecutionError", error=f"BadError: {ERROR}"),
    ]
    for text in (account_text(Transcript.from_events(events)), "".join(printed(events))):
        lines = [line.strip() for line in text.splitlines()]
        for line in ["Then I see. And more:", "- of it", *f"BadError: {ERROR}".splitlines()]:
            assert sum(line in shown for shown in lines) == 1
        assert 'File "<action>", line 1, in <module>' in lines


@pytest.mark.parametrize(
    ("kind", "message", "last"),
    [
        ("SyntaxError", "incomplete input (line 1)", "SyntaxError: incomplete input"),
        ("ZeroDivisionError", "division by zero", "ZeroDivisionError: division by zero\na note"),
        ("OddError", "one\ntwo", "package.OddError: one\ntwo"),
    ],
)
def test_text_says_an_error_once(kind, message, last):
    traceback = f'Traceback (most recent call last):\n  File "<action>", line 1\n    x = (1\n{last}'
    failed = ActionFinished(**AT, status="error", error_type=kind, error=message, traceback=traceback)
    events = [*a_run()[:2], ActionProposed(**AT, thought="I try.", code="f()"), failed]
    text = account_text(Transcript.from_events(events))
    shown = [line.strip() for line in text.splitlines() if kind in line and "I try." not in line]
    assert shown == [f"{kind}: {message}".splitlines()[0]]
    assert last.splitlines()[-1].removeprefix(f"{kind}: ") in text


def test_a_failed_run_says_why():
    run = Transcript.from_events([*a_run()[:2], RunFinished(run="r", state="error", error="no credit")])
    for account in (account_html, account_text, account_markdown):
        assert "no credit" in account(run)


def printed(events, *, stream=None, **kwargs):
    stream = stream or io.StringIO()
    reader = ConsoleReader(stream, **kwargs)
    for event in events:
        reader(event)
    return stream.getvalue() if isinstance(stream, io.StringIO) else stream


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_run_is_printed_as_it_happens():
    text = printed(a_run(scripted=True))
    places = [text.index(words) for words in (
        "Which decade?", "m/1 · not isolated · at most 5 steps", SCRIPTED, "1. Look first.", "> print(df.shape)",
        "(3, 2)", "1.0 s · 1,204 tokens", "2. Yearly means", "KeyError: 'date'", "3. By the index",
        "▸ unit('co2') → 'ppm'", "[plot, 640 x 480]", "Answer", "1980s", "done · not isolated · 3 steps",
    )]  # fmt: skip
    assert places == sorted(places)
    assert "\x1b" not in text


def test_an_answer_that_a_callback_changed_is_printed_too():
    *events, finished, told, end = a_run()
    text = printed([*events, told, finished, FinalAnswer(run="r", value="redacted", text="redacted"), end])
    assert text.index("Answer\n   redacted") > text.index("1980s")


def test_a_terminal_has_colour_and_a_line_on_what_goes_on(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    text = printed(a_run(), stream=Terminal())
    assert "asking the model…" in text
    assert "\x1b[31mKeyError" in text
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[31m" not in printed(a_run(), stream=Terminal())
    assert "\x1b[31m" in printed(a_run(), color=True)


def test_a_line_that_is_written_over_is_shown_while_it_is(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    begun = [*a_run()[:1], StepStarted(run="r", step=1), ActionProposed(run="r", step=1, thought="Wait.", code="x")]
    half, full = (Progress(run="r", step=1, channel="stderr", text=text) for text in ("50 %", "<b>99 %"))
    assert "&lt;b&gt;99 %" in step_html(Transcript.from_events([*begun, half, full]).steps[0], open=True)
    assert "50 %" not in account_html(Transcript.from_events([*begun, half, full, FINISHED_OK]))
    text = printed([*begun, half, full, FINISHED_OK], stream=Terminal())
    assert re.search(r"50 %\S*\r\x1b\[2K.*<b>99 %\S*\r\x1b\[2K", text)
    assert "50 %" not in printed([*begun, half, FINISHED_OK])  # a file has no line that could be written over


def test_wide_characters_count_as_the_two_columns_that_they_take(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    wide = "漢字" * 30
    waits, says = Progress(run="r", step=1, channel="stdout", text=wide), Notice(run="r", step=1, text=wide)
    text = printed([*a_run()[:1], waits, says, FINISHED_OK], stream=Terminal(), color=False)
    lines = [line for line in re.split(r"[\r\n]|\x1b\[2K", text) if "漢" in line]
    assert len(lines) == 5  # one on what goes on, and 120 columns of words
    assert all(len(line.replace("…", ".").encode("gb18030")) <= 40 for line in lines)  # there two bytes each


def test_the_last_step_s_time_is_not_told_below_the_answer():
    ending = a_run()
    ending[-3:-1] = reversed(ending[-3:-1])  # as an agent tells it: the answer is part of its step
    text = printed(ending)
    assert text.index("1980s") < text.index("done · not isolated")
    assert text[text.index("1980s") :].count(" s\n") == 1


def test_escape_sequences_of_model_and_child_do_not_reach_the_terminal():
    assert "\x1b" not in printed(a_run(text="\x1b[2J\x1b]0;x\x07"))
    for account in (account_text, account_markdown, account_html):
        assert "\x1b" not in account(fold(text="\x1b[2J"))


def test_pieces_of_a_stream_are_printed_as_whole_lines():
    pieces = [Output(run="r", step=1, channel="stdout", text=text) for text in ("a", "b\nc", "d\n", "e")]
    assert printed([*pieces, FINISHED_OK]) == "   ab\n   cd\n   e\n"


def test_a_flood_of_output_is_not_printed_whole():
    flood = [Output(run="r", step=1, channel="stdout", text="x\n" * 40) for _ in range(100)]
    text = printed(flood)
    assert text.count("x\n") == LINES_A_STEP
    assert text.count("further output") == 1


def test_a_stream_that_knows_few_characters_still_gets_the_run():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    printed(a_run(text="漢"), stream=stream)
    assert b"> unit('co2'?) -> 'ppm'?" in stream.buffer.getvalue()
    escaping = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="backslashreplace", write_through=True)
    printed(a_run(text="漢"), stream=escaping)  # the command's own
    assert escaping.buffer.getvalue() == stream.buffer.getvalue()


def test_a_closed_stream_does_not_end_the_run():
    stream = io.StringIO()
    stream.close()
    reader = ConsoleReader(stream)
    for event in a_run():
        reader(event)
    assert isinstance(reader.lost, ValueError)


def test_a_pipe_that_does_not_wait_gets_all_of_it():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    events = [*a_run(), *[Notice(run="r", text=f"{number}: " + "word " * 1_000) for number in range(100)]]
    with open(writing, "w") as stream, open(reading) as end, ThreadPoolExecutor() as pool:
        read = pool.submit(end.read)
        printed(events, stream=stream)
        stream.close()
        assert read.result() == printed(events)


def test_a_reply_without_code_and_a_notice_are_printed():
    events = [
        StepStarted(run="r", step=1),
        ModelReplied(run="r", step=1, content="I think.", model="m"),
        Notice(run="r", step=1, text="The child was restarted."),
        StepFinished(run="r", step=1, error_type="AgentParsingError", error="no code in the reply"),
    ]
    text = printed(events)
    assert "The child was restarted." in text
    assert "AgentParsingError: no code in the reply" in text


# what went wrong, in words


ACCOUNTS = [account_html, account_text, account_markdown]
AT = {"run": "r", "step": 1}
BEGUN = [*a_run()[:1], StepStarted(**AT)]


def wordings(events):
    """The run in all three forms."""
    return [account(Transcript.from_events([*BEGUN, *events])) for account in ACCOUNTS]


@pytest.mark.parametrize(
    "evil", [EVIL, "<img src=http://evil>", "![x](http://evil)", "a\n\n![x](http://evil)\n```\n<b>"]
)
def test_nothing_that_model_child_or_tool_names_is_live_in_markdown(evil):
    base = {"task": evil, "agent": evil, "model": evil, "isolation": evil, "max_steps": 1, "system_prompt": ""}
    events = [
        RunStarted(run="r", **base),
        StepStarted(**AT),
        ActionProposed(**AT, thought=evil, code=evil),
        ToolCalled(**AT, call="c", tool=evil, summary=evil),
        ToolReturned(**AT, call="c", tool=evil, ok=False, error_type=evil, error=evil, summary=evil),
        Output(**AT, channel="stdout", text=evil),
        ActionFinished(**AT, status="error", error_type=evil, error=evil, traceback=evil, lost=[evil]),
        StepFinished(**AT, error_type=evil, error=evil),
        StepStarted(run="r", step=2),
        ModelReplied(run="r", step=2, content=evil, model=evil),
        StepFinished(run="r", step=2, error_type=evil, error=evil),
        FinalAnswer(run="r", value=None, text=evil),
        RunFinished(run="r", state="error", error=evil),
    ]
    run = Transcript.from_events(events)
    for plugins in (None, ["table", "url"]):
        page = Page(mistune.create_markdown(escape=False, plugins=plugins)(account_markdown(run)))
        assert not page.tags & {"img", "a", "script", "b"}
    assert_harmless(account_html(run))


def test_a_long_name_of_an_error_is_cut_in_the_title():
    failed = ActionFinished(**AT, status="error", error_type="E" * 500, error="x", traceback="x")
    run = Transcript.from_events([*BEGUN, ActionProposed(**AT, thought="T", code="f()"), failed])
    run.steps[0].error_type, whole = "E" * 500, "E" * 100
    for title in (
        account_text(run).split("1. T")[1].split("\n")[0],
        account_markdown(run).split("**1.** T")[1].split("\n")[0],
        account_html(run).split("<summary>")[1].split("</summary>")[0],
    ):
        assert "EEE" in title
        assert whole not in title


def test_a_reply_that_could_not_be_used_is_told_by_the_first_line_of_its_error():
    error = "There is no code in the reply.\nWrite it so:\n<code>\n1\n</code>"
    events = [ModelReplied(**AT, content="Hm", model="m"), StepFinished(**AT, error_type="ParsingError", error=error)]
    for words in wordings(events):
        assert "ParsingError: There is no code in the reply.\n" in f"{words}\n".replace("</pre>", "\n")
        assert "/code&gt;" not in words


def test_an_error_is_told_by_its_first_line():
    failed = ActionFinished(**AT, status="error", error_type="E", error="one\ntwo", traceback="Traceback\nE: one\ntwo")
    assert Transcript.from_events([*BEGUN, failed]).steps[0].error_line == "E: one"


@pytest.mark.parametrize("account", ACCOUNTS)
def test_that_there_is_no_answer_is_said_once(account):
    stopped = RunFinished(run="r", state="interrupted", error="Stopped before there was an answer.")
    told = account(Transcript.from_events([*BEGUN, stopped]))
    assert "Stopped before there was an answer." in told
    assert "No answer." not in told
    assert "No answer." in account(Transcript.from_events([*BEGUN, replace(stopped, error=None)]))
    assert "No answer." not in account(Transcript.from_events(BEGUN))


@pytest.mark.parametrize(
    "returned",
    [{"error_type": "KeyboardInterrupt"}, {"error_type": "KeyboardInterrupt", "summary": "KeyboardInterrupt: "}, {}],
)
def test_a_tool_that_was_stopped_did_not_fail(returned):
    called = ToolCalled(**AT, call="c", tool="slow", summary="slow(5)")
    for words in wordings([called, ToolReturned(**AT, call="c", tool="slow", ok=False, **returned)]):
        assert " slow(5) stopped\n" in re.sub(r"</?code>", "", words).replace("</div>", "\n") + "\n"
        assert "failed" not in words.split("slow(5)")[1]


def test_a_call_that_was_given_up_says_why():
    called = ToolCalled(**AT, call="c", tool="f", summary="f()")
    gone = ToolReturned(**AT, call="c", tool="f", ok=False, error_type="RuntimeError", error="the child ended")
    for words in wordings([called, gone]):
        assert "f() failed: the child ended" in re.sub(r"</?code>", "", words)


@pytest.mark.parametrize(
    ("events", "title"),
    [
        ([], "No reply"),
        ([ModelDelta(**AT, text="I th")], "An unfinished reply"),
        ([ModelReplied(**AT, content="", model="m")], "A reply without code"),
    ],
)
def test_a_step_without_code_says_what_the_model_gave(events, title):
    ended = RunFinished(run="r", state="error", error="no credit")
    for words in wordings([*events, ended]):
        assert title in words or "**1.** I th *(failed)*" in words  # Markdown has the words in the title's place
        assert not re.search(r"No reply\W+(small\W+)?failed", words)


def test_one_is_not_many():
    start = replace(BEGUN[0], max_steps=1)
    finished = StepFinished(**AT, seconds=1.0)
    text = printed([start, StepStarted(**AT), ModelReplied(**AT, content="", model="m", input_tokens=1), finished])
    assert "at most 1 step\n" in text
    assert "1 token\n" in text
    assert shorten("abc", characters=2) == "a\n… 1 character left out …\nc"


def calling(count, failed=(), **more):
    step = StepRecord(1, state="ok", thought="t", code="x")
    step.calls = [CallRecord(str(n), "look", f"look({n})", f"{n}!", ok=n not in failed) for n in range(count)]
    return replace(step, **more)


def test_of_many_calls_most_are_folded():
    ten = step_html(calling(10), open=True)
    assert ten.count("smol-call") == 10 and "more call" not in ten
    html = step_html(calling(1500, failed={700}), open=True)
    before, folded = html.split('<details class="smol-more"><summary>1,493 more calls</summary>')
    folded, after = folded.split("</details>", 1)
    assert re.findall(r"look\((\d+)\)", before) == ["0", "1", "2", "3", "4"]
    assert folded.count("smol-call") == 1493 and "look(5)" in folded
    assert re.findall(r"look\((\d+)\)", after) == ["700", "1499"]
    at_work = step_html(calling(1500, state="running"), open=True)
    assert "1,494 more calls" in at_work and at_work.count("smol-call") == 6
    assert step_html(calling(100, failed=range(100)), open=True).count("failed:") == 100


def test_a_step_of_which_there_is_no_more_to_say_does_not_unfold():
    assert "smol-alone" in step_html(StepRecord(1, state="error"), open=True)
    assert "smol-alone" not in step_html(calling(1), open=True)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_characters_that_a_terminal_lacks_are_written_out_all_at_once(encoding):
    asked = []
    codecs.register_error("asked", lambda error: asked.append(error.start) or in_few_characters(error))
    assert ("漢" * 1_000 + "✓").encode(encoding, "asked") == b"\\u6f22" * 1_000 + b"ok"
    assert asked == [0]
