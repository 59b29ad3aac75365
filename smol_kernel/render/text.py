"""A run as plain text: what a terminal shows of it, and a reopened notebook where HTML does not reach."""

from __future__ import annotations

import base64
import binascii
import textwrap
from collections.abc import Iterator

from smol_kernel.events import Checked, Compacted, HandedOff, Instructed, ModelFellBack, Output, RunResumed
from smol_kernel.render.files import files_text
from smol_kernel.render.plain import counted, fixed, listed, one_line, plain, plain_code, shorten
from smol_kernel.render.records import NO_REPLY, CallRecord, Note, PlanRecord, StepRecord
from smol_kernel.render.transcript import STATES, Row, Transcript

CODE_LINES = 30
OUTPUT_LINES = 20
OUTPUT_CHARACTERS = 4_000
MAX_ERROR_TYPE = 60
"""Characters of an error's type in the title of its step; the child may name it as it likes."""


def account_text(transcript: Transcript) -> str:
    """The whole run, outputs shortened; the same whenever the run takes the same course."""
    told = "\n\n".join(filter(None, [*map(row_text, transcript.rows), answer_text(transcript)]))
    told = fixed(told, code=r"(?m)(^[│ ]*> .*$)")
    return "\n\n".join(filter(None, [head_text(transcript), told, _files(transcript)]))


def head_text(transcript: Transcript) -> str:
    """Task, model, isolation and state, and what has to be said of the run as a whole."""
    return "\n".join([plain(transcript.task).strip(), head_facts(transcript), *transcript.marks])


def head_facts(transcript: Transcript) -> str:
    """Model, isolation and state in a line."""
    return " · ".join(filter(None, [plain(transcript.model), transcript.isolation_words, state_word(transcript.state)]))


def state_word(state: str) -> str:
    """The state of a run, as people read it."""
    return STATES.get(state, (state,))[0]


def row_text(row: Row) -> str:
    """A step, or what came between two."""
    if isinstance(row, StepRecord):
        return step_text(row)
    if isinstance(row, PlanRecord):
        plan = shorten(plain(row.text).strip(), characters=20_000)
        return f"{row.title}:\n{textwrap.indent(plan, '   ')}"
    return run_text(row) if isinstance(row, Transcript) else note_text(row)


def step_text(step: StepRecord) -> str:
    """One step: number, thought, code (marked by `>`), calls, outputs, traceback and error."""
    rows = [plain(step.title) + (f" [{remark}]" if (remark := remark_text(step)) else "")]
    rows += map(note_text, step.beforehand)
    rows += filter(None, [shorten(plain(step.words_beyond_title), characters=20_000)])
    rows += [f"> {line}".rstrip() for line in _code(step)]
    for call in step.calls:
        rows += [call_text(call), *(textwrap.indent(run_text(run), "  ") for run in call.runs)]
    rows += filter(None, map(output_text, step.outputs))
    rows += filter(None, [frames_text(step), error_text(step)])
    rows += [*map(note_text, step.notes), *map(run_text, step.runs)]
    number = f"{step.number}. "
    return number + textwrap.indent("\n".join(rows), " " * len(number)).lstrip()


def run_text(run: Transcript) -> str:
    """What a called agent did, each line marked as its."""
    blocks = [f"{run_name(run)}: {plain(run.task).strip()} [{state_word(run.state)}]", *map(row_text, run.rows)]
    blocks += [answer_text(run), _files(run)]
    return "\n".join(f"│ {line}".rstrip() for block in filter(None, blocks) for line in block.split("\n"))


def run_name(run: Transcript) -> str:
    """The name of a called agent in one line."""
    return one_line(run.label or run.name or run.agent, 60)


def note_text(note: Note) -> str:
    """What happened beside the action, in a line."""
    if isinstance(note, ModelFellBack):
        return one_line(f"{note.failed} failed ({note.reason}): {note.model} is asked instead", 400)
    if isinstance(note, Checked):
        if note.ok:
            return one_line(f"check passed: {note.check}", 400)
        return one_line(f"check failed: {note.check}" + (f": {note.reason}" if note.reason else ""), 400)
    if isinstance(note, Compacted):
        words = "it does not read some earlier steps any more"
        if not note.left_out:
            words = f"it now reads {_steps_in_words(note.steps)} shortened"
        return f"too long for the model: {words}"
    if isinstance(note, HandedOff):
        return one_line(f"handed over to {note.agent}" + (f": {note.reason}" if note.reason else ""), 400)
    if isinstance(note, RunResumed):
        return one_line(": ".join(filter(None, ["taken up again here", " ".join(note.differences)])), 400)
    if isinstance(note, Instructed):
        return one_line(f"instruction: {note.text}", 400)
    return one_line(f"a callback changed what the model reads of an earlier step: {', '.join(note.changes)}", 400)


