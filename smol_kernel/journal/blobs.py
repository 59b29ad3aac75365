"""Long strings of events, stored once each under their digest."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from typing import Any

BLOB_CHARACTERS = 65_536
"""Strings longer than this are stored once each, under their digest."""


def take_blobs(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[list[str | int], str, bytes]]:
    """Empty the long strings below `node`; gives each one's place, digest and content."""
    items = enumerate(node) if isinstance(node, list) else list(node.items()) if isinstance(node, dict) else ()
    for key, value in items:
        if isinstance(value, str) and len(value) > BLOB_CHARACTERS:
            content = value.encode(errors="surrogatepass")
            node[key] = None
            yield [*path, key], hashlib.sha256(content).hexdigest(), content
        else:
            yield from take_blobs(value, (*path, key))


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
