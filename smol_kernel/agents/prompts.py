"""The agent's prompts: our own templates, and rendering of these or a user's in Jinja's sandbox.

The system prompt depends on nothing but the agent's settings, so that a provider can cache it byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, TypedDict

from smol_kernel.errors import ConfigError


class FinalAnswerPromptTemplate(TypedDict):
    """What surrounds the history when the steps ran out and a last answer is asked for."""

    pre_messages: str
    post_messages: str


class PromptTemplates(TypedDict, total=False):
    """The templates of an agent, in Jinja's syntax."""

    system_prompt: str
    final_answer: FinalAnswerPromptTemplate


@cache
def _template(agent: str, name: str) -> str:
    return files("smol_kernel.agents").joinpath(f"templates/{agent}/{name}.md").read_text("utf-8")


def default_templates(agent: str) -> PromptTemplates:
    """Our templates for `agent` (the folder's name under `templates/`)."""
    return {
        "system_prompt": _template(agent, "system_prompt"),
        "final_answer": {
            "pre_messages": _template(agent, "final_answer_pre"),
            "post_messages": _template(agent, "final_answer_post"),
        },
    }


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
