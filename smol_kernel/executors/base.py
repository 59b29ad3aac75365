"""The PythonExecutor seam: what the loop needs of a place where actions run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smol_kernel.errors import AgentExecutionError, ConfigError
from smol_kernel.events import ActionFinished, Checked, Event, FilesMade
from smol_kernel.executors.observation import truncate
from smol_kernel.executors.state import StateOf
from smol_kernel.executors.values import NotPortable, decode, encode, remote
from smol_kernel.signals import failures, program_handlers

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


@dataclass
class _Seen:
    """What a `__call__` that stands before a `run` is not told of an action."""

    events: list[Event] = field(default_factory=list[Event])
    broke: BaseException | None = None
    """What `run` raised: it is of the place, not of the action."""

    @property
    def end(self) -> ActionFinished:
        """The last account of an action."""
        return next(
            (event for event in reversed(self.events) if isinstance(event, ActionFinished) and not event.run),
            ActionFinished(status=""),
        )


class PythonExecutor(ABC):
    """A place where actions run.

    A subclass defines `send_tools`, `send_variables`, and either `run` or `__call__`: define one; the base class
    derives the other from it. Where a class that runs actions has a subclass with a `__call__` of its own, actions pass
    that: a guard, which calls `super().__call__` or `self.run`. What happens in an action is told when it is done.
    """

    isolation: str = "none"
    """How the place is boxed; "none" means not at all."""
    max_print_outputs_length: int = 20_000
    """Characters that the model reads of an action's logs, and of its value."""
    lost: Any = None
    """Names of variables that are gone, a list, to be told with the next action; None: it does not tell of any."""
    _seen: _Seen | None = None
    """Where it is noted what happens in an action that passes a guard."""
    _gave: tuple[ActionFinished, Any] | None = None
    """The last account of an action that a `__call__` gave something for, and that."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if _place(cls, "__call__") < _place(cls, "run"):
            cls.run = PythonExecutor.run

    state = StateOf()
    """The variables as a dict; of a place that cannot be read, those that were set through it."""

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

        `names` are of files or folders as `files` lists them; None: all files but hidden ones, and those that Python,
        pytest, Jupyter or Matplotlib would import, run or read unasked. Files that are there are kept unless
        `overwrite`. Gives the paths, and in `refused` why others were not saved. Raises ExecutorError if there is no
        box to save from (any more), ConfigError for a folder that cannot be one.
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
        if self._seen is not None:  # it is the guard that asks
            yield from self._noted(code, self._seen)
            return
        seen, handlers = _Seen(), program_handlers()
        try:
            done = self._guarded(code, seen)
        except BaseException as error:  # boundary: a user's own class may raise anything for a failed action
            if error is seen.broke or not isinstance(error, failures(handlers)):
                seen.broke = None
                yield from seen.events
                raise
            ended = _failed(error, seen.end)
        else:
            ended = _done(done, seen.end)
            self._gave = ended, done.output
        seen.broke = None
        yield from (event for event in seen.events if event.run or not isinstance(event, ActionFinished))
        yield ended

    def __call__(self, code_action: str) -> CodeOutput:
        """Run an action to its end. Raises AgentExecutionError if it failed."""
        finished: ActionFinished | None = None
        for event in self._run_beneath(code_action) if self._seen is None else self._noted(code_action, self._seen):
            if isinstance(event, ActionFinished) and not event.run:
                finished = event
        if finished is None:
            raise AgentExecutionError(f"{type(self).__name__}.run() ended without an ActionFinished event")
        if finished.status != "ok":
            raise AgentExecutionError(_words(finished))
        return CodeOutput(decode(finished.value), finished.logs, finished.final)

    def output_of(self, finished: ActionFinished) -> Any:
        """What an action gave: of the last one the very object that a `__call__` gave, which need not cross."""
        gave, self._gave = self._gave, None
        return gave[1] if gave and gave[0] is finished else decode(finished.value)

    def _guarded(self, code: str, seen: _Seen) -> CodeOutput:
        self._seen = seen
        try:
            return self(code)
        finally:
            self._seen = None

    def _noted(self, code: str, seen: _Seen) -> Iterator[Event]:
        """What happens behind a guard, noted."""
        try:
            for event in self._run_beneath(code):
                seen.events.append(event)
                yield event
        except BaseException as error:
            seen.broke = error
            raise

    def _run_beneath(self, code: str) -> Iterator[Event]:
        """Run an action by the `run` that stands behind a `__call__` of a subclass."""
        if type(self).__call__ is PythonExecutor.__call__:
            self._need_own("run")
            return self.run(code)
        for base in type(self).__mro__[_place(type(self), "__call__") :]:
            if (run := vars(base).get("run", PythonExecutor.run)) is not PythonExecutor.run:
                return run(self, code)
        raise NotImplementedError(f"{type(self).__name__} has no class behind its own that runs actions")

    def check(self, expressions: Sequence[str], answer: Any = None) -> Iterator[Event]:
        """Try each expression, in which `answer` is the final answer; yields a Checked for each.

        One is passed if its value is true, which an action's code can feign: only a function in the host sees what the
        caller gets. Here they run as actions do, after `answer` was sent as a variable.
        """
        self.send_variables({"answer": answer})
        for expression in expressions:
            handlers = program_handlers()
            try:
                value = self(expression).output
                ok, reason = (True, "") if value else (False, f"is {value!r}")
            except failures(handlers) as error:  # boundary: a check runs anything
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


def observation(finished: ActionFinished, limit: int | None) -> str:
    """What an action put out and gave, as the model reads it; of an answer, which is told whole, up to `limit`
    characters (None: 20,000)."""
    logs = f"Execution logs:\n{finished.logs.rstrip()}".rstrip()
    if finished.status == "ok":
        most = PythonExecutor.max_print_outputs_length if limit is None else limit
        gave = truncate(finished.value_text, most) if finished.final else finished.value_text
        return f"{logs}\nLast output from code snippet:\n{gave or 'None'}{_lost(finished)}"
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


def _words(finished: ActionFinished) -> str:
    """What an action that failed put out, and why it failed."""
    return "\n".join(filter(None, [finished.logs, failure(finished)]))


def _place(kind: type[Any], method: str) -> int:
    """How far from `kind` the class stands that defines the method."""
    return next(place for place, base in enumerate(kind.__mro__) if method in vars(base))


def _done(done: CodeOutput, told: ActionFinished) -> ActionFinished:
    """The account of an action that a `__call__` gave `done` for; what was `told` beneath it counts if that is it."""
    try:
        value = encode(done.output)
    except NotPortable:
        value = remote(done.output, "")
    if told.status == "ok" and value == told.value:
        return replace(told, logs=done.logs, final=done.is_final_answer)
    given: dict[str, Any] = {"names": told.names, "lost": told.lost, "completed": told.completed}
    text = "" if done.output is None else str(done.output)
    return ActionFinished(
        status="ok", value=value, value_text=text, final=done.is_final_answer, logs=done.logs, **given
    )


def _failed(error: Exception, told: ActionFinished) -> ActionFinished:
    """The same of one for which it raised `error`."""
    message = error.message if isinstance(error, AgentExecutionError) else str(error)
    if told.status not in ("", "ok") and message == _words(told):
        return told
    given: dict[str, Any] = {"names": told.names, "lost": told.lost, "completed": told.completed}
    return ActionFinished(status="error", error_type=type(error).__name__, error=message, **given)


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


def executor_of(agent: Any) -> PythonExecutor:
    """The executor of an agent."""
    try:
        return vars(agent)["python_executor"]
    except KeyError:
        raise AttributeError(f"{type(agent).__name__} has no python_executor yet") from None


def give_executor(agent: Any, executor: Any) -> None:
    """Let an agent act there, in what `as_executor` takes."""
    vars(agent)["python_executor"] = as_executor(executor)
