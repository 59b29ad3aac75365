"""The search tools, each against a real server on this machine that answers as its engine does, or badly."""

from __future__ import annotations

import time

import pytest
from web_server import PROXY_VARIABLES, Answer, Cut, Endless, Json, Silent, WebServer, unused_address

from smol_kernel.errors import ConfigError, ToolError
from smol_kernel.tools.base import validate_tool_arguments
from smol_kernel.tools.defaults import ApiWebSearchTool, DuckDuckGoSearchTool, GoogleSearchTool, WebSearchTool

KEYS = {name: f"secret-{name}" for name in ("SERPAPI_API_KEY", "SERPER_API_KEY", "EXA_API_KEY", "BRAVE_API_KEY")}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def web():
    with WebServer() as server:
        yield server


def search_with(engine):
    """Makes the tool whose engine answers at `web`'s `/search`."""

    def make(web, **options):
        tool = WebSearchTool(engine=engine, **options)
        setattr(tool, f"{engine}_url", web.url("/search"))
        return tool

    return make


def google(provider):
    def make(web):
        tool = GoogleSearchTool(provider)
        tool.endpoint = web.url("/search")
        return tool

    return make


def api(web, **options):
    return ApiWebSearchTool(web.url("/search"), rate_limit=None, **options)


@pytest.fixture
def ddgs(monkeypatch):
    """Makes a tool whose `ddgs`, the real one, asks `web` in DuckDuckGo's place."""
    from ddgs.engines.duckduckgo import Duckduckgo

    def make(web, **options):
        monkeypatch.setattr(Duckduckgo, "search_url", web.url("/search"))
        tool = DuckDuckGoSearchTool(rate_limit=None, **options)
        tool.backend = "duckduckgo"
        return tool

    return make


LITE = """<html><body><form action="/lite/"></form><table>
<tr><td>1.&nbsp;</td><td><a href="//duckduckgo.com/l/?uddg=https%3A%2F%2Fexample.com%2Fa%3Fb%3Dc&amp;rut=1"
 class='result-link'>The <b>first</b> &amp; best</a></td></tr>
<tr><td></td><td class='result-snippet'>What it
 <b>says</b></td></tr><tr><td></td><td><span class='link-text'>example.com/a</span></td></tr>
<tr><td></td><td><a href="https://duckduckgo.com/y.js?ad_domain=shop" class='result-link'>Buy</a></td></tr>
<tr><td></td><td class='result-snippet'>an advertisement</td></tr>
<tr><td></td><td><a href="https://b.org/" class='result-link'>Second</a></td></tr>
<tr><td></td><td class='result-snippet'></td></tr>
<tr><td></td><td><a href="https://c.org/" class='result-link'>Third</a></td></tr></table></body></html>"""
RSS = """<?xml version="1.0" encoding="utf-8"?><rss version="2.0"><channel><title>Bing: q</title>
<link>http://www.bing.com/</link><item><title>A &amp;amp; B</title><link>https://a.org/</link>
<description>What &lt;b&gt;it&lt;/b&gt; says</description></item>
<item><title>no link</title></item></channel></rss>"""
ITEM = {"title": "The <strong>title</strong>", "link": "https://a.org/", "url": "https://a.org/"}


def test_duckduckgos_page(web):
    web["/search"] = Answer(LITE)
    tool = search_with("duckduckgo")(web, max_results=2)
    assert tool("what? & why") == (
        "## Search Results\n\n[The first & best](https://example.com/a?b=c)\nWhat it says\n\n[Second](https://b.org/)\n"
    )
    assert tool.search("x")[1] == {"title": "Second", "link": "https://b.org/", "description": ""}
    assert web.requests[0].query == {"q": "what? & why"}
    assert web.requests[0].headers["user-agent"] == "Mozilla/5.0"


def test_duckduckgos_check_for_robots(web):
    web["/search"] = Answer("<form id='challenge-form' action='//duckduckgo.com/anomaly.js'>", status=202)
    with pytest.raises(ToolError, match="takes this for a robot"):
        search_with("duckduckgo")(web)("x")


def test_bings_feed(web):
    web["/search"] = Answer(RSS, "text/xml")
    assert search_with("bing")(web)("x") == "## Search Results\n\n[A & B](https://a.org/)\nWhat it says"
    assert web.requests[0].query == {"q": "x", "format": "rss"}
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]><rss><item>&b;</item></rss>'
    web["/search"] = Answer(bomb, "text/xml")
    with pytest.raises(ToolError, match="should have sent an RSS feed"):
        search_with("bing")(web)("x")


