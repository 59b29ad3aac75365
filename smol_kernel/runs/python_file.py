"""A run as a Python file in the percent format, one that runs where the run's inputs and tools are defined.

The format is that of https://jupytext.readthedocs.io/en/latest/formats-scripts.html. Called by `exporting`.
"""

from __future__ import annotations

import ast
import dis
import re
from collections.abc import Collection, Iterable, Sequence
from types import CodeType

from smol_kernel.parsing import compiled
from smol_kernel.render.plain import plain, plain_code
from smol_kernel.render.transcript import Transcript
from smol_kernel.runs.names import Names
from smol_kernel.runs.needs import made_in, making, needs
from smol_kernel.runs.notebook import opening, to_notebook
from smol_kernel.runs.script import ScriptCell, part_of
from smol_kernel.runs.source import TRANSPARENT, Edit, Source, indented

_FIRST_LINE = "# -*- coding: utf-8 -*-"
"""Python looks into two lines for this, and the task, which comes next, may say "coding: ..." (PEP 263)."""
_LOOP = "import asyncio\n\n_loop = asyncio.new_event_loop()"
_FUTURE = re.compile(r"^from __future__ import \w[\w, ]*$", re.MULTILINE)
_SHOWS = re.compile(r"^(?!\s*#).*\bdisplay\(", re.MULTILINE)


def python_file(transcript: Transcript, work: Sequence[ScriptCell] | None = None) -> str:
    """The whole story, or the `work` that was finished. Words are comments, and so is what failed."""
    called = needs(((step.number, step.code) for step in transcript.steps), transcript) if work is None else []
    made = [each.name for each in called if each.line]
    cells = _story(transcript, made) if work is None else _script(transcript, work)
    codes = [source for kind, source in cells if kind == "code"]
    begins = [making(called)] if made else []
    if any(map(_SHOWS.search, codes)) and not any(re.search(r"import.*\bdisplay\b", source) for source in codes):
        begins.append("from IPython.display import display")
    if any("_loop.run_until_complete(" in source for source in codes):
        begins.append(_LOOP)
    if future := [line for source in codes for line in _FUTURE.findall(source)]:  # which has to come first
        cells = [(kind, _FUTURE.sub("", source).strip("\n") if kind == "code" else source) for kind, source in cells]
        begins = [*dict.fromkeys(future), *begins]
    if begins:
        cells.insert(1, ("code", "\n".join(begins)))
    return f"{_FIRST_LINE}\n\n{percent(cells)}\n"


def percent(cells: Iterable[tuple[str, str]]) -> str:
    """Cells, each its kind and its source, in the percent format."""
    return "\n\n".join(
        f"# %% [markdown]\n{_commented(source)}" if kind == "markdown" else f"# %%\n{source}" for kind, source in cells
    )


def _script(transcript: Transcript, work: Sequence[ScriptCell]) -> list[tuple[str, str]]:
    sources = _with_last_values(transcript, [(cell.step, cell.source if cell.kind == "code" else "") for cell in work])
    cells = [(cell.kind, source or cell.source) for cell, source in zip(work, sources, strict=True)]
    numbered = enumerate([("markdown", opening(transcript, made_in(work, transcript))), *cells])
    return [(kind, source if kind == "markdown" else _runnable(source, number)) for number, (kind, source) in numbered]


def _story(transcript: Transcript, made: Collection[str]) -> list[tuple[str, str]]:
    steps = {step.number: step for step in transcript.steps}
    found: list[tuple[str, str]] = []
    cells = to_notebook(transcript, made).cells
    code = [(cell.metadata.smol["step"], cell.source) if cell.cell_type == "code" else (0, "") for cell in cells]
    for number, (cell, kept) in enumerate(zip(cells, _with_last_values(transcript, code), strict=True)):
        source = kept or cell.source
        if cell.cell_type == "code":
            step = steps[cell.metadata.smol["step"]]
            if step.state == "error":
                part = part_of(step) if source == step.code else None
                end = part.end if part is not None else 0
                done, rest = source[:end].rstrip(), source[end:].strip("\r\n")
                failed = f"{_commented(f'This failed: {plain(step.error_line)}')}\n{_commented(plain_code(rest))}"
                source = "\n".join(filter(None, [_runnable(done, number) if done else "", failed]))
            else:
                source = _runnable(source, number)
        found.append((cell.cell_type, source))
    return found


def _with_last_values(transcript: Transcript, codes: Sequence[tuple[int, str]]) -> list[str]:
    """The codes, each with its step, so that what reads the value shown last, as `_`, finds it without IPython too."""
    showed = {step.number for step in transcript.steps if step.showed_value}
    found = [code for _, code in codes]
    last: int | None = None
    for place, (step, code) in enumerate(codes):
        source, names = Source(code), Names()
        names.read(source, source.body or ())
        if "_" in names.bound:  # from here on it is a variable
            break
        if "_" in names.spans and last is not None:
            read = Source(found[last])
            assert read.last_expression is not None
            start, _ = read.span(read.last_expression)
            found[last], last = read.edited([Edit(start, start, "_ = ")]), None
        if step in showed and source.last_expression is not None:
            last = place
    return found


def _commented(text: str) -> str:
    return "\n".join(f"# {line}".rstrip() for line in text.replace("\0", "").splitlines())


def _runnable(code: str, number: int) -> str:
    """`code` for plain Python: lines that only IPython knows put aside, `await` outside of functions put into one."""
    if found := TRANSPARENT.match(code):
        return f"{_commented(found[0])}\n{_runnable(code[found.end() :], number)}"
    source = Source(code)
    if source.body is None:
        return f"{_commented('This is not Python:')}\n{_commented(code)}"
    magics = source.magics - _inside_strings(source.body)
    lines = re.split(r"\r\n|\r|\n", code)
    for magic in magics:
        line = lines[magic - 1].lstrip()
        indent = lines[magic - 1][: -len(line)]
        timed = re.fullmatch(r"%time[ \t]+(\S.*)", line)
        aside = f"pass  # {line}" if indent else f"# {line}"
        lines[magic - 1] = indent + (timed[1] if timed else aside)
    text = "\n".join(lines) if magics else code
    return text if _compiled(text) else _awaited(text, number)


def _inside_strings(body: list[ast.stmt]) -> set[int]:
    """Numbers of the lines that begin within a string."""
    nodes = [node for statement in body for node in ast.walk(statement)]
    strings = [node for node in nodes if isinstance(node, (ast.Constant, ast.JoinedStr))]
    return {line for node in strings for line in range(node.lineno + 1, (node.end_lineno or node.lineno) + 1)}


def _compiled(text: str, flags: int = 0) -> CodeType | None:
    try:
        return compiled(text, flags)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _awaited(text: str, number: int) -> str:
    """A cell that awaits, as a function that the file's event loop runs; its names stay global."""
    code = _compiled(text, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    stored = dis.get_instructions(code) if code is not None else ()
    bound = {instruction.argval for instruction in stored if instruction.opname == "STORE_NAME"}
    lines = [f"async def _cell_{number}():"]
    lines += [f"    global {', '.join(sorted(bound))}"] if bound else []
    lines += [indented(text), f"\n\n_loop.run_until_complete(_cell_{number}())"]
    wrapped = "\n".join(lines)
    if code is None or not _compiled(wrapped):
        return f"{_commented('This runs in IPython only:')}\n{_commented(text)}"
    return wrapped
