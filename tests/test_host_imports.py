"""What a child writes to a mount is imported by the host only where the user's own code says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from notebook_kernel import NotebookKernel

import smol_kernel

ROOT = Path(smol_kernel.__file__).parent.parent
STAND_INS = ("nh3", "pandas", "PIL", "nbformat", "bs4", "pyarrow", "colorsys", "speedup", "names/part")
"""Modules that the host or its libraries import late, if they are there."""
EVIL = "import os\nopen(os.path.dirname(__file__) + '/OWNED', 'a')\nraise ImportError('of the child')\n"
WRITE = f"""\
import os, sys
os.makedirs('names', exist_ok=True)
for name in {STAND_INS}:
    open(name + '.py', 'w').write({EVIL!r})
open('made_now.py', 'w').write('value = 1')
sys.path[:] = [each for each in sys.path if each not in ('', os.getcwd())]  # it takes pandas from where that is
from IPython.display import HTML, display
display(HTML('<b>bold</b>'))
import pandas
final_answer(pandas.DataFrame({{'a': [1]}}))
"""
LIBRARY = """
import names.whole

def speed():
    try:
        import speedup
    except ImportError:
        return "slow"
    return "fast"

def part():
    try:
        import names.part as other
    except ImportError:
        return names.whole.value
    return other
"""
LOOK = """
import importlib.util, library, os, sys, warnings
sys.modules.pop("colorsys", None)  # some versions of IPython have loaded it
with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    import colorsys
    print(library.speed(), library.part(), colorsys.__file__.startswith(FOLDER))
print([str(each.message).partition(" from ")[0] for each in warned])
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it says where nh3 is from, if that is not loaded yet
    print(importlib.util.find_spec("nh3").origin.startswith(FOLDER), importlib.util.find_spec("made_now") is not None)
print([place for place, _, files in os.walk(FOLDER) if "OWNED" in files])
import made_now, names.own
from mine import value
open(mine.__file__, "w").write("value = 'as it is now'")
importlib.reload(mine)
print(made_now.value, names.own.value, value, mine.value)
try:
    import speedup
except ImportError as error:
    print(error)
