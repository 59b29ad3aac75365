"""Where a cell was run, as far as its front end tells. Imported with the magics: it needs next to nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


@dataclass(frozen=True)
class Place:
    """Where a cell was run: the client's session id, the cell's id, and when it was sent, by the client's clock; as far
    as the front end tells them. Whether that is a code console of JupyterLab. And whether nobody is there: neither a
    page nor a prompt, as in nbclient, papermill and `ipython FILE`."""

    session: str | None = None
    cell_id: str | None = None
    date: Any = None
    in_console: bool = False
    unattended: bool = False

    @classmethod
    def of(cls, shell: InteractiveShell) -> Place:
        """The place of the cell that `shell` runs now."""
        get_parent = getattr(shell, "get_parent", None)
        request = get_parent() if get_parent else None
        if not isinstance(request, dict):
            return cls(unattended=not getattr(getattr(shell, "parent", None), "interact", True))
        header, metadata = request.get("header") or {}, request.get("metadata") or {}
        cell_id = metadata.get("cellId")
        cell_id = cell_id if isinstance(cell_id, str) else None
        # Its notebooks send this list along, empty or not; VS Code's ids are addresses.
        in_console = cell_id is not None and "deletedCells" not in metadata and ":" not in cell_id
        # Pages that send no id, and consoles, take input at least; but for Voilà, which shows widgets.
        asks = (request.get("content") or {}).get("allow_stdin") is not False
        unattended = cell_id is None and not asks and not os.environ.get("SERVER_SOFTWARE", "").startswith("voila/")
        return cls(header.get("session"), cell_id, header.get("date"), in_console, unattended)
