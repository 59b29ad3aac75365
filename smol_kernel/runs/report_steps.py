"""The steps of a run for its page: a line each with a bar on the run's clock, and all there is behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from smol_kernel.render.html import (
    answer_html,
    ended_html,
    files_html,
    is_open,
    note_html,
    proposed_html,
    remark_html,
    run_facts,
)
from smol_kernel.render.plain import plain, shorten
from smol_kernel.render.prose import inline_html, paragraphs_html
from smol_kernel.render.records import CallRecord, PlanRecord, StepRecord, Totals
from smol_kernel.render.sanitize import NO_FORMULAS, output_html, text_html
from smol_kernel.render.text import run_name
from smol_kernel.render.transcript import STATES, Row, Transcript
from smol_kernel.runs.readable import readable
from smol_kernel.runs.timeline import StepTimes, Timeline, ToolUse

_KINDS = {"ok": "ok", "error": "bad"}
_WIDTH = 1000
"""Units of a bar, whatever its width on the page."""


def seconds_text(seconds: float) -> str:
    """A time as people read it."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


@dataclass
class Steps:
    """Draws the rows of a run, and of those that it called, on the clock of `timeline`."""

    timeline: Timeline

    def row(self, run: Transcript, row: Row, *, top: bool = False) -> str:
        """A row of `run`; `top` rows are what the page searches and walks through."""
        if isinstance(row, StepRecord):
            inner, name = self._step(run, row), f' id="step-{row.number}"'
        elif isinstance(row, PlanRecord):
            inner, name = self._plan(run, row), ""
        elif isinstance(row, Transcript):
            inner, name = f'<div class="between">{self._run(row)}</div>', ""
        else:
            inner, name = f'<div class="between">{note_html(row)}</div>', ""
        return f'<section class="row"{name} tabindex="-1">{inner}</section>' if top else inner

    def _step(self, run: Transcript, step: StepRecord) -> str:
        times = self.timeline.step(run.run, step.number)
        meta = [seconds_text(times.seconds if times else step.seconds)]
        meta += [] if step.tokens is None else [f"{step.tokens:,} tok"]
        if times and (price := Totals.of_all(use.replied for use in times.models).cost_words):
            meta.append(price)
        title = inline_html(step.title) + remark_html(step)
        body = "".join(self._body(step, times))
        return _card(f"{step.number}", title, step.state, is_open(step), self._bar(times), " · ".join(meta), body)

    def _plan(self, run: Transcript, plan: PlanRecord) -> str:
        uses = self.timeline.plans.get(run.run, [])
        number = [row for row in run.rows if isinstance(row, PlanRecord)].index(plan)
        use = uses[number] if number < len(uses) else None
        times = StepTimes(use.begin, use.end, [use]) if use else None
        tokens = f" · {plan.totals.tokens:,} tok" if plan.totals.tokens else ""
        meta = seconds_text(use.end - use.begin) + tokens if use else ""
        return _card("≡", plan.title, plan.state, False, self._bar(times), meta, paragraphs_html(plan.text))

    def _body(self, step: StepRecord, times: StepTimes | None) -> Iterator[str]:
        if times and (told := _times_told(times)):
            yield f'<p class="times">{escape(told)}</p>'
        yield from proposed_html(step)
        for call in step.calls:
            yield self._call(call, times.tools.get(call.call) if times else None)
        yield from map(output_html, step.outputs)
        yield from ended_html(step)
        yield from map(self._run, step.runs)

    def _call(self, call: CallRecord, use: ToolUse | None) -> str:
        """A call in a line, with its arguments, its result and what agents did behind it."""
        result = f"<code>{escape(plain(call.result))}</code>" if call.result else ""
        facts = [seconds_text(call.seconds)] * (call.ok is not None)
        facts += ["ran in the notebook"] * (call.blocking and call.ok is not None)
        line = (
            f'<span class="call"><code>{escape(plain(call.summary or call.tool))}</code> {call.outcome} {result}</span>'
        )
        meta = f'<span class="smol-m">{" · ".join(facts)}</span>'
        inner = "".join(_arguments(use)) + "".join(map(self._run, call.runs))
        kind = "" if call.ok else " failed"
        return f'<details class="use{kind}"><summary>{line}{meta}</summary><div class="inner">{inner}</div></details>'

    def _run(self, run: Transcript) -> str:
        """What an agent did that was called."""
        word, kind = STATES.get(run.state, (run.state, "warn"))
        task = escape(shorten(plain(run.task).strip(), characters=2_000))
        rows = "".join(self.row(run, row) for row in run.rows)
        return (
            f'<details class="agent"><summary><b>{escape(run_name(run))}</b> '
            f'<span class="smol-state smol-{kind}">{escape(word)}</span>'
            f'<span class="smol-m">{escape(" · ".join(run_facts(run)))}</span></summary>'
            f'<div class="inner"><p class="task">{task}</p>{rows}{answer_html(run)}{files_html(run)}</div></details>'
        )

    def _bar(self, times: StepTimes | None) -> str:
        """Where on the run's clock the step lies: the model, the code, and the tools in it."""
        whole = self.timeline.seconds
        if times is None or whole <= 0:
            return '<svg class="clock" aria-hidden="true"></svg>'
        spans = [("step", times.begin, times.end), *(("model", use.begin, use.end) for use in times.models)]
        spans += [("code", *times.action)] if times.action else []
        spans += [("tool", use.begin, use.end) for use in times.tools.values()]
        drawn = "".join(_rectangle(kind, begin / whole, end / whole) for kind, begin, end in spans)
        return (
            f'<svg class="clock" viewBox="0 0 {_WIDTH} 10" preserveAspectRatio="none" aria-hidden="true">{drawn}</svg>'
        )


