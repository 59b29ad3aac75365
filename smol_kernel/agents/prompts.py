"""The agent's prompts: our own templates, and rendering of these or a user's in Jinja's sandbox.

The system prompt depends on nothing but the agent's settings, so that a provider can cache it byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, TypedDict, cast

from smol_kernel.errors import ConfigError


class PlanningPromptTemplate(TypedDict):
    """How the model is asked for a plan, and for a new one."""

    initial_plan: str
    update_plan_pre_messages: str
    update_plan_post_messages: str


class ManagedAgentPromptTemplate(TypedDict):
    """How a managed agent is given its task, and its answer is reported."""

    task: str
    report: str


class FinalAnswerPromptTemplate(TypedDict):
    """How the model is asked for a last answer when a limit ended the run."""

    pre_messages: str
    post_messages: str


class PromptTemplates(TypedDict):
    """The templates of an agent, in Jinja's syntax. Those that are left out are ours."""

    system_prompt: str
    planning: PlanningPromptTemplate
    managed_agent: ManagedAgentPromptTemplate
    final_answer: FinalAnswerPromptTemplate


_FILES = {
    "planning": {"initial_plan": "initial_plan", "update_plan_pre_messages": "update_plan_pre",
                 "update_plan_post_messages": "update_plan_post"},
    "managed_agent": {"task": "managed_task", "report": "managed_report"},
    "final_answer": {"pre_messages": "final_answer_pre", "post_messages": "final_answer_post"},
}  # fmt: skip
EMPTY_PROMPT_TEMPLATES: PromptTemplates = cast(
    "PromptTemplates", {"system_prompt": "", **{group: dict.fromkeys(names, "") for group, names in _FILES.items()}}
)
"""All the keys, with nothing in them: a form to fill in."""


@cache
def _template(path: str) -> str:
    return files("smol_kernel.agents").joinpath(f"templates/{path}.md").read_text("utf-8").strip()


def default_templates(agent: str) -> PromptTemplates:
    """Our templates for `agent` (the folder's name under `templates/`)."""
    groups = {
        group: {key: _template(f"shared/{file}") for key, file in named.items()} for group, named in _FILES.items()
    }
    return cast("PromptTemplates", {"system_prompt": _template(f"{agent}/system_prompt"), **groups})


def populate_template(template: str, variables: Mapping[str, Any]) -> str:
    """`template` rendered with `variables`, in a sandbox that reaches nothing else.

    Raises ConfigError when the template is wrong or names a variable that is not there.
    """
    from jinja2 import StrictUndefined, TemplateError
    from jinja2.sandbox import SandboxedEnvironment

    try:
        environment = SandboxedEnvironment(undefined=StrictUndefined)
        return environment.from_string(template).render(**variables)
    except TemplateError as error:
        raise ConfigError(f"cannot render the prompt template {template[:60]!r}: {error}") from error


def task_with_inputs(task: str, inputs: Mapping[str, str]) -> str:
    """The task as the model reads it: followed by the variables it was given, each with a one-line summary."""
    if not inputs:
        return task
    listed = "\n".join(f"- `{name}`: {summary}" for name, summary in inputs.items())
    return f"{task}\n\nThese variables are defined already:\n{listed}"
