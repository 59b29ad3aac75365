"""What finished work asks for that a box keeps from it: the network, variables of the environment, hidden files.

Told with a proof by `prove`, since the cells may answer otherwise outside of a box. It reads the code alone.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from typing import TypeGuard

from smol_kernel.render.plain import listed
from smol_kernel.runs.paths import imported, path_of
from smol_kernel.runs.source import nodes_of

_NETWORK_NAMES = """
requests httpx aiohttp urllib3 urllib.request http.client socket ftplib smtplib websocket websockets paramiko boto3
yfinance pandas_datareader wikipedia"""
_NETWORK = frozenset(_NETWORK_NAMES.split())
"""Modules that are there for the network."""
_FETCHING_NAMES = (
    "urlopen urlretrieve load_dataset get_rdataset fetch_openml fetch_california_housing fetch_20newsgroups"
)
_FETCHING = frozenset(_FETCHING_NAMES.split())
_WITHOUT = frozenset(["socket.gethostname", "http.client.responses", "http.client.HTTPStatus"])
"""What such modules have that needs no network."""
_ADDRESSED = frozenset(["filepath_or_buffer", "path_or_buf", "path_or_buffer", "io", "path", "source", "url"])
"""Names of the arguments of `read_csv` and its like that say what is read."""
_LISTING = frozenset(["os.listdir", "os.scandir", "os.walk"])
_BY_NAME = frozenset(["endswith", "startswith", "suffix", "fnmatch", "match"])
"""What picks files out by their names, which those of hidden files are not."""
_EVERYTHING = frozenset(["*", "**", "**/*"])
"""Patterns by which `Path.glob` gives hidden files as well."""
_VARIABLES = frozenset(["os.environ", "os.getenv", "os.path.expandvars"])
_SETTING = frozenset(["setdefault", "update", "pop"])
"""Methods of `os.environ` that are called to set or remove a variable."""


def hidden_from(cells: Iterable[str]) -> str:
    """What the cells ask for and did not get in a box, as the end of a sentence; empty if they ask for nothing."""
    nodes = nodes_of(cells)
    names = imported(nodes)
    paths = [(node, path_of(node, names)) for node in nodes if isinstance(node, (ast.Name, ast.Attribute))]
    said = ["the network"] if _asks_network(nodes, {path for _, path in paths}) else []
    said += ["your environment variables"] if _reads_environment(nodes, paths) else []
    said += ["your hidden files"] if _lists_all(nodes, paths) or any(map(_globs_all, nodes)) else []
    return f"; they ran without {listed(said)}" if said else ""


def _asks_network(nodes: Sequence[ast.AST], used: set[str]) -> bool:
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    every = modules | used
    if any(path.rpartition(".")[2] in _FETCHING or path == "urllib.request" for path in every):
        return True
    for module in _NETWORK:
        parts = {path for path in every if path.startswith(f"{module}.")}
        if any(f"{each}.".startswith(f"{module}.") for each in modules) and not (parts and parts <= _WITHOUT):
            return True
    return _reads_address(nodes)


def _reads_address(nodes: Sequence[ast.AST]) -> bool:
    """Whether `read_csv` or its like is given an address, at once or by a name that is bound to one."""
    names: set[str] = set()
    for node in nodes:
        match node:
            case ast.Assign(targets=[target], value=value) | ast.For(target=target, iter=value):
                pass
            case ast.comprehension(target=target, iter=value) | ast.NamedExpr(target=target, value=value):
                pass
            case ast.FunctionDef(args=ast.arguments() as target):  # of its defaults
                value = target
            case _:
                continue
        if any(map(_is_address, ast.walk(value))):
            names |= {part.id if isinstance(part, ast.Name) else part.arg for part in ast.walk(target) if _binds(part)}
    read = [
        argument
        for node in nodes
        if isinstance(node, ast.Call) and _last(node.func).startswith("read_")
        for argument in [*node.args[:1], *(each.value for each in node.keywords if each.arg in _ADDRESSED)]
    ]
    parts = [part for argument in read for part in ast.walk(argument)]
    return any(_is_address(part) or (isinstance(part, ast.Name) and part.id in names) for part in parts)


def _binds(node: ast.AST) -> TypeGuard[ast.Name | ast.arg]:
    return isinstance(node, (ast.Name, ast.arg))


def _last(node: ast.AST) -> str:
    """The last word of a name; empty if it is none."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _is_address(node: ast.AST) -> bool:
    """Whether it is a text with the address of a page or file of the network."""
    text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
    return text.startswith(("http://", "https://", "ftp://", "s3://", "gs://"))


def _reads_environment(nodes: Iterable[ast.AST], paths: Iterable[tuple[ast.AST, str]]) -> bool:
    """Whether variables are read, but those that the cells set."""
    found = {id(node) for node, path in paths if path in _VARIABLES}
    keys: dict[int, str] = {}
    own: set[str] = set()
    for node in nodes:
        match node:
            case ast.Subscript(value=value, slice=key, ctx=ast.Store() | ast.Del()) if id(value) in found:
                own.add(ast.unparse(key))
                found.discard(id(value))
            case ast.Call(func=ast.Attribute(value=value, attr=attr), args=given) if attr in _SETTING:
                own |= {ast.unparse(key) for key in given[:1]} if id(value) in found else set()
                found.discard(id(value))
            case ast.Call(func=ast.Attribute(value=value, attr="get"), args=[key, *_]):
                keys[id(value)] = ast.unparse(key)
            case ast.Call(func=value, args=[key, *_]) | ast.Subscript(value=value, slice=key):
                keys[id(value)] = ast.unparse(key)
            case ast.Compare(left=key, ops=[ast.In() | ast.NotIn()], comparators=[value]):
                keys[id(value)] = ast.unparse(key)
            case _:
                pass
    return any(keys.get(place) not in own for place in found)


def _lists_all(nodes: Iterable[ast.AST], paths: Iterable[tuple[ast.AST, str]]) -> bool:
    """Whether folders are listed, and what is found is not picked out by its name."""
    listing = {id(node) for node, path in paths if path in _LISTING or path.endswith(".iterdir")}
    for node in nodes:
        match node:
            case ast.comprehension(iter=listed_, ifs=tests):
                pass
            case ast.For(iter=listed_, body=[ast.If(test=test, orelse=[])]):
                tests = [test]
            case _:
                continue
        if any(_last(part) in _BY_NAME for test in tests for part in ast.walk(test)):
            listing -= {id(part) for part in ast.walk(listed_)}
    return bool(listing)


def _globs_all(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(value=value, attr="glob" | "rglob"), args=[ast.Constant(value=str() as text)]):
            return text in _EVERYTHING and getattr(value, "id", "") != "glob"  # not the module of that name
        case _:
            return False
