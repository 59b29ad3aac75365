"""The tool every agent has: it hands over the answer and ends the run."""

from __future__ import annotations

from typing import Any

from smol_kernel.tools.base import Tool


class FinalAnswerTool(Tool):
    """`final_answer(answer)`. A CodeAgent's child has a function of its own by that name; this describes it."""

    name = "final_answer"
    description = "Gives the final answer to the task and ends the run."
    inputs = {  # noqa: RUF012 - as users write it; never changed
        "answer": {"type": "any", "description": "The final answer: any value.", "nullable": True}
    }
    output_type = "any"
    _owns_reserved_name = True

    def forward(self, answer: Any) -> Any:
        """The answer, as it is."""
        return answer
