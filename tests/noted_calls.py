"""Tools that note their calls: one that answers otherwise each time, and one that is called for what it does."""

from __future__ import annotations

from typing import Any

from smol_kernel import Tool, tool


def noted() -> tuple[list[Any], Tool, Tool]:
    """What was made, and the tools `roll` and `note`, which put what they are given there."""
    made: list[Any] = []

    @tool
    def roll(sides: int) -> int:
        """A number.

        Args:
            sides: How many there are.
        """
        made.append(sides)
        return len(made)

    @tool
    def note(text: str) -> None:
        """Write something down.

        Args:
            text: What.
        """
        made.append(text)

    return made, roll, note
