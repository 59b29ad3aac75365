"""What the child displays: which forms of an object are sent at all, how large, how many.

Travels into the child as source, for `child.py`; needs the standard library alone.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any

MAX_DISPLAYS = 200
"""Displays of one action."""
MAX_DISPLAY = 12 << 20
"""Characters of one form."""
FORMS = ("text/plain", "text/html", "text/markdown", "text/latex", "image/png", "image/jpeg")
"""MIME types that are sent; the host has its own list."""

LIVE = "application/vnd.smol.live"
"""MIME type under which is told what a notebook draws of it that is not shown here: one of `KINDS`."""
KINDS = ("chart", "table", "svg")
"""A chart, map or page that scripts draw; a table in styles; a drawing."""
CHART = "[interactive chart: drawn where its code is run in a notebook's own kernel]"
"""What stands in the place of a chart."""

_CHARTS = re.compile(r"application/vnd\.(?:plotly|vega|vegalite|bokehjs_exec|holoviews_exec)\b.*")
_STYLED = re.compile(r"<table id=[\"']T_")  # as pandas writes those of `df.style`
_SCRIPTED = re.compile(r"<(?:script|iframe)\b", re.IGNORECASE)
_SCRIPT, _SCRIPT_END = re.compile(r"<script\b", re.IGNORECASE), re.compile(r"</script\s*>", re.IGNORECASE)
_UNTRUSTED = "Make this Notebook Trusted to load map"  # what folium writes beside a map
_FALLBACK = "-text-repr-fallback"  # what the style sheets of scikit-learn and xarray hide: without one it would be seen
_PLACEHOLDER = re.compile(r"<IPython\.core\.display\.\w+ object>")  # an object that is nothing but its other forms


class Displays:
    """Stands before what the kernel displays; `keep` is given the text of what is."""

    def __init__(self, keep: Callable[[str], None]) -> None:
        self._count, self._keep = 0, keep
        self._updated: dict[str, dict[str, Any]] = {}
        """The last state of displays that were updated, by their ids."""
        self._held: dict[str, dict[str, Any]] | None = None
        """What was displayed since the output was cleared, by its id or number; None: it never was."""
        self._passed: set[str] = set()
        """Ids of what was displayed before."""
        self._due = False
        """Whether it is to be cleared once there is something new."""
        self.result: str | None = None
        """The last value of an expression that was shown, as text."""

    def begin(self) -> None:
        """Count anew."""
        self._count, self._updated, self.result = 0, {}, None
        self._held, self._due, self._passed = None, False, set()

    def end(self, publish: Callable[[dict[str, Any]], None]) -> None:
        """Display what was held back, and what was updated once more, as it is now: the host takes back no display,
        and shows none in place of another."""
        last = [*(self._held or {}).values(), *self._updated.values()]
        self._held, self._due, self._updated = None, False, {}
        for data in last:
            publish(data)

    def limit(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """Let pass only what the host takes: a hook of IPython's publishers."""
        content = message["content"]
        if message["msg_type"] == "clear_output":
            self._held, self._due = self._held or {}, True
            if not content.get("wait"):
                self._clear()
            return None
        name = str(content.get("transient", {}).get("display_id"))
        if message["msg_type"] == "display_data":
            if self._due:
                self._clear()
            if self._held is None:
                self._passed.add(name)
            elif len(self._held) < MAX_DISPLAYS:
                self._held[name if name != "None" else f"#{len(self._held)}"] = content["data"]
            if self._held is not None:
                return None
        if message["msg_type"] == "update_display_data":
            if self._held and name in self._held:
                self._held[name] = content["data"]
            elif name in self._updated or len(self._updated) < MAX_DISPLAYS:
                self._updated[name] = content["data"]
        if message["msg_type"] not in ("display_data", "execute_result"):
            return None
        if message["msg_type"] == "execute_result":
            text = content["data"].get("text/plain")
            self.result = text if isinstance(text, str) else None
        self._count += 1
        content["data"], content["metadata"] = forms(content["data"]), {}
        if message["msg_type"] == "display_data" and self._count <= MAX_DISPLAYS:
            data = content["data"]
            self._keep((data.get("text/markdown") or data.get("text/plain") or "[a display]") + "\n")
        return message if content["data"] and self._count <= MAX_DISPLAYS else None

    def _clear(self) -> None:
        """Forget what is held: of an animation the last picture is enough."""
        self._held, self._due = {}, False
        self._updated = {name: data for name, data in self._updated.items() if name not in self._passed}


def forms(data: dict[str, Any]) -> dict[str, str]:
    """What is kept of a display: the forms that the host takes, with words for what is no text."""
    kept = {form: _text(data[form]) for form in FORMS if isinstance(data.get(form), str | bytes)}
    if "image/png" in kept:
        kept.pop("image/jpeg", None)
    if _PLACEHOLDER.fullmatch(kept.get("text/plain", "")):
        kept["text/plain"] = _words(kept, data)
    if "image/svg+xml" in data and not kept.get("text/plain"):
        kept["image/svg+xml"] = ""  # the host says that it is not shown
    html = kept.get("text/html", "")
    is_hiding = "<style" in html and _FALLBACK in html
    if (is_hiding and kept.get("text/plain")) or (not kept.get("text/plain") and _is_library(html)):
        del kept["text/html"]
    elif kind := _live(data, html):
        kept[LIVE] = kind
        if kind == "chart":
            kept["text/plain"] = "\n".join(filter(None, [kept.get("text/plain"), CHART]))
            if any(map(_CHARTS.match, data)) or _UNTRUSTED in html:
                kept.pop("text/html", None)
    fits = {form: text for form, text in kept.items() if len(text) <= MAX_DISPLAY and (text or "svg" in form)}
    if not fits and (long := [form for form, text in kept.items() if text]):
        fits["text/plain"] = f"[{long[0]} left out: {len(kept[long[0]]):,} characters, the limit is {MAX_DISPLAY:,}]"
    return fits


def _live(data: dict[str, Any], html: str) -> str:
    """Which of KINDS it is; empty for what is shown as it is, or as a picture."""
    if "image/png" in data or "image/jpeg" in data:
        return ""
    if any(map(_CHARTS.match, data)) or (_SCRIPTED.search(html) and not _STYLED.search(html)):
        return "chart"
    if _STYLED.search(html):
        return "table"
    return "svg" if "image/svg+xml" in data and not html else ""


def _is_library(html: str) -> bool:
    """Whether it is nothing but scripts: they draw nothing themselves."""
    beside = (_SCRIPT.split(piece, maxsplit=1)[0] for piece in _SCRIPT_END.split(html))
    return bool(html) and not "".join(beside).strip()


def _text(content: str | bytes) -> str:
    """A picture's bytes as Jupyter's messages carry them."""
    return base64.b64encode(content).decode() if isinstance(content, bytes) else content


def _words(kept: dict[str, str], data: dict[str, Any]) -> str:
    """What an object that IPython displays as such says as text."""
    if "application/json" in data:
        return json.dumps(data["application/json"], indent=1, default=str)
    return kept.get("text/markdown") or kept.get("text/latex") or ""
