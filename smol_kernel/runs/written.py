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
from smol_kernel.runs.words import DIGITS, FEW, GROUPED, UNITS, numbers_in

if TYPE_CHECKING:
    from smol_kernel.events import RunStarted
    from smol_kernel.render.records import StepRecord

How = Literal["", "unread", "words", "typed"]

NAMED = 3
"""Numbers that are named at most."""
_PLACEHOLDER = re.compile(r"\{[^{}\n]*\}|%[-+0]?\d*(?:\.\d+)?[defg]\b")
_WRITTEN = re.compile(rf"{DIGITS}(?:[^\S\n]?(%|(?:k|m|b|bn|thousand|million|billion|percent)\b))?", re.IGNORECASE)
_FORMS = (1.0, 1e2, 1e-2, 1e3, 1e-3, 1e6, 1e-6, 1e9, 1e-9)
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
        found: dict[str, None] = {}
        for step, group in groupby(self.constants, key=lambda each: each[0]):
            words = "\n".join([*own, *(text for number, text in texts.items() if number < step)])
            known = sorted(each for each in numbers | numbers_in(words) if each == each)
            every = (written for _, constant in group for written in _numbers(constant))
            found |= {each: None for each in every if not _is_known(each, known, words)}
        if not found:
            return ""
        more = [f"{len(found) - NAMED} more"] if len(found) > NAMED else []
        which = "" if self.how else ", which the model wrote itself,"
        stand = "stand" if len(found) > 1 else "stands"
        return f"; {listed([*list(found)[:NAMED], *more])} in it{which} {stand} in no text that was shown before"


def unshown(written: Written, started: RunStarted | None, steps: Iterable[StepRecord]) -> str:
    """What `never_shown` says of a run; nothing of one that continues another, whose model had read more."""
    if started is None or started.continues:
        return ""
    texts = {step.number: "\n".join([step.observation, *(output.text for output in step.outputs)]) for step in steps}
    return written.never_shown(texts, [started.task, *started.inputs.values()])


def constants_in(nodes: Iterable[ast.AST]) -> Iterator[ast.Constant]:
    """The constants in these, without indices and those that only say how something is written (`:.2f`)."""
    for node in nodes:
        if isinstance(node, ast.Constant):
            yield node
        left_out = getattr(node, "format_spec", None), node.slice if isinstance(node, ast.Subscript) else None
        yield from constants_in(part for part in ast.iter_child_nodes(node) if part not in left_out)


def _numbers(constant: object) -> Iterator[str]:
    """The numbers of a constant, as they stand there."""
    if isinstance(constant, bool) or not isinstance(constant, (int, float, str)):
        return
    try:
        text = _PLACEHOLDER.sub(" ", constant) if isinstance(constant, str) else f"{abs(constant)}"
    except ValueError:  # thousands of digits
        return
    grouped = [match[0] for match in GROUPED.finditer(text)]
    yield from grouped
    for match in _WRITTEN.finditer(GROUPED.sub(" ", text)):
        if float(match[1]) >= FEW or float(match[1]) % 1:
            yield match[0]


def _is_known(written: str, known: list[float], words: str) -> bool:
    """Whether a number is one of these, or stands in the words."""
    if re.search(rf"(?<![\d.]){re.escape(written)}(?![\d]|\.\d)", words):
        return True
    if GROUPED.fullmatch(written):  # else a list of several
        whole = max(numbers_in(written))
        parts = re.findall(r"\d+", written)
        return _is_near(whole, 1.0, known) or all(_is_near(float(part), 1.0, known) for part in parts)
    match = _WRITTEN.fullmatch(written)
    assert match is not None
    digits, unit = match[1].lower(), (match[2] or "").lower()
    decimals = len(digits.partition("e")[0].partition(".")[2]) - int(digits.partition("e")[2] or 0)
    first = digits.rstrip("0")
    if digits.isdigit() and len(first) > 1:
        decimals = len(first) - len(digits)  # "about 1200"
    scale = 1.0 if unit in ("%", "percent", "") else UNITS[unit[0]]
    return _is_near(float(digits) * scale, 10.0**-decimals * scale, known)


def _is_near(value: float, step: float, known: list[float]) -> bool:
    """Whether one of the known numbers, in some form, is rounded to this one in steps of `step`."""
    reach = step / 2 * (1 + 1e-6)
    for form in _FORMS:
        place = bisect_left(known, (value - reach) * form)
        if place < len(known) and known[place] <= (value + reach) * form:
            return True
    return False
