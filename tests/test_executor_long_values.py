"""Long output, long values and images of an action: what the model gets of them, and where the rest is."""

from __future__ import annotations

import base64
import io
import re
import sys

import pytest

from smol_kernel.events import Output
from smol_kernel.executors import pictures
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.observation import truncate
from smol_kernel.executors.pictures import observed_images
from smol_kernel.executors.streams import MAX_WHOLE, Whole
from smol_kernel.executors.values import RemoteValue, decode
from smol_kernel.tools import tool

LIMIT = 1_000


@tool
def echo(given: object) -> str:
    """Says that it came.

    Args:
        given: Anything.
    """
    return "here"


@pytest.fixture(scope="module")
def kernel():
    executor = KernelExecutor(timeout_seconds=60, max_print_outputs_length=LIMIT)
    yield executor
    executor.cleanup()


def run(executor, code):
    *_, finished = executor.run(code)
    assert finished.status != "died"
    return finished


def value(executor, code):
    return decode(run(executor, code).value)


def name_in(logs):
    """Where the note says that the whole text is."""
    note = logs[logs.index("left out") :]
    return note[note.index("_logs[") : note.index("]") + 1]


@pytest.mark.parametrize(
    ("code", "size"),
    [
        ("''.join(f'{i:06d} ' for i in range(30000))", 210_002),
        ("'\\n'.join(f'{i:06d}' for i in range(30000))", 209_999),
    ],
)
def test_a_long_value_keeps_its_true_end_and_says_how_much_is_left_out(kernel, code, size):
    text = run(kernel, code).value_text
    head, note, tail = text.split("…")
    assert len(head.strip()) + len(tail.strip()) <= LIMIT
    assert re.match(r" ([\d,]+) characters left out", note)[1] == f"{size - LIMIT:,}"
    assert tail.rstrip(" ')").endswith("029999")


def test_the_whole_of_long_logs_stays_readable_under_the_name_the_note_gives(kernel):
    code = "import sys\nfor n in range(1000): print(n)\nprint('oops', file=sys.stderr)"
    logs = run(kernel, code).logs
    assert logs.startswith("0\n1\n") and logs.endswith("999\noops\n") and len(logs) < LIMIT + 200
    assert "characters left out; the whole text is in _logs[" in logs
    name = name_in(logs)
    run(kernel, "print('short')")
    assert value(kernel, f"{name}.split()[500]") == "500"
    assert value(kernel, f"{name}.endswith('999\\noops\\n')")
    assert "_logs" not in kernel.names()


def test_each_long_output_has_a_name_of_its_own_and_a_reset_does_not_lose_it(kernel):
    first = run(kernel, "print('a' * 2000)").logs
    second = run(kernel, "from IPython.display import Markdown, display\ndisplay(Markdown('b' * 2000))\n_logs = 3").logs
    run(kernel, "%reset -f")
    assert name_in(first) != name_in(second)
    assert value(kernel, f"{name_in(first)}.count('a'), {name_in(second)}.count('b')") == (2000, 2000)


def test_a_failed_action_keeps_its_output_as_well(kernel):
    finished = run(kernel, "print('c' * 3000)\n1 / 0")
    assert finished.error_type == "ZeroDivisionError"
    assert value(kernel, f"len({name_in(finished.logs)})") == 3001


def test_short_output_is_not_kept(kernel):
    before = value(kernel, "len(_logs)")
    assert "_logs" not in run(kernel, "print('x' * 900)").logs
    assert value(kernel, "len(_logs)") == before


def test_a_fresh_child_never_has_the_number_of_an_old_one(kernel):
    old = name_in(run(kernel, "print('d' * 2000)").logs)
    kernel.restart()
    assert run(kernel, old).error_type == "KeyError"
    assert name_in(run(kernel, "print('e' * 2000)").logs) != old


