"""One HTTP exchange within bounds: of time, of size, of what errors may tell. The network tools derive from `WebTool`.

HTTP is httpx, which LiteLLM brings along: it hands on a body as it arrives, so that size and time can be minded.
"""

from __future__ import annotations

import codecs
import functools
import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, urlsplit

from smol_kernel.errors import ToolError
from smol_kernel.tools.base import Tool
from smol_kernel.tools.defaults.extra import need

if TYPE_CHECKING:
    import ssl

    import httpx

MAX_REDIRECTS = 10
MAX_EXCERPT = 300
"""Characters quoted of an answer that cannot be used."""
ERROR_BYTES = 4_000
"""Bytes read of an answer that tells an error."""
SECRET_LENGTH = 4
"""Characters from which on a secret is looked for in texts: shorter ones are part of ordinary words."""
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([a-z0-9_:.-]{1,40})", re.IGNORECASE)
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_OTHER_NAMES = {"iso8859-1": "cp1252", "ascii": "cp1252", "iso8859-9": "cp1254", "tis-620": "cp874",
                "gb2312": "gb18030", "gbk": "gb18030", "big5": "big5hkscs", "shift_jis": "cp932",
                "euc_kr": "cp949"}  # fmt: skip
"""What pages mean by a codec's name, says the WHATWG Encoding Standard (https://encoding.spec.whatwg.org)."""
_NO_ENCODINGS_OF_PAGES = {"idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape", "utf-7"}
_secrets: set[str] = set()


@dataclass(frozen=True)
class Page:
    """An answer: its `url` after redirects, main `content_type` (lower case, "" if not told) and `body`.

    `whole` is False where the body was longer than `max_bytes`, and cut there.
    """

    url: str
    content_type: str
    charset: str | None
    body: bytes
    whole: bool

    @property
    def text(self) -> str:
        """The body as text, by its byte order mark, the header, or its own `<meta>`; broken bytes become �."""
        for mark, encoding in _MARKS:
            if self.body.startswith(mark):
                return self.body.decode(encoding, errors="replace")
        meta = _META_CHARSET.search(self.body[:4_096])
        in_page = meta and meta[1].decode("ascii")
        if (_encoding(in_page) or "").startswith("utf-16"):  # it could be read as ASCII, so it is none
            in_page = "utf-8"
        for told in (self.charset, in_page):
            encoding = _encoding(told)
            if encoding:
                return self.body.decode(encoding, errors="replace")
        try:
            return self.body.decode()
        except UnicodeDecodeError as error:
            cut_in_a_character = not self.whole and error.start > len(self.body) - 4
            return self.body.decode("utf-8" if cut_in_a_character else "cp1252", errors="replace")

    @property
    def is_binary(self) -> bool:
        """Whether the body is no text, whatever the header says."""
        start = self.body[:1_000]
        return start.startswith(b"%PDF-") or (b"\0" in start and not re.match(rb"\xff\xfe|\xfe\xff", start))


class WebTool(Tool):
    """A tool that goes out over HTTP. It may run beside others, and takes proxies from the usual variables.

    The limits are attributes, of the class or of one tool: `connect_timeout`, `read_timeout` (between two pieces) and
    `total_timeout` in seconds; `max_bytes` of one answer, unpacked.
    """

    threaded = True
    repeatable = True
    connect_timeout: float = 10
    read_timeout: float = 20
    total_timeout: float = 60
    max_bytes: int = 5_000_000
    user_agent: str = "Mozilla/5.0 (compatible; smol-kernel)"

    def __init__(self) -> None:
        super().__init__()
        need(type(self).__name__, "httpx")

    def fetch(
        self,
        url: str,
        *,
        method: str = "GET",
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        secrets: Iterable[str] | None = None,
        readable: Callable[[str], str] | None = None,
    ) -> Page:
        """The answer to one request; `body` is sent as JSON.

        `secrets` are kept out of errors and logs, and with them redirects are not followed: what is secret goes to no
        other address. `readable` is given the content type before the body is read; what it says, if anything, is
        the error. Raises ToolError that names the place, for whatever goes wrong and for an error status.
        """
        import httpx

        sent = {"User-Agent": self.user_agent, "Accept-Encoding": "gzip, deflate", **(headers or {})}
        for name, value in sent.items():  # the words, and the log, of the libraries below would quote it
            if not (value.isascii() and value.isprintable()):
                raise ToolError(f"{place(url)}: the header {name!r} holds characters that cannot be sent")
        hidden = _written(secrets or ())
        _secrets.update(hidden)
        logging.getLogger("httpx").addFilter(_tells_no_secret)
        deadline = time.monotonic() + self.total_timeout

        def in_time(*_: Any) -> None:
            if time.monotonic() > deadline:
                raise ToolError(f"{place(url)} was not done after {self.total_timeout:g} s")

        try:
            address = httpx.URL(url)
            with (
                httpx.Client(
                    verify=_trusted(),
                    timeout=httpx.Timeout(self.read_timeout, connect=self.connect_timeout),
                    follow_redirects=secrets is None,
                    max_redirects=MAX_REDIRECTS,
                    event_hooks={"request": [in_time]},
                ) as client,
                client.stream(
                    method,
                    address.copy_merge_params(params) if params else address,
                    json=body,
                    headers=sent,
                ) as answer,
            ):
                _check(answer, in_time, hidden)
                kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
                problem = readable(kind) if readable else ""
                if problem:
                    raise ToolError(problem)
                content, whole = _read(answer, self.max_bytes, in_time)
                return Page(str(answer.url), kind, answer.charset_encoding, content, whole)
        except ToolError:
            raise
        except Exception as error:  # noqa: BLE001 - boundary: what httpx raises, and lets through of idna, ssl and zlib
            raise ToolError(self._why(url, error, hidden)) from None

    def fetch_json(self, url: str, **request: Any) -> Any:
        """The answer read as JSON. Parameters and errors as for `fetch`."""
        page = self.fetch(url, **request)
        if not page.whole:
            raise ToolError(f"{place(url)} sent more than the {self.max_bytes:,} bytes this tool reads")
        try:
            return json.loads(page.text)
        except (ValueError, RecursionError):
            said = _excerpt(page.text, _written(request.get("secrets") or ()))
            raise ToolError(f"{place(url)} should have sent JSON, but sent: {said or 'nothing'}") from None

    def _why(self, url: str, error: Exception, secrets: Iterable[str]) -> str:
        import httpx

        where = place(url)
        match error:
            case httpx.ConnectTimeout():
                return f"{where} could not be reached within {self.connect_timeout:g} s"
            case httpx.TimeoutException():
                return f"{where} sent nothing for {self.read_timeout:g} s"
            case httpx.ConnectError() | httpx.ProxyError():
                return f"{where} cannot be reached: {_redacted(str(error), secrets)}"
            case httpx.TooManyRedirects():
                return f"{where} redirects more than {MAX_REDIRECTS} times"
            case httpx.UnsupportedProtocol():
                return f"{where} leads to an address that is not http or https"
            case httpx.InvalidURL():
                return f"{where} is an address that cannot be read"
            case _:
                return f"{where} gave a broken answer: {_redacted(str(error), secrets) or type(error).__name__}"


