"""What a person sees of a run while it goes on. One output is displayed, once; after that only its traits change.

Made by `cell`. The live view is drawn by a thread of its own, at most ten times a second, so that a stream of small
events costs little and the last one is never lost.
"""

from __future__ import annotations

import contextvars
import html
import logging
import threading
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

from IPython.display import display, publish_display_data

from smol_kernel.errors import SmolError
from smol_kernel.events import Event, Notice, ToolCalled
from smol_kernel.render.html import chip_html, isolation_chip, live_card
from smol_kernel.render.plain import counted
from smol_kernel.render.records import PlanRecord, StepRecord
from smol_kernel.render.text import run_name, totals_words
from smol_kernel.render.transcript import STATES, Transcript, model_label
from smol_magic.endings import CellError
from smol_magic.fingerprint import fingerprint
from smol_magic.place import Place
from smol_magic.unwatched_view import WITHOUT_WIDGETS, UnwatchedView
from smol_magic.view_style import VIEW_STYLE

LEAST_SECONDS = 0.1  # between two drawings
MOST_OF_TIME = 0.1  # that drawing takes, where a card is long; it is drawn every CLOCK_SECONDS all the same
CLOCK_SECONDS = 1.0  # the clock goes on where nothing happens
RUNS = "the action runs"
QUESTIONS = {  # by the tool that asks a person
    "input": "the action asks you for input: answer below, or ■ ends it",
    "user_input": "the agent asks you: answer below, or ■ ends it",
}
NOT_ISOLATED = "⚠ not isolated"
_COLOURS = {NOT_ISOLATED: "bad", "not reproduced": "warn", "not proved": "warn"}
"""How a part of the one line begins that a person should notice, and its colour."""


class View(Protocol):
    """Shows a run to a person. Called on the run's thread (`feed`), else on the cell's."""

    leaves_account: bool
    """True: the full account is displayed below it when the run has ended."""

    def show(self, task: str, run: str, *, buttons: bool) -> None:
        """Display it; `run` is the id that the run will have."""
        ...

    def feed(self, event: Event) -> None:
        """Take in the next event of the run."""
        ...

    def stopping(self) -> None:
        """Say that a stop was asked for."""
        ...

    def fold(self, failure: BaseException | None, *, proves: bool = False) -> None:
        """The run has ended: shrink to one line. What `proves` can be stopped still."""
        ...

    def proving(self) -> AbstractContextManager[None]:
        """Say meanwhile that the finished work is proved."""
        ...

    def say(self, *parts: str) -> None:
        """Add these parts of a sentence to that line; empty ones count as none."""
        ...

    def end(self) -> None:
        """Nothing more is said: tell that line also to those who hear it."""
        ...

    def retire(self, *parts: str) -> None:
        """No page took the work: leave only what one can show without widgets. One that finds them is told `parts`."""
        ...


def make_view(
    shell: Any,
    kind: str,
    transcript: Transcript,
    stop: Callable[[], None],
    has_child: Callable[[], bool],
    *,
    asked: bool = False,
) -> View:
    """The view of `kind`: "widgets", "text", or "auto" (widgets wherever there is a page, and ipywidgets; where a
    notebook is run without one nothing, but for a proof that was `asked` for). Raises CellError for widgets without
    ipywidgets."""
    if kind == "auto" and hasattr(shell, "kernel") and Place.of(shell).unattended:
        return UnwatchedView(transcript, asked)
    if kind == "widgets" or (kind == "auto" and hasattr(shell, "kernel")):
        try:
            return LiveView(transcript, stop, has_child)
        except ImportError as error:
            if kind == "widgets":
                raise CellError(f"{error}: pip install ipywidgets, or %config SmolMagic.view = 'text'") from None
    return TextView(transcript)


class TextView:
    """The run as lines of text, for a terminal."""

    leaves_account = False

    def __init__(self, transcript: Transcript) -> None:
        from smol_kernel.render.console import ConsoleReader

        self._transcript = transcript
        self._reader = ConsoleReader()

    def show(self, task: str, run: str, *, buttons: bool) -> None:
        """Nothing to display before the first event."""

    def feed(self, event: Event) -> None:
        """Print what the event adds."""
        self._transcript.feed(event)
        self._reader(event)

    def stopping(self) -> None:
        """Say that a stop was asked for."""
        print("Stopping …")

    def fold(self, failure: BaseException | None, *, proves: bool = False) -> None:
        """All is printed already."""

    def proving(self) -> AbstractContextManager[None]:
        """Print that."""
        self.say("proving …")
        return nullcontext()

    def say(self, *parts: str) -> None:
        """Print the sentence, if there is one."""
        if any(parts):
            print(" · ".join(filter(None, parts)))

    def end(self) -> None:
        """All is printed already."""

    def retire(self, *parts: str) -> None:
        """Nothing to leave, and nothing that a page could find later."""


