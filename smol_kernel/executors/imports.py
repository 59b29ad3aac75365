"""Which modules an action may import: a policy for its own import statements, checked before it runs.

It keeps a model to the modules its user means it to use. It is no boundary, and no import hook: modules import what
they need.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from smol_kernel.errors import ConfigError
from smol_kernel.parsing import parsed

BASE_MODULES = (
    "collections",
    "datetime",
    "itertools",
    "math",
    "queue",
    "random",
    "re",
    "stat",
    "statistics",
    "time",
    "unicodedata",
)
"""Modules that are always allowed, the ones smolagents 1.26 allows."""


def allowed_modules(authorized: Sequence[str] | None) -> list[str] | None:
    """Names of the modules that may be imported, sorted; None: all. For the check, and for the prompt.

    `authorized` is what the user gave as `additional_authorized_imports`; None, or "*" among it, allows everything.
    Raises ConfigError for another text.
    """
    if isinstance(authorized, str) and authorized != "*":
        raise ConfigError(f"additional_authorized_imports is {authorized!r}: give a list of modules, or None for all")
    if authorized is None or "*" in authorized:
        return None
    return sorted({*BASE_MODULES, *(name.removesuffix(".*") for name in authorized)})


def forbidden(code: str, authorized: Sequence[str] | None) -> str | None:
    """Why `code` may not run, for the model: it imports a module that is not `authorized`; None: it may.

    A module allows what is below it. Looked at are import statements, and `__import__` and `import_module` with a
    literal name. Code that cannot be parsed passes: it fails when it runs.
    """
    allowed = allowed_modules(authorized)
    if allowed is None:
        return None
    tree = _parsed(code)
    for module, line in _imports(tree) if tree else ():
        if not any(_is_within(name, allowed) for name in module):
            return (
                f"line {line}: importing {module[0]!r} is not allowed here. Modules that may be imported: "
                f"{', '.join(allowed)}. Do it with these, with the tools, or without an import"
            )
    return None


def _is_within(module: str, allowed: Sequence[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


def _imports(tree: ast.AST) -> Iterator[tuple[list[str], int]]:
    """What is imported, and in which line: names of which one has to be allowed."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield [alias.name], node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:  # a name may be a module of its own
                yield [node.module, f"{node.module}.{alias.name}"], node.lineno
        elif isinstance(node, ast.Call) and _imports_by_name(node.func) and node.args:
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield [name.value], node.lineno


def _imports_by_name(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in ("__import__", "import_module")


def _parsed(code: str) -> ast.AST | None:
    try:
        return parsed(code)
    except (SyntaxError, ValueError):
        pass
    try:
        from IPython.core.inputtransformer2 import TransformerManager

        return parsed(TransformerManager().transform_cell(code))  # magics and shell commands
    except (SyntaxError, ValueError):
        return None
