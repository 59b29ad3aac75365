"""Merges options, settings and environment, and builds the model, the tools and the agent from them.

The notebook magics and the command line share the options defined here, under the same names.
"""

from __future__ import annotations

import difflib
import math
import os
import shlex
from argparse import ArgumentParser
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from smol_kernel.agents.code_agent import CodeAgent
from smol_kernel.agents.multi_step import MultiStepAgent
from smol_kernel.agents.tool_calling_agent import ToolCallingAgent
from smol_kernel.budget_options import add_limits, given_limits
from smol_kernel.errors import ConfigError, ReplayError
from smol_kernel.events import RunResumed, RunStarted
from smol_kernel.executors.launchers.settings import Limits, settings_for, wants_box, why_off
from smol_kernel.journal import Journal
from smol_kernel.memory.budget import Budget, at_least_one
from smol_kernel.memory.monitoring import LogLevel
from smol_kernel.models.base import Model
from smol_kernel.models.cassette import MODES, CassetteModel, mode_of
from smol_kernel.models.named import MODEL_VARIABLE, make_model, names_in, require_no_cassette
from smol_kernel.parsing import expression
from smol_kernel.tools.base import RESERVED_NAMES, Tool

CASSETTE_VARIABLE = "SMOL_CASSETTE"
TAKEN_NAMES = {**RESERVED_NAMES, "final_answer": "it ends the run"}
"""Names that no input may have, and for what actions need them."""
TYPES = {"code": CodeAgent, "tool-calling": ToolCallingAgent}
"""What `--type` may be."""
BOX_LIMITS = [each.name for each in fields(Limits)]
"""What `--box-limit` may set."""
_IMAGES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8")  # PNG, JPEG, GIF
LARGEST_IMAGE = 20 << 20  # bytes of a file that is given as an image; providers take less


@dataclass
class RunOptions:
    """The options of one run, as `%%agent` and `smol run` take them.

    `models` are names, each asked when the one before it failed; `cassette` is the file that keeps or gives replies;
    `inputs` are the names (on the command line NAME=FILE) handed to the agent; `images` are names or files shown to the
    model; `output` is the name (or file) that receives the answer; `tools` are names of built-in tools, `mcp` MCP
    servers, `agents` names of agents that it may call; `timeout` is the child's own time per action in seconds, None
    for no limit; `checks` are expressions of the answer, tried in the child; `box`, `network`, `allow_hosts`, `mounts`
    and `limits` are those of KernelExecutor; `box_told` says whether one was given for this very run, as `model_told`,
    `address_told`, `cassette_told` and `mode_told` do of those; `usual_models` are those set for all runs.
    """

    models: list[str] = field(default_factory=list)
    api_base: str | None = None
    cassette: str | None = None
    cassette_mode: str | None = None
    type: str = "code"
    instructions: str | None = None
    inputs: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    output: str | None = None
    tools: list[str] = field(default_factory=list)
    mcp: list[str] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)
    max_steps: int = 20
    timeout: float | None = 300.0
    budget: Budget | None = None
    plan: int | None = None
    checks: list[str] = field(default_factory=list)
    write: bool = True
    prove: bool = True
    prove_cell: bool = False
    continued: bool = False
    box: bool | None = None
    network: str = "none"
    allow_hosts: list[str] = field(default_factory=list)
    mounts: list[str] = field(default_factory=list)
    limits: dict[str, Any] = field(default_factory=dict)
    box_told: bool = False
    model_told: bool = False
    usual_models: list[str] = field(default_factory=list)
    address_told: bool = False
    cassette_told: bool = False
    mode_told: bool = False

    @property
    def box_kwargs(self) -> dict[str, Any]:
        """The box as parameters of a child kernel; without one nothing else counts."""
        if not wants_box(self.box):
            return {"box": False}
        return {name: getattr(self, name) for name in ("box", "network", "allow_hosts", "mounts", "limits")}

    @property
    def of_interpreter(self) -> dict[str, Any]:
        """Those that `--tool python_interpreter` is made with, for the origin of a run that has it."""
        given = {"timeout": self.timeout, **self.box_kwargs}
        return {"interpreter": given} if "python_interpreter" in self.tools else {}


