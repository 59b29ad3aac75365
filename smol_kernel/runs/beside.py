"""What cells run that does not stand in them, as text: of functions and classes that were handed in, and of modules in
the folder of the run. Used by `prove`.

Functions that are never named, there or in the cells, are left out; what cannot be read is left out as well.
"""

from __future__ import annotations

import ast
import inspect
import os
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from copy import copy
from dataclasses import dataclass, field
from keyword import iskeyword
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from smol_kernel.runs.known import SEEDS
from smol_kernel.runs.paths import imported, root_of
from smol_kernel.runs.source import Source, nodes_of

MOST_MODULES = 30
MOST_BYTES = 1 << 18
"""Of the modules that are read, together: where there is more, none is."""
_MAKING = ("__init__", "__post_init__", "__new__")
"""Methods that have run already where an instance was handed in."""
_LINKS = (ast.Attribute, ast.Subscript)
_LEVELS = frozenset("debug info warning warn error exception critical log".split())  # noqa: SIM905
_TELLING = frozenset(["warnings.warn", "sys.stderr.write", "sys.stdout.write"])


def beside(cells: Sequence[str], values: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """The texts, each by the name of the value or the path of the module. `values` are what was handed in."""
    nodes = nodes_of(cells)
    words = _words(nodes, _loaded(nodes) - _made_by(nodes), folder)
    bodies: dict[str, list[ast.stmt]] = {}
    for name in values.keys() & {each.id for each in nodes if isinstance(each, ast.Name)}:
        value = values[name]
        kind = value if isinstance(value, (FunctionType, type)) else type(value)
        body = list(_body_of(kind, folder, set(), _MAKING if kind is not value and kind.__name__ not in words else ()))
        if body:
            bodies[name] = _quiet(body)
            words.names.add(_name_of(kind))
    handed_in = [node for body in bodies.values() for node in _walked(body)]
    modules = {name: _quiet(body) for name, body in _modules([*nodes, *handed_in], folder).items()}
    seeding = _seeding([*bodies.values(), *modules.values()])
    while True:
        before = len(words)
        kept = {name: _reached(body, words) for name, body in bodies.items()}
        kept |= {name: _reached(_standing(body, words, seeding), words) for name, body in modules.items()}
        for body in kept.values():
            words.add(_words(list(_walked(body)), _free(body), folder, words.names))
        if len(words) == before:
            return {name: ast.unparse(ast.Module(body, [])) for name, body in kept.items()}


@dataclass
class _Words:
    """What is named: functions and classes of modules by `names`, methods by `methods` as well."""

    names: set[str] = field(default_factory=set)
    methods: set[str] = field(default_factory=set)

    def __contains__(self, name: str) -> bool:
        return name in self.names or name in self.methods

    def __len__(self) -> int:
        return len(self.names) + len(self.methods)

    def add(self, others: _Words) -> None:
        self.names |= others.names
        self.methods |= others.methods


def _walked(body: Iterable[ast.stmt]) -> Iterator[ast.AST]:
    return (node for statement in body for node in ast.walk(statement))


def _words(nodes: Sequence[ast.AST], names: set[str], folder: Path, named: AbstractSet[str] = frozenset()) -> _Words:
    """The names that they use: of libraries' functions none, and of what they import what is used or was `named`.
    `names` are those that they use by themselves."""
    libraries, modules = _roots(nodes, folder)
    words = _Words(set(names))
    for node in nodes:
        if isinstance(node, ast.Attribute):
            root = root_of(node, _LINKS)
            if root in modules or root not in libraries:
                (words.names if root in modules else words.methods).add(node.attr)
    for node in nodes:
        if isinstance(node, ast.alias):
            bound = node.asname or node.name.partition(".")[0]
            if bound in names or bound in named:
                words.names.update(node.name.split("."))
    return words


def _roots(nodes: Iterable[ast.AST], folder: Path) -> tuple[set[str], set[str]]:
    """The names that imports bind to libraries or to what is in them, and those that may be modules in the folder."""
    libraries: set[str] = set()
    modules: set[str] = set()
    for node in nodes:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        before = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
        for alias in node.names:
            path = before + alias.name
            first = path.partition(".")[0]
            bound = alias.asname or alias.name.partition(".")[0]
            if (isinstance(node, ast.ImportFrom) and node.level) or _file(folder, path):
                modules.add(bound)
            elif not any(_file(folder, each) for each in (first, before.rstrip("."))):
                libraries.add(bound)
            elif not before:
                modules.add(bound)
    return libraries, modules


def _loaded(nodes: Iterable[ast.AST]) -> set[str]:
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def _free(body: Iterable[ast.stmt]) -> set[str]:
    """The names that they use, without those that functions have of their own."""
    found: set[str] = set()
    for statement in body:
        nodes = list(ast.walk(statement))
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                shared = {name for node in nodes if isinstance(node, ast.Global) for name in node.names}
                found |= _loaded(nodes) - (_made_by(nodes[1:]) - shared)
            case ast.ClassDef(bases=bases, body=inner, decorator_list=decorators):
                found |= _free(inner).union(*(_loaded(ast.walk(each)) for each in [*bases, *decorators]))
            case _:
                found |= _loaded(nodes)
    return found


def _made_by(nodes: Sequence[ast.AST]) -> set[str]:
    """The names that they bind, but by no import."""
    made: set[str] = set()
    for node in nodes:
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                made.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                made.add(name)
            case _:
                pass
    return made - imported(nodes).keys()


def _reached(body: Iterable[ast.stmt], words: _Words, *, of_class: bool = False) -> list[ast.stmt]:
    """The statements without the functions and classes that none of the words names, and what a module does as a
    program."""
    found: list[ast.stmt] = []
    for statement in body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                if name not in (words if of_class else words.names) and not (of_class and name.startswith("__")):
                    continue
                if isinstance(statement, ast.ClassDef):
                    inner, statement = _reached(statement.body, words, of_class=True), copy(statement)
                    statement.body = inner or [ast.Pass()]
            case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
                continue
            case _:
                pass
        found.append(statement)
    return found


def _standing(body: Iterable[ast.stmt], words: _Words, seeding: set[str]) -> Iterator[ast.stmt]:
    """The statements of a module but those that nothing comes of: they bind or change nothing that is named, and set
    no seed."""
    for statement in body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            yield statement
            continue
        nodes = list(ast.walk(statement))
        made = _made_by(nodes) | imported(nodes).keys()
        made |= {root_of(node, _LINKS) for node in nodes if isinstance(node, _LINKS) and _stores(node)}
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            called = statement.value.func
            made.add(root_of(called, _LINKS) if isinstance(called, ast.Attribute) else "")
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield statement
        elif made & words.names or _called(nodes) & seeding:
            words.names |= _called(nodes) & seeding
            yield statement


def _stores(node: ast.Attribute | ast.Subscript) -> bool:
    return isinstance(node.ctx, ast.Store)


def _called(nodes: Iterable[ast.AST]) -> set[str]:
    """The last names of what they call."""
    functions = [node.func for node in nodes if isinstance(node, ast.Call)]
    return {str(each.id if isinstance(each, ast.Name) else getattr(each, "attr", "")) for each in functions}


def _seeding(bodies: Iterable[Iterable[ast.stmt]]) -> set[str]:
    """The names of functions that set a seed, be it by others."""
    functions = [
        node
        for body in bodies
        for node in _walked(body)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]
    called = {each.name: set[str]() for each in functions}
    for each in functions:
        called[each.name] |= _called(ast.walk(each))
    found: set[str] = set(SEEDS)
    while more := {name for name, names in called.items() if names & found} - found:
        found |= more
    return found


def _modules(nodes: Iterable[ast.AST], folder: Path) -> dict[str, list[ast.stmt]]:
    """The statements of the modules in the folder that are imported, and of those that these import; of many none."""
    found: dict[str, list[ast.stmt]] = {}
    seen: set[Path] = set()
    size = 0
    waiting = sorted(_imported_files(nodes, folder, folder))
    while waiting:
        file = waiting.pop(0)
        if file.resolve() in seen:
            continue
        seen.add(file.resolve())
        size += file.stat().st_size
        if len(seen) > MOST_MODULES or size > MOST_BYTES:
            return {}  # those left out may set the seed for the others
        body = Source(file.read_text(encoding="utf-8", errors="replace")).body or []
        found[str(file.relative_to(folder))] = body
        waiting += sorted(_imported_files(_walked(body), file.parent, folder))
    return found


def _imported_files(nodes: Iterable[ast.AST], here: Path, folder: Path) -> set[Path]:
    """The files of the modules that they import, in the folder. `here` is where they stand."""
    found: set[Path] = set()
    for node in nodes:
        start = folder
        if isinstance(node, ast.Import):
            paths = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            paths = [".".join(filter(None, [node.module, alias.name])) for alias in node.names]
            start = Path(os.path.normpath(here.joinpath(*[".."] * (node.level - 1)))) if node.level else folder
        else:
            continue
        if start.is_relative_to(folder):
            words = [path.split(".") for path in paths]
            parts = {".".join(each[: n + 1]) for each in words for n in range(len(each))}
            found.update(filter(None, (_file(start, part) for part in parts)))
    return found


def _file(folder: Path, path: str) -> Path | None:
    """The file of a module in the folder, by its dotted path; None if there is none that can be read."""
    if not path:
        return None
    place = folder.joinpath(*path.split("."))
    files = (place.with_name(f"{place.name}.py"), place / "__init__.py")
    return next((each for each in files if os.access(each, os.R_OK) and each.is_file()), None)


def _quiet(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements without what is only printed or logged, and without what was worked out for that alone."""
    return [part for each in body for part in [_Quiet().visit(each)]]


class _Quiet(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        return ast.Pass() if _only_tells(node.value) else node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        while True:
            nodes = list(ast.walk(node))
            used = _loaded(nodes)
            used |= {name for each in nodes if isinstance(each, ast.Global | ast.Nonlocal) for name in each.names}
            idle = {id(each) for each in nodes if _is_idle(each, used)}
            if not idle:
                return node
            for each in nodes:
                for part in ("body", "orelse", "finalbody"):
                    lines: Any = getattr(each, part, None)
                    if isinstance(lines, list):
                        lines[:] = [ast.Pass() if id(line) in idle else line for line in lines]


def _is_idle(node: ast.AST, used: set[str]) -> bool:
    """Whether it gives a value to a name alone that is not used, and sets no seed."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name not in used and not _called(ast.walk(node)) & SEEDS.keys()
        case _:
            return False


def _only_tells(node: ast.expr) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="print"), keywords=keywords):
            return all(each.arg in ("sep", "end", "flush") for each in keywords)
        case ast.Call(func=ast.Attribute(value=value, attr=attr)):
            return (attr in _LEVELS and "log" in ast.unparse(value).lower()) or ast.unparse(node.func) in _TELLING
        case _:
            return False


