"""How a cell of ours ends when it does not end well: one line (or the child's own traceback), never ours.

IPython asks an exception's `_render_traceback_` for the lines to show. The cell still counts as failed, so
"Run All" stops there.
"""

from __future__ import annotations

from smol_magic.lines import wrapped


class CellError(Exception):
    """The cell cannot do what it was asked; the message says what to do about it.

    `shown` stands in its place on a page that shows the message already.
    """

    def __init__(self, message: str, shown: str | None = None) -> None:
        super().__init__(message)
        self._shown = shown or message

    def _render_traceback_(self) -> list[str]:
        return [wrapped(self._shown)]


class Stopped(KeyboardInterrupt):
    """The person stopped the cell. As a KeyboardInterrupt it also ends what was queued behind it."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class ChildError(Exception):
    """Code of a `%%py` cell raised in the child kernel; shown as the child's own traceback."""

    def __init__(self, message: str, traceback: str) -> None:
        super().__init__(message)
        self.traceback = traceback

    def _render_traceback_(self) -> list[str]:
        return self.traceback.splitlines() or [str(self)]
