"""A reply becomes an action, or a message that repairs it."""

import json

import pytest

from smol_kernel.errors import AgentParsingError
from smol_kernel.models.code_replies import MARKDOWN_TAGS, answer_in, closed, parse_reply

ANALYSIS = "<|channel|>analysis<|message|>shall I? <code>no()</code>"
FINAL = "<|start|>assistant<|channel|>final<|message|>"
"""Of the harmony format, as gpt-oss writes it."""


def test_a_tagged_block_and_its_thought():
    action = parse_reply("Thought: look first.\n<code>\nx = 1\nprint(x)\n</code>")
    assert action.thought == "look first."
    assert action.code == "x = 1\nprint(x)"


@pytest.mark.parametrize(
    "reply",
    [
        "look\n```python\nx = 1\n```",
        "look\n```py\nx = 1\n```\nThat is all.",
        "look\n```\nx = 1\n```",
        "look\n```python3\nx = 1\n```",
        "look\n```{python}\nx = 1\n```",
        "look\n```python title='a.py'\nx = 1\n```",
        "look\n```{.python .numberLines}\nx = 1\n```",
        "look\n```py\nx = 1\n```<end_code>",
        "look\n```py\nx = 1\n``` That is all.",
        "look\r\n```python\r\nx = 1\r\n```\r\n",
        "\ufefflook\n<code>\nx = 1\n</code>",
        "look\n<CODE>\nx = 1\n</CODE>",
        "look\n<code>\n```python\nx = 1\n```\n</code>",
        "look\n<code>\nx = 1",
        "look\n```python\nx = 1\n",
        "<think>shall I\n```python\nno()\n```\n</think>look\n<code>x = 1</code>",
        "shall I?</think>look\n<code>x = 1</code>",
        "shall I? <code>no()</code> No.</think>look\n<code>x = 1</code>",
        "<thinking>shall I? <code>no()</code></thinking>look\n<code>x = 1</code>",
        "<think>a</think><think>b <code>no()</code></think>look\n<code>x = 1</code>",
        "<think>a `</think>` <code>no()</code></think>look\n<code>x = 1</code>",
        "look\n<code>x = 1</code>\n<think>so that is done</think>",
        "look\n<code>x = 1</code>\n<think>and then\n<code>no()</code>",
        "look<think>hm\n```python\nno()\n```\n</think>\n```python\nx = 1\n```",
        "[THINK]shall I?\n<code>no()</code>[/THINK]look\n<code>x = 1</code>",
        "<code>no()</code> No.[/THINK]look\n<code>x = 1</code>",
        "<seed:think><code>no()</code></seed:think>look\n<code>x = 1</code>",
        "◁think▷```python\nno()\n```\n◁/think▷look\n<code>x = 1</code>",
        "<|channel>thought\n<code>no()</code><channel|>look\n<code>x = 1</code>",
        "<thought>a</think> <code>no()</code></thought>look\n<code>x = 1</code>",
        "<reasoning>\n<code>no()</code></reasoning>\nlook\n<code>x = 1</code>",
        f"{ANALYSIS}<|end|>{FINAL}look\n<code>x = 1</code><|return|>",
        f"{ANALYSIS}<|end|><|start|>assistant{ANALYSIS}{FINAL}look\n<code>x = 1</code>",
        f"{ANALYSIS}<|end|><|start|>assistant<|channel|>commentary to=python code<|message|>look\n<code>x = 1</code>",
        f"<code>no()</code>{FINAL}look\n<code>x = 1</code>",
        f"look\n<code>x = 1</code><|end|><|start|>assistant{ANALYSIS}",
        "look\n<code>x = 1</code><|end|>",
    ],
)
def test_other_forms_are_understood(reply):
    action = parse_reply(reply)
    assert action.code == "x = 1"
    assert action.thought == "look"


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("<code>\ns = '''</code>'''\nprint(s)\n</code>", "s = '''</code>'''\nprint(s)"),
        ("```python\ns = '''\n```\n'''\nprint(s)\n```\n", "s = '''\n```\n'''\nprint(s)"),
        ("```py\ns = '''\n```a\n'''\nprint(s)\n```<end_code>", "s = '''\n```a\n'''\nprint(s)"),
        ("<code>\nprint('``` in a string')\n</code>", "print('``` in a string')"),
        ("<code>\nprint('<think>')\n</code>", "print('<think>')"),
        ("<code>\nprint('</think>')\n</code>", "print('</think>')"),
        ("<code>\ns='</code>'\nprint('<think>x</think>')\n</code>", "s='</code>'\nprint('<think>x</think>')"),
        ("<think>plan</think>\n```python\nre.sub('.*</think>', '', s)\n```", "re.sub('.*</think>', '', s)"),
        ("like\n```html\n<think>\n```\n<code>x = 1</code>", "x = 1"),
        ("print('<think>')", "print('<think>')"),
        ("<code>\nprint('[THINK]', '◁think▷')\n</code>", "print('[THINK]', '◁think▷')"),
        ("```python\nf('[/THINK]', '<channel|>')\n```", "f('[/THINK]', '<channel|>')"),
        ('<code>\ns = """\n<thought>\n"""\n</code>', 's = """\n<thought>\n"""'),
        (f"```py\ns = '{ANALYSIS}{FINAL}'\n```", f"s = '{ANALYSIS}{FINAL}'"),
        ("I read the <reasoning> element.\n<code>\nx = 1\n</code>", "x = 1"),
        ("It ends at </thought>.\n<code>\nx = 1\n</code>", "x = 1"),
        ("Thought: the XML has\n<thought>\nas its tag.\n<code>\nx = 1\n</code>", "x = 1"),
        ("Thought: parse\n<reasoning>\nelement\n```python\nx = 1\n```", "x = 1"),
        ("Find\n<thought>\nby\n<code>\nx = '<thought></thought>'\n</code>", "x = '<thought></thought>'"),
        ("<thought>I compute\n<code>\nx = 1\n", "x = 1"),
        ("<think>a</think>\n<reasoning>I compute\n<code>\nx = 1\n</code>", "x = 1"),
    ],
)
def test_marks_inside_strings_of_the_code_do_not_end_it(reply, code):
    assert parse_reply(reply).code == code


