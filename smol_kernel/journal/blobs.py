"""Long strings of events, stored once each under their digest."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from typing import Any

BLOB_CHARACTERS = 65_536
"""Strings longer than this are stored once each, under their digest."""


Blob = tuple[list[str | int], str, bytes]
"""Of a long string: its place, digest and content."""


def take_blobs(node: Any, path: tuple[str | int, ...] = ()) -> tuple[Any, list[Blob]]:
    """`node` with None in place of the long strings in it, and these; the same object where there are none: it may have
    millions of parts."""
    left, blobs = node, list[Blob]()
    for key, value in enumerate(node) if isinstance(node, list) else node.items():
        if isinstance(value, list | dict):
            new, found = take_blobs(value, (*path, key))
        elif isinstance(value, str) and len(value) > BLOB_CHARACTERS:
            content = value.encode(errors="surrogatepass")
            new, found = None, [([*path, key], hashlib.sha256(content).hexdigest(), content)]
        else:
            continue
        if found:
            left = node.copy() if left is node else left
            left[key] = new
            blobs += found
    return left, blobs


def give_blobs(db: sqlite3.Connection, body: str, blobs: str | None) -> dict[str, Any]:
    """An event's data with its long strings back in their places."""
    event: dict[str, Any] = json.loads(body)
    for (*way, last), digest in json.loads(blobs or "[]"):
        place: Any = event
        for key in way:
            place = place[key]
        row = db.execute("SELECT content FROM blobs WHERE digest = ?", (digest,)).fetchone()
        if row is None:
            raise sqlite3.DatabaseError(f"blob {digest[:12]} is missing")
        place[last] = row[0].decode(errors="surrogatepass")
    return event
