"""What one shell keeps from cell to cell: the agent with its child kernel, the last run, and what is running now.

The magics make it and leave it at `shell.smol_session`; the Agent kernel completes and inspects through it.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smol_magic.endings import CellError

if TYPE_CHECKING:
    from smol_kernel.agents.multi_step import MultiStepAgent
    from smol_kernel.config import RunOptions
    from smol_kernel.executors.base import PythonExecutor
    from smol_kernel.journal import Journal, RunSummary
    from smol_kernel.models.base import Model
    from smol_kernel.render.transcript import Transcript
    from smol_kernel.tools.base import Tool
    from smol_magic.place import Place


NO_RUN = "There was no run since this {}. %agent runs lists those in the journal."
_MOST_OFFERED = 10
_SINCE = "kernel was started, nor one before in this notebook as it is saved: save it and try again if there was"


class Session:
    """The conversation of one `shell` and the child kernel it works in.

    `standby` tells how many children shall be ready for those to come."""

    def __init__(self, shell: Any, standby: Callable[[], int] = lambda: 0) -> None:
        self._shell, self._standby = shell, standby
        self.agent: MultiStepAgent | None = None
        self.last: Transcript | None = None
        self.last_answer_name: str | None = None
        """The variable that the answer of the last run goes into."""
        self.running: str | None = None
        """What the cell that runs now is doing, in words; None: nothing runs."""
        self.stop_running: Callable[[], object] | None = None
        """Stops it, from any thread: one that runs in a thread or a subshell is reached by no interrupt."""
        self.pages: set[str] = set()
        """Sessions of the pages that are known to take cells."""
        self.offered: list[str] = []
        """The scripts that the cell that runs now has offered as one next cell."""
        self.invented: dict[str, set[str]] = {}
        """Names that finished work binds for itself, and the sources of its cells that do, as `invented` has them."""
        self.answers: set[str] = set()
        """The variables that answers were put into."""
        self.taken_away: dict[str, str] = {}
        """Cells that the page took away although they had been sent to run: their ids, and when."""
        self._sent: set[str] = set()
        """Ids of the notebook's cells that were run in this kernel."""
        self.model_told = False
        """Whether the conversation has a model of its own, and not the one that is set."""
        self._executor: PythonExecutor | None = None
        self._made_with: Mapping[str, Any] = {}
        """The options of the executor, as an agent records them."""
        self._mcp: Any = None
        """The MCPClient of the servers that were last asked for, which are `_servers`."""
        self._servers: list[str] = []
        self._journal: Journal | None = None
        self._lock = threading.Lock()
        atexit.register(self.close)

    @property
    def journal(self) -> Journal:
        """The journal that runs of this shell are recorded in."""
        if self._journal is None:
            from smol_kernel.journal import Journal

            self._journal = Journal()
        return self._journal

    @property
    def history(self) -> list[str]:
        """The cells that were run in this kernel, as they were typed."""
        manager = getattr(self._shell, "history_manager", None)  # IPython may have none
        return [] if manager is None else list(manager.input_hist_raw)

    @contextmanager
    def busy(self, doing: str) -> Generator[None]:
        """Claims the session for one cell. Raises CellError when another one has it (a tool that runs a cell)."""
        if not self._lock.acquire(blocking=False):
            raise CellError(f"{self.running} in this notebook: wait for its end, or stop it with ■ or %agent stop")
        self.running = doing
        try:
            yield
        finally:
            self.running = self.stop_running = None
            self._lock.release()

    @property
    def isolation(self) -> str | None:
        """How the child of the conversation is boxed; None: there is no child."""
        return None if self._executor is None else self._executor.isolation

    def executor(self, options: RunOptions) -> PythonExecutor:
        """The executor of the current conversation; a new one if there is none."""
        if self._executor is None:
            from smol_kernel.executors.create import create

            self._foresee()
            self._executor = create("local", timeout_seconds=options.timeout, **options.box_kwargs)
            self._made_with = options.box_kwargs
        return self._executor

    def expect(self, options: RunOptions) -> None:
        """A conversation with these options will come: have a child begin, in the background."""
        from smol_kernel.executors.create import create

        self._foresee()
        create("local", timeout_seconds=options.timeout, **options.box_kwargs).expect()

    def _foresee(self) -> None:
        """Other conversations will come, and proofs: have what their children come from, and some ready."""
        from smol_kernel.executors.launchers.zygote import expect
        from smol_kernel.executors.standby import STANDBY

        expect()
        STANDBY.keep(self._standby())

    def model_for(self, options: RunOptions, variables: Mapping[str, Any]) -> Model:
        """The model that the options name. A conversation that is continued keeps its own if none is named for the
        cell, and its own was named so, or none is set; at another address or with another cassette if one is."""
        from smol_kernel.config import model_of
        from smol_kernel.errors import ConfigError
        from smol_kernel.models.cassette import CassetteModel
        from smol_kernel.models.named import MODEL_VARIABLE, is_named, require_no_cassette

        if not options.continued or self.agent is None:
            return model_of(options, variables)
        own: Any = self.agent.model
        cassette = own if isinstance(own, CassetteModel) else None
        if options.model_told:
            keeps = not options.address_told and is_named(own, options.models, variables)
        else:
            a_cassette = options.cassette and not options.cassette_told
            keeps = self.model_told or not (options.models or a_cassette or os.environ.get(MODEL_VARIABLE))
        if not keeps:
            return model_of(options, variables)
        if options.address_told:
            if not own.named_as:
                raise ConfigError(
                    f"--api-base: the model of this conversation, {own.model_id}, was made in Python: name one as "
                    "well, with --model"
                )
            if cassette is not None and not options.cassette_told:
                options = replace(options, cassette=str(cassette.path), cassette_mode=cassette.mode)
            return model_of(replace(options, models=own.named_as), {})
        if options.cassette_told:
            return CassetteModel(cassette.model if cassette else own, options.cassette or "", options.cassette_mode)
        require_no_cassette(["own"], {"own": own}, options.cassette_mode, told=options.mode_told)
        return own

    def agent_for(
        self, options: RunOptions, model: Model, tools: Sequence[Tool], agents: Sequence[Any] = ()
    ) -> MultiStepAgent:
        """The agent for the next run. It goes on where the last one is if the conversation is continued, in its child.
        It is that of the conversation from now on only with `begin`.

        Raises SmolError where the options do not serve: a child that runs keeps the box it was started in.
        """
        from smol_kernel.config import make_agent
        from smol_kernel.errors import ConfigError
        from smol_magic.invented import spare

        self._foresee()
        fresh: Any = make_agent(options, model, tools, agents=agents, journal=self.journal)
        known: Any = self.agent
        if options.continued and options.box_told and fresh.writes_code and self._executor is not None:
            running: Any = self._executor
            if running.settings != fresh.python_executor.settings:
                raise ConfigError(
                    f"--continue: the kernel of this conversation was started with other options "
                    f"({'not isolated' if running.isolation == 'none' else running.isolation}) and keeps them. Leave "
                    f"them out, or begin anew: without --continue, or after %agent stop"
                )
        if options.continued and known is not None:
            fresh.memory.steps = list(known.memory.steps)
            fresh.life.run_id = known.life.run_id
            if type(known) is type(fresh) and not fresh.writes_code:
                fresh.state.update(known.state)
                fresh._hands.names.update(known._hands.names)
        if options.continued and fresh.writes_code:  # there may be a child without an agent, started by %%py
            executor: Any = self.executor(options)
            executor.timeout_seconds = options.timeout
            fresh.python_executor = executor
            fresh.executor_kwargs = {**self._made_with, "timeout_seconds": options.timeout}
        if fresh.writes_code:
            fresh.python_executor.expect()  # while the model is asked
        spare(fresh, self, self._shell.user_ns)
        return fresh

    @property
    def is_empty(self) -> bool:
        """Whether there is neither a conversation nor a child."""
        return self.agent is None and not getattr(self._executor, "started", False)

    def begin(self, agent: MultiStepAgent, options: RunOptions) -> None:
        """Have `agent`, which was made for these options, be that of the conversation; the one before ends, unless it
        is continued."""
        if not options.continued:
            self.end_child()
            self._have_executor(getattr(agent, "python_executor", None), agent)
        told = options.model_told or options.address_told or options.cassette_told
        self.model_told = told or (options.continued and self.model_told)
        self.agent = agent

    def has_child_of(self, run: str) -> bool:
        """Whether the conversation here is at this run, and its child still lives."""
        return self.agent is not None and self.agent.run_id == run and bool(getattr(self._executor, "started", False))

    def take_over(self, agent: MultiStepAgent, executor: PythonExecutor | None, *, keep_child: bool) -> None:
        """Have `agent` be that of the conversation, in its own child or in the one that is there. `executor` is its
        own: while a recording is played, the agent holds what plays it."""
        if not keep_child:  # else its child is the other's now
            self.end_child()
        self.agent, self.model_told = agent, True
        self._have_executor(executor, agent)

    def _have_executor(self, executor: PythonExecutor | None, agent: Any) -> None:
        self._executor, self._made_with = executor, getattr(agent, "executor_kwargs", {})

    def drop_executor(self) -> None:
        """Forget an executor that got no child, so that the next cell may ask for another kind."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.cleanup()

    def mcp_tools(self, servers: Sequence[str]) -> list[Tool]:
        """The tools of these MCP servers, which stay connected until others are asked for. Raises SmolError."""
        from smol_kernel.config import connect

        if not servers:
            return []
        if list(servers) != self._servers:
            self._disconnect()
            self._mcp, self._servers = connect(servers), list(servers)
        return self._mcp.get_tools()

    def _disconnect(self) -> None:
        client, self._mcp, self._servers = self._mcp, None, []
        if client is not None:
            client.disconnect()

    def end_child(self) -> None:
        """End the child kernel of the conversation, and those of agents that it could call; safe to repeat."""
        agent, self.agent = self.agent, None
        if agent is not None:
            agent.cleanup()
        self.drop_executor()

    def close(self) -> None:
        """End the conversation, its child and its MCP servers; at exit too. The next cell starts anew."""
        self.end_child()
        self._disconnect()

    @property
    def child(self) -> PythonExecutor | None:
        """Where the actions of the conversation run, if there is such a place."""
        return self._executor

    def complete(self, code: str, cursor_pos: int) -> dict[str, Any]:
        """Completions in the child's namespace, as the content of a `complete_reply`."""
        if complete := getattr(self._executor, "complete", None):
            return complete(code, cursor_pos)
        empty = {"matches": [], "cursor_start": cursor_pos, "cursor_end": cursor_pos, "metadata": {}}
        return {"status": "ok", **empty}

    def inspect(self, code: str, cursor_pos: int, detail_level: int = 0) -> dict[str, Any]:
        """What the child knows of the name at the cursor, as the content of an `inspect_reply`."""
        if inspect := getattr(self._executor, "inspect", None):
            return inspect(code, cursor_pos, detail_level)
        return {"status": "ok", "found": False, "data": {}, "metadata": {}}

    # -- the runs of this notebook

    def note_cell(self) -> None:
        """Note that the cell that the shell runs now is one of its notebook."""
        place = self._place
        if place.cell_id is not None and not place.in_console and ":" not in place.cell_id:
            self._sent.add(place.cell_id)

    @property
    def _place(self) -> Place:
        from smol_magic.place import Place

        return Place.of(self._shell)

    def of_this_notebook(self, runs: Iterable[RunSummary]) -> Iterator[RunSummary]:
        """Those of the recorded `runs` that are known to be; see `whose`."""
        from smol_magic.whose import belongs

        here = origin(self._shell, self._place)
        return (run for run in runs if belongs(run, here, self._sent))

    def last_here(self) -> str:
        """The last run of this conversation, else of this notebook. Raises CellError where there is none."""
        if self.last is not None:
            return self.last.run
        if (found := self._earlier()) is None:
            raise CellError(NO_RUN.format("session began" if front(self._shell) == "terminal" else _SINCE))
        return found.run

    def runs_here(self) -> list[str]:
        """The ids of the last run of this conversation and of the newest of this notebook, as far as can be read."""
        from smol_kernel.errors import JournalError

        ids = [] if self.last is None else [self.last.run]
        with suppress(JournalError):  # the command that they are for says what is wrong
            ids += [run.run for run in islice(self.of_this_notebook(self.journal.runs(limit=-1)), _MOST_OFFERED)]
        return list(dict.fromkeys(ids))

    def _earlier(self) -> RunSummary | None:
        return next(self.of_this_notebook(self.journal.runs(limit=-1)), None)

    def last_before(self) -> RunSummary | None:
        """The last run of this notebook where there was none in this kernel yet."""
        from smol_kernel.errors import JournalError

        with suppress(JournalError):  # a run says what is wrong with the journal
            return self._earlier() if self.last is None else None
        return None

    # -- runs whose page went away

    def unseen(self) -> list[RunSummary]:
        """Runs of this notebook whose account nobody can have seen, newest first; each is told only once."""
        from smol_kernel.errors import JournalError

        here = origin(self._shell, self._place)
        missed: list[RunSummary] = []
        with suppress(JournalError):  # a run says what is wrong with the journal; this is only a courtesy
            for run in self.of_this_notebook(self.journal.unseen()):
                same_page = all(run.origin.get(key) == here[key] for key in ("session", "kernel"))
                if run.state == "unfinished" or not same_page:
                    self.journal.offer(run.run)
                    missed.append(run)
        return missed

    def seen(self, run: str) -> None:
        """Note that the page that started `run` showed its account."""
        from smol_kernel.errors import JournalError

        with suppress(JournalError):  # at worst the run is offered once more
            self.journal.offer(run)


