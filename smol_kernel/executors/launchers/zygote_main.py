"""The zygote: has a kernel ready, and forks itself for each boxed child. `zygote` runs it as a script.

It belongs to the host and never runs what an action says. A fork builds a box as `boot` does for a Python started
afresh, and one of that gives up every right and goes on as the kernel; forks have nothing in common but memory that
each has a copy of, as soon as it writes there.

First it sees to it that the interpreter's own file lies in a read-only mount: a child could otherwise write to it by
/proc/self/exe, where the kernel lets a program that runs be written (CVE-2019-5736 is of this kind). So could it to a
library that keeps a descriptor of its own file, as libffi may. Then it begins anew, from there.
"""

from __future__ import annotations

import gc
import importlib
import importlib.machinery
import json
import os
import platform
import select
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from smol_kernel.executors.launchers import boot, dense
    from smol_kernel.executors.launchers import boot_calls as calls
    from smol_kernel.executors.launchers.boot_files import SAFE_ATTRIBUTES
else:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import boot
    import boot_calls as calls
    import dense
    from boot_files import SAFE_ATTRIBUTES

LATER = ("numpy", "pandas", "pyarrow")
"""Imported one by one when nobody has asked for a child for a while."""
QUIET_SECONDS = 0.3
IDLE_SECONDS = 900.0
"""After so long without a request it ends."""
OWN = ("boot", "boot_calls", "boot_files", "boxed_kernel", "dense", "prepared_kernel", "zygote_main")
KERNEL_PARTS = (
    "IPython.core.completerlib",
    "IPython.core.debugger",
    "IPython.core.logger",
    "IPython.core.magics",
    "IPython.core.oinspect",
    "IPython.extensions.storemagic",
    "comm.base_comm",
    "executing",
    "faulthandler",
    "ipykernel.comm",
    "ipykernel.debugger",
    "ipykernel.ipkernel",
    "ipykernel.zmqshell",
    "multiprocessing.resource_tracker",
    "pdb",
    "pygments.formatters.terminal256",
    "pygments.styles.default",
    "stack_data",
    "tornado.locks",
    "tornado.platform.asyncio",
    "tornado.queues",
    "traitlets.config.loader",
)
"""What a kernel imports while it starts: when it does it may not be able to read where that lies."""
ENDINGS = importlib.machinery.all_suffixes()
NOWHERE = "/dev/null"
AGAIN = """\
import os, site, sys
site.USER_BASE = site.USER_SITE = None
os.environ.pop("PYTHONUSERBASE")
if {base!r} is not None:
    os.environ["PYTHONUSERBASE"] = {base!r}
site.getusersitepackages()
sys.path.insert(0, {folder!r})
import zygote_main
zygote_main.serve({requests})
"""
"""How it begins anew: without the user's own packages, where a child may write, and what they have Python run (`.pth`).
An option for that, such as -s, its children would hand on to their own Pythons."""


def lock_interpreter(requests: int) -> None:
    """Go on in an interpreter whose file cannot be written by way of this process. Raises OSError."""
    user, group = os.getuid(), os.getgid()
    if user != 0:
        calls.unshare(calls.NEWUSER)
        calls.map_user([user, group], user, group)
    calls.unshare(calls.NEWNS)
    calls.mount(None, "/", None, calls.REC | calls.PRIVATE)
    for path in {os.path.realpath(sys.executable), *kept_libraries().values()}:
        calls.mount(path, path, None, calls.BIND)
        calls.restrict(path, SAFE_ATTRIBUTES | calls.ATTR_RDONLY)
    base = os.environ.get("PYTHONUSERBASE")
    words = AGAIN.format(folder=os.path.dirname(os.path.abspath(__file__)), requests=requests, base=base)
    os.execve(sys.executable, [sys.executable, "-c", words], {**os.environ, "PYTHONUSERBASE": NOWHERE})


def kept_libraries() -> dict[int, str]:
    """Descriptors that a library keeps of its own file, with its path. libffi maps that file again and again, for the
    callbacks of ctypes (`src/tramp.c` there): without the descriptor, or with another file there, they fail."""
    with open("/proc/self/maps") as maps:
        loaded = {line[line.index("/") :].rstrip("\n") for line in maps if "/" in line}
    kept: dict[int, str] = {}
    for each in map(int, os.listdir("/proc/self/fd")):
        with suppress(OSError):  # that of the listing
            path = os.readlink(f"/proc/self/fd/{each}")
            if path in loaded and path.startswith("/") and os.path.exists(path):
                kept[each] = path
    return kept


