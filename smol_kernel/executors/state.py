"""The variables of an executor as a dict: what `agent.state` is. It reads through to where actions run.

What the user put into the state of an agent between its runs is told from what its runs did.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from itertools import islice
from typing import Any, Protocol, cast, runtime_checkable


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

    Parameters: `executor`, which has `send_variables`; `own`, what the user set here, as it was then; `shown`, what is
    shown of an executor that cannot be read.
    """

    def __init__(self, executor: Any, own: dict[str, Any], shown: dict[str, Any]) -> None:
        self._executor = executor
        self._reads = isinstance(executor, Readable)
        self.own, self._shown = own, {} if self._reads else shown

    def __getitem__(self, name: str) -> Any:
        return self._executor.read(name) if self._reads else self._shown[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def __delitem__(self, name: str) -> None:
        there = name in self
        self.own.pop(name, None)
        self._shown.pop(name, None)
        if not there:
            raise KeyError(name)
        if self._reads:
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
        self.own.update(given)
        self._shown.update(given)

    def clear(self) -> None:
        """Delete all variables."""
        self.own.clear()
        self._shown.clear()
        if self._reads:
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
            for name in set(self.own).difference(given):
                del self.own[name]

    def __or__(self, other: Any) -> dict[str, Any]:
        return self.copy() | other

    def __ror__(self, other: Any) -> dict[str, Any]:
        return other | self.copy()

    def __ior__(self, other: Any) -> State:
        self.update(other)
        return self

    def _names(self) -> list[str]:
        return self._executor.names() if self._reads else list(self._shown)


class StateOf:
    """The `state` of an executor, made at each look: one that was kept in the executor would keep that. An executor may
    set another of its own."""

    def __get__(self, executor: Any, kind: Any = None) -> State:
        kept: dict[str, Any] = {} if executor is None else vars(executor)
        return State(executor, kept.setdefault("_set_by_hand", {}), kept.setdefault("_shown", {}))


def own_variables(agent: Any) -> dict[str, Any]:
    """What the user put into the state of an agent, and no run did."""
    return dict(agent.life.own) if agent.life.in_use.locked() else _own_now(agent)


def _own_now(agent: Any) -> dict[str, Any]:
    """That of a State; or of a dict in which `life.given` is its runs', and stands in the place of what `life.own` has
    under the name."""
    state: Any = getattr(agent, "state", None)  # a class of the user's may have something else there
    if isinstance(state, State):
        return dict(state.own)
    given: dict[str, Any] = agent.life.given
    now = dict(cast("dict[str, Any]", state)) if isinstance(state, dict) else {}
    own = {name: value for name, value in now.items() if name not in given or given[name] is not value}
    return {**{name: value for name, value in agent.life.own.items() if name in now}, **own}


def give_own_variables(agent: Any, twin: Any) -> None:
    """Put what the user put into the state of an agent into that of its copy."""
    own = own_variables(agent)
    here: Any = agent.state
    one_place = twin.state.own is here.own if isinstance(here, State) else twin.state is here
    if own and not one_place:
        twin.state.update(own)


def variables_of_run(agent: Any, inputs: Mapping[str, Any], *, reset: bool, anew: bool) -> dict[str, Any]:
    """What a run begins with: its `inputs`, and where it begins `anew`, without the agent's state, what the user put
    there before."""
    own, before = _own_now(agent), {} if reset else agent.life.given
    agent.life.given, agent.life.own, agent.life.stale = {**before, **inputs}, own, False
    return {**own, **inputs} if anew else dict(inputs)


@contextmanager
def set_by_a_run(agent: Any) -> Generator[None]:
    """While the run of an agent is under way: what tools, callbacks or others put into its state meanwhile, or into
    that of an agent that it may call, is not the user's own once it has ended."""
    before = [(each, own_variables(each)) for each in _with_those_it_calls(agent, [])]
    try:
        yield
    finally:
        for each, own in before:
            _put_back(each, own)


def _with_those_it_calls(agent: Any, found: list[Any]) -> list[Any]:
    if hasattr(agent, "life") and not any(agent is each for each in found):  # else a recipe
        found.append(agent)
        for other in (*agent.managed_agents.values(), *agent.handoffs.values()):
            _with_those_it_calls(other, found)
    return found


def _put_back(agent: Any, own: dict[str, Any]) -> None:
    now, state = _own_now(agent), getattr(agent, "state", None)
    agent.life.stale |= {name: id(value) for name, value in now.items()} != {name: id(own[name]) for name in own}
    if isinstance(state, State):
        state.own.clear()
        state.own.update(own)
    elif isinstance(state, dict):
        agent.life.given, agent.life.own = dict(cast("dict[str, Any]", state)), own
