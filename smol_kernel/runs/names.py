"""Which global names a script binds and where they stand, so that those of the user can be given another name."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from itertools import pairwise

from smol_kernel.runs.source import Edit, Source
from smol_kernel.runs.tokens import Frame, visible

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_PATTERNS = (ast.MatchAs, ast.MatchStar)
LAST_VALUES = frozenset(["_", "__", "___"])
"""Names under which IPython keeps the values that were shown last, unless the user gives them values."""
_WORD = re.compile(r"[^\W\d]\w*")
_QUERIED = r"(?<!\w)@({})\b"
"""A name as `df.query("a > @name")` reads it; `{}` is for the name."""
_SAID = re.compile(r"[^=!<>:]=\s*(?:![rsa]\s*)?[:}]")
"""The end of `{name=}` in an f-string."""
_EVALUATING = frozenset(["pandas", "numexpr"])
"""Libraries of which `eval` or `evaluate` reads variables."""
_SQL = frozenset(["duckdb", "polars", "pandasql"])
"""Libraries to which a table in SQL may be a variable."""
_ASKING = frozenset(["sql", "query", "execute", "from_query", "sqldf"])
"""Functions of theirs."""


class Names(ast.NodeVisitor):
    """Reads the parts of a script in order, all in one namespace."""

    def __init__(self) -> None:
        self.bound: set[str] = set()
        """Global names given a new value."""
        self.every: set[str] = set()
        """All identifiers met; a name outside is free."""
        self.spans: dict[str, list[tuple[int, Edit]]] = {}
        """Global name → its places, as the number of the part and an edit whose text has `{}` for the new name."""
        self.queried: set[str] = set()
        """Global names that stand in strings as `df.query("a > @name")` reads them."""
        self._unplaced: set[str] = set()
        self._in_strings: set[str] = set()
        self._knows_sql = self._asks_sql = self._reads_strings = False
        """Whether the script may read a name that is the text of some string, of which one is not known."""
        self._module = Frame()
        self._scopes = [self._module]
        self._evaluating: set[str] = set()
        self._part = -1
        self._source = Source("")
        self._in_fstring: list[ast.AST] = []

    @property
    def unplaced(self) -> set[str]:
        """Global names with a place that cannot be told."""
        reads = self._reads_strings or (self._knows_sql and self._asks_sql)
        return self._unplaced | (self._in_strings if reads else set[str]())

    def read(self, source: Source, statements: Iterable[ast.stmt]) -> None:
        """Take in the next part: these statements of `source`."""
        self._part += 1
        self._source = source
        unread = [source.text] if source.body is None else map(source.line, source.magics)
        for text in unread:  # what stands there is found by nobody
            self._unplaced.update(_WORD.findall(text))
        for statement in statements:
            self.visit(statement)

    # names

    def visit_Name(self, node: ast.Name) -> None:
        """A name that is read, bound or deleted."""
        self._name(node.id, node, bind=not isinstance(node.ctx, ast.Load))

    def _name(self, name: str, node: ast.AST, *, bind: bool, within: str | None = None) -> None:
        """Note an occurrence; `within` is the word it follows in the node (None: the node is the name)."""
        self.every.add(name)
        if visible(self._scopes, name) is not self._module:
            return
        if bind:
            self.bound.add(name)
        if self._in_fstring and sys.version_info < (3, 12):  # places inside are not to be relied on there
            edits = list(self._places_in_fstring(name, self._in_fstring[-1]))
        else:
            start, end = self._source.span(node)
            edits = [Edit(start, end, "{}")] if within is None else list(self._place_after(name, start, end, within))
        if not edits or any(self._source.text[edit.start : edit.end] not in (name, "") for edit in edits):
            self._unplaced.add(name)
        self.spans.setdefault(name, []).extend((self._part, edit) for edit in edits)

    def _place_after(self, name: str, start: int, end: int, word: str) -> Iterator[Edit]:
        found = re.compile(rf"{word}\s*({name})\b").search(self._source.text, start, end)
        if found:
            yield Edit(found.start(1), found.end(1), "{}")

    def _places_in_fstring(self, name: str, node: ast.AST) -> Iterator[Edit]:
        start, end = self._source.span(node)
        for part in re.compile(r"(?<!\{)(?:\{\{)*\{(?!\{)[^{}]*").finditer(self._source.text, start, end):
            for found in re.compile(rf"(?<![\w.'\"]){name}\b(?!\s*=[^=])").finditer(self._source.text, *part.span()):
                yield Edit(*found.span(), "{}")

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """An f-string: before Python 3.12 places inside one are found by text. `{name=}` shows the name itself."""
        self._in_fstring.append(node)
        if _SAID.search(self._source.text, *self._source.span(node)):
            for before, part in pairwise(node.values):
                if isinstance(before, ast.Constant) and str(before.value).rstrip().endswith("="):
                    self._unplaced.update(inner.id for inner in ast.walk(part) if isinstance(inner, ast.Name))
        self.generic_visit(node)
        self._in_fstring.pop()

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        """Imports bind the first part of a name, or its `as`."""
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        self._knows_sql |= any(module.partition(".")[0] in _SQL for module in modules)
        for alias in node.names:
            if alias.name in _EVALUATING:
                self._evaluating.add(alias.asname or alias.name)
            if alias.asname:
                self._name(alias.asname, alias, bind=True, within=r"\bas\b")
            elif alias.name != "*":
                first, *rest = alias.name.split(".")
                start, end = self._source.span(alias)
                self._name(first, alias, bind=True, within="(?:)" if not rest else "(?!)")
                if not rest and visible(self._scopes, first) is self._module:
                    self.spans[first][-1] = (self._part, Edit(start, end, f"{first} as {{}}"))

    visit_ImportFrom = visit_Import

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        """`except … as name`."""
        if node.name:
            self._name(node.name, node, bind=True, within=r"\bas\b")
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar) -> None:
        """Captures of a `match` statement."""
        if node.name:
            before = r"\bas\b" if getattr(node, "pattern", None) else r"\*" if isinstance(node, ast.MatchStar) else ""
            self._name(node.name, node, bind=True, within=before)
        self.generic_visit(node)

    visit_MatchStar = visit_MatchAs

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        """`{**rest}` in a `match` statement."""
        if node.rest:
            self._name(node.rest, node, bind=True, within=r"\*\*")
        self.generic_visit(node)

    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> None:
        """Declarations name a name without using it."""
        for name in node.names:
            self._name(name, node, bind=False, within=r"\b(?:global|nonlocal)\b[\w\s,]*?\b")

    visit_Nonlocal = visit_Global

    # scopes

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """A function: its name, defaults and annotations belong outside."""
        self._outside([*node.decorator_list, node.returns])
        self._name(node.name, node, bind=True, within=r"\bdef\b")
        self._inside(self._parameters(node.args), node.body)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        """A lambda."""
        self._inside(self._parameters(node.args), [node.body])

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """A class: its names are its own."""
        self._outside([*node.decorator_list, *node.bases, *node.keywords])
        self._name(node.name, node, bind=True, within=r"\bclass\b")
        self._inside(set(), node.body, "class")

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> None:
        self.visit(node.generators[0].iter)
        targets = {name for part in node.generators for name, _ in bindings([part.target])}
        self._scopes.append(Frame("comprehension", targets))
        for number, part in enumerate(node.generators):
            self.visit(part.target)
            for child in part.ifs if number == 0 else [part.iter, *part.ifs]:
                self.visit(child)
        for value in (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,):
            self.visit(value)
        self._scopes.pop()

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension

    def _parameters(self, arguments: ast.arguments) -> set[str]:
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        self._outside([*arguments.defaults, *arguments.kw_defaults, *(arg.annotation for arg in every if arg)])
        return {argument.arg for argument in every if argument}

    def _outside(self, nodes: Iterable[ast.AST | None]) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)

    def _inside(self, parameters: set[str], body: Iterable[ast.AST], kind: str = "function") -> None:
        body = list(body)
        found = list(bindings(body))
        outer = {name for name, how in found if how == "global"}
        inherited = {name for name, how in found if how == "nonlocal"}
        scope = Frame(kind, (parameters | {name for name, _ in found}) - outer - inherited, outer)
        self.every |= scope.names
        self._scopes.append(scope)
        for node in body:
            self.visit(node)
        self._scopes.pop()

    # places in strings

    def visit_Constant(self, node: ast.Constant) -> None:
        """`"a > @name"` reads a name, wherever it is made; any other word of a string may be read as one."""
        if not isinstance(node.value, str):
            return
        self._in_strings.update(_WORD.findall(node.value))
        names = re.findall(_QUERIED.format(_WORD.pattern), node.value)
        start, end = self._source.span(self._in_fstring[-1] if self._in_fstring else node)
        for name in set(names):
            self.every.add(name)
            if visible(self._scopes, name) is not self._module:
                continue
            self.queried.add(name)
            found = list(re.compile(_QUERIED.format(name)).finditer(self._source.text, start, end))
            if len(found) < names.count(name):  # written with escapes or in pieces
                self._unplaced.add(name)
            self.spans.setdefault(name, []).extend((self._part, Edit(*one.span(1), "{}")) for one in found)

    def visit_Call(self, node: ast.Call) -> None:
        """What `eval` and `exec` read cannot be placed, nor what is taken from all names at once."""
        name = called(node)
        of = node.func.value if isinstance(node.func, ast.Attribute) else None
        evaluates = isinstance(of, ast.Name) and of.id in self._evaluating and name in ("eval", "evaluate")
        evaluates = evaluates or _is_builtin(node, "eval")
        if name in ("exec", "run_cell", "run_line_magic", "getoutput", "system") or evaluates:
            for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
                if isinstance(argument, ast.Constant):
                    self._unplaced.update(_WORD.findall(str(argument.value)))
        if evaluates or _is_builtin(node, "exec"):
            self._reads_strings |= not all(isinstance(argument, ast.Constant) for argument in node.args[:1])
        self._reads_strings |= _is_namespace(node)
        self._asks_sql |= name in _ASKING
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """`globals()["name"]` is a name that cannot be given another."""
        if _is_namespace(node.value) and isinstance(node.slice, ast.Constant):
            self._unplaced.add(str(node.slice.value))
        else:
            self.generic_visit(node)


def _is_builtin(node: ast.AST, *names: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names


def _is_namespace(node: ast.AST) -> bool:
    """Whether `node` is a call that gives all names with their values."""
    return isinstance(node, ast.Call) and _is_builtin(node, "globals", "locals", "vars") and not node.args


def called(node: ast.AST) -> str:
    """The last word of what is called; empty if nothing is."""
    function = node.func if isinstance(node, ast.Call) else None
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def bindings(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, str]]:
    """Names that code binds in the scope it stands in, and how: "bound", "global" or "nonlocal"."""
    for node in nodes:
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id, "bound"
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            for name in node.names:
                yield name, type(node).__name__.lower()
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                yield alias.asname or alias.name.split(".")[0], "bound"
        elif isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            yield node.name, "bound"
            continue  # its inside is a scope of its own
        elif isinstance(node, ast.Lambda):
            continue
        elif isinstance(node, _COMPREHENSIONS):
            for inner in ast.walk(node):  # only a walrus reaches out
                if isinstance(inner, ast.NamedExpr):
                    yield inner.target.id, "bound"
            continue
        elif isinstance(node, (ast.ExceptHandler, *_PATTERNS)) and node.name:
            yield node.name, "bound"
        elif isinstance(node, ast.MatchMapping) and node.rest:
            yield node.rest, "bound"
        yield from bindings(ast.iter_child_nodes(node))


def bound_by(nodes: Iterable[ast.AST]) -> set[str]:
    """Global names that code at the top level binds, wherever it does."""
    nodes = list(nodes)
    declared = (node for top in nodes for node in ast.walk(top) if isinstance(node, ast.Global))
    return {name for name, _ in bindings(nodes)}.union(*(node.names for node in declared))
