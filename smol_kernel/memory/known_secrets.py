"""The secrets that this process knows: values of its environment, and keys that models and tools were given.

They serve where they are. What tools give and say goes to the child and to the model, and into the record of the run:
`redacted` takes them out of it on the way, as a net below the rule that tools tell no keys. Encoded in some way they
would pass; a tool that wants to tell a key can.
"""

from __future__ import annotations

import itertools
import json
import operator
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, cast
from urllib.parse import unquote

SECRET_NAME = re.compile(
    r"PASSW|PASSPHRASE|SECRET|TOKEN|API_?KEY|KEY\d*$|_KEY_|AUTH(?!OR)|CREDENTIAL|COOKIE|BEARER|SIGNATURE|SESSION_?ID"
    r"|(^|_)(PASS|PWD?|PAT|PEM|DSN|JWT|SK)\d*$|WEBHOOK|CONNECTION_STRING",
    re.IGNORECASE,
)
"""Names of what is secret."""
_HEADERS = re.compile(r"HEADERS$|AUTHORIZATION", re.IGNORECASE)
_OPEN_SETTING = re.compile(
    r"_NAME$|_CACHE_KEY$|(^|_)(SORT|PARTITION|FOREIGN|GROUP)_KEY$|^TOOL_(NAME|ARGUMENTS)_KEY$|^SESSION_ID$"
    r"|TOKENS($|_)|TOKENIZ|PER_TOKEN|TOKEN_(IDS?|LIMIT|TYPE|COUNT|BUDGET|USAGE)$",
    re.IGNORECASE,
)
"""Names of settings that are like those of secrets and hold none."""
SHORTEST = 12
"""Characters; what is shorter may stand in any text by chance."""
FEWEST = 4
"""Different characters; what has fewer is a placeholder, as "xxxxxxxxxxxx", and found in any line or encoded bytes."""
INSTEAD = "(a secret of the host)"
_PLACE = re.compile(r"^(OLD)?PWD$|(FILE|PATH|DIR|FOLDER|SOCK|SOCKET|HOME)$", re.IGNORECASE)
_ENDING = re.compile(r"\.[A-Za-z]{2,5}$")
_IN_URL = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")
_IN_QUERY = re.compile(r"(?<=[?&])([^\s?&=#]+)=([^\s&#\"'<>]+)")
_ADDRESS = re.compile(r"[A-Za-z][\w+.-]*://\S+")
_WITHIN = re.compile(r"(?<![\w+.-])[A-Za-z][\w+.-]*://[^\s;,\"']*")
"""An address where other things may follow."""
_OF_QUERIES = ("sig", "code")
"""Names in a query that are those of keys there, and of much else elsewhere."""
_HOLDS_KEY = re.compile(
    r"(PASS|PASSWD|PWD|PASSWORD|PASSPHRASE|SECRET|TOKEN|AUTHORIZATION|(API|SECRET|PRIVATE|ACCESS)_?KEY)$", re.IGNORECASE
)
"""Names of options whose value is a key whatever it looks like."""
_HOLDS_NONE = re.compile(
    r"^_*(NO|DISABLE|ALLOW|USE)_|_(ENV|VAR|TYPE|MODE|PROVIDER|FIELD|COLUMN)$|(SORT|PARTITION|PRIMARY|FOREIGN|GROUP)_KEY$",
    re.IGNORECASE,
)
_NAME_OF_VARIABLE = re.compile(r"\$\{?[A-Z_][A-Z0-9_]*\}?$|[A-Z]+(_[A-Z]+)+$")
_HOLDING = frozenset({str, dict, list, tuple})  # what is looked into
MOST_PARTS = 10_000
"""Of a value that is looked through, where nothing else is asked for."""
_OPEN_HEADERS = (
    "accept",
    "accept-encoding",
    "accept-language",
    "content-type",
    "http-referer",
    "user-agent",
    "x-title",
)
_given: set[str] = set()


def is_secret_setting(name: str) -> bool:
    """Whether what a setting of this name holds is a key, a password or the like, which is never written down. A count
    of tokens is none, nor the name of a variable."""
    name = name.replace("-", "_")
    return bool(SECRET_NAME.search(name) or _HEADERS.search(name)) and not _OPEN_SETTING.search(name)


def without_password(text: str) -> str:
    """The text, with addresses in it without user and password, and "…" for the keys in their queries."""
    return _IN_QUERY.sub(_shown_query, re.sub(r"(?<=//)[^/\s@]*@", "", text))


def _shown_query(found: re.Match[str]) -> str:
    return f"{found[1]}=…" if _is_secret_in_query(found[1]) else found[0]


