"""What a child has to know of the tools to offer them to its actions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from smol_kernel.tools.base import Tool
from smol_kernel.tools.defaults.final_answer import FinalAnswerTool


def tool_specs(tools: Mapping[str, Callable[..., Any]]) -> list[dict[str, Any]]:
    """Of each tool its name, docstring and parameters."""
    specs: list[dict[str, Any]] = []
    for name, tool in tools.items():
        if type(tool) is FinalAnswerTool:
            continue  # the child has its own, which needs no call
        if isinstance(tool, Tool):
            lines = [f"{key}: {spec['description']}" for key, spec in tool.inputs.items()]
            doc = "\n".join([tool.description, "", *lines]).strip()
            parameters = [{"name": key, "optional": key in tool.optional_inputs} for key in tool.inputs]
        else:
            doc, parameters = inspect.getdoc(tool), _parameters(tool)
        specs.append({"name": name, "doc": doc, "parameters": parameters})
    return specs


def _parameters(function: Callable[..., Any]) -> list[dict[str, Any]]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some builtins tell nothing
        return []
    return [
        {"name": p.name, "optional": p.default is not p.empty} for p in parameters if p.kind is not p.VAR_POSITIONAL
    ]