def serve(requests: int) -> None:
    """Fork a child for each request, until the host closes its end."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody has to reap them
    own = os.path.dirname(os.path.abspath(__file__))
    path = [folder for folder in sys.path if folder not in ("", own)]
    sys.path[:] = [own, *filter(is_of_the_environment, path)]
    os.environ["JE_ARROW_MALLOC_CONF"] = "background_thread:false"  # no fork would have pyarrow's thread
    kernel = importlib.import_module("boxed_kernel")
    preparing = importlib.import_module("prepared_kernel")
    sys.path.remove(own)
    for name in KERNEL_PARTS:
        with suppress(ImportError):
            importlib.import_module(name)
    host = socket.socket(fileno=requests)
    wishes = json.loads(host.recv(1 << 20))
    exec(compile(wishes["modules"], "<child modules>", "exec"), {})
    prepared = preparing.built(wishes["options"])
    for name in OWN:
        sys.modules.pop(name, None)  # a user's module may have that name
    needed = packages()
    extra = known(prepared, needed)
    kept = set(kept_libraries())
    dense.set_apart()
    with host:
        host.send(json.dumps(sorted(needed)).encode())
        later = list(LATER)
        asked = select.poll()  # the number of its end may be a large one
        asked.register(host, select.POLLIN)
        while True:
            if not asked.poll(1000 * (QUIET_SECONDS if later else IDLE_SECONDS)):
                if not later:
                    return
                with suppress(Exception):
                    importlib.import_module(later.pop(0))
                extra = known(prepared, needed)
                if later:
                    dense.set_apart()
                else:
                    with suppress(Exception):
                        dense.settle()
                    host.send(b"rested")
                continue
            given = received(host)
            if not given:
                return
            child = calls.fork() if len(os.listdir("/proc/self/task")) == 1 else os.fork()
            if child == 0:
                gc.disable()  # until it is a kernel: it would only look through what it has from here
                os.close(host.detach())
                become(given, partial(start, kernel=kernel, prepared=prepared, kept=kept, extra=extra, path=path))
            descriptor = os.pidfd_open(child)
            socket.send_fds(host, [str(child).encode()], [descriptor])
            for each in (descriptor, *given):
                os.close(each)


def known(prepared: Any, needed: set[str]) -> set[str]:
    """What has been imported besides the `needed`, noted before the fork: to look at so many names costs a process
    memory of its own."""
    if prepared is not None:
        prepared.modules = set(sys.modules)
    return packages() - needed


def packages() -> set[str]:
    """What has been imported, without what lies in packages."""
    return {name.partition(".")[0] for name in sys.modules}


def is_of_the_environment(folder: str) -> bool:
    """Whether only who installs packages writes in it. From other folders on the path nothing is imported out here: a
    project's own, say, may be one that a child writes in."""
    return any(f"{folder}/".startswith(f"{prefix}/") for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix))


def received(host: socket.socket) -> list[int]:
    """The descriptors that one request brings; none once the host has closed its end. All else a child is told by its
    own: what is in this process' memory is in that of the next one as well."""
    return socket.recv_fds(host, 16, 16)[1]


