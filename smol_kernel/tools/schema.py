"""Reads a tool's schema from a function: type hints give the types, a Google-style docstring the descriptions.

Called by `@tool`. The types are those of JSON schema (https://json-schema.org) and a few of ours; parameters keep
their Python spelling for the prompt.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any, cast, get_args

from smol_kernel.errors import ToolError
from smol_kernel.tools.hints import bare, hints_of, is_plain, note, plain_default, type_schema, type_text
from smol_kernel.tools.records import holds_record
from smol_kernel.tools.written import FORMAT_NAMES

AUTHORIZED_TYPES = ("string", "boolean", "integer", "number", "image", "audio", "array", "object", "any", "null")
"""Types that `inputs` and `output_type` of a tool may name."""

PYTHON_NAMES = {
    "string": "str",
    "boolean": "bool",
    "integer": "int",
    "number": "float",
    "image": "Image",
    "audio": "Audio",
    "array": "list",
    "object": "dict",
    "any": "Any",
    "null": "None",
}
"""How each type is written in a signature, where no type hint says it better."""

_SECTIONS = {
    "Args": "Args",
    "Arguments": "Args",
    "Parameters": "Args",
    "Return": "Returns",
    "Returns": "Returns",
    "Yields": "Returns",
    "Raises": "Raises",
}
_SECTION = re.compile(rf"^({'|'.join(_SECTIONS)})\s*:\s*$")
_CHOICES = re.compile(r"\s*\(choices:\s*(.*?)\)\s*$")
_ENTRY = re.compile(r"^(\s*)\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")


@dataclass(frozen=True)
class FunctionSchema:
    """What `@tool` learns of a function."""

    name: str
    description: str
    inputs: dict[str, dict[str, Any]]
    output_type: str
    output_schema: dict[str, Any] | None
    """The shape of the result, where the return type says it."""
    returns: str
    """The `Returns:` section of the docstring; empty where there is none."""
    texts: dict[str, str]
    """Parameter (and "return") → its type hint as text."""
    hints: dict[str, Any]
    """Parameter → its type hint."""
    left_out: frozenset[str]
    """Parameters for which None means that they are left out: they have another default, and no None in their hint."""


def read_function(function: Callable[..., Any]) -> FunctionSchema:
    """The schema of `function`.

    Raises ToolError naming what is missing (a type hint, a docstring, the description of a parameter) with the
    line to add, or what cannot be offered to a model (`*args`, positional-only parameters).
    """
    name = function.__name__
    parameters = _parameters(name, function)
    hints = hints_of(function, f"tool {name!r}")
    if "return" not in hints:
        raise ToolError(
            f"tool {name!r} has no return type. Write it in the signature: "
            f"`def {name}({', '.join(parameters)}) -> str:` (-> None if it returns nothing)"
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):  # its caller gets a list
        given: Any = (*get_args(bare(hints["return"])), Any)[0]
        hints["return"] = list[given]
    description, described, returns = parse_docstring(inspect.getdoc(function) or "", parameters)
    if not description:
        if sys.flags.optimize > 1:
            raise ToolError(
                f"tool {name!r} has no docstring to tell the model what it does: this Python was started with -OO or "
                "PYTHONOPTIMIZE=2, which drops docstrings; start it without"
            )
        raise ToolError(
            f"tool {name!r} has no docstring to tell the model what it does. Add below its first line:\n"
            f'    """Say in one sentence what {name} does.{_args_example(parameters)}"""'
        )
    inputs: dict[str, dict[str, Any]] = {}
    left_out: set[str] = set()
    for parameter in parameters.values():
        if parameter.name not in hints:
            raise ToolError(
                f"tool {name!r}: parameter {parameter.name!r} has no type hint. "
                f"Write it in the signature: `{parameter.name}: str`"
            )
        hint = hints[parameter.name]
        text = described.get(parameter.name) or note(hint)
        if not text:
            raise ToolError(_undescribed(name, parameter.name, described, parameters))
        schema = type_schema(hint, f"tool {name!r}: parameter {parameter.name!r}")
        has_default = parameter.default is not parameter.empty and parameter.default is not None
        if has_default and not _takes_none(schema):
            left_out.add(parameter.name)
        inputs[parameter.name] = _input(schema, text, parameter)
    shape = _as_given(type_schema(hints["return"], f"tool {name!r}: the return type"))
    return FunctionSchema(
        name=name,
        description=description,
        inputs=inputs,
        output_type=shape["type"] if isinstance(shape["type"], str) else "any",
        output_schema=_as_json_schema(shape) if holds_record(hints["return"]) else None,
        returns=returns,
        texts={key: type_text(hint) for key, hint in hints.items()},
        hints={key: hint for key, hint in hints.items() if key != "return"},
        left_out=frozenset(left_out),
    )


def _as_given(shape: Any) -> Any:
    """The schema of a result: a date or a path goes to an action as one, not as text."""
    if isinstance(shape, list):
        return [_as_given(part) for part in cast("list[Any]", shape)]
    if not isinstance(shape, dict):
        return shape
    shape = cast("dict[str, Any]", shape)
    if shape.get("format") in FORMAT_NAMES:
        return {**{key: part for key, part in shape.items() if key != "format"}, "type": "object"}
    return {key: _as_given(part) for key, part in shape.items()}


def _input(schema: dict[str, Any], description: str, parameter: inspect.Parameter) -> dict[str, Any]:
    """An entry of `inputs`. Choices at the end of the description, `(choices: ["a", "b"])`, become its enum."""
    choices = _CHOICES.search(description)
    if choices:
        description = description[: choices.start()]
        of_items = schema["type"] == "array"
        values = _choices(choices[1])
        schema |= {"items": {**schema.get("items", {}), "enum": values}} if of_items else {"enum": values}
    if parameter.default is not parameter.empty:
        schema["nullable"] = True
        default = plain_default(parameter.default)
        if default is not None and is_plain(default):
            schema["default"] = default
    return {"type": schema.pop("type"), **schema, "description": description}


def _choices(text: str) -> list[Any]:
    try:
        values: Any = json.loads(text)
        if isinstance(values, list):
            return cast("list[Any]", values)
    except ValueError:
        pass
    return [part.strip().strip("'\"") for part in text.strip("[]").split(",")]


def _takes_none(schema: dict[str, Any]) -> bool:
    return schema.get("nullable", False) or schema["type"] in ("any", "null")


def _as_json_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema in JSON schema's own words."""
    if not schema.pop("nullable", False):
        return schema
    kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    return {**schema, "type": [*kinds, "null"]}


