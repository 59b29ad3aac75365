"""What `%agent help` says: the cells there are, and the commands of `%agent`."""

from __future__ import annotations

import textwrap

from smol_magic.lines import WIDTH

COMMANDS = {
    "model": ("%agent model NAME", "use this model from now on: a LiteLLM name, a variable, or demo; or a,b"),
    "show": ("%agent show [RUN]", "the account of a run, the last one if none is named"),
    "runs": (
        "%agent runs [WORD]",
        "the latest runs in the journal (with this word in them); --prune (with --older-than AGE, --keep N) and "
        "--delete RUN take some out, with --yes at once",
    ),
    "resume": (
        "%agent resume [RUN] [options]",
        "go on with a run that was cut off or stopped; --accept, --repeat, --take-over, --max-steps N, --max-cost USD "
        "and other limits, --model NAME, --api-base URL, -o NAME",
    ),
    "fork": (
        "%agent fork [RUN] [options]",
        "go on from a step of a run, as a new one; --step N, --instruction TEXT, and those of resume",
    ),
    "export": (
        "%agent export FILE [RUN]",
        "write a run as .ipynb, .py, .html, .md or .json; --script: the work only (--no-proof: as it was run); --force",
    ),
    "files": (
        "%agent files [save …]",
        "what the agent made in its box; save [NAME …] [--to DIR] [--overwrite] keeps it",
    ),
    "stop": ("%agent stop", "end the agent's conversation, its child kernel and MCP connections"),
    "help": ("%agent help [COMMAND]", "this text, or what it says of one command"),
}
"""Command of `%agent` → how it is written, and what it does."""
_CELLS = (
    ("%%agent [options]", "a task, in the lines below; %%agent --help lists the options"),
    ("%%py", "Python, run in the agent's child kernel"),
    ("%agent", "the settings"),
)
_AGENT_KERNEL_CELLS = (
    ("a plain cell", "a task for the agent, in the conversation that goes on"),
    ("%%agent [options]", "a task with options, in a new one; %%agent --help lists them"),
    ("%%py", "Python, run in the agent's child kernel"),
    ("%%host", "Python, run in this kernel: tools and models are defined here"),
    ("%agent", "the settings"),
)


def help_text(front: str) -> str:
    """All of it, for the front the person works in (see `session.front`)."""
    return _columns(*(_AGENT_KERNEL_CELLS if front == "agent-kernel" else _CELLS), *COMMANDS.values())


def usage(command: str) -> str:
    """How one command is written, and what it does."""
    return _columns(COMMANDS[command])


def _columns(*pairs: tuple[str, str]) -> str:
    """Pairs of usage and text as lines, the texts below each other."""
    width = max(len(usage) for usage, _ in pairs) + 3
    lines: list[str] = []
    for usage, text in pairs:
        first, *more = textwrap.wrap(text, WIDTH - width, break_on_hyphens=False)
        lines += [f"{usage:<{width}}{first}", *(" " * width + line for line in more)]
    return "\n".join(lines)
