"""A run as Markdown that loads nothing: words of model and child keep their form, but make no picture, link or HTML."""

from __future__ import annotations

import re
from bisect import bisect_right

from smol_kernel.render.files import files_text
from smol_kernel.render.plain import fixed, in_columns, one_line, plain, plain_code, shorten
from smol_kernel.render.records import Note, PlanRecord, StepRecord
from smol_kernel.render.text import head_facts, note_text, outcome_text, remark_text, run_name, state_word
from smol_kernel.render.transcript import Row, Transcript

_ACTIVE = re.compile(
    r"<(?=[A-Za-z/!?]|[^\s<>]*(?:@|\Z))"  # HTML, and links in angle brackets, which code may be a part of
    r"|(?<=!)\[|(?<=\])[(:]"  # pictures, links, and the lists of addresses they may refer to
    r"|(?<=:)//|www(?=\.)"  # what becomes a link by itself
    r"|~{3,}"  # a fence
    r"|&(?=#|dollar|bsol)",  # a dollar sign or backslash in disguise: formulas are looked for in what is shown
    re.IGNORECASE,
)
_FENCE = re.compile(r"(`{3,}|~{3,})[ \t]*(\w*)")
_SPAN = re.compile(r"(`[^`\n]+`)")
_JOINER = "\u2060"  # not seen
_FORMULA = re.compile(r"\$(?=\$)|\\(?=[()\[\]]|begin|end|(?:eq)?ref)")
"""Between what begins or ends a formula comes a joiner, in code too: JupyterLab and nbconvert look for formulas before
they look for code, and what stands between code and code is code to them then."""
_DOLLARS = re.compile(  # with all backslashes before them: behind one, a backtick begins no code
    r"(?<!\\)\\*\$(?:"
    rf"(?:{_JOINER}\$)?(?=\S)[^$`\n]*(?<=\S)\$(?:{_JOINER}\$)?(?!\d)"  # as pandoc tells a formula from two prices
    rf"|[\d.,{_JOINER}]*)"
)


def safe_markdown(text: str) -> str:
    """`text` so that, rendered, it shows no picture and no link and loads nothing; emphasis, lists and code stay.

    The characters that would begin such a thing become entities, which no renderer reads as markup. A code block
    that is not closed would turn what follows inside out, and one of another language than Python may be a diagram
    that loads pictures: the first is no block here, the second has no language. A formula may hold a link, and two
    prices are none: both become code, which is the one thing every renderer leaves alone. Blocks stand between blank
    lines, beyond which JupyterLab looks for no end of a formula.
    """
    lines = plain(text).split("\n")
    closings: dict[str, list[int]] = {}
    for number, line in enumerate(lines):
        if set(line.rstrip()) in ({"`"}, {"~"}):
            closings.setdefault(line.rstrip(), []).append(number)
    blocks: list[str] = []
    prose, at = 0, 0  # where the prose before the line under way begins, and that line
    while at < len(lines):
        opening = _FENCE.match(lines[at])
        ends = closings.get(opening[1], []) if opening and "`" not in lines[at][len(opening[1]) :] else []
        which = bisect_right(ends, at)
        if opening and which < len(ends):
            language = "python" if opening[2].lower() in ("python", "py") else ""
            blocks += [_inactive(lines[prose:at]), fenced("\n".join(lines[at + 1 : ends[which]]), language)]
            prose = at = ends[which] + 1
        else:
            at += 1
    return "\n\n".join(filter(None, [*blocks, _inactive(lines[prose:])]))


def _inactive(lines: list[str]) -> str:
    text = _FORMULA.sub(lambda match: match[0] + _JOINER, "\n".join(lines).strip("\n"))
    alone = text.count("$") < 2
    has_spans = all(map(_is_paired, lines))
    parts = _SPAN.split(text) if has_spans else [text]  # what stands between spans, and these in between
    for place in range(0, len(parts), 2):
        part = _ACTIVE.sub(lambda match: "".join(f"&#{ord(character)};" for character in match[0]), parts[place])
        part = part if has_spans else part.replace("`", "&#96;")
        parts[place] = part if alone else _DOLLARS.sub(lambda match: f"`{match[0]}`", part)
    return "".join(parts)


def in_words(before: str, text: str, behind: str = "") -> str:
    """Harmless `text` with words in front and behind: in its own line, or apart where a block of code stands there."""
    first = "\n\n" if text.startswith("```") else " " * bool(before)
    last = "\n\n" if text.endswith("```") else " "
    return f"{before}{first}{text}" + (f"{last}{behind}" if behind else "")


