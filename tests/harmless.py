"""Whether a piece of HTML is harmless, as a browser would read it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

ATTRIBUTES = {"class", "src", "alt", "open", "title", "style", "colspan", "rowspan", "width", "height", "start"} | {
    "aria-hidden",
    "halign",
    "valign",
}


class Page(HTMLParser):
    """What a browser would find in a piece of HTML."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.words, self.styles, self.stack = set(), [], "", "", []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in ("img", "br", "hr", "wbr", "col"):
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if "style" in self.stack:
            self.styles += data
        else:
            self.words += data


def assert_harmless(html):
    """Nothing in it loads, runs or leads anywhere, and all that it opens it closes."""
    page = Page(html)
    assert page.stack == []
    assert not page.tags & {"script", "a", "link", "iframe", "form", "object", "meta", "base", "svg", "video", "input"}
    for _tag, name, value in page.attributes:
        assert name in ATTRIBUTES
        if name == "src":
            assert re.fullmatch(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=]*", value)
        assert "url(" not in value
    assert not re.search(r"url\(|@import", page.styles)
    return page
