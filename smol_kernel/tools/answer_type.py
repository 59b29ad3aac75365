"""The type an answer has to have: a builtin or generic type, a dataclass, a pydantic model, or any class."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, get_args

from smol_kernel.errors import AgentError
from smol_kernel.tools.hints import type_text

if TYPE_CHECKING:
    from pydantic import TypeAdapter

# Searched for one after the other: as one expression they would take quadratic time, and the text may be the child's.
_FENCE_BEGINS = re.compile(r"```(?:json)?[ \t]*\n")
_FENCE_ENDS = re.compile(r"\n[ \t]*```")


class AnswerType:
    """Checks and converts answers with pydantic (https://docs.pydantic.dev), which LiteLLM brings."""

    def __init__(self, kind: Any) -> None:
        from pydantic import ConfigDict, TypeAdapter
        from pydantic.errors import PydanticUserError

        self._name = kind.__name__ if isinstance(kind, type) and not get_args(kind) else type_text(kind)
        self._adapter: TypeAdapter[Any]
        try:
            self._adapter = TypeAdapter(kind, config=ConfigDict(arbitrary_types_allowed=True))
        except PydanticUserError:  # a model has a configuration of its own
            self._adapter = TypeAdapter(kind)

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


def _untitled(schema: Any) -> Any:
    """A JSON schema without the titles that pydantic makes of the names."""
    if isinstance(schema, list):
        return [_untitled(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _untitled(value) for key, value in schema.items() if key != "title" or not isinstance(value, str)}
