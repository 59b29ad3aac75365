"""Structured tool calls, made in the host: the hands of an agent that writes no code.

Several calls of one reply run side by side; a single one of a plain tool runs on the thread that asks for it, or where
`tool_thread` says.
"""

from __future__ import annotations

import contextvars
import itertools
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from smol_kernel.errors import AgentError, AgentToolCallError, AgentToolExecutionError, BoxUnavailableError
from smol_kernel.events import ActionFinished, Event, ToolCalled, ToolReturned, listening
from smol_kernel.executors.call_results import result_of
from smol_kernel.executors.emitted import Emitted
from smol_kernel.executors.interpreter_tool import STOP
from smol_kernel.executors.made_call import MadeCall, raise_what_came_from_around, told_together
from smol_kernel.executors.no_secrets import no_secrets
from smol_kernel.executors.observation import PACE, clean, truncate
from smol_kernel.executors.recorded import (
    STOPPED,
    AbandonedError,
    NotMadeError,
    Recorded,
    RecordedError,
    kinds_of_error,
    name_of_error,
)
from smol_kernel.executors.tool_body import ends_the_run, tool_body
from smol_kernel.executors.tool_thread import Job, PollingToolThread, ToolThread, tool_thread, tools_on
from smol_kernel.executors.tracebacks import message
from smol_kernel.executors.values import decode, encode, remote
from smol_kernel.executors.written_arguments import arguments_in
from smol_kernel.executors.written_calls import as_python, as_written, free_name, is_name
from smol_kernel.memory.known_secrets import redacted
from smol_kernel.memory.life import Life
from smol_kernel.memory.rich_values import AgentAudio, AgentImage, handle_agent_output_types
from smol_kernel.memory.steps import ToolCall, ToolOutput
from smol_kernel.signals import failures, program_handlers
from smol_kernel.tools.base import Tool, validate_tool_arguments
from smol_kernel.tools.records import to_plain
from smol_kernel.waits import LOOK

AT_ONCE = 32
"""Calls of one reply that run at once, if not told otherwise."""
LONGEST = 50_000
"""Characters of a result that the model reads, if not told otherwise."""
_STOPPED = "the run was stopped while this call was under way"
_WAKE: Any = object()
"""Arrives when a call holds progress back."""


class _ToolFailed(AgentToolExecutionError):
    """What `ToolCalls.call` raises; its cause is the tool's own error."""


