"""What became of an action: what the child reported of it, checked, as an ActionFinished. `kernel` calls it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from smol_kernel.errors import ConfigError
from smol_kernel.events import ActionFinished
from smol_kernel.executors.action import Action
from smol_kernel.executors.launchers.hints import hint
from smol_kernel.executors.launchers.settings import BoxSettings
from smol_kernel.executors.launchers.working_folder import working_folder
from smol_kernel.executors.lookup import names
from smol_kernel.executors.observation import MAX_PLAIN, clean, told, truncate
from smol_kernel.executors.readings import Replied
from smol_kernel.executors.values import MalformedValue, decode

MAX_ERROR = 100_000
"""Characters kept of an error's message, and of its traceback."""
MAX_LEFT_OUT = 1 << 50
MAX_STATEMENTS = 1_000_000

KINDS = {"timeout": "TimeoutError", "interrupted": "KeyboardInterrupt"}
"""The error's name for each reason to stop an action."""


def finished(action: Action, known: list[str]) -> ActionFinished:
    """What became of it; `known` are the names there were before it. What is `lost` is the caller's to add."""
    if action.died is not None:
        why = f"{why_ended(action)}. The next action runs in a fresh one"
        kind = KINDS.get(action.reason or "", "ChildDiedError")
        return _told(action, action.reason or "died", error_type=kind, error=why)
    reply = action.reply or Replied(status="error", error="the child kernel gave no account of the action")
    report = reply.report
    if report.get("log") is True:
        action.observer.rest = f"the whole text is in _logs[{action.number}]"
    action.observer.left_out = _left_out(report, "left_out")
    completed = report.get("completed")
    left = names(report["names"]) if "names" in report else known
    sound = type(completed) is int and 0 <= completed < MAX_STATEMENTS
    common = {"names": left, "completed": completed if sound else 0}
    if reply.status == "ok" and "error" not in report:
        final = report.get("final") is True
        try:
            value, text = _value(report, MAX_PLAIN if final else action.observer.limit)
        except MalformedValue as error:
            if final:
                why = f"the answer that came from the child cannot be read: {error}"
                return _told(action, "error", error_type="ValueError", error=why, **common)
            value, text = None, f"<a value that cannot be read: {error}>"
        if action.reason == "timeout" and not final:  # it caught the interrupt and went on to its end
            why = f"{why_ended(action)}; it went on after the interrupt, to its end"
            return _told(action, "timeout", error_type=KINDS["timeout"], error=why, **common)
        return _told(action, "ok", value=value, value_text=text, final=final, **common)
    if action.reason is not None:
        why = why_ended(action)
        return _told(action, action.reason, error_type=KINDS[action.reason], error=why, **common)
    given: Any = report.get("error")
    error = given if isinstance(given, dict) else {"type": reply.error_type, "message": reply.error}
    return _told(
        action,
        "error",
        error_type=next(iter(names([error.get("type")])), "Error"),
        error=told(error, "message", MAX_ERROR),
        traceback=told(error, "traceback", MAX_ERROR),
        **common,
    )


def with_hint(ended: ActionFinished, settings: BoxSettings | None, cwd: str | Path | None) -> ActionFinished:
    """The same, and where the box may have caused the error a sentence on that. Without a box nothing is added."""
    if settings is None or ended.status != "error":
        return ended
    folder = None
    with suppress(ConfigError):  # it is gone
        folder = working_folder(cwd)
    said = hint(ended.error_type, ended.error, settings, folder)
    if said is None:
        return ended
    if ended.traceback:
        return replace(ended, traceback=f"{ended.traceback}\n{said}")
    return replace(ended, error=f"{ended.error}\n{said}")


def why_ended(action: Action) -> str:
    """Why it was stopped or its child is gone, as a sentence."""
    timed_out = action.reason == "timeout"
    stopped = f"stopped after {action.timeout:g} s, the limit for one action" if timed_out else "interrupted"
    if action.died is None:
        return stopped
    if action.killed:
        return f"{stopped}; {action.killed}, so the child kernel was ended"
    return f"{stopped}; the child kernel ended" if action.reason else action.died


def interrupted(why: str) -> ActionFinished:
    """Of an action that never began."""
    return ActionFinished(status="interrupted", error_type=KINDS["interrupted"], error=why)


def verdicts(report: dict[str, Any]) -> list[tuple[bool, str]]:
    """What the child says of the checks, as far as it is sound."""
    given: Any = report.get("checks")
    sound: list[tuple[bool, str]] = []
    for verdict in given if isinstance(given, list) else []:
        if not (isinstance(verdict, list) and len(verdict) == 2 and isinstance(verdict[1], str)):
            break
        sound.append((verdict[0] is True, clean(verdict[1][:MAX_PLAIN])))
    return sound


def _told(action: Action, status: str, **fields: Any) -> ActionFinished:
    return ActionFinished(status=status, logs=action.observer.logs, seconds=action.clock.seconds, **fields)


def _value(report: dict[str, Any], shown: int) -> tuple[Any, str]:
    """Value and text of a report, which come from the child. Raises MalformedValue."""
    decode(report.get("value"))
    text, before = told(report, "value_text"), _left_out(report, "text_left_out")
    name = next(iter(names([report.get("handle")])), "")
    shown = min(shown, len(text) - 1) if before and text else shown  # what the child cut out is told in any case
    return report.get("value"), truncate(text, shown, f"the whole value is in {name}" if name else "", before)


def _left_out(report: dict[str, Any], key: str) -> int:
    """How many characters the child says it left out."""
    said: Any = report.get(key)
    return said if type(said) is int and 0 <= said < MAX_LEFT_OUT else 0
