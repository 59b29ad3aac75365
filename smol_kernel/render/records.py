"""The parts of a run as people read it: steps, plans between them, calls in them. `Transcript` fills them in."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from smol_kernel.events import (
    Checked,
    Compacted,
    HandedOff,
    Instructed,
    MemoryEdited,
    ModelFellBack,
    ModelReplied,
    Output,
    RunResumed,
    ToolCalled,
)
from smol_kernel.executors.unseen import is_unseen
from smol_kernel.render.draft import words_and_code
from smol_kernel.render.plain import plain

if TYPE_CHECKING:
    from smol_kernel.render.transcript import Transcript

Note: TypeAlias = ModelFellBack | Checked | Compacted | MemoryEdited | HandedOff | RunResumed | Instructed
"""What happened beside the action and is told in a line."""
NOTES = (ModelFellBack, Checked, Compacted, MemoryEdited, HandedOff, RunResumed, Instructed)

NO_REPLY = "No reply"
"""The title of a step of which nothing came."""

LONGEST_TEXT = 5_000
"""Characters of a text that is kept with a call."""
_OF_A_PROOF = ("proved:", "shownagain:", "notproved:", "notreproduced:")
"""How our lines on a proof begin (`runs.proof`), without what is no letter."""
_MARKS = re.compile(r"(?:[ \t]*(?:(?:#{1,6}|[-*+]|\d+[.)])(?=[ \t])|[>|]))*[ \t]*")
"""Of headings, lists, quotations, tables and indented code, at the beginning of a line."""
_CALLED = re.compile(r"^(?:\w+ = )?(\w+)\(", re.MULTILINE)
_HEADING = re.compile(r"#{1,6}[ \t]+(?=\S)")
_UNTITLED = re.compile(r"`{3}|~{3}|\||<think>")  # how a block of code begins, a table, and reasoning
_SENTENCE = re.compile(
    r"(?<!\S)\*\*(?=\S)[^*]+\*\*|`[^`]+`"
    r"|(?P<end>(?<=[^.][.!?])(?<!^\d\.)(?<!^\d\d\.)\s+(?=[A-Z]))"  # the number of a list's item ends none
)


def texts_among(values: Iterable[Any]) -> list[str]:
    """The texts among values, of long ones the beginning."""
    return [value[:LONGEST_TEXT] for value in values if isinstance(value, str)]


@dataclass
class CallRecord:
    """A tool call of an action; `ok` is None while it lasts."""

    call: str
    tool: str
    summary: str
    """The call as a line of Python."""
    result: str = ""
    """What came back, or the error, in one line; empty for a call that was stopped."""
    ok: bool | None = None
    seconds: float = 0.0
    blocking: bool = False
    progress: str = ""
    """How far it has come, while it lasts."""
    runs: list[Transcript] = field(default_factory=list)
    """What agents that it called did."""
    texts: list[str] = field(default_factory=list)
    """The texts among its arguments, of long ones the beginning."""

    @classmethod
    def of(cls, event: ToolCalled) -> CallRecord:
        """The call as it begins."""
        texts = texts_among([*event.args, *event.kwargs.values()])
        return cls(event.call, event.tool, event.summary, blocking=event.blocking, texts=texts)

    @property
    def outcome(self) -> str:
        """The word between the call and its result; empty while the call lasts."""
        if self.ok is None:
            return ""
        return "→" if self.ok else "failed:" if self.result else "stopped"


@dataclass
class Totals:
    """Sums over model calls; tokens are None as long as no model told any. `cost` is in USD."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cost: float | None = None
    """Of the calls whose price is known; None: of none."""
    unpriced: int = 0
    """How many calls have no known price."""
    seconds: float = 0.0

    @property
    def tokens(self) -> int | None:
        """Read and written together."""
        known = [count for count in (self.input_tokens, self.output_tokens) if count is not None]
        return sum(known) if known else None

    @property
    def cost_words(self) -> str:
        """What it cost, and that some of it is unknown; empty where nothing is known, or it was free."""
        if self.cost is None or (self.cost == 0 and not self.unpriced):
            return ""
        amount = f"${self.cost:.2f}" if self.cost >= 1 or self.cost == 0 else f"${self.cost:.4f}"
        return f"{amount} and an unknown cost" if self.unpriced else amount

    def add(self, part: ModelReplied | Totals) -> None:
        """Add what a reply tells, or several; their time is not added."""
        for name in ("input_tokens", "output_tokens", "cached_tokens", "cost"):
            setattr(self, name, _plus(getattr(self, name), getattr(part, name)))
        self.unpriced += part.unpriced if isinstance(part, Totals) else part.cost is None

    @classmethod
    def of_all(cls, parts: Iterable[ModelReplied | Totals], seconds: float = 0.0) -> Totals:
        """The sum of `parts`, which took `seconds` together."""
        whole = cls(seconds=seconds)
        for part in parts:
            whole.add(part)
        return whole


