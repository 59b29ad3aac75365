"""What the host imports from folders where a child may write: only what the user's own code asks for. For `choose`.

The host imports as it goes along: what we and the libraries need, when it is needed, and what they use if it is there.
A child that could put a module of such a name where the host looks for it would have it run with the user's rights.
"""

from __future__ import annotations

import builtins
import importlib
import inspect
import os
import site
import sys
import sysconfig
import warnings
from collections.abc import Iterable, Sequence
from dis import EXTENDED_ARG, opmap
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import FrameType, ModuleType

from smol_kernel.executors.launchers.settings import Mount
from smol_kernel.executors.launchers.working_folder import holds

_OURS = Path(__file__).parents[2]
_INSTALLED = ("site-packages", "dist-packages")

_NOT_IMPORTED = (
    "{} is not imported from {}: an agent may write there, and it is not your own code that asks for it. If you want "
    "it, import it in a cell or script of yours before"
)
_INSTEAD = (
    "{} is imported from {}, not from {}: an agent may write there. If you want the latter, import it in a cell or "
    "script of yours before, or rename it"
)

_CARRIERS = (
    *("runpy", "pkgutil", "pydoc", "_sitebuiltins", "pickle", "contextlib", "unittest.mock", "logging.config"),
    *("IPython.core.interactiveshell", "IPython.core.magic", "IPython.core.extensions", "IPython.utils.module_paths"),
    *("IPython.core.magics.extension", "IPython.core.magics.execution", "IPython.extensions.autoreload"),
)
"""Modules that import what they are told to by name: `%load_ext mine`, `help("mine")`."""

_writable: list[str] = []


def writable_places(mounts: Iterable[Mount] = ()) -> list[str]:
    """Where children of this process may write, or once could; and one that has these mounts."""
    return [*_writable, *(mount.path for mount in mounts if mount.writable)]


_saved: dict[str, str] = {}


def saved_places() -> list[str]:
    """A file in each folder into which files of children were saved."""
    return [*_saved.values()]


def note_saved(path: str) -> None:
    """A file of a child was saved there."""
    real = os.path.realpath(path)
    _saved.setdefault(os.path.dirname(real), real)


def guard(mounts: Iterable[Mount]) -> None:
    """Have `HostFinder` find modules from now on, if one of the `mounts` is writable."""
    _writable.extend(mount.path for mount in mounts if mount.writable and mount.path not in _writable)
    if _writable and PathFinder in sys.meta_path:
        library_folders()  # to learn of them imports something itself
        sys.meta_path[sys.meta_path.index(PathFinder)] = HostFinder


class HostFinder(PathFinder):
    """Finds modules along the path. What lies where a child may write comes last, and only code of the user's own gets
    it, or code that lies there itself. A module from there may be loaded anew, and a package find its parts.
    """

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As of a finder in `sys.meta_path`."""
        name = fullname.rpartition(".")[2]
        entries = sys.path if path is None else path
        safe = [entry for entry in entries if not _is_writable(os.path.join(str(entry), name))]
        is_theirs = path is not None and not safe
        if len(safe) == len(entries) or is_theirs or _is_loaded_from_there(fullname):
            return super().find_spec(fullname, path, target)
        spec = super().find_spec(fullname, safe, target)
        found = super().find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:  # without one it is a mere folder of that name
            if found is not None and found.origin != spec.origin and _is_asked_by_user():
                _warn(_INSTEAD.format(fullname, spec.origin, found.origin))
            return spec
        if _is_asked_by_user():
            return found
        if found is not None and found.loader is not None:
            _warn(_NOT_IMPORTED.format(fullname, found.origin))
        return spec


def _warn(text: str) -> None:
    """Say it to who imports. Where warnings are errors it is said all the same, and is none: a library that tries an
    import does not catch it.
    """
    try:
        warnings.warn(text, RuntimeWarning, stacklevel=3)
    except RuntimeWarning as warning:
        warnings.showwarning(warning, RuntimeWarning, __file__, 0)


def _is_writable(place: str) -> bool:
    """Whether a child may write at this place: it lies in a writable mount, and in no installed package within."""
    try:
        paths = {os.path.abspath(place), os.path.realpath(place)}
    except FileNotFoundError:  # the current folder is gone
        return False
    folders = (*_writable, *library_folders())
    return any(max((each for each in folders if holds(each, path)), key=len, default="") in _writable for path in paths)


def _is_loaded_from_there(name: str) -> bool:
    module = sys.modules.get(name)
    # Of a module that it loads anew `%autoreload` keeps hardly more than the loader.
    file = getattr(module, "__file__", None) or getattr(getattr(module, "__loader__", None), "path", None)
    return isinstance(file, str) and _is_writable(file)


def _is_asked_by_user() -> bool:
    """Whether the import that goes on was written by the user: in a cell, a script, a module that is not installed."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    while frame is not None:
        if not _is_on_the_way(frame):
            file = _file(frame)
            return not file.startswith("<frozen ") and (not is_library(file) or _is_writable(file))
        frame = frame.f_back
    return False


def _is_on_the_way(frame: FrameType) -> bool:
    """Whether it only passes an import on, or runs text that belongs to no file: whose that is its caller tells."""
    file = frame.f_code.co_filename
    if file.startswith("<frozen importlib") or holds(os.path.dirname(importlib.__file__), file):
        return True
    if frame.f_globals.get("__name__") in _CARRIERS:
        # What it needs itself is its own; whatever it finds nobody has asked for.
        return not _is_at_import(frame) and frame.f_code.co_name != "walk_packages"
    return not _file(frame) or frame.f_code is getattr(builtins.__import__, "__code__", None)


def _is_at_import(frame: FrameType) -> bool:
    """Whether it is at an `import` statement."""
    code, at = frame.f_code.co_code, frame.f_lasti
    while code[at] == EXTENDED_ARG:  # where Python 3.10 stands, if the name has a high number
        at += 2
    return code[at] == opmap["IMPORT_NAME"]


def _file(frame: FrameType) -> str:
    """The file that the code of a frame is from, of a text that is run (`exec`, `python -c`) that of its module."""
    file = frame.f_code.co_filename
    if not file.startswith("<") or file.startswith("<frozen "):
        return file
    names = frame.f_globals
    return file if names.get("__name__") == "__main__" else str(names.get("__file__", ""))


def is_library(file: str) -> bool:
    """Whether it is of Python, of an installed package, or ours."""
    folders = (*library_folders(), str(_OURS), str(_OURS.with_name("smol_magic")))
    return any(part in _INSTALLED for part in file.split(os.sep)) or any(holds(folder, file) for folder in folders)


@cache
def library_folders() -> frozenset[str]:
    """Folders of Python's own modules and of installed packages. Where they lie in a mount they are read-only."""
    found = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    found += [*site.getsitepackages(), os.path.dirname(os.__file__)]
    return frozenset([*map(os.path.abspath, found), *map(os.path.realpath, found)])
