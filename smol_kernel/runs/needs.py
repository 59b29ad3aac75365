"""What finished work calls that is no function of the user's: the code that makes such names, and what is said of them.

Called where the cells are written into a notebook or a file, and by what proves them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, Literal

from smol_kernel.events import HandedOff
from smol_kernel.render.markdown import name_markdown
from smol_kernel.render.plain import listed
from smol_kernel.render.transcript import Transcript
from smol_kernel.runs.names import Names
from smol_kernel.runs.script import ScriptCell
from smol_kernel.runs.source import Source

BUILT_IN = frozenset(
    ["DuckDuckGoSearchTool", "PythonInterpreterTool", "UserInputTool", "VisitWebpageTool", "WikipediaSearchTool"]
)
"""Classes of built-in tools that `--tool` makes."""
_ARGUMENTS = {"PythonInterpreterTool": "timeout_seconds=300"}
"""What `--tool` makes a tool with if no option says otherwise."""
_OWN = ("final_answer", "input")
"""Names that the cells do not call as tools."""


@dataclass(frozen=True)
class Need:
    """A tool that is called, and where it came from as far as the record tells."""

    name: str
    kind: Literal["tool", "built-in", "mcp", "agent", "hand-off"] = "tool"
    source: str = ""
    """The class that makes a built-in tool as it was; the notebook's variable that held a tool or an agent; the agent
    that was handed over to."""

    @property
    def words(self) -> str:
        """What it is."""
        variable = f", {name_markdown(self.source)} in the notebook" if self.source else ""
        if self.kind == "built-in":
            code = f"{_import([self.source])}; {self.line}" if self.line else "--tool"
            return f"a built-in tool ({name_markdown(code)})"
        if self.kind == "mcp":
            return "a tool of an MCP server (`--mcp`)"
        if self.kind == "agent":
            return f"an agent{variable}; each call has it work anew, and asks its model"
        if self.kind == "hand-off":
            return f"a hand-off to the agent {name_markdown(self.source)}; there is none outside of a run"
        return f"a tool{variable or ', a function of yours'}"

    @property
    def line(self) -> str:
        """What makes a built-in tool. Its method alone: a tool in a variable would be offered to all later runs."""
        made = f"{self.source}({_ARGUMENTS.get(self.source, '')})"
        return f"{self.name} = {made}.forward" if self.kind == "built-in" and self.source else ""

    def line_in(self, variables: Mapping[str, Any]) -> str:
        """What gives the name its value in a notebook with these variables; empty where nothing simple does, and where
        it has a value that is something else."""
        if self.name in variables and not self.is_in(variables):
            return ""
        known = self.source != self.name and self._is(variables.get(self.source))
        return self.line or (f"{self.name} = {self.source}" if known else "")

    def is_in(self, variables: Mapping[str, Any]) -> bool:
        """Whether a variable of that name is it."""
        if self == Need(self.name):  # all that is known of it is its name
            return self.name in variables
        return self._is(variables.get(self.name))

    def _is(self, value: Any) -> bool:
        return callable(value) and getattr(getattr(value, "__self__", value), "name", None) == self.name


def need(name: str, transcript: Transcript) -> Need:
    """What the tool of this name was in the run."""
    given = transcript.origin.get("given")
    told = given.get(name) if isinstance(given, dict) else None
    option, _, source = told.partition(" ") if isinstance(told, str) else ("", "", "")
    if option == "--tool":
        return Need(name, "built-in", source if source in BUILT_IN else "")
    if option == "--mcp":
        return Need(name, "mcp")
    source = source if source.isidentifier() and option in ("--agent", "variable") else ""
    steps = transcript.steps
    if option == "--agent" or any(call.tool == name and call.runs for step in steps for call in step.calls):
        return Need(name, "agent", source)
    notes = [*transcript.rows, *(note for step in steps for note in (*step.beforehand, *step.notes))]
    for note in notes:
        if isinstance(note, HandedOff) and name == f"transfer_to_{note.agent}":
            return Need(name, "hand-off", note.agent)
    return Need(name, source=source)


def needs(codes: Iterable[tuple[int, str]], transcript: Transcript) -> list[Need]:
    """The tools that the code reads, each part with the number of its step."""
    codes = list(codes)
    numbers = {number for number, _ in codes}
    called = {call.tool for step in transcript.steps if step.number in numbers for call in step.calls}
    read = _names(codes, called)
    return [need(name, transcript) for name in transcript.tools if name in read and name not in _OWN]


def _names(codes: Iterable[tuple[int, str]], called: Set[str] = frozenset()) -> set[str]:
    """The global names that the code reads and, but for those `called`, does not bind."""
    names = Names()
    for _, code in codes:
        source = Source(code)
        names.read(source, source.body or ())
    return ({*names.spans} | names.unplaced) - (names.bound - called)


def from_record(cells: Sequence[ScriptCell], transcript: Transcript) -> str:
    """What a proof of the cells says besides: that calls of what is no function of the user's were not made."""
    found = [name_markdown(each.name) for each in needs(_sources(cells), transcript) if each.kind != "tool"]
    return f"; calls of {listed(found)} were answered from the record" if found else ""