def _plus(total: Any, more: Any) -> Any:
    return total if more is None else (total or 0) + more


def _without_mark(words: str) -> str:
    """`words` without the mark of the heading that they begin with."""
    mark = _HEADING.match(words)
    return words[mark.end() :] if mark else words


def _sentence(words: str) -> str:
    """The first sentence; between marks of emphasis and of code none ends."""
    ends = (found.start() for found in _SENTENCE.finditer(words) if found["end"])
    return words[: next(ends, None)]


@dataclass
class PlanRecord:
    """A plan, made before the step of that number."""

    before: int
    text: str = ""
    """Its words so far."""
    state: str = "thinking"
    """"thinking" (the model is asked), "ok", or "interrupted"."""
    renewed: bool = False
    """True: there was one before."""
    totals: Totals = field(default_factory=Totals)

    @property
    def title(self) -> str:
        """What it is, in a word or two."""
        if self.state == "thinking":
            return "Making a plan"
        return "A new plan" if self.renewed else "The plan"


@dataclass
class StepRecord:
    """One step: what the model thought and did, and what came of it."""

    number: int
    state: str = "thinking"
    """"thinking" (the model is asked), "running" (the action is), "ok", "error" or "interrupted"."""
    reply: str = ""
    """The model's words so far."""
    replied: bool = False
    """True: the reply is whole."""
    thought: str = ""
    code: str = ""
    """As `plain_to_run` has it: what is read, and written into cells, is the same text."""
    is_earlier: bool = False
    """True: it is of an earlier run of the conversation, see `runs.joined`."""
    only_calls: bool = False
    """True: the agent acts by structured calls, and `code` is those as lines of Python."""
    outputs: list[Output] = field(default_factory=list)
    """In order; what went to one stream in a row is one output."""
    progress: str = ""
    """The line that the action is still writing over."""
    calls: list[CallRecord] = field(default_factory=list)
    beforehand: list[Note] = field(default_factory=list)
    """What happened before there was an action."""
    notes: list[Note] = field(default_factory=list)
    """What happened from then on."""
    runs: list[Transcript] = field(default_factory=list)
    """What agents did that were called in another way than by one of `calls`."""
    status: str = ""
    """How the action ended: the status of ActionFinished, or empty if none ran to an end."""
    error_type: str | None = None
    error: str | None = None
    traceback: str = ""
    value: Any = None
    """Encoded, as in ActionFinished."""
    value_text: str = ""
    final: bool = False
    """True: the action called `final_answer`."""
    completed: int = 0
    """How many top-level statements ran to their end."""
    lost: list[str] = field(default_factory=list)
    observation: str = ""
    seconds: float = 0.0
    tokens: int | None = None
    """Read and written together, as far as the model told."""
    repaired_in: int | None = None
    """For a step that failed: number of the next one that did not."""

    @property
    def showed_value(self) -> bool:
        """Whether the value of the last expression was shown."""
        return any(output.channel == "result" for output in self.outputs)

    @property
    def title(self) -> str:
        """The thought's first sentence, or a word on what the step does."""
        first = next((line.strip() for line in self.words.splitlines() if line.strip()), "")
        broke_off = self.state == "error" and not (self.code or self.replied)
        if first and not _UNTITLED.match(first) and not broke_off:
            sentence = _sentence(_without_mark(first))
            if self.code or self.state != "thinking" or self.draft or len(sentence) < len(_without_mark(self.words)):
                return sentence  # else it is not known whether it is whole
        if self.only_calls and (names := dict.fromkeys(_CALLED.findall(self.code))):
            return f"Calls {', '.join(names)}"
        if self.code:
            return "Runs code"
        if self.state == "thinking":
            return "Asking the model"
        if self.only_calls:
            return "A call that could not be made"
        if self.replied:
            return "A reply without code"
        return "An unfinished reply" if self.reply.strip() else NO_REPLY

    @property
    def _is_draft(self) -> bool:
        """Whether the reply is not whole, and has not become an action."""
        return not self.code and (self.state == "thinking" or (self.state != "running" and not self.replied))

    @property
    def words(self) -> str:
        """The thought; of a reply that is not whole, what comes before its code. A line in it that reads as ours on a
        proof says whose it is."""
        words = words_and_code(self.thought or self.reply)[0] if self._is_draft else self._thought
        return "\n".join(map(_as_the_model_s, plain(words).split("\n")))

    @property
    def _thought(self) -> str:
        """The thought; where a reply came to nothing, all of it."""
        return (self.thought or ("" if self.code else self.reply)).strip()

    @property
    def draft(self) -> str:
        """The code of a reply that is not whole."""
        return words_and_code(self.thought or self.reply)[1] if self._is_draft else ""

    @property
    def words_beyond_title(self) -> str:
        """The words of the step that its title does not hold."""
        return _without_mark(self.words).removeprefix(self.title).strip()

    @property
    def shown_code(self) -> str:
        """The code, unless it says no more than the calls do."""
        told = self.only_calls and len(self.calls) >= len(self.code.strip().splitlines())
        return "" if told else self.code or self.draft

    @property
    def error_line(self) -> str:
        """The error in one line, as Python begins to write it; empty if there was none."""
        message = (self.error or "").strip().splitlines()[:1]
        return ": ".join(filter(None, [self.error_type, *message]))

    @property
    def whole_error(self) -> str:
        """The error with all lines of its message, and its notes; empty if there was none."""
        said = ": ".join(filter(None, [self.error_type, (self.error or "").strip()]))
        return "\n".join([said, *(line for line in self._traceback_parts()[1][1:] if line not in said)])

    @property
    def frames(self) -> str:
        """The traceback without the error that it ends with."""
        return "\n".join(self._traceback_parts()[0])

    def _traceback_parts(self) -> tuple[list[str], list[str]]:
        """Its lines before the error, and those of the error itself."""
        lines = self.traceback.rstrip().splitlines()
        begins = [
            n for n, line in enumerate(lines) if re.match(rf"[\w.]*\b{re.escape(self.error_type or ' ')}\b", line)
        ]
        return (lines[: begins[-1]], lines[begins[-1] :]) if begins else (lines, [])

    @property
    def open_calls(self) -> list[CallRecord]:
        """Those that still last."""
        return [call for call in self.calls if call.ok is None]

    @property
    def has_more(self) -> bool:
        """Whether there is anything beside the action."""
        return bool(self.beforehand or self.notes or any(self.all_runs()))

    def all_runs(self) -> Iterator[Transcript]:
        """What called agents did in this step, in the order of the calls."""
        for call in self.calls:
            yield from call.runs
        yield from self.runs


def _as_the_model_s(line: str) -> str:
    """The line; one that begins as we tell of a proof, whatever marks stand in it, is said to be the model's."""
    seen = (each for each in html.unescape(line) if not (each.isspace() or is_unseen(each)))
    head = re.sub(r"^(\W*\d+[.)])+", "", unicodedata.normalize("NFKC", "".join(islice(seen, 200))).casefold())
    if not re.sub(r"[^\w:]|_", "", head).startswith(_OF_A_PROOF):
        return line
    marks = _MARKS.match(line)
    behind = marks.end() if marks else 0
    return f"{line[:behind]}The model: {line[behind:]}"
