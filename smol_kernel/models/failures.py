"""Reads what went wrong with a request to a provider: a sentence for people, and whether to try again.

Called by `api.py`, and by the loop for a user's own model. Providers and HTTP libraries each raise their own kinds, so
the whole chain of causes is read: for the status that really came over the wire, and for the standard errors at its
bottom.
"""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from smol_kernel.errors import ContextLengthError, SmolError
from smol_kernel.models.not_taken import not_taken
from smol_kernel.models.too_long import asked_and_whole, says_too_long
from smol_kernel.models.unreached import bottom_words, is_misread, or_proxy, other_protocol, unreached
from smol_kernel.models.waits import told_wait

_NO_KEY = ("missing credentials", "api_key client option must be set", "no api key")
_NAMES_NO_KEY = re.compile(r"missing [\w ]{1,40}api key|\w_api_key is not set")
"""In what LiteLLM says where there is none, mostly with the variable that it looked for."""
_BAD_KEY = re.compile(
    r"(incorrect|invalid) (x-)?api[ _-]?key|api[ _-]?key (is )?(not valid|invalid|incorrect)|api_key_invalid"
)
"""In what servers say of a key with another status than 401: Gemini, xAI."""
_BROKEN = ("RemoteProtocolError", "ReadError", "WriteError", "CloseError", "APIConnectionError", "ConnectError")
_PASSING = ("server", "overloaded", "rate_limit", "unavailable", "timeout", "internal")
"""In the codes and types of errors that may pass by themselves."""
_MID_STREAM = "MidStreamFallbackError"  # LiteLLM's own, for all that ends a stream
_REPEATS = "repeating the same chunk"
_NOT_A_REPLY = (
    "empty or invalid response",
    "unable to get json response",
    "invalid response object",
    "returned 'choices' that is not a list",
    "returned a response with no 'choices'",
)
_REASONS = ("message", "error", "detail", "msg", "errors")
"""Names under which servers say what is wrong: OpenAI and most others, TGI and Ollama, what is built on FastAPI."""
_NO_MEDIA = re.compile(
    r"mmproj|(image|audio|video)s? input|support\w* (image|audio|video|vision|multi-?modal)|multi-?modal model"
)
"""In what servers say that have no eyes and no ears: llama.cpp with 500, OpenRouter with 404, Ollama, vLLM."""
_REFUSING = (400, 415, 422)
"""Statuses with which servers refuse a request that they do not understand."""
_MAY_REFUSE = (404, 500, 501, *_REFUSING)  # those with which some say what of it they do not take
_DEEPEST = 5
_CALLED = {"google": "gemini", "claude": "anthropic"}
"""Providers by names under which LiteLLM does not know them → its names."""


@dataclass(frozen=True)
class Target:
    """Where a request went."""

    model_id: str
    address: str | None
    """URL of the server; None: the provider's own."""
    key_variable: str
    """Environment variable that holds the key."""

    @property
    def where(self) -> str:
        """The place in words."""
        return f"the server at {self.address}" if self.address else "the provider"


@dataclass(frozen=True)
class Failure:
    """What a request failed of."""

    message: str
    retry: bool = False
    """True for what may pass by itself: 429, 5xx, a broken connection."""
    retry_after: float | None = None
    """Seconds the server asks to wait (RFC 9110, `Retry-After`)."""
    too_long: bool = False
    """True: the conversation is longer than the model can read."""
    shows_key: bool = False
    """True: the error itself may show a key."""


