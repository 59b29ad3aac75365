"""Merges options, settings and environment, and builds the model and the agent from them.

The notebook magics and the command line share the options defined here, under the same names.
"""

from __future__ import annotations

import math
import os
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smol_kernel.agents.code_agent import CodeAgent
from smol_kernel.errors import ConfigError
from smol_kernel.executors.values import a_name
from smol_kernel.journal import Journal
from smol_kernel.memory.monitoring import LogLevel
from smol_kernel.models.base import Model
from smol_kernel.tools.base import Tool

MODEL_VARIABLE = "SMOL_MODEL"
API_BASE_VARIABLE = "SMOL_API_BASE"

NO_MODEL = f"""No model is set, so nothing was run. Set one of:
  --model openai/gpt-4.1-mini          for this task (any LiteLLM name; the key in OPENAI_API_KEY)
  %agent model ollama/qwen3            for this notebook
  c.SmolMagic.model = "..."            in ipython_config.py
  {MODEL_VARIABLE}=openai/gpt-4.1-mini       in the environment
Without a key or a network: --model demo plays shipped tasks from a script."""


@dataclass
class RunOptions:
    """The options of one run, as `%%agent` and `smol run` take them.

    `inputs` are the names (on the command line NAME=FILE) handed to the child; `output` is the name (or file)
    that receives the answer; `timeout` is the child's own time per action in seconds, None for no limit.
    """

    model: str | None = None
    api_base: str | None = None
    max_steps: int = 20
    timeout: float | None = 300.0
    inputs: list[str] = field(default_factory=list)
    output: str | None = None
    write: bool = True
    continued: bool = False


def add_options(parser: ArgumentParser, defaults: RunOptions | None = None, *, notebook: bool = True) -> None:
    """Add the options of a run to `parser`; read them back with `read_options`.

    Without `notebook` those are left out that only a notebook can follow, and names stand for files.
    """
    known = defaults or RunOptions()
    given, given_help, answer = "NAME", "hand this variable to the agent; may be repeated, or a,b,c", "NAME"
    if not notebook:
        given, given_help, answer = "NAME=FILE", "hand this file to the agent as NAME; may be repeated", "FILE"
    parser.add_argument("--model", "-m", default=known.model, metavar="NAME", help="LiteLLM name, or demo")
    parser.add_argument("--api-base", default=known.api_base, metavar="URL", help="address of an own model server")
    parser.add_argument("--in", "-i", dest="inputs", action="append", default=[], metavar=given, help=given_help)
    parser.add_argument("-o", "--out", dest="output", default=None, metavar=answer, help="put the answer here")
    parser.add_argument("--max-steps", type=int, default=known.max_steps, metavar="N", help="give up after N steps")
    parser.add_argument("--timeout", type=float, default=known.timeout, metavar="SECONDS",
                        help="the kernel's own time for one action; 0 for no limit")  # fmt: skip
    parser.set_defaults(write=True, continued=False)
    if not notebook:
        return
    parser.add_argument("--no-write", dest="write", action="store_false", default=True,
                        help="do not write the finished work back")  # fmt: skip
    parser.add_argument("--continue", dest="continued", action="store_true", default=False,
                        help="go on in the last conversation and its kernel")  # fmt: skip


def read_options(parsed: Any) -> RunOptions:
    """The RunOptions in what a parser with `add_options` returned. Raises ConfigError for values out of range."""
    if parsed.max_steps < 1:
        raise ConfigError(f"--max-steps is {parsed.max_steps}: give a whole number of at least 1")
    if parsed.timeout is not None and not 0 <= parsed.timeout < math.inf:
        raise ConfigError(f"--timeout is {parsed.timeout:g}: give seconds, or 0 for no limit")
    return RunOptions(
        model=parsed.model,
        api_base=parsed.api_base,
        max_steps=parsed.max_steps,
        timeout=parsed.timeout or None,
        inputs=[name for given in parsed.inputs for name in _names(given)],
        output=parsed.output,
        write=parsed.write,
        continued=parsed.continued,
    )


def _names(given: str) -> list[str]:
    """The names in one `--in`; NAME=FILE is one, whatever the file is called."""
    return [given] if "=" in given else [name.strip() for name in given.split(",") if name.strip()]


def make_model(
    name: str | Model | None, api_base: str | None = None, variables: Mapping[str, Any] | None = None
) -> Model:
    """The model that `name` stands for: a Model itself, one in `variables`, "demo", or a LiteLLM name.

    Without a name the environment's SMOL_MODEL is taken. Raises ConfigError when nothing is set.
    """
    if isinstance(name, Model):
        return name
    name = (name or os.environ.get(MODEL_VARIABLE, "")).strip()
    if not name:
        raise ConfigError(NO_MODEL)
    if name in (variables := variables or {}):
        named = variables[name]
        if isinstance(named, Model):
            return named
        raise ConfigError(f"variable {name!r} is {a_name(type(named))}, not a model")
    if name == "demo":
        from smol_kernel.models.demo import DemoModel

        return DemoModel()
    from smol_kernel.models.litellm import LiteLLMModel

    return LiteLLMModel(name, api_base=api_base or os.environ.get(API_BASE_VARIABLE) or None)


def make_agent(
    options: RunOptions,
    model: Model,
    tools: Sequence[Tool] = (),
    *,
    journal: Journal | str | Path | bool | None = None,
    **executor: Any,
) -> CodeAgent:
    """A silent agent for a front that draws the events itself; `executor` are further executor options."""
    return CodeAgent(
        tools=tools,
        model=model,
        max_steps=options.max_steps,
        executor_kwargs={"timeout_seconds": options.timeout, **executor},
        stream_outputs=True,
        verbosity_level=LogLevel.OFF,
        journal=journal,
    )
