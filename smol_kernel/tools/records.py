"""Records at the border: a dict from an action becomes the dataclass or pydantic model a function wants, and back; so
does a list the NamedTuple, a value the Enum member, and text the date or path.

`@tool` builds arguments with `build`; whoever hands a tool's result on to a child calls `to_plain` first.
"""

from __future__ import annotations

import dataclasses
import enum
import numbers
import types
import typing
from decimal import Decimal
from typing import Any, Literal, Union, cast

from smol_kernel.errors import ToolError, ToolTypeError
from smol_kernel.memory.rich_values import AgentType
from smol_kernel.tools.hints import (
    ARRAYS,
    MAPPINGS,
    bare,
    is_enum,
    is_model,
    is_named_tuple,
    is_record,
    is_typed_dict,
    made_by_itself,
    plain_default,
)
from smol_kernel.tools.written import is_written, read

_SIMPLE = frozenset({type(None), bool, int, float, str, bytes})


def holds_record(hint: Any) -> bool:
    """True if a value of this hint is, or may contain, a dataclass, a TypedDict, a pydantic model, a NamedTuple, an
    Enum member, or what text stands for."""
    hint = bare(hint)
    kind = typing.get_origin(hint) or hint
    return (
        is_enum(hint)
        or isinstance(hint, enum.Enum)  # a choice of a Literal
        or is_written(hint)
        or is_record(kind)
        or is_named_tuple(kind)
        or any(map(holds_record, typing.get_args(hint)))
    )


def build(hint: Any, value: Any, path: str) -> Any:
    """`value` with the dicts in it made the records that the hint names, lists NamedTuples, and values Enum members;
    what is one already stays.

    Raises ToolError, which names the place by `path`, for a dict the record does not take, or a value of no member.
    """
    hint = bare(hint)
    if not holds_record(hint):
        return value
    origin, args = typing.get_origin(hint) or hint, typing.get_args(hint)
    if is_enum(origin):
        return _member(origin, value, path)
    if is_written(origin):
        return read(origin, value, path)
    if is_record(origin):
        return _instance(origin, hint, value, path)
    if origin in (Union, types.UnionType):
        return _one_of(args, value, path)
    if origin is Literal:
        return _choice(args, value, path)
    if is_named_tuple(origin):
        return _named_tuple(origin, value, path)
    if origin in ARRAYS and isinstance(value, (list, tuple)):
        items = cast("list[Any]", value)
        kinds = args if origin is tuple and Ellipsis not in args else args[:1] * len(items)
        built = [build(kind, item, f"{path}[{place}]") for place, (kind, item) in enumerate(zip(kinds, items))]  # noqa: B905 - a tuple's length is the schema's business
        return tuple(built) if origin is tuple else built
    if origin in ARRAYS and isinstance(value, (set, frozenset)):
        items = cast("set[Any]", value)
        return type(items)(build(args[0], item, f"{path}[{item!r}]") for item in items)
    if origin in MAPPINGS and isinstance(value, dict) and len(args) == 2:
        pairs = cast("dict[Any, Any]", value).items()
        places = {key: f"{path}[{key!r}]" for key, _ in pairs}
        return {build(args[0], key, places[key]): build(args[1], item, places[key]) for key, item in pairs}
    return value


def _one_of(members: tuple[Any, ...], value: Any, path: str) -> Any:
    """The record of the first member that takes the value; if none does, the first complaint. Text and numbers may be
    what they are for a member without a record."""
    complaint: ToolError | None = None
    for member in members:
        if is_written(bare(member)) and type(value) in members:
            continue  # text, or a number, is what it is
        if isinstance(value, _container(bare(member))):
            try:
                return build(member, value, path)
            except ToolError as error:
                complaint = complaint or error
    is_itself = not all(_container(bare(member)) for member in members if member is not type(None))
    if complaint and not (is_itself and isinstance(value, (str, int))):
        raise complaint
    return value


def _container(hint: Any) -> tuple[type, ...]:
    """The types of a plain value that can stand for a value of this hint; of a scalar none."""
    origin = typing.get_origin(hint) or hint
    if is_enum(origin) or (origin is Literal and holds_record(hint)):
        return (str, int)
    if is_written(origin):
        return (str, numbers.Real) if origin is Decimal else (str,)
    if is_record(origin) or origin in MAPPINGS:
        return (dict,)
    return (list, tuple) if origin in ARRAYS or is_named_tuple(origin) else ()


