"""The shape of the code: which way imports point, how large things are, what an import loads, what is public."""

from __future__ import annotations

import ast
import importlib
import io
import json
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import smol_kernel

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("smol_kernel", "smol_magic")

TIERS = (  # lowest first; a module may import from lower tiers only, and from its own part
    {"errors", "parsing", "signals", "waits"},
    {"memory"},
    {"events"},
    {"journal"},
    {"tools", "models"},
    {"executors.host_line"},
    {"executors.transports"},
    {"executors.launchers"},
    {"executors"},
    {"agents"},
    {"render"},
    {"runs"},
    {"budget_options"},
    {"config"},
    {"serve", "smol_magic"},
)
LEVEL = {part: level for level, tier in enumerate(TIERS) for part in tier}

ONLY_IMPORTED_IN = {  # package → the parts of ours that may know it
    "litellm": {"smol_kernel.models.litellm"},
    "nh3": {"smol_kernel.render.sanitize"},
    "ipywidgets": {"smol_magic"},
    "cloudpickle": {"smol_kernel.executors"},
    "sqlite3": {"smol_kernel.journal"},
    "argparse": {"smol_kernel.config", "smol_kernel.serve", "smol_magic"},
    "jinja2": {"smol_kernel.tools.rendering"},
    "mcp": {f"smol_kernel.tools.mcp_{part}" for part in ("connection", "process", "servers", "transport")},
    "mcp_types": {"smol_kernel.tools.mcp_connection", "smol_kernel.tools.mcp_process"},
    "httpx2": {"smol_kernel.tools.mcp_connection", "smol_kernel.tools.mcp_transport"},
    "anyio": {"smol_kernel.tools.mcp_connection", "smol_kernel.tools.mcp_process"},
    "pydantic": {"smol_kernel.tools.answer_type", "smol_kernel.tools.mcp_servers"},
    "bs4": {"smol_kernel.tools.defaults"},
    "ddgs": {"smol_kernel.tools.defaults"},
    "httpx": {"smol_kernel.tools.defaults"},
    "lxml": {"smol_kernel.tools.defaults"},
    "markdownify": {"smol_kernel.tools.defaults"},
    "zmq": {"smol_kernel.executors"},
}

TOO_HEAVY_FOR_A_NAME = {
    "IPython",
    "PIL",
    "anyio",
    "av",
    "bs4",
    "cloudpickle",
    "ddgs",
    "httpx",
    "httpx2",
    "ipykernel",
    "ipywidgets",
    "jinja2",
    "jupyter_client",
    "litellm",
    "lxml",
    "markdownify",
    "matplotlib",
    "mcp",
    "nbformat",
    "nh3",
    "numpy",
    "pandas",
    "primp",
    "pyarrow",
    "pydantic",
    "requests",
    "zmq",
}
"""What looking up a public name must not load."""
TOO_HEAVY_FOR_THE_NOTEBOOK = TOO_HEAVY_FOR_A_NAME - {"IPython", "ipykernel"} | {"sqlite3"}
"""What `%load_ext smol_magic` must not load."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}


def running_nodes(node: ast.AST, functions: bool) -> Iterator[ast.AST]:
    """Every node below `node` but what stands under `if TYPE_CHECKING:`, and unless `functions` inside functions."""
    for child in ast.iter_child_nodes(node):
        if not functions and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            children: list[ast.AST] = list(child.orelse)
        else:
            children = [child]
        for each in children:
            yield each
            yield from running_nodes(each, functions)


def imports(module: str, tree: ast.AST, functions: bool = True) -> Iterator[str]:
    """The modules that `tree`, the source of `module`, imports; unless `functions` only while it is imported itself."""
    package = module if FILES.get(module, Path()).name == "__init__.py" else module.rpartition(".")[0]
    for node in running_nodes(tree, functions):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*package.split(".")[: len(package.split(".")) - node.level + 1]]) if node.level else ""
            source = ".".join(filter(None, [base, node.module]))
            for alias in node.names:
                whole = f"{source}.{alias.name}"
                yield whole if whole in FILES else source
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (name.value for name in node.args if isinstance(name, ast.Constant))


def part_of(module: str) -> str | None:
    """The part in the tiers' table that a module of ours belongs to; None for `__init__` and `__main__`."""
    package, _, rest = module.partition(".")
    if package != "smol_kernel":
        return package
    part, inner = rest.partition(".")[0], ".".join(rest.split(".")[:2])
    return inner if inner in LEVEL else None if part in ("", "__main__") else part


def is_ours(module: str) -> bool:
    return module.partition(".")[0] in PACKAGES


@cache
def edges() -> dict[str, set[str]]:
    """Module → all it imports, at its top or inside functions."""
    return {name: set(imports(name, ast.parse(path.read_text()))) for name, path in FILES.items()}


