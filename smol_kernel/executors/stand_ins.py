"""Which files Python would import, or run, without being told to, once they lie in a folder it imports from.

`made_files` asks before it saves all that a child made: the user may not have read it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder, all_suffixes

from smol_kernel.executors.launchers.host_imports import is_library
from smol_kernel.executors.launchers.working_folder import holds

_RUN = ("conftest.py", "sitecustomize.py", "usercustomize.py")
_SETTINGS = re.compile(
    r"\.?pytest\.(?:ini|toml)|tox\.ini|setup\.cfg|pyproject\.toml|matplotlibrc|entry_points\.txt"
    r"|(?:ipython|jupyter)\w*_config\.(?:py|json)"
)
"""Each can name a module that is then imported. So can a `conf.json` in the folder of one of nbconvert's:"""
_LIBRARY = re.compile(r"\.so(\.\d+)*$")
_TEMPLATES = re.compile(r"asciidoc|ba(se|sic)|classic|compatibility|lab|latex|markdown|python|reveal|rst|script|webpdf")
_FOR_DEVELOPERS = re.compile(
    r"extra\s*==\s*[\"'](docs?|dev\w*|tests?|testing|lint\w*|typ\w+|check\w*|cov\w*|build\w*)[\"']"
)
_ENVIRONMENT = ("pyvenv.cfg", "conda-meta")
"""What a folder holds into which Python and packages are installed; these go into:"""
_INSTALLED = ("bin", "etc", "lib", "lib64", "share")
_LOOKED_FOR = """
org java vms_lib backports cairo cairocffi cudf cupy distutils dummy_threading gevent gi gobject gtk imp ipyparallel
isal jax lzmaffi netifaces odf openssl pycares pycurl pydevd_plugins pyqt4 pyqt5 pyqt6 pyside pyside2 pyside6 pysqlite2
pysqlite3 scikits shiboken2 shiboken6 sip sklearn sksparse snappy socks tensorflow torch uarray viztracer wx
_pydevd_bundle_ext _subprocess _winreg"""
"""Modules, in small letters, that Python's own and those around Jupyter and pandas try to import, and whose packages
they do not name, or name otherwise."""

IF_NAMED = "; it is saved if it is named"
IS_RUN, IS_IMPORTED = "is run by Python or pytest unasked", "would be imported in place of what is installed as "
IS_READ = "is read unasked by pytest, Jupyter or Matplotlib, and can have code run"
IS_LOADED = "is a library, which programs may load from there unasked"
IS_LOOKED_FOR = "would be imported by what is installed, which looks for "
IN_ENVIRONMENT = "lies in an environment of Python"
STANDS_IN = (IS_RUN, IS_IMPORTED, IS_READ, IS_LOADED, IS_LOOKED_FOR, IN_ENVIRONMENT)
"""How each reason begins that `why_kept_out` gives."""


def why_kept_out(path: str, folders: Sequence[str]) -> str:
    """What the file at `path` would do in these `folders`, the first of which is where it would be saved; empty:
    nothing of itself."""
    why = _why(path, folders) or (IS_LOADED if _LIBRARY.search(path) else "")
    return f"{why}{IF_NAMED}" if why else ""


def _why(path: str, folders: Sequence[str]) -> str:
    *above, file = path.split("/")
    stem, dot, ending = file.partition(".")
    ending = dot + ending
    if file in _RUN or (ending == ".pth" and not above and is_library(folders[0])):
        return IS_RUN
    if _SETTINGS.fullmatch(file) or (file == "conf.json" and above and _TEMPLATES.fullmatch(above[-1])):
        return IS_READ
    ways = [os.path.join(folders[0], *above[:depth]) for depth in range(len(above) + 1)]
    around = [way for way, part in zip(ways, above, strict=False) if part in _INSTALLED]
    if any(os.path.exists(os.path.join(way, mark)) for way in around for mark in _ENVIRONMENT):
        return IN_ENVIRONMENT
    is_module = ending in all_suffixes() or ending.endswith(".so")  # also those for another Python
    if not is_module:
        return ""
    is_package = stem == "__init__"
    if is_package and _has_others(ways[-1], file):
        return IS_RUN
    # Before a module of the user's own comes a package beside it, and a compiled module.
    if (is_package and above and os.path.isfile(f"{ways[-1]}.py")) or (
        ending in EXTENSION_SUFFIXES and os.path.isfile(os.path.join(ways[-1], f"{stem}.py"))
    ):
        return f"{IS_IMPORTED}{above[-1] if is_package else stem}"
    name = above[0] if above else stem
    installed = _found_without(name, folders)
    is_top = not above or (len(above) == 1 and is_package)
    if installed == "module" and not is_top:  # without an `__init__` what is installed comes first
        return ""
    if installed == "":
        return f"{IS_LOOKED_FOR}{name}" if name.lower() in _looked_for() else ""
    return f"{IS_IMPORTED}{name}"


def _has_others(folder: str, file: str) -> bool:
    """Whether a folder is there and has something in it, but no `file`."""
    with suppress(OSError):
        found = os.listdir(folder)
        return bool(found) and file not in found
    return False


@cache
def _looked_for() -> frozenset[str]:
    """What is looked for: what the installed packages require, also for an extra only that is not for their developers,
    as one writes modules of these names, in small letters."""
    from importlib.metadata import distributions

    names = _LOOKED_FOR.split()
    for package in distributions():
        with suppress(OSError, ValueError):  # a broken one
            told = package.read_text("METADATA") or package.read_text("PKG-INFO") or ""
            needs = re.findall(r"^Requires-Dist:\s*([\w.-]+)(.*)", told, re.MULTILINE)
            names += [name for name, rest in needs if not _FOR_DEVELOPERS.search(rest)]
    return frozenset(re.sub(r"[-.]+", "_", name).lower() for name in names)


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
