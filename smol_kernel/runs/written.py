"""What of an answer the model wrote down itself, and which numbers of that stand in nothing that was shown.

Made by `slice`, told by `prove`.
"""

from __future__ import annotations

import ast
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from smol_kernel.render.plain import listed
from smol_kernel.runs.words import DIGITS, FEW, GROUPED, UNITS, calculates, is_text, numbers_in

if TYPE_CHECKING:
    from smol_kernel.events import RunStarted
    from smol_kernel.render.records import StepRecord

How = Literal["", "unread", "words", "typed"]

NAMED = 3
"""Numbers that are named at most."""
_POWER = re.compile(
    r"(?<![\d.])(\d{1,20}(?:\.\d{1,20})?)[^\S\n]{0,3}(?:[x×*·⋅]|\\times|\\cdot)[^\S\n]{0,3}10"
    r"(?:(?:\^|\*\*)\{?([-−+]?\d{1,3})\}?|([⁻⁺]?[⁰¹²³⁴-⁹]{1,3}))"
)
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺−", "0123456789-+-")
_LEFT_OUT = (
    (_POWER, " "),
    (re.compile(r"<style\b[^<]*|<[a-zA-Z/!][^<>]*>|https?://[^\s<>]+", re.IGNORECASE), " "),
    (re.compile(r"#\w+|\brgba?\([^()\n]*\)|(?<![\d.])[\d.]{1,20}(?:px|em|rem|pt|vh|vw)\b"), " "),
    (re.compile(r"\{[^{}\n]*\}|%[-+0]?\d*(?:\.\d+)?[defgs]\b"), " "),
    (re.compile(r"^[ \t|*#>-]*\d{1,3}(?:[.):]\**(?=\s)|\**[ \t]*\|)", re.MULTILINE), " "),
    (re.compile(r"(?<![\w.,/–-])((?:19|20)\d\d)[/–-]\d\d(?![\w/–-]|[.,]\d)"), r"\1"),
    (re.compile(r"\b\d{1,2}(?:,\d\d){1,4},\d{3}\b|\b\d+(?:st|nd|rd|th)\b|\b\d{1,3}0s\b|['’]\d\d\b(?![.,]\d)"), " "),
)
"""What of a text is no number that was read: powers of ten, what HTML is drawn by, placeholders, the numbers of list
lines, the end of a season (`2024/25`), lakhs, and the first, the nineties. Rather too much."""
_WRITTEN = re.compile(
    rf"(?:(?<![\w.,])(\d+,\d+)(?!\d|[.,]\d)|{DIGITS})"
    r"(?:[^\S\n]?(%|(?:k|m|b|bn|thousand|million|billion|trillion|percent)\b))?",
    re.IGNORECASE,
)
_COMMA = re.compile(r"(?<!\d)(?<!\d[.,])(\d+),(\d+)(?!\d|[.,]\d)")
"""It may be that of decimals."""
_LOOSE = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d{1,3})?", re.IGNORECASE)
_FORMS = (1.0, 1e2, 1e-2, 1e3, 1e-3, 1e6, 1e-6, 1e9, 1e-9, 1e12, 1e-12)
"""By what a number may be another than the one it was made of: as percent, in thousands, …"""


@dataclass(frozen=True)
class Written:
    """What of an answer the model wrote down itself; true if the answer rests on what had been shown by then.

    `how`: "words" (all of it, having read something), "unread" (all of it, in one statement, before it had read
    anything), "typed" (it is worked out from what was read and typed), or "" (if any, only parts beside other things:
    those of `put_down` had been shown). `constants` are what stands in it as it was written, with the step in which it
    was; `own` what stands elsewhere in the script.
    """

    how: How = ""
    put_down: Set[float | str] = frozenset()
    constants: Sequence[tuple[int, object]] = ()
    own: Sequence[object] = ()

    def __bool__(self) -> bool:
        return self.whole or bool(self.put_down)

    @property
    def whole(self) -> bool:
        """Whether it rests on nothing else than on what had been shown."""
        return self.how in ("words", "typed")

    def never_shown(self, texts: Mapping[int, str], others: Iterable[str]) -> str:
        """Which numbers of what was written stand neither in what the steps before had shown nor in these other texts,
        as the end of a sentence; empty if none do.

        Rounded ones are the same, and those in thousands or as percent. Small whole ones are in any text.
        """
        own = [*others, *(each for each in self.own if isinstance(each, str))]
        numbers = {abs(each) for each in self.own if isinstance(each, float) or type(each) is int}
        found: list[str] = []
        for step, group in groupby(self.constants, key=lambda each: each[0]):
            words = _joined([*own, *(text for number, text in texts.items() if number < step)])
            known = sorted(each for each in numbers | _numbers_of(words) if each == each)
            for written in dict.fromkeys(written for _, constant in group for written in _numbers(constant)):
                if written not in found and not _is_known(written, known) and not _stands_in(written, words):
                    found.append(written)
                if len(found) > NAMED:
                    break
        if not found:
            return ""
        which = "" if self.how else ", which the model wrote itself,"
        stand = "stand" if len(found) > 1 else "stands"
        named = [*found[:NAMED], *(["others"] if len(found) > NAMED else [])]
        return f"; {listed(named)} in it{which} {stand} in no text that was shown before"


