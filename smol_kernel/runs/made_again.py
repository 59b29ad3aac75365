"""Makes the agent of a recorded run again, and what that was given, as far as it is recorded."""

from __future__ import annotations

import inspect
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Any

from smol_kernel.errors import ConfigError, ReplayError, SmolError
from smol_kernel.events import Event, InputsDigested, RunResumed, RunStarted
from smol_kernel.executors.kept_values import EncodedInput, digest_of, digest_of_medium, recorded_medium, recorded_value
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.summaries import cut
from smol_kernel.executors.values import MalformedValue
from smol_kernel.memory.budget import Budget
from smol_kernel.runs.recording import is_foreign
from smol_kernel.tools.rendering import foreign


def beginning(events: Sequence[Event]) -> RunStarted:
    """The start of the run that these events are of. Raises ReplayError for a record without."""
    if isinstance(events[0], RunStarted):
        return events[0]
    raise ReplayError(f"run {events[0].run} cannot be taken up: its recording does not begin with its start")


def told_last(events: Sequence[Event]) -> RunStarted:
    """The start of the run that these events are of, with the budget that it was given when it went on last."""
    started = beginning(events)
    again = [each for each in events if isinstance(each, RunResumed) and each.run == started.run and each.budget]
    return replace(started, settings={**started.settings, "budget": again[-1].budget}) if again else started


def has_foreign_templates(started: RunStarted) -> bool:
    """Whether the prompts of a run are made of templates that came with the record of somebody else."""
    return is_foreign(started) and bool(started.settings.get("given_templates"))


def made_again(
    kind: type[Any], started: RunStarted, model: Any, tools: Sequence[Any], given: Mapping[str, Any], accept: bool
) -> Any:
    """The agent of a recorded run. What came with the record of somebody else is not rendered before they `accept`."""
    if model is None:
        raise ConfigError(f"model= is missing: the run had {started.model!r}; a model is never kept, for it holds keys")
    if started.agent != kind.__name__:
        raise ReplayError(
            f"run {started.run} is of a {started.agent}, not of a {kind.__name__}: use {started.agent}.resume"
        )
    settings = dict(started.settings)
    if unknown := settings.keys() - set(kind.recorded_settings):
        raise ReplayError(f"the run was made with settings that do not fit: there is no {', '.join(sorted(unknown))}")
    templates = settings.pop("given_templates", None)
    if templates is not None and (accept or not has_foreign_templates(started)):
        settings["prompt_templates"] = foreign(templates) if has_foreign_templates(started) else templates
    chosen = {name: value for name, value in given.items() if value is not None}
    try:
        if isinstance(settings.get("budget"), dict):
            settings["budget"] = Budget(**settings["budget"])
        return kind(tools=tools, model=model, **{"max_steps": started.max_steps, **settings, **chosen})
    except SmolError:
        raise
    except (TypeError, ValueError) as error:
        if unknown := [name for name in chosen if name not in parameters(kind)]:
            raise ConfigError(f"{kind.__name__} has no parameter {unknown[0]!r}") from error
        # A record may be written by somebody else.
        raise ReplayError(f"the run was made with settings that do not fit: {error}") from error


def options_of_interpreter(runs: Sequence[RunStarted]) -> dict[str, Any]:
    """What `--tool python_interpreter` was made with in a conversation, its last run first, as options of a run. What
    the record of somebody else says opens nothing here."""
    own = [] if is_foreign(runs[0]) else [run.origin for run in runs if not is_foreign(run)]
    return next((origin["interpreter"] for origin in own if "interpreter" in origin), {})


def parameters(kind: type[Any]) -> set[str]:
    """What an agent of this class can be given, by its own `__init__` and those that this calls."""
    own = [inspect.signature(vars(each)["__init__"]) for each in kind.__mro__[:-1] if "__init__" in vars(each)]
    return {name for each in own for name in each.parameters}


