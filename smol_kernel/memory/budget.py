"""What a run may use, and the account of what it used. Agents that are called by others share their caller's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from smol_kernel.errors import AgentBudgetError, ConfigError, forget_frames
from smol_kernel.memory.loading import seconds_of_loading
from smol_kernel.memory.usage import TokenUsage


@dataclass(frozen=True)
class Budget:
    """Limits of a run and of all the agents it calls, together; None: no limit.

    Parameters: `steps`; `input_tokens` and `output_tokens` of all model calls; `cost` in USD; `seconds` of wall time,
    less the time in which LiteLLM is loaded, once in a process; `tool_calls`. It is looked at before each model call;
    time and tool calls also while an action runs, save for a plain tool that hangs: that has the thread of `run()` to
    itself. A limit on the cost needs a model whose price is known, one on tokens a model that tells them: otherwise the
    run ends after its first call. Raises ConfigError for a limit that is no positive number.
    """

    steps: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None
    seconds: float | None = None
    tool_calls: int | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value > 0):
                raise ConfigError(f"budget: {name} is {value!r}: give a number above 0, or None for no limit")


_LOOK_SECONDS = 0.02  # at least, between two looks at a clock that may stand
TO_ASK = ("input_tokens", "output_tokens", "cost", "seconds")
"""The limits that keep a model from being asked, a last answer included."""


def usable(budget: Any) -> Budget | None:
    """`budget` itself. Raises ConfigError for what is neither a Budget nor None."""
    if isinstance(budget, Budget) or budget is None:
        return budget
    raise ConfigError(f"budget is {budget!r}: give a Budget, such as Budget(steps=10, seconds=60)")


class Account:
    """What one run has used so far, the agents it called included. All is charged to the caller's account as well.

    `spent` are seconds that it took before it was cut off. `own` are the tokens of the run's own model calls; None as
    soon as one of them told none.
    """

    def __init__(self, budget: Budget | None = None, caller: Account | None = None, spent: float = 0.0) -> None:
        self._limits, self._caller = asdict(budget or Budget()), caller
        self.own: TokenUsage | None = TokenUsage(0, 0, cost=0.0)
        self._used: dict[str, float | None] = {**dict.fromkeys(self._limits, 0), "cost": 0.0}
        now = time.monotonic()
        self._started = now - spent - seconds_of_loading(now)
        self._lock = threading.Lock()

    @property
    def _seconds(self) -> float:
        now = time.monotonic()
        return now - self._started - seconds_of_loading(now)

    @property
    def used(self) -> dict[str, float | None]:
        """What was used, by the names of the limits; None is unknown."""
        return {**self._used, "seconds": self._seconds}

    def count(self, **amounts: float | None) -> None:
        """Add to what was used, by the names of the limits; an amount of None is unknown, and so is the sum then."""
        with self._lock:
            for name, amount in amounts.items():
                so_far = self._used[name]
                self._used[name] = None if so_far is None or amount is None else so_far + amount
        if self._caller:
            self._caller.count(**amounts)

    def charge(self, usage: TokenUsage | None) -> None:
        """Count a model call of the run itself."""
        self.own = self.own + usage if self.own and usage else None
        names = ("input_tokens", "output_tokens", "cost")
        self.count(**{name: getattr(usage, name, None) for name in names})

    def check(self, names: tuple[str, ...] | None = None) -> None:
        """Raises AgentBudgetError if one of the limits `names` (None: any) is reached, here or at a caller's."""
        for name, used in self.used.items():
            limit, words = self._limits[name], name.replace("_", " ")
            if limit is None or (names and name not in names):
                continue
            if used is None and name == "cost":
                raise AgentBudgetError(
                    f"The budget allows ${limit:g}, but what the model costs is unknown: limit its tokens "
                    "or the seconds instead (--max-output-tokens, Budget(output_tokens=…)), or, in Python, give its "
                    "prices (input_cost_per_token=…, output_cost_per_token=…)."
                )
            if used is None:
                raise AgentBudgetError(
                    f"The budget allows {limit:,g} {words}, but the model does not tell how many it takes: give limits "
                    "on seconds or steps instead."
                )
            if used > limit or (used == limit and name != "tool_calls"):  # a call too many is counted, and refused
                amounts = (
                    f"${used:,.4g} of ${limit:,g}" if name == "cost" else f"{round(used, 1):,.6g} of {limit:,g} {words}"
                )
                raise AgentBudgetError(f"The budget is used up: {amounts}.")
        if self._caller:
            self._caller.check(names)

    def refuse_call(self) -> AgentBudgetError | None:
        """Count a tool call; why it may not be made any more, or None if it may."""
        self.count(tool_calls=1)
        try:
            return self.check(("tool_calls", "seconds"))
        except AgentBudgetError as error:
            forget_frames(error)
            return error

    @contextmanager
    def timer(self, expired: Callable[[], None]) -> Generator[None]:
        """Meanwhile, call `expired` when the time of this budget is over, if there is such a limit."""
        limit, over = self._limits["seconds"], threading.Event()

        def watch() -> None:
            while (left := limit - self._seconds) > 0:
                if over.wait(min(max(left, _LOOK_SECONDS), threading.TIMEOUT_MAX)):
                    return
            if not over.is_set():
                expired()

        if limit is not None:
            threading.Thread(target=watch, name="smol budget", daemon=True).start()
        try:
            yield
        finally:
            over.set()


def at_least_one(name: str, value: int) -> int:
    """`value`, the setting `name`. Raises ConfigError if it is no whole number above 0."""
    if type(value) is not int or value < 1:
        raise ConfigError(f"{name} is {value!r}: give a whole number of at least 1")
    return value
