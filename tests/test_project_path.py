"""Modules of the user's own project are imported by an action where the program itself imports them from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import smol_kernel
from smol_kernel.executors.launchers.project_path import VARIABLE, with_project_path

SHAPES = """
class Square:
    def __init__(self, side):
        self.side = side

    def area(self):
        return self.side**2
"""
MAIN = """
import sys
from shapes import Square
from smol_kernel import CodeAgent, ScriptedModel

code = "import shapes\\nfinal_answer((square.area(), shapes.Square(2).area()))"
model = ScriptedModel([f"Go.\\n<code>\\n{code}\\n</code>"])
box = {"executor_kwargs": {"box": False}} if sys.argv[1:] == ["off"] else {}
with CodeAgent([], model, verbosity_level=0, journal=False, **box) as agent:
    print(agent.run("area?", additional_args={"square": Square(3)}))
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "project" / "src").mkdir(parents=True)
    (tmp_path / "project" / "src" / "shapes.py").write_text(SHAPES)
    (tmp_path / "project" / "src" / "main.py").write_text(MAIN)
    return tmp_path / "project"


def ran(cwd, *arguments):
    variables = {**os.environ, "PYTHONPATH": str(Path(smol_kernel.__file__).parent.parent)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=variables, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("box", ["", "off"])
def test_a_script_in_a_folder_of_the_project_hands_over_what_is_of_its_modules(project, box):
    done = ran(project, "src/main.py", *filter(None, [box]))
    assert (done.stdout, done.stderr) == ("(9, 4)\n", "")


def test_where_the_child_cannot_see_them_it_is_said_what_to_do(project, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    done = ran(tmp_path / "elsewhere", "../project/src/main.py")
    assert "No module named 'shapes': the child kernel cannot import that; have it in the working folder" in done.stderr


def test_a_class_made_of_a_builtin_that_the_child_cannot_see_is_the_builtin_there(project, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (project / "src" / "shapes.py").write_text(SHAPES.replace("Square:", "Square(int):"))
    lines = MAIN.splitlines()
    lines[lines.index(next(filter(lambda line: line.startswith("code"), lines)))] = f"code = {TELLS!r}"
    (project / "src" / "main.py").write_text("\n".join(lines))
    assert ran(project, "src/main.py").stdout == "['Square', 3]\n"
    assert ran(tmp_path / "elsewhere", "../project/src/main.py").stdout == "['int', 3]\n"


TELLS = "final_answer([type(square).__name__, square + 0])"


def test_what_is_installed_stays_what_it_is(project):
    for name in ("profile.py", "code.py", "numpy.py", "ipykernel.py"):
        (project / "src" / name).write_text("raise RuntimeError('of the project')")
    (project / "appended.py").write_text(f"import sys; sys.path.append('src')\n{MAIN}".replace("import shapes", SEES))
    assert ran(project, "appended.py").stdout == "(9, 4)\n"


SEES = "import profile, code, numpy, ipykernel, shapes; assert numpy.ones(1)[0] == 1"


def test_which_folders_these_are(tmp_path, monkeypatch):
    folders = [tmp_path / name for name in ("src", ".hidden", "venv/lib", "not there", "lib:colon", "relative")]
    for folder in folders:
        if folder.name != "not there":
            folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    outside = tmp_path.parent
    names = ["", "relative", *map(str, folders[:-1]), str(outside), str(tmp_path)]
    monkeypatch.setattr(sys, "path", [*names, *sys.path])
    path = str(tmp_path)
    own = with_project_path({"A": "b"}, [path], [f"{path}/venv", sys.prefix], path)
    assert own == {"A": "b", VARIABLE: f"{path}/relative{os.pathsep}{path}/src"}
    assert with_project_path({}, [str(tmp_path / "empty")], [], path) == {}
    monkeypatch.setattr(sys, "prefix", f"{path}/venv")
    assert with_project_path({}, [path], ["/other"], path) == {VARIABLE: own[VARIABLE]}
