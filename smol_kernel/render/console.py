"""A run in a terminal, printed as it happens. A reader of events: what it cannot print never ends a run."""

from __future__ import annotations

import os
import select
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Generator, Iterator
from functools import partial
from typing import TextIO

from smol_kernel.events import (
    ActionFinished,
    ActionProposed,
    Event,
    FinalAnswer,
    MemoryEdited,
    ModelDelta,
    Notice,
    Output,
    PlanMade,
    Progress,
    RunFinished,
    RunResumed,
    RunStarted,
    StepFinished,
    StepStarted,
    ToolCalled,
    ToolProgress,
    ToolReturned,
    watched,
)
from smol_kernel.memory.monitoring import AgentLogger, LogLevel
from smol_kernel.render.files import files_text
from smol_kernel.render.plain import counted, one_line, plain, plain_code, shorten
from smol_kernel.render.records import NOTES, PlanRecord, StepRecord
from smol_kernel.render.signs import SIGNS
from smol_kernel.render.text import (
    call_text,
    error_text,
    facts_line,
    is_trouble,
    note_text,
    output_text,
    run_name,
    state_word,
)
from smol_kernel.render.transcript import STATES, UNBOXED, Transcript

LINES_A_STEP = 60
"""Lines of output shown of one step; the journal has them all."""
AT_ONCE = 2_000
"""Characters written at once: what a stream without room can hold back in its buffer, whatever they are."""

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34"}
_INDENT = "   "
_SECOND = "\0"
"""Stands for the second column of a wide character while text is cut or wrapped."""
_HOW_TO_SAVE = {"python": "agent.python_executor.save_files()", "cli": ""}
"""Front → what saves the files that a run made, where it is not the notebook's command. `smol run` says it itself."""