def read_failure(error: BaseException, target: Target) -> Failure:
    """What `error`, raised by a request to `target`, means."""
    chain = list(_chain(error))
    text = str(error)
    named = f"model {target.model_id!r}"
    if any(isinstance(cause, ConnectionRefusedError) for cause in chain):
        where = or_proxy(str(target.address), target.address).rstrip(",")
        return Failure(f"{named}: nobody answers at {where}: connection refused. {_start_it(target)}")
    kinds = {type(cause).__name__ for cause in chain}
    if any(type(cause).__name__ == "LocalProtocolError" and "Illegal" in str(cause) for cause in chain):
        return Failure(
            f"{named}: the request cannot be sent: look for line breaks, and for characters outside ASCII, in the key "
            f"({target.key_variable} or api_key) and in the headers",
            shows_key=True,
        )
    if "UnsupportedProtocol" in kinds:
        return Failure(f"{named}: {target.address!r} is no address of a server: write it with http:// or https://")
    status = _status(chain)
    if status is None and (found := unreached(chain, target.address, target.where)) is not None:
        return Failure(f"{named}: {found[0]}", retry=found[1])
    if status is None and any("Timeout" in type(cause).__name__ for cause in chain):  # LiteLLM makes one of 408 and 504
        return Failure(f"{named}: no reply in time from {target.where}. Allow it longer with timeout=SECONDS")
    if "LLM Provider NOT provided" in text or "GetLLMProvider Exception" in text:
        return Failure(f"{named} {_no_provider(target.model_id)}")
    if status is None and any(sign in text.lower() for sign in _NO_KEY):
        return Failure(no_key(target))
    missing = [line for line in _first_lines(chain) if _NAMES_NO_KEY.search(line.lower())]
    if status is None and missing:
        named_there = re.search(r"[A-Z][A-Z0-9_]*_API_KEY", missing[0])
        return Failure(no_key(replace(target, key_variable=named_there[0]) if named_there else target))
    if any(isinstance(cause, ImportError) for cause in chain):
        return Failure(f"{named}: a package of this provider is missing: {_first_line(text)}")
    if _is_too_long(chain):
        return _read_length(asked_and_whole(_words(chain)), named)
    if _REPEATS in text:
        return Failure(f"{named}: the model repeated itself without end", retry=True)
    if status is not None:
        return _read_status(status, chain, target)
    misread = bool(other_protocol(target.model_id, target.address)) and is_misread(chain, _words(chain))
    if misread or any(isinstance(cause, json.JSONDecodeError) for cause in chain) or _is_no_reply(text):
        return Failure(no_completion(target))
    if (sent := _sent_in_stream(chain)) is not None:
        kind = f"{sent.get('code') or ''} {sent.get('type') or ''}".lower()
        passes = not sent.get("code") or any(sign in kind for sign in _PASSING)
        return Failure(f"{named}: {target.where} failed: {_said(chain)}", retry=passes)
    if _MID_STREAM in kinds or _is_broken(chain):
        return Failure(f"{named}: the connection to {target.where} failed{bottom_words(chain)}", retry=True)
    return Failure(f"{named}: {_first_line(text)}")


def _read_length(asked_and_whole: tuple[int, int] | None, named: str) -> Failure:
    """What is too long, by the tokens that were asked for the reply and those that there are in all."""
    asked, whole = asked_and_whole or (0, 0)
    if asked and asked >= whole:
        return Failure(
            f"{named}: max_tokens={asked} leaves no room for the conversation: the model has {whole} tokens for it and "
            f"the reply together. Lower max_tokens"
        )
    lower = f", lower max_tokens={asked}" if asked else ""
    return Failure(
        f"{named}: the conversation is longer than the model can read. Start a new one, print less{lower}, "
        f"or choose a model with a longer context",
        too_long=True,
    )


def may_be_media(error: BaseException | None) -> bool:
    """Whether the images, sounds and videos of a request may be what was refused: a server that does not know of them
    refuses the request as such, or says so."""
    chain = list(_chain(error))
    status = _status(chain) if chain else None
    return status is not None and not _is_too_long(chain) and (status in _REFUSING or _says_no_media(chain))


def is_media(error: BaseException | None) -> bool:
    """Whether the server says that it was they, whatever they are: the model takes none."""
    chain = list(_chain(error))
    return _says_no_media(chain) or any(part in _words(chain) for part in ("image_url", "input_audio"))


def refused_parameter(error: BaseException | None, sent: Mapping[str, Any]) -> str | None:
    """Which of the parameters that were sent is named as one that the model, or LiteLLM for it, does not take."""
    chain = list(_chain(error))
    if not chain or _is_too_long(chain):
        return None
    by_server = _status(chain) in _MAY_REFUSE
    if not (by_server or any(type(cause).__name__ == "UnsupportedParamsError" for cause in chain)):
        return None
    told = _sent(chain) if by_server else str(chain[0])
    inner = told.get("error") if isinstance(told, dict) else None
    code, param = (str(inner.get(name) or "") for name in ("code", "param")) if isinstance(inner, dict) else ("", "")
    return not_taken(f"{_reason(told)} {code}".lower(), param, sent)


def _says_no_media(chain: list[BaseException]) -> bool:
    return _status(chain) in _MAY_REFUSE and _NO_MEDIA.search(_words(chain)) is not None


def is_lost_connection(error: BaseException) -> bool:
    """Whether the connection broke, and nothing else was wrong."""
    chain = list(_chain(error))
    return _status(chain) is None and not _sent(chain) and _is_broken(chain)


