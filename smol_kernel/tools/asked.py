"""What a person reads where an agent, or its code, asks: who asks, and then its words, marked in each line."""

from __future__ import annotations

import shutil

_MARK = "   | "
_MOST_CHARACTERS, _MOST_ROWS = 4_000, 40


def asked_text(prompt: str, who: str = "The agent's code", password: bool = False, encoding: str | None = None) -> str:
    """A line that says that `who` asks, and the lines of the `prompt`, each behind a mark that no line of ours or of a
    shell's has; without a line end, so that the answer stands behind the one line, or behind one of ours below several.
    For what `encoding` lacks there is a "?".
    """
    half = _MOST_CHARACTERS // 2  # of a long one the end stays as well: the question is there
    kept = prompt if len(prompt) <= _MOST_CHARACTERS else f"{prompt[:half]}\n...\n{prompt[-half:]}"
    text = "".join(c for c in kept.expandtabs() if c.isprintable() or c == "\n")
    width = max(20, shutil.get_terminal_size((88, 24)).columns - 1) - len(_MARK)
    rows: list[str] = []
    several = "\n" in text
    for line in text.rstrip().split("\n") if several else [text]:
        at_once = width if line.isascii() else width // 2  # a character may take two columns
        rows += [line[start : start + at_once] for start in range(0, len(line), at_once)] or [""]
    rows = rows if len(rows) <= _MOST_ROWS else [*rows[: _MOST_ROWS - 9], "...", *rows[-8:]]
    asks = f"{who} asks{' for a password' if password else ''}. What you type goes to it:"
    told = "\n".join([asks, *(f"{_MARK}{row}" for row in rows), *["Your answer: "] * several])
    return told.encode(encoding or "utf-8", "replace").decode(encoding or "utf-8")