"""
SEEN = """\
slow whole False
['colorsys is imported', 'speedup is not imported', 'names.part is not imported']
False True
[]
1 own as it was as it is now
of the child
"""
SCRIPT = f"""
import sys
from importlib.machinery import PathFinder
before = list(sys.meta_path)
import mine, names
from smol_kernel import CodeAgent, ScriptedModel
from smol_kernel.executors.launchers import choose
assert sys.meta_path == before and PathFinder in before
FOLDER = sys.argv[1]
model = ScriptedModel(["Go.\\n<code>\\n" + {WRITE!r} + "\\n</code>"])
box = {{"cwd": FOLDER, "mounts": sys.argv[2:]}}
with CodeAgent([], model, journal=False, verbosity_level=0, executor_kwargs=box) as agent:
    print(len(agent.run("go")))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder in which a child may write; what is installed elsewhere looks for what is not."""
    installed = tmp_path / "there" / "site-packages"
    (installed / "names" / "whole").mkdir(parents=True)
    (installed / "library.py").write_text(LIBRARY)
    (installed / "names" / "whole" / "__init__.py").write_text("value = 'whole'")
    work = tmp_path / "work"
    (work / "names").mkdir(parents=True)
    (work / "names" / "own.py").write_text("value = 'own'")
    (work / "mine.py").write_text("value = 'as it was'")
    for each in (work, work / "mine.py", work / "names"):
        each.chmod(0o777)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(installed), str(ROOT)]))
    return work


def ran(*words, cwd):
    done = subprocess.run([sys.executable, *map(str, words)], cwd=cwd, capture_output=True, text=True, check=False)
    assert not done.stderr
    return done.stdout


@pytest.mark.parametrize("how", ["script", "text", "from elsewhere", "by a link"])
def test_in_a_program_only_what_it_asks_for_itself_comes_from_the_mount(folder, monkeypatch, how):
    (folder / "main.py").write_text(SCRIPT + LOOK)
    main, cwd = ["main.py"], folder
    if how == "text":
        main = ["-c", "exec(open('main.py').read())"]
    elif how != "script":
        cwd, path = folder.parent, folder
        if how == "by a link":
            path = folder.parent / "link"
            path.symlink_to(folder)
        (cwd / "main.py").write_text(SCRIPT + LOOK)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(path), os.environ["PYTHONPATH"]]))
    assert ran(*main, folder, f"{folder}:rw", cwd=cwd) == f"1\n{SEEN}"


def test_a_mount_below_a_folder_of_the_path_gives_the_host_no_package(folder):
    """Its name may be that of a module."""
    (folder / "colorsys").mkdir(mode=0o777)
    (folder / "colorsys").chmod(0o777)
    write = f"open('colorsys/__init__.py', 'w').write({EVIL!r})\nfinal_answer([1])"
    (folder / "main.py").write_text(
        SCRIPT.replace(repr(WRITE), repr(write))
        + "import warnings\nwarnings.simplefilter('ignore')\nimport colorsys\nprint(colorsys.ONE_SIXTH)"
    )
    assert ran("main.py", folder, f"{folder}/colorsys:rw", cwd=folder) == f"1\n{1 / 6}\n"


def test_who_gets_what_is_installed_in_place_of_his_own_is_told(folder):
    """What both have is the installed one; what was imported before is as it was."""
    installed = folder.parent / "there" / "site-packages"
    for name in ("both", "early", "alike", "spaces"):
        (installed / f"{name}.py").write_text("value = 'installed'")
    (installed / "theirs.py").write_text("import alike")
    (folder / "both").mkdir()
    (folder / "both" / "__init__.py").write_text("value = 'own'")
    for name in ("early", "alike"):
        (folder / f"{name}.py").write_text("value = 'own'")
    (folder / "spaces").mkdir()  # no package, so it never was what is imported
    look = (
        "import warnings\nwith warnings.catch_warnings(record=True) as warned:\n    warnings.simplefilter('always')\n"
    )
    look += "    import theirs, both, early, spaces, json.tool\nprint(both.value, early.value)\n"
    look += "print(*[str(each.message) for each in warned])\nprint([each.filename == __file__ for each in warned])"
    (folder / "main.py").write_text("import early\n" + SCRIPT + look)
    said = (
        f"both is imported from {installed}/both.py, not from {folder}/both/__init__.py: an agent may write there. If "
        "you want the latter, import it in a cell or script of yours before, or rename it"
    )
    done = ran("main.py", folder, f"{folder}:rw", cwd=folder)
    assert done == f"1\ninstalled own\n{said}\n[True]\n"


def test_a_library_that_tries_an_import_gets_no_other_error_where_warnings_are_errors(folder):
    look = "import library, contextlib, io, sys, warnings\nwarnings.simplefilter('error')\nsys.stderr = io.StringIO()\n"
    look += "print(library.speed())\nimport colorsys\nprint(colorsys.__file__.startswith(FOLDER))\n"
    look += "print([name in sys.stderr.getvalue() for name in ('speedup is not', 'colorsys is imported')])"
    (folder / "main.py").write_text(SCRIPT + look)
    assert ran("main.py", folder, f"{folder}:rw", cwd=folder) == "1\nslow\nFalse\n[True, True]\n"


@pytest.mark.parametrize("mounts", [(), ("../there",)])
def test_without_a_writable_mount_all_is_as_ever(folder, mounts):
    look = "print(PathFinder in sys.meta_path)"
    (folder / "main.py").write_text(SCRIPT + look)
    assert ran("main.py", folder, *mounts, cwd=folder) == "1\nTrue\n"


def test_a_debugger_that_stands_before_each_import_changes_nothing(folder):
    hook = "import builtins\nold = builtins.__import__\ndef new(*given, **more):\n    return old(*given, **more)\n"
    hook += "def install():\n    builtins.__import__ = new\n"
    (folder.parent / "there" / "site-packages" / "hook.py").write_text(hook)
    (folder / "main.py").write_text(f"{SCRIPT}\nimport hook\nhook.install()\n{LOOK}")
    assert ran("main.py", folder, f"{folder}:rw", cwd=folder) == f"1\n{SEEN}"


def test_in_a_notebook_only_what_cells_ask_for_comes_from_the_mount(folder):
    kernel = NotebookKernel(folder)
    try:
        kernel.run("import mine, names\nfrom smol_kernel import ScriptedModel").must_be_ok()
        kernel.run(f"m = ScriptedModel(['Go.\\n<code>\\n' + {WRITE!r} + '\\n</code>'])").must_be_ok()
        cell = kernel.run("%%agent --model m --mount .:rw -o answer\ngo").must_be_ok()
        assert "<b>bold</b>" in cell.traits and kernel.value("list(answer)") == ["a"]
        kernel.run("%agent export run.ipynb").must_be_ok()
        assert kernel.run(f"FOLDER = {str(folder)!r}\n{LOOK}").must_be_ok().printed == SEEN
        kernel.run("%load_ext autoreload\n%autoreload 2\nopen('mine.py', 'w').write('value = [1, 2]')").must_be_ok()
        assert kernel.value("mine.value") == [1, 2]
        kernel.run("%autoreload 3\nopen('mine.py', 'w').write('value = [1, 2, 3]')").must_be_ok()  # emptied before
        assert kernel.value("mine.value") == [1, 2, 3]
    finally:
        kernel.close()


CARRIED = {
    "carried1": "get_ipython().run_line_magic('load_ext', 'carried1')",
    "carried2": "%alias_magic lx load_ext\n%lx carried2",
    "carried3": "%run -m carried3",
    "carried4": "%load_ext autoreload\n%autoreload 1\n%aimport carried4",
    "carried5": "import runpy; runpy.run_module('carried5')",
    "carried6": "import pkgutil; pkgutil.resolve_name('carried6:T')",
    "carried7": "from unittest.mock import patch\nwith patch('carried7.T'): pass",
    "carried8": "from unittest.mock import patch\n@patch('carried8.T')\ndef f(mock): pass\nf()",
    "carried9": "help('carried9')",
    "carried10": "import logging.config as c\n"
    "c.dictConfig({'version': 1, 'formatters': {'a': {'()': 'carried10.T', 'b': 1}}})",
    "carried11": "import io, pickle\npickle._Unpickler(io.BytesIO(b'ccarried11\\nT\\n.')).load()",
}
"""What a user has others import by its name."""
CARRIES = """
import io, pickle, pkgutil, pydoc, runpy
from IPython import get_ipython

