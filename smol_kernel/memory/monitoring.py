"""What a run tells those who listen from Python: a logger, a monitor of time and tokens, callbacks after each step."""

from __future__ import annotations

import copy
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterable
from enum import IntEnum
from types import MethodType
from typing import TYPE_CHECKING, Any, TextIO, cast

from smol_kernel.errors import ConfigError
from smol_kernel.memory.usage import TokenUsage
from smol_kernel.signals import failures, program_handlers

if TYPE_CHECKING:
    from smol_kernel.memory.steps import MemoryStep

_STEERS_A_TERMINAL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_WIDTH = 88


class LogLevel(IntEnum):
    """Verbosity of an agent."""

    OFF = -1
    ERROR = 0
    INFO = 1
    DEBUG = 2


def _level(given: Any) -> int:
    found = LogLevel.__members__.get(given.upper()) if isinstance(given, str) else given
    if not isinstance(found, int):
        raise ConfigError(f"verbosity level {given!r}: give one of LogLevel, {', '.join(LogLevel.__members__)}")
    return found


class _Lines:
    """Prints plain text to `file` (None: whatever `sys.stdout` is at the time)."""

    width = _WIDTH

    def __init__(self, file: TextIO | None = None) -> None:
        self.file = file

    def print(self, *objects: Any, **_options: Any) -> None:
        """Print `objects`, separated by spaces; options of other consoles mean nothing here."""
        print(*objects, file=self.file or sys.stdout)

    log = print

    def rule(self, title: Any = "", **_options: Any) -> None:
        """Print a line across the page that holds `title`."""
        self.print(_ruled(title))

    def __getattr__(self, name: str) -> Any:
        """What a rich console has besides."""
        raise AttributeError(
            f"an agent's console prints plain text and has no {name!r}: give it one of rich's, with "
            "logger=AgentLogger(console=rich.console.Console())"
        )


class _Printed:
    """A text stream whose lines a console of the user's prints."""

    def __init__(self, console: Any) -> None:
        self._console, self._rest = console, ""

    def write(self, text: str) -> int:
        """Have the lines printed that are whole."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._console.print(line, **_unstyled(self._console))
        return len(text)

    def flush(self) -> None:
        """A line is printed once it is whole."""

    def isatty(self) -> bool:
        """It can take no line back."""
        return False


class AgentLogger:
    """Prints what is logged at a level of at most `level` to `console`.

    The level is a LogLevel, a whole number or a name such as "info"; ConfigError for others.
    `console` is any object with a `print` method (such as a `rich.console.Console`), a text stream, or None for
    `sys.stdout`; `console.file` is the stream behind it. What cannot be printed is dropped: a logger never ends a run.
    """

    def __init__(self, level: int | str | LogLevel = LogLevel.INFO, console: Any = None) -> None:
        self.level = _level(level)
        self.console: Any = console if hasattr(console, "print") else _Lines(console)

    @property
    def stream(self) -> Any:
        """Where a run is printed: the stream behind the console, or the console itself, where it records or has none.
        None: `sys.stdout`."""
        place = _place(self.console)
        return _Printed(place) if place is not None and place is self.console else place

    def log(self, *args: Any, level: int | str | LogLevel = LogLevel.INFO, **kwargs: Any) -> None:
        """Print `args`. `level` is a LogLevel or its name; further options go to the console's `print`."""
        try:
            if isinstance(level, str):
                level = LogLevel.__members__.get(level.upper(), LogLevel.INFO)
            if level <= self.level:
                self.console.print(*args, **kwargs)
        except Exception:  # noqa: BLE001  boundary: a console of the user's
            return

    def log_error(self, error_message: str) -> None:
        """Print an error, at the level ERROR."""
        self._say(str(error_message), LogLevel.ERROR)

    def log_markdown(
        self, content: str, title: str | None = None, level: int | LogLevel = LogLevel.INFO, style: str = "#d4b702"
    ) -> None:
        """Print text, under a title if it has one. `level` as in `log`; `style` is accepted and not used."""
        self._say("\n".join(filter(None, [title, str(content)])), level)

    def log_code(self, title: str, content: str, level: int | LogLevel = LogLevel.INFO) -> None:
        """Print code under a title, each line marked. `level` as in `log`."""
        self._say("\n".join([title, *(f"> {line}".rstrip() for line in str(content).split("\n"))]), level)

    def log_rule(self, title: str, level: int | LogLevel = LogLevel.INFO) -> None:
        """Print a line across the page that holds `title`. `level` as in `log`."""
        self._say(_ruled(title), level)

    def log_task(
        self, content: Any, subtitle: Any, title: str | None = None, level: int | LogLevel = LogLevel.INFO
    ) -> None:
        """Print the task that an agent begins; `title` is the agent's name, `subtitle` a fact such as its model.
        `level` as in `log`."""
        lines = filter(
            None, [f"New task for {title}" if title else "New task", str(content).strip(), str(subtitle or "")]
        )
        self._say("\n".join(lines), level)

    def log_messages(self, messages: Iterable[Any] | None, level: int | LogLevel = LogLevel.DEBUG) -> None:
        """Print messages that a model reads, parts other than text by their type. `level` as in `log`."""
        self._say("\n".join(map(_message_text, messages or ())), level)

    def visualize_agent_tree(self, agent: Any) -> None:
        """Print an agent's tree: the text `agent`, or that of an agent, which is asked to `visualize()` itself."""
        if isinstance(agent, str):
            self._say(agent, LogLevel.OFF)
        else:
            agent.visualize()

    def _say(self, text: str, level: int | LogLevel) -> None:
        self.log(_STEERS_A_TERMINAL.sub("", text), level=level, **_unstyled(self.console))


