"""Markdown of models and children is drawn as such, text that is none as it was written, and all of it is harmless."""

from __future__ import annotations

import random
import re

import pytest
from harmless import Page, assert_harmless
from hostile import pieces

from smol_kernel.events import (
    ActionFinished,
    ActionProposed,
    FinalAnswer,
    Output,
    PlanMade,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
)
from smol_kernel.render.html import account_html, answer_html, inline_html, paragraphs_html
from smol_kernel.render.prose import answer_words_html
from smol_kernel.render.records import StepRecord
from smol_kernel.render.sanitize import output_html
from smol_kernel.render.transcript import Transcript

RESULT = "## Result\n\n| decade | rise |\n|---|---|\n| 1980s | 16.1 |\n\n- one\n- two"
RIGHT = ' style="text-align:right"'
BLOCKS = {"ul", "ol", "li", "table", "blockquote", "hr", "pre", "em"}


def answer(text):
    return answer_html(Transcript(task="t", state="success", answered=True, answer=text, answer_text=text))


def displayed(text):
    return output_html(Output(channel="display", text=text, data={"text/plain": text, "text/markdown": text}))


def test_an_answer_in_markdown_is_drawn():
    assert answer(RESULT) == (
        '<div class="smol-final"><p class="smol-h2"><strong>Result</strong></p>'
        '<div class="smol-rich smol-words"><table><thead>'
        f"<tr><th>decade</th><th{RIGHT}>rise</th></tr></thead><tbody>"
        f"<tr><td>1980s</td><td{RIGHT}>16.1</td></tr></tbody></table></div>"
        "<ul><li>one</li><li>two</li></ul></div>"
    )


