"""The public functions and classes around agents, used alone: messages, schemas, rich values, collections, logging."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any, Literal

from scripted import call, code, prepared, public, quiet, raised, text_of


def clean_messages(lib: Any) -> Any:
    """`get_clean_message_list`: roles converted, neighbours of one role joined, images for providers, text only."""
    from PIL import Image

    clean = public(lib, "get_clean_message_list", "models")
    Role, Message = lib.MessageRole, lib.ChatMessage
    text = lambda words: [{"type": "text", "text": words}]  # noqa: E731
    messages = [
        Message(role=Role.SYSTEM, content=text("system")),
        Message(role=Role.USER, content=text("one")),
        Message(role=Role.USER, content=text("two")),
        Message(role=Role.TOOL_CALL, content=text("call")),
        Message(role=Role.TOOL_RESPONSE, content=text("response")),
    ]
    conversions = {Role.TOOL_CALL: Role.ASSISTANT, Role.TOOL_RESPONSE: Role.USER}
    plain = clean(messages, role_conversions=conversions)
    flat = clean(messages, role_conversions=conversions, flatten_messages_as_text=True)
    picture = Message(role=Role.USER, content=[{"type": "image", "image": Image.new("RGB", (2, 2))}])
    urls = clean([picture], convert_images_to_image_urls=True)[0]["content"][0]
    return {
        "roles": [str(getattr(each["role"], "value", each["role"])) for each in plain],
        "joined": plain[1]["content"],
        "flat": [each["content"] for each in flat],
        "image": [urls["type"], urls["image_url"]["url"].split(",")[0]],
        "unchanged": messages[1].content == text("one"),
        "bad role": raised(lib, lambda: clean([{"role": "nobody", "content": text("x")}])),
        "empty": clean([]),
    }


def schema_of_a_tool(lib: Any) -> Any:
    """`get_tool_json_schema`: the form of OpenAI's functions; what may be left out is not required."""

    @lib.tool
    def book(
        city: str, nights: int = 1, board: Literal["none", "half"] = "none", notes: list[str] | None = None
    ) -> dict:
        """Books a room.

        Args:
            city: Where.
            nights: How long.
            board: Meals.
            notes: Remarks.
        """
        return {}

    schema_of = public(lib, "get_tool_json_schema", "models")
    schema, of_any = schema_of(book), schema_of(lib.FinalAnswerTool())
    function = schema["function"]
    parameters = function["parameters"]
    return {
        "type": [schema["type"], function["name"], function["description"], parameters["type"]],
        "types": {name: entry["type"] for name, entry in parameters["properties"].items()},
        "enum": parameters["properties"]["board"].get("enum"),
        "required": parameters["required"],
        "any": of_any["function"]["parameters"]["properties"]["answer"].get("type"),
    }


def small_functions(lib: Any) -> Any:
    """Functions for replies: JSON where it is JSON, a text up to a stop sequence, a call in a text."""
    parse = public(lib, "parse_json_if_needed", "models")
    cut = public(lib, "remove_content_after_stop_sequences", "models")
    find = public(lib, "get_tool_call_from_text", "models")
    stops = public(lib, "supports_stop_parameter", "models")
    found = find('Let me. {"name": "f", "arguments": {"x": [1, {"y": 2}]}} Done.', "name", "arguments")
    other = find('{"tool": "g", "input": "word"}', "tool", "input")
    return {
        "parse": [parse('{"a": 1}'), parse({"a": 1}), parse("plain"), parse("[1]"), parse("3")],
        "cut": [cut("one STOP two", ["STOP"]), cut("one", ["STOP"]), cut("a", None), cut(None, ["x"]), cut("abc", [])],
        "found": [found.function.name, found.function.arguments, bool(found.id)],
        "other keys": [other.function.name, other.function.arguments],
        "no call": [raised(lib, lambda: find("nothing", "name", "arguments")) is not None],
        "no name": [raised(lib, lambda: find('{"x": 1}', "name", "arguments")) is not None],
        "stops": {name: stops(name) for name in ("gpt-4o", "o3", "o4-mini", "gpt-5", "openai/gpt-5-mini")},
    }


def stream_deltas_of_calls(lib: Any) -> Any:
    """`agglomerate_stream_deltas` of a structured call that arrives in pieces."""
    Delta = public(lib, "ChatMessageToolCallStreamDelta", "models")
    Function = public(lib, "ChatMessageToolCallFunction", "models")
    piece = lambda **parts: lib.ChatMessageStreamDelta(tool_calls=[Delta(**parts)])  # noqa: E731
    deltas = [
        lib.ChatMessageStreamDelta(content="I "),
        lib.ChatMessageStreamDelta(content="call."),
        piece(index=0, id="a", type="function", function=Function(name="f", arguments="")),
        piece(index=0, function=Function(name=None, arguments='{"x"')),
        piece(index=0, function=Function(name=None, arguments=": 1}")),
        piece(index=1, id="b", type="function", function=Function(name="g", arguments="{}")),
    ]
    message = public(lib, "agglomerate_stream_deltas", "models")(deltas)
    return [message.content, [[each.id, each.function.name, each.function.arguments] for each in message.tool_calls]]


