"""Known secrets taken out of what a tool gives: out of its encoded form, in which each type's texts stand alike.

Text gets words in their place. Within bytes, which arrays and tables of text are too, they are written over at their
own length, so that what is around them keeps its place and its meaning.
"""

from __future__ import annotations

import base64
import json
import operator
from typing import Any, cast

from smol_kernel.memory.known_secrets import INSTEAD, known, redacted

_ORDERS = {"<": "utf-32-le", ">": "utf-32-be"}
"""How numpy keeps text, by the first character of a dtype."""


def no_secrets(form: Any) -> tuple[Any, int]:
    """`form`, an encoded value, or one like it without the secrets that this process knows; and its length as JSON.

    All of it is searched, at the speed of a search in one text; it is walked only where something was found, or where
    bytes are.
    """
    text, secrets = json.dumps(form), known()
    clean = _overwritten(form, secrets, "utf-8") if secrets and '"bytes"' in text else form
    if any(json.dumps(secret)[1:-1] in text for secret in secrets):
        clean = _in_words(clean)
    return clean, len(text) if clean is form else len(json.dumps(clean))


def _in_words(form: Any) -> Any:
    """`form` with words in place of the secrets in its texts; of one that says a value of another type, a number or a
    date, in place of the whole value."""
    if type(form) is list:
        return [_in_words(part) for part in cast("list[Any]", form)]
    if type(form) is not dict:
        return redacted(form)
    kind, value = form.get("$"), form.get("v")
    if kind == "bytes":  # these have been searched
        return form
    if kind is not None and isinstance(value, str) and redacted(value) != value:
        return INSTEAD
    return {redacted(name): _in_words(part) for name, part in form.items()}


def _overwritten(form: Any, secrets: list[str], encoding: str) -> Any:
    """`form` with the secrets in its bytes written over; the same object where there are none."""
    if type(form) not in (list, dict):
        return form
    if type(form) is list:
        parts = cast("list[Any]", form)
        new = [_overwritten(part, secrets, encoding) if type(part) in (list, dict) else part for part in parts]
        return form if all(map(operator.is_, new, parts)) else new
    if form.get("$") == "bytes":
        raw = base64.b64decode(form["v"])
        clean = _masked(raw, secrets, encoding)
        return form if clean is raw else {**form, "v": base64.b64encode(clean).decode()}
    if form.get("$") in ("ndarray", "scalar"):
        dtype = form["v"][0]
        if dtype[1] not in "USO":
            return form
        encoding = _ORDERS[dtype[0]] if dtype[1] == "U" else encoding
    values = _overwritten(list(form.values()), secrets, encoding)
    return form if all(map(operator.is_, values, form.values())) else dict(zip(form, values, strict=True))


def _masked(raw: bytes, secrets: list[str], encoding: str) -> bytes:
    for secret in secrets:
        written = secret.encode(encoding, "surrogatepass")
        if written in raw:
            length = len(secret) if encoding != "utf-8" else len(written)
            raw = raw.replace(written, INSTEAD[:length].ljust(length, "*").encode(encoding))
    return raw
