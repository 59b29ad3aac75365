"""The profile of the box on macOS, as text: what it says, whatever the paths. No macOS is asked."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from functools import cache
from pathlib import Path

import pytest
from key_names import KEYS, ORDINARY

from smol_kernel.errors import BoxUnavailableError, ConfigError
from smol_kernel.events import ActionFinished
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.launchers import choose, seatbelt
from smol_kernel.executors.launchers.seatbelt import SeatbeltChild, profile
from smol_kernel.executors.launchers.settings import BoxSettings, Limits, Mount

HOME, CWD = "/Users/ada", "/Users/ada/project"
WORK, SOCKETS = "/private/var/folders/x/smol-work", "/private/var/folders/x/smol-k"
PYTHON = "/opt/python/bin/python3.12"

TOKEN = re.compile(r'\s*(?:([()])|#"([^"]*)"|"((?:[^"\\]|\\.)*)"|([^\s()"]+))', re.DOTALL)


@cache
def read(text: str) -> list:
    """The forms of a profile: lists and strings; a name is a string that begins with `'`."""
    stack: list[list] = [[]]
    place = 0
    while text[place:].strip():
        match = TOKEN.match(text, place)
        assert match, text[place : place + 40]
        place = match.end()
        bracket, raw, string, name = match.groups()
        if bracket == "(":
            stack.append([])
        elif bracket == ")":
            form = stack.pop()
            stack[-1].append(form)
        else:
            unescaped = re.sub(r"\\(.)", r"\1", string, flags=re.DOTALL) if string is not None else raw
            stack[-1].append(f"'{name}" if name else unescaped)
    assert len(stack) == 1
    return stack[0]


def holds(condition: list, path: str, kind: str) -> bool:
    name, *rest = condition
    if name == "'literal":
        return path == rest[0]
    if name == "'subpath":
        return path == rest[0] or path.startswith(rest[0] + "/")
    if name == "'vnode-type":
        return kind == rest[0][1:]
    if name == "'require-all":
        return all(holds(each, path, kind) for each in rest)
    assert name == "'regex", name
    append, caret, (quote, folder), pattern = rest[0]
    assert (append, caret, quote) == ("'string-append", "^", "'regex-quote")
    return expression(re.escape(folder) + pattern).match(path) is not None


@cache
def expression(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.DOTALL)


def allowed(text: str, operation: str, path: str, kind: str = "REGULAR-FILE") -> bool:
    """Whether the profile allows an operation on a file: what is said last holds."""
    answer = False
    for verb, *rest in read(text):
        names = [each[1:] for each in rest if isinstance(each, str)]
        if not any(operation == name or (name[-1] == "*" and operation.startswith(name[:-1])) for name in names):
            continue
        conditions = [each for each in rest if isinstance(each, list)]
        if not conditions or any(holds(each, path, kind) for each in conditions):
            answer = verb == "'allow"
    return answer


def of(cwd: str = CWD, settings: BoxSettings | None = None, prefixes=("/opt/python",), **options) -> str:
    options = {"executables": [PYTHON], **options}
    return profile(settings or BoxSettings(), prefixes, cwd, HOME, WORK, SOCKETS, **options)


def reads(text: str, path: str) -> bool:
    answers = {allowed(text, f"file-read-{what}", path) for what in ("data", "metadata", "xattr")}
    assert len(answers) == 1
    return answers.pop()


def test_ordinary_files_of_the_working_folder_are_read_and_hidden_ones_and_keys_are_not():
    text = of()
    for folder in (CWD, f"{CWD}/deep/er"):
        assert [name for name in KEYS if reads(text, f"{folder}/{name}")] == []
        assert [name for name in ORDINARY if name not in ("", ".") and not reads(text, f"{folder}/{name}")] == []
        for hidden in (".env", ".git/config", ".ssh/id", "secrets/db", "Secrets/x/y"):
            assert not reads(text, f"{folder}/{hidden}")
            assert not allowed(text, "file-map-executable", f"{folder}/{hidden}")
    assert reads(text, f"{CWD}/pipe") and not allowed(text, "file-read-data", f"{CWD}/pipe", "FIFO")
    assert allowed(text, "file-read-data", CWD, "DIRECTORY")


def test_nothing_else_of_the_user_is_read():
    text = of()
    for path in (HOME, "/Users", f"{HOME}/.ssh/id_rsa", f"{HOME}/other/x.csv", f"{CWD}-other/x", "/Users/bob/x"):
        assert not allowed(text, "file-read-data", path)
    for path in (
        "/private/etc/master.passwd",
        "/private/var/db/x",
        "/bin/sh",
        "/tmp/x",
        "/private/tmp/x",
        "/Volumes/x",
    ):
        assert not allowed(text, "file-read-data", path)
    assert allowed(text, "file-read-metadata", HOME) and not allowed(text, "file-read-metadata", f"{HOME}/x")
    for path in ("/usr/lib/libSystem.B.dylib", "/opt/python/lib/python3.12/os.py", "/System/Library/Fonts/A.ttf"):
        assert reads(text, path) and allowed(text, "file-map-executable", path)


def test_only_the_private_folder_and_writable_mounts_are_written():
    text = of(settings=BoxSettings(mounts=(Mount("/Volumes/in"), Mount("/Volumes/out", True))))
    for path in (f"{WORK}/x", f"{WORK}/.config/y", "/Volumes/out/x", "/Volumes/out/.env"):
        assert reads(text, path) and allowed(text, "file-write-create", path)
        assert not allowed(text, "file-write-setugid", path)
    for path in (
        f"{CWD}/x",
        f"{HOME}/x",
        "/Volumes/in/x",
        "/opt/python/lib/x",
        "/private/tmp/x",
        "/usr/lib/x",
        "/dev/disk0",
    ):
        for what in ("create", "data", "unlink", "mode"):
            assert not allowed(text, f"file-write-{what}", path)
    assert reads(text, "/Volumes/in/.env")
    assert allowed(text, "file-write-data", "/dev/null")


def test_where_the_host_reads_only_sockets_can_be_made():
    text = of()
    assert allowed(text, "file-write-create", f"{SOCKETS}/k-1", "SOCKET")
    for kind in ("REGULAR-FILE", "SYMLINK", "DIRECTORY"):
        assert not allowed(text, "file-write-create", f"{SOCKETS}/stderr", kind)
        assert not allowed(text, "file-write-unlink", f"{SOCKETS}/stderr", kind)
    assert reads(text, f"{SOCKETS}/connection.json")


def test_an_interpreter_in_a_hidden_folder_is_read_and_the_rest_of_the_folder_is_not():
    text = of(prefixes=(f"{CWD}/.venv/bin", f"{CWD}/.venv/lib"))
    assert reads(text, f"{CWD}/.venv/lib/certifi/cacert.pem") and allowed(text, "file-read-metadata", f"{CWD}/.venv")
    assert not reads(text, f"{CWD}/.venv/.env") and not allowed(text, "file-read-data", f"{CWD}/.venv", "DIRECTORY")
    assert not allowed(text, "file-write-create", f"{CWD}/.venv/lib/x")


def test_an_interpreter_above_the_working_folder_shows_nothing_hidden():
    text = of(prefixes=("/Users/ada",))
    assert not reads(text, f"{CWD}/.env") and not reads(text, f"{CWD}/id_rsa")


def test_packages_are_read_less_what_is_hidden():
    text = of(packages=["/Users/ada/library/src"])
    assert reads(text, "/Users/ada/library/src/a/b.py") and not reads(text, "/Users/ada/library/src/.env")


def test_a_writable_mount_around_the_working_folder_does_not_undo_its_rules():
    text = of(settings=BoxSettings(mounts=(Mount(HOME, True),)))
    assert allowed(text, "file-write-create", f"{HOME}/x")
    assert not allowed(text, "file-write-create", f"{CWD}/x") and not reads(text, f"{CWD}/.env")
    for folder in (CWD, HOME, "/Users"):  # renamed, .env would lie under the mount's rule alone
        assert not allowed(text, "file-write-unlink", folder, "DIRECTORY")


def test_the_working_folder_given_as_a_mount_is_shown_whole():
    text = of(settings=BoxSettings(mounts=(Mount(CWD, True),)))
    assert reads(text, f"{CWD}/.env") and allowed(text, "file-write-create", f"{CWD}/x")


def test_a_mount_in_a_hidden_folder_is_shown():
    text = of(settings=BoxSettings(mounts=(Mount(f"{CWD}/.data/in"), Mount(f"{CWD}/key.pem"))))
    assert reads(text, f"{CWD}/.data/in/x") and not reads(text, f"{CWD}/.data/y") and reads(text, f"{CWD}/key.pem")


def test_the_library_of_a_home_that_is_the_working_folder_is_hidden():
    text = of(cwd=HOME)
    assert reads(text, f"{HOME}/data.csv")
    assert not reads(text, f"{HOME}/Library/Keychains/x") and not reads(text, f"{HOME}/Library/Cookies/Cookies")
    cloud = f"{HOME}/Library/Mobile Documents/project"
    assert reads(of(cwd=cloud), f"{cloud}/data.csv")


def named(text: str, operation: str) -> list:
    return [form for form in read(text) if f"'{operation}" in form or any(f"'{operation}" == each for each in form)]


def test_only_the_interpreter_is_executed():
    assert named(of(), "process-exec") == [["'allow", "'process-exec", ["'literal", PYTHON]]]
    assert named(of(executables=[]), "process-exec") == []


def test_nothing_is_allowed_without_a_condition_but_what_concerns_itself():
    text = of(settings=BoxSettings(network="full", mounts=(Mount("/Volumes/out", True),)), proxy_port=4711)
    assert read(text)[:2] == [["'version", "'1"], ["'deny", "'default"]]
    whole = [
        form[1:] for form in read(text) if form[0] == "'allow" and not any(isinstance(each, list) for each in form)
    ]
    assert whole == [["'process-fork"], ["'ipc-posix-sem"]]
    assert {form[0] for form in read(text)[1:]} == {"'allow", "'deny"}


def test_other_processes_are_not_seen():
    text = of()
    for operation in ("process-info*", "signal"):
        assert named(text, operation) == [["'allow", f"'{operation}", ["'target", "'same-sandbox"]]]
    asked = [name for form in named(text, "sysctl-read") for condition in form[2:] for name in condition[1:]]
    assert "kern.ostype" in asked and "hw." in asked
    assert not any("kern.procargs2".startswith(name) or name.startswith("kern.proc") for name in asked)
    services = [condition[1] for form in named(text, "mach-lookup") for condition in form[2:]]
    assert services == ["com.apple.system.opendirectoryd.libinfo", "com.apple.system.notification_center"]


def network(text: str) -> set[str]:
    return {repr(form) for form in read(text) if any(str(each).startswith("'network") for each in form)}


def test_without_the_network_there_are_only_sockets_in_our_folders():
    some = network(of())
    assert len(some) == 4 and all("'unix-socket" in form and (SOCKETS in form or WORK in form) for form in some)
    more = network(of(settings=BoxSettings(allow_hosts=("example.org",)), proxy_port=4711)) - some
    assert more == {'["\'allow", "\'network-outbound", ["\'remote", "\'ip", \'localhost:4711\']]'}


def test_with_the_network_the_user_s_own_sockets_are_not_reached():
    text = of(settings=BoxSettings(network="full"))
    more = network(text) - network(of())
    assert len(more) == 3
    assert [form for form in more if "unix" in form and "mDNSResponder" not in form] == []
    assert reads(text, "/private/etc/resolv.conf")


EVIL = [
    '/Users/ada/a") (allow default) (deny x (literal "b',
    '/Users/ada/a" #"x"',
    "/Users/ada/back\\slash",
    '/Users/ada/back\\" (allow default) "',
    "/Users/ada/ends with\\",
    "/Users/ada/(allow default)",
    "/Users/ada/; (allow default)",
    "/Users/ada/#|a|#",
    "/Users/ada/(.*)?[^$",
    "/Users/ada/größe 数据 'quoted'",
]


@pytest.mark.parametrize("path", EVIL)
def test_a_path_cannot_say_anything(path):
    plain = read(of(settings=BoxSettings(mounts=(Mount("/Users/ada/plain", True),)), packages=["/Users/ada/plain"]))
    text = of(settings=BoxSettings(mounts=(Mount(path, True),)), packages=[path])

    def renamed(form):
        return [renamed(each) for each in form] if isinstance(form, list) else form.replace(path, "/Users/ada/plain")

    assert sorted(map(repr, map(renamed, read(text)))) == sorted(map(repr, plain))
    inside = of(cwd=path)
    assert reads(inside, f"{path}/x.csv") and not reads(inside, f"{path}/.env") and not reads(inside, f"{path}/a.pem")
    assert not reads(inside, f"{HOME}/x.csv")


@pytest.mark.parametrize("path", ["/Users/a\nb", "/Users/a\0b", "/Users/a\x1b[2J", "/Users/a\x7f", "/Users/\udcff"])
def test_a_path_that_cannot_be_written_is_refused(path):
    for given in ({"cwd": path}, {"prefixes": [path]}, {"executables": [path]}, {"packages": [path]}):
        with pytest.raises(ConfigError, match="cannot be boxed on macOS"):
            of(**given)
    with pytest.raises(ConfigError):
        of(settings=BoxSettings(mounts=(Mount(path),)))


def test_without_sandbox_exec_there_is_no_box(monkeypatch, tmp_path):
    monkeypatch.setattr(seatbelt, "SANDBOX_EXEC", str(tmp_path / "none"))
    with pytest.raises(BoxUnavailableError, match="--box off"):
        SeatbeltChild(settings=BoxSettings())


@pytest.fixture
def short(monkeypatch):
    """A folder with a home and one for temporary files. The profile names folders often, and one argument of a command
    may have 128 KiB on Linux: nothing of where the tests run makes it longer."""
    with tempfile.TemporaryDirectory(prefix="s", dir=os.path.realpath("/tmp")) as folder:
        place = Path(folder)
        (place / "home").mkdir()
        (place / "t").mkdir()
        monkeypatch.setenv("HOME", str(place / "home"))
        monkeypatch.delenv("PYTHONPATH", raising=False)
        monkeypatch.setattr(tempfile, "tempdir", str(place / "t"))
        yield place


@pytest.fixture
def stand_in(monkeypatch, tmp_path, short):
    """Something in place of sandbox-exec that keeps the profile and runs the command; the launcher's for a while."""
    program = tmp_path / "program" / "sandbox-exec"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\n[ "$1" = -p ] || exit 1\nprintf %s "$2" > "${0%/*}/profile"\nshift 2\nexec "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr(seatbelt, "SANDBOX_EXEC", str(program))
    monkeypatch.setattr(choose, "launch", lambda python, cwd, settings: SeatbeltChild(python, cwd, settings))
    return program