def called_again(cells: Sequence[ScriptCell], transcript: Transcript) -> str:
    """What a proof of the cells says besides: that they make calls which an earlier run had made."""
    steps = {step.number: step for step in transcript.steps if step.is_earlier}
    sources = [(number, source) for number, source in _sources(cells) if number in steps]
    called = {call.tool for number, _ in sources for call in steps[number].calls}
    found = [name_markdown(each.name) for each in needs(sources, transcript) if each.name in called]
    return f"; when you run them, they call {listed(found)} once more, as an earlier run had" if found else ""


def made_in(cells: Sequence[ScriptCell], transcript: Transcript) -> set[str]:
    """Names of the built-in tools that `with_making` has the cells make."""
    lines = {line for _, source in _sources(cells) for line in source.split("\n")}
    return {name for name in transcript.tools if need(name, transcript).line in lines - {""}}


def making(found: Sequence[Need]) -> str:
    """The code that makes the built-in tools among them; empty if there are none."""
    return _code([each for each in found if each.line], [each.line for each in found if each.line])


def with_making(cells: Sequence[ScriptCell], transcript: Transcript) -> list[ScriptCell]:
    """The cells of a file, with one that makes the built-in tools that they call."""
    return _before_code(cells, making(needs(_sources(cells), transcript)))


def with_needs(cells: Sequence[ScriptCell], transcript: Transcript, variables: Mapping[str, Any]) -> list[ScriptCell]:
    """The cells for a notebook with these variables, with one that makes the names it lacks. The first says what has to
    be defined before, and which calls ask a model."""
    found = needs(_sources(cells), transcript)
    lines = {each: line for each in found if (line := each.line_in(variables))}
    read = _names(_sources(cells))
    said = [
        f"Before you run these cells, define {name_markdown(name)}, which was handed in."
        for name in transcript.inputs
        if name in read and name not in variables
    ]
    for each in found:
        recipe = each.source or each.name
        if each not in lines and not each.is_in(variables):
            what = each.words if each != Need(each.name) else "a tool of this run"
            if each.kind == "agent" and hasattr(variables.get(recipe), "make"):
                what = f"an agent, as {name_markdown(f'{recipe}.make()')} makes one; each call asks its model"
            said.append(f"Before you run these cells, define {name_markdown(each.name)}: {what}.")
        elif getattr(there := variables.get(each.name, variables.get(each.source)), "is_async", False):
            said.append(f"{name_markdown(each.name)} is async: write `await` before its calls.")
        elif gives := _gives(there):
            said.append(f"{name_markdown(each.name)} gives {gives} around its calls.")
        elif each.kind == "agent":
            said.append(f"{name_markdown(each.name)} is an agent: each call has it work anew, and asks its model.")
    cells = _before_code(cells, _code(list(lines), list(lines.values())))
    if said and cells[0].kind == "markdown":
        cells[0] = replace(cells[0], source="\n\n".join([cells[0].source, *said]))
    return cells


def _gives(tool: Any) -> str:
    """What a tool that is a generator gives in a cell, where an action has a list, and what to write there."""
    if inspect.isgeneratorfunction(function := getattr(tool, "forward", None)):
        return "a generator: write `list(…)`"
    return "an async generator: write `[each async for each in …]`" if inspect.isasyncgenfunction(function) else ""


def _before_code(cells: Sequence[ScriptCell], code: str) -> list[ScriptCell]:
    found = list(cells)
    if code:
        place = next(at for at, cell in enumerate(found) if cell.kind == "code")
        found.insert(place, ScriptCell("code", code, found[place].step))
    return found


def _code(made: Sequence[Need], lines: Sequence[str]) -> str:
    built_in = sorted({each.source for each in made if each.kind == "built-in"})
    return "\n".join([*([_import(built_in), ""] if built_in else []), *lines])


def _import(classes: Sequence[str]) -> str:
    return f"from smol_kernel import {', '.join(classes)}"


def _sources(cells: Sequence[ScriptCell]) -> list[tuple[int, str]]:
    return [(cell.step, cell.source) for cell in cells if cell.kind == "code"]
