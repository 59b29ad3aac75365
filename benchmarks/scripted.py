"""A scripted model and small look-ups for programs that run on either library, whose module they are given as `lib`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any

Reply = str | dict | list | Exception | Callable[[list], Any]


def code(text: str, thought: str = "I will run this.") -> str:
    """A reply that holds an action."""
    return f"{thought}\n<code>\n{text}\n</code>"


def call(name: str, /, **arguments: Any) -> dict:
    """A structured tool call for a reply of a ToolCallingAgent's model."""
    return {"name": name, "arguments": arguments}


def public(lib: Any, name: str, module: str) -> Any:
    """A name that smolagents' documentation imports from a module of the package; ours has all in the package."""
    if lib.__name__ != "smolagents" or hasattr(lib, name):
        return getattr(lib, name)
    return getattr(importlib.import_module(f"{lib.__name__}.{module}"), name)


def text_of(message: Any) -> str:
    """The text of a message, an object or a dict, whatever form its content has."""
    content = message["content"] if isinstance(message, dict) else message.content
    if isinstance(content, str) or content is None:
        return content or ""
    return "\n".join(part["text"] for part in content if part.get("type") == "text")


def images_in(messages: Iterable[Any]) -> int:
    """How many image parts the messages carry."""
    parts = [part for message in messages if isinstance(message.content, list) for part in message.content]
    return sum(part.get("type") in ("image", "image_url") for part in parts)


def model_class(lib: Any) -> type:
    """A Model subclass, as a user would write one: each request gets the next of the prepared replies.

    A reply is text, a tool call or a list of them, an exception to raise, or a function of the messages.
    """

    class Prepared(lib.Model):
        def __init__(self, replies: Iterable[Reply] = (), **kwargs: Any) -> None:
            super().__init__(model_id="prepared", **kwargs)
            self.replies = list(replies)
            self.requests: list[list] = []
            self.options: list[dict] = []

        def generate(self, messages, stop_sequences=None, response_format=None, tools_to_call_from=None, **kwargs):
            self.requests.append(list(messages))
            self.options.append(
                {
                    "stop": list(stop_sequences or []),
                    "response_format": response_format,
                    "tools": [tool.name for tool in tools_to_call_from or []],
                }
            )
            if len(self.requests) > len(self.replies):
                raise RuntimeError("the script is over")
            reply = self.replies[len(self.requests) - 1]
            if callable(reply):
                reply = reply(messages)
            if isinstance(reply, Exception):
                raise reply
            return as_message(lib, reply, number=len(self.requests))

    return Prepared


def as_message(lib: Any, reply: str | dict | list, number: int = 1) -> Any:
    """A ChatMessage of the library, with 100 input and 10 output tokens."""
    usage = lib.TokenUsage(input_tokens=100, output_tokens=10)
    if isinstance(reply, str):
        return lib.ChatMessage(role=lib.MessageRole.ASSISTANT, content=reply, token_usage=usage)
    function = public(lib, "ChatMessageToolCallFunction", "models")
    tool_call = public(lib, "ChatMessageToolCall", "models")
    calls = [
        tool_call(
            id=f"call_{number}_{index}",
            type="function",
            function=function(name=each["name"], arguments=each["arguments"]),
        )
        for index, each in enumerate(reply if isinstance(reply, list) else [reply], start=1)
    ]
    return lib.ChatMessage(role=lib.MessageRole.ASSISTANT, content="", tool_calls=calls, token_usage=usage)


def prepared(lib: Any, *replies: Reply) -> Any:
    """A model that gives these replies."""
    return model_class(lib)(replies)


def streaming(lib: Any, *replies: str) -> Any:
    """The same, able to stream: each line is a delta, the last one carries the usage."""

    class Streaming(model_class(lib)):
        def generate_stream(self, messages, stop_sequences=None, response_format=None, tools_to_call_from=None, **kw):
            message = self.generate(messages, stop_sequences, response_format, tools_to_call_from, **kw)
            for line in message.content.splitlines(keepends=True):
                yield lib.ChatMessageStreamDelta(content=line)
            yield lib.ChatMessageStreamDelta(content="", token_usage=message.token_usage)

    return Streaming(replies)


def quiet(lib: Any) -> dict[str, Any]:
    """Constructor options that keep an agent from printing."""
    return {"verbosity_level": lib.LogLevel.OFF}


def kinds(memory: Any) -> list[str]:
    """The classes of the steps in a memory."""
    return [type(step).__name__ for step in memory.steps]


def actions(lib: Any, memory: Any) -> list:
    """The action steps of a memory."""
    return [step for step in memory.steps if isinstance(step, lib.ActionStep)]


def raised(lib: Any, work: Callable[[], Any]) -> str | None:
    """The most special of the library's agent errors that `work` raises, "Exception" for others; None: it returns."""
    try:
        work()
    except Exception as error:  # noqa: BLE001  what it raises is the result
        names = [each.__name__ for each in type(error).__mro__]
        return next((name for name in names if name.startswith("Agent") and hasattr(lib, name)), "Exception")
    return None