@functools.cache
def _trusted() -> ssl.SSLContext:
    """The certificates trusted; reading them takes longer than many a request."""
    import httpx

    return httpx.create_ssl_context()


def place(url: str) -> str:
    """The address without what may be secret in it: user, password, query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "the address"
    text = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return text if len(text) <= 200 else f"{text[:199]}…"


def _check(answer: httpx.Response, in_time: Callable[[], None], secrets: Iterable[str]) -> None:
    """Raise ToolError for an answer that is an error, or packed in a way that could burst."""
    packed = answer.headers.get("content-encoding", "identity").strip().lower()
    where = place(str(answer.url))
    if packed not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise ToolError(f"{where} sent its answer packed as {packed[:60]!r}, which nobody asked for")
    if answer.is_redirect:
        raise ToolError(f"{where} redirects to another address, which is not followed with a key; check the endpoint")
    if not answer.is_error:
        return
    code = answer.status_code
    named = f"{code} {HTTPStatus(code).phrase}" if code in {*HTTPStatus} else str(code)
    wait = answer.headers.get("retry-after", "")
    after = f"; it asks to wait {wait} s before the next request" if wait.isdecimal() and len(wait) < 7 else ""
    said = ""
    if "html" not in answer.headers.get("content-type", "html"):
        content, whole = _read(answer, ERROR_BYTES, in_time)
        said = _excerpt(Page("", "", answer.charset_encoding, content, whole).text, secrets)
    raise ToolError(f"{where} answered {named}{after}" + (f": {said}" if said else ""))


def _read(answer: httpx.Response, limit: int, in_time: Callable[[], None]) -> tuple[bytes, bool]:
    """The body up to `limit` bytes, and whether that is all of it."""
    content = bytearray()
    for piece in answer.iter_bytes():
        in_time()
        content += piece
        if len(content) > limit:
            return bytes(content[:limit]), False
    return bytes(content), True


def _encoding(told: str | None) -> str | None:
    """The codec of that name, if it is one for pages."""
    try:
        name = codecs.lookup(told or "").name
        b"a".decode(name, errors="replace")
    except (LookupError, ValueError):  # unknown, or not of text
        return None
    return None if name in _NO_ENCODINGS_OF_PAGES else _OTHER_NAMES.get(name, name)


def _written(secrets: Iterable[str]) -> list[str]:
    """The secrets as they stand in texts and addresses, the longest first."""
    kept = [secret for secret in secrets if len(secret) >= SECRET_LENGTH]
    return sorted({*kept, *map(quote, kept), *map(quote_plus, kept)}, key=len, reverse=True)


def _excerpt(text: str, secrets: Iterable[str]) -> str:
    text = " ".join(_redacted(text, secrets)[: 10 * MAX_EXCERPT].split())
    return text if len(text) <= MAX_EXCERPT else f"{text[: MAX_EXCERPT - 1]}…"


def _redacted(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "(key)")
    return text


def _tells_no_secret(record: logging.LogRecord) -> bool:
    """Filter of httpx's own log, which names each address with its query: False where a key is in it."""
    message = record.getMessage()
    return not any(secret in message for secret in _secrets)
