"""A boxed child imports what a Python on the host does, whatever kind of Python it is, and however it was started."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from smol_kernel.errors import ConfigError
from smol_kernel.events import ActionFinished
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.launchers import host_imports, zygote
from smol_kernel.executors.launchers.interpreter import libraries_in, safe_libraries
from smol_kernel.executors.values import decode

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the box of Linux")
LEFT_OUT = ("site-packages", "dist-packages", "test", "idlelib", "lib2to3", "ensurepip", "config-*", "__pycache__")


def value(executor, code):
    ended = next(event for event in executor.run(code) if isinstance(event, ActionFinished))
    assert ended.status == "ok", ended.error
    return decode(ended.value)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The interpreter of a Python that is no virtual environment, with the packages that this one has."""
    return install(tmp_path / "python", monkeypatch)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home of the user's."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
def make(tmp_path):
    """Makes executors, which work in the same folder."""
    made = []
    (tmp_path / "work").mkdir()

    def make(python, **options):
        made.append(KernelExecutor(python=python, cwd=tmp_path / "work", **options))
        return made[-1]

    yield make
    for each in made:
        each.cleanup()


def install(prefix, monkeypatch):
    """The interpreter of a Python that is no virtual environment, with the packages that this one has; its own library,
    if it has one, is found by LD_LIBRARY_PATH alone, as where environment modules are in use."""
    base, version = Path(sys.base_prefix), f"python{sys.version_info.major}.{sys.version_info.minor}"
    python = prefix / "bin" / "python3"
    python.parent.mkdir(parents=True)
    shutil.copy(os.path.realpath(sys.executable), python)
    libraries = prefix.with_name("libraries")
    libraries.mkdir()
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{libraries}::lib")
    shutil.copytree(
        sysconfig.get_path("stdlib"),
        prefix / sys.platlibdir / version,
        symlinks=True,
        ignore=shutil.ignore_patterns(*LEFT_OUT),
    )
    program = python.read_bytes()
    for library in (base / "lib").glob("libpython3*.so.*"):
        if library.name.encode() in program:  # under a name by which none is found elsewhere
            name = library.name.replace("python", "PYTHON")
            shutil.copy(library, libraries / name)
            python.write_bytes(program.replace(library.name.encode(), name.encode()))
    asked = f"import site; print(site.getsitepackages([{str(prefix)!r}])[0])"
    packages = Path(subprocess.check_output([python, "-I", "-c", asked], text=True).strip())
    packages.parent.mkdir(parents=True, exist_ok=True)
    packages.symlink_to(sysconfig.get_path("purelib"))
    return python


def of_the_user(python, home):
    """The user's own site-packages of an interpreter."""
    asked = [python, "-c", "import site; print(site.getusersitepackages())"]
    folder = Path(subprocess.check_output(asked, text=True, env={**os.environ, "HOME": str(home)}).strip())
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize(("name", "is_forked"), [("numpy", False), ("mine", True)])
def test_what_the_user_has_installed_stands_first_in_every_child(make, installed, home, name, is_forked):
    folder = of_the_user(installed, home)
    (folder / f"{name}.py").write_text("WORD = 'of the user'\n")
    zygote.expect()
    code = f"import {name}\n{name}.WORD"
    assert value(make(installed), code) == "of the user"
    zygote.wait(60)
    later = make(installed)
    assert value(later, code) == "of the user"
    assert later._client.child.loaded is is_forked


def test_a_python_that_finds_its_library_by_a_variable_works(make, installed, tmp_path, monkeypatch):
    libraries = tmp_path / "libraries"
    (libraries / ".env").write_text("SECRET")
    (libraries / "libempty.so").touch()
    zygote.expect()
    code = """
import os, subprocess, sys
folder = os.environ["LD_LIBRARY_PATH"]
try: open(f"{folder}/new.so", "w")
except OSError as error: refused = error.strerror
(folder, os.path.exists(f"{folder}/.env"), refused, subprocess.check_output([sys.executable, "-c", "print(5)"]))
"""
    assert value(make(installed), code) == (str(libraries), False, "Read-only file system", b"5\n")
    assert zygote.wait(60)
    later = make(installed)
    assert value(later, code) == (str(libraries), False, "Read-only file system", b"5\n")
    assert later._client.child.loaded


