"""WebSearchTool: searches the web by DuckDuckGo or Bing, without a key, or by Exa with one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

from smol_kernel.errors import ConfigError, ToolError
from smol_kernel.tools.defaults.extra import need
from smol_kernel.tools.defaults.search_results import found, listed, nothing_found, result
from smol_kernel.tools.defaults.web_tool import WebTool, place


class WebSearchTool(WebTool):
    """`web_search(query)` gives results as Markdown.

    Parameters: `max_results`; `engine`: "duckduckgo" (its page without scripts), "bing" (its RSS feed) or "exa" (its
    API; the key is read from EXA_API_KEY). The addresses are the attributes `duckduckgo_url`, `bing_url`, `exa_url`.
    Raises MissingDependencyError without the extra `[tools]`, ConfigError for another engine and for a `max_results`
    below 1; a call that finds nothing raises ToolError, one of Exa without a key ConfigError.
    """

    name = "web_search"
    description = "Searches the web. Returns the best results as Markdown: title, link and description of each."
    inputs = {"query": {"type": "string", "description": "What to search for."}}  # noqa: RUF012 - never changed
    output_type = "string"
    user_agent = "Mozilla/5.0"
    duckduckgo_url = "https://lite.duckduckgo.com/lite/"
    bing_url = "https://www.bing.com/search"
    exa_url = "https://api.exa.ai/search"

    def __init__(self, max_results: int = 10, engine: str = "duckduckgo") -> None:
        super().__init__()
        need("WebSearchTool", "lxml")
        if max_results < 1:
            raise ConfigError(f"max_results {max_results!r}: give a number above 0")
        if engine not in ("duckduckgo", "bing", "exa"):
            raise ConfigError(f'engine {engine!r} is not known; there are "duckduckgo", "bing" and "exa"')
        self.max_results, self.engine = max_results, engine

    def forward(self, query: str) -> str:
        """The results as Markdown. Raises ToolError where there are none, and as `search`."""
        results = self.search(query)
        if not results:
            raise ToolError(nothing_found(query))
        return self.parse_results(results)

    def search(self, query: str) -> list[dict[str, str]]:
        """The results as dicts with `title`, `link` and `description`; none where nothing was found. Raises ToolError
        where the engine gives no answer of use, ConfigError for a key that is not set."""
        return {"duckduckgo": self.search_duckduckgo, "bing": self.search_bing, "exa": self.search_exa}[self.engine](
            query
        )

    def parse_results(self, results: list[dict[str, str]]) -> str:
        """Results as Markdown."""
        return listed(results)

    def search_duckduckgo(self, query: str) -> list[dict[str, str]]:
        """Results from the page DuckDuckGo has for browsers without scripts."""
        page = self.fetch(self.duckduckgo_url, params={"q": query})
        results = found((result(*each) for each in _lite_results(page.text)), self.max_results)
        if not results and re.search(r"anomaly|challenge-form", page.text):
            raise ToolError(
                f"{place(self.duckduckgo_url)} takes this for a robot and gives no results now. Try again later, or "
                f'use another engine: DuckDuckGoSearchTool(), or WebSearchTool(engine="bing")'
            )
        return results

    def search_bing(self, query: str) -> list[dict[str, str]]:
        """Results from Bing's RSS feed."""
        page = self.fetch(self.bing_url, params={"q": query, "format": "rss"})
        try:
            if b"<!DOCTYPE" in page.body or b"<!ENTITY" in page.body:  # no feed has one, and entities can burst
                raise ElementTree.ParseError
            items = ElementTree.fromstring(page.body).iter("item")
        except (ElementTree.ParseError, ValueError, LookupError):
            raise ToolError(f"{place(self.bing_url)} should have sent an RSS feed, but sent something else") from None
        texts = ([item.findtext(key) for key in ("title", "link", "description")] for item in items)
        return found((result(*each) for each in texts), self.max_results)

    def search_exa(self, query: str) -> list[dict[str, str]]:
        """Results from Exa's API (docs.exa.ai, "search"), each described by its highlights."""
        key = os.environ.get("EXA_API_KEY", "").strip()
        if not key:
            raise ConfigError("the search engine Exa needs a key: set the environment variable EXA_API_KEY")
        body = {"query": query, "numResults": self.max_results, "contents": {"highlights": True}}
        data = self.fetch_json(self.exa_url, method="POST", body=body, headers={"x-api-key": key}, secrets=[key])
        results: Any = data.get("results") if isinstance(data, dict) else None
        if not isinstance(results, list):
            raise ToolError(f"{place(self.exa_url)} sent JSON without a list of 'results'")
        return found((_exa_result(each) for each in results if isinstance(each, dict)), self.max_results)


def _exa_result(data: dict[str, Any]) -> dict[str, str] | None:
    highlights = data.get("highlights")
    texts = highlights if isinstance(highlights, list) and highlights else [data.get("summary") or data.get("text")]
    description = " ".join(text for text in texts if isinstance(text, str))
    return result(data.get("title"), data.get("url"), description)


def _lite_results(text: str) -> Iterator[tuple[str, str, str]]:
    """Title, link and description of each result on DuckDuckGo's page: they stand in rows, one below the other."""
    from lxml import etree, html  # pyright: ignore[reportAttributeAccessIssue] - etree is compiled, without stubs

    try:
        root = html.document_fromstring(text.encode(), parser=html.HTMLParser(encoding="utf-8"))
    except etree.ParserError:  # there is nothing in it
        return
    title, link = "", ""
    for element in root.iter("a", "td"):
        kinds = element.get("class", "").split()
        if "result-link" in kinds:
            if link:
                yield title, link, ""
            title, link = element.text_content(), _real_address(element.get("href", ""))
        elif "result-snippet" in kinds and link:
            yield title, link, element.text_content()
            link = ""
    if link:
        yield title, link, ""


def _real_address(href: str) -> str:
    """Where a link of the page goes in the end; "" for an advertisement."""
    try:
        parts = urlsplit(href)
        if parts.path == "/y.js":
            return ""
        if parts.path == "/l/":
            return _real_address(parse_qs(parts.query).get("uddg", [""])[0])
    except ValueError:
        return ""
    return href if parts.scheme in ("http", "https") else ""
