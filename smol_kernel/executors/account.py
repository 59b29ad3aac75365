"""The child's account of an action: its error, the value of its last statement, the names it leaves.

Travels into the child as source, for `child.py`; needs the standard library alone.
"""

from __future__ import annotations

import ast
from typing import Any

from . import tracebacks, values

VALUE_LIMIT = 8 << 20
"""Bytes of the last statement's value, encoded; a larger one stays here."""
MAX_PARTS = 4_000_000
"""Lists, dicts, items and names of a value that is sent to the host, which takes somewhat more in a message."""
HALF = 49_900
"""Characters of either end of a value's text."""
MAX_MESSAGE = 10_000
MAX_NAMES = 2_000


class Action:
    """What is noted of one action while it runs."""

    def __init__(self) -> None:
        self.nodes: list[ast.stmt] = []
        self.result: Any = None
        self.completed = 0
        self.running = 0
        """How deep statements run: an action may run further cells."""
        self.quiet = False
        """Whether it ends in a semicolon: IPython does not show its value then."""
        self.shown: str | None = None
        """The value of a last expression as IPython has shown it: to make its text once more may cost a query."""


class Account:
    """Puts into words what an action did. `shell` is IPython's."""

    def __init__(self, shell: Any, tracebacks: tracebacks.Tracebacks) -> None:
        self._shell, self._tracebacks = shell, tracebacks
        self.quiet = False
        """True: errors are not printed."""
        self.tools: list[str] = []
        """Names of those there are, which a variable of an action may hide."""

    def error(self, action: Action, error: BaseException) -> dict[str, str]:
        """What is told of an error."""
        kind = type(error).__name__
        if isinstance(error, SystemExit):
            hint = "the action called exit(). Code ends by itself; final_answer(...) gives the answer"
            return {"type": kind, "message": hint, "traceback": ""}
        message = tracebacks.message(error)
        if isinstance(error, SyntaxError) and error.filename:
            if not action.nodes:
                self._tracebacks.files.add(error.filename)  # IPython has named no other file for it yet
            message = f"{error.msg} (line {error.lineno})"
        return {
            "type": kind,
            "message": tracebacks.shorten(message, MAX_MESSAGE) + (hint := self._hint(error, message)),
            "traceback": self._tracebacks.text(error) + hint,
        }

    def _hint(self, error: BaseException, message: str) -> str:
        """Which tool a variable hides, where something was called that is no function."""
        if not isinstance(error, TypeError) or not message.endswith("is not callable"):
            return ""
        hiding = [name for name in self.tools if not callable(self._shell.user_ns.get(name, print))]
        return "".join(f". {name} is a variable now, which hides the tool: del {name} first" for name in hiding)

    def last_value(self, action: Action, result: Any) -> dict[str, Any]:
        """The value of the last statement: of an expression, or what an assignment gave to its names; and `handle`,
        the name it has here."""
        if not action.nodes or action.quiet:
            return {"value": None, "value_text": "", "text_left_out": 0}
        last = action.nodes[-1]
        if isinstance(last, ast.Expr):
            value, handle = result.result, "_"
        else:
            handle, value = self._assigned(last)
        shown = None if value is None or isinstance(value, str) or not isinstance(last, ast.Expr) else action.shown
        text, left_out = _ends(shown) if shown else self._plain(value)
        encoded = portable(value, handle, VALUE_LIMIT, text)
        return {"value": encoded, "value_text": text, "text_left_out": left_out, "handle": handle}

    def plain_text(self, value: Any) -> str:
        """The value as IPython shows it; text of several lines as it is."""
        text, left_out = self._plain(value)
        return f"{text[:HALF]} … {left_out:,} characters left out … {text[HALF:]}" if left_out else text

    def _plain(self, value: Any) -> tuple[str, int]:
        """That, its middle cut out where it is long; and how many characters that had."""
        if value is None:
            return "", 0
        if isinstance(value, str):
            if "\n" in value:
                return _ends(value)
            kept, before = _ends(value)
            text, left_out = _ends(repr(kept))
            return text, before + left_out
        self.quiet = True
        try:
            text = self._shell.display_formatter.formatters["text/plain"](value)
        finally:
            self.quiet = False
        return _ends(text or f"<{type(value).__name__} that cannot be shown>")

    def names(self) -> list[str]:
        """Names the action's author would know."""
        hidden = self._shell.user_ns_hidden
        names = [name for name in list(self._shell.user_ns) if isinstance(name, str)]
        return [name for name in names if not name.startswith("_") and name not in hidden][:MAX_NAMES]

    def _assigned(self, node: ast.stmt) -> tuple[str, Any]:
        """Name and value of an assignment; of one to an attribute or an item neither."""
        target = node.targets[-1] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if not isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            return "", None
        namespace = self._shell.user_ns
        if isinstance(target, ast.Name):
            return target.id, namespace.get(target.id)
        if isinstance(target, ast.Tuple) and all(isinstance(name, ast.Name) for name in target.elts):
            names = [name.id for name in target.elts if isinstance(name, ast.Name)]
            return tracebacks.shorten(", ".join(names), 200), tuple(namespace.get(name) for name in names)
        return "", None


def _ends(text: str) -> tuple[str, int]:
    """The text, its middle cut out if it has more than twice HALF characters; and how many that had."""
    left_out = len(text) - 2 * HALF
    return (text[:HALF] + text[-HALF:], left_out) if left_out > 0 else (text, 0)


def portable(
    value: Any, handle: str, limit: int, text: str | None = None, instead: values.Instead | None = None
) -> Any:
    """The value encoded, with `instead`; one that cannot cross, or takes more than `limit` bytes, as the RemoteValue of
    that handle, shown as `text` (None: its repr)."""
    try:
        if _size(value) > limit:
            raise values.NotPortable("is too large")
        return sendable(value, limit, instead)
    except values.NotPortable:
        return values.remote(value, handle, text)


def sendable(value: Any, limit: int, instead: values.Instead | None = None) -> Any:
    """The value encoded, with `instead`, as the host takes it. Raises NotPortable."""
    encoded = values.encode(value, limit=limit, instead=instead)
    if _parts(encoded) > MAX_PARTS:
        raise values.NotPortable(f"is too large to cross: its lists and dicts have over {MAX_PARTS:,} items and names")
    return encoded


def _parts(encoded: Any) -> int:
    """As many as `parsing` counts in its text: a list counts with its first item."""
    is_list = type(encoded) is list
    inner = encoded if is_list else encoded.values() if type(encoded) is dict else ()
    below = sum(_parts(each) for each in inner if type(each) is list or type(each) is dict)
    return max(1, len(inner) * (1 if is_list else 2)) + below


def _size(value: Any) -> int:
    """Bytes an array or a table holds at least; 0 for other values."""
    try:
        if type(value).__name__ == "DataFrame":
            return int(value.memory_usage().sum())
        return int(getattr(value, "nbytes", 0))
    except Exception:  # noqa: BLE001 - boundary: any class's own methods run here
        return 0
