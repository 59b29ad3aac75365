"""Streamed replies as they came over the wire: the text of those whose content is a list of parts, and whether one
began at all."""

from __future__ import annotations

from typing import Any


class TextOfParts:
    """A stream of a client of the package openai, with the text of a list of parts in its place: LiteLLM would leave
    the list out."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.began = False
        """Whether anything came that is a piece of a reply, be it without text."""

    @property
    def may_be_whole(self) -> bool:
        """Whether the server answered with JSON, as one does that knows no streams."""
        headers = getattr(getattr(self._stream, "response", None), "headers", None) or {}
        return "json" in headers.get("content-type", "")

    def __iter__(self) -> TextOfParts:
        return self

    def __next__(self) -> Any:
        piece = next(self._stream)
        for choice in getattr(piece, "choices", None) or ():
            delta: Any = getattr(choice, "delta", None)
            if delta is not None:
                self.began = True
                if isinstance(getattr(delta, "content", None), list):
                    delta.content = "".join(map(_text, delta.content))
        return piece

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _text(part: Any) -> str:
    text = part.get("text") if isinstance(part, dict) else part
    return text if isinstance(text, str) else ""
