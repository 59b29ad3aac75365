"""A tool that is a generator: its body runs, and who called it has a list."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from smol_kernel import ChatMessage, ChatMessageToolCall, ChatMessageToolCallFunction, ScriptedModel, ToolCallingAgent
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.values import decode
from smol_kernel.tools import tool

ended = []


@tool
def pages(n: int) -> Iterator[int]:
    """Gives pages.

    Args:
        n: How many.
    """
    yield from range(n)


@tool
async def pages_later(n: int) -> AsyncIterator[int]:
    """Gives pages.

    Args:
        n: How many.
    """
    for page in range(n):
        yield page


@tool
def endless() -> Iterator[str]:
    """Gives no end of pages."""
    try:
        while True:
            yield "x" * 1_000_000
    finally:
        ended.append("endless")


@tool
async def endless_later() -> AsyncIterator[str]:
    """Gives no end of pages."""
    try:
        while True:
            yield "x" * 1_000_000
    finally:
        ended.append("endless_later")


@tool
def endless_things() -> Iterator[object]:
    """Gives no end of what cannot cross."""
    try:
        while True:
            yield Thing()
    finally:
        ended.append("endless_things")


@tool
def torn() -> Iterator[int]:
    """Gives a page, then fails."""
    yield 1
    raise LookupError("torn")


@tool(threaded=True)
def made_elsewhere() -> object:
    """Gives a generator."""
    return (page for page in "ab")


@tool
def things() -> Iterator[object]:
    """Gives things."""
    yield Thing()


class Thing:
    def __repr__(self):
        return "a thing"


@tool
def keys() -> object:
    """Gives keys."""
    return {"a": 1}.keys()


TOOLS = {
    t.name: t for t in (pages, pages_later, endless, endless_later, endless_things, torn, made_elsewhere, things, keys)
}


@pytest.fixture(scope="module")
def kernel():
    executor = KernelExecutor(timeout_seconds=60)
    executor.send_tools(TOOLS)
    yield executor
    executor.cleanup()


def observed(name, **arguments):
    """What a ToolCallingAgent reads of a call."""
    called = ChatMessageToolCall(ChatMessageToolCallFunction(name, arguments), "1")
    model = ScriptedModel([ChatMessage("assistant", tool_calls=[called]), "done"])
    agent = ToolCallingAgent(list(TOOLS.values()), model, max_steps=1)
    agent.run("t")
    step = agent.memory.steps[1]
    return step.observations or str(step.error)


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("pages(3)", [0, 1, 2]),
        ("[page for page in pages(2)]", [0, 1]),
        ("pages(0)", []),
        ("pages_later(3)", [0, 1, 2]),
        ("await pages_later.aio(2)", [0, 1]),
        ("made_elsewhere()", ["a", "b"]),
        ("try: torn()\nexcept LookupError as e: said = str(e)\nsaid", "torn"),
    ],
)
def test_an_action_has_a_list(kernel, code, found):
    assert decode(list(kernel.run(code))[-1].value) == found


def test_a_model_that_calls_reads_a_list():
    assert observed("pages", n=3) == "[0, 1, 2]"
    assert observed("pages_later", n=3) == "[0, 1, 2]"
    assert observed("things") == "[a thing]"
    assert "LookupError: torn" in observed("torn")


@pytest.mark.parametrize("name", ["endless", "endless_later", "endless_things"])
def test_one_without_end_is_ended(kernel, name):
    ended.clear()
    finished = list(kernel.run(f"{name}()"))[-1]
    assert finished.error.startswith(
        "the generator gave more than 4,000,000 items, 64 MB of them, or 1,024 that are no"
    )
    assert finished.error in observed(name)
    assert ended == [name] * 2


def test_it_is_described_by_what_its_caller_has():
    assert pages.signature == "pages(n: int) -> list[int]"
    assert (pages_later.signature, pages_later.output_type) == ("pages_later(n: int) -> list[int]", "array")
    assert list(pages(2)) == [0, 1]


def test_another_result_that_gives_its_parts_one_by_one_says_what_to_do(kernel):
    error = list(kernel.run("keys()"))[-1].error
    assert "value is a dict_keys, which cannot cross: make it a list with list(...)" in error
    assert "value[0] is a test_generator_tools.Thing" in list(kernel.run("things()"))[-1].error
