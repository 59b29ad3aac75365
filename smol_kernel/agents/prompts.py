"""The agent's prompts: our own templates, and those that a user gave in their place. `tools.rendering` fills them in.

The system prompt depends on nothing but the agent's settings, so that a provider can cache it byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, cast

from smol_kernel.errors import ConfigError
from smol_kernel.models.prompt_templates import EMPTY_PROMPT_TEMPLATES, PromptTemplates, refuse_misspelt


@cache
def template(path: str) -> str:
    """The text of a file below `templates/`."""
    return files("smol_kernel.agents").joinpath(f"templates/{path}").read_text("utf-8").strip()


def templates_for(agent: str, given: Mapping[str, Any] | None) -> PromptTemplates:
    """The templates `given`, and ours for an `agent` (a folder below `templates/`) where they say nothing.

    Raises ConfigError for templates of another shape, and for a name that is misspelt.
    """
    try:
        refuse_misspelt(given or {})
        found: dict[str, Any] = {"system_prompt": template(f"{agent}/system_prompt.md"), **(given or {})}
        for group, names in EMPTY_PROMPT_TEMPLATES.items():
            if isinstance(names, dict):
                found[group] = {name: template(f"{group}/{name}.md") for name in names} | (found.get(group) or {})
    except (TypeError, AttributeError):
        raise ConfigError(f"prompt_templates are {given!r:.80}: give a dict as EMPTY_PROMPT_TEMPLATES is") from None
    return cast("PromptTemplates", found)
