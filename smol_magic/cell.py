"""What a `%%agent` cell does, from its options to its answer in the notebook.

IPython calls `agent_cell` (the cell rewritten to an await, see `rewriting`) or, where a cell cannot await,
`agent_cell_blocking` (the ordinary cell magic).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from IPython.display import display

from smol_kernel.config import RunOptions
from smol_kernel.errors import IN_CIRCLES, AgentGenerationError, BoxUnavailableError, ConfigError, SmolError
from smol_kernel.events import Event, InputsDigested, RunFinished, RunStarted
from smol_kernel.executors.values import decode
from smol_kernel.models.base import Model
from smol_kernel.models.demo import DemoModel, refusal
from smol_kernel.render.plain import counted
from smol_kernel.render.transcript import Transcript
from smol_kernel.runs.prove import STOPPED
from smol_kernel.runs.script import ScriptCell
from smol_magic import namespace
from smol_magic.account import account
from smol_magic.endings import CellError, Stopped
from smol_magic.files import SAVE_FILES
from smol_magic.place import Place
from smol_magic.proving import CellProof
from smol_magic.session import export_hint, front, origin
from smol_magic.thread import Awaiting, Blocking, stoppable
from smol_magic.view import make_view
from smol_magic.writeback import as_one_cell, early, notebook_cells, write

if TYPE_CHECKING:
    from smol_magic.magics import SmolMagic

AT_LIMIT = ("max_steps_error", "budget")
"""States of a run that a limit ended; its answer, if there is one, is the best the model could give."""


async def agent_cell(magics: SmolMagic, line: str, body: str) -> None:
    """Run the task in `body`; buttons work meanwhile, and cells are inserted. Raises CellError or Stopped."""
    options = magics.read_line(line)
    if options is not None:
        await carry_out(magics, lambda: AgentCell(magics, options, body))


def agent_cell_blocking(magics: SmolMagic, line: str, body: str) -> None:
    """The same for a cell that cannot await: ■ stops it, buttons do not; the script comes as one next cell."""
    options = magics.read_line(line)
    if options is not None:
        carry_out_blocking(magics, lambda: AgentCell(magics, options, body))


async def carry_out(magics: SmolMagic, make: Callable[[], AgentCell]) -> None:
    """Carry out the cell that `make` gives, from its view to its end."""
    thread = Awaiting()
    with magics.session.busy("An agent is at work"):
        with stoppable():
            cell = make()
        magics.session.stop_running = cell.stop
        cell.show(buttons=True)
        with thread.interruptible(cell.stop):
            with cell.page_asked():
                failure = await thread.carry_out(cell.work, cell.stop)
            cell.end(failure)
            if cell.proves:
                await thread.carry_out(cell.prove, cell.stop)
            await cell.write_back()
        cell.conclude(failure)


def carry_out_blocking(magics: SmolMagic, make: Callable[[], AgentCell]) -> None:
    """The same where nothing can be awaited."""
    thread = Blocking()
    with magics.session.busy("An agent is at work"):
        with stoppable():
            cell = make()
        magics.session.stop_running = cell.stop
        cell.show(buttons=False)
        with thread.interruptible(cell.stop):
            failure = thread.carry_out(cell.work)
            cell.end(failure)
            if cell.proves:
                thread.carry_out(cell.prove)
            cell.write_one_cell()
        cell.conclude(failure)


class AgentCell:
    """One run of an agent as a cell. Made, shown and ended on the cell's thread; `work` runs on another.

    Raises CellError for whatever can be known to be wrong before anything is run.
    """

    def __init__(self, magics: SmolMagic, options: RunOptions, task: str) -> None:
        self._begin(magics, options)
        self._task = task.strip()
        if not self._task:
            raise CellError("The task is empty: write what the agent shall do in the lines below %%agent.")
        variables = self._shell.user_ns
        self._inputs = namespace.inputs(options.inputs, variables)
        agents = namespace.agents(options.agents, variables)
        self._images = namespace.images(options.images, variables)
        self._answer_name = namespace.answer_name(options.output, self._inputs, variables)
        self._proof = CellProof(self._session, self._transcript, options, self._inputs, self._answer_name, variables)
        offered = magics.tell_unseen()
        anew = options.continued and self._session.is_empty and not self._in_agent_kernel  # there each task goes on
        try:
            model = self._session.model_for(options, variables)
            _refuse_unknown_demo(model, self._task)
            own, mcp = namespace.tools(variables), self._session.mcp_tools(options.mcp)
            self._agent = self._session.agent_for(options, model, [*own, *mcp], agents)
            namespace.check_no_tools(self._inputs, self._agent)
        except SmolError as error:
            raise CellError(str(error)) from None
        if anew:
            magics.tell_anew(offered)
        if options.continued:
            self._take_over()
        self._given = namespace.given(options, self._agent, own, mcp, agents, variables)
        asked = options.prove_cell
        self._view = make_view(self._shell, magics.view, self._transcript, self.stop, self._has_child, asked=asked)

    def _begin(self, magics: SmolMagic, options: RunOptions) -> None:
        self._shell, self._session, self._options = magics.shell, magics.session, options
        self._place = Place.of(self._shell)
        self._in_agent_kernel = front(self._shell) == "agent-kernel"
        self._transcript, self._stopping = Transcript(), False
        self._taken_over = False
        """Whether the agent is that of the session's conversation."""
        self._run = secrets.token_hex(4)
        self._account_seen = False  # the page that sent the cell has said that it shows the account
        self._account_bytes = 0
        self._enough = asyncio.Event()
        """Set once nobody wants to wait for the page any more."""
        self._waits_on: asyncio.AbstractEventLoop | None = None

    def show(self, *, buttons: bool) -> None:
        """Display the view. Without `buttons` it has no Stop button, because no click would arrive."""
        self._view.show(self._task, self._run, buttons=buttons)

    def page_asked(self) -> AbstractContextManager[None]:
        """Meanwhile the page may say that it is there, so that it gets time to take the cells."""
        return early(self._place, self._session.pages)

    def stop(self) -> None:
        """Stop the run: a button, an interrupt. Safe from any thread, more than once, and after the end."""
        self._view.stopping()
        if self._waits_on is not None:
            self._waits_on.call_soon_threadsafe(self._enough.set)
        if self.proves:  # the run has ended
            self._proof.stop()
            return
        self._stopping = True
        self._agent.interrupt()

    def _has_child(self) -> bool:
        return getattr(getattr(self._agent, "python_executor", None), "started", True)

    def work(self) -> None:
        """The run itself, on its own thread."""
        for event in self._events():
            self._view.feed(event)
            if self._stopping and isinstance(event, RunStarted):
                self._agent.interrupt()  # a stop that came before the run began is forgotten when it begins

    def _take_over(self) -> None:
        self._taken_over = True
        self._session.begin(self._agent, self._options)

    def _events(self) -> Iterator[Event]:
        """The run is a new conversation of the notebook once it can begin: until then that is as it was."""
        events = self._agent.run_events(
            self._task,
            reset=not self._options.continued,
            images=self._images or None,
            additional_args=self._inputs,
            max_steps=self._options.max_steps,
            origin={**self._origin(), **self._given},
            run_id=self._run,
        )
        try:
            for event in events:
                ended = isinstance(event, RunFinished) and event.state in ("error", "interrupted")
                unasked = isinstance(event, RunStarted | InputsDigested) or (ended and not self._agent.life.sent)
                if not (self._taken_over or unasked):
                    self._take_over()
                yield event
        finally:
            if not self._taken_over and (executor := getattr(self._agent, "python_executor", None)) is not None:
                executor.cleanup()

    def _origin(self) -> dict[str, Any]:
        """Where the run is started, and what its cell wants of the finished work, which one that takes it up keeps."""
        here = {**origin(self._shell, self._place), "answer_name": self._answer_name}
        said = {"write": self._options.write, "prove_cell": self._options.prove_cell}
        return here | {name: value for name, value in said.items() if value != getattr(RunOptions, name)}

    def end(self, failure: BaseException | None) -> None:
        """Fold the view, display the account, and put the answer into the notebook."""
        transcript = self._transcript
        self._view.fold(failure, proves=self.proves)
        if self._goes_on:
            self._view.say(self._goes_on)
        if transcript.run:
            last = self._session.last
            if self._taken_over or last is None or not last.steps:  # one that did not begin takes no other's place
                self._session.last, self._session.last_answer_name = transcript, self._answer_name
            transcript.how_to_save = SAVE_FILES
        try:
            if self._answer_name and transcript.answered and transcript.state in ("success", *AT_LIMIT):
                self._shell.user_ns[self._answer_name] = decode(transcript.answer)
                self._session.answers.add(self._answer_name)
        finally:  # what goes wrong with the one does not cost the other
            if self._leaves_account:
                data, metadata = account(transcript)
                self._account_bytes = sum(map(len, data.values()))
                display(data, metadata=metadata, raw=True)

    @property
    def _leaves_account(self) -> bool:
        # Where a run failed before the model said anything, the line that the cell ends with tells it all.
        run = self._transcript
        failed_at_once = run.state == "error" and not any(step.reply for step in run.steps)
        return bool(run.run) and not failed_at_once and self._view.leaves_account

    @property
    def proves(self) -> bool:
        """Whether the run has ended with finished work that is to be proved, and somebody takes it."""
        usual = self._options.prove and not self._place.unattended
        return self._writes and (self._options.prove_cell or usual)

    def prove(self) -> None:
        """Prove the finished work, on its own thread; the account stands there already."""
        with self._view.proving():
            self._proof.prove()

    async def write_back(self) -> None:
        """Insert the script below the cell, or offer it as one next cell where no page takes it."""
        script, place = self._script(), self._place
        run = self._transcript.run
        cells = notebook_cells(script, run, place.cell_id, self._proof.proof)
        account = f"its account: %agent show {run}" if run else ""
        # Without cells it only learns whether the page is still there to show the account.
        behind = self._account_bytes
        if not self._was_stopped:  # else more of the same may come: ■ pressed in a row
            self._waits_on = asyncio.get_running_loop()
        written = await write(cells, place, self._session.pages, self._enough, replace=bool(script), behind=behind)
        self._waits_on = None
        if written is None:
            self.write_one_cell(script)
            if place.cell_id is not None:
                self._view.retire(account, self._proved, export_hint(run) if script else "", self._goes_on)
            return
        self._session.taken_away |= dict.fromkeys(written.sent, written.date)
        self._account_seen = written.by_sender and written.shown
        shown = self._account_seen or (written.by_sender and not self._leaves_account)
        if shown:
            self._session.seen(run)
        below = more = ""
        gone = ". The ones that they replace were not run" if written.sent else ""
        if written.inserted:
            kept = f", {written.kept} kept" if written.kept else ""
            below = f"{counted(written.inserted, 'cell')} inserted below{kept}: read before you run{gone}"
            more = "Edit > Undo Cell Operation takes them away"
        elif written.kept:
            below = f"the cells below are those of this run as well{gone}"
        if staying := written.edited + written.locked:
            how = " or ".join(["edited"] * bool(written.edited) + ["locked"] * bool(written.locked))
            more = f"{counted(staying, 'cell')} that you {how} {'stays' if staying == 1 else 'stay'} below them"
        if written.lost and script:  # not as one cell as well: they may be there
            below, more = "the page took its cells, and did not say that they are there", export_hint(run)
        if below or not shown:
            self._view.say("" if shown else account, self._proved, below, more, self._goes_on)

    @property
    def _was_stopped(self) -> bool:
        proof = self._proof.proof
        return self._stopping or (proof is not None and proof.reason == STOPPED)

    @property
    def _proved(self) -> str:
        """What came of the proof, if there was one, and why where nobody sees the cells, which tell it."""
        proof, place = self._proof.proof, self._place
        if proof is None:
            return ""
        if proof.reason == STOPPED:
            return f"{proof.word} (the proof was stopped: cells that wait go on)"
        why = proof.reason if place.in_console or place.unattended else ""
        return f"{proof.word}: {why}" if why else proof.word

    def write_one_cell(self, script: Sequence[ScriptCell] | None = None) -> None:
        """Offer the script as the one next cell that every front end knows how to take."""
        script = self._script() if script is None else script
        if not script:
            return
        if self._place.in_console:  # JupyterLab's would put it over the task itself
            how = "%agent export FILE --script writes it, as .py or .ipynb"
            print(f"{self._proved} · the finished work: {how}" if self._proved else f"The finished work: {how}")
            return
        offered = self._session.offered
        offered.append(as_one_cell(script))
        self._shell.set_next_input("\n\n".join(offered))  # which takes the place of what waited
        self._view.say(self._proved, export_hint(self._transcript.run) if self._place.unattended else "")

    def conclude(self, failure: BaseException | None) -> None:
        """Raise what the cell shall end with, if it did not end well."""
        self._view.end()
        state, answered = self._transcript.state, self._transcript.answered
        if isinstance(failure, KeyboardInterrupt) or state == "interrupted":
            how = "The next cell" if self._in_agent_kernel else "%%agent --continue"
            raise Stopped("The agent was stopped." + f" {how} goes on from here." * self._taken_over)
        if isinstance(failure, BoxUnavailableError) and self._taken_over:
            self._session.drop_executor()
        if failure is not None and not isinstance(failure, SmolError):
            raise failure
        if failure is not None or state == "error" or (state in AT_LIMIT and not answered):
            told = self._transcript.error or "The run ended with an error."
            why = str(failure or told)
            # The account ends with the same words.
            raise CellError(why, shown=self._see_above(failure) if self._account_seen and why == told else None)

    def _see_above(self, failure: BaseException | None) -> str:
        how = "failed" if self._transcript.state == "error" else "ended without an answer"
        goes_on = "%agent resume goes on" if isinstance(failure, AgentGenerationError) else self._goes_on
        return f"The run {how}: see above.{f' {goes_on}.' if goes_on else ''}"

    @property
    def _goes_on(self) -> str:
        """What goes on with a run that a limit has ended."""
        in_circles = (self._transcript.error or "").startswith(IN_CIRCLES)  # more of the same helps nobody
        if self._transcript.state == "max_steps_error" and not in_circles:
            return f"%agent resume --max-steps {2 * self._transcript.max_steps} goes on"
        how = "the next cell" if self._in_agent_kernel else "%%agent --continue"
        return f"{how} goes on" if self._transcript.state in AT_LIMIT else ""

    @property
    def _writes(self) -> bool:
        """Whether there is finished work, and it is wanted."""
        # In the Agent kernel a cell of Python would be read as the next task.
        return self._options.write and not self._in_agent_kernel and self._transcript.state == "success"

    def _script(self) -> list[ScriptCell]:
        """The finished work, if there is some and it is wanted."""
        return self._proof.cells() if self._writes else []


def _refuse_unknown_demo(model: Model, task: str) -> None:
    """A task that the demo has no script for is refused before anything runs."""
    if isinstance(model, DemoModel) and not model.knows(task):
        raise ConfigError(refusal(task))
