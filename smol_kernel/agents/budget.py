"""What a run may use, and the account of what it used. Agents that are called by others share their caller's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, fields

from smol_kernel.errors import AgentBudgetError, ConfigError
from smol_kernel.memory.usage import TokenUsage


@dataclass(frozen=True)
class Budget:
    """Limits of a run and of all the agents it calls, together; None: no limit.

    Parameters: `steps`; `input_tokens` and `output_tokens` of all model calls; `cost` in USD; `seconds` of wall time;
    `tool_calls`. It is looked at before each model call; time and tool calls also while an action runs. A limit on the
    cost needs a model whose price is known: otherwise the run ends after its first call. Raises ConfigError for a
    limit that is no positive number.
    """

    steps: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None
    seconds: float | None = None
    tool_calls: int | None = None

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value > 0):
                raise ConfigError(f"budget: {limit.name} is {value!r}: give a number above 0, or None for no limit")


TO_ANSWER = ("input_tokens", "output_tokens", "cost", "seconds")
"""The limits that also keep a run from being asked for a last answer."""
_UNITS = {"steps": "steps", "input_tokens": "input tokens", "output_tokens": "output tokens", "cost": "USD",
          "seconds": "seconds", "tool_calls": "tool calls"}  # fmt: skip


class Account:
    """What one run has used so far, those it called included. What is charged here is charged to the caller's as well.

    `own` are the tokens of the run's own model calls; None as long as one of them told none.
    """

    def __init__(self, budget: Budget | None = None, caller: Account | None = None) -> None:
        self.budget, self.caller = budget or Budget(), caller
        self.own: TokenUsage | None = TokenUsage(0, 0, cost=0.0)
        self._used = {"steps": 0, "input_tokens": 0, "output_tokens": 0, "tool_calls": 0}
        self._cost: float | None = 0.0
        self._started = time.monotonic()
        self._lock = threading.Lock()

    @property
    def used(self) -> dict[str, float | None]:
        """What was used, by the names of the limits; a cost of None is unknown."""
        return {**self._used, "cost": self._cost, "seconds": time.monotonic() - self._started}

    def count(self, what: str, number: int = 1) -> None:
        """Count `number` of "steps" or "tool_calls"."""
        with self._lock:
            self._used[what] += number
        if self.caller:
            self.caller.count(what, number)

    def charge(self, usage: TokenUsage | None) -> None:
        """Count one model call of the run itself."""
        self.own = self.own + usage if self.own is not None and usage is not None else None
        self._charge(usage)

    def _charge(self, usage: TokenUsage | None) -> None:
        with self._lock:
            self._used["input_tokens"] += usage.input_tokens if usage else 0
            self._used["output_tokens"] += usage.output_tokens if usage else 0
            known = self._cost is not None and usage is not None and usage.cost is not None
            self._cost = self._cost + usage.cost if known else None  # pyright: ignore[reportOptionalOperand, reportOptionalMemberAccess]
        if self.caller:
            self.caller._charge(usage)

    def check(self, names: tuple[str, ...] | None = None) -> None:
        """Raises AgentBudgetError if one of the limits `names` (None: any) is reached, here or at a caller's."""
        for name, used in self.used.items():
            limit = getattr(self.budget, name)
            if limit is None or (names and name not in names):
                continue
            if used is None:
                raise AgentBudgetError(
                    f"The budget allows ${limit:g}, but what the model costs is unknown. Give its price "
                    "(input_cost_per_token=, output_cost_per_token=), or set no limit on the cost."
                )
            if used > limit or (used == limit and name != "tool_calls"):  # a call too many is counted, and refused
                raise AgentBudgetError(f"The budget is used up: {used:,.6g} of {limit:,g} {_UNITS[name]}.")
        if self.caller:
            self.caller.check(names)

    def refuse_call(self) -> str | None:
        """Count a tool call; why it may not be made any more, or None if it may."""
        self.count("tool_calls")
        try:
            self.check(("tool_calls", "seconds"))
        except AgentBudgetError as error:
            return error.message
        return None

    def timer(self, expired: Callable[[], None]) -> threading.Timer | None:
        """A running timer that calls `expired` when the time of this budget is over; None without such a limit."""
        if self.budget.seconds is None:
            return None
        timer = threading.Timer(self.budget.seconds, expired)
        timer.daemon = True
        timer.start()
        return timer
