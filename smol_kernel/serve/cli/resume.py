"""`smol resume RUN` and `smol fork RUN`: goes on with a recorded run, or from one of its steps as a new run."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from smol_kernel.budget_options import add_going_on, given_limits
from smol_kernel.config import RunOptions, builtin_tools, connect, recorded_start
from smol_kernel.errors import ConfigError
from smol_kernel.events import RunStarted
from smol_kernel.journal import Journal
from smol_kernel.memory.known_secrets import without_secret_words
from smol_kernel.memory.monitoring import LogLevel
from smol_kernel.models.named import is_chosen, model_to_go_on
from smol_kernel.render.plain import one_line
from smol_kernel.runs.conversation import starts
from smol_kernel.runs.made_again import beginning, options_of_interpreter
from smol_kernel.runs.resuming import Resumption, prepare, prepare_fork
from smol_kernel.serve.cli.demo import demo_tools
from smol_kernel.serve.cli.run import add_save_files, finish, handed_in, note_places, read_inputs

WHICH = "the run's id or the beginning of it; last: the newest run"


def add_commands(commands: Any) -> None:
    """Add `resume` and `fork` to the subcommands."""
    resume = commands.add_parser(
        "resume",
        help="go on with a run that was cut off, stopped, or had reached a limit",
        description="Go on with RUN where it was cut off. Its actions are run again in a fresh box for the sake of "
        "their variables, with the recorded results of tool calls; no tool is called twice. What does not come out the "
        "same is shown, and nothing new is done without --accept. Exit status: as of smol run.",
    )
    fork = commands.add_parser(
        "fork",
        help="go on from a step of a run, as a new run",
        description="Go on from a step of RUN as a new run: with another model, an instruction, or another action. RUN "
        "itself stays as it is. Exit status: as of smol run.",
    )
    fork.add_argument("--step", type=int, metavar="N",
                      help="the last step that is kept (default: the last before the answer, with --action the last of "
                      "all); 0: none")  # fmt: skip
    fork.add_argument("--instruction", metavar="TEXT", help="tell the model this after that step")
    fork.add_argument("--action", type=Path, metavar="FILE.py", help="code in place of that of the step")
    resume.add_argument("--take-over", action="store_true",
                        help="also if it is at work on another machine, as far as is known: it ends there")  # fmt: skip
    fork.set_defaults(command=fork_run)
    resume.set_defaults(command=resume_run)
    for parser in (resume, fork):
        parser.add_argument("run", metavar="RUN", help=WHICH)
        add_going_on(parser)
        parser.add_argument("--in", "-i", dest="inputs", action="append", default=[], metavar="NAME=FILE",
                            help="an input that is too large to be recorded")  # fmt: skip
        parser.add_argument("--mcp", action="append", default=[], metavar="SERVER",
                            help="an MCP server whose tools the run has")  # fmt: skip
        parser.add_argument("-o", "--out", dest="output", metavar="FILE", help="put the answer here")
        add_save_files(parser, "RUN")


def resume_run(arguments: argparse.Namespace) -> int:
    """Carry out `smol resume`; exit status as `smol run`."""
    return _go_on(arguments, prepare, take_over=arguments.take_over)


def fork_run(arguments: argparse.Namespace) -> int:
    """Carry out `smol fork`; exit status as `smol run`."""
    action = None
    if arguments.action is not None:
        try:
            action = arguments.action.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ConfigError(f"--action {arguments.action}: {error}") from None
    return _go_on(arguments, prepare_fork, step=arguments.step, instruction=arguments.instruction, action=action)


def _go_on(arguments: argparse.Namespace, how: Any, **more: Any) -> int:
    note_places(arguments, handed_in(arguments))
    journal = Journal()
    run = journal.find(arguments.run).run
    started, kind = recorded_start(journal, run)
    model = model_to_go_on(started, arguments.model, arguments.api_base)
    earlier = starts(journal, started)
    names = list(dict.fromkeys(name for each in earlier for name in each.tools))
    with ExitStack() as held:
        found = builtin_tools(RunOptions(**options_of_interpreter(earlier)), names) + demo_tools(
            beginning(journal.events(run))
        )
        servers = list(dict.fromkeys(str(server) for each in earlier for server in each.origin.get("mcp") or ()))
        given = held.enter_context(connect(arguments.mcp)) if arguments.mcp else []
        left = [server for server in servers if server not in map(without_secret_words, arguments.mcp)]
        if left and (not given or _lack(earlier, given)):  # never from a record alone: a server is code that is run
            had = (f"--mcp {shlex.quote(one_line(without_secret_words(server), 1000))}" for server in left)
            again = "of more MCP servers: give these as well" if given else "of MCP servers: give them again"
            raise ConfigError(f"run {run} had tools {again}, as in {' '.join(had)}")
        resumption: Resumption = how(
            kind,
            run,
            model=model,
            tools=[*found, *given],
            found=[tool.name for tool in found],
            model_chosen=is_chosen(model, arguments.model),
            journal=journal,
            additional_args=read_inputs(arguments.inputs),
            max_steps=arguments.max_steps,
            limits=given_limits(arguments),
            accept=arguments.accept,
            repeat=arguments.repeat,
            verbosity_level=LogLevel.OFF,
            **more,
        )
        return finish(resumption.agent, resumption.events(), arguments, "run")


def _lack(earlier: Sequence[RunStarted], given: Iterable[Any]) -> bool:
    """Whether the runs had a tool of an MCP server that none of those has that are given now."""
    options = [(name, option) for each in earlier for name, option in (each.origin.get("given") or {}).items()]
    return not {name for name, option in options if option == "--mcp"} <= {tool.name for tool in given}
