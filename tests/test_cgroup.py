"""The limit for all processes together, on an ordinary folder that looks like /proc and a cgroup v2, and its group for
real where there is one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.launchers import box, cgroup, zygote
from smol_kernel.executors.launchers.cgroup import Cgroup, delegated
from smol_kernel.executors.launchers.settings import Limits

LIMITS = Limits(memory=3 << 30, disk=1 << 30, processes=100)
GROUP = "/user.slice/user@1000.service/app.slice/jupyter lab.scope"
PARENT = os.path.dirname(GROUP)
NAMESPACE = 4026531836
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")


def stat(pid: int, started: int) -> str:
    return f"{pid} (a) b) (c) S " + " ".join(["0"] * 18) + f" {started} 0 0\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine on which systemd has delegated the user's part to the user."""
    write(tmp_path / "proc/self/cgroup", f"1:name=systemd:/x\n0::{GROUP}\n")
    write(
        tmp_path / "proc/self/mountinfo",
        "22 1 0:20 / / rw - ext4 /dev/sda rw\n"
        "30 22 0:26 / /sys/fs/my\\040cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
    )
    write(tmp_path / "proc/self/stat", stat(500, 12345))
    (tmp_path / "proc/self/ns").mkdir()
    (tmp_path / "proc/self/ns/pid").symlink_to(f"pid:[{NAMESPACE}]")
    write(tmp_path / "proc/500/stat", stat(500, 12345))
    write(groups(tmp_path) / PARENT[1:] / "cgroup.subtree_control", "cpu memory pids\n")
    write(groups(tmp_path) / PARENT[1:] / "cgroup.procs", "")
    write(groups(tmp_path) / GROUP[1:] / "memory.max", "max\n")
    return tmp_path


def groups(root: Path) -> Path:
    return root / "sys/fs/my cgroup"


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def made(root: Path) -> list[Path]:
    return sorted(groups(root).rglob("smol-*"))


def remove_when_killed(group: Path) -> threading.Thread:
    """Do what the system does: when 1 is written to cgroup.kill the group gets empty, and can be removed."""
    (group / "cgroup.kill").unlink(missing_ok=True)
    os.mkfifo(group / "cgroup.kill")

    def system() -> None:
        with open(group / "cgroup.kill") as kill:
            assert kill.read() == "1"
        for file in group.iterdir():
            file.unlink()

    thread = threading.Thread(target=system)
    thread.start()
    return thread


def test_a_group_beside_our_own(root):
    group = delegated(LIMITS, root)
    assert group is not None and made(root) == [group.path]
    assert group.path.parent == groups(root) / PARENT[1:]
    assert group.path.name.startswith(f"smol-{NAMESPACE:x}-{500:x}-{12345:x}-")
    told = {file.name: file.read_text() for file in group.path.iterdir()}
    assert told == {
        "memory.max": str(4 << 30),
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "pids.max": "100",
    }
    assert group.add(4711)
    assert (group.path / "cgroup.procs").read_text() == "4711"
    system = remove_when_killed(group.path)
    group.close()
    system.join()
    group.close()
    assert made(root) == []


def test_two_groups_of_one_host_stand_side_by_side(root):
    assert delegated(LIMITS, root) and delegated(LIMITS, root)
    assert len(made(root)) == 2


def test_a_group_below_our_own_where_that_is_possible(root):
    own = groups(root) / GROUP[1:]
    write(own / "cgroup.controllers", "cpuset cpu io memory pids\n")
    write(own / "cgroup.procs", "")
    group = delegated(LIMITS, root)
    assert group is not None and group.path.parent == own
    assert (own / "cgroup.subtree_control").read_text() == "+memory +pids"


def test_a_group_with_processes_takes_none_below_it(root):
    own = groups(root) / GROUP[1:]
    write(own / "cgroup.controllers", "memory pids\n")
    (own / "cgroup.subtree_control").mkdir()  # it cannot be written, as if it were busy
    group = delegated(LIMITS, root)
    assert group is not None and group.path.parent == own.parent


def test_the_host_s_own_limits_are_not_escaped(root):
    write(groups(root) / GROUP[1:] / "memory.max", f"{1 << 30}\n")
    write(groups(root) / GROUP[1:] / "pids.max", "50\n")
    group = delegated(LIMITS, root)
    assert group is not None
    assert (group.path / "memory.max").read_text() == str(1 << 30)
    assert (group.path / "pids.max").read_text() == "50"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("proc/self/cgroup", "4:memory:/x\n1:name=systemd:/y\n"),  # cgroup v1
        ("proc/self/cgroup", ""),
        ("proc/self/cgroup", "0::/../elsewhere\n"),  # outside of our cgroup namespace
        ("proc/self/cgroup", "0::/\n"),  # in a container: the topmost group, and it has processes
        ("proc/self/cgroup", "0::/user.slice/gone (deleted)\n"),
        ("proc/self/mountinfo", "22 1 0:20 / / rw - ext4 /dev/sda rw\n- cgroup2\nx\n"),
        ("proc/self/mountinfo", "30 22 0:26 /system.slice /sys/fs/my\\040cgroup rw - cgroup2 cgroup2 rw\n"),
        ("proc/self/stat", "nonsense"),
        (f"sys/fs/my cgroup{PARENT}/cgroup.subtree_control", "cpu pids\n"),
        (f"sys/fs/my cgroup{PARENT}/cgroup.subtree_control", ""),
    ],
)
def test_none_where_nothing_is_delegated(root, file, text):
    write(root / file, text)
    assert delegated(LIMITS, root) is None
    assert made(root) == []


