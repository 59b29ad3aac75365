"""A run as one self-contained page: all its steps with times and tokens, to be searched and walked through by keys.

What a model or child wrote is escaped, or cleaned by the one sanitizer; the page's policy lets nothing load from
elsewhere, and no script run but its own (https://www.w3.org/TR/CSP3/).
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from importlib.resources import files

from smol_kernel.render.html import answer_html, row_html
from smol_kernel.render.plain import counted, fixed, one_line, plain
from smol_kernel.render.records import StepRecord
from smol_kernel.render.style import MORE_STYLE, STYLE
from smol_kernel.render.text import facts_line
from smol_kernel.render.transcript import STATES, Transcript, model_label

LONGEST_TITLE = 120


def report_html(transcript: Transcript) -> str:
    """The page. Its times, tokens and costs are those of the run."""
    script, style = (files("smol_kernel.runs").joinpath(f"report.{kind}").read_text("utf-8") for kind in ("js", "css"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    title = escape(one_line(transcript.task, LONGEST_TITLE))
    body = "".join([_head(transcript), _timeline(transcript), _table(transcript), _steps(transcript)])
    return fixed(
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{title}</title>\n'
        f"{STYLE}{MORE_STYLE}<style>{style}</style></head>\n<body>{body}<script>{script}</script></body></html>\n"
    )


def _head(transcript: Transcript) -> str:
    word, kind = STATES.get(transcript.state, (transcript.state, "warn"))
    model = plain(model_label(transcript.model, transcript.scripted))
    chips = [model, transcript.isolation_words, *facts_line(transcript).split(" · ")[1:]]
    marks = "".join(f'<p class="mark">{escape(mark)}</p>' for mark in transcript.marks)
    facts = "".join(f"<span>{escape(chip)}</span>" for chip in dict.fromkeys(filter(None, chips)))
    return (
        f'<header><h1>{escape(plain(transcript.task).strip())}</h1><p class="facts"><span class="{kind}">{word}</span>'
        f"{facts}<span>run {escape(transcript.run)}</span></p>{marks}"
        '<p class="find"><input type="search" placeholder="Search the steps" aria-label="Search the steps">'
        '<output aria-live="polite"></output><small>/ search · j k next, previous · o open, close · e all</small></p>'
        "</header>"
    )


def _timeline(transcript: Transcript) -> str:
    """A bar of each step, as wide as it took long."""
    steps = transcript.steps
    whole = sum(step.seconds for step in steps) or 1
    bars = "".join(
        f'<a href="#step-{step.number}" class="{STATES_OF_STEPS.get(step.state, "warn")}" '
        f'style="flex-grow:{max(step.seconds / whole, 0.01):.3f}" '
        f'title="{escape(f"{step.number}. {one_line(plain(step.title), 80)} ({step.seconds:.1f} s)", quote=True)}">'
        f"{step.number}</a>"
        for step in steps
    )
    return f'<nav aria-label="Timeline">{bars}</nav>' if steps else "<p>The run took no step.</p>"


STATES_OF_STEPS = {"ok": "ok", "error": "bad"}


def _table(transcript: Transcript) -> str:
    """Times and tokens of the model calls, of this run and of the agents that it called."""
    rows = [("", transcript), *((run.label or run.name or run.agent, run) for run in transcript.family())]
    lines = [
        f"<tr><td>{escape(plain(label))}</td><td>{step.number}</td><td>{step.seconds:.1f}</td>"
        f"<td>{_count(step.input_tokens)}</td><td>{_count(step.output_tokens)}</td>"
        f"<td>{len(step.calls) or ''}</td></tr>"
        for label, run in rows
        for step in run.steps
    ]
    whole = transcript.whole
    cost = f" · {escape(whole.cost_words)}" if whole.cost_words else ""
    tokens = counted(whole.tokens, "token") if whole.tokens else "tokens unknown"
    return (
        f"<details class='table'><summary>Model calls: {tokens}{cost}</summary><table><thead><tr><th>agent</th>"
        "<th>step</th><th>seconds</th><th>tokens read</th><th>written</th><th>tool calls</th></tr></thead><tbody>"
        f"{''.join(lines)}</tbody></table></details>"
    )


def _count(tokens: int | None) -> str:
    return "" if tokens is None else f"{tokens:,}"


def _steps(transcript: Transcript) -> str:
    parts: list[str] = []
    for row in transcript.rows:
        name = f' id="step-{row.number}"' if isinstance(row, StepRecord) else ""
        parts.append(f'<section class="row" tabindex="-1"{name}>{row_html(row)}</section>')
    return f'<main class="smol-run smol">{"".join(parts)}{answer_html(transcript)}</main>'
