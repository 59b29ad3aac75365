"""Whether a statement made calls of tools for what they do, by what they were given and gave back. Used by `slice`.

In doubt it did: a look that is kept costs a line, a change that is left out may make a later call answer otherwise.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Set

from smol_kernel.render.records import StepRecord, texts_among
from smol_kernel.runs.names import called
from smol_kernel.runs.sql_reading import changes, reads

_DONE = re.compile(r"None|(?:bool np\.)?(?:True|False)_?")
"""What a tool gives back that was called for what it does, as its record has it."""
_FEW = re.compile(
    r"['\"]?[\[\](){},\s]*(?:np\.u?int\d+\()?(?:-?\d+)?[\[\](){},\s]*['\"]?"
    r"|'?\{(?:['\"]\w+['\"]: ?(?:-?\d+|[Tt]rue|[Ff]alse|None|null)(?:, ?)?)+\}'?"
    r"|(?:DataFrame|Table) (?:0 x \d+|1 x 1), .*|Series of 0 items, .*|ndarray 0, .*"
)
"""Nothing, one whole number, also in brackets, or whole numbers by their names."""
_FILE = re.compile(r"'[^\s'\\]+\.\w{2,5}'")
_SAYS = re.compile(
    r"\b(?:ok|okay|done|success\w*|succeeded|completed|created|saved|sent|wrote|written|stored|inserted|added|updated"
    r"|deleted|removed|uploaded|queued|scheduled|booked|posted|published|registered|recorded|moved|copied|renamed"
    r"|changed|committed|executed|accepted|submitted|affected|confirmed|cancell?ed)\b",
    re.IGNORECASE,
)
_SHORT = 100
"""Characters of a text or a dict that says so."""
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.GeneratorExp)
_FOR_EACH = frozenset(["gather", "list", "map", "submit", "wait", "create_task"])
"""Functions that call what they are given, or have it called."""


class MadeForEffect:
    """The calls of one step that may have been made for what they do."""

    def __init__(self, step: StepRecord) -> None:
        self._calls: dict[str, dict[tuple[str, ...], bool]] = {}
        """Tool → the texts that it was given → whether it was, also where what it gave is read."""
        self._recorded = {(call.tool, tuple(call.texts)) for call in step.calls}
        for call in step.calls:
            if call.tool != "input" and call.ok is not False:
                done = _DONE.fullmatch(call.result) or any(map(changes, call.texts))
                if done or not any(map(reads, call.texts)):
                    found, texts = self._calls.setdefault(call.tool, {}), tuple(call.texts)
                    found[texts] = found.get(texts, False) or bool(done) or _acknowledges(call.result)
        self._any = {tool: any(found.values()) for tool, found in self._calls.items()}

    def has(self, statement: ast.stmt, tools: Set[str], unread: Set[str], bound: Set[str]) -> bool:
        """Whether the statement, which may call these tools, made such a call; of those in `unread` it does not read
        what they give. Names that are `bound` may be functions that call tools."""
        for tool in tools & self._calls.keys():
            given = _written_out(statement, tool, bound)
            calls = self._calls[tool]
            if given is None or any((tool, each) not in self._recorded for each in given):
                made = self._any[tool] or tool in unread
            else:
                made = any(calls[each] or tool in unread for each in given if each in calls)
            if made:
                return True
        return False


def unread_in(statement: ast.stmt, is_shown: bool) -> set[str]:
    """What is called in it, also for each item of something, without anything being done with what that gives.
    `is_shown`: its own value is."""
    found: set[str] = set()
    for node in ast.walk(statement):
        is_alone = isinstance(node, ast.Expr) and not (is_shown and node is statement)
        if isinstance(node, (ast.Expr, ast.Assign)) and (is_alone or _is_thrown_away(node)):
            found |= _called_for_nothing(node.value)
    return found - {""}


def _is_thrown_away(node: ast.stmt) -> bool:
    """Whether it is `_ = …`."""
    return isinstance(node, ast.Assign) and [getattr(target, "id", "") for target in node.targets] == ["_"]


def _called_for_nothing(value: ast.expr) -> set[str]:
    """What is called where nobody reads this value."""
    if isinstance(value, (*_COMPREHENSIONS, ast.Await)):
        return _called_for_nothing(value.value if isinstance(value, ast.Await) else value.elt)
    if isinstance(value, ast.DictComp):
        return _called_for_nothing(value.value)
    if isinstance(value, ast.BoolOp):
        return _called_for_nothing(value.values[-1])
    if called(value) in _FOR_EACH:
        return {node.id for node in ast.walk(value) if isinstance(node, ast.Name)}
    return {called(value)}


def _written_out(statement: ast.stmt, tool: str, bound: Set[str]) -> list[tuple[str, ...]] | None:
    """The texts that the tool is given by each call in the statement; None if they are not all written out there."""
    found: list[tuple[str, ...]] = []
    named = 0
    for node in ast.walk(statement):
        named += isinstance(node, ast.Name) and node.id == tool
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        values = [*node.args, *(keyword.value for keyword in node.keywords)]
        if node.func.id == tool and all(isinstance(value, ast.Constant) for value in values):
            found.append(tuple(texts_among(getattr(value, "value", None) for value in values)))
        elif node.func.id in bound:
            return None
    return found if len(found) == named > 0 else None


def _acknowledges(result: str) -> bool:
    """Whether what came back may be a word that it was done: nothing, a whole number, a short text that says so."""
    if _FEW.fullmatch(result) or _FILE.fullmatch(result):
        return True
    return len(result) <= _SHORT and result[:1] in "'\"{" and "\\n" not in result and _SAYS.search(result) is not None