def test_controllers_are_switched_on_in_our_own_group_only(root):
    parent = groups(root) / PARENT[1:]
    write(parent / "cgroup.subtree_control", "cpu\n")
    write(parent / "cgroup.controllers", "cpu memory pids\n")
    assert delegated(LIMITS, root) is None
    assert (parent / "cgroup.subtree_control").read_text() == "cpu\n"


def test_none_on_a_machine_without_any_of_it(tmp_path):
    assert delegated(LIMITS, tmp_path) is None


def test_none_where_processes_cannot_be_moved(root, monkeypatch):
    monkeypatch.setattr(cgroup, "PATIENCE", 0)
    (groups(root) / PARENT[1:] / "cgroup.procs").unlink()
    assert delegated(LIMITS, root) is None


def test_this_machine_is_no_error():
    group = delegated(Limits())
    if group is not None:  # then it works
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        assert group.add(process.pid)
        group.close()
        process.communicate()
        assert process.returncode == -9 and not group.path.exists() and not group.oom_killed()


UNIFIED = [Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")]


@pytest.fixture
def group_of_the_system(monkeypatch):
    """Puts each child into a group of the running system, without limits: some have cgroup v2 and delegate nothing."""
    places = [
        each for each in UNIFIED if (each / "cgroup.procs").exists() and os.access(each / "cgroup.procs", os.W_OK)
    ]
    if not places:
        pytest.skip("no cgroup v2 that this user may write to")
    groups = []

    def made(limits):
        groups.append(Cgroup(places[0] / f"test-{os.getpid()}-{len(groups)}"))
        groups[-1].path.mkdir()
        return groups[-1]

    monkeypatch.setattr(box, "delegated", made)
    zygote.expect()
    yield
    for each in groups:
        each.close()


@pytest.mark.parametrize("way", ["off", "on"], ids=["started afresh", "forked ahead, before its group was there"])
def test_all_of_a_child_is_in_its_group_and_goes_with_it(way, group_of_the_system, tmp_path, monkeypatch):
    if way == "on":
        KernelExecutor(cwd=tmp_path)("0")
        assert zygote.wait_for_spares(60.0)
    monkeypatch.setenv(zygote.VARIABLE, way)
    executor = KernelExecutor(cwd=tmp_path)
    start = "import subprocess, sys\nhere = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=-1)"
    assert list(executor.run(start))[-1].status == "ok"
    child = executor._client.child
    assert child.loaded is (way == "on")
    folder = child._cgroup.path
    inside = {int(pid) for pid in (folder / "cgroup.procs").read_text().split()}
    below = psutil.Process(child.pid).children(recursive=True)
    assert inside == {child.pid, *(each.pid for each in below)} and len(inside) == 4
    executor.cleanup()
    assert not folder.exists()


def test_groups_of_dead_hosts_are_removed_and_others_are_not(root):
    parent = groups(root) / PARENT[1:]
    write(root / "proc/600/stat", stat(600, 99))
    write(root / "proc/700/stat", "nonsense")
    names = {
        "dead": f"smol-{NAMESPACE:x}-{400:x}-{12345:x}-aa",
        "another process under its number": f"smol-{NAMESPACE:x}-{600:x}-{98:x}-bb",
        "alive": f"smol-{NAMESPACE:x}-{600:x}-{99:x}-cc",
        "not known": f"smol-{NAMESPACE:x}-{700:x}-{1:x}-dd",
        "of another container": f"smol-{NAMESPACE + 1:x}-{400:x}-{12345:x}-ee",
        "not ours": "smol-talk",
    }
    for name in names.values():
        (parent / name).mkdir()
    systems = [remove_when_killed(parent / names[name]) for name in list(names)[:2]]
    group = delegated(LIMITS, root)
    for system in systems:
        system.join()
    assert group is not None
    left = {path.name for path in made(root)} - {group.path.name}
    assert left == {names[name] for name in list(names)[2:]}


@pytest.mark.parametrize(
    ("events", "killed"),
    [
        ("low 0\nhigh 0\nmax 12\noom 0\noom_kill 0\noom_group_kill 0\n", False),
        ("max 12\noom 1\noom_kill 3\n", True),
        ("max 12\noom_group_kill 1\n", True),
        ("", False),
    ],
)
def test_whether_memory_ran_out(tmp_path, events, killed):
    group = Cgroup(tmp_path / "group")
    write(group.path / "memory.events", events)
    assert group.oom_killed() is killed
    system = remove_when_killed(group.path)
    group.close()
    system.join()
    assert not group.path.exists()
    assert group.oom_killed() is killed


def test_an_older_system_has_no_kill_file(tmp_path, monkeypatch):
    monkeypatch.setattr(cgroup, "PATIENCE", 0)
    group = Cgroup(tmp_path / "group")
    (group.path / "cgroup.kill").mkdir(parents=True)  # it cannot be written
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    write(group.path / "cgroup.procs", f"0\n{process.pid}\n")
    group.close()
    process.communicate()
    assert process.returncode == -9


def test_a_process_that_cannot_be_moved_is_told(tmp_path):
    assert Cgroup(tmp_path / "gone").add(os.getpid()) is False
