"""Which dotted path a name in code stands for, imports followed: `pd.read_csv` is pandas.read_csv."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any


def imported(nodes: Iterable[ast.AST]) -> dict[str, str]:
    """The names that imports bind, each with its path."""
    names: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            names.update(
                {a.asname or a.name.split(".")[0]: a.name if a.asname else a.name.split(".")[0] for a in node.names}
            )
        elif isinstance(node, ast.ImportFrom):
            names.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    return names


def root_of(node: Any, through: type[Any] | tuple[type[Any], ...]) -> str:
    """The name that a chain begins with, of attributes, items or calls: those of `through` are its links."""
    while isinstance(node, through):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def path_of(node: ast.AST, names: dict[str, str]) -> str:
    """The dotted path of a name, or of what is taken from one; of anything but a chain of names its last words."""
    words: list[str] = []
    while isinstance(node, ast.Attribute):
        words.insert(0, node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        return ".".join([names.get(node.id, node.id), *words])
    return ".".join(["", *words])
