"""What a child writes where a Python would import or load it unasked is run in boxes alone, however a box is built."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

import pytest
from test_interpreters import home, install, installed, make, of_the_user, value  # noqa: F401 - fixtures

from smol_kernel.executors.launchers import zygote

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the box of Linux")


@pytest.fixture
def ran(tmp_path):
    """A file that is there once planted code has run outside of a box."""
    return tmp_path / "ran"


def planted(ran):
    """Code, in one line, by which that file comes to be; a box has no such folder."""
    return f"import os; os.path.isdir('{ran.parent}/outside') and open('{ran}', 'w').close()"


@pytest.fixture(autouse=True)
def outside(tmp_path):
    """A folder that no child sees."""
    (tmp_path / "outside").mkdir()


def plant(file, text):
    """An action that writes this file."""
    folder = os.path.dirname(file)
    return f"import os\nos.makedirs({folder!r}, exist_ok=True)\nopen({str(file)!r}, 'w').write({text!r})"


def begin_again(make, python, times=2):  # noqa: F811
    """Have new zygotes, and children of them; the last child."""
    zygote.expect()
    for key in [*zygote._zygotes]:
        zygote._zygotes.pop(key).close()
    for _ in range(times):
        executor = make(python)
        assert value(executor, "1") == 1
        zygote.wait(60)
    return executor


@pytest.mark.parametrize("name", ["sitecustomize", "usercustomize"])
def test_in_a_folder_of_pythonpath(make, tmp_path, monkeypatch, ran, name):  # noqa: F811
    project, other = tmp_path / "project", tmp_path / "other"
    for each in (project, other):
        each.mkdir()
    before = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", f"{before}:{project}")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "")
    writing = make(sys.executable, mounts=[f"{project}:rw"])
    value(writing, plant(project / f"{name}.py", planted(ran)))
    changes = {
        "LC_ALL": "C.UTF-8",
        "LANG": "C",
        "HOME": str(other),
        "LD_LIBRARY_PATH": str(other),
        "LOCPATH": str(other),
    }
    for variable, said in changes.items():
        with monkeypatch.context() as changed:
            changed.setenv(variable, said)
            make(sys.executable).restart()
            list(make(sys.executable, mounts=[f"{other}:rw"]).run("1"))
    monkeypatch.setenv("PYTHONPATH", f"{before}:{other}:{project}")
    list(make(sys.executable).run("1"))
    assert not ran.exists()


@pytest.mark.parametrize("name", ["evil.pth", "usercustomize.py", "sitecustomize.py"])
def test_in_the_users_own_packages(make, installed, home, tmp_path, monkeypatch, ran, name):  # noqa: F811
    base = tmp_path / "base"
    monkeypatch.setenv("PYTHONUSERBASE", str(base))
    packages = of_the_user(installed, home)
    (packages / "mine.py").write_text("WORD = 'seen'\n")
    ask = "mine.WORD, [each for each in sys.path if each], site.getusersitepackages(), sys.flags.no_user_site"
    path = f"import sys, site, mine\n({ask})"
    forked = begin_again(make, installed)
    afresh = make(installed, mounts=[f"{base}:rw"])
    found = value(forked, path)
    assert forked._client.child.loaded and found[:1] + found[2:] == ("seen", str(packages), 0)
    mine = plant(packages / "mine.py", "WORD = 'seen'\n")  # what is there stays, but its folders may get other names
    code = f"import os\nos.rename('{base}/lib', '{base}/away')\n{plant(packages / name, planted(ran))}\n{mine}"
    value(afresh, code)
    later = begin_again(make, installed, 3)
    assert not later._client.child.loaded and value(later, path) == found
    assert not ran.exists()


def test_in_a_project_that_is_installed_as_it_stands(make, installed, tmp_path, ran):  # noqa: F811
    """A Python has its folder on the path from the start on."""
    project, packages = tmp_path / "project", installed.parents[1] / "lib"
    project.mkdir()
    (packages,) = [each for each in packages.rglob("site-packages") if each.is_symlink()]
    packages.unlink()
    packages.mkdir()
    here = Path(sysconfig.get_path("purelib"))
    for each in here.iterdir():
        if each.suffix != ".pth":
            (packages / each.name).symlink_to(each)
    (packages / "project.pth").write_text(f"{project}\n{here}\n")
    (project / "mine.py").write_text("WORD = 'seen'\n")
    assert value(begin_again(make, installed), "import mine\nmine.WORD") == "seen"
    writing = make(installed, mounts=[f"{project}:rw"])
    value(writing, plant(project / "sitecustomize.py", planted(ran)))
    assert value(begin_again(make, installed, 3), "import mine\nmine.WORD") == "seen"
    assert not ran.exists()


def test_where_libraries_are_loaded_from(make, tmp_path, monkeypatch, ran):  # noqa: F811
    libraries, locales = tmp_path / "libraries", tmp_path / "locales"
    for each in (libraries, locales):
        each.mkdir()
    variables = {"LD_LIBRARY_PATH": f"{libraries}", "LOCPATH": f"{locales}", "LC_ALL": f"{locales}/xx"}
    for variable, said in variables.items():
        monkeypatch.setenv(variable, said)
    ask = f"import os\n[os.environ.get(name) for name in {[*variables]!r}]"
    writing = make(sys.executable, mounts=[f"{libraries}:rw", f"{locales}:rw"])
    assert value(writing, ask) == [None] * 3
    value(writing, plant(libraries / "libc.so.6", "no library"))
    value(writing, plant(locales / "xx" / "LC_CTYPE", "no locale"))
    assert value(begin_again(make, sys.executable), ask) == [None] * 3


def test_in_files_that_were_saved(make, installed, tmp_path, monkeypatch):  # noqa: F811
    work, libraries = tmp_path / "work", tmp_path / "libraries"
    for folder in (work, libraries):
        monkeypatch.setenv("LD_LIBRARY_PATH", f"{work}:{libraries}")
        executor = make(installed)
        files = ("libz.so.1", "libm.so", "libc.so.6", "sub/libz.so.1.2.13", "a.csv", "b.so.txt")
        value(executor, "\n".join(plant(f"./{name}", folder.name) for name in files))
        saved = executor.save_files(folder=folder)
        assert {each.name for each in saved} == {"a.csv", "b.so.txt"}
        assert set(saved.refused) == {*files[:4]}
        assert (
            saved.refused["libm.so"]
            == "is a library, which programs may load from there unasked; it is saved if it is named"
        )
        executor.cleanup()
        if folder == work:
            executor = make(installed)
            assert value(executor, "import os\nos.environ.get('LD_LIBRARY_PATH', '')") in ("", str(libraries))


def test_in_a_library_that_was_saved_because_it_was_named(make, installed, tmp_path, monkeypatch):  # noqa: F811
    work, libraries = tmp_path / "work", tmp_path / "libraries"
    (work / "lib").mkdir()
    (work / "lib" / "libempty.so").touch()
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{work}:{work}/lib:{libraries}")
    executor = make(installed)
    ask = "import os\nos.environ.get('LD_LIBRARY_PATH', '')"
    whole = value(executor, ask)
    assert whole in ("", f"{work}:{work}/lib:{libraries}")
    value(executor, plant("./libc.so.6", "no library"))
    assert executor.save_files(["libc.so.6"]) == [work / "libc.so.6"]
    assert value(begin_again(make, installed), ask) == (whole and f"{work}/lib:{libraries}")