def add_options(parser: ArgumentParser, defaults: RunOptions | None = None, *, notebook: bool = True) -> None:
    """Add the options of a run to `parser`; read them back with `read_options`. Without `notebook` those are left out
    that only a notebook can follow, and names stand for files."""
    known = defaults or RunOptions()
    parser.set_defaults(agents=[], write=True, prove_cell=False, continued=False, known=known)

    def several(group: Any, *flags: str, dest: str, metavar: str, help: str) -> None:
        group.add_argument(*flags, dest=dest, action="append", default=[], metavar=metavar, help=help)

    name, file = ("NAME", "NAME") if notebook else ("NAME=FILE", "FILE")
    task = parser.add_argument_group("task and answer")
    given = "hand this variable to the agent; may be repeated, or a,b,c"
    several(task, "--in", "-i", dest="inputs", metavar=name,
            help=given if notebook else "hand this file to the agent as NAME; may be repeated")  # fmt: skip
    several(task, "--image", dest="images", metavar=file, help="show this image to the model; may be repeated")
    task.add_argument("-o", "--out", dest="output", metavar=file, help="put the answer here")
    task.add_argument("--instructions", metavar="TEXT", help="added to the system prompt")
    several(task, "--check", dest="checks", metavar="EXPR",
            help="accept no answer for which this is false: --check 'answer > 0'; may be repeated")  # fmt: skip
    if notebook:
        cells = task.add_mutually_exclusive_group()
        cells.add_argument("--no-write", dest="write", action="store_false", help="do not write the finished work back")
        cells.add_argument("--prove-cell", action="store_true",
                           help="end the finished work with a cell that checks the answer again")  # fmt: skip
        task.add_argument("--continue", dest="continued", action="store_true", default=False,
                          help="go on in the last conversation and its kernel")  # fmt: skip

    agent = parser.add_argument_group("agent")
    several(agent, "--model", "-m", dest="models", metavar="NAME",
            help="LiteLLM name, or demo; of several, or a,b, each is asked when the one before it failed")  # fmt: skip
    agent.add_argument("--api-base", metavar="URL", help="address of your own model server")
    agent.add_argument("--cassette", default=known.cassette, metavar="FILE", help="keep its replies here, to replay")
    agent.add_argument("--cassette-mode", choices=MODES, default=known.cassette_mode,
                       help="replay: what the file has; record: anew; auto (default): both")  # fmt: skip
    agent.add_argument("--type", choices=list(TYPES), default="code", help="how it acts (default: code)")
    agent.add_argument("--plan", type=int, metavar="N", help="make a plan first, and anew every N steps")
    agent.add_argument("--timeout", type=float, default=known.timeout, metavar="SECONDS",
                       help="the kernel's own time for one action; 0 for no limit")  # fmt: skip
    several(agent, "--tool", dest="tools", metavar="NAME", help=f"built-in tool, may be repeated: {', '.join(TOOLS)}")
    several(agent, "--mcp", dest="mcp", metavar="SERVER",
            help="tools of this MCP server, a URL or a command; may be repeated. The server is code you trust: a "
            "command runs on this machine with your rights, and what a server answers steers the agent")  # fmt: skip
    if notebook:
        several(agent, "--agent", dest="agents", metavar="NAME",
                help="variable that holds an agent it may call; may be repeated")  # fmt: skip

    box = parser.add_argument_group("box", "What the agent's code may reach. Without one it has all rights of yours.")
    box.add_argument("--box", choices=["on", "off"], help="run the agent's code in a box (default), or without one")
    box.add_argument("--network", choices=["none", "full"], help="what it reaches of the network (default: none)")
    several(box, "--allow-host", dest="allow_hosts", metavar="HOST",
            help="let it reach this host: example.org, *.example.org or NAME:PORT; may be repeated")  # fmt: skip
    several(box, "--mount", dest="mounts", metavar="PATH[:rw]",
            help="show it this file or folder as well, read-only or, with :rw, writable; may be repeated")  # fmt: skip
    several(box, "--box-limit", dest="limits", metavar="NAME=VALUE",
            help=f"what it may use at most, as in memory=8GB: {', '.join(BOX_LIMITS)}; may be repeated")  # fmt: skip

    limits = parser.add_argument_group("limits", "At one of them the run ends, with the best answer so far.")
    limits.add_argument("--max-steps", type=int, default=known.max_steps, metavar="N", help="steps of the run")
    add_limits(limits)