def _body_of(kind: Any, folder: Path, seen: set[Any], without: Sequence[str] = ()) -> Iterator[ast.stmt]:
    """A function of the user's or a class with its methods, as statements, with those that they use, and with imports
    of what else they use."""
    kind = inspect.unwrap(kind) if isinstance(kind, FunctionType) else kind
    if kind in seen or not _is_own(kind, folder):
        return
    seen.add(kind)
    if isinstance(kind, FunctionType):
        functions = [kind]
        yield from _read(kind)
    else:
        owners = [owner for owner in kind.__mro__ if _is_own(owner, folder)]
        parts = [part for owner in owners for name, part in vars(owner).items() if name not in without]
        found = [getattr(part, "__func__", getattr(part, "fget", getattr(part, "func", part))) for part in parts]
        functions = [each for each in found if isinstance(each, FunctionType)]
        made = ast.parse(f"class {_name_of(kind)}: pass").body
        made[0].body = [line for each in functions for line in _read(each)] or [ast.Pass()]  # pyright: ignore
        yield from made
    for function in functions:
        for name in _used(function.__code__) & function.__globals__.keys():
            yield from _brought(name, function.__globals__[name], folder, seen)


def _name_of(kind: Any) -> str:
    """Its name, or another one where that is none in code: `Box[int]`."""
    name: str = kind.__name__
    return name if name.isidentifier() and not iskeyword(name) else "Unnamed"


