"""Tools: functions of the host that an action may call by name. Used by the bridge and the agents."""

from smol_kernel.tools.base import (
    FunctionTool,
    Tool,
    bind_arguments,
    tool,
    validate_tool_arguments,
)
from smol_kernel.tools.schema import AUTHORIZED_TYPES

__all__ = ["AUTHORIZED_TYPES", "FunctionTool", "Tool", "bind_arguments", "tool", "validate_tool_arguments"]