def read_options(parsed: Any) -> RunOptions:
    """The RunOptions in what a parser with `add_options` returned. Raises ConfigError for values out of range."""
    at_least_one("--max-steps", parsed.max_steps)
    if parsed.plan is not None:
        at_least_one("--plan", parsed.plan)
    if parsed.timeout is not None and not 0 <= parsed.timeout < math.inf:
        raise ConfigError(f"--timeout is {parsed.timeout:g}: give seconds, or 0 for no limit")
    for name in parsed.tools:
        if name not in TOOLS:
            raise ConfigError(f"--tool {name}: there is no such built-in tool; there are {', '.join(TOOLS)}")
    for check in parsed.checks:
        _read_check(check, parsed.type)
    limits = given_limits(parsed)
    return RunOptions(
        models=names_in(parsed.models) or parsed.known.models,
        model_told=bool(names_in(parsed.models)),
        usual_models=parsed.known.models,
        address_told=parsed.api_base is not None,
        cassette_told=parsed.cassette != parsed.known.cassette,
        api_base=parsed.known.api_base if parsed.api_base is None else parsed.api_base,
        cassette=parsed.cassette,
        cassette_mode=parsed.cassette_mode,
        mode_told=parsed.cassette_mode != parsed.known.cassette_mode,
        type=parsed.type,
        instructions=parsed.instructions,
        inputs=names_in(parsed.inputs),
        images=parsed.images,
        output=parsed.output,
        tools=list(dict.fromkeys(parsed.tools)),
        mcp=parsed.mcp,
        agents=names_in(parsed.agents),
        max_steps=parsed.max_steps,
        timeout=parsed.timeout or None,
        budget=Budget(**limits) if limits else None,
        plan=parsed.plan,
        checks=parsed.checks,
        write=parsed.write,
        prove=parsed.known.prove,
        prove_cell=parsed.prove_cell,
        continued=parsed.continued,
        **_read_box(parsed),
    )


def _read_box(parsed: Any) -> dict[str, Any]:
    """The fields of the box. An option takes the place of the setting, --box off that of all of them."""
    known: RunOptions = parsed.known
    hosts, network = names_in(parsed.allow_hosts), parsed.network
    given = {"--box": parsed.box, "--network": network, "--allow-host": hosts, "--mount": parsed.mounts,
             "--box-limit": parsed.limits}  # fmt: skip
    told = [option for option, value in given.items() if value]
    if told and parsed.type != "code" and "python_interpreter" not in parsed.tools:
        raise ConfigError(
            f"{told[0]}: an agent of --type {parsed.type} runs no code, and its tools run here, outside any box; "
            "leave it out, or give the agent --tool python_interpreter"
        )
    box = known.box if parsed.box is None else parsed.box == "on"
    if not wants_box(box) and (useless := [each for each in told if each != "--box" and given[each] != "full"]):
        raise ConfigError(f"{useless[0]}: only a box can hold to it, and {why_off(box)}; leave one of the two out")
    read: dict[str, Any] = {
        "box": box,
        "network": network or ("none" if hosts else known.network),
        "allow_hosts": hosts or ([] if network else known.allow_hosts),
        "mounts": parsed.mounts or known.mounts,
        "limits": {**known.limits, **dict(each.partition("=")[::2] for each in parsed.limits)},
    }
    settings_for(**RunOptions(**read).box_kwargs)
    return {**read, "box_told": bool(told)}


def _read_check(check: str, type: str) -> None:
    """Raises ConfigError for what is no expression, and where there is no kernel to try it in."""
    if type != "code":
        raise ConfigError(f"--check {check}: checks are tried in the agent's kernel, which needs --type code")
    try:
        expression(check)
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"--check {check}: this is no Python expression ({error.args[0]})") from None


def model_of(options: RunOptions, variables: Mapping[str, Any] | None = None) -> Model:
    """The model that the options name, behind their cassette if they have one; to replay that no model is needed."""
    file = options.cassette or os.environ.get(CASSETTE_VARIABLE)
    beside = options.usual_models if options.model_told and not options.address_told else None
    if not file:
        require_no_cassette(options.models, variables or {}, options.cassette_mode, told=options.mode_told)
        return make_model(options.models, options.api_base, variables, beside)
    mode, there = mode_of(options.cassette_mode), Path(file).expanduser().exists()
    if not options.models and (mode == "replay" or (mode == "auto" and there and not os.environ.get(MODEL_VARIABLE))):
        return CassetteModel(None, file, mode)
    model = make_model(options.models, options.api_base, variables, beside)
    return model if isinstance(model, CassetteModel) else CassetteModel(model, file, mode)


def _interpreter(options: RunOptions) -> Tool:
    from smol_kernel.executors.interpreter_tool import PythonInterpreterTool

    return PythonInterpreterTool(timeout_seconds=options.timeout, executor_kwargs=options.box_kwargs)


def _builtin(kind: str) -> Callable[[RunOptions], Tool]:
    def make(_: RunOptions) -> Tool:
        from smol_kernel.tools import defaults

        return getattr(defaults, kind)()

    return make


TOOLS: dict[str, Callable[[RunOptions], Tool]] = {
    "web_search": _builtin("DuckDuckGoSearchTool"),
    "visit_webpage": _builtin("VisitWebpageTool"),
    "wikipedia_search": _builtin("WikipediaSearchTool"),
    "user_input": _builtin("UserInputTool"),
    "python_interpreter": _interpreter,
}
"""Built-in tools by the names that `--tool` takes, each made when it is asked for."""


