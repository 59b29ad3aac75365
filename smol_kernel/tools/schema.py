"""Reads a tool's schema from a function: type hints give the types, a Google-style docstring the descriptions.

Called by `@tool`. The types are those of JSON schema (https://json-schema.org) and a few of ours; parameters keep
their Python spelling for the prompt.
"""

from __future__ import annotations

import collections.abc
import enum
import inspect
import re
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Union

from smol_kernel.errors import ToolError

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

_SCALARS: dict[Any, str] = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
_ARRAYS = (
    list,
    tuple,
    set,
    frozenset,
    collections.abc.Sequence,
    collections.abc.Set,
    collections.abc.Collection,
    collections.abc.Iterable,
)
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
_ENTRY = re.compile(r"^(\s*)\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")


@dataclass(frozen=True)
class FunctionSchema:
    """What `@tool` learns of a function."""

    name: str
    description: str
    inputs: dict[str, dict[str, Any]]
    output_type: str
    returns: str
    """The `Returns:` section of the docstring; empty where there is none."""
    hints: dict[str, str]
    """Parameter (and "return") → its type hint as text."""


def read_function(function: Callable[..., Any]) -> FunctionSchema:
    """The schema of `function`.

    Raises ToolError naming what is missing (a type hint, a docstring, the description of a parameter) with the
    line to add, or what cannot be offered to a model (`*args`, positional-only parameters).
    """
    name = function.__name__
    parameters = _parameters(name, function)
    hints = _type_hints(name, function)
    if "return" not in hints:
        raise ToolError(
            f"tool {name!r} has no return type. Write it in the signature: "
            f"`def {name}({', '.join(parameters)}) -> str:` (-> None if it returns nothing)"
        )
    description, described, returns = parse_docstring(inspect.getdoc(function) or "")
    if not description:
        raise ToolError(
            f"tool {name!r} has no docstring to tell the model what it does. Add below its first line:\n"
            f'    """Say in one sentence what {name} does.{_args_example(parameters)}"""'
        )
    inputs: dict[str, dict[str, Any]] = {}
    for parameter in parameters.values():
        if parameter.name not in hints:
            raise ToolError(
                f"tool {name!r}: parameter {parameter.name!r} has no type hint. "
                f"Write it in the signature: `{parameter.name}: str`"
            )
        if not described.get(parameter.name):
            raise ToolError(_undescribed(name, parameter.name, described, parameters))
        schema = type_schema(hints[parameter.name], f"tool {name!r}: parameter {parameter.name!r}")
        if parameter.default is None:
            schema["nullable"] = True
        inputs[parameter.name] = {
            "type": schema.pop("type"),
            "description": described[parameter.name],
            **schema,
        }
    output_type = type_schema(hints["return"], f"tool {name!r}: the return type")["type"]
    return FunctionSchema(
        name=name,
        description=description,
        inputs=inputs,
        output_type=output_type if isinstance(output_type, str) else "any",
        returns=returns,
        hints={key: type_text(hint) for key, hint in hints.items()},
    )


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


def _type_hints(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except NameError as error:
        raise ToolError(
            f"tool {name!r}: a type hint names {error.name!r}, which is not defined. "
            f"Import it before the function, or write the hint as Any"
        ) from error


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


def type_schema(hint: Any, where: str) -> dict[str, Any]:
    """The schema of a type hint: `type`, and where they apply `nullable`, `enum`, `items`.

    `where` opens the message of the ToolError that an Enum class raises: its members cannot cross from the child.
    """
    origin = typing.get_origin(hint) or hint
    if hint in _SCALARS:
        return {"type": _SCALARS[hint]}
    if origin in (Union, types.UnionType):
        return _union_schema([type_schema(arg, where) for arg in typing.get_args(hint)])
    if origin is Literal:
        return _literal_schema(typing.get_args(hint))
    if hint is Any or hint is object or not isinstance(origin, type):
        return {"type": "any"}
    if issubclass(origin, enum.Enum):
        choices = ", ".join(repr(member.value) for member in origin)
        raise ToolError(f"{where} is the Enum {origin.__name__}, which an action cannot pass. Use Literal[{choices}]")
    if origin in _ARRAYS:
        items = [arg for arg in typing.get_args(hint) if arg is not Ellipsis]
        schema: dict[str, Any] = {"type": "array"}
        if len(items) == 1 and not isinstance(items[0], typing.TypeVar):
            schema["items"] = type_schema(items[0], where)
        return schema
    if origin.__module__.startswith("PIL."):
        return {"type": "image"}
    return {"type": "object"}


def _union_schema(members: list[dict[str, Any]]) -> dict[str, Any]:
    nullable = any(member["type"] == "null" or member.get("nullable") for member in members)
    members = [member for member in members if member["type"] != "null"]
    kinds: list[str] = []
    for member in members:
        kinds += [member["type"]] if isinstance(member["type"], str) else member["type"]
    kinds = list(dict.fromkeys(kinds))
    if "number" in kinds and "integer" in kinds:
        kinds.remove("integer")
    if "any" in kinds:
        kinds = ["any"]
    schema: dict[str, Any] = dict(members[0]) if len(members) == 1 else {"type": kinds[0] if len(kinds) == 1 else kinds}
    if nullable:
        schema["nullable"] = True
    return schema


def _literal_schema(choices: tuple[Any, ...]) -> dict[str, Any]:
    values = [choice for choice in choices if choice is not None]
    kinds = list(dict.fromkeys(_SCALARS.get(type(value), "any") for value in values))
    schema: dict[str, Any] = {"type": kinds[0] if len(kinds) == 1 else "any", "enum": values}
    if len(values) < len(choices):
        schema["nullable"] = True
    return schema


def type_text(hint: Any) -> str:
    """A type hint as one writes it: `list[str]`, `int | None`, `DataFrame`."""
    if isinstance(hint, str):
        return hint
    if hint is None or hint is type(None):
        return "None"
    if hint is Ellipsis:
        return "..."
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return " | ".join(type_text(arg) for arg in args)
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, args))}]"
    if isinstance(hint, (list, tuple)):  # the parameters within Callable[[...], ...]
        return f"[{', '.join(map(type_text, hint))}]"
    name = getattr(origin or hint, "__name__", None) or str(hint).removeprefix("typing.")
    return f"{name}[{', '.join(map(type_text, args))}]" if args else name


def parse_docstring(doc: str) -> tuple[str, dict[str, str], str]:
    """Description, parameter → description, and the `Returns:` text of a cleaned Google-style docstring.

    Sections other than `Args:`, `Returns:` and `Raises:` (examples, notes) stay in the description.
    """
    sections: dict[str, list[str]] = {"": []}
    current = ""
    for line in doc.splitlines():
        header = _SECTION.match(line)
        if header:
            current = _SECTIONS[header[1]]
            sections.setdefault(current, [])
            continue
        if line and not line[0].isspace():
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
