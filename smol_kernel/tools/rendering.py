"""Renders prompt templates in Jinja's sandbox; those that came with the record of somebody else only read."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from smol_kernel.errors import ConfigError
from smol_kernel.tools.base import Tool

_PLAIN = (str, int, float, bool, bytes, list, tuple, dict, set, type(None))
_OF_TOOLS = (
    "name", "description", "inputs", "output_type", "output_schema", "signature", "optional_inputs", "threaded",
    "to_code_prompt", "to_tool_calling_prompt",
)  # fmt: skip
"""What such a template may reach of a tool, or of an agent as one."""


class ForeignTemplate(str):
    """A template that came with the record of somebody else."""

    __slots__ = ()


def foreign(templates: Any) -> Any:
    """These templates, in dicts, as those of somebody else."""
    if isinstance(templates, dict):
        return {name: foreign(each) for name, each in templates.items()}
    return ForeignTemplate(templates) if isinstance(templates, str) else templates


def populate_template(template: str, variables: Mapping[str, Any]) -> str:
    """`template` rendered with `variables` by Jinja, in a sandbox that reaches nothing else.

    A ForeignTemplate changes nothing and calls nothing of theirs but what describes tools: it sees what is data.
    Raises ConfigError when the template is wrong or names a variable that is not there.
    """
    try:
        return _sandbox(isinstance(template, ForeignTemplate)).from_string(template).render(**variables)
    except Exception as error:  # boundary: a user's own template
        raise ConfigError(f"cannot render the prompt template {template!r:.60}: {error}") from error


@cache
def _sandbox(is_foreign: bool) -> Any:
    """Jinja's own (https://jinja.palletsprojects.com/en/stable/sandbox/) lets a template call what objects can do."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEnvironment

    def is_harmless(value: Any) -> bool:
        return isinstance(value, _PLAIN) or type(value).__module__.startswith("jinja2.")

    class Reading(ImmutableSandboxedEnvironment):
        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            shown = attr in _OF_TOOLS if isinstance(obj, Tool) else is_harmless(obj) or not callable(value)
            return shown and super().is_safe_attribute(obj, attr, value)

        def is_safe_callable(self, obj: Any) -> bool:
            if isinstance(obj, Tool):
                return False
            whose = getattr(getattr(obj, "__wrapped__", obj), "__self__", obj)  # str.format comes wrapped
            shown = is_harmless(whose) or isinstance(whose, Tool) or obj in self.globals.values()
            return shown and super().is_safe_callable(obj)

    return (Reading if is_foreign else SandboxedEnvironment)(undefined=StrictUndefined)