def test_thoughts_plans_and_what_actions_display_are_drawn_as_well():
    start = {"task": "t", "agent": "CodeAgent", "model": "m", "isolation": "box", "max_steps": 3, "system_prompt": ""}
    events = [
        RunStarted(run="r", **start),
        PlanMade(run="r", step=1, plan="## Plan of mine\n\n1. look\n2. draw"),
        StepStarted(run="r", step=1),
        ActionProposed(run="r", step=1, thought="## Look first\n\n* at `this`\n* at *that*", code="x"),
        Output(run="r", step=1, channel="display", text="# head", data={"text/markdown": "# head\ntext"}),
        ActionFinished(run="r", step=1, status="ok"),
        StepFinished(run="r", step=1),
        FinalAnswer(run="r", value=RESULT, text=RESULT),
        RunFinished(run="r", state="success"),
    ]
    html = account_html(Transcript.from_events(events))
    for drawn in (
        '<p class="smol-h2"><strong>Plan of mine</strong></p><ol><li>look</li><li>draw</li></ol>',
        '<span class="smol-t">Look first</span>',
        "<ul><li>at <code>this</code></li><li>at <em>that</em></li></ul>",
        '<p class="smol-h1"><strong>head</strong></p><p>text</p>',
        "<th>decade</th>",
    ):
        assert drawn in html
    assert "#" not in Page(html).words
    assert_harmless(html)


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("a\n\n- b\n  - c\n  - d\n- e", "<p>a</p><ul><li>b<ul><li>c</li><li>d</li></ul></li><li>e</li></ul>"),
        ("- a\n    - b\n- c", "<ul><li>a<ul><li>b</li></ul></li><li>c</li></ul>"),
        ("1. a\n   more\n\n2. b\n\n   c", "<ol><li>a\nmore</li><li>b<p>c</p></li></ol>"),
        ("3. a\n4. b\n6. c", '<ol start="3"><li>a</li><li>b</li></ol><ol start="6"><li>c</li></ol>'),
        ("Two:\n- **a**: x\n- b\nEnd", "<p>Two:</p><ul><li><strong>a</strong>: x</li><li>b</li></ul><p>End</p>"),
        ("```python\nx = '<b>'\n\n# no heading\n```", "x = &#x27;&lt;b&gt;&#x27;\n\n# no heading</pre>"),
        ("1. a:\n   ```\n   x\n   ```\n2. b", ">x</pre></li><li>b</li></ol>"),
        ("he said:\n\n> to *be*\n> or not", "<blockquote><p>to <em>be</em><br>or not</p></blockquote>"),
        ("a\n\n---\n\nb", "<p>a</p><hr><p>b</p>"),
        ("### A ###\ntext\n#### C#", '<strong>A</strong></p><p>text</p><p class="smol-h3"><strong>C#</strong></p>'),
        ("a | b\n:-: | ---\nx\\|y | `z`", '<td style="text-align:center">x|y</td><td><code>z</code></td>'),
        ("| a |\n|---|\n| x<br>y<br/>z<hr> |", "<td>x<br>y<br>z&lt;hr&gt;</td>"),
        ("| a |\n|---|\n| `<br>` and<br>`x` |", "<td><code>&lt;br&gt;</code> and<br><code>x</code></td>"),
        ("| a |\n|---|\n| 1 |\n| 2 | x |", f"<tr><td{RIGHT}>1</td></tr><tr><td{RIGHT}>2</td><td>x</td></tr>"),
        ("| padded | like this |\n|--------|-----------|\n| x      | y         |", "<td>x</td><td>y</td>"),
        ("## A\n\n```diff\n--- a.py\n+++ b.py\n@@ -1 +1 @@\n-x = 1\n+x = 2\n```\n\n- a\n- b", "<ul><li>a</li>"),
        ("## A\n\ndiff of the means is 3\n\n| g |\n|---|\n| a |", "<td>a</td>"),
        ("Total: 42\n\nHighlights:\n- Q1 was **up**\n- Q2", "<ul><li>Q1 was <strong>up</strong></li>"),
        ("These came out:\n\nmean: 5\n\nfindings:\n- a\n- b", "<ul><li>a</li><li>b</li></ul>"),
        ("mean: 5\n\nfindings:\n- a\n- b\n\nThat is all.", "<ul><li>a</li><li>b</li></ul><p>That is all.</p>"),
        ("Top:\n\n1. 120\n2. 80", "<ol><li>120</li>"),
        ("A:\n\n*   **a**: x\n    *   b\n    *   c\n*   d", "x<ul><li>b</li><li>c</li></ul></li><li>d</li></ul>"),
        ("A:\n\n1.  a\n    -   b\n    -   c\n2.  d", "<ol><li>a<ul><li>b</li><li>c</li></ul></li><li>d</li></ol>"),
        ("A:\n\n- One.  Two.\n- Three!  Four.", "<ul><li>One.  Two.</li><li>Three!  Four.</li></ul>"),
        ("1. a\n   ```\n   x  # b\n   y  # c\n   ```\n2. d", ">x  # b\ny  # c</pre></li><li>d</li></ol>"),
        ("## A\n\n- a     1\n- bb    2\n- ccc   3", ">- a     1\n- bb    2\n- ccc   3</pre>"),
        ("## A\n\n1) a\n2) b\n\n+ c\n+ d", "<p>1) a<br>2) b</p><p>+ c<br>+ d</p>"),
        ("## A\n\n    indented  code\n\nend", ">    indented  code</pre><p>end</p>"),
        ("## A\n\nyear  ppm\n1958  315", ">year  ppm\n1958  315</pre>"),
    ],
)  # fmt: skip
def test_blocks(text, html):
    assert html in paragraphs_html(text)
    assert html in answer_words_html(text) or not text.startswith(("#", "-", "1", "3", "|", "`"))
    assert_harmless(paragraphs_html(text))


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**a *b* c** and *d*.", "<strong>a <em>b</em> c</strong> and <em>d</em>."),
        ("(_two words_) (*one*), “*quoted*”", "(<em>two words</em>) (<em>one</em>), “<em>quoted</em>”"),
        ("_From the `data`._\nEnd", "<em>From the <code>data</code>.</em>\nEnd"),
        ("`*a*` and **`b`**", "<code>*a*</code> and <strong><code>b</code></strong>"),
        ("![a plot](http://x.org/a.png) ![](x)", "a plot picture"),
        ("see [the page](https://x.org/a?b=1&c=2)", "see the page (https://x.org/a?b=1&amp;c=2)"),
        ("[**b**](mailto:a@x.org)", "<strong>b</strong> (mailto:a@x.org)"),
        ("[x](javascript:alert(1)) a[0](b)", "[x](javascript:alert(1)) a[0](b)"),
        ("$a*b*c$ and $x_1 y_2 z$ for $5 and **$6**", "$a*b*c$ and $x_1 y_2 z$ for $5 and <strong>$6</strong>"),
        (
            "***a*** and ***b* c** and **d *e***",
            "<strong><em>a</em></strong> and <strong><em>b</em> c</strong> and <strong>d <em>e</em></strong>",
        ),
        ("f(**kw) and g(**kw), ***** and **p = 5, ***p = 1", "f(**kw) and g(**kw), ***** and **p = 5, ***p = 1"),
        ("重点是**这个**词", "重点是<strong>这个</strong>词"),
    ],
)
def test_marks_within_a_line(text, html):
    assert displayed(text) == f"<p>{html}</p>"


