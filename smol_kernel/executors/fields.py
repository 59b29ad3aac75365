"""How an action's own objects leave it in calls and answers: a dataclass and a pydantic model as the dict of its
fields, an Enum member as its value. Read in other ways, such as in the state of an agent, they stay where they are.

Travels into the child as source, for `child.py`; needs the standard library alone.
"""

from __future__ import annotations

import collections
import collections.abc
import dataclasses
import enum
import io
from collections.abc import Callable
from typing import Any

from . import values

_LISTED = (collections.abc.Iterator, collections.abc.MappingView, collections.deque, range)


def fields(kind: type, hashed: bool) -> Callable[[Any], Any] | None:
    """What gives the simpler value that crosses in place of one of `kind`, which is not on the list of `values`; None
    if nothing does. `hashed`: it is to be in a set or a key.

    Raises NotPortable, which says what to do, for a record that would have to be hashed, and for what makes a list.
    """
    if issubclass(kind, enum.Enum):
        simpler, said = _value, "value"
    elif hasattr(kind, "model_dump") and hasattr(kind, "model_validate"):  # pydantic's methods tell its models
        simpler, said = _dump, "model_dump()"
    elif dataclasses.is_dataclass(kind):
        simpler, said = _fields, "fields"
    elif issubclass(kind, _LISTED) and not issubclass(kind, io.IOBase):
        raise values.NotPortable(f"is {values.a_name(kind)}, which cannot cross: make it a list with list(...)")
    else:
        return None
    if hashed:
        raise values.NotPortable(f"is {values.a_name(kind)} in a set or a key: put its {said} there")
    return simpler


def _value(member: Any) -> Any:
    return member.value


def _dump(model: Any) -> Any:
    return model.model_dump(by_alias=True)


def _fields(record: Any) -> Any:
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