def _rectangle(kind: str, begin: float, end: float) -> str:
    width = max((end - begin) * _WIDTH, 3)
    left = min(begin * _WIDTH, _WIDTH - width)
    top, height = (4, 2) if kind == "step" else (2, 6)
    return f'<rect class="{kind}" x="{left:.1f}" y="{top}" width="{width:.1f}" height="{height}"/>'


def _card(mark: str, title: str, state: str, opened: bool, bar: str, meta: str, body: str) -> str:
    return (
        f'<details class="smol-step smol-{_KINDS.get(state, "warn")} {NO_FORMULAS}"{" open" if opened else ""}>'
        f'<summary><span class="smol-n">{mark}</span><span class="smol-t">{title}</span>{bar}'
        f'<span class="smol-m">{escape(meta)}</span></summary><div class="smol-body">{body}</div></details>'
    )


def _times_told(times: StepTimes) -> str:
    """Where the time of a step went, and what the model read and wrote for it."""
    whole = Totals.of_all(use.replied for use in times.models)
    counts = [
        (whole.input_tokens, "read"),
        (whole.cached_tokens or None, "from cache"),
        (whole.output_tokens, "written"),
    ]
    tokens = [f"{count:,} {word}" for count, word in counts if count is not None] + [whole.cost_words] * bool(
        whole.cost_words
    )
    model = f"model {seconds_text(times.seconds_of_model)}" if times.models else ""
    parts = [model + (f" ({', '.join(tokens)})" if tokens else "")]
    parts += [f"code {seconds_text(times.seconds_of_code)}"] if times.action else []
    parts += [f"tools {seconds_text(times.seconds_of_tools)}"] if times.tools else []
    return " · ".join(filter(None, parts))


def _arguments(use: ToolUse | None) -> Iterator[str]:
    """The arguments and the result of a call, each as a block."""
    if use is None:
        return
    given = [(f"argument {number}", value) for number, value in enumerate(use.called.args, 1)] + [
        *use.called.kwargs.items()
    ]
    back = use.returned
    if back is not None:
        words = ": ".join(filter(None, [back.error_type, back.error]))
        given.append(("returned", back.value) if back.ok else ("raised", words))
    for name, value in given:
        shown = text_html(readable(value)) or text_html("(empty text)")
        yield f'<p class="name">{escape(plain(name))}</p>{shown}'
