"""What the definition of a function or of a class makes, and what its code does. `flow` is built on it."""

from __future__ import annotations

import ast
from abc import abstractmethod
from collections.abc import Iterable, Sequence

from smol_kernel.runs.calls import Calls
from smol_kernel.runs.expressions import NOTHING
from smol_kernel.runs.names import bindings, called
from smol_kernel.runs.tokens import Facts, Frame, State, Token, Value, closure, effort

_HARMLESS_WORDS = """lru_cache cache staticmethod classmethod property dataclass contextmanager wraps
total_ordering cached_property abstractmethod singledispatch setter overload"""
_HARMLESS = frozenset(_HARMLESS_WORDS.split())  # fmt: skip
"""Decorators that leave alone what they are given."""
_LOOKED_AT_WORDS = """__getitem__ __getattr__ __getattribute__ __len__ __iter__ __next__ __contains__ __str__
__repr__ __format__ __bool__ __eq__ __lt__ __gt__ __le__ __ge__ __hash__ __add__ __radd__ __sub__ __mul__ __call__
__iadd__ __del__ __index__ __int__ __float__ __missing__ __reversed__ __enter__ __exit__"""
_LOOKED_AT = frozenset(_LOOKED_AT_WORDS.split())
"""Methods that are called without being named."""
_LONGEST = 20_000
"""Statements that are done, those of loops and functions each time."""
_MOST = 3_000_000
"""Values that are looked at; each that a statement makes may hold many."""
_MOST_NEEDS = 6_000_000
"""Numbers of statements that are kept, about 50 bytes each: that many where 3,400 all change one list."""