def test_where_a_text_is_no_markdown_few_marks_count():
    text = "regex: ^(*x*)$ and _two words_ and [a](http://x.org) and ![p](http://x.org/a.png)"
    for html in (inline_html(text), paragraphs_html(text), answer(text)):
        assert text in html
    assert inline_html("**a** and `b`") == "<strong>a</strong> and <code>b</code>"
    assert inline_html("***a***, (**b c**)") == "<strong><em>a</em></strong>, (<strong>b c</strong>)"
    assert inline_html("“**a:** b”, **$5**.") == "“<strong>a:</strong> b”, <strong>$5</strong>."
    assert inline_html("是**这个**词") == "是<strong>这个</strong>词"
    value = Transcript(task="t", state="success", answered=True, answer=["**a**"], answer_text="['**a**', '`b`']")
    assert "[&#x27;**a**&#x27;, &#x27;`b`&#x27;]" in answer_html(value)


@pytest.mark.parametrize(
    "text",
    [
        "a * b * c and 2*3*4 and x**2 + y**2 and 2 ** 3 ** 4",
        "snake_case_names, __init__, _private_, _id and x_, a_b_c",
        "f(*args, **kwargs), SELECT *, count(*) FROM t, *.py and *.txt, /*no*/, [*sorted(glob('*.md'))]",
        "f(**kw) and g(**kw2), x = {**a,**b} and [**c, **d], h(a, **b)(c, **d)",
        "src/**/*.py and tests/**/*.py, **/tests/** and **/docs/**, glob('**/*.py') and glob('**/*.txt')",
        "'**' and '**', (**) and (**), src/**,tests/**, a**/b**, (**.py,**.txt), x **y and z**2",
        "*****, **** and ***, **p < 0.05, ***p < 0.01, char **a, int **b",
        "5* and 6*, p < 0.05 *, \\*not this\\*",
        "#hashtag #1 C# # 5",
        "2 | 3",
    ],
)
def test_what_are_no_marks_within_a_line(text):
    assert Page(inline_html(text)).tags == set()
    assert Page(inline_html(text)).words == text


PLAIN = [
    "The answer is 5.\nIt was\n  found\n\nlater.",
    "1. 5 of them",
    "1958. It began",
    "1. one\n3. three\n5. five",
    "- 5",
    "> 5 of them",
    "2 | 3\n4 | 5",
    "#hashtag\n#other",
    "# 5",
    "# comment\nx = 1\ny = 2",
    "## a\n## b\n## c",
    "# load\n\nimport pandas\nx = 1",
    '"""Does.\n\n- one\n- two\n"""\n\nimport x\n\n\ndef f():\n    return x',
    "a,b\n1,2\n3,4",
    "# year,ppm\n1958,315\n1959,316",
    '{\n  "a": [\n    "- b",\n    "- c"\n  ]\n}',
    "- name: a\n  value: 1\n- name: b\n  value: 2",
    "---\nname: x\n---\nvalue",
    "a  1\nb  2\n---------- -------\nc  3",
    " id | name\n----+------\n  1 | a\n  2 | b",
    "- a     1\n- bb    2\n- ccc   3",
    "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n- old\n- older\n+ new\n+ newer",
    "1c1\n< a\n---\n> b",
    ">>> 1 + 1\n2\n>>> f(\n... )",
    ">seq1 a gene\nACGT",
    "total 4\n-rw-r--r-- 1 me me  5 Jan  1 a.txt\ndrwxr-xr-x 2 me me 40 Jan  1 b",
    'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\nKeyError: 1',
    "a ``` b\n```\nleft open\n- x",
    "Title\n=====\ntext",
    "text\n---",
    "list:\n  - a\n  - b",
    "שלום עולם\n\nשורה שנייה",
    "Total: $5\n\nand $6.",
    "-a\n-b\n*c\n1.d",
    "--- a.py\n+++ b.py\n@@ -1,6 +1,4 @@\n def f():\n-    a = 1\n-    b = 2\n     return 3\n \n def g():",
    "Remove these:\n\n@@ -1,6 +1,4 @@\n def f():\n-    a = 1\n-    b = 2",
    "- if x:\n-     return 1\n- return 2",
    "name: x\nchannels:\n- defaults\ndependencies:\n- python=3.10\n- pandas",
    "# of mine\n---\nname: x\nenv:\n  a: 1\n\nchannels:\n- a # b\n- c",
    "100\n- 20\n- 30\n= 50",
    "- 5\n- 6\n- 7",
    "> GET / HTTP/1.1\n> Host: a\n< HTTP/1.1 200",
]


