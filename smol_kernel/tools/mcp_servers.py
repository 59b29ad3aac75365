"""What a user says of MCP servers, as `ServerSpec`s. Used by the client and the portal."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from smol_kernel.errors import ConfigError, MissingDependencyError
from smol_kernel.memory.known_secrets import (
    keep_secret,
    keep_secret_words,
    looks_secret,
    unsendable,
    without_secret_words,
)
from smol_kernel.memory.untrusted import inert

HTTP_TIMEOUT = 30.0
"""Seconds to connect, and to send."""

_STDIO_FIELDS = {"command", "args", "env", "cwd", "encoding", "encoding_error_handler"}
_HTTP_FIELDS = {"url", "transport", "headers", "timeout", "sse_read_timeout", "auth"}
_TRANSPORTS = ("streamable-http", "sse")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


@dataclass(frozen=True)
class ServerSpec:
    """One server: how to reach it, and how messages call it."""

    label: str
    """`python server.py` or the URL, without what may be secret (further arguments, user name, query)."""
    transport: str
    """"stdio", "streamable-http" or "sse"."""
    stdio: Any = None
    """The SDK's StdioServerParameters."""
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    auth: Any = None
    timeout: float = HTTP_TIMEOUT
    read_timeout: float | None = None


def require_sdk() -> None:
    """Raises MissingDependencyError unless version 2 or newer of the SDK (https://pypi.org/project/mcp/) is there."""
    try:
        import mcp
    except ImportError as error:
        raise MissingDependencyError(
            f"MCP servers need the package 'mcp' ({error}). Install it: pip install 'smol-kernel[mcp]'"
        ) from error
    if not hasattr(mcp, "Client"):
        from importlib import metadata

        raise MissingDependencyError(
            f"MCP servers need version 2 of the package 'mcp', not {metadata.version('mcp')}. "
            "Upgrade it: pip install -U 'smol-kernel[mcp]'"
        )


def read_specs(server_parameters: Any) -> list[ServerSpec]:
    """The servers that `server_parameters` names: one, or a list of them.

    Raises ConfigError naming what is wrong.
    """
    if isinstance(server_parameters, list | tuple):
        if not server_parameters:
            raise ConfigError("server_parameters is an empty list: name at least one MCP server")
        return [_read_spec(each) for each in server_parameters]
    return [_read_spec(server_parameters)]


def _read_spec(given: Any) -> ServerSpec:
    from mcp import StdioServerParameters

    if isinstance(given, StdioServerParameters):
        return _stdio_spec(given)
    if isinstance(given, str):
        return _http_spec({"url": given})
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"an MCP server is given as StdioServerParameters, a dict or a URL, not as {repr(given)[:80]}"
        )
    if ("url" in given) == ("command" in given):
        raise ConfigError(
            f'an MCP server needs either "url" (over HTTP) or "command" (started here), but the dict has '
            f"{sorted(map(str, given))}"
        )
    return _http_spec(given) if "url" in given else _stdio_dict(given)


def _stdio_dict(given: Mapping[str, Any]) -> ServerSpec:
    from mcp import StdioServerParameters
    from pydantic import ValidationError

    fields = {key: value for key, value in given.items() if not (key == "transport" and value == "stdio")}
    _refuse_unknown(fields, _STDIO_FIELDS, "started by a command")
    try:
        return _stdio_spec(StdioServerParameters(**fields))
    except ValidationError as error:  # its own text would show values, and `env` holds keys
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        raise ConfigError(f"the MCP server's parameters are wrong: {problems}") from None


def _stdio_spec(parameters: Any) -> ServerSpec:
    if not parameters.command.strip():
        raise ConfigError('the MCP server\'s "command" is empty')
    if parameters.cwd is not None and not os.path.isdir(parameters.cwd):
        raise ConfigError(f'the MCP server\'s "cwd" {str(parameters.cwd)!r} is no folder')
    keep_secret_words(parameters.args)
    shown = without_secret_words(shlex.join(parameters.args))
    plain = [arg for arg in shlex.split(shown) if not arg.startswith("-") and "=" not in arg and "…" not in arg]
    args = [arg for arg in plain if len(arg.split()) == 1]
    subject = os.path.basename(args[0].partition("?")[0]) if args else ""
    label = f"{os.path.basename(parameters.command)} {subject}".strip()
    keep_secret(parameters.env or {})
    return ServerSpec(label=label[:100], transport="stdio", stdio=parameters)


def _http_spec(given: Mapping[str, Any]) -> ServerSpec:
    url, transport = given["url"], given.get("transport") or "streamable-http"
    _refuse_unknown(given, _HTTP_FIELDS, "reached by a URL")
    if transport not in _TRANSPORTS:
        raise ConfigError(f"transport {transport!r} is unknown: use {' or '.join(map(repr, _TRANSPORTS))}")
    if not isinstance(url, str):
        raise ConfigError(f'the MCP server\'s "url" has to be a string, not {url!r}')
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{url!r} is no URL of an MCP server: {error}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError(f"{url!r} is no URL of an MCP server: write it in full, as http://127.0.0.1:8000/mcp")
    headers = given.get("headers") or {}
    if not isinstance(headers, Mapping) or not all(isinstance(each, str) for pair in headers.items() for each in pair):
        raise ConfigError('the MCP server\'s "headers" have to be a dict of strings')
    for name, value in headers.items():
        if what := unsendable(value):
            raise ConfigError(
                f"the MCP server's header {name!r} holds {what}, which cannot be sent: give it without. Of what was "
                f"read from a file, .strip() takes off a line break at the end"
            )
    queries = [(name, value) for name, value in parse_qsl(parts.query) if looks_secret(name, value)]
    keep_secret({"url": url, "headers": headers, **{f"{name}_KEY": value for name, value in queries}})
    shown_host = f"[{host}]" if ":" in host else host
    label = f"{parts.scheme}://{shown_host}{f':{port}' if port else ''}{parts.path}"
    return ServerSpec(
        label=label[:200],
        transport=transport,
        url=url,
        headers=dict(headers),
        auth=given.get("auth"),
        timeout=seconds(given.get("timeout"), "timeout") or HTTP_TIMEOUT,
        read_timeout=seconds(given.get("sse_read_timeout"), "sse_read_timeout"),
    )


def _refuse_unknown(given: Mapping[str, Any], known: set[str], kind: str) -> None:
    unknown = [key for key in given if key not in known]
    if unknown:
        raise ConfigError(f"an MCP server {kind} has no parameter {unknown[0]!r}: there are {', '.join(sorted(known))}")


def seconds(value: Any, name: str) -> float | None:
    """`value` (a number, a timedelta, or None for no limit) as seconds. Raises ConfigError for anything else."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ConfigError(f"{name} has to be a number of seconds above 0, not {value!r}")
    return float(value)


def plain_text(text: str, limit: int) -> str:
    """Text of a server without escape sequences, control and bidi characters and marks of speakers, cut to `limit`
    characters."""
    text = _ANSI.sub("", text[: limit * 2])
    text = inert("".join(c for c in text if c.isprintable() or c in "\n\t"))
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
