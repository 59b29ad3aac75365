"""What a boxed child sees: paths, environment and limits, worked out in the host for `boot`. `box` calls it.

Shown are, read-only, the interpreter with its packages and the system's libraries at their own paths; the working
folder less hidden files and keys; what the user mounts; and an empty home, /tmp and /dev/shm in memory.
"""

from __future__ import annotations

import base64
import contextlib
import getpass
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from smol_kernel.errors import BoxUnavailableError, ConfigError
from smol_kernel.executors.launchers import seccomp
from smol_kernel.executors.launchers.hidden import Watch
from smol_kernel.executors.launchers.host_imports import writable_places
from smol_kernel.executors.launchers.interpreter import (
    LIBRARIES,
    LOADING,
    as_started,
    has_pth,
    interpreter,
    libraries_in,
    may_be_written,
    needed_libraries,
    own_environment,
)
from smol_kernel.executors.launchers.links import links_for, other_names
from smol_kernel.executors.launchers.mountinfo import mounts_below
from smol_kernel.executors.launchers.own_lock import own_lock
from smol_kernel.executors.launchers.own_session import NO_ROOM
from smol_kernel.executors.launchers.pinned import check_links, check_programs, pinned
from smol_kernel.executors.launchers.project_path import with_project_path
from smol_kernel.executors.launchers.settings import OPT_OUT, BoxSettings, Limits
from smol_kernel.executors.launchers.working_folder import holds, home_folder, working_folder
from smol_kernel.memory.known_secrets import SECRET_NAME

PROXY_PORT = 3128
"""Of the proxy, on the box's own 127.0.0.1."""
SIGNALS = 1024
"""Sent and not taken yet: of all of a user's, which are counted together."""
WATCHES = 8
"""Folders to remember of this host."""

SYSTEM = ("/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64", "/usr/share",
          "/usr/local/share", "/nix/store", "/gnu/store")  # fmt: skip
SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime",
                "/etc/timezone", "/etc/mime.types", "/etc/fonts", "/etc/services", "/etc/protocols", "/etc/ssl/certs",
                "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted")  # fmt: skip
RESOLVER_FILES = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf")
LINKED = ("/lib", "/lib32", "/lib64", "/libx32")
ENVIRONMENT_PARTS = ("bin", "lib", "lib64", "include", "share", "etc", "pyvenv.cfg")
SHELLS = ("sh", "bash", "dash", "zsh", "ksh", "fish", "tcsh", "csh", "busybox")
NEVER_SHOWN = ("/", "/tmp", "/var", "/home", "/usr", "/opt", "/mnt", "/media", "/srv", "/var/tmp")
NEVER_BELOW = ("/proc", "/sys", "/dev", "/run", "/boot", "/etc", "/bin", "/sbin", "/lib", "/lib64", "/usr/bin",
               "/usr/sbin", "/usr/lib")  # fmt: skip

KEPT_VARIABLES = {
    "LANG", "LANGUAGE", "TZ", "COLUMNS", "LINES", "NUMBA_NUM_THREADS", "LOKY_MAX_CPU_COUNT", "JOBLIB_START_METHOD",
    "PYTHONPATH", "PYTHONHASHSEED", "PYTHONUTF8", "PYTHONIOENCODING", "PYTHONWARNINGS", "PYTHONDONTWRITEBYTECODE",
    "PYTHONOPTIMIZE", "PYTHONNOUSERSITE", "PYTHONUSERBASE", "MPLSTYLE", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "TOKENIZERS_PARALLELISM", "CONDA_PREFIX", "VIRTUAL_ENV", "NO_COLOR",
}  # fmt: skip
KEPT_BEGINNINGS = ("LC_", "OMP_", "OPENBLAS_", "MKL_", "BLIS_", "VECLIB_", "NUMEXPR_", "POLARS_", "ARROW_", "KMP_")
"""Variables of the host's environment that a boxed child has as well, but those of a secret's name. All else stays
outside."""

_watches: dict[tuple[str, ...], Watch] = {}
_lock = own_lock()


@dataclass
class View:
    """The settings of `boot` that say what the child sees."""

    plan: dict[str, Any]
    watch: Watch | None
    """What tells of changes in the working folder, over which an overlay lies for what the child writes; None: it is
    not there."""
    others: list[Watch]
    """The same for other folders of the user's that it sees."""
    masks: dict[str, list[str]]
    """Paths below each of these folders that the child must not see."""
    packages: list[str]
    """Folders from which the interpreter imports what was installed."""
    first: list[str]
    """Others, in which it looks before the last of these: those of PYTHONPATH, the user's own site-packages."""
    afresh: bool
    """Whether a child has to be a Python started afresh, as one that begins outside of a box would import, or be led to
    other folders, by what a child may have written."""
    notices: list[str] = field(default_factory=list)

    @property
    def placed(self) -> dict[str, str]:
        """What is put into the working folder's layer for something to be mounted on it, and links: by the path below
        that folder, where a link leads."""
        inside = f"{self.plan['folder']}/"
        places = dict.fromkeys(place for place, _ in self.plan["binds"]) | self.plan["links"]
        return {path.removeprefix(inside): leads or "" for path, leads in places.items() if path.startswith(inside)}


