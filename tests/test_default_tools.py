"""The built-in tools that read pages, and the bounds all network tools keep; against a real server on this machine."""

from __future__ import annotations

import builtins
import gzip
import logging
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from web_server import (
    PROXY_VARIABLES,
    Answer,
    Cut,
    Endless,
    Json,
    Redirect,
    Silent,
    WebServer,
    unreachable_address,
    unused_address,
)

import smol_kernel
from smol_kernel.errors import ConfigError, MissingDependencyError, ToolError
from smol_kernel.tools.defaults import (
    FinalAnswerTool,
    UserInputTool,
    VisitWebpageTool,
    WebSearchTool,
    WikipediaSearchTool,
    base_tools,
)
from smol_kernel.tools.defaults.rate_limit import RateLimit
from smol_kernel.tools.defaults.web_tool import WebTool


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def web():
    with WebServer() as server:
        yield server


class Fetch(WebTool):
    """The bare exchange, as a tool."""

    name = "fetch_it"
    description = "Fetches."
    inputs = {"url": {"type": "string", "description": "Where."}}  # noqa: RUF012
    output_type = "any"

    def forward(self, url):
        return self.fetch(url)


def error_of(url, tool=None, **request):
    with pytest.raises(ToolError) as caught:
        (tool or Fetch()).fetch(url, **request)
    return str(caught.value)


# one exchange


def test_what_does_not_come_in_time_is_given_up(web):
    tool = Fetch()
    tool.read_timeout = 0.1
    web["/silent"] = Silent()
    assert error_of(web.url("/silent"), tool).endswith("/silent sent nothing for 0.1 s")
    tool.connect_timeout = 0.1
    with unreachable_address() as address:
        assert error_of(address, tool) == f"{address} could not be reached within 0.1 s"
    tool.connect_timeout = tool.read_timeout = 30
    tool.total_timeout = 0.1
    web["/slow"] = Endless(b"x", every=0.02)
    assert error_of(web.url("/slow"), tool).endswith("/slow was not done after 0.1 s")


def test_redirects_count_against_the_time(web):
    tool = Fetch()
    tool.total_timeout = -1
    web["/a"] = Redirect("/b")
    assert "was not done" in error_of(web.url("/a"), tool)
    assert web.requests == []


@pytest.mark.parametrize(
    ("behavior", "words"),
    [
        (Cut(), "gave a broken answer"),
        (Answer("half", length=1000), "gave a broken answer"),
        (Answer(b"no gzip", headers={"Content-Encoding": "gzip"}), "gave a broken answer"),
        (Answer(b"x", headers={"Content-Encoding": "gzip, gzip"}), "packed as 'gzip, gzip', which nobody asked for"),
        (Answer(status=404), "answered 404 Not Found"),
        (Answer(status=599), "answered 599"),
        (Json({"message": "slow down"}, 429, **{"Retry-After": "7"}), 'Too Many Requests; it asks to wait 7 s .*"slow'),
        (Redirect("/x"), "redirects more than 10 times"),
        (Redirect("file:///etc/passwd"), "leads to an address that is not http or https"),
        (Redirect("http://127.0.0.1:port/"), "gave a broken answer: Invalid URL in location header"),
    ],
)
def test_an_answer_that_is_none_names_the_place(web, behavior, words):
    web["/x"] = behavior
    assert error_of(web.url("/x?q=private")).startswith(web.url("/x") + " ")
    with pytest.raises(ToolError, match=words):
        Fetch()(web.url("/x?q=private"))


def test_an_address_that_is_wrong():
    assert error_of("http://me:secret@127.0.0.1:port/a?b") == (
        "http://127.0.0.1:port/a is an address that cannot be read"
    )
    address = unused_address()
    assert error_of(address).startswith(f"{address} cannot be reached: ")


