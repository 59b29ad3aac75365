"""The check of a call's arguments against a tool's schema, with messages a model can learn from.

Called by the bridge before a tool runs, and by agents whose models make structured calls.
"""

from __future__ import annotations

import difflib
import inspect
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from smol_kernel.errors import ToolError, ToolTypeError
from smol_kernel.memory.text_room import ShortRepr

if TYPE_CHECKING:
    from smol_kernel.tools.base import Tool


def unpack(tool: Tool, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """The arguments of a call; those of `tool({"query": "x"})`, one dict of inputs, as keyword arguments."""
    if len(args) == 1 and not kwargs and isinstance(args[0], dict):
        given, inputs = cast("dict[Any, Any]", args[0]), _inputs(tool)
        if all(key in inputs for key in given) and (given or not inputs):
            return (), given
    return args, kwargs


_signatures: WeakKeyDictionary[FunctionType, dict[bool, inspect.Signature]] = WeakKeyDictionary()
"""Of functions, by whether they are bound: without the first parameter."""


def signature_of(tool: Tool) -> inspect.Signature:
    """That of `tool.forward`. It is read once for each function: a call asks for it several times."""
    forward: Any = tool.forward
    function = getattr(forward, "__func__", forward)
    if not isinstance(function, FunctionType):
        return inspect.signature(forward)
    known, bound = _signatures.setdefault(function, {}), function is not forward
    if bound not in known:
        known[bound] = inspect.signature(forward)
    return known[bound]


def positions(tool: Tool) -> list[str]:
    """The names of the inputs in the order in which a call gives them without names: that of `tool.inputs`, those with
    a default last, and then those that `forward` takes by name alone. It may have another order."""
    defaults = tool._input_defaults()  # pyright: ignore[reportPrivateUsage]
    named = named_only(tool)
    return sorted(_inputs(tool), key=lambda name: (name in named, name in defaults))


def named_only(tool: Tool) -> set[str]:
    """Inputs that `forward` takes by name alone."""
    found = {name for name, each in signature_of(tool).parameters.items() if each.kind is each.KEYWORD_ONLY}
    return found & set(_inputs(tool))


def bind_arguments(tool: Tool, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call by name, positional ones in the order of `positions`. Called by the bridge.

    Raises ToolError for too many of them or one given twice. Values are not checked here.
    """
    args, kwargs = unpack(tool, args, kwargs)
    names = positions(tool)
    if len(args) > len(names):
        count = f"{len(names)} argument{'' if len(names) == 1 else 's'}"
        raise ToolError(_teach(tool, f"takes {count}, but {len(args)} were given"))
    arguments = dict(zip(names, args, strict=False))
    twice = [name for name in kwargs if name in arguments]
    if twice:
        raise ToolError(_teach(tool, f"got {twice[0]!r} twice"))
    return {**arguments, **kwargs}


def is_reordered(tool: Tool, args: Sequence[Any], arguments: Mapping[str, Any]) -> bool:
    """Whether `forward` would take the positional ones of these arguments for others, and takes all by name."""
    parameters = signature_of(tool).parameters.values()
    if any(each.kind is each.VAR_POSITIONAL for each in parameters):
        return False
    own = [each.name for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    if own[: len(args)] == positions(tool)[: len(args)]:
        return False
    try:
        signature_of(tool).bind(**arguments)
    except TypeError:
        return False
    return True


def validate_tool_arguments(tool: Tool, arguments: Any) -> None:
    """Check the arguments of a call against the tool's schema.

    `arguments` are a dict by name; another value stands for the tool's first input, where no other is needed.
    Raises ToolError for an unknown name or a missing one, and ToolTypeError (which is a TypeError too) for a value
    of the wrong type. The message is for the model: it names the value, its place and the signature. An int passes
    for a number; a bool is no int.
    """
    inputs = _inputs(tool)
    if not isinstance(arguments, Mapping):
        if not inputs:
            raise ToolError(_teach(tool, f"takes no arguments, but {brief(arguments)} was given"))
        arguments = {next(iter(inputs)): arguments}
    for name in cast("Mapping[str, Any]", arguments):
        if name not in inputs:
            raise ToolError(_teach(tool, f"has no argument {name!r}{_guess(name, inputs)}"))
    for name, spec in inputs.items():
        if name in arguments:
            problem = _problem(spec, arguments[name], name)
            if problem:
                raise problem.error(_teach(tool, problem))
        elif name not in tool.optional_inputs:
            raise ToolError(_teach(tool, f"needs the argument {name!r}"))


class _Problem(str):
    """What is wrong with a value, and the error it is raised as."""

    error: type[ToolError] = ToolTypeError

    @classmethod
    def of_value(cls, text: str) -> _Problem:
        """A problem of a value that has the right type."""
        problem = cls(text)
        problem.error = ToolError
        return problem


def _inputs(tool: Tool) -> Mapping[str, Any]:
    inputs: Any = tool.inputs  # a program may have put anything there since the tool was checked
    if not isinstance(inputs, Mapping):
        raise ToolTypeError(
            f"tool {tool.name!r} cannot be called: its `inputs` were changed to {brief(inputs)}, no dict"
        )
    return cast("Mapping[str, Any]", inputs)


def _teach(tool: Tool, problem: str) -> str:
    return f"{tool.name}() {problem}. Its signature: {tool.signature}"


def _guess(name: Any, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(name), names, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def kinds_of(spec: Any) -> list[str]:
    """The types a schema names; ["any"] where it names none."""
    kinds: Any = cast("Mapping[str, Any]", spec).get("type", "any") if isinstance(spec, Mapping) else "any"
    return [str(kind) for kind in cast("list[Any]", kinds)] if isinstance(kinds, (list, tuple)) else [str(kinds)]


def is_nullable(spec: Any) -> bool:
    """True if the value may be None."""
    return isinstance(spec, Mapping) and bool(cast("Mapping[str, Any]", spec).get("nullable"))


def _problem(spec: Any, value: Any, path: str) -> _Problem | None:
    """What is wrong with a value; None if nothing is."""
    if type(value).__name__ == "RemoteValue":  # by name: the class lives with the executors, above
        return _Problem(f"cannot take {path!r}: {brief(value)} stayed in the child; pass plain data instead")
    if not isinstance(spec, Mapping):  # true and false are schemas, too
        return None
    spec, kinds = cast("Mapping[str, Any]", spec), kinds_of(cast("Any", spec))
    if value is None and is_nullable(spec):
        return None
    branches = [spec[key] for key in ("anyOf", "oneOf") if isinstance(spec.get(key), list)]  # they say more
    fits = any(_FITS.get(kind, _anything)(value) for kind in kinds) or ("format" in spec and _is_object(value))
    typed = bool(branches) and all("type" in part for each in branches for part in each if isinstance(part, Mapping))
    if not fits and not typed:
        return _Problem(f"needs {_wanted(kinds)} for {path!r}, not the {type(value).__name__} {brief(value)}")
    choices = spec.get("enum") or ([spec["const"]] if "const" in spec else [])
    if choices and not _is_one_of(value, choices):
        return _Problem.of_value(f"needs one of {', '.join(map(repr, choices))} for {path!r}, not {brief(value)}")
    for each in branches:
        problem = _problem_of_all(each, value, path)
        if problem:
            return problem
    if isinstance(value, (list, tuple)):
        return _item_problem(spec, cast("list[Any]", value), path)
    if isinstance(value, dict):
        return _field_problem(spec, cast("dict[Any, Any]", value), path)
    return None


def _problem_of_all(branches: list[Any], value: Any, path: str) -> _Problem | None:
    """None if a branch takes the value; else what is wrong by the one branch of its type, or the types there are."""
    problems = [_problem(branch, value, path) for branch in branches]
    if None in problems:
        return None
    near = [
        problem
        for branch, problem in zip(branches, problems, strict=True)
        if problem and any(_FITS.get(kind, _anything)(value) for kind in kinds_of(branch))
    ]
    if len(near) == 1:
        return near[0]
    wanted = _wanted([kind for branch in branches for kind in kinds_of(branch)])
    return _Problem(f"needs {wanted} for {path!r}, not the {type(value).__name__} {brief(value)}")


def _item_problem(spec: Mapping[str, Any], value: Sequence[Any], path: str) -> _Problem | None:
    first, others = spec.get("prefixItems") or [], spec.get("items")
    if not first and not others:
        return None
    given: Any = spec.get("minItems")
    least = given if isinstance(given, int) and 0 <= given < len(first) else len(first)
    if first and not least <= len(value) <= len(first):
        most = f"{least} to {len(first)}" if least < len(first) else f"{least}"
        return _Problem.of_value(f"needs {most} items in {path!r}, not {len(value)}")
    for index, item in enumerate(value):
        problem = _problem(first[index] if first else others, item, f"{path}[{index}]")
        if problem:
            return problem
    return None


def _field_problem(spec: Mapping[str, Any], value: Mapping[Any, Any], path: str) -> _Problem | None:
    properties: Mapping[str, Any] = spec.get("properties") or {}
    for key in spec.get("required") or ():
        if key not in value:
            there = ", ".join(map(repr, properties))
            return _Problem.of_value(f"needs the key {key!r} in {path!r} (its keys: {there})")
    others: Any = spec.get("additionalProperties", True)
    if not properties and others in (True, {}):
        return None
    for key, item in value.items():
        if others is False and key not in properties:
            return _Problem.of_value(f"has no key {key!r} in {path!r}{_guess(key, properties)}")
        problem = _problem(properties.get(key, others), item, f"{path}[{key!r}]")
        if problem:
            return problem
    return None


def _is_one_of(value: Any, choices: Sequence[Any]) -> bool:
    value = list(cast("tuple[Any, ...]", value)) if isinstance(value, tuple) else value
    try:
        return (_is_scalar(value) or type(value) in (list, dict)) and value in choices
    except ValueError:  # an array in it: what it is equal to is an array
        return False


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, (str, numbers.Number))


def _is_object(value: Any) -> bool:
    """A dict, or anything that is no plain scalar or list: tables, images, dates."""
    return value is not None and not isinstance(value, (str, bool, int, float, list, tuple))


def _is_array(value: Any) -> bool:
    return hasattr(value, "__len__") and hasattr(value, "__iter__") and not isinstance(value, (str, bytes, dict))


def _anything(value: Any) -> bool:
    return True


_FITS: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"),
    "integer": lambda value: not isinstance(value, bool) and isinstance(value, numbers.Integral),
    "number": lambda value: not isinstance(value, bool) and isinstance(value, numbers.Real),
    "array": _is_array,
    "object": _is_object,
    "image": _is_object,
    "audio": lambda value: _is_object(value) or _is_array(value),
    "null": lambda value: value is None,
    "any": _anything,
}
_WORDS = {
    "string": "a string",
    "boolean": "True or False",
    "integer": "an integer",
    "number": "a number",
    "array": "a list",
    "object": "a dict or an object",
    "image": "an image",
    "audio": "audio data",
    "null": "None",
    "any": "any value",
}


def _wanted(kinds: list[str]) -> str:
    return " or ".join(_WORDS.get(kind, kind) for kind in dict.fromkeys(kinds))


_REPR = ShortRepr()
_REPR.maxstring = _REPR.maxother = 80


def brief(value: Any) -> str:
    """The repr of a value as one line of bounded length; never raises."""
    try:
        return " ".join(_REPR.repr(value).split())
    except Exception:  # noqa: BLE001 - boundary: any class's own methods run here; an int can be too long to write
        return f"<{type(value).__name__}>"
