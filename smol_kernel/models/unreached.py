"""Why no server was reached, by the standard errors at the bottom of a failure, and which servers speak a protocol of
their own, so that another one's replies cannot be read."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Sequence
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from smol_kernel.memory.known_secrets import without_password

OWN_PROTOCOL = frozenset(
    ["anthropic", "bedrock", "cohere", "cohere_chat", "gemini", "ollama", "ollama_chat", "replicate", "vertex_ai"]
)
"""Providers whose requests and replies are not OpenAI's."""
_NO_HTTPS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE", "PACKET_LENGTH")
"""In what OpenSSL says of a server that answers in plain text."""
_UNKNOWN_AUTHORITY = (18, 19, 20, 21)  # X509_V_ERR_… of a certificate that nobody known has signed
_MISREAD = ("chat.completion", "must be a mapping", "unexpected response from", "valid response block")
_FIELDS = ("candidates", "choices", "content", "message", "model", "response", "text", "usage", "usageMetadata")


def unreached(chain: Sequence[BaseException], address: str | None, where: str) -> tuple[str, bool] | None:
    """What kept a request from a server at `address`, called `where` in words, and whether it may pass; None for
    anything else. `chain` are an error and its causes."""
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            why, code = getattr(cause, "verify_message", "") or str(cause), getattr(cause, "verify_code", 0)
            advice = ": set SSL_CERT_FILE to the file of your authority" if code in _UNKNOWN_AUTHORITY else ""
            return f"{where} is not asked: its certificate is not trusted ({why.rstrip('.')}){advice}", False
        if isinstance(cause, ssl.SSLError) and any(sign in str(cause) for sign in _NO_HTTPS):
            advice = f": write http://{address[8:]}" if address and _is_near(address) else ""
            return f"{or_proxy(where, address)} does not speak https{advice}", _proxy(address) is not None
        if isinstance(cause, socket.gaierror):
            host = urlsplit(address or "").hostname
            if _proxy(address) is not None:
                why = cause.strerror or cause
                return f"{or_proxy(where, address)} is not found ({why}): check the address, or your network", True
            called = f"no server is called {host!r}" if host else "the provider's server is not found"
            check = "api_base, or your network" if host else "your network"
            return f"{called} ({cause.strerror or cause}): check {check}", cause.errno == socket.EAI_AGAIN
    return None


def or_proxy(where: str, address: str | None) -> str:
    """`where`, and the proxy through which a server at `address` is asked, if there is one."""
    proxy = _proxy(address)
    return where if proxy is None else f"{where}, or the proxy {proxy},"


def _proxy(address: str | None) -> str | None:
    """The proxy for `address`, without its password; None: a provider's own server, asked by https."""
    parts, proxies = urlsplit(address or "https://"), getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or (parts.netloc and proxy_bypass(parts.netloc.rpartition("@")[2])):
        return None
    return without_password(proxy if "://" in proxy else f"http://{proxy}")


def _is_near(address: str) -> bool:
    """Whether `address`, of https, is on this machine or in its own network, where a key may go without it."""
    parts = urlsplit(address)
    try:
        return parts.scheme == "https" and ipaddress.ip_address(parts.hostname or "").is_private  # loopback as well
    except ValueError:
        return parts.scheme == "https" and parts.hostname == "localhost"


def bottom_words(chain: Sequence[BaseException]) -> str:
    """What the standard error at the bottom says, or the HTTP library, to be added; empty where neither does."""
    for cause in reversed(chain):
        if str(cause) and (
            isinstance(cause, OSError) or type(cause).__module__.partition(".")[0] in ("httpcore", "httpx")
        ):
            said = getattr(cause, "strerror", None) or str(cause).partition("\n")[0]
            return f": {said.rstrip('.'):.200}"
    return ""


def other_protocol(model_id: str, address: str | None) -> str:
    """What to write where the server at `address` is asked in the protocol of the model's provider, which is not
    OpenAI's, and does not know it; empty for models of other providers."""
    provider, _, name = model_id.partition("/")
    if not address or provider not in OWN_PROTOCOL:
        return ""
    if provider.startswith("ollama") and address.rstrip("/").endswith("/v1"):
        return f"leave /v1 off the end of api_base for {provider}/…, or name it 'openai/{name}'"
    return f"for an OpenAI-compatible server write 'openai/{name}'"


def is_misread(chain: Sequence[BaseException], words: str) -> bool:
    """Whether a client library stumbled over a reply that is not in the protocol of its provider."""
    lacks = any(isinstance(cause, KeyError) and cause.args[:1] and cause.args[0] in _FIELDS for cause in chain)
    return lacks or any(sign in words for sign in _MISREAD)