class LiveView:
    """The run as widgets: a head with a Stop button and a line on what goes on, and a card for each step.

    No event tells that an action waits for its kernel, so `has_child` is asked.
    """

    leaves_account = True

    def __init__(
        self, transcript: Transcript, stop: Callable[[], None], has_child: Callable[[], bool] = lambda: True
    ) -> None:
        from ipywidgets import HTML, Button, HBox, VBox

        self._transcript, self._has_child, self._make_part = transcript, has_child, HTML
        self._title, self._now, self._facts, self._told = HTML(), HTML(), HTML(), HTML()
        self._told.add_class("smol-view-told")  # out of sight; the labextension has it read aloud
        bar = HTML('<div class="smol-view-bar" role="progressbar" aria-label="Agent at work"><i></i></div>')
        self._button = Button(description="Stop", tooltip="Stop the agent (as ■ does)")
        self._button.add_class("smol-view-stop")
        self._pressed = lambda _: stop()
        self._button.on_click(self._pressed)
        self._steps = VBox()
        head = HBox([self._title, self._button, self._told])
        head.add_class("smol-view-head")
        now = HBox([self._now, self._facts])
        now.add_class("smol-view-now")
        self._body = VBox([now, bar, self._steps])
        self._root = VBox([HTML(VIEW_STYLE), head, self._body])
        self._root.add_class("smol-run").add_class("smol").add_class("smol-view")
        self._drawn: dict[int, tuple[Any, ...]] = {}
        self._task, self._notice = "", ""
        self._result: tuple[str, str, list[str], list[str]] = ("", "", [], [])
        self._said: tuple[str, ...] = ()
        self._started = time.monotonic()
        # Feeding and drawing happen on two threads; whoever reads the transcript holds this.
        self._lock = threading.RLock()
        self._news, self._ended = threading.Event(), threading.Event()

    def show(self, task: str, run: str, *, buttons: bool) -> None:
        """Display the view and begin to draw."""
        self._task = task
        if not buttons:
            self._drop_button()
        self._draw()
        view = {"version_major": 2, "version_minor": 0, "model_id": self._root.model_id}
        display(
            {"application/vnd.jupyter.widget-view+json": view, **WITHOUT_WIDGETS},
            metadata={"smol": {"live": True, "run": run}},
            raw=True,
            display_id=self._root.model_id,
        )
        threading.Thread(
            target=contextvars.copy_context().run, args=(self._keep_drawing,), name="smol-view", daemon=True
        ).start()

    def feed(self, event: Event) -> None:
        """Take in the next event; it is on the page soon."""
        with self._lock:
            self._transcript.feed(event)
            if isinstance(event, Notice):
                self._notice = event.text
            elif not isinstance(event, ToolCalled):
                self._notice = ""
        self._news.set()
        if isinstance(event, ToolCalled) and event.blocking:
            self._draw()  # now: the tool is called next, and buttons are dead until it returns

    def stopping(self) -> None:
        """Say that a stop was asked for."""
        self._button.description = "Stopping …"  # not disabled: it would lose the keyboard's focus

    def fold(self, failure: BaseException | None, *, proves: bool = False) -> None:
        """Draw the end and shrink to one line."""
        with self._lock:
            self._draw()
            self._ended.set()  # from here on nobody draws
        self._news.set()
        if isinstance(failure, SmolError) and not self._transcript.steps:
            self._root.layout.display = "none"  # it shows nothing that the line of the error does not say
        self._root.add_class("smol-view-folded")
        self._result = self._summary(failure)
        self.say()
        now, bar, steps = self._body.children
        self._body.children = (now, steps) if proves else (now, bar, steps)
        self._root.children = (*self._root.children[:2], *[bar] * proves)
        _close(self._body)
        if proves:
            self._button.description, self._button.tooltip = "Skip the proof", "Its answer stays (■ does the same)"
        else:
            self._drop_button()

    @contextmanager
    def proving(self) -> Generator[None]:
        """Say in the one line how long the proof takes already; its end takes button and bar away."""
        began, proved = time.monotonic(), threading.Event()

        def tell() -> None:
            while not proved.is_set():
                self.say(f"proving …, {_clock(time.monotonic() - began)}")
                proved.wait(CLOCK_SECONDS)

        clock = threading.Thread(target=contextvars.copy_context().run, args=(tell,), name="smol-proof", daemon=True)
        clock.start()
        try:
            yield
        finally:
            proved.set()
            clock.join()
            self._drop_button()
            self._root.children, (bar,) = self._root.children[:2], self._root.children[2:]
            _close(bar)
            self.say()

    def say(self, *parts: str) -> None:
        """Add a sentence to the one line."""
        self._said = parts
        word, kind, facts, spent = self._result
        line = " · ".join(_coloured(part) for part in (*facts, *spent, *parts) if part)
        self._title.value = f'<div class="smol-head">{chip_html(word, kind)}<small>{line}</small></div>'

    def end(self) -> None:
        """Tell it out of sight, without what was spent."""
        word, _, facts, _ = self._result
        self._told.value = html.escape(", ".join(filter(None, [word, *facts, *self._said])))

    def retire(self, *parts: str) -> None:
        """Leave only what needs no widgets, for a page that would show an error once the kernel is gone.

        Our labextension does it in time; this is for pages without it. One that had been closed missed the account, and
        finds the widgets as long as the kernel lives: for it the line says `parts`.
        """
        self.say(*parts)
        publish_display_data(WITHOUT_WIDGETS, transient={"display_id": self._root.model_id}, update=True)

    def _drop_button(self) -> None:
        """Hide it, and let go of the cell: ipywidgets keeps each widget, with its handlers, until the kernel ends."""
        self._button.layout.display = "none"
        self._button.on_click(self._pressed, remove=True)

    def _keep_drawing(self) -> None:
        while not self._ended.is_set():
            self._news.wait(CLOCK_SECONDS)
            self._news.clear()
            began = time.monotonic()
            self._draw()
            self._ended.wait(min(max(LEAST_SECONDS, (time.monotonic() - began) / MOST_OF_TIME), CLOCK_SECONDS))

    def _draw(self) -> None:
        try:
            with self._lock:
                if self._ended.is_set():
                    return
                self._title.value = self._head()
                doing = self._doing()
                self._now.value = self._progress(doing)
                self._told.value = html.escape(doing) if doing in (*QUESTIONS.values(), self._notice) else ""
                self._facts.value = " · ".join(self._used())  # apart, as the clock ever changes
                self._draw_steps()
        except Exception:  # boundary: a view that breaks does not end a run
            logging.getLogger(__name__).exception("the view of a run could not be drawn")

    def _draw_steps(self) -> None:
        parts = list(self._steps.children)  # of each card its line, and the two that the line folds
        for index, row in enumerate(self._transcript.rows):
            seen = fingerprint(row)
            if self._drawn.get(index) == seen:
                continue
            drawn = live_card(row)
            self._drawn[index] = seen
            there = parts[3 * index : 3 * index + 3]
            for part, value in zip(there, drawn, strict=False):
                part.value = value
            parts += [] if there else map(self._make_part, drawn)
        if len(parts) > len(self._steps.children):
            self._steps.children = parts

    def _head(self) -> str:
        transcript, chips = self._transcript, ""
        if transcript.run:
            model = model_label(transcript.model, transcript.scripted)
            chips = chip_html(model) + chip_html(*isolation_chip(transcript))
        task = html.escape(self._task)
        return f'<div class="smol-head"><span class="smol-task" title="{task}">{task}</span>{chips}</div>'

    def _used(self) -> list[str]:
        return [*totals_words(self._transcript), _clock(time.monotonic() - self._started)]

    def _progress(self, doing: str) -> str:
        step = self._transcript.last_step
        parts = [f"step {step.number} of {self._transcript.max_steps}"] if step else []
        return " · ".join(parts + ([f"<b>{html.escape(doing)}</b>"] if doing else []))

    def _doing(self) -> str:
        runs = [self._transcript, *self._transcript.family()]
        calls = [call for run in runs for step in run.steps[-1:] for call in step.open_calls]
        held = [call for call in calls if call.blocking]
        if asks := [call.tool for call in calls if call.tool in QUESTIONS]:
            return QUESTIONS[asks[0]]
        if held:
            return f"{held[-1].tool} runs in this notebook: Stop takes effect when it returns, ■ ends it now"
        if self._notice:
            return self._notice
        called = [run for run in runs[1:] if run.state == "running"]
        if called:
            return " · ".join(f"{run_name(run)}: {_doing_alone(run)}" for run in called)
        doing = _doing_alone(self._transcript)
        return doing if doing != RUNS or self._has_child() else "the child kernel starts"

    def _summary(self, failure: BaseException | None) -> tuple[str, str, list[str], list[str]]:
        """The one line that stays: a word for the state, its colour, the facts, and what was spent."""
        transcript = self._transcript
        state = "interrupted" if isinstance(failure, KeyboardInterrupt) else transcript.state
        word, kind = STATES.get("error" if state == "running" else state, (state, "warn"))
        facts = [NOT_ISOLATED] * transcript.unboxed + [counted(len(transcript.steps), "step")]
        return word, kind, facts, self._used()


def _coloured(part: str) -> str:
    kind = next((kind for words, kind in _COLOURS.items() if part.startswith(words)), "")
    return f'<span class="smol-state smol-{kind}">{html.escape(part)}</span>' if kind else html.escape(part)


def _close(widget: Any) -> None:
    """End a widget with all in it: kernel and page keep each until then, plots and all."""
    for part in getattr(widget, "children", ()):
        _close(part)
    for model in (widget.layout, getattr(widget, "style", None), widget):
        if model is not None:
            model.close()


def _doing_alone(run: Transcript) -> str:
    """What a run does now, apart from the agents it called."""
    last = run.rows[-1] if run.rows else None
    if isinstance(last, PlanRecord):
        return "makes a plan" if last.state == "thinking" else "starts"
    if not isinstance(last, StepRecord):
        return "starts" if run.parent else "starting"
    calls = last.open_calls
    told = [f"{call.tool} {call.progress}" for call in calls if call.progress]
    if calls:
        return "waiting for " + ", ".join(told or sorted({call.tool for call in calls}))
    return {"thinking": "the model is asked", "running": RUNS}.get(last.state, "")


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
