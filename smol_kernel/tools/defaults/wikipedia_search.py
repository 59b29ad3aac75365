"""WikipediaSearchTool: looks up a page of Wikipedia by its title, through the MediaWiki API."""

from __future__ import annotations

import re
from typing import Any

from smol_kernel.errors import ConfigError, ToolError
from smol_kernel.tools.defaults.web_tool import WebTool, place

SUGGESTIONS = 5


class WikipediaSearchTool(WebTool):
    """`wikipedia_search(query)` gives title, content and address of the page that is titled so.

    Parameters: `user_agent`, by which your program names itself to Wikipedia, best with an address to reach you;
    `language`, the code of a Wikipedia; `content_type`: "text", the whole page, or "summary", its beginning;
    `extract_format`: "WIKI", plain text with headings, or "HTML". The API's address is the attribute `endpoint`
    (mediawiki.org/wiki/API:Main_page; the extension TextExtracts). If there is no such page the result names similar
    ones; what goes wrong is told in the result, not raised. Raises ConfigError for parameters that do not fit,
    MissingDependencyError without httpx.
    """

    name = "wikipedia_search"
    description = "Looks up a topic on Wikipedia. Returns the page's text or summary, and its address."
    inputs = {"query": {"type": "string", "description": "Title of the page."}}  # noqa: RUF012 - never changed
    output_type = "string"

    def __init__(
        self,
        user_agent: str = "smol-kernel (a library; its user has set no user_agent)",
        language: str = "en",
        content_type: str = "text",
        extract_format: str = "WIKI",
    ) -> None:
        super().__init__()
        if not re.fullmatch(r"[a-z0-9-]{2,20}", language):
            raise ConfigError(f'language {language!r} is no code of a Wikipedia; one is "en"')
        if content_type not in ("text", "summary"):
            raise ConfigError(f'content_type {content_type!r} is not known; there are "text" and "summary"')
        if extract_format not in ("WIKI", "HTML"):
            raise ConfigError(f'extract_format {extract_format!r} is not known; there are "WIKI" and "HTML"')
        self.user_agent, self.language = user_agent, language
        self.content_type, self.extract_format = content_type, extract_format
        self.endpoint = f"https://{language}.wikipedia.org/w/api.php"

    def forward(self, query: str) -> str:
        """The page, or a sentence that says why there is none."""
        try:
            found = self._ask(query)
        except ToolError as error:
            return f"Wikipedia could not be read: {error}."
        pages, similar = _dicts(found.get("pages")), _dicts(found.get("search"))
        page = next((page for page in pages if "pageid" in page and isinstance(page.get("extract"), str)), None)
        if page is not None:
            title, content, address = page.get("title"), page["extract"].strip(), page.get("fullurl")
            return f"✅ **Wikipedia Page:** {title}\n\n**Content:** {content}\n\n🔗 **Read more:** {address}"
        titles = [repr(hit["title"]) for hit in similar if isinstance(hit.get("title"), str)][:SUGGESTIONS]
        if titles:
            return f"No Wikipedia page is titled {query!r}. Similar ones: {', '.join(titles)}. Look one of them up."
        return f"No Wikipedia page is titled {query!r}, and none is similar. Try another word for it."

    def _ask(self, query: str) -> dict[str, Any]:
        params = {
            "action": "query",
            "format": "json",
            "formatversion": "2",
            "titles": query.replace("|", " "),
            "redirects": "1",
            "prop": "extracts|info",
            "inprop": "url",
            "list": "search",
            "srsearch": query,
            "srlimit": str(SUGGESTIONS),
        }
        if self.content_type == "summary":
            params["exintro"] = "1"
        if self.extract_format == "WIKI":
            params |= {"explaintext": "1", "exsectionformat": "wiki"}
        if not query.strip():
            raise ToolError("the query is empty")
        data = self.fetch_json(self.endpoint, params=params)
        told: Any = data.get("error") if isinstance(data, dict) else None
        if isinstance(told, dict):
            raise ToolError(f"{place(self.endpoint)} says: {str(told.get('info'))[:300]}")
        answer: Any = data.get("query") if isinstance(data, dict) else None
        if not isinstance(answer, dict):
            raise ToolError(f"{place(self.endpoint)} sent JSON without a 'query'")
        return answer


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
