"""The address that a model's name holds, where LiteLLM asks at one that the name gives it."""

from __future__ import annotations

import re

from smol_kernel.memory.known_secrets import without_password

_OF_AMAZON = re.compile(r"(?i)(?<![a-z0-9])arn:.*|(?<=agentcore/).*", re.DOTALL)
"""Of `bedrock/arn:…` and `bedrock/agentcore/…` that from whose parts LiteLLM makes the name of a host."""


def address_in(name: str) -> str | None:
    """What in a model's name says where it is asked, such as the URL of `oobabooga/http://…`, without user and
    password; None: its provider decides."""
    before, is_url, rest = name.partition("://")
    if is_url:
        return without_password(f"{before.rpartition('/')[2]}://{rest}")
    found = _OF_AMAZON.search(name)
    return found.group() if found else None
