"""Tools: functions of the host that an action may call by name. Used by the bridge and the agents."""

from functools import partial
from typing import TYPE_CHECKING

from smol_kernel.errors import no_name_here
from smol_kernel.tools.base import (
    FunctionTool,
    Tool,
    bind_arguments,
    tool,
    validate_tool_arguments,
)
from smol_kernel.tools.schema import AUTHORIZED_TYPES

__all__ = ["AUTHORIZED_TYPES", "FunctionTool", "Tool", "bind_arguments", "tool", "validate_tool_arguments"]

if not TYPE_CHECKING:
    __getattr__ = partial(no_name_here, __name__)
