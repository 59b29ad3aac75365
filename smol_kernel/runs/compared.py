"""What cells show, compared with what the run had shown: its answer and its pictures. Used by `prove`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from smol_kernel.events import ActionFinished, Output
from smol_kernel.executors.values import MalformedValue, decode
from smol_kernel.render.records import StepRecord
from smol_kernel.render.transcript import Transcript
from smol_kernel.runs.proof import NotReproduced, Unknown
from smol_kernel.runs.same import difference, same_picture, text_difference
from smol_kernel.runs.same import pictures as pictures_of
from smol_kernel.runs.source import KEEPS_BACK
from smol_kernel.runs.words import otherwise_now
from smol_kernel.runs.written import Written


@dataclass
class CellShown:
    """What one cell gave."""

    step: int
    pictures: list[bytes] = field(default_factory=list)
    text: str = ""
    ended: ActionFinished | None = None
    value: Any = None


READ_OTHERWISE = "the model wrote the answer down itself, and what it had read comes out otherwise now: "


class RunShown:
    """What the run of `transcript` had shown. `written` is how far the model wrote the answer itself."""

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        self.written = Written()

    def compare_answer(self, shown: Sequence[CellShown]) -> None:
        """Raises NotReproduced unless the cells give the run's answer and, where the model wrote that itself, what it
        had read."""
        now = shown[-1].value if shown else None
        if found := difference(decoded(self._transcript.answer), now):
            raise NotReproduced(found)
        if not self.written:
            return
        partly = not self.written.whole  # then steps that failed count, too: what they had shown is typed as well
        steps = [step for step in self._transcript.steps if partly or step.state == "ok"]
        steps = [step for step in steps if not (step.final or step.only_calls or step.is_earlier)]
        was = {step.number: text_of(step.outputs) for step in steps}  # it rests on what the model saw
        new = {each.step: each.text for each in shown if each.step in was}
        if partly and (otherwise := otherwise_now(self.written.put_down, was, new.values())):
            raise NotReproduced(otherwise)
        for step, text in () if partly else was.items():
            if otherwise := text_difference(text, new.get(step, "")):
                raise NotReproduced(f"{READ_OTHERWISE}step {step} {otherwise}")

    def compare_pictures(self, shown: Sequence[CellShown]) -> None:
        """Raises NotReproduced unless they show the run's pictures."""
        now = {each.step: each.pictures for each in shown}
        for step, was in self.pictures():
            got = now.get(step.number, [])
            if not len(was) <= len(got) <= len(was) + step.final:  # the answer may be one that was not shown
                raise NotReproduced(f"step {step.number} showed {len(was)} pictures, the cells show {len(got)}")
            if not all(map(same_picture, was, got)):
                raise NotReproduced(f"a picture of step {step.number} looks otherwise")

    def pictures(self) -> Iterator[tuple[StepRecord, list[bytes]]]:
        """Those that each step showed, but for steps whose cells are without what it did."""
        for step in self._transcript.steps:
            if step.state == "ok" and not (step.is_earlier or (step.final and KEEPS_BACK.match(step.code))):
                yield step, [picture for output in step.outputs for picture in pictures_of(output.data)]


def decoded(value: Any) -> Any:
    """What an encoded value is. Raises Unknown."""
    try:
        return decode(value)
    except MalformedValue as error:
        raise Unknown(f"a value cannot be read: {error}") from None


def text_of(outputs: Iterable[Output]) -> str:
    """What these outputs printed and showed as a value."""
    return "".join(output.text for output in outputs if output.channel in ("stdout", "result"))
