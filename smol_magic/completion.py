"""Completes what stands in the first line: commands of `%agent`, options of `%%agent` and what may follow each.

Registered by `magics` with IPython's completer, whose own guesses are of no use there.
"""

from __future__ import annotations

from argparse import Action, ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.completer import CompletionContext, SimpleCompletion, context_matcher

from smol_magic.namespace import variables

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


IDENTIFIER = "smol_magic"


def install(shell: InteractiveShell, commands: Sequence[str], runs: Callable[[], list[str]]) -> None:
    """Have `shell` complete our lines; `commands` are those of `%agent`, `runs` gives ids for those that take one."""

    @context_matcher(identifier=IDENTIFIER, priority=10_000)  # pyright: ignore[reportUntypedFunctionDecorator]
    def complete(
        context: CompletionContext,
    ) -> dict[str, Any]:  # a SimpleMatcherResult, most of whose keys may be left out
        line = context.line_with_cursor[: context.cursor_position]
        words = line.split()
        if not line.startswith(("%agent ", "%%agent ")):
            return {"completions": []}
        symbol = "" if line.endswith(" ") else words.pop()
        found = [name for name in _offered(words, commands, runs, shell.user_ns) if name.startswith(symbol)]
        # what the completer takes for the word under the cursor may begin behind the dashes
        start = len(symbol) - len(context.token) if symbol.endswith(context.token) else 0
        return {"completions": [SimpleCompletion(name[start:], type="agent") for name in found], "suppress": True}

    _matchers(shell).append(complete)


def uninstall(shell: InteractiveShell) -> None:
    """Undo `install`."""
    matchers = _matchers(shell)
    matchers[:] = [matcher for matcher in matchers if getattr(matcher, "matcher_identifier", "") != IDENTIFIER]


def _matchers(shell: Any) -> list[Any]:
    return shell.Completer.custom_matchers


def _offered(
    words: list[str], commands: Sequence[str], runs: Callable[[], list[str]], namespace: dict[str, Any]
) -> list[str]:
    """What may follow these words."""
    if words == ["%agent"]:
        return list(commands)
    if words[0] == "%agent":
        if words[1:2] == ["files"]:
            return ["--to", "--overwrite"] if "save" in words else ["save"]
        if words[1:] in (["show"], ["resume"], ["fork"]):
            return runs()
        return _models(namespace) if words[-1] == "model" else []
    actions = _actions()
    last = next((action for action in actions if words[-1] in action.option_strings), None)
    if last is None or last.nargs == 0:
        return [option for action in actions for option in action.option_strings]
    return list(last.choices or _VALUES.get(last.dest, lambda _: [])(namespace))


def _models(namespace: dict[str, Any]) -> list[str]:
    from smol_kernel.models.base import Model

    return ["demo", *_of_kind(Model, namespace)]


def _agents(namespace: dict[str, Any]) -> list[str]:
    from smol_kernel.agents.managed_agent import AgentRecipe
    from smol_kernel.agents.multi_step import MultiStepAgent

    return _of_kind((MultiStepAgent, AgentRecipe), namespace)


def _of_kind(kind: Any, namespace: dict[str, Any]) -> list[str]:
    return [name for name in variables(namespace) if isinstance(namespace[name], kind)]


def _tools(_: dict[str, Any]) -> list[str]:
    from smol_kernel.config import TOOLS

    return list(TOOLS)


def _box_limits(_: dict[str, Any]) -> list[str]:
    from smol_kernel.config import BOX_LIMITS

    return [f"{name}=" for name in BOX_LIMITS]


def _paths(_: dict[str, Any]) -> list[str]:
    return sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in Path().iterdir())


_VALUES = {
    "inputs": variables,
    "images": variables,
    "models": _models,
    "agents": _agents,
    "tools": _tools,
    "mounts": _paths,
    "limits": _box_limits,
}
"""Option, by the name that it is read under → what may follow it; those with choices offer these."""


def _actions() -> list[Action]:
    """The options of `%%agent`."""
    from smol_kernel.config import add_options

    parser = ArgumentParser(add_help=False)
    add_options(parser)
    return parser._actions
