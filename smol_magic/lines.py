"""Text in lines that no page breaks in the middle of a word."""

from __future__ import annotations

import textwrap

WIDTH = 92
"""Characters of a line: JupyterLab breaks longer ones anywhere."""


def wrapped(text: str) -> str:
    """`text`, its lines that are too long in several; what has no space in it stays whole."""
    return "\n".join(_wrapped(line) if len(line) > WIDTH else line for line in text.split("\n"))


def _wrapped(line: str) -> str:
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.fill(line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