def _parameters(name: str, function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    parameters = dict(inspect.signature(function).parameters)
    for parameter in parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
            raise ToolError(
                f"tool {name!r}: {stars}{parameter.name} cannot be described to a model. Name each parameter"
            )
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise ToolError(
                f"tool {name!r}: parameter {parameter.name!r} is positional-only. Remove the '/' from the signature"
            )
    return parameters


def _args_example(parameters: dict[str, inspect.Parameter]) -> str:
    if not parameters:
        return ""
    return "\n\n    Args:" + "".join(f"\n        {name}: What it is." for name in parameters) + "\n    "


def _undescribed(name: str, parameter: str, described: dict[str, str], parameters: dict[str, inspect.Parameter]) -> str:
    strangers = [key for key in described if key not in parameters]
    hint = f" (its Args: describe {strangers[0]!r}, which is no parameter)" if strangers else ""
    return (
        f"tool {name!r}: parameter {parameter!r} is not described{hint}. Add to the docstring:\n"
        f"    Args:\n        {parameter}: What it is."
    )


def parse_docstring(doc: str, parameters: Container[str] = ()) -> tuple[str, dict[str, str], str]:
    """Description, parameter → description, and the `Returns:` text of a cleaned Google-style docstring.

    Sections other than `Args:`, `Returns:` and `Raises:` (examples, notes) stay in the description. Entries of `Args:`
    need not be indented, if the first one is not, and are then the `parameters`.
    """
    sections: dict[str, list[str]] = {"": []}
    current, is_flat = "", None
    for line in doc.splitlines():
        header = _SECTION.match(line)
        if header:
            current, is_flat = _SECTIONS[header[1]], None
            sections.setdefault(current, [])
            continue
        if line and is_flat is None:
            is_flat = current == "Args" and not line[0].isspace()
        entry = _ENTRY.match(line) if is_flat else None
        if line and not line[0].isspace() and not (entry and entry[2] in parameters):
            current = ""
        sections[current].append(line)
    returns = inspect.cleandoc("\n" + "\n".join(sections.get("Returns", [])))
    return "\n".join(sections[""]).strip(), _described(sections.get("Args", [])), returns


def _described(lines: list[str]) -> dict[str, str]:
    described: dict[str, str] = {}
    indent, current = None, ""
    for line in lines:
        entry = _ENTRY.match(line)
        if entry and (indent is None or len(entry[1]) <= indent):
            indent, current = len(entry[1]), entry[2]
            described[current] = entry[3].strip()
        elif current and line.strip():
            described[current] = f"{described[current]} {line.strip()}".strip()
    return described
