"""What the metadata of an Arrow message says of its body, checked before Arrow reads any of it.

`tables` calls this, in the child as well, into which it travels as source. The metadata are flatbuffers
(https://github.com/apache/arrow/blob/main/format/Message.fbs).
"""

from __future__ import annotations

import struct
from typing import Any

from . import values


def check(message: Any) -> None:
    """Refuse what takes more room than it has bytes, or a time that grows with their square."""
    data = message.metadata.to_pybytes()
    if b"ARROW:extension" in data:
        values.refuse("an Arrow stream with extension types")
    if message.type == "schema":
        return
    batch = header = _follow(data, _field(data, _follow(data, 0), 2))
    if message.type == "dictionary":
        batch = _follow(data, _field(data, header, 1))
        if (delta := _field(data, header, 2)) and data[delta]:  # all of it is copied for each addition
            values.refuse("an Arrow stream with a dictionary that grows")
    if _field(data, batch, 3):
        values.refuse("an Arrow stream with compression")
    buffers = _follow(data, _field(data, batch, 2))
    (count,) = struct.unpack_from("<I", data, buffers)
    lengths = struct.unpack_from(f"<{2 * count}q", data, buffers + 4)[1::2]
    if sum(lengths) > message.body.size or min(lengths, default=0) < 0:
        values.refuse("an Arrow stream whose buffers lie in one another")


def _follow(data: bytes, place: int) -> int:
    return place + struct.unpack_from("<I", data, place)[0]


def _field(data: bytes, table: int, number: int) -> int:
    """Where the field of a table is, 0 for one that is left out."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    size = struct.unpack_from("<H", data, vtable)[0]
    offset = struct.unpack_from("<H", data, vtable + 4 + 2 * number)[0] if 4 + 2 * number < size else 0
    return table + offset if offset else 0
