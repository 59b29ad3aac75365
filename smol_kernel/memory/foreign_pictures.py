"""Pictures in files that came from outside: opened by few decoders, and none that would take without end to read.

Pillow is loaded when a picture is opened, never by importing this module.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Sequence
from importlib import import_module
from typing import Any

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP")
"""Of what a child made, or another's record or notebook holds. Pillow knows many more, some of them hardly ever used,
and has Ghostscript run what an EPS file says."""
OF_TOOLS = (*FORMATS, "TIFF")
GIVEN = (*OF_TOOLS, "ICO", "ICNS", "PPM", "DIB", "TGA", "QOI", "JPEG2000", "AVIF", "HEIF")
"""Of what is handed over as the bytes of an image; the last ones where Pillow has been taught them."""
MAX_PIXELS, MAX_COMPARED, MAX_GIVEN = 50_000_000, 100_000_000, 178_000_000
"""Of an image; of one in a file or a notebook that is compared; and of one that is handed over, which is where Pillow's
own limit is."""
MAX_SCANS = 100
"""Of a JPEG; ten are usual. Each goes over all of the picture, whatever little it adds."""
MAX_SCANNED = 1_000_000_000
"""Pixels that all scans of a JPEG go over together."""
_SEGMENTS = 1_000  # of a JPEG
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])")
"""Of a segment of a JPEG; other such bytes are part of a scan, or stand alone (T.81, table B.1)."""
_START, _END, _SCAN = 0xD8, 0xD9, 0xDA


class TooLarge(ValueError):
    """An image that would take too much to be read; the message says why."""


def opened(data: bytes, formats: Sequence[str] = FORMATS, most: int = MAX_PIXELS) -> Any:
    """The Pillow image of a file, its pixels not read yet.

    Raises TooLarge for one of more than `most` pixels or too many scans, ImportError without Pillow, and whatever
    Pillow raises for what is in none of the `formats`.
    """
    pillow: Any = import_module("PIL.Image")
    pillow.preinit()
    if not set(formats) <= pillow.OPEN.keys():
        pillow.init()
    image = pillow.open(io.BytesIO(data), formats=[form for form in formats if form in pillow.OPEN])
    if image.width * image.height > most:
        raise TooLarge(f"it has {image.width} x {image.height} pixels, more than {most:,}")
    if data[:2] == b"\xff\xd8":
        width, height, scans = jpeg_size(data)
        if too_many := scans_beyond(width, height, scans):
            raise TooLarge(f"it has {too_many}")
    return image


def jpeg_size(raw: bytes) -> tuple[int, int, int]:
    """Width and height, of the first frame header, and the number of scans, counted up to where they are too many
    (https://www.w3.org/Graphics/JPEG/itu-t81.pdf, B.1 and B.2.2). Raises LookupError or struct.error for no JPEG."""
    if raw[:3] != b"\xff\xd8\xff":
        raise LookupError
    size: tuple[int, int] | None = None
    scans, place = 0, 2
    for _ in range(_SEGMENTS):
        found = _MARKER.search(raw, place)
        marker = found[1][0] if found else _END
        if found is None or marker in (_START, _END) or scans > MAX_SCANS:
            break
        place = found.end()
        if size is None and 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", raw, place + 3)
            size = width, height
        scans += marker == _SCAN
        place += int.from_bytes(raw[place : place + 2], "big")
    else:
        raise LookupError
    if size is None:
        raise LookupError
    return *size, scans


def scans_beyond(width: int, height: int, scans: int) -> str:
    """In words, that a JPEG has more scans than are read; empty if it has not."""
    limit = min(MAX_SCANS, MAX_SCANNED // max(width * height, 1))
    return f"more than {limit} scans" if scans > limit else ""
