"""The magics: `%%agent` runs a task, `%agent` shows and sets, `%%py` runs Python in the agent's child kernel.

Made by `load`; what the cells do is in `cell` and `child_cell`, loaded at their first use.
"""

from __future__ import annotations

import atexit
import difflib
import inspect
import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, cell_magic, line_cell_magic, magics_class, no_var_expand
from traitlets import Bool, CaselessStrEnum, Dict, Enum, Float, Int, List, TraitError, Unicode, observe

from smol_magic import completion
from smol_magic.commands import COMMANDS, help_text, usage
from smol_magic.endings import CellError
from smol_magic.parser import Parser
from smol_magic.rewriting import AwaitRewriting
from smol_magic.session import Session, export_hint, front, to_go_on

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from smol_kernel.config import RunOptions
    from smol_kernel.render.transcript import Transcript

MOST_OFFERED = 5
"""Earlier runs named one by one."""
_TRAIT = re.compile(r"The (?:value of the )?'(\w+)' trait of an? SmolMagic instance")


@magics_class
class SmolMagic(Magics):
    """Settings, as `%config SmolMagic.model = "..."` or `c.SmolMagic.model` in ipython_config.py."""

    model = Unicode("", help="Model to use: a LiteLLM name, a variable of the notebook, or demo.").tag(config=True)
    api_base = Unicode("", help="Address of your own model server.").tag(config=True)
    cassette = Unicode("", help="File in which replies of the model are kept, and played again.").tag(config=True)
    cassette_mode = Enum(["", "auto", "replay", "record"], "", help="How; empty: as SMOL_CASSETTE_MODE says.").tag(
        config=True
    )
    max_steps = Int(20, min=1, help="How many steps a run may take.").tag(config=True)
    timeout = Float(300.0, min=0.0, help="The child's own time for one action, in seconds; 0 for no limit.").tag(
        config=True
    )
    box = Bool(None, allow_none=True, help="False: run the agent's code without a box. None: as SMOL_BOX says.").tag(
        config=True
    )
    network = Enum(["none", "full"], "none", help="What the agent's code reaches of the network.").tag(config=True)
    allow_hosts = List(Unicode(), help="Hosts that the agent's code may reach, with network none.").tag(config=True)
    mounts = List(Unicode(), help="Files and folders that it sees besides this one: PATH or PATH:rw.").tag(config=True)
    limits = Dict(help='What the box may use at most, as in {"memory": "8 GB"}.').tag(config=True)
    standby = Int(1, min=0, help="How many boxed kernels wait for the next conversations, some minutes at most.").tag(
        config=True
    )
    prove = Bool(True, help="Run the finished work again in a box, and say whether it gives the same answer.").tag(
        config=True
    )
    view = CaselessStrEnum(
        ["auto", "widgets", "text"], "auto", help="How a run is shown: widgets where there is a page, else text."
    ).tag(config=True)

    shell: InteractiveShell  # pyright: ignore[reportIncompatibleVariableOverride] - there is one

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self.session = Session(shell, lambda: self.standby)

    @no_var_expand
    @line_cell_magic
    def agent(self, line: str, cell: str | None = None) -> None:
        """Give an agent a task, in the lines below %%agent.

            %%agent --in df -o answer
            In which month were sales highest? Draw it.

        `%%agent --help` lists the options, `%agent help` the commands.
        """
        if cell is None:
            self._command(line)
            return
        from smol_magic.cell import agent_cell_blocking

        agent_cell_blocking(self, line, cell)

    async def run_agent(self, line: str, body: str) -> None:
        """What a `%%agent` cell awaits."""
        from smol_magic.cell import agent_cell

        await agent_cell(self, line, body)

    @no_var_expand
    @cell_magic
    def py(self, line: str, cell: str) -> None:
        """Run the lines below %%py in the agent's child kernel, where its variables are."""
        from smol_magic.child_cell import child_cell_blocking

        child_cell_blocking(self, line, cell)

    async def run_command(self, line: str) -> None:
        """What a cell with `%agent resume` or `%agent fork` alone awaits."""
        from smol_magic.resumed_cell import resumed_cell

        await resumed_cell(self, _words(line))

    async def run_py(self, line: str, body: str) -> None:
        """What a `%%py` cell awaits."""
        from smol_magic.child_cell import child_cell

        await child_cell(self, line, body)

    def settings(self) -> RunOptions:
        """The settings as options of a run, which a line's own take the place of."""
        from smol_kernel.config import RunOptions

        return RunOptions(
            models=[self.model] if self.model else [],
            api_base=self.api_base or None,
            cassette=self.cassette or None,
            cassette_mode=self.cassette_mode or None,
            max_steps=self.max_steps,
            timeout=self.timeout or None,
            box=self.box,
            network=self.network,
            allow_hosts=list(self.allow_hosts),
            mounts=list(self.mounts),
            limits=dict(self.limits),
            prove=self.prove,
        )

    def read_line(self, line: str) -> RunOptions | None:
        """The options of a `%%agent` line; None if it asked for help. Raises CellError for what it cannot read."""
        from smol_kernel.config import add_options, read_options
        from smol_kernel.errors import ConfigError

        parser = Parser(prog="%%agent", add_help=False, allow_abbrev=False)
        add_options(parser, self.settings())
        parser.add_argument("-h", "--help", action="store_true", help="show this text")
        parsed, rest = parser.parse_known_args(_words(line))
        if parsed.help:
            print(parser.format_help().strip())
            return None
        if rest:
            raise CellError(_not_understood(rest, parser))
        try:
            return read_options(parsed)
        except ConfigError as error:
            raise CellError(f"%%agent: {error}") from None

    def tell_unseen(self) -> list[str]:
        """Offer the runs of this notebook whose page was closed or reloaded before they ended, or cut off; gives those
        that are named."""
        from smol_kernel.render.plain import one_line
        from smol_kernel.render.run_line import run_state

        missed = self.session.unseen()
        for run in missed[:MOST_OFFERED]:
            task = one_line(run.task, 60)
            how = {"unfinished": "was cut off", "elsewhere": f"is {run_state(run)}"}.get(
                run.state, f"ended ({run_state(run)}), perhaps unseen"
            )
            then = f" · {export_hint(run.run)}" if run.state == "success" else to_go_on(run.state, run.run)
            print(f"An earlier run here {how}: “{task}”.\n  Its account: %agent show {run.run}{then}")
        if len(missed) > MOST_OFFERED:
            print(f"… and {len(missed) - MOST_OFFERED} more before: %agent runs")
        return [run.run for run in missed[:MOST_OFFERED]]

    def tell_anew(self, offered: Sequence[str]) -> None:
        """Say that there is nothing that `--continue` could go on with, and what goes on with the last run of this
        notebook, unless that was `offered`."""
        print("--continue: there is no conversation here to go on with; a new one begins.")
        last = self.session.last or self.session.last_before()
        if last is not None and last.state == "success":
            print(f'  To go on from the last run: %agent fork {last.run} --instruction "…"')
        elif last is not None and last.state != "running" and last.run not in offered:
            print(f"  The last run is {last.run}{to_go_on(last.state, last.run)}")

    # -- the commands of %agent

    def _command(self, line: str) -> None:
        from smol_kernel.errors import SmolError

        name, *words = _words(line) or [""]
        asks = not {"-h", "--help"}.isdisjoint(words)
        if name in ("-h", "--help"):
            name = "help"
        elif asks and name in ("model", "show", "stop", "help"):  # the others tell theirs themselves
            print(usage(name))
            return
        if name not in COMMANDS and (name or words):
            raise CellError(f"{_no_command(name)} A task goes below %%agent.")
        self.tell_unseen()
        command = getattr(self, f"_{name or 'state'}")
        try:
            inspect.signature(command).bind(*words)
        except TypeError:
            raise CellError(f"usage:\n{usage(name)}") from None
        try:
            command(*words)
        except SmolError as error:
            raise CellError(str(error).replace("`smol runs`", "%agent runs")) from None

    def _state(self) -> None:
        from smol_magic.standing import print_settings

        print_settings(self)

    def _model(self, name: str = "") -> None:
        from smol_kernel.models.named import make_model, names_in

        if not name:
            raise CellError(f"Name a model:\n{usage('model')}")
        model = make_model(name, self.api_base or None, self.shell.user_ns, names_in([self.model]))
        self.model = name
        self._model_is_set()
        if model.slow_start and not self.cassette:
            from smol_kernel.models.litellm import warm_up

            warm_up()
        print(f"model: {name}" + (" (its replies come from a script, not from a model)" if model.scripted else ""))
        self.session.expect(self.settings())

    @observe("model")
    def _model_is_set(self, _: object = None) -> None:
        if hasattr(self, "session"):  # else it is read from a configuration, before there is one
            self.session.model_told = False

    def _stop(self) -> None:
        if self.session.running:
            if self.session.stop_running is None:
                raise CellError(f"{self.session.running} in this notebook: ■ stops it")
            self.session.stop_running()
            print(f"{self.session.running}, and is told to stop. %agent stop once more ends the conversation.")
            return
        self.session.close()
        print(
            "The agent's conversation, its child kernel and MCP connections have ended; the next %%agent starts anew."
        )

    def _files(self, *words: str) -> None:
        from smol_magic.files import files_command

        files_command(self.session, words)

    def _show(self, run: str = "") -> None:
        from IPython.display import display

        from smol_magic.account import account

        transcript = self._transcript(run)
        data, metadata = account(transcript)
        display(data, metadata=metadata, raw=True)  # times and cost are not part of it: `%agent` tells them

    def _runs(self, *words: str) -> None:
        from smol_magic.recorded_runs import runs_command

        runs_command(self.session.journal, words)

    def _resume(self, *words: str) -> None:
        from smol_magic.resumed_cell import resumed_cell_blocking

        resumed_cell_blocking(self, ["resume", *words])

    def _fork(self, *words: str) -> None:
        from smol_magic.resumed_cell import resumed_cell_blocking

        resumed_cell_blocking(self, ["fork", *words])

    def _export(self, file: str, *words: str) -> None:
        from smol_magic.exported import export_command

        export_command(self.session, [file, *words], self._transcript)

    def _help(self, command: str = "") -> None:
        if command and command not in COMMANDS:
            raise CellError(_no_command(command))
        print(usage(command) if command else help_text(front(self.shell)))

    def _transcript(self, run: str) -> Transcript:
        """The run whose id begins with `run`; without one the last of this notebook."""
        from smol_kernel.render.transcript import Transcript

        if not run and self.session.last is not None:
            return self.session.last
        journal = self.session.journal
        found = journal.find(run or self.session.last_here())
        journal.offer(found.run)
        if found.state == "elsewhere":
            print(f"It is {found.whereabouts}.")
        return Transcript.from_events(journal.events(found.run, family=True), cut_off=found.state == "unfinished")


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise CellError(f"cannot read {line!r}: {error}") from None


