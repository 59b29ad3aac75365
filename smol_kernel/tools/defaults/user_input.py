"""The tool by which an agent asks the person at the keyboard."""

from __future__ import annotations

import sys

from smol_kernel.tools.asked import asked_text
from smol_kernel.tools.base import Tool


class UserInputTool(Tool):
    """Asks a question with `input()`: in a notebook a field below the cell, in a terminal a line."""

    name = "user_input"
    description = "Asks the user a question and returns what they typed."
    inputs = {  # noqa: RUF012 - as users write it; never changed
        "question": {"type": "string", "description": "The question to ask."}
    }
    output_type = "string"
    repeatable = True

    def forward(self, question: str) -> str:
        """What the person typed."""
        return input(asked_text(f"{question} ", "The agent", encoding=getattr(sys.stdout, "encoding", None)))