def test_exa(web, monkeypatch):
    results = [{**ITEM, "highlights": ["one", "two"]}, {"url": "https://b.org/", "text": "whole"}, "no result"]
    web["/search"] = Json({"results": results})
    tool = search_with("exa")(web, max_results=3)
    assert (
        tool("x")
        == "## Search Results\n\n[The title](https://a.org/)\none two\n\n[https://b.org/](https://b.org/)\nwhole"
    )
    asked = web.requests[0]
    assert (asked.method, asked.headers["x-api-key"]) == ("POST", KEYS["EXA_API_KEY"])
    assert asked.json == {"query": "x", "numResults": 3, "contents": {"highlights": True}}
    monkeypatch.delenv("EXA_API_KEY")
    with pytest.raises(ConfigError, match="set the environment variable EXA_API_KEY"):
        tool("x")


@pytest.mark.parametrize(("provider", "key"), [("serpapi", "organic_results"), ("serper", "organic")])
def test_google(web, provider, key):
    web["/search"] = Json(
        {key: [{**ITEM, "snippet": "says", "date": "2020", "source": "S"}, {"link": "https://b.org/"}]}
    )
    told = google(provider)(web)("x", filter_year=2020)
    assert told == (
        "## Search Results\n0. [The title](https://a.org/)\nDate published: 2020\nSource: S\n\nsays\n\n"
        "1. [https://b.org/](https://b.org/)\n"
    )
    asked = web.requests[0]
    sent = asked.query if provider == "serpapi" else asked.json
    assert sent["q"] == "x" and sent["tbs"] == "cdr:1,cd_min:01/01/2020,cd_max:12/31/2020"
    assert KEYS[f"{provider.upper()}_API_KEY"] in (asked.query.get("api_key"), asked.headers.get("x-api-key"))
    web["/search"] = Json({key: []})
    assert google(provider)(web)("x", 2020).endswith("general words. Or leave out filter_year=2020.")


def test_the_year_is_checked_as_a_whole_number():
    with pytest.raises(ToolError, match="filter_year"):
        validate_tool_arguments(GoogleSearchTool(), {"query": "x", "filter_year": "2020"})


def test_google_without_a_key_or_with_a_wrong_one(web, monkeypatch):
    web["/search"] = Json({"error": f"Invalid API key: {KEYS['SERPAPI_API_KEY']}"})
    with pytest.raises(ToolError, match=r"sent no results: Invalid API key: \(key\)"):
        google("serpapi")(web)("x")
    for provider in ("serpapi", "serper"):
        monkeypatch.delenv(f"{provider.upper()}_API_KEY")
        with pytest.raises(ConfigError, match=f"set the environment variable {provider.upper()}_API_KEY"):
            GoogleSearchTool(provider)


def test_a_json_api(web, monkeypatch):
    web["/search"] = Json(
        {"web": {"results": [{**ITEM, "description": "a"}, {"url": "https://b.org/"}, {"title": "no"}]}}
    )
    told = "## Search Results\n\n1. [The title](https://a.org/)\na\n\n\n2. [https://b.org/](https://b.org/)\n\n"
    assert api(web)("x") == told
    assert web.requests[0].query == {"count": "10", "q": "x"}
    assert web.requests[0].headers["x-subscription-token"] == KEYS["BRAVE_API_KEY"]
    monkeypatch.setenv("MY_KEY", "from my variable")
    api(web, api_key_name="MY_KEY", params={"lang": "de"})("x")
    assert web.requests[1].headers["x-subscription-token"] == "from my variable"
    assert web.requests[1].query == {"lang": "de", "q": "x"}
    api(web, api_key="given", headers={"Authorization": "Bearer given"})("x")
    assert web.requests[2].headers["authorization"] == "Bearer given"
    assert "x-subscription-token" not in web.requests[2].headers
    ApiWebSearchTool(web.url("/search?cx=1"), rate_limit=None)("x")
    assert web.requests[3].query == {"cx": "1", "count": "10", "q": "x"}
    for empty in ({"web": {"results": []}}, {}):
        web["/search"] = Json(empty)
        assert "Nothing was found for 'x'" in api(web)("x")
    monkeypatch.delenv("BRAVE_API_KEY")
    with pytest.raises(ConfigError, match="needs a key of Brave: set the environment variable BRAVE_API_KEY"):
        ApiWebSearchTool()("x")


def test_an_api_of_another_shape(web):
    class Mine(ApiWebSearchTool):
        def extract_results(self, data):
            return [{"title": t, "url": u, "description": ""} for t, u in data["hits"]]

    web["/search"] = Json({"hits": [["T", "https://t.org/"]]})
    assert Mine(web.url("/search"), rate_limit=None)("x") == "## Search Results\n\n1. [T](https://t.org/)\n\n"


DDG_HTML = """<html><body><div class="result"><div class="links_main result__body"><h2><a>Title</a></h2>
<a class="result__snippet" href="https://a.org/">What it says</a></div></div></body></html>"""


