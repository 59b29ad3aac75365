"""Statements read in order, as `flow` does, and between them what others would change, which are forgotten again.

Used by `halfway` for those that failed: so each statement is read once, however many failed.
"""

from __future__ import annotations

import ast
from collections.abc import Generator, Iterable, Sequence, Set
from contextlib import contextmanager
from copy import copy
from itertools import chain

from smol_kernel.runs.flow import Flow
from smol_kernel.runs.names import bound_by
from smol_kernel.runs.tokens import Facts, Token, Value, closure, effort, visible


class Aside(Flow):
    """Read statements with `take`, a step at a time. `bound` are names besides theirs that the script binds."""

    def __init__(self, statements: Sequence[ast.stmt] = (), bound: Iterable[str] = ()) -> None:
        super().__init__(bound)
        self._statements: list[ast.stmt] = []
        self._missed: set[str] = set()
        """Names that a function reads of which it was not known that the script binds them."""
        self.take(statements)

    def take(self, statements: Sequence[ast.stmt]) -> None:
        """Read what comes next."""
        self._statements += statements
        self.bound |= bound_by(statements)
        for statement in statements:
            self.read(statement)

    def named(self, name: str) -> Value:
        """The value of a name where it stands."""
        if self.functions and name not in self.bound and visible(self.frames, name) is self.frames[0]:
            self._missed.add(name)
        return super().named(name)

    def with_later_names(self) -> Aside:
        """The same; read anew if a function in it reads a name that was bound only after it."""
        return Aside(self._statements) if self._missed & self.bound else self

    def may_change(self, names: Set[str], nodes: Sequence[ast.AST]) -> bool:
        """Whether `nodes`, run next, may bind or change one of these global names; also where that is too long."""
        bound = self.bound | bound_by(nodes)
        if self._missed & bound:
            return Aside(self._statements, bound).may_change(names, nodes)
        with self._forgetting():
            self.bound = bound
            first = len(self.needs)
            for node in nodes:
                self.read(node if isinstance(node, ast.stmt) else ast.Expr(node))  # pyright: ignore[reportArgumentType]
            if self.too_long:
                return not bound.isdisjoint(names)
            new, state = range(first, len(self.needs)), self.frames[0].state
            values = closure(token for name in names for token in state.values.get(name, ()))
            touched = chain((state.bound.get(name, frozenset()) for name in names), (each.touched for each in values))
            return any(not numbers.isdisjoint(new) for numbers in touched)

    @contextmanager
    def _forgetting(self) -> Generator[None]:
        """What is read within is as if it never was."""
        begun, first, module = effort(), len(self.needs), self.frames[0]
        fields = {name: copy(value) for name, value in vars(self).items()}
        methods = {name: list(found) for name, found in self.methods.items()}
        outer, state = set(module.outer), module.state.copy()
        tokens = [(token, {**vars(token), "holds": set(token.holds), "acts": set(token.acts)}) for token in self._all()]
        yield
        new = range(first, len(self.needs))
        vars(self).update(fields)
        self.methods, module.outer, module.state = methods, outer, state
        for token, before in tokens:
            vars(token).update(before)
            token.touched.difference_update(new)
        for numbers in self._asked.values():
            numbers.difference_update(new)
        self._begun += effort() - begun

    def _all(self) -> set[Token]:
        """All values."""
        found: set[Token] = set()
        todo = [*self.world.all(), *self._globals.values(), *chain(*self.frames[0].state.values.values())]
        todo += chain(*(_named_nowhere(facts) for facts in chain(*self.methods.values())))
        while todo:
            token = todo.pop()
            if token not in found:
                found.add(token)
                todo += [*token.holds, *token.acts, *filter(None, [token.inside, token.behaviour])]
                todo += _named_nowhere(token.facts) if token.facts else ()
        return found


def _named_nowhere(facts: Facts) -> set[Token]:
    """What the code of a function reaches for which no name stands."""
    return facts.returned | facts.world | facts.asks
