"""`ModelCall`, one request to a model as the loop makes it; and what a model may tell the call it is asked by."""

from __future__ import annotations

import contextvars
import dataclasses
import queue
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, cast

from smol_kernel.errors import ModelError
from smol_kernel.events import Event, Notice, emit, listening
from smol_kernel.memory.messages import HAS_TO_BE, ChatMessage, ChatMessageStreamDelta, agglomerate_stream_deltas
from smol_kernel.memory.usage import TokenUsage
from smol_kernel.models.base import Model
from smol_kernel.signals import program_handlers, raised_by
from smol_kernel.waits import arrival

_current: contextvars.ContextVar[ModelCall | None] = contextvars.ContextVar("current", default=None)
"""The call that the request of this thread belongs to."""
_BOUND = {
    "ProgrammingError": "objects created in a thread can only be used in that same thread",
    "RuntimeError": "There is no current event loop in thread",
    "ValueError": "signal only works in main thread",
}
"""Errors of what belongs to a thread, where it is used on another one: class → words."""


class ModelCall:
    """One request to a model that can be left at any moment, also while it blocks on the network.

    Iterate over it for the pieces of the reply (none if the model does not stream) and the events that the model emits
    meanwhile (`emit`, `pause`); then `message` is the reply, or None if `abandon()` was called. What the model raises
    is raised by the iteration. The request runs in a daemon thread with the caller's context variables, and those that
    it changes are the caller's when the reply has come; one that was abandoned ends there by itself, unheard.
    A model that says so (`in_thread`) is asked on the caller's thread, and can be left between the pieces only; so is
    one whose request fails in the thread because it uses what belongs to another: it is made once more.
    """

    def __init__(self, model: Model, messages: list[ChatMessage], *, stream: bool = False, **options: Any) -> None:
        self.message: ChatMessage | None = None
        self._model = model
        self._messages = messages
        self._stream = stream and hasattr(model, "generate_stream")
        self._options = options
        self._abandoned = threading.Event()
        self._handlers = program_handlers()
        self.begun_again = 0
        """How often the reply was asked for once more."""
        self.refused = TokenUsage(0, 0, cost=0.0)
        """What replies took that were refused. It is part of the message's usage, where there is one."""
        self._pieces: list[ChatMessageStreamDelta] = []
        self._arrivals: queue.SimpleQueue[ChatMessageStreamDelta | Event | None] = queue.SimpleQueue()
        """None: there is an end, or nobody waits for it."""
        self._end: ChatMessage | BaseException | None = None

    def abandon(self) -> None:
        """End the iteration at once. May be called from any thread, at any time."""
        self._abandoned.set()
        self._arrivals.put(None)

    def __iter__(self) -> Iterator[ChatMessageStreamDelta | Event]:
        """Start the request and yield the pieces of its reply, and events."""
        if self._abandoned.is_set():
            return
        try:
            yield from self._from_thread() if self._model.in_thread else self._from_here()
            end, self._end = self._end, None
            if self._abandoned.is_set():
                return
            if isinstance(end, BaseException):
                try:
                    raise end
                finally:
                    del end  # it knows all that goes on here
            self.message = self._with_refused(end)
        finally:
            self._abandoned.set()

    def _from_thread(self) -> Iterator[ChatMessageStreamDelta | Event]:
        before = contextvars.copy_context()
        context = before.copy()
        thread = threading.Thread(target=context.run, args=(self._work,), name="smol-model-call", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise ModelError(
                f"no thread can be had to ask it ({error}). End some threads or processes, or allow more: ulimit -u, "
                "or the limits of the container"
            ) from None
        while (piece := arrival(self._arrivals)) is not None:
            if self._abandoned.is_set():
                return
            yield piece
        if self._abandoned.is_set():
            return
        for variable, value in context.items():
            if variable not in before or before[variable] is not value:
                variable.set(value)
        if is_bound_to_a_thread(self._end) and leave_the_thread(self._model):
            self._end = None
            self.begin_again()
            yield from self._from_here()

    def _from_here(self) -> Iterator[ChatMessageStreamDelta | Event]:
        steps, goes_on = self._steps(), True
        while goes_on and not self._abandoned.is_set():
            goes_on = self._step(steps)
            with suppress(queue.Empty):
                while (piece := self._arrivals.get_nowait()) is not None:
                    yield piece

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for the reply any more."""
        return self._abandoned.is_set()

    def is_ended_by(self, error: BaseException) -> bool:
        """Whether `error` is no failure of the model: a handler of the program's raised it."""
        return raised_by(self._handlers, error)

    def wait(self, seconds: float) -> bool:
        """Wait; False as soon as the call is abandoned."""
        return not self._abandoned.wait(seconds)

    def begin_again(self) -> None:
        """Forget what came of the reply: it is asked for once more."""
        self._pieces.clear()
        self.begun_again += 1

    def _with_refused(self, message: ChatMessage | None) -> ChatMessage | None:
        if message is None or message.token_usage is None or not self.refused.total_tokens:
            return message
        return dataclasses.replace(message, token_usage=message.token_usage + self.refused)

    def _work(self) -> None:
        steps = self._steps()
        while self._step(steps):
            pass
        self._arrivals.put(None)

    def _step(self, steps: Generator[None, None, ChatMessage]) -> bool:
        """Go on with the request, to the next piece; whether there is more to come. If not, `_end` is set."""
        try:
            with self._asking():
                next(steps)
        except StopIteration as ended:
            self._end = ended.value
            return False
        except BaseException as error:  # noqa: BLE001 - the thread's edge: raised again where it is iterated
            self._end = error
            return False
        return True

    @contextmanager
    def _asking(self) -> Generator[None]:
        token = _current.set(self)
        try:
            with listening(self._arrivals.put):
                yield
        finally:
            _current.reset(token)

    def _steps(self) -> Generator[None, None, ChatMessage]:
        """The request; pauses after each piece."""
        if not self._stream:
            reply: Any = self._model.generate(self._messages, **self._options)
            if not isinstance(reply, ChatMessage):
                raise ModelError(f"{self._model!r} returned {reply!r:.80}; generate() has to return a ChatMessage")
            return self._sound(reply)
        stream = cast("Any", self._model).generate_stream(self._messages, **self._options)
        for piece in stream:
            if self._abandoned.is_set():
                stream.close()
                break
            if piece.content and not isinstance(piece.content, str):
                raise ModelError(f"{self._model!r}: content of a piece has to be text, not {piece.content!r:.80}")
            self._pieces.append(piece)
            self._arrivals.put(piece)
            yield
        return self._sound(agglomerate_stream_deltas(self._pieces))

    def _sound(self, reply: ChatMessage) -> ChatMessage:
        """The reply, if it can be read; its class checks nothing."""
        content: Any = reply.content
        usage: Any = reply.token_usage
        in_parts = isinstance(content, list | tuple) and all(map(_is_part, cast("list[Any]", content)))
        if not (content is None or isinstance(content, str) or in_parts):
            raise ModelError(f"{self._model!r}: content of its ChatMessage {HAS_TO_BE}, not {content!r:.80}")
        if not (usage is None or isinstance(usage, TokenUsage)):
            raise ModelError(f"{self._model!r}: token_usage of its reply has to be a TokenUsage, not {usage!r:.80}")
        return reply


def _is_part(part: Any) -> bool:
    named = isinstance(part, Mapping) and isinstance(part.get("type"), str)
    return named and (part["type"] != "text" or isinstance(part.get("text"), str))


def is_bound_to_a_thread(error: object) -> bool:
    """Whether it says that something belongs to one thread, and was used on another."""
    return _BOUND.get(type(error).__name__, "\0") in str(error)


def leave_the_thread(model: Model) -> bool:
    """Have a model that failed so asked on the thread that runs the agent from now on; whether that is of use."""
    if model.in_thread and not model.scripted:  # a script would give the reply after the one that failed
        with suppress(AttributeError):  # a property says it
            model.in_thread = False
    return not model.in_thread


def can_begin_again() -> bool:
    """Whether pieces of a reply that were given can be taken back: inside a ModelCall."""
    return _current.get() is not None


def begin_again() -> None:
    """Take back the pieces of the reply that were given: another reply comes in their place."""
    call = _current.get()
    if call is not None:
        call.begin_again()


def charge_refused(usage: TokenUsage) -> None:
    """Count what a reply took that is not given: it is charged to whoever asked."""
    call = _current.get()
    if call is not None:
        call.refused = call.refused + usage


def times_begun_again() -> int:
    """How often the pieces of the reply were taken back; 0 outside of a ModelCall."""
    call = _current.get()
    return 0 if call is None else call.begun_again


def was_abandoned() -> bool:
    """Whether the call that this request belongs to was abandoned, so that no other attempt is of use."""
    call = _current.get()
    return call is not None and call.abandoned


def is_ended_by(error: BaseException) -> bool:
    """Whether the call that this request belongs to ends so, and no other attempt is to be made."""
    call = _current.get()
    return call is not None and call.is_ended_by(error)


def pause(seconds: float, why: str | None) -> None:
    """Wait before a request; the person who watches the run is told `why`.

    Raises ModelError at once when the ModelCall it happens in is abandoned.
    """
    if why is not None:
        emit(Notice(text=why))
    call = _current.get()
    if call is None:
        time.sleep(seconds)
    elif not call.wait(seconds):
        raise ModelError("the request was abandoned")
