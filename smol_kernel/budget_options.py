"""The options of the budget, as `%%agent` and `smol run` take them, and those of what goes on with a run."""

from __future__ import annotations

import math
from typing import Any

from smol_kernel.errors import ConfigError

_OPTIONS = {
    "max_cost": ("cost", float, "USD", "USD that model calls may cost"),
    "max_input_tokens": ("input_tokens", int, "N", "tokens that the model may read in all"),
    "max_output_tokens": ("output_tokens", int, "N", "tokens that the model may write in all"),
    "max_seconds": ("seconds", float, "SECONDS", "wall time of the run"),
    "max_tool_calls": ("tool_calls", int, "N", "calls of tools and agents"),
}
"""Name → field of Budget, type, placeholder, help."""


def add_limits(parser: Any) -> None:
    """Add them to an argparse parser, or to a group of one; read them back with `given_limits`."""
    for dest, (_, kind, metavar, help) in _OPTIONS.items():
        parser.add_argument(f"--{dest.replace('_', '-')}", type=kind, metavar=metavar, help=help)


def add_going_on(parser: Any) -> None:
    """Add the options of a run that goes on, whichever front asks for it: limits take the place of its own."""
    add = parser.add_argument
    add("--model", "-m", metavar="NAME", help="the model to ask (default: the run's)")
    add("--api-base", metavar="URL", help="address of your own model server")
    add("--max-steps", type=int, metavar="N", help="steps of the run in all")
    add("--accept", action="store_true", help="go on although something does not replay the same")
    add("--repeat", action="store_true",
        help="make a call again of which it is not known whether it was made, and give actions their hosts while they "
        "are run again")  # fmt: skip
    group = parser.add_argument_group(
        "limits", "Each in place of that of the run, and for all of it from its beginning."
    )
    add_limits(group)


def given_limits(parsed: Any) -> dict[str, Any]:
    """Those that were given, by the names of Budget. Raises ConfigError for values out of range."""
    limits: dict[str, Any] = {}
    for dest, (limit, *_) in _OPTIONS.items():
        value = getattr(parsed, dest)
        if value is not None:
            if not 0 < value < math.inf:
                raise ConfigError(f"--{dest.replace('_', '-')} is {value:g}: give a number above 0")
            limits[limit] = value
    return limits
