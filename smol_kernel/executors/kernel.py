"""KernelExecutor: actions run in a child Jupyter kernel, a process of its own. The loop and the fronts hold one.

The child starts at first use. Tools stay here; only calls cross (`bridge`).
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from smol_kernel.errors import ChildDiedError, ExecutorError
from smol_kernel.events import ActionFinished, Checked, Event, Notice
from smol_kernel.executors.action import Action, usable_grace, usable_length, usable_timeout
from smol_kernel.executors.asides import BUSY, Asides
from smol_kernel.executors.base import PythonExecutor
from smol_kernel.executors.bridge import Function, Refuse
from smol_kernel.executors.client import FORKED, Askable, ChildRefused, KernelClient, Stopped, tell
from smol_kernel.executors.imports import forbidden
from smol_kernel.executors.kept_values import encoded_variable
from smol_kernel.executors.launchers.finalizer import Finalizer
from smol_kernel.executors.launchers.settings import Limits, Mount, settings_for
from smol_kernel.executors.lookup import completions, help_text, names, variable
from smol_kernel.executors.observation import Observer, told
from smol_kernel.executors.outcome import finished, interrupted, verdicts, why_ended, with_hint
from smol_kernel.executors.recorded import Recorded
from smol_kernel.executors.shared_memory import encode_input, set_variable
from smol_kernel.executors.standby import STANDBY
from smol_kernel.executors.their_names import TheirNames
from smol_kernel.executors.tool_specs import check_variable, checked, tool_specs
from smol_kernel.executors.tool_thread import AskPerson
from smol_kernel.executors.values import encode
from smol_kernel.memory.process_lock import ProcessLock


class KernelExecutor(TheirNames, PythonExecutor):
    """Runs actions in a child kernel of its own.

    Parameters: `timeout_seconds` of the child's own time for one action, waiting for tools and people apart (None: no
    limit); `max_print_outputs_length`, characters of logs (None: 20,000); `additional_functions` by name, which run in
    the host as plain tools do; `cwd`, the child's working folder (None: the host's); `python`, its interpreter (None:
    the host's); `interrupt_grace_seconds` between an interrupt and the kill of a child that does not heed it;
    `additional_authorized_imports`, modules that actions may import besides the base ones (None: all, see `imports`).
    The child is boxed by the operating system unless `box` is False (None: as SMOL_BOX says, else boxed). Of a box:
    `network`, "none" or "full"; `allow_hosts`, names of hosts it may reach through a proxy of ours; `mounts`, files and
    folders shown besides the working folder, PATH or PATH:rw; `limits`, see `launchers.settings.Limits`.

    One thread at a time may use it, save for `interrupt`, `clear_interrupt`, `restart` and `cleanup`; while an action
    waits for a tool, also to read, set and delete variables. Raises ConfigError for what cannot serve, ToolError for
    the name of a function; as a child starts ExecutorError, BoxUnavailableError, ConfigError for `python` and `cwd`.
    """

    def __init__(
        self,
        timeout_seconds: float | None = 300,
        max_print_outputs_length: int | None = None,
        additional_functions: Mapping[str, Function] | None = None,
        cwd: str | Path | None = None,
        python: str | Path | None = None,
        interrupt_grace_seconds: float = 3.0,
        additional_authorized_imports: Sequence[str] | None = None,
        box: bool | None = None,
        network: str = "none",
        allow_hosts: Sequence[str] = (),
        mounts: Sequence[str | Path | Mount] = (),
        limits: Mapping[str, Any] | Limits | None = None,
    ) -> None:
        self.settings = settings_for(box, network, allow_hosts, mounts, limits)
        """Those of the box; None: no box."""
        self.timeout_seconds = usable_timeout(timeout_seconds)
        self.max_print_outputs_length = usable_length(max_print_outputs_length, self.max_print_outputs_length)
        self.additional_functions = dict(additional_functions or {})
        self.cwd, self.python, self.interrupt_grace_seconds = cwd, python, usable_grace(interrupt_grace_seconds)
        self.additional_authorized_imports = additional_authorized_imports and list(additional_authorized_imports)
        self.ask_person: AskPerson | None = None
        """Answers `input()` and `getpass()`, given the prompt and whether it is a password; None: who else is there."""
        self.refuse: Refuse | None = None
        """Asked before each call, once its ToolCalled has been yielded. The error that it gives, or for a text a
        PermissionError, is raised in the child, and the tool is not called; None lets it be."""
        self.recorded: Recorded | None = None
        """Asked for the result of each call; one that it has answers the call, and the tool is not called."""
        self._client: KernelClient | None = None
        self._end_child: Finalizer | None = None
        self._tools, self._names = checked(self.additional_functions), list[str]()
        self.given, self._variables = dict[str, Any](), dict[str, Any]()
        """Variables handed over, as they are and in their encoded form."""
        self._notices: list[str] = []
        """What the person watching has to know of the child, told with the next action."""
        self.lost, self.ended = list[str](), 0
        """Names that went with a child, and of which nobody has been told; and how many children have ended."""
        self._answered = self._offered = False
        """Whether the child holds the answer of the last action, and whether it has the tools."""
        self.call_numbers, self._action_numbers = itertools.count(1), itertools.count(1)
        self._stop, self._in_use = threading.Event(), ProcessLock()
        self._asides: Asides | None = None  # of the action under way

    @property
    def isolation(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride] - the settings say it
        """How the child is boxed; "none" means not at all."""
        return self.settings.words if self.settings else "none"

    @property
    def started(self) -> bool:
        """Whether there is a child."""
        return self._client is not None and self._client.ours

    def expect(self) -> None:
        """An action will come soon: where a front has children wait, one begins now, in the background."""
        if not self.started:
            STANDBY.expect(self.python, self.cwd, self.settings)

    def start(self) -> None:
        """Have the child now, not with the first action. Raises ExecutorError if it cannot be started."""
        with self._alone():
            self._ready()

    # what the loop uses

    def send_tools(self, tools: Mapping[str, Function]) -> None:
        """Offer these tools, by name, to the actions that follow, in place of those sent before. Raises ToolError."""
        with self._alone():
            self._tools = checked({**self.additional_functions, **tools})
            self._offered = False

    def send_variables(self, variables: Mapping[str, Any]) -> None:
        """Set variables in the child's namespace, now and after each restart. Raises NotPortableError for a value that
        can neither cross nor be pickled, ConfigError for a name that is none, or a tool's; ExecutorError if the child
        refuses a value, which is forgotten then, or does not take it in time."""
        encoded: dict[str, Any] = {}
        for name, value in variables.items():
            check_variable(name, self._tools)
            encoded[name] = encoded_variable(name, value, encode_input)
        with self._child() as child:
            for name, data in encoded.items():
                self.given[name], self._variables[name] = variables[name], data
                self._hand_over(child, self._set_variables, {name: data})

    def run(self, code: str) -> Iterator[Event]:
        """Run an action; yields what happens as it happens, ActionFinished last.

        Errors of the code, a timeout, a stop and the child's death are told in ActionFinished. Raises ExecutorError if
        the child cannot be started; KeyboardInterrupt, after ActionFinished, if one comes while the action runs.
        """
        client, pressed = None, None
        with self._alone():
            why = None if self._stop.is_set() else forbidden(code, self.additional_authorized_imports)
            if why is None:
                client, pressed = self._reach()
            yield from self._tell_notices()
            if why is not None:
                ended = ActionFinished(status="error", error_type="ImportError", error=why, names=self.names())
            elif client is None:
                ended = replace(interrupted("stopped before it began"), names=self.names())
            else:
                action, shown = self._action(client), self.max_print_outputs_length
                tools = None if self._offered else tool_specs(self._tools)
                self._answered = False
                pressed = yield from self._follow(action, lambda: client.execute(code, action.number, shown, tools))
                if tools is not None:  # a report comes of an action that has begun, which is to take them
                    self._offered = action.died is None and bool(action.reply and action.reply.report)
                ended = with_hint(finished(action, self.names()), self.settings, self.cwd)
                if action.died is None:
                    self._names, self._answered = list(ended.names), ended.final
            yield from self._tell_notices()
            ended, self.lost = replace(ended, lost=list(dict.fromkeys(self.lost))), []
        yield from self.made_files.news(ended)
        if pressed is not None:
            raise pressed

    def check(self, expressions: Sequence[str], answer: Any = None) -> Iterator[Event]:
        """Try each expression in the child; yields a Checked for each, and before them what they put out.

        In them `answer` is the very object that the last action gave to `final_answer`; if it gave none, a copy. One is
        passed if its value is true, or the child pretends so. Checks leave no names behind and cannot call tools; time
        limit and stop are those of an action. Raises as `run` does.
        """
        seen, why = list[tuple[bool, str]](), "stopped before it began"
        with self._alone():
            client, pressed = self._reach()
            if client is not None:
                self._offer(client)
                copy = None if self._answered else encoded_variable("answer", answer, encode)
                action = self._action(client)
                pressed = yield from self._follow(action, lambda: client.check(expressions, copy))
                report = action.reply.report if action.reply else {}
                seen = verdicts(report)
                why = why_ended(action) if action.reason or action.died else told(report, "error", 2_000)
        for place, expression in enumerate(expressions):
            ok, reason = seen[place] if place < len(seen) else (False, f"could not be tried to its end: {why}")
            yield Checked(check=expression, ok=ok, reason=reason)
        if pressed is not None:
            raise pressed

    def interrupt(self) -> None:
        """End the action under way, and those to come until `clear_interrupt`. Any thread, any time."""
        self._stop.set()
        if (client := self._client) is not None:
            client.wake()

    def clear_interrupt(self) -> None:
        """Let actions run again."""
        self._stop.clear()

    def restart(self) -> None:
        """Begin afresh at the next use: variables are forgotten, tools stay. Ends an action under way."""
        self._variables, self.given = {}, {}
        self._end_or_drop(afresh=True)

    def end_rehearsal(self, in_use: bool) -> bool:
        """End what `BoxSettings.rehearsal` began; gives whether it is over, as it is for what was `in_use` too then."""
        with self._alone(), suppress(ChildDiedError):  # the next action will tell
            if self._client is not None and not self._client.end_rehearsal(in_use) and not in_use:
                return False
        self.settings = self.settings and replace(self.settings, rehearsal="")
        return True

    def cleanup(self) -> None:
        """End the child. A later `run` starts a fresh one, and tells which names are gone."""
        self._end_or_drop(afresh=False)

    # what the child holds

    def names(self) -> list[str]:
        """Names of variables: those the last action left, and those sent since; those there are now, for a tool whose
        action waits. Never starts a child."""
        if self._asides:
            with suppress(ExecutorError), self._child() as child:
                if child and (reply := child.ask("smol_request", {"names": True})) and "names" in reply:
                    return names(reply["names"])
        return list(self._names if self.started else self._variables)

    def read(self, name: str, as_answer: bool = False) -> Any:
        """A variable's value (`as_answer`: as one crosses): a copy; a RemoteValue if it cannot cross or is too large.

        Before the child has started, the very object that was sent. Raises KeyError if there is none of that name,
        ExecutorError if an action is under way that waits for no tool, or the child does not answer.
        """
        with self._child() as child:
            if child is None:
                return self.given[name]
            reply = child.ask("smol_request", {"read": name, "as_answer": as_answer})
        return variable(reply, name)

    def forget(self, names: Iterable[str]) -> None:
        """Delete variables; names that are not there are no error."""
        gone = list(names)
        with self._child() as child:
            for name in gone:
                self._variables.pop(name, None)
                self.given.pop(name, None)
            self._names = [name for name in self._names if name not in gone]
            self._hand_over(child, tell, {"forget": gone}, "names to forget", self._stop.is_set)

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
        if (in_use := self._in_use.here).locked():
            raise ExecutorError(BUSY)
        with in_use:  # in one step: an interrupt cannot come between
            if self._client is not None and not self._client.ours:
                self._drop()
                self._notices = [f"{FORKED.capitalize()}: a fresh one begins, without what was made in it."]
            yield

    @contextmanager
    def _child(self) -> Generator[Askable | None]:
        """The child, to be asked something: the idle one, or one whose action waits for a tool; None: there is none."""
        asides = self._asides if self._in_use.here.locked() else None
        with asides.turn() if asides else self._alone():
            yield asides or self._client

    def _ready(self) -> KernelClient:
        """The running child; started, and given variables, if there is none. Tools it gets with its first action."""
        if self._client is not None:
            return self._client
        client = STANDBY.take(self.python, self.cwd, self.settings, self._stop.is_set)
        self._end_child = Finalizer(self, client.close)  # at once: an interrupt may come
        self._client = client
        try:
            self.made_files.begin(client.child, self.cwd)
            client.boot(self._stop.is_set)
            self._names, self._offered = [], False
            self._set_variables(client, self._variables)
        except BaseException:
            self._drop()
            raise
        client.child.notices[:0], self._notices = self._notices, client.child.notices
        STANDBY.more(self.python, self.cwd, self.settings)
        return client

    def _reach(self) -> tuple[KernelClient | None, KeyboardInterrupt | None]:
        """The running child; None if a stop came first, and the KeyboardInterrupt that was it."""
        try:
            client = None if self._stop.is_set() else self._ready()
        except Stopped:
            return None, None
        except KeyboardInterrupt as error:
            return None, error
        return (None if self._stop.is_set() else client), None

    def _hand_over(self, child: Askable | None, give: Callable[..., object], *what: Any) -> None:
        """Give the child something. One that does not take it before a stop ends; the next one gets it all."""
        try:
            if child is not None:
                give(child, *what)
        except Stopped:
            self._drop()
        except ChildDiedError:
            pass  # the next action will tell, and the fresh child gets it

    def _offer(self, client: KernelClient) -> None:
        """Offer the tools to an idle child that has not got them with an action yet."""
        if not self._offered:
            with suppress(Stopped, ChildDiedError):  # the next action will tell
                reply = client.ask("smol_request", {"tools": tool_specs(self._tools)}, 5, self._stop.is_set)
                self._offered = reply is not None and reply.get("status") == "ok"

    def _set_variables(self, child: Askable, encoded: Mapping[str, Any]) -> None:
        for name, data in list(encoded.items()):
            try:
                set_variable(name, data, child.give, lambda *it: tell(child, *it, stopped=self._stop.is_set))
            except ChildRefused:  # each fresh child would refuse it too, and never be ready
                self._variables.pop(name, None)
                self.given.pop(name, None)
                raise
            if name not in self._names and not name.startswith("_"):
                self._names.append(name)

    def _end_or_drop(self, afresh: bool) -> None:
        with suppress(ExecutorError), self._alone():
            self._drop()
            self.lost, self._notices = [] if afresh else self.lost, []  # it is meant
            self.made_files.begin_afresh()
            return
        if (client := self._client) is not None:
            client.kill()  # the thread that uses it notices, and drops it

    def _drop(self) -> None:
        self.lost += [name for name in self._names if name not in self._variables]
        self._client, self._names, self._answered, self.ended = None, [], False, self.ended + 1
        if self._end_child is not None:
            self._end_child()
            self._end_child = None
            self.made_files.child_ended()

    def _look_up(self, type: str, content: dict[str, Any]) -> dict[str, Any] | None:
        """Ask an idle child; None if there is none, or no answer."""
        with suppress(ExecutorError), self._alone():  # it may have died: the next action will tell
            if self._client is not None:
                self._offer(self._client)
                return self._client.ask(type, content, seconds=5)
        return None

    # one action

    def _tell_notices(self) -> Iterator[Event]:
        while self._notices:
            yield Notice(text=self._notices.pop(0))

    def _action(self, client: KernelClient) -> Action:
        return Action(
            client,
            self._tools,
            Observer(self.max_print_outputs_length),
            ask_person=self.ask_person,
            refuse=self.refuse,
            recorded=self.recorded,
            next_id=lambda ids=self.call_numbers: f"c{next(ids)}",  # not of self: a child ends with it
            number=next(self._action_numbers),
            timeout=self.timeout_seconds,
            grace=self.interrupt_grace_seconds,
            stop_wanted=self._stop.is_set,
        )

    def _follow(self, action: Action, send: Callable[[], str]) -> Generator[Event, None, KeyboardInterrupt | None]:
        """Run it; gives the KeyboardInterrupt that came meanwhile."""
        client, self._asides = self._client, action.asides
        try:
            return (yield from action.run(send))
        finally:
            self._asides = None
            if (action.died is not None or not action.ended) and self._client is client:
                self._drop()  # nobody knows what it does now
