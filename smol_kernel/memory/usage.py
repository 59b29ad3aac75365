"""Token counts and times of a step or a run."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any


@dataclass
class TokenUsage:
    """Tokens of one model call, or a sum of calls.

    `cached_tokens` are those of `input_tokens` that the provider served from its cache; `cost` is in USD, None where
    the price is unknown.
    """

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    cost: float | None = None
    total_tokens: int = field(init=False)

    def __post_init__(self) -> None:
        self.total_tokens = self.input_tokens + self.output_tokens

    def __add__(self, other: TokenUsage) -> TokenUsage:
        return TokenUsage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            None if self.cost is None or other.cost is None else self.cost + other.cost,
        )

    def dict(self) -> dict[str, Any]:
        """The counts as plain data; cached tokens and the cost where there are any."""
        counts: dict[str, Any] = {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "total_tokens": self.total_tokens,
        }
        if self.cached_tokens:
            counts["cached_tokens"] = self.cached_tokens
        if self.cost is not None:
            counts["cost"] = self.cost
        return counts


@dataclass
class Timing:
    """Start and end of something, in seconds since the epoch; `end_time` is None while it lasts."""

    start_time: float = field(default_factory=time.time)
    end_time: float | None = None

    @property
    def duration(self) -> float | None:
        """Seconds from start to end; None while it lasts, 0 where the clock was set back meanwhile."""
        return None if self.end_time is None else max(0.0, self.end_time - self.start_time)

    def dict(self) -> dict[str, Any]:
        """Start, end and duration as plain data."""
        return {"start_time": self.start_time, "end_time": self.end_time, "duration": self.duration}


def counts(usage: TokenUsage | None) -> dict[str, Any]:
    """Tokens and cost by their names, as the fields of an event; nothing where they are unknown."""
    names = ("input_tokens", "output_tokens", "cached_tokens", "cost")
    return {name: getattr(usage, name) for name in names} if usage else {}
