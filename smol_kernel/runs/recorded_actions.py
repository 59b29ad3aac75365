"""`RecordedActions`: runs recorded actions again in a fresh child, so that it has their names. `replay` puts it between
the loop and the executor.

Tool calls are answered from the recording. The loop is given what was recorded, not what came now; where the two are
not the same, the replay is told.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from smol_kernel.agents.managed_agent import functions
from smol_kernel.errors import ReplayError
from smol_kernel.events import ActionFinished, Event, ToolCalled
from smol_kernel.executors.base import PythonExecutor
from smol_kernel.executors.recorded import RecordedCalls, RecordedError, RecordedResult
from smol_kernel.render.plain import counted, one_line
from smol_kernel.runs.recording import used
from smol_kernel.runs.source import Source

if TYPE_CHECKING:
    from smol_kernel.runs.replay import Replay

UNKNOWN = (
    "The run was cut off while this call was under way: it is not known whether it had its effect. It was not repeated."
)
IN_USE = (
    "The actions left a file open in a mount that they may write to, or work in a folder that is not there any more: "
    "what they write to it is lost."
)
OFFLINE = (
    "There was no network while the actions were run again. With repeat=True (--repeat) they may ask their hosts anew."
)
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,}")
_SHOWN = 60  # characters of a value that differs


class RecordedActions:
    """Stands before `live`, an executor. Raises ReplayError for one that cannot be given recorded results."""

    def __init__(self, live: Any, replay: Replay, agent: Any) -> None:
        if not hasattr(live, "recorded"):
            raise ReplayError(f"actions that {type(live).__name__} runs cannot be replayed: use the local executor")
        while isinstance(live, RecordedActions):  # of an agent that handed the task, and its child, on to this one
            live = live._live
        own = {"_live": live, "_replay": replay, "_agent": agent, "_actions": iter(replay.actions)}
        self.__dict__.update(own)
        died = [place for place, events in enumerate(replay.actions) if _finished(events).status == "died"]
        self.__dict__["_skipped"] = died[-1] + 1 if died else 0  # what was before is gone with the child
        settings = getattr(live, "settings", None)
        self.__dict__["_settled"] = settings is None or replay.child_lives
        if settings is not None and not replay.child_lives:
            live.settings = replace(settings, rehearsal="online" if replay.repeat else "offline")
        numbers = [int(event.call[1:]) for event in replay.calls if event.call[1:].isdigit()]
        live.call_numbers = itertools.count(max(numbers, default=0) + 1)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._live, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._live, name, value)

    def settle(self) -> None:
        """Called when all is replayed: what the actions write to their mounts from now on is written there."""
        if self._settled:
            return
        self.__dict__["_settled"] = True
        if not self._live.end_rehearsal(in_use=False):
            self._replay.differences.append(IN_USE)
            if self._replay.accept:
                self._live.end_rehearsal(in_use=True)

    def restart(self) -> None:
        """Begin with a fresh child, unless the one that lives has all the names."""
        if not self._replay.child_lives:
            self._live.restart()

    def send_variables(self, variables: Mapping[str, Any]) -> None:
        """Set variables, unless the child that lives has them."""
        if not self._replay.child_lives:
            self._live.send_variables(variables)

    def run(self, action: Any, *more: Any) -> Iterator[Event]:
        """What is recorded of the next action; after the last one, an action: as the executor takes it."""
        replay, live = self._replay, self._live
        events: list[Event] | None = next(self._actions, None)
        if events is None:
            if replay.whole:
                raise ReplayError(f"run {replay.run} goes on with an action of which nothing more is recorded")
            replay.gate()
            live.recorded = self._answers_when_cut_off() if replay.cut_step == self._agent.life.begun else None
            try:
                for event in live.run(action, *more):
                    if replay.refusal is not None and isinstance(event, ActionFinished) and not event.run:
                        raise replay.refusal  # of an agent that it called: the action is not over
                    yield event
            finally:
                live.recorded = None
            return
        account, calls = self._agent.life.account, sum(used(each).get("tool_calls") or 0 for each in events)
        counted = account.used["tool_calls"]
        if self._skipped:
            self.__dict__["_skipped"] -= 1
        elif replay.child_lives:
            pass
        elif len(events) > 1 and not any(isinstance(event, ActionFinished) for event in events):
            replay.differences.append(f"Step {events[0].step} was left in its action: nothing of it was run again.")
        else:
            self._again(action, more, events)
        account.count(tool_calls=max(0, calls - account.used["tool_calls"] + counted))  # those not made again
        yield from map(_unmarked, events[1:])

    def check(self, expressions: Sequence[str], answer: Any = None) -> Iterator[Event]:
        """What is recorded of the checks of an answer; where nothing is, what they say now, if there is a now."""
        recorded = self._replay.next_checks(expressions)
        if recorded is not None:
            yield from map(_unmarked, recorded)
        elif not self._replay.whole:
            yield from self._live.check(expressions, answer)

    def _again(self, action: Any, more: tuple[Any, ...], events: list[Event]) -> None:
        """Run an action once more, for what it leaves behind, and compare."""
        then = _finished(events)
        step, replay, live = events[0].step, self._replay, self._live
        calls = RecordedCalls(events)

        def answer(event: ToolCalled) -> RecordedResult | None:
            found = calls.take(event)
            if found is not None or event.tool == "input":
                return found
            replay.differences.append(
                f"Step {step} calls {event.summary}, which it did not call before; it was not made."
            )
            return RecordedResult("", error=RecordedError("This call is not in the recording.", ["RuntimeError"]))

        whole = then.status in ("ok", "error", "") or not isinstance(action, str)  # calls are recorded one by one
        if not whole:
            action = _beginning(action, then.completed)
        now = ActionFinished(status="")
        live.recorded = answer
        try:
            for event in live.run(action, *more):
                if isinstance(event, ActionFinished) and not event.run:
                    now = event
        finally:
            live.recorded = None
        if self._agent.life.stop.is_set():
            return
        if whole and (changed := [f"Step {step}: {each}" for each in _differences(then, now)]):
            replay.differences += changed
            settings = getattr(live, "settings", None)
            if (
                settings is not None
                and settings.allow_hosts
                and not replay.repeat
                and OFFLINE not in replay.differences
            ):
                replay.differences.append(OFFLINE)
        if not whole:
            again = counted(then.completed, "statement")
            replay.differences.append(
                f"Step {step} was cut short ({then.status}): only what had completed of it was run again, {again}."
            )
        elif calls.left():
            replay.differences.append(f"Step {step} did not make {len(calls.left())} of the calls that it made before.")

    def may_repeat(self, tool: str) -> bool:
        """Whether a call of the tool can be made again as it is: it changes nothing outside."""
        return (
            tool == "input"
            or self._hands_on(tool)
            or bool(getattr(functions(self._agent).get(tool), "repeatable", False))
        )

    def _hands_on(self, tool: str) -> bool:
        return tool.startswith("transfer_to_") and tool.removeprefix("transfer_to_") in self._agent.handoffs

    def _never_began(self, tool: str) -> bool:
        """Whether a call of which nothing came, and no run, was to an agent whose runs are recorded here."""
        called = self._agent.managed_agents.get(tool)
        return hasattr(called, "memory") and self._replay.is_recorded_here(called)

    def _answers_when_cut_off(self) -> Any:
        """Answers for the action that was cut off: what had come before; of what was under way nothing is known."""
        replay = self._replay
        begun = (event for event in replay.calls if event.step == replay.cut_step)
        calls = RecordedCalls(begun, first_only=True)

        def answer(event: ToolCalled) -> RecordedResult | None:
            if self._hands_on(event.tool):  # it has to be handed on once more
                return None
            if (found := calls.take(event)) is not None:
                replay.charge(self._agent, found.call)
                return found
            opened = calls.take_open(event)
            if opened is None or self.may_repeat(event.tool) or replay.repeat or replay.take_up(opened, event.call):
                return None
            if self._never_began(event.tool):
                return None
            return RecordedResult(opened.call, error=RecordedError(UNKNOWN, ["OutcomeUnknownError", "RuntimeError"]))

        return answer


PythonExecutor.register(RecordedActions)  # an agent takes it for one


def leave_rehearsal(executor: Any) -> None:
    """Drop the child of an executor whose recorded actions were not run again to their end: it is half one."""
    settings = getattr(executor, "settings", None)
    if settings is not None and settings.rehearsal:
        executor.settings = replace(settings, rehearsal="")
        executor.restart()


def _finished(events: list[Event]) -> ActionFinished:
    return next((event for event in events if isinstance(event, ActionFinished)), ActionFinished(status=""))


def _unmarked(event: Event) -> Event:
    """The event as an executor yields it: the loop marks it as its own."""
    return replace(event, run="", step=0)


def _beginning(code: str, completed: int) -> str:
    """The first `completed` statements of the code."""
    source = Source(code)
    if source.body is None or not completed:
        return "pass"
    return code[: source.end_of(source.body[min(completed, len(source.body)) - 1])]


def _differences(then: ActionFinished, now: ActionFinished) -> Iterator[str]:
    if (then.status, then.error_type) != (now.status, now.error_type):
        yield f"it ended with {_ending(then)} before, and with {_ending(now)} now"
        return
    for what, before, after in (
        ("its value", then.value_text, now.value_text),
        ("what it printed", then.logs, now.logs),
        ("its error", then.error or "", now.error or ""),
    ):
        old, new = _ADDRESS.sub("0x…", before), _ADDRESS.sub("0x…", after)
        if old != new:
            place = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
            begin = max(0, place - _SHOWN // 2)
            old, new = (one_line(text[begin : begin + _SHOWN], _SHOWN) for text in (old, new))
            yield f"{what} was {old!r}, and is {new!r}"
    if set(then.names) != set(now.names):
        changed = sorted(set(then.names) ^ set(now.names))
        yield f"it does not leave the same names: {', '.join(changed[:10])}"


def _ending(event: ActionFinished) -> str:
    return event.error_type or event.status
