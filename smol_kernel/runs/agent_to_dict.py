"""An agent as plain data, in the shape of smolagents 1.26, for `sharing`.

Keys and other secrets are never written. What cannot be written (functions, live objects) is left out, and the
parameter by which to pass it again is named.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import NoneType
from typing import Any

from smol_kernel.agents.code_agent import CodeAgent
from smol_kernel.agents.multi_step import MultiStepAgent
from smol_kernel.agents.tool_calling_agent import ToolCallingAgent
from smol_kernel.errors import ToolError
from smol_kernel.executors.imports import BASE_MODULES
from smol_kernel.memory.monitoring import AgentLogger
from smol_kernel.runs.no_secrets import refuse_secrets
from smol_kernel.runs.saved_parts import model_dict, requirements_of, tool_dict, unwritten, without_secrets
from smol_kernel.tools.base import Tool

FORMAT_VERSION = 1
"""Raised by one whenever what is written can no longer be read by older versions; smolagents writes none."""
OTHERS = ("managed_agents", "handoffs")
"""The parameters that are agents themselves."""


def describe(agent: MultiStepAgent) -> tuple[dict[str, Any], list[str]]:
    """The agent as plain data, and a sentence for each agent of which something was left out: what, and what to do.

    Raises ToolError for a tool that cannot be written as source, ConfigError where a key stands in a text that would
    be written.
    """
    notes: list[str] = []
    data = _described(agent, (), notes)
    refuse_secrets(agent, data)
    return data, notes


def _described(agent: MultiStepAgent, above: tuple[MultiStepAgent, ...], notes: list[str]) -> dict[str, Any]:
    left_out: dict[str, str] = dict(_kept_here(agent))
    model, unsaved = model_dict(agent.model)
    if unsaved:
        left_out["model"] = unsaved
    data: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "class": type(agent).__name__,
        "tools": [_written(tool, agent) for tool in agent.tools.values()],
        "model": model,
        "managed_agents": _others(agent, "managed_agents", above, notes, left_out),
        "handoffs": _others(agent, "handoffs", above, notes, left_out),
        "prompt_templates": copy.deepcopy(dict(agent.prompt_templates)),
        "instructions": agent.instructions,
        "max_steps": agent.max_steps,
        "verbosity_level": int(agent.logger.level),
        "planning_interval": agent.planning_interval,
        "name": agent.name,
        "description": agent.description,
        "provide_run_summary": agent.provide_run_summary,
        "return_full_result": agent.return_full_result,
        "stream_outputs": agent.stream_outputs,
        "checks": [check for check in agent.checks if isinstance(check, str)],
        "budget": asdict(agent.budget) if agent.budget else None,
        "journal": False if agent.journal is False else None,
        "requirements": [],
    }
    if isinstance(agent, CodeAgent):
        data |= _code_settings(agent, left_out)
    elif isinstance(agent, ToolCallingAgent):
        data["max_tool_threads"] = agent.max_tool_threads
        data["max_print_outputs_length"] = agent.max_print_outputs_length
    data["requirements"] = requirements_of(data)
    if left_out:
        data["left_out"] = left_out
        notes.insert(0, _without(agent, left_out, nested=bool(above)))
    return data


def _kept_here(agent: MultiStepAgent) -> Iterator[tuple[str, str]]:
    """Parameters of the agent that are functions or live objects, each with what it is."""
    if lost := [f"{', '.join(names)} of {tool.name!r}" for tool in agent.tools.values() if (names := unwritten(tool))]:
        yield "tools", f"what was given to their constructors: {'; '.join(lost)}"
    if len(agent.step_callbacks) > 1:  # the monitor has one
        yield "step_callbacks", "functions"
    if agent.final_answer_checks:
        yield "final_answer_checks", "functions"
    if functions := [check for check in agent.checks if callable(check)]:
        yield "checks", "functions: " + ", ".join(getattr(f, "__name__", type(f).__name__) for f in functions)
    if agent.answer_type is not None:
        yield "output_type", "a type"
    if type(agent.logger) is not AgentLogger:
        yield "logger", type(agent.logger).__name__
    if not isinstance(agent.journal, bool | NoneType):
        yield "journal", "a place on this machine" if isinstance(agent.journal, str | Path) else "a live object"
    if isinstance(agent, CodeAgent) and agent._given_executor is not None:  # pyright: ignore[reportPrivateUsage]
        yield "executor", type(agent._given_executor).__name__  # pyright: ignore[reportPrivateUsage]


def _code_settings(agent: CodeAgent, left_out: dict[str, str]) -> dict[str, Any]:
    every = agent.additional_authorized_imports == ["*"]
    options, lost = without_secrets(agent.executor_kwargs)
    if lost:
        left_out["executor_kwargs"] = ", ".join(lost)
    return {
        "authorized_imports": ["*"] if every else sorted({*BASE_MODULES, *agent.additional_authorized_imports}),
        "executor_type": agent.executor_type,
        "executor_kwargs": options,
        "max_print_outputs_length": agent.max_print_outputs_length,
        "use_structured_outputs_internally": agent.use_structured_outputs_internally,
        "code_block_tags": list(agent.code_block_tags),
    }


def _written(tool: Tool, agent: MultiStepAgent) -> dict[str, Any]:
    try:
        return tool_dict(tool)
    except ToolError as error:
        raise ToolError(
            f"{name_of(agent)} cannot be written: {error}. Or take the tool out (del agent.tools[{tool.name!r}]), and "
            f"put it into agent.tools of the agent that is loaded"
        ) from error


def _others(
    agent: MultiStepAgent,
    parameter: str,
    above: tuple[MultiStepAgent, ...],
    notes: list[str],
    left_out: dict[str, str],
) -> list[dict[str, Any]]:
    """The agents that `agent` may call, described; recipes, and agents that this is a part of, are left out."""
    found: list[dict[str, Any]] = []
    lost: list[str] = []
    for name, other in getattr(agent, parameter).items():
        if isinstance(other, MultiStepAgent) and other not in (*above, agent):
            found.append(_described(other, (*above, agent), notes))
        else:
            lost.append(f"{type(other).__name__} {name!r}")
    if lost:
        left_out[parameter] = ", ".join(lost)
    return found


def _without(agent: MultiStepAgent, left_out: dict[str, str], *, nested: bool) -> str:
    what = ", ".join(f"{name} ({why})" for name, why in left_out.items())
    where = " of its own folder, and pass the agent on to the one that calls it" if nested else ""
    again = ", ".join(f"{name}=" for name in left_out)
    return f"{name_of(agent)} is written without {what}. Pass {again} to from_dict or from_folder{where}"


def name_of(agent: MultiStepAgent) -> str:
    """The agent as errors name it."""
    return f"agent {agent.name!r}" if agent.name else f"the {type(agent).__name__}"
