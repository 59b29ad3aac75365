"""The form of an agent's prompt templates: which there are. Our own are in `agents`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypedDict

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


EMPTY_PROMPT_TEMPLATES: PromptTemplates = {
    "system_prompt": "",
    "planning": {"initial_plan": "", "update_plan_pre_messages": "", "update_plan_post_messages": ""},
    "managed_agent": {"task": "", "report": ""},
    "final_answer": {"pre_messages": "", "post_messages": ""},
}
"""All the keys, with nothing in them: a form to fill in."""


def refuse_misspelt(given: Mapping[str, Any], known: Mapping[str, Any] = EMPTY_PROMPT_TEMPLATES) -> None:
    """Raises ConfigError for a name that is nearly one of ours which is not `given`. Others are the program's own."""
    for name, inner in given.items():
        if name in known:
            if isinstance(known[name], dict) and inner:
                refuse_misspelt(inner, known[name])
        elif near := difflib.get_close_matches(name, [each for each in known if each not in given], n=1, cutoff=0.8):
            raise ConfigError(f"prompt_templates have {name!r}, which nothing here reads: did you mean {near[0]!r}?")
