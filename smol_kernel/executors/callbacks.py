"""Calls the user's callbacks with a step, on the thread that plain tools run on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from smol_kernel.events import Event, MemoryEdited, Notice
from smol_kernel.executors.tool_thread import on_tool_thread
from smol_kernel.memory.steps import AgentMemory, MemoryStep
from smol_kernel.signals import failures, program_handlers


def call_back(agent: Any, step: MemoryStep) -> Iterator[Event]:
    """Call the callbacks of `agent` with `step`, before it is in the memory. What they raise and edit is told."""
    work = partial(agent.step_callbacks.callback, step, agent=agent)
    own = len(agent.step_callbacks) > 1  # else there is only the monitor's, which edits nothing
    memory: AgentMemory = agent.memory
    before, number = memory.readable(step) if own else [], agent.step_number
    handlers = program_handlers()
    try:
        on_tool_thread(work) if own else work()
    except failures(handlers) as error:  # boundary: a user's own callback
        yield Notice(text=f"A step callback failed: {type(error).__name__}: {error}")
    if not isinstance(agent.step_number, int):
        yield Notice(
            text=f"A step callback set step_number to {agent.step_number!r:.80}: the count goes on from {number}"
        )
        agent.step_number = number
    for index, (old, new) in enumerate(zip(before, memory.readable(step) if before else (), strict=False)):
        if changes := {name: value for name, value in new.items() if old[name] != value}:
            yield MemoryEdited(index=index, changes=changes)
