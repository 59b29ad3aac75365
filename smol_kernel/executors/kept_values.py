"""What is kept of the variables that a run was given: a digest of each, and of a small one its value."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, cast

from smol_kernel.executors.values import MalformedValue, NotPortable, decode, encode_input
from smol_kernel.memory.known_secrets import redacted

SMALL = 4 << 20
"""Characters of an encoded value up to which it is kept itself."""
LARGE = 64 << 20
"""Bytes of a table or array from which on its digest is taken of its parts as they lie in memory."""


class EncodedInput:
    """A recorded variable that is handed to the child as it was: `data` is its encoded form, which may hold what only
    the child may read."""

    def __init__(self, data: Any) -> None:
        self.data = data


def kept_values(variables: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Name → `digest`, `bytes` and, where that is small, the encoded `value`; a value that holds a secret of the host's
    is not kept. Nothing is kept of one that cannot be handed over: that is an error where it is."""
    return {name: found for name, value in variables.items() if (found := _kept(value)) is not None}


def recorded_value(data: Any) -> Any:
    """The variable of which `kept_values` kept this `value`; an EncodedInput where the host may not read it."""
    try:
        return decode(data)
    except MalformedValue:  # it was pickled
        return EncodedInput(data)


def digest_of(value: Any) -> str:
    """The digest that `kept_values` gives of `value`; empty where it has none."""
    return (_kept(value) or {"digest": ""})["digest"]


def _kept(value: Any) -> dict[str, Any] | None:
    size = _size(value)
    if size > LARGE:
        return {"digest": _fast_digest(value), "bytes": size}
    try:
        encoded = encode_input(value)
    except NotPortable:
        return None
    text = json.dumps(encoded, sort_keys=True)
    kept: dict[str, Any] = {"digest": hashlib.sha256(text.encode()).hexdigest(), "bytes": len(text)}
    if len(text) <= SMALL and redacted(text) == text:
        kept["value"] = encoded
    return kept


def _size(value: Any) -> int:
    """Bytes of an array or a table; 0 of all else."""
    if type(size := getattr(value, "nbytes", None)) is int:
        return size
    if hasattr(value, "memory_usage") and hasattr(value, "columns"):
        return int(value.memory_usage(index=False).sum())
    return 0


def _fast_digest(value: Any) -> str:
    """Of a large array or table, without a copy of it: numbers as they lie in memory, other columns as pandas hashes
    them. Empty for what is neither."""
    digest = hashlib.blake2b(digest_size=32)
    columns = [(str(name), value[name]) for name in value.columns] if hasattr(value, "columns") else [("", value)]
    for name, column in columns:
        values: Any = getattr(column, "values", column)
        kind = getattr(getattr(values, "dtype", None), "kind", "O")
        digest.update(f"{name} {getattr(values, 'dtype', '')} {getattr(values, 'shape', '')}".encode())
        if kind in "biufc":
            import numpy as np

            digest.update(cast("Any", np.ascontiguousarray(values)).data.cast("B"))
        else:
            try:
                import pandas as pd

                hashes: Any = cast("Any", pd).util.hash_pandas_object(pd.Series(column), index=False)
                digest.update(hashes.to_numpy().data)
            except (ImportError, TypeError, ValueError):
                return ""
    return f"fast:{digest.hexdigest()}"