class ToolCalls:
    """Makes the calls of an agent's replies.

    Parameters: `state`, variables that an argument may name, where images and sounds that tools give are kept;
    `at_once`, calls that run at once (None: 32); `longest`, characters that the model reads of a result or an error
    (None: 50,000); `life`, of the agent: asked before each call but `final_answer` why it may not be made, and whether
    the run is being stopped.
    """

    def __init__(self, state: dict[str, Any], at_once: int | None, longest: int | None, life: Life) -> None:
        self.state, self._life, self._stopped = state, life, life.stop.is_set
        self._at_once, self._longest = at_once or AT_ONCE, longest or LONGEST
        self.recorded: Recorded | None = None
        """Asked for the result of each call; one that it has answers the call, and the tool is not called."""
        self.through: Callable[[str, Any], Any] | None = None
        """Makes the calls in place of the tools, given a name and arguments as they were written; `call` helps it."""
        self.call_numbers = itertools.count(1)
        self._arrivals: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.outputs: dict[str, ToolOutput] = {}
        """Of the last calls that gave a result, in their order: id of the event → what came."""
        self.images: list[Any] = []
        """Images among these."""
        self._images: dict[str, Any] = {}
        self.names: dict[str, str] = {}
        """In Python, of images and sounds that tools gave: the name that an argument has for one → the variable."""
        self.taken: frozenset[str] = frozenset()
        """Names that are given to none of these."""
        self._binds: dict[int, str] = {}
        """The variables that calls of the last reply bind, by the id of the call's object."""
        self._made: list[MadeCall] = []
        self._cut_short = False
        """Whether a call of the last reply was not made, or not waited for, because the run was stopped."""

    def run(self, calls: Sequence[ToolCall], tools: Mapping[str, Tool]) -> Iterator[Event]:
        """Make `calls` of `tools`; yields what happens as it happens, ActionFinished last.

        Raises AgentToolCallError or AgentToolExecutionError, before any is made, for a call that cannot be;
        BoxUnavailableError if a tool found that no box can be had: that does not get better by trying; after
        ActionFinished what `through` raised itself.
        """
        begun, self.outputs, self._images, self._cut_short = time.monotonic(), {}, {}, False
        self._arrivals = arrivals = queue.SimpleQueue[Any]()
        room = threading.Semaphore(self._at_once)  # of this reply alone: calls that were left may never end
        self._made = made = [self._checked(call, tools, arrivals, room) for call in calls]
        here = PollingToolThread(lambda: arrivals.put(here))
        try:
            failed = yield from self._make(made, arrivals, here)
        finally:
            here.close()
            for one in made:
                one.end()
        if failed:  # the step is in no cells, and so binds no name
            self.names = {said: name for said, name in self.names.items() if name not in self._binds.values()}
        order = [one.event.call for one in made]
        self.outputs = {call: self.outputs[call] for call in order if call in self.outputs}
        self.images = [self._images[call] for call in order if call in self._images]
        last = self.outputs.get(order[-1])
        kind, error, others = told_together(failed)
        yield ActionFinished(
            status="interrupted" if self._cut_short else "error" if failed else "ok",
            value=no_secrets(plain(last.output))[0] if last else None,
            final=bool(last and last.is_final_answer),
            logs="\n".join([*(output.observation for output in self.outputs.values()), *others]),
            error_type=kind,
            error=error,
            completed=0 if failed else len(made),
            seconds=time.monotonic() - begun,
        )
        raise_what_came_from_around(failed)

    def as_python(self, calls: Sequence[ToolCall], tools: Mapping[str, Tool]) -> str:
        """The calls of a reply that are made next, each a line of Python; those that give an image or a sound bind it
        to a name, by which later ones are given it. A call that cannot be read is shown as it was written."""
        self.names = {said: name for said, name in self.names.items() if said in self.state and name not in self.state}
        self._binds = {}
        lines: list[str] = []
        for call in calls:
            try:
                kind = self._given(call, tools)[0].output_type
                if kind in ("image", "audio"):
                    taken = {*self.taken, *self.state, *self.names.values(), *self._binds.values()}
                    self._binds[id(call)] = free_name(kind, taken)
                lines.append(self._line(call, tools))
            except AgentError:
                lines.append(as_written(call.name, call.arguments))
        return "\n".join(lines)

    def interrupt(self) -> None:
        """Wait for no call any longer; the code of those that run some is ended. Any thread."""
        self._arrivals.put(None)
        for made in self._made:
            made.stop.now()

    def call(self, call: ToolCall, tools: Mapping[str, Tool]) -> Any:
        """What one call gives, made at once on this thread. Raises AgentToolCallError or AgentToolExecutionError."""
        tool, arguments = self.meaning(call, tools)
        handlers = program_handlers()
        try:
            return result_of(tool(**arguments), lambda _: None)
        except failures(handlers) as error:  # boundary: a tool can raise anything
            said = redacted(f"{name_of_error(error)}: {message(error)}")
            said = truncate(clean(said), self._longest)
            raise _ToolFailed(f"Tool {call.name!r} failed: {said}") from error

    def _checked(
        self, call: ToolCall, tools: Mapping[str, Tool], arrivals: queue.SimpleQueue[Any], room: threading.Semaphore
    ) -> MadeCall:
        tool, arguments = self.meaning(call, tools)
        event = ToolCalled(
            call=f"c{next(self.call_numbers)}",
            tool=call.name,
            kwargs={name: plain(value) for name, value in arguments.items()},
            summary=truncate(self._line(call, tools), 200),
            blocking=not (tool.threaded or tool.is_async),
        )
        emitted = Emitted(event.call, arrivals.put, lambda: arrivals.put(_WAKE))
        return MadeCall(event, call, tool, arguments, emitted, room, self._longest)

    def meaning(self, call: ToolCall, tools: Mapping[str, Tool]) -> tuple[Tool, dict[str, Any]]:
        """The tool that a call names, and its arguments as they are meant. Raises AgentToolCallError or
        AgentToolExecutionError for a call that cannot be made."""
        tool, given = self._given(call, tools)
        arguments = {name: self._meant(name, value) for name, value in given.items()}
        try:
            validate_tool_arguments(tool, arguments)
        except (ValueError, TypeError) as error:
            raise AgentToolCallError(str(error)) from error
        return tool, arguments

    def _given(self, call: ToolCall, tools: Mapping[str, Tool]) -> tuple[Tool, dict[str, Any]]:
        """The tool that a call names, and its arguments by name, as they were written."""
        tool = tools.get(call.name) if isinstance(cast("Any", call.name), str) else None
        if tool is None:
            raise AgentToolExecutionError(f"There is no tool {call.name!r}; there are: {', '.join(tools)}.")
        given: Any = call.arguments if call.arguments not in (None, "") else {}
        given = arguments_in(given, tool) if isinstance(given, str) else given
        if not isinstance(given, dict):  # of a tool with one input some models give the value alone
            given = {next(iter(tool.inputs), "value"): given}
        return tool, given

    def _line(self, call: ToolCall, tools: Mapping[str, Tool]) -> str:
        bound = f"{self._binds[id(call)]} = " if id(call) in self._binds else ""
        return bound + as_python(call.name, self._given(call, tools)[1], self._variable)

    def _variable(self, name: str) -> str:
        """The Python name of the variable that an argument names; "" if it names none."""
        return self.names.get(name, name if is_name(name) else "") if name in self.state else ""

    def _meant(self, name: str, given: Any) -> Any:
        """What an argument stands for: the variable it names; so does each of the variables for an agent."""
        if name == "additional_args" and isinstance(given, dict):
            return {key: self._meant("", value) for key, value in cast("dict[str, Any]", given).items()}
        return self.state.get(given, given) if isinstance(given, str) else given

    def _make(
        self, calls: list[MadeCall], arrivals: queue.SimpleQueue[Any], here: PollingToolThread
    ) -> Generator[Event, None, list[MadeCall]]:
        """Start the calls and see them to their end; returns those that failed, in the order in which they did."""
        waiting, failed, last_look = dict[str, MadeCall](), list[MadeCall](), False
        elsewhere = tool_thread()
        for made in calls:
            alone = len(calls) == 1 and made.event.blocking
            known = self.recorded(made.event) if self.recorded else None
            made.event = replace(made.event, blocking=alone, replays=known.call if known else "")
            yield made.event
            waiting[made.event.call] = made
            refusal = self._life.account.refuse_call() if made.call.name != "final_answer" else None
            if known is not None:
                arrivals.put((made, decode(known.value), known.error))
            elif self._stopped():
                arrivals.put((made, None, NotMadeError()))
            elif refusal is not None:
                arrivals.put((made, None, refusal))
            elif alone and elsewhere is not None:
                self._submit(made, arrivals, elsewhere)
            elif alone:
                self._perform(made, arrivals)
            else:
                with tools_on(elsewhere or here):
                    run = contextvars.copy_context().run
                name = f"tool {made.call.name}"
                threading.Thread(target=run, args=(self._perform, made, arrivals), name=name, daemon=True).start()
        while waiting:
            try:
                item: Any = arrivals.get(timeout=PACE if any(made.emitted.holds for made in waiting.values()) else LOOK)
            except queue.Empty:
                item = _WAKE
            if item is _WAKE:
                if arrivals.empty():  # else what waits is newer than what has arrived
                    yield from filter(None, [made.emitted.release() for made in waiting.values()])
                continue
            if isinstance(item, Event):
                yield item
                continue
            if isinstance(item, BaseException):
                raise item
            if item is here:
                if not self._stopped():
                    here.serve()
                continue
            if item is None and not last_look:  # what has come by now counts
                last_look = True
                arrivals.put(None)
                continue
            for made, value, error in [item] if item else [(each, None, _why(each)) for each in waiting.values()]:
                del waiting[made.event.call]
                made.end()
                said, form, error = self._kept(made, value, error)
                self._cut_short = self._cut_short or _kept_from_its_end(error)
                if error is not None:
                    made.fail(error, said)
                    failed.append(made)
                if (progress := made.emitted.end()) is not None:
                    yield progress
                yield ToolReturned(
                    call=made.event.call,
                    tool=made.call.name,
                    ok=error is None,
                    value=form,
                    error_type=name_of_error(error) if error else None,
                    kinds=kinds_of_error(error) if error else [],
                    error=made.words,
                    around=made.around,
                    summary=said[:200],
                    seconds=time.monotonic() - (made.started or time.monotonic()),
                )
                if isinstance(error, BoxUnavailableError):
                    raise error
                if isinstance(error, NotMadeError) and not self._stopped():  # what this agent works for was
                    raise KeyboardInterrupt(str(error))
        return failed

    def _submit(self, made: MadeCall, arrivals: queue.SimpleQueue[Any], thread: ToolThread) -> None:
        """Have `thread` make the call. What ends the run arrives by itself."""

        def done(_: object, error: BaseException | None) -> None:
            if error is not None:
                arrivals.put((made, None, error) if isinstance(error, NotMadeError) else error)

        thread.submit(Job(lambda: self._perform(made, arrivals), done))

    def _perform(self, made: MadeCall, arrivals: queue.SimpleQueue[Any]) -> None:
        token, handlers = STOP.set(made.stop), program_handlers()
        try:
            with made.room, listening(made.emitted, made.event.call):
                made.started = time.monotonic()  # before the look: who sees none knows that it was not made
                if made.ended or self._stopped():  # while it waited for room
                    raise NotMadeError()
                with tool_body():
                    value = self._value(made)
        except BaseException as error:  # boundary: a tool can raise anything; the model shall see it
            if made.event.blocking and ends_the_run(error, handlers):
                raise
            arrivals.put((made, None, error))
        else:
            arrivals.put((made, value, None))
        finally:
            STOP.reset(token)

    def _value(self, made: MadeCall) -> Any:
        through = self.through
        try:
            value = through(made.call.name, made.call.arguments) if through else made.tool(**made.arguments)
            return result_of(value, made.begun)
        except _ToolFailed as error:
            raise error.__cause__ or error from None  # it is told of as always
        except BaseException as error:
            made.raised_around = error if through else None
            raise

    def _kept(self, made: MadeCall, value: Any, error: BaseException | None) -> tuple[str, Any, BaseException | None]:
        """What the model reads of what came of a call, the value in its encoded form, and the error: also that of a
        value which cannot be read. Known secrets are in none of them."""
        try:
            if error is None:
                value, form = _without_secrets(value)
                return self._keep(made, value), form, None
        except Exception as unreadable:  # noqa: BLE001 - boundary: the value's own methods run here
            error = unreadable
        return redacted(f"{name_of_error(error)}: {message(error)}"), None, error

    def _keep(self, made: MadeCall, value: Any) -> str:
        """Keep what a call gave; returns what the model reads: of an image or a sound the name it is kept under."""
        rich = handle_agent_output_types(value, made.tool.output_type)
        if isinstance(rich, AgentImage | AgentAudio):
            name = "image.png" if isinstance(rich, AgentImage) else "audio.mp3"
            said = name if name not in self.state else f"{len(self.state)}_{name}"
            self.state[said] = value
            if isinstance(rich, AgentImage):
                self._images[made.event.call] = rich.to_raw()
                self.state[said] = rich if isinstance(value, str | Path) else value  # else it would be but a path
            self._life.given[said] = self.state[said]
            if id(made.call) in self._binds:
                self.names[said] = self._binds[id(made.call)]
        else:
            said = truncate(clean(redacted(str(value))), self._longest).strip()
        final = made.call.name == "final_answer"
        self.outputs[made.event.call] = ToolOutput(made.call.id, value, final, said, made.call)
        return said


