"""Results of tool calls that were made before, for actions that are run again: an effect is not repeated.

A call is known again by the tool's name and its arguments; of several that are the same by their number. Their order
counts for nothing, for calls made side by side have none.
"""

from __future__ import annotations

import json
import re
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from smol_kernel.errors import ReplayDiffersError
from smol_kernel.events import Event, ToolCalled, ToolReturned


class RecordedError(Exception):
    """An error that a tool once raised; `kinds`, `around` and `attributes` as in ToolReturned."""

    def __init__(
        self, message: str, kinds: list[str], around: bool = False, attributes: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.kinds, self.around, self.attributes = kinds, around, attributes or {}


class AbandonedError(RuntimeError):
    """The action ended while the call was under way: what became of it nobody waited to learn."""


class NotMadeError(RuntimeError):
    """The action was stopped before the call was made."""

    def __init__(self) -> None:
        super().__init__("the action was stopped before the call was made")


def name_of_error(error: BaseException) -> str:
    """Name of the error's class, or of the one that it had then."""
    return _short(error.kinds[0]) if isinstance(error, RecordedError) else type(error).__name__


def kinds_of_error(error: BaseException) -> list[str]:
    """The error's classes, or those that it had then, its own first, up to BaseException: a builtin one by its name,
    others as "module:name"."""
    return error.kinds if isinstance(error, RecordedError) else list(map(_full, type(error).__mro__[:-1]))


def is_of_kind(error: BaseException | None, kind: type[Exception]) -> bool:
    """Whether the error is one, or was when it was recorded."""
    if isinstance(error, RecordedError):
        return kind.__name__ in map(_short, error.kinds)
    return isinstance(error, kind)


def _full(kind: type) -> str:
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}:{kind.__qualname__}"


def _short(kind: str) -> str:
    return re.split("[:.]", kind)[-1]


@dataclass(frozen=True)
class RecordedResult:
    """What came of a call: a value, encoded, or an error; `call` is the id that the call had."""

    call: str
    value: Any = None
    summary: str = ""
    error: RecordedError | None = None


Recorded = Callable[[ToolCalled], "RecordedResult | None"]
"""Gives the result of a call, if it is known."""


class RecordedCalls:
    """The tool calls among `events`, which are those of one run or a part of it. Any thread may ask.

    With `first_only` calls that were answered from a recording themselves are left out: of an action that was begun
    several times, each that was made counts once then.
    """

    def __init__(self, events: Iterable[Event], *, first_only: bool = False) -> None:
        self._results: dict[str, deque[RecordedResult]] = defaultdict(deque)
        self._open: dict[str, deque[ToolCalled]] = defaultdict(deque)
        self._lock = threading.Lock()
        called: dict[str, ToolCalled] = {}
        returned: dict[str, ToolReturned] = {}
        for event in events:
            if isinstance(event, ToolCalled) and not (first_only and event.replays):
                called[event.call] = event
            elif isinstance(event, ToolReturned):
                returned[event.call] = event
        for call, event in called.items():
            ending = returned[call].error_type if call in returned else AbandonedError.__name__
            if first_only and ending == NotMadeError.__name__:
                continue
            if call not in returned or (first_only and ending in _NOT_WAITED_FOR):
                self._open[_key(event)].append(event)
            elif returned[call].summary != NOT_SHOWN:
                self._results[_key(event)].append(_result(returned[call]))

    def take(self, event: ToolCalled) -> RecordedResult | None:
        """The result of a call like this one, each given once; None if there is none (left)."""
        with self._lock:
            results = self._results.get(_key(event))
            return results.popleft() if results else None

    def take_open(self, event: ToolCalled) -> ToolCalled | None:
        """A call like this one of which no result is recorded, each given once: whether it was made is not known."""
        with self._lock:
            calls = self._open.get(_key(event))
            return calls.popleft() if calls else None

    def left(self) -> list[str]:
        """Ids of the calls whose results nobody has taken."""
        with self._lock:
            return [result.call for results in self._results.values() for result in results]


_NOT_WAITED_FOR = (AbandonedError.__name__, KeyboardInterrupt.__name__, ReplayDiffersError.__name__)
STOPPED = (AbandonedError.__name__, NotMadeError.__name__)
"""Names of the errors of calls that a stop kept from their end."""
NOT_SHOWN = "(not shown)"
"""Summary of a result that is not recorded, such as a password: it is asked for again."""


def _key(event: ToolCalled) -> str:
    return json.dumps([event.tool, event.args, event.kwargs], sort_keys=True)


def _result(event: ToolReturned) -> RecordedResult:
    error = None
    if not event.ok:
        kinds = event.kinds or [event.error_type or "Exception", "Exception"]
        error = RecordedError(event.error or "", kinds, event.around, event.attributes)
    return RecordedResult(event.call, event.value, event.summary, error)