def notebook_path() -> str | None:
    """The notebook this kernel belongs to, as far as Jupyter's server tells."""
    return os.environ.get("JPY_SESSION_NAME") or None


def to_go_on(state: str, run: str = "") -> str:
    """What goes on with a run that ended in `state`: that named, else the last one of the notebook."""
    options = {"max_steps_error": "--max-steps N", "elsewhere": "--take-over", "budget": "--max-… N"}
    command = " ".join(filter(None, ["%agent resume", run, options.get(state)]))
    when = {"elsewhere": ", if that machine is gone", "budget": ", with more of what was used up"}.get(state, "")
    return f" · to go on{when}: {command}"


def export_hint(run: str) -> str:
    """How to get the finished work of a run where no page took its cells."""
    return f"its cells: %agent export FILE {run} --script"


def front(shell: Any) -> str:
    """Which of ours the person works in: "notebook", "agent-kernel" or "terminal"."""
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return "terminal"
    return "agent-kernel" if kernel.implementation == "smol-kernel" else "notebook"


def origin(shell: Any, place: Place) -> Mapping[str, Any]:
    """Where a run starts, for its RunStarted event. Of its kernel the server's connection file, which a restart leaves
    as it is, and an id that is another one then."""
    kernel = getattr(shell, "kernel", None)
    connection = getattr(getattr(kernel, "parent", None), "connection_file", None)
    return {
        "front": front(shell),
        "notebook": notebook_path(),
        "connection": Path(connection).name if connection else None,
        "kernel": getattr(kernel, "ident", None),
        "session": place.session,
        "cell_id": place.cell_id,
    }
