"""The host end of tool calls: checks what the child asks for, makes the call, yields its events, answers.

An action has one bridge. A request is decoded strictly and checked against the schema before anything happens.
"""

from __future__ import annotations

import contextvars
import inspect
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from smol_kernel.errors import ChildDiedError
from smol_kernel.events import Event, ToolCalled, ToolReturned
from smol_kernel.executors.asides import Asides
from smol_kernel.executors.call_under_way import Call, Outcome, outcome_of, perform
from smol_kernel.executors.client import KernelClient
from smol_kernel.executors.emitted import Emitted
from smol_kernel.executors.error_attributes import attributes_of
from smol_kernel.executors.readings import Asked
from smol_kernel.executors.recorded import (
    NOT_SHOWN,
    AbandonedError,
    NotMadeError,
    Recorded,
    kinds_of_error,
    name_of_error,
)
from smol_kernel.executors.summaries import argument, cut, error_line
from smol_kernel.executors.tool_thread import AskPerson, Job, PollingToolThread, tool_thread, tools_on
from smol_kernel.executors.values import Decoder, MalformedValue
from smol_kernel.tools.base import Tool, bind_arguments, validate_tool_arguments
from smol_kernel.tools.checking import is_reordered

POOL = 32
"""Threaded and async tools of one action that run at once; further calls wait."""
MAX_CALLS = 1_000
"""Calls that may be outstanding; the child's own code has half as many."""
MAX_HELD = 512 << 20
"""Bytes of the arguments of outstanding calls, above which only one is taken."""
MAX_CARRIED = 256 << 20
"""Bytes of the calls of one action and of what came of them, all together: the journal keeps them."""
LEAST_CARRIED = 1 << 10
"""Bytes that each call counts for besides: so many its events take."""

Function = Callable[..., Any]
Refuse = Callable[[ToolCalled], str | Exception | None]


class Refused(Exception):
    """A request that cannot be met; `kinds` are those of the exception the child shall see, best first."""

    def __init__(self, message: str, *kinds: str) -> None:
        super().__init__(message)
        self.kinds = kinds