def stands_apart(logger: Any, caller: Any) -> bool:
    """Whether what an agent does is printed by its own logger, rather than by that of its caller among the caller's
    doings: its own prints less of a run, or has been given another place. Not by one that does not say."""
    try:
        if logger.level < LogLevel.INFO:
            return True
        places = [_place(each.console) for each in (logger, caller)]
        here, there = (sys.stdout if place is None else place for place in places)
        return places[0] is not None and here is not there
    except Exception:  # noqa: BLE001  boundary: a logger of the user's
        return False


def _place(console: Any) -> Any:
    """The stream behind a console, or the console itself, where it records or has none. None: `sys.stdout`."""
    recorded = not hasattr(console, "file") or getattr(console, "record", False)
    return console if recorded else console.file


def _ruled(title: Any) -> str:
    return (f"── {title} " if title else "").ljust(_WIDTH, "─")


def _unstyled(console: Any) -> dict[str, bool]:
    """Options that keep a rich console from reading brackets in the text as its own markup."""
    try:
        known = inspect.signature(console.print).parameters
    except (TypeError, ValueError):
        return {}
    return {option: False for option in ("markup", "highlight") if option in known}


def _message_text(message: Any) -> str:
    role, content = (
        (message.get("role"), message.get("content"))
        if isinstance(message, dict)
        else (getattr(message, "role", None), getattr(message, "content", message))
    )
    parts = cast("list[Any]", content) if isinstance(content, list) else [content or ""]
    words = "\n".join(map(_part_text, parts))
    return f"{getattr(role, 'value', role)}:\n" + textwrap.indent(words, "  ")


def _part_text(part: Any) -> str:
    return str(part.get("text", f"[{part.get('type')}]")) if isinstance(part, dict) else str(part)


