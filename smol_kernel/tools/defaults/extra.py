"""Asks for the packages of the extra `tools`; the built-in tools do when they are built."""

from __future__ import annotations

from importlib.util import find_spec

from smol_kernel.errors import MissingDependencyError


def need(tool: str, *packages: str) -> None:
    """Raise MissingDependencyError, which names the extra, unless all `packages` are installed. Loads none of them."""
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise MissingDependencyError(f"{tool} needs {' and '.join(missing)}: pip install 'smol-kernel[tools]'")
