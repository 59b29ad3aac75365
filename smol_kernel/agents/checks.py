"""When an action runs but is wrong: checks of the answer, and an agent that goes in circles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from smol_kernel.errors import ConfigError
from smol_kernel.events import Checked, Event
from smol_kernel.executors.answer_check import look
from smol_kernel.memory.steps import ActionStep
from smol_kernel.parsing import expression
from smol_kernel.tools.given_check import fitting

REPEATS = 3
"""How often the same action, or the same error, may come in a row before the agent is told."""
WARNINGS = 2
"""How often it is told before the run is ended."""


def checked(checks: Any, *, live: bool) -> list[Any]:
    """`checks`, or a single one, as a list. Raises ConfigError for what is neither a function nor, where there is a
    child to look at the `live` answer, an expression."""
    checks = [checks] if callable(checks) or isinstance(checks, str) else list(checks)
    for check in map(fitting, checks):
        with suppress(SyntaxError, ValueError):
            if callable(check) or (live and isinstance(check, str) and expression(check)):
                continue
        need = "a function of the answer" + (", or a Python expression in which `answer` is the answer" * live)
        raise ConfigError(f"check {check!r} is not {need}")
    return checks


def looks(agent: Any, answer: Any) -> Iterator[Event]:
    """What the checks say of the answer; expressions are tried in the agent's child, or in that of a predecessor."""
    if expressions := [check for check in agent.checks if isinstance(check, str)]:
        yield from agent.python_executor.check(expressions, answer)
    for check in filter(callable, [*agent.checks, *agent.final_answer_checks]):
        yield look(check, answer, agent.memory, agent)


class Repetition:
    """Notices an agent that goes in circles. `hopeless`: it was told as often as makes sense."""

    def __init__(self) -> None:
        self.hopeless, self._warnings = False, 0
        self._seen: list[tuple[ActionStep, dict[str, str]]] = []

    def look(self, step: ActionStep) -> Checked | None:
        """A failed check if `step` repeats those before it once too often, else None. The same action is no repetition
        where something else came of it, text or an image, which a callback may have added."""
        error = step.error.message.strip().splitlines() if step.error else []
        calls = [(call.name, call.arguments) for call in step.tool_calls or []]
        seen = {"action": f"{calls}{step.seen_text}" if calls else "", "error": error[-1] if error else ""}
        self._seen = [*self._seen, (step, seen)][-REPEATS:]
        repeated = [what for what, text in seen.items() if text and all(s[what] == text for _, s in self._seen)]
        shown = {s.seen_images for s, _ in self._seen if s is not step or s.observations_images}
        if len(self._seen) < REPEATS or not repeated or (repeated == ["action"] and len(shown) > 1):
            return None
        self._seen, self._warnings = [], self._warnings + 1
        self.hopeless = self._warnings > WARNINGS
        said = f"This was the same {repeated[0]} {REPEATS} times in a row. Try something else, or give the best answer."
        return Checked(check="repetition", ok=False, reason=said)