def _is_paired(line: str) -> bool:
    """Whether the spans of code in a line are where they seem to be, whatever stands around it."""
    odd = line.count("`") % 2 or "``" in line or "\\`" in line or ("`" in line and "|" in line)
    return not odd


def fenced(text: str, language: str = "") -> str:
    """`text` as a code block whose fence is longer than any in it; without addresses of reprs, if it is no code."""
    text = text if language else fixed(text)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def account_markdown(transcript: Transcript) -> str:
    """The whole run, pictures named only; the same whenever the run takes the same course."""
    task = " ".join(plain(transcript.task).split())
    blocks = [f"**{safe_markdown(task)}**", safe_markdown(head_facts(transcript))]
    blocks += map(safe_markdown, transcript.marks)
    for row in transcript.rows:
        blocks += _row(row)
    return "\n\n".join(blocks + _ending(transcript))


def run_markdown(run: Transcript) -> str:
    """What a called agent did, as a quotation."""
    task = " ".join(plain(run.task).split())
    blocks = [f"**{safe_markdown(run_name(run))}**: {safe_markdown(task)} *({safe_markdown(state_word(run.state))})*"]
    for row in run.rows:
        blocks += _row(row)
    return _quoted("\n\n".join(blocks + _ending(run)))


def _quoted(text: str) -> str:
    """`text` as quotations, one a block, so that true blank lines stand between blocks of code here as well."""
    lines: list[str] = []
    fence = ""
    for line in text.split("\n"):
        opening = re.fullmatch(r"(`{3,})(?:python)?", line)
        if fence or opening:
            fence = "" if line == fence else fence or (opening[1] if opening else "")
        lines.append(f"> {line}".rstrip() if line or fence else "")
    return "\n".join(lines)


def plan_markdown(plan: PlanRecord) -> str:
    """A plan under its title."""
    return f"**{plan.title}**\n\n{safe_markdown(shorten(plain(plan.text), characters=20_000).strip())}"


def note_markdown(note: Note) -> str:
    """What happened beside the action, in a line."""
    return f"*{safe_markdown(fixed(note_text(note)))}*"


def _ending(transcript: Transcript) -> list[str]:
    blocks: list[str] = []
    told = transcript.error if transcript.state not in ("running", "success") else None
    if told:
        blocks.append(safe_markdown(fixed(told.strip())))
    if transcript.answered:
        blocks += [f"**{transcript.answer_label}**", _words(transcript.answer_text or "None")]
    elif transcript.state != "running" and not told:
        blocks.append("No answer.")
    return [*blocks, *files_markdown(transcript)]


def files_markdown(transcript: Transcript) -> list[str]:
    """The files of a run as a paragraph; none without files."""
    told = files_text(transcript, name=_span, command=_span)
    return [told] if told else []


def _span(text: str) -> str:
    return safe_markdown(text) if "`" in text else f"`{text}`"


def name_markdown(name: str) -> str:
    """A name of anything, as code in its line."""
    name = one_line(name)
    return safe_markdown(name if "`" in name else f"`{name}`")


def _row(row: Row) -> list[str]:
    if isinstance(row, StepRecord):
        return _step(row)
    if isinstance(row, PlanRecord):
        return [plan_markdown(row)]
    return [run_markdown(row) if isinstance(row, Transcript) else note_markdown(row)]


def _step(step: StepRecord) -> list[str]:
    remark = remark_text(step)
    words = safe_markdown(step.words or step.title)
    blocks = [in_words(f"**{step.number}.**", words, f"*({safe_markdown(remark)})*" if remark else "")]
    blocks += map(note_markdown, step.beforehand)
    if step.shown_code:
        blocks.append(fenced(shorten(plain_code(step.shown_code).strip("\n"), characters=20_000), "python"))
    text = outcome_text(step)
    blocks += [fenced(text)] if text else []
    return blocks + beside_markdown(step)


def beside_markdown(step: StepRecord) -> list[str]:
    """What called agents did in the step, and what else happened from its action on."""
    blocks = [run_markdown(run) for call in step.calls for run in call.runs]
    return [*blocks, *map(note_markdown, step.notes), *map(run_markdown, step.runs)]


def _words(text: str) -> str:
    """Prose as prose, text in columns as a block."""
    shown = fixed(shorten(plain(text), characters=20_000)).strip("\n")
    return fenced(shown) if in_columns(shown) else safe_markdown(shown)
