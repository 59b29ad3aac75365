"""The arguments of a call. Used by `calls` and what it is built on."""

from __future__ import annotations

import ast

from smol_kernel.runs.expressions import NOTHING, Expressions
from smol_kernel.runs.tokens import Facts, Value


class Given:
    """The arguments of a call, evaluated."""

    def __init__(self, flow: Expressions, node: ast.Call) -> None:
        self.node = node
        self.positional = [(argument, flow.value(argument)) for argument in node.args]
        self.named = [
            (
                keyword.arg,
                NOTHING if keyword.arg == "file" and flow.is_stream(keyword.value) else flow.value(keyword.value),
            )
            for keyword in node.keywords
        ]
        self.every: Value = frozenset(
            token for value in [v for _, v in self.positional] + [v for _, v in self.named] for token in value
        )

    def option(self, name: str) -> ast.expr | None:
        """What is given under a name."""
        return next((keyword.value for keyword in self.node.keywords if keyword.arg == name), None)

    def of(self, facts: Facts, *, bound: Value | None) -> dict[str, Value]:
        """Parameter → value; `bound` is what stands before the dot."""
        names = list(facts.positional)
        found: dict[str, Value] = {}
        if bound is not None and names:
            found[names.pop(0)] = bound
        starred = any(isinstance(argument, ast.Starred) for argument, _ in self.positional)
        for place, (_, value) in enumerate(self.positional):
            for name in [*names, *facts.rest] if starred else names[place : place + 1] or facts.rest:
                found[name] = found.get(name, NOTHING) | value
        for name, value in self.named:
            for each in [name] if name in facts.positional else (*facts.positional, *facts.rest):
                found[each] = found.get(each, NOTHING) | value
        return found

    @property
    def is_shared(self) -> bool:
        """Whether the call may not copy, as it is told to."""
        copy = self.option("copy")
        return copy is not None and not (isinstance(copy, ast.Constant) and copy.value is True)
