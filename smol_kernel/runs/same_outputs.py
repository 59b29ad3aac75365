"""Whether the outputs of a cell are as they were: what `pytest --nbval` compares, and plots by what an eye would see.

Called by `validate`.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from typing import Any, cast

from smol_kernel.errors import MissingDependencyError
from smol_kernel.memory import foreign_pictures

NOT_COMPARED = ("application/vnd.jupyter.widget-view+json",)
"""MIME types of which nothing is compared: ids of widgets differ each time."""
IMAGES = ("image/png", "image/jpeg")
MARGIN = 4
"""Pixels by which the frames of a plot may differ: another font is a little wider."""
REACH, LEVEL = 2, 48
"""A pixel is as it was if its shades, give or take LEVEL of 255, lie within those of the pixels around it in the other
picture, REACH to each side: letters moved by a pixel or drawn smoother are, a moved line is not."""
SHARE, SHARE_OF_ANOTHER = 0.0001, 0.002
"""Share of the pixels that may not be as they were; the second one for plots that another version of a program may
have drawn (matplotlib 3.10 and 3.11 come to 0.0006; a bar 2 % higher is 0.0022, a line elsewhere 0.03)."""
LONGEST, WIDEST = 60, 300
"""Lines of a difference that are shown, and characters of a line."""
_SAME = tuple(
    (re.compile(pattern, re.MULTILINE), instead)
    for pattern, instead in (
        (r"^(?:.*[/\\]ipykernel_\d+[/\\]\d+\.py|<action>):\d+: (\w+: .*)(?:\n  .*)?$", r"\1"),
        (r"^<>:\d+: SyntaxWarning: .*\n", ""),
        (r"^.*[/\\]([\w.-]+\.py:\d+: \w*Warning: )", r"\1"),
        (r"^RuntimeWarning: Enable tracemalloc to get the object allocation traceback\n", ""),
        (r"(?<![^\s\"'()])[^\s\"'()]*[/\\]ipykernel_\d+[/\\]\d+\.py", "<action>"),
        (r"\(\d+\.py, line (\d+)\)", r"(line \1)"),
        (r"\b0x[0-9a-fA-F]{6,}\b", "0x…"),
        (r'(<div class="smol-run[^"]*">)<style>[\s\S]*?</style>', r"\1"),
        (r'<span class="smol-chip(?: smol-bad)?">[^<]*\bisolated\b[^<]*</span>', "<span>boxed?</span>"),
        (
            r"(?<= \xb7 )(?:not isolated(?:: [^\xb7\n]+)?|isolated: box(?:, with [^\xb7\n]+)?)(?= \xb7 [a-z ]+$)",
            "boxed?",
        ),
        (
            r"(?:(?<!\n)\n+|<p class=\"smol-note smol-mark\">)"
            r"NOT ISOLATED: this run's code could [\w ]+\.(?:</p>)?(?=\n|<|$)",
            "",
        ),
        (r"(?<!\n)\n+Files made in the box: .*", ""),
        (r'<div class="smol-final"><p><small>Files made in the box: .*?</small></p></div>', ""),
        (r"<small>Agent run(?: \xb7 [^<]*)?</small>", "<!-- Agent run -->"),
        (r"\AAgent run \xb7 [\s\S]* \xb7 its cells: %agent export FILE \w+ --script\Z", "Agent run"),
    )
)
"""What differs from one process to the next, and what stands in its place: the file that a cell is compiled as, which
an exported run calls `<action>`; in its warnings also the line, whose text is another where it gave the answer, and
those of the tries that IPython makes first, which a child leaves out; the folder of other files that warn; addresses in
memory; the style sheet of an account, which belongs to the version that drew it; how the run was boxed; its files,
which are told where they are not in the folder already; its proof, which is told where there is no page. docs/ci.md has
the same as a file for nbval."""
_INLINE = re.compile(r"data:image/(?:png|jpeg);base64,([A-Za-z0-9+/=\s]+)")
_OVERWRITTEN = re.compile(r"^.*\r(?=[^\n])", re.MULTILINE)
_ERASED = re.compile(r"[^\n]\x08")

Pair = tuple[bytes, bytes]
"""A plot as stored, and as it is now."""


def differences(old: Sequence[Any], new: Sequence[Any]) -> tuple[str, list[Pair]]:
    """What of a cell's outputs (nbformat's) differs, in words and as a unified diff, and the plots that do.

    Outputs of one kind are compared in their order, those of different kinds may come in any. Raises
    MissingDependencyError where plots are to be compared and Pillow is not there.
    """
    (before, stored), (after, shown) = _sorted(old), _sorted(new)
    told: list[str] = []
    for kind in dict.fromkeys([*before, *after]):
        one, other = before.get(kind, []), after.get(kind, [])
        if one != other:
            told += _diff(_lines(one), _lines(other), kind)
    pairs: list[Pair] = []
    if len(stored) != len(shown):
        told.append(f"there were {len(stored)} plots, and now there are {len(shown)}")
    for number, (one, other) in enumerate(zip(stored, shown, strict=False), 1):
        if differs := unlike(one, other):
            told.append(f"plot {number}: {differs}")
            pairs.append((one, other))
    return "\n".join(told), pairs


def unlike(one: bytes, other: bytes) -> str:
    """How two pictures differ, in words; empty if no eye would tell them apart."""
    if one == other:
        return ""
    try:
        image: Any = import_module("PIL.Image")
        chops: Any = import_module("PIL.ImageChops")
        filters: Any = import_module("PIL.ImageFilter")
    except ImportError:
        raise MissingDependencyError("comparing plots needs Pillow: pip install 'smol-kernel[ci]'") from None
    opened: list[Any] = []
    by: list[Any] = []
    for data, which in ((one, "stored"), (other, "new")):
        try:
            picture: Any = foreign_pictures.opened(data, most=foreign_pictures.MAX_COMPARED)
            by.append(picture.info.get("Software"))
            opened.append(_on_white(picture, image))
        except Exception as error:  # noqa: BLE001 - boundary: Pillow raises many kinds for a damaged picture
            return f"the {which} one cannot be read ({error})"
    first, second = opened
    if max(abs(first.width - second.width), abs(first.height - second.height)) > MARGIN:
        return f"it was {first.width} x {first.height} pixels, and is {second.width} x {second.height}"
    second = second if second.size == first.size else second.resize(first.size)
    both = chops.lighter(_outside(first, second, chops, filters), _outside(second, first, chops, filters))
    shades = both.histogram()
    share = sum(shades[LEVEL + 1 :]) / (first.width * first.height)
    limit = SHARE if by[0] and by[0] == by[1] else SHARE_OF_ANOTHER
    return f"{share:.2%} of its pixels differ" if share > limit else ""


def _on_white(picture: Any, image: Any) -> Any:
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = image.alpha_composite(image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


def _outside(one: Any, other: Any, chops: Any, filters: Any) -> Any:
    """By how much each pixel of `one` lies outside of what is around it in `other`; of its channels the most."""
    size = 2 * REACH + 1
    low, high = other.filter(filters.MinFilter(size)), other.filter(filters.MaxFilter(size))
    red, green, blue = chops.lighter(chops.subtract(low, one), chops.subtract(one, high)).split()
    return chops.lighter(chops.lighter(red, green), blue)


def _sorted(outputs: Iterable[Any]) -> tuple[dict[str, list[str]], list[bytes]]:
    """Texts by their kind (stream, MIME type, part of an error), and plots; those within HTML among them."""
    texts: dict[str, list[str]] = {}
    plots: list[bytes] = []
    for output in outputs:
        if output.output_type == "stream":
            texts[output.name] = ["".join([*texts.get(output.name, []), output.text])]
        elif output.output_type == "error":
            texts.setdefault("error", []).append(f"{output.ename}: {output.evalue}")
        else:
            for kind, content in output.get("data", {}).items():
                if kind in IMAGES:
                    plots += _decoded(_text(content))
                elif kind not in NOT_COMPARED:
                    text = _text(content)
                    plots += [plot for found in _INLINE.findall(text) for plot in _decoded(found)]
                    texts.setdefault(kind, []).append(_INLINE.sub("data:image", text))
    return {kind: [_as_anywhere(_as_shown(text)) for text in all_of] for kind, all_of in texts.items()}, plots


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(line, str) for line in cast("list[Any]", content)):
        return "".join(cast("list[str]", content))
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False)


def _decoded(text: str) -> Iterator[bytes]:
    try:
        yield base64.b64decode(text)
    except binascii.Error:
        yield text.encode()


def _as_shown(text: str) -> str:
    """A text as a terminal shows it at its end, as nbval reads it: what was written over is gone."""
    while (shorter := _ERASED.sub("", text)) != text:
        text = shorter
    return _OVERWRITTEN.sub("", text)


def _as_anywhere(text: str) -> str:
    for pattern, instead in _SAME:
        text = pattern.sub(instead, text)
    return text


def _lines(texts: Sequence[str]) -> list[str]:
    return [line for text in texts for line in text.split("\n")]


def _diff(old: list[str], new: list[str], kind: str) -> list[str]:
    lines = list(difflib.unified_diff(old, new, f"stored {kind}", "now", lineterm="", n=2))
    if not lines:
        return [f"{kind}: the same text, in another number of outputs"]
    more = len(lines) - LONGEST
    lines[LONGEST:] = [f"… {more} lines more"] if more > 0 else []
    return [_narrow(line) for line in lines]


def _narrow(line: str) -> str:
    line = re.sub(r"\x1b\[[0-9;]*m", "", line)
    return line if len(line) <= WIDEST else f"{line[:WIDEST]} …"
