"""What finished work asks for that a box keeps from it: the network, variables of the environment, hidden files.

Told with a proof by `prove`, since the cells may answer otherwise outside of a box. It reads the code alone.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

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
_LISTING = frozenset(["listdir", "scandir", "iterdir", "rglob", "os.walk"])
_EVERYTHING = frozenset(["*", "**", "**/*"])
"""Patterns by which `Path.glob` gives hidden files as well."""
_SETTING = frozenset(["setdefault", "update", "pop"])
"""Methods of `os.environ` that are called to set or remove a variable."""


def hidden_from(cells: Iterable[str]) -> str:
    """What the cells ask for and did not get in a box, as the end of a sentence; empty if they ask for nothing."""
    bodies = [body for cell in cells if (body := Source(cell).body) is not None]
    nodes = [node for body in bodies for node in ast.walk(ast.Module(body, []))]
    words = set(_words(nodes))
    said = ["the network"] if _asks_network(nodes, words) else []
    said += ["your environment variables"] if _reads_environment(nodes) else []
    said += ["your hidden files"] if words & _LISTING or any(map(_globs_all, nodes)) else []
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


def _asks_network(nodes: Iterable[ast.AST], words: set[str]) -> bool:
    modules = {word for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom)) for word in _words([node])}
    asked = modules & _NETWORK or words & {"urllib.request"} or words & _FETCHING
    reads = any(word.startswith("read_") for word in words)
    return bool(asked) or (reads and any(map(_is_address, nodes)))


def _is_address(node: ast.AST) -> bool:
    """Whether it is a text with the address of a page or file of the network."""
    text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
    return text.startswith(("http://", "https://", "ftp://", "s3://", "gs://"))


def _reads_environment(nodes: Iterable[ast.AST]) -> bool:
    set_: set[int] = set()
    found: set[int] = set()
    for node in nodes:
        match node:
            case ast.Subscript(value=value, ctx=ast.Store() | ast.Del()):
                set_.add(id(value))
            case ast.Attribute(value=value, attr=attr) if attr in _SETTING:
                set_.add(id(value))
            case _:
                pass
        name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
        if name in ("environ", "getenv", "expandvars"):
            found.add(id(node))
    return bool(found - set_)


def _globs_all(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(value=value, attr="glob"), args=[ast.Constant(value=str() as pattern)]):
            return pattern in _EVERYTHING and getattr(value, "id", "") != "glob"  # not the module of that name
        case _:
            return False
