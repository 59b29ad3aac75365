"""`ToolCollection`: tools that belong together, for example those of an MCP server; and tools and agents by name."""

from __future__ import annotations

from collections.abc import Container, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any

from smol_kernel.errors import ConfigError
from smol_kernel.tools.base import Tool
from smol_kernel.tools.not_built import NoCollections


class ToolCollection(NoCollections):
    """Tools as a whole: `CodeAgent(tools=[*collection.tools], …)`."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        self.tools: list[Tool] = list(tools)

    @classmethod
    @contextmanager
    def from_mcp(
        cls, server_parameters: Any, trust_remote_code: bool = False, structured_output: bool | None = None
    ) -> Generator[ToolCollection]:
        """The tools of MCP servers, for the length of a `with` block.

        `server_parameters` and `structured_output` are those of MCPClient. A server is somebody's program: it is
        started here, or is sent what the agent passes it, and what it answers steers the agent; so it has to be trusted
        by `trust_remote_code=True`. Raises ConfigError without that, and what MCPClient raises.
        """
        if not trust_remote_code:
            raise ConfigError(
                "an MCP server runs code of others, on this machine if it is started by a command, and its answers "
                "steer the agent. If you trust it, pass trust_remote_code=True"
            )
        from smol_kernel.tools.mcp import MCPClient

        client = MCPClient(server_parameters, structured_output=structured_output)
        try:
            yield cls(client.get_tools())
        finally:
            client.disconnect()


def listed(what: str, given: Any) -> Iterable[Any]:
    """`given` for the parameter `what`, where that is several things. Raises ConfigError for a single one."""
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
        raise ConfigError(f"{what} has to be a list: {what}=[…]")
    return given


def no_agent(given: Any) -> str:
    """Why `given` is none that another agent may call, and what to do."""
    name, kind = getattr(given, "name", None), type(given).__name__
    if not _is_agent(given):
        return (
            f"{name or kind!r} is no agent of this library with a name and a description; write a @tool that calls "
            "another one"
        )
    lacks = "no description" if name else "no name" if given.description else "neither name nor description"
    return (
        f"{f'agent {name!r}' if name else 'an agent that another one calls'} has {lacks}: {kind}(…, "
        f"name={name or 'helper'!r}, description='what it can do')"
    )


def _is_agent(given: Any) -> bool:
    return hasattr(given, "another") and not isinstance(given, type | Tool)


def by_name(tools: Iterable[Any], agent: str | None = None) -> dict[str, Tool]:
    """`tools` by their names. Raises ConfigError for what is no tool, for two of one name, and for one that is called
    as the `agent` is."""
    found: dict[str, Tool] = {}
    for tool in listed("tools", tools):
        if isinstance(tool, type) and issubclass(tool, Tool):
            raise ConfigError(f"{tool.__name__} is a class of tools: make one, {tool.__name__}()")
        called = repr(tool) if isinstance(tool, str) else getattr(tool, "__name__", type(tool).__name__)
        if _is_agent(tool):
            raise ConfigError(
                f"an agent goes into managed_agents=[…], not tools=[…]: {getattr(tool, 'name', None) or called}"
            )
        if not isinstance(tool, Tool):
            raise ConfigError(f"{called} is not a tool: decorate the function with @tool, or subclass Tool")
        if tool.name in found:
            raise ConfigError(f"two tools are called {tool.name!r}: rename one of them")
        if tool.name == agent:
            raise ConfigError(f"an agent and a tool of it are called {agent!r}: rename one of them")
        found[tool.name] = tool
    return found


def agents_by_name(agents: Iterable[Any], taken: Container[str], prefix: str = "") -> dict[str, Any]:
    """`agents` by their names. Raises ConfigError for one without name or description, and for a name used twice; they
    are called by it with `prefix` in front."""
    found: dict[str, Any] = {}
    for agent in listed("handoffs" if prefix else "managed_agents", agents):
        if not all(getattr(agent, part, None) for part in ("name", "description", "another")):
            raise ConfigError(no_agent(agent))
        if agent.name in found or f"{prefix}{agent.name}" in taken:
            raise ConfigError(f"two agents or tools are called {prefix + agent.name!r}: rename one of them")
        found[agent.name] = agent
    return found