def _joined(texts: Iterable[str]) -> str:
    return "\n".join(texts)


def unshown(written: Written, started: RunStarted | None, steps: Iterable[StepRecord]) -> str:
    """What `never_shown` says of a run; nothing of one that continues another, whose model had read more."""
    if started is None or started.continues:
        return ""
    texts = {step.number: "\n".join(_shown_in(step)) for step in steps}
    return written.never_shown(texts, [started.task, started.system_prompt, *started.inputs.values()])


def _shown_in(step: StepRecord) -> Iterator[str]:
    yield from (step.observation, step.error or "", step.traceback)
    yield from (output.text for output in step.outputs)
    yield from (call.result for call in step.calls)
    yield from (str(note) for note in (*step.beforehand, *step.notes))


def constants_in(nodes: Iterable[ast.AST]) -> Iterator[ast.Constant]:
    """The constants in these, without indices, what is only calculated with, and what only says how something is
    written (`:.2f`)."""
    for node in nodes:
        if isinstance(node, ast.Constant):
            yield node
        elif not calculates(node):
            yield from constants_in(_holding(node))


def _holding(node: ast.AST) -> Iterable[ast.AST]:
    match node:
        case ast.Subscript(value=part) | ast.FormattedValue(value=part):
            return [part]
        case ast.BinOp(op=ast.Mult()):  # a line of text: `"=" * 40`
            return [part for part in (node.left, node.right) if is_text(part)]
        case ast.Call(func=ast.Name(id="round")):  # calculated as well
            return []
        case ast.Call(func=ast.Name(id="int" | "format")):
            return node.args[:1]
        case _:
            return ast.iter_child_nodes(node)


def _numbers(constant: object) -> Iterator[str]:
    """The numbers of a constant, as they stand there."""
    if isinstance(constant, bool) or not isinstance(constant, (int, float, str)):
        return
    try:
        text = constant if isinstance(constant, str) else f"{abs(constant)}"
    except ValueError:  # thousands of digits
        return
    if isinstance(constant, str):
        for pattern, instead in _LEFT_OUT:
            text = pattern.sub(instead, text)
    grouped = [match[0] for match in GROUPED.finditer(text)]
    yield from grouped
    for match in _WRITTEN.finditer(GROUPED.sub(" ", text)):
        if match[1] or float(match[2]) >= FEW or float(match[2]) % 1:
            yield match[0]


def _numbers_of(words: str) -> set[float]:
    """Those that may stand in a text, read in every way."""
    words = _POWER.sub(lambda match: f"{match[1]}e{(match[2] or match[3]).translate(_RAISED)}", words)
    with_commas = {float(f"{match[1]}.{match[2]}") for match in _COMMA.finditer(words)}
    return numbers_in(words) | with_commas | {float(each) for each in _LOOSE.findall(words)}


def _is_known(written: str, known: list[float]) -> bool:
    """Whether a number is one of these, read in any way."""
    try:
        return any(_is_near(value, step, known) for value, step in _readings(written)) or (
            len(parts := re.findall(r"\d+", written)) > 1
            and "." not in written
            and all(float(part) < FEW or _is_near(float(part), 1.0, known) for part in parts)  # a list of several
        )
    except (OverflowError, ValueError):  # an exponent without bounds
        return True


def _stands_in(written: str, words: str) -> bool:
    whole = rf"(?<![\d.]){re.escape(written)}(?!\d|\.\d)"
    return written in words and re.search(whole, words) is not None


def _readings(written: str) -> Iterator[tuple[float, float]]:
    """What a number may be, each with the step in which it is rounded."""
    if GROUPED.fullmatch(written):
        yield max(numbers_in(written)), 1.0
        if not re.fullmatch(r"\d+[.,]\d+", written):
            return
    match = _WRITTEN.fullmatch(written)
    if match is None:
        return
    digits, unit = (match[1] or match[2]).replace(",", ".").lower(), (match[3] or "").lower()
    decimals = len(digits.partition("e")[0].partition(".")[2]) - int(digits.partition("e")[2] or 0)
    first = digits.rstrip("0")
    if digits.isdigit() and len(first) > 1:
        decimals = len(first) - len(digits)  # "about 1200"
    scale = 1.0 if unit in ("%", "percent", "") else 1e12 if unit == "trillion" else UNITS[unit[0]]
    yield float(digits) * scale, 10.0**-decimals * scale


def _is_near(value: float, step: float, known: list[float]) -> bool:
    """Whether one of the known numbers, in some form, is rounded to this one in steps of `step`."""
    reach = step / 2 * (1 + 1e-6)
    for form in _FORMS:
        place = bisect_left(known, (value - reach) * form)
        if place < len(known) and known[place] <= (value + reach) * form:
            return True
    return False
