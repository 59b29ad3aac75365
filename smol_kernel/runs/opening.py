"""What opens and writes files, archives and databases: which calls only read. `calls` is built on it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable

from smol_kernel.runs.expressions import START
from smol_kernel.runs.given import Given
from smol_kernel.runs.results import Results
from smol_kernel.runs.sql_reading import may_change, only_reads
from smol_kernel.runs.tokens import Token, Value, closure

_OPENING_WORDS = """ZipFile TarFile ExcelWriter connect NamedTemporaryFile TemporaryDirectory TemporaryFile
mkstemp mkdtemp memmap FileHandler HDFStore"""
OPENING = frozenset(_OPENING_WORDS.split())
"""Functions whose result may write files later on."""
_ARCHIVES = ("ZipFile", "TarFile")
_DATABASES = ("sqlite3", "duckdb")
"""Modules of databases whose `connect` only opens a file."""
_OF_TEXT = frozenset(["bz2", "codecs", "gzip", "io", "lzma", "os", "pathlib", "tokenize"])
"""Modules whose opened files give text and bytes, which cannot be changed."""
_MODE = re.compile(r"[rwaxbtU+]+")
_FETCHING_WORDS = "fetchall fetchone fetchmany fetchdf fetch_df fetchnumpy df pl arrow fetch_arrow_table show"
_FETCHING = frozenset(_FETCHING_WORDS.split())
_NARROWING = frozenset(["filter", "aggregate", "project", "order", "limit", "distinct", "describe", "select"])
"""Methods of a relation of DuckDB that give another one."""


class Opening(Results):
    """Evaluates what opens."""

    def __init__(self, tools: Iterable[str], bound: Iterable[str]) -> None:
        super().__init__(tools, bound)
        self.trusts = False
        """Whether a call of which nothing is known leaves alone what it is given."""
        self._asked: dict[Token, set[int]] = {}
        """Connection → statements that asked it for rows: DuckDB's itself gives them."""

    def write(self, given: Given) -> None:
        """Files may be written."""
        self.ask(self.world.files)
        self.touch({self.world.files, *(token for token in closure(given.every) if token.connects)})
        self.go_through(given.every)

    def ask_database(self, given: Given) -> None:
        """A database is asked by `read_sql` and its kin: what they are given may also change it."""
        sql = given.node.args[0] if given.node.args else given.option("sql") or given.option("query")
        if may_change(sql):
            self.write(given)
            self.touch(closure(given.every))

    def opened(self, name: str, package: str, given: Given) -> Value:
        """What a function gives that opens a file, an archive or a database."""
        files = self.world.files
        if name == "connect" and package in _DATABASES and len(self.frames) == 1:
            self.ask(files)
            return frozenset([Token(opaque=False, connects=True, holds={files, *given.every})])
        if name in _ARCHIVES and _reads(given):
            self.ask(files)
            return frozenset([Token(opaque=False, holds=set(given.every))])
        self.write(given)
        return frozenset([Token(once=True, holds={files, *given.every})])

    def open(self, given: Given, package: str = "io") -> Value:
        """What `open` gives, of this module."""
        files = self.world.files
        reads = _reads(given, "" if package in ("shelve", "dbm") else "r")
        self.ask(files)
        if not reads:
            self.touch([files])
        of_text = reads and package in _OF_TEXT
        opened = Token(once=True, opaque=False, of_text=of_text, holds=set() if reads else {files})
        if package not in _OF_TEXT:
            opened.inside = Token(holds={*opened.holds})
            opened.holds.add(opened.inside)
        return frozenset([opened])

    def of_connection(self, name: str, receiver: Value, given: Given, alone: bool) -> Value:
        """What a method gives of a connection to a database, or of its cursor."""
        files = self.world.files
        self.ask(files)
        self.go_through(given.every)
        first = given.node.args[0] if given.node.args else None
        if name in ("execute", "sql", "query") and only_reads(first):
            if alone or any(token.once for token in receiver):  # the rows may be fetched by a later statement
                self.touch(receiver)
            for token in receiver:
                self._asked.setdefault(token, set()).add(self.number)
            return self._cursor(receiver)
        if name == "cursor" or name in _NARROWING:
            return self._cursor(receiver)
        if name in _FETCHING:
            for token in receiver:
                self.depend(self._asked.get(token, ()))
            self.touch(receiver)
            of_pandas = name in ("df", "fetchdf", "fetch_df")
            return frozenset([Token(flat=of_pandas, table=of_pandas)])
        if name == "close" and not any(token.touched & files.touched - {START} for token in receiver):
            self.touch(receiver)
            return frozenset()
        kept = given.every if not name.startswith("execute") else frozenset[Token]()
        self.touch([files, *(receiver if self.trusts else closure(receiver | kept))])
        for token in receiver:
            token.holds |= kept - {token}
        return self._cursor(receiver | kept)

    def _cursor(self, value: Value) -> Value:
        rows = Token()
        return frozenset([Token(once=True, opaque=False, connects=True, inside=rows, holds={rows, *value})])


def _reads(given: Given, usual: str = "r") -> bool:
    """Whether a file is opened to be read; `usual` is how it is if nothing is said."""
    places = [node for node, _ in given.positional]
    starred = any(isinstance(place, ast.Starred) for place in places[:2])
    if starred or (len(places) < 2 and None in (name for name, _ in given.named)):  # it may be told how
        return False
    mode = places[1] if len(places) > 1 else given.option("mode") or given.option("flag")
    if isinstance(given.node.func, ast.Attribute) and len(places) == 1 and mode is None:  # of a path
        said = getattr(places[0], "value", None)
        mode = places[0] if isinstance(said, str) and _MODE.fullmatch(said) else None
    said = usual if mode is None else str(mode.value) if isinstance(mode, ast.Constant) else ""
    return bool(said) and not set(said) & set("wax+cn")
