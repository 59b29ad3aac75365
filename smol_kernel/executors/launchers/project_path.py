"""Folders from which the program that has agents imports its own modules, for a child that sees them to do the same."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Mapping

from smol_kernel.executors.launchers.host_imports import is_library
from smol_kernel.executors.launchers.interpreter import installed_in
from smol_kernel.executors.launchers.working_folder import holds

VARIABLE = "SMOL_PROJECT_PATH"
"""In which a child finds them, see `child.announce`. They come last on its path: what is installed stays what it is."""


def with_project_path(
    environment: Mapping[str, str], shown: Iterable[str], prefixes: Iterable[str], cwd: str
) -> dict[str, str]:
    """The `environment` of a child with those folders of this process' path that lie in those `shown` to it: that of a
    script that was started as `python src/main.py`, or one that a notebook added.

    None that is hidden or belongs to this interpreter or to another one, whose `prefixes` are named, nor the child's
    `cwd`, from which it imports anyway.
    """
    shown = [*shown]
    prefixes = [os.path.realpath(each) for each in (*prefixes, sys.prefix, sys.base_prefix, sys.exec_prefix)]
    own = [
        path
        for path in _own_path()
        if path != cwd
        and os.pathsep not in path
        and _is_among(path, shown)
        and not any(holds(prefix, path) for prefix in prefixes)
        and os.path.isdir(path)
    ]
    return {**environment, **({VARIABLE: os.pathsep.join(own)} if own else {})}


def imports_elsewhere(shown: Collection[str]) -> bool:
    """Whether this process imports modules of the user's own from a folder that is in none of those `shown`."""
    installed = installed_in()
    try:
        own = [*_own_path(), *(os.getcwd() for each in [*sys.path] if not each)]
    except FileNotFoundError:  # the current folder is gone
        return False
    return any(
        os.path.isdir(path) and not (_is_among(path, shown) or path in installed or is_library(path)) for path in own
    )


def _own_path() -> list[str]:
    """The folders that are named in the path of this process, by real paths."""
    return [*dict.fromkeys(os.path.realpath(each) for each in [*sys.path] if each)]


def _is_among(path: str, shown: Iterable[str]) -> bool:
    return any(holds(folder, path) and not _is_hidden(path, folder) for folder in shown)


def _is_hidden(path: str, folder: str) -> bool:
    return any(part.startswith(".") for part in os.path.relpath(path, folder).split("/") if part != ".")
