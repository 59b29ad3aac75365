"""KernelExecutor: actions run in a child Jupyter kernel, a process of its own. The loop and the fronts hold one.

The child starts at first use. Tools stay here; only calls cross (`bridge`).
"""

from __future__ import annotations

import itertools
import math
import threading
import weakref
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smol_kernel.errors import ChildDiedError, ConfigError, ExecutorError, NotPortableError
from smol_kernel.events import ActionFinished, Event
from smol_kernel.executors.action import Action
from smol_kernel.executors.base import PythonExecutor
from smol_kernel.executors.bridge import AskPerson, Bridge, Function, tool_specs
from smol_kernel.executors.client import KernelClient, Replied, Stopped
from smol_kernel.executors.lookup import completions, help_text
from smol_kernel.executors.observation import MAX_PLAIN, Observer, clean
from smol_kernel.executors.values import MalformedValue, NotPortable, decode, encode_input

MAX_PRINT = 20_000
"""Characters of logs the model reads of one action, if not told otherwise."""


MAX_ERROR = 100_000
"""Characters kept of an error's message, and of its traceback."""
MAX_NAMES = 10_000
MAX_NAME = 100
"""Characters of a variable's or a class's name."""


def _at_once(function: Callable[[], Any]) -> Any:
    return function()


class KernelExecutor(PythonExecutor):
    """Runs actions in a child kernel of its own.

    Parameters: `timeout_seconds` of the child's own time for one action, waiting for tools and people apart (None: no
    limit); `max_print_outputs_length`, characters of logs (None: 20,000); `additional_functions` by name, which run in
    the host as plain tools do; `cwd`, the child's working folder (None: the host's); `python`, its interpreter (None:
    the host's); `interrupt_grace_seconds` between an interrupt and the kill of a child that does not heed it.

    One thread at a time may use it, save for `interrupt`, `clear_interrupt`, `restart` and `cleanup`.
    """

    isolation = "none"

    def __init__(
        self,
        timeout_seconds: float | None = 300,
        max_print_outputs_length: int | None = None,
        additional_functions: Mapping[str, Function] | None = None,
        cwd: str | Path | None = None,
        python: str | Path | None = None,
        interrupt_grace_seconds: float = 3.0,
    ) -> None:
        if timeout_seconds is not None and not 0 < timeout_seconds < math.inf:
            raise ConfigError(f"timeout_seconds {timeout_seconds!r}: give seconds above 0, or None for no limit")
        self.timeout_seconds = timeout_seconds
        self.max_print_outputs_length = MAX_PRINT if max_print_outputs_length is None else max_print_outputs_length
        self.additional_functions = dict(additional_functions or {})
        self.cwd, self.python = cwd, python
        self.interrupt_grace_seconds = interrupt_grace_seconds
        self.call_plain: Callable[[Callable[[], Any]], Any] = _at_once
        """Calls a plain tool; a front replaces it to have tools run on its main thread."""
        self.ask_person: AskPerson | None = None
        """Answers `input()` and `getpass()`, given the prompt and whether it is a password; None: nobody is there."""
        self._client: KernelClient | None = None
        self._end_child: weakref.finalize[..., Any] | None = None
        self._tools: dict[str, Function] = dict(self.additional_functions)
        self._variables: dict[str, Any] = {}
        self._names: list[str] = []
        self._call_numbers = itertools.count(1)
        self._stop = threading.Event()
        self._in_use = threading.Lock()

    # what the loop uses

    def send_tools(self, tools: Mapping[str, Function]) -> None:
        """Offer these tools, by name, to the actions that follow, in place of those sent before."""
        with self._alone():
            self._tools = {**self.additional_functions, **tools}
            self._hand_over(lambda client: self._tell(client, {"tools": tool_specs(self._tools)}, "tools"))

    def send_variables(self, variables: Mapping[str, Any]) -> None:
        """Set variables in the child's namespace, now and after each restart.

        Raises NotPortableError for a value that can neither cross nor be pickled, ConfigError for a name that is none.
        """
        encoded: dict[str, Any] = {}
        for name, value in variables.items():
            if not name.isidentifier():
                raise ConfigError(f"variable {name!r} cannot be written as a name in Python; rename it")
            try:
                encoded[name] = encode_input(value)
            except NotPortable as error:
                raise NotPortableError(f"variable {name!r}: {error}") from error
        with self._alone():
            self._variables.update(encoded)
            self._hand_over(lambda client: self._set_variables(client, encoded))

    def run(self, code: str) -> Iterator[Event]:
        """Run an action; yields what happens as it happens, ActionFinished last.

        Errors of the code, a timeout, a stop and the child's death are told in ActionFinished. Raises ExecutorError if
        the child cannot be started; KeyboardInterrupt, after ActionFinished, if one comes while the action runs.
        """
        pressed: KeyboardInterrupt | None = None
        with self._alone():
            try:
                client = None if self._stop.is_set() else self._ready()
            except Stopped:
                client = None
            except KeyboardInterrupt as error:
                client, pressed = None, error
            if client is None:
                finished = _interrupted("stopped before it began", names=self._names)
            else:
                action = self._action(client)
                try:
                    yield from action.events(code)
                except KeyboardInterrupt as error:
                    pressed = error
                    yield from action.stop()
                except GeneratorExit:  # the reader has gone: nothing may be yielded any more
                    for _ in action.stop():
                        pass
                    raise
                finally:
                    if action.died is not None or not action.ended:
                        self._drop()  # nobody knows what it does now
                finished = self._finished(action)
        yield finished
        if pressed is not None:
            raise pressed

    def interrupt(self) -> None:
        """End the action under way, and those to come until `clear_interrupt`. Any thread, any time."""
        self._stop.set()
        client = self._client
        if client is not None:
            client.wake()

    def clear_interrupt(self) -> None:
        """Let actions run again."""
        self._stop.clear()

    def restart(self) -> None:
        """Begin afresh at the next use: variables are forgotten, tools stay. Ends an action under way."""
        self._variables = {}
        self._end_or_drop()

    def cleanup(self) -> None:
        """End the child. A later `run` starts a fresh one."""
        self._end_or_drop()

    def complete(self, code: str, cursor_pos: int) -> dict[str, Any]:
        """Completions in the child's namespace, as the content of a Jupyter `complete_reply`; empty if it is busy."""
        reply = self._look_up("complete_request", {"code": code, "cursor_pos": cursor_pos})
        return completions(reply or {}, cursor_pos, len(code))

    def inspect(self, code: str, cursor_pos: int, detail_level: int = 0) -> dict[str, Any]:
        """What the child knows of the name at the cursor, as the content of an `inspect_reply`; empty if it is busy."""
        content = {"code": code, "cursor_pos": cursor_pos, "detail_level": detail_level}
        return help_text(self._look_up("inspect_request", content) or {})

    # the child

    @contextmanager
    def _alone(self) -> Generator[None]:
        if not self._in_use.acquire(blocking=False):
            raise ExecutorError("this executor is busy with another action; give each thread an executor of its own")
        try:
            yield
        finally:
            self._in_use.release()

    def _ready(self) -> KernelClient:
        """The running child; started, and given tools and variables, if there is none."""
        if self._client is not None:
            return self._client
        from smol_kernel.executors.launchers.plain import PlainChild
        from smol_kernel.executors.transports.zmq import ZmqTransport

        child = PlainChild(self.python, self.cwd)
        client = KernelClient(child, ZmqTransport(child.connection, child.descriptor, child.alive))
        self._end_child = weakref.finalize(self, client.close)
        self._end_child.atexit = False  # the child ends with the host anyway, and a thread may still read
        self._client = client
        try:
            client.boot(self._stop.is_set)
            self._tell(client, {"tools": tool_specs(self._tools)}, "tools")
            self._set_variables(client, self._variables)
        except BaseException:
            self._drop()
            raise
        return client

    def _hand_over(self, give: Callable[[KernelClient], None]) -> None:
        """Give the running child something. One that is stopped meanwhile ends; the next one gets it all."""
        if self._client is None:
            return
        try:
            give(self._client)
        except Stopped:
            self._drop()
        except ChildDiedError:
            pass  # the next action will tell, and the fresh child gets it

    def _tell(self, client: KernelClient, content: dict[str, Any], what: str) -> None:
        reply = client.ask("smol_request", content, stopped=self._stop.is_set)
        if reply is None:
            raise ExecutorError(f"the child kernel did not take the {what} in time; restart() gives a fresh one")
        if reply.get("status") != "ok":
            raise ExecutorError(f"the child kernel could not take the {what}: {reply.get('error')}"[:2_000])

    def _set_variables(self, client: KernelClient, encoded: Mapping[str, Any]) -> None:
        for name, data in encoded.items():
            self._tell(client, {"variables": {name: data}}, f"variable {name!r}")

    def _end_or_drop(self) -> None:
        if self._in_use.acquire(blocking=False):
            try:
                self._drop()
                self._names = []
            finally:
                self._in_use.release()
        elif (client := self._client) is not None:
            client.kill()  # the thread that uses it notices, and drops it

    def _drop(self) -> None:
        self._client = None
        if self._end_child is not None:
            self._end_child()
            self._end_child = None

    def _look_up(self, type: str, content: dict[str, Any]) -> dict[str, Any] | None:
        """Ask an idle child; None if there is none, or no answer."""
        if self._client is None or not self._in_use.acquire(blocking=False):
            return None
        try:
            return self._client.ask(type, content, seconds=5) if self._client else None
        except ChildDiedError:
            return None  # the next action will tell
        finally:
            self._in_use.release()

    # one action

    def _action(self, client: KernelClient) -> Action:
        return Action(
            client,
            lambda action: Bridge(
                client,
                self._tools,
                call_plain=self.call_plain,
                ask_person=self.ask_person,
                next_id=lambda: f"c{next(self._call_numbers)}",
                stopped=action.stopping,
                standing=action.clock.stand,
            ),
            Observer(self.max_print_outputs_length),
            timeout=self.timeout_seconds,
            grace=self.interrupt_grace_seconds,
            stop_wanted=self._stop.is_set,
        )

    def _finished(self, action: Action) -> ActionFinished:
        """What became of the action; keeps the names."""
        common: dict[str, Any] = {"logs": action.observer.logs, "seconds": action.clock.seconds}
        if action.died is not None:
            lost = [name for name in self._names if name not in self._variables]
            self._names = []
            why = f"{self._why_died(action)}. The next action runs in a fresh one"
            kind = _KINDS.get(action.reason or "", "ChildDiedError")
            return ActionFinished(status=action.reason or "died", error_type=kind, error=why, lost=lost, **common)
        reply = action.reply or Replied(status="error", error="the child kernel gave no account of the action")
        report = reply.report
        if "names" in report:
            self._names = _names(report["names"])
        completed = report.get("completed")
        common |= {"names": self._names, "completed": completed if type(completed) is int else 0}
        if reply.status == "ok" and "error" not in report:
            final = report.get("final") is True
            try:
                value, text = _value(report)
            except MalformedValue as error:
                if final:
                    why = f"the answer that came from the child cannot be read: {error}"
                    return ActionFinished(status="error", error_type="ValueError", error=why, **common)
                value, text = None, f"<a value that cannot be read: {error}>"
            if action.reason == "timeout" and not final:  # it caught the interrupt and went on to its end
                why = f"{self._why_stopped(action)}; it went on after the interrupt, to its end"
                return ActionFinished(status="timeout", error_type=_KINDS["timeout"], error=why, **common)
            return ActionFinished(status="ok", value=value, value_text=text, final=final, **common)
        if action.reason is not None:
            kind = _KINDS[action.reason]
            return ActionFinished(status=action.reason, error_type=kind, error=self._why_stopped(action), **common)
        told: Any = report.get("error")
        error = told if isinstance(told, dict) else {"type": reply.error_type or None, "message": reply.error}
        kind, message, text = (error.get(key) for key in ("type", "message", "traceback"))
        return ActionFinished(
            status="error",
            error_type=next(iter(_names([kind])), "Error"),
            error=clean(str(message)[:MAX_ERROR]),
            traceback=clean(str(text or "")[:MAX_ERROR]),
            **common,
        )

    def _why_stopped(self, action: Action) -> str:
        if action.reason == "timeout":
            return f"stopped after {self.timeout_seconds:g} s, the limit for one action"
        return "interrupted"

    def _why_died(self, action: Action) -> str:
        if action.killed:
            return f"{self._why_stopped(action)}; it did not heed the interrupt, so the child kernel was ended"
        if action.reason:
            return f"{self._why_stopped(action)}; the child kernel ended"
        return str(action.died)