def _no_command(name: str) -> str:
    close = difflib.get_close_matches(name, COMMANDS, n=1)
    guess = f"Did you mean %agent {close[0]}?" if close else "%agent help lists the commands."
    return f"%agent {name}: there is no such command. {guess}"


def _not_understood(rest: list[str], parser: Parser) -> str:
    options = [word for word in rest if word.startswith("-")]
    if not options:
        return f"%%agent: {' '.join(rest)!r} stands in the first line; the task goes in the lines below it."
    from smol_kernel.config import nearest_option

    close = nearest_option(options[0], parser)
    guess = f"Did you mean {close}?" if close else "%%agent --help lists the options."
    return f"%%agent: there is no option {options[0]}. {guess}"


def _wrong_setting(said: str) -> str:
    """What traitlets said, with the setting as a person wrote it and what to do."""
    found = _TRAIT.match(said)
    if found is None:
        return said
    return (
        f"c.SmolMagic.{found[1]}{said[found.end() :].rstrip('.')}. Set it right where it was set (ipython_config.py), "
        f"or here: %config SmolMagic.{found[1]} = VALUE, then %load_ext smol_magic"
    )


def load(shell: InteractiveShell) -> None:
    """Register magics and transformer with `shell`, and leave the session at `shell.smol_session`. Repeatable.

    Raises CellError for a setting that has a wrong value already, in a profile or by %config.
    """
    if getattr(shell, "smol_session", None) is not None:
        return
    try:
        magics = SmolMagic(shell)
    except TraitError as error:
        raise CellError(_wrong_setting(str(error))) from None
    shell.register_magics(magics)
    shell.smol_session = magics.session  # type: ignore[attr-defined]
    magics.session.note_cell()
    AwaitRewriting(shell)
    completion.install(shell, list(COMMANDS), magics.session.runs_here)


def unload(shell: InteractiveShell) -> None:
    """Undo `load` and end the child."""
    session: Any = getattr(shell, "smol_session", None)
    if session is None:
        return
    if session.running:
        raise CellError(f"{session.running} in this notebook: %agent stop stops it; smol_magic can go then")
    session.close()
    atexit.unregister(session.close)
    shell.smol_session = None  # type: ignore[attr-defined]
    for transformer in {t for t in shell.input_transformers_cleanup if isinstance(t, AwaitRewriting)}:
        transformer.remove()
    completion.uninstall(shell)
    manager = shell.magics_manager
    for kind, name in (("line", "agent"), ("cell", "agent"), ("cell", "py")):
        manager.magics[kind].pop(name, None)
    with suppress(KeyError, ValueError):
        shell.configurables.remove(manager.registry.pop("SmolMagic"))
