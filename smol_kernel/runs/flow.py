"""Reads the top-level statements of a script in order and tells which earlier ones each of them needs.

It never runs anything. Where it cannot tell it errs towards a need; where code reaches beyond what can be followed
(`exec`, `globals()`) it says so in `free`. Used by `slice`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from smol_kernel.runs.definitions import Definitions
from smol_kernel.runs.expressions import NOTHING, START
from smol_kernel.runs.known import SETTING, SILENT_IMPORTS
from smol_kernel.runs.names import bindings, called
from smol_kernel.runs.tokens import State, Token, Value, closure, items

TABLES = ("DataFrame", "Series", "ndarray")
"""Types whose values have a `copy` that shares nothing with them."""
_SWALLOWING = frozenset(["suppress", "ExitStack", "raises"])


class Flow(Definitions):
    """Read statements with `read`, in order. `bound` are the global names that they bind anywhere, `inputs` the names
    that have a value before, with their types."""

    def __init__(
        self,
        bound: Iterable[str],
        tools: Iterable[str] = (),
        inputs: Mapping[str, str] = MappingProxyType({}),
        texts: Iterable[str] = (),
    ) -> None:
        super().__init__(tools, {*bound, *inputs})
        cannot_be_changed = set(texts)
        for name, kind in inputs.items():
            token = Token(flat=kind in TABLES, table=kind in TABLES)
            self.frames[0].state.bound[name] = frozenset([START])
            self.frames[0].state.values[name] = NOTHING if name in cannot_be_changed else frozenset([token])

    def read(self, statement: ast.stmt) -> int:
        """Take in the next statement; gives its number."""
        self.number = len(self.needs)
        self.needs.append(set())
        settings = set(self.world.settings.touched)
        self.do(statement)
        self._need_settings(settings)
        self.needs[self.number].discard(self.number)
        return self.number

    def skip(self, words: Iterable[str]) -> int:
        """The next statement is not Python's: it may read any of these names."""
        self.number = len(self.needs)
        self.needs.append(set())
        for name in words:
            if name in self.frames[0].state.bound:
                self.touch(closure(self.use(name)))
        self.depend(self.world.files.touched)
        self._need_settings(self.world.settings.touched)
        self.touch([self.world.settings, self.world.files])
        return self.number

    def _need_settings(self, numbers: set[int]) -> None:
        if self.rests_on_data():
            self.of_data.add(self.number)
        self.only_settings.append(numbers - self.needs[self.number])
        self.depend(numbers)
        self._noted += len(self.needs[self.number]) + len(self.only_settings[self.number])

    def block(self, statements: Sequence[ast.stmt]) -> None:
        """Do statements in a row."""
        for statement in statements:
            self.do(statement)

    def do(self, node: ast.stmt) -> None:
        """Do one statement."""
        if self.gives_up():
            return
        match node:
            case ast.Expr():
                self.alone = isinstance(node.value, ast.Call) or (
                    isinstance(node.value, ast.Await) and isinstance(node.value.value, ast.Call)
                )
                self.value(node.value)
                self.alone = False
            case ast.Assign():
                value = self.value(node.value)
                for target in node.targets:
                    self._assign_from(target, node.value, value)
            case ast.AnnAssign():
                if node.value is not None:
                    self._assign_from(node.target, node.value, self.value(node.value))
            case ast.AugAssign():
                self._augment(node)
            case ast.Delete():
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        self.depend(self.frames[0].state.bound.get(target.id, ()))  # it has to be there
                        self.bind(target.id, NOTHING)
                    else:
                        self.assign(target, NOTHING)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._define(node)
            case ast.ClassDef():
                self._class(node)
            case ast.Import() | ast.ImportFrom():
                self._import(node)
            case ast.Return():
                value = self.value(node.value) if node.value else NOTHING
                for frame in self.functions[-1:]:
                    frame.facts.returned |= value
            case ast.Global():
                self.frames[-1].outer.update(node.names)
            case ast.If() | ast.For() | ast.AsyncFor() | ast.While() | ast.With() | ast.AsyncWith():
                self._compound(node)
            case ast.Match():
                subject = self.value(node.subject)
                self._branches([(case.body, case) for case in node.cases] + [([], None)], subject)
            case _ if isinstance(node, ast.Try) or type(node).__name__ == "TryStar":
                self._try(node)  # pyright: ignore[reportArgumentType]
            case _:
                self.all_of(child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr))

    # names

    def assign(self, target: ast.AST, value: Value) -> None:
        """Bind or store what is taken from a value."""
        match target:
            case ast.Name():
                self.bind(target.id, value)
            case ast.Starred():
                self.assign(target.value, self.holder(value))
            case ast.Tuple() | ast.List():
                self.go_through(value)
                for part in target.elts:
                    self.assign(part, items(value))
            case ast.Attribute() | ast.Subscript():
                self._stored(target, value)
            case _:
                pass

    def _stored(self, target: ast.Attribute | ast.Subscript, value: Value) -> None:
        """`a.b = value`, `a[b] = value`, `del a.b`."""
        base = self.value(target.value)
        if isinstance(target, ast.Subscript):
            self.value(target.slice)  # a key is nothing that could be changed
        package, words = self.root(target)
        if package or SETTING & set(words) or any(self.world.settings in token.holds for token in base):
            self.set(target)
        if not package:
            self.touch(base)
        for token in base:
            token.holds |= value - {token}

    def _assign_from(self, target: ast.AST, node: ast.expr, value: Value) -> None:
        pair = isinstance(target, (ast.Tuple, ast.List)) and isinstance(node, (ast.Tuple, ast.List))
        parts = [*getattr(target, "elts", ()), *getattr(node, "elts", ())]
        if pair and len(target.elts) == len(node.elts) and not any(isinstance(p, ast.Starred) for p in parts):  # pyright: ignore
            for part in target.elts:  # pyright: ignore[reportAttributeAccessIssue]
                self.assign(part, items(value))
        else:
            self.assign(target, value)

    def _augment(self, node: ast.AugAssign) -> None:
        target = node.target
        before = self.named(target.id) if isinstance(target, ast.Name) else self.value(target)
        value = self.value(node.value)
        self.go_through(value)
        self.touch(before)
        if isinstance(target, ast.Name):
            for token in before:
                token.holds |= items(value) - {token}
            self.bind(target.id, before or self.holder(value))  # what cannot be changed becomes something new
        else:
            self._stored(target, value)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            path = alias.name if isinstance(node, ast.Import) else f"{node.module or ''}.{alias.name}"
            package = path.split(".")[0]
            token = self.modules(package)
            if alias.name == "*":
                self.free.add("import *")
            if package not in SILENT_IMPORTS or "experimental" in path or not package:
                self.touch([self.world.settings])
            name = alias.asname or alias.name.split(".")[0]
            dotted = isinstance(node, ast.Import) and "." in alias.name and not alias.asname
            self.imported[name] = package if dotted else path
            self.depend(token.touched)
            self.bind(name, frozenset([token]), surely=not dotted)

    def modules(self, package: str) -> Token:
        """The token of a package."""
        return self._globals.setdefault(f"import {package}", Token(module=package or "."))

    # branches and loops

    @property
    def _states(self) -> list[State]:
        return [frame.state for frame in self.frames]

    def _save(self) -> list[State]:
        return [state.copy() for state in self._states]

    def _load(self, states: list[State]) -> None:
        for frame, state in zip(self.frames, states, strict=True):
            frame.state = state

    def _join(self, states: list[State]) -> None:
        for frame, state in zip(self.frames, states, strict=True):
            frame.state.join(state)

    def _branches(self, branches: Sequence[tuple[Sequence[ast.stmt], ast.AST | None]], subject: Value) -> None:
        before, ends = self._save(), []
        for body, head in branches:
            self._load([state.copy() for state in before])
            for name, _ in bindings([head.pattern]) if isinstance(head, ast.match_case) else ():
                self.bind(name, subject | items(subject))
            if isinstance(head, ast.match_case) and head.guard is not None:
                self.value(head.guard)
            self.block(body)
            ends.append(self._save())
        for end in ends[:-1]:
            self._join(end)

    def _compound(self, node: ast.AST) -> None:
        match node:
            case ast.If():
                self.value(node.test)
                self._branches([(node.body, None), (node.orelse, None)], NOTHING)
            case ast.For() | ast.AsyncFor():
                value = self.value(node.iter)
                self.go_through(value)
                before = self._save()
                for _ in range(2):
                    self.assign(node.target, items(value))
                    self.block(node.body)
                    self._join(before)
                self.block(node.orelse)
            case ast.While():
                before = self._save()
                for _ in range(2):
                    self.value(node.test)
                    self.block(node.body)
                    self._join(before)
                self.block(node.orelse)
            case ast.With() | ast.AsyncWith():
                before = self._save()
                swallows = False
                for item in node.items:
                    value = self.value(item.context_expr)
                    self.touch(value)
                    swallows = swallows or called(item.context_expr) in _SWALLOWING or any(t.acts for t in value)
                    if item.optional_vars is not None:
                        self.assign(item.optional_vars, value | items(value))
                self.block(node.body)
                if swallows:
                    self._join(before)
            case _:
                pass

    def _try(self, node: ast.Try) -> None:
        before = self._save()
        self.block(node.body)
        self.block(node.orelse)
        self._join_if(node.handlers, before)
        done = self._save()
        for handler in node.handlers:
            self._load([state.copy() for state in done])
            self._join(before)
            if handler.type is not None:
                self.value(handler.type)
            if handler.name:
                self.bind(handler.name, frozenset([Token()]))
            self.block(handler.body)
            ended = self._save()
            self._load([state.copy() for state in done])
            self._join(ended)
            done = self._save()
        self.block(node.finalbody)

    def _join_if(self, handlers: Sequence[ast.ExceptHandler], before: list[State]) -> None:
        """Where every handler leaves, what comes after is reached only by what was tried to its end."""
        if any(not isinstance(handler.body[-1], (ast.Raise, ast.Return, ast.Continue)) for handler in handlers):
            self._join(before)
