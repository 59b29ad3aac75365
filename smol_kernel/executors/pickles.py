"""What a user hands to the child by name: encoded, or where it would not cross as what it is, pickled for it alone."""

from __future__ import annotations

import io
import json
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

from smol_kernel.executors import values
from smol_kernel.memory.known_secrets import known

_BUILTINS = (str, int, float, list, tuple, set, frozenset, dict)


def encode_input(value: Any) -> Any:
    """Like `values.encode`, but what cannot cross otherwise is pickled; so is what would lose a class, beside its plain
    form, which stays where it cannot be pickled.

    Raises NotPortable where neither can be, and for tools, models and agents, which stay in the host.
    """
    lost: set[type] = set()
    try:
        plain = values.encode(value, lost=lost)
    except values.NotPortable:
        return {"$": "pickle", "v": values.encode(_pickled(value))}
    if not lost:
        return plain
    try:
        pickled = _pickled(value)
        if _brings_secrets(pickled, plain):
            return plain
        # Code crosses with classes of the notebook, and another Python could not run it.
        version = list(sys.version_info[:2]) if b"cloudpickle" in pickled else None
        return {"$": "pickle", "v": [plain, [values.encode(pickled), version]]}
    except values.NotPortable:
        return plain


def as_handed_over(value: Any) -> Any:
    """The value, or what a child has in its place if that is of a builtin and its own class cannot be pickled."""
    if isinstance(value, _BUILTINS) and type(value) not in _BUILTINS:
        try:
            _pickled(value)
        except values.NotPortable:
            with suppress(values.NotPortable, values.MalformedValue):
                return values.decode(values.encode(value))
    return value


def plain_form(encoded: Any) -> Any:
    """Of what `encode_input` gave the plain form, which anyone may read; itself where it has no other."""
    is_pickle = isinstance(encoded, dict) and encoded.get("$") == "pickle"
    return encoded["v"][0] if is_pickle and isinstance(encoded["v"], list) else encoded


def _brings_secrets(pickled: bytes, plain: Any) -> bool:
    """Whether the pickle holds a secret of the host's that the plain form has not: what the methods of a class name
    goes along with it."""
    text = json.dumps(plain)
    brought = (secret for secret in known() if secret.encode(errors="surrogatepass") in pickled)
    return any(json.dumps(secret)[1:-1] not in text for secret in brought)


def _pickled(value: Any) -> bytes:
    """The value pickled by cloudpickle. Raises NotPortable."""
    cloudpickle = import_module("cloudpickle")

    class Pickler(cloudpickle.Pickler):
        def reducer_override(self, obj: Any) -> Any:
            if any(values.package(cls) == "smol_kernel" for cls in type(obj).__mro__):
                raise values.NotPortable(
                    f"holds {values.a_name(type(obj))}, which stays in the host and is never pickled"
                )
            return super().reducer_override(obj)

    stream = io.BytesIO()
    try:
        Pickler(stream).dump(value)
    except values.NotPortable:
        raise
    except Exception as error:  # boundary: any class's __reduce__ runs here
        raise values.NotPortable(
            f"is {values.a_name(type(value))}, which can neither cross nor be pickled ({error}): "
            "hand over plain data such as a dict or a DataFrame, or make it a tool"
        ) from error
    return stream.getvalue()
