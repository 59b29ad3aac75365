"""PythonInterpreterTool: the one built-in tool that needs a child kernel. Agents that write no code are given it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from smol_kernel.errors import AgentExecutionError
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.observation import clean, truncate
from smol_kernel.executors.values import RemoteValue
from smol_kernel.tools.base import Tool

TOOLS_ONLY = "tools"
"""The isolation of an agent whose model has no code run."""
FORGET = "get_ipython().reset(new_session=False); get_ipython().compile.reset_compiler_flags()"
"""Clears the child's namespace; takes a twentieth of the time a fresh child needs."""


class PythonInterpreterTool(Tool):
    """`python_interpreter(code)` runs code in a child kernel of the tool's own, boxed as an agent's is.

    Each call begins with an empty namespace. The result is what was printed and the value of the last statement. The
    child starts with the first call and ends with the tool, or by `cleanup()`. Calls from several threads wait for
    each other.

    Parameters: `authorized_imports`, the modules that import statements may name beside the basic ones of
    `LocalPythonExecutor` (None: all that is installed); `timeout_seconds` for one call (None: no limit);
    `executor_kwargs`, further ones of KernelExecutor, such as `{"box": False}`. A call raises AgentExecutionError,
    whose text begins with what was printed before, or BoxUnavailableError.
    """

    name = "python_interpreter"
    description = "Runs Python code. Returns what it printed and the value of its last statement."
    inputs = {"code": {"type": "string", "description": "The code to run."}}  # noqa: RUF012 - as users write it
    output_type = "string"

    def __init__(
        self,
        *args: Any,
        authorized_imports: Sequence[str] | None = None,
        timeout_seconds: float | None = 30,
        executor_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.authorized_imports = None if authorized_imports is None else list(authorized_imports)
        self.timeout_seconds = timeout_seconds
        self.inputs = {"code": {"type": "string", "description": self._about_code()}}
        self._executor = KernelExecutor(
            timeout_seconds, additional_authorized_imports=self.authorized_imports, **(executor_kwargs or {})
        )
        self._one_at_a_time, self._stop = threading.Lock(), threading.Event()
        self._used = False
        super().__init__(*args, **kwargs)

    @property
    def isolation(self) -> str:
        """How the child is boxed; "none" means not at all."""
        return self._executor.isolation

    def forward(self, code: str) -> str:
        """What the code printed, and its last value."""
        stop = self._stop
        with self._one_at_a_time:
            self._executor.clear_interrupt()
            if stop.is_set():  # while it waited for its turn
                raise AgentExecutionError("interrupted")
            if self._used:
                self._forget()
            self._used = True
            done = self._executor(code)
        value = done.output.text if isinstance(done.output, RemoteValue) else str(done.output)
        value = truncate(clean(value), self._executor.max_print_outputs_length)
        return f"Stdout:\n{done.logs}\nOutput: {value}"

    def interrupt(self) -> None:
        """End the calls under way, and those that wait for them. Any thread, any time."""
        stop, self._stop = self._stop, threading.Event()
        stop.set()
        self._executor.interrupt()

    def cleanup(self) -> None:
        """End the child. A later call starts a fresh one."""
        self._executor.cleanup()

    def _forget(self) -> None:
        try:
            self._executor(FORGET)
        except AgentExecutionError:  # the code before left nothing that could be cleared
            self._executor.restart()

    def _about_code(self) -> str:
        modules = self.authorized_imports
        imports = "" if modules is None or "*" in modules else f" It may import {', '.join(modules)} and basic modules."
        return f"The code, complete in itself: variables of earlier calls are gone.{imports}"


def isolation_of_tools(agent: Any) -> str:
    """How what the model of an agent that writes no code can have run is boxed: as its interpreter, if it has one."""
    found = {tool.isolation for tool in agent.tools.values() if isinstance(tool, PythonInterpreterTool)}
    return "none" if "none" in found else min(found, default=TOOLS_ONLY)
