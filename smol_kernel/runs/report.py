"""A run as one self-contained page: what it was asked, what it answered, and every step with its times and costs.

What a model or child wrote is escaped, or cleaned by the one sanitizer; the page's policy lets nothing load from
elsewhere, and no script or style sheet stand in it but its own (https://www.w3.org/TR/CSP3/). Called by `exporting`.
"""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Sequence
from html import escape
from importlib.resources import files

from smol_kernel.events import Event, RunStarted
from smol_kernel.render.html import answer_html, chip_html, files_html, isolation_chip
from smol_kernel.render.plain import counted, one_line, plain, shorten
from smol_kernel.render.records import Totals
from smol_kernel.render.style import DARK, MORE_STYLE, STYLE
from smol_kernel.render.text import run_name
from smol_kernel.render.transcript import STATES, UNBOXED, Transcript, model_label
from smol_kernel.runs.report_steps import Steps, seconds_text
from smol_kernel.runs.timeline import Timeline, timeline_of

LONGEST_TITLE = 120
_HELP = (
    ("j  k", "next, previous step"),
    ("o", "open or close it"),
    ("e", "open or close all"),
    ("/", "search; Escape ends it"),
    ("?", "this help"),
)


def report_html(events: Sequence[Event], *, cut_off: bool = False) -> str:
    """The page of a run, as `Journal.events(run, family=True)` gives it; `cut_off` as in Transcript.from_events."""
    transcript, timeline = Transcript.from_events(events, cut_off=cut_off), timeline_of(events)
    script, style = _part("js"), _style()
    policy = (
        f"default-src 'none'; img-src data:; script-src {_source(script)}; style-src {_source(style)}; "
        "style-src-attr 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    )
    body = [_head(transcript, timeline), _answer(transcript), _steps(transcript, timeline)]
    body += [_model_calls(transcript, timeline), _given(transcript, events), _help()]
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(one_line(transcript.task, LONGEST_TITLE))}</title>\n<style>{style}</style>\n</head>\n"
        f"<body>\n{''.join(body)}\n<script>{script}</script>\n</body>\n</html>\n"
    )


def _part(kind: str) -> str:
    return files("smol_kernel.runs").joinpath(f"report.{kind}").read_text("utf-8")


def _style() -> str:
    """The style of a run in a notebook, and what a page has besides."""
    of_runs = re.sub(r"</?style>", "", STYLE + MORE_STYLE)
    dark = f"@media screen and (prefers-color-scheme:dark){{.smol-run{{{DARK.strip()}}}}}"
    return f"{of_runs}\n{dark}\n{_part('css')}"