def test_a_tag_that_is_only_spoken_of_is_no_block():
    action = parse_reply("I put it between `<code>` tags.\n<code>\nx = 1\n</code>")
    assert (action.thought, action.code) == ("I put it between `<code>` tags.", "x = 1")
    assert parse_reply("It begins with `<think>`.\n<code>\nx = 1\n</code>").code == "x = 1"


@pytest.mark.parametrize(
    "prose",
    [
        "I answer in <code> tags.",
        "The block comes in <CODE>:",
        "I put it between <code> and </code>.",
        "I put it in <code> for the kernel:",
        "I answer in <code> with the following:",
        "I answer in <code> from now on.",
        "Use <code> with care:",
        "I answer in <code> while I look, if that is needed.",
        "Inside <code> tags, that is <code> and </code>, stands this:",
    ],
)
def test_so_it_is_without_backticks_before_a_program(prose):
    for program in (
        "<code>\nx = 1\n</code>",
        "<code>x = 1",
        "so\n  <code>\nx = 1\n</code>",
        "<code>\n  x = 1\n  </code>",
        "```python\nx = 1\n```",
    ):
        action = parse_reply(f"{prose}\n{program}")
        assert (action.thought.removesuffix("\nso"), action.code.strip()) == (prose, "x = 1")
    assert parse_reply("Code begins with <code>\n<code>\nx = 1\n</code>").code == "x = 1"


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("a = = 1", "b = 2"),
        ("print 1", "b = 2"),
        ("f(x y)", "b = 2"),
        ("!ls", "b = 2"),
        ("%time f()", "b = 2"),
        ("df?", "b = 2"),
        ("price", "b = 2"),
        ("# install\n%pip install x", "b = 2"),
        ("# load\nx = = 3", "b = 2"),
        ("import pandas as pd\nfor x in y", "b = 2"),
        ("from math import pi\nx = = 3", "b = 2"),
        ("try:\n    x = 1", "b = 2"),
        ("class A:\ndef f(self): pass", "b = 2"),
        ("with lock:\nx = = 3", "b = 2"),
        ("while True:\nx = = 3", "b = 2"),
        ("async def f(x):\nx = = 3", "b = 2"),
        ("@cache\ndef f(x)\n    pass", "b = 2"),
        ('"""Load"""\nx = = 3', "b = 2"),
        ('"""Load\nthis"""\nx = = 3', "b = 2"),
        ("and then", "b = = 2"),
    ],
)
def test_what_is_wrong_with_a_block_that_begins_in_a_line_of_prose_is_told_by_running_it(first, then):
    assert parse_reply(f"So <code>{first}</code>\nthen\n<code>\n{then}\n</code>").code == f"{first}\n\n{then}"
    assert parse_reply(f"So <code>\n{first}\n</code>\nthen\n<code>\n{then}\n</code>").code == f"{first}\n\n{then}"


