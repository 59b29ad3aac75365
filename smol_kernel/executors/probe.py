"""Tries the box: starts a child as a run does, and has it reach for what it must not get. `smol doctor` shows it.

What is planted for it is made for the occasion and removed afterwards. Nothing outside this machine is contacted.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smol_kernel.errors import BoxUnavailableError, ConfigError, ExecutorError
from smol_kernel.events import Notice
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.launchers.plain import no_temporary_folder
from smol_kernel.executors.launchers.working_folder import home_folder

VARIABLE = "SMOL_DOCTOR_NOTE"
"""A variable of the environment that no box passes on, whatever it holds."""

ACTION = """\
import os, resource, socket, subprocess, sys

def tried(attempt, *arguments):
    try:
        return attempt(*arguments)
    except BaseException as error:
        return f"refused: {type(error).__name__}"

def read(path):
    with open(path) as file:
        return file.read(10_000)

def write(path):
    with open(path, "w") as file:
        file.write("from the child")
    return read(path)

def dial(family, address):
    with socket.socket(family) as dialled:
        dialled.settimeout(5)
        dialled.connect(address)
    return "connected"

def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout

def status():
    lines = (line.partition(":") for line in read("/proc/self/status").split("\\n"))
    return {name: value.strip() for name, _, value in lines}