def become(given: list[int], start: Callable[..., None]) -> None:
    """Build a box, in which `start` becomes the kernel. `given` are the pipe by which most of the settings come, later,
    and the descriptors they speak of, the first of which brings those that are known already."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    plan, control, life, stderr, status, *sockets = given
    os.dup2(stderr, 2)
    end = socket.socket(fileno=control)
    settings = json.loads(end.recv(1 << 16))
    settings |= {"control": control, "life": life, "stderr": stderr, "status": status, "sockets": sockets, "plan": plan}
    try:
        boot.outside(settings, end, start)
    except OSError as error:
        boot.tell_failure(end, error)
        os._exit(boot.FAILED)


def start(
    settings: dict[str, Any], told: int, kernel: Any, prepared: Any, kept: set[int], extra: set[str], path: list[str]
) -> None:
    """Go on as the kernel, as if this Python had been started for it: the `prepared` one, or one of the module `kernel`
    where there is none. By the socket `told` it says that it has begun, and learns where it is once its box stands.
    `kept` are descriptors that libraries need, `extra` is what was imported that a kernel does not need, `path` what it
    imports from in its box."""
    calls.set_dumpable(True)  # as a program is that has just been started: its /proc is its own
    boot.take_stdio(settings, told, *kept)
    gc.enable()
    try:
        be_another()
        if prepared is not None:
            prepared.begin(settings["sockets"], settings["connection"], settings["arguments"][1], told)
        os.write(told, b".")
        with open(told) as line:
            settings |= json.load(line)
        settle(settings, extra, path)
        if prepared is None:
            kernel.launch(settings["sockets"])
        else:
            prepared.go_on()
    except Exception:  # noqa: BLE001 - boundary: the process ends here
        traceback.print_exc()
        sys.exit(1)
    sys.exit(0)


def settle(settings: dict[str, Any], extra: set[str], path: list[str]) -> None:
    """Be where the box is, with what is the child's own: null device, limits, umask, folder, variables, path."""
    null = os.open("/dev/null", os.O_RDWR)
    for each in map(int, os.listdir("/proc/self/fd")):
        with suppress(OSError):  # that of the listing
            if os.fstat(each).st_rdev == os.fstat(null).st_rdev:  # the same in a file system that is gone
                os.dup2(null, each, os.get_inheritable(each))
    os.close(null)
    calls.limit(settings["limits"])
    os.umask(settings["umask"])
    os.chdir(settings["cwd"])
    os.environ.clear()
    os.environ.update(settings["env"])
    time.tzset()
    sys.argv[:] = ["-c", *settings["arguments"]]
    sys.orig_argv[:] = [sys.executable, "-c", "", str(settings["sockets"]), *settings["arguments"]]
    given = [os.path.abspath(each) for each in settings["env"].get("PYTHONPATH", "").split(os.pathsep) if each]
    path = with_the_user_s(settings["user_packages"], path)
    sys.path[:] = dict.fromkeys([*given, *path])
    first = [folder for folder in (os.getcwd(), *given) if not is_of_the_environment(folder)]
    forget(those_in(first, extra))
    last = max((place for place, folder in enumerate(path) if is_of_the_environment(folder)), default=0)
    users = [folder for folder in path[:last] if not is_of_the_environment(folder)]  # behind the standard library
    forget(those_in(users, extra - sys.stdlib_module_names))
    for module, name in ((tempfile, "tempdir"), (platform, "_uname_cache")):  # found out where no box was
        vars(module)[name] = None


def with_the_user_s(packages: list[str], path: list[str]) -> list[str]:
    """The path with the user's own packages, if there are any, before what comes next."""
    place = path.index(packages[-1]) if packages[-1:] and packages[-1] in path else len(path)
    return [*path[:place], *packages[:1], *path[place:]]


def those_in(folders: list[str], names: set[str]) -> set[str]:
    """Those of the names by which a module could be imported from one of these folders."""
    found = set[str]()
    for folder in folders:
        with suppress(OSError):
            for entry in os.listdir(folder):
                name, _, ending = entry.partition(".")
                if name in names and (f".{ending}" in ENDINGS or os.path.lexists(f"{folder}/{entry}/__init__.py")):
                    found.add(name)
    return found


def forget(names: set[str]) -> None:
    """Forget modules, with what is in them: another one of the name comes first on the path."""
    for name in [name for name in sys.modules if name.partition(".")[0] in names] if names else ():
        del sys.modules[name]


def be_another() -> None:
    """Have no random state, no secret and no number that siblings have as well, nor look for what is outside."""
    tempfile.tempdir = "/tmp"
    main: Any = threading.main_thread()
    with suppress(AttributeError):
        main._set_native_id()
    if drawn := sys.modules.get("numpy.random"):
        drawn.seed()  # `random` does it by itself
    if processes := sys.modules.get("multiprocessing.process"):
        processes.current_process().authkey = os.urandom(32)


if __name__ == "__main__":
    calls.hear_interrupts()
    lock_interpreter(int(sys.argv[1]))
