"""What a search found, as the Markdown that models read: title, address, description. Used by the search tools."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from typing import Any

HEADING = "## Search Results"
MAX_TITLE = 300
MAX_DESCRIPTION = 2_000
"""Characters kept of what an engine says of one result."""

_EMPHASIS = re.compile(r"</?(?:strong|b|em|i|mark|br|span)(?:\s[^<>]*)?/?>", re.IGNORECASE)


def plain(text: Any, length: int = MAX_DESCRIPTION) -> str:
    """An engine's text in one line, without the tags that mark the words found; "" for what is no text."""
    if not isinstance(text, str):
        return ""
    text = " ".join(html.unescape(_EMPHASIS.sub("", text[: 10 * length])).split())
    return text if len(text) <= length else f"{text[: length - 1]}…"


def result(title: Any, link: Any, description: Any) -> dict[str, str] | None:
    """One result; None if it has no address to go to."""
    link = plain(link)
    if not link:
        return None
    return {"title": plain(title, MAX_TITLE) or link, "link": link, "description": plain(description)}


def found(results: Iterable[dict[str, str] | None], limit: int | None = None) -> list[dict[str, str]]:
    """Those results that have an address, `limit` at most."""
    return [each for each in results if each][:limit]


def listed(results: Iterable[Mapping[str, str]]) -> str:
    """The results below a heading."""
    entries = [f"[{each['title']}]({each['link']})\n{each['description']}" for each in results]
    return f"{HEADING}\n\n" + "\n\n".join(entries)


def nothing_found(query: str) -> str:
    """What to say, and to try next, where nothing was found."""
    return f"Nothing was found for {query[:200]!r}. Search again with fewer or more general words."