def totals_words(transcript: Transcript) -> list[str]:
    """Tokens and cost of a run with all that agents it called used, as far as they are known."""
    whole, own = transcript.whole, transcript.totals.tokens
    if not whole.tokens:
        return [whole.cost_words] if whole.cost_words else []
    words = counted(whole.tokens, "token")
    if own is not None and own != whole.tokens:
        words += f" ({own:,} its own)"
    return [words, *filter(None, [whole.cost_words])]


def _steps_in_words(numbers: list[int]) -> str:
    if len(numbers) < 2:
        return f"step {numbers[0]}" if numbers else "earlier steps"
    in_a_row = len(numbers) > 2 and numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    return f"steps {numbers[0]} to {numbers[-1]}" if in_a_row else f"steps {listed(map(str, numbers))}"


def is_trouble(note: Note) -> bool:
    """Whether a person should notice it."""
    if isinstance(note, RunResumed):
        return bool(note.differences)
    return isinstance(note, ModelFellBack) or (isinstance(note, Checked) and not note.ok)


def remark_text(step: StepRecord) -> str:
    """The state of a step that did not simply succeed: what failed, and where it went on."""
    if step.state == "error":
        kind = one_line(step.error_type or ("" if step.title == NO_REPLY else "failed"), MAX_ERROR_TYPE)
        return ", ".join(filter(None, [kind, f"went on in {step.repaired_in}" if step.repaired_in else ""]))
    return {"ok": "", "interrupted": "stopped", "thinking": "asking the model"}.get(step.state, step.state)


def call_text(call: CallRecord) -> str:
    """A tool call and its result in one line."""
    line = f"▸ {plain(call.summary or call.tool)}"
    return " ".join(filter(None, [line, call.outcome, plain(call.result), one_line(call.progress)]))


def output_text(output: Output) -> str:
    """The text form of an output; of a picture, its size."""
    for kind in ("image/png", "image/jpeg"):
        if kind in output.data:
            return f"[plot{_size(output.data[kind])}]"
    return shorten(plain(output.text).strip("\n"), characters=OUTPUT_CHARACTERS, lines=OUTPUT_LINES)


def frames_text(step: StepRecord) -> str:
    """The traceback, shortened, up to the error itself."""
    return shorten(plain(step.frames), characters=OUTPUT_CHARACTERS, lines=OUTPUT_LINES)


def error_text(step: StepRecord) -> str:
    """The error with all of its message, and what was lost with the child."""
    lines = [plain(step.whole_error)] if step.whole_error else []
    if step.lost:
        lines.append(f"Lost with the child kernel: {', '.join(map(plain, step.lost))}")
    return shorten("\n".join(lines), characters=OUTPUT_CHARACTERS)


def outcome_text(step: StepRecord) -> str:
    """All that came of the action: calls, outputs and the error."""
    rows = [*map(call_text, step.calls), *map(output_text, step.outputs), error_text(step)]
    return "\n".join(filter(None, rows))


def facts_line(transcript: Transcript) -> str:
    """How the run ended and what it used, in a line. Unlike the account it differs from run to run."""
    word, steps = state_word(transcript.state), transcript.steps
    notes = [note for step in steps for note in (*step.beforehand, *step.notes)]
    failed = sum(isinstance(note, Checked) and not note.ok for note in notes)
    facts = [word, *["not isolated"] * transcript.unboxed, counted(len(steps), "step")]
    facts += [counted(failed, "failed check")] if failed else []
    return " · ".join([*facts, *totals_words(transcript), f"{transcript.totals.seconds:.1f} s"])


def answer_text(transcript: Transcript) -> str:
    """The end of the run: why it ended, if not by success, and its answer."""
    return "\n".join(_ending(transcript))


def _ending(transcript: Transcript) -> Iterator[str]:
    told = transcript.error if transcript.state not in ("running", "success") else None
    if told:
        yield plain(told).strip()
    if transcript.answered:
        text = shorten(plain(transcript.answer_text), characters=20_000).strip("\n")
        label = transcript.answer_label
        yield f"{label}:\n{textwrap.indent(text, '  ')}" if "\n" in text else f"{label}: {text or 'None'}"
    elif transcript.state != "running" and not told:
        yield "No answer."


def _files(transcript: Transcript) -> str:
    return files_text(transcript, command=lambda words: f"`{words}`")


def _code(step: StepRecord) -> list[str]:
    code = plain_code(step.shown_code).strip("\n")
    return shorten(code, characters=20_000, lines=CODE_LINES).split("\n") if code else []


def _size(picture: str) -> str:
    """Width and height from a PNG's header (https://www.w3.org/TR/png/#11IHDR); nothing for other data."""
    try:
        head = base64.b64decode("".join(picture[:80].split())[:32])
    except (binascii.Error, ValueError):
        return ""
    if head[12:16] != b"IHDR":
        return ""
    return f", {int.from_bytes(head[16:20], 'big')} x {int.from_bytes(head[20:24], 'big')}"