LOOK = """
import os, resource, sys, tempfile
open(os.path.join(tempfile.gettempdir(), "made"), "w").close()
print(open("data.csv").read(), os.environ["HOME"], os.environ["TMPDIR"], os.path.expanduser("~"), sys.executable,
      resource.getrlimit(resource.RLIMIT_NOFILE)[1], *map(os.environ.get, ["PLANTED_KEY", "SECRET_PLACE"]), sep="|")
"""


def test_the_launcher(stand_in, monkeypatch, short):
    monkeypatch.setenv("PLANTED_KEY", "sk-1")
    monkeypatch.setenv("SECRET_PLACE", "x")
    cwd = short / "work"
    cwd.mkdir()
    (cwd / "data.csv").write_text("1,2")
    executor = KernelExecutor(cwd=cwd, box=True, limits=Limits(open_files=200))
    try:
        ended = [event for event in executor.run(LOOK) if isinstance(event, ActionFinished)][-1]
    finally:
        executor.cleanup()
    data, home, temporary, expanded, python, most, *keys = ended.logs.strip().split("|")
    assert (data, most, keys) == ("1,2", "200", ["None", "None"])
    assert home == temporary == expanded and not os.path.exists(home)
    text = (stand_in.parent / "profile").read_text()
    assert reads(text, f"{cwd}/data.csv") and not reads(text, f"{cwd}/.env")
    assert allowed(text, "file-write-create", f"{home}/x") and not allowed(text, "file-write-create", f"{cwd}/x")
    assert reads(text, os.__file__) and reads(text, pytest.__file__)
    literals = {condition[1] for form in named(text, "process-exec") for condition in form[2:]}
    assert {python, os.path.realpath(python)} <= literals


def test_an_interpreter_that_is_not_there_leaves_nothing_behind(stand_in, monkeypatch, tmp_path):
    places = tmp_path / "places"
    places.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(places))
    with pytest.raises(ConfigError, match="nowhere"):
        SeatbeltChild(python=tmp_path / "nowhere", settings=BoxSettings())
    assert list(places.iterdir()) == []


def test_a_working_folder_that_holds_the_home_is_not_shown(stand_in, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "users" / "ada"))
    child = SeatbeltChild(cwd=tmp_path, settings=BoxSettings())
    try:
        assert str(tmp_path) in child.notices[0]
        assert stat.S_IMODE(os.stat(child.work_folder).st_mode) == 0o700
    finally:
        child.close()
    assert not os.path.exists(child.work_folder)
