"""What an expression's value may share with others, and what evaluating it reads and touches. `flow` is built on it."""

from __future__ import annotations

import ast
from abc import abstractmethod
from collections.abc import Iterable

from smol_kernel.runs.known import CHANGING_METHODS, FIELDS_OF_CONNECTIONS, FREE_ATTRIBUTES, TOO_FREE
from smol_kernel.runs.names import LAST_VALUES, bindings
from smol_kernel.runs.tokens import (
    Facts,
    Frame,
    Token,
    Value,
    World,
    acting,
    closure,
    items,
    reached,
    visible,
)

NOTHING: Value = frozenset()
START = 0
"""Stands among the numbers of statements for what was there before the first: inputs, files, the state of chance."""
_ARITHMETIC = (ast.Sub, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.MatMult)


class Expressions:
    """Evaluates expressions one by one, in the order Python does."""

    def __init__(self, tools: Iterable[str], bound: Iterable[str]) -> None:
        self.world = World()
        for token in (self.world.files, self.world.random):
            token.touched.add(START)
        self.frames = [Frame()]
        self.number = 0
        """Of the statement that is read."""
        self.needs: list[set[int]] = [set()]
        """Statement → numbers of those it needs, and START where it reads what was there before them."""
        self.only_settings: list[set[int]] = [set()]
        """Statement → those of them that it needs only because they set what holds for everything after them."""
        self.of_data = {START}
        """Statements that rest on what was there before them, or on what tools gave."""
        self.free: set[str] = set()
        """Names that say why the code cannot be followed."""
        self.tools = frozenset(tools)
        self.bound = frozenset(bound)
        """Global names that the script binds anywhere; others are builtins, or tools."""
        self.calls: dict[int, set[str]] = {}
        """Statement → tools that it may call."""
        self.imported: dict[str, str] = {}
        """Name → what was imported under it, as a dotted path."""
        self.methods: dict[str, list[Facts]] = {}
        """Methods of the script's own classes, by name."""
        self.doubtful: set[Token] = set()
        """Values that a method of which nothing is known is taken to change, if it is called for what it does."""
        self._running: set[int] = set()
        self._globals: dict[str, Token] = {}

    # what is read, and what is touched

    @property
    def functions(self) -> list[Frame]:
        """The functions that the code stands in."""
        return [frame for frame in self.frames if frame.kind == "function"]

    def depend(self, numbers: Iterable[int]) -> None:
        """The statement needs these."""
        if not self.functions:
            self.needs[self.number].update(numbers)

    def touch(self, tokens: Iterable[Token]) -> None:
        """These may change now."""
        for token in reached(tokens):
            if not self.functions:
                token.touched.add(self.number)
            for frame in self.functions:
                if token.parameter:
                    frame.facts.changed.add(token.parameter)
                if token.variable:
                    frame.facts.changes.add(token.variable)
                if token.module or token in self.world.all():
                    frame.facts.world.add(token)

    def doubt(self, value: Value) -> None:
        """A method of which nothing is known was called on this; what it holds is trusted to stay as it is."""
        if not self.functions:
            for token in value & self.doubtful:
                token.touched.add(self.number)
        for frame in self.functions:
            frame.facts.doubted |= {name for token in value for name in (token.parameter, token.variable) if name}

    def ask(self, *tokens: Token) -> None:
        """Read what of the world these are."""
        for token in tokens:
            self.depend(token.touched)
            for frame in self.functions:
                frame.facts.asks.add(token)

    def set(self, node: ast.AST) -> None:
        """This sets what holds for everything after it. What it is set to is no data unless it is made of data."""
        self.touch([self.world.settings])
        if self.functions or self.rests_on_data():
            for name in {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}:
                self.touch(each for each in visible(self.frames, name).state.values.get(name, NOTHING) if each.module)

    def rests_on_data(self) -> bool:
        """Whether the statement does, as far as it was read."""
        return bool(self.needs[self.number] & self.of_data) or self.number in self.calls

    def go_through(self, value: Value) -> None:
        """Use up what is an iterator."""
        for token in closure(value):
            if not token.once:
                continue
            if not self.functions:
                token.touched.add(self.number)
            for frame in self.functions:
                frame.facts.uses_up.update(filter(None, [token.parameter]))
                frame.facts.spends.update(filter(None, [token.variable]))

    def look(self, value: Value) -> None:
        """Use a value: what touched it before counts, and the code that it carries may run."""
        for token in closure(value):
            self.depend(token.touched)
            if token.touchy:
                self.touch([token])
        for function in acting(value):
            self.depend(function.touched)
            self.run(function)

    def run(self, function: Token) -> None:
        """Have the code of a function or class done, whatever its arguments."""
        facts = function.facts
        if facts is None or id(facts) in self._running:
            return
        if self.functions:
            for frame in self.functions:
                if frame.facts is not facts:
                    frame.facts.add(facts)
            return
        outermost = not self._running
        self._running.add(id(facts))  # until all that it leads to is done: each is done once
        state = self.frames[0].state
        for name in sorted(facts.reads):
            self.use(name)
        for name in sorted(facts.changes):
            self.touch(closure(state.values.get(name, NOTHING)))
            self.depend(state.bound.get(name, ()))
        for name in sorted(facts.doubted):
            self.doubt(state.values.get(name, NOTHING))
        for name in sorted(facts.spends):
            self.go_through(state.values.get(name, NOTHING))
        for name in sorted(facts.binds):
            state.bound[name] = state.bound.get(name, frozenset()) | {self.number}
            state.values[name] = state.values.get(name, NOTHING) | {Token(once=True)}
        for token in facts.world | facts.asks:
            self.depend(token.touched)
        self.touch(token for token in facts.world if not token.module or self.rests_on_data())
        for tool in facts.tools:
            self.called(tool)
        if outermost:
            self._running.clear()

    def called(self, tool: str) -> None:
        """Note that a tool may be called."""
        if not self.functions:
            self.calls.setdefault(self.number, set()).add(tool)
        for frame in self.functions:
            frame.facts.tools.add(tool)

    # names

    def use(self, name: str) -> Value:
        """The value of a global variable, read now."""
        state = self.frames[0].state
        self.depend(state.bound.get(name, ()))
        value = state.values.get(name, NOTHING)
        self.look(value)
        return value

    def named(self, name: str) -> Value:
        """The value of a name where it stands."""
        frame = visible(self.frames, name)
        if frame.kind != "module":
            value = frame.state.values.get(name, NOTHING)
            self.look(value)
            return value
        known = frame.state.values.get(name)
        if known is None and name in TOO_FREE | LAST_VALUES:
            self.free.add(name)
        if name not in self.bound:
            if name in self.tools:
                self.called(name)
            return NOTHING
        if not self.functions:
            return self.use(name)
        for function in self.functions:
            function.facts.reads.add(name)
        if known is not None and len(known) == 1 and any(token.facts or token.module for token in known):
            for token in known:
                self.run(token)
            return known
        return frozenset([self._globals.setdefault(name, Token(once=True, variable=name))])

    def bind(self, name: str, value: Value, *, surely: bool = True) -> None:
        """Give a name its value."""
        frame = visible(self.frames, name)
        if frame.kind == "module" and self.functions:
            for function in self.functions:
                function.facts.binds.add(name)
            return
        state = frame.state
        at = frozenset([self.number])
        if surely and (frame.kind != "function" or frame is self.frames[-1]):
            state.bound[name], state.values[name] = at, value
        else:
            state.bound[name] = state.bound.get(name, frozenset()) | at
            state.values[name] = state.values.get(name, NOTHING) | value

    def all_of(self, nodes: Iterable[ast.AST | None]) -> Value:
        """The values of several expressions, evaluated in a row."""
        return frozenset(token for node in nodes if node is not None for token in self.value(node))

    # expressions

    def value(self, node: ast.AST) -> Value:
        """What the value of an expression may be."""
        match node:
            case ast.Constant():
                return NOTHING
            case ast.Name():
                return self.named(node.id)
            case ast.NamedExpr():
                value = self.value(node.value)
                frames = self.frames
                while self.frames[-1].kind == "comprehension":
                    self.frames = self.frames[:-1]
                self.bind(node.target.id, value)
                self.frames = frames
                return value
            case ast.Attribute():
                return self._attribute(node)
            case ast.Subscript():
                return self._subscript(node)
            case ast.Call():
                return self.call(node)
            case ast.BinOp():
                return self._operation(node)
            case ast.IfExp():
                self.value(node.test)
                return self.all_of([node.body, node.orelse])
            case ast.BoolOp():
                return self.all_of(node.values)
            case ast.List() | ast.Tuple() | ast.Set():
                value = self.all_of(node.elts)
                return value if isinstance(node, ast.Tuple) and not value else self.holder(value)
            case ast.Dict():
                return self.holder(self.all_of([*node.keys, *node.values]))
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                return self._comprehension(node)
            case ast.Lambda():
                value = self.function(node, [node.body])
                self.look(value)  # it may be called here
                return value
            case ast.Starred() | ast.Await():
                value = self.value(node.value)
                self.go_through(value)
                if isinstance(node, ast.Starred):
                    return items(value)
                acts = {act for token in closure(value) for act in token.acts}
                return frozenset([Token(holds={token for token in closure(value) if not token.once}, acts=acts)])
            case ast.Yield() | ast.YieldFrom():
                value = self.value(node.value) if node.value else NOTHING
                for frame in self.functions[-1:]:
                    frame.facts.generates = frame.facts.lasting = True
                    frame.facts.returned |= value
                return frozenset([Token()])
            case ast.Compare():
                value = self.all_of([node.left, *node.comparators])
                if any(isinstance(operator, (ast.In, ast.NotIn)) for operator in node.ops):
                    self.go_through(value)
                return self.derived(value)
            case ast.UnaryOp():
                return self.derived(self.value(node.operand))
            case _:
                self.all_of(ast.iter_child_nodes(node))
                return NOTHING

    def holder(self, value: Value) -> Value:
        """A new value that holds others."""
        return frozenset([Token(opaque=False, holds=set(value))])

    def derived(self, value: Value) -> Value:
        """What is calculated from a value: of a table a new one, of a number another."""
        tokens = closure(value)
        if any(token.acts or token.facts for token in tokens):
            return self.holder(value)
        flat, table = all(token.flat for token in value), all(token.table for token in value)
        return frozenset([Token(flat=flat, table=table, opaque=not flat)]) if value else NOTHING

    def _operation(self, node: ast.BinOp) -> Value:
        left, right = self.value(node.left), self.value(node.right)
        value = left | right
        flat = bool(value) and all(token.flat for token in value)
        numbers = any(
            isinstance(side, ast.Constant) and not isinstance(side.value, int) for side in (node.left, node.right)
        )
        if flat or numbers or isinstance(node.op, _ARITHMETIC):
            return self.derived(value)
        return (
            frozenset([Token(holds=set(items(value)), opaque=any(token.opaque for token in value))]) if value else value
        )

    def is_stream(self, node: ast.expr) -> bool:
        """Whether it is `sys.stdout` or `sys.stderr`, to which one prints."""
        stream = isinstance(node, ast.Attribute) and node.attr in ("stdout", "stderr") and node.value
        return isinstance(stream, ast.Name) and any(token.module == "sys" for token in self.value(stream))

    def _attribute(self, node: ast.Attribute) -> Value:
        base = self.value(node.value)
        if node.attr in FREE_ATTRIBUTES:
            self.free.add(node.attr)
        if any(token.module == "sys" for token in base) and node.attr in ("stdout", "stderr", "displayhook"):
            self.free.add(f"sys.{node.attr}")
        own = self.methods.get(node.attr, [])
        if node.attr in CHANGING_METHODS or any(facts.changed for facts in own):
            self.touch(closure(base) if own else base)  # whoever gets the method may call it
        connects = any(token.connects for token in base) and node.attr not in FIELDS_OF_CONNECTIONS
        if connects or node.attr in ("execute", "executemany", "executescript"):
            return self.handed_on(base)
        return base if any(token.module for token in base) else base | items(base)

    def handed_on(self, base: Value) -> Value:
        """A method of a connection to a database, which whoever gets it may call, also later on."""
        changed = {self.world.files, *closure(base)}
        self.touch(changed)
        return frozenset([Token(touchy=True, holds=changed)])

    def _subscript(self, node: ast.Subscript) -> Value:
        base = self.value(node.value)
        self.value(node.slice)
        if base and all(token.flat for token in base) and _selects(node.slice):
            return frozenset([Token(flat=True, table=all(token.table for token in base))])
        if isinstance(node.slice, ast.Slice) and not any(token.opaque for token in base):
            return self.holder(items(base))
        return items(base)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> Value:
        targets = {name for part in node.generators for name, _ in bindings([part.target])}
        source: Value = NOTHING
        self.frames.append(Frame("comprehension", targets))
        for part in node.generators:
            value = self.value(part.iter)
            self.go_through(value)
            source |= value
            self.assign(part.target, items(value))
            self.all_of(part.ifs)
        got = self.all_of([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt])
        self.frames.pop()
        if not isinstance(node, ast.GeneratorExp):
            return self.holder(got)
        reads = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)} - targets
        later = Token(facts=Facts(reads={name for name in reads if visible(self.frames, name).kind == "module"}))
        return frozenset([Token(once=True, opaque=False, holds=set(got | source), acts={later})])

    def root(self, node: ast.AST) -> tuple[str, list[str]]:
        """The package that an attribute chain begins at, and the words of the chain; of others the package is empty."""
        words: list[str] = []
        while isinstance(node, (ast.Attribute, ast.Subscript)):
            if isinstance(node, ast.Attribute):
                words.insert(0, node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return "", words
        known = visible(self.frames, node.id).state.values.get(node.id, NOTHING)
        package = next((token.module for token in known if token.module), "")
        path = self.imported.get(node.id, node.id).split(".") if package else [node.id]
        return package, [*(path[1:] if package else path), *words]

    @abstractmethod
    def assign(self, target: ast.AST, value: Value) -> None:
        """Bind or store what is taken from a value."""

    @abstractmethod
    def call(self, node: ast.Call) -> Value:
        """What a call gives."""

    @abstractmethod
    def function(self, node: ast.AST, body: list[ast.AST]) -> Value:
        """The function that a definition makes."""


def _selects(node: ast.AST) -> bool:
    """Whether an index of a table selects rows or columns, which copies them."""
    if isinstance(node, (ast.List, ast.Compare, ast.UnaryOp)):
        return True
    return isinstance(node, ast.BinOp) and isinstance(node.op, (ast.BitAnd, ast.BitOr, ast.BitXor))