@pytest.mark.parametrize("fence", ["```", "~~~"])
@pytest.mark.parametrize("label", ["python", ""])
def test_a_fence_may_end_a_block_on_the_last_line_of_its_code(fence, label):
    block = f"{fence}{label}\nx = 2\nprint(x){fence}"
    assert parse_reply(f"look\n{block}").code == parse_reply(f"{block} \nThat prints 2.").code == "x = 2\nprint(x)"
    assert parse_reply(block, cut_off=True).code == "x = 2\nprint(x)"
    assert parse_reply(f"{block}\nthen\n```py\ny = 3\n```").code == "x = 2\nprint(x)\n\ny = 3"
    assert parse_reply(f"{block}\nprints\n```\n2\n```").code == "x = 2\nprint(x)"
    shown = f"s = '''\na{fence}\n'''\nprint(s"
    for code in (shown, f"{shown})", f"x = 1  # as in {fence}\ny = = 2", f"x = {fence}\ny = 2", f"print(1){fence} 2"):
        assert parse_reply(f"{fence}{label}\n{code}\n{fence}").code == code


def test_several_blocks_run_as_one():
    for between in ("then", "<think>hm</think>", "<think>hm <code>no()</code></think>", "It may print </think> here."):
        assert parse_reply(f"a\n<code>x = 1</code>\n{between}\n<code>y = x</code>").code == "x = 1\n\ny = x"


def test_blocks_that_end_in_a_stop_sequence_are_each_read():
    reply = "a\n```py\nx = 1\n```<end_code>\nb\n```py\ny = 2\n```"
    assert parse_reply(reply).code == "x = 1\n\ny = 2"
    assert "```py" in parse_reply("a\n```py\nx = 1\n```py\ny = 2\n```").code  # no end: it fails, and nothing is lost


@pytest.mark.parametrize("language", ["bash", "json", "text", "c++", "{.sh}"])
def test_a_block_of_another_language_is_not_run(language):
    other = f"First:\n```{language}\npip list\n```\n"
    assert parse_reply(f"{other}then\n```python\nx = 1\n```\n").code == "x = 1"
    assert parse_reply(f"{other}then\n```\nx = 1\n```\n{other}").code == "x = 1"
    assert parse_reply(f"First:\n```{language}\npip list\n```python\nx = 1\n```\n").code == "x = 1"
    for reply in (other, other.rstrip()):
        with pytest.raises(AgentParsingError, match="no code block"):
            parse_reply(reply)


def test_blocks_after_an_invented_observation_are_left_out():
    reply = "a\n<code>x = 1</code>\nObservation: 41\nso\n<code>final_answer(41)</code>"
    assert parse_reply(reply).code == "x = 1"


@pytest.mark.parametrize("label", ["python", "py", "Python", "python3", "ipython", "{.python}", ""])
@pytest.mark.parametrize(
    "shown",
    [
        "Total: 5 items",
        "Total: 5",
        "Name: Ann\nAge: 7",
        "5",
        "[1, 2]",
        "price",
        "a, b",
        "a  b\n1  2",
        "$ pip install x",
    ],
)
def test_a_block_without_a_label_that_is_no_program_is_not_run_beside_one_that_is(label, shown):
    reply = f"Count.\n```{label}\nprint('Total: 5')\n```\nThis will print something like:\n```\n{shown}\n```"
    assert parse_reply(reply).code == "print('Total: 5')"
    assert parse_reply(f"{reply}\nand then\n```{label}\nx = 1\n```").code == "print('Total: 5')\n\nx = 1"
    before = f"I saw:\n```\n{shown}\n```\nNow:\n```{label}\nx = 1\n```"
    assert parse_reply(before).code == "x = 1"
    assert parse_reply(json.dumps({"thought": "t", "code": before}), None).code == "x = 1"


@pytest.mark.parametrize("first", ["python", "py", ""])
@pytest.mark.parametrize("second", ["python", "py", ""])
def test_programs_run_with_and_without_a_label(first, second):
    assert parse_reply(f"a\n```{first}\nx = 1\n```\nb\n```{second}\nprint(x)\n```").code == "x = 1\n\nprint(x)"