def test_every_part_has_a_tier():
    parts = {part_of(name) for name in FILES} - {None}
    assert parts <= LEVEL.keys(), "give a new part its place in TIERS"


@pytest.mark.parametrize("module", FILES)
def test_imports_point_downward(module):
    here = part_of(module)
    if here is None:
        return  # __init__ and __main__ stand above all tiers
    upward = []
    for imported in filter(is_ours, edges()[module]):
        there = part_of(imported)
        if there is None and here in TIERS[-1]:
            continue  # the fronts may use the public names
        if there is None or (there != here and LEVEL[there] >= LEVEL[here]):
            upward.append(imported)
    assert not upward, f"{module} is {here!r} and may import only what lies below it"


MAKES_WHAT_IT_HOLDS = {("smol_kernel.models.cassette", "smol_kernel.models.registry")}
MAKES_WHAT_IT_HOLDS |= {("smol_kernel.models.fallback", "smol_kernel.models.registry")}
"""The only way round: a saved model that holds others has them made by the list of all models, which it stands in."""


def test_no_import_goes_in_a_circle():
    finished: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join([*path[path.index(module) :], module])
        if module not in finished:
            for imported in sorted(edges()[module] & FILES.keys()):
                if (module, imported) not in MAKES_WHAT_IT_HOLDS:
                    visit(imported, (*path, module))
            finished.add(module)

    for module in FILES:
        visit(module, ())
    assert all(imported in edges()[module] for module, imported in MAKES_WHAT_IT_HOLDS), "leave out what is mended"


@pytest.mark.parametrize("package", ONLY_IMPORTED_IN)
def test_a_package_is_known_to_one_place(package):
    homes = ONLY_IMPORTED_IN[package]
    knowing = {module for module, found in edges().items() if any(name.partition(".")[0] == package for name in found)}
    assert knowing, "nobody imports it any more: leave it out"
    strangers = {module for module in knowing if not any(f"{module}.".startswith(f"{home}.") for home in homes)}
    assert not strangers, f"only {sorted(homes)} may import {package}"


def test_modules_are_looked_up_by_name_in_known_places_only():
    """A module looked up at run time escapes the arrows."""
    known = [
        "smol_kernel",  # the lazy public names
        "smol_kernel.agents.running",  # the loop's one look-up, of what draws a run
        "smol_kernel.executors.launchers.zygote_main",  # what a kernel imports
        "smol_kernel.executors.launchers.zygote_main",
        "smol_kernel.executors.values",  # those that need it in turn
    ]
    looking = []
    for module, path in FILES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
                named = node.args[0].value if isinstance(node.args[0], ast.Constant) else ""
                if not named or is_ours(named):
                    looking.append(module)
    assert sorted(looking) == known


def test_what_is_sent_into_the_child_needs_only_what_a_kernel_has():
    from smol_kernel.executors.launchers.child_modules import MODULES

    allowed = {*sys.stdlib_module_names, "IPython", "ipykernel", "jupyter_client", "zmq"}
    for name in MODULES:
        module = f"smol_kernel.executors.{name}"
        tree = ast.parse(FILES[module].read_text())
        found = {each if is_ours(each) else each.partition(".")[0] for each in imports(module, tree, functions=False)}
        assert found <= allowed, f"{module} is sent as source"
        allowed.add(module)  # for those that come after it


def code_lines(source: str) -> int:
    """Lines that hold code: no blank lines, comments or docstrings."""
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in skipped:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def test_code_lines_leave_out_what_is_not_code():
    source = (
        '"""Doc\n\nstring."""\n\n# comment\nx = """a\nb"""  # still code\n\n\ndef f():\n    """Doc."""\n    return x\n'
    )
    assert code_lines(source) == 4


def test_the_loop_is_short_enough_to_read():
    total = sum(code_lines(path.read_text()) for path in (ROOT / "smol_kernel" / "agents").rglob("*.py"))
    assert total <= 1_000


@pytest.mark.parametrize("module", FILES)
def test_a_module_is_short_and_says_what_it_is(module):
    path = FILES[module]
    lines = len(path.read_text().splitlines())
    assert lines <= 400, "a noun is missing: split it"
    assert path.stem not in {"utils", "helpers", "helper", "manager", "handler", "handlers", "misc", "common", "base2"}


def report_of(code: str, tmp_path: Path) -> dict:
    """What `code` printed as JSON, run by a fresh interpreter in an empty folder."""
    where = str(Path(smol_kernel.__file__).parent.parent)
    script = f"import sys; sys.path.insert(0, {where!r})\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


WATCH = """
import importlib, json, os, sys, typing
import __future__
effects = []
def watch(event, args):
    if event.startswith(("socket.", "subprocess.", "os.putenv", "os.mkdir", "os.exec", "os.fork", "os.posix_spawn")):
        effects.append(event)
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        effects.append(f"{event} {args[0]}")
environment = dict(os.environ)
before = set(sys.modules)
"""
TELL = """
roots = sorted({name.partition(".")[0] for name in set(sys.modules) - before})
print(json.dumps({"roots": roots, "effects": effects, "environment": dict(os.environ) == environment}))
"""


