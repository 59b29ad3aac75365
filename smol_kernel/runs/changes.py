"""What a script changes in place, directly or through another name, so that values of the user can be copied before.

It reads the code alone and errs towards a change: a copy too many costs little.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from smol_kernel.runs.names import Names, Scope, bindings, called
from smol_kernel.runs.source import Source

_CHANGING = """__delitem__ __iadd__ __setitem__ add append appendleft clear difference_update discard extend fill insert
intersection_update itemset partition pop popitem popleft put remove resize reverse rotate setdefault setflags sort
symmetric_difference_update update"""
CHANGING_METHODS = frozenset(_CHANGING.split())
"""Methods that change what they are called on."""
_CHANGING_FIRST = """copyto delattr fill_diagonal heapify heappop heappush heappushpop heapreplace iadd iand iconcat
imul insort ior isub ixor next place put putmask setattr setitem shuffle"""
CHANGING_FIRST = frozenset(_CHANGING_FIRST.split())
"""Functions that change their first argument."""
_VIEWING = "diagonal get items pop popitem ravel reshape setdefault squeeze swapaxes transpose values view"
_VIEWS = frozenset(_VIEWING.split())
"""Methods whose result shares with what they are called on."""
_PASSING_ON = (
    "asanyarray asarray cycle enumerate filter iter map max min next ravel reshape reversed squeeze transpose zip"
)
_PASSING = frozenset(_PASSING_ON.split())
"""Functions whose result shares with their arguments."""
_SHALLOW = frozenset({"copy", "dict", "frozenset", "list", "set", "sorted", "tuple"})
"""Copies that share their items."""


@dataclass(frozen=True)
class _Function:
    """What a call of a function of the script does; a class stands here as its `__init__`."""

    positional: tuple[str, ...]
    named: frozenset[str]
    rest: tuple[str, ...]
    """Names of its `*args` and `**kwargs`."""
    is_method: bool
    changed: frozenset[str]
    """Parameters it may change in place."""
    returned: frozenset[str]
    """Names whose value it may give back."""
    effects: frozenset[str]
    """Global names that it may bind or change."""

    def arguments(self, call: ast.Call, *, bound: bool) -> Iterator[tuple[str, ast.expr]]:
        """Parameter and argument, pair by pair; `bound` where the first parameter is what stands before the dot."""
        positional = self.positional[bound:]
        for place, argument in enumerate(call.args):
            names = positional[place:] if isinstance(argument, ast.Starred) else positional[place : place + 1]
            yield from ((name, argument) for name in names or self.rest)
        for keyword in call.keywords:
            names = {keyword.arg} & self.named if keyword.arg else self.named
            yield from ((name, keyword.value) for name in names or self.rest)


class Changes(Names):
    """Reads the parts of a script as Names does.

    `flat` are names of values that a shallow copy parts from the original wholly: tables and arrays.
    """

    def __init__(self, flat: Iterable[str] = ()) -> None:
        super().__init__()
        self._flat = frozenset(flat)
        self._functions: dict[str, _Function] = {}

    @property
    def changed(self) -> set[str]:
        """Global names whose value may be changed in place."""
        return self._module.sharing(self._module.changed)

    def touched(self, source: Source, nodes: Iterable[ast.AST]) -> set[str]:
        """Global names that `nodes`, run after all read so far, may bind or change. Nothing is to be read after it."""
        self.bound, self._module.changed, self._module.copied = set(), set(), {}
        self._part += 1
        self._source = source
        for node in nodes:
            self.visit(node)
        return self.bound | self.changed

    # what shares with what

    def _shared(self, node: ast.AST | None) -> Iterator[str]:
        """Names whose value the value of an expression may share."""
        match node:
            case ast.Name():
                yield node.id
            case ast.Attribute() | ast.Subscript() | ast.Starred() | ast.NamedExpr() | ast.Await():
                yield from self._shared(node.value)
            case ast.IfExp():
                yield from self._shared_by([node.body, node.orelse])
            case ast.BoolOp() | ast.Dict():
                yield from self._shared_by(node.values)
            case ast.Tuple() | ast.List() | ast.Set():
                yield from self._shared_by(node.elts)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                items = set(self._shared(node.value if isinstance(node, ast.DictComp) else node.elt))
                own = {name for part in node.generators for name, _ in bindings([part.target])}
                yield from items - own
                yield from self._shared_by(part.iter for part in node.generators if items & own)
            case ast.Call():
                yield from self._shared_by_call(node)
            case _:
                pass

    def _shared_by(self, nodes: Iterable[ast.AST | None]) -> Iterator[str]:
        for node in nodes:
            yield from self._shared(node)

    def _shared_by_call(self, node: ast.Call) -> Iterator[str]:
        name = called(node)
        before_dot = [node.func.value] if isinstance(node.func, ast.Attribute) else []
        function = self._function(node)
        if function is not None:
            bound = function.is_method and bool(before_dot)
            given = {*function.positional, *function.named, *function.rest}
            yield from function.returned - given
            pairs = [*zip(function.positional[:bound], before_dot, strict=False)]
            pairs += function.arguments(node, bound=bound)
            yield from self._shared_by(argument for parameter, argument in pairs if parameter in function.returned)
        elif name in _SHALLOW:
            yield from (name for name in self._shared_by([*before_dot, *node.args]) if name not in self._flat)
        elif name in _VIEWS or name in _PASSING:
            yield from self._shared_by([*before_dot, *node.args])

    def _function(self, node: ast.Call) -> _Function | None:
        function = self._functions.get(called(node))
        return function if function and (function.is_method or isinstance(node.func, ast.Name)) else None

    def _share(self, target: ast.AST, value: ast.AST | None) -> None:
        """Let all names in `target` share with `value`."""
        others = set(self._shared(value))
        for node in ast.walk(target):
            if isinstance(node, ast.Name):
                self._scope_of(node.id).aliases.setdefault(node.id, set()).update(others - {node.id})

    def visit_Assign(self, node: ast.Assign) -> None:
        """`a = b` lets both names share a value; `a = b.copy()` does not, if b is flat."""
        self.generic_visit(node)
        for target in node.targets:
            self._share(target, node.value)
            if not isinstance(target, ast.Name):
                continue
            if isinstance(node.value, ast.Name) and node.value.id in self._functions:
                self._functions[target.id] = self._functions[node.value.id]
            copied = self._scope_of(target.id).copied
            copied.pop(target.id, None)
            if called(node.value) in (*_SHALLOW, "deepcopy") and id(node) in self._certain:
                copied[target.id] = not list(self._shared(node.value))
        if isinstance(node.value, ast.Attribute) and node.value.attr in CHANGING_METHODS:
            self._change(node.value.value)  # `f = a.append`: whoever calls it changes a

    def visit_AnnAssign(self, node: ast.AnnAssign | ast.NamedExpr) -> None:
        """`a: list = b`, `(a := b)`."""
        self.generic_visit(node)
        self._share(node.target, node.value)

    visit_NamedExpr = visit_AnnAssign

    def visit_withitem(self, node: ast.withitem) -> None:
        """`with a as b`."""
        self.generic_visit(node)
        if node.optional_vars is not None:
            self._share(node.optional_vars, node.context_expr)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        """What a loop runs over shares its items with the loop's names."""
        for part in ast.walk(node.iter):
            self._share(node.target, part)
        self.generic_visit(node)

    visit_AsyncFor = visit_For

    # what changes what

    def _change(self, node: ast.AST) -> None:
        for name in set(self._shared(node)):
            scope = self._scope_of(name)
            if name in scope.copied and (scope.copied[name] or isinstance(node, ast.Name)):
                continue  # a copy, and not what it may share with the original
            for other in [name] if scope is self._module else scope.sharing([name]):
                self._scope_of(other).changed.add(other)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        """`a += b` may change what `a` is, in place."""
        self._change(node.target)
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """`a.b = …`, `del a.b`."""
        if not isinstance(node.ctx, ast.Load):
            self._change(node.value)
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """`a[b] = …`, `del a[b]`."""
        if not isinstance(node.ctx, ast.Load):
            self._change(node.value)
        super().visit_Subscript(node)

    def visit_Return(self, node: ast.Return) -> None:
        """What a function gives back."""
        self._scopes[-1].returned.update(self._shared(node.value))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Methods and functions that change what they are called on, or with, or what they know."""
        name = called(node)
        options = {keyword.arg: keyword.value for keyword in node.keywords}
        inplace = options.get("inplace")
        in_place = inplace is not None and not (isinstance(inplace, ast.Constant) and not inplace.value)
        if isinstance(node.func, ast.Attribute) and (name in CHANGING_METHODS or in_place):
            self._change(node.func.value)
        if name in CHANGING_FIRST and node.args:
            self._change(node.args[0])
        if "out" in options:
            self._change(options["out"])
        function = self._function(node)
        if function is not None:
            bound = function.is_method and isinstance(node.func, ast.Attribute)
            if isinstance(node.func, ast.Attribute) and set(function.positional[:bound]) & function.changed:
                self._change(node.func.value)
            for parameter, argument in function.arguments(node, bound=bound):
                if parameter in function.changed:
                    self._change(argument)
            self._module.changed |= function.effects
        super().visit_Call(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Scope:
        """Read a function, and note what a call of it does."""
        before = self.bound, self._module.changed
        self.bound, self._module.changed = set(), set()
        is_method = self._scopes[-1].kind == "class"
        scope = super().visit_FunctionDef(node)
        effects = (self.bound | self._module.changed) - {node.name}
        self.bound |= before[0]
        self._module.changed |= before[1]
        arguments = node.args
        positional = tuple(argument.arg for argument in (*arguments.posonlyargs, *arguments.args))
        pairs = [*zip(positional[::-1], arguments.defaults[::-1], strict=False)]
        pairs += [
            (argument.arg, default)
            for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
            if default is not None
        ]
        for parameter, default in pairs:
            if parameter in scope.changed:
                self._change(default)
        kept = positional[:1] if node.name == "__init__" else ()
        self._functions[node.name] = _Function(
            positional,
            frozenset(positional) | {argument.arg for argument in arguments.kwonlyargs},
            tuple(argument.arg for argument in (arguments.vararg, arguments.kwarg) if argument),
            is_method,
            frozenset(scope.changed),
            frozenset(scope.sharing([*scope.returned, *kept])),
            frozenset(effects),
        )
        return scope

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Read a class; calling it is calling its `__init__`."""
        outer = self._functions.pop("__init__", None)
        super().visit_ClassDef(node)
        made = self._functions.pop("__init__", None)
        if made is not None:
            self._functions[node.name] = replace(made, positional=made.positional[1:], is_method=False)
        if outer is not None:
            self._functions["__init__"] = outer
