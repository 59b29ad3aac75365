"""An MCP server for the tests: `python mcp_server.py stdio [NAME]`, or `http|sse PORT`, which tells its port on stdout.

With port 0 a free one is taken. `odd N` serves N tools with odd names and schemas over stdio.
"""

from __future__ import annotations

import io
import logging
import os
import socket
import sys
from typing import Annotated, Literal

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver import Audio, Context, Image
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import BlobResourceContents, EmbeddedResource, ResourceLink, TextContent, TextResourceContents
from pydantic import BaseModel, Field

mode, *arguments = sys.argv[1:]
server = MCPServer(arguments[0] if mode == "stdio" and arguments else "testing", log_level="ERROR")


class Address(BaseModel):
    street: str
    city: str = "Paris"


class Person(BaseModel):
    name: str
    age: int | None = None
    addresses: list[Address] = []


class Weather(BaseModel):
    city: str
    degrees: float


@server.tool(structured_output=False)
def echo(text: str) -> str:
    """Says it again."""
    return text


@server.tool()
def weather(city: Annotated[str, Field(description="Name of the city.")]) -> Weather:
    """The weather of a city."""
    return Weather(city=city, degrees=21.5)


class Circle(BaseModel):
    kind: Literal["circle"]
    radius: float


class Box(BaseModel):
    kind: Literal["box"]
    sides: list[float]


@server.tool(structured_output=False)
def draw(shapes: list[Circle | Box], size: int | list[int], most: int | None = 10) -> str:
    """Draws."""
    return f"{[shape.kind for shape in shapes]} {size} {most}"


@server.tool(structured_output=False)
def as_json() -> str:
    """Data as text."""
    return '{"answer": [42]}'


@server.tool(name="get-sum", structured_output=False)
def get_sum(numbers: list[int], unit: Literal["m", "km"] = "m", scale: float | None = None) -> str:
    """Adds numbers."""
    return f"{sum(numbers) * (scale or 1):g} {unit}"


@server.tool(structured_output=False)
def register(person: Person, tags: dict[str, int] | None = None) -> str:
    """Registers a person."""
    return f"{person.name} {person.age} {[a.city for a in person.addresses]} {tags}"


@server.tool()
def picture(width: int = 4, height: int = 3) -> Image:
    """Draws."""
    from PIL import Image as Pillow

    data = io.BytesIO()
    Pillow.new("1", (width, height)).save(data, format="PNG")
    return Image(data=data.getvalue(), format="png")


@server.tool()
def sound() -> Audio:
    """Sounds."""
    return Audio(data=b"RIFFdata", format="wav")


@server.tool(structured_output=False)
def mixed() -> list[object]:
    """Several contents of several kinds."""
    text = TextResourceContents(uri="memo://1", text="a memo")
    blob = BlobResourceContents(uri="memo://2", blob="AAE=", mime_type="application/octet-stream")
    return [
        "first",
        EmbeddedResource(type="resource", resource=text),
        EmbeddedResource(type="resource", resource=blob),
        ResourceLink(type="resource_link", uri="memo://3", name="linked"),
    ]


@server.tool(structured_output=False)
def texts() -> list[TextContent]:
    """Two texts."""
    return [TextContent(type="text", text="one"), TextContent(type="text", text="two")]


@server.tool(structured_output=False)
def nothing() -> None:
    """Gives nothing."""


@server.tool(structured_output=False)
def fail(why: str) -> str:
    """Fails."""
    raise ToolError(why)


@server.tool(structured_output=False)
async def count(to: int, ctx: Context) -> str:
    """Counts, and tells how far it is."""
    for number in range(1, to + 1):
        await ctx.report_progress(number, to, f"at {number}")
    await ctx.warning("counted")
    await ctx.info("not of interest")
    return "done"


meeting = anyio.Event()
waiting = 0


@server.tool(structured_output=False)
async def meet(people: int) -> str:
    """Returns when so many have called it."""
    global waiting
    waiting += 1
    if waiting == people:
        meeting.set()
    await meeting.wait()
    return "met"


@server.tool(structured_output=False)
async def hang(marker: str, ctx: Context) -> str:
    """Never returns; leaves a file where it is cancelled."""
    try:
        await ctx.report_progress(0, None, "hanging")
        await anyio.sleep_forever()
    finally:
        if marker:
            open(marker, "w").close()
    return ""


@server.tool(structured_output=False)
def die(code: int = 3) -> str:
    """Ends the server."""
    sys.stderr.write("the last words\n")
    sys.stderr.flush()
    os._exit(code)


@server.tool(structured_output=False)
def pid() -> str:
    """The server's process."""
    return str(os.getpid())


@server.tool(structured_output=False)
def environment() -> str:
    """What it was started with."""
    return "\n".join(f"{key}={value}" for key, value in sorted(os.environ.items()))


@server.tool(structured_output=False)
def large(characters: int) -> str:
    """Says much."""
    return "x" * characters


def serve_http(app) -> None:
    import uvicorn

    listening = socket.create_server(("127.0.0.1", int(arguments[0])))
    print(listening.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1)).run(sockets=[listening])


ODD_SCHEMA = {
    "type": "object",
    "properties": {
        "class": {"type": "string", "enum": ["a", "b", None]},
        "user-id": {"oneOf": [{"type": "integer"}, {"type": "null"}], "default": 0},
        "tree": {"$ref": "#/$defs/tree"},
        "far": {"$ref": "https://example.org/schema.json"},
        "both": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
    },
    "required": ["tree", "class"],
    "$defs": {
        "tree": {
            "type": "object",
            "description": "A \x1b[31mred\x1b[0m \u202etree.",
            "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
        }
    },
}
ODD_NAMES = ("open", "a-b", "a_b", "1st", "import", "final_answer", "weiß/gut?", "???")


async def serve_odd(count: int) -> None:
    from mcp.server import Server
    from mcp.server.stdio import stdio_server
    from mcp_types import CallToolResult, ImageContent, ListToolsResult, Tool

    async def list_tools(ctx, params) -> ListToolsResult:
        start = int(params.cursor) if params and params.cursor else 0
        names = [*ODD_NAMES, *(f"tool{number}" for number in range(len(ODD_NAMES), count))][start : start + 100]
        tools = [Tool(name=name, description="d" * 10_000, input_schema=ODD_SCHEMA) for name in names[: count - start]]
        return ListToolsResult(tools=tools, next_cursor=str(start + 100) if start + 100 < count else None)

    async def call_tool(ctx, params) -> CallToolResult:
        said = TextContent(type="text", text=f"{params.name} {sorted((params.arguments or {}).items(), key=str)}")
        return CallToolResult(content=[said, ImageContent(type="image", data="AAAA", mime_type="image/png")])

    odd = Server("odd", on_list_tools=list_tools, on_call_tool=call_tool)
    async with stdio_server() as (read, write):
        await odd.run(read, write, odd.create_initialization_options())


logging.disable(logging.CRITICAL)
if mode == "stdio":
    sys.stderr.write("started\n")
    server.run()
elif mode == "odd":
    anyio.run(serve_odd, int(arguments[0]))
else:
    serve_http(server.sse_app() if mode == "sse" else server.streamable_http_app())
