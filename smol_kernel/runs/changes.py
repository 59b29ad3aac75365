"""What a script changes in place, directly or through another name, so that values of the user can be copied before.

It reads the code alone. A method of which nothing is known, called for what it does, is taken to change what it is
called on. What other calls do of which nothing is known is not guessed: a copy of all that the user's own functions and
libraries are given would be one too many nearly always. Used by `script`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence

from smol_kernel.runs.flow import TABLES, Flow
from smol_kernel.runs.names import bound_by

_KEPT_NAMES = """bool builtin_function_or_method bytes complex date datetime float function int method module NoneType
str type"""
_KEPT = frozenset(_KEPT_NAMES.split())
"""Types whose values cannot be changed, or not be copied."""
_KNOWN_NAMES = "bytearray Counter defaultdict deque dict frozenset list memoryview OrderedDict set tuple"
_KNOWN = frozenset(_KNOWN_NAMES.split())
"""Types of which `known` has all methods that change a value."""


def changed_inputs(statements: Sequence[ast.stmt], types: Mapping[str, str], tools: Iterable[str]) -> set[str]:
    """The inputs whose value may be changed in place; all of them where that is too long or too deep to be followed.
    `types` are those of the inputs."""
    changeable = {name for name, kind in types.items() if kind not in _KEPT}
    if not changeable:
        return changeable
    flow = Flow(bound_by(statements), tools, types)
    flow.trusts = True
    values = dict(flow.frames[0].state.values)
    flow.doubtful |= {token for name in changeable if types[name] not in _KNOWN.union(TABLES) for token in values[name]}
    try:
        for statement in statements:
            flow.read(statement)
    except RecursionError:
        return changeable
    if flow.too_long:
        return changeable
    return {name for name in changeable if any(token.touched for token in values[name])}
