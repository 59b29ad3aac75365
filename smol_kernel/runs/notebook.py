"""The full story of a run as a notebook: every step with its real outputs, failures included.

Called by `%agent export`, `smol export` and `smol demo`. The format is nbformat 4.5
(https://nbformat.readthedocs.io/en/latest/format_description.html).
"""

from __future__ import annotations

import base64
import platform
from collections.abc import Collection, Iterable, Iterator
from copy import deepcopy
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from smol_kernel.events import Output
from smol_kernel.executors.displays import LIVE, forms
from smol_kernel.executors.observation import allowed
from smol_kernel.memory.text_room import text_room
from smol_kernel.render.code_to_run import left_unseen
from smol_kernel.render.markdown import (
    beside_markdown,
    fenced,
    files_markdown,
    in_words,
    name_markdown,
    note_markdown,
    plan_markdown,
    run_markdown,
    safe_markdown,
)
from smol_kernel.render.plain import fixed, one_line, plain, plain_code, shorten
from smol_kernel.render.records import Note, PlanRecord, StepRecord
from smol_kernel.render.sanitize import is_base64, kept_html
from smol_kernel.render.text import call_text, head_facts, outcome_text
from smol_kernel.render.transcript import Transcript
from smol_kernel.runs.answer import defined
from smol_kernel.runs.needs import need
from smol_kernel.runs.script import part_of, parts_of, read_names, settle_end

if TYPE_CHECKING:
    from nbformat import NotebookNode

_RAN = ("ok", "error")
"""Statuses of actions whose code can be run again as it stands; others were stopped half-way."""
_PICTURES = ("image/png", "image/jpeg")
MAX_ANSWER = 10_000_000
"""Size of an encoded answer, in characters, up to which it is shown as Jupyter would; a larger one stays text."""


def to_notebook(transcript: Transcript, made: Collection[str] = ()) -> NotebookNode:
    """The run as a notebook that is valid, and runs where its inputs and tools are defined.

    A step that failed is a cell with its error, tagged `raises-exception` so that a run of the whole goes on; one
    that was stopped is text, and so is what called agents did. Nothing in it loads anything from elsewhere.
    """
    from nbformat import validate
    from nbformat.v4 import new_notebook

    cells = [_markdown("task", opening(transcript, made)), *_rows(transcript), *_closing(transcript)]
    code = [cell for cell in cells if cell.cell_type == "code"]
    for cell, source in zip(code, defined(cell.source for cell in code), strict=True):
        cell.source = source
    notebook: NotebookNode = new_notebook(cells=cells, metadata=_metadata(transcript))
    validate(notebook)
    return notebook


def opening(transcript: Transcript, made: Collection[str] = ()) -> str:
    """The first cell: the task, what ran, what has to be said of it, and what it needs to be run again, less the tools
    that the code has `made`."""
    task = plain(transcript.task).strip()
    title, _, rest = task.partition("\n")
    facts = safe_markdown(head_facts(transcript))
    blocks = [f"# {safe_markdown(title)}", safe_markdown(rest.strip()), f"A run of an agent: {facts}."]
    blocks += map(safe_markdown, transcript.marks)
    needs = _needs(transcript, made)
    if needs:
        blocks.append("To run this notebook again, first define what the run was given:\n\n" + "\n".join(needs))
    return "\n\n".join(filter(None, blocks))


def _needs(transcript: Transcript, made: Collection[str]) -> list[str]:
    """Variables handed in, and the tools that the code names."""
    used = read_names(parts_of(transcript)).every
    used |= {call.tool for step in transcript.steps for call in step.calls}
    lines = [
        f"- {name_markdown(name)}: {safe_markdown(one_line(summary, 2_000))}"
        for name, summary in transcript.inputs.items()
    ]
    tools = [name for name in transcript.tools if name in used and name not in ("final_answer", "input", *made)]
    return lines + [f"- {name_markdown(name)}: {need(name, transcript).words}" for name in tools]


