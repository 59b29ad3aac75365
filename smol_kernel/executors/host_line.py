"""The child's line to the host: requests go out on the kernel's stdin channel, any number at once, and replies come in.

Travels into the child as source, for `child.py`; needs the standard library and what ipykernel brings.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import itertools
import json
import os
import queue
import re
import sys
import threading
from collections.abc import Callable
from typing import Any

import zmq
from jupyter_client.jsonutil import json_clean, json_default

Reply = dict[str, Any]

AT_ONCE = 500
"""Requests that are sent before one of them is answered: the kernel's socket loses what is too much for it."""


class HostLine:
    """One thread owns the kernel's stdin socket, which bears no other; replies find their request by its id."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self.parent: tuple[Any, Any] = (b"", {})
        """Identity of the host's socket and header of the action's request: what a request refers to."""
        self._process = os.getpid()
        self._numbers = itertools.count(1)
        self._outgoing: queue.SimpleQueue[tuple[dict[str, Any], str, bool]] = queue.SimpleQueue()
        self._waiting: dict[int, Callable[[Reply], None]] = {}
        """Who takes the reply to a request, in the thread."""
        self._sent: set[int] = set()
        """Those of them that the host knows of."""
        self._standing: set[int] = set()
        """Those of them for which a thread does nothing but wait."""
        self.answer: Callable[[dict[str, Any]], Reply]
        """Answers what the host asks of a request that waits."""
        self._answers: queue.SimpleQueue[Reply] = queue.SimpleQueue()
        self._wake_read, self._wake_write = os.pipe()
        threading.Thread(target=self._serve, name="smol host line", daemon=True).start()

    def ask(
        self, request: dict[str, Any], prompt: str = "", password: bool = False, seconds: float | None = None
    ) -> Reply:
        """Send a request and give the reply; raises queue.Empty if none comes in time. Any thread of this process."""
        # Waits in C: an interrupt in a Future's `result` can leave its lock held, and then `_serve` stops.
        replies: queue.SimpleQueue[Reply] = queue.SimpleQueue()
        number = next(self._numbers)
        try:
            self._put(number, replies.put, request, prompt, password)
            self._standing.add(number)
            while "question" in (reply := replies.get(timeout=seconds)):
                self._answer(reply)
            return reply
        finally:
            self._done(number)  # an interrupted one gets none

    async def ask_async(self, request: dict[str, Any]) -> Reply:
        """As `ask`, where the reply is awaited."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply] = loop.create_future()

        def settle(reply: Reply) -> None:
            if "question" in reply:
                self._answer(reply)
            elif not future.done():
                future.set_result(reply)

        def receive(reply: Reply) -> None:
            loop.call_soon_threadsafe(settle, reply)

        number = next(self._numbers)
        try:
            self._put(number, receive, request, "", False)
            return await future
        finally:
            self._done(number)

    def _put(
        self, number: int, receive: Callable[[Reply], None], request: dict[str, Any], prompt: str, password: bool
    ) -> None:
        if os.getpid() != self._process:
            raise RuntimeError("tools and input() work in the kernel's own process only, not in one forked from it")
        self._waiting[number] = receive
        self._outgoing.put(({**request, "id": number}, prompt, password))
        os.write(self._wake_write, b".")

    def _answer(self, asked: Reply) -> None:
        answer: Reply = {"status": "error", "error": "the call was interrupted"}
        try:
            answer = self.answer(asked["question"])
        finally:
            self._give(asked, answer)

    def _give(self, asked: Reply, answer: Reply) -> None:
        self._answers.put({**answer, "key": asked["key"]})
        os.write(self._wake_write, b".")

    def _done(self, number: int) -> None:
        self._waiting.pop(number, None)
        self._sent.discard(number)
        self._standing.discard(number)
        if not self._outgoing.empty():  # there is room for one of these now
            os.write(self._wake_write, b".")

    def _serve(self) -> None:
        socket = self._kernel.stdin_socket
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(self._wake_read, zmq.POLLIN)
        while True:
            try:
                for source, _ in poller.poll():
                    if source is socket:
                        self._receive(socket)
                    else:
                        os.read(self._wake_read, 4096)
                        self._send_all(socket)
            except zmq.ZMQError:  # the kernel is shutting down
                return
            except Exception as error:  # noqa: BLE001 - boundary: one bad reply must not end the thread of them all
                print(f"smol: {error!r}", file=sys.__stderr__)

    def _send_all(self, socket: Any) -> None:
        """Send what waits, but for requests whose asker was interrupted."""
        ident, parent = self.parent
        with contextlib.suppress(queue.Empty):
            while True:
                answer = self._answers.get_nowait()
                self._kernel.session.send(socket, "smol_answer", answer, parent, ident=ident)
        with contextlib.suppress(queue.Empty):
            while len(self._sent) < AT_ONCE:
                request, prompt, password = self._outgoing.get_nowait()
                if request["id"] in self._waiting:
                    self._sent.add(request["id"])
                    self._send(socket, request, prompt, password)

    def _send(self, socket: Any, request: dict[str, Any], prompt: str, password: bool) -> None:
        ident, parent = self.parent
        if "leaving" in request:  # by the way of the outputs, behind those that shall arrive before the answer
            self._kernel.session.send(self._kernel.iopub_socket, "smol_leaving", request, parent)
            return
        content = {"prompt": prompt, "password": password, "smol": request}
        self._kernel.session.send(socket, "input_request", content, parent, ident=ident)

    def _receive(self, socket: Any) -> None:
        _, message = self._kernel.session.recv(socket, mode=zmq.DONTWAIT)
        reply = message["content"]["smol"]
        number = reply["id"]
        if "question" not in reply:
            receive = self._waiting.get(number)
            self._done(number)
        elif number in self._waiting and number not in self._standing:  # its loop may stand still, for such a thread
            receive = self._waiting.get(max(self._standing.copy(), default=number))
        else:
            receive = self._waiting.get(number)
        try:
            if receive is not None:
                receive(reply)
                return
        except RuntimeError:  # the loop of who waited is closed
            pass
        if "question" in reply:
            self._give(reply, {"gone": True})


