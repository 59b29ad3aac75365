"""What stays of a run's view where a notebook is run without a page: nobody watches, and widgets would be saved dead.

Made by `view`; the account stands below it, as ever.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from IPython.display import publish_display_data

from smol_kernel.events import Event
from smol_kernel.render.transcript import Transcript

WITHOUT_WIDGETS = {"text/html": "<!-- Agent run -->", "text/plain": "Agent run"}
"""What stays of a view where its widgets are gone: in a page nothing, as the account stands below."""


class UnwatchedView:
    """A `View` that displays just that, so that a notebook is saved as with a page; it says nothing."""

    leaves_account = True

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript

    def show(self, task: str, run: str, *, buttons: bool) -> None:
        """Display it."""
        publish_display_data(WITHOUT_WIDGETS, metadata={"smol": {"live": True, "run": run}})

    def feed(self, event: Event) -> None:
        """Take in the next event."""
        self._transcript.feed(event)

    def proving(self) -> AbstractContextManager[None]:
        """Nobody waits."""
        return nullcontext()

    def _unsaid(self, *_: object, **__: object) -> None:
        """There is nobody to say it to."""

    stopping = fold = say = end = retire = _unsaid
