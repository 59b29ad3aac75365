"""Type hints as JSON schema and as text: what `@tool` says of a function's parameters and of its result.

The types are those of JSON schema (https://json-schema.org) and at the top of a schema a few of ours: image, audio,
any. Records (dataclasses, TypedDicts, pydantic models) are described by their properties, a NamedTuple by its items,
an Enum by the values of its members, a date or a path as the text that stands for it.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import math
import types
import typing
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeGuard, Union, cast

from smol_kernel.errors import ToolError
from smol_kernel.tools.written import FORMATS, is_written

Schema = dict[str, Any]

_SCALARS: dict[Any, str] = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
_OURS = ("image", "audio", "any")
"""Types that JSON schema does not know."""
_WRAPPERS = ("Required", "NotRequired", "ReadOnly", "Final")
ARRAYS = (
    list,
    tuple,
    set,
    frozenset,
    collections.abc.Sequence,
    collections.abc.Set,
    collections.abc.Collection,
    collections.abc.Iterable,
)
MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


def bare(hint: Any) -> Any:
    """The hint without what only annotates it: `Annotated`, `NotRequired`, a NewType's or an alias's name."""
    while True:
        origin = typing.get_origin(hint)
        if origin is Annotated or getattr(origin, "_name", None) in _WRAPPERS:
            hint = typing.get_args(hint)[0]
        elif hasattr(hint, "__supertype__"):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":
            hint = hint.__value__
        else:
            return hint


def note(hint: Any) -> str:
    """What `Annotated` says of the hint in words: a str, or the `description` of a pydantic Field."""
    for extra in typing.get_args(hint)[1:] if typing.get_origin(hint) is Annotated else ():
        text = extra if isinstance(extra, str) else getattr(extra, "description", None)
        if isinstance(text, str):
            return text
    return ""


def is_model(hint: Any) -> TypeGuard[type]:
    """True for a pydantic model, told by its methods: this package does not import pydantic."""
    return isinstance(hint, type) and hasattr(hint, "model_json_schema") and hasattr(hint, "model_validate")


def is_typed_dict(hint: Any) -> TypeGuard[type]:
    """True for a TypedDict, of `typing` or of `typing_extensions`."""
    return isinstance(hint, type) and issubclass(hint, dict) and hasattr(hint, "__total__")


def is_record(hint: Any) -> TypeGuard[type]:
    """True for a dataclass, a TypedDict or a pydantic model."""
    return isinstance(hint, type) and (dataclasses.is_dataclass(hint) or is_typed_dict(hint) or is_model(hint))


def is_named_tuple(hint: Any) -> TypeGuard[type[Any]]:
    """True for a NamedTuple, or what `collections.namedtuple` made; as an argument a list or a tuple stands for one."""
    return isinstance(hint, type) and issubclass(hint, tuple) and hasattr(hint, "_field_defaults")


def made_by_itself(record: type) -> set[str]:
    """Fields that a dataclass fills in by itself: they stand in the dict of one, and are not for its caller to give."""
    fields = dataclasses.fields(record) if dataclasses.is_dataclass(record) else ()
    return {field.name for field in fields if not field.init}


def is_enum(hint: Any) -> TypeGuard[type[enum.Enum]]:
    """True for a class of Enum members; as an argument the value of one stands for it."""
    return isinstance(hint, type) and issubclass(hint, enum.Enum)


def plain_default(value: Any) -> Any:
    """A default as an action would write it: the value of an Enum member, anything else as it is."""
    return value.value if isinstance(value, enum.Enum) else value


def hints_of(thing: Any, where: str) -> dict[str, Any]:
    """The evaluated type hints of a function or a class. Raises ToolError for a name that is not defined."""
    try:
        return typing.get_type_hints(thing, include_extras=True)
    except NameError as error:
        raise ToolError(
            f"{where}: a type hint names {error.name!r}, which is not defined. "
            f"Import it before the {'class' if isinstance(thing, type) else 'function'}, or write the hint as Any"
        ) from error


def type_schema(hint: Any, where: str) -> Schema:
    """The schema of a type hint: always with `type`, and where they apply `nullable` and JSON schema's own keys.

    `where` opens the message of the ToolError that an Enum raises whose values an action cannot pass.
    """
    return _schema(hint, where, ())


def _schema(hint: Any, where: str, within: tuple[Any, ...]) -> Schema:
    """`within` are the records and aliases the hint is part of; one that comes again is only named by its type."""
    if type(hint).__name__ == "TypeAliasType":
        if hint in within:
            return {"type": "any"}
        within = (*within, hint)
    hint = bare(hint)
    origin, args = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return _union_schema([_schema(arg, where, within) for arg in args])
    if origin is Literal:
        _check_values([arg for arg in args if isinstance(arg, enum.Enum)], where)
        return _literal_schema(tuple(map(plain_default, args)))
    if hint in _SCALARS:
        return {"type": _SCALARS[hint]}
    if hint is Any or hint is object or not isinstance(origin, type):
        return {"type": "any"}
    if is_enum(origin):
        return _enum_schema(origin, where)
    if is_written(origin):
        return {"type": ["number", "string"] if origin is Decimal else "string", "format": FORMATS[origin][0]}
    if is_record(origin):
        return {"type": "object"} if origin in within else _record_schema(origin, where, (*within, origin))
    if is_named_tuple(origin):
        return {"type": "array"} if origin in within else _named_schema(origin, where, (*within, origin))
    if origin in ARRAYS:
        return _array_schema(origin, args, where, within)
    if origin in MAPPINGS:
        values = _nested(args[1], where, within) if len(args) == 2 else {}
        return {"type": "object", **({"additionalProperties": values} if values else {})}
    return {"type": "image" if origin.__module__.startswith("PIL.") else "object"}


def _nested(hint: Any, where: str, within: tuple[Any, ...]) -> Schema:
    """The schema of a part, in JSON schema's own words: {} for anything."""
    if isinstance(hint, typing.TypeVar):
        return {}
    schema = _schema(hint, where, within)
    if schema["type"] in _OURS:
        return {}
    if schema.pop("nullable", False):
        schema["type"] = [*([schema["type"]] if isinstance(schema["type"], str) else schema["type"]), "null"]
        for key, none in (("enum", None), ("anyOf", {"type": "null"})):
            if key in schema:
                schema[key] = [*schema[key], none]
    return schema


