"""Where LiteLLM asks for a model: the provider by its name, and addresses that the name or the environment holds."""

from __future__ import annotations

import os
import re

from smol_kernel.memory.known_secrets import without_password

_OF_AMAZON = re.compile(r"(?i)(?<![a-z0-9])arn:.*|(?<=agentcore/).*", re.DOTALL)
"""Of `bedrock/arn:…` and `bedrock/agentcore/…` that from whose parts LiteLLM makes the name of a host."""
_BARE = {"openai": re.compile(r"(gpt|chatgpt|o\d|ft:gpt)"), "anthropic": re.compile("claude")}
"""Of the providers that LiteLLM finds for names without one, those whose address a variable can change."""
_VARIABLES = {"HUGGINGFACE": ("HF_API_BASE", "HUGGINGFACE_API_BASE")}


def provider_of(name: str) -> str:
    """The provider of a model; empty where its name names none and only LiteLLM knows it, or what is wrong."""
    provider, slash, _ = name.partition("/")
    return provider if slash else next((each for each, names in _BARE.items() if names.match(name)), "")


def address_in(name: str) -> str | None:
    """What in a model's name says where it is asked, such as the URL of `oobabooga/http://…`, without user and
    password; None: its provider decides."""
    before, is_url, rest = name.partition("://")
    if is_url:
        return without_password(f"{before.rpartition('/')[2]}://{rest}")
    found = _OF_AMAZON.search(name)
    return found.group() if found else None


def first_address_in(name: str) -> str | None:
    """That in a name which LiteLLM asks even where another address was given to it."""
    return address_in(name) if name.startswith(("oobabooga/http://", "oobabooga/https://")) else None


def in_environment(provider: str) -> str | None:
    """The address of a provider that the environment has, in the order in which LiteLLM looks for it. It comes before
    one in a name."""
    names = _VARIABLES.get(provider, (f"{provider}_BASE_URL", f"{provider}_API_BASE"))
    return next(filter(None, map(os.environ.get, names)), None)
