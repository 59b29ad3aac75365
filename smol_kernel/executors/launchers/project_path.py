"""Folders from which the program that has agents imports its own modules, for a child that sees them to do the same."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from importlib.machinery import all_suffixes


def with_project_path(
    environment: Mapping[str, str], shown: Iterable[str], prefixes: Iterable[str], cwd: str
) -> dict[str, str]:
    """The `environment` of a child with those folders of this process' path in PYTHONPATH that lie in those `shown` to
    it: that of a script that was started as `python src/main.py`, or one that a notebook added.

    None that is hidden or belongs to an interpreter, whose `prefixes` are named, nor the child's `cwd`, from which it
    imports anyway; nor one with a module that would take the place of another, for PYTHONPATH comes before these.
    """
    shown, prefixes = [*shown], [*prefixes]
    found = dict.fromkeys(os.path.realpath(each) for each in [*sys.path] if each and os.path.isabs(each))
    own = [
        path
        for path in found
        if path != cwd
        and os.pathsep not in path
        and any(_is_in(path, folder) and not _is_hidden(path, folder) for folder in shown)
        and not any(_is_in(path, prefix) for prefix in prefixes)
        and os.path.isdir(path)
        and not _hides_others(path)
    ]
    given = environment.get("PYTHONPATH", "").split(os.pathsep)
    every = dict.fromkeys(filter(None, [*given, *own]))
    return {**environment, **({"PYTHONPATH": os.pathsep.join(every)} if every else {})}


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _is_hidden(path: str, folder: str) -> bool:
    return any(part.startswith(".") for part in os.path.relpath(path, folder).split("/") if part != ".")


def _hides_others(folder: str) -> bool:
    """Whether it has a module of a name that the standard library has, or that was imported from elsewhere."""
    try:
        entries = os.listdir(folder)
    except OSError:
        return True
    for entry in entries:
        name, dot, ending = entry.partition(".")
        if f"{dot}{ending}" not in all_suffixes() and not os.path.exists(os.path.join(folder, entry, "__init__.py")):
            continue
        imported = sys.modules.get(name)
        lies = getattr(imported, "__file__", None) or ""
        if name in sys.stdlib_module_names or (imported and not _is_in(os.path.realpath(lies), folder)):
            return True
    return False
