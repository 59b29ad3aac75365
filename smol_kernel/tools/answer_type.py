"""The type an answer has to have: a builtin or generic type, a dataclass, a pydantic model, or any class."""

from __future__ import annotations

import collections.abc
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

from smol_kernel.errors import AgentError, ConfigError
from smol_kernel.tools.hints import type_text

if TYPE_CHECKING:
    from pydantic import TypeAdapter

# Searched for one after the other: as one expression they would take quadratic time, and the text may be the child's.
_FENCE_BEGINS = re.compile(r"```(?:json)?[ \t]*\n")
_FENCE_ENDS = re.compile(r"\n[ \t]*```")
_TYPES = (type, type(None), str, FunctionType, MethodType, partial, dict)
"""Of what classes a type may be: pydantic calls a function with what is in an answer, and takes a dict for a schema."""
_TYPING = ("typing", "typing_extensions")
_CONTAINERS = ("builtins", "collections", "collections.abc", "types", *_TYPING)
"""Modules of the generic types whose arguments pydantic looks at."""


class AnswerType:
    """Checks and converts answers with pydantic (https://docs.pydantic.dev), which LiteLLM brings. Raises ConfigError
    for what is no type, or not to be found by its name."""

    def __init__(self, kind: Any) -> None:
        try:
            if no_types := list(_no_types(kind)):
                raise TypeError(f"{no_types[0]!r:.80} is none")
            self._adapter = _adapter(kind)
            if not getattr(self._adapter, "pydantic_complete", True):  # before 2.10 pydantic raised at once
                self._adapter.rebuild()
        except Exception as error:  # boundary: pydantic raises anything for what is no type
            why = str(error).partition("\n")[0]
            raise ConfigError(
                f"output_type {kind!r:.80} is no type that an answer can have ({type(error).__name__}: {why}). Give a "
                "type such as int, list[str] or dict[str, float], a dataclass, a pydantic model or another class: "
                "itself, not its name"
            ) from error
        self._name = kind.__name__ if isinstance(kind, type) and not get_args(kind) else type_text(kind)

    def words(self) -> str:
        """The type for the model: its name, and the JSON schema where that says more."""
        try:
            schema = self._adapter.json_schema()
        except Exception:  # noqa: BLE001 - boundary: pydantic has no schema for a class it does not know
            return self._name
        return f"{self._name}, given as a dict of {_untitled(schema)}" if "properties" in schema else self._name

    def convert(self, answer: Any) -> Any:
        """`answer` as a value of the type; text may be JSON, also in a Markdown fence.

        Raises AgentError that says where it does not fit.
        """
        from pydantic import ValidationError

        try:
            return self._adapter.validate_python(answer)
        except ValidationError as error:
            if isinstance(answer, str):  # how a model writes a list or an object where it can only write
                begins = _FENCE_BEGINS.search(answer)
                ends = _FENCE_ENDS.search(answer, begins.end()) if begins else None
                with suppress(ValidationError, NotImplementedError):
                    text = answer[begins.end() : ends.start()] if begins and ends else answer
                    return self._adapter.validate_json(text)
            places = [f"{'.'.join(map(str, e['loc'])) or 'the answer'}: {e['msg']}" for e in error.errors()[:10]]
            raise AgentError(f"The answer has to be {self.words()}. {'; '.join(places)}") from error


def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import ConfigDict, TypeAdapter
    from pydantic.errors import PydanticUserError

    try:
        return TypeAdapter(kind, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:  # a model has a configuration of its own
        return TypeAdapter(kind)


def _no_types(kind: Any) -> Iterator[Any]:
    """The parts of `kind` that are no types, for which pydantic would take any answer."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        yield from _no_types(parts[0])
    elif (
        parts
        and parts != ((),)
        and origin not in (Literal, collections.abc.Callable)
        and origin.__module__ in _CONTAINERS
    ):
        for part in parts:
            yield from () if part is ... else _no_types(part)
    elif not (parts or origin is tuple or isinstance(kind, _TYPES) or hasattr(kind, "__get_pydantic_core_schema__")):
        yield from () if type(kind).__module__ in _TYPING else (kind,)


def _untitled(schema: Any) -> Any:
    """A JSON schema without the titles that pydantic makes of the names."""
    if isinstance(schema, list):
        return [_untitled(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _untitled(value) for key, value in schema.items() if key != "title" or not isinstance(value, str)}
