"""What an action put out, made fit to read: as the text `logs` for the model, as tame Output events for people.

The executor feeds an `Observer` with all that comes from the child, which may send anything, in any amount.
"""

from __future__ import annotations

import base64
import copy
import re
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from smol_kernel.events import Output, Progress
from smol_kernel.executors.displays import CHART, KINDS, LIVE
from smol_kernel.executors.streams import TAIL
from smol_kernel.executors.values import MAX_PIXELS
from smol_kernel.memory.foreign_pictures import jpeg_size, scans_beyond

MAX_IMAGE = 8 << 20
"""Bytes of an image."""
MAX_MARKUP = 1 << 20
"""Characters of HTML, Markdown or LaTeX."""
MAX_PLAIN = 100_000
"""Characters of a display's plain text; the middle of a longer one is left out."""
MAX_DISPLAYS, MAX_DISPLAYED = 100, 32 << 20
"""Displays of one action; characters of them all, after which no other is taken."""
MAX_PRINTED = 1 << 20
"""Characters that an action may print before only the end is kept."""

_REST = TAIL + 1_000  # characters of that end: what a child keeps of it, and its note
_LINE = 20_000  # columns of a line that is still being overwritten
_PROGRESS = 500  # of these, what is shown while it is
_SEQUENCE = 4_096  # characters of an escape sequence
_PICTURES = ("image/png", "image/jpeg")
_BURST, PACE = 200, 0.1  # after so many events, those that come within so many seconds become one

_UNSEEN = re.compile(
    r"""
      (?P<erase> (?:\x1b\[|\x9b) [02]? K )                                  # to the end of the line, or all of it
    | (?:\x1b\[|\x9b) [0-?]* [ -/]* [@-~]                                   # colors, cursor
    | (?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f]) [^\x07\x1b\x90\x98\x9c-\x9f]* (?:\x07|\x1b\\|\x9c)  # titles, links
    | \x1b [ -/]* [0-~]?
    | (?P<newline> \r\n | [\x0b\x0c\x85\u2028\u2029] )
    | (?P<broken> [\ud800-\udfff] )
    | [\x00-\x07\x0e-\x1a\x1c-\x1f\x7f-\x9f]
    | [\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]   # these turn the order of text, or hide it
    """,
    re.VERBOSE,
)
"""ECMA-48 sequences and characters, and those of https://www.unicode.org/reports/tr9/."""
SUSPECT = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\U000e0000-\U000e007f]"
)
"""What `_UNSEEN` can begin with, and moves: most text has none of it and is done ten times faster."""
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b\x9c]*\x1b?|[ -/]*)\Z")
_ERASE = "\x05"
_MOVES = re.compile(rf"[\r\b{_ERASE}]")
_PIECES = re.compile(rf"[\r\b{_ERASE}]|[^\r\b{_ERASE}]{{1,{_LINE}}}")


def clean(text: str) -> str:
    """The text as a terminal would show it, without escape sequences, control and bidi characters.

    Of a line that was written over, such as a progress bar, the last state stays; a lone surrogate becomes U+FFFD.
    """
    screen = _Screen()
    return screen.feed(text) + screen.flush()


def told(content: Mapping[str, Any], key: str, limit: int = MAX_PLAIN) -> str:
    """The text that a child gives under `key`, cleaned, of at most `limit` characters; empty if it gives none."""
    text = content.get(key)
    return clean(text[:limit]) if isinstance(text, str) else ""


