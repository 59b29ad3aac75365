"""The PythonExecutor seam: what the loop needs of a place where actions run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smol_kernel.errors import AgentExecutionError, ConfigError
from smol_kernel.events import ActionFinished, Checked, Event, FilesMade
from smol_kernel.executors.observation import truncate
from smol_kernel.executors.state import State
from smol_kernel.executors.values import NotPortable, decode, encode, remote

if TYPE_CHECKING:
    from smol_kernel.executors.made_files import MadeFiles
    from smol_kernel.executors.saved_files import SavedFiles


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

    A subclass defines `send_tools`, `send_variables`, and either `run` or `__call__`: define one; the base class
    derives the other from it.
    """

    isolation: str = "none"
    """How the place is boxed; "none" means not at all."""

    @cached_property
    def state(self) -> State:
        """The variables as a dict; of a place that cannot be read, those that were set through it."""
        return State(self)

    @cached_property
    def made_files(self) -> MadeFiles:
        """What was made in a box, and is not in the user's folder."""
        from smol_kernel.executors.made_files import MadeFiles

        return MadeFiles()

    def files(self) -> FilesMade:
        """What was made or changed in a box and is not in the user's folder: as of now, also while an action runs.

        It stays when the child has ended, until the next one begins; if it died, until the one after that.
        """
        return self.made_files.listing()

    def save_files(
        self, names: Iterable[str] | None = None, folder: str | Path | None = None, overwrite: bool = False
    ) -> SavedFiles:
        """Copy files that were made or changed in a box into `folder` (None: the working folder).

        `names` are of files or folders as `files` lists them; None: all files but hidden ones. Files that are there
        are kept unless `overwrite`. Gives the paths, and in `refused` why others were not saved. Raises ExecutorError
        if there is no box to save from (any more), ConfigError for a folder that cannot be one.
        """
        return self.made_files.save(names, folder, overwrite)

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

    def __call__(self, code_action: str) -> CodeOutput:
        """Run an action to its end. Raises AgentExecutionError if it failed."""
        self._need_own("run")
        finished: ActionFinished | None = None
        for event in self.run(code_action):
            if isinstance(event, ActionFinished) and not event.run:
                finished = event
        if finished is None:
            raise AgentExecutionError(f"{type(self).__name__}.run() ended without an ActionFinished event")
        if finished.status != "ok":
            raise AgentExecutionError("\n".join(filter(None, [finished.logs, failure(finished)])))
        return CodeOutput(decode(finished.value), finished.logs, finished.final)

    def check(self, expressions: Sequence[str], answer: Any = None) -> Iterator[Event]:
        """Try each expression, in which `answer` is the final answer; yields a Checked for each.

        One is passed if its value is true, which an action's code can feign: only a function in the host sees what the
        caller gets. Here they run as actions do, after `answer` was sent as a variable.
        """
        self.send_variables({"answer": answer})
        for expression in expressions:
            try:
                value = self(expression).output
                ok, reason = (True, "") if value else (False, f"is {value!r}")
            except Exception as error:  # noqa: BLE001 - boundary: a check runs anything
                ok, reason = False, str(error)
            yield Checked(check=expression, ok=ok, reason=truncate(reason, 2_000))

    def _need_own(self, name: str) -> None:
        if getattr(type(self), name) is getattr(PythonExecutor, name):
            raise NotImplementedError(f"{type(self).__name__} has to define run() or __call__()")

    def expect(self) -> None:  # noqa: B027 - not every place needs it
        """An action will come soon."""

    def interrupt(self) -> None:  # noqa: B027 - not every place needs it
        """End the action under way, and those to come until `clear_interrupt`. Any thread, any time."""

    def clear_interrupt(self) -> None:  # noqa: B027 - not every place needs it
        """Let actions run again."""

    def restart(self) -> None:  # noqa: B027 - not every place needs it
        """Begin with a fresh namespace: variables are forgotten, tools stay."""

    def cleanup(self) -> None:  # noqa: B027 - not every place needs it
        """Free what is held; more than once is fine."""


def observation(finished: ActionFinished) -> str:
    """What an action put out and gave, as the model reads it."""
    logs = f"Execution logs:\n{finished.logs.rstrip()}".rstrip()
    if finished.status == "ok":
        return f"{logs}\nLast output from code snippet:\n{finished.value_text or 'None'}{_lost(finished)}"
    return logs if finished.logs.strip() else ""


def failure(finished: ActionFinished) -> str:
    """Why an action failed, as the model reads it: the traceback, or the sentence, and the names that are gone."""
    short = ": ".join(filter(None, (finished.error_type, finished.error))) or f"The action ended: {finished.status}."
    said = finished.traceback.strip() or short
    if finished.traceback and finished.status != "error" and finished.error:
        said = f"{said}\n{finished.error}"
    return said + _lost(finished)


def _lost(finished: ActionFinished) -> str:
    return f"\nThe kernel was restarted. These names are gone: {', '.join(finished.lost)}." if finished.lost else ""


class Wrapped(PythonExecutor):
    """A user's own executor that has `send_tools`, `send_variables` and `__call__` alone."""

    def __init__(self, own: Any) -> None:
        self.own = own

    def send_tools(self, tools: Mapping[str, Callable[..., Any]]) -> None:
        """Pass the tools on."""
        self.own.send_tools(dict(tools))

    def send_variables(self, variables: Mapping[str, Any]) -> None:
        """Pass the variables on."""
        self.own.send_variables(dict(variables))

    def __call__(self, code_action: str) -> CodeOutput:
        """Run an action."""
        return self.own(code_action)

    def interrupt(self) -> None:
        """Pass the stop on, if the other knows it."""
        self._pass_on("interrupt")

    def cleanup(self) -> None:
        """Free what it holds, if it can be told to."""
        self._pass_on("cleanup")

    def _pass_on(self, method: str) -> None:
        if callable(function := getattr(self.own, method, None)):
            function()


def as_executor(own: Any) -> PythonExecutor:
    """The executor that a user passed as `executor=`: itself, or wrapped if it is of another class.

    Raises ConfigError if it has not what an executor needs.
    """
    if isinstance(own, PythonExecutor):
        return own
    needed = ("send_tools", "send_variables", "__call__")
    missing = [name for name in needed if not callable(getattr(own, name, None))]
    if missing or isinstance(own, type):
        what = "is a class: give an instance" if isinstance(own, type) else f"has no {' and no '.join(missing)}"
        raise ConfigError(f"executor {own!r} {what}; an executor has {', '.join(needed)}")
    return Wrapped(own)