class Definitions(Calls):
    """Evaluates definitions."""

    def __init__(self, tools: Iterable[str], bound: Iterable[str]) -> None:
        super().__init__(tools, bound)
        self._done, self._begun, self._noted = 0, effort(), 0

    def gives_up(self) -> bool:
        """Whether so much was done that no more is: loops and functions in one another are done again and again."""
        self._done += 1
        if self.too_long:
            self.free.add("loops and functions within each other")
        return self.too_long

    @property
    def too_long(self) -> bool:
        """Whether the code is too long to be followed."""
        return self._done > _LONGEST or effort() - self._begun > _MOST or self._noted > _MOST_NEEDS

    @abstractmethod
    def do(self, node: ast.stmt) -> None:
        """Do one statement."""

    @abstractmethod
    def block(self, statements: Sequence[ast.stmt]) -> None:
        """Do statements in a row."""

    def _define(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Facts:
        stateful = self._decorated(node)
        value = self.function(node, list(node.body))
        (token,) = value
        assert token.facts is not None
        token.facts.stateful |= stateful
        if stateful:
            token.once = False
            token.opaque = True
            for other in self.all_of(node.decorator_list):
                token.holds |= {other} - {token}
                other.holds |= {token} - {other}
        if len(self.frames) == 1:
            token.variable = node.name
        self.bind(node.name, value)
        return token.facts

    def function(self, node: ast.AST, body: list[ast.AST]) -> Value:
        """The function that a definition makes."""
        assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        arguments = node.args
        positional = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        rest = [argument.arg for argument in (arguments.vararg, arguments.kwarg) if argument]
        defaults = self.all_of([*arguments.defaults, *arguments.kw_defaults])
        facts = Facts(tuple(positional), tuple(rest), known=False, stateful=bool(defaults))
        token = Token(facts=facts, holds=set(defaults))
        asynchronous = isinstance(node, ast.AsyncFunctionDef)
        facts.lasting = asynchronous or any(
            isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.GeneratorExp))
            for part in body for inner in ast.walk(part)
        )  # fmt: skip
        found = list(bindings(body))
        outer = {name for name, how in found if how == "global"}
        free = {name for name, how in found if how == "nonlocal"}
        names = ({*positional, *rest} | {name for name, _ in found}) - outer - free
        recursive = getattr(node, "name", "")
        parameters = {name: Token(once=True, parameter=name) for name in (*positional, *rest)}
        before = self.frames[0].state.values.get(recursive)
        if recursive and len(self.frames) == 1:
            self.frames[0].state.values[recursive] = frozenset([token])
            token.variable = recursive
        for _ in range(4):
            if self.gives_up():
                break
            size = facts.size()
            frame = Frame("function", set(names), set(outer), State(), facts)
            frame.state.values.update({name: frozenset([value]) for name, value in parameters.items()})
            self.frames.append(frame)
            if isinstance(node, ast.Lambda):
                facts.returned |= self.value(node.body)
            else:
                self.block(node.body)
            self.frames.pop()
            if facts.size() == size:
                break
        facts.known = True
        if before is not None:
            self.frames[0].state.values[recursive] = before
        elif recursive and len(self.frames) == 1:
            self.frames[0].state.values.pop(recursive, None)
        if asynchronous:
            facts.generates = True
        if self.functions:  # made anew at each call; it sees what is around it
            for name in sorted({inner.id for part in body for inner in ast.walk(part) if isinstance(inner, ast.Name)}):
                for around in self.functions:
                    token.holds |= around.state.values.get(name, NOTHING) if name in around.names else NOTHING
            token.holds.discard(token)
        return frozenset([token])

    def _decorated(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
        """Have the decorators touch what they hold; whether one does more than mark what is defined."""
        stateful = False
        for decorator in node.decorator_list:
            value = self.value(decorator)
            name = called(decorator) or getattr(decorator, "attr", getattr(decorator, "id", ""))
            if name not in _HARMLESS:
                self.touch(closure(value))
                stateful = True
        return stateful

    def _class(self, node: ast.ClassDef) -> None:
        bases = self.all_of([*node.bases, *(keyword.value for keyword in node.keywords)])
        self._decorated(node)
        facts = Facts(is_class=True, known=False)
        behaviour = Token(facts=Facts(), acts={base.behaviour for base in bases if base.behaviour})
        token = Token(facts=facts, acts={base for base in bases if base.facts}, behaviour=behaviour)
        token.touchy = any(base.touchy for base in bases)
        for base in bases:
            if base.facts is not None:
                facts.positional, facts.rest = base.facts.positional, base.facts.rest
                facts.changed |= base.facts.changed
                facts.uses_up |= base.facts.uses_up
                facts.returned |= base.facts.returned
        names = {name for name, _ in bindings(node.body)}
        if len(self.frames) == 1:
            token.variable = node.name
        self.frames.append(Frame("class", names))
        for statement in node.body:
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                method = self._define(statement)
                self._take_method(statement, method, facts, token)
            else:
                self.do(statement)
        state = self.frames.pop().state
        held = {part for value in state.values.values() for part in value if not part.facts}
        token.holds |= held
        facts.returned |= held  # its instances share what the class holds
        facts.known = True
        for base in bases:
            base.holds |= {token} - {base}  # it knows its subclasses
        self.bind(node.name, frozenset([token]))

    def _take_method(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef, method: Facts, facts: Facts, token: Token
    ) -> None:
        facts.add(method)
        if node.name == "__del__":
            self.free.add(node.name)  # called whenever nobody holds it any more
        if node.name not in ("__init__", "__new__", "__post_init__", "__init_subclass__") and token.behaviour:
            assert token.behaviour.facts is not None
            token.behaviour.facts.add(method)
        self.methods.setdefault(node.name, []).append(method)
        if node.name in ("__init__", "__new__", "__post_init__"):
            facts.positional, facts.rest = method.positional, method.rest
            facts.changed |= method.changed - set(method.positional[:1])
            facts.uses_up |= method.uses_up
        unnamed = node.name in _LOOKED_AT or any(
            (called(each) or getattr(each, "attr", getattr(each, "id", ""))) not in ("staticmethod", "classmethod")
            for each in node.decorator_list
        )
        if unnamed and method.changed | method.changes | method.binds | method.uses_up | method.spends:
            token.touchy = True
