"""PythonInterpreterTool: the one built-in tool that needs a child kernel. Agents that write no code are given it."""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from smol_kernel.errors import AgentExecutionError, ConfigError
from smol_kernel.executors.kernel import KernelExecutor
from smol_kernel.executors.observation import clean, truncate
from smol_kernel.executors.recorded import AbandonedError, NotMadeError
from smol_kernel.executors.values import RemoteValue
from smol_kernel.memory.process_lock import ProcessLock
from smol_kernel.tools.base import Tool

TOOLS_ONLY = "tools"
"""The isolation of an agent whose model has no code run."""
FORGET = "get_ipython().reset(new_session=False); get_ipython().compile.reset_compiler_flags()"
"""Clears the child's namespace; takes a twentieth of the time a fresh child needs."""
_OWN_NAMES = {"timeout_seconds": "timeout_seconds", "additional_authorized_imports": "authorized_imports"}
"""Parameters of KernelExecutor that the tool takes itself, and how it calls them."""


class Stop:
    """Ends the code that one call runs, or is about to run; what other calls run in the same child goes on."""

    def __init__(self) -> None:
        self._lock, self._wanted = threading.Lock(), False
        self._runs: KernelExecutor | None = None

    def now(self) -> None:
        """Any thread, any time; for good."""
        with self._lock:
            self._wanted = True
            if self._runs is not None:
                self._runs.interrupt()

    @contextmanager
    def ending(self, executor: KernelExecutor) -> Generator[None]:
        """Have it end what `executor` runs now. Raises AbandonedError if it did, NotMadeError if it came before."""
        with self._lock:
            if self._wanted:
                raise NotMadeError()
            executor.clear_interrupt()
            self._runs = executor
        try:
            yield
        except AgentExecutionError as error:
            if self._wanted:
                raise AbandonedError(error.message) from error
            raise
        finally:
            with self._lock:
                self._runs = None


STOP: ContextVar[Stop | None] = ContextVar("smol_stop", default=None)
"""Of the call in which the caller runs."""


class PythonInterpreterTool(Tool):
    """`python_interpreter(code)` runs code in a child kernel of the tool's own, boxed as an agent's is.

    Each call begins with an empty namespace. The result is what was printed and the value of the last statement. The
    child starts with the first call and ends with the tool, or by `cleanup()`. Calls from several threads wait for
    each other.

    Parameters: `authorized_imports`, the modules that import statements may name beside the basic ones of
    `LocalPythonExecutor` (None: all that is installed); `timeout_seconds` for one call (None: no limit);
    `executor_kwargs`, further ones of KernelExecutor, such as `{"box": False}`. Raises ConfigError for a value out of
    range. A call raises AgentExecutionError, whose text begins with what was printed before, or BoxUnavailableError.
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
        self._executor = self._made(executor_kwargs or {})
        self._one_at_a_time = ProcessLock()
        self._used = False
        super().__init__(*args, **kwargs)

    @property
    def isolation(self) -> str:
        """How the child is boxed; "none" means not at all."""
        return self._executor.isolation

    def forward(self, code: str) -> str:
        """What the code printed, and its last value."""
        with self._one_at_a_time.here, (STOP.get() or Stop()).ending(self._executor):
            if self._used:
                self._forget()
            self._used = True
            done = self._executor(code)
        value = done.output.text if isinstance(done.output, RemoteValue) else str(done.output)
        value = truncate(clean(value), self._executor.max_print_outputs_length)
        return f"Stdout:\n{done.logs}\nOutput: {value}"

    def start(self) -> None:
        """Have the child now, not with the first call. Raises ExecutorError if it cannot be started."""
        with self._one_at_a_time.here:
            self._executor.start()

    def cleanup(self) -> None:
        """End the child. A later call starts a fresh one."""
        self._executor.cleanup()

    def _forget(self) -> None:
        try:
            self._executor(FORGET)
        except AgentExecutionError:  # the code before left nothing that could be cleared
            self._executor.restart()

    def _made(self, given: Any) -> KernelExecutor:
        if not isinstance(given, Mapping):
            raise ConfigError(f"executor_kwargs {given!r} is no dict of the executor's options")
        options = dict(given)
        for theirs, ours in _OWN_NAMES.items():
            if theirs in options:
                raise ConfigError(
                    f"executor_kwargs {options!r}: {theirs} is no option of the executor here, give it to the tool "
                    f"itself: PythonInterpreterTool({ours}=…)"
                )
        try:
            return KernelExecutor(
                self.timeout_seconds, additional_authorized_imports=self.authorized_imports, **options
            )
        except TypeError as error:
            raise ConfigError(f"executor_kwargs {options!r} do not fit: {error}") from None

    def _about_code(self) -> str:
        modules = self.authorized_imports
        imports = "" if modules is None or "*" in modules else f" It may import {', '.join(modules)} and basic modules."
        return f"The code, complete in itself: variables of earlier calls are gone.{imports}"


def isolation_of_tools(agent: Any) -> str:
    """How what the model of an agent that writes no code can have run is boxed: as its interpreter, if it has one."""
    found = {tool.isolation for tool in agent.tools.values() if isinstance(tool, PythonInterpreterTool)}
    return "none" if "none" in found else min(found, default=TOOLS_ONLY)