def truncate(text: str, limit: int, rest: str = "", before: int = 0) -> str:
    """The text; if longer than `limit` characters, its first and last ones and, between them, how many are left out.

    `rest` is said there besides: where the rest can be found. So many had been left out `before`, of the middle.
    """
    ends = _Ends(limit // 2, limit - limit // 2)
    ends.add(text)
    return ends.text(rest, before)


def allowed(data: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """Of display data (MIME type to content) what may be shown, and a line for each thing a reader should know of:
    images, charts, and what is left out because of its size or because it is not what it says."""
    kept: dict[str, str] = {}
    lines: list[str] = []
    for mime, content in data.items():
        if mime == "text/plain" and isinstance(content, str):
            whole = content if len(content) <= MAX_MARKUP else truncate(content, MAX_PLAIN)
            kept[mime] = truncate(clean(whole), MAX_PLAIN)
        elif mime in ("text/html", "text/markdown", "text/latex") and isinstance(content, str):
            if len(content) <= MAX_MARKUP:
                kept[mime] = clean(content)
            elif data.get(LIVE) != "chart":
                lines.append(f"[{mime} left out: {len(content):,} characters, the limit is {MAX_MARKUP:,}]")
        elif mime in _PICTURES:
            try:
                kept[mime], size = _image(mime, content)
                lines.append(f"[image: {size} {mime[6:].upper()}]")
            except ValueError as error:
                lines.append(f"[{mime} left out: {error}]")
        elif mime == LIVE and content in KINDS:
            kept[mime] = content
            lines += [CHART] if content == "chart" else []
        elif mime == "image/svg+xml":
            lines.append("[image/svg+xml left out: SVG is not shown]")
    if not kept and not lines:
        lines.append(f"[nothing to show of {', '.join(map(ascii, data))[:200] or 'an empty display'}]")
    return kept, lines


class Observer:
    """Collects the outputs of one action; `limit` is in characters of `logs`. Its memory is bounded."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._logs = _Ends(limit // 2, limit - limit // 2)
        self._rest = _Ends(0, _REST)
        self._screens = {"stdout": _Screen(), "stderr": _Screen()}
        self._waiting: list[Output] = []
        self._events, self._last = 0, 0.0
        self._progress, self._told = "", ("", 0.0)  # the line being written over; the one told last, and when
        self._channel = "stdout"  # where that line is written
        self._printed = self._displays = self._displayed = 0
        self._at_line_start = True
        self.rest = ""
        """Where the model finds what is left out of `logs`, as a sentence; empty: nowhere."""
        self.left_out = 0
        """Characters that the child has left out itself, of what was printed."""

    @property
    def logs(self) -> str:
        """What was printed and displayed, as the model reads it: in the order it came, an image as a line."""
        logs = copy.deepcopy(self._logs)
        for screen in self._screens.values():
            logs.add(screen.line)
        return logs.text(self.rest, self.left_out if self.limit < 2 * TAIL else 0)  # else the child's note is in them

    def add(self, output: Output) -> Iterator[Output | Progress]:
        """Take in one output; yields what may be passed on by now."""
        screen = self._screens.get(output.channel)
        if screen is None:
            yield from self._display(output)
            return
        if text := screen.feed(output.text):
            yield from self._print(replace(output, text=text, data={}))
        self._progress, self._channel = screen.line[:_PROGRESS], output.channel
        if time.monotonic() - self._told[1] > PACE:
            yield from self._tell()

    def finish(self) -> Iterator[Output | Progress]:
        """Yield what was held back: a line still written over, the end of a flood. To be called once it ended."""
        self._progress = self._told[0]  # its last state comes now
        for channel, screen in self._screens.items():
            if text := screen.flush():
                yield from self._print(Output(channel=channel, text=text))
        yield from self.release()
        if rest := self._rest.text():
            self._rest = _Ends(0, _REST)
            yield Output(channel="stdout", text=rest)

    def _print(self, output: Output) -> Iterator[Output | Progress]:
        self._write(output.text)
        room = max(0, MAX_PRINTED - self._printed)
        self._printed += len(output.text)
        self._rest.add(output.text[room:])
        if room:
            if self._waiting and self._waiting[0].channel != output.channel:
                yield from self.release()
            self._waiting.append(replace(output, text=output.text[:room]))
        if self._events < _BURST or time.monotonic() - self._last > PACE:
            yield from self.release()

    def _display(self, output: Output) -> Iterator[Output | Progress]:
        self._displays += 1
        data, lines = dict[str, str](), ["[a display left out: there are too many]"]
        if self._displays <= MAX_DISPLAYS and self._displayed < MAX_DISPLAYED:
            data, lines = allowed(output.data or {"text/plain": output.text})
            failed = [output.data[mime] for mime in _PICTURES if mime in output.data and mime not in data]
            self._displayed += sum(map(len, (*failed, *data.values())))
        data = data if data.keys() - {LIVE} else data | {"text/plain": "\n".join(lines)}
        seen = lines
        if output.channel != "result" and (text := data.get("text/markdown") or data.get("text/plain")):
            seen = [text, *(line for line in lines if line not in text)]
        if seen:
            self._write(("" if self._at_line_start else "\n") + "\n".join(seen) + "\n")
        yield from self.release()
        if self._displays <= 2 * MAX_DISPLAYS:
            yield replace(output, text=data.get("text/plain", ""), data=data)

    def _write(self, text: str) -> None:
        self._logs.add(text)
        self._at_line_start = text.endswith("\n")

    @property
    def holds(self) -> bool:
        """Whether something waits for more of its kind, for the sake of the pace."""
        return bool(self._waiting) or self._progress != self._told[0]

    def _tell(self) -> Iterator[Progress]:
        if self._progress != self._told[0]:
            self._told = (self._progress, time.monotonic())
            yield Progress(channel=self._channel, text=self._progress)

    def release(self) -> Iterator[Output | Progress]:
        """Yield what waits. To be called when nothing more came for a while, or something else comes next."""
        yield from self._tell()
        if self._waiting:
            output = replace(self._waiting[0], text="".join(piece.text for piece in self._waiting))
            self._waiting = []
            self._events, self._last = self._events + 1, time.monotonic()
            yield output


class _Ends:
    """The first `head` and the last `tail` characters of a text that comes in pieces."""

    def __init__(self, head: int, tail: int) -> None:
        self._room, self._keep = head, tail
        self._head: list[str] = []
        self._tail: list[str] = []
        self._size = self._left_out = 0

    def add(self, text: str) -> None:
        first, text = text[: self._room], text[self._room :]
        if first:
            self._head.append(first)
            self._room -= len(first)
        if text:
            self._tail.append(text)
            self._size += len(text)
        if self._size > 2 * self._keep:
            self._cut()

    def text(self, rest: str = "", before: int = 0) -> str:
        """What is kept, with a note of what is not; `rest` says where that can be found. So many characters had been
        left out `before`, of the middle."""
        self._cut()
        note = f"{self._left_out + before:,} characters left out{rest and '; '}{rest}"
        middle = f"\n… {note} …\n" if self._left_out else ""
        return "".join([*self._head, middle, *self._tail])

    def _cut(self) -> None:
        excess = self._size - self._keep
        if excess > 0:
            self._tail = ["".join(self._tail)[excess:]]
            self._size -= excess
            self._left_out += excess


class _Screen:
    """A stream as a terminal shows it. A line that is being written over is held back until it ends."""

    def __init__(self) -> None:
        self._cells: list[str] = []
        self._column = 0
        self._unfinished = ""
        self._held = False  # the line has been written over, and may be again
        self._begun = False  # the line has a part that was returned

    @property
    def line(self) -> str:
        """The line held back."""
        return "".join(self._cells).rstrip(" ")

    def feed(self, text: str) -> str:
        """Take in text; returns what is not going to change."""
        text = self._unfinished + text
        if not self._held and not SUSPECT.search(text):
            self._begun = not text.endswith("\n") if text else self._begun
            return text
        unfinished = _UNFINISHED.search(text, max(0, len(text) - _SEQUENCE))
        self._unfinished = unfinished[0] if unfinished else ""
        text = _UNSEEN.sub(_seen, text[: len(text) - len(self._unfinished)])
        *lines, last = text.split("\n")
        shown = [f"{self._end(line)}\n" for line in lines]
        if not self._held and not _MOVES.search(last):
            self._begun = bool(last)
            return "".join([*shown, last])
        return "".join([*shown, self._write(last)])

    def flush(self) -> str:
        """The line held back, which is not held any more."""
        line = ("\n" if self._begun and self._cells else "") + self.line
        self._begun = bool(line) or self._begun
        self._cells, self._column, self._unfinished, self._held = [], 0, "", False
        return line

    def _end(self, line: str) -> str:
        if self._held or _MOVES.search(line):
            line = self._write(line) + self.flush()
        self._begun = False
        return line

    def _write(self, text: str) -> str:
        """Write over the line; returns what became too long to be held."""
        self._held = True
        settled: list[str] = []
        for move in _PIECES.finditer(text):
            piece = move[0]
            if piece == "\r":
                self._column = 0
            elif piece == "\b":
                self._column = max(0, self._column - 1)
            elif piece == _ERASE:
                del self._cells[self._column :]
            else:
                self._cells[self._column : self._column + len(piece)] = piece
                self._column += len(piece)
            if len(self._cells) > _LINE:
                settled += ["\n" if self._begun else "", *self._cells]
                self._cells, self._column, self._begun = [], 0, False  # the rest follows on the same line
        return "".join(settled)


def _seen(match: re.Match[str]) -> str:
    """What takes the place of something unseen."""
    if match.lastgroup == "erase":
        return f"\r{_ERASE}" if "2" in match[0] else _ERASE
    return {"newline": "\n", "broken": "\ufffd"}.get(match.lastgroup or "", "")


def _image(mime: str, content: object) -> tuple[str, str]:
    """The image in base64 without white space, and its size such as `640 x 480`. Raises ValueError, in plain words."""
    text = "".join(content.split()) if isinstance(content, str) else ""
    if len(text) > MAX_IMAGE * 4 // 3 + 4:
        raise ValueError(f"{len(text) * 3 // 4:,} bytes, the limit is {MAX_IMAGE:,}")
    try:
        raw = base64.b64decode(text, validate=True)
        width, height, scans = (*_png_size(raw), 1) if mime == "image/png" else jpeg_size(raw)
    except (ValueError, LookupError, struct.error):
        raise ValueError(f"it is not a {mime[6:].upper()}") from None
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width} x {height}, the limit is {MAX_PIXELS:,} pixels")
    if too_many := scans_beyond(width, height, scans):
        raise ValueError(f"it has {too_many}")
    return text, f"{width} x {height}"


def _png_size(raw: bytes) -> tuple[int, int]:
    """Width and height (https://www.w3.org/TR/png/#11IHDR)."""
    if raw[:8] != b"\x89PNG\r\n\x1a\n" or raw[12:16] != b"IHDR":
        raise LookupError
    return struct.unpack_from(">II", raw, 16)