def test_a_long_answer_is_read_up_to_the_cap(web):
    tool = Fetch()
    tool.max_bytes = 100_000
    web["/endless"] = Endless(b"x" * 1_000)
    page = tool(web.url("/endless"))
    assert len(page.body) == 100_000 and not page.whole
    web["/bomb"] = Answer(gzip.compress(b"x" * 50_000_000), headers={"Content-Encoding": "gzip"})
    page = tool(web.url("/bomb"))
    assert len(page.body) == 100_000 and not page.whole
    web["/exact"] = Answer(b"x" * 100_000)
    assert tool(web.url("/exact")).whole


def test_a_long_error_is_quoted_in_short(web):
    web["/x"] = Answer("no " * 100_000, "text/plain", 500)
    assert len(error_of(web.url("/x"))) < 450


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        ("Grüße".encode(), "text/html; charset=utf-8", "Grüße"),
        ("Grüße".encode("latin-1"), "text/html; charset=iso-8859-1", "Grüße"),
        ("“x”".encode("cp1252"), "text/html; charset=ISO-8859-1", "“x”"),
        ("<meta charset='shift_jis'>日本".encode("shift_jis"), "text/html", "<meta charset='shift_jis'>日本"),
        ("Grüße".encode("utf-16"), "text/html", "Grüße"),
        ("Grüße".encode("cp1252"), "text/html", "Grüße"),
        ("朱镕基".encode("gb18030"), "text/html; charset=gb2312", "朱镕基"),
        ("朱€".encode("gb18030"), "text/html; charset=gbk", "朱€"),
        ("①髙".encode("cp932"), "text/html; charset=Shift_JIS", "①髙"),
        ("똠방".encode("cp949"), "text/html; charset=euc-kr", "똠방"),
        ("香港嘅".encode("big5hkscs"), "text/html; charset=big5", "香港嘅"),
        ("“ğ”".encode("cp1254"), "text/html; charset=iso-8859-9", "“ğ”"),
        ("“ไทย”".encode("cp874"), "text/html; charset=tis-620", "“ไทย”"),
        ("<meta charset='utf-16'>Grüße".encode(), "text/html", "<meta charset='utf-16'>Grüße"),
        ("Grüße".encode("utf-16-le"), "text/html; charset=utf-16le", "Grüße"),
        ("Grüße".encode(), "text/html; charset=nonsense", "Grüße"),
        ("Grüße".encode(), "text/html; charset=hex", "Grüße"),
        (b"xn--a-ecp", "text/html; charset=idna", "xn--a-ecp"),
        (b"a\xffb", "text/html; charset=utf-8", "a�b"),
    ],
)
def test_encodings(web, body, content_type, text):
    web["/x"] = Answer(body, content_type)
    assert Fetch()(web.url("/x")).text == text


def test_a_secret_goes_nowhere_else(web, caplog):
    secret = "s3cret/key+"
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="httpx")  # LiteLLM silences it
    web["/x"] = Json({"error": f"bad key {secret}"}, 403)
    told = error_of(web.url("/x"), params={"key": secret}, headers={"X-Key": secret}, secrets=[secret])
    assert told.endswith('answered 403 Forbidden: {"error": "bad key (key)"}')
    assert web.requests[0].query == {"key": secret} and web.requests[0].headers["x-key"] == secret
    web["/x"] = Redirect(web.url("/thief"))
    assert "not followed with a key" in error_of(web.url("/x"), headers={"X-Key": secret}, secrets=[secret])
    assert "/thief" not in [request.path for request in web.requests]
    assert "cannot be sent" in error_of(web.url("/x"), headers={"X-Key": f"{secret}\n"}, secrets=[secret])
    logged = [record.getMessage() for record in caplog.records]
    assert not [line for line in logged if "s3cret" in line]
    web["/plain"] = Answer("x")
    Fetch()(web.url("/plain"))
    assert any("/plain" in record.getMessage() for record in caplog.records)  # the log works, only keys are kept out