def _array_schema(origin: type, args: tuple[Any, ...], where: str, within: tuple[Any, ...]) -> Schema:
    parts = [_nested(arg, where, within) for arg in args if arg is not Ellipsis]
    if origin is tuple and parts and Ellipsis not in args:
        return {"type": "array", "prefixItems": parts}
    return {"type": "array", **({"items": parts[0]} if len(parts) == 1 and parts[0] else {})}


def _named_schema(kind: type[Any], where: str, within: tuple[Any, ...]) -> Schema:
    """Each item with the name of its field as description; those with a default may be missing at the end."""
    where = f"{where} ({kind.__name__})"
    hints, defaults = hints_of(kind, where), kind._field_defaults
    items: list[Schema] = []
    for name in kind._fields:
        hint = hints.get(name, Any)
        items.append(_nested(hint, f"{where}: {name!r}", within))
        items[-1]["description"] = f"{name}: {note(hint)}" if note(hint) else name
        if name in defaults and is_plain(default := plain_default(defaults[name])):
            items[-1]["default"] = default
    least = {"minItems": len(items) - len(defaults)} if defaults else {}
    return {"type": "array", **({"prefixItems": items} if items else {}), **least}


def _union_schema(members: list[Schema]) -> Schema:
    nullable = any(member["type"] == "null" or member.pop("nullable", False) for member in members)
    members = [member for member in members if member["type"] != "null"]
    kinds: set[str] = set()
    for member in members:
        kinds.update([member["type"]] if isinstance(member["type"], str) else member["type"])
    if "number" in kinds:
        kinds.discard("integer")
    if len(members) == 1:
        schema = dict(members[0])
    elif kinds & set(_OURS) and len(kinds) > 1:
        schema = {"type": "any"}
    else:
        schema: Schema = {"type": sorted(kinds) if len(kinds) > 1 else next(iter(kinds), "null")}
        if any(member.keys() - {"type"} for member in members):
            schema["anyOf"] = members
    if nullable:
        schema["nullable"] = True
    return schema


def _literal_schema(choices: tuple[Any, ...]) -> Schema:
    values = [choice for choice in choices if choice is not None]
    kinds = sorted({_SCALARS.get(type(value), "any") for value in values})
    schema: Schema = {"type": kinds[0] if len(kinds) == 1 else "any" if "any" in kinds else kinds, "enum": values}
    if len(values) < len(choices):
        schema["nullable"] = True
    return schema


def _enum_schema(kind: type[enum.Enum], where: str) -> Schema:
    if not list(kind):
        raise ToolError(f"{where} is {_of_values(kind)}, not none at all")
    _check_values(list(kind), where)
    return _literal_schema(tuple(member.value for member in kind))


