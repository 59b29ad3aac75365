"""Calls a user's check of the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from smol_kernel.events import Checked
from smol_kernel.executors.coroutines import wait
from smol_kernel.memory.monitoring import called_with
from smol_kernel.memory.steps import AgentMemory
from smol_kernel.signals import failures, program_handlers


def look(check: Callable[..., Any], answer: Any, memory: AgentMemory, agent: Any) -> Checked:
    """What `check` says of `answer`.

    It is called as `check(answer, memory, agent=agent)`, or with as many of these as it takes. It accepts by returning
    None or something true, and refuses with a reason as text, something false, or an exception.
    """
    name = getattr(check, "__name__", type(check).__name__)
    handlers = program_handlers()
    try:
        told = called_with(check, answer, memory, agent=agent)
        told = wait(told, lambda _: None) if hasattr(told, "__await__") else told
        reason = told if isinstance(told, str) else "" if told is None or told else "it is not fulfilled"
    except failures(handlers) as error:  # boundary: a user's own check
        reason = str(error) or type(error).__name__
    return Checked(check=name, ok=not reason, reason=reason)
