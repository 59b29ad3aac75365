"""Why no server was reached, by the standard errors at the bottom of a failure, and which servers speak a protocol of
their own, so that another one's replies cannot be read."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from urllib.parse import urlsplit

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
            if not (address or "").lower().startswith("https://"):
                return f"{where} does not speak https", False
            return f"{where} does not speak https: write http://{(address or '')[8:]}", False
        if isinstance(cause, socket.gaierror):
            host = urlsplit(address or "").hostname
            called = f"no server is called {host!r}" if host else "the provider's server is not found"
            check = "api_base, or your network" if host else "your network"
            return f"{called} ({cause.strerror or cause}): check {check}", cause.errno == socket.EAI_AGAIN
    return None


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
