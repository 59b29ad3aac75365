"""The MCP client: tools of servers that speak the Model Context Protocol (https://modelcontextprotocol.io), for agents.

Needs the package `mcp` (2.x), which is loaded when a client is made.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from importlib import import_module
from types import TracebackType
from typing import Any

from smol_kernel.errors import ConfigError, MCPServerError, ToolError
from smol_kernel.memory.untrusted import inert
from smol_kernel.tools.base import Tool, bind_arguments, validate_tool_arguments
from smol_kernel.tools.mcp_portal import Portal, Server
from smol_kernel.tools.mcp_results import all_arguments, error_text, plain_argument, read_result
from smol_kernel.tools.mcp_schema import read_description, read_inputs, read_output, tool_names, type_text
from smol_kernel.tools.mcp_servers import plain_text, read_specs, require_sdk, seconds
from smol_kernel.waits import result

CONNECT_TIMEOUT, CALL_TIMEOUT = 30.0, 300.0
MAX_ERROR = 10_000
"""Characters of what a failed call says."""
_ADAPTER_KWARGS = {"connect_timeout", "call_timeout", "client_session_timeout_seconds"}


def _load_validator() -> None:
    with suppress(ImportError):  # the first call will tell
        import_module("jsonschema")


class MCPTool(Tool):
    """A tool of an MCP server. Made by MCPClient; calls run side by side."""

    threaded = True

    def __init__(self, server: Server, listed: Any, name: str, structured: bool) -> None:
        self.name = name
        self.description = read_description(listed, server.name)
        self.inputs, self._wire, self._required, self._takes_null = read_inputs(listed.input_schema)
        self.output_schema = read_output(listed.output_schema) if structured else None
        self.output_type = "object"
        self._server, self._listed_name, self._structured = server, listed.name, structured

    def __repr__(self) -> str:
        return f"<tool {self.signature} of MCP server {self._server.spec.label}>"

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The server's result.

        Raises ToolError for wrong arguments, and MCPServerError with the server's words for a call that failed.
        """
        given = bind_arguments(self, args, kwargs)
        validate_tool_arguments(self, given)
        arguments: dict[str, Any] = {}
        for key, wire in self._wire.items():
            if key in self._required or given.get(key) is not None or (key in given and key in self._takes_null):
                value = plain_argument(given.get(key), f"{self.name}(): {key}")
                arguments |= all_arguments(value, f"{self.name}(): {key}") if wire is None else {wire: value}
        result = self._server.call(self._listed_name, self.name, arguments)
        where = f"MCP server {self._server.spec.label}, tool {self._listed_name!r}:"
        if result.is_error:
            raise MCPServerError(f"{where} {plain_text(error_text(result), MAX_ERROR)}")
        return read_result(result, self._structured, where)

    def to_code_prompt(self) -> str:
        """As `Tool.to_code_prompt`; what the server says of it marks no speaker."""
        return inert(super().to_code_prompt())

    def to_tool_calling_prompt(self) -> str:
        """As `Tool.to_tool_calling_prompt`; what the server says of it marks no speaker."""
        return inert(super().to_tool_calling_prompt())

    @property
    def optional_inputs(self) -> set[str]:
        """Names of the inputs a call may leave out."""
        return {name for name, spec in self.inputs.items() if name not in self._required or spec.get("nullable")}

    def _input_defaults(self) -> dict[str, Any]:
        return {name: self.inputs[name].get("default") for name in self.inputs if name not in self._required}

    def _type_text(self, name: str) -> str:
        if name == "return":
            return "dict" if self.output_schema else "Any"
        text = type_text(self.inputs[name])
        return f"{text} | None" if name in self._takes_null and not {"None", "Any"} & {*text.split(" | ")} else text


class MCPClient:
    """A connection to one or several MCP servers; it opens at once, and its tools are given to agents.

        with MCPClient({"url": "http://127.0.0.1:8000/mcp"}) as tools:
            agent = CodeAgent(tools=tools, model=model)

    Parameters: `server_parameters`, one server or a list of them, each as the SDK's `StdioServerParameters`, as a dict
    with `command` (and `args`, `env`, `cwd`), as a dict with `url` (and `transport`: "streamable-http", the default,
    or "sse"; `headers`; `timeout`; `auth`), or as a URL. `adapter_kwargs`: `connect_timeout` (seconds for one server to
    answer, default 30) and `call_timeout`, or by smolagents' name `client_session_timeout_seconds` (seconds for one
    call, default 300, None for no limit).
    `structured_output=True` gives what a tool returns as data, where the server says it so; else as text.

    A server that is started by a command gets the SDK's small set of environment variables (PATH, HOME, …) and what
    `env` holds, nothing else. A connection that was lost is opened again by the next call; a call is never repeated.

    Raises ConfigError for wrong parameters, MCPServerError for a server that cannot be reached (MCPTimeoutError if it
    does not answer), MissingDependencyError without the SDK.
    """

    def __init__(
        self,
        server_parameters: Any,
        adapter_kwargs: dict[str, Any] | None = None,
        structured_output: bool | None = None,
    ) -> None:
        require_sdk()
        given = adapter_kwargs or {}
        unknown = [key for key in given if key not in _ADAPTER_KWARGS]
        if unknown:
            raise ConfigError(f"adapter_kwargs has no {unknown[0]!r}: there are 'connect_timeout' and 'call_timeout'")
        connect_timeout = seconds(given.get("connect_timeout", CONNECT_TIMEOUT), "connect_timeout")
        patience = given.get("call_timeout", given.get("client_session_timeout_seconds", CALL_TIMEOUT))
        call_timeout = seconds(patience, "call_timeout")
        self._servers = [Server(spec, connect_timeout, call_timeout) for spec in read_specs(server_parameters)]
        self._structured = bool(structured_output)
        self._portal: Portal | None = None
        self._tools: list[MCPTool] = []
        self.connect()

    def connect(self) -> None:
        """Connect to all servers and read their tools; nothing happens if that is so already. Raises as the
        constructor."""
        if self._portal is not None:
            return
        portal = Portal()
        try:
            future = portal.start(_open_all(self._servers, portal))
            try:
                listed = result(future)
            finally:
                future.cancel()
            offers = [(server, tool) for server, tools in zip(self._servers, listed, strict=True) for tool in tools]
            names = tool_names([(server.name, tool.name) for server, tool in offers])
            self._tools = [
                MCPTool(server, tool, name, self._structured)
                for (server, tool), name in zip(offers, names, strict=True)
            ]
        except BaseException:
            portal.close()
            raise
        self._portal = portal
        if any(tool.output_schema for tool in self._tools):
            # the SDK imports it at the first structured result, on the loop that all calls share, for seconds
            threading.Thread(target=_load_validator, name="smol-load-jsonschema", daemon=True).start()

    def disconnect(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        exc_traceback: TracebackType | None = None,
    ) -> None:
        """End the connections, the calls under way, and the servers that were started here."""
        if self._portal is not None:
            self._portal.close()
            self._portal = None
            self._tools = []

    def get_tools(self) -> list[MCPTool]:
        """The servers' tools. Raises ToolError (a ValueError) if the client is not connected."""
        if self._portal is None:
            raise ToolError("the MCP client is not connected, so it has no tools: call its connect() first")
        return self._tools

    def __enter__(self) -> list[MCPTool]:
        self.connect()
        return self.get_tools()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        exc_traceback: TracebackType | None,
    ) -> None:
        self.disconnect(exc_type, exc_value, exc_traceback)


async def _open_all(servers: list[Server], portal: Portal) -> list[list[Any]]:
    return list(await asyncio.gather(*(server.open(portal) for server in servers)))