def _is_broken(chain: list[BaseException]) -> bool:
    """Whether it was the connection. LiteLLM says so of all that it does not know, such as a faulty setting: from it
    that counts where nothing is known of the cause."""
    of_others = [cause for cause in chain if cause is chain[-1] or not _is_litellms(cause)]
    return any(isinstance(cause, ConnectionError) or type(cause).__name__ in _BROKEN for cause in of_others)


def _is_litellms(cause: BaseException) -> bool:
    return type(cause).__module__.partition(".")[0] == "litellm"


def _no_provider(name: str) -> str:
    """What is wrong with a name of which LiteLLM does not know the provider."""
    provider, slash, rest = name.partition("/")
    known = [str(getattr(each, "value", each)) for each in getattr(sys.modules.get("litellm"), "provider_list", ())]
    if not rest and provider in known:
        return f"names a provider and no model of it: write it as '{provider}/NAME'"
    if not slash:
        shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
        return (
            f"does not say which provider it is of. Write it as provider/name: 'openai/{name}' (also for any "
            f"OpenAI-compatible server, with api_base), 'anthropic/{name}', 'ollama/{name}'"
        ) + (f". No variable of the notebook is called {name} either" if shell else "")
    called = _CALLED.get(provider.lower())
    close = [called] if called else difflib.get_close_matches(provider.lower(), known, n=1)
    guess = f" Did you mean '{close[0]}/{rest}'?" if close else ""
    return (
        f"names the provider {provider!r}, which LiteLLM does not know.{guess} At an OpenAI-compatible server of your "
        f"own it is 'openai/{name}', with api_base"
    )


def no_key(target: Target) -> str:
    """Said of a request that has no key to send."""
    names = target.key_variable.split(" and ")
    lines = " and ".join(f"%env {name}=…" for name in names if name.isidentifier())
    in_notebook = f" (in a notebook: {lines}, in a cell that you do not keep)" if lines else ""
    return f"model {target.model_id!r} needs a key: set {target.key_variable}{in_notebook}, or pass api_key=…"


def no_completion(target: Target) -> str:
    """Said of a reply that cannot be read."""
    if other := other_protocol(target.model_id, target.address):
        gives = f"no reply as {target.model_id.partition('/')[0]!r} gives it"
        return f"model {target.model_id!r}: what came from {target.where} is {gives}; {other}"
    return (
        f"model {target.model_id!r}: what came from {target.where} is no chat completion. Does it speak OpenAI's "
        f"protocol, and is the address right (it often ends in /v1)?"
    )


def _read_status(status: int, chain: list[BaseException], target: Target) -> Failure:
    named = f"model {target.model_id!r}"
    said = f"{_said(chain)} ({status})"
    reason = _reason(_sent(chain))
    own = f". It says: {_first_line(reason)}" if reason.strip() else ""
    if status == 401 or (status == 400 and _BAD_KEY.search(_words(chain))):
        return Failure(
            f"{named}: {target.where} refused the key ({status}). Check {target.key_variable} or api_key{own}"
        )
    if status == 403:
        return Failure(f"{named}: {target.where} refused access (403). Check {target.key_variable} or api_key{own}")
    if status == 404:
        name = target.model_id.split("/", 1)[-1]
        if "deploymentnotfound" in _words(chain):
            return Failure(f"{named}: {target.where} knows no deployment {name!r} (404). Check its name{own}")
        return Failure(
            f"{named}: {target.where} knows no model {name!r} (404). Check the name"
            + (f", and the address: {_address_hint(target)}" if target.address else "")
            + own
        )
    if status == 429 and "insufficient_quota" in _words(chain):
        return Failure(f"{named}: the quota of this key is used up (429). Check the plan and billing of the provider")
    if status == 429:
        return Failure(f"{named}: too many requests: {said}", retry=True, retry_after=_retry_after(chain))
    if status >= 500 or status == 408:
        passes = not _says_no_media(chain)
        return Failure(f"{named}: {target.where} failed: {said}", retry=passes, retry_after=_retry_after(chain))
    return Failure(f"{named}: {target.where} refused the request: {said}")


def _address_hint(target: Target) -> str:
    return other_protocol(target.model_id, target.address) or "it often ends in /v1"


def is_too_long(error: BaseException) -> bool:
    """Whether `error`, raised by any model, means that the conversation is longer than the model can read. An error of
    this package says it by its class."""
    if isinstance(error, SmolError):
        return isinstance(error, ContextLengthError)
    chain = list(_chain(error))
    return any(isinstance(cause, ContextLengthError) for cause in chain) or _is_too_long(chain)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _words(chain: list[BaseException]) -> str:
    """What the errors and the server say, in lower case, without backticks. Some client libraries tell a provider's
    code in an attribute only."""
    told = " ".join(f"{cause} {getattr(cause, 'code', '')}" for cause in chain)
    return f"{told} {_sent(chain)}".lower().replace("`", "")