class Bridge:
    """The calls of one action.

    Plain tools run on the thread that has the action, or where `tool_thread` says; there `ask_person` answers `input()`
    (None: whom that thread knows). `next_id` gives ids for events. `stopped` tells that the action is being stopped: no
    answer is sent any more. `standing` is called with True when the first call is outstanding, and with False when none
    is: the action's clock. `refuse` is asked before each call; the reason it gives, if any, is what the child is told.
    `recorded` may have the result of a call already; then nothing is called. By `asides` a tool may ask the child.
    """

    def __init__(
        self,
        client: KernelClient,
        tools: Mapping[str, Function],
        asides: Asides,
        *,
        ask_person: AskPerson | None,
        refuse: Refuse | None,
        recorded: Recorded | None,
        next_id: Callable[[], str],
        stopped: Callable[[], bool],
        standing: Callable[[bool], None],
    ) -> None:
        self._client, self._tools, self._asides = client, tools, asides
        self._elsewhere = tool_thread()
        self._here = PollingToolThread(client.wake, ask_person)
        """For the plain calls of agents that this action calls, if its own are made here."""
        self._ask_person = ask_person or (self._elsewhere and self._elsewhere.ask_person)
        self._refuse, self._recorded = refuse, recorded
        self._next_id, self._stopped, self._standing = next_id, stopped, standing
        self._outstanding: dict[str, Call] = {}
        asides.calls = self._outstanding
        self._held = self._carried = 0
        self._queued: deque[tuple[Call, contextvars.Context]] = deque()
        self._running = 0
        self._unanswered: list[int] = []
        """Of calls that ended while the action was being stopped: the interrupt is its answer, until it has ended."""
        self._news: queue.SimpleQueue[Outcome | Event | BaseException] = queue.SimpleQueue()
        self._pressed: BaseException | None = None
        """Came in a call elsewhere, and ends the run."""

    def answer(self, asked: Asked) -> Iterator[Event]:
        """Meet one request of the child: at once, or in the pool."""
        request, number = asked.request, asked.number
        ours = isinstance(request, dict)  # a genuine input() of the kernel's own says nothing of us
        if ours and (number is None or asked.leaving):  # the child ends once all that it put out has arrived
            self._client.reply(number, {"ok": True})
            return
        try:
            if self._stopped():
                raise Refused("the action is being stopped", "RuntimeError")
            if len(self._outstanding) >= MAX_CALLS:
                raise Refused(f"more than {MAX_CALLS:,} calls at once; wait for some of them", "RuntimeError")
            self._carry(asked.size + LEAST_CARRIED)
            if number is None or "input" in request:
                call, event = self._person(asked)
            else:
                call, event = self._tool(number, asked)
        except Refused as refusal:
            self._client.reply(number, _failure(list(refusal.kinds), str(refusal)))
            return
        self._outstanding[call.id] = call
        self._held += call.weight
        self._standing(True)
        known = self._recorded(event) if self._recorded else None
        yield event if known is None else replace(event, replays=known.call)
        hindrance = self._hindrance(event)  # a recorded call counts too
        if known is not None:
            yield from self._finish(Outcome(call, known.value, known.summary, known.error))
        elif hindrance:
            yield from self._finish(Outcome(call, error=hindrance, summary=error_line(hindrance)))
        elif call.pooled:
            self._queued.append((call, contextvars.copy_context()))
            self._start_queued()
        elif self._elsewhere is not None:
            self._elsewhere.submit(Job(lambda: self._visit(call), lambda *came: self._tell(outcome_of(call, *came))))
        else:
            with self._asides.open():
                came = [self._visit(call)]  # an error in it knows all that goes on here, so nothing here may keep it
            yield from self._gather()  # what it emitted
            yield from self._finish(came.pop())

    def collect(self) -> Iterator[Event]:
        """Hand on what calls have emitted, and what other threads have finished; make a call that one submitted.

        Raises what ends the run in a plain call, such as KeyboardInterrupt, on whichever thread.
        """
        submitted = self._here.has_job  # looked at first: the event of its call has come before it
        yield from self._gather()
        if self._pressed is not None:
            pressed, self._pressed = self._pressed, None
            raise pressed
        if self._stopped():
            self._here.close()
        if submitted:
            with self._asides.open():
                self._here.serve()
            if self._here.has_job:
                self._client.wake()  # several may have been submitted since the last look

    def _gather(self) -> Iterator[Event]:
        with suppress(queue.Empty):
            while True:
                news = self._news.get_nowait()
                if isinstance(news, BaseException):
                    self._pressed = news
                elif isinstance(news, Outcome):
                    if news.call.pooled:
                        self._running -= 1
                        self._start_queued()
                    yield from self._finish(news)
                else:
                    yield news
        for call in list(self._outstanding.values()):
            if (progress := call.emitted.release()) is not None:
                yield progress

    @property
    def holds(self) -> bool:
        """Whether a call has told of progress that waits, for the sake of the pace."""
        return any(call.emitted.holds for call in self._outstanding.values())

    def abandon(self, reason: str) -> Iterator[Event]:
        """End what is still outstanding: the action has ended, or its child. Threads that it left may wait yet."""
        self._queued.clear()
        self._here.close()
        yield from self._gather()
        for call in list(self._outstanding.values()):
            call.ended = True
            error = AbandonedError(reason) if call.made or not self._stopped() else NotMadeError()
            yield from self._finish(Outcome(call, error=error))
        with suppress(ChildDiedError):
            while self._unanswered:
                self._client.reply(self._unanswered.pop(), _failure(["RuntimeError"], reason))

    def _finish(self, outcome: Outcome) -> Iterator[Event]:
        call, error = outcome.call, outcome.error
        if self._outstanding.pop(call.id, None) is None:
            return
        words, told = outcome.words, attributes_of(error)
        kinds = kinds_of_error(error) if error else []
        self._held -= call.weight
        self._carried += outcome.size + len(words) + len(str(told))
        call.ended = True
        if call.future is not None:
            call.future.cancel()
        if (progress := call.emitted.end()) is not None:
            yield progress
        yield ToolReturned(
            call=call.id,
            tool=call.tool,
            ok=error is None,
            value=None if call.secret else outcome.value,
            error_type=name_of_error(error) if error else None,
            kinds=kinds,
            attributes=told,
            error=words if error else None,
            summary=NOT_SHOWN if call.secret and not error else outcome.summary,
            seconds=time.monotonic() - call.started,
        )
        if self._stopped():
            self._unanswered += [] if call.number is None else [call.number]
        else:
            self._client.refresh()
            answer = _failure(kinds, words, attributes=told) if error else {"ok": True, "value": outcome.value}
            self._client.reply(call.number, answer)
        if not self._outstanding:
            self._standing(False)

    def _carry(self, size: int) -> None:
        """Count a request in. Raises Refused."""
        if self._carried + size > MAX_CARRIED:
            what = f"calls of one action and what they give may make {MAX_CARRIED >> 20:,} MB together"
            raise Refused(f"{what}: this one has to do without further calls; go on in the next action", "RuntimeError")
        self._carried += size

    def _hindrance(self, event: ToolCalled) -> Exception | None:
        """Why the call may not be made, now that its event has been seen; None: it may."""
        reason = None if self._stopped() or self._refuse is None else self._refuse(event)
        if self._stopped():
            return NotMadeError()
        return PermissionError(reason) if isinstance(reason, str) else reason

    def _start_queued(self) -> None:
        while self._queued and self._running < POOL and not self._stopped():
            call, context = self._queued.popleft()
            self._running += 1
            # daemons, not an executor: Python's exit would wait for the pool of concurrent.futures
            threading.Thread(target=context.run, args=(self._work, call), name=f"tool {call.tool}", daemon=True).start()

    def _work(self, call: Call) -> None:
        with tools_on(self._elsewhere or self._here):
            self._tell(self._visit(call))

    def _visit(self, call: Call) -> Outcome:
        """Make a call, on the thread that is for it, if anybody waits for it still."""
        call.made = True  # before the look: who ends it, and sees it is not, knows that it will not be
        return Outcome(call, error=NotMadeError()) if call.ended or self._stopped() else perform(call)

    def _tell(self, news: Outcome | Event | BaseException) -> None:
        """Bring in something from another thread."""
        self._news.put(news)
        self._client.wake()

    def _new_call(self, number: int | None, tool: str, work: Callable[[], Any], pooled: bool, **more: Any) -> Call:
        name = self._next_id()
        here = not pooled and self._elsewhere is None
        emitted = Emitted(name, self._news.put if here else self._tell, self._client.wake)
        return Call(name, number, tool, work, emitted, pooled, **more)

    def _person(self, asked: Asked) -> tuple[Call, ToolCalled]:
        if self._ask_person is None:
            raise Refused("nobody is there to answer input(): work with what the task and the tools give", "EOFError")
        ask, prompt, password = self._ask_person, asked.prompt, asked.password
        call = self._new_call(asked.number, "input", lambda: ask(prompt, password), pooled=False, secret=password)
        name = "getpass" if password else "input"
        return call, ToolCalled(
            call=call.id, tool="input", args=[prompt], summary=f"{name}({argument(prompt)})", blocking=True
        )

    def _tool(self, number: int, asked: Asked) -> tuple[Call, ToolCalled]:
        name, raw_args, raw_kwargs = (asked.request.get(key) for key in ("tool", "args", "kwargs"))
        if not isinstance(name, str) or not isinstance(raw_args, list) or not isinstance(raw_kwargs, dict):
            raise Refused("a malformed request", "RuntimeError")
        tool = self._tools.get(name)
        if tool is None:
            raise Refused(
                f"there is no tool {name[:100]!r}; there are: {', '.join(self._tools) or 'none'}", "NameError"
            )
        try:
            decoder = Decoder()
            args, kwargs = decoder.decode(raw_args), decoder.decode(raw_kwargs)
            if not isinstance(kwargs, dict) or not all(isinstance(key, str) for key in kwargs):
                raise MalformedValue("keyword arguments are a dict")
            positional, named = _checked(tool, args, kwargs)
        except Exception as error:  # noqa: BLE001 - boundary: values of many types, whose own methods run
            raise Refused(f"{error}", *kinds_of_error(error)) from None
        weight = asked.size + decoder.weight
        if self._outstanding and self._held + weight > MAX_HELD:
            raise Refused("the arguments of calls under way are too large together; wait for some", "RuntimeError")
        pooled = bool(getattr(tool, "threaded", False) or getattr(tool, "is_async", False))
        call = self._new_call(number, name, lambda: tool(*positional, **named), pooled, weight=weight)
        parts = [*map(argument, args), *(f"{key}={argument(value)}" for key, value in kwargs.items())]
        summary = cut(f"{name}({', '.join(parts)})")
        return call, ToolCalled(
            call=call.id, tool=name, args=raw_args, kwargs=raw_kwargs, summary=summary, blocking=not pooled
        )


def _checked(tool: Function, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments as the tool is called with them. Raises what is wrong with them."""
    if isinstance(tool, Tool):
        named = bind_arguments(tool, args, kwargs)
        validate_tool_arguments(tool, named)
        return ([], named) if is_reordered(tool, args, named) else (args, kwargs)
    try:
        signature = inspect.signature(tool)
    except (TypeError, ValueError):  # some builtins tell nothing
        return args, kwargs
    signature.bind(*args, **kwargs)
    return args, kwargs


def _failure(kinds: list[str], message: str, **more: Any) -> dict[str, Any]:
    return {"ok": False, "kinds": kinds or ["RuntimeError"], "error": message, **more}
