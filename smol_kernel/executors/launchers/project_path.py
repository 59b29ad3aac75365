"""Folders from which the program that has agents imports its own modules, for a child that sees them to do the same."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping

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
        for path in dict.fromkeys(os.path.realpath(each) for each in [*sys.path] if each)
        if path != cwd
        and os.pathsep not in path
        and any(holds(folder, path) and not _is_hidden(path, folder) for folder in shown)
        and not any(holds(prefix, path) for prefix in prefixes)
        and os.path.isdir(path)
    ]
    return {**environment, **({VARIABLE: os.pathsep.join(own)} if own else {})}


def _is_hidden(path: str, folder: str) -> bool:
    return any(part.startswith(".") for part in os.path.relpath(path, folder).split("/") if part != ".")
