"""Builds the box around a child kernel and starts it: `box` runs this file as a script, `python -I -S boot.py`.

Its settings come as JSON on standard input (see `box`). Three processes come of it. The one that was started waits
*outside* the box, so that the host has a child to wait for, takes the box down when the host goes, and on the host's
word has the overlay look anew, or takes those away that lay over mounts for a rehearsal. The *first*
process inside is the box's pid 1: it builds the file system, gives up every right, and from then on only reaps. The
*kernel* is its child, in a Python started afresh; or where a zygote has forked all three, one that has given up every
right as well, and begins while its box is still built: it runs nothing of anybody else's before.

The order matters, see namespaces(7), user_namespaces(7) and pid_namespaces(7): an ordinary user makes the user
namespace first, for without it nothing else is allowed; root makes it last, after it has become a user that nobody else
is, so that even a process with all rights in that namespace has none over the mounts.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
from functools import partial
from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from smol_kernel.executors.launchers import boot_calls as calls
    from smol_kernel.executors.launchers.boot_files import Root, obey
else:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import boot_calls as calls
    from boot_files import Root, obey

FAILED = 70
"""Exit status of a box that could not be built."""
HOST_NAME = b"box"
OF_THE_USER = {"max_inotify_instances": 32, "max_inotify_watches": 8192}
"""Counted for a user in all, see namespaces(7)."""
ENDED = "it has ended"
OF_THE_KERNEL = ("cwd", "env", "limits", "umask", "user_packages")
"""Settings that a kernel needs to know which has begun before."""
HOLD = "import os; print(os.getpid(), flush=True); os.read(0, 1)"
"""A program that tells its process id, and waits."""
_SIOCSIFFLAGS, _IFF_UP, _IFF_RUNNING = 0x8914, 0x1, 0x40

_stage = ["start"]


def begin(what: str) -> None:
    """Note what is done now, for the message if it fails."""
    _stage[0] = what


def tell(control: socket.socket, facts: dict[str, Any], descriptors: list[int] | None = None) -> None:
    """Tell the host, which reads until the box stands."""
    socket.send_fds(control, [json.dumps(facts).encode()], descriptors or [])


def tell_failure(control: socket.socket, error: BaseException) -> None:
    """Tell the host at what it failed."""
    number, said = (error.errno, error.strerror) if isinstance(error, OSError) else (None, repr(error))
    tell(control, {"failed": _stage[0], "errno": number, "error": said})


def mask(control: socket.socket, path: str, layer: int) -> None:
    """Have the host hide what is not to be seen of a folder, in the layer of this descriptor. Raises OSError."""
    waiting, answering = os.pipe()
    tell(control, {"mask": path}, [layer, answering])
    os.close(answering)
    answer = os.read(waiting, 1)
    os.close(waiting)
    if not answer:
        raise OSError(errno.EIO, "what is hidden in it could not be")


def outside(settings: dict[str, Any], control: socket.socket, start: Callable[..., None]) -> None:
    """Make the namespaces and the first process; wait for its end, or for the host's.

    In the box `start` becomes the kernel. If there is a "plan" in the settings, a pipe with what they lack yet, it
    begins at once: it is given the end of a socket, by which it says that it has begun, and hears what is its own of
    the settings when the box stands.
    """
    user, group = os.getuid(), os.getgid()
    owner, by = None, "nobody"
    os.umask(0o022)
    calls.end_with_host(settings["life"], os.getpid())
    with contextlib.suppress(OSError):
        calls.write("/proc/self/oom_score_adj", "1000")  # where memory is short, the box goes first
    if user == 0 and (ranges := user_ranges()) != [(0, 1)]:
        owner = unused_user(ranges)
    else:  # or as root of a user namespace that has no other user
        begin("user namespace")
        by = enter_user_namespace(settings, user, group)
        for name, most in OF_THE_USER.items():
            with contextlib.suppress(OSError):  # others of the user's are to have some as well
                calls.write(f"/proc/sys/user/{name}", str(most))
    begin("namespaces")
    network = 0 if settings["network"] == "full" else calls.NEWNET
    calls.unshare(calls.NEWNS | calls.NEWPID | calls.NEWIPC | calls.NEWUTS | network)
    with contextlib.suppress(OSError):  # not everywhere; it hides names alone
        calls.unshare(calls.NEWCGROUP)
    waiting, holding = os.pipe()
    child = calls.fork()
    if child == 0:
        os.close(holding)
        first(settings, control, owner, waiting, start)
    os.close(waiting)
    descriptor = os.pidfd_open(child)
    tell(control, {"first": True, "user namespace by": by}, [descriptor])
    os.write(holding, b".")
    calls.keep_only({settings["life"], settings["status"], descriptor, holding, control.fileno()})
    poller = select.poll()
    for each in (descriptor, settings["life"], control.fileno()):
        poller.register(each, select.POLLIN)
    while [control.fileno()] == [each for each, _ in poller.poll()] and (words := heard(control)):
        asked = json.loads(words)
        if answer := obey(settings, asked):
            control.send(b"%d %s" % (asked["question"], answer))
    os.kill(child, signal.SIGKILL)
    code = exit_code(os.waitpid(child, 0)[1])
    os.write(settings["status"], str(code).encode())  # the host may not be the one to wait for this process
    os._exit(code)


def heard(control: socket.socket) -> bytes:
    """What the host asks for; nothing once it has closed its end."""
    with contextlib.suppress(ConnectionError):  # it has, and left something unread
        return control.recv(1 << 18)
    return b""


def enter_user_namespace(settings: dict[str, Any], user: int, group: int) -> str:
    """Be the only user of a fresh user namespace, with all rights in it; says who made it.

    Where bubblewrap is installed it is asked first: some systems let it make one, and Python not (AppArmor's
    restriction of unprivileged user namespaces, for one).
    """
    if settings["bubblewrap"]:
        with contextlib.suppress(OSError, ValueError):
            join_one_of_bubblewrap(settings["bubblewrap"], settings["ids"], user, group)
            return "bubblewrap"
    calls.unshare(calls.NEWUSER)
    calls.map_user(settings["ids"], user, group)
    return "unshare"


def join_one_of_bubblewrap(program: str, ids: list[int], user: int, group: int) -> None:
    """Have bubblewrap, see bwrap(1), make a user namespace; enter it, see setns(2); let bubblewrap end.

    Raises OSError or ValueError, and has changed nothing then, if it makes none or another one than was asked for.
    """
    words = [program, "--unshare-user", "--uid", str(ids[0]), "--gid", str(ids[1]), "--dev-bind", "/", "/", "--"]
    words += [sys.executable, "-I", "-S", "-c", HOLD]
    waiting, holding = os.pipe()
    answer, answering = os.pipe()
    null = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
    actions = [(os.POSIX_SPAWN_DUP2, source, target) for target, source in enumerate((waiting, answering, null))]
    maker = None
    try:
        maker = os.posix_spawn(program, words, os.environ, file_actions=actions)
        for each in (waiting, answering, null):
            os.close(each)
        holder = int(os.read(answer, 20))
        for kind, there, here in (("uid", ids[0], user), ("gid", ids[1], group)):
            with open(f"/proc/{holder}/{kind}_map") as lines:
                if lines.read().split() != [str(there), str(here), "1"]:
                    raise ValueError(f"{kind} is mapped in another way")
        namespace = os.open(f"/proc/{holder}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        calls.join(namespace, calls.NEWUSER)
        os.close(namespace)
    finally:
        os.close(holding)
        os.close(answer)
        if maker is not None:
            os.waitpid(maker, 0)


def first(
    settings: dict[str, Any], control: socket.socket, owner: int | None, waiting: int, start: Callable[..., None]
) -> None:
    """Build the box, give up all rights, start the kernel, and reap."""
    kernel, ends = None, socket.socketpair() if "plan" in settings else ()
    try:
        proc = os.open("/proc", os.O_PATH)  # the box's own is read-only, and there in its place at any time
        die_with_outside(waiting)
        os.read(waiting, 1)
        os.setsid()
        if ends:
            kernel = os.fork()
        if kernel != 0:
            for each in ends[1:]:
                each.close()
            build(settings, control, owner, waiting, proc, kernel, *ends[:1])
    except BaseException as error:  # noqa: BLE001 - boundary: the host has to know
        tell_failure(control, error)
        os._exit(FAILED)
    if kernel == 0:
        confine_kernel(settings, control, owner, proc, ends[1:])
    os.close(proc)
    control.close()  # or it would close another's of the number one day
    if ends and kernel == 0:
        ends[0].close()
        start(settings, ends[1].detach())
    if ends:
        with contextlib.suppress(ConnectionError):  # it has ended
            ends[0].sendall(json.dumps({name: settings[name] for name in OF_THE_KERNEL}).encode())
    else:
        kernel = os.fork()
        if kernel == 0:
            start(settings)
    os.chdir("/")  # a mount in which it worked could not be taken away
    calls.set_dumpable(False)
    calls.keep_only(set())
    while True:
        ended, status = os.wait()
        if ended == kernel:
            os._exit(exit_code(status))


def build(
    settings: dict[str, Any],
    control: socket.socket,
    owner: int | None,
    waiting: int,
    proc: int,
    kernel: int | None,
    end: socket.socket | None = None,
) -> None:
    """Build the box and give up all rights; `proc` is a /proc in which can be written.

    Where the kernel has been forked already the host is told, and says then what the settings lack yet. From the other
    `end` the kernel says when it has given up its rights: while the root is changed, it could make no user namespace
    (EPERM in unshare(2)). The box stands when it says that it has begun. Raises ChildProcessError if it ends before.
    """
    root = Root(owner, begin, partial(mask, control))
    root.prepare()
    if kernel is not None:
        pidfd = os.pidfd_open(kernel)
        tell(control, {"kernel": True}, [pidfd])
        begin("kernel")
        settings |= plan(settings["plan"], pidfd)
    descriptors = root.build(settings)
    begin("host name")
    calls.set_host_name(HOST_NAME)
    if settings["network"] != "full":
        begin("loopback")
        loopback()
    if settings["proxy"]:
        descriptors.append(socket.create_server(("127.0.0.1", settings["proxy"]), backlog=64).detach())
    hear(end)
    root.enter()
    give_up_rights(settings, owner, proc)
    die_with_outside(waiting)
    calls.limit(settings["limits"])
    begin("seccomp")
    calls.filter_calls(base64.b64decode(settings["seccomp"]))
    begin("working folder")
    os.chdir(settings["cwd"])
    hear(end)
    tell(control, {"ready": True}, descriptors)
    for descriptor in descriptors:
        os.close(descriptor)


def hear(end: socket.socket | None) -> None:
    """Wait for the kernel to say one thing, where it has been forked already. Raises ChildProcessError if it ends."""
    begin("kernel")
    if end is not None and not end.recv(1):
        raise ChildProcessError(errno.ECHILD, ENDED)


def plan(pipe: int, kernel: int) -> dict[str, Any]:
    """What the host wants built, once it says so. Raises ChildProcessError if the kernel, a pidfd, ends before."""
    poller = select.poll()
    for each in (pipe, kernel):
        poller.register(each, select.POLLIN)
    if kernel in dict(poller.poll()):
        raise ChildProcessError(errno.ECHILD, ENDED)
    with open(pipe) as file:
        return json.loads(file.readline())  # its end may come late: a process forked from the host has one too


def confine_kernel(
    settings: dict[str, Any], control: socket.socket, owner: int | None, proc: int, ends: Sequence[socket.socket]
) -> None:
    """Give up all rights, before there is a thread that could keep some, and before the box is entered: then say so."""
    try:
        os.chdir("/")  # which will be the box's
        give_up_rights(settings, owner, proc)
        begin("seccomp")
        calls.filter_calls(base64.b64decode(settings["seccomp"]))
        for end in ends:
            end.send(b".")
    except BaseException as error:  # noqa: BLE001 - boundary: the host has to know
        tell_failure(control, error)
        os._exit(FAILED)


def give_up_rights(settings: dict[str, Any], owner: int | None, proc: int) -> None:
    """Have no right over what is outside of the box, nor over the box; be its user, if that is not this one yet."""
    begin("rights")
    if owner is not None:
        os.setgroups([])
        os.setresgid(owner, owner, owner)
        os.setresuid(owner, owner, owner)
        calls.set_dumpable(True)  # else the maps below are not ours to write
        begin("user namespace")
        calls.unshare(calls.NEWUSER)
        calls.map_user(settings["ids"], owner, owner, f"/proc/self/fd/{proc}")
    calls.give_up_rights()


def start_kernel(settings: dict[str, Any]) -> None:
    """Become the kernel, with its sockets and nothing else of ours."""
    try:
        take_stdio(settings)
        os.umask(settings["umask"])
        os.execve(settings["argv"][0], settings["argv"], settings["env"])
    except OSError as error:
        os.write(2, f"{settings['argv'][0]}: {error}\n".encode())
    finally:
        os._exit(FAILED)


def take_stdio(settings: dict[str, Any], *others: int) -> None:
    """Have a session, the standard streams, the kernel's sockets and these `others`, and nothing else of ours."""
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    for target, source in enumerate((null, null, settings["stderr"])):
        os.dup2(source, target)
    calls.keep_only({0, 1, 2, *settings["sockets"], *others})