@pytest.mark.parametrize("text", PLAIN)
def test_other_text_looks_as_it_is_written(text):
    for html in (paragraphs_html(text), answer_words_html(text)):
        page = Page(html)
        assert page.tags <= ({"pre"} if html.startswith("<pre") else {"p", "br", "strong"})
        assert "".join(page.words.split()) == "".join(text.split())
    if "<pre" in answer_words_html(text):
        assert Page(answer_words_html(text)).words == text.strip()


def test_an_answer_in_words_has_its_first_line_set_off():
    lead = '<p class="smol-lead"><strong>One</strong></p>'
    assert answer_words_html("One\n\ntwo\nthree\n\nfour") == f"{lead}<p>two<br>three</p><p>four</p>"
    assert answer_words_html("One\ntwo") == f"{lead}<p>two</p>"
    assert answer_words_html("One\ntwo\n\n- a\n- b") == f"{lead}<p>two</p><ul><li>a</li><li>b</li></ul>"


@pytest.mark.parametrize("is_text", [True, False])
def test_a_long_first_line_of_an_answer_is_not_set_off(is_text):
    long = "word " * 40 + "end"
    assert answer_words_html(long, is_text) == f"<p>{long}</p>"
    assert answer_words_html(f"{long}\ntwo", is_text) == f"<p>{long}<br>two</p>"
    assert answer_words_html(f"{long}\n\n- a\n- b") == f"<p>{long}</p><ul><li>a</li><li>b</li></ul>"


def test_what_is_declared_to_be_markdown_is_read_as_that():
    assert displayed("# 5\n- a") == '<p class="smol-h1"><strong>5</strong></p><ul><li>a</li></ul>'
    assert displayed("one\ntwo  \nthree") == "<p>one\ntwo  <br>three</p>"
    assert displayed("  \n") == ""
    assert displayed("just words") == "<p>just words</p>"
    assert displayed("a\n1) b\n2) c") == "<p>a</p><ol><li>b</li><li>c</li></ol>"
    assert displayed("+ a\n  + b\n+ c") == "<ul><li>a<ul><li>b</li></ul></li><li>c</li></ul>"
    assert displayed("- a   1\n- bb  2\n+ c") == "<ul><li>a   1</li><li>bb  2</li></ul><ul><li>c</li></ul>"
    both = Output(channel="display", text="t", data={"text/markdown": "*m*", "text/html": "<b>h</b>"})
    assert "<b>h</b>" in output_html(both)


def test_lists_that_are_too_deep_keep_their_lines():
    html = paragraphs_html("\n".join(f"{'  ' * depth}- item {depth}" for depth in range(7)))
    assert "item 3<br>" in html and "- item 5<br>" in html


def test_what_is_printed_stays_as_it_is():
    assert "<pre" in output_html(Output(channel="stdout", text=RESULT))
    assert "## Result" in output_html(Output(channel="result", text=RESULT, data={"text/plain": RESULT}))