def test_calls_run_side_by_side(web):
    """Each request waits until all four are there; one after the other they would never be answered."""
    gate = threading.Barrier(4, timeout=30)

    class Together(Answer):
        def answer(self, handler):
            gate.wait()
            super().answer(handler)

    web["/x"] = Together("ok", "text/plain")
    tool = VisitWebpageTool()
    assert tool.threaded
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(tool, [web.url("/x")] * 4)) == ["ok"] * 4


def test_a_rate_limit_keeps_turns_apart():
    limit = RateLimit(50)
    start = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        for turn in [pool.submit(limit.wait) for _ in range(4)]:
            turn.result()
    assert time.monotonic() - start >= 3 / 50  # a lower bound holds however slow the machine is
    with pytest.raises(ConfigError, match="rate_limit 0: give requests a second above 0"):
        RateLimit(0)


# visit_webpage

PAGE = """<html><head><title>The title</title><style>a {color: red}</style></head><body>
<h1>Head</h1><script>track()</script><p>One <b>bold</b> word, a <a href="/there?x=1">link</a>,
<a href="javascript:alert(1)">a trap</a>.</p><svg><text>drawing</text></svg>
<img src="data:image/png;base64,AAAA" alt="inline"><img src="pic.png" alt="a picture">
<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table></body></html>"""


def test_a_page_becomes_markdown(web):
    web["/deep/page"] = Answer(PAGE)
    text = VisitWebpageTool()(web.url("/deep/page"))
    assert text.startswith("The title\n\nHead\n====")
    assert "**bold**" in text and f"[link]({web.url('/there?x=1')})" in text
    assert f"![a picture]({web.url('/deep/pic.png')})" in text
    assert "| 1 | 2 |" in text
    for gone in ("track", "color", "drawing", "javascript", "base64", "\n\n\n"):
        assert gone not in text
    assert [request.path for request in web.requests] == ["/deep/page"]  # nothing it refers to is loaded


def test_links_are_whole_after_a_redirect_and_by_the_base(web):
    web["/old"] = Redirect("/new/page")
    web["/new/page"] = Answer('<a href="x">a</a>')
    assert VisitWebpageTool()(web.url("/old")) == f"[a]({web.url('/new/x')})"
    web["/based"] = Answer('<base href="https://example.org/b/"><a href="x">a</a> <a href="http://[">c</a>')
    assert VisitWebpageTool()(web.url("/based")) == "[a](https://example.org/b/x) c"


def test_a_long_page_is_cut_and_says_so(web):
    web["/x"] = Answer("y" * 1_234, "text/plain")
    tool = VisitWebpageTool(max_output_length=1_000)
    assert tool(web.url("/x")) == "y" * 1_000 + "\n\n[The last 234 of 1,234 characters were left out here.]"
    tool = VisitWebpageTool(max_output_length=1_234)
    assert tool(web.url("/x")) == "y" * 1_234
    web["/endless"] = Endless(b"<p>word</p>")
    tool.max_bytes = 600
    assert tool(web.url("/endless")).endswith("wor\n\n[Only the first 600 bytes of the page were read.]")