def rich_values(lib: Any) -> Any:
    """AgentText, AgentImage, `handle_agent_output_types`: they are what they hold, and know it as text and raw."""
    from PIL import Image

    handle = public(lib, "handle_agent_output_types", "agent_types")
    AgentText, AgentImage = public(lib, "AgentText", "agent_types"), public(lib, "AgentImage", "agent_types")
    text, image = AgentText("hello"), AgentImage(Image.new("RGB", (3, 2), "red"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        image.to_raw().save(path)
        from_file = AgentImage(str(path)).to_raw().size
    return {
        "text": [text == "hello", text + "!", text.to_raw(), text.to_string(), isinstance(text, str)],
        "image": [isinstance(image, Image.Image), image.to_string().endswith(".png"), Path(image.to_string()).exists()],
        "from a file": list(from_file),
        "handled": [
            type(handle(value, kind)).__name__
            for value, kind in (("a", None), ("a", "string"), (1, None), ([1], None), (Image.new("L", (1, 1)), None))
        ],
    }


def validated_arguments(lib: Any) -> Any:
    """`validate_tool_arguments`: what is accepted and what is refused."""

    @lib.tool
    def thing(text: str, number: float, count: int = 1, anything: Any = None) -> str:
        """Does.

        Args:
            text: T.
            number: N.
            count: C.
            anything: A.
        """
        return ""

    check = public(lib, "validate_tool_arguments", "tools")
    cases = {
        "right": {"text": "a", "number": 1.5, "count": 2, "anything": object},
        "whole number for a number": {"text": "a", "number": 1},
        "missing": {"text": "a"},
        "wrong type": {"text": 1, "number": 1.0},
        "unknown": {"text": "a", "number": 1.0, "more": 1},
        "none where it may be left out": {"text": "a", "number": 1.0, "count": None},
    }
    return {name: raised(lib, lambda given=given: check(thing, given)) is None for name, given in cases.items()}


def tool_collection(lib: Any) -> Any:
    """A ToolCollection is given to an agent by its `tools`."""

    @lib.tool
    def one() -> int:
        """Is one."""
        return 1

    collection = lib.ToolCollection([one])
    model = prepared(lib, code("final_answer(one() + 1)"))
    return lib.CodeAgent(tools=[*collection.tools], model=model, **quiet(lib)).run("Go.")


def printing(lib: Any) -> Any:
    """The level of an agent, or of the AgentLogger it is given, decides what is printed."""
    AgentLogger = public(lib, "AgentLogger", "monitoring")
    seen = {}
    for name, options in {
        "off": lambda: {"verbosity_level": lib.LogLevel.OFF},
        "info": lambda: {"verbosity_level": lib.LogLevel.INFO},
        "logger off": lambda: {"logger": AgentLogger(level=lib.LogLevel.OFF)},
        "logger info": lambda: {"logger": AgentLogger(level=lib.LogLevel.INFO), "verbosity_level": lib.LogLevel.OFF},
    }.items():
        with contextlib.redirect_stdout(io.StringIO()) as text:
            agent = lib.CodeAgent(tools=[], model=prepared(lib, code("final_answer('the answer')")), **options())
            agent.run("A task to be seen.")
        seen[name] = ["A task to be seen." in text.getvalue(), "the answer" in text.getvalue()]
    return seen


def tree_of_agents(lib: Any) -> Any:
    """`visualize()` prints the agent, its tools and its managed agents."""
    worker = lib.CodeAgent(tools=[], model=prepared(lib), name="worker", description="Works hard.", **quiet(lib))
    manager = lib.CodeAgent(tools=[], model=prepared(lib), managed_agents=[worker])
    with contextlib.redirect_stdout(io.StringIO()) as text:
        manager.visualize()
    if not text.getvalue():  # a console that was made before keeps its own stream
        return [manager.visualize()]
    return [None]


def generate_by_hand(lib: Any) -> Any:
    """A model asked directly: `model.generate`, `model(...)`, `parse_tool_calls` of a text."""
    model = prepared(lib, "one", "two", json.dumps({"name": "f", "arguments": {"x": 1}}))
    messages = [lib.ChatMessage(role=lib.MessageRole.USER, content=[{"type": "text", "text": "hi"}])]
    first, second = model.generate(messages), model(messages, stop_sequences=["x"])
    third = model.parse_tool_calls(model.generate(messages))
    return {
        "texts": [text_of(first), text_of(second)],
        "stop": model.options[1]["stop"],
        "call": [third.tool_calls[0].function.name, third.tool_calls[0].function.arguments],
        "usage": first.token_usage.total_tokens,
    }


def interpreter_tool(lib: Any) -> Any:
    """PythonInterpreterTool alone and in a ToolCallingAgent."""
    tool = public(lib, "PythonInterpreterTool", "default_tools")()
    said = tool("x = 3\nprint('seen')\nx * 2")
    model = prepared(lib, call("python_interpreter", code="6 * 7"), call("final_answer", answer="42"))
    agent = lib.ToolCallingAgent(tools=[tool], model=model, **quiet(lib))
    answer = agent.run("Compute.")
    return {
        "said": ["seen" in said, "6" in said, type(said).__name__],
        "answer": answer,
        "observation": "42" in agent.memory.steps[1].observations,
    }