@pytest.mark.parametrize(
    ("thought", "title", "rest"),
    [
        ("## Look\n\nThen draw.", "Look", "Then draw."),
        ("1. Load it. Then\n2. Draw", "1. Load it.", "Then\n2. Draw"),
        ("10. Load it. Then", "10. Load it.", "Then"),
        ("#hashtag", "#hashtag", ""),
        ("**Load. Then draw.** More. Then", "**Load. Then draw.** More.", "Then"),
        ("Take `a. B`, f(**k). Then g(**k). Ok", "Take `a. B`, f(**k).", "Then g(**k). Ok"),
        ("2 ** 3 is 8. Then **draw", "2 ** 3 is 8.", "Then **draw"),
        ("| a |\n|---|\n| 1 |\n\nThen.", "Runs code", "| a |\n|---|\n| 1 |\n\nThen."),
        ("```\nx = 1\n```\nThen.", "Runs code", "```\nx = 1\n```\nThen."),
    ],
)
def test_a_title_is_a_sentence_without_the_mark_of_a_heading(thought, title, rest):
    step = StepRecord(1, thought=thought, code="x")
    assert (step.title, step.words_beyond_title) == (title, rest)


PIECES = {**pieces("http://evil.example"), "script": "<script>1</script>", "link": "[a](http://evil.example)"}
FRAMES = ["{}", "## {}", "- {}\n- {}", "| {} | {} |\n|---|---|\n| {} | b |", "```\n{}\n```", "> {}", "1. {}\n2. {}"]


@pytest.mark.parametrize("name", PIECES)
def test_no_piece_is_live_in_any_block(name):
    for frame in [*FRAMES, "**{}** *{}*"]:
        text = "## a\n\n" + frame.replace("{}", PIECES[name])
        for html in (paragraphs_html(text), answer(text), displayed(text), inline_html(text)):
            assert not assert_harmless(html).tags & {"img", "a"}


MARKS = """#_ ##_ -_ __-_ +_ 1._ 2._ 1)_ >_ | |---| |-|-|% ``` ~~~% ---% * ** *** u ` [ ]( ](http://e) ![ $ <b> ____ %
%% \t \\"""
"""Apart by spaces; "_" is one, "%" the end of a line, "u" what else "_" would be."""


def unfolded(mark):
    return mark.replace("_", " ").replace("%", "\n").replace("u", "_")


@pytest.mark.parametrize("seed", range(20))
def test_marks_put_together_by_chance_give_whole_elements_and_lose_no_letter(seed):
    chance = random.Random(seed)
    marks = [unfolded(mark) for mark in re.split(r"[ \n]", MARKS)]
    for _ in range(200):
        letters = iter("abcdefghijklmnopqrstuvwxyz")
        text = "".join(next(letters) if chance.random() < 0.4 else chance.choice(marks) for _ in range(26))
        for html in (paragraphs_html(text), answer_words_html(text), displayed(text)):
            page = assert_harmless(html)
            assert not page.tags - BLOCKS - {"p", "br", "strong", "code", "div", "thead", "tbody", "tr", "th", "td"}
            if not any(mark in text for mark in ("![", "```", "~~~")):  # an address, a language
                assert not any(map(str.isalpha, set(text) - set(page.words))), text


LONG = """* ** u ` [ ![ [a]( ![a]( ]( $ $a **a_*b_ *a_ub_ ua_b #_ # -_ -_a% _-_a% -_-_ >_ >_>_a% >% 1._a% 1._a%3._b%
-_a%__b% - -_a%%% | |- |-|% |_a_|%|---|% \\| ```a% ```% ~ ~~~~` ---% ---%% % __% ( (( a\t <br> &
-_a__b% 1._a__b% -_1% +_a% 1)_a% *** ***a_ -_```a%"""


@pytest.mark.parametrize("mark", LONG.split())
def test_long_text_takes_no_time_that_grows_with_its_square(mark, monkeypatch):
    monkeypatch.setattr("smol_kernel.render.prose.MAX_PROSE", 1_000_000)
    monkeypatch.setattr("smol_kernel.render.sanitize.MAX_TEXT", 1_000_000)
    text = "## a\n\n" + unfolded(mark) * (100_000 // len(mark)) + "\nx"
    for html in (paragraphs_html(text), answer_words_html(text), displayed(text)):
        assert len(html) < 60 * len(text)