def builtin_tools(options: RunOptions, names: Sequence[str], besides: Sequence[Tool] = ()) -> list[Tool]:
    """Those of `names`; of `besides` one of the same name goes first."""
    there = {tool.name for tool in besides}
    return [make(options) for name, make in TOOLS.items() if name in names and name not in there]


def given_by(options: RunOptions, agent: MultiStepAgent, own: Collection[str], mcp: Sequence[Tool]) -> dict[str, str]:
    """By which option tools that are not the user's `own` came to the agent: "--mcp", or "--tool" and its class."""
    found = {tool.name: "--mcp" for tool in mcp}
    for name in options.tools:
        if name not in own and name not in found:
            as_usual = name != "python_interpreter" or options.of_interpreter == RunOptions(tools=[name]).of_interpreter
            found[name] = f"--tool {type(agent.tools[name]).__name__}" if as_usual else "--tool"
    return found


def recorded_start(journal: Journal, run: str) -> tuple[RunStarted, type[Any]]:
    """How a recorded run began, but with the model that it went on with last, and the class of its agent. Raises
    ReplayError where that is none of `TYPES`."""
    (started, *later), kinds = journal.events(run), {kind.__name__: kind for kind in TYPES.values()}
    if not isinstance(started, RunStarted) or started.agent not in kinds:
        raise ReplayError(f"run {run} is of a class of its own: resume it from Python, with resume() of that class")
    for event in later:
        if isinstance(event, RunResumed) and event.run == run and event.model:
            again = {"model": event.model, "named_as": event.named_as, "server": event.server}
            started = replace(started, **again, scripted=event.scripted)
    return started, kinds[started.agent]


def connect(servers: Sequence[str]) -> Any:
    """The MCPClient of the servers that `--mcp` names, connected; its `disconnect()` is the caller's to call. Raises
    ConfigError for one that is neither a URL nor a command, and what MCPClient raises."""
    from smol_kernel.tools.mcp import MCPClient

    return MCPClient([_read_server(server) for server in servers])


def _read_server(server: str) -> str | dict[str, Any]:
    if "://" in server.strip().partition(" ")[0]:
        return server.strip()
    try:
        words = shlex.split(server)
    except ValueError as error:
        raise ConfigError(f"--mcp {server}: the command cannot be read ({error})") from None
    if not words:
        raise ConfigError("--mcp is empty: give the URL of an MCP server, or the command that starts one")
    return {"command": words[0], "args": words[1:]}


def read_image(path: Path, option: str) -> bytes:
    """The image in the file `path`, as it is there. Raises ConfigError, which names the `option`, for any other."""
    try:
        if path.stat().st_size > LARGEST_IMAGE:
            raise ConfigError(f"{option}: the file is larger than {LARGEST_IMAGE >> 20} MB; models take smaller images")
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{option}: {error.strerror}") from None
    if not data.startswith(_IMAGES) and not (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
        raise ConfigError(f"{option}: the file is no image; there are PNG, JPEG, GIF and WebP")
    return data


def nearest_option(word: str, parser: ArgumentParser) -> str | None:
    """The option of `parser` that `word`, which is none, may have been meant for."""
    known = {option.lstrip("-"): option for action in parser._actions for option in action.option_strings}
    close = difflib.get_close_matches(word.lstrip("-"), known, n=1)
    return known[close[0]] if close else None


def make_agent(
    options: RunOptions,
    model: Model,
    tools: Sequence[Tool] = (),
    *,
    agents: Sequence[Any] = (),
    journal: Journal | str | Path | bool | None = None,
) -> MultiStepAgent:
    """A silent agent for a front that draws the events itself, with the built-in tools that the options name besides
    `tools`, of which one of the same name goes first. Raises SmolError for what cannot be used together."""
    kind = TYPES[options.type]
    if kind is ToolCallingAgent and model.model_id == "demo":
        raise ConfigError("--type tool-calling: the demo's replies are code; leave --type out")
    child = {"timeout_seconds": options.timeout, **options.box_kwargs}
    own: dict[str, Any] = {"executor_kwargs": child} if kind is CodeAgent else {}
    return kind(
        tools=[*tools, *builtin_tools(options, options.tools, tools)],
        model=model,
        managed_agents=agents,
        instructions=options.instructions,
        max_steps=options.max_steps,
        planning_interval=options.plan,
        checks=options.checks,
        budget=options.budget,
        stream_outputs=True,
        verbosity_level=LogLevel.OFF,
        journal=journal,
        **own,
    )
