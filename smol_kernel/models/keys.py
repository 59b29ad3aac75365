"""The keys that a request takes along: what a client of the user's own holds, and whether they can be sent at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from smol_kernel.errors import ModelError
from smol_kernel.memory.known_secrets import keep_secret, unsendable

_KEYS = (
    "api_key",
    "azure_ad_token",
    "organization",
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
)
_HEADERS = ("extra_headers", "headers", "default_headers")
_READ_BY_LITELLM = "os.environ/"
"""What a setting begins with that names a variable in place of a value."""

Held = Iterable[tuple[str, Mapping[str, Any]]]
"""Settings, each with the words for where they stand."""


def of_client(client: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What a client holds that somebody else made: one of the package openai, or a Router of LiteLLM's."""
    names = {"api_key": "api_key", "azure_ad_token": "_azure_ad_token", "default_headers": "_custom_headers"}
    address = str(getattr(client, "base_url", None) or "")
    yield "client.", {"address": address, **{name: getattr(client, given, None) for name, given in names.items()}}
    yield from of_deployments(getattr(client, "model_list", None))


def of_deployments(model_list: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What the deployments of a Router hold."""
    for place, entry in enumerate(cast("list[Any]", model_list) if isinstance(model_list, list) else ()):
        settings = entry.get("litellm_params") if isinstance(entry, Mapping) else None
        if isinstance(settings, Mapping):
            yield f"litellm_params of model_list[{place}]: ", cast("Mapping[str, Any]", settings)


def keep(held: Held) -> None:
    """Know what is secret in `held`, as `keep_secret` does."""
    for _, settings in held:
        keep_secret({name: value for name, value in settings.items() if not _names_variable(value)})


def require_sendable(model_id: str, held: Held, variables: Iterable[str] = ()) -> None:
    """Raises ModelError for a key or a header that no request can carry: it says where that stands, and not what it is.
    `variables` are those of the environment that keys are taken from."""
    for place, value in (*_values(held), *((name, os.environ.get(name)) for name in variables)):
        if isinstance(value, str) and (what := unsendable(value)):
            raise ModelError(
                f"model {model_id!r}: {_origin(value, place)} holds {what}, which cannot be sent: give it "
                f"without. Of what was read from a file, .strip() takes off a line break at the end"
            )


def _values(held: Held) -> Iterator[tuple[str, Any]]:
    for where, settings in held:
        for name in _KEYS:
            yield f"{where}{name}", settings.get(name)
        for name in _HEADERS:
            headers = settings.get(name)
            if isinstance(headers, Mapping):
                for header, text in cast("Mapping[str, Any]", headers).items():
                    yield f"{where}{name}[{header!r}]", text


def _names_variable(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(_READ_BY_LITELLM)


def _origin(value: str, place: str) -> str:
    """The variable of the environment that has this value, else its `place` in the settings."""
    return next((name for name, known in os.environ.items() if known == value), place)
