"""The Agent kernel: an IPython kernel whose plain cells are tasks for an agent.

`python -m smol_kernel -f FILE` starts it. It adds one input transformer to a stock kernel. What an agent cell does
comes from the extension that `--ext` names.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
import textwrap
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Any, Protocol

from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp

from smol_kernel import __version__
from smol_kernel.parsing import parsed

_HELP = re.compile(r"\s*(\?{1,2}\s*)?(?P<name>%{0,2}[^\W\d][\w.]*)(?(1)|\s*\?{1,2})\s*")
"""`name?`, `name??` or `?name` alone: IPython's help; a word that names nothing is a question. Any other text may
well end in a question mark."""

_CELL_MAGIC = re.compile(r"(?:[ \t]*(?:#.*)?\n)*(%%\S*).*")
"""The line of a cell magic; comments may stand before it."""

_NO_OPTIONS = "%%host takes no options, but found {!r}: the code goes in the lines below"
_NO_AGENT = "this kernel has no agent: start it with --ext smol_magic, as its kernel.json does"
_OF_IPYTHON = re.compile(r"^[%!].*$", re.MULTILINE)
_PYTHON = """this was read as Python, not as a task, and nothing was run.
Python goes below %%py (the agent's kernel) or %%host (this one).
Below %%agent --continue it is a task all the same."""

_WORDS = (ast.Expr, ast.Return, ast.Raise, ast.Assert, ast.Delete, ast.Global, ast.Nonlocal, ast.Pass, ast.Break,
          ast.Continue)  # fmt: skip
"""Statements that words may look like: `return home`, `raise prices`, `continue`."""

_PARAMETERS = re.compile(r"\s*# Parameters\n")
"""How the cell begins that papermill puts in, of Python for the kernel that the notebook names."""

_LEAVE = ("exit", "quit", "exit()", "quit()")

_client_cell: ContextVar[str | None] = ContextVar("client_cell", default=None)
"""The cell a person sent. Code that IPython runs by itself (startup lines, the body of `%%capture`) is never a task."""


class Refusal(Exception):
    """The kernel does not run the cell; the message says what to do about it, and is shown alone."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class Session(Protocol):
    """What the extension leaves on the shell as `smol_session`: the conversation and its child kernel."""

    def complete(self, code: str, cursor_pos: int) -> dict[str, Any]:
        """The content of the child's `complete_reply`; empty while it is busy or not started."""
        ...

    def inspect(self, code: str, cursor_pos: int, detail_level: int = 0) -> dict[str, Any]:
        """The content of the child's `inspect_reply`."""
        ...

    def close(self) -> None:
        """End the child."""
        ...


class AgentKernel(IPythonKernel):
    """Runs a plain cell as the next task of one conversation, `%%py` in the agent's child, `%%host` in here."""

    implementation = "smol-kernel"
    implementation_version = __version__

    @property
    def banner(self) -> str:
        """Said by consoles when they connect."""
        return (
            f"Agent kernel {__version__}. A plain cell is a task for the agent; %%py runs Python in the agent's\n"
            "own kernel, %%host in this one, where @tool functions are defined. %agent shows the settings.\n"
        )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._hindrance: Exception = Refusal(_NO_AGENT)  # why there is no agent, if there is none
        # First of all, so that the text of a task is seen before IPython strips prompts and indents from it.
        self._shell.input_transformers_cleanup.insert(0, self._transform)
        self._shell.register_magic_function(self.host, "cell")  # where other code or another magic runs it

    def host(self, line: str, cell: str) -> None:
        """Run the cell in the kernel itself, not in the agent's child: tools are defined in here."""
        if line.strip():
            raise Refusal(_NO_OPTIONS.format(line.strip()))
        self._shell.run_cell(cell)

    def show_help(self, name: str, detail_level: int) -> None:
        """What `name?` shows: the child's object of that name, or the kernel's own."""
        found = self._session.inspect(name, len(name), detail_level) if self._session is not None else {}
        if found.get("found"):
            self._shell.payload_manager.write_payload({"source": "page", "data": found["data"], "start": 0})
        else:
            self._shell.run_line_magic("pinfo2" if detail_level else "pinfo", name)

    def _knows(self, name: str) -> bool:
        """Whether the child or the kernel has something of that name."""
        found = self._session.inspect(name, len(name)) if self._session is not None else {}
        return bool(found.get("found") or self._shell.object_inspect(name)["found"])

    def _is_task(self, cell: str) -> bool:
        """Whether it is a task here: also `name?` where nothing has that name."""
        asked = _HELP.fullmatch(cell)
        if asked is None or asked[1] or not asked["name"].isidentifier():
            return is_task(cell)
        return not self._knows(asked["name"])

    @property
    def _shell(self) -> Any:
        return self.shell

    @property
    def _session(self) -> Session | None:
        return getattr(self.shell, "smol_session", None)

    async def do_execute(
        self,
        code: str,
        silent: bool,
        store_history: bool = True,
        user_expressions: dict[str, Any] | None = None,
        allow_stdin: bool = False,
        *,
        cell_meta: dict[str, Any] | None = None,
        cell_id: str | None = None,
    ) -> dict[str, Any]:
        """Run a cell. A silent one is a front end's own Python, never a task."""
        if not silent and self._shell.find_cell_magic("agent") is None and self._is_task(code):
            self._load_agent()  # not while the cell is transformed: it adds transformers
        token = _client_cell.set(None if silent else code)
        try:
            return await super().do_execute(
                code, silent, store_history, user_expressions, allow_stdin, cell_meta=cell_meta, cell_id=cell_id
            )
        finally:
            _client_cell.reset(token)

    def do_complete(self, code: str, cursor_pos: int | None) -> dict[str, Any]:
        """Complete in the namespace where the cell runs: the child's, the host's for `%%host` and magics."""
        cursor = len(code) if cursor_pos is None else cursor_pos
        if _runs_in_child(code, cursor) and self._session is not None:
            reply = _within_python(code, cursor, self._session.complete)
            return _without_magics(reply) if is_task(code) else reply
        return _within_python(code, cursor, super().do_complete)

    def do_inspect(self, code: str, cursor_pos: int, detail_level: int = 0, omit_sections: Any = ()) -> dict[str, Any]:
        """Look a name up in the namespace where the cell runs."""
        if _runs_in_child(code, cursor_pos) and self._session is not None:
            start = _python_start(code, cursor_pos)
            return self._session.inspect(code[start:], cursor_pos - start, detail_level)
        return super().do_inspect(code, cursor_pos, detail_level, omit_sections)

    def do_is_complete(self, code: str) -> dict[str, Any]:
        """A task is complete as it stands; `%%py` and `%%host` cells are judged as Python."""
        magic, start = _split(code)
        if magic in ("%%py", "%%host"):
            body = code[start:]
            return super().do_is_complete(body) if body.strip() else {"status": "incomplete", "indent": ""}
        if is_task(code):
            return {"status": "complete"}
        return super().do_is_complete(code)

    def do_shutdown(self, restart: bool) -> dict[str, Any]:
        """End the child with this kernel."""
        if self._session is not None:
            self._session.close()
        return super().do_shutdown(restart)

    def _transform(self, lines: list[str]) -> list[str]:
        cell = _client_cell.get()
        if cell is None or "".join(lines).rstrip("\n") != cell.rstrip("\n"):
            return lines
        if self._is_task(cell):
            if self._leaves(cell) or (_PARAMETERS.match(cell) and is_python(cell)):
                return lines
            if self._shell.find_cell_magic("agent") is None:
                raise self._hindrance
            if is_python(cell):
                raise Refusal(_PYTHON)
            return ["%%agent --continue\n", *lines]
        if asked := _HELP.fullmatch(cell):
            return [f"get_ipython().kernel.show_help({asked['name']!r}, {int('??' in cell)})\n"]
        magic, start = _split(cell)
        if magic != "%%host":
            return lines
        if rest := cell[:start].splitlines()[-1].partition(magic)[2].strip():
            raise Refusal(_NO_OPTIONS.format(rest))
        body = cell[start:].splitlines(keepends=True)
        # Comments keep the line numbers of tracebacks right; a cell magic must come first, though.
        return body if body and body[0].startswith("%%") else [*["# %%host\n"] * cell.count("\n", 0, start), *body]

    def _leaves(self, cell: str) -> bool:
        """Whether a console is to end; a page, which tells its cells' ids, and what asks nobody have no such word."""
        request = self._shell.get_parent()
        asks = "cellId" not in request["metadata"] and request["content"].get("allow_stdin")
        return bool(asks) and cell.strip() in _LEAVE

    def _load_agent(self) -> None:
        """Load once more what gave no agent when the kernel started; what hinders it went to the kernel's log alone."""
        self._hindrance = Refusal(_NO_AGENT)
        try:
            for extension in getattr(self.parent, "extra_extensions", []):
                self._shell.extension_manager.load_extension(extension)
        except Exception as error:  # noqa: BLE001 - boundary: the extension's; the cell shows it
            self._hindrance = error


def _split(cell: str) -> tuple[str, int]:
    """The cell magic a cell begins with, and where its body starts; an empty string and 0 where there is none."""
    found = _CELL_MAGIC.match(cell)
    return (found[1], found.end() + 1) if found else ("", 0)


def is_task(cell: str) -> bool:
    """True for text; False for an empty cell, and for what is written in IPython's own signs."""
    text = cell.strip()
    return bool(text) and text[0] not in "%!" and not _CELL_MAGIC.match(text) and not _HELP.fullmatch(text)


def is_python(cell: str) -> bool:
    """Whether a cell is Python that does something, and is not likely to be words."""
    code = _OF_IPYTHON.sub("", textwrap.dedent(cell))
    with suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        body = parsed(code).body
        first = body[0].value if body and isinstance(body[0], ast.Expr) else None
        if len(body) > 1 and isinstance(first, ast.Name) and not first.id.islower():
            return False  # "Explain", and code below it
        if len(body) == 1 and (_is_word_in_parentheses(first, code) or _is_unknown_import(body[0])):
            return False
        return any(map(_does_something, body))
    return False


def _does_something(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.AnnAssign):  # "Goal: profit = revenue - cost" is one as well
        kind = statement.annotation
        if isinstance(kind, ast.Name):
            return isinstance(getattr(builtins, kind.id, None), type)
        return isinstance(kind, ast.Attribute | ast.Subscript)
    value = statement.value if isinstance(statement, ast.Expr) else None
    if isinstance(value, ast.Await):
        value = value.value
    return isinstance(value, ast.Call) or not isinstance(statement, _WORDS)


def _is_word_in_parentheses(value: ast.expr | None, code: str) -> bool:
    """Whether it is of the kind of "Revenue (2023)"."""
    called = value.func if isinstance(value, ast.Call) else None
    return isinstance(called, ast.Name) and not hasattr(builtins, called.id) and f"{called.id} (" in code


def _is_unknown_import(statement: ast.stmt) -> bool:
    """Whether it is of the kind of "import sales": nothing of that name is installed."""
    if not isinstance(statement, ast.Import) or len(statement.names) != 1 or statement.names[0].asname:
        return False
    name = statement.names[0].name.partition(".")[0]
    return name not in sys.modules and find_spec(name) is None


def _runs_in_child(cell: str, cursor: int) -> bool:
    """Whether what the cursor stands in is looked up in the child: the body of `%%py`, and a task."""
    magic, start = _split(cell)
    if magic:
        return magic == "%%py" and cursor >= start
    return cell.strip()[:1] not in ("%", "!", "?")


def _python_start(cell: str, cursor: int) -> int:
    """Where the Python that the cursor stands in begins: the body of a cell magic, or a task's current line."""
    magic, start = _split(cell)
    if magic:
        return start if cursor >= start else 0
    return cell.rfind("\n", 0, cursor) + 1


def _within_python(cell: str, cursor: int, complete: Callable[[str, int], dict[str, Any]]) -> dict[str, Any]:
    """A completion of the part of `cell` that is Python, its positions counted from the start of the cell."""
    start = _python_start(cell, cursor)
    reply = complete(cell[start:], cursor - start)
    reply["cursor_start"] += start
    reply["cursor_end"] += start
    for typed in reply.get("metadata", {}).get("_jupyter_types_experimental", []):
        typed["start"] += start
        typed["end"] += start
    return reply


def _without_magics(reply: dict[str, Any]) -> dict[str, Any]:
    """A completion without those of magics, which a task has no place for."""
    metadata = reply.get("metadata", {})
    types = metadata.get("_jupyter_types_experimental", [])
    kept = [each for each in types if not str(each.get("text", "")).startswith("%")]
    return {
        **reply,
        "matches": [match for match in reply["matches"] if not match.startswith("%")],
        "metadata": {**metadata, "_jupyter_types_experimental": kept} if types else metadata,
    }


def launch() -> None:
    """Start the kernel that the command line describes (`-f CONNECTION_FILE`, `--ext NAME`) and serve until it ends."""
    IPKernelApp.launch_instance(kernel_class=AgentKernel)
