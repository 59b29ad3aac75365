"""The notebook's variables as an agent sees them: inputs it is handed, images, tools and agents, the answer's name.

Called by the cells, on their own thread.
"""

from __future__ import annotations

import difflib
import keyword
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smol_magic.endings import CellError

if TYPE_CHECKING:
    from smol_kernel.agents.multi_step import MultiStepAgent
    from smol_kernel.config import RunOptions
    from smol_kernel.tools.base import Tool


_OF_IPYTHON = {"In", "Out", "exit", "get_ipython", "open", "quit"}
_ITS_HISTORY = re.compile(r"_+|_i{1,3}|_i?\d+|_[dio]h|__\w+__")
"""Names under which IPython keeps what was typed and shown, and those of Python."""


def as_python_reads(name: str) -> str:
    """A name as Python reads it in code: the micro sign `µ` as the Greek letter."""
    return unicodedata.normalize("NFKC", name)


def variables(namespace: Mapping[str, Any]) -> list[str]:
    """The names that a person gave."""
    return [name for name in namespace if not name.startswith("_") and name not in _OF_IPYTHON]


def inputs(names: Iterable[str], namespace: Mapping[str, Any]) -> dict[str, Any]:
    """The variables called `names`. Raises CellError for one that is not there or cannot be handed in."""
    from smol_kernel.config import TAKEN_NAMES

    found = {}
    for name in dict.fromkeys(map(as_python_reads, names)):
        if name in TAKEN_NAMES:
            why = f"actions need this name for something else ({TAKEN_NAMES[name]})"
            raise CellError(f"--in {name}: {why}. Give the variable another name.")
        found[name] = _variable(name, namespace, f"--in {name}")
        _check_crosses(name, found[name])
    return found


def check_no_tools(inputs: Iterable[str], agent: MultiStepAgent) -> None:
    """Raise ConfigError for a variable with the name of something that actions of `agent` can call."""
    from smol_kernel.agents.managed_agent import functions
    from smol_kernel.executors.tool_specs import check_variable

    if agent.writes_code:
        called = functions(agent)
        for name in inputs:
            check_variable(name, called)


def images(names: Iterable[str], namespace: Mapping[str, Any]) -> list[Any]:
    """The images that `names` are: variables, else files. Raises CellError for one that is neither."""
    return [_image(name, namespace) for name in names]


def _image(name: str, namespace: Mapping[str, Any]) -> Any:
    from smol_kernel.config import read_image
    from smol_kernel.errors import SmolError
    from smol_kernel.executors.values import a_name
    from smol_kernel.memory.rich_values import AgentImage

    try:
        variable = as_python_reads(name)
        if variable not in namespace:
            return read_image(Path(name).expanduser(), f"--image {name}")
        value = namespace[variable]
        if isinstance(value, str | Path):
            return read_image(Path(value).expanduser(), f"--image {name}")
        if not isinstance(value, bytes) and not hasattr(value, "__array_interface__"):  # PIL's images have it too
            raise CellError(f"--image {name}: variable {name!r} is {a_name(type(value))}, not an image or its file")
        return AgentImage(value).to_raw()
    except SmolError as error:
        raise CellError(str(error)) from None
    except OSError as error:  # Pillow's, for bytes that are no image
        raise CellError(f"--image {name}: {error}") from None


def agents(names: Iterable[str], namespace: Mapping[str, Any]) -> list[Any]:
    """The agents in the variables called `names`. Raises CellError for one that holds none."""
    from smol_kernel.agents.managed_agent import AgentRecipe
    from smol_kernel.agents.multi_step import MultiStepAgent
    from smol_kernel.executors.values import a_name

    found = []
    for name in dict.fromkeys(names):
        value = _variable(name, namespace, f"--agent {name}")
        if not isinstance(value, MultiStepAgent | AgentRecipe):
            raise CellError(f"--agent {name}: variable {name!r} is {a_name(type(value))}, not an agent")
        found.append(value)
    return found


def _variable(name: str, namespace: Mapping[str, Any], option: str) -> Any:
    name = as_python_reads(name)
    if name not in namespace:
        known = variables(namespace)
        same = [each for each in known if each.lower() == name.lower()]
        close = same or difflib.get_close_matches(name, known, n=3)
        guess = f" Did you mean {' or '.join(close)}?" if close else ""
        raise CellError(f"{option}: there is no variable {name!r} in this notebook.{guess}")
    return namespace[name]


def _check_crosses(name: str, value: Any) -> None:
    """Raise CellError for what would not reach the child. Tables and arrays are left to the run: they are large."""
    from smol_kernel.executors.pickles import encode_input
    from smol_kernel.executors.values import NotPortable

    if hasattr(type(value), "__array__"):
        return
    try:
        encode_input(value)
    except NotPortable as error:
        raise CellError(f"--in {name}: {error}") from None


def tools(namespace: Mapping[str, Any]) -> list[Tool]:
    """The tools defined in the notebook; where two have one name, the variable of that name decides."""
    from smol_kernel.tools.base import Tool

    found: dict[str, Tool] = {}
    for variable, value in namespace.items():
        if not isinstance(value, Tool) or variable.startswith("_"):
            continue
        if value.name not in found or variable == value.name:
            found[value.name] = value
    return list(found.values())


def given(
    options: RunOptions,
    agent: MultiStepAgent,
    own: Sequence[Tool],
    mcp: Sequence[Tool],
    agents: Sequence[Any],
    namespace: Mapping[str, Any],
) -> dict[str, Any]:
    """How what `agent` calls came to it, for the origin of its run; empty where all of it are the notebook's `own`
    tools, in variables of their names. And what `--tool python_interpreter` was made with."""
    from smol_kernel.config import given_by

    found = given_by(options, agent, [tool.name for tool in own], mcp)
    found |= {agent.name: f"--agent {name}" for name, agent in zip(dict.fromkeys(options.agents), agents, strict=True)}
    for tool in own:
        if namespace.get(tool.name) is not tool:
            name = next(name for name, value in namespace.items() if value is tool and not name.startswith("_"))
            found[tool.name] = f"variable {name}"
    return ({"given": found} if found else {}) | options.of_interpreter


def answer_name(name: str | None, given: Iterable[str], namespace: Mapping[str, Any]) -> str | None:
    """`name` as Python reads it, checked: one that is neither taken nor handed in (the cell could not be run twice)."""
    from smol_kernel.agents.managed_agent import AgentRecipe
    from smol_kernel.agents.multi_step import MultiStepAgent
    from smol_kernel.config import TAKEN_NAMES
    from smol_kernel.models.base import Model
    from smol_kernel.tools.base import Tool

    if name is None:
        return None
    name = as_python_reads(name)
    if not name.isidentifier() or keyword.iskeyword(name):
        raise CellError(f"-o {name}: {name!r} is not a Python name; write for instance -o answer")
    if name in given:
        raise CellError(f"-o {name}: {name!r} is handed in by --in and stays as it is; choose another name")
    if name in _OF_IPYTHON or _ITS_HISTORY.fullmatch(name):
        raise CellError(f"-o {name}: IPython needs this name for something else; choose another name")
    if name in TAKEN_NAMES:
        raise CellError(f"-o {name}: actions need this name for something else ({TAKEN_NAMES[name]}); choose another")
    for kind, what in ((Tool, "a tool"), (Model, "a model"), (MultiStepAgent | AgentRecipe, "an agent")):
        if isinstance(namespace.get(name), kind):
            raise CellError(f"-o {name}: {name!r} is {what}, which the answer would replace; choose another name")
    return name