def view(python: str, cwd: str, settings: BoxSettings, named: str | Path | None = None) -> View:
    """What a child of the interpreter `python` with the working folder `cwd` sees, which was `named` so.

    Raises ConfigError if there is no such interpreter or folder, or if the child could have another one started.
    """
    if not os.path.isdir(cwd):
        raise ConfigError(f"cwd {cwd!r} is not a folder; name one that exists")
    environment = box_environment(settings)
    may_write = writable_places(settings.mounts)
    libraries = needed_libraries(python, os.environ.get(LIBRARIES, ""), may_write)
    environment |= {LIBRARIES: libraries} if libraries else {}
    facts = interpreter(python, environment, libraries, may_write)
    home, user = host_home(), host_user()
    mounts = [(mount.path, mount.writable) for mount in settings.mounts]
    mounted = any(path == cwd for path, _ in mounts)
    shown = cwd if is_shown(cwd, home) and not mounted else None
    notices: list[str] = []
    if shown is None and not mounted:
        notices.append(
            f"The working folder {cwd} is not shown to the child kernel, which works in an empty {home}. Start in "
            "another one, or mount what it needs (--mount PATH)."
        )
    binds = _binds(facts, settings, home, cwd)
    read_only, writable = [place for place, _ in binds], [path for path, may in mounts if may]
    check_programs(facts["executables"], read_only, writable)
    check_links([*facts["executables"], facts["prefix"], facts["exec_prefix"]], read_only, writable)
    skip = [path for path, _ in (*binds, *mounts)]
    also = libraries_in(libraries)
    also = [path for path in also if not any(holds(above, path) for above in (*filter(None, [shown]), *skip))]
    others = [_looked_at(path, skip, notices) for path in _own_folders([*facts["path"], *also], home, binds)]
    watch, hidden = _looked_at(shown, skip, notices) if shown else (None, [])
    masks = {other.folder: names for other, names in others} | ({shown: hidden} if shown else {})
    ids = [os.getuid(), os.getgid()] if os.getuid() else [1000, 1000]
    files = {
        "/etc/passwd": f"{user}:x:{ids[0]}:{ids[1]}::{home}:/bin/false\nnobody:x:65534:65534::/:/bin/false\n",
        "/etc/group": f"{user}:x:{ids[1]}:\nnogroup:x:65534:\n",
    }
    if settings.network != "full":
        files["/etc/hosts"] = "127.0.0.1 localhost box\n::1 localhost\n"
        files["/etc/nsswitch.conf"] = "passwd: files\ngroup: files\nhosts: files dns\n"
    environment |= {
        "HOME": home,
        "USER": user,
        "LOGNAME": user,
        "PATH": f"{facts['prefix']}/bin",
        "IPYTHONDIR": "/tmp/.ipython",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }
    prefixes = (facts["prefix"], facts["base_prefix"], facts["exec_prefix"])
    environment = with_project_path(environment, [*filter(None, [shown]), *(path for path, _ in mounts)], prefixes, cwd)
    seen = [*skip, *(other.folder for other, _ in others), *filter(None, [shown])]
    links = _links(facts, binds, other_names(settings, cwd, named), seen)
    plan: dict[str, Any] = {
        "binds": binds,
        "links": links,
        "files": files,
        "home": home,
        "home_files": {
            name: file
            for name, file in font_cache().items()
            if not any(holds(link, f"{home}/{name}") for link in links)  # there is no folder then
        },
        "folder": shown,
        "veiled": [other.folder for other, _ in others],
        "pinned": pinned(read_only, writable),
        "masked": [path for path, names in masks.items() if names],
        "mounts": mounts,
        "rehearsed": _rehearsed(mounts, [*seen, home]) if settings.rehearsal else [],
        "cwd": cwd if shown or mounted else home,
        "disk": settings.limits.disk,
        "limits": resource_limits(settings.limits),
        "umask": umask(),
        "user_packages": _users(facts["user"], facts["path"]),
        "network": settings.network,
        "proxy": PROXY_PORT if settings.allow_hosts else 0,
        "seccomp": base64.b64encode(seccomp.program(set_id=not any(writable for _, writable in mounts))).decode(),
        "ids": ids,
        "env": environment,
    }
    packages = [path for path in facts["path"] if any(holds(prefix, path) for prefix in prefixes)]
    before = facts["path"][: facts["path"].index(packages[-1])] if packages else facts["path"]
    given = [*filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    first = [path for path in dict.fromkeys([*given, *before]) if path not in packages]
    # What installed packages add to the path a zygote has as well, while its Python begins, which is outside of a box.
    added = [path for path in facts["path"] if path not in (*packages, *given, facts["user"])]
    afresh = has_pth(facts["user"]) or any(may_be_written(os.path.realpath(each), may_write) for each in added)
    return View(plan, watch, [other for other, _ in others], masks, packages, first, afresh, notices)


def _users(folder: str, path: list[str]) -> list[str]:
    """The user's own packages, and what comes next on the path; empty without."""
    return [folder, *path[path.index(folder) + 1 :][:1]] if folder in path else []


def not_rehearsed(cwd: str | Path | None, settings: BoxSettings) -> list[str]:
    """The writable mounts to which a child would write even in a rehearsal (see `BoxSettings`). Raises as `view`."""
    writable = [mount.path for mount in settings.mounts if mount.writable]
    if not writable or sys.platform != "linux":
        return writable
    rehearsing = replace(settings, rehearsal="offline")
    seen = view(sys.executable, working_folder(cwd), rehearsing)
    return [path for path in writable if path not in seen.plan["rehearsed"]]


def _rehearsed(mounts: list[tuple[str, bool]], seen: list[str]) -> list[str]:
    """The writable mounts over which an overlay can lie and be taken away again: folders with nothing mounted below."""
    return [
        path
        for path, writable in mounts
        if writable and os.path.isdir(path) and not any(path != each and holds(path, each) for each in seen)
    ]


def _binds(facts: dict[str, Any], settings: BoxSettings, home: str, cwd: str) -> list[tuple[str, str]]:
    """Paths to show read-only, with what is shown there."""
    paths = [*SYSTEM, *SYSTEM_FILES, *(path for path in LINKED if not os.path.islink(path))]
    paths += RESOLVER_FILES if settings.network == "full" else ()
    shells: list[str] = []
    for prefix in dict.fromkeys((facts["base_prefix"], facts["prefix"], facts["exec_prefix"])):
        if prefix in ("/usr", "/usr/local", "/"):
            continue
        inside = any(each.writable and os.path.realpath(prefix).startswith(f"{each.path}/") for each in settings.mounts)
        whole = (inside or prefix == facts["base_prefix"]) and not holds(prefix, home) and not holds(prefix, cwd)
        whole = whole and not any(each.writable and os.path.realpath(prefix) == each.path for each in settings.mounts)
        paths += [prefix] if whole else [f"{prefix}/{part}" for part in ENVIRONMENT_PARTS]
        shells += [f"{prefix}/bin/{name}" for name in SHELLS]
    paths += facts["executables"]
    binds: dict[str, str] = {}
    folders: dict[str, str] = {}
    for path in paths:
        real = _real(path, folders)
        is_link = path in facts["executables"] and os.path.islink(path)  # it stays one, see `_links`
        for place in (real,) if is_link else dict.fromkeys((path, real)):
            if os.path.exists(place) and not any(above in binds for above in _above(place)):
                binds[place] = real
    return [*binds.items(), *((path, "/dev/null") for path in shells if os.path.isfile(path))]


def _links(
    facts: dict[str, Any], binds: list[tuple[str, str]], names: Iterable[str], seen: list[str]
) -> dict[str, str]:
    """Links that are to be there as such, with what they lead to. By those to an interpreter it finds its library, by
    the `names` what is `seen`."""
    shown = {path for path, _ in binds}
    links = [path for path in (*LINKED, *facts["executables"]) if os.path.islink(path)]
    own = {path: os.readlink(path) for path in links if not any(above in shown for above in _above(path))}
    return own | links_for(names, {*seen, *own}, NEVER_BELOW)


def _real(path: str, folders: dict[str, str]) -> str:
    """The path without links. Most lie beside each other: `folders` has those that have been looked at."""
    above, name = os.path.split(path)
    if above not in folders:
        folders[above] = os.path.realpath(above)
    real = os.path.join(folders[above], name)
    return os.path.realpath(real) if os.path.islink(real) else real


def _above(path: str) -> Iterator[str]:
    """The path, and each folder it lies in."""
    yield path
    while (above := os.path.dirname(path)) != path:
        yield above
        path = above


def _own_folders(paths: list[str], home: str, binds: list[tuple[str, str]]) -> list[str]:
    """Of the folders that its Python imports or loads from those outside the environment: packages installed as
    editable, PYTHONPATH, LD_LIBRARY_PATH."""
    shown = [path for path, _ in binds]
    own = [
        path
        for path in dict.fromkeys(map(os.path.realpath, paths))
        if may_show(path) and not holds(path, home) and not any(holds(above, path) for above in shown)
    ]
    return [path for path in own if not any(path != above and holds(above, path) for above in own)]


def _looked_at(folder: str, skip: list[str], notices: list[str]) -> tuple[Watch, list[str]]:
    """Paths below `folder` that the child must not see, and what can look again for it. Raises ConfigError if it is the
    folder itself, OSError if too many files are open."""
    with _lock:  # what one child's watch has seen the next one's knows
        key = (folder, *skip)
        watch = _watches.pop(key, None) or Watch(folder, skip)
        found = watch.masked()
        _watches[key] = watch
        if len(_watches) > WATCHES:
            del _watches[next(iter(_watches))]
        watch = watch.copy()
    for each in found:
        if each.path == ".":
            try:
                os.scandir(folder).close()
            except OSError as error:
                if error.errno in NO_ROOM:
                    raise
            raise ConfigError(f"folder {folder} cannot be read; work in another one")
        if each.unseen:
            notices.append(f"{folder}/{each.path} holds too many files to look through: it is not shown to the child.")
    names = [each.path for each in found]
    for point in mounts_below(folder):
        if {*skip, *(f"{folder}/{name}" for name in names)}.isdisjoint(_above(point)):
            names.append(os.path.relpath(point, folder))
            notices.append(
                f"{point} is a file system of its own: it is shown to the child only if it is given as a mount."
            )
    return watch, names


def box_environment(settings: BoxSettings) -> dict[str, str]:
    """What a boxed child has of the host's environment: the variables of an allow-list, and the way to the proxy."""
    kept = {
        name: value
        for name, value in as_started(own_environment()).items()
        if name in KEPT_VARIABLES or (name.startswith(KEPT_BEGINNINGS) and not SECRET_NAME.search(name))
    }
    for name in LOADING:
        if "/" in kept.get(name, ""):  # files of a locale, which would be read outside of the box too
            del kept[name]
    if settings.allow_hosts:
        address = f"http://127.0.0.1:{PROXY_PORT}"
        kept |= dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), address)
        allowed = {host.partition(":")[0] for host in settings.allow_hosts}
        own = ",".join(name for name in ("localhost", "127.0.0.1") if name not in allowed)
        kept |= dict.fromkeys(("no_proxy", "NO_PROXY"), own)
    return kept


