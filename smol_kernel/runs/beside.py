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
from copy import copy
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from smol_kernel.runs.paths import imported
from smol_kernel.runs.source import Source, nodes_of

LARGEST_MODULE = 1 << 20
"""Bytes of one that is read."""
_MAKING = ("__init__", "__post_init__", "__new__")
"""Methods that have run already where an instance was handed in."""


def beside(cells: Sequence[str], values: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """The texts, each by the name of the value or the path of the module. `values` are what was handed in."""
    nodes = nodes_of(cells)
    words = _words(nodes, folder)
    bodies: dict[str, list[ast.stmt]] = {}
    for name in values.keys() & words:
        value = values[name]
        kind = value if isinstance(value, (FunctionType, type)) else type(value)
        body = list(_body_of(kind, folder, set(), _MAKING if kind is not value and kind.__name__ not in words else ()))
        if body:
            bodies[name] = body
            words.add(kind.__name__)
    handed_in = [node for body in bodies.values() for node in _walked(body)]
    bodies.update(_modules([*nodes, *handed_in], folder, folder, {}))
    while True:
        kept = {name: _reached(body, words) for name, body in bodies.items()}
        found = _words((node for body in kept.values() for node in _walked(body)), folder) - words
        if not found:
            return {name: ast.unparse(ast.Module(body, [])) for name, body in kept.items()}
        words |= found


def _walked(body: Iterable[ast.stmt]) -> Iterator[ast.AST]:
    return (node for statement in body for node in ast.walk(statement))


def _words(nodes: Iterable[ast.AST], folder: Path) -> set[str]:
    """The names that they use: of libraries' functions none."""
    nodes = list(nodes)
    libraries = {name for name, path in imported(nodes).items() if not _file(folder, path.partition(".")[0])}
    words: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Name):
            words.add(node.id)
        elif isinstance(node, ast.Attribute):
            root: ast.expr = node
            while isinstance(root, ast.Attribute):
                root = root.value
            if not (isinstance(root, ast.Name) and root.id in libraries):
                words.add(node.attr)
        elif isinstance(node, ast.alias):
            words.update(node.name.split("."))
    return words


def _reached(body: Iterable[ast.stmt], words: set[str], *, of_class: bool = False) -> list[ast.stmt]:
    """The statements without the functions and classes that none of the words names, and what a module does as a
    program."""
    found: list[ast.stmt] = []
    for statement in body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                if name not in words and not (of_class and name.startswith("__")):
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


def _modules(
    nodes: Iterable[ast.AST], here: Path, folder: Path, found: dict[str, list[ast.stmt]]
) -> dict[str, list[ast.stmt]]:
    """The statements of the modules in the folder that are imported, and of those that these import."""
    for node in nodes:
        start = folder
        if isinstance(node, ast.Import):
            paths = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            paths = [".".join(filter(None, [node.module, alias.name])) for alias in node.names]
            start = here.joinpath(*[".."] * (node.level - 1)) if node.level else folder
        else:
            continue
        words = {path: path.split(".") for path in paths}
        parts = {".".join(each[: n + 1]) for each in words.values() for n in range(len(each))}
        for file in filter(None, (_file(start, part) for part in sorted(parts))):
            name = str(file.relative_to(folder)) if file.is_relative_to(folder) else file.name
            if name not in found:
                body = found[name] = Source(file.read_text(encoding="utf-8", errors="replace")).body or []
                _modules(list(_walked(body)), file.parent, folder, found)
    return found


def _file(folder: Path, path: str) -> Path | None:
    """The file of a module in the folder, by its dotted path; None if there is none that can be read."""
    place = folder.joinpath(*path.split("."))
    files = (place.with_name(f"{place.name}.py"), place / "__init__.py")
    return next((each for each in files if os.access(each, os.R_OK) and each.stat().st_size <= LARGEST_MODULE), None)


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
        made = ast.parse(f"class {kind.__name__}: pass").body
        made[0].body = [line for each in functions for line in _read(each)] or [ast.Pass()]  # pyright: ignore
        yield from made
    for function in functions:
        for name in _used(function.__code__) & function.__globals__.keys():
            yield from _brought(name, function.__globals__[name], folder, seen)


def _brought(name: str, value: Any, folder: Path, seen: set[Any]) -> Iterator[ast.stmt]:
    kind = value if isinstance(value, (FunctionType, type)) else type(value)
    if isinstance(value, ModuleType):
        yield ast.Import([ast.alias(value.__name__, name)])
    elif _is_own(kind, folder):
        yield from _body_of(kind, folder, seen, () if kind is value else _MAKING)
    elif isinstance(named := getattr(value, "__name__", None), str):
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
