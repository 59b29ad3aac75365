"""What stays of a run's view where a notebook is run without a page: nobody watches, and widgets would be saved dead.

Made by `view`; the account stands below it, as ever.
"""

from __future__ import annotations

import html
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from IPython.display import publish_display_data

from smol_kernel.events import Event
from smol_kernel.render.transcript import Transcript

WITHOUT_WIDGETS = {"text/html": "<!-- Agent run -->", "text/plain": "Agent run"}
"""What stays of a view where its widgets are gone: in a page nothing, as the account stands below."""


class UnwatchedView:
    """A `View` that displays just that, so that a notebook is saved as with a page. Where a proof was `asked` for, what
    came of it stands in its place: as a stream it would be one output more than with a page."""

    leaves_account = True

    def __init__(self, transcript: Transcript, asked: bool) -> None:
        self._transcript, self._asked, self._proves = transcript, asked, False
        self._shown: dict[str, Any] = {}

    def show(self, task: str, run: str, *, buttons: bool) -> None:
        """Display it."""
        # Without an id where nothing changes it: `smol validate` compares the others in the end.
        self._shown = {"metadata": {"smol": {"live": True, "run": run}}}
        self._shown |= {"transient": {"display_id": run}} if self._asked else {}
        publish_display_data(WITHOUT_WIDGETS, **self._shown)

    def feed(self, event: Event) -> None:
        """Take in the next event."""
        self._transcript.feed(event)

    def proving(self) -> AbstractContextManager[None]:
        """Nobody waits, but what comes of it is said."""
        self._proves = True
        return nullcontext()

    def say(self, *parts: str) -> None:
        """Say what came of the proof; there is nobody to say anything else to."""
        if self._proves:
            said = " · ".join(filter(None, ["Agent run", *parts]))
            data = {"text/html": f"<small>{html.escape(said)}</small>", "text/plain": said}
            publish_display_data(data, **self._shown, update=True)

    def _unsaid(self, *_: object, **__: object) -> None:
        """There is nobody to say it to."""

    stopping = fold = end = retire = _unsaid