def test_importing_the_engine_loads_nothing_and_does_nothing(tmp_path):
    report = report_of(
        WATCH + "sys.dont_write_bytecode = True; sys.addaudithook(watch)\nimport smol_kernel" + TELL, tmp_path
    )
    assert report["roots"] == ["smol_kernel"]
    assert report["effects"] == []
    assert report["environment"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", ["from smol_kernel import CodeAgent", "from smol_kernel.serve.cli import process"])
def test_on_windows_an_import_says_what_to_do_instead(code):
    script = f"import sys; sys.platform = 'win32'; sys.modules['fcntl'] = None\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=120, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ImportError: smol-kernel needs Linux or macOS; on Windows, ")


def test_importing_all_public_names_loads_nothing_heavy(tmp_path):
    code = "import smol_kernel\nfor name in smol_kernel.__all__: getattr(smol_kernel, name)\n"
    report = report_of(WATCH + "sys.dont_write_bytecode = True; sys.addaudithook(watch)\n" + code + TELL, tmp_path)
    assert not set(report["roots"]) & TOO_HEAVY_FOR_A_NAME
    assert report["effects"] == []
    assert report["environment"]


def test_loading_the_extension_loads_nothing_heavy(tmp_path):
    shell = "from IPython.core.interactiveshell import InteractiveShell\nshell = InteractiveShell.instance()\n"
    load = "sys.dont_write_bytecode = True; sys.addaudithook(watch)\nshell.run_line_magic('load_ext', 'smol_magic')\n"
    load += "assert shell.find_cell_magic('agent')"
    environment = f"import os; os.environ['IPYTHONDIR'] = {str(tmp_path / 'ipython')!r}\n"
    report = report_of(environment + shell + WATCH + load + TELL, tmp_path)
    assert "smol_magic" in report["roots"]
    assert not set(report["roots"]) & TOO_HEAVY_FOR_THE_NOTEBOOK
    assert report["effects"] == []
    assert report["environment"]


def test_every_public_name_is_there():
    for name in smol_kernel.__all__:
        assert getattr(smol_kernel, name) is not None


def test_the_public_names_and_their_types_agree():
    tree = ast.parse(FILES["smol_kernel"].read_text())
    checking = next(
        node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    typed = {alias.asname: node.module for node in checking.body for alias in node.names}  # pyright: ignore
    assert typed == smol_kernel._PUBLIC


def test_a_type_checker_knows_which_names_there_are(tmp_path):
    pytest.importorskip("pyright")
    (tmp_path / "program.py").write_text("from smol_kernel import CodeAgent, CodeAgentt\n")
    check = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "program.py"]
    done = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    (found,) = json.loads(done.stdout)["generalDiagnostics"]
    assert '"CodeAgentt" is unknown import symbol' in found["message"]


def test_a_name_of_smolagents_that_is_not_here_says_so():
    with pytest.raises(ImportError, match="'DockerExecutor' of smolagents is not in smol_kernel"):
        exec("from smol_kernel import DockerExecutor")
    with pytest.raises(ImportError, match="'parse_code_blobs' of smolagents is not in smol_kernel"):
        exec("from smol_kernel import parse_code_blobs")
    with pytest.raises(ImportError, match="'SafeSerializer' of smolagents is not in smol_kernel"):
        exec("from smol_kernel import SafeSerializer")
    with pytest.raises(AttributeError, match="has no attribute 'Dockerexecutor'"):
        smol_kernel.Dockerexecutor  # noqa: B018
    assert not set(smol_kernel.__all__) & set(smol_kernel._NOT_BUILT.split())


@pytest.mark.parametrize("package", ["agents", "memory", "models", "tools"])
def test_a_public_name_that_is_looked_up_in_a_package_inside_says_where_it_is(package):
    inner = importlib.import_module(f"smol_kernel.{package}")
    assert not hasattr(inner, "CodeAgentt") and not hasattr(inner, "__wrapped__")
    name = "ToolCollection" if package == "tools" else "CodeAgent"
    with pytest.raises(ImportError, match=f"'{name}' is not in smol_kernel.{package}: take it from smol_kernel itself"):
        exec(f"from smol_kernel.{package} import {name}")
    with pytest.raises(ImportError, match="cannot import name 'CodeAgentt'"):
        exec(f"from smol_kernel.{package} import CodeAgentt")
    modules = [name.removeprefix(f"smol_kernel.{package}.") for name in FILES if f"smol_kernel.{package}." in name]
    for module in modules:  # those that are not loaded yet are asked for as attributes first
        if "." not in module and "main" not in module:
            exec(f"from smol_kernel.{package} import {module}")
