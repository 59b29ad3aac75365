"""Where bubblewrap is installed it makes the user namespace: also where Python may not, and never a wrong one.

Each case is a host that has no right of its own to make mounts: the only user of a user namespace, as in a container.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import smol_kernel

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the box of Linux")

REFUSE = """\
import ctypes, os, platform, struct
from smol_kernel.executors.launchers import boot_calls
UNSHARE, NEWUSER = {"x86_64": 272, "aarch64": 97}[platform.machine()], 0x10000000
boot_calls._prctl(38, 1)  # no_new_privs
boot_calls.filter_calls(b"".join(struct.pack("HBBI", *line) for line in [
    (0x20, 0, 0, 0),  # the call's number
    (0x15, 0, 3, UNSHARE),
    (0x20, 0, 0, 16),  # its argument
    (0x45, 0, 1, NEWUSER),
    (0x06, 0, 0, 0x00050000 | 1),  # EPERM
    (0x06, 0, 0, 0x7FFF0000),
]))
try:
    boot_calls.unshare(NEWUSER)
except PermissionError:
    print("refused to Python")
"""
"""Makes it a system that lets Python make no user namespace by unshare(2), and other programs by clone(2)."""
RUN = """\
from smol_kernel.errors import BoxUnavailableError
from smol_kernel.executors.kernel import KernelExecutor
executor = KernelExecutor(60, box=True)
try:
    print(executor("import os; print('got', os.getuid(), sorted(os.listdir('.')))").logs)
    print("by", executor._client.child.user_namespace_by)
except BoxUnavailableError as error:
    print("no box:", error)
finally:
    executor.cleanup()
"""
"""A boxed action."""


@pytest.fixture
def host(tmp_path):
    """Runs programs there, with nothing on the PATH but what the folder `bin` holds."""
    real = shutil.which("bwrap")
    assert real, "this test needs bubblewrap: apt-get install bubblewrap"
    work, programs = tmp_path / "work", tmp_path / "bin"
    work.mkdir()
    programs.mkdir()
    (work / "table.csv").touch()

    def run(program: str, bubblewrap: str | None) -> str:
        if bubblewrap == "real":
            (programs / "bwrap").symlink_to(real)
        elif bubblewrap is not None:
            (programs / "bwrap").write_text(bubblewrap)
            (programs / "bwrap").chmod(0o755)
        done = subprocess.run(
            [str(shutil.which("unshare")), "--user", "--map-root-user", sys.executable, "-c", program],
            cwd=work,
            env={
                **os.environ,
                "PATH": str(programs),
                "PYTHONPATH": str(Path(smol_kernel.__file__).parents[1]),
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_it_is_the_way_in_where_python_may_make_no_namespace(host):
    told = host(REFUSE + RUN, "real")
    assert "refused to Python" in told
    assert "got 1000 ['table.csv']" in told and "by bubblewrap" in told


def test_without_it_there_is_none_there_and_it_is_named(host):
    told = host(REFUSE + RUN, None)
    assert "refused to Python" in told
    assert "no box:" in told and "user namespace" in told and "bubblewrap" in told


def test_it_is_used_where_it_is_installed(host):
    assert "by bubblewrap" in host(RUN, "real")


def test_it_is_not_needed(host):
    told = host(RUN, None)
    assert "got 1000 ['table.csv']" in told and "by unshare" in told


FAULTY = {
    "fails": "exit 1",
    "says something else": "echo hello",
    "makes no namespace": 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"',
    "cannot be run": None,
}


@pytest.mark.parametrize("what", FAULTY)
def test_one_that_does_not_do_as_it_is_asked_is_done_without(host, what):
    words = FAULTY[what]
    script = "not a program" if words is None else f"#!/bin/sh\n{words}\n"
    told = host(RUN, script)
    assert "got 1000 ['table.csv']" in told and "by unshare" in told