def _received(chain: list[BaseException]) -> Any:
    """The response that was received: as the client library tells it, for LiteLLM makes up some, which have no headers,
    and gives others a status by the words in them."""
    real = [cause for cause in chain if getattr(getattr(cause, "response", None), "headers", None)]
    real.sort(key=_is_litellms)  # the order stays otherwise
    return getattr(real[0], "response", None) if real else None


def _status(chain: list[BaseException]) -> int | None:
    """The HTTP status that was received."""
    response = _received(chain)
    if response is not None:
        return int(response.status_code)
    for cause in chain:
        code = str(getattr(cause, "code", None))
        if code.isdecimal() and 400 <= int(code) < 600:  # an error sent as an event of a stream
            return int(code)
    told = getattr(_in_reply(chain), "status_code", None)
    return told if isinstance(told, int) and 400 <= told < 600 else None


def _in_reply(chain: list[BaseException]) -> BaseException | None:
    """What LiteLLM makes of an error in a body that came with 200, as OpenRouter sends it: a bare Exception."""
    return chain[-1] if type(chain[-1]) is Exception and hasattr(chain[-1], "status_code") else None


def _sent(chain: list[BaseException]) -> Any:
    """What the server sent as the reason: data that was JSON, or text; None for a page that is meant for a browser."""
    try:
        sent: Any = getattr(_received(chain), "text", None)
    except Exception:  # noqa: BLE001 - a response that was not read
        sent = None
    sent = sent or _sent_in_stream(chain) or getattr(_in_reply(chain), "message", None)
    if not isinstance(sent, str):
        return sent
    try:
        return json.loads(sent)
    except (ValueError, RecursionError):
        return None if sent.lstrip().startswith("<") else sent


def _reason(sent: Any, depth: int = 0) -> str:
    """The sentence in what a server sent, in whatever shape it has; empty where there is none."""
    if isinstance(sent, str):
        return sent
    if depth > _DEEPEST:
        return ""
    if isinstance(sent, list):
        return "; ".join(filter(None, (_reason(each, depth + 1) for each in sent[:_DEEPEST])))
    if not isinstance(sent, dict):
        return ""
    said = next(filter(None, (_reason(sent.get(name), depth + 1) for name in _REASONS)), "")
    place = sent.get("loc")
    return f"{'.'.join(map(str, place))}: {said}" if said and isinstance(place, list) else said


def _is_too_long(chain: list[BaseException]) -> bool:
    if "ContextWindow" in type(chain[0]).__name__:
        return True
    return _status(chain) != 429 and says_too_long(_words(chain))


def _retry_after(chain: list[BaseException]) -> float | None:
    responses = [getattr(cause, "response", None) for cause in chain]
    headers: list[Any] = [getattr(response, "headers", None) or {} for response in responses]
    told = [each for each in headers if each.get("retry-after") or each.get("retry-after-ms")]
    return told_wait(told[0] if told else {}, _words(chain))


def _is_no_reply(text: str) -> bool:
    return any(sign in text.lower() for sign in _NOT_A_REPLY)


def _start_it(target: Target) -> str:
    if target.model_id.startswith("ollama"):
        return "Is Ollama running? `ollama serve` starts it"
    return "Is the server running, and is api_base right?"


def _sent_in_stream(chain: list[BaseException]) -> dict[str, Any] | None:
    """The error that a server sent as an event of a stream: OpenAI's client raises it as the base of its errors."""
    bodies = (getattr(cause, "body", None) for cause in chain if type(cause).__name__ == "APIError")
    found = next((body for body in bodies if body and isinstance(body, dict | str)), None)
    return {"message": found} if isinstance(found, str) else found


def _said(chain: list[BaseException]) -> str:
    """The server's own words, else those of the error."""
    return _first_line(_reason(_sent(chain)).strip() or str(chain[0]))


def _first_lines(chain: list[BaseException]) -> list[str]:
    return [_first_line(str(cause)) for cause in chain]


def _first_line(text: str) -> str:
    """The provider's own words: LiteLLM's class names before them are left out."""
    lines = text.strip().splitlines() or ["no reason given"]
    words = re.sub(r"^(litellm\.)?([A-Z]\w*Error: )*", "", lines[0].rpartition("Exception - ")[2])
    return words if len(words) <= 300 else words[:300] + "…"
