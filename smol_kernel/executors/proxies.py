"""The functions by which an action calls tools of the host; also `input()` and `getpass()`.

Travels into the child as source, for `child.py`; needs the standard library alone.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import account, fields, host_line, streams, values

CALL_LIMIT = 64 << 20
"""Bytes of a call's arguments, and of a final answer, encoded."""


class Proxies:
    """Makes the functions; they send what was printed before the call they make."""

    def __init__(self, line: host_line.HostLine, printing: Sequence[streams.Stream]) -> None:
        self._line, self._streams = line, printing

    def tool(self, spec: dict[str, Any]) -> Callable[..., Any]:
        """A function that calls a tool of the host; its `aio` gives an awaitable."""
        name = str(spec["name"])

        def tool(*args: Any, **kwargs: Any) -> Any:
            return _outcome(self._line.ask(self._request(name, args, kwargs)))

        async def aio(*args: Any, **kwargs: Any) -> Any:
            return _outcome(await self._line.ask_async(self._request(name, args, kwargs)))

        for function in (tool, aio):
            function.__name__ = function.__qualname__ = name
            function.__module__ = "tools"
            function.__doc__ = spec.get("doc")
            with contextlib.suppress(ValueError):
                function.__signature__ = _signature(spec.get("parameters", []))  # pyright: ignore[reportFunctionMemberAccess]
        tool.aio = aio  # pyright: ignore[reportFunctionMemberAccess]
        return tool

    def read(self, prompt: str, password: bool) -> str:
        """`input()` and `getpass()`."""
        request = {"input": True, "printed": self._flush()}
        return str(_outcome(self._line.ask(request, prompt, password)))

    def _request(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """A call, for the host."""
        try:
            encoded = account.sendable([list(args), dict(kwargs)], CALL_LIMIT, fields.fields)
        except values.NotPortable as error:
            where = f"arguments{error.path[3:120]}"  # behind "[0]" or "[1]"
            raise TypeError(f"{name}(): {where} {error.reason}{error.advice}") from None
        return {"tool": name, "args": encoded[0], "kwargs": encoded[1], "printed": self._flush()}

    def _flush(self) -> bool:
        printed = [stream.flush() for stream in self._streams]
        return any(printed)


def _outcome(reply: dict[str, Any]) -> Any:
    """The value of a reply; raises what the tool raised."""
    if reply.get("ok"):
        return values.decode(reply.get("value"))
    raise host_line.error_of(reply)


def _signature(parameters: list[dict[str, Any]]) -> inspect.Signature:
    made = [
        inspect.Parameter(
            str(parameter["name"]),
            parameter.get("kind", inspect.Parameter.POSITIONAL_OR_KEYWORD),
            default=None if parameter.get("optional") else inspect.Parameter.empty,
        )
        for parameter in parameters
    ]
    return inspect.Signature(sorted(made, key=lambda each: (each.kind, each.default is None)))
