"""Text of models and children made fit to show: stripped, shortened, and the same from run to run."""

from __future__ import annotations

import re
from collections.abc import Iterable

from smol_kernel.executors.addresses import without_addresses
from smol_kernel.executors.observation import clean as plain
from smol_kernel.executors.unseen import is_unseen

__all__ = ["counted", "fixed", "in_columns", "listed", "one_line", "plain", "plain_code", "plain_line", "shorten"]

_SYMBOLS = r"\u2190-\u2bff\U0001f000-\U0001faff"  # none can stand in a name
_NOT_PLAIN = re.compile(
    rf"\r\n?|(?P<page>^\x0c+)|(?<![{_SYMBOLS}])\ufe0f(?!(?<=[\d#*]\ufe0f)\u20e3)|[^ -~\n\t\u200c\u200d\ufe0f]",
    re.MULTILINE | re.ASCII,
)
"""A line end, what parts pages, and what may be unseen. Joiners stay, and what makes an emoji of a symbol or a key: no
name may hold them."""


def fixed(text: str, code: str = r"(\Z)") -> str:
    """`text` without addresses in reprs, which differ from run to run; what matches the one group of `code` stays."""
    parts = re.split(code, text)
    parts[::2] = map(without_addresses, parts[::2])
    return "".join(parts)


def plain_code(code: str) -> str:
    """Code as Python reads it: each line end as one, and what would not be seen as the escape it has in a string."""
    return _NOT_PLAIN.sub(_told, code)


def _told(match: re.Match[str]) -> str:
    found = match[0]
    if found[0] == "\r" or match["page"]:
        return "" if match["page"] else "\n"
    return found.encode("unicode_escape").decode() if is_unseen(found) else found


def counted(count: int, word: str) -> str:
    """`count` of what `word` names, such as "1 step" and "1,200 steps"."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def listed(words: Iterable[str]) -> str:
    """`words` as people list them: "1, 2 and 3"."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def in_columns(text: str) -> bool:
    """Whether the spaces of `text` carry meaning, as in a table or in code; two between sentences do not."""
    wide = re.findall(r"^.*\S(?!(?<=\D[.!?]) {2}[A-Z]) {2,}\S.*$", text, re.MULTILINE)
    return len(wide) > 1 or re.search(r"^[ \t]+\S", text, re.MULTILINE) is not None


def shorten(text: str, *, characters: int, lines: int | None = None) -> str:
    """`text`, its middle left out if it is longer than so many characters or lines."""
    if lines is not None and text.count("\n") >= lines:
        rows = text.split("\n")
        head, tail = rows[: lines - lines // 3 - 1], rows[len(rows) - lines // 3 :]
        text = "\n".join([*head, f"… {counted(len(rows) - len(head) - len(tail), 'line')} left out …", *tail])
    if len(text) > characters:
        half = max(characters // 2, 1)
        text = f"{text[:half]}\n… {counted(len(text) - 2 * half, 'character')} left out …\n{text[-half:]}"
    return text


def one_line(text: str, characters: int = 200) -> str:
    """`text` stripped and brought to one line of at most so many characters."""
    line = " ".join(plain(text).split())
    return line if len(line) <= characters else line[: characters - 1].rstrip() + "…"


def plain_line(text: str, characters: int = 2_000) -> str:
    """`text` in one line, nothing of it done by a terminal: what is not seen as escapes, a long one without its
    middle."""
    line = plain_code(" ".join(text.split()))
    half = characters // 2 - 20
    if len(line) <= characters:
        return line
    return f"{line[:half]}… {counted(len(line) - 2 * half, 'character')} left out …{line[-half:]}"