def _rows(transcript: Transcript) -> Iterator[NotebookNode]:
    names = read_names(parts_of(transcript))
    count = 0
    for place, step in enumerate(transcript.rows, 1):
        if not isinstance(step, StepRecord):
            yield _markdown(f"between-{place}", _between(step))
            continue
        count += 1
        words = in_words(f"**{step.number}.**", safe_markdown(step.words or step.title))
        words = "\n\n".join([words, *map(note_markdown, step.beforehand)])
        if step.code and step.status in _RAN:
            part = part_of(step) if step.final else None
            if part is not None:
                settle_end(part, names, addresses=False)
            source = part.text() if part else step.code
            words = "\n\n".join(filter(None, [words, left_unseen(source)]))
            yield _markdown(f"step-{step.number}", words, step)
            yield _code(step, source, count, transcript)
        else:
            yield _markdown(f"step-{step.number}", "\n\n".join([words, *_as_text(step)]), step)
        if beside := beside_markdown(step):
            yield _markdown(f"step-{step.number}-beside", "\n\n".join(beside), step)


def _between(row: PlanRecord | Transcript | Note) -> str:
    """What came between two steps."""
    if isinstance(row, PlanRecord):
        return plan_markdown(row)
    return run_markdown(row) if isinstance(row, Transcript) else note_markdown(row)


def _as_text(step: StepRecord) -> Iterator[str]:
    """A step that left nothing to run again: no usable reply, or an action that was stopped or lost its child."""
    if code := step.code or step.draft:
        yield "This step did not run to an end:"
        yield fenced(plain_code(code).strip("\n"), "python")
    if text := outcome_text(step):
        yield fenced(text)


def _closing(transcript: Transcript) -> Iterator[NotebookNode]:
    blocks: list[str] = []
    if transcript.state != "success" and transcript.error:
        blocks.append(safe_markdown(fixed(transcript.error.strip())))
    shown = any(step.final for step in transcript.steps)
    if transcript.answered and (not shown or isinstance(transcript.answer, str)):
        text = shorten(plain(transcript.answer_text).strip("\n"), characters=100_000) or "None"
        blocks.append(f"**{transcript.answer_label}**\n\n" + safe_markdown(fixed(text)))
    blocks += files_markdown(transcript)
    if blocks:
        yield _markdown("answer", "\n\n".join(blocks))


def _markdown(name: str, text: str, step: StepRecord | None = None) -> NotebookNode:
    from nbformat.v4 import new_markdown_cell

    metadata = {"smol": {"step": step.number}} if step else {}
    return new_markdown_cell(text, id=name, metadata=metadata)


def _code(step: StepRecord, source: str, count: int, transcript: Transcript) -> NotebookNode:
    from nbformat.v4 import new_code_cell, new_output

    outputs = [_output(output, count) for output in step.outputs]
    if step.only_calls and step.calls:  # it put out nothing, but got something back
        outputs.append(new_output("stream", name="stdout", text="\n".join(map(call_text, step.calls)) + "\n"))
    if step.final and transcript.answered and transcript.answer is not None:  # IPython shows no None
        outputs.append(new_output("execute_result", data=_answer(transcript), execution_count=count))
    metadata: dict[str, Any] = {"smol": {"step": step.number}}
    if step.state == "error":
        metadata["tags"] = ["raises-exception"]
        outputs.append(
            new_output(
                "error",
                ename=plain(step.error_type or "Error"),
                evalue=plain(step.error or ""),
                traceback=plain(step.traceback or step.error_line).rstrip("\n").split("\n"),
            )
        )
    return new_code_cell(
        source, id=f"step-{step.number}-code", metadata=metadata, execution_count=count, outputs=outputs
    )


