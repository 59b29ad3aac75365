"""DuckDuckGoSearchTool: searches the web without a key, by the package `ddgs`, which asks several engines."""

from __future__ import annotations

from typing import Any

from smol_kernel.errors import ConfigError, MissingDependencyError, ToolError
from smol_kernel.memory.known_secrets import without_password
from smol_kernel.tools.base import Tool
from smol_kernel.tools.defaults.rate_limit import RateLimit
from smol_kernel.tools.defaults.search_results import found, listed, nothing_found, result


class DuckDuckGoSearchTool(Tool):
    """`web_search(query)` gives results as Markdown.

    Parameters: `max_results`; `rate_limit` in requests a second (None: no limit); the others are those of `ddgs.DDGS`:
    `proxy`, `timeout` in seconds for each request, `verify`. The attribute `backend` names the engines asked, as
    `ddgs` does: "auto", or "duckduckgo" and others with commas between.

    Raises MissingDependencyError without the extra `[tools]`, ConfigError for parameters that do not fit; a call that
    finds nothing raises ToolError.
    """

    name = "web_search"
    description = "Searches the web. Returns the best results as Markdown: title, link and description of each."
    inputs = {"query": {"type": "string", "description": "What to search for."}}  # noqa: RUF012 - never changed
    output_type = "string"
    threaded = True
    repeatable = True
    backend = "auto"

    def __init__(self, max_results: int = 10, rate_limit: float | None = 1.0, **kwargs: Any) -> None:
        try:
            from ddgs import DDGS
        except ImportError as error:
            raise MissingDependencyError(
                f"DuckDuckGoSearchTool needs ddgs ({error}): pip install 'smol-kernel[tools]'"
            ) from None
        if max_results < 1:
            raise ConfigError(f"max_results {max_results!r}: give a number above 0")
        try:
            self.ddgs = DDGS(**kwargs)
        except TypeError as error:
            raise ConfigError(f"DuckDuckGoSearchTool: {error}. There are proxy, timeout and verify") from None
        self.max_results, self.rate_limit = max_results, rate_limit
        self._turns = RateLimit(rate_limit)

    def forward(self, query: str) -> str:
        """The results as Markdown. Raises ToolError where there are none, or the search failed."""
        from ddgs.exceptions import DDGSException, RatelimitException, TimeoutException

        self._turns.wait()
        try:
            results = self.ddgs.text(query, max_results=self.max_results, backend=self.backend)
        except TimeoutException:
            raise ToolError("no search engine answered in time. Try again, or with a longer timeout=…") from None
        except RatelimitException:
            raise ToolError("the search engines ask for fewer requests. Wait a minute before the next search") from None
        except DDGSException as error:
            if "No results" in str(error):
                raise ToolError(nothing_found(query)) from None
            raise ToolError(f"the search failed: {without_password(str(error))[:300]}") from None
        found_ones = found(
            (result(each.get("title"), each.get("href"), each.get("body")) for each in results), self.max_results
        )
        if not found_ones:
            raise ToolError(nothing_found(query))
        return listed(found_ones)
