"""The parts of an agent as plain data, for `agent_to_dict`: its tools as source, its model, its plain settings."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Mapping
from typing import Any, cast

from smol_kernel.memory.known_secrets import is_secret_setting
from smol_kernel.models.base import Model, open_settings
from smol_kernel.models.registry import CLASSES
from smol_kernel.tools.base import Tool
from smol_kernel.tools.made_with import IMPORTS, open_of
from smol_kernel.tools.source import left_out, requirements

_OURS = "smol_kernel"
_BARE = ("FinalAnswerTool", "UserInputTool", "PythonInterpreterTool")
"""Tools of ours that need no extra package."""


def without_secrets(settings: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """`settings` as far as they are plain data and no secrets, at any depth; and the names of those that lost some."""
    kept: dict[str, Any] = {}
    lost: list[str] = []
    for name, value in settings.items():
        clean = open_settings({name: value})
        try:
            kept |= json.loads(json.dumps(clean, allow_nan=False))
        except (TypeError, ValueError):
            lost.append(name)
        else:
            lost += [name] if clean != {name: value} else []
    return kept, lost


def model_dict(model: Model) -> tuple[dict[str, Any], str]:
    """The model as `class` and `data`, without keys; and what of it cannot be made again from that ("": nothing)."""
    kind = type(model).__name__
    if not _can_be_made_again(model):
        return {"class": kind, "data": {"model_id": model.model_id}}, kind
    data, lost = without_secrets(model.to_dict())
    return {"class": kind, "data": data}, f"its {', '.join(lost)}" if lost else ""


def _can_be_made_again(model: Model) -> bool:
    parts: list[Model] = getattr(model, "models", [])
    return type(model) in CLASSES.values() and all(map(_can_be_made_again, parts))


def tool_dict(tool: Tool) -> dict[str, Any]:
    """The tool as `name`, `code` and `requirements`: one of ours by its import, any other by its source.

    Raises ToolError for a tool that cannot be written as source.
    """
    kind = type(tool)
    if not _is_public(kind):
        return tool.to_dict()
    settings = ", ".join(f"{name}={value!r}" for name, value in _constructor_settings(tool).items())
    code = f"from {_OURS} import {kind.__name__}\n\n{tool.name} = {kind.__name__}({settings})\n"
    package = "smol-kernel" if kind.__name__ in _BARE else "smol-kernel[tools]"
    return {"name": tool.name, "code": code, "requirements": [package]}


def unwritten(tool: Tool) -> list[str]:
    """Constructor arguments of a tool that are not in its code; of tools of ours no keys, which the environment has."""
    if not _is_public(type(tool)):
        return left_out(tool)
    written = _constructor_settings(tool)
    lost = [name for name in tool._made_with if name not in written and not is_secret_setting(name)]  # pyright: ignore[reportPrivateUsage]
    return lost + [IMPORTS] * (IMPORTS in written and written[IMPORTS] != getattr(tool, IMPORTS))


def _is_public(kind: type) -> bool:
    """Whether it is a tool of ours, under its name in this package."""
    public: list[str] = cast("Any", sys.modules[_OURS]).__all__
    return kind.__module__.startswith(f"{_OURS}.") and kind.__name__ in public


def _constructor_settings(tool: Tool) -> dict[str, Any]:
    """What the tool was built with, as far as it is plain, plainly no key, and kept under the parameter's name."""
    found: dict[str, Any] = {}
    for name, parameter in inspect.signature(type(tool).__init__).parameters.items():
        value = getattr(tool, name, parameter.default)
        if parameter.default is parameter.empty or value == parameter.default or is_secret_setting(name):
            continue
        kept, lost = without_secrets({name: value})
        if not lost:
            found |= kept
    return open_of(tool, found)


def requirements_of(data: Mapping[str, Any]) -> list[str]:
    """The packages that a described agent needs, its tools, agents and authorized imports included, sorted."""
    found = {"smol-kernel"}
    for part in ("tools", "managed_agents", "handoffs"):
        found.update(package for each in data[part] for package in each["requirements"])
    modules = [name.removesuffix(".*") for name in data.get("authorized_imports") or ()]
    found.update(requirements("\n".join(f"import {name}" for name in modules if name.replace(".", "").isidentifier())))
    return sorted(found - {"smol-kernel"} if "smol-kernel[tools]" in found else found)