def _output(output: Output, count: int) -> NotebookNode:
    from nbformat.v4 import new_output

    if output.channel in ("stdout", "stderr"):
        return new_output("stream", name=output.channel, text=plain(output.text))
    data = {"text/plain": plain(output.data.get("text/plain") or output.text)}
    data |= {kind: data for kind in _PICTURES if (data := output.data.get(kind)) and is_base64(data)}
    if html := kept_html(output.data.get("text/html", ""), output.data.get(LIVE, "")):
        data["text/html"] = html
    if output.channel == "result":
        return new_output("execute_result", data=data, execution_count=count)
    return new_output("display_data", data=data)


def is_exported(notebook: Any) -> bool:
    """Whether it was written from a run."""
    return isinstance(ours := notebook.metadata.get("smol"), dict) and "run" in ours


def joined(outputs: Iterable[Any]) -> list[Any]:
    """Outputs of a cell, with what was printed piece by piece in one."""
    found: list[Any] = []
    printed: dict[str, Any] = {}
    for output in deepcopy(list(outputs)):
        if output.output_type == "stream" and output.name in printed:
            printed[output.name].text += output.text
            continue
        if output.output_type == "stream":
            printed[output.name] = output
        found.append(output)
    return found


def as_exported(outputs: Iterable[Any]) -> list[Any]:
    """Outputs of a cell as such a notebook keeps them, joined: what a kernel gave cleaned, what is in one already as it
    is."""
    found: list[Any] = []
    for output in joined(outputs):
        if output.output_type == "stream":
            output.text = plain(output.text)
        elif "data" in output:
            if not (kept := forms(output.data)):
                continue
            taken, lines = allowed(kept)
            if not taken.keys() - {LIVE}:  # words stand in its place
                kept = {"text/plain": "\n".join(lines)}
            html = kept_html(kept.get("text/html", ""), kept.get(LIVE, ""))
            output.data = {"text/plain": plain(kept.get("text/plain", "")), **({"text/html": html} if html else {})}
            output.data |= {kind: kept[kind] for kind in _PICTURES if kind in kept}
        found.append(output)
    return found


def _answer(transcript: Transcript) -> dict[str, str]:
    """The answer as Jupyter shows a value."""
    from smol_kernel.executors.values import decode

    text = plain(transcript.answer_text)
    if len(repr(transcript.answer)) > MAX_ANSWER:
        return {"text/plain": shorten(text, characters=100_000)}
    try:
        value = decode(transcript.answer)
        if text_room(value) > 2 * MAX_ANSWER:
            return {"text/plain": shorten(text, characters=100_000)}
        repr(value)  # IPython would print how that fails
    except Exception:  # noqa: BLE001 - boundary: what it holds has a text or none, such as integers too long for Python
        return {"text/plain": text}
    from IPython.core.formatters import DisplayFormatter

    shown: dict[str, Any] = DisplayFormatter().format(value, include={"text/plain", "text/html", "image/png"})[0]
    data = {"text/plain": plain(shown.get("text/plain", text))}
    if html := kept_html(shown.get("text/html", "")):
        data["text/html"] = html
    if picture := shown.get("image/png"):
        data["image/png"] = base64.b64encode(picture).decode() if isinstance(picture, bytes) else picture
    return data


def _metadata(transcript: Transcript) -> dict[str, Any]:
    try:
        ours = version("smol-kernel")
    except PackageNotFoundError:
        ours = "unknown"
    totals = transcript.whole  # with what agents it called used
    return {
        "kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"},
        "language_info": {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
        "smol": {
            "run": transcript.run,
            "agent": transcript.agent,
            "model": transcript.model,
            "scripted": transcript.scripted,
            "isolation": transcript.isolation,
            "unboxed": transcript.unboxed,
            "state": transcript.state,
            "seconds": totals.seconds,
            "input_tokens": totals.input_tokens,
            "output_tokens": totals.output_tokens,
            "versions": {"smol-kernel": ours, "python": platform.python_version()},
        },
    }