@pytest.mark.parametrize("piece", ["<a ", "<!--", "<![CDATA[", "<div>", "<b>x", "<table><tr><td>x", "x ", "&#"])
def test_a_page_that_means_ill_is_done_with_in_seconds(web, piece):
    web["/x"] = Answer(piece * (2_000_000 // len(piece)))
    tool = VisitWebpageTool()
    told = tool(web.url("/x"))
    assert len(told) < 41_000
    assert ("x" in told) == ("x" in piece) or "shows no text" in told


@pytest.mark.parametrize("tag", ["<blockquote>", "<ul><li>"])
def test_deep_quotations_and_lists_do_not_multiply_a_page(web, tag):
    web["/x"] = Answer(tag * 100 + "<p>line</p>" * 1_000)
    told = VisitWebpageTool(max_output_length=10_000_000)(web.url("/x"))
    assert told.count("line") == 1_000 and len(told) < 100_000


def test_of_a_long_page_the_beginning_is_read(web):
    web["/x"] = Answer("<main><p>first</p>" + "<i>n</i>" * 21_000 + "<p>last</p></main><p>after</p>")
    told = VisitWebpageTool(max_output_length=1_000_000)(web.url("/x"))
    assert told.startswith("first") and "last" not in told and "after" not in told
    assert told.endswith("[The page goes on; the rest is more than this tool reads.]")


def test_a_page_nested_deeper_than_the_stack_is_read(web):
    web["/x"] = Answer("<div>" * 1_500 + "at the bottom")
    assert VisitWebpageTool()(web.url("/x")) == "at the bottom"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Answer('{"a": "<b>"}', "application/json; charset=utf-8"), '{"a": "<b>"}'),
        (Answer("# <b>", "text/markdown"), "# <b>"),
        (Answer("<feed/>", "application/atom+xml"), "<feed/>"),
        (Answer("<b>x</b>", None), "**x**"),
        (Answer("just words", None), "just words"),
        (Answer("<meta charset='shift_jis'><p>日本</p>".encode("shift_jis")), "日本"),
        (Answer('<?xml version="1.0" encoding="latin-1"?><html><p>Grüße</p></html>'), "Grüße"),
    ],
)
def test_other_texts(web, answer, text):
    web["/x"] = answer
    assert VisitWebpageTool()(web.url("/x")) == text


@pytest.mark.parametrize(
    ("behavior", "words"),
    [
        (Endless(b"%PDF-1.7", content_type="application/pdf"), "is a PDF document (application/pdf)"),
        (Endless(b"\x89PNG", content_type="image/png"), "is an image (image/png)"),
        (Answer(b"\0\1\2\3", "application/octet-stream"), "is a file (application/octet-stream)"),
        (Answer(b"abc\0\1\2\3" * 9, "text/html"), "this tool reads pages and text only"),
        (Answer(b"%PDF-1.7", None), "this tool reads pages and text only"),
        (Answer(status=503), "answered 503 Service Unavailable"),
        (Answer("<div id=root></div><script>app()</script>"), "shows no text. Its content may be drawn by scripts"),
        (Answer(""), "shows no text"),
        (Cut(), "gave a broken answer"),
    ],
)
def test_what_cannot_be_read_is_told(web, behavior, words):
    web["/x"] = behavior
    told = VisitWebpageTool()(web.url("/x"))
    assert words in told and web.url("/x") in told


@pytest.mark.parametrize("url", ["file:///etc/passwd", "example.org", "ftp://x/y", "", "http://", "http://[", "data:"])
def test_only_web_addresses_are_visited(url):
    assert "has to begin with http:// or https://" in VisitWebpageTool()(url)


# wikipedia_search


@pytest.fixture
def wikipedia(web):
    def tool(data, **options):
        web["/w/api.php"] = data if not isinstance(data, dict | list) else Json(data)
        made = WikipediaSearchTool(**options)
        assert made.endpoint == f"https://{made.language}.wikipedia.org/w/api.php"
        made.endpoint = web.url("/w/api.php")
        return made

    return tool


ADA = {"pageid": 1, "title": "Ada Lovelace", "extract": "She wrote …\n", "fullurl": "https://en.wikipedia.org/wiki/Ada"}


