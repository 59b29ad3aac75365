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
from smol_kernel.executors.launchers import zygote
from smol_kernel.executors.launchers.interpreter import safe_libraries
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


def test_nothing_that_builds_a_box_loads_a_library_that_a_child_may_have_put_there(make, tmp_path, monkeypatch):
    folder, other = tmp_path / "libraries", tmp_path / "other"
    for each in (folder, other):
        each.mkdir()
    (other / "way").symlink_to(folder / "libz.so")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{folder}:{other}")
    zygote.expect()
    assert value(make(sys.executable), "import os; os.environ['LD_LIBRARY_PATH']") == f"{folder}:{other}"
    zygote.wait(60)
    (loading,) = [each for each in zygote._zygotes.values() if each.libraries == f"{folder}:{other}"]
    writing = make(sys.executable, mounts=[f"{folder}:rw"])
    put = f"import os\nopen('{folder}/libc.so.6', 'w').write('x')\nos.environ.get('LD_LIBRARY_PATH')"
    assert value(writing, put) is None
    assert loading._process.returncode is not None  # it could load one from there later on
    for _ in range(2):
        assert value(make(sys.executable), "import os; os.environ.get('LD_LIBRARY_PATH')") is None
        zygote.wait(60)


def test_folders_of_libraries_are_left_out_to_which_a_child_could_lead(tmp_path):
    for name in ("mine", "mine/below", "apart", "apart/out", "linked", "by way", "far"):
        (tmp_path / name).mkdir()
    (tmp_path / "linked" / "libz.so").symlink_to(tmp_path / "mine" / "libz.so")
    (tmp_path / "mine" / "way").symlink_to(tmp_path / "far")
    (tmp_path / "by way" / "libz.so").symlink_to("../mine/way/libz.so")
    (tmp_path / "link").symlink_to(tmp_path / "far")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    names = ("mine", "mine/below", "mine/way", "apart", "linked", "by way", "link", "far", "none", "loop")
    given = ":".join(["", ".", "relative", *(f"{tmp_path}/{name}" for name in names)])
    writable = [f"{tmp_path}/mine", f"{tmp_path}/apart/out"]
    assert safe_libraries(given, writable) == f"{tmp_path}/far"
    everything = ("mine", "mine/below", "far", "apart", "linked", "by way")
    assert safe_libraries(given, []) == ":".join(f"{tmp_path}/{name}" for name in everything)


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


def test_names_are_read_as_the_host_reads_them(tmp_path):
    """In an old locale a name with letters beyond ASCII is other text than where it is read as UTF-8."""
    made = ["localedef", "-i", "en_US", "-f", "ISO-8859-1", str(tmp_path / "en_US.ISO-8859-1")]
    has_one = shutil.which("localedef") and subprocess.run(made, capture_output=True, check=False).returncode < 2
    folders = [os.fsencode(tmp_path) + name for name in (b"/lat\xe9", "/caf\u00e9".encode())]
    program = """
import os
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.launchers import zygote
from smol_kernel.executors.values import decode
zygote.expect()
for name in ("first", "second"):
    executor = KernelExecutor(mounts=[os.path.abspath("out\\xe9" if "locale" in os.environ else "out") + ":rw"])
    code = f"import os\\nfor each in os.listdir():\\n    if each[:3] == 'out': open(each + '/{name}', 'w').close()"
    ended = list(executor.run(code + "\\nopen('data').read(), os.path.exists('.env'), os.fsencode(os.getcwd())"))[-1]
    print(decode(ended.value), executor._client.child.loaded, ended.error)
    zygote.wait(60)
    executor.cleanup()
"""
    locale = {"LC_ALL": "en_US.ISO-8859-1", "LOCPATH": str(tmp_path), "locale": "1"} if has_one else {"LC_ALL": "C"}
    variables = {name: value for name, value in os.environ.items() if name not in ("LANG", "PYTHONUTF8")} | locale
    for folder in folders:
        out = folder + (b"/out\xe9" if has_one else b"/out")
        os.makedirs(out)
        for name in (b"data", b".env", b"secret-k\xe9y.pem"):
            with open(folder + b"/" + name, "w") as file:
                file.write("seen")
        told = subprocess.check_output([sys.executable, "-c", program], cwd=folder, env=variables, text=True)
        assert told.splitlines() == [f"('seen', False, {folder!r}) {forked} None" for forked in (False, True)]
        assert sorted(os.listdir(out)) == [b"first", b"second"]
