"""Agents as folders: `save` and `from_folder`, laid out as smolagents 1.26 does; `to_dict` and `from_dict` beside them.

agent.json         the settings; tools and agents by name
prompts.yaml       the prompt templates, to be read and edited
requirements.txt   the packages it needs
app.py             runs the agent on a task from the command line
tools/NAME.py      each tool as a module
managed_agents/NAME/, handoffs/NAME/   the agents it may call, each such a folder
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from smol_kernel.agents.multi_step import MultiStepAgent
from smol_kernel.errors import ConfigError, MissingDependencyError
from smol_kernel.runs.agent_from_dict import CLASSES, check_version, make
from smol_kernel.runs.agent_to_dict import OTHERS, describe, name_of

_APP = '''"""Runs this agent on a task: python app.py "the task"."""

import sys
from pathlib import Path

from smol_kernel import {kind}

{variable} = {kind}.from_folder(Path(__file__).parent){hint}

if __name__ == "__main__":
    print({variable}.run(" ".join(sys.argv[1:]) or input("Task: ")))
'''


def to_dict(agent: MultiStepAgent) -> dict[str, Any]:
    """The agent as plain data, fit for JSON: its settings, its tools as source, its model without keys, its agents.

    Warns of what had to be left out (callbacks and other functions, an executor or a model of the user's own) and
    names it in `left_out`. Raises ToolError for a tool that cannot be written as source, ConfigError where a key
    stands in a text that would be written.
    """
    data, notes = describe(agent)
    _warn(notes)
    return data


def from_dict(cls: type[MultiStepAgent], agent_dict: Mapping[str, Any], **kwargs: Any) -> Any:
    """The agent that `to_dict` of this package, or of smolagents 1.26, described.

    `kwargs` are parameters of the agent, in place of what the dict says. The dict names the class; `cls` counts where
    it is a subclass of that, or has that very name. A `model` given here also serves those of its agents whose own
    cannot be made again. The tools' code is run in this process. Raises ConfigError, ModelError or ToolError for what
    cannot be made, and says what to pass.
    """
    agent, notes = make(cls, agent_dict, kwargs)
    _warn(notes)
    return agent


def save(agent: MultiStepAgent, output_dir: str | Path, relative_path: str | None = None) -> None:
    """Write the agent into the folder `output_dir`, which is made if it is missing; other files in it stay.

    Nothing is written unless all can be; `agent.json` comes last. `relative_path` is there because smolagents has it:
    what is written here finds its files by itself. Raises as `to_dict` does, and ConfigError where the folder cannot be
    written.
    """
    data, notes = describe(agent)
    files = dict(_files(data, PurePosixPath()))
    folder = Path(output_dir).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        ready = Path(tempfile.mkdtemp(prefix=".saving-", dir=folder))
        try:
            for number, text in enumerate(files.values()):
                (ready / str(number)).write_text(text, encoding="utf-8", newline="\n")
            for number, place in enumerate(files):
                target = folder / place
                target.parent.mkdir(parents=True, exist_ok=True)
                if target.name != "__init__.py" or not target.exists():
                    os.replace(ready / str(number), target)
        finally:
            shutil.rmtree(ready, ignore_errors=True)
    except (OSError, UnicodeEncodeError) as error:
        raise ConfigError(f"{name_of(agent)} cannot be written to {str(output_dir)!r}: {error}") from error
    _warn(notes)


def from_folder(cls: type[MultiStepAgent], folder: str | Path, **kwargs: Any) -> Any:
    """The agent that `save`, of this package or of smolagents 1.26, wrote; `kwargs` as in `from_dict`.

    The prompts are those of `prompts.yaml` where it is there. The tools' code is run in this process: load what you
    trust. Raises as `from_dict` does, and ConfigError for a file that is missing or cannot be read.
    """
    agent, notes = make(cls, _read(Path(folder), kwargs), kwargs)
    _warn(notes)
    return agent


def _warn(notes: list[str]) -> None:
    for note in notes:
        warnings.warn(note, UserWarning, stacklevel=4)  # the line that called the agent's method


# -- to files


def _files(data: Mapping[str, Any], base: PurePosixPath) -> Iterator[tuple[PurePosixPath, str]]:
    """Every file of a described agent below `base`, with its text: those of the agents it calls first."""
    settings, tools = dict(data), base / "tools"
    for parameter in OTHERS:
        settings[parameter] = {_plain_name(other): other["class"] for other in data[parameter]}
        for other in data[parameter]:
            yield base / parameter / "__init__.py", ""
            yield from _files(other, base / parameter / other["name"])
    settings["tools"] = [_plain_name(tool) for tool in data["tools"]]
    for tool in data["tools"]:
        yield tools / f"{tool['name']}.py", tool["code"]
    yield tools / "__init__.py", ""
    yield base / "__init__.py", ""
    yield base / "prompts.yaml", _yaml_text(data["prompt_templates"])
    yield base / "requirements.txt", "".join(f"{package}\n" for package in data["requirements"])
    yield base / "app.py", _app(data)
    yield base / "agent.json", json.dumps(settings, ensure_ascii=False, indent=2) + "\n"


def _plain_name(part: Any) -> str:
    name = part.get("name") if isinstance(part, Mapping) else part
    if not isinstance(name, str) or not name.isidentifier():
        raise ConfigError(f"{name!r} cannot be the name of a file: tools and agents are called as in Python")
    return name


def _app(data: Mapping[str, Any]) -> str:
    kind = data["class"] if data["class"] in CLASSES else MultiStepAgent.__name__
    hints = [f"use {data['class']} in place of {kind}"] if kind != data["class"] else []
    if data.get("left_out"):
        hints.append(f"pass what it was saved without: {', '.join(f'{name}=' for name in data['left_out'])}")
    hint = f"  # {'; '.join(hints)}" if hints else ""
    return _APP.format(kind=kind, variable=f"agent_{data['name']}" if data["name"] else "agent", hint=hint)


def _yaml() -> Any:
    try:
        import yaml
    except ImportError as error:
        raise MissingDependencyError("prompts.yaml needs PyYAML: pip install pyyaml") from error
    return yaml


def _yaml_text(templates: Mapping[str, Any]) -> str:
    yaml = _yaml()

    class Dumper(yaml.SafeDumper):
        """Writes texts of several lines as such."""

    def text_node(dumper: Any, text: str) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

    Dumper.add_representer(str, text_node)
    return yaml.dump(dict(templates), Dumper=Dumper, allow_unicode=True, sort_keys=False, width=float("inf"))


# -- from files


def _read(folder: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """The dict of the agent in `folder`; without the parts that are `given` otherwise."""
    place = folder / "agent.json"
    text = _text(place, "this is no folder of a saved agent")
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{str(place)!r} is no JSON: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{str(place)!r} holds no agent: it has to be an object, not {data!r:.80}")
    check_version(data)
    data["tools"] = [] if "tools" in given else [_tool(folder, tool) for tool in _each(data, "tools", place)]
    for parameter in OTHERS:
        names = [] if parameter in given else _each(data, parameter, place)
        data[parameter] = [_read(folder / parameter / _plain_name(name), {}) for name in names]
    if "prompt_templates" not in given and (folder / "prompts.yaml").exists():
        data["prompt_templates"] = _prompts(folder / "prompts.yaml")
    return data


def _each(data: dict[str, Any], name: str, place: Path) -> list[Any]:
    value = data.get(name) or []
    if not isinstance(value, (list, dict)):
        raise ConfigError(f"{str(place)!r}: {name} has to hold names, not {value!r:.80}")
    return list(value)


def _tool(folder: Path, name: Any) -> dict[str, Any]:
    path = folder / "tools" / f"{_plain_name(name)}.py"
    return {"name": name, "code": _text(path, f"agent.json names the tool {name!r}: restore it, or pass tools=")}


def _prompts(path: Path) -> Any:
    yaml = _yaml()
    try:
        templates = yaml.safe_load(_text(path, "the prompts are gone"))
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{str(path)!r} is no YAML: {error}. Correct it, or remove it to have those saved") from error
    if not isinstance(templates, dict):
        raise ConfigError(f"{str(path)!r} has to hold prompt templates by their names, not {templates!r:.80}")
    return templates


def _text(path: Path, missing: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"there is no {str(path)!r}: {missing}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{str(path)!r} cannot be read: {error}") from error
