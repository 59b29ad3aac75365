"""VisitWebpageTool: reads one web page as Markdown."""

from __future__ import annotations

import itertools
import re
from typing import Any
from urllib.parse import urljoin, urlsplit

from smol_kernel.errors import ConfigError, ToolError
from smol_kernel.tools.defaults.extra import need
from smol_kernel.tools.defaults.web_tool import Page, WebTool, place

MAX_ELEMENTS = 20_000
MAX_TEXT = 1_000_000
"""Elements and characters of a page that are turned into Markdown: enough for a book, and done in seconds."""
MAX_ADDRESS = 2_000
MAX_INDENTS = 20
_INDENTING = ("blockquote", "ul", "ol", "li", "dl", "dd", "pre")
_NOT_READ = ["script", "style", "template", "svg", "iframe", "object", "embed", "canvas"]
_PAGES = ("text/html", "application/xhtml+xml")
_TEXTS = re.compile(r"text/.*|application/(.*\+)?(json|xml|yaml|x-yaml|toml|javascript|x-ndjson|sql)")
_KINDS = {"application/pdf": "a PDF document", "application/zip": "an archive", "application/octet-stream": "a file"}


class VisitWebpageTool(WebTool):
    """`visit_webpage(url)` gives a page as Markdown, its links as whole addresses; text and JSON as they are.

    `max_output_length` is in characters; what is left out is told at the end. Only http and https addresses are
    visited, and nothing that the page refers to. What goes wrong is told in the result, not raised.

    Raises MissingDependencyError without the extra `[tools]`, ConfigError for a length below 1.
    """

    name = "visit_webpage"
    description = "Reads the web page at an address. Returns its text as Markdown, with its links."
    inputs = {  # noqa: RUF012 - as users write it; never changed
        "url": {"type": "string", "description": "Address of the page, with http:// or https:// in front."}
    }
    output_type = "string"

    def __init__(self, max_output_length: int = 40000) -> None:
        super().__init__()
        need("VisitWebpageTool", "markdownify", "lxml")
        if max_output_length < 1:
            raise ConfigError(f"max_output_length {max_output_length!r}: give characters above 0")
        self.max_output_length = max_output_length

    def forward(self, url: str) -> str:
        """The page as Markdown, or a sentence that says why it cannot be read."""
        url = url.strip()
        if not _is_web_address(url):
            return f"{url[:200]!r} is not the address of a web page: it has to begin with http:// or https://."
        try:
            page = self.fetch(url, readable=lambda kind: _unreadable(url, kind))
        except ToolError as error:
            return f"The page could not be read: {error}."
        if page.is_binary:
            return f"The page could not be read: {_unreadable(url, 'application/octet-stream')}."
        text, all_read = _as_markdown(page) if _is_html(page) else (page.text.strip(), True)
        if not text:
            return (
                f"{place(page.url)} shows no text. Its content may be drawn by scripts, which this tool does not run."
            )
        text = self._truncate_content(text, self.max_output_length)
        if not page.whole:
            return f"{text}\n\n[Only the first {self.max_bytes:,} bytes of the page were read.]"
        return text if all_read else f"{text}\n\n[The page goes on; the rest is more than this tool reads.]"

    def _truncate_content(self, content: str, max_length: int) -> str:
        if len(content) <= max_length:
            return content
        left_out = len(content) - max_length
        return f"{content[:max_length]}\n\n[The last {left_out:,} of {len(content):,} characters were left out here.]"


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def _unreadable(url: str, kind: str) -> str:
    """Why content of this type is not read; "" if it is."""
    if not kind or kind in _PAGES or _TEXTS.fullmatch(kind):
        return ""
    main = kind.partition("/")[0]
    what = _KINDS.get(kind) or {"image": "an image", "audio": "a sound", "video": "a video"}.get(main, "a file")
    return f"{place(url)} is {what} ({kind[:100]}), and this tool reads pages and text only"


def _is_html(page: Page) -> bool:
    return page.content_type in _PAGES or (not page.content_type and b"<" in page.body[:1_000])


def _as_markdown(page: Page) -> tuple[str, bool]:
    """The page's beginning, as far as the limits go, as Markdown; and whether that is all of it.

    libxml2 reads the page: Python's own HTML parser takes minutes for some pages of 60 kB that mean ill.
    """
    from bs4 import BeautifulSoup
    from lxml import etree, html  # pyright: ignore[reportAttributeAccessIssue] - etree is compiled, without stubs
    from markdownify import MarkdownConverter

    text = page.text.replace("\0", "")
    try:
        root = html.document_fromstring(text.encode(), parser=html.HTMLParser(encoding="utf-8", huge_tree=True))
    except etree.ParserError:  # there is nothing in it
        return "", True
    etree.strip_elements(root, *_NOT_READ, with_tail=False)
    whole = _cut(root)
    _flatten(root)
    _complete(root, page.url)
    soup = BeautifulSoup(html.tostring(root, encoding="unicode"), "lxml")
    try:
        text = MarkdownConverter().convert_soup(soup)
    except RecursionError:  # nested deeper than Python's stack
        text = soup.get_text("\n", strip=True)
    return re.sub(r"\n{3,}", "\n\n", text).strip(), whole


def _cut(root: Any) -> bool:
    """Leave the first elements, up to the limits; whether that is all of them."""
    letters = 0
    for count, element in enumerate(root.iter()):
        letters += len(element.text or "") + len(element.tail or "")
        if count < MAX_ELEMENTS and letters <= MAX_TEXT:
            continue
        element.text, element.tail = ((text or "")[:MAX_TEXT] for text in (element.text, element.tail))
        del element[:]
        while (parent := element.getparent()) is not None:
            while (following := element.getnext()) is not None:
                parent.remove(following)
            element = parent
        return False
    return True


def _flatten(root: Any) -> None:
    """Make no quotation or list of what is deep inside others: each one indents every line within."""
    for element in list(root.iter(*_INDENTING)):
        if len(list(itertools.islice(element.iterancestors(*_INDENTING), MAX_INDENTS))) == MAX_INDENTS:
            element.tag = "div"


def _complete(root: Any, address: str) -> None:
    """Make the addresses of links and images whole; drop those that are none."""
    base = root.find(".//base[@href]")
    start = address if base is None else _joined(address, base.get("href")) or address
    for name, attribute in (("a", "href"), ("img", "src")):
        for element in root.iter(name):
            whole = _joined(start, element.attrib.pop(attribute, ""))
            if whole:
                element.set(attribute, whole)


def _joined(base: str, reference: str) -> str:
    if not reference or len(reference) > MAX_ADDRESS:
        return ""
    try:
        whole = urljoin(base, reference.strip())
        return whole if urlsplit(whole).scheme in ("http", "https", "mailto") else ""
    except ValueError:
        return ""
