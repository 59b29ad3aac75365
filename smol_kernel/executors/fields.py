"""How an action's own objects leave it in calls and answers: a dataclass and a pydantic model as the dict of its
fields, an Enum member as its value, a row of a database as a tuple. So does what a tool gives. Read in other ways,
such as in the state of an agent, they stay where they are.

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
_REMEDIES = (
    ("to_wkt", "make it a table of pandas with .to_wkt()"),  # of geopandas
    ("DataFrame", "make it a table of pandas with pandas.DataFrame(...)"),
    ("Series", "make it a column of pandas with pandas.Series(...)"),
    ("RecordBatch", "make it a table with pyarrow.Table.from_batches([...])"),
    ("to_list", "make it a list with .to_list()"),  # a column of polars
    ("to_pylist", "make it a list with .to_pylist()"),  # an array of Arrow
    ("to_arrow", "make it an Arrow table with .to_arrow()"),  # a table of polars
)
"""What tables and columns become, by a method, or the name of a class of theirs in pandas or Arrow."""


def fields(kind: type, hashed: bool) -> Callable[[Any], Any] | None:
    """What gives the simpler value that crosses in place of one of `kind`, which is not on the list of `values`; None
    if nothing does. `hashed`: it is to be in a set or a key.

    Raises NotPortable, which says what to do, for a record that would have to be hashed, and for what makes a list or a
    table.
    """
    if _is_row(kind):
        return tuple
    if values.package(kind) == "sqlalchemy" and issubclass(kind, collections.abc.Mapping):
        return dict
    if issubclass(kind, enum.Enum):
        simpler, said = _value, "value"
    elif hasattr(kind, "model_dump") and hasattr(kind, "model_validate"):  # pydantic's methods tell its models
        simpler, said = _dump, "model_dump()"
    elif dataclasses.is_dataclass(kind):
        simpler, said = _fields, "fields"
    elif issubclass(kind, _LISTED) and not issubclass(kind, io.IOBase):
        raise values.NotPortable(f"is {values.a_name(kind)}, which cannot cross: make it a list with list(...)")
    else:
        _advise(kind)
        return None
    if hashed:
        raise values.NotPortable(f"is {values.a_name(kind)} in a set or a key: put its {said} there")
    return simpler


def _is_row(kind: type) -> bool:
    """Whether it is a class of rows of a database that are no tuples, of SQLAlchemy or sqlite3."""
    is_sequence = issubclass(kind, collections.abc.Sequence) and hasattr(kind, "_mapping") and hasattr(kind, "_fields")
    return is_sequence or any((each.__module__, each.__qualname__) == ("sqlite3", "Row") for each in kind.__mro__)


def _advise(kind: type) -> None:
    """Raise NotPortable with what to do, for tables and columns of a kind that does not cross."""
    names = {each.__name__ for each in kind.__mro__ if values.package(each) in ("pandas", "pyarrow")}
    for known, remedy in _REMEDIES:
        has_it = known.startswith("to_") and hasattr(kind, known)
        if known in names or (has_it and (names or known != "to_wkt")):  # a projection of a map can be WKT as well
            raise values.NotPortable(f"is {values.a_name(kind)}, which cannot cross: {remedy}")


def _value(member: Any) -> Any:
    return member.value


def _dump(model: Any) -> Any:
    return model.model_dump(by_alias=True)


def _fields(record: Any) -> Any:
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
