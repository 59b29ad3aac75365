"""The values that a script makes, as `flow` tells them apart: what each holds, and which statements touched it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field


@dataclass(eq=False)
class Token:
    """A value, or several that are not told apart."""

    once: bool = False
    """It may be an iterator, which is used up by going through it."""
    opaque: bool = True
    """What it holds is not told apart from itself."""
    flat: bool = False
    """A table or an array: what is copied from it shares nothing with it."""
    table: bool = False
    """One of pandas' or its kin: of its methods it is known what they do."""
    foreign: bool = False
    """Made by a package of which nothing is known."""
    in_memory: bool = False
    """A file in memory: who reads it reads no file."""
    of_text: bool = False
    """An opened file that is only read, and gives text or bytes, which cannot be changed."""
    connects: bool = False
    """A connection to a database, or a cursor: only what is known to write changes its files."""
    touchy: bool = False
    """Already to look at it may change it."""
    holds: set[Token] = field(default_factory=set)
    inside: Token | None = None
    """Among what it holds what no code of the script has put there: it is changed with it."""
    acts: set[Token] = field(default_factory=set)
    """Functions and classes whose code runs when it is used."""
    facts: Facts | None = None
    """Of a function or a class: what its code does."""
    behaviour: Token | None = None
    """Of a class: what its instances carry, the methods but not how it is made."""
    module: str = ""
    """Of an imported module or what is imported from it: the top package's name."""
    parameter: str = ""
    variable: str = ""
    """Of a value as code in a function sees it: the global variable that has it."""
    touched: set[int] = field(default_factory=set)
    """Numbers of the statements that may have changed it."""


Value = frozenset[Token]
"""The tokens that the value of an expression may be; none: it cannot be changed, such as a number."""


@dataclass
class Facts:
    """What a call of a function does, or any use of a class's instances. Names are those of global variables."""

    positional: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()
    """Names of `*args` and `**kwargs`."""
    reads: set[str] = field(default_factory=set)
    binds: set[str] = field(default_factory=set)
    changes: set[str] = field(default_factory=set)
    spends: set[str] = field(default_factory=set)
    """Global variables that it goes through."""
    uses_up: set[str] = field(default_factory=set)
    """Parameters that it goes through."""
    changed: set[str] = field(default_factory=set)
    """Parameters whose values it may change."""
    doubted: set[str] = field(default_factory=set)
    """Parameters and global variables on which it calls methods of which nothing is known, for what these do."""
    returned: set[Token] = field(default_factory=set)
    world: set[Token] = field(default_factory=set)
    """What it changes that no name stands for: see `World`; and modules in which it sets something."""
    asks: set[Token] = field(default_factory=set)
    """What it reads of that."""
    tools: set[str] = field(default_factory=set)
    stateful: bool = False
    """It keeps something from call to call."""
    lasting: bool = False
    """What it gives back may run its code again: a closure, a generator, a coroutine."""
    generates: bool = False
    is_class: bool = False
    known: bool = True
    """False: it is being read; what it does is not known yet."""

    def size(self) -> int:
        """Grows whenever something is added."""
        sets = (
            self.reads,
            self.binds,
            self.changes,
            self.spends,
            self.uses_up,
            self.changed,
            self.doubted,
            self.world,
            self.asks,
            self.tools,
        )
        return sum(map(len, sets)) + len(self.returned) + self.stateful + self.lasting + self.generates

    def add(self, other: Facts) -> None:
        """Take in what the code of another function does, parameters apart."""
        for name in ("reads", "binds", "changes", "spends", "doubted", "world", "asks", "tools"):
            getattr(self, name).update(getattr(other, name))


class World:
    """What is changed and read without a name."""

    def __init__(self) -> None:
        self.files, self.figure, self.random, self.settings, self.outside = (Token() for _ in range(5))

    def all(self) -> set[Token]:
        """All of it."""
        return {self.files, self.figure, self.random, self.settings, self.outside}


class _Effort(threading.local):
    tokens = 0


_effort = _Effort()


def effort() -> int:
    """How many tokens this thread has looked at so far: who follows code takes no more of them than it warrants."""
    return _effort.tokens


def closure(tokens: Iterable[Token]) -> set[Token]:
    """The tokens with all that they hold."""
    return _spread(tokens, lambda token: token.holds)


def reached(tokens: Iterable[Token]) -> set[Token]:
    """The tokens, with what cannot be told apart from them."""

    def same(token: Token) -> Iterable[Token]:
        return {*(token.holds if token.opaque else ()), *filter(None, [token.behaviour, token.inside])}

    return _spread(tokens, same)


def _spread(tokens: Iterable[Token], following: Callable[[Token], Iterable[Token]]) -> set[Token]:
    """The tokens with all to which one comes from them."""
    found: set[Token] = set()
    todo = list(tokens)
    while todo:
        token = todo.pop()
        if token not in found:
            found.add(token)
            more = set(following(token)) - found
            _effort.tokens += 1 + len(more)
            todo += more
    return found


def acting(tokens: Iterable[Token]) -> set[Token]:
    """Tokens of the functions and classes whose code may run when these are used."""
    found = _spread(tokens, lambda token: {*token.holds, *token.acts})
    return {token for token in found if token.facts is not None}


def items(tokens: Iterable[Token]) -> Value:
    """What is got by taking something out of these."""

    def taken(token: Token) -> Iterable[Token]:
        if token.connects:
            return filter(None, [token.inside])
        return {token, *token.holds} if token.opaque else token.holds

    found = frozenset(other for token in tokens for other in taken(token))
    _effort.tokens += len(found)
    return found


def kept(tokens: Iterable[Token]) -> set[Token]:
    """What is got by going through these: of an iterator that is used up what it gave, and not the iterator."""
    found: set[Token] = set()
    todo, seen = list(tokens), set[Token]()
    while todo:
        token = todo.pop()
        if token in seen:
            continue
        seen.add(token)
        if token.once and not token.opaque:
            todo += items([token])
        else:
            found |= {token, *token.holds}
    _effort.tokens += len(found)
    return found


@dataclass
class State:
    """Names at one point of the code: which statements may have bound each, and its value."""

    bound: dict[str, frozenset[int]] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)

    def copy(self) -> State:
        """The same, to go on apart."""
        return State(dict(self.bound), dict(self.values))

    def join(self, other: State) -> None:
        """Whichever of the two came about."""
        for mine, theirs in ((self.bound, other.bound), (self.values, other.values)):
            for name, more in theirs.items():
                mine[name] = mine.get(name, frozenset()) | more  # pyright: ignore


@dataclass
class Frame:
    """Where names stand: the module, a function or a class."""

    kind: str = "module"
    names: set[str] = field(default_factory=set)
    """Those of its own."""
    outer: set[str] = field(default_factory=set)
    """Those declared global."""
    state: State = field(default_factory=State)
    facts: Facts = field(default_factory=Facts)
    """What its code does; the module's are unused."""


def visible(frames: list[Frame], name: str) -> Frame:
    """The frame in which `name` stands, seen from the innermost."""
    for depth, frame in enumerate(reversed(frames)):
        if frame.kind == "class" and depth:
            continue  # a class's names are not seen from the functions in it
        if name in frame.outer:
            return frames[0]
        if name in frame.names:
            return frame
    return frames[0]
