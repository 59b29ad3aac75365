"""The PythonExecutor seam: what the loop needs of a place where actions run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from smol_kernel.errors import AgentExecutionError, ConfigError
from smol_kernel.events import ActionFinished, Event
from smol_kernel.executors.values import NotPortable, decode, encode, remote


@dataclass
class CodeOutput:
    """What an action gave."""

    output: Any
    """Value of the last statement, or the final answer."""
    logs: str
    """What was printed and displayed."""
    is_final_answer: bool


class PythonExecutor(ABC):
    """A place where actions run.

    A subclass defines `send_tools`, `send_variables`, and one of `run` and `__call__`; each is there in terms of the
    other.
    """

    isolation: str = "none"
    """How the place is boxed; "none" means not at all."""

    @abstractmethod
    def send_tools(self, tools: Mapping[str, Callable[..., Any]]) -> None:
        """Offer these tools, by name, to the actions that follow, in place of those sent before."""

    @abstractmethod
    def send_variables(self, variables: Mapping[str, Any]) -> None:
        """Set variables in the namespace of the actions."""

    def run(self, code: str) -> Iterator[Event]:
        """Run an action; yields what happens as it happens, ActionFinished last. Errors of the code do not raise."""
        self._need_own("__call__")
        try:
            done = self(code)
        except Exception as error:  # noqa: BLE001 - boundary: a user's own class may raise anything for a failed action
            message = error.message if isinstance(error, AgentExecutionError) else str(error)
            yield ActionFinished(status="error", error_type=type(error).__name__, error=message)
            return
        try:
            value = encode(done.output)
        except NotPortable:
            value = remote(done.output, "")
        text = "" if done.output is None else str(done.output)
        yield ActionFinished(status="ok", value=value, value_text=text, final=done.is_final_answer, logs=done.logs)

    def __call__(self, code: str) -> CodeOutput:
        """Run an action to its end. Raises AgentExecutionError if it failed."""
        self._need_own("run")
        finished: ActionFinished | None = None
        for event in self.run(code):
            if isinstance(event, ActionFinished):
                finished = event
        if finished is None:
            raise AgentExecutionError(f"{type(self).__name__}.run() ended without an ActionFinished event")
        if finished.status != "ok":
            raise AgentExecutionError(_failure(finished))
        return CodeOutput(decode(finished.value), finished.logs, finished.final)

    def _need_own(self, name: str) -> None:
        if getattr(type(self), name) is getattr(PythonExecutor, name):
            raise NotImplementedError(f"{type(self).__name__} has to define run() or __call__()")

    def interrupt(self) -> None:  # noqa: B027 - not every place needs it
        """End the action under way, and those to come until `clear_interrupt`. Any thread, any time."""

    def clear_interrupt(self) -> None:  # noqa: B027 - not every place needs it
        """Let actions run again."""

    def restart(self) -> None:  # noqa: B027 - not every place needs it
        """Begin with a fresh namespace: variables are forgotten, tools stay."""

    def cleanup(self) -> None:  # noqa: B027 - not every place needs it
        """Free what is held; more than once is fine."""


def _failure(finished: ActionFinished) -> str:
    text = finished.traceback or ": ".join(filter(None, (finished.error_type, finished.error))) or finished.status
    return f"{finished.logs}\n{text}" if finished.logs else text


def create(name: str, **kwargs: Any) -> PythonExecutor:
    """The executor of that name (`executor_type`), made with `kwargs` (`executor_kwargs`).

    Raises ConfigError for a name that is unknown or not built yet, and for unknown options.
    """
    if name != "local":
        raise ConfigError(f'executor_type {name!r} is not built yet; use "local", the child Jupyter kernel')
    from smol_kernel.executors.kernel import KernelExecutor

    try:
        return KernelExecutor(**kwargs)
    except TypeError as error:
        raise ConfigError(f'executor_kwargs {kwargs!r} do not fit executor_type "local": {error}') from None
