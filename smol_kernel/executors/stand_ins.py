"""Which files Python would import, or run, without being told to, once they lie in a folder it imports from.

`made_files` asks before it saves all that a child made: the user may not have read it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder, all_suffixes

from smol_kernel.executors.launchers.host_imports import is_library
from smol_kernel.executors.launchers.working_folder import holds

UNASKED = ("conftest.py", "sitecustomize.py", "usercustomize.py")
IF_NAMED = "; it is saved if it is named"
IS_RUN, IS_IMPORTED = "is run by Python or pytest unasked", "would be imported in place of what is installed as "


def why_kept_out(path: str, folders: Sequence[str]) -> str:
    """What the file at `path` would do in these `folders`, the first of which is where it would be saved; empty:
    nothing of itself."""
    *above, file = path.split("/")
    stem, dot, ending = file.partition(".")
    ending = dot + ending
    if path in UNASKED or (ending == ".pth" and not above and is_library(folders[0])):
        return IS_RUN + IF_NAMED
    is_module = ending in all_suffixes() or ending.endswith(".so")  # also those for another Python
    if not is_module:
        return ""
    name = above[0] if above else stem
    installed = _found_without(name, folders)
    is_top = not above or (len(above) == 1 and stem == "__init__")
    if installed == "" or (installed == "module" and not is_top):  # without an `__init__` what is installed comes first
        return ""
    return f"{IS_IMPORTED}{name}{IF_NAMED}"


def _found_without(name: str, folders: Sequence[str]) -> str:
    """What there is of this name that is not in the `folders`: a "module" or package, a "namespace" of packages, or
    nothing."""
    if name in sys.stdlib_module_names or name in sys.builtin_module_names:
        return "module"
    real = [os.path.realpath(folder) for folder in folders]
    places = [os.path.realpath(entry) for entry in sys.path]
    spec = PathFinder.find_spec(
        name, [place for place in places if is_library(place) or not any(holds(folder, place) for folder in real)]
    )
    if spec is None or spec.loader is not None:
        return "" if spec is None else "module"
    found = map(is_library, spec.submodule_search_locations or ())  # not any folder that happens to be there
    return "namespace" if any(found) else ""
