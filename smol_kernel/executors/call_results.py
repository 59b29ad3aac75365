"""What a call of a tool gives in the end: what is awaited is waited for, and what a generator gives becomes a list."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Future
from contextlib import aclosing, closing
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from smol_kernel.executors.coroutines import wait
from smol_kernel.executors.fields import fields
from smol_kernel.executors.values import NotPortable, encode
from smol_kernel.tools.records import to_plain

RESULT_LIMIT = 64 << 20
"""Bytes of a tool's result, encoded."""
MOST = 4_000_000
"""Items that a generator may give."""
MOST_OBJECTS = 1_024
"""The same where some cannot cross, so that nobody knows how large they are."""


def result_of(value: Any, begun: Callable[[Future[Any]], object]) -> Any:
    """What came of a call that gave `value`; `begun` is given the future of what runs on the event loop."""
    if inspect.isawaitable(value):
        value = wait(value, begun)
    if isinstance(value, AsyncGeneratorType):
        return wait(_awaited(value), begun)
    return _listed(value) if isinstance(value, GeneratorType) else value


def _listed(items: Generator[Any, Any, Any]) -> list[Any]:
    taken: list[Any] = []
    with closing(items):
        for item in items:
            _add(taken, item)
    return taken


async def _awaited(items: AsyncGenerator[Any, Any]) -> list[Any]:
    taken: list[Any] = []
    async with aclosing(items):
        async for item in items:
            _add(taken, item)
    return taken


def _add(taken: list[Any], item: Any) -> None:
    """Raises TypeError when there are too many, or they are too large: a generator may have no end."""
    taken.append(item)
    count = len(taken)
    if count > MOST or (count & (count - 1) == 0 and _is_too_large(taken)):  # each time there are twice as many
        raise TypeError(
            f"the generator gave more than {MOST:,} items, {RESULT_LIMIT >> 20} MB of them, or {MOST_OBJECTS:,} that "
            "are no plain data"
        )


def _is_too_large(taken: list[Any]) -> bool:
    try:
        encode(to_plain(taken), limit=RESULT_LIMIT, instead=fields)
    except NotPortable as error:
        return len(taken) >= MOST_OBJECTS or "is too large" in error.reason
    except Exception:  # noqa: BLE001 - boundary: the values' own methods run here; whoever reads the result will say so
        return False
    return False
