"""What a call touches, and what its value shares with others. `flow` is built on it."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from smol_kernel.runs import known
from smol_kernel.runs.expressions import NOTHING
from smol_kernel.runs.given import Given
from smol_kernel.runs.names import called
from smol_kernel.runs.opening import OPENING, Opening
from smol_kernel.runs.results import NOT_GONE_THROUGH
from smol_kernel.runs.tokens import Facts, Token, Value, closure, items

_SHARED = frozenset(["queue", "multiprocessing", "asyncio", "threading", "concurrent", "weakref"])
"""Modules whose objects are changed already by being asked."""
_INTO_THIRD = frozenset(["add", "divide", "maximum", "minimum", "mod", "multiply", "power", "subtract", "true_divide"])
"""Functions of arrays whose third argument, if there is one, takes the result."""

_PRINTING = ("write", "writelines", "flush")
"""Methods by which a stream does what `print` does."""


class Calls(Opening):
    """Evaluates calls."""

    def __init__(self, tools: Iterable[str], bound: Iterable[str]) -> None:
        super().__init__(tools, bound)
        self.alone = False
        """Whether the call stands alone as a statement: made for what it does."""

    def call(self, node: ast.Call) -> Value:
        """What a call gives."""
        alone, self.alone = self.alone, False
        name = called(node)
        package, words = self.root(node.func)
        receiver: Value = NOTHING
        function: Value = NOTHING
        if isinstance(node.func, ast.Attribute):
            if name in _PRINTING and self.is_stream(node.func.value):
                Given(self, node)
                return NOTHING
            self.alone = alone and self.trusts  # `a.add(1).add(2)`
            receiver = self.value(node.func.value)
            self.alone = False
            if name == "aio" and isinstance(node.func.value, ast.Name):
                name, package, words = node.func.value.id, "", [node.func.value.id]
        else:
            function = self.value(node.func)
            if package:
                name = words[-1] if words else name
        given = Given(self, node)
        bare = isinstance(node.func, ast.Name)
        if name in self.tools and (bare or words == [name]) and not function:
            self.called(name)
            return frozenset([Token(opaque=True)])
        self._call_back(given, receiver)
        single = next(iter(function)) if len(function) == 1 else None
        if single is not None and single.facts is not None:
            return self._own(single, given)
        if package:
            return self._of_module(package, words or [name], given, alone)
        if isinstance(node.func, ast.Attribute):
            return self._method(name, words, receiver, given, alone)
        if function or not bare:
            if isinstance(node.func, ast.Call):  # `getattr(a, "append")(1)`
                self.touch(function)
            return frozenset([self._anything(function | given.every)])
        if name == "final_answer":
            return NOTHING
        return self._builtin(name, given, alone)

    def _call_back(self, given: Given, receiver: Value) -> None:
        """Functions given to a call may be called with what else is given."""
        others = given.every | receiver
        if any(token.facts is not None and token.facts.changed for token in given.every):
            self.touch(closure(others))
        for token in given.every:
            if token.facts is not None and token.facts.generates:
                self.go_through(others)

    # functions and classes of the script's own

    def _own(self, token: Token, given: Given) -> Value:
        facts = token.facts
        assert facts is not None
        self.run(token)
        if facts.stateful:
            self.touch([token])
            self.depend(token.touched)
        bound = NOTHING if facts.is_class else None
        values = given.of(facts, bound=bound)
        if not facts.known:
            for frame in self.functions:  # it calls itself: what it does to its arguments is still being found out
                frame.facts.reads |= facts.reads
        self._effects(facts, values, given)
        if facts.is_class:
            self.touch(closure(facts.returned))
            return frozenset(
                [Token(holds=set(given.every) | facts.returned, acts={token.behaviour or token}, touchy=token.touchy)]
            )
        return frozenset([self._given_back(token, facts, values, given)])

    def _given_back(self, token: Token, facts: Facts, values: dict[str, Value], given: Given) -> Token:
        """What a function of the script's own gives back, made anew by each call."""
        result = Token()
        for got in closure(facts.returned):
            if got.parameter:
                result.holds |= values.get(got.parameter, token.holds)
            elif got.variable:
                found = NOTHING if self.functions else self.frames[0].state.values.get(got.variable, NOTHING)
                result.holds |= found or {got}
            elif got.module or got in self.world.all():
                result.holds.add(got)
            else:  # made in the function
                result.once |= got.once
                result.touchy |= got.touchy
                result.acts |= got.acts
        if facts.lasting:
            result.acts.add(token)
            result.holds |= given.every
        result.holds.discard(result)
        if facts.generates:
            return Token(once=True, opaque=False, holds={result}, acts=set(result.acts))
        return result

    def _effects(self, facts: Facts, values: dict[str, Value], given: Given) -> None:
        changed: set[Token] = set()
        for name in facts.changed:
            changed |= closure(values.get(name, NOTHING))
        self.touch(changed)
        for name in facts.doubted:
            self.doubt(values.get(name, NOTHING))
        for name in facts.uses_up:
            self.go_through(values.get(name, NOTHING))
        kept = changed
        if not self.functions:
            for name in facts.changes | facts.binds:
                kept = kept | self.frames[0].state.values.get(name, NOTHING)
        for token in kept:
            token.holds |= given.every - {token}

    # functions of modules

    def _of_module(self, package: str, words: list[str], given: Given, alone: bool) -> Value:
        name, world, said = words[-1], self.world, set(words)
        if name in ("eval", "evaluate") and package in ("pandas", "numexpr"):
            self.free.add(name)
        if name in known.SEEDS:
            self.touch([world.random])
            return NOTHING
        if said & known.SETTING or package == "signal":
            self.set(given.node.func)
            return frozenset([Token(holds={world.settings})])
        if package in known.FIGURE_MODULES:
            self.ask(world.figure)
            self.touch([world.figure])
            if name in known.WRITING:
                self.write(given)
            return frozenset([Token(holds={world.figure})])
        if name in OPENING:
            return self.opened(name, package, given)
        if name == "open":
            return self.open(given, package)
        writing = name in known.WRITING or (package in known.WRITING_MODULES and not said & known.READING_OS)
        if writing:
            self.write(given)
        draws = package in ("random", "secrets") or "random" in said
        in_place = name == "at" or (name in _INTO_THIRD and len(given.positional) > 2) or given.is_shared
        if name.endswith("into") or (package == "numpy" and in_place):
            self.touch(closure(given.every))
        if name in known.CHANGING_FUNCTIONS:
            self._change_first(given)
        elif package == "time" or name in known.PURE_FUNCTIONS or package in known.PURE_MODULES or draws:
            if name not in NOT_GONE_THROUGH:
                self.go_through(given.every)
        elif not writing:
            self._anything(given.every)
            self.ask(world.files)
            if alone:
                self.touch([world.outside])
            draws = draws or not name[:1].isupper()
        if draws and not (name in ("default_rng", "RandomState", "Random", "Generator") and given.positional):
            self.ask(world.random)
            self.touch([world.random])
        if "out" in (option for option, _ in given.named):
            self.touch(frozenset(token for option, value in given.named if option == "out" for token in value))
        of_file = name != "loads" and not any(token.in_memory for token in given.every)
        if name.startswith(("read_sql", "read_database")):
            self.ask_database(given)
        if (name.startswith(("read_", "load")) and of_file) or package in ("os", "glob", "pathlib", "shutil"):
            self.ask(world.files)
            self.go_through(given.every)
        if (package in _SHARED and name[:1].isupper()) or (package, name) == ("PIL", "Draw"):
            return frozenset([Token(touchy=True, holds=set(given.every))])
        return self.result(name, package, NOTHING, given)

    def _change_first(self, given: Given) -> None:
        first = given.positional[0][1] if given.positional else NOTHING
        self.touch(first)
        self.go_through(given.every)
        for token in first:
            token.holds |= given.every - {token}

    # methods

    def _method(self, name: str, words: list[str], receiver: Value, given: Given, alone: bool) -> Value:
        world = self.world
        own = self.methods.get(name, [])
        if own and any(token.acts or token.variable or token.parameter for token in closure(receiver)):
            return self._own_method(own, receiver, given)
        if receiver and all(token.connects for token in receiver):
            return self.of_connection(name, receiver, given, alone)
        inplace = given.option("inplace")
        perhaps = name in known.IN_PLACE and None in (option for option, _ in given.named)  # `**options`
        if perhaps or (inplace is not None and not (isinstance(inplace, ast.Constant) and not inplace.value)):
            self.touch(receiver)
        if name in known.FIGURE_METHODS or "plot" in words[:-1]:
            self.ask(world.figure)
            self.touch([world.figure])
            if not all(token.flat for token in receiver):
                self.touch(closure(receiver))
            return frozenset([Token(holds={world.figure})])
        if name == "sample" and given.option("random_state") is None:
            self.ask(world.random)
            self.touch([world.random])
        if _is_of_table(name, words, receiver, given):
            self.go_through(given.every)
            return self.result(name, "", receiver, given)
        if name in known.CHANGING_METHODS and not receiver:  # `list.append(a, 1)`
            self._change_first(given)
        if name in known.CHANGING_METHODS or name in known.LEARNING:
            self.touch(receiver)
            self.go_through(given.every)
            new = given.every
            if name == "setdefault" and given.positional:
                new = NOTHING.union(*(value for _, value in given.positional[1:]))
            for token in receiver:
                token.holds |= new - {token}
            if name == "fit" and receiver and not any(token.opaque for token in receiver):
                return frozenset([Token()])  # of a model of a formula
            return items(receiver) | new
        takes_out = name == "extract" and words[-2:-1] != ["str"] and not _is_table(receiver)
        if _writes(name, given) or takes_out:
            saves = name in known.SAVING | known.TO_PATH
            if not saves:
                self.touch(closure(receiver))
            if name not in ("write", "writelines", "truncate", "call") or not receiver:
                self.write(given)
            self.go_through(given.every)
            return frozenset([Token(holds=set[Token]() if saves else set(receiver))])
        if name in ("read", "readline", "readlines") and receiver and all(token.of_text for token in receiver):
            self.ask(world.files)
            self.touch(receiver)
            return self.holder(NOTHING) if name == "readlines" else NOTHING
        if name in ("read", "read_text", "read_bytes", "exists", "iterdir", "glob", "rglob", "stat", "is_file"):
            self.ask(world.files)
            self.go_through(receiver)
        logs = name == "info" and given.positional and world.files in closure(receiver)  # else it is that of a table
        styles = name == "format" and alone and receiver and all(token.flat for token in receiver)
        said = {option for option, _ in given.named}
        cell = name == "cell" and len(given.positional) < 3 and not said & {"value", None}  # of openpyxl
        if (name in known.PURE or cell) and not logs and not styles:
            if name not in NOT_GONE_THROUGH:
                self.go_through(given.every)
            return self.result(name, "", receiver, given)
        if name == "open":
            self.touch(closure(receiver))
            return self.open(given)
        if name in known.CHANGING_FIRST:  # `rng.shuffle(a)`
            self._change_first(given)
        elif alone and world.figure not in receiver:
            self.doubt(receiver)
        return frozenset([self._anything(receiver | given.every)])

    def _own_method(self, own: list[Facts], receiver: Value, given: Given) -> Value:
        value: Value = NOTHING
        for facts in own:
            values = given.of(facts, bound=receiver)
            self._effects(facts, values, given)
            value |= frozenset([Token(once=facts.generates, holds=set(receiver | given.every))])
        return value

    # builtins

    def _builtin(self, name: str, given: Given, alone: bool) -> Value:
        if name == "open":
            return self.open(given)
        if name == "getattr" and any(token.connects for token in given.every):
            return self.handed_on(given.every)
        if name == "print" and given.option("file") is not None:
            self.touch(closure(frozenset(t for option, v in given.named if option == "file" for t in v)))
        if name in known.CHANGING_FUNCTIONS:
            self._change_first(given)
            return items(given.every)
        if name in known.PURE_FUNCTIONS:
            if name not in NOT_GONE_THROUGH:
                self.go_through(given.every)
            return self.result(name, "", NOTHING, given)
        if alone:
            self.touch([self.world.outside])
        return frozenset([self._anything(given.every)])

    def _anything(self, value: Value) -> Token:
        """What a call gives of which nothing is known: it may change all it is given, unless that is trusted, and have
        it hold each other."""
        if not self.trusts:
            self.touch(closure(value))
        for token in value:
            token.holds |= value - {token}
        return Token(once=True, holds=set(value))