def test_where_no_block_is_a_program_what_is_wrong_with_it_is_told_by_running_it():
    assert parse_reply("a\n```\nfor x in\n```").code == "for x in"
    assert parse_reply("a\n```\nprice\n```").code == "price"
    assert parse_reply("a\n```\n!pip list\n```\nb\n```\nx = 1\n```").code == "!pip list\n\nx = 1"
    assert parse_reply("a\n```python\nfor x in\n```\nprints\n```\nTotal: 5\n```").code == "for x in"


def test_tags_in_the_output_that_a_reply_expects_begin_no_block():
    reply = "a\n```python\nprint(html)\n```\nprints\n```\n'use <code>pip</code>'\n```"
    assert parse_reply(reply).code == "print(html)"


def test_a_reply_that_is_only_code_is_run():
    assert parse_reply("final_answer(6 * 7)").code == "final_answer(6 * 7)"


HTML = "html = '<p>use <code>pip</code> now</p>'\nprint(html)"
README = "doc = '''Title\n```\nls -l\n```\n'''\nprint(doc)"


@pytest.mark.parametrize("program", [HTML, README])
def test_marks_in_the_strings_of_a_program_begin_no_block(program):
    assert parse_reply(program).code == program
    assert parse_reply(json.dumps({"thought": "t", "code": program}), None).code == program
    assert parse_reply(f"So:\n<code>\n{program}\n</code>").code == program
    with pytest.raises(AgentParsingError, match="cut off"):
        parse_reply(program, cut_off=True)


def test_a_tag_in_the_strings_of_a_fenced_program_begins_no_block():
    assert parse_reply(f"So:\n```python\n{HTML}\n```").code == HTML
    assert parse_reply("```\n<code>\nx = 1\n</code>\n```").code == "x = 1"
    two = f"First\n```python\na = 1\n```\nthen\n```python\n{HTML}\n```"
    assert parse_reply(two).code == f"a = 1\n\n{HTML}"
    assert parse_reply(f"As in\n```python\n{HTML}\n```\nI do\n<code>\nx = 1\n</code>").code == "x = 1"


@pytest.mark.parametrize(
    "text", ['{"thought": null, "code": "x = 1\ny = 2"}', '```json\n{"code": "x = 1\ny = 2"}\n```']
)
def test_json_with_a_line_break_in_a_text_and_no_thought_is_read(text):
    action = parse_reply(text, None)
    assert (action.thought, action.code) == ("", "x = 1\ny = 2")


def test_a_flood_of_tags_is_cut_short():
    assert len(parse_reply("<code>x</code>" * 100_000).code) < 1_000
    assert parse_reply("<code>" * 100_000).code
    assert parse_reply("<think><code></think>" * 20_000 + "<code>x</code>").code == "x"
    assert len(parse_reply("<code>x</code>" * 30_000 + "<think>").code) < 1_000


@pytest.mark.parametrize("line", ["if " + "=" * 1_000_000, "elif a" + "<b" * 500_000, "for a" + ", a" * 300_000])
def test_a_long_line_is_read_in_little_time(line):
    assert parse_reply(f"I use <code> {line}</code>").code
    assert parse_reply(f"```\n{line[:99_000]}\n```").code


def test_markdown_tags():
    assert parse_reply("look\n```python\nx = 1\n```\n", MARKDOWN_TAGS).code == "x = 1"


@pytest.mark.parametrize(
    ("reply", "hint"),
    [
        ("", "was empty"),
        ("  \n ", "was empty"),
        ("<think>I wonder and wonder", "still thinking"),
        ("[THINK]I wonder <code>no()</code>", "still thinking"),
        (f"{ANALYSIS}<|end|>", "still thinking"),
        ("Let me see.\n<think>I could\n<code>\nshutil.rmtree('data')\n", "no code block"),
        ("<think>" * 60_000, "still thinking"),
        ("</think>" * 50_000, "no code block"),
        ("The answer is 42.", "final_answer(...)"),
        ("Done", "no code block"),
        ("Answer: 42", "no code block"),
        ("<code>\n</code>", "is empty"),
        ("x" * 1_000_000, "no code block"),
        ("({[" * 400_000, "no code block"),
        ("```{ " + "a" * 400_000, "no code block"),
    ],
)
def test_a_reply_without_an_action_gets_a_message_that_repairs(reply, hint):
    with pytest.raises(AgentParsingError) as caught:
        parse_reply(reply)
    assert hint in caught.value.message
    assert "<code>" in caught.value.message


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "I think",
        "final_answer(1)",
        "<code>\nx = 1",
        "```py\nx = 1\n```\n```py\ny = 2",
        "```\nx = 1\n```\n```\nfor y in",
    ],
)
def test_of_a_reply_that_was_cut_off_an_open_block_is_not_run(reply):
    with pytest.raises(AgentParsingError, match="cut off"):
        parse_reply(reply, cut_off=True)


