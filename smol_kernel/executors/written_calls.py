"""A structured call as a line of Python, which does what the call does. Called by `tool_calls.py`."""

from __future__ import annotations

import itertools
import keyword
from collections.abc import Callable, Container
from typing import Any, cast

from smol_kernel.executors.observation import truncate

_LONGEST_UNREAD = 2_000
"""Characters that are shown of a call that cannot be read."""


def as_python(name: str, given: dict[str, Any], variable: Callable[[str], str]) -> str:
    """The call of a tool with these arguments. `variable` tells the name, in Python, of what an argument stands for; ""
    if it is the text itself."""

    def written(argument: str, value: Any) -> str:
        if argument == "additional_args" and isinstance(value, dict):
            inner = (f"{key!r}: {written('', each)}" for key, each in cast("dict[Any, Any]", value).items())
            return "{" + ", ".join(inner) + "}"
        return (isinstance(value, str) and variable(value)) or repr(value)

    return f"{name}({', '.join(f'{argument}={written(argument, value)}' for argument, value in given.items())})"


def as_written(name: str, arguments: Any) -> str:
    """A call that cannot be read, or not be made, as the model wrote it."""
    given: Any = {} if arguments in (None, "") else arguments
    line = as_python(name, given, lambda _: "") if isinstance(given, dict) else f"{name}({given!r})"
    return truncate(line, _LONGEST_UNREAD)


def free_name(kind: str, taken: Container[str]) -> str:
    """A name for a value of this kind that is not `taken`."""
    return next(name for name in (f"{kind}_{number}" for number in itertools.count(1)) if name not in taken)


def is_name(text: Any) -> bool:
    """Whether it can be the name of a variable."""
    return isinstance(text, str) and text.isidentifier() and not keyword.iskeyword(text)
