"""What a child has to know of the tools to offer them to its actions; what tools and variables may be called."""

from __future__ import annotations

import builtins
import inspect
import keyword
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from smol_kernel.errors import ConfigError
from smol_kernel.tools.base import Tool
from smol_kernel.tools.checking import positions
from smol_kernel.tools.defaults.final_answer import FinalAnswerTool
from smol_kernel.tools.definition import check_name


def checked(functions: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """The functions, but for builtins under their own names: an action has those. They become builtins of the child,
    whose own it needs itself: raises ToolError for such a name."""
    functions = {name: each for name, each in functions.items() if not _is_builtin(name, each)}
    for name, function in functions.items():
        if not (isinstance(function, Tool) and function.name == name):  # else it was checked when it was made
            check_name(name)
    return functions


def _is_builtin(name: str, function: Any) -> bool:
    """Whether it is the builtin of that name, or what IPython has in its place in a notebook."""
    own, there = getattr(builtins, name, None), str(getattr(function, "__globals__", {}).get("__name__"))
    wrapped = getattr(function, "__wrapped__", None) if there.partition(".")[0] == "IPython" else function
    return own is not None and wrapped is own


def check_variable(name: str, tools: Mapping[str, Callable[..., Any]]) -> None:
    """Raises ConfigError for a name by which an action cannot reach a variable, or that is a tool's."""
    written = unicodedata.normalize("NFKC", str(name))  # as Python reads it
    if written != name or not name.isidentifier() or keyword.iskeyword(name):
        raise ConfigError(f"variable {name!r} cannot be written as a name in Python; rename it")
    if name in tools:
        raise ConfigError(f"variable {name!r} has the name of a tool, which it would hide; rename it")


def tool_specs(tools: Mapping[str, Callable[..., Any]]) -> list[dict[str, Any]]:
    """Of each tool its name, docstring and parameters."""
    specs: list[dict[str, Any]] = []
    for name, tool in tools.items():
        if type(tool) is FinalAnswerTool:
            continue  # the child has its own, which needs no call
        if isinstance(tool, Tool):
            lines = [f"{key}: {spec['description']}" for key, spec in tool.inputs.items()]
            doc = "\n".join([tool.description, "", *lines]).strip()
            parameters = [{"name": key, "optional": key in tool.optional_inputs} for key in positions(tool)]
        else:
            doc, parameters = inspect.getdoc(tool), _parameters(tool)
        specs.append({"name": name, "doc": doc, "parameters": parameters})
    return specs


def _parameters(function: Callable[..., Any]) -> list[dict[str, Any]]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some builtins tell nothing
        return []
    return [{"name": p.name, "optional": p.default is not p.empty, "kind": int(p.kind)} for p in parameters]
