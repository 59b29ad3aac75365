"""The check of a tool's definition: its name, its inputs, and that `forward` fits them. Made once a tool is built."""

from __future__ import annotations

import builtins
import inspect
import keyword
import types
import typing
from typing import TYPE_CHECKING, Any, cast

from smol_kernel.errors import ToolError, ToolTypeError
from smol_kernel.tools.checking import kinds_of
from smol_kernel.tools.schema import AUTHORIZED_TYPES

if TYPE_CHECKING:
    from smol_kernel.tools.base import Tool

RESERVED_NAMES = {
    "input": "it asks the person at the keyboard",
    "print": "it is how an action shows the model something",
    "get_ipython": "it is the shell the action runs in",
}
"""Names an action needs for something else, and for what."""

_EXAMPLES = {
    "name": '"search"',
    "description": '"Searches the web."',
    "inputs": '{"query": {"type": "string", "description": "What to look for."}}',
    "output_type": '"string"',
}
_TYPES_TEXT = ", ".join(AUTHORIZED_TYPES)


def check_definition(tool: Tool, owns_reserved_name: bool) -> None:
    """Check a tool's attributes and `forward`. Raises ToolError naming what is missing or wrong, and what to write."""
    who = f"tool class {type(tool).__name__}"
    for attribute, kind in {"name": str, "description": str, "inputs": dict, "output_type": str}.items():
        value = getattr(tool, attribute, None)
        if not isinstance(value, kind) or (kind is str and not value):
            raise ToolTypeError(
                f"{who}: attribute {attribute!r} has to be a {kind.__name__}, not {value!r}. "
                f"Set it in the class: `{attribute} = {_EXAMPLES[attribute]}`"
            )
    check_name(tool.name, owns_reserved_name)
    for name, spec in tool.inputs.items():
        _check_input(tool.name, name, spec)
    if tool.output_type not in AUTHORIZED_TYPES:
        raise ToolError(f"tool {tool.name!r}: output_type {tool.output_type!r} is not one of {_TYPES_TEXT}")
    shape: Any = tool.output_schema
    if shape is not None and not isinstance(shape, dict):
        raise ToolTypeError(f"tool {tool.name!r}: output_schema has to be a dict (JSON schema) or None, not {shape!r}")
    if not tool.skip_forward_signature_validation:
        _check_forward(tool)


def check_name(name: str, owns_reserved_name: bool = False) -> None:
    """Raises ToolError for a name that an action cannot call, or needs for something else."""
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ToolError(f"{name!r} cannot be the name of a tool: an action calls it as a Python function. Rename it")
    if name in RESERVED_NAMES and not owns_reserved_name:
        raise ToolError(f"{name!r} cannot be the name of a tool: {RESERVED_NAMES[name]}. Rename it")
    if hasattr(builtins, name):
        raise ToolError(f"{name!r} cannot be the name of a tool: it is a builtin that other code needs. Rename it")


def _check_input(tool_name: str, name: Any, spec: Any) -> None:
    where = f"tool {tool_name!r}: input {name!r}"
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        raise ToolError(f"{where} cannot be written as a parameter in Python. Rename it")
    if not isinstance(spec, dict) or not {"type", "description"} <= spec.keys():
        raise ToolError(f'{where} needs a type and a description: {{"type": "string", "description": "…"}}')
    for kind in kinds_of(cast("Any", spec)):
        if kind not in AUTHORIZED_TYPES:
            raise ToolError(f"{where} has the type {kind!r}, which is not one of {_TYPES_TEXT}")


def _check_forward(tool: Tool) -> None:
    parameters = inspect.signature(tool.forward).parameters
    if any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in parameters.values()):
        return
    if set(parameters) != set(tool.inputs):
        raise ToolError(
            f"tool {tool.name!r}: forward() takes {sorted(parameters)}, but inputs describe "
            f"{sorted(tool.inputs)}. Make them the same"
        )
    hints = _hints(tool)
    for name, parameter in parameters.items():
        hint, said = hints.get(name, Any), bool(tool.inputs[name].get("nullable"))
        if not said and (parameter.default is not parameter.empty or _takes_none(hint)):
            reason = "may be None" if parameter.default is parameter.empty else "has a default"
            raise ToolError(
                f"tool {tool.name!r}: {name!r} {reason} in forward(), but inputs do not say so. Nullable inputs are "
                f'written so: "{name}": {{…, "nullable": True}}'
            )
        if said and parameter.default is parameter.empty and hint is not Any and not _takes_none(hint):
            raise ToolError(
                f"tool {tool.name!r}: inputs say that {name!r} may be left out, but forward() does not. Nullable "
                f"parameters have a default: `{name}=None`"
            )


def _hints(tool: Tool) -> dict[str, Any]:
    try:
        return typing.get_type_hints(tool.forward)
    except (NameError, TypeError):  # a hint of forward() is for its reader; nothing depends on it
        return {}


def _takes_none(hint: Any) -> bool:
    among = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(map(_takes_none, among))
    return hint in (None, type(None)) or (typing.get_origin(hint) is typing.Literal and None in among)