def die_with_outside(waiting: int) -> None:
    """End when the process outside does: from now on, and if it has ended already. It holds the other end of the pipe
    `waiting`, into which it writes once."""
    calls.die_with_parent()
    poller = select.poll()
    poller.register(waiting, 0)  # POLLHUP is told always
    if poller.poll(0):
        os._exit(FAILED)


def user_ranges() -> list[tuple[int, int]]:
    """The user ids that exist in this user namespace: the first of each range, and how many."""
    with open("/proc/self/uid_map") as lines:
        return [(int(start), int(count)) for start, _, count in (line.split() for line in lines)]


def unused_user(ranges: list[tuple[int, int]]) -> int:
    """A user id that nobody has, of those that exist."""
    start, count = max(ranges, key=lambda each: each[1])
    low, high = (1 << 30, (1 << 31) - 2) if count > 1 << 31 else (start + count // 2, start + count - 1)
    return low + int.from_bytes(os.urandom(4), "big") % max(1, high - low)


def loopback() -> None:
    """Let the box reach itself, as 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP | _IFF_RUNNING))


def exit_code(status: int) -> int:
    """What a shell would say: the exit code, or 128 and the number of the signal."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def main() -> None:
    """Read the settings, and build."""
    calls.hear_interrupts()
    settings = json.loads(sys.stdin.readline())
    control = socket.socket(fileno=settings["control"])
    try:
        outside(settings, control, start_kernel)
    except OSError as error:
        tell_failure(control, error)
        os._exit(FAILED)


if __name__ == "__main__":
    main()