def _is_secret_in_query(name: str) -> bool:
    return is_secret_setting(name) or name.lower() in _OF_QUERIES


def _in_addresses(text: str) -> list[str]:
    """The passwords and keys in the addresses of a text, as they stand there and as they are meant."""
    queries = [
        value for name, value in _IN_QUERY.findall(text) if _is_secret_in_query(name) and looks_secret(name, value)
    ]
    found = [*_IN_URL.findall(text), *queries]
    return [*found, *map(unquote, found)]


def looks_secret(name: str, value: str) -> bool:
    """Whether what stands behind an option of this name looks like a key: `--sort-key region` names none, and would be
    taken out of every text."""
    name = name.replace("-", "_")
    if _HOLDS_NONE.search(name) or _PLACE.search(name) or _NAME_OF_VARIABLE.match(value):
        return False
    return bool(_HOLDS_KEY.search(name)) or (is_random(value) and not _ENDING.search(value))


def keep_secret_words(words: Sequence[str]) -> None:
    """Know the keys and passwords among the words of a command: behind `--token`, in `--api-key=…`, `NAME=…`, a header,
    an address, JSON, or a command within it."""
    _given.update(_in_words(words))


def _in_words(words: Sequence[str]) -> Iterator[str]:
    for name, value, word in _secret_ends(words):
        yield from _in_addresses(word)
        inner = _words(word)
        if (data := _from_json(word)) is not None:
            yield from _in_json(data)
        elif len(inner) > 1 and ("=" in inner[0] or not value.strip()):  # `TOKEN=… exec server`
            yield from _in_words(inner)
        elif value.strip() and looks_secret(name, value):
            yield from (value, value.strip(), value.split()[-1])


def _from_json(word: str) -> Any:
    """What the word says as a JSON object or list; None if it is neither."""
    with suppress(ValueError, RecursionError):
        return json.loads(word) if word.lstrip().startswith(("{", "[")) else None
    return None


def _in_json(data: Any) -> Iterator[str]:
    """The keys by their names, and those among the words of its lists."""
    for name, value in data.items() if isinstance(data, dict) else ():
        if isinstance(value, str) and is_secret_setting(name) and looks_secret(name, value):
            yield from (value, *value.split()[-1:])
        yield from _in_addresses(value) if isinstance(value, str) else _in_json(value)
    if isinstance(data, list):
        yield from _in_words([each for each in data if isinstance(each, str)])
        for each in data:
            yield from _in_json(each)


def without_secret_words(command: str) -> str:
    """A command or an address as it may be written down: "…" for each of its keys and passwords."""
    words = _words(command)
    shown = [_shown_word(word, value) for _, value, word in _secret_ends(words)]
    return shlex.join(shown).replace("'…'", "…") if shown != words else without_password(command)


def _shown_word(word: str, value: str) -> str:
    """A word of a command, whose end `value` is a key."""
    if (data := _from_json(word)) is None and not value:
        return (without_secret_words if " " in word else without_password)(word)
    shown = without_password(word[: len(word) - len(value)]) + "…" * bool(value)
    for secret in _in_json(data):
        for form in (json.dumps(secret), json.dumps(secret, ensure_ascii=False)):
            shown = shown.replace(form, '"…"')
    return shown


def _words(command: str) -> list[str]:
    """The words of a command; none of an address."""
    try:
        return [] if _ADDRESS.match(command.strip()) else shlex.split(command)
    except ValueError:
        return command.split()