def pack(content: Any) -> bytes:
    """A part of a message as JSON of ASCII alone: text may hold lone surrogates, which have no other form. What JSON
    does not know, such as NaN, becomes what the kernel's own packer makes of it."""
    try:
        return json.dumps(content, default=json_default, allow_nan=False).encode()
    except (TypeError, ValueError):
        return json.dumps(json_clean(content), default=json_default, allow_nan=False).encode()


def error_of(reply: Reply) -> Exception:
    """An exception of the same name and message as the one a tool raised in the host, with the `attributes` of the
    reply.

    `kinds` of the reply names its class and that one's bases. Those that are here are the bases here too, so that it
    can be caught as usual: builtin ones, and those of modules that were imported by now, as one has been whose class an
    `except` names. A class the child lacks becomes a RuntimeError if nothing nearer than Exception is known.
    """
    kinds = [str(kind) for kind in reply.get("kinds", ())] or ["RuntimeError"]
    name = re.split("[:.]", kinds[0])[-1]
    text = str(reply.get("error", ""))
    attributes = dict(reply.get("attributes") or {})
    status = attributes.pop("response.status_code", None)
    if status is not None:
        attributes["response"] = Response(status)
    here = [kind for kind in map(_here, kinds) if kind not in (None, Exception)]
    bases: list[Any] = here or [Exception if name == "Exception" else RuntimeError]
    if vars(builtins).get(kinds[0]) is bases[0]:
        of_system = tuple(attributes[each] for each in ("errno", "strerror") if each in attributes)
        with contextlib.suppress(Exception):  # some take other arguments than a message
            error = _with(attributes, bases[0](*(of_system if len(of_system) == 2 else (text,))))
            if str(error) == text:
                return error
    return _with(attributes, _like(name, bases, text))


def _here(kind: str) -> type[Exception] | None:
    """The class of this name ("module:name", or "name" of a builtin one), if it is loaded."""
    module, _, path = kind.rpartition(":")
    with contextlib.suppress(Exception):  # boundary: a module may be anything
        found: Any = sys.modules[module or "builtins"]
        for part in path.split("."):
            found = vars(found)[part]  # no `getattr`, for which a module may import more
        return found if issubclass(found, Exception) else None
    return None


def _with(attributes: dict[str, Any], error: Exception) -> Exception:
    for name, value in attributes.items():
        if not hasattr(BaseException, name):
            with contextlib.suppress(Exception):
                setattr(error, name, value)
    return error


def _stayed(thing: object, name: str) -> Any:
    """What an attribute gives that is not here."""
    raise AttributeError(
        f"{type(thing).__name__!r} object has no attribute {name!r} here: of an error of a tool only its message and "
        f"plain, short values come from the host, and nothing that may be secret"
    )


class Response:
    """What is here of the response that an error holds."""

    __module__ = "tools"
    __getattr__ = _stayed

    def __init__(self, status_code: Any) -> None:
        self.status_code = status_code


def _like(name: str, bases: list[type[Exception]], text: str) -> Exception:
    """An error of a class of this name, which says `text`; of the bases as many as go together, from the nearest."""
    for first in range(len(bases)):
        farther = bases[first:]
        nearest = [kind for at, kind in enumerate(farther) if not any(kind in each.__mro__ for each in farther[:at])]
        for tried in (nearest, nearest[:1]):
            with contextlib.suppress(Exception):  # some can be no bases, or not of one class
                return _made(name, tuple(tried), text)
    return RuntimeError(text)


def _made(name: str, bases: tuple[type[Exception], ...], text: str) -> Exception:
    """An error of a new class, made without the arguments that its bases may want."""
    own: dict[str, Any] = {
        "__str__": lambda _: text,
        "__repr__": BaseException.__repr__,
        "__getattr__": _stayed,
        "__module__": bases[0].__module__ if bases[0].__name__ == name else "tools",
    }
    given: tuple[Any, ...] = (text,)
    if any(hasattr(base, "exceptions") for base in bases):
        # the text names the errors in a group, which cannot be made without one, and so is never split
        own |= {"exceptions": (), "derive": lambda error, _: error}
        part = type("PartInTheHost", (Exception,), {"__module__": "tools"})  # no `except*` but for all catches it
        given = (text, [part("the errors in this group stayed in the host; its message names them")])
    kind: Any = type(name, bases, own)
    for builtin in (each for each in kind.__mro__ if vars(builtins).get(each.__name__) is each):
        with contextlib.suppress(TypeError):  # one of another layout
            error = builtin.__new__(kind, *given)
            BaseException.__init__(error, *given)
            return error
    raise TypeError(f"there can be no {name}")