class Monitor:
    """Time and tokens of the steps of an agent. `tracked_model` is its model; `logger` is told of each step."""

    def __init__(self, tracked_model: Any, logger: AgentLogger) -> None:
        self.tracked_model = tracked_model
        self.logger = logger
        self.reset()

    def reset(self) -> None:
        """Begin to count anew."""
        self.step_durations: list[float] = []
        self.total_input_token_count = 0
        self.total_output_token_count = 0
        self._cached_tokens = 0
        self._cost: float | None = 0.0

    def get_total_token_counts(self) -> TokenUsage:
        """Tokens of all steps so far, and what they cost, where that is known of each."""
        read, written = self.total_input_token_count, self.total_output_token_count
        return TokenUsage(read, written, self._cached_tokens, self._cost)

    def update_metrics(self, step_log: Any) -> None:
        """Count a step that has ended; usable as a callback. The console tells it at INFO, so this logs at DEBUG."""
        seconds, usage = step_log.timing.duration or 0.0, step_log.token_usage
        self.step_durations.append(seconds)
        facts = f"Step {len(self.step_durations)}: {seconds:.2f} s"
        if usage is not None:
            self.total_input_token_count += usage.input_tokens
            self.total_output_token_count += usage.output_tokens
            self._cached_tokens += usage.cached_tokens
            self._cost = None if self._cost is None or usage.cost is None else self._cost + usage.cost
            facts += f" · in all {self.total_input_token_count:,} tokens read"
            facts += f" and {self.total_output_token_count:,} written"
        self.logger.log(facts, level=LogLevel.DEBUG)


class CallbackRegistry:
    """Functions to call after steps of given classes."""

    def __init__(self) -> None:
        self._callbacks: dict[type, list[Callable[..., Any]]] = {}

    def __len__(self) -> int:
        """How many are registered."""
        return sum(map(len, self._callbacks.values()))

    def another(self, *moved: tuple[Any, Any]) -> CallbackRegistry:
        """The same functions in a registry of its own. `moved` are pairs of objects: a method of the first is that of
        the second there."""

        def of_another(callback: Callable[..., Any]) -> Callable[..., Any]:
            for old, new in moved:
                if isinstance(callback, MethodType) and callback.__self__ is old:
                    return MethodType(callback.__func__, new)
            return callback

        twin = copy.copy(self)
        twin._callbacks = {kind: list(map(of_another, callbacks)) for kind, callbacks in self._callbacks.items()}
        return twin

    def register(self, step_cls: type[MemoryStep], callback: Callable[..., Any]) -> None:
        """Have `callback` called with every step of `step_cls` or a subclass. Raises ConfigError for other things."""
        if not isinstance(cast("Any", step_cls), type):
            raise ConfigError(f"{step_cls!r} is not a class of steps: register for ActionStep, PlanningStep, …")
        if not callable(callback):
            raise ConfigError(f"{callback!r} is not callable: give a function that takes a step")
        if any(map(inspect.iscoroutinefunction, (callback, callback.__call__))):
            raise ConfigError(f"{callback!r} is async, and callbacks are not awaited: give a plain function")
        self._callbacks.setdefault(step_cls, []).append(callback)

    def callback(self, memory_step: MemoryStep, **kwargs: Any) -> None:
        """Call what is registered for the step's class, then what is for its bases.

        A function with one parameter gets the step only; others get those of `kwargs` (such as `agent`) they name.
        The first error that one of them raises is raised when all have been called; what a handler of a signal raised
        meanwhile, at once.
        """
        handlers = program_handlers()
        failure: list[Exception] = []  # an error that is kept where it was raised would keep all that is there
        for step_cls in type(memory_step).__mro__:
            for callback in list(self._callbacks.get(step_cls, ())):
                try:
                    called_with(callback, memory_step, **kwargs)
                except failures(handlers) as error:  # boundary: a user's own callback
                    failure = failure or [error]
        if failure:
            raise failure.pop()


def called_with(function: Callable[..., Any], *given: Any, **options: Any) -> Any:
    """What a user's `function` returns: it gets as many of `given` as it has places for, and the `options` it names.

    Whatever the function raises is raised.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:  # a builtin that does not tell
        return function(*given)
    free = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    places = [parameter for parameter in parameters if parameter.kind in free and parameter.name not in options]
    any_place = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    any_name = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    taken = {name for name in options if any_name or any(parameter.name == name for parameter in parameters)}
    passed = given if any_place else given[: max(len(places), 1)]
    return function(*passed, **{name: options[name] for name in taken})