class LocalPythonExecutor(KernelExecutor):
    """The child kernel under the name and with the parameters smolagents' users know.

    `additional_authorized_imports` is taken and not enforced: all that is installed can be imported.
    """

    def __init__(
        self,
        additional_authorized_imports: list[str] | None = None,
        max_print_outputs_length: int | None = None,
        additional_functions: Mapping[str, Function] | None = None,
        timeout_seconds: float | None = 300,
    ) -> None:
        super().__init__(timeout_seconds, max_print_outputs_length, additional_functions)
        self.additional_authorized_imports = list(additional_authorized_imports or [])


_KINDS = {"timeout": "TimeoutError", "interrupted": "KeyboardInterrupt"}


def _interrupted(why: str, names: list[str]) -> ActionFinished:
    return ActionFinished(status="interrupted", error_type="KeyboardInterrupt", error=why, names=names)


def _names(told: Any) -> list[str]:
    """Those of the names told that can be names."""
    names = told[:MAX_NAMES] if isinstance(told, list) else []
    return [name for name in names if isinstance(name, str) and len(name) <= MAX_NAME and name.isidentifier()]


def _value(report: dict[str, Any]) -> tuple[Any, str]:
    """Value and text of a report, which come from the child. Raises MalformedValue."""
    text = report.get("value_text")
    decode(report.get("value"))
    return report.get("value"), clean(text[:MAX_PLAIN]) if isinstance(text, str) else ""
