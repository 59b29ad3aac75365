"""When an action runs but is wrong: checks of the answer, its declared type, and an agent that goes in circles."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from smol_kernel.errors import AgentError, ConfigError
from smol_kernel.events import Checked
from smol_kernel.memory.steps import ActionStep, AgentMemory

Check = Callable[..., Any]
REPEATS = 3
"""How often the same action, or the same error, may come in a row before the agent is told."""
WARNINGS = 2
"""How often it is told before the run is ended."""


def checked(checks: Sequence[Any], *, live: bool) -> list[Any]:
    """`checks` themselves. Raises ConfigError for what is neither a function nor, where there is a child to look at the
    `live` answer, an expression."""
    for check in checks:
        try:
            usable = callable(check) or (live and isinstance(check, str) and bool(compile(check, "check", "eval")))
        except SyntaxError:
            usable = False
        if not usable:
            need = "a function of the answer" + (", or a Python expression in which `answer` is the answer" * live)
            raise ConfigError(f"check {check!r} is not {need}")
    return list(checks)


def look(check: Check, answer: Any, memory: AgentMemory, agent: Any) -> Checked:
    """What `check` says of `answer`.

    It is called as `check(answer, memory, agent=agent)`, or with as many of these as it takes. It accepts by returning
    None or something true, and refuses with a reason as text, something false, or an exception.
    """
    name = getattr(check, "__name__", type(check).__name__)
    try:
        parameters = inspect.signature(check).parameters.values()
        places = sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.name != "agent" for p in parameters)
        anything = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        takes_agent = any(p.name == "agent" or p.kind is p.VAR_KEYWORD for p in parameters)
        told = check(*(answer, memory)[: 2 if anything else places], **({"agent": agent} if takes_agent else {}))
        reason = told if isinstance(told, str) else "" if told is None or told else "it is not fulfilled"
    except Exception as error:  # noqa: BLE001 - boundary: a user's own check
        reason = str(error) or type(error).__name__
    return Checked(check=name, ok=not reason, reason=reason)


class AnswerType:
    """The type an answer has to have: a builtin or generic type, a dataclass, a pydantic model, or any class."""

    def __init__(self, kind: Any) -> None:
        from pydantic import ConfigDict, TypeAdapter
        from pydantic.errors import PydanticUserError

        try:
            self._adapter: TypeAdapter[Any] = TypeAdapter(kind, config=ConfigDict(arbitrary_types_allowed=True))
        except PydanticUserError:  # a model has a configuration of its own
            self._adapter = TypeAdapter(kind)
        self.name = getattr(kind, "__name__", str(kind)) if not getattr(kind, "__args__", None) else str(kind)

    def words(self) -> str:
        """The type for the model: its name, and the JSON schema where it has one."""
        try:
            schema = self._adapter.json_schema()
        except Exception:  # noqa: BLE001 - pydantic has no schema for a class it does not know
            return self.name
        return f"{self.name} {schema}" if "properties" in schema else self.name

    def convert(self, answer: Any) -> Any:
        """`answer` as a value of the type. Raises AgentError that says where it does not fit."""
        from pydantic import ValidationError

        try:
            return self._adapter.validate_python(answer)
        except ValidationError as error:
            places = (f"{'.'.join(map(str, e['loc'])) or 'the answer'}: {e['msg']}" for e in error.errors()[:10])
            raise AgentError(f"The answer has to be {self.words()}, and is not: {'; '.join(places)}") from error


class Repetition:
    """Notices an agent that goes in circles."""

    def __init__(self) -> None:
        self.hopeless = False
        """True: it was told as often as makes sense."""
        self._warnings = 0
        self._last: dict[str, str] = {}
        self._times: dict[str, int] = {}

    def look(self, step: ActionStep) -> Checked | None:
        """A failed check if `step` repeats those before it once too often, else None."""
        calls = [(call.name, call.arguments) for call in step.tool_calls or []]
        error = step.error.message.strip().splitlines() if step.error else []
        seen = {"action": step.code_action or (str(calls) if calls else ""), "error": error[-1] if error else ""}
        for what, text in seen.items():
            self._times[what] = self._times.get(what, 0) + 1 if text and text == self._last.get(what) else 1
            self._last[what] = text
        repeated = [what for what, text in seen.items() if text and self._times[what] >= REPEATS]
        if not repeated:
            return None
        self._times.clear()
        self._warnings += 1
        self.hopeless = self._warnings > WARNINGS
        said = f"This was the same {repeated[0]} {REPEATS} times in a row. Try something else, or give the best answer."
        return Checked(check="repetition", ok=False, reason=said)
