"""What a Python that becomes a child is: where its files lie, and which variables it is started with, as the host was.

`view` and `seatbelt` ask for the files, and all launchers for the variables.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.machinery import all_suffixes
from typing import Any

from smol_kernel.errors import ConfigError
from smol_kernel.executors.launchers.host_imports import saved_places, writable_places
from smol_kernel.executors.launchers.links import links_to
from smol_kernel.executors.launchers.own_session import SHORT_OF, output
from smol_kernel.executors.launchers.working_folder import holds, home_folder

ASK = """\
import json, os, site, sys
from importlib.util import cache_from_source, find_spec
kernel = find_spec("ipykernel")
if kernel and kernel.origin and not sys.dont_write_bytecode and not os.path.exists(cache_from_source(kernel.origin)):
    import ipykernel.kernelapp, ipykernel.ipkernel, ipykernel.zmqshell
own = site.getsitepackages([sys.base_prefix, sys.base_exec_prefix])
own = next((place for place, folder in enumerate(sys.path) if folder in own), len(sys.path))
try:
    with open(os.path.join(sys.prefix, "pyvenv.cfg")) as file:
        apart = not "".join(file.read().lower().split(" ")).count("include-system-site-packages=true")
except OSError:
    apart = False
told = [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.executable, site.getusersitepackages(), *sys.path]
told = [os.fsencode(each).decode("latin-1") for each in told]
print(json.dumps([own, apart, *told]))
"""
"""What an interpreter is asked; names come as their bytes, whatever its locale."""
VERSION = "import sys; print(sys.version)"

LIBRARIES = "LD_LIBRARY_PATH"
LOADING = (LIBRARIES, "LANG", "LC_ALL", "LC_CTYPE")
"""Variables by which a Python finds its own library, and reads the names of files as this one does."""
OF_PYTHON = ("PYTHONNOUSERSITE", "PYTHONUSERBASE", "PYTHONUTF8")
SECONDS = 60
SEARCHED = ("glibc-hwcaps", "tls", "x86_64", "haswell", "xeon_phi", "avx512_1", "i686", "sse2")
"""Folders below one of libraries in which the loader looks first, see ld.so(8)."""
LIBRARY = re.compile(r"\.so(\.\d+)*$")
"""How the names of libraries end."""

_known: dict[tuple[object, ...], dict[str, Any]] = {}
"""What interpreters said. None is asked again: children may have written by then where it would import from."""
_needing: dict[tuple[str, str], bool] = {}
"""Which interpreters need folders of LD_LIBRARY_PATH."""


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


def needed_libraries(python: str, folders: str, writable: Sequence[str]) -> str:
    """Of the folders in LD_LIBRARY_PATH the safe ones, if the interpreter cannot run without them, or is another one;
    else it is given none: what builds a box loads from there."""
    if not folders:
        return ""
    if (python, folders) not in _needing:
        libraries = safe_libraries(folders, writable)
        _needing[python, folders] = bool(libraries) and _version(python, "") != _version(python, libraries)
    return safe_libraries(folders, writable) if _needing[python, folders] else ""


def _version(python: str, libraries: str) -> bytes:
    """The version that an interpreter says it has; empty if it cannot be run."""
    variables = {LIBRARIES: libraries} if libraries else {}
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        ask = [python, "-I", "-S", "-c", VERSION]
        return output(ask, SECONDS, env=variables, cwd="/")
    return b""


def safe_libraries(folders: str, writable: Iterable[str]) -> str:
    """Of the folders in LD_LIBRARY_PATH those in which no child can put a library, by their real paths. `writable` is
    where children may write."""
    real = [os.path.realpath(each) for each in folders.split(":") if each.startswith("/")]
    writable = [*writable, *saved_places()]
    return ":".join(each for each in dict.fromkeys(real) if os.path.isdir(each) and _is_safe(each, writable))


def libraries_in(folders: str) -> list[str]:
    """Those of the folders in LD_LIBRARY_PATH in which there are libraries."""
    found: list[str] = []
    for folder in filter(None, folders.split(":")):
        with contextlib.suppress(OSError):
            found += [folder] if any(map(LIBRARY.search, os.listdir(folder))) else []
    return found


def is_still_safe(libraries: str) -> bool:
    """Whether no child of this process may write by now where these are, which were safe ones."""
    return not libraries or safe_libraries(libraries, writable_places()) == libraries


def may_be_written(path: str, writable: Iterable[str]) -> bool:
    """Whether one of the `writable` is around this path, or in it."""
    return any(holds(each, path) or holds(path, each) for each in writable)


def _is_safe(folder: str, writable: list[str]) -> bool:
    """Whether none of the `writable` is around this folder, in it, or on the way of a link in it."""
    if may_be_written(folder, writable):
        return False
    try:
        links = [*_links_in(folder)] if writable else []
    except OSError:
        return False
    for link in links:
        real, others = links_to(link)
        if os.path.basename(link) in SEARCHED or (os.path.dirname(link) != folder and os.path.isdir(link)):
            return False
        if any(holds(each, path) for each in writable for path in (real, *others)):
            return False
    return True


def _links_in(folder: str) -> Iterator[str]:
    """The links in a folder of libraries, and in those below it in which the loader looks."""
    for each in os.scandir(folder):
        if each.is_symlink():
            yield each.path
        elif (each.name in SEARCHED or os.path.basename(folder) == SEARCHED[0]) and each.is_dir():
            yield from _links_in(each.path)


def loading(environment: Mapping[str, str]) -> dict[str, str]:
    """Of these variables those that any Python needs, be it one that builds a box."""
    return {name: environment[name] for name in LOADING if name in environment}


def straight(python: str) -> str:
    """The path of an interpreter without "..": what it would go through need not be in the box."""
    short = os.path.normpath(python)
    return short if os.path.exists(short) and os.path.samefile(short, python) else python


def interpreter(
    python: str, environment: Mapping[str, str], libraries: str = "", writable: Sequence[str] = ()
) -> dict[str, Any]:
    """Where the files of an interpreter are that is started with these variables, and by LD_LIBRARY_PATH the folders
    `libraries`. Raises ConfigError for one that cannot be run.

    It is asked outside of a box, so imports nothing from where children may write, the `writable`. Installers such as
    uv leave out the byte code, which a child in a box cannot write: what a kernel imports is imported here once, where
    that is missing.
    """
    given = {name: environment[name] for name in OF_PYTHON if environment.get(name)}
    paths = environment.get("PYTHONPATH", "")
    key = (python, paths, frozenset(given.items()))
    if key not in _known:
        given |= {"HOME": home} if (home := home_folder()) else {}
        given |= {LIBRARIES: libraries} if libraries else {}
        _known[key] = _asked(python, given, paths, writable)
    return _known[key]


def installed_in() -> set[str]:
    """Folders from which the interpreters import that were asked: of packages, those of PYTHONPATH, editable ones."""
    return {os.path.realpath(each) for facts in [*_known.values()] for each in facts["path"]}


def _asked(python: str, given: dict[str, str], paths: str, writable: Sequence[str]) -> dict[str, Any]:
    folders = [os.path.join("/", each) for each in paths.split(os.pathsep) if each]  # it is asked there
    safe = [each for each in folders if not may_be_written(os.path.realpath(each), writable)]
    variables = {**given, **({"PYTHONPATH": os.pathsep.join(safe)} if safe else {})}
    place, apart, *told, user, path = _said_by(python, {**variables, "PYTHONNOUSERSITE": "1"})
    user = "" if apart or "PYTHONNOUSERSITE" in given or not os.path.isdir(user) else user
    if user and may_be_written(os.path.realpath(user), writable):
        path.insert(place, user)
    elif user:
        *_, path = _said_by(python, variables)
    prefix, base_prefix, exec_prefix, executable = told
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
        "path": [*dict.fromkeys(each for each in (*folders, *path) if each and os.path.isdir(each))],
        "user": user,
    }


def _said_by(python: str, variables: dict[str, str]) -> list[Any]:
    """What an interpreter says that is started with these variables: where its own packages begin on its path, whether
    it leaves out the user's, four paths of its own, the user's packages, and its path."""
    variables |= {"PYTHONDONTWRITEBYTECODE": "1"} if sys.dont_write_bytecode else {}
    try:
        said = output([python, "-c", ASK], SECONDS, env=variables, cwd="/")
        place, apart, *told = json.loads(said.splitlines()[-1])
        *own, user = [os.fsdecode(each.encode("latin-1")) for each in told[:5]]
        return [place, apart, *own, user, [os.fsdecode(each.encode("latin-1")) for each in told[5:]]]
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        if isinstance(error, OSError) and error.errno in SHORT_OF:
            raise
        raise ConfigError(f"python {python!r} cannot be run ({_said(error)}); name an interpreter") from None


def has_pth(folder: str) -> bool:
    """Whether a Python started afresh would read, and maybe run, more by way of this folder of packages."""
    try:
        return any(name.endswith(".pth") for name in os.listdir(folder)) if folder else False
    except OSError:
        return True


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