def test_a_wikipedia_page(web, wikipedia):
    tool = wikipedia({"query": {"pages": [ADA], "search": []}}, user_agent="Me (me@example.org)")
    told = tool("Ada Lovelace")
    assert told.startswith("✅ **Wikipedia Page:** Ada Lovelace\n\n**Content:** She wrote …\n\n")
    assert told.endswith("🔗 **Read more:** https://en.wikipedia.org/wiki/Ada")
    asked = web.requests[0]
    assert asked.headers["user-agent"] == "Me (me@example.org)"
    assert asked.query["titles"] == "Ada Lovelace" and asked.query["explaintext"] == "1"
    assert "exintro" not in asked.query
    wikipedia({"query": {"pages": [ADA]}}, content_type="summary", extract_format="HTML", language="de")("A|B")
    asked = web.requests[1]
    assert asked.query["exintro"] == "1" and "explaintext" not in asked.query and asked.query["titles"] == "A B"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            {"query": {"pages": [{"title": "x", "missing": True}], "search": [{"title": "Ada"}, {"title": "Adam"}]}},
            "Similar ones: 'Ada', 'Adam'. Look one of them up.",
        ),
        ({"query": {"pages": [{"title": "x", "missing": True}], "search": []}}, "none is similar. Try another word"),
        ({"query": {"pages": {"1": ADA}, "search": ["Ada", 3]}}, "none is similar"),
        ({"error": {"code": "maxlag", "info": "waiting for a server"}}, "says: waiting for a server"),
        ({"batchcomplete": True}, "sent JSON without a 'query'"),
        ([1], "sent JSON without a 'query'"),
        (Answer("<h1>busy</h1>"), "should have sent JSON, but sent: <h1>busy</h1>"),
        (Answer("[" * 100_000, "application/json"), "should have sent JSON"),
        (Answer(status=403), "answered 403 Forbidden"),
        (Endless(b" ", content_type="application/json"), "sent more than the 1,000 bytes"),
    ],
)
def test_no_wikipedia_page(wikipedia, data, words):
    tool = wikipedia(data)
    tool.max_bytes = 1_000 if isinstance(data, Endless) else 5_000_000
    assert words in tool("x")


# all of them


def test_settings_that_do_not_fit_are_named():
    for make, words in [
        (lambda: VisitWebpageTool(0), "max_output_length 0"),
        (lambda: WikipediaSearchTool(language="evil.org/"), "language 'evil.org/'"),
        (lambda: WikipediaSearchTool(content_type="all"), "content_type 'all'"),
        (lambda: WikipediaSearchTool(extract_format="PDF"), "extract_format 'PDF'"),
    ]:
        with pytest.raises(ConfigError, match=words):
            make()
    assert "the query is empty" in WikipediaSearchTool()(" ")


def test_the_base_tools():
    assert {name: type(tool).__name__ for name, tool in base_tools().items()} == {
        "web_search": "DuckDuckGoSearchTool",
        "visit_webpage": "VisitWebpageTool",
    }


@pytest.mark.parametrize(
    ("missing", "make"),
    [
        ("httpx", WebSearchTool),
        ("httpx", WikipediaSearchTool),
        ("markdownify", VisitWebpageTool),
        ("ddgs", base_tools),
    ],
)
def test_a_missing_package_is_told_when_a_tool_is_built(monkeypatch, missing, make):
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingDependencyError, match=rf"needs {missing}.*pip install 'smol-kernel\[tools\]'"):
        make()


def test_building_a_tool_loads_nothing():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from smol_kernel.tools.defaults import VisitWebpageTool, WebSearchTool, WikipediaSearchTool\n"
        "VisitWebpageTool(), WebSearchTool(), WikipediaSearchTool()\n"
        "print(*{'httpx', 'bs4', 'markdownify', 'ddgs', 'requests'} & set(sys.modules))"
    )
    where = str(Path(smol_kernel.__file__).parent.parent)
    done = subprocess.run([sys.executable, "-c", code, where], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ""


def test_final_answer_and_user_input(monkeypatch):
    assert FinalAnswerTool()(answer=[1]) == [1]
    asked = []
    monkeypatch.setattr(builtins, "input", lambda prompt: asked.append(prompt) or "blue")
    assert UserInputTool()("Which color?") == "blue"
    assert "Which color?" in asked[0]
    assert (UserInputTool.name, list(UserInputTool.inputs)) == ("user_input", ["question"])