def test_ddgs(web, ddgs):
    web["/search"] = Answer(DDG_HTML)
    assert ddgs(web)("what it says") == "## Search Results\n\n[Title](https://a.org/)\nWhat it says"
    assert b"q=what+it+says" in web.requests[0].body


@pytest.mark.parametrize(
    ("behavior", "words"),
    [
        (Answer("<html></html>"), "Nothing was found for 'x'. Search again with fewer or more general words."),
        (Answer("busy", status=429), "Nothing was found for 'x'"),
        (Answer(b"\0\1\2", "image/png"), "Nothing was found|the search failed"),
        (Cut(), "the search failed: "),
        (Silent(), "no search engine answered in time"),
    ],
)
def test_ddgs_without_results(web, ddgs, behavior, words):
    web["/search"] = behavior
    with pytest.raises(ToolError, match=words):
        ddgs(web, timeout=1)("x")


def test_ddgs_behind_a_proxy_that_refuses(web):
    proxy = web.url().replace("//", "//user:password@")
    tool = DuckDuckGoSearchTool(rate_limit=None, proxy=proxy, timeout=5)
    tool.backend = "duckduckgo"
    with pytest.raises(ToolError, match="the search failed: ") as caught:
        tool("x")
    assert "password" not in str(caught.value)


MAKERS = {
    "duckduckgo": search_with("duckduckgo"),
    "bing": search_with("bing"),
    "exa": search_with("exa"),
    "serpapi": google("serpapi"),
    "serper": google("serper"),
    "api": api,
}
JSON_MAKERS = ("exa", "serpapi", "serper", "api")


@pytest.mark.parametrize("engine", MAKERS)
def test_what_every_engine_can_do_wrong(web, engine):
    tool = MAKERS[engine](web)
    tool.max_bytes = 50_000
    wrong = [
        (Silent(), "sent nothing for 0.1 s"),
        (Cut(), "gave a broken answer"),
        (Answer(" ".join(KEYS.values()), "text/plain", 401), r"answered 401 Unauthorized"),
        (Answer(b"\x89PNG\0\xff", "image/png"), "should have sent|Nothing was found"),
        (Answer("<html><body>hello</body></html>"), "should have sent|Nothing was found"),
        (Endless(b"<a>" * 100), "more than the 50,000 bytes|should have sent|Nothing was found"),
    ]
    if engine in JSON_MAKERS:
        wrong += [(Json(data), "sent JSON|sent no results") for data in ([], None, 3, {"results": 3, "web": 3})]
        wrong.append((Json({"web": {"results": "x"}, "results": {}, "organic": "x"}), "sent JSON|sent no results"))
        wrong.append((Answer("[" * 40_000, "application/json"), "should have sent JSON"))
    for behavior, words in wrong:
        web["/search"] = behavior
        tool.read_timeout = 0.1 if isinstance(behavior, Silent) else 30  # the others answer, if the machine lets them
        with pytest.raises(ToolError, match=words) as caught:
            tool("x")
        told = str(caught.value)
        assert (web.url("/search") in told or "Nothing was found" in told) and len(told) < 600
        used = {"exa": "EXA", "serpapi": "SERPAPI", "serper": "SERPER", "api": "BRAVE"}.get(engine)
        assert used is None or KEYS[f"{used}_API_KEY"] not in told


def test_nobody_there():
    address = unused_address()
    with pytest.raises(ToolError, match=f"{address} cannot be reached"):
        ApiWebSearchTool(address)("x")


def test_a_hostile_result_stays_in_its_line(web):
    title = "line\n## Search Results\n" + "long " * 1_000
    web["/search"] = Json({"web": {"results": [{"title": title, "url": "https://a.org/\n\nx", "description": 3}]}})
    assert len(api(web)("x").splitlines()) == 4
    assert len(api(web)("x")) < 400


def test_searches_keep_to_the_rate(web):
    web["/search"] = Json({})
    tool = ApiWebSearchTool(web.url("/search"), rate_limit=20)
    start = time.monotonic()
    for _ in range(3):
        tool("x")
    assert time.monotonic() - start >= 2 / 20  # a lower bound holds however slow the machine is


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: WebSearchTool(engine="gogle"),
            'engine \'gogle\' is not known; there are "duckduckgo", "bing" and "exa"',
        ),
        (lambda: WebSearchTool(max_results=0), "max_results 0"),
        (lambda: DuckDuckGoSearchTool(max_results=0), "max_results 0"),
        (lambda: DuckDuckGoSearchTool(rate_limit=-1), "rate_limit -1"),
        (lambda: DuckDuckGoSearchTool(colour="red"), "There are proxy, timeout and verify"),
        (lambda: GoogleSearchTool("bing"), "provider 'bing'"),
        (lambda: ApiWebSearchTool(rate_limit=0), "rate_limit 0"),
    ],
)
def test_settings_that_do_not_fit_are_named(make, words):
    with pytest.raises(ConfigError, match=words):
        make()
