"""The search tools that need a key: GoogleSearchTool (SerpApi, Serper) and ApiWebSearchTool (Brave, and others)."""

from __future__ import annotations

import os
from typing import Any

from smol_kernel.errors import ConfigError, ToolError
from smol_kernel.tools.defaults.rate_limit import RateLimit
from smol_kernel.tools.defaults.search_results import HEADING, found, nothing_found, plain, result
from smol_kernel.tools.defaults.web_tool import WebTool, place

_PROVIDERS = {
    "serpapi": ("https://serpapi.com/search.json", "SERPAPI_API_KEY", "organic_results"),
    "serper": ("https://google.serper.dev/search", "SERPER_API_KEY", "organic"),
}
_BRAVE = "https://api.search.brave.com/res/v1/web/search"
_SECRET_LENGTH = 8
"""Characters from which on a header or parameter a user gave is treated as a key."""


class GoogleSearchTool(WebTool):
    """`web_search(query, filter_year=None)` gives Google's results as Markdown.

    `provider` is "serpapi" (serpapi.com, key in SERPAPI_API_KEY) or "serper" (serper.dev, key in SERPER_API_KEY). The
    address is the attribute `endpoint`. Raises ConfigError for another provider and for a key that is not set,
    MissingDependencyError without httpx.
    """

    name = "web_search"
    description = "Searches the web with Google. Returns the best results as Markdown: title, link and description."
    inputs = {  # noqa: RUF012 - as users write it; never changed
        "query": {"type": "string", "description": "What to search for."},
        "filter_year": {
            "type": "integer",
            "description": "Only results of this year, if given.",
            "nullable": True,
        },
    }
    output_type = "string"

    def __init__(self, provider: str = "serpapi") -> None:
        super().__init__()
        if provider not in _PROVIDERS:
            raise ConfigError(f'provider {provider!r} is not known; there are "serpapi" and "serper"')
        self.provider = provider
        self.endpoint, variable, self.organic_key = _PROVIDERS[provider]
        self.api_key = os.environ.get(variable, "").strip()
        if not self.api_key:
            raise ConfigError(f"GoogleSearchTool needs a key of {provider}: set the environment variable {variable}")

    def forward(self, query: str, filter_year: int | None = None) -> str:
        """The results as Markdown, numbered from 0."""
        params: dict[str, Any] = {"q": query}
        if filter_year is not None:
            params["tbs"] = f"cdr:1,cd_min:01/01/{filter_year},cd_max:12/31/{filter_year}"
        results = self._results(params)
        entries = [_google_entry(each) for each in results if isinstance(each, dict)]
        entries = [f"{index}. {entry}" for index, entry in enumerate(filter(None, entries))]
        if not entries:
            again = "" if filter_year is None else f" Or leave out filter_year={filter_year}."
            return nothing_found(query) + again
        return f"{HEADING}\n" + "\n\n".join(entries)

    def _results(self, params: dict[str, Any]) -> list[Any]:
        if self.provider == "serpapi":
            params = {**params, "engine": "google", "google_domain": "google.com", "api_key": self.api_key}
            data = self.fetch_json(self.endpoint, params=params, secrets=[self.api_key])
        else:
            headers = {"X-API-KEY": self.api_key}
            data = self.fetch_json(self.endpoint, method="POST", body=params, headers=headers, secrets=[self.api_key])
        results: Any = data.get(self.organic_key) if isinstance(data, dict) else None
        if isinstance(results, list):
            return results
        told = plain(data.get("error"), 200).replace(self.api_key, "(key)") if isinstance(data, dict) else ""
        raise ToolError(f"{place(self.endpoint)} sent no results: {told or f'no list of {self.organic_key!r}'}")


def _google_entry(data: dict[str, Any]) -> str:
    entry = result(data.get("title"), data.get("link"), data.get("snippet"))
    if entry is None:
        return ""
    date, source = plain(data.get("date"), 100), plain(data.get("source"), 200)
    lines = [f"[{entry['title']}]({entry['link']})"]
    lines += [f"Date published: {date}"] if date else []
    lines += [f"Source: {source}"] if source else []
    lines += ["", entry["description"]] if entry["description"] else [""]
    return "\n".join(lines)


class ApiWebSearchTool(WebTool):
    """`web_search(query)` asks a JSON API for results and gives them as Markdown; without parameters Brave's.

    Parameters: `endpoint`, the API's address; `api_key`, or `api_key_name`, the environment variable that holds it
    (BRAVE_API_KEY); `headers` (the key as Brave wants it, `X-Subscription-Token`); `params` sent beside the query `q`
    (`{"count": 10}`); `rate_limit` in requests a second (None: no limit). For an API that answers in another shape
    than Brave's override `extract_results`.

    Raises MissingDependencyError without httpx, ConfigError for a `rate_limit` that is not above 0, and at a call
    without Brave's key.
    """

    name = "web_search"
    description = "Searches the web. Returns the best results as Markdown: title, link and description of each."
    inputs = {"query": {"type": "string", "description": "What to search for."}}  # noqa: RUF012 - never changed
    output_type = "string"

    def __init__(
        self,
        endpoint: str = "",
        api_key: str = "",
        api_key_name: str = "",
        headers: dict[str, str] | None = None,
        params: dict[str, Any] | None = None,
        rate_limit: float | None = 1.0,
    ) -> None:
        super().__init__()
        self.endpoint = endpoint or _BRAVE
        self.api_key_name = api_key_name or "BRAVE_API_KEY"
        self.api_key = api_key or os.environ.get(self.api_key_name, "").strip()
        self.headers = headers or ({"X-Subscription-Token": self.api_key} if self.api_key else {})
        self.params = params or {"count": 10}
        self.rate_limit = rate_limit
        self._turns = RateLimit(rate_limit)

    def forward(self, query: str) -> str:
        """The results as Markdown, numbered from 1. Raises ConfigError without Brave's key, and ToolError."""
        if self.endpoint == _BRAVE and not self.headers:
            raise ConfigError(
                f"ApiWebSearchTool needs a key of Brave: set the environment variable {self.api_key_name}"
            )
        given = map(str, (*self.headers.values(), *self.params.values()))
        secrets = [self.api_key, *(text for text in given if len(text) >= _SECRET_LENGTH)]
        self._turns.wait()
        data = self.fetch_json(self.endpoint, params={**self.params, "q": query}, headers=self.headers, secrets=secrets)
        results = self.extract_results(data)
        return self.format_markdown(results) if results else nothing_found(query)

    def extract_results(self, data: Any) -> list[dict[str, str]]:
        """The results in an answer, as dicts with `title`, `url` and `description`. Raises ToolError for none such."""
        web: Any = data.get("web", {}) if isinstance(data, dict) else None
        items: Any = web.get("results", []) if isinstance(web, dict) else None
        if not isinstance(items, list):
            raise ToolError(f"{place(self.endpoint)} sent JSON of another shape than {{'web': {{'results': […]}}}}")
        entries = found(
            result(item.get("title"), item.get("url"), item.get("description"))
            for item in items
            if isinstance(item, dict)
        )
        return [{"title": e["title"], "url": e["link"], "description": e["description"]} for e in entries]

    def format_markdown(self, results: list[dict[str, str]]) -> str:
        """Results as a numbered list in Markdown."""
        entries = [
            f"{number}. [{each['title']}]({each['url']})\n{each['description']}\n"
            for number, each in enumerate(results, 1)
        ]
        return f"{HEADING}\n\n" + "\n\n".join(entries) if entries else nothing_found("")