found = {
    "folder": tried(read, planted["folder"]),
    "python": tried(run, sys.executable, "-c", "print(6 * 7)"),
    "home": tried(read, planted["home"]),
    "temporary": tried(read, planted["temporary"]),
    "hidden": tried(read, planted["hidden"]),
    "outside": tried(write, planted["outside"]),
    "inside": tried(write, planted["inside"]),
    "library": tried(write, planted["library"]),
    "address": tried(dial, socket.AF_INET, ("127.0.0.1", planted["port"])),
    "abstract": tried(dial, socket.AF_UNIX, "\\0" + planted["abstract"]),
    "interfaces": tried(lambda: ",".join(sorted(name for _, name in socket.if_nameindex()))),
    "process": tried(read, planted["process"]),
    "variable": os.environ.get(planted["variable"], ""),
    "shell": tried(run, "/bin/sh", "-c", "echo 42"),
    "rights": tried(lambda: " ".join(status()[name] for name in ("CapEff", "NoNewPrivs", "Seccomp"))),
    "limits": {
        name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[0]
        for name in ("DATA", "AS", "NPROC", "FSIZE", "NOFILE", "CPU")
    },
    "disk": tried(lambda: os.statvfs("/tmp").f_blocks * os.statvfs("/tmp").f_frsize),
}
final_answer(found)
"""
"""What the child runs. It is told where things are, never what is in them: the host compares."""


@dataclass(frozen=True)
class Attempt:
    """One thing that was tried: whether the box held, and a sentence on it."""

    name: str
    held: bool
    told: str


@dataclass(frozen=True)
class Probe:
    """What a child could reach. `isolation` is how it was boxed, `limits` are those it met, by their names in
    `launchers.settings.Limits`, -1 for none."""

    isolation: str
    attempts: list[Attempt]
    limits: dict[str, int]

    @property
    def held(self) -> bool:
        """Whether everything that was tried came out as it should."""
        return all(attempt.held for attempt in self.attempts)


def probe(box: bool = True) -> Probe:
    """Start a child, boxed or not, and see what it can reach.

    Raises BoxUnavailableError where no box can be had, ExecutorError if the child does not answer.
    """
    token = secrets.token_hex(8)
    with ExitStack() as held:
        planted = held.enter_context(_planted(token))
        executor = KernelExecutor(60, cwd=os.path.dirname(planted["folder"]), box=box)
        held.callback(executor.cleanup)
        executor.send_variables({"planted": planted})
        output = executor(ACTION).output
        if not isinstance(output, dict):
            raise ExecutorError("the child did not tell what it found")
        found: dict[str, Any] = output
        return Probe(executor.isolation, list(_attempts(found, planted, token)), _limits(found))


def here() -> tuple[str, list[str]]:
    """Why a boxed run in the working folder of this process is refused, empty if it is not; and what it is told."""
    executor = KernelExecutor(60, box=True)
    try:
        return "", [event.text for event in executor.run("None") if isinstance(event, Notice)]
    except (BoxUnavailableError, ConfigError) as error:
        return str(error), []
    finally:
        executor.cleanup()


@contextmanager
def _planted(token: str) -> Generator[dict[str, Any]]:
    """Things of the host for the child to reach for, each of which holds the token."""
    with ExitStack() as held:

        def folder(prefix: str, place: str | None, *names: str) -> Path:
            made = Path(held.enter_context(tempfile.TemporaryDirectory(prefix=prefix, dir=place)))
            for name in names:
                (made / name).write_text(token)
            return made

        try:
            shared = private = folder("smol-doctor-", None, "file")
            work = folder("smol-doctor-work-", None, "table.csv", ".env")
        except OSError as error:
            raise no_temporary_folder(error) from None
        home = home_folder()
        with suppress(OSError):  # it may be full, over its quota or read-only: the box is tried without
            private = folder("smol-doctor-", home, "file") if home else private
        here = held.enter_context(socket.create_server(("127.0.0.1", 0)))
        planted: dict[str, Any] = {
            "folder": str(work / "table.csv"),
            "home": str(private / "file"),
            "home is tried": private is not shared,
            "temporary": str(shared / "file"),
            "hidden": str(work / ".env"),
            "outside": str(private / "written"),
            "inside": str(work / "written"),
            "library": str(Path(sys.prefix) / f"smol-doctor-{token}"),
            "port": here.getsockname()[1],
            "abstract": f"smol-doctor-{token}",
            "process": f"/proc/{os.getpid()}/stat",
            "variable": VARIABLE,
        }
        if sys.platform == "linux":
            unseen = held.enter_context(socket.socket(socket.AF_UNIX))
            unseen.bind("\0" + planted["abstract"])
            unseen.listen(1)
        os.environ[VARIABLE] = token
        held.callback(os.environ.pop, VARIABLE, None)
        try:
            yield planted
        finally:
            with suppress(OSError):
                os.unlink(planted["library"])


def _attempts(found: Mapping[str, Any], planted: Mapping[str, Any], token: str) -> Iterator[Attempt]:
    """What came of each; of writing the host sees for itself."""

    def told(name: str, held: bool, well: str, badly: str) -> Attempt:
        return Attempt(name, held, well if held else badly)

    said = {name: str(value) for name, value in found.items()}
    yield told("folder", said["folder"] == token, "reads the files of the working folder",
               f"cannot read a file of the working folder ({said['folder'][:60]})")  # fmt: skip
    yield told("python", said["python"].strip() == "42", "starts other Pythons", "cannot start another Python")
    yield told("hidden", token not in said["hidden"], "does not see hidden files there (.env)",
               "READS HIDDEN FILES of the working folder (.env)")  # fmt: skip
    yield told("inside", not os.path.exists(planted["inside"]), "writes there to a copy: the folder stays as it is",
               "WRITES INTO THE WORKING FOLDER itself")  # fmt: skip
    home, place = "of your home", "OF YOUR HOME"
    if not planted["home is tried"]:
        home, place = (
            "of the system's /tmp; none of your home was tried, as none can be made there",
            "OF THE SYSTEM'S /tmp",
        )
    yield told("home", token not in said["home"], f"reads no file {home}", f"READS FILES {place}")
    yield told("outside", not os.path.exists(planted["outside"]), f"writes no file {home}", f"WRITES FILES {place}")
    yield told("temporary", token not in said["temporary"], "has a /tmp of its own", "READS THE SYSTEM'S /tmp")
    yield told("library", not os.path.exists(planted["library"]), "cannot change the Python it runs on",
               "CAN CHANGE THE PYTHON IT RUNS ON")  # fmt: skip
    yield told("address", said["address"] != "connected", "reaches no server on this machine",
               "REACHES SERVERS ON THIS MACHINE")  # fmt: skip
    yield told("abstract", said["abstract"] != "connected", "reaches no socket of other programs",
               "REACHES SOCKETS OF OTHER PROGRAMS")  # fmt: skip
    yield told("interfaces", said["interfaces"] in ("lo", ""), "has no network but its own loopback",
               f"HAS A NETWORK ({said['interfaces'][:60]})")  # fmt: skip
    yield told("process", "refused" in said["process"], "sees no process of yours", "SEES PROCESSES OF YOURS")
    yield told("variable", not said["variable"], "gets no variable of your environment but some harmless ones",
               "GETS VARIABLES OF YOUR ENVIRONMENT")  # fmt: skip
    yield told("shell", said["shell"].strip() != "42", "has no shell", "HAS A SHELL")
    confined = said["rights"].split() == ["0" * 16, "1", "2"]
    yield told("rights", confined, "has no rights to gain: no capabilities, no_new_privs, seccomp",
               f"COULD GAIN RIGHTS (capabilities, no_new_privs, seccomp: {said['rights'][:60]})")  # fmt: skip


def _limits(found: Mapping[str, Any]) -> dict[str, int]:
    names = {"NPROC": "processes", "FSIZE": "file_size", "NOFILE": "open_files", "CPU": "cpu_seconds"}
    met = {name: int(value) for name, value in found["limits"].items()}
    memory = min((met[name] for name in ("DATA", "AS") if met[name] > 0), default=-1)
    disk = int(found["disk"]) if isinstance(found["disk"], int) else -1
    return {"memory": memory, **{ours: met[name] for name, ours in names.items()}, "disk": disk}