def values_of(own: Sequence[Event]) -> dict[str, dict[str, Any]]:
    """What is recorded of the variables that a run was given, with the digests that came later."""
    started = beginning(own)
    values = {name: dict(kept) for name, kept in started.values.items()}
    for event in own:
        if isinstance(event, InputsDigested) and event.run == started.run:
            for name, digest in event.digests.items():
                values.setdefault(name, {})["digest"] = digest
    return values


def changed_since(run: RunStarted, found: Mapping[str, Any], *, in_child: bool) -> list[str]:
    """Those of the variables `found` that are not what a run was given, where that is recorded whole; what was pickled
    can be taken from the record only for use `in_child`."""
    kept = {name: run.values[name] for name in found if "value" in run.values.get(name, {})}
    return [
        name
        for name, of_it in kept.items()
        if digest_of(found[name]) != of_it.get("digest")
        and (in_child or not isinstance(recorded_value(of_it, for_child=False), EncodedInput))
    ]


def inputs_of(agent: Any, own: Sequence[Event], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The variables that a run was given, for an agent that is made again, and what is to be said of them. Raises
    ConfigError for missing ones."""
    started, values = beginning(own), values_of(own)
    for_child = isinstance(getattr(agent, "python_executor", None), KernelExecutor)
    variables: dict[str, Any] = {}
    said: list[str] = []
    for name in started.inputs:
        kept = values.get(name, {})
        if name in given:
            variables[name] = given[name]
            if not kept.get("digest"):
                said.append(f"Whether the input {name!r} is what it was nobody can tell: it has no recorded digest.")
            elif digest_of(given[name]) != kept["digest"]:
                said.append(f"The input {name!r} is not what it was when the run began.")
        elif "value" in kept:
            variables[name] = recorded_value(kept, for_child)
        else:
            raise ConfigError(
                f"the run was given {name!r} ({cut(started.inputs[name])}), which is not recorded whole: pass it "
                f"again, additional_args={{{name!r}: …}}"
            )
    return variables, said


def require_inputs(runs: Sequence[RunStarted], given: Mapping[str, Any]) -> None:
    """Raises ConfigError for a variable that none of the `runs`, one and the earlier ones of its conversation, had."""
    had = dict.fromkeys(name for run in runs for name in run.inputs)
    if new := [name for name in given if name not in had]:
        has = f"it has: {', '.join(had)}" if had else "it has no inputs"
        raise ConfigError(
            f"run {runs[0].run} was given no {new[0]!r} ({has}), and what goes on from a run gets no new ones: begin a "
            f"new run with --in {new[0]}=… (additional_args)"
        )


def require_tools(started: RunStarted, names: Container[str]) -> None:
    """Raises ReplayError if a tool of the run is not among `names`."""
    missing = [name for name in started.tools if name not in names]
    if missing:
        raise ReplayError(
            f"run {started.run} has the tools {', '.join(missing)}, which are not here: give them under the same "
            "names, in Python as tools= (agents as managed_agents=), in a notebook by defining them; the command line "
            "has those that are built in and those of MCP servers (--mcp)"
        )


def media_of(
    started: RunStarted, given: Mapping[str, list[Any] | None]
) -> tuple[dict[str, list[Any] | None], list[str]]:
    """The images, sounds and videos that the model was shown with the task, and what is to be said of them. Raises
    ConfigError for missing ones."""
    shown: dict[str, list[Any] | None] = dict(given)
    said: list[str] = []
    for kind, recorded in started.media.items():
        again = given.get(kind)
        if again is None:
            try:
                shown[kind] = [recorded_medium(each["value"]) for each in recorded]
            except (KeyError, MalformedValue):
                raise ConfigError(
                    f"the run was given {kind} that are not recorded whole: pass them again, {kind}=[…]"
                ) from None
        elif [digest_of_medium(each) for each in again] != [each.get("digest", "") for each in recorded]:
            said.append(f"The {kind} given with the task are not those of the beginning.")
    return shown, said
