"""What a Python that becomes a child is: where its files lie, and which variables it is started with, as the host was.

`view` and `seatbelt` ask for the files, and all launchers for the variables.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.machinery import all_suffixes
from typing import Any

from smol_kernel.errors import ConfigError
from smol_kernel.executors.launchers.host_imports import writable_places
from smol_kernel.executors.launchers.links import links_to
from smol_kernel.executors.launchers.working_folder import holds, home_folder

ASK = """\
import json, os, sys
from importlib.util import cache_from_source, find_spec
kernel = find_spec("ipykernel")
if kernel and kernel.origin and not sys.dont_write_bytecode and not os.path.exists(cache_from_source(kernel.origin)):
    import ipykernel.kernelapp, ipykernel.ipkernel, ipykernel.zmqshell
print(json.dumps([sys.prefix, sys.base_prefix, sys.exec_prefix, sys.executable, sys.path]))
"""
"""What an interpreter is asked."""

LIBRARIES = "LD_LIBRARY_PATH"
LOCALES = "LOCPATH"
LOADING = (LIBRARIES, LOCALES, "LANG", "LC_ALL", "LC_CTYPE")
"""Variables by which a Python finds its own library, and reads the names of files as this one does."""
OF_PYTHON = ("PYTHONPATH", "PYTHONNOUSERSITE", "PYTHONUSERBASE", "PYTHONUTF8")
SECONDS = 60


def own_environment() -> dict[str, str]:
    """A copy of this process' variables; another thread may change them meanwhile."""
    while True:
        with contextlib.suppress(KeyError, RuntimeError):  # one was deleted, or came, while they were read
            return dict(os.environ)


def as_started(environment: Mapping[str, str]) -> dict[str, str]:
    """These variables, so that another Python imports what this one does, which may have been started with options."""
    kept = dict(environment)
    if sys.flags.ignore_environment:  # `site` reads the one that is left all the same
        kept = {name: kept[name] for name in kept if not name.startswith("PYTHON") or name == "PYTHONUSERBASE"}
    return {**kept, "PYTHONNOUSERSITE": "1"} if sys.flags.no_user_site else kept


def safe_libraries(folders: str, writable: Iterable[str]) -> str:
    """Of the folders in LD_LIBRARY_PATH those in which no child can put a library, by their real paths: what builds a
    box loads from there. `writable` is where children may write."""
    real = [os.path.realpath(each) for each in folders.split(":") if each.startswith("/")]
    return ":".join(each for each in dict.fromkeys(real) if os.path.isdir(each) and _is_safe(each, [*writable]))


def libraries_in(folders: str) -> list[str]:
    """Those of the folders in LD_LIBRARY_PATH in which there are libraries."""
    found: list[str] = []
    for folder in filter(None, folders.split(":")):
        with contextlib.suppress(OSError):
            found += [folder] if any(".so" in name for name in os.listdir(folder)) else []
    return found


def is_still_safe(libraries: str) -> bool:
    """Whether no child of this process may write by now where these are, which were safe ones."""
    return safe_libraries(libraries, writable_places()) == libraries


def _is_safe(folder: str, writable: list[str]) -> bool:
    """Whether none of the `writable` is around this folder, in it, or on the way of a link in it."""
    if any(holds(each, folder) or holds(folder, each) for each in writable):
        return False
    try:
        links = [each.path for each in os.scandir(folder) if each.is_symlink()] if writable else []
    except OSError:
        return False
    for link in links:
        real, others = links_to(link)
        if any(holds(each, path) for each in writable for path in (real, *others)):
            return False
    return True


def loading(environment: Mapping[str, str]) -> dict[str, str]:
    """Of these variables those that any Python needs, be it one that builds a box."""
    return {name: environment[name] for name in LOADING if name in environment}


def straight(python: str) -> str:
    """The path of an interpreter without "..": what it would go through need not be in the box."""
    short = os.path.normpath(python)
    return short if os.path.exists(short) and os.path.samefile(short, python) else python


def interpreter(python: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """Where the files of an interpreter are that is started with these variables. Raises ConfigError for one that
    cannot be run.

    Installers such as uv leave out the byte code, which a child in a box cannot write: what a kernel imports is
    imported here once, outside, where that is missing.
    """
    given = {name: environment[name] for name in OF_PYTHON if environment.get(name)} | loading(environment)
    given |= {"HOME": home} if (home := home_folder()) else {}
    return _asked(python, frozenset(given.items()))


@cache
def _asked(python: str, environment: frozenset[tuple[str, str]]) -> dict[str, Any]:
    variables = {**dict(environment), **({"PYTHONDONTWRITEBYTECODE": "1"} if sys.dont_write_bytecode else {})}
    try:
        ask = [python, "-c", ASK]  # in a session of its own: it is not the one that Ctrl-C is for
        done = subprocess.run(
            ask, capture_output=True, env=variables, cwd="/", timeout=SECONDS, check=True, start_new_session=True
        )
        prefix, base_prefix, exec_prefix, executable, path = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        raise ConfigError(f"python {python!r} cannot be run ({_said(error)}); name an interpreter") from None
    executables: list[str] = []
    link = executable
    while link not in executables and len(executables) < 20:
        executables.append(link)
        if os.path.islink(link):
            link = os.path.normpath(os.path.join(os.path.dirname(link), os.readlink(link)))
    return {
        "prefix": prefix,
        "base_prefix": base_prefix,
        "exec_prefix": exec_prefix,
        "executables": [*executables, os.path.realpath(executable)],
        "path": [folder for folder in path if folder and os.path.isdir(folder)],
    }


def has_one_of(folders: Iterable[str], modules: Iterable[str]) -> bool:
    """Whether one of these modules is found first in one of these folders, which come first on a path."""
    names = {name + end for name in modules for end in ("", *all_suffixes())}
    for folder in folders:
        with contextlib.suppress(OSError):
            if not names.isdisjoint(os.listdir(folder)):
                return True
    return False


def _said(error: Exception) -> str:
    """Why it cannot be run: the last line that it said itself, such as which library is missing."""
    if isinstance(error, subprocess.TimeoutExpired):
        return f"it was not done within {SECONDS} s"
    if isinstance(error, subprocess.CalledProcessError):
        lines = error.stderr.decode(errors="replace").strip().splitlines()
        return lines[-1][:500] if lines else f"exit code {error.returncode}"
    return getattr(error, "strerror", None) or str(error)
