"""What `run()` returns when the whole result is asked for, and the sums a finished run carries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from smol_kernel.events import RunFinished
from smol_kernel.memory.steps import ActionStep, MemoryStep
from smol_kernel.memory.usage import Timing, TokenUsage


@dataclass
class RunResult:
    """The outcome of a run.

    `state` is "success", "max_steps_error", "interrupted" or "error"; `steps` are the full steps as dicts;
    `token_usage` is None where the model told no counts; `run_id` finds the run in the journal.
    """

    output: Any
    state: str
    steps: list[dict[str, Any]]
    token_usage: TokenUsage | None
    timing: Timing
    run_id: str

    def dict(self) -> dict[str, Any]:
        """The result as plain data; `output` stays the value it is."""
        return {
            "output": self.output,
            "state": self.state,
            "steps": self.steps,
            "token_usage": self.token_usage.dict() if self.token_usage else None,
            "timing": self.timing.dict(),
            "run_id": self.run_id,
        }


def token_counts(steps: Sequence[MemoryStep]) -> dict[str, Any]:
    """Tokens of all `steps` together; None where the model told none for one of them."""
    actions = [step for step in steps if isinstance(step, ActionStep)]
    usages = [step.token_usage for step in actions if step.token_usage is not None]
    if not usages or len(usages) < len(actions):
        return {"input_tokens": None, "output_tokens": None, "cached_tokens": None}
    total = sum(usages[1:], usages[0])
    return {
        "input_tokens": total.input_tokens,
        "output_tokens": total.output_tokens,
        "cached_tokens": total.cached_tokens,
    }


def token_usage(finished: RunFinished) -> TokenUsage | None:
    """The tokens of a finished run; None where they are unknown."""
    if finished.input_tokens is None or finished.output_tokens is None:
        return None
    return TokenUsage(finished.input_tokens, finished.output_tokens, finished.cached_tokens or 0)


def sentence_on_the_end(steps: Sequence[MemoryStep], state: str, failure: BaseException | None) -> str | None:
    """What kept a run from success, in one sentence; None where nothing did."""
    if state == "interrupted":
        return "Stopped before there was an answer."
    if failure is not None:
        return str(failure)
    if state == "max_steps_error":
        errors = [step.error.message for step in steps if isinstance(step, ActionStep) and step.error]
        return errors[-1] if errors else None
    return None