def _source(text: str) -> str:
    """How the policy names an inline script or style sheet: by its digest."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _head(transcript: Transcript, timeline: Timeline) -> str:
    word, kind = STATES.get(transcript.state, (transcript.state, "warn"))
    chips = [(word, kind), (plain(model_label(transcript.model, transcript.scripted)), ""), isolation_chip(transcript)]
    shown = "".join(chip_html(*chip) for chip in chips)
    marks = "".join(
        f'<p class="mark{" unboxed" if mark == UNBOXED else ""}">{escape(mark)}</p>' for mark in transcript.marks
    )
    began = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(timeline.began))
    task, _, rest = shorten(plain(transcript.task).strip(), characters=4_000).partition("\n")
    rest = f'<p class="task">{escape(rest.strip())}</p>' if rest.strip() else ""
    facts = "".join(
        f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in _facts(transcript, timeline)
    )
    return (
        f'<header class="smol-run"><p class="from">Run {escape(transcript.run)} · {began}</p>'
        f'<h1>{escape(task.strip()) or "(no task)"}</h1>{rest}<p class="chips">{shown}</p>{marks}'
        f'<dl class="facts">{facts}</dl></header>\n'
    )


def _facts(transcript: Transcript, timeline: Timeline) -> list[tuple[str, str]]:
    """What the run used, the agents that it called included."""
    own = timeline.runs.get(transcript.run, {}).values()
    whole = transcript.whole
    facts = [("steps", str(len(transcript.steps))), ("time", seconds_text(timeline.seconds))]
    waited = sum(use.replied.seconds for use in timeline.models(transcript.run))
    parts = (("the model", waited), ("code", sum(step.seconds_of_code for step in own)))
    parts += (("tools", sum(step.seconds_of_tools for step in own)),)
    facts += [(f"in {name}", seconds_text(seconds)) for name, seconds in parts if seconds >= 0.0005]
    facts += [("tokens read", f"{whole.input_tokens:,}")] if whole.input_tokens is not None else []
    facts += [("from cache", f"{whole.cached_tokens:,}")] if whole.cached_tokens else []
    facts += [("tokens written", f"{whole.output_tokens:,}")] if whole.output_tokens is not None else []
    agents = sum(1 for _ in transcript.family())
    facts += [("agents called", str(agents))] if agents else []
    free = transcript.scripted and not whole.cost_words
    return facts + ([] if free else [("cost", whole.cost_words or "unknown")])


def _answer(transcript: Transcript) -> str:
    told = answer_html(transcript) + files_html(transcript)
    label = transcript.answer_label if transcript.answered else "End"
    return f'<section class="smol-run answer"><h2>{label}</h2>{told}</section>\n' if told else ""


def _steps(transcript: Transcript, timeline: Timeline) -> str:
    steps = Steps(timeline)
    rows = "".join(steps.row(transcript, row, top=True) for row in transcript.rows)
    if not rows:
        return '<p class="smol-run">The run took no step.</p>'
    return (
        '<main class="smol-run"><div class="bar"><h2>Steps</h2>'
        '<form class="find" hidden><input type="search" placeholder="Search the steps" aria-label="Search the steps">'
        '<output></output><button type="button" aria-label="Keys">?</button></form>'
        f'<p class="legend"><span class="model">model</span> <span class="code">code</span> '
        f'<span class="tool">tools</span> <b>0 – {seconds_text(timeline.seconds)}</b></p></div>'
        f'<div class="smol">{rows}</div></main>\n'
    )


def _model_calls(transcript: Transcript, timeline: Timeline) -> str:
    """A line for each reply, of this run and of those that it called."""
    lines: list[str] = []
    for run in (transcript, *transcript.family()):
        for use in timeline.models(run.run):
            reply = use.replied
            price = Totals(cost=reply.cost).cost_words or ("$0" if reply.cost == 0 else "")
            cells = [run_name(run) if run is not transcript else "", str(reply.step or ""), plain(reply.purpose)]
            cells += [one_line(reply.model, 60), f"{reply.seconds:.2f}"]
            cells += [
                "" if n is None else f"{n:,}" for n in (reply.input_tokens, reply.cached_tokens, reply.output_tokens)
            ]
            lines.append("".join(f"<td>{escape(cell)}</td>" for cell in [*cells, price]))
    if not lines:
        return ""
    called = any(line[:9] != "<td></td>" for line in lines)
    names = ["agent", "step", "for", "model", "seconds", "read", "cached", "written", "cost"]
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    rows = "".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<details class="smol-run more"><summary>{counted(len(lines), "model call")}</summary><div class="wide">'
        f"<table{'' if called else ' class=alone'}><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        "</details>\n"
    )


def _given(transcript: Transcript, events: Sequence[Event]) -> str:
    """What the run had to begin with."""
    prompt = next((event.system_prompt for event in events if isinstance(event, RunStarted)), "")
    inputs = "".join(
        f"<dt><code>{escape(plain(name))}</code></dt><dd>{escape(one_line(summary, 400))}</dd>"
        for name, summary in transcript.inputs.items()
    )
    tools = ", ".join(f"<code>{escape(plain(name))}</code>" for name in transcript.tools)
    parts = [inputs, f"<dt>tools</dt><dd>{tools}</dd>" if tools else ""]
    parts += [f"<dt>steps at most</dt><dd>{transcript.max_steps:,}</dd>"]
    shown = shorten(plain(prompt).strip(), characters=50_000)
    told = f"<details><summary>System prompt</summary><pre>{escape(shown)}</pre></details>" if shown else ""
    return (
        f'<details class="smol-run more"><summary>What it was given</summary><dl class="given">{"".join(parts)}</dl>'
        f"{told}</details>\n"
    )


def _help() -> str:
    rows = "".join(f"<dt><kbd>{keys}</kbd></dt><dd>{text}</dd>" for keys, text in _HELP)
    close = '<form method="dialog"><button>Close</button></form>'
    return f'<dialog class="smol-run" aria-label="Keys"><dl>{rows}</dl>{close}</dialog>\n'
