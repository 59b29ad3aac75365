"""What finished work asks for that a box keeps from it: the network, variables of the environment, hidden files.

Told with a proof by `prove`, since the cells may answer otherwise outside of a box. It reads the code alone.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeGuard

from smol_kernel.render.plain import listed
from smol_kernel.runs.source import Source

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
_LISTING = frozenset(["listdir", "scandir", "walk"])
_BY_NAME = frozenset(["endswith", "startswith", "suffix", "fnmatch", "match"])
"""What picks files out by their names, which those of hidden files are not."""
_EVERYTHING = frozenset(["*", "**", "**/*"])
"""Patterns by which `Path.glob` gives hidden files as well."""
_VARIABLES = frozenset(["environ", "getenv", "expandvars"])
_SETTING = frozenset(["setdefault", "update", "pop"])
"""Methods of `os.environ` that are called to set or remove a variable."""


def hidden_from(cells: Iterable[str]) -> str:
    """What the cells ask for and did not get in a box, as the end of a sentence; empty if they ask for nothing."""
    bodies = [body for cell in cells if (body := Source(cell).body) is not None]
    nodes = [node for body in bodies for node in ast.walk(ast.Module(body, []))]
    words = set(_words(nodes))
    said = ["the network"] if _asks_network(nodes, words) else []
    said += ["your environment variables"] if _reads_environment(nodes) else []
    said += ["your hidden files"] if _lists_all(nodes) or any(map(_globs_all, nodes)) else []
    return f"; they ran without {listed(said)}" if said else ""


def _words(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Names of what is imported or used, with what they stand in."""
    for node in nodes:
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield from (alias.name, alias.name.partition(".")[0])
            case ast.ImportFrom(module=str() as module, names=names):
                yield from (module, module.partition(".")[0])
                for alias in names:
                    yield from (alias.name, f"{module}.{alias.name}")
            case ast.Attribute(value=value, attr=attr):
                yield attr
                yield from [f"{value.id}.{attr}"] if isinstance(value, ast.Name) else []
            case ast.Name(id=name):
                yield name
            case _:
                pass


def _asks_network(nodes: Sequence[ast.AST], words: set[str]) -> bool:
    modules = {word for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom)) for word in _words([node])}
    asked = set(modules & _NETWORK)
    for module in modules & {"socket", "http.client"}:
        used = {word for word in words if word.startswith(f"{module}.")}
        asked -= {module} if used and used <= _WITHOUT else set()
    return bool(asked or words & {"urllib.request"} or words & _FETCHING) or _reads_address(nodes)


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


def _of_os(nodes: Iterable[ast.AST], wanted: frozenset[str]) -> list[ast.AST]:
    """Where something of `os` or `os.path` with one of these names is used."""
    modules, names = {"os"}, set[str]()
    for node in nodes:
        if isinstance(node, ast.Import):
            modules |= {alias.asname or "os" for alias in node.names if alias.name.partition(".")[0] == "os"}
        elif isinstance(node, ast.ImportFrom) and node.module in ("os", "os.path"):
            names |= {alias.asname or alias.name for alias in node.names if alias.name in wanted}
            modules |= {alias.asname or alias.name for alias in node.names if alias.name == "path"}
    return [
        node
        for node in nodes
        if (isinstance(node, ast.Name) and node.id in names)
        or (
            isinstance(node, ast.Attribute)
            and node.attr in wanted
            and ast.unparse(node.value).removesuffix(".path") in modules
        )
    ]


def _reads_environment(nodes: Iterable[ast.AST]) -> bool:
    """Whether variables are read, but those that the cells set."""
    found = {id(node) for node in _of_os(nodes, _VARIABLES)}
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


def _lists_all(nodes: Iterable[ast.AST]) -> bool:
    """Whether folders are listed, and what is found is not picked out by its name."""
    listing = {id(node) for node in _of_os(nodes, _LISTING)}
    listing |= {id(node) for node in nodes if isinstance(node, ast.Attribute) and node.attr == "iterdir"}
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