def load(name):
    for ask in (
        lambda: pkgutil.resolve_name(name + ":T"),
        lambda: runpy.run_module(name),
        lambda: pydoc.locate(name),
        lambda: pickle._Unpickler(io.BytesIO(f"c{name}\\nT\\n.".encode())).load(),
        lambda: get_ipython().run_line_magic("load_ext", name),
        lambda: get_ipython().run_line_magic("run", "-m " + name),
    ):
        try:
            ask()
        except Exception:
            pass
"""
"""A library that does so."""


def test_what_a_cell_has_the_standard_library_or_the_shell_import_is_its_own(folder):
    own = "ran = [__name__]\nclass T:\n    def __init__(self, **more): pass\ndef load_ipython_extension(shell): pass\n"
    for name in CARRIED:
        (folder / f"{name}.py").write_text(own + f"open({name!r} + '.ran', 'a')\n")
    (folder.parent / "there" / "site-packages" / "carries.py").write_text(CARRIES)
    write = (
        "import os\nos.mkdir('walked')\nfor file in ('theirs.py', 'org.py', 'walked/__init__.py'):\n"
        f"    open(file, 'w').write({EVIL!r})\nfinal_answer(1)"
    )
    kernel = NotebookKernel(folder)
    try:
        start = "import carries, warnings\nwarnings.simplefilter('ignore')\nfrom smol_kernel import ScriptedModel"
        kernel.run(start).must_be_ok()
        kernel.run(f"m = ScriptedModel(['Go.\\n<code>\\n' + {write!r} + '\\n</code>'])").must_be_ok()
        kernel.run("%%agent --model m --mount .:rw -o answer\ngo").must_be_ok()
        for name, code in CARRIED.items():
            kernel.run(code).must_be_ok()
            assert (folder / f"{name}.ran").exists(), name
        kernel.run("carries.load('theirs')\nimport pkgutil\nlist(pkgutil.walk_packages(['']))").must_be_ok()
        kernel.run("import sys, pickle\ndel sys.modules['pickle']\nimport pickle as again").must_be_ok()
        assert not [place for place, _, files in os.walk(folder) if "OWNED" in files]
    finally:
        kernel.close()
