"""An agent made from plain data: what `agent_to_dict` wrote, or smolagents 1.26. For `sharing`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, cast

from smol_kernel.agents.code_agent import CodeAgent
from smol_kernel.agents.multi_step import MultiStepAgent
from smol_kernel.agents.prompts import EMPTY_PROMPT_TEMPLATES
from smol_kernel.agents.tool_calling_agent import ToolCallingAgent
from smol_kernel.errors import ConfigError, ModelError, ToolError
from smol_kernel.memory.budget import Budget
from smol_kernel.models.registry import model_from_dict
from smol_kernel.runs.agent_to_dict import FORMAT_VERSION, OTHERS
from smol_kernel.tools.base import Tool

CLASSES: dict[str, type[MultiStepAgent]] = {"CodeAgent": CodeAgent, "ToolCallingAgent": ToolCallingAgent}
"""The classes that a saved agent may name."""
_TEXT, _NUMBER = (str, NoneType), (int, NoneType)
_SETTINGS: dict[str, tuple[type, ...]] = {
    "prompt_templates": (dict, NoneType),
    "instructions": _TEXT,
    "max_steps": (int,),
    "verbosity_level": (int,),
    "planning_interval": _NUMBER,
    "name": _TEXT,
    "description": _TEXT,
    "provide_run_summary": (bool,),
    "return_full_result": (bool,),
    "stream_outputs": (bool,),
    "checks": (list,),
    "budget": (dict, NoneType),
    "journal": (bool, NoneType),
}
"""Parameter → the types its value has in a dict."""
_SETTINGS_OF: dict[type[MultiStepAgent], dict[str, tuple[type, ...]]] = {
    CodeAgent: {
        "authorized_imports": (list, str, NoneType),
        "executor_type": (str,),
        "executor_kwargs": (dict, NoneType),
        "max_print_outputs_length": _NUMBER,
        "use_structured_outputs_internally": (bool,),
        "code_block_tags": (list, tuple, str, NoneType),
    },
    ToolCallingAgent: {"max_tool_threads": _NUMBER, "max_print_outputs_length": _NUMBER},
}
_ABOUT = {"format_version", "class", "tools", "model", "requirements", "left_out", *OTHERS}
"""What a dict holds besides settings."""
_STANDARD_ANSWER = re.compile(r"\bclass FinalAnswerTool\b|\bimport FinalAnswerTool\b")


def make(cls: type[MultiStepAgent], data: Any, given: Mapping[str, Any]) -> tuple[MultiStepAgent, list[str]]:
    """The agent that `data` describes, with the parameters `given` in place of what it says; and what to tell the user.

    Raises ConfigError, ModelError or ToolError for what cannot be made, and says what to pass.
    """
    notes: list[str] = []
    return _made(cls, data, given, given.get("model"), notes), notes


def _made(
    cls: type[MultiStepAgent], data: Any, given: Mapping[str, Any], model: Any, notes: list[str]
) -> MultiStepAgent:
    if not isinstance(data, Mapping):
        raise ConfigError(f"an agent is made from a dict, as to_dict() gives it, not from {data!r:.80}")
    check_version(data)
    kind = _class_for(cls, data)
    who = _called(data)
    settings = _settings(kind, data, given, who, notes)
    if "tools" not in given:
        settings["tools"] = _tools(data.get("tools", []), who)
    if "model" not in given:
        settings["model"] = _model(data.get("model"), model, who)
    for parameter in OTHERS:
        if parameter not in given and data.get(parameter):
            agents = _list(data, parameter, who)
            settings[parameter] = [_made(MultiStepAgent, other, {}, model, notes) for other in agents]
    left_out = data.get("left_out") or {}
    if isinstance(left_out, Mapping):
        missing = [name for name in left_out if name not in given and not (name == "model" and model is not None)]
        if missing:
            again = ", ".join(f"{name}=" for name in missing)
            notes.append(f"{who} was saved without {', '.join(missing)}: pass {again}")
    return kind(**{**settings, **given})


def check_version(data: Mapping[str, Any]) -> None:
    """Raises ConfigError if `data` was written in a format that this version cannot read."""
    version = data.get("format_version", FORMAT_VERSION)
    if type(version) is not int or version < 1:
        raise ConfigError(f"{_called(data)} has the format_version {version!r}: it is no agent that was saved")
    if version > FORMAT_VERSION:
        raise ConfigError(
            f"{_called(data)} was written by a newer version of smol-kernel (format {version}; this one reads up to "
            f"{FORMAT_VERSION}): pip install --upgrade smol-kernel"
        )


def _class_for(cls: type[MultiStepAgent], data: Mapping[str, Any]) -> type[MultiStepAgent]:
    """The class of the agent that `data` describes, if `from_dict` of `cls` was called. Raises ConfigError."""
    name = data.get("class", cls.__name__)
    if name == cls.__name__ and not inspect.isabstract(cls):
        return cls
    if not isinstance(name, str) or name not in CLASSES:
        raise ConfigError(
            f"{_called(data)} is of the class {name!r}, which is none of {', '.join(CLASSES)}: make it by "
            f"from_dict or from_folder of its own class, and pass it on if another agent calls it"
        )
    return cls if issubclass(cls, CLASSES[name]) else CLASSES[name]


def _called(data: Mapping[str, Any]) -> str:
    """The agent as errors name it."""
    return f"agent {data['name']!r}" if data.get("name") else f"the {data.get('class', 'agent')}"


def _settings(
    kind: type[MultiStepAgent], data: Mapping[str, Any], given: Mapping[str, Any], who: str, notes: list[str]
) -> dict[str, Any]:
    """The parameters for `kind` in `data`, save those that are objects."""
    known = dict(_SETTINGS)
    for base, more in _SETTINGS_OF.items():
        known |= more if issubclass(kind, base) else {}
    found: dict[str, Any] = {}
    unknown: list[str] = []
    for name, value in data.items():
        if name in known:
            if not isinstance(value, known[name]):
                wanted = " or ".join("null" if t is NoneType else t.__name__ for t in known[name])
                raise ConfigError(f"{who}: {name} is {value!r:.80}, not {wanted}")
            found[name] = value
        elif name not in _ABOUT:
            unknown.append(name)
    if unknown:
        notes.append(f"{who}: nothing is known of {', '.join(map(repr, unknown))}, which is left aside")
    for name, read in _READ.items():
        if name in found and name not in given:
            found[name] = read(found[name], who)
    if "authorized_imports" in found:
        found["additional_authorized_imports"] = found.pop("authorized_imports")
    return found


def _imports(value: Any, who: str) -> list[str] | None:
    if isinstance(value, list) and not all(isinstance(name, str) for name in value):
        raise ConfigError(f"{who}: authorized_imports has to be a list of names of modules, not {value!r:.80}")
    return None if value is None or "*" in value else [value] if isinstance(value, str) else value


def _budget(value: Any, who: str) -> Budget | None:
    try:
        return None if value is None else Budget(**value)
    except TypeError as error:
        raise ConfigError(f"{who}: budget {value!r:.80} does not fit: {error}") from error


def _tags(value: Any, who: str) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _templates(value: Any, who: str) -> Any:
    for name, form in EMPTY_PROMPT_TEMPLATES.items():
        part = (value or {}).get(name) or form
        texts = part.values() if isinstance(part, dict) and isinstance(form, dict) else [part]
        if isinstance(part, dict) != isinstance(form, dict) or not all(isinstance(text, str) for text in texts):
            need = "text" if isinstance(form, str) else f"texts by the names {', '.join(cast('Any', form))}"
            raise ConfigError(f"{who}: prompt template {name!r} is {part!r:.80}, not {need}")
    return value


_READ: dict[str, Callable[[Any, str], Any]] = {
    "authorized_imports": _imports,
    "budget": _budget,
    "code_block_tags": _tags,
    "prompt_templates": _templates,
}
"""Parameter → what makes its value of what is in a dict."""


def _list(data: Mapping[str, Any], name: str, who: str) -> list[Any]:
    value = data[name]
    if not isinstance(value, list):
        raise ConfigError(f"{who}: {name} has to be a list of dicts, as to_dict() gives it, not {value!r:.80}")
    return value


def _tools(written: Any, who: str) -> list[Tool]:
    """The tools, save `final_answer` as it comes with this package and with smolagents: every agent has that."""
    tools: list[Tool] = []
    for each in _list({"tools": written}, "tools", who):
        code = each.get("code") if isinstance(each, Mapping) else None
        name = each.get("name") if isinstance(each, Mapping) else each
        if name == "final_answer" and isinstance(code, str) and _STANDARD_ANSWER.search(code):
            continue
        try:
            tools.append(Tool.from_dict(each if isinstance(each, dict) else {"name": each}))
        except Exception as error:  # boundary: the code of a tool does anything
            hint = "; install what its requirements.txt names" if isinstance(error, ImportError) else ""
            said = str(error) if isinstance(error, ToolError) else f"{type(error).__name__}: {error}"
            raise ToolError(f"{who}: tool {name!r} cannot be made: {said}{hint}") from error
    return tools


def _model(written: Any, other: Any, who: str) -> Any:
    """The model that was written down, or `other`, if any, where that cannot be made."""
    if not isinstance(written, Mapping) or not isinstance(written.get("class"), str):
        if other is not None:
            return other
        raise ConfigError(f"{who} was written without a model: pass model=")
    data = written.get("data") or {}
    if not isinstance(data, dict):
        raise ConfigError(f"{who}: the settings of its model are {data!r:.80}, not a dict")
    try:
        return model_from_dict(written["class"], data)
    except (ModelError, TypeError, KeyError) as error:
        if other is not None:
            return other
        raise ConfigError(f"{who}: its model cannot be made again (pass model=): {error}") from error
