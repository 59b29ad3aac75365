"""What the wheel carries, and the kernel description that Jupyter finds."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from importlib.metadata import distributions
from pathlib import Path

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from test_architecture import FILES, edges, is_ours

import smol_kernel
import smol_magic
from smol_kernel.serve.cli import main
from smol_kernel.serve.cli.kernel import kernelspec_folder

ROOT = Path(__file__).resolve().parent.parent
DATA = f"smol_kernel-{smol_kernel.__version__}.data/data/share/jupyter"
ONLY_IF_THERE = {"jsonschema", "soundfile"}
"""What is loaded early for MCP's SDK; what a message says to install."""
KERNEL_FILES = {"kernel.json", "logo-svg.svg", "logo-32x32.png", "logo-64x64.png"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_the_wheel_carries_kernel_and_labextension_as_shared_data(wheel):
    names = set(wheel.namelist())
    assert {f"{DATA}/kernels/agent/{name}" for name in KERNEL_FILES} <= names
    extension = f"{DATA}/labextensions/smol-kernel"
    package = json.loads(wheel.read(f"{extension}/package.json"))
    assert package["name"] == "smol-kernel"
    assert package["version"] == smol_kernel.__version__
    assert f"{extension}/{package['jupyterlab']['_build']['load']}" in names
    assert json.loads(wheel.read(f"{extension}/install.json"))["packageName"] == "smol-kernel"
    (place,) = smol_magic._jupyter_labextension_paths()
    assert f"smol_magic/{place['src']}/package.json" in names
    assert place["dest"] == package["name"]


def test_the_wheel_carries_every_module_and_template(wheel):
    names = set(wheel.namelist())
    for package in ("smol_kernel", "smol_magic"):
        for path in (ROOT / package).rglob("*"):
            if path.is_file() and path.suffix in {".py", ".md", ".js", ".css", ".json", ".typed"}:
                assert path.relative_to(ROOT).as_posix() in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]


def test_the_wheel_says_what_it_needs(wheel):
    folder = f"smol_kernel-{smol_kernel.__version__}.dist-info"
    metadata = Parser().parsestr(wheel.read(f"{folder}/METADATA").decode())
    assert metadata["Name"] == "smol-kernel"
    assert metadata["Version"] == smol_kernel.__version__
    assert metadata["Requires-Python"] == ">=3.10"
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert set(metadata.get_all("Provides-Extra")) >= {"demo", "test"}
    (litellm,) = [need for need in metadata.get_all("Requires-Dist") if need.startswith("litellm")]
    assert all(part in litellm for part in ("<2", "!=1.82.7", "!=1.82.8"))
    assert "smol = smol_kernel.serve.cli:process" in wheel.read(f"{folder}/entry_points.txt").decode()
    assert f"{folder}/licenses/LICENSE" in wheel.namelist()


def test_every_package_that_is_imported_is_declared(wheel):
    metadata = Parser().parsestr(wheel.read(f"smol_kernel-{smol_kernel.__version__}.dist-info/METADATA").decode())
    declared = {_normal(re.match(r"[\w.-]+", need)[0]) for need in metadata.get_all("Requires-Dist")}
    homes = _homes()
    undeclared = set()
    for module, found in edges().items():
        launcher = module.startswith("smol_kernel.executors.launchers.")  # scripts in the child's box import others so
        beside = {path.stem for path in FILES[module].parent.glob("*.py")} if launcher else set()
        for name in {each.partition(".")[0] for each in found} - sys.stdlib_module_names - beside - ONLY_IF_THERE:
            if not is_ours(name) and not {_normal(home) for home in homes.get(name, [])} & declared:
                undeclared.add((module, name))
    assert not undeclared


def _homes():
    """Of each module the distributions that brought it; Python 3.10's own `packages_distributions` finds few."""
    homes = {}
    for each in distributions():
        name = each.metadata["Name"]  # read from its file each time
        for path in each.files or ():
            homes.setdefault(path.parts[0].partition(".")[0], set()).add(name)
    return homes


def _normal(distribution):
    return re.sub(r"[-_.]+", "-", distribution).lower()


def test_the_kernel_is_described_as_jupyter_expects():
    folder = kernelspec_folder()
    spec = json.loads((folder / "kernel.json").read_text())
    assert spec["argv"] == ["python", "-m", "smol_kernel", "-f", "{connection_file}", "--ext", "smol_magic"]
    assert (spec["display_name"], spec["language"], spec["interrupt_mode"]) == ("Agent", "python", "signal")
    for size in (32, 64):
        png = (folder / f"logo-{size}x{size}.png").read_bytes()
        assert png.startswith(b"\x89PNG")
        assert (int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")) == (size, size)


def test_the_kernel_is_installed_with_this_interpreter_and_removed_again(tmp_path, capsys):
    place = ["--prefix", str(tmp_path)]
    assert main(["kernel", "install", *place, "--display-name", "Agent (here)"]) == 0
    installed = tmp_path / "share" / "jupyter" / "kernels" / "agent"
    assert {path.name for path in installed.iterdir()} == KERNEL_FILES
    spec = KernelSpecManager(kernel_dirs=[str(installed.parent)]).get_kernel_spec("agent")
    assert spec.argv[0] == sys.executable
    assert spec.display_name == "Agent (here)"
    assert str(installed) in capsys.readouterr().out
    assert main(["kernel", "uninstall", *place]) == 0
    assert not installed.exists()


def test_only_a_kernel_of_ours_is_removed(tmp_path, capsys):
    foreign = tmp_path / "share" / "jupyter" / "kernels" / "python3"
    foreign.mkdir(parents=True)
    (foreign / "kernel.json").write_text(json.dumps({"argv": ["python", "-m", "ipykernel_launcher"]}))
    assert main(["kernel", "uninstall", "--prefix", str(tmp_path), "--name", "python3"]) == 2
    assert foreign.is_dir()
    assert main(["kernel", "uninstall", "--prefix", str(tmp_path)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert "is not an Agent kernel" in errors[0]
    assert "there is no kernel 'agent'" in errors[1]


def test_a_kernel_name_that_jupyter_refuses_is_an_error_in_one_line(tmp_path, capsys):
    assert main(["kernel", "install", "--prefix", str(tmp_path), "--name", "not a name"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