def _is_of_table(name: str, words: list[str], receiver: Value, given: Given) -> bool:
    """Whether a method that may do anything elsewhere is one of a table, which it leaves as it is."""
    if name in known.STYLING:  # of one that has no name yet
        return _is_table(receiver) and _begins_with_style(given.node.func)
    if name == "partition" and words[-2:-1] == ["str"]:
        return bool(receiver) and all(token.flat for token in receiver)
    if _is_table(receiver):
        return name in known.TABLE_METHODS
    said = {option for option, _ in given.named}
    renames = name == "rename" and not given.positional and bool(said & {"columns", "index", "mapper"})
    return renames and said <= known.RENAMING and not any(token.foreign for token in closure(receiver))


def _is_table(receiver: Value) -> bool:
    return bool(receiver) and all(token.table for token in receiver)


def _begins_with_style(node: ast.expr) -> bool:
    """Whether it is a chain of calls on `….style`."""
    while isinstance(node, (ast.Attribute, ast.Call)):
        if isinstance(node, ast.Attribute) and node.attr == "style":
            return True
        node = node.func if isinstance(node, ast.Call) else node.value
    return False


def _writes(name: str, given: Given) -> bool:
    """Whether a method writes a file."""
    call = given.node
    if name not in known.TO_PATH:
        return name in known.WRITING and (bool(call.args or call.keywords) or name not in known.SAVING)
    names = (None, "buf", "path", "path_or_buf", "path_or_buffer")  # None: `**options`
    where = [*call.args[:1], *(keyword.value for keyword in call.keywords if keyword.arg in names)]
    return any(not (isinstance(to, ast.Constant) and to.value is None) for to in where)
