"""What is to know of models and LiteLLM does not know, in one table. `litellm.py` asks here first, then LiteLLM."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["image", "audio", "video", "tools", "response_schema"]
"""What a model may take: parts of messages; structured tool calls; `response_format` with a JSON schema."""


@dataclass(frozen=True)
class Quirk:
    """Of a model whose id matches. None: nothing to say."""

    models: str
    """Pattern for the name, after the last slash and after a region or vendor with a dot, from its beginning."""
    stop: bool | None = None
    """Whether it accepts stop sequences."""
    system: bool | None = None
    """Whether it accepts the role "system"; False: what would be said there is said as the user."""
    forced_tools: bool | None = None
    """Whether it accepts `tool_choice="required"`; False: the choice is left to it."""
    takes: frozenset[Kind] = frozenset()
    """Kinds that it takes for certain."""


QUIRKS = (
    # OpenAI's reasoning models refuse `stop` (its API reference, "Not supported with latest reasoning models o3 and
    # o4-mini"); o3-mini accepts it, and smolagents 1.26 sends it there.
    Quirk(r"(o3(?!-mini)|o4|gpt-5)(?![0-9])", stop=False),
    Quirk(r"(grok-3-mini|grok-4|grok-code)", stop=False),  # docs.x.ai, "Reasoning"
    # Google's chat template for Gemma up to 2 raises for a system turn; LiteLLM sees to it on Google's own API only.
    Quirk(r"gemma(?!-?[3-9](?![0-9]*b))", system=False),
    # Refuse "required", or answer it with an empty reply, on their makers' own APIs; LiteLLM sees to Moonshot's only.
    Quirk(r"(deepseek-r1|deepseek-reasoner|kimi-|qwq|qwen3.*thinking|magistral)", forced_tools=False),
    # Open weights as local servers name them, which LiteLLM's list has for some hosts only.
    Quirk(
        r"(llava|pixtral|internvl|minicpm-v|smolvlm|qwen[0-9.]*-?vl|gemma-?[34](?!b))",
        takes=frozenset({"image"}),
    ),
    Quirk(r"qwen[0-9.]*-?omni", takes=frozenset({"image", "audio"})),
)


def quirk_of(model_id: str) -> Quirk:
    """All that the table says of `model_id`, as one; of two entries with an opinion the first counts."""
    name = re.split(r"[/.](?=[a-z])", model_id.lower().rstrip("/"))[-1]
    matching = [quirk for quirk in QUIRKS if re.match(quirk.models, name)]
    return Quirk(
        model_id,
        stop=_first([quirk.stop for quirk in matching]),
        system=_first([quirk.system for quirk in matching]),
        forced_tools=_first([quirk.forced_tools for quirk in matching]),
        takes=frozenset().union(*(quirk.takes for quirk in matching)),
    )


def supports_stop_parameter(model_id: str) -> bool:
    """False for the models known to refuse stop sequences: OpenAI's o3, o4 and gpt-5, some of xAI's."""
    return quirk_of(model_id).stop is not False


def _first(opinions: list[bool | None]) -> bool | None:
    return next((opinion for opinion in opinions if opinion is not None), None)
