"""What a run gives: the whole result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from smol_kernel.memory.usage import Timing, TokenUsage


@dataclass
class RunResult:
    """The outcome of a run.

    `output` is the answer, None where there is none; `state` is "success", "max_steps_error", "interrupted", "budget"
    or "error"; `steps` are the full steps as dicts; `token_usage` counts the run's own model calls and is None where
    one of them told no counts; `timing` is its start and end, in seconds since the epoch; `run_id` finds the run in the
    journal; `used` is what it used of its budget, the agents it called included; `error` is what kept it from success,
    in a sentence.
    """

    output: Any = None
    state: str | None = None
    steps: list[dict[str, Any]] | None = None
    token_usage: TokenUsage | None = None
    timing: Timing | None = None
    run_id: str = ""
    used: dict[str, float | None] = field(default_factory=dict)
    error: str | None = None

    def dict(self) -> dict[str, Any]:
        """The result as plain data; `output` stays the value it is."""
        parts = {"token_usage": self.token_usage, "timing": self.timing}
        return {**self.__dict__, **{name: part and part.dict() for name, part in parts.items()}}