def test_of_a_reply_that_was_cut_off_whole_blocks_are_run():
    assert parse_reply("```py\nx = 1\n```\nThis sh", cut_off=True).code == "x = 1"


def test_json_that_was_cut_off_is_not_run():
    with pytest.raises(AgentParsingError, match="cut off"):
        parse_reply('{"thought": "so", "code": "print(', None, cut_off=True)


def test_the_closing_tag_cut_off_by_the_stop_sequence_is_put_back():
    assert closed("a\n<code>\nx", ("<code>", "</code>")) == "a\n<code>\nx\n</code>"
    assert closed("a\n<code>\nx\n</code>", ("<code>", "</code>")) == "a\n<code>\nx\n</code>"
    assert closed("no code", ("<code>", "</code>")) == "no code"


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("The value is <code>42</code>", 42),
        ("Row <code>3</code>, column <code>7</code>", "Row <code>3</code>, column <code>7</code>"),
        ("The best column is <code>price</code>", "The best column is <code>price</code>"),
        ("See column <code>7</code> for details.", "See column <code>7</code> for details."),
    ],
)
def test_code_within_a_line_is_a_part_of_the_answer_unless_it_is_the_one_value(reply, answer):
    assert answer_in(reply) == answer


@pytest.mark.parametrize(
    "first",
    [
        "x = 1\n!ls",
        "# install\n!pip install x",
        "import os\n%matplotlib inline\nfoo = 1",
        "print(1",
        "for x in y:\n    print(x",
        "df['a'] = (1",
        "import numpy as np\nx = np.array([1,2,3]\nprint(x)",
        "for i in range(3)\n  print(i)",
        "import os\nprint 1",
        "x = 5\nprint x",
        "print 'mean', m",
        "data = {'a': 1\nn = 2",
        "rows = [\n    1,\n    2,\nn = 3",
        "a = 1\nb = 2\nc = a + b +",
        "name = “Bob”\nage = 5",
        "if x = 5:\n    y = 3",
        "x = 5\ny = 'a\nz = 1",
        "x = 5\ny == = 3",
        "for i in [1,2]:\n    x = i\n    print x",
        "x = final_answer(3)\nprint x",
        "!./run.sh",
        "! ls",
        "!{cmd}",
    ],
)
@pytest.mark.parametrize("label", ["", "python"])
def test_a_program_without_a_label_counts_also_where_it_cannot_be_read(first, label):
    reply = f"A\n```\n{first}\n```\nB\n```{label}\nfinal_answer(1)\n```"
    assert parse_reply(reply).code == f"{first}\n\nfinal_answer(1)"


@pytest.mark.parametrize(
    "shown",
    [
        "Total: 5 items",
        "   a  b\n0  1  2\n1  3  4",
        "Name: x, dtype: int64",
        "42",
        "<class 'int'>",
        "mean = 3.2 ± 0.1",
        "accuracy = 93 %",
        "f(x) at 3: 4",
        "a = 3 b = 4",
        "LinearRegression() fitted in 3 s",
        "class  precision",
        "% of rows: 3",
        "with errors:\n3",
        "[1, 2, 3,",
        "{'a': 1,",
        "(3, 4",
        "mean (sd",
        "total: (3",
        "R2 = 0.97\nRMSE = 1.2 mm",
        "mean = 3.5\n12 samples in all",
        "Epoch 1: loss = 0.5\nloss = 0.4",
        "slope = 0.5 ppm per year\nn = 12\nstatus = ok",
        "<class 'int'>\nx = 5",
        "100%|####| 5/5\nloss=3",
        "score = 5 / 10 points",
        "best_params = {'C': 1.0} (score 0.93)",
        'city = "Paris", 2.1 million people',
        "weights = [0.2 0.3\n 0.5]",
        "Summary ==========\nn  12",
        "profit = revenue - cost of goods",
        "for each city in the list:\n    look up the price",
        "if price >= 3 euros:\n  skip",
        "print the table",
    ],
)
def test_an_output_without_a_label_is_no_program(shown):
    assert parse_reply(f"A\n```python\nprint(1)\n```\nThis gives:\n```\n{shown}\n```").code == "print(1)"