def test_of_one_that_cannot_be_run_the_message_has_its_own_last_words(make, installed):
    installed.write_text("#!/bin/sh\necho first >&2\necho 'cannot open libpython' >&2\nexit 127\n")
    with pytest.raises(ConfigError) as told:
        list(make(installed).run("1"))
    assert str(told.value) == f"python '{installed}' cannot be run (cannot open libpython); name an interpreter"


def test_folders_of_libraries_are_left_out_to_which_a_child_could_lead(tmp_path, monkeypatch):
    monkeypatch.setattr(host_imports, "_saved", {})  # by other tests
    for name in ("mine", "mine/below", "apart", "apart/out", "linked", "by way", "far"):
        (tmp_path / name).mkdir()
    for name in (
        "deep/glibc-hwcaps",
        "deeper/tls/x86_64",
        "around/glibc-hwcaps/x86-64-v3",
        "usual/glibc-hwcaps/x86-64-v2",
    ):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "deep" / "glibc-hwcaps" / "x86-64-v2").symlink_to(tmp_path / "mine")
    (tmp_path / "deeper" / "tls" / "x86_64" / "libz.so").symlink_to(tmp_path / "mine" / "libz.so")
    (tmp_path / "around" / "glibc-hwcaps" / "x86-64-v2").symlink_to("x86-64-v3")
    (tmp_path / "far" / "libz.so").symlink_to("libz.so.1")
    (tmp_path / "linked" / "libz.so").symlink_to(tmp_path / "mine" / "libz.so")
    (tmp_path / "mine" / "way").symlink_to(tmp_path / "far")
    (tmp_path / "by way" / "libz.so").symlink_to("../mine/way/libz.so")
    (tmp_path / "link").symlink_to(tmp_path / "far")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    names = (
        "mine",
        "mine/below",
        "mine/way",
        "apart",
        "linked",
        "by way",
        "link",
        "far",
        "none",
        "loop",
        "deep",
        "deeper",
        "around",
        "usual",
    )
    given = ":".join(["", ".", "relative", *(f"{tmp_path}/{name}" for name in names)])
    writable = [f"{tmp_path}/mine", f"{tmp_path}/apart/out"]
    assert safe_libraries(given, writable) == f"{tmp_path}/far:{tmp_path}/usual"
    everything = ("mine", "mine/below", "far", "apart", "linked", "by way", "deep", "deeper", "around", "usual")
    assert safe_libraries(given, []) == ":".join(f"{tmp_path}/{name}" for name in everything)


def test_a_folder_is_one_of_libraries_by_what_its_files_are_called(tmp_path):
    for name in ("libz.so/libz.so", "numbered/libz.so.1.2.13", "tables/table.sorted.csv", "notes/a.so.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    given = [str(each) for each in sorted(tmp_path.iterdir())]
    assert libraries_in(":".join(given)) == [f"{tmp_path}/libz.so", f"{tmp_path}/numbered"]


def test_where_the_user_has_installed_everything_is_seen_wherever_that_is(make, installed, home, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONUSERBASE", str(tmp_path / "scratch"))
    packages = of_the_user(installed, home)
    (packages / "mine.py").write_text("WORD = 'seen'\n")
    for box in (True, False):
        assert value(make(installed, box=box), "import mine\nmine.WORD, mine.__file__") == (
            "seen",
            str(packages / "mine.py"),
        )


@pytest.mark.parametrize(
    ("option", "variable", "found"),
    [
        ("", "", ["mine", "project"]),
        ("", "1", ["project"]),
        ("-s", "", ["project"]),
        ("-E", "1", ["mine"]),
        ("-I", "", []),
    ],
)
def test_a_child_leaves_out_what_its_host_was_told_to(installed, home, tmp_path, option, variable, found):
    (of_the_user(installed, home) / "mine.py").touch()
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "project.py").touch()
    (tmp_path / "work").mkdir()
    program = f"""
import sys
sys.path.insert(0, {str(Path(zygote.__file__).parents[3])!r})
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.values import decode
for box in (True, False):
    executor = KernelExecutor(python={str(installed)!r}, box=box)
    code = "from importlib.util import find_spec\\n[name for name in ('mine', 'project') if find_spec(name)]"
    print(decode(list(executor.run(code))[-1].value))
    executor.cleanup()
"""
    variables = {**os.environ, "PYTHONPATH": str(tmp_path / "project"), "PYTHONNOUSERSITE": variable}
    words = [sys.executable, *filter(None, [option]), "-c", program]
    told = subprocess.check_output(words, cwd=tmp_path / "work", env=variables, text=True)
    assert told.splitlines() == [str(found)] * 2
