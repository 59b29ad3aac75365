"""Calls of functions and classes that have got another name in the cells: `for Model in (Forest, Tree): Model()`.

Used by `chance`. Names are followed loosely: one holds whatever may have been put into it, or into what it came from.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence

from smol_kernel.runs.paths import path_of, root_of

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_ROUNDS = 9
"""How often something may be handed on."""


def called_otherwise(
    nodes: Sequence[ast.AST], names: dict[str, str], libraries: Iterable[str], is_seeded: Callable[[ast.Call], bool]
) -> list[tuple[ast.Call, str]]:
    """The calls, each with the dotted path, in these libraries, of what it may call. Left out is what is given a seed
    wherever, be it where it is handed on."""
    used = {name: path for name, path in names.items() if path.partition(".")[0] in libraries}
    if not used:
        return []
    held = _Held(nodes, used, is_seeded)
    found = [(node, path) for node in nodes if isinstance(node, ast.Call) for path in held.by(node.func)]
    seeded = {path for call, path in found if is_seeded(call)}
    return [(call, path) for call, path in found if path not in seeded]


class _Held:
    """What the names of the cells may hold, as dotted paths."""

    def __init__(self, nodes: Sequence[ast.AST], names: dict[str, str], is_seeded: Callable[[ast.Call], bool]) -> None:
        self._names, self._is_seeded = names, is_seeded
        self._paths: dict[str, set[str]] = {}
        self._by_key: dict[str, dict[object, set[str]]] = {}
        """What the items of a dict or a list are that a name holds."""
        self._loose: set[str] = set()
        """Names that hold something else as well."""
        self._functions: dict[str, _Function] = {}
        for node in nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                self._functions[node.name] = node
            elif isinstance(node, ast.ClassDef):
                for part in node.body:
                    if isinstance(part, ast.FunctionDef) and part.name == "__init__":
                        self._functions[node.name] = part
        for _ in range(_ROUNDS):
            before = sum(map(len, self._paths.values()))
            for node in nodes:
                self._bind(node)
            if sum(map(len, self._paths.values())) == before:
                break

    def by(self, called: ast.expr) -> set[str]:
        """What is called by another name than the one it was imported by."""
        if isinstance(called, ast.Name | ast.Attribute):
            return self._paths.get(ast.unparse(called), set())
        return self._in(called)

    def _in(self, node: ast.AST) -> set[str]:
        """What the value of an expression may be, or hold."""
        match node:
            case ast.Name() | ast.Attribute():
                found = self._paths.get(ast.unparse(node), set())
                return found | {path_of(node, self._names)} if root_of(node, ast.Attribute) in self._names else found
            case ast.Call(func=ast.Attribute(value=value, attr="get"), args=[ast.Constant(value=key), *others]):
                return self._item(value, key).union(*map(self._in, others))
            case ast.Call(func=func):
                if self._is_seeded(node):
                    return set()
                before = (
                    [func.value] if isinstance(func, ast.Attribute) else [] if isinstance(func, ast.Name) else [func]
                )
                parts = [*before, *_given(node)]
            case ast.Subscript(value=value, slice=ast.Constant(value=key)):
                return self._item(value, key)
            case ast.Subscript(value=value):
                parts = [value]
            case ast.Lambda():
                return set()
            case _:
                parts = list(ast.iter_child_nodes(node))
        return set[str]().union(*map(self._in, parts))

    def _item(self, holder: ast.expr, key: object) -> set[str]:
        """What that item of a dict or a list may be: where all its items are known, what it has there."""
        items = _items(holder)
        if items is not None:
            return self._in(items[key]) if key in items else self._in(holder)
        text = ast.unparse(holder)
        if text in self._loose or key not in self._by_key.get(text, {}):
            return self._in(holder)
        return self._by_key[text][key]

    def _bind(self, node: ast.AST) -> None:
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    items = _items(value) if isinstance(target, ast.Name | ast.Attribute) else None
                    if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
                        target, items = target.value, {target.slice.value: value}
                    by_key = self._by_key.setdefault(ast.unparse(target), {})
                    for key, item in (items or {}).items():
                        by_key.setdefault(key, set()).update(self._in(item))
                    self._hold(target, self._in(value), whole=items is None)
            case ast.AnnAssign(target=target, value=ast.expr() as value) | ast.NamedExpr(target=target, value=value):
                self._hold(target, self._in(value))
            case ast.For(target=target, iter=value) | ast.comprehension(target=target, iter=value):
                self._hold(target, self._in(value))
            case ast.FunctionDef(args=args) | ast.AsyncFunctionDef(args=args) | ast.Lambda(args=args):
                places = [*args.posonlyargs, *args.args]
                told = zip(reversed(places), reversed(args.defaults), strict=False)
                for place, value in [*told, *zip(args.kwonlyargs, args.kw_defaults, strict=True)]:
                    if value is not None:
                        self._hold(ast.Name(place.arg), self._in(value))
            case ast.Call(func=func) if not self._is_seeded(node):
                given = _given(node)
                paths = set[str]().union(*map(self._in, given))
                if paths and isinstance(func, ast.Attribute):
                    self._hold(func.value, paths)
                for function in self._own([func, *given] if paths else []):
                    args = function.args
                    for place in [*args.posonlyargs, *args.args, *args.kwonlyargs]:
                        self._hold(ast.Name(place.arg), paths)
            case _:
                pass

    def _own(self, parts: Iterable[ast.expr]) -> Iterator[_Function]:
        """The cells' own functions among them: `fit`, `self.fit`, `delayed(fit)`, `lambda Model: …`."""
        for part in parts:
            match part:
                case ast.Lambda():
                    yield part
                case ast.Call(func=func):
                    yield from self._own([func, *_given(part)])
                case ast.Name(id=name) | ast.Attribute(attr=name):
                    if name in self._functions:
                        yield self._functions[name]
                case _:
                    pass

    def _hold(self, target: ast.expr, paths: set[str], *, whole: bool = True) -> None:
        """Have it hold the paths: as a whole, or each by a key that is known."""
        match target:
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                for part in parts:
                    self._hold(part, paths)
            case ast.Starred(value=value) | ast.Subscript(value=value):
                self._hold(value, paths)
            case ast.Name() | ast.Attribute():
                if paths:
                    self._paths.setdefault(ast.unparse(target), set()).update(paths)
                    if whole:
                        self._loose.add(ast.unparse(target))
            case _:
                pass


def _items(value: ast.expr) -> dict[object, ast.expr] | None:
    """The items of a dict, a list or a tuple, as far as its text has them all."""
    match value:
        case ast.Dict(keys=keys, values=values):
            told = [key.value for key in keys if isinstance(key, ast.Constant)]
            return dict(zip(told, values, strict=True)) if len(told) == len(keys) else None
        case ast.List(elts=parts) | ast.Tuple(elts=parts) if not any(isinstance(each, ast.Starred) for each in parts):
            return dict(enumerate(parts))
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=keywords) if all(each.arg for each in keywords):
            return {each.arg: each.value for each in keywords}
        case _:
            return None


def _given(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(keyword.value for keyword in call.keywords)]
