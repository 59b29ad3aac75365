"""The options of the budget, as `%%agent`, `smol run` and what goes on with a run take them."""

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


def add_limits_of_the_run(parser: Any) -> None:
    """The same for a run that goes on: those that are given take the place of its own."""
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