class ConsoleReader:
    """Prints the events it is called with to `stream` (None: `sys.stdout`).

    `color` (None: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`) turns ANSI colours on. With `names_run`
    the line that says how the run ended says its id as well.
    """

    def __init__(self, stream: TextIO | None = None, color: bool | None = None, names_run: bool = False) -> None:
        self._stream: TextIO | None = stream or sys.stdout
        self.lost: Exception | None = None
        """Why nothing is printed any more."""
        self._live = is_terminal(self._stream) and os.environ.get("TERM") != "dumb"
        self._color = (self._live and not os.environ.get("NO_COLOR")) if color is None else color
        self._names_run = names_run
        self._transcript = Transcript()
        self._waiting = ""
        self._line = ""  # the unfinished last line of a stream
        self._lines = 0
        self._in_step = self._answer_shown = False

    def __call__(self, event: Event) -> None:
        """Print what `event` adds."""
        self._transcript.feed(event)
        if isinstance(event, ModelDelta) and self._waiting:
            return  # the line that says so stays
        self._clear()
        if self._transcript.run and event.run not in ("", self._transcript.run):
            run = next((run for run in self._transcript.family() if run.run == event.run), None)
            if run is not None and not self._is_apart(run):
                self._end_line()
                self._called_agent(run, event)
        elif isinstance(event, Output):
            self._output(event)
        elif isinstance(event, Progress):
            self._wait(_INDENT + self._cut(event.text) if event.text else "")
        else:
            self._end_line()
            self._event(event)

    def _event(self, event: Event) -> None:
        step = self._transcript.last_step or StepRecord(0)
        if isinstance(event, RunStarted):
            self._begin()
        elif isinstance(event, StepStarted):
            self._lines, self._in_step = 0, True
            self._wait(f"{event.step}. asking the model…")
        elif isinstance(event, ActionProposed):
            self._proposed(step)
        elif isinstance(event, (ModelDelta, ToolCalled, ToolProgress)):
            self._wait(self._doing(self._transcript))
        elif isinstance(event, PlanMade):
            self._print(self._styled("Plan", "blue"), indent="")
            self._print(shorten(self._wrapped(event.plan), characters=20_000, lines=LINES_A_STEP), style="dim")
            self._print()
        elif isinstance(event, ToolReturned):
            call = next((call for call in reversed(step.calls) if call.call == event.call), None)
            if call is not None:
                self._print(one_line(call_text(call), 400), style="dim" if event.ok else "yellow")
            self._wait(self._doing(self._transcript))
        elif isinstance(event, ActionFinished):
            self._finished(step)
        elif isinstance(event, StepFinished):
            self._step_finished(step, event)
        elif isinstance(event, Notice):
            self._print(self._wrapped(event.text), style="yellow")
        elif isinstance(event, NOTES) and not isinstance(event, MemoryEdited):
            self._print(self._wrapped(note_text(event)), style="yellow" if is_trouble(event) else "dim")
        elif isinstance(event, FinalAnswer) and (self._in_step or self._answer_shown):  # a callback may change it
            self._answer()
        elif isinstance(event, RunFinished):
            self._end(event)

    def _begin(self) -> None:
        run = self._transcript
        self._print(self._wrapped(run.task, ""), indent="", style="bold")
        facts = [one_line(run.model), run.isolation_words, f"at most {counted(run.max_steps, 'step')}"]
        self._print(" · ".join(filter(None, facts)), indent="", style="dim")
        for mark in run.marks:
            self._print(self._wrapped(mark, ""), indent="", style="yellow" if mark == UNBOXED else "dim")
        self._print()

    def _proposed(self, step: StepRecord) -> None:
        title, *rest = self._wrapped(step.thought or step.title).split("\n")
        self._print(self._styled(f"{step.number}.", "blue") + f" {self._styled(title.strip(), 'bold')}", indent="")
        if rest:
            self._print("\n".join(rest))
        if not step.only_calls:  # else each call is told when it returns
            self._print(
                "\n".join(f"> {line}".rstrip() for line in plain_code(step.code).strip("\n").split("\n")), style="dim"
            )

    def _output(self, event: Output) -> None:
        """Whole lines at once; the rest waits for its end, since streams come in pieces."""
        if event.channel not in ("stdout", "stderr"):
            self._end_line()
            self._some_lines(output_text(event).split("\n"))
            return
        *lines, self._line = (self._line + plain(event.text)).split("\n")
        if len(self._line) > 4_000:
            lines, self._line = [*lines, self._line], ""
        self._some_lines(lines)

    def _some_lines(self, lines: list[str]) -> None:
        room = LINES_A_STEP - self._lines
        self._lines += len(lines)
        for line in lines[: max(room, 0)]:
            self._print(shorten(line, characters=4_000))
        if 0 <= room < len(lines):
            self._print("… further output is not shown here", style="dim")

    def _end_line(self) -> None:
        if self._line:
            line, self._line = self._line, ""
            self._some_lines([line])

    def _finished(self, step: StepRecord) -> None:
        if step.state == "ok":
            return
        self._print("\n".join(plain(step.frames).split("\n")[-24:]), style="dim")
        self._print(error_text(step) or "stopped", style="red" if step.state == "error" else "yellow")

    def _step_finished(self, step: StepRecord, event: StepFinished) -> None:
        self._in_step = False
        if event.error and not step.status:  # no action ran: the reply was of no use, or the model gave none
            self._print(self._styled(f"{step.number}.", "blue") + f" {step.title}", indent="")
            self._print(error_text(step), style="red")
        if self._answer_shown:  # the facts of the run follow
            return
        facts = [f"{event.seconds:.1f} s"] + ([] if step.tokens is None else [counted(step.tokens, "token")])
        self._print(" · ".join(facts), style="dim")
        self._print()

    def _answer(self) -> None:
        run, self._answer_shown = self._transcript, True
        self._print(run.answer_label, indent="", style="green" if run.answer_label == "Answer" else "yellow")
        text = shorten(plain(run.answer_text).strip("\n"), characters=20_000) or "None"
        self._print(text if "  " in text else self._wrapped(text), style="bold")
        self._print()

    def _end(self, event: RunFinished) -> None:
        kind = STATES.get(event.state, (event.state, "warn"))[1]
        if event.error and event.state != "success":
            self._print(self._wrapped(event.error, ""), indent="", style="red" if kind == "bad" else "yellow")
        run = self._transcript
        if run.answered and not self._answer_shown:  # what it is was not known before
            self._answer()
        run.how_to_save = _HOW_TO_SAVE.get(run.origin.get("front", "python"), "%agent files save")
        if files := files_text(run):
            self._print(self._wrapped(files, ""), indent="", style="yellow" if run.how_to_save else "")
        name = f" · run {run.run}" if self._names_run else ""
        self._print(facts_line(run) + name, indent="", style="dim")

    def _called_agent(self, run: Transcript, event: Event) -> None:
        """What an agent that was called does, in lines that begin with its name: several may work at once."""
        say, step = partial(self._say, run), run.last_step or StepRecord(0)
        if isinstance(event, RunStarted):
            say(event.task)
            if run.isolation == "none" and not self._transcript.unboxed:  # said already of the whole run
                say(UNBOXED, "yellow")
        elif isinstance(event, PlanMade):
            say(f"plan: {event.plan}")
        elif isinstance(event, ActionProposed) and not (step.only_calls and not step.thought):
            say(f"{step.number}. {step.title}")
        elif isinstance(event, ToolReturned):
            call = next((call for call in reversed(step.calls) if call.call == event.call), None)
            if call is not None:
                say(f"{_INDENT}{call_text(call)}", "" if event.ok else "yellow")
        elif isinstance(event, ActionFinished) and step.state != "ok":
            say(f"{_INDENT}{step.error_line or 'stopped'}", "red" if step.state == "error" else "yellow")
        elif isinstance(event, StepFinished) and event.error and not step.status:
            say(f"{step.number}. {step.title}: {step.error_line}", "red")
        elif isinstance(event, Notice):
            say(event.text, "yellow")
        elif isinstance(event, NOTES) and not isinstance(event, MemoryEdited):
            say(note_text(event), "yellow" if is_trouble(event) else "")
        elif isinstance(event, FinalAnswer):
            say(f"→ {event.text}")
        elif isinstance(event, RunFinished) and event.state != "success":
            say(": ".join(filter(None, [state_word(event.state), event.error])), "yellow")
        self._wait(self._doing(run) or self._doing(self._transcript))

    def _say(self, run: Transcript, text: str, style: str = "") -> None:
        indent = _INDENT * self._depth(run)
        name = self._styled(f"{run_name(run)} │", "blue")
        space = text[: len(text) - len(text.lstrip(" "))]
        self._print(f"{name} {space}{self._styled(one_line(text), style or 'dim')}", indent=indent)

    def _depth(self, run: Transcript) -> int:
        caller = self._caller(run)
        return 1 if caller is None else 1 + self._depth(caller)

    def _is_apart(self, run: Transcript) -> bool:
        """Whether it, or the one that called it, is printed by a logger of its own."""
        caller = self._caller(run)
        return run.origin.get("printed") == "apart" or (caller is not None and self._is_apart(caller))

    def _caller(self, run: Transcript) -> Transcript | None:
        return next((other for other in self._transcript.family() if other.run == run.parent), None)

    def _doing(self, run: Transcript) -> str:
        """What the run does now, in a line; empty where there is nothing to wait for."""
        last = run.rows[-1] if run.rows else None
        doing = ""
        if isinstance(last, PlanRecord) and last.state == "thinking":
            doing = "making a plan…"
        elif isinstance(last, StepRecord):
            calls = [call for call in last.open_calls if call.tool != "input"]
            doing = f"{call_text(calls[-1])} …" if calls else ""
            doing = doing or (f"{last.number}. asking the model…" if last.state == "thinking" else "")
        if not doing:
            return ""
        name = f"{run_name(run)} │ " if run is not self._transcript else ""
        return _INDENT + self._cut(name + doing)

    def _wait(self, text: str) -> None:
        """A line on what goes on, gone with the next event; on a terminal only."""
        if self._live and text:
            self._waiting = text
            self._write(self._styled(text, "dim"))

    def _clear(self) -> None:
        if self._waiting:
            self._waiting = ""
            self._write("\r\x1b[2K")

    def _print(self, text: str = "", *, indent: str = _INDENT, style: str = "") -> None:
        if text:
            self._write("".join(f"{indent}{self._styled(line, style)}".rstrip() + "\n" for line in text.split("\n")))
        elif indent == _INDENT and not style:
            self._write("\n")

    def _styled(self, text: str, style: str) -> str:
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self._color and style and text else text

    def _wrapped(self, text: str, indent: str = _INDENT) -> str:
        width = self._width() - len(indent)
        lines = plain(text).strip().split("\n")
        wrapped = ("\n".join(textwrap.wrap(_spaced(line), width) or [""]) for line in lines)
        return "\n".join(wrapped).replace(_SECOND, "")

    def _cut(self, text: str) -> str:
        line, width = _spaced(one_line(text)), self._width() - len(_INDENT)
        return (line if len(line) <= width else f"{line[: width - 1].rstrip()}…").replace(_SECOND, "")

    def _width(self) -> int:
        return max(20, min(shutil.get_terminal_size((88, 24)).columns - 1, 100))

    def _write(self, text: str) -> None:
        if self._stream is None:
            return
        text = _written_in(getattr(self._stream, "encoding", None), text)
        try:
            for start in range(0, len(text), AT_ONCE):
                _write_all(self._stream, text[start : start + AT_ONCE])
        except (OSError, ValueError) as error:  # closed, or nobody reads any more: the run goes on
            self._stream, self.lost = None, error


