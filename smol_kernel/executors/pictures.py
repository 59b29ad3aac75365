"""The images of an action, for the model to see: from its Output events to Pillow images."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from smol_kernel.events import Event, Output
from smol_kernel.memory.foreign_pictures import opened

MAX_IMAGES = 8
"""Images of one action; of more, the last ones."""
MAX_BYTES = 16 << 20
"""Bytes of them all, as they came."""
MAX_PIXELS = 50_000_000
"""Pixels of them all, as they came."""
MAX_SIDE = 2_000
"""Pixels of the longer side; a larger image is made smaller, in proportion."""


def observed_images(events: Iterable[Event]) -> list[Any]:
    """The images that were displayed or were the value of an expression, in their order.

    Pillow images; where Pillow is not installed, the bytes of the PNG or JPEG. Other events, broken images and what
    exceeds the limits are left out.
    """
    encoded = [
        text
        for event in events
        if isinstance(event, Output) and event.channel in ("display", "result")
        for mime, text in event.data.items()
        if mime in ("image/png", "image/jpeg")
    ]
    images: list[Any] = []
    size = pixels = 0
    for text in encoded[-MAX_IMAGES:]:
        try:
            raw = base64.b64decode(text, validate=True)
        except ValueError:
            continue
        size += len(raw)
        if size > MAX_BYTES:
            break
        image, area = _opened(raw, MAX_PIXELS - pixels)
        pixels += area
        if image is not None:
            images.append(image)
    return images


def _opened(raw: bytes, room: int) -> tuple[Any, int]:
    """The image and its pixels; None for a broken one, and for one of more than `room` pixels or too many scans."""
    try:
        with opened(raw, ("PNG", "JPEG"), room) as image:
            area = image.width * image.height
            image.thumbnail((MAX_SIDE, MAX_SIDE))
            image.load()
            return image.copy(), area
    except ImportError:
        return raw, 0
    except Exception:  # noqa: BLE001 - boundary: Pillow raises many things for what a child can send
        return None, 0
