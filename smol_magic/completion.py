"""Completes what stands in the first line: commands of `%agent`, options of `%%agent`, variables after `--in`.

Registered by `magics` with IPython's completer.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from IPython.core.error import TryNext

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def install(shell: InteractiveShell, commands: Sequence[str]) -> None:
    """Have `shell` complete our lines; `commands` are those of `%agent`."""

    def complete(shell: Any, event: Any) -> list[str]:
        if getattr(shell, "smol_session", None) is None:  # unloaded: hooks cannot be taken back
            raise TryNext
        words = event.line.split()
        before = words[-1] if event.line.endswith(" ") else words[-2]
        if words[0] == "%agent":
            found = list(commands) if before == "%agent" else _models(shell.user_ns) if before == "model" else []
        elif before in ("--in", "-i"):
            found = [name for name in shell.user_ns if not name.startswith("_")]
        elif before in ("--model", "-m"):
            found = _models(shell.user_ns)
        else:
            found = _options()
        return [name for name in found if name.startswith(event.symbol)]

    for key in ("%agent", "%%agent"):
        shell.set_hook("complete_command", complete, str_key=key)


def _models(namespace: dict[str, Any]) -> list[str]:
    from smol_kernel.models.base import Model

    return ["demo", *(name for name, value in namespace.items() if isinstance(value, Model) and name[0] != "_")]


def _options() -> list[str]:
    from smol_kernel.config import add_options

    parser = ArgumentParser(add_help=False)
    add_options(parser)
    return [option for action in parser._actions for option in action.option_strings]