def _check_values(members: list[enum.Enum], where: str) -> None:
    values = [member.value for member in members]
    if not {str, int}.issuperset(map(type, values)):
        raise ToolError(f"{where} is {_of_values(type(members[0]))}, not {', '.join(map(repr, values))}")


def _of_values(kind: type[enum.Enum]) -> str:
    return f"the Enum {kind.__name__}, of which an action passes the values: they have to be strings or integers"


def _record_schema(record: type, where: str, within: tuple[Any, ...]) -> Schema:
    if is_model(record):
        return _model_schema(record)
    properties: dict[str, Schema] = {}
    required: list[str] = []
    where = f"{where} ({record.__name__})"
    fields = {field.name: field for field in dataclasses.fields(record)} if dataclasses.is_dataclass(record) else None
    for name, hint in hints_of(record, where).items():
        field = fields.get(name) if fields else None
        if fields is not None and (field is None or not field.init):
            continue
        spec = properties[name] = _nested(hint, f"{where}: {name!r}", within)
        if note(hint):
            spec["description"] = note(hint)
        if field is None:
            needed = _is_required(record, name, hint)
        else:
            needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            if is_plain(default := plain_default(field.default)):
                spec["default"] = default
        if needed:
            required.append(name)
    schema: Schema = {"type": "object", "properties": properties}
    doc = (record.__doc__ or "").strip()
    if doc and not doc.startswith(f"{record.__name__}("):  # what `dataclass` writes itself says nothing new
        schema["description"] = " ".join(doc.split())
    if required:
        schema["required"] = required
    if fields is not None and not made_by_itself(record):
        schema["additionalProperties"] = False
    return schema


def _is_required(record: Any, name: str, hint: Any) -> bool:
    marker = getattr(typing.get_origin(hint), "_name", None)  # as strings, hints have these markers only once evaluated
    return marker == "Required" or (marker != "NotRequired" and name in record.__required_keys__)


def is_plain(value: Any) -> bool:
    """True for what JSON can write as it stands."""
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, cast("list[Any]", value)))
    if type(value) is dict:
        pairs = cast("dict[Any, Any]", value).items()
        return all(type(key) is str and is_plain(item) for key, item in pairs)
    return value is None or type(value) in (str, bool, int) or (type(value) is float and math.isfinite(value))


def _model_schema(model: Any) -> Schema:
    try:
        schema = model.model_json_schema()
    except (RuntimeError, TypeError, ValueError):  # a field of a type that has no schema, such as a table
        return {"type": "object"}
    return {"type": "object", **_inlined(schema, schema.get("$defs", {}), ())}


def _inlined(node: Any, defs: dict[str, Any], within: tuple[str, ...]) -> Any:
    """A part of pydantic's schema with the definitions it refers to in their places, and without its titles."""
    if isinstance(node, list):
        return [_inlined(part, defs, within) for part in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    node = cast("Schema", node)
    name = str(node.get("$ref", "")).rpartition("/")[2]
    if name in within:
        return {"type": "object"}
    if name:
        node, within = {**defs.get(name, {}), **node}, (*within, name)
    inlined: Schema = {}
    for key, part in node.items():
        if key == "properties":
            inlined[key] = {field: _inlined(spec, defs, within) for field, spec in part.items()}
        elif key not in ("$ref", "$defs", "title", "discriminator"):
            inlined[key] = part if key in ("default", "enum", "const", "examples") else _inlined(part, defs, within)
    return inlined


def type_text(hint: Any) -> str:
    """A type hint as one writes it: `list[str]`, `int | None`; a record is a `dict`, as which it crosses, a
    NamedTuple a `tuple`, and an Enum the `Literal` of its values."""
    if isinstance(hint, str):
        return hint
    if typing.get_origin(hint) is Annotated:
        hint = bare(hint)
    if hint is None or hint is type(None):
        return "None"
    if hint is Ellipsis:
        return "..."
    if is_record(hint):
        return "dict"
    if is_named_tuple(hint) or is_named_tuple(typing.get_origin(hint)):
        return "tuple"
    if is_enum(hint):
        return f"Literal[{', '.join(repr(member.value) for member in hint)}]"
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return " | ".join(dict.fromkeys(type_text(arg) for arg in args))
    if origin is Literal:
        return f"Literal[{', '.join(repr(plain_default(arg)) for arg in args)}]"
    if isinstance(hint, (list, tuple)):  # the parameters within Callable[[...], ...]
        return f"[{', '.join(map(type_text, cast('list[Any]', hint)))}]"
    name = getattr(origin or hint, "__name__", None) or str(hint).removeprefix("typing.")
    return f"{name}[{', '.join(map(type_text, args))}]" if args else name