def _member(kind: type[enum.Enum], value: Any, path: str) -> enum.Enum:
    try:
        return kind(value)
    except ValueError:
        choices = ", ".join(repr(member.value) for member in kind)
        raise ToolError(f"{path!r}: it needs one of {choices}, not {value!r:.80}") from None


def _choice(choices: tuple[Any, ...], value: Any, path: str) -> Any:
    """The one of a Literal's choices that the value stands for: it may be a member of an Enum."""
    plain = isinstance(value, (str, bytes, numbers.Integral))
    for choice in choices:
        if choice is value or (plain and plain_default(choice) == value):
            return choice
    raise ToolError(f"{path!r}: it needs one of {', '.join(map(repr, map(plain_default, choices)))}, not {value!r:.80}")


def _named_tuple(kind: Any, value: Any, path: str) -> Any:
    if isinstance(value, kind):
        return value
    if not isinstance(value, (list, tuple)):
        fields = ", ".join(kind._fields)
        raise ToolTypeError(f"{path!r}: it needs a list with {fields} of {kind.__name__}, not {value!r:.80}")
    hints = typing.get_type_hints(kind, include_extras=True)
    names = [*kind._fields, *[""] * len(cast("list[Any]", value))]  # of too many it will say so itself
    items = zip(names, cast("list[Any]", value), strict=False)
    try:
        return kind(*[build(hints.get(name, Any), item, f"{path}[{at}]") for at, (name, item) in enumerate(items)])
    except ToolError:
        raise
    except (TypeError, ValueError) as error:
        raise ToolError(_complaint(error, kind.__name__, path)) from error


def _instance(record: Any, hint: Any, value: Any, path: str) -> Any:
    if not isinstance(value, dict):
        if not is_typed_dict(record) and isinstance(value, record):
            return value
        raise ToolTypeError(f"{path!r}: it needs a dict with the fields of {record.__name__}, not {value!r:.80}")
    fields = cast("dict[str, Any]", value)
    try:
        if is_model(record):
            return hint.model_validate(fields)
        kinds = typing.get_type_hints(record, include_extras=True)
        made = made_by_itself(record)
        fields = {k: build(kinds.get(k, Any), v, f"{path}[{k!r}]") for k, v in fields.items() if k not in made}
        return fields if is_typed_dict(record) else record(**fields)
    except ToolError:
        raise
    except (TypeError, ValueError) as error:  # what a record's own checks raise
        raise ToolError(_complaint(error, record.__name__, path)) from error


def _complaint(error: Exception, name: str, path: str) -> str:
    """What is wrong with a record's fields; a pydantic error tells each with its place."""
    tell = getattr(error, "errors", None)
    if not callable(tell):
        return f"{path!r}: {name} refuses it: {error}"
    places: list[str] = []
    for problem in cast("list[dict[str, Any]]", tell()):
        place = path + "".join(f"[{step!r}]" for step in problem.get("loc", ()))
        places.append(f"{place!r}: {problem.get('msg', error)}")
    return "; ".join(places)


def to_plain(value: Any) -> Any:
    """A tool's result as data that may cross to a child: records as dicts, NamedTuples as tuples, Enum members as their
    values, AgentImage and the like as the value they hold. Anything else stays as it is, and lists and dicts without
    such values are the same objects as before."""
    kind = type(value)
    if kind in _SIMPLE:
        return value
    if isinstance(value, AgentType):
        return value.to_raw()
    if kind in (list, tuple, set, frozenset):
        return _plain_items(value)
    if is_named_tuple(kind):
        return _plain_items(tuple(value))
    if kind is dict:
        if _SIMPLE.issuperset(map(type, value.values())):
            return value
        plain = {key: to_plain(item) for key, item in value.items()}
        return value if all(plain[key] is item for key, item in value.items()) else plain
    if isinstance(value, enum.Enum):
        return value.value
    if is_model(kind):
        return to_plain(value.model_dump(by_alias=True))
    if dataclasses.is_dataclass(kind):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(kind)}
    return value


def _plain_items(value: Any) -> Any:
    if _SIMPLE.issuperset(map(type, value)):  # a long list of numbers costs no walk in Python
        return value
    plain = [to_plain(item) for item in value]
    if all(new is old for new, old in zip(plain, value, strict=True)):
        return value
    return type(value)(plain)