@pytest.mark.parametrize(
    ("code", "name"),
    [("list(range(990))", "_"), ("words = ' '.join(map(str, range(990)))", "words"), ("a, b = 'x' * 2000, 1", "")],
)
def test_a_long_last_value_is_shortened_and_named(kernel, code, name):
    finished = run(kernel, code)
    assert len(finished.value_text) < LIMIT + 200
    assert ("; the whole value is in" in finished.value_text) == bool(name)
    if name:
        assert f"left out; the whole value is in {name} …" in finished.value_text
        assert value(kernel, f"len({name})") > 900


def test_an_answer_is_not_shortened(kernel):
    finished = run(kernel, "final_answer('y\\n' * 5000)")
    assert finished.value_text == "y\n" * 5000


LONG = ("[n * 1.1 for n in range(10**6)]", "[[n, n] for n in range(10**5)]", "'1,2,3\\n' * 10**6")


@pytest.mark.parametrize("code", LONG)
def test_long_lists_and_a_long_table_as_text_are_an_answer(kernel, code):
    assert value(kernel, f"final_answer({code})") == eval(code)


def test_an_answer_and_arguments_of_too_many_items_are_refused_in_words(kernel):
    kernel.send_tools({"echo": echo})
    for call in ("final_answer", "echo"):
        finished = run(kernel, f"{call}([0] * 4_500_000)")
        assert finished.error_type == "TypeError"
        assert "too large to cross: its lists and dicts have over 4,000,000 items" in finished.error
    finished = run(kernel, "from decimal import Decimal\n[Decimal(n % 10) for n in range(1_500_000)]")
    assert isinstance(decode(finished.value), RemoteValue)


def test_what_is_kept_in_the_child_is_bounded():
    whole = Whole()
    for number in range(3):
        whole.begin(number, shown=10)
        whole.add("x" * (MAX_WHOLE - 1))
        whole.add("yz")
        assert whole.end()
    assert list(whole.logs) == [2]
    assert whole.logs[2].endswith("xy\n… 1 characters more were not kept")
    whole.add("a" * 10)
    assert len(whole._text.getvalue()) == 10


def test_a_truncated_text_says_where_the_rest_is():
    assert (
        truncate("a" * 50 + "b" * 50, 20, "it is in x")
        == f"{'a' * 10}\n… 80 characters left out; it is in x …\n{'b' * 10}"
    )
    assert truncate("short", 20, "it is in x") == "short"


# images


def picture(width, height, form="PNG"):
    image = pytest.importorskip("PIL.Image").new("RGB", (width, height), "red")
    stream = io.BytesIO()
    image.save(stream, form)
    return base64.b64encode(stream.getvalue()).decode()


def shown(text, mime="image/png", channel="display"):
    return Output(channel=channel, data={"text/plain": "<Figure>", mime: text})


def test_the_images_of_an_action_come_as_pillow_images(kernel):
    pytest.importorskip("PIL")
    code = """
from PIL import Image
from IPython.display import display
display(Image.new("RGB", (30, 20), "blue"))
print("between")
Image.new("L", (5, 7))
"""
    first, second = observed_images(kernel.run(code))
    assert (first.size, first.getpixel((0, 0)), second.size) == ((30, 20), (0, 0, 255), (5, 7))


def test_images_are_few_small_and_sound(monkeypatch):
    monkeypatch.setattr(pictures, "MAX_PIXELS", 5_000_000)
    sizes = [image.size for image in observed_images(shown(picture(n, 10)) for n in range(1, 12))]
    assert sizes == [(n, 10) for n in range(4, 12)]
    [large] = observed_images([shown(picture(4000, 1000, "JPEG"), "image/jpeg", "result")])
    assert large.size == (2000, 500)
    huge = shown(picture(2_001, 2_001))
    outputs = [
        shown("!"),
        shown(base64.b64encode(b"no image").decode()),
        huge,
        huge,
        shown(picture(3, 3)),
        Output(channel="stdout"),
    ]
    assert [image.size for image in observed_images(outputs)] == [(2000, 2000), (3, 3)]


def test_without_pillow_images_are_bytes(monkeypatch):
    text = picture(3, 3)
    for name in ("PIL", "PIL.Image"):
        monkeypatch.setitem(sys.modules, name, None)
    assert observed_images([shown(text)]) == [base64.b64decode(text)]
