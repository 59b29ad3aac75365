"""What `%agent resume` and `%agent fork` do: a cell like that of `%%agent`, with a recorded run that goes on.

IPython calls `resumed_cell` (the cell rewritten to an await) or, where a cell cannot await, `resumed_cell_blocking`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from smol_kernel.budget_options import add_going_on, given_limits
from smol_kernel.config import builtin_tools, recorded_start
from smol_kernel.errors import SmolError
from smol_kernel.events import Event, RunStarted
from smol_kernel.memory.monitoring import LogLevel
from smol_kernel.models.base import Model
from smol_kernel.models.named import is_chosen, is_named, model_to_go_on, names_in
from smol_kernel.runs.conversation import starts
from smol_kernel.runs.made_again import options_of_interpreter
from smol_kernel.runs.recording import is_foreign
from smol_kernel.runs.resuming import prepare, prepare_fork
from smol_magic import namespace
from smol_magic.cell import AgentCell, carry_out, carry_out_blocking
from smol_magic.endings import CellError
from smol_magic.invented import spare
from smol_magic.parser import CommandParser
from smol_magic.proving import CellProof
from smol_magic.view import make_view

if TYPE_CHECKING:
    from smol_kernel.journal import RunSummary
    from smol_magic.magics import SmolMagic


async def resumed_cell(magics: SmolMagic, words: Sequence[str]) -> None:
    """Carry out the command; buttons work meanwhile, and cells are inserted. Raises CellError or Stopped."""
    if (chosen := _read(words)) is not None:
        await carry_out(magics, lambda: ResumedCell(magics, chosen))


def resumed_cell_blocking(magics: SmolMagic, words: Sequence[str]) -> None:
    """The same for a cell that cannot await."""
    if (chosen := _read(words)) is not None:
        carry_out_blocking(magics, lambda: ResumedCell(magics, chosen))


class ResumedCell(AgentCell):
    """A recorded run that goes on in a cell, as the line that was read has `chosen`."""

    def __init__(self, magics: SmolMagic, chosen: Any) -> None:
        self._begin(magics, magics.settings())
        self._answer_name = namespace.answer_name(chosen.output, [], self._shell.user_ns)
        self._lives = False
        try:
            self._resumption = self._prepared(magics, chosen)
        except SmolError as error:
            raise CellError(str(error).replace("`smol runs`", "%agent runs")) from None
        self._agent = self._resumption.agent
        spare(self._agent, self._session, self._shell.user_ns)
        self._executor = getattr(self._agent, "python_executor", None)
        self._task, self._run = self._resumption.replay.started.task, self._resumption.replay.run
        began_with = self._resumption.options["additional_args"]
        self._inputs = {name: value for name, value in began_with.items() if value is self._shell.user_ns.get(name)}
        self._proof = CellProof(
            self._session,
            self._transcript,
            self._options,
            self._inputs,
            self._answer_name,
            self._shell.user_ns,
        )
        self._view = make_view(
            self._shell, magics.view, self._transcript, self.stop, self._has_child, asked=self._options.prove_cell
        )

    def _events(self) -> Iterator[Event]:
        """The run goes on in the notebook's conversation once there is something new; until then that is as it was."""
        try:
            for event in self._resumption.events():
                if self._resumption.replay.went_on and not self._taken_over:
                    self._taken_over = True
                    self._session.take_over(self._agent, self._executor, keep_child=self._lives)
                yield event
        finally:
            if not (self._taken_over or self._lives):
                self._agent.cleanup()

    def end(self, failure: BaseException | None) -> None:
        """Of a run that did not go on nothing stays in the session."""
        session = self._session
        last = session.last, session.last_answer_name
        super().end(failure)
        if not self._taken_over:
            session.last, session.last_answer_name = last

    @property
    def _goes_on(self) -> str:
        """Nothing, where a run whose budget is used up did not go on: the next cell is another conversation."""
        return super()._goes_on if self._taken_over or self._transcript.state != "budget" else ""

    def _prepared(self, magics: SmolMagic, chosen: Any) -> Any:
        session, variables = self._session, self._shell.user_ns
        journal = session.journal
        found = journal.find(chosen.run or session.last_here())
        run = found.run
        if self._answer_name is None:
            self._answer_name = self._its_answer_name(chosen, found)
        started, kind = recorded_start(journal, run)
        if not is_foreign(started):
            said = {name: started.origin.get(name) for name in ("write", "prove_cell")}
            self._options = replace(self._options, **{name: it for name, it in said.items() if isinstance(it, bool)})
        model = self._model(magics, chosen, started)
        conversation = starts(journal, started)
        names = list(dict.fromkeys(name for each in conversation for name in each.tools))
        tools = [tool for tool in namespace.tools(variables) if tool.name in names or not is_foreign(started)]
        tools += builtin_tools(replace(self._options, **options_of_interpreter(conversation)), names, tools)
        agents = {name: variables[name] for name in names if _is_agent(variables.get(name))}
        given = dict.fromkeys(name for each in conversation for name in each.inputs)
        self._lives = lives = chosen.command == "resume" and session.has_child_of(run)
        more: dict[str, Any]
        if chosen.command == "fork":
            more = {"step": chosen.step, "instruction": chosen.instruction, "origin": self._origin()}
        else:
            more = {"take_over": chosen.take_over}
        return (prepare_fork if chosen.command == "fork" else prepare)(
            kind,
            run,
            model=model,
            tools=tools,
            journal=journal,
            additional_args={name: variables[name] for name in given if name in variables},
            inputs_found=True,
            max_steps=chosen.max_steps,
            limits=given_limits(chosen),
            accept=chosen.accept,
            repeat=chosen.repeat,
            executor=session.child if lives else None,
            child_lives=lives,
            verbosity_level=LogLevel.OFF,
            managed_agents=[*agents.values()] or None,
            found=[*(tool.name for tool in tools), *agents],
            model_chosen=is_chosen(model, chosen.model, variables, magics.model),
            **more,
        )

    def _its_answer_name(self, chosen: Any, found: RunSummary) -> str | None:
        """The variable that the run's answer goes into. What was recorded elsewhere names none, and a fork of an
        earlier run has none yet."""
        session = self._session
        if session.last is not None and session.last.run == found.run:
            return session.last_answer_name
        if chosen.command == "fork" or not any(session.of_this_notebook([found])):
            return None
        return namespace.answer_name(found.origin.get("answer_name"), [], self._shell.user_ns)

    def _model(self, magics: SmolMagic, chosen: Any, started: RunStarted) -> Model:
        """The one that is named; else the very model of the run, if that was the last one here; else one like it."""
        name, last, variables = chosen.model, self._session.agent, self._shell.user_ns
        its_own = last is not None and (not name or is_named(last.model, names_in([name]), variables))
        if last is not None and its_own and last.run_id == started.run and not chosen.api_base:
            return last.model
        return model_to_go_on(started, name, chosen.api_base, variables, (magics.model, magics.api_base))


def _read(words: Sequence[str]) -> Any:
    """What the command and the words behind it say; None if they ask for help."""
    parser = CommandParser(words[0])
    parser.set_defaults(command=words[0])
    add = parser.add_argument
    add("run", nargs="?", metavar="RUN", help="its id or the beginning of it (default: the last of this notebook)")
    if words[0] == "fork":
        add(
            "--step",
            type=int,
            metavar="N",
            help="the last step that is kept (default: the last before the answer); 0: none",
        )
        add("--instruction", metavar="TEXT", help="tell the model this after that step")
    else:
        add("--take-over", action="store_true", help="also if it is at work on another machine, as far as is known")
    add_going_on(parser)
    add("-o", "--out", dest="output", metavar="NAME", help="put the answer into this variable")
    return parser.read(words[1:])


def _is_agent(value: Any) -> bool:
    from smol_kernel.agents.multi_step import MultiStepAgent

    return isinstance(value, MultiStepAgent)
