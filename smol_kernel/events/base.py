"""What all events have in common, and how one is written down and read back."""

from __future__ import annotations

import operator
import re
import time
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, ClassVar

from smol_kernel.errors import EventError

SCHEMA_VERSION = 1
"""Raised by one whenever a stored event changes its meaning."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all events. `run` is the run's id, `step` counts from 1 (0: outside any step),
    `time` is in seconds since the epoch."""

    run: str = ""
    step: int = 0
    time: float = field(default_factory=time.time)

    kind: ClassVar[str] = "event"
    durable: ClassVar[bool] = True
    """False: for those who watch only; the journal passes it on unwritten. So it is for classes of programs' own, which
    nobody else could read."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.kind = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        if _is_ours(cls):
            _KINDS[cls.kind] = cls
        else:
            cls.durable = False
            if not _is_ours(_KINDS.get(cls.kind, cls)):
                _KINDS[cls.kind] = cls

    def to_dict(self, *, shared: bool = False) -> dict[str, Any]:
        """The event as JSON-plain data, its kind included. `shared`: to be read alone, parts are the event's own."""
        return {"kind": self.kind, **{each.name: _data(getattr(self, each.name), shared) for each in fields(self)}}

    def stamped(self, run: str, step: int) -> Event:
        """The same event marked with `run` and `step`; one that carries a mark already keeps it."""
        return self if self.run else replace(self, run=run, step=step)


def _is_ours(cls: type[Event]) -> bool:
    return cls.__module__.partition(".")[0] == __name__.partition(".")[0]


_KINDS: dict[str, type[Event]] = {}
_PLAIN = frozenset((type(None), bool, int, float, str))


@dataclass
class _Other:
    value: Any


def _data(value: Any, shared: bool) -> Any:
    """What `asdict` makes of it, which takes minutes for a value of millions of parts. `shared`: the same object where
    that is plain data already."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is list:
        parts = [part if type(part) in _PLAIN else _data(part, shared) for part in value]
        return value if shared and all(map(operator.is_, parts, value)) else parts
    if kind is dict and all(type(key) in _PLAIN for key in value):
        parts = [part if type(part) in _PLAIN else _data(part, shared) for part in value.values()]
        is_same = shared and all(map(operator.is_, parts, value.values()))
        return value if is_same else dict(zip(value, parts, strict=True))
    return asdict(_Other(value))["value"]


def from_dict(data: dict[str, Any]) -> Event:
    """The event that `to_dict` gave.

    Raises EventError for a kind this version does not know, or fields that do not fit.
    """
    kind = data.get("kind")
    cls = _KINDS.get(str(kind))
    if cls is None:
        raise EventError(f"unknown event kind {kind!r}: it was written by a newer version; upgrade smol-kernel")
    known = {f.name for f in fields(cls)}
    try:
        return cls(**{name: value for name, value in data.items() if name in known})
    except TypeError as error:
        raise EventError(f"event of kind {kind!r} does not fit: {error}") from None
