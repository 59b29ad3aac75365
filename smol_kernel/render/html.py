"""A run as HTML that works without script: cards of steps for a live view, and the one fixed account of a finished run.

All text of model and child is escaped; their HTML goes through `sanitize`. Used by the notebook front and the exports.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from html import escape
from typing import Any

from smol_kernel.render.files import files_text
from smol_kernel.render.plain import counted, fixed, one_line, plain, plain_code, shorten
from smol_kernel.render.prose import answer_words_html, inline_html, paragraphs_html
from smol_kernel.render.records import CallRecord, Note, PlanRecord, StepRecord, Totals
from smol_kernel.render.sanitize import NO_FORMULAS, clean_html, output_html, picture_html, text_html
from smol_kernel.render.style import BARRED, BEGUN, INDENTED, MORE_STYLE, STYLE
from smol_kernel.render.text import is_trouble, note_text, remark_text, run_name
from smol_kernel.render.transcript import STATES, UNBOXED, Row, Transcript, model_label

MAX_CODE = MAX_TASK = 20_000
TASK_SHOWN = 120
"""Characters of a long task that are shown before it is unfolded."""
MAX_CALLS = 10
"""Calls of an action up to which none is folded."""
FIRST_CALLS = 5
"""Of more, how many are shown of those that it begins with."""
MAX_ENCODED_ANSWER = 4_000_000
"""Size of an encoded table or picture, in characters, up to which an answer is drawn; a larger one stays text."""

_COLOURS = {"ok": "ok", "error": "bad", "interrupted": "warn", "thinking": "now", "running": "now"}


def row_html(row: Row, *, times: bool = True) -> str:
    """The card of a step, or of what came between two steps."""
    if isinstance(row, StepRecord):
        return step_html(row, open=is_open(row), times=times)
    if isinstance(row, PlanRecord):
        return _plan(row, times)
    inner = _run(row, times, brief=False) if isinstance(row, Transcript) else note_html(row)
    return f'<div class="smol-run smol-between {NO_FORMULAS}" style="{INDENTED}">{inner}</div>'


def live_card(row: Row) -> tuple[str, str, str]:
    """The card as its line, what its step begins with, and what comes of that, to be drawn each for itself: a part that
    stays as it is keeps the fold, the focus and the place to which a person brought it."""
    if isinstance(row, StepRecord):
        begins, rest = "".join(proposed_html(row)), "".join(_came_of(row, times=True))
        card = _step(row, begins + rest, is_open(row), times=True)
    elif isinstance(row, PlanRecord):
        begins, rest, card = "", paragraphs_html(row.text), _plan(row, times=True)
    else:
        return row_html(row), "", ""
    line = card.partition("</summary>")[0]
    begins = begins and f'<div class="smol-run"><div class="smol-body" style="{BEGUN}">{begins}</div></div>'
    rest = f'<div class="smol-body" style="{INDENTED}">{rest}</div>'
    return f"{line}</summary></details>", begins, f'<div class="smol-run smol-{_COLOURS[row.state]}">{rest}</div>'


def step_html(step: StepRecord, *, open: bool, times: bool = True) -> str:
    """The card of one step; folded to a line unless `open`. With `times` it tells seconds and tokens as well."""
    return _step(step, "".join([*proposed_html(step), *_came_of(step, times)]), open, times)


def _step(step: StepRecord, body: str, open: bool, times: bool) -> str:
    meta = _meta(step) if times else ""
    mark = f'{step.number}<i class="smol-bare">.</i>'
    return _card(mark, f"{inline_html(step.title)}{remark_html(step)}", step.state, open, meta, body)


def _card(mark: str, title: str, state: str, open: bool, meta: str, body: str) -> str:
    meta = f'<span class="smol-m">{meta}</span>' if meta else ""
    kind = _COLOURS.get(state, "now") + " smol-alone" * (not body)
    return (
        f'<details class="smol-run smol-step smol-{kind} {NO_FORMULAS}"{" open" if open and body else ""}>'
        f'<summary><span class="smol-n">{mark}</span> <span class="smol-t">{title}</span> {meta}</summary>'
        f'<div class="smol-body" style="{INDENTED}">{body}</div></details>'
    )


def is_open(step: StepRecord) -> bool:
    """Whether the card should be unfolded: it is at work, failed for good, or shows a picture."""
    if step.state == "error":
        return step.repaired_in is None
    return step.state != "ok" or any(kind.startswith("image/") for output in step.outputs for kind in output.data)


def account_html(transcript: Transcript) -> str:
    """The full account of a run, the same whenever the run takes the same course: no times, costs, ids, addresses."""
    rows = "".join(row_html(row, times=False) for row in transcript.rows)
    head = _head(transcript)
    plain_steps = all(isinstance(row, StepRecord) and not row.has_more for row in transcript.rows)
    style = STYLE if plain_steps and "<details" not in head else STYLE + MORE_STYLE
    told = fixed(rows + answer_html(transcript), code=r'(?s)(<pre class="smol-code">.*?</pre>)')
    content = f"{style}{head}{told}{files_html(transcript)}"
    return f'<div class="smol-run smol {NO_FORMULAS}">{content}</div>'


def answer_html(transcript: Transcript) -> str:
    """The end of the run: its answer, or why there is none; empty while it runs."""
    if transcript.state == "running" and not transcript.answered:
        return ""
    return f'<div class="smol-final">{_ending(transcript) or "<p>No answer.</p>"}</div>'


def files_html(transcript: Transcript) -> str:
    """The files that the run made, in a sentence; empty without any."""

    def code(text: str) -> str:
        return f"<code>{escape(text)}</code>"

    told = files_text(transcript, name=code, command=code)
    return f'<div class="smol-final"><p><small>{told}</small></p></div>' if told else ""


def _ending(transcript: Transcript, brief: bool = False) -> str:
    parts: list[str] = []
    if transcript.state == "error":
        parts.append(
            f'<p class="smol-lead smol-bad"><strong>{_text(transcript.error or "The run failed.")}</strong></p>'
        )
    elif transcript.state != "success" and transcript.error:
        parts.append(f"<p>{_text(transcript.error)}</p>")
    if transcript.answered:
        parts += [f"<p><small>{transcript.answer_label}</small></p>"] if transcript.answer_label != "Answer" else []
        parts.append(f"<p>{_text(one_line(transcript.answer_text))}</p>" if brief else _answer(transcript))
    return "".join(parts)


def _head(transcript: Transcript) -> str:
    word, kind = STATES.get(transcript.state, (transcript.state, "warn"))
    model = model_label(transcript.model, transcript.scripted)
    dot = '<i class="smol-bare"> · </i>'
    chips = dot.join(chip_html(*chip) for chip in ((plain(model), ""), isolation_chip(transcript), (word, kind)))
    marks = [(escape(mark, quote=False), " smol-mark" * (mark == UNBOXED)) for mark in transcript.marks]
    note = "".join(f'<p class="smol-note{kind}">{mark}</p>' for mark, kind in marks)
    task = _task(transcript.task)
    between = dot if task.startswith("<strong") else ""  # bare, what is folded ends a line
    return f'<div class="smol-head">{task}{between}{chips}</div>{note}'


def _task(task: str) -> str:
    """The task in bold; of a long one the beginning, and what it folds."""
    begins, rest = map(escape, _beginning(shorten(plain(task).strip(), characters=MAX_TASK)))
    if not rest:
        return f'<strong class="smol-task">{begins}</strong>'
    return f'<details class="smol-task"><summary><strong>{begins}</strong></summary><div>{rest}</div></details>'


def _beginning(task: str) -> tuple[str, str]:
    """What a task begins with, about two lines as they are shown, and the rest."""
    two_lines = "\n".join(task.split("\n")[:2])
    if two_lines == task and len(task) <= 1.5 * TASK_SHOWN:
        return task, ""
    words = re.match(rf"(?s).{{1,{TASK_SHOWN}}}(?!\S)|.{{{TASK_SHOWN}}}", two_lines)
    shown = (words[0] if words else two_lines).rstrip()
    return shown, task[len(shown) :].removeprefix(" ").strip("\n")


def chip_html(text: str, kind: str = "") -> str:
    """A word in a frame, in the colour of its `kind`."""
    return f'<span class="smol-chip{f" smol-{kind}" if kind else ""}">{escape(text)}</span>'


def isolation_chip(transcript: Transcript) -> tuple[str, str]:
    """How the run is boxed in words, and the colour they are drawn in."""
    return f"{'⚠ ' * transcript.unboxed}{transcript.isolation_words}", "bad" * transcript.unboxed


def _came_of(step: StepRecord, times: bool) -> Iterator[str]:
    # A card at work is drawn many times a second: of called agents it holds what they do now, not what they did.
    brief = times and step.state == "running"
    yield from _calls(step.calls, times, brief)
    for output in step.outputs:
        yield output_html(output)
    yield text_html(step.progress)
    yield from ended_html(step)
    for run in step.runs:
        yield _run(run, times, brief)


def proposed_html(step: StepRecord) -> Iterator[str]:
    """What a step begins with: what happened before, its words, its code."""
    yield from map(note_html, step.beforehand)
    yield paragraphs_html(step.words_beyond_title)
    if step.shown_code:
        yield f'<pre class="smol-code">{_code_html(shorten(plain_code(step.shown_code), characters=MAX_CODE))}</pre>'


def ended_html(step: StepRecord) -> Iterator[str]:
    """What came of its action besides outputs: the error, what was lost, and what happened after."""
    yield _error(step)
    if step.lost:
        yield f"<p>Lost with the child kernel: {escape(', '.join(map(plain, step.lost)))}</p>"
    yield from map(note_html, step.notes)


def _plan(plan: PlanRecord, times: bool) -> str:
    totals = plan.totals
    meta = _meta(totals) if times else ""
    remark = " <small>stopped</small>" if plan.state == "interrupted" else ""
    return _card(
        '<span aria-hidden="true">≡</span>',
        plan.title + remark,
        plan.state,
        plan.state == "thinking",
        meta,
        paragraphs_html(plan.text),
    )


def note_html(note: Note) -> str:
    """What happened beside the action, in a line."""
    return f'<p class="smol-aside{" smol-trouble" if is_trouble(note) else ""}">{escape(note_text(note))}</p>'


def _run(run: Transcript, times: bool, brief: bool, heading: str = "") -> str:
    """What a called agent did, folded to a line unless it is at work; `brief` leaves out what its steps hold."""
    word, kind = STATES.get(run.state, (run.state, "warn"))
    parts = [run_name(run)] if heading and run.label != run.name else []
    parts += run_facts(run, times)
    chip = f'<span class="smol-state smol-{kind}">{escape(word)}</span>'
    heading = heading or f"<b>{escape(run_name(run))}</b>"
    facts = "".join(f" · {escape(part)}" for part in parts)
    task = f'<p class="smol-task">{escape(shorten(plain(run.task).strip(), characters=2_000))}</p>'
    rows = "".join(_brief(row) if brief else row_html(row, times=times) for row in run.rows)
    answer = _ending(run, brief)
    answer = (f'<div class="smol-final">{answer}</div>' if answer else "") + files_html(run)
    return (
        f'<details class="smol-sub"{" open" if run.state == "running" else ""}>'
        f'<summary class="smol-call">{heading}{facts} · {chip}</summary>'
        f'<div class="smol-inner">{task}{rows}{answer}</div></details>'
    )


def run_facts(run: Transcript, times: bool = True) -> list[str]:
    """Its steps, and with `times` its tokens and what they cost."""
    facts = [counted(len(run.steps), "step")] if run.steps else []
    facts += [f"{run.totals.tokens:,} tok"] if times and run.totals.tokens else []
    return facts + ([run.totals.cost_words] if times and run.totals.cost_words else [])


def _brief(row: Row) -> str:
    if not isinstance(row, StepRecord) or row.state in ("thinking", "running"):
        return row_html(row)
    meta = _meta(row)
    return _card(f"{row.number}", f"{inline_html(row.title)}{remark_html(row)}", row.state, False, meta, "")


def remark_html(step: StepRecord) -> str:
    """What the title line says of the state, for those who do not see the colour."""
    if step.state == "thinking" and not step.words:
        return ""  # the title says it
    remark = remark_text(step)
    return f" <small>{escape(remark)}</small>" if remark else ""


def _meta(told: StepRecord | Totals) -> str:
    parts = [f"{told.seconds:.1f} s"] if told.seconds else []
    return " · ".join(parts + ([] if told.tokens is None else [f"{told.tokens:,} tok"]))


def _calls(calls: list[CallRecord], times: bool, brief: bool) -> list[str]:
    """The calls. Of many: the first, how many others there are, the last ones that did not succeed, and the very last;
    unless `brief` the others are folded there."""
    shown = calls
    if len(calls) > MAX_CALLS:
        odd = [call for call in calls[FIRST_CALLS:-1] if not call.ok][-MAX_CALLS:]
        shown = [*calls[:FIRST_CALLS], *odd, calls[-1]]
    drawn = [_call(call, times, brief) for call in shown]
    if len(shown) < len(calls):
        seen = set(map(id, shown))
        told = counted(len(calls) - len(shown), "more call")
        others = "" if brief else "".join(_call(call, times, brief) for call in calls if id(call) not in seen)
        tag = "details" if others else "div"
        told = f"<summary>{told}</summary>{others}" if others else told
        drawn.insert(FIRST_CALLS, f'<{tag} class="smol-more">{told}</{tag}>')
    return drawn


def _call(call: CallRecord, times: bool, brief: bool) -> str:
    parts = [escape(plain(call.progress))] if call.progress else []
    parts += [f"{call.seconds * 1000:,.0f} ms"] if times and call.ok is not None else []
    if call.blocking:
        parts.append("ran in the notebook" if call.ok is not None else "runs in the notebook")
    came = f" {call.outcome}" if call.outcome else ""
    came += f" <code>{escape(plain(call.result))}</code>" if call.outcome and call.result else ""
    line = f"<code>{escape(plain(call.summary or call.tool))}</code>{came}{''.join(' · ' + part for part in parts)}"
    if call.runs:
        return "".join(_run(run, times, brief, "" if index else line) for index, run in enumerate(call.runs))
    return f'<div class="smol-call">· {line}</div>'


def _error(step: StepRecord) -> str:
    """The error of a step, with its traceback folded; empty without one."""
    if step.state == "interrupted" or not (step.error_type or step.error):
        return f"<p>{_text(step.error)}</p>" if step.error not in (None, "", "interrupted") else ""
    line = escape(shorten(plain(step.error_line), characters=2_000))
    shown = f'<pre class="smol-out smol-err" style="{BARRED}">{line}</pre>'
    if not step.traceback:
        return shown
    frames = len(re.findall(r'^\s*File ["<]', step.traceback, re.MULTILINE))
    label = counted(frames, "frame") if frames else "traceback"
    return f'{shown}<details class="smol-more"><summary>{label}</summary>{text_html(step.traceback)}</details>'


def _answer(transcript: Transcript) -> str:
    return _drawn(transcript.answer) or answer_words_html(
        transcript.answer_text.strip() or "None", isinstance(transcript.answer, str)
    )


def _drawn(answer: Any) -> str:
    """An encoded table or picture as HTML; empty for other answers, and where it cannot be drawn here: then its text
    stands for it."""
    tag = answer.get("$") if isinstance(answer, dict) else None
    if tag not in ("DataFrame", "Series", "image") or len(repr(answer)) > MAX_ENCODED_ANSWER:
        return ""
    from smol_kernel.executors.values import decode

    try:
        value = decode(answer)
        if tag == "image":
            stream = io.BytesIO()
            value.save(stream, "PNG")
            return picture_html("image/png", base64.b64encode(stream.getvalue()).decode(), "The answer")
        table = value.to_frame() if tag == "Series" else value
        rows, columns = table.shape
        if not columns:
            return ""
        counts = rows > 20 or columns > 12 or not rows
        html = table.to_html(max_rows=20, max_cols=12, border=0, show_dimensions=counts)
    except Exception:  # noqa: BLE001 - boundary: what a table holds is drawn, such as integers too long for Python
        return ""
    return f'<div class="smol-rich">{clean_html(html)}</div>'


def _text(text: str) -> str:
    return escape(shorten(plain(text), characters=4_000).strip())


def _code_html(code: str) -> str:
    """Python as spans of colour; it belongs into a `pre` of class `smol-code`."""
    from pygments.lexers import PythonLexer
    from pygments.token import Comment, Keyword, Number, Operator, String

    colours = ((Comment, "c"), (String, "s"), (Number, "d"), (Keyword, "k"), (Operator.Word, "k"))
    parts: list[str] = []
    for kind, value in PythonLexer(stripnl=False, ensurenl=False).get_tokens(code):
        colour = next((name for family, name in colours if kind in family), None)
        text = escape(value, quote=False)
        parts.append(f'<span class="smol-{colour}">{text}</span>' if colour and value.strip() else text)
    return "".join(parts)
