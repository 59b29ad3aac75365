"""The variables of an executor as a dict: what `agent.state` is. It reads through to where actions run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from itertools import islice
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Readable(Protocol):
    """An executor whose variables can be read."""

    def names(self) -> list[str]:
        """Names of its variables."""
        ...

    def read(self, name: str) -> Any:
        """A variable's value. Raises KeyError."""
        ...

    def forget(self, names: list[str]) -> None:
        """Delete variables."""
        ...


class State(MutableMapping[str, Any]):
    """Variables by name; setting one sends it. What wants a real dict, such as `json.dumps`, wants `copy()`.

    A value read is a copy, or a RemoteValue where it cannot cross. An executor that cannot be read (one that has no
    `names`, `read` and `forget`) shows what was set here.

    Parameters: `executor`, which has `send_variables`.
    """

    def __init__(self, executor: Any) -> None:
        self._executor = executor
        self._sent: dict[str, Any] | None = None if isinstance(executor, Readable) else {}

    def __getitem__(self, name: str) -> Any:
        if self._sent is not None:
            return self._sent[name]
        return self._executor.read(name)

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        if self._sent is not None:
            del self._sent[name]
        else:
            self._executor.forget([name])

    def __contains__(self, name: object) -> bool:
        return name in self._names()

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def __repr__(self) -> str:
        names = self._names()
        more = f", … {len(names) - 10} more" if len(names) > 10 else ""
        return f"<State of {len(names)} variables: {', '.join(islice(names, 10)) or 'none'}{more}>"

    def update(self, *others: Any, **variables: Any) -> None:
        """Set variables, as `dict.update` does."""
        given = dict(*others, **variables)
        self._executor.send_variables(given)
        if self._sent is not None:
            self._sent.update(given)

    def clear(self) -> None:
        """Delete all variables."""
        if self._sent is not None:
            self._sent.clear()
        else:
            self._executor.forget(self._names())

    def copy(self) -> dict[str, Any]:
        """All of them, read now."""
        return {name: self[name] for name in self}

    def become(self, variables: Mapping[str, Any]) -> None:
        """Have these variables and no others."""
        if variables is not self:
            given = dict(variables)
            self.update(given)
            for name in set(self).difference(given):
                del self[name]

    def __or__(self, other: Any) -> dict[str, Any]:
        return self.copy() | other

    def __ror__(self, other: Any) -> dict[str, Any]:
        return other | self.copy()

    def __ior__(self, other: Any) -> State:
        self.update(other)
        return self

    def _names(self) -> list[str]:
        return list(self._sent) if self._sent is not None else self._executor.names()