def _brought(name: str, value: Any, folder: Path, seen: set[Any]) -> Iterator[ast.stmt]:
    kind = value if isinstance(value, (FunctionType, type)) else type(value)
    if isinstance(value, ModuleType):
        yield ast.Import([ast.alias(value.__name__, name)])
    elif _is_own(kind, folder):
        yield from _body_of(kind, folder, seen, () if kind is value else _MAKING)
    elif isinstance(named := getattr(value, "__name__", None), str) and named.isidentifier():
        module = getattr(value, "__module__", None) or type(getattr(value, "__self__", None)).__module__
        module = "numpy.random" if str(module).startswith("numpy.random.") else str(module)
        yield ast.ImportFrom(module, [ast.alias(named, name)], 0)


def _read(function: FunctionType) -> list[ast.stmt]:
    try:
        return Source(textwrap.dedent(inspect.getsource(function))).body or []
    except (OSError, TypeError, SyntaxError):
        return []


def _used(code: CodeType) -> set[str]:
    inner = [_used(part) for part in code.co_consts if isinstance(part, CodeType)]
    return {*code.co_names}.union(*inner)


def _is_own(kind: Any, folder: Path) -> bool:
    """Whether it is the user's: of the notebook or the program, or of a module in the folder."""
    module = getattr(kind, "__module__", None)
    file = getattr(sys.modules.get(module), "__file__", None) if isinstance(module, str) else None
    path = Path(file or ".").resolve()
    return module == "__main__" or (bool(file) and path.is_relative_to(folder) and "site-packages" not in path.parts)
