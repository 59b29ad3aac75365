"""Outputs are shown as a terminal would show them, in bounded amounts, and nothing in them can act."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from smol_kernel.events import Output, Progress
from smol_kernel.executors import observation
from smol_kernel.executors.observation import Observer, allowed, clean, truncate


def image(kind: str, size: tuple[int, int] = (64, 48)) -> str:
    stream = io.BytesIO()
    Image.new("RGB", size, "red").save(stream, kind)
    return base64.encodebytes(stream.getvalue()).decode()


def observed(*outputs: tuple[str, str], limit: int = 20_000) -> tuple[str, list[tuple[str, str]]]:
    """Logs and events of stream texts, adjacent events of one stream joined."""
    observer = Observer(limit)
    events = [event for channel, text in outputs for event in observer.add(Output(channel=channel, text=text))]
    events += observer.finish()
    joined: list[tuple[str, str]] = []
    for event in events:
        if isinstance(event, Progress):
            continue
        before = joined.pop()[1] if joined and joined[-1][0] == event.channel else ""
        joined.append((event.channel, before + event.text))
    return observer.logs, joined


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\nβ 🎈\n", "plain\ttext\nβ 🎈\n"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b[38:2::1:2:3mred\x1b[m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "alink"),
        ("\x1bPdevice\x1b\\a\x1b_app\x9cb\x9dtitle\x9cc", "abc"),
        ("\x1b(Ba\x1b7\x1b>b\x1b", "ab"),
        ("\x1b]never ended", ""),
        ("\x1b[é", "é"),
        ("a\x00b\x07c\x7fd\x85e\x0cf", "abcd\ne\nf"),
        ("a\u202eb\u2066c\u200fd\u061ce\U000e0041f", "abcdef"),
        ("family 👨\u200d👩\u200d👧", "family 👨\u200d👩\u200d👧"),
        ("lone \ud83d here", "lone \ufffd here"),
        ("a\r\nb\r\n", "a\nb\n"),
        ("a\u2028b", "a\nb"),
        ("  0%\r 50%\r100%\ndone", "100%\ndone"),
        ("abcdef\rxy", "xycdef"),
        ("long line\rshort    \n", "short\n"),
        ("long line\r\x1b[Kshort\n", "short\n"),
        ("long line\x1b[2K\rshort\n", "short\n"),
        ("abc\b\bX", "aXc"),
        ("a\b\b\b\bX", "X"),
        ("\r\r\r", ""),
        ("100%\r", "100%"),
        ("\x1b[A\x1b[2Jx", "x"),
        ("", ""),
    ],
)
def test_clean_shows_what_a_terminal_shows(text, shown):
    assert clean(text) == shown


def test_a_sequence_that_never_ends_hides_little_and_takes_no_time():
    text = "\x1b]" + "secret " * 10_000
    assert clean(text) == "secret " * 10_000
    assert clean("\x1b]" * 200_000) == ""
    assert clean("\x1b[" * 200_000 + "m") == ""
    assert clean("x\r" * 200_000) == "x"


def test_truncate_keeps_both_ends_and_says_how_much_is_missing():
    assert truncate("abcdef", 6) == "abcdef"
    assert truncate("abcdef", 4) == "ab\n… 2 characters left out …\nef"
    text = truncate("a" * 20_000 + "b" * 20_000, 10_000)
    assert text == "a" * 5000 + "\n… 30,000 characters left out …\n" + "b" * 5000
    assert truncate("abc", 0) == "\n… 3 characters left out …\n"
    assert truncate("abc", 1) == "\n… 2 characters left out …\nc"


def test_streams_stay_in_the_order_they_came():
    logs, events = observed(("stdout", "a\n"), ("stderr", "b\n"), ("stdout", "c"), ("stdout", "d\n"))
    assert logs == "a\nb\ncd\n"
    assert events == [("stdout", "a\n"), ("stderr", "b\n"), ("stdout", "cd\n")]


@pytest.mark.parametrize("pieces", [1, 2, 3, 5, 100])
def test_pieces_are_read_as_one_text(pieces):
    text = "start\n\r 10%\x1b[32m|█ |\x1b[0m\r100%|██|\x1b]0;t\x1b\\\nnext \x1b[1mbold\x1b[0m\r\nlast"
    size = -(-len(text) // pieces)
    logs, events = observed(*(("stderr", text[place : place + size]) for place in range(0, len(text), size)))
    assert logs == "start\n100%|██|\nnext bold\nlast"
    assert events == [("stderr", logs)]


def test_a_progress_bar_is_one_line_though_other_lines_come_between():
    outputs = [("stderr", f"\r{n}%") for n in range(50)]
    outputs.insert(25, ("stdout", "half\n"))
    observer = Observer(1000)
    for channel, text in outputs:
        list(observer.add(Output(channel=channel, text=text)))
    assert observer.logs == "half\n49%"
    assert [event.text for event in observer.finish()] == ["49%"]
    assert observer.logs == "half\n49%"
    assert list(observer.finish()) == []


def test_a_line_written_over_after_it_was_shown_begins_anew():
    logs, events = observed(("stdout", "working"), ("stdout", "\rdone   \n"), ("stdout", "x"), ("stdout", "\r\n"))
    assert logs == "working\ndone\nx\n"
    assert events == [("stdout", logs)]


def test_a_flood_keeps_head_and_tail_in_little_memory():
    observer = Observer(1000)
    passed = [
        event for n in range(60_000) for event in observer.add(Output(channel="stdout", text=f"line {n:06}\n" * 5))
    ]
    passed += observer.finish()
    text = "".join(event.text for event in passed)
    total = 60_000 * 5 * 12
    assert text.startswith("line 000000\n") and text.endswith("line 059999\n")
    kept = observation.MAX_PRINTED + observation._REST
    assert f"\n… {total - kept:,} characters left out …\n" in text
    assert len(text) < kept + 100
    assert len(passed) < 30_000
    assert observer.logs.startswith("line 000000\n") and observer.logs.endswith("line 059999\n")
    assert f"… {total - 1000:,} characters left out …" in observer.logs


def test_a_line_without_end_is_not_held_for_ever():
    observer = Observer(1000)
    list(observer.add(Output(channel="stdout", text="\r")))
    texts = [event.text for _ in range(50) for event in observer.add(Output(channel="stdout", text="x" * 1000))]
    assert sum(map(len, texts)) > 20_000


def test_a_plot_is_a_line_in_the_logs_and_stays_an_image():
    observer = Observer(1000)
    list(observer.add(Output(channel="stdout", text="before")))
    data = {"text/plain": "<Figure size 64x48>", "image/png": image("PNG")}
    (event,) = observer.add(Output(channel="display", text="x", data=data))
    assert event.text == event.data["text/plain"] == "<Figure size 64x48>"
    assert base64.b64decode(event.data["image/png"], validate=True).startswith(b"\x89PNG")
    assert observer.logs == "before\n<Figure size 64x48>\n[image: 64 x 48 PNG]\n"


def test_a_result_is_shown_but_only_its_image_is_in_the_logs():
    observer = Observer(1000)
    (event,) = observer.add(Output(channel="result", data={"text/plain": "5"}))
    assert (event.text, observer.logs) == ("5", "")
    list(observer.add(Output(channel="result", data={"text/plain": "<Image>", "image/jpeg": image("JPEG")})))
    assert observer.logs == "[image: 64 x 48 JPEG]\n"


def test_markdown_is_read_as_its_source():
    observer = Observer(1000)
    data = {"text/plain": "<IPython.core.display.Markdown object>", "text/markdown": "# Title"}
    list(observer.add(Output(channel="display", data=data)))
    assert observer.logs == "# Title\n"


@pytest.mark.parametrize(
    ("data", "kept", "lines"),
    [
        ({"text/plain": "a\x1b[1mb", "text/html": "<b>\u202ex</b>"}, {"text/plain": "ab", "text/html": "<b>x</b>"}, []),
        ({"text/latex": "$x$", "text/markdown": "*x*"}, {"text/latex": "$x$", "text/markdown": "*x*"}, []),
        ({"text/plain": "p", "application/javascript": "alert(1)", "application/json": {}}, {"text/plain": "p"}, []),
        ({"application/javascript": "alert(1)"}, {}, ["[nothing to show of 'application/javascript']"]),
        ({"text/plain": ["a"]}, {}, ["[nothing to show of 'text/plain']"]),
        ({}, {}, ["[nothing to show of an empty display]"]),
        ({"image/svg+xml": "<svg/>"}, {}, ["[image/svg+xml left out: SVG is not shown]"]),
        ({"image/png": image("JPEG")}, {}, ["[image/png left out: it is not a PNG]"]),
        ({"image/jpeg": image("PNG")}, {}, ["[image/jpeg left out: it is not a JPEG]"]),
        ({"image/png": "<script>"}, {}, ["[image/png left out: it is not a PNG]"]),
        ({"image/png": "grün"}, {}, ["[image/png left out: it is not a PNG]"]),
        ({"image/png": None}, {}, ["[image/png left out: it is not a PNG]"]),
        ({"image/png": "iVBORw0KGgo="}, {}, ["[image/png left out: it is not a PNG]"]),
        ({"image/jpeg": "/9j/"}, {}, ["[image/jpeg left out: it is not a JPEG]"]),
        ({"image/jpeg": "/9j/4AAA"}, {}, ["[image/jpeg left out: it is not a JPEG]"]),
        ({"image/png": "A" * 12_000_000}, {}, ["[image/png left out: 9,000,000 bytes, the limit is 8,388,608]"]),
        (
            {"text/html": "x" * 2_000_000, "text/plain": "p"},
            {"text/plain": "p"},
            ["[text/html left out: 2,000,000 characters, the limit is 1,048,576]"],
        ),
    ],
)
def test_only_what_is_allowed_and_true_and_small_is_kept(data, kept, lines):
    assert allowed(data) == (kept, lines)


def test_an_image_of_too_many_pixels_is_left_out():
    header = bytearray(base64.b64decode(image("PNG")))
    header[16:24] = (100_000).to_bytes(4, "big") * 2
    kept, lines = allowed({"image/png": base64.b64encode(header).decode()})
    assert (kept, lines) == ({}, ["[image/png left out: 100000 x 100000, the limit is 50,000,000 pixels]"])


def test_the_size_of_a_picture_is_not_looked_for_without_end():
    def jpeg(segments: int) -> dict[str, str]:
        raw = base64.b64decode(image("JPEG"))
        return {"image/jpeg": base64.b64encode(raw[:2] + b"\xff\xe0\x00\x02" * segments + raw[2:]).decode()}

    assert allowed(jpeg(500)) == (jpeg(500), ["[image: 64 x 48 JPEG]"])
    assert allowed(jpeg(5_000)) == ({}, ["[image/jpeg left out: it is not a JPEG]"])


def test_pictures_that_are_none_count_to_what_may_be_displayed():
    observer = Observer(10_000)
    for _ in range(40):
        list(observer.add(Output(channel="display", data={"image/jpeg": "/9j/" + "A" * 8_000_000})))
    assert observer.logs.count("it is not a JPEG") == 5
    assert observer.logs.count("too many") == 35


def test_what_is_left_out_is_said_to_people_too():
    observer = Observer(1000)
    (event,) = observer.add(Output(channel="display", data={"image/svg+xml": "<svg/>"}))
    assert event.data == {"text/plain": "[image/svg+xml left out: SVG is not shown]"}
    assert observer.logs == "[image/svg+xml left out: SVG is not shown]\n"


def test_displays_without_end_are_left_out():
    observer = Observer(10_000)
    data = {"text/plain": "p", "text/html": "x" * 1_000_000}
    events = [event for _ in range(1000) for event in observer.add(Output(channel="display", data=data))]
    assert len(events) < 300
    assert sum(len(text) for event in events for text in event.data.values()) < 40_000_000
    assert "too many" in observer.logs


def test_marks_of_a_run_stay_on_what_is_passed_on():
    observer = Observer(100)
    (event,) = observer.add(Output(channel="stdout", text="a\n", run="r", step=3, time=1.0))
    assert (event.run, event.step, event.time) == ("r", 3, 1.0)


@pytest.mark.parametrize("piece", ["\x9d", "\x1b]", "\x9b", "\x90", "\x1b[0", "\r", "a\b", "\x9b0"])
def test_a_flood_of_beginnings_takes_no_longer_than_other_text(piece):
    assert len(clean(piece * 1_000_000)) <= 4_000_000  # a time that grew with the square would be hours