def resource_limits(limits: Limits) -> dict[str, int]:
    """The limits by the names of the standard library's `resource`.

    What a process may hold is counted by RLIMIT_DATA, which leaves out address space that is only reserved, as pyarrow
    and torch do; RLIMIT_AS bounds what is shared besides.
    """
    return {
        "RLIMIT_DATA": limits.memory,
        "RLIMIT_AS": limits.memory + (64 << 30),
        "RLIMIT_NPROC": limits.processes,
        "RLIMIT_FSIZE": limits.file_size,
        "RLIMIT_NOFILE": limits.open_files,
        "RLIMIT_CPU": limits.cpu_seconds,
        "RLIMIT_CORE": 0,
        "RLIMIT_SIGPENDING": SIGNALS,
        "RLIMIT_MSGQUEUE": 0,
    }


def is_shown(cwd: str, home: str) -> bool:
    """Whether a working folder is: not one in which all lies, nor one around the home folder."""
    return may_show(cwd) and (cwd == home or not holds(cwd, home))


def may_show(path: str) -> bool:
    """Whether a folder may be the child's working folder: none that holds what is not the user's work."""
    return path not in NEVER_SHOWN and not any(holds(above, path) for above in NEVER_BELOW)


def umask() -> int:
    """That of this process, which can only be asked for by setting it, or here. Raises BoxUnavailableError where that
    cannot be read: a box cannot be built then either."""
    try:
        lines = Path("/proc/self/status").read_text(errors="replace").splitlines()
    except FileNotFoundError:
        raise BoxUnavailableError(f"no box can be built here: /proc is not mounted. Mount it, or, {OPT_OUT}") from None
    mask = next((int(line.split()[1], 8) for line in lines if line.startswith("Umask:")), 0o022)
    return mask & 0o077  # without its own rights a child could not even begin


def host_user() -> str:
    """The user's name, as the child sees it as well."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        return "user"
    return name if name.isprintable() and not set(name) & set(":/\n") else "user"


def host_home() -> str:
    """Path of the user's home; the child's own home, an empty one, has the same."""
    home = os.path.realpath(home_folder() or "/")
    return home if may_show(home) and home.isprintable() else f"/home/{host_user()}"


def font_cache() -> dict[str, str]:
    """Matplotlib's list of fonts, which takes seconds to make anew in each empty home: where it belongs there, and
    where it lies here."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or f"{home_folder() or ''}/.cache") / "matplotlib"
    with contextlib.suppress(OSError):
        return {f".cache/matplotlib/{each.name}": str(each) for each in folder.glob("fontlist-*.json")}
    return {}