def _secret_ends(words: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Each word of a command, behind the part at its end that is a key or a password as a whole, and that one's name;
    the part is empty where there is none."""
    for before, word in zip(["", *words], words, strict=False):
        is_behind = before.startswith("-") and "=" not in before and not word.startswith("-")
        text = _WITHIN.sub(lambda found: "\0" * len(found[0]), word)  # an address is no key, and one may follow it
        name, value = before if is_behind else "", text
        while value and (not is_secret_setting(name.lstrip("-")) or value.lstrip(" \"'").startswith("\0")):
            name, _, value = min(value.partition("="), value.partition(":"), key=lambda parts: len(parts[0]))
        value = word[len(word) - len(value) :]
        yield name, "" if is_path(name, value) else value, word


def keep_secret(settings: Mapping[str, Any]) -> None:
    """Know the values of those settings that are secret by their names: keys and the like, and headers; and what is so
    in addresses."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and "header" in name.lower():
            headers = cast("Mapping[str, Any]", value)
            keep_secret({f"{each}_KEY": text for each, text in headers.items() if each.lower() not in _OPEN_HEADERS})
        elif isinstance(value, str) and SECRET_NAME.search(name):
            _given.update({value, *value.split()[-1:]})  # of "Bearer KEY" the key
        elif isinstance(value, str) and _ADDRESS.fullmatch(value):
            _given.update(_in_addresses(value))


def secret_settings(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The texts in settings, at any depth, that are secret by their names, each behind its name."""
    waiting: list[tuple[str, Any]] = [("", settings)]
    seen: dict[tuple[str, int], Any] = {}  # keeps them, so that no other has the number
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, str):
            if is_secret_setting(name) and value.strip():
                yield name, value
        elif isinstance(value, (Mapping, list, tuple)) and (name, id(value)) not in seen:
            held = cast("Any", value)
            seen[name, id(held)] = held
            inner = held.items() if isinstance(held, Mapping) else ((name, each) for each in held)
            waiting += [(str(each), part) for each, part in inner]


def keep_secrets_of(tool: Any, defaults: Mapping[str, Any]) -> None:
    """Know what a tool was given, and has as defaults, that is secret by its name and looks it: `key` may be a word."""
    settings = {**vars(type(tool)), **vars(tool), **defaults}
    keep_secret({name: value for name, value in settings.items() if not isinstance(value, str) or is_random(value)})


def unsendable(value: str) -> str | None:
    """What keeps a value from being sent in a header of HTTP, in words that do not show it; None if nothing does."""
    if "\n" in value or "\r" in value:
        return "a line break"
    if not value.isascii():
        return "a character outside ASCII"
    if not value.replace("\t", " ").isprintable():
        return "a control character"
    return "a blank at its end" if value != value.rstrip() else None


def is_random(text: str) -> bool:
    """Whether it has digits and letters, as keys do."""
    return any(map(str.isdigit, text)) and any(map(str.isalpha, text))


def redacted(value: Any, most: int = MOST_PARTS) -> Any:
    """`value`, a text or plain data that holds texts, with `INSTEAD` in place of each secret; others as they are.

    Of a value with more parts than `most` the rest is not looked through. Secrets are found also as JSON, or Python,
    writes them.
    """
    secrets = known()
    return _walk(value, secrets, [most]) if secrets else value


def known() -> list[str]:
    """All secrets in each of the forms they are found in, the longest first."""
    here: Mapping[Any, Any] = getattr(os.environ, "_data", os.environ)  # as it is kept, which takes no decoding
    environment, count, known = _last[0]
    if here != environment or count != len(_given):
        environment = dict(here)
        for name, value in os.environ.items():
            _given.update(_in_variable(name, value))
        given = _given.copy()  # other threads may add to it
        forms = {form for secret in given if _is_findable(secret) for form in _forms(secret)}
        known = sorted(forms, key=len, reverse=True)
        _last[0] = environment, len(given), known
    return known


_last: list[tuple[dict[Any, Any], int, list[str]]] = [({}, -1, [])]
"""The environment that was looked at, how many secrets were given, and what came of it."""


def _is_findable(secret: str) -> bool:
    return len(secret) >= SHORTEST and len(set(secret)) >= FEWEST


@lru_cache(maxsize=1_000)
def _forms(secret: str) -> tuple[str, ...]:
    """The secret as it is, and between quotes."""
    return secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]


@lru_cache(maxsize=1_000)
def _in_variable(name: str, value: str) -> tuple[str, ...]:
    is_secret = SECRET_NAME.search(name) and not is_path(name, value)
    return tuple({*((value, value.strip()) if is_secret else ()), *_in_addresses(value)})


def is_path(name: str, value: str) -> bool:
    """Whether a variable of this name says where something lies: a key may begin as a path does, too."""
    if not value.startswith(("/", "~", ".")):
        return False
    return bool(_PLACE.search(name) or _ENDING.search(value)) or os.path.exists(os.path.expanduser(value))


def _walk(value: Any, secrets: list[str], room: list[int]) -> Any:
    """`value` without the secrets; the same object where it holds none."""
    kind = type(value)
    if kind is str:
        for secret in secrets:
            value = value.replace(secret, INSTEAD)
        return value
    if kind not in _HOLDING or room[0] <= 0:
        return value
    room[0] -= len(value)
    flat = list(itertools.chain.from_iterable(value.items()) if kind is dict else value)
    changed: list[Any] = [_walk(each, secrets, room) if _may_hold(each) else each for each in flat]
    if all(map(operator.is_, changed, flat)):
        return value
    return dict(zip(changed[::2], changed[1::2], strict=True)) if kind is dict else kind(changed)


def _may_hold(value: Any) -> bool:
    kind = type(value)
    return kind in _HOLDING and (kind is not str or len(value) >= SHORTEST)