def _kept_from_its_end(error: BaseException | None) -> bool:
    """Whether a stop did that, now or when the call was recorded."""
    then = isinstance(error, RecordedError) and name_of_error(error) in STOPPED
    return then or isinstance(error, AbandonedError | NotMadeError)


def _why(made: MadeCall) -> Exception:
    """What a call ends with that nobody waits for any longer."""
    return AbandonedError(_STOPPED) if made.started else NotMadeError()


def error_of(finished: ActionFinished) -> AgentError | None:
    """The error of a step whose calls ended so."""
    kind = AgentError if finished.error_type == AgentError.__name__ else AgentToolExecutionError
    return kind(finished.error) if finished.error else None


def plain(value: Any) -> Any:
    """`value` in its encoded form; of one that cannot cross, a description."""
    try:
        return encode(to_plain(value))
    except Exception:  # noqa: BLE001 - boundary: not portable, or its own methods raise
        return remote(value, "")


def _without_secrets(value: Any) -> tuple[Any, Any]:
    """`value`, or one that holds words in place of known secrets, as it would come from a child; and its encoded form.

    One that cannot cross stays as it is; only its description is without them.
    """
    try:
        given = encode(to_plain(value))
    except Exception:  # noqa: BLE001 - boundary: not portable, or its own methods raise
        return value, no_secrets(remote(value, ""))[0]
    form, _ = no_secrets(given)
    return value if form is given else decode(form), form