def printed(events: Generator[Event], logger: AgentLogger) -> Iterator[Event]:
    """The same events, and what `logger` prints of them at its level: all of the run, at ERROR its errors, or
    nothing."""
    if logger.level >= LogLevel.INFO:
        return watched(events, ConsoleReader(logger.stream))
    return events if logger.level < LogLevel.ERROR else watched(events, _Errors(logger))


class _Errors:
    """Prints the errors of a run, and of those that it called, but for what another logger prints."""

    def __init__(self, logger: AgentLogger) -> None:
        self._logger, self._apart = logger, dict[str, bool]()

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted | RunResumed):
            above = self._apart.get(event.parent or "") if isinstance(event, RunStarted) else None
            apart = isinstance(event, RunStarted) and event.origin.get("printed") == "apart"
            self._apart[event.run] = above is not None and (above or apart)
        elif self._apart.get(event.run) or not isinstance(event, StepFinished | RunFinished) or not event.error:
            return
        elif isinstance(event, StepFinished):
            self._logger.log_error(f"{event.error_type}: {event.error}")
        elif event.state != "success":
            self._logger.log_error(event.error)


def _spaced(text: str) -> str:
    """The text with as many characters as a terminal needs columns."""
    return "".join(char + _SECOND * (unicodedata.east_asian_width(char) in "WF") for char in text)


def _write_all(stream: TextIO, text: str) -> None:
    """Write, and wait for room where that does not wait by itself: others may have set a pipe or terminal so."""
    try:
        stream.write(text)
        stream.flush()
    except BlockingIOError:
        while _is_full(stream):
            select.select([], [stream], [])


def _is_full(stream: TextIO) -> bool:
    try:
        stream.flush()
    except BlockingIOError:
        return True
    return False


def _written_in(encoding: str | None, text: str) -> str:
    """The text, or what an encoding has of it, whatever the stream itself would do with the rest."""
    try:
        text.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return text.translate(str.maketrans(SIGNS)).encode(encoding, "replace").decode(encoding) if encoding else text
    return text


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody sees what is written there as it comes."""
    try:
        return stream is not None and stream.isatty()
    except (AttributeError, ValueError):  # not a whole file, or closed
        return False
